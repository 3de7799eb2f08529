//! What the login of pods and the engine of ServiceAccount tokens both know of Kubernetes.

pub(crate) mod selector;

use crate::refusal::Refusal;

/// The longest name of an object (RFC 1123, as Kubernetes has it for names that are subdomains).
const LONGEST: usize = 253;

/// True when `name` can be that of a namespace or a ServiceAccount: nothing else may come to stand in a URL.
pub(crate) fn is_name(name: &str) -> bool {
    let is_plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '-' | '.');
    !name.is_empty()
        && name.len() <= LONGEST
        && !name.starts_with(['.', '-'])
        && !name.ends_with(['.', '-'])
        && name.chars().all(is_plain)
}

/// The address of an API server that paths are appended to. A host without a scheme is reached over TLS, as elsewhere.
pub(crate) fn base(host: &str) -> Result<String, Refusal> {
    let host = host.trim_end_matches('/');
    match host {
        "" => Err(Refusal::invalid("no host provided")),
        host if host.starts_with("https://") || host.starts_with("http://") => Ok(host.to_owned()),
        host if host.contains("://") => {
            Err(Refusal::invalid("kubernetes_host must begin with https:// or http://"))
        }
        host => Ok(format!("https://{host}")),
    }
}

/// Refuses what can hold no certificates that an API server would be believed by.
pub(crate) fn check_roots(pem: &str, disable_local: bool) -> Result<(), Refusal> {
    match pem {
        "" if disable_local => {
            Err(Refusal::invalid("kubernetes_ca_cert must be given when disable_local_ca_jwt is true"))
        }
        "" => Ok(()),
        pem if pem.contains("-----BEGIN CERTIFICATE-----") => Ok(()),
        _ => Err(Refusal::invalid("kubernetes_ca_cert has no certificate in PEM")),
    }
}
