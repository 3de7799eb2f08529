//! TLS towards servers whose certificates are looked at, and believed by nobody.

use keyward_authority::act::challenge::{PROTOCOL, Seen};
use keyward_crypto::x509::Certificate;
use rustls::client::Resumption;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, SignatureScheme};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};
use std::sync::Arc;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// What a server shows to who speaks the protocol of tls-alpn-01.
pub(super) async fn shown(stream: TcpStream, host: &str) -> Result<Seen, String> {
    let stream = handshake(stream, host, PROTOCOL).await?;
    let (_, session) = stream.get_ref();
    let certificates = session.peer_certificates().unwrap_or_default();
    Ok(Seen::Tls {
        protocol: session.alpn_protocol().map(<[u8]>::to_vec),
        certificates: certificates.iter().map(|certificate| certificate.to_vec()).collect(),
    })
}

/// A connection for HTTP.
pub(super) async fn unverified(stream: TcpStream, host: &str) -> Result<TlsStream<TcpStream>, String> {
    handshake(stream, host.trim_matches(['[', ']']), b"http/1.1").await
}

async fn handshake(stream: TcpStream, host: &str, protocol: &[u8]) -> Result<TlsStream<TcpStream>, String> {
    let name =
        ServerName::try_from(host.to_owned()).map_err(|_| "the host has no name for TLS".to_owned())?;
    let provider = Arc::new(aws_lc_rs::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .map_err(|why| format!("TLS cannot be set up: {why}"))?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Unverified(provider)))
        .with_no_client_auth();
    config.alpn_protocols = vec![protocol.to_vec()];
    config.resumption = Resumption::disabled();
    let connected = TlsConnector::from(Arc::new(config)).connect(name, stream).await;
    connected.map_err(|_| "the TLS handshake failed".to_owned())
}

/// Accepts any certificate whose key the server has. The certificates of tls-alpn-01 have a critical extension that
/// nobody else knows, so that the usual way of looking at the key would refuse them.
#[derive(Debug)]
struct Unverified(Arc<CryptoProvider>);

impl Unverified {
    fn verify(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let certificate = Certificate::read(certificate).map_err(|_| CertificateError::BadEncoding)?;
        let known = self.0.signature_verification_algorithms.mapping;
        let mut fitting =
            known.iter().filter(|(scheme, _)| *scheme == signed.scheme).flat_map(|(_, found)| *found);
        let key = certificate.public().key_bits();
        match fitting.any(|algorithm| algorithm.verify_signature(key, message, signed.signature()).is_ok()) {
            true => Ok(HandshakeSignatureValid::assertion()),
            false => Err(CertificateError::BadSignature.into()),
        }
    }
}

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
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.verify(message, certificate, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.verify(message, certificate, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
