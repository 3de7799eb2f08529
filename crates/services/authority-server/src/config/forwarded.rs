//! Who a client behind a proxy is, by the `X-Forwarded-For` header of proxies the operator trusts.

use keyward_authority::cidr;
use std::fmt;
use std::net::{IpAddr, SocketAddr};

/// Whose `X-Forwarded-For` headers are believed, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Forwarded {
    /// Addresses and networks of proxies; at least one.
    pub trusted: Vec<String>,
    /// Addresses to skip from the end of the header.
    pub hop_skips: usize,
    /// Refuse the header from any other address, in place of ignoring it.
    pub reject_untrusted: bool,
    /// Refuse requests without the header, in place of believing the connection.
    pub reject_absent: bool,
}

/// Why a request with this header, or without it, is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Untrusted {
    /// The header is required and missing.
    Absent,
    /// The connection comes from no trusted proxy.
    Proxy,
    /// The header has fewer addresses than are to be skipped.
    Short,
    /// What stands at the client's place is no address.
    Malformed,
}

impl fmt::Display for Untrusted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Untrusted::Absent => "this listener serves requests with an X-Forwarded-For header only: go through the proxy",
            Untrusted::Proxy => {
                "X-Forwarded-For is believed only from x_forwarded_for_authorized_addrs: leave it out, or add the proxy"
            }
            Untrusted::Short => "X-Forwarded-For has fewer addresses than x_forwarded_for_hop_skips skips",
            Untrusted::Malformed => "X-Forwarded-For has no IP address where the client's is expected",
        })
    }
}

impl Forwarded {
    /// The client's address: `peer` is who connected, `headers` are the values of all `X-Forwarded-For` headers
    /// in their order, the last address being the one nearest to us. The port stays that of the connection.
    ///
    /// # Errors
    /// A header that must not be believed, is missing although required, or makes no sense.
    pub fn client<'a>(
        &self,
        peer: SocketAddr,
        headers: impl IntoIterator<Item = &'a str>,
    ) -> Result<SocketAddr, Untrusted> {
        let chain: Vec<&str> =
            headers.into_iter().flat_map(|header| header.split(',')).map(str::trim).collect();
        if chain.iter().all(|address| address.is_empty()) {
            return if self.reject_absent { Err(Untrusted::Absent) } else { Ok(peer) };
        }
        if !cidr::any(&self.trusted, peer.ip()) {
            return if self.reject_untrusted { Err(Untrusted::Proxy) } else { Ok(peer) };
        }
        let place = chain.len().checked_sub(self.hop_skips.saturating_add(1)).ok_or(Untrusted::Short)?;
        let client = chain.get(place).and_then(|text| address(text)).ok_or(Untrusted::Malformed)?;
        Ok(SocketAddr::new(client, peer.port()))
    }
}

/// An address, perhaps in brackets or with a port, as some proxies write it.
fn address(text: &str) -> Option<IpAddr> {
    let unbracketed = text.strip_prefix('[').and_then(|text| text.strip_suffix(']'));
    let bare = unbracketed.unwrap_or(text).parse().ok();
    bare.or_else(|| text.parse::<SocketAddr>().ok().map(|address| address.ip()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn proxies(hop_skips: usize, reject_untrusted: bool, reject_absent: bool) -> Forwarded {
        Forwarded {
            trusted: vec!["10.0.0.0/8".to_owned(), "::1".to_owned()],
            hop_skips,
            reject_untrusted,
            reject_absent,
        }
    }

    #[test]
    fn a_trusted_proxy_names_the_client() {
        let proxy: SocketAddr = "10.1.2.3:4000".parse().unwrap();
        for (skips, headers, wanted) in [
            (0, vec!["1.2.3.4"], Ok("1.2.3.4:4000")),
            (0, vec!["9.9.9.9, 1.2.3.4"], Ok("1.2.3.4:4000")),
            (1, vec!["1.2.3.4, 2.3.4.5"], Ok("1.2.3.4:4000")),
            (1, vec!["1.2.3.4", "2.3.4.5"], Ok("1.2.3.4:4000")),
            (0, vec!["2001:db8::1"], Ok("[2001:db8::1]:4000")),
            (0, vec!["[2001:db8::1]"], Ok("[2001:db8::1]:4000")),
            (0, vec!["1.2.3.4:77"], Ok("1.2.3.4:4000")),
            (2, vec!["1.2.3.4, 2.3.4.5"], Err(Untrusted::Short)),
            (usize::MAX, vec!["1.2.3.4"], Err(Untrusted::Short)),
            (0, vec!["somebody"], Err(Untrusted::Malformed)),
            (0, vec!["1.2.3.4,"], Err(Untrusted::Malformed)),
            (0, vec![], Err(Untrusted::Absent)),
            (0, vec!["", " , "], Err(Untrusted::Absent)),
        ] {
            let found = proxies(skips, true, true).client(proxy, headers.iter().copied());
            assert_eq!(found, wanted.map(|text: &str| text.parse().unwrap()), "{skips} {headers:?}");
        }
    }

    #[test]
    fn others_are_refused_or_not_believed() {
        let stranger: SocketAddr = "192.0.2.1:4000".parse().unwrap();
        assert_eq!(proxies(0, true, true).client(stranger, ["1.2.3.4"]), Err(Untrusted::Proxy));
        assert_eq!(proxies(0, false, true).client(stranger, ["1.2.3.4"]), Ok(stranger));
        assert_eq!(proxies(0, true, false).client(stranger, []), Ok(stranger));
        assert_eq!(proxies(0, true, true).client(stranger, []), Err(Untrusted::Absent));
    }
}
