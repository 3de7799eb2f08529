//! TLS towards the authority: 1.3 preferred with X25519MLKEM768 first, 1.2 accepted from older servers.

use std::path::Path;
use std::sync::Arc;

use keyward_tls::{Anybody, Trust};
use rustls::RootCertStore;
use rustls::crypto::aws_lc_rs;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

use crate::{ClientConfig, ConfigError};

/// The TLS settings of a client. Files are read once, here.
pub(crate) fn client_tls(config: &ClientConfig) -> Result<Arc<rustls::ClientConfig>, ConfigError> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let builder = rustls::ClientConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .map_err(|error| one(format!("TLS cannot be set up: {error}")))?;
    let builder = if config.skip_verify {
        builder.dangerous().with_custom_certificate_verifier(Arc::new(Anybody(provider)))
    } else {
        builder.with_root_certificates(roots(config)?)
    };
    let mut tls = match (&config.client_cert, &config.client_key) {
        (Some(cert), Some(key)) => {
            builder.with_client_auth_cert(certificates(cert)?, private_key(key)?).map_err(|error| {
                one(format!("{} and {} do not go together: {error}", cert.display(), key.display()))
            })?
        }
        (None, None) => builder.with_no_client_auth(),
        _ => return Err(one("a client certificate needs its key, and a key its certificate".to_owned())),
    };
    tls.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(tls))
}

fn one(mistake: String) -> ConfigError {
    ConfigError(vec![mistake])
}

fn roots(config: &ClientConfig) -> Result<RootCertStore, ConfigError> {
    if config.ca_file.is_none() && config.ca_path.is_none() && config.ca_pem.is_none() {
        return Trust::System.roots().map_err(|why| one(why.to_string()));
    }
    let mut roots = match &config.ca_pem {
        Some(pem) => {
            let trust = Trust::Pem(pem.as_str().into());
            trust.roots().map_err(|why| one(format!("VAULT_CACERT_BYTES: {why}")))?
        }
        None => RootCertStore::empty(),
    };
    if let Some(file) = &config.ca_file {
        add_all(&mut roots, file, certificates(file)?)?;
    }
    if let Some(folder) = &config.ca_path {
        let unreadable =
            |error: std::io::Error| one(format!("cannot read the folder {}: {error}", folder.display()));
        for entry in std::fs::read_dir(folder).map_err(unreadable)? {
            let path = entry.map_err(unreadable)?.path();
            if path.is_file() {
                add_all(&mut roots, &path, certificates(&path)?)?;
            }
        }
    }
    Ok(roots)
}

fn add_all(
    roots: &mut RootCertStore,
    file: &Path,
    found: Vec<CertificateDer<'static>>,
) -> Result<(), ConfigError> {
    for certificate in found {
        roots
            .add(certificate)
            .map_err(|error| one(format!("{} cannot be trusted: {error}", file.display())))?;
    }
    Ok(())
}

fn certificates(file: &Path) -> Result<Vec<CertificateDer<'static>>, ConfigError> {
    let unreadable = |error: rustls_pki_types::pem::Error| {
        one(format!("cannot read certificates from {}: {error}", file.display()))
    };
    let found = CertificateDer::pem_file_iter(file)
        .map_err(unreadable)?
        .collect::<Result<Vec<_>, _>>()
        .map_err(unreadable)?;
    if found.is_empty() {
        return Err(one(format!("{} holds no PEM certificate", file.display())));
    }
    Ok(found)
}

fn private_key(file: &Path) -> Result<PrivateKeyDer<'static>, ConfigError> {
    PrivateKeyDer::from_pem_file(file)
        .map_err(|error| one(format!("cannot read a private key from {}: {error}", file.display())))
}
