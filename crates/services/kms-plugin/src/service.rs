//! The KMS v2 contract, answered.

use std::collections::HashMap;
use std::sync::Arc;

use tonic::{Request, Response, Status};
use zeroize::{Zeroize, Zeroizing};

use crate::broker::Broker;
use crate::envelope::ANNOTATION;
use crate::proto::v2::key_management_service_server::KeyManagementService;
use crate::proto::v2::{
    DecryptRequest, DecryptResponse, EncryptRequest, EncryptResponse, StatusRequest, StatusResponse,
};
use crate::refusal::Refusal;
use keyward_log::{Log, LogLevel};

/// The version of the contract, and what health is called in it.
pub(crate) const VERSION: &str = "v2";
pub(crate) const HEALTHY: &str = "ok";
/// The longest request identifier that is logged.
const LONGEST_UID: usize = 128;

/// The service behind the socket.
pub(crate) struct Service {
    pub(crate) broker: Arc<Broker>,
    pub(crate) log: Log,
}

impl Service {
    fn told<T>(&self, operation: &str, uid: &str, outcome: Result<T, Refusal>) -> Result<T, Status> {
        let uid: String = uid.chars().take(LONGEST_UID).collect();
        match outcome {
            Ok(value) => {
                self.log.event(LogLevel::Debug, operation, &[("uid", &uid)]);
                Ok(value)
            }
            Err(refusal) => {
                self.log.event(LogLevel::Warn, operation, &[("uid", &uid), ("refused", refusal.text())]);
                Err(refusal.into())
            }
        }
    }
}

#[tonic::async_trait]
impl KeyManagementService for Service {
    async fn status(&self, _: Request<StatusRequest>) -> Result<Response<StatusResponse>, Status> {
        // A failing provider fails the call. Any other health than "ok" would stop nothing: the API server then
        // goes on writing with the seed it has.
        let kek = self.told("status", "", self.broker.status())?;
        Ok(Response::new(StatusResponse {
            version: VERSION.to_owned(),
            healthz: HEALTHY.to_owned(),
            key_id: kek.key_id.clone(),
        }))
    }

    async fn encrypt(&self, request: Request<EncryptRequest>) -> Result<Response<EncryptResponse>, Status> {
        let EncryptRequest { plaintext, uid } = request.into_inner();
        let seed = Zeroizing::new(plaintext);
        let sealed = self.told("encrypt", &uid, self.broker.encrypt(&seed))?;
        Ok(Response::new(EncryptResponse {
            ciphertext: sealed.ciphertext,
            key_id: sealed.kek.key_id.clone(),
            annotations: HashMap::from([(ANNOTATION.to_owned(), sealed.kek.annotation.clone())]),
        }))
    }

    async fn decrypt(&self, request: Request<DecryptRequest>) -> Result<Response<DecryptResponse>, Status> {
        let request = request.into_inner();
        let annotation = request.annotations.get(ANNOTATION).map(Vec::as_slice);
        let opened = self.broker.decrypt(&request.key_id, annotation, &request.ciphertext).await;
        let mut seed = self.told("decrypt", &request.uid, opened)?;
        // The response is wiped when it is dropped, after it was written to the socket.
        Ok(Response::new(DecryptResponse { plaintext: std::mem::take(&mut *seed) }))
    }
}

impl Drop for DecryptResponse {
    fn drop(&mut self) {
        self.plaintext.zeroize();
    }
}
