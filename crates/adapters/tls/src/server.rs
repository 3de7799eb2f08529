//! What a TLS server shows: files or keys to a rustls configuration.
//!
//! TLS 1.3 with X25519MLKEM768 preferred, which is the order of the aws-lc-rs provider; 1.2 only when the
//! operator asks for it.

use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{DigitallySignedStruct, DistinguishedName, RootCertStore, ServerConfig, SignatureScheme};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, UnixTime};
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Certificates a client may show, its own included.
const MOST_CERTIFICATES: usize = 10;

/// What a listener's TLS is made of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsFiles {
    /// The certificate chain, leaf first, in PEM.
    pub certificate: PathBuf,
    /// The leaf's private key, in PEM.
    pub key: PathBuf,
    /// What is asked of clients.
    pub clients: Clients,
    /// Accept TLS 1.2 too.
    pub tls12: bool,
}

/// Whose certificates a listener asks its clients for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Clients {
    /// Nobody's.
    Silent,
    /// Anybody's, or none. Who shows one proves to hold its key; whether the certificate counts is for those to say who
    /// are asked for something: the TLS certificate logins.
    Any,
    /// Every client must show one that an authority in this file issued.
    Of(PathBuf),
}

/// Why TLS cannot be set up.
#[derive(Debug)]
pub enum TlsError {
    /// A file cannot be read as PEM.
    File(PathBuf, String),
    /// The files do not go together.
    Mismatch(String),
}

impl fmt::Display for TlsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            TlsError::File(path, why) => {
                write!(f, "{}: {why}; check that the file exists, is PEM and can be read", path.display())
            }
            TlsError::Mismatch(why) => {
                write!(
                    f,
                    "the TLS files do not go together: {why}; check that key and certificate belong to each other"
                )
            }
        }
    }
}

impl std::error::Error for TlsError {}

/// Reads `files` into a configuration.
pub fn configure(files: &TlsFiles) -> Result<Arc<ServerConfig>, TlsError> {
    let chain = certificates(&files.certificate)?;
    let key = PrivateKeyDer::from_pem_file(&files.key)
        .map_err(|why| TlsError::File(files.key.clone(), why.to_string()))?;
    configure_with(chain, key, &files.clients, files.tls12)
}

/// A configuration of a chain, leaf first, and the leaf's key, which need not come from files.
pub fn configure_with(
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
    clients: &Clients,
    tls12: bool,
) -> Result<Arc<ServerConfig>, TlsError> {
    let mismatch = |why: rustls::Error| TlsError::Mismatch(why.to_string());
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let versions: &[&rustls::SupportedProtocolVersion] =
        if tls12 { &[&rustls::version::TLS13, &rustls::version::TLS12] } else { &[&rustls::version::TLS13] };
    let builder = ServerConfig::builder_with_provider(provider.clone())
        .with_protocol_versions(versions)
        .map_err(mismatch)?;
    let builder = match clients {
        Clients::Silent => builder.with_no_client_auth(),
        Clients::Any => builder.with_client_cert_verifier(Arc::new(AnyClient(provider))),
        Clients::Of(path) => {
            let mut roots = RootCertStore::empty();
            for certificate in certificates(path)? {
                roots.add(certificate).map_err(mismatch)?;
            }
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
            builder.with_client_cert_verifier(
                verifier.build().map_err(|why| TlsError::Mismatch(why.to_string()))?,
            )
        }
    };
    let mut config = builder.with_single_cert(chain, key).map_err(mismatch)?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

/// See [`Clients::Any`].
#[derive(Debug)]
struct AnyClient(Arc<CryptoProvider>);

impl ClientCertVerifier for AnyClient {
    fn client_auth_mandatory(&self) -> bool {
        false
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    /// Only how much is shown is looked at: it is kept for as long as the connection, and its resumptions.
    fn verify_client_cert(
        &self,
        _: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        match intermediates.len() < MOST_CERTIFICATES {
            true => Ok(ClientCertVerified::assertion()),
            false => Err(rustls::Error::General("the client shows too many certificates".to_owned())),
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signature, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signature, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let wrong = |why: String| TlsError::File(path.to_owned(), why);
    let read: Result<Vec<_>, _> =
        CertificateDer::pem_file_iter(path).map_err(|why| wrong(why.to_string()))?.collect();
    match read {
        Ok(chain) if chain.is_empty() => Err(wrong("there is no certificate in it".to_owned())),
        Ok(chain) => Ok(chain),
        Err(why) => Err(wrong(why.to_string())),
    }
}
