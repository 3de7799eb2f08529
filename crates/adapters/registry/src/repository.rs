//! Repositories of registries.

use std::fmt;
use std::net::IpAddr;

/// What Docker Hub is called, and where it is reached.
const HUB: [&str; 3] = ["docker.io", "index.docker.io", "registry-1.docker.io"];

/// A repository: a host, perhaps with a port, and a path.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Repository {
    host: String,
    path: String,
}

impl Repository {
    /// `path` on `host`, such as `library/nginx` on `docker.io`. None for what can be neither.
    pub fn new(host: &str, path: &str) -> Option<Repository> {
        let host = host.to_ascii_lowercase();
        let hub = HUB.contains(&host.as_str());
        let host_fine = |c: char| c.is_ascii_alphanumeric() || ".-:[]".contains(c);
        let path_fine = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "._-/".contains(c);
        // Letters and digits at both ends (OCI distribution specification, "Pulling manifests").
        let segments = path.split('/').all(|segment| {
            let ends = |c: char| c.is_ascii_alphanumeric();
            segment.starts_with(ends) && segment.ends_with(ends) && !segment.contains("..")
        });
        if host.is_empty() || host.len() > 255 || path.len() > 255 || !segments {
            return None;
        }
        if !host.chars().all(host_fine) || !path.chars().all(path_fine) {
            return None;
        }
        let path = if hub && !path.contains('/') { format!("library/{path}") } else { path.to_owned() };
        Some(Repository { host: if hub { HUB[0].to_owned() } else { host }, path })
    }

    /// From `HOST/PATH`; a host has a dot or a port, or is `localhost`, and is Docker Hub where there is none.
    pub fn parse(text: &str) -> Option<Repository> {
        match text.split_once('/') {
            Some((host, path)) if host.contains(['.', ':']) || host == "localhost" => {
                Repository::new(host, path)
            }
            _ => Repository::new(HUB[0], text),
        }
    }

    /// Its name, by which credentials know it.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// Within the registry.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// Where requests go.
    pub(crate) fn address(&self) -> &str {
        if self.host == HUB[0] { HUB[2] } else { &self.host }
    }

    /// Whether it is on this machine.
    pub(crate) fn is_loopback(&self) -> bool {
        is_loopback(&self.host)
    }
}

/// Whether a host, perhaps with a port, is this machine.
pub(crate) fn is_loopback(host: &str) -> bool {
    let bare = match host.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((inner, _)) => inner,
        None => host.split(':').next().unwrap_or_default(),
    };
    bare == "localhost" || bare.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

impl fmt::Display for Repository {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.host, self.path)
    }
}
