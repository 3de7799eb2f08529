//! From checked files to the typed configuration.

use super::report::{Place, Report};
use super::schema;
use super::{ServerConfig, address, audit, listener, storage, vault};
use crate::acts::Reach;
use crate::log::Level;
use keyward_authority::cidr;
use keyward_authority::hcl::{Block, Object, Value};
use keyward_authority::settings::DEFAULT_TTL;
use std::path::PathBuf;
use std::time::Duration;

/// A block and the file it stands in.
pub(super) struct Found<'a> {
    pub(super) file: usize,
    pub(super) block: Block<'a>,
}

impl Found<'_> {
    pub(super) fn place(&self) -> Place {
        Place { file: self.file, at: Some(self.block.at) }
    }

    /// The first label, as the type of a listener, a storage, …
    pub(super) fn kind(&self) -> String {
        self.block.labels.first().map(|label| label.text.to_ascii_lowercase()).unwrap_or_default()
    }

    pub(super) fn get(&self, name: &str) -> Option<Set<'_>> {
        Set::of(self.file, self.block.body, name)
    }

    pub(super) fn flag(&self, name: &str, usual: bool) -> bool {
        self.get(name).and_then(|set| set.value.as_bool()).unwrap_or(usual)
    }

    pub(super) fn text(&self, name: &str) -> Option<&str> {
        self.get(name).and_then(|set| set.value.as_str().map(str::trim))
    }
}

/// A value that is set, and where. Empty texts are not set.
#[derive(Clone, Copy)]
pub(super) struct Set<'a> {
    pub(super) place: Place,
    pub(super) value: &'a Value,
}

impl<'a> Set<'a> {
    fn of(file: usize, object: &'a Object, name: &str) -> Option<Self> {
        let value = object.get(name)?;
        let blank = value.as_str().is_some_and(|text| text.trim().is_empty());
        (!blank).then_some(Self { place: Place { file, at: Some(value.at) }, value })
    }
}

/// The outermost keys of all files.
pub(super) struct Root<'a> {
    files: &'a [(usize, Object)],
}

impl<'a> Root<'a> {
    /// The value that counts: that of the last file that has one.
    fn get(&self, name: &str) -> Option<Set<'a>> {
        self.files.iter().rev().find_map(|(file, object)| Set::of(*file, object, name))
    }

    /// All blocks of a type; those that are none are reported.
    pub(super) fn blocks(&self, report: &mut Report, name: &'a str, labels: usize) -> Vec<Found<'a>> {
        let mut found = Vec::new();
        for (file, object) in self.files {
            for block in object.blocks(name, labels) {
                match block {
                    Ok(block) => found.push(Found { file: *file, block }),
                    Err(error) => report.error(*file, error),
                }
            }
        }
        found
    }

    fn text(&self, name: &str) -> Option<(Place, &'a str)> {
        self.get(name).and_then(|set| Some((set.place, set.value.as_str()?.trim())))
    }

    /// A duration above zero.
    fn duration(&self, name: &str) -> Option<Duration> {
        self.get(name).and_then(|set| schema::duration(set.value)).filter(|duration| !duration.is_zero())
    }
}

/// The configuration, unless a mistake leaves it incomplete. `whole`: every file could be read, so that what is
/// not there is missing.
pub(super) fn config(report: &mut Report, files: &[(usize, Object)], whole: bool) -> Option<ServerConfig> {
    let root = Root { files };
    seals(report, &root);
    lockouts(report, &root);
    let request = root.duration("default_max_request_duration");
    let listeners = listener::listeners(report, &root, request, whole);
    let storage = storage::storage(report, &root, whole);
    let audit = audit::devices(report, &root);
    let (default_lease_ttl, max_lease_ttl) = lease_ttls(report, &root);
    Some(ServerConfig {
        listeners,
        storage: storage?,
        audit,
        log_level: log_level(report, &root),
        default_lease_ttl,
        max_lease_ttl,
        api_addr: api_addr(report, &root),
        cluster_name: root.text("cluster_name").map_or("keyward", |(_, name)| name).to_owned(),
        reach: reach(report, &root),
        pid_file: root.text("pid_file").map(|(_, path)| PathBuf::from(path)),
    })
}

/// A default that is not set is lowered to the maximum; one that is set above it is a mistake.
fn lease_ttls(report: &mut Report, root: &Root<'_>) -> (Duration, Duration) {
    let max = root.duration("max_lease_ttl").unwrap_or(DEFAULT_TTL);
    let Some(default) = root.duration("default_lease_ttl") else { return (DEFAULT_TTL.min(max), max) };
    if let Some(set) = root.get("default_lease_ttl")
        && default > max
    {
        let what =
            format!("`default_lease_ttl` is longer than `max_lease_ttl`, which is {} seconds", max.as_secs());
        report.mistake(set.place, what, "lower it, or raise `max_lease_ttl`");
    }
    (default, max)
}

fn log_level(report: &mut Report, root: &Root<'_>) -> Level {
    let Some((place, name)) = root.text("log_level") else { return Level::Info };
    match name.to_ascii_lowercase().as_str() {
        "error" | "err" => Level::Error,
        "warn" | "warning" => Level::Warn,
        "info" | "notice" => Level::Info,
        "debug" => Level::Debug,
        "trace" => Level::Trace,
        _ => {
            report.mistake(
                place,
                "`log_level` is none of the levels",
                "write error, warn, info, debug or trace",
            );
            Level::Info
        }
    }
}

fn api_addr(report: &mut Report, root: &Root<'_>) -> String {
    let Some((place, url)) = root.text("api_addr") else { return String::new() };
    if let Err(what) = address::url(url) {
        report.mistake(
            place,
            format!("`api_addr` {what}"),
            "write a URL such as \"https://keyward.example:8200\"",
        );
    }
    url.strip_suffix('/').unwrap_or(url).to_owned()
}

fn reach(report: &mut Report, root: &Root<'_>) -> Reach {
    let mut reach = Reach::default();
    for (name, port) in [("acme_http_port", &mut reach.http_port), ("acme_tls_port", &mut reach.tls_port)] {
        let Some(set) = root.get(name) else { continue };
        match set.value.as_int().and_then(|port| u16::try_from(port).ok()).filter(|port| *port > 0) {
            Some(found) => *port = found,
            None => {
                report.mistake(set.place, format!("`{name}` is no port"), "write a number from 1 to 65535");
            }
        }
    }
    if let Some(set) = root.get("acme_reachable_networks") {
        reach.networks = schema::texts(set.value).unwrap_or_default();
        if let Err(why) = cidr::check(&reach.networks) {
            report.mistake(set.place, format!("`acme_reachable_networks`: {why}"), "mend or remove it");
        }
    }
    reach
}

/// Key shares are the only seal, so that a block can only say what is so.
fn seals(report: &mut Report, root: &Root<'_>) {
    for seal in root.blocks(report, "seal", 1) {
        let kind = seal.kind();
        if kind == "shamir" {
            continue;
        }
        let remedy = "remove the block, and unseal with key shares (`keyward operator unseal`)";
        if seal.flag("disabled", false) {
            let what = format!("seal \"{kind}\" has no effect: it is disabled, and the seal is key shares");
            report.warn(seal.place(), what);
        } else if vault::SEALS.contains(&kind.as_str()) {
            report.mistake(seal.place(), format!("seal \"{kind}\" is not available"), remedy);
        } else {
            report.mistake(seal.place(), format!("seal \"{kind}\" is unknown"), remedy);
        }
    }
}

/// Failed logins lock a user as each mount says, not the configuration: a block that wants it must not be ignored.
fn lockouts(report: &mut Report, root: &Root<'_>) {
    for lockout in root.blocks(report, "user_lockout", 1) {
        schema::check(report, lockout.file, lockout.block.body, &vault::USER_LOCKOUT);
        if !lockout.flag("disable_lockout", false) {
            report.mistake(
                lockout.place(),
                "`user_lockout` cannot be honoured: each auth mount has its own settings for it",
                "remove it, and write user_lockout_config to sys/auth/PATH/tune of the mounts it is for",
            );
        }
    }
}
