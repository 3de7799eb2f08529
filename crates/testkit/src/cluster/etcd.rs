//! What the API server wrote, read past it.

use std::path::Path;
use std::process::Command;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::control_plane::ETCD_ADDRESS;
use super::error::{Error, doing, run};
use super::{Binary, COMMAND_LIMIT, Cluster};

impl Cluster {
    /// The bytes etcd holds at `key` (`/registry/secrets/NAMESPACE/NAME`); none when there is no such key.
    pub fn etcd_get(&self, key: &str) -> Result<Option<Vec<u8>>, Error> {
        Ok(self.etcd_range(&[key])?.pop().map(|(_, value)| value))
    }

    /// Every key that starts with `prefix`, in order, and its bytes.
    pub fn etcd_list(&self, prefix: &str) -> Result<Vec<(String, Vec<u8>)>, Error> {
        self.etcd_range(&["--prefix", prefix])
    }

    /// Writes a consistent copy of etcd's whole database to `file`.
    pub fn etcd_snapshot(&self, file: &Path) -> Result<(), Error> {
        self.etcdctl(&["snapshot", "save", &file.to_string_lossy()]).map(|_| ())
    }

    /// Runs `etcdctl` with `arguments` and returns its output.
    pub fn etcdctl(&self, arguments: &[&str]) -> Result<Vec<u8>, Error> {
        run(self.etcdctl_command().args(arguments), b"", COMMAND_LIMIT)
    }

    /// `etcdctl`, to be run by the caller.
    pub fn etcdctl_command(&self) -> Command {
        let mut command = self.command_in_namespace(self.binary(Binary::Etcdctl));
        command.env("ETCDCTL_ENDPOINTS", ETCD_ADDRESS);
        command
    }

    fn etcd_range(&self, arguments: &[&str]) -> Result<Vec<(String, Vec<u8>)>, Error> {
        let answer = self.etcdctl(&[&["get", "--write-out=json"], arguments].concat())?;
        let unreadable = |error: serde_json::Error| doing("reading etcdctl's answer")(error.into());
        let answer: serde_json::Value = serde_json::from_slice(&answer).map_err(unreadable)?;
        let found = answer["kvs"].as_array().map(Vec::as_slice).unwrap_or_default();
        found.iter().map(|entry| Ok((text(&entry["key"])?, bytes(&entry["value"])?))).collect()
    }
}

fn text(field: &serde_json::Value) -> Result<String, Error> {
    Ok(String::from_utf8_lossy(&bytes(field)?).into_owned())
}

/// An empty value is left out of the answer.
fn bytes(field: &serde_json::Value) -> Result<Vec<u8>, Error> {
    STANDARD
        .decode(field.as_str().unwrap_or_default())
        .map_err(|error| doing("reading etcdctl's answer")(std::io::Error::other(error)))
}
