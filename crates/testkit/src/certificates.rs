//! One test certificate authority and the certificates it issues: ECDSA P-256, valid from 2020 to 2119.

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DistinguishedName, DnType, ExtendedKeyUsagePurpose,
    IsCa, KeyPair, KeyUsagePurpose,
};

/// Why a certificate was not made; only a malformed name in a test's own arguments leads here.
pub type Error = rcgen::Error;

/// A certificate authority whose key lives as long as the test.
pub struct Authority(CertifiedIssuer<'static, KeyPair>);

/// A certificate and its private key, both PEM.
pub struct CertifiedKey {
    /// The leaf certificate alone; the authority signs directly, so there is no chain.
    pub certificate: String,
    /// PKCS#8.
    pub key: String,
}

impl Authority {
    /// A new self-signed authority.
    pub fn new(common_name: &str) -> Result<Authority, Error> {
        let mut params = CertificateParams::new(Vec::new())?;
        params.distinguished_name = subject(common_name, &[]);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        set_validity(&mut params);
        CertifiedIssuer::self_signed(params, KeyPair::generate()?).map(Authority)
    }

    /// The authority's certificate, PEM.
    pub fn certificate(&self) -> String {
        self.0.pem()
    }

    /// The authority's private key, PEM (PKCS#8), for components that sign on their own.
    pub fn key(&self) -> String {
        self.0.key().serialize_pem()
    }

    /// A certificate for a server and client: its common name, organizations (Kubernetes' groups), and the DNS
    /// names and IP addresses it may serve.
    pub fn issue(
        &self,
        common_name: &str,
        organizations: &[&str],
        hosts: &[&str],
    ) -> Result<CertifiedKey, Error> {
        let mut params =
            CertificateParams::new(hosts.iter().map(|host| (*host).to_owned()).collect::<Vec<_>>())?;
        params.distinguished_name = subject(common_name, organizations);
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages =
            vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        params.use_authority_key_identifier_extension = true;
        set_validity(&mut params);
        let key = KeyPair::generate()?;
        let certificate = params.signed_by(&key, &self.0)?;
        Ok(CertifiedKey { certificate: certificate.pem(), key: key.serialize_pem() })
    }
}

/// A new key pair for whatever needs keys and no certificate, PEM: its private half (PKCS#8) and its public half.
pub fn key_pair() -> Result<(String, String), Error> {
    KeyPair::generate().map(|key| (key.serialize_pem(), key.public_key_pem()))
}

fn subject(common_name: &str, organizations: &[&str]) -> DistinguishedName {
    let mut name = DistinguishedName::new();
    for organization in organizations {
        name.push(DnType::OrganizationName, *organization);
    }
    name.push(DnType::CommonName, common_name);
    name
}

fn set_validity(params: &mut CertificateParams) {
    params.not_before = rcgen::date_time_ymd(2020, 1, 1);
    params.not_after = rcgen::date_time_ymd(2119, 1, 1);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn issues_under_one_authority() {
        let authority = Authority::new("test").unwrap();
        let leaf = authority.issue("server", &["group"], &["localhost", "127.0.0.1"]).unwrap();
        assert!(authority.certificate().starts_with("-----BEGIN CERTIFICATE-----"));
        assert!(leaf.certificate.starts_with("-----BEGIN CERTIFICATE-----"));
        assert!(leaf.key.starts_with("-----BEGIN PRIVATE KEY-----"));
    }

    #[test]
    fn keys_come_in_pairs() {
        let (private, public) = key_pair().unwrap();
        assert!(private.starts_with("-----BEGIN PRIVATE KEY-----"));
        assert!(public.starts_with("-----BEGIN PUBLIC KEY-----"));
        assert_ne!(key_pair().unwrap().0, private);
    }
}
