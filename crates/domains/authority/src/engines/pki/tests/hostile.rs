//! Requests made to be misread.

use super::*;
use keyward_crypto::x509::oid;

fn sign(bench: &mut Bench, csr: &str) -> String {
    refused(bench, "sign/web", &json!({ "csr": csr }))
}

fn with_web() -> Bench {
    let mut bench = rooted();
    role(&mut bench, "web", &json!({"allowed_domains": "example.com", "allow_subdomains": true}));
    bench
}

#[test]
fn what_is_no_request_is_refused() {
    let mut bench = with_web();
    let key = new_key(KeyType::EcdsaP256);
    let good = csr(&key, "a.example.com", &[]);
    let der = pem::first(&[pem::REQUEST], &good).unwrap();
    for (text, why) in [
        (String::new(), "\"csr\" is empty"),
        ("hello".to_owned(), "csr contains no data"),
        (good.replace("REQUEST", "RQST"), "csr contains no data"),
        (
            pem::encode(pem::REQUEST, &vec![0x30; 70_000]),
            "certificate request could not be parsed: a certificate request may have at most",
        ),
    ] {
        let found = sign(&mut bench, &text);
        assert!(found.starts_with(why), "{found}");
    }
    let mut forged = der.to_vec();
    let last = forged.len() - 1;
    forged[last] ^= 1;
    assert!(
        sign(&mut bench, &pem::encode(pem::REQUEST, &forged))
            .starts_with("certificate request could not be parsed")
    );
    for at in (0..der.len()).step_by(7) {
        sign(&mut bench, &pem::encode(pem::REQUEST, &der[..at]));
    }
    assert!(bench.root(Operation::Update, "pki/sign/web", &json!({"csr": good}).to_string()).status == 200);
}

#[test]
fn a_key_of_another_type_or_a_weaker_one_is_refused() {
    let mut bench = with_web();
    let small = csr(&new_key(KeyType::EcdsaP256), "a.example.com", &[]);
    let other = csr(&new_key(KeyType::Ed25519), "a.example.com", &[]);
    assert_eq!(sign(&mut bench, &other), "role requires keys of type ec");
    role(
        &mut bench,
        "web",
        &json!({"allowed_domains": "example.com", "allow_subdomains": true, "key_bits": 384}),
    );
    assert_eq!(
        sign(&mut bench, &small),
        "role requires a minimum of a 384-bit key, but CSR's key is 256 bits"
    );
}

#[test]
fn what_a_request_asks_for_beyond_names_is_not_granted() {
    let mut bench = with_web();
    let key = new_key(KeyType::EcdsaP256);
    let wanted = [
        Extension::basic_constraints(true, None).unwrap(),
        Extension::key_usage(keyward_crypto::x509::KeyUsages::AUTHORITY).unwrap(),
        Extension::raw("1.2.3.4", true, &[5, 0]).unwrap(),
    ];
    let request = csr_with(&key, "a.example.com", &wanted);
    let answer = bench.write("pki/sign/web", &json!({"csr": request}).to_string());
    let leaf = certificate(&answer.data()["certificate"]);
    assert!(!leaf.is_authority());
    assert!(
        !leaf
            .extensions()
            .iter()
            .any(|extension| extension.is("1.2.3.4") || extension.is(oid::BASIC_CONSTRAINTS))
    );
    assert!(text(&answer.body["warnings"][0]).contains("Basic Constraints extension that was ignored"));
    // Verbatim means the rest of it, but an authority it does not become.
    let verbatim = ok(&mut bench, "sign-verbatim", &json!({"csr": request}));
    let leaf = certificate(&verbatim["certificate"]);
    assert!(!leaf.is_authority() && leaf.extensions().iter().any(|extension| extension.is("1.2.3.4")));
}

#[test]
fn names_with_nul_or_beyond_counting_are_refused() {
    let mut bench = with_web();
    let key = new_key(KeyType::EcdsaP256);
    let value = [
        0x30, 17, 0x82, 15, b'a', 0, b'.', b'e', b'x', b'a', b'm', b'p', b'l', b'e', b'.', b'c', b'o', b'm',
        b'x',
    ];
    let smuggled = Extension::raw(oid::SUBJECT_ALT_NAME, false, &value).unwrap();
    assert!(sign(&mut bench, &csr_with(&key, "a.example.com", &[smuggled])).contains("control characters"));
    let many: Vec<San> = (0..1001).map(|n| dns(&format!("h{n}.example.com"))).collect();
    assert!(sign(&mut bench, &csr(&key, "a.example.com", &many)).contains("at most 1000 alternative names"));
    let nameless = csr(&key, "", &[dns("a.example.com")]);
    assert!(sign(&mut bench, &nameless).starts_with("the common_name field is required"));
}
