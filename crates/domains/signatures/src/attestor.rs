//! Whose word is taken.

use std::collections::BTreeMap;

/// Who must have signed an image, or something that is said of it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Attestor {
    /// By what a signature is known to be theirs.
    pub trust: Trust,
    /// What must stand in the signed payload.
    pub annotations: BTreeMap<String, String>,
    /// The transparency log that must have the signature.
    pub log: TransparencyLog,
    /// The log that must have the certificate.
    pub certificate_log: CertificateLog,
    /// Trusted material in the form `application/vnd.dev.sigstore.trustedroot+json`, in the place of that of Sigstore's public
    /// instance; empty where there is none.
    pub trusted_root: String,
}

/// By what a signature is known.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Trust {
    /// A public key.
    Key {
        /// The key.
        key: PublicKeySource,
        /// What is hashed with before RSA and ECDSA: `sha256`, `sha384` or `sha512`; empty for the first.
        hash: String,
    },
    /// A certificate, or any that a chain leads to.
    Certificate {
        /// In PEM, or PEM in base64; empty for any that `chain` issued.
        certificate: String,
        /// The certificates above it in PEM, the root last; empty to take the certificate as it is.
        chain: String,
    },
    /// A certificate that an authority issued to an identity for the moment of signing.
    Keyless {
        /// The authorities in PEM; empty for those of the trusted root.
        roots: String,
        /// Any one of these; anybody where there is none.
        identities: Vec<Identity>,
        /// What extensions of the certificate must say, by OID or by cosign's names.
        extensions: BTreeMap<String, Wanted>,
    },
}

/// Where a public key is.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum PublicKeySource {
    /// Here, in PEM.
    Pem(String),
    /// Under `cosign.pub` in a Secret of the cluster. Who verifies must have read it first.
    Secret {
        /// Its namespace.
        namespace: String,
        /// Its name.
        name: String,
    },
}

/// Who a certificate is for.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Identity {
    /// Who told the authority who it is, such as `https://accounts.google.com`.
    pub issuer: Wanted,
    /// The e-mail address, URI or name.
    pub subject: Wanted,
}

/// What a text must be.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Wanted {
    /// Anything.
    Anything,
    /// This.
    Text(String),
    /// Something that a regular expression is found in.
    Pattern(String),
}

/// Which transparency log must have a signature.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct TransparencyLog {
    /// None must.
    pub ignored: bool,
    /// Its public keys in PEM; empty for those of the trusted root.
    pub keys: String,
}

/// Which log must have a certificate.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct CertificateLog {
    /// None must.
    pub ignored: bool,
    /// Its public keys in PEM; empty for those of the trusted root.
    pub keys: String,
}

/// The names by which cosign and policies know extensions of Fulcio's certificates.
const NAMES: [(&str, &str); 6] = [
    ("oidcIssuer", "1.3.6.1.4.1.57264.1.1"),
    ("githubWorkflowTrigger", "1.3.6.1.4.1.57264.1.2"),
    ("githubWorkflowSha", "1.3.6.1.4.1.57264.1.3"),
    ("githubWorkflowName", "1.3.6.1.4.1.57264.1.4"),
    ("githubWorkflowRepository", "1.3.6.1.4.1.57264.1.5"),
    ("githubWorkflowRef", "1.3.6.1.4.1.57264.1.6"),
];

/// The OID of an extension that is named in one way or the other; none for what is neither.
pub fn extension_oid(name: &str) -> Option<&str> {
    let known = NAMES.iter().find(|(known, _)| *known == name).map(|(_, oid)| *oid);
    let dotted = name.contains('.') && name.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    known.or_else(|| dotted.then_some(name))
}
