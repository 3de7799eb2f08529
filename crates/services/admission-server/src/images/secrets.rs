//! Secrets that registries and signatures need: credentials for pulling images, and public keys.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use keyward_admission::ImageAccess;
use keyward_registry::{Access, Keychain};
use keyward_signatures::{Attestor, PublicKeySource, Trust};
use serde_json::Value;
use std::pin::Pin;
use std::sync::Arc;

/// A Secret that is being read.
pub type Reading<'s> = Pin<Box<dyn Future<Output = Result<Value, String>> + Send + 's>>;

/// Where Secrets are read.
pub trait Secrets: Sync {
    /// One of them, as an object. Without a namespace it is one of the engine's own.
    ///
    /// # Errors
    ///
    /// Why it is not known.
    fn read<'s>(&'s self, namespace: &'s str, name: &'s str) -> Reading<'s>;

    /// Credentials that there are besides.
    fn keychain(&self) -> Keychain {
        Keychain::default()
    }
}

/// What is in a Secret under a key.
fn data(secret: &Value, key: &str) -> Option<Vec<u8>> {
    if let Some(text) = secret["stringData"][key].as_str() {
        return Some(text.as_bytes().to_vec());
    }
    STANDARD.decode(secret["data"][key].as_str()?).ok()
}

/// How a registry is asked, with the credentials of the Secrets.
pub(super) async fn access(access: &ImageAccess, secrets: &dyn Secrets) -> Result<Access, String> {
    let mut keychain = secrets.keychain();
    for secret in &access.secrets {
        let place = format!("the Secret {}/{}", secret.namespace, secret.name);
        let added = secrets.read(&secret.namespace, &secret.name).await.and_then(|object| {
            let found = data(&object, ".dockerconfigjson").or_else(|| data(&object, ".dockercfg"));
            keychain.add(&found.ok_or("it has no .dockerconfigjson")?)
        });
        match added {
            Ok(()) => {}
            // As with the node that pulls the image: it may do without.
            Err(_) if secret.optional => {}
            Err(why) => return Err(format!("{place} with credentials for registries cannot be used: {why}")),
        }
    }
    Ok(Access { insecure: access.insecure, keychain: Arc::new(keychain) })
}

/// The attestor with its key, where that is in a Secret.
pub(super) async fn with_key(
    attestor: &Arc<Attestor>,
    secrets: &dyn Secrets,
) -> Result<Arc<Attestor>, String> {
    let Trust::Key { key: PublicKeySource::Secret { namespace, name }, hash } = &attestor.trust else {
        return Ok(attestor.clone());
    };
    let failed =
        |why: String| format!("the public key in the Secret {namespace}/{name} cannot be used: {why}");
    let secret = secrets.read(namespace, name).await.map_err(failed)?;
    let pem = data(&secret, "cosign.pub").and_then(|bytes| String::from_utf8(bytes).ok());
    let pem = pem.ok_or_else(|| failed("it has no cosign.pub".to_owned()))?;
    let trust = Trust::Key { key: PublicKeySource::Pem(pem), hash: hash.clone() };
    Ok(Arc::new(Attestor { trust, ..Attestor::clone(attestor) }))
}
