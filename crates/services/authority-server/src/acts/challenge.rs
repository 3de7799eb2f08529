//! Looking at proofs of names: see [`keyward_authority::act::challenge`].
//!
//! Whoever may order a certificate has this server connect to where the names of the order point to, so it is bounded where
//! it goes, what it sends, how long it waits and what it says of it. It goes to the ports of HTTP and HTTPS only, and not
//! to addresses that mean this machine or its link (where clouds keep their metadata) unless the operator opens them;
//! it decides by the address that it connects to, which nobody can change in between. It sends the token, which whoever
//! ordered knows already. What it saw is not repeated to them.

mod http;
mod names;
mod tls;

use keyward_authority::act::challenge::{Challenge, Identifier, Seen, Way};
use keyward_authority::act::{Done, Failure};
use keyward_authority::cidr;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio::time::timeout;

/// For one look, redirects and all.
const PATIENCE: Duration = Duration::from_secs(10);
/// For one connection; a name may have several addresses.
const CONNECT: Duration = Duration::from_secs(4);
/// Addresses of a name that are tried.
const ADDRESSES: usize = 4;
/// Looks at a time.
const AT_A_TIME: usize = 32;
/// How long a look waits for others; the authority has it repeated later.
const QUEUE: Duration = Duration::from_secs(20);

/// Where challenges may lead to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reach {
    /// The port of HTTP.
    pub http_port: u16,
    /// The port of HTTPS and of validations by TLS.
    pub tls_port: u16,
    /// Networks, as addresses or in CIDR notation, that may be reached although they are this machine's or its link's.
    pub networks: Vec<String>,
}

impl Default for Reach {
    fn default() -> Reach {
        Reach { http_port: 80, tls_port: 443, networks: Vec::new() }
    }
}

impl Reach {
    /// Whether a challenge may lead to `address`.
    fn allows(&self, address: IpAddr) -> bool {
        let own = match address.to_canonical() {
            IpAddr::V4(v4) => {
                v4.octets()[0] == 0
                    || v4.is_loopback()
                    || v4.is_link_local()
                    || v4.is_multicast()
                    || v4.is_broadcast()
            }
            IpAddr::V6(v6) => {
                v6.is_unspecified() || v6.is_loopback() || v6.is_unicast_link_local() || v6.is_multicast()
            }
        };
        !own || cidr::any(&self.networks, address)
    }
}

/// See the module.
pub(crate) struct Challenges {
    reach: Reach,
    patience: Duration,
    places: Semaphore,
}

impl Challenges {
    pub(crate) fn new(reach: Reach) -> Challenges {
        Challenges { reach, patience: PATIENCE, places: Semaphore::new(AT_A_TIME) }
    }

    /// Looks once. Takes no longer than a lease allows for.
    pub(crate) async fn perform(&self, challenge: &Challenge) -> Done {
        let unseen = |why: &str| Failure { why: why.to_owned(), nothing_done: true };
        let Ok(Ok(_place)) = timeout(QUEUE, self.places.acquire()).await else {
            return Err(unseen("too many challenges are being looked at"));
        };
        match timeout(self.patience, self.look(challenge)).await {
            Err(_) => Err(unseen("nothing came in time")),
            Ok(Err(why)) => Err(unseen(&why)),
            Ok(Ok(seen)) => {
                challenge.judge(&seen).map_err(|why| Failure { why: why.to_owned(), nothing_done: false })
            }
        }
    }

    async fn look(&self, challenge: &Challenge) -> Result<Seen, String> {
        match &challenge.way {
            Way::Dns { name, .. } => names::texts(name, challenge.resolver).await.map(Seen::Dns),
            Way::Http { path, .. } => {
                let host = match &challenge.of {
                    Identifier::Ip(IpAddr::V6(address)) => format!("[{address}]"),
                    other => other.to_string(),
                };
                http::get(&self.reach, challenge.resolver, &host, path).await
            }
            Way::TlsAlpn { .. } => {
                let host = challenge.of.to_string();
                let stream = connect(&self.reach, challenge.resolver, &host, self.reach.tls_port).await?;
                tls::shown(stream, &host).await
            }
        }
    }
}

/// Connects to a host: a name, or an address, in brackets if it has colons.
async fn connect(
    reach: &Reach,
    resolver: Option<SocketAddr>,
    host: &str,
    port: u16,
) -> Result<TcpStream, String> {
    let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    let addresses = match bare.parse::<IpAddr>() {
        Ok(address) => vec![address],
        Err(_) => names::addresses(bare, resolver).await?,
    };
    let allowed: Vec<IpAddr> = addresses.into_iter().filter(|address| reach.allows(*address)).collect();
    if allowed.is_empty() {
        return Err(
            "the host has only addresses that challenges may not lead to: those of this machine or its link"
                .to_owned(),
        );
    }
    for address in allowed.into_iter().take(ADDRESSES) {
        if let Ok(Ok(stream)) = timeout(CONNECT, TcpStream::connect((address, port))).await {
            return Ok(stream);
        }
    }
    Err(format!("no connection to port {port} of the host"))
}

#[cfg(test)]
mod tests;
