//! Asking DNS: the server that the operator configured for the mount, or those of the machine. Nothing is kept.

use hickory_resolver::TokioResolver;
use hickory_resolver::config::{ConnectionConfig, NameServerConfig, ResolveHosts, ResolverConfig};
use hickory_resolver::net::NetError;
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::proto::rr::{RData, RecordType};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

/// For one server to answer.
const PATIENCE: Duration = Duration::from_secs(4);

fn resolver(server: Option<SocketAddr>) -> Result<TokioResolver, String> {
    let unusable = |why: NetError| format!("the machine's DNS configuration cannot be used: {why}");
    let mut builder = match server {
        None => TokioResolver::builder_tokio().map_err(unusable)?,
        Some(server) => {
            let at_its_port = |mut connection: ConnectionConfig| {
                connection.port = server.port();
                connection
            };
            let connections = vec![ConnectionConfig::udp(), ConnectionConfig::tcp()];
            let connections = connections.into_iter().map(at_its_port).collect();
            let known = NameServerConfig::new(server.ip(), true, connections);
            let config = ResolverConfig::from_parts(None, Vec::new(), vec![known]);
            TokioResolver::builder_with_config(config, TokioRuntimeProvider::default())
        }
    };
    let options = builder.options_mut();
    options.timeout = PATIENCE;
    options.attempts = 1;
    options.cache_size = 0;
    options.use_hosts_file = ResolveHosts::Never;
    builder.build().map_err(unusable)
}

/// As a name that nothing is put behind.
fn absolute(name: &str) -> String {
    format!("{}.", name.trim_end_matches('.'))
}

fn failed(why: &NetError) -> String {
    match why.is_nx_domain() {
        true => "DNS does not know the name".to_owned(),
        false => "DNS gave no answer".to_owned(),
    }
}

/// The TXT records of a name or what it is an alias of, each as a whole; none if there are none.
pub(super) async fn texts(name: &str, server: Option<SocketAddr>) -> Result<Vec<String>, String> {
    let found = match resolver(server)?.lookup(absolute(name), RecordType::TXT).await {
        Err(why) if why.is_no_records_found() && !why.is_nx_domain() => return Ok(Vec::new()),
        found => found.map_err(|why| failed(&why))?,
    };
    let texts = found.answers().iter().filter_map(|record| match &record.data {
        RData::TXT(text) => Some(String::from_utf8_lossy(&text.txt_data.concat()).into_owned()),
        _ => None,
    });
    Ok(texts.collect())
}

/// The addresses of a host.
pub(super) async fn addresses(host: &str, server: Option<SocketAddr>) -> Result<Vec<IpAddr>, String> {
    if server.is_none() {
        // As everything else on this machine does.
        let found = tokio::net::lookup_host((host, 0)).await;
        let found = found.map_err(|_| "the machine does not know the host's address".to_owned())?;
        return Ok(found.map(|address| address.ip()).collect());
    }
    let found = resolver(server)?.lookup_ip(absolute(host)).await.map_err(|why| failed(&why))?;
    Ok(found.iter().collect())
}
