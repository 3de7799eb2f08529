//! The API server's side of the contract, for `kms status` and `kms doctor`.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;
use std::time::Duration;

use keyward_crypto::Secret;
use tonic::Code;
use tonic::transport::{Channel, Endpoint};

use crate::proto::v2::key_management_service_client::KeyManagementServiceClient;
use crate::proto::v2::{DecryptRequest, EncryptRequest, StatusRequest};

/// A connection to a plugin: ours or any other that speaks KMS v2.
#[derive(Clone)]
pub struct PluginClient(KeyManagementServiceClient<Channel>);

/// What a plugin tells of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PluginStatus {
    /// The contract's version: `v2`.
    pub version: String,
    /// `ok`, or what is wrong.
    pub healthz: String,
    /// The key in use.
    pub key_id: String,
}

/// What a plugin makes of a seed. Public.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SealedSeed {
    /// The sealed seed.
    pub ciphertext: Vec<u8>,
    /// The key it is sealed under.
    pub key_id: String,
    /// What is stored beside it.
    pub annotations: BTreeMap<String, Vec<u8>>,
}

/// Why a plugin did not serve.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PluginError {
    /// Nobody answers on the socket in time, or not in this protocol.
    Unreachable(String),
    /// The plugin answered with an error.
    Refused(String),
}

impl fmt::Display for PluginError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            PluginError::Unreachable(why) => write!(f, "the plugin does not answer: {why}"),
            PluginError::Refused(why) => write!(f, "the plugin refuses: {why}"),
        }
    }
}

impl std::error::Error for PluginError {}

impl PluginClient {
    /// Connects to a socket; every call gets `timeout`, as the API server's configuration has it.
    pub async fn connect(socket: &Path, timeout: Duration) -> Result<PluginClient, PluginError> {
        let unreachable = |error: tonic::transport::Error| {
            PluginError::Unreachable(format!("{}: {}", socket.display(), root_cause(&error)))
        };
        let endpoint = Endpoint::from_shared(format!("unix://{}", socket.display())).map_err(unreachable)?;
        let channel =
            endpoint.connect_timeout(timeout).timeout(timeout).connect().await.map_err(unreachable)?;
        Ok(PluginClient(KeyManagementServiceClient::new(channel)))
    }

    /// Asks for the status.
    pub async fn status(&mut self) -> Result<PluginStatus, PluginError> {
        let reply = self.0.status(StatusRequest {}).await.map_err(|status| failed(&status))?.into_inner();
        Ok(PluginStatus { version: reply.version, healthz: reply.healthz, key_id: reply.key_id })
    }

    /// Seals a seed. `uid` names the request in the plugin's log.
    pub async fn encrypt(&mut self, uid: &str, seed: &[u8]) -> Result<SealedSeed, PluginError> {
        let request = EncryptRequest { plaintext: seed.to_vec(), uid: uid.to_owned() };
        let reply = self.0.encrypt(request).await.map_err(|status| failed(&status))?.into_inner();
        Ok(SealedSeed {
            ciphertext: reply.ciphertext,
            key_id: reply.key_id,
            annotations: reply.annotations.into_iter().collect(),
        })
    }

    /// Opens a sealed seed.
    pub async fn decrypt(&mut self, uid: &str, sealed: &SealedSeed) -> Result<Secret<Vec<u8>>, PluginError> {
        let request = DecryptRequest {
            ciphertext: sealed.ciphertext.clone(),
            uid: uid.to_owned(),
            key_id: sealed.key_id.clone(),
            annotations: sealed.annotations.clone().into_iter().collect(),
        };
        let mut reply = self.0.decrypt(request).await.map_err(|status| failed(&status))?.into_inner();
        Ok(Secret::new(std::mem::take(&mut reply.plaintext)))
    }
}

fn failed(status: &tonic::Status) -> PluginError {
    match status.code() {
        // Made by the client itself when the connection breaks or the time is up.
        Code::Cancelled | Code::DeadlineExceeded | Code::Unknown | Code::Unimplemented | Code::Internal => {
            PluginError::Unreachable(format!("{:?}: {}", status.code(), status.message()))
        }
        code => PluginError::Refused(format!("{code:?}: {}", status.message())),
    }
}

/// The innermost cause: those around it repeat it.
fn root_cause(error: &dyn std::error::Error) -> String {
    let mut innermost = error;
    while let Some(inner) = innermost.source() {
        innermost = inner;
    }
    innermost.to_string()
}
