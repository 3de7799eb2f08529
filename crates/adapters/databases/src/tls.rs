//! TLS to servers, as far as each mode believes them.

use crate::{Tls, TlsMode};
use keyward_tls::{Anybody, Trust};
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::aws_lc_rs;
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use std::fmt::Display;
use std::sync::Arc;

fn unusable(why: &dyn Display) -> String {
    format!("the connection's TLS settings cannot be used: {why}")
}

/// Settings of a client that believes a server as far as `tls` says.
pub(crate) fn config(tls: &Tls) -> Result<ClientConfig, String> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .map_err(|why| unusable(&why))?;
    // libpq checks the chain where it was given authorities, whatever else it was told.
    let checked = match tls.mode {
        TlsMode::VerifyCa | TlsMode::VerifyFull => true,
        _ => tls.authorities.is_some(),
    };
    let verifier: Arc<dyn ServerCertVerifier> = if checked {
        let known = WebPkiServerVerifier::builder_with_provider(Arc::new(roots(tls)?), provider)
            .build()
            .map_err(|why| unusable(&why))?;
        let names = tls.mode == TlsMode::VerifyFull;
        Arc::new(Known { known, names, expected: expected(tls)? })
    } else {
        // `require` and `prefer` keep out who only listens.
        Arc::new(Anybody(provider))
    };
    let builder = builder.dangerous().with_custom_certificate_verifier(verifier);
    match &tls.identity {
        None => Ok(builder.with_no_client_auth()),
        Some((chain, key)) => {
            let chain: Vec<_> = CertificateDer::pem_slice_iter(chain.as_bytes())
                .collect::<Result<_, _>>()
                .map_err(|why| unusable(&why))?;
            let key = PrivateKeyDer::from_pem_slice(key.expose().as_bytes())
                .map_err(|_| unusable(&"private_key is not a key in PEM"))?;
            builder.with_client_auth_cert(chain, key).map_err(|why| unusable(&why))
        }
    }
}

fn expected(tls: &Tls) -> Result<Option<ServerName<'static>>, String> {
    let name = tls.server_name.clone().map(ServerName::try_from).transpose();
    name.map_err(|_| unusable(&"tls_server_name is not a name"))
}

fn roots(tls: &Tls) -> Result<RootCertStore, String> {
    let trust = tls.authorities.clone().map_or(Trust::System, Trust::Pem);
    let roots = trust.roots().map_err(|why| unusable(&why))?;
    match roots.is_empty() {
        true => Err(unusable(&"there is no authority to believe the server by: send tls_ca")),
        false => Ok(roots),
    }
}

/// Believes whoever known authorities signed, for the name if that is wanted.
#[derive(Debug)]
struct Known {
    known: Arc<WebPkiServerVerifier>,
    names: bool,
    expected: Option<ServerName<'static>>,
}

impl ServerCertVerifier for Known {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let name = self.expected.as_ref().unwrap_or(server_name);
        match self.known.verify_server_cert(end_entity, intermediates, name, ocsp_response, now) {
            Err(rustls::Error::InvalidCertificate(
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
            )) if !self.names => Ok(ServerCertVerified::assertion()),
            verified => verified,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.known.verify_tls12_signature(message, certificate, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.known.verify_tls13_signature(message, certificate, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.known.supported_verify_schemes()
    }
}
