//! Listeners: addresses, TLS and limits.

use super::build::{Found, Root, Set};
use super::report::{Place, Report};
use super::{Forwarded, Listener, address, keys, schema};
use crate::http::Limits;
use crate::listener::Address;
use keyward_authority::cidr;
use keyward_tls::{Clients, TlsFiles};
use std::collections::HashMap;
use std::path::PathBuf;
use std::time::Duration;

const LARGEST_BODY: i64 = 1 << 30;

/// All listeners, in the order of the files.
pub(super) fn listeners(
    report: &mut Report,
    root: &Root<'_>,
    request: Option<Duration>,
    whole: bool,
) -> Vec<Listener> {
    let before = report.mistakes();
    let blocks = root.blocks(report, "listener", 1);
    let mut listeners = Vec::new();
    let mut addresses: HashMap<String, Place> = HashMap::new();
    for block in &blocks {
        let read = match block.kind().as_str() {
            "tcp" => tcp(report, block, request),
            "unix" => unix(report, block, request),
            kind => {
                let near = schema::nearest(kind, ["tcp", "unix"].into_iter());
                let remedy =
                    near.map_or("use tcp or unix".to_owned(), |near| format!("did you mean \"{near}\"?"));
                report.mistake(block.place(), format!("listener \"{kind}\" is unknown"), remedy);
                None
            }
        };
        let Some(listener) = read else { continue };
        let (name, any_port) = match &listener.address {
            Address::Tcp(address) => (address.to_string(), address.port() == 0),
            Address::Unix(path, _) => (path.display().to_string(), false),
        };
        if let Some(first) = addresses.insert(name, block.place())
            && !any_port
        {
            let what =
                format!("a second listener at the address of the one {}", first.seen_from(block.place()));
            report.mistake(block.place(), what, "remove one of the two, or give it another address");
        }
        listeners.push(listener);
    }
    if blocks.is_empty() && whole && report.mistakes() == before {
        let remedy = "write listener \"tcp\" { … } with address, tls_cert_file and tls_key_file";
        report.mistake(Place { file: 0, at: None }, "there is no listener", remedy);
    }
    listeners
}

fn tcp(report: &mut Report, block: &Found<'_>, request: Option<Duration>) -> Option<Listener> {
    schema::check(report, block.file, block.block.body, &keys::TCP);
    let limits = limits(report, block, request);
    let tls = tls(report, block);
    let forwarded = forwarded(report, block);
    let address = match (block.get("address"), block.text("address")) {
        (None, _) => address::socket("127.0.0.1:8200"),
        (Some(_), Some(text)) => address::socket(text),
        // The value is no text, which is reported.
        (Some(_), None) => return None,
    };
    let address = match address {
        Ok(address) => address,
        Err((what, remedy)) => {
            report.mistake(place_of(block, "address"), what, remedy);
            return None;
        }
    };
    if block.flag("tls_disable", false) && !address.ip().is_loopback() {
        let what = format!("{address} serves plain HTTP: tokens and secrets can be read on the way");
        report.warn(place_of(block, "tls_disable"), what);
    }
    Some(Listener { address: Address::Tcp(address), tls: tls?, limits, forwarded })
}

fn unix(report: &mut Report, block: &Found<'_>, request: Option<Duration>) -> Option<Listener> {
    schema::check(report, block.file, block.block.body, &keys::UNIX);
    let limits = limits(report, block, request);
    let mode = block.get("socket_mode").and_then(|set| schema::mode(set.value)).unwrap_or(0o600);
    let Some(path) = block.text("address") else {
        if block.get("address").is_none() {
            let what = "listener \"unix\" has no `address`";
            report.mistake(block.place(), what, "name the socket: address = \"/run/keyward/keyward.sock\"");
        }
        return None;
    };
    Some(Listener { address: Address::Unix(PathBuf::from(path), mode), tls: None, limits, forwarded: None })
}

/// Where a key's value stands, or its block.
fn place_of(block: &Found<'_>, name: &str) -> Place {
    block.get(name).map_or_else(|| block.place(), |set| set.place)
}

fn limits(report: &mut Report, block: &Found<'_>, request: Option<Duration>) -> Limits {
    let mut limits = Limits::default();
    if let Some(request) = request {
        limits.duration = request;
    }
    let duration = |name: &str| {
        block.get(name).and_then(|set| schema::duration(set.value)).filter(|duration| !duration.is_zero())
    };
    if let Some(duration) = duration("max_request_duration") {
        limits.duration = duration;
    }
    match (block.get("http_read_header_timeout"), duration("http_read_header_timeout")) {
        (Some(_), Some(duration)) => limits.head = duration,
        (Some(Set { place, value }), None) if schema::duration(value).is_some() => {
            let what = "`http_read_header_timeout` is zero: a client could hold a connection for ever";
            report.mistake(place, what, "write a duration such as \"10s\"");
        }
        _ => {}
    }
    if let Some(Set { place, value }) = block.get("max_request_size")
        && let Some(bytes) = value.as_int()
        && bytes != 0
    {
        match usize::try_from(bytes) {
            Ok(size) if bytes <= LARGEST_BODY => limits.body = size,
            _ => report.mistake(
                place,
                format!("`max_request_size` is {bytes}, and a body must have a limit"),
                format!("write a number of bytes from 1 to {LARGEST_BODY}"),
            ),
        }
    }
    limits
}

/// The TLS files, `Some(None)` for plain HTTP, `None` after a mistake.
fn tls(report: &mut Report, block: &Found<'_>) -> Option<Option<TlsFiles>> {
    let before = report.mistakes();
    let require = block.flag("tls_require_and_verify_client_cert", false);
    let silent = block.flag("tls_disable_client_certs", false);
    if require && silent {
        let what = "client certificates are both required and not asked for";
        let remedy = "remove tls_require_and_verify_client_cert or tls_disable_client_certs";
        report.mistake(place_of(block, "tls_disable_client_certs"), what, remedy);
    }
    if block.get("tls_disable").is_some_and(|set| set.value.as_bool().is_none()) {
        // No boolean, which is reported: whether files are needed cannot be known.
        return None;
    }
    if block.flag("tls_disable", false) {
        if require {
            let what = "client certificates are required, and TLS is disabled";
            report.mistake(place_of(block, "tls_disable"), what, "remove tls_disable");
        }
        return (report.mistakes() == before).then_some(None);
    }
    let client_ca = block.text("tls_client_ca_file").map(PathBuf::from);
    if require && client_ca.is_none() {
        let what = "client certificates are required, and no authority is named that issues them";
        report.mistake(
            place_of(block, "tls_require_and_verify_client_cert"),
            what,
            "name its certificate: tls_client_ca_file = \"…\"",
        );
    }
    if client_ca.is_some() && !require {
        let what = "`tls_client_ca_file` has no effect without tls_require_and_verify_client_cert";
        report.warn(place_of(block, "tls_client_ca_file"), what);
    }
    let tls12 = tls12(report, block);
    let (certificate, key) = (block.text("tls_cert_file"), block.text("tls_key_file"));
    let missing = match (block.get("tls_cert_file"), block.get("tls_key_file")) {
        (None, None) => Some("no `tls_cert_file` and no `tls_key_file`"),
        (None, Some(_)) => Some("no `tls_cert_file`"),
        (Some(_), None) => Some("no `tls_key_file`"),
        (Some(_), Some(_)) => None,
    };
    if let Some(missing) = missing {
        let remedy = "name both files, or set tls_disable = true to serve plain HTTP";
        report.mistake(block.place(), format!("the listener has {missing}"), remedy);
    }
    if report.mistakes() > before {
        return None;
    }
    Some(Some(TlsFiles {
        certificate: PathBuf::from(certificate?),
        key: PathBuf::from(key?),
        clients: match client_ca {
            _ if silent => Clients::Silent,
            Some(authorities) if require => Clients::Of(authorities),
            _ => Clients::Any,
        },
        tls12,
    }))
}

/// Whether TLS 1.2 is accepted too.
fn tls12(report: &mut Report, block: &Found<'_>) -> bool {
    let version = |name: &str| block.text(name).unwrap_or("tls13").to_ascii_lowercase();
    let (min, max) = (version("tls_min_version"), version("tls_max_version"));
    for (name, version) in [("tls_min_version", &min), ("tls_max_version", &max)] {
        match version.as_str() {
            "tls12" | "tls13" => {}
            "tls10" | "tls11" => {
                let what = format!("`{name}` is {version}, which is broken (RFC 8996)");
                report.mistake(place_of(block, name), what, "write \"tls13\", or \"tls12\" for old clients");
            }
            _ => {
                let what = format!("`{name}` is none of the versions");
                report.mistake(place_of(block, name), what, "write \"tls13\" or \"tls12\"");
            }
        }
    }
    if max == "tls12" {
        let also = if min == "tls12" { "" } else { ", and alone unless tls_min_version is \"tls12\"" };
        let what = format!("`tls_max_version` has no effect: TLS 1.3 is always offered{also}");
        report.warn(place_of(block, "tls_max_version"), what);
    }
    min == "tls12"
}

fn forwarded(report: &mut Report, block: &Found<'_>) -> Option<Forwarded> {
    let trusted = block.get("x_forwarded_for_authorized_addrs").and_then(|set| schema::texts(set.value));
    let trusted = trusted.unwrap_or_default();
    let skips = block.get("x_forwarded_for_hop_skips").and_then(|set| set.value.as_int()).unwrap_or(0);
    let hop_skips = usize::try_from(skips);
    if hop_skips.is_err() {
        let what = "`x_forwarded_for_hop_skips` is negative";
        report.mistake(place_of(block, "x_forwarded_for_hop_skips"), what, "write 0 or more");
    }
    for odd in trusted.iter().filter(|network| cidr::check(std::slice::from_ref(network)).is_err()) {
        let what =
            format!("`x_forwarded_for_authorized_addrs` has {odd:?}, which is no address and no network");
        let place = place_of(block, "x_forwarded_for_authorized_addrs");
        report.mistake(place, what, "write addresses such as 10.0.0.1, or networks such as 10.0.0.0/8");
    }
    if trusted.is_empty() {
        for name in ["hop_skips", "reject_not_authorized", "reject_not_present"] {
            if let Some(set) = block.get(&format!("x_forwarded_for_{name}")) {
                let what = "has no effect without x_forwarded_for_authorized_addrs";
                report.warn(set.place, format!("`x_forwarded_for_{name}` {what}"));
            }
        }
        return None;
    }
    Some(Forwarded {
        trusted,
        hop_skips: hop_skips.ok()?,
        reject_untrusted: block.flag("x_forwarded_for_reject_not_authorized", true),
        reject_absent: block.flag("x_forwarded_for_reject_not_present", true),
    })
}
