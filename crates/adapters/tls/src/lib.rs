//! Whom a TLS client believes: the machine's roots, given ones, or anybody who holds the key of what it shows; and what a
//! TLS server shows.

mod anybody;
mod server;

pub use anybody::Anybody;
pub use server::{Clients, TlsError, TlsFiles, configure, configure_with};

use rustls::crypto::aws_lc_rs;
use rustls::{ClientConfig, RootCertStore, SupportedProtocolVersion};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use std::fmt;
use std::sync::Arc;

/// Whose certificates are believed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Trust {
    /// The machine's own roots.
    System,
    /// These roots alone, in PEM.
    Pem(Arc<str>),
    /// Anybody, which keeps out who only listens: where an operator has said so.
    Anybody,
}

/// Why nobody can be believed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadTrust(String);

impl fmt::Display for BadTrust {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for BadTrust {}

impl Trust {
    /// TLS settings without a certificate of our own: 1.3 with X25519MLKEM768 preferred, 1.2 accepted from older
    /// servers.
    pub fn tls(&self) -> Result<ClientConfig, BadTrust> {
        self.tls_of(rustls::DEFAULT_VERSIONS, None)
    }

    /// The same with other versions, and with certificates of our own and their key, both in PEM, if there are any.
    pub fn tls_of(
        &self,
        versions: &[&'static SupportedProtocolVersion],
        shown: Option<(&str, &str)>,
    ) -> Result<ClientConfig, BadTrust> {
        let builder = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_protocol_versions(versions)
            .map_err(|why| BadTrust(why.to_string()))?;
        let builder = match self {
            Trust::Anybody => {
                let anybody = Anybody(builder.crypto_provider().clone());
                builder.dangerous().with_custom_certificate_verifier(Arc::new(anybody))
            }
            Trust::System | Trust::Pem(_) => builder.with_root_certificates(self.roots()?),
        };
        let Some((certificates, key)) = shown else { return Ok(builder.with_no_client_auth()) };
        let bad = |what: &str| BadTrust(format!("what is shown to the server cannot be used: {what}"));
        let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(certificates.as_bytes()).collect();
        let chain = chain.map_err(|why| bad(&why.to_string()))?;
        let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).map_err(|_| bad("the key is none in PEM"))?;
        builder.with_client_auth_cert(chain, key).map_err(|why| bad(&why.to_string()))
    }

    /// The certificates believed; none where nobody is asked for one.
    pub fn roots(&self) -> Result<RootCertStore, BadTrust> {
        let mut roots = RootCertStore::empty();
        match self {
            Trust::Anybody => {}
            // A system may carry entries that no modern client accepts; the others still count.
            Trust::System => {
                roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
            }
            Trust::Pem(pem) => {
                for certificate in CertificateDer::pem_slice_iter(pem.as_bytes()) {
                    let certificate = certificate.map_err(|why| BadTrust(why.to_string()))?;
                    roots.add(certificate).map_err(|why| BadTrust(why.to_string()))?;
                }
                if roots.is_empty() {
                    return Err(BadTrust("there is no PEM certificate in it".to_owned()));
                }
            }
        }
        Ok(roots)
    }
}
