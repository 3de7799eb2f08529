//! Tokens that others signed and key sets that others publish; what is bound to claims and namespaces.

use keyward_authority::jwt::{Keys, Leeways, Token};
use keyward_core::Timestamp;

pub(crate) fn run(data: &[u8]) {
    let (keys, text) = data.split_at(data.iter().position(|byte| *byte == b'\n').unwrap_or(data.len()));
    let keys = Keys::from_jwks(keys);
    let Some(text) = crate::text(text) else { return };
    let _ = Keys::from_pem([text]);
    let Ok(token) = Token::parse(text) else { return };
    let _ = (token.audiences(), token.check_times(Timestamp::from_secs(1), Leeways::default()));
    if let Ok(keys) = keys {
        // Nobody signs anything here, so nothing may verify.
        assert!(keys.verify(&token, &[]).is_err(), "{text}");
    }
}

pub(crate) fn seeds() -> Vec<Vec<u8>> {
    let set = r#"{"keys":[{"kty":"EC","crv":"P-256","kid":"k","use":"sig","alg":"ES256","x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU","y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"}]}"#;
    let token = "eyJhbGciOiJFUzI1NiIsImtpZCI6ImsifQ.eyJzdWIiOiJhIiwiYXVkIjpbIngiXSwiZXhwIjoyMDAwfQ.AAAA";
    crate::texts(&[&format!("{set}\n{token}"), set, &format!("\n{token}")])
}
