//! TLS towards the authority: 1.3 preferred with X25519MLKEM768 first, 1.2 accepted from older servers.

use std::path::Path;
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::{DigitallySignedStruct, RootCertStore, SignatureScheme};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};

use crate::{ClientConfig, ConfigError};

/// The TLS settings of a client. Files are read once, here.
pub(crate) fn client_tls(config: &ClientConfig) -> Result<Arc<rustls::ClientConfig>, ConfigError> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let builder = rustls::ClientConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .map_err(|error| one(format!("TLS cannot be set up: {error}")))?;
    let builder = if config.skip_verify {
        builder.dangerous().with_custom_certificate_verifier(Arc::new(Unverified(provider)))
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
    let mut roots = RootCertStore::empty();
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
    if config.ca_file.is_none() && config.ca_path.is_none() {
        let found = rustls_native_certs::load_native_certs();
        // A system may carry entries that no modern client accepts; the others still count.
        roots.add_parsable_certificates(found.certs);
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

/// Accepts any certificate, as `skip_verify` asks; the handshake's signature is still checked.
#[derive(Debug)]
struct Unverified(Arc<CryptoProvider>);

impl ServerCertVerifier for Unverified {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls12_signature(message, cert, dss, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls13_signature(message, cert, dss, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
