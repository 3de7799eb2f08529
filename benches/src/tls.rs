//! TLS between a webhook and who asks it.

use crate::Failure;
use keyward_testkit::certificates::Authority;
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::{CertificateDer, pem::PemObject};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tokio_rustls::TlsConnector;

/// A certificate in files, and who believes it.
pub(crate) struct Tls {
    pub(crate) certificate: PathBuf,
    pub(crate) key: PathBuf,
    pub(crate) authority: PathBuf,
    pub(crate) connector: TlsConnector,
}

impl Tls {
    pub(crate) fn new(folder: &Path) -> Result<Tls, Failure> {
        let authority = Authority::new("bench")?;
        let issued = authority.issue("bench", &[], &["127.0.0.1"])?;
        let place = |name: &str, text: &str| {
            let path = folder.join(name);
            fs::write(&path, text).map(|()| path)
        };
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(authority.certificate().as_bytes())?)?;
        let config =
            ClientConfig::builder_with_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
                .with_safe_default_protocol_versions()?
                .with_root_certificates(roots)
                .with_no_client_auth();
        Ok(Tls {
            certificate: place("tls.crt", &issued.certificate)?,
            key: place("tls.key", &issued.key)?,
            authority: place("ca.crt", &authority.certificate())?,
            connector: TlsConnector::from(Arc::new(config)),
        })
    }
}
