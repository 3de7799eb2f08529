//! The socket, and the plugin behind it, as the API server meets them.

use std::fs;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;
use std::time::{Duration, Instant};

use keyward_core::random;
use keyward_crypto::{Secret, SystemRandom};

use super::Findings;
use crate::client::{PluginClient, PluginStatus, SealedSeed};
use crate::envelope::{LONGEST_ANNOTATIONS, LONGEST_CIPHERTEXT};
use crate::service::{HEALTHY, VERSION};
use crate::socket::socket_path;

/// The longest identifier the API server accepts, in bytes.
const LONGEST_KEY_ID: usize = 1024;
/// The longest annotations the API server accepts, in bytes.
const LONGEST_ACCEPTED: usize = 32 << 10;
/// Descriptors a plugin should be allowed.
const DESCRIPTORS: u64 = 1024;

pub(super) async fn examine(socket: &Path, timeout: Duration) -> Findings {
    let mut found = Findings::new("plugin");
    if !examine_socket(&mut found, socket) {
        return found;
    }
    let mut client = match PluginClient::connect(socket, timeout).await {
        Ok(client) => client,
        Err(error) => {
            found.fail(
                "connection",
                error.to_string(),
                "start the plugin, or see why its log says it stopped",
            );
            return found;
        }
    };
    found.ok("connection", format!("{} answers", socket.display()));
    examine_limits(&mut found, socket).await;
    let asked = Instant::now();
    let status = client.status().await;
    let slow = asked.elapsed();
    match status {
        Ok(status) => {
            examine_status(&mut found, &status);
            examine_speed(&mut found, "status time", slow, timeout);
            round_trip(&mut found, &mut client, &status, timeout).await;
        }
        Err(error) => found.fail(
            "status",
            error.to_string(),
            "see to the provider; the API server stops writing 3 minutes after the last good status",
        ),
    }
    found
}

/// Whether it is worth connecting.
fn examine_socket(found: &mut Findings, socket: &Path) -> bool {
    if let Err(why) = socket_path(&socket.to_string_lossy()) {
        found.fail("socket", why, "name a path such as /run/keyward/kms.sock");
        return false;
    }
    let shown = socket.display();
    let metadata = match fs::symlink_metadata(socket) {
        Ok(metadata) => metadata,
        Err(error) => {
            found.fail("socket", format!("{shown}: {error}"), "start the plugin, or name its socket");
            return false;
        }
    };
    if !metadata.file_type().is_socket() {
        found.fail("socket", format!("{shown} is no socket"), "name the plugin's socket");
        return false;
    }
    match metadata.mode() & 0o777 {
        mode if mode & 0o077 != 0 => {
            found.fail(
                "socket",
                format!("{shown} has mode {mode:04o}: others can open seeds"),
                "chmod 0600 it",
            );
        }
        mode => found.ok("socket", format!("{shown}, mode {mode:04o}, user {}", metadata.uid())),
    }
    let folder = socket.parent().unwrap_or(Path::new("/"));
    match fs::metadata(folder) {
        Ok(metadata) if metadata.mode() & 0o022 != 0 => found.fail(
            "socket folder",
            format!("{} can be written by others, who could put their own socket there", folder.display()),
            "chmod 0755 it, or use a folder of its own such as /run/keyward",
        ),
        Ok(_) => found.ok("socket folder", folder.display().to_string()),
        Err(error) => found.warn("socket folder", error.to_string(), "run the doctor as root"),
    }
    true
}

/// The limits of the process at the other end.
async fn examine_limits(found: &mut Findings, socket: &Path) {
    let peer = match tokio::net::UnixStream::connect(socket).await {
        Ok(stream) => stream.peer_cred().ok().and_then(|peer| peer.pid()),
        Err(_) => None,
    };
    let Some(limits) = peer.and_then(|pid| fs::read_to_string(format!("/proc/{pid}/limits")).ok()) else {
        return found
            .skip("limits", "the plugin's process cannot be looked into: run the doctor as root, beside it");
    };
    // The columns: name, soft limit, hard limit, unit.
    let soft = |name: &str| {
        let line = limits.lines().find_map(|line| line.strip_prefix(name))?;
        let limit = line.split_whitespace().next()?;
        if limit == "unlimited" { Some(u64::MAX) } else { limit.parse().ok() }
    };
    match soft("Max open files") {
        Some(limit) if limit < DESCRIPTORS => {
            found.warn("open files", format!("the plugin may open {limit}"), format!("allow {DESCRIPTORS}"));
        }
        Some(_) => found.ok("open files", "enough are allowed"),
        None => found.skip("open files", "the limit is not told"),
    }
    match soft("Max core file size") {
        Some(0) => found.ok("core dumps", "ruled out"),
        _ => found.warn("core dumps", "a crash could write keys to disk", "set LimitCORE=0"),
    }
    match locked_kilobytes(peer) {
        Some(1..) => found.ok("locked memory", "keys stay out of swap"),
        _ => found.warn(
            "locked memory",
            "keys may be swapped out",
            "set LimitMEMLOCK=infinity, or run without swap",
        ),
    }
}

/// How much memory a process has locked.
fn locked_kilobytes(pid: Option<i32>) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{}/status", pid?)).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmLck:"))?;
    line.trim().strip_suffix("kB")?.trim().parse().ok()
}

fn examine_status(found: &mut Findings, status: &PluginStatus) {
    if status.version == VERSION || status.version == "v2beta1" {
        found.ok("version", status.version.clone());
    } else {
        found.fail(
            "version",
            format!("{:?}: the API server wants v2", status.version),
            "use a KMS v2 plugin",
        );
    }
    if status.healthz == HEALTHY {
        found.ok("health", HEALTHY);
    } else {
        found.fail("health", status.healthz.clone(), "see the plugin's log");
    }
    match status.key_id.len() {
        0 => found.fail("key id", "it is empty", "see the plugin's log"),
        1..=LONGEST_KEY_ID => found.ok("key id", status.key_id.clone()),
        bytes => {
            found.fail(
                "key id",
                format!("{bytes} bytes of at most {LONGEST_KEY_ID}"),
                "see the plugin's log",
            );
        }
    }
}

fn examine_speed(found: &mut Findings, name: &'static str, took: Duration, timeout: Duration) {
    let detail = format!("{took:.1?} of {timeout:.1?}");
    if took > timeout / 3 {
        found.warn(name, detail, "find out what is slow, before the API server gives up waiting");
    } else {
        found.ok(name, detail);
    }
}

async fn round_trip(
    found: &mut Findings,
    client: &mut PluginClient,
    status: &PluginStatus,
    timeout: Duration,
) {
    let seed = Secret::new(random::bytes::<32>(&SystemRandom));
    let asked = Instant::now();
    let sealed = match client.encrypt("doctor", seed.expose()).await {
        Ok(sealed) => sealed,
        Err(error) => return found.fail("encrypt", error.to_string(), "see to the provider"),
    };
    examine_speed(found, "encrypt", asked.elapsed(), timeout);
    if sealed.key_id == status.key_id {
        found.ok("one key", "status and encrypt name the same");
    } else {
        found.fail(
            "one key",
            "encrypt uses another key than status names",
            "the API server refuses this: see the log",
        );
    }
    examine_sizes(found, &sealed);
    let asked = Instant::now();
    match client.decrypt("doctor", &sealed).await {
        Ok(opened) if opened.is(seed.expose()) => examine_speed(found, "decrypt", asked.elapsed(), timeout),
        Ok(_) => found.fail("decrypt", "another seed comes back", "do not use this plugin"),
        Err(error) => found.fail("decrypt", error.to_string(), "see to the provider"),
    }
}

fn examine_sizes(found: &mut Findings, sealed: &SealedSeed) {
    match sealed.ciphertext.len() {
        bytes @ 1..=LONGEST_CIPHERTEXT => {
            found.ok("ciphertext", format!("{bytes} of at most {LONGEST_CIPHERTEXT} bytes"));
        }
        bytes => found.fail(
            "ciphertext",
            format!("{bytes} bytes: 1 to {LONGEST_CIPHERTEXT} are accepted"),
            "use another plugin",
        ),
    }
    let bytes: usize = sealed.annotations.iter().map(|(name, value)| name.len() + value.len()).sum();
    let named = sealed.annotations.keys().all(|name| is_domain_name(name));
    match bytes {
        _ if !named => found.fail("annotations", "a name is no domain name", "use another plugin"),
        0..=LONGEST_ANNOTATIONS => found.ok("annotations", format!("{bytes} bytes ride in every object")),
        _ if bytes <= LONGEST_ACCEPTED => {
            found.warn("annotations", format!("{bytes} bytes ride in every object"), "mind etcd's size");
        }
        _ => found.fail(
            "annotations",
            format!("{bytes} bytes of at most {LONGEST_ACCEPTED}"),
            "use another plugin",
        ),
    }
}

/// A fully qualified domain name of RFC 1123, as the API server checks it.
fn is_domain_name(name: &str) -> bool {
    let label = |label: &str| {
        let fits = (1..=63).contains(&label.len()) && !label.starts_with('-') && !label.ends_with('-');
        fits && label.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
    };
    name.len() <= 253 && name.contains('.') && name.split('.').all(label)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn domain_names() {
        assert!(is_domain_name(crate::ANNOTATION));
        for bad in
            ["", "kek", "Kek.example.org", "-a.b", "a-.b", "a..b", "a_b.c", &format!("{}.b", "a".repeat(64))]
        {
            assert!(!is_domain_name(bad), "{bad}");
        }
    }
}
