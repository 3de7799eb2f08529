//! Signed messages of ACME clients, and the public keys in them.

use keyward_authority::jws::{Jws, Jwk, Signer};

pub(crate) fn run(data: &[u8]) {
    let Some(text) = crate::text(data) else { return };
    if let Some(key) = Jwk::kept(text) {
        // What is kept is read back as it was.
        assert_eq!(Jwk::kept(&key.canonical).as_ref(), Some(&key), "{text}");
    }
    let mut parts = text.splitn(3, '.');
    let mut part = || parts.next().unwrap_or("");
    let Ok(jws) = Jws::read(part(), part(), part()) else { return };
    // Nobody signs anything here, so nothing may verify.
    assert!(!jws.authenticated_by(b"secret"), "{text}");
    if let Signer::Key(key) = &jws.signer {
        assert!(!jws.signed_by(&key.public), "{text}");
        assert_eq!(key.thumbprint().len(), 43);
    }
}

pub(crate) fn seeds() -> Vec<Vec<u8>> {
    let key = r#"{"crv":"P-256","kty":"EC","x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU","y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"}"#;
    let by_key = "eyJhbGciOiJFUzI1NiIsIm5vbmNlIjoibiIsInVybCI6InUiLCJqd2siOnsiY3J2IjoiUC0yNTYiLCJrdHkiOiJFQyIsIngiOiJmODNPSjNEMnhGMUJnOHZ1Yjl0TGUxZ0hNelY3NmU4VHVzOXVQSHZSVkVVIiwieSI6InhfRkV6UnU5bTM2SExOX3R1ZTY1OUxOcFhXNnBDeVN0aWtZaktJV0k1YTAifX0.e30.AAAA";
    let by_name = "eyJhbGciOiJIUzI1NiIsImtpZCI6ImsiLCJ1cmwiOiJ1In0.e30.AAAA";
    crate::texts(&[key, by_key, by_name])
}
