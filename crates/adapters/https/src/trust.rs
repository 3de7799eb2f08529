//! Whose certificates are believed.

use crate::Error;
use rustls::crypto::aws_lc_rs;
use rustls::{ClientConfig, RootCertStore, SupportedProtocolVersion};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use std::sync::Arc;

/// See the module.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Trust {
    /// The machine's own roots.
    System,
    /// These roots alone, in PEM.
    Pem(Arc<str>),
}

impl Trust {
    /// TLS settings: 1.3 with X25519MLKEM768 preferred, 1.2 accepted from older servers.
    pub fn tls(&self) -> Result<ClientConfig, Error> {
        self.tls_of(rustls::DEFAULT_VERSIONS)
    }

    /// The same with other versions.
    pub fn tls_of(&self, versions: &[&'static SupportedProtocolVersion]) -> Result<ClientConfig, Error> {
        let unusable = |why: &dyn std::fmt::Display| Error::BadTrust(why.to_string());
        let builder = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_protocol_versions(versions)
            .map_err(|why| unusable(&why))?;
        Ok(builder.with_root_certificates(self.roots()?).with_no_client_auth())
    }

    fn roots(&self) -> Result<RootCertStore, Error> {
        let mut roots = RootCertStore::empty();
        match self {
            // A system may carry entries that no modern client accepts; the others still count.
            Trust::System => {
                roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
            }
            Trust::Pem(pem) => {
                for certificate in CertificateDer::pem_slice_iter(pem.as_bytes()) {
                    let certificate = certificate.map_err(|why| Error::BadTrust(why.to_string()))?;
                    roots.add(certificate).map_err(|why| Error::BadTrust(why.to_string()))?;
                }
                if roots.is_empty() {
                    return Err(Error::BadTrust("there is no PEM certificate in it".to_owned()));
                }
            }
        }
        Ok(roots)
    }
}
