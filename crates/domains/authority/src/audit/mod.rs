//! Audit: what is recorded of every request, where it goes, and how a log proves that it is whole.
//!
//! [`record`] writes the records; [`values`] and [`hashes`] write hashes for what they may not show; [`device`] is what an operator
//! configures; [`chain`] binds each line of a log to the one before; [`search`] finds requests in a log. The devices
//! themselves are the server's.

pub mod chain;
pub mod device;
mod hashes;
pub mod record;
pub mod search;
#[cfg(test)]
mod tests;
mod values;

pub use device::{Config, Device, Facility, Form, Sink, SocketKind};
pub use record::{Exchange, Record, Subject};

use crate::refusal::Refusal;
use crate::token::Caller;
use crate::txn::Txn;
use hashes::Hashes;
use keyward_core::Timestamp;
use keyward_crypto::MacKey;
use quick_cache::sync::Cache;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::Arc;

const KEY: &str = "core/audit";

/// The most a configuration may hold: each device opens a file or a socket, and each header is looked up in
/// every request.
const MOST_DEVICES: usize = 16;
const MOST_HEADERS: usize = 64;

/// Headers that carry credentials: never recorded but hashed.
const CREDENTIALS: [&str; 4] = ["x-vault-token", "authorization", "proxy-authorization", "cookie"];

/// The configuration as stored: one entry, since it is small and always needed whole.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
struct Stored {
    generation: u64,
    devices: Vec<Device>,
    /// By lower-case name: whether the value is hashed.
    headers: BTreeMap<String, bool>,
}

/// The devices and headers of one snapshot, with the key that hashes values.
pub struct Auditing {
    generation: u64,
    devices: Vec<(Device, Config)>,
    headers: BTreeMap<String, bool>,
    forms: Vec<Form>,
    hashes: Hashes,
    /// By the storage name of the token, which is a keyed hash of it.
    tokens: Cache<String, Arc<Shown>>,
}

/// How records show a token; never changes while the token lives.
struct Shown {
    token: String,
    accessor: String,
    issued: String,
}

/// How many tokens' hashes are kept, of some 250 bytes each.
const KEPT_TOKENS: usize = 1024;

impl Auditing {
    fn new(stored: Stored, key: Arc<MacKey>) -> Result<Auditing, Refusal> {
        let mut devices = Vec::with_capacity(stored.devices.len());
        let mut forms = Vec::with_capacity(1);
        for device in stored.devices {
            let config = device.config()?;
            if !forms.contains(&config.form) {
                forms.push(config.form);
            }
            devices.push((device, config));
        }
        Ok(Auditing {
            generation: stored.generation,
            devices,
            headers: stored.headers,
            forms,
            hashes: Hashes::new(key),
            tokens: Cache::new(KEPT_TOKENS),
        })
    }

    /// Grows with every change of the configuration.
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// The devices, in the order of their paths, with their options read.
    pub fn devices(&self) -> &[(Device, Config)] {
        &self.devices
    }

    /// The lower-case names of the request headers that records show.
    pub fn headers(&self) -> impl Iterator<Item = &str> {
        self.headers.keys().map(String::as_str)
    }

    /// Whether the value of the recorded header `name` (in any case) is hashed; none when it is not recorded.
    pub fn header(&self, name: &str) -> Option<bool> {
        self.headers.get(&name.to_ascii_lowercase()).copied()
    }

    /// The hash that stands for `value` in records: `hmac-sha256:` and 64 hexadecimal digits.
    pub fn hash(&self, value: &str) -> String {
        self.hashes.of(value)
    }

    fn token(&self, token: &str, caller: &Caller) -> Arc<Shown> {
        if let Some(shown) = self.tokens.get(&caller.name) {
            return shown;
        }
        let entry = &caller.token;
        let shown = Arc::new(Shown {
            token: self.hash(token),
            accessor: self.hash(&entry.accessor),
            issued: Timestamp::from_secs(entry.created_at().secs()).to_string(),
        });
        self.tokens.insert(caller.name.clone(), shown.clone());
        shown
    }
}

/// The configuration of this snapshot.
pub fn auditing(txn: &mut Txn<'_>) -> Result<Arc<Auditing>, Refusal> {
    let key = txn.keyring().audit.clone();
    let build = |plain: &[u8]| {
        let stored = serde_json::from_slice(plain).map_err(|_| Refusal::Corrupt(KEY.to_owned()))?;
        Auditing::new(stored, key.clone())
    };
    match txn.built(KEY, build)? {
        Some(auditing) => Ok(auditing),
        None => txn.built_of(KEY.as_bytes(), 0, || Auditing::new(Stored::default(), key.clone())),
    }
}

fn change(txn: &mut Txn<'_>, act: impl FnOnce(&mut Stored) -> Result<(), Refusal>) -> Result<(), Refusal> {
    let mut stored: Stored = txn.get_json(KEY)?.unwrap_or_default();
    act(&mut stored)?;
    stored.generation += 1;
    txn.put_json(KEY, &stored)
}

/// Adds `device`, whose options must read well.
pub fn enable(txn: &mut Txn<'_>, device: Device) -> Result<(), Refusal> {
    let config = device.config()?;
    change(txn, |stored| {
        for known in &stored.devices {
            if known.path.starts_with(&device.path) || device.path.starts_with(&known.path) {
                return Err(Refusal::invalid("path already in use"));
            }
            // Two writers in one file would tear each other's chain.
            if config.sink.is_exclusive() && known.config()?.sink == config.sink {
                return Err(Refusal::invalid(format!(
                    "the audit device {} writes to the same place; give each device its own",
                    known.path
                )));
            }
        }
        if stored.devices.len() >= MOST_DEVICES {
            return Err(Refusal::invalid(format!(
                "there are {MOST_DEVICES} audit devices already, which is the most; disable one first"
            )));
        }
        stored.devices.push(device);
        stored.devices.sort_unstable_by(|a, b| a.path.cmp(&b.path));
        Ok(())
    })
}

/// Removes the device at `path`, which ends in a slash. Answers whether there was one.
pub fn disable(txn: &mut Txn<'_>, path: &str) -> Result<bool, Refusal> {
    if !auditing(txn)?.devices().iter().any(|(device, _)| device.path == path) {
        return Ok(false);
    }
    change(txn, |stored| {
        stored.devices.retain(|device| device.path != path);
        Ok(())
    })?;
    Ok(true)
}

/// Records the request header `name` from now on, hashed or as it is.
pub fn show_header(txn: &mut Txn<'_>, name: &str, hashed: bool) -> Result<(), Refusal> {
    let name = name.to_ascii_lowercase();
    let is_token = |c: char| c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c);
    if name.is_empty() || name.len() > 128 || !name.chars().all(is_token) {
        return Err(Refusal::invalid("the header name is not one that HTTP allows (RFC 9110, section 5.1)"));
    }
    if !hashed && CREDENTIALS.contains(&name.as_str()) {
        return Err(Refusal::invalid(format!(
            "the header {name} carries credentials, which are never recorded as they are: set hmac=true"
        )));
    }
    change(txn, |stored| {
        if stored.headers.len() >= MOST_HEADERS && !stored.headers.contains_key(&name) {
            return Err(Refusal::invalid(format!(
                "there are {MOST_HEADERS} recorded headers already, which is the most; remove one first"
            )));
        }
        stored.headers.insert(name, hashed);
        Ok(())
    })
}

/// Records the request header `name` no more.
pub fn hide_header(txn: &mut Txn<'_>, name: &str) -> Result<(), Refusal> {
    let name = name.to_ascii_lowercase();
    change(txn, |stored| {
        stored.headers.remove(&name);
        Ok(())
    })
}
