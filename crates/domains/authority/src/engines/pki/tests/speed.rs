//! What issuing costs. Prints; asserts only the answers.

use super::*;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair};
use std::hint::black_box;
use std::time::Duration;

/// Microseconds each of `rounds` turns of `act` takes.
fn timed(rounds: u32, mut act: impl FnMut()) -> f64 {
    act();
    #[expect(clippy::disallowed_methods, reason = "a measurement needs a clock")]
    let begun = std::time::Instant::now();
    for _ in 0..rounds {
        act();
    }
    let each: Duration = begun.elapsed() / rounds;
    each.as_secs_f64() * 1e6
}

#[test]
fn issuing_costs_little_more_than_a_key_and_a_signature() {
    let mut bench = rooted();
    role(&mut bench, "gone", &json!({"allow_any_name": true, "no_store": true}));
    let issuer = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_ASN1_SIGNING).unwrap();
    let contents = [7u8; 420];
    let raw = timed(200, || {
        let key = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_ASN1_SIGNING).unwrap();
        black_box(pem::encode("PRIVATE KEY", key.to_pkcs8v1().unwrap().as_ref()));
        let signature = issuer.sign(&SystemRandom::new(), &contents).unwrap();
        black_box(pem::encode(pem::CERTIFICATE, &[&contents[..], signature.as_ref()].concat()));
    });
    let body = r#"{"common_name":"a.example.com"}"#;
    for path in ["pki/issue/gone", "pki/issue/any"] {
        let request = bench.request(&bench.root, Operation::Update, path, body);
        let now = crate::testing::now(&bench);
        let Ok(admitted) = bench.authority.admit(&bench.store, &request, now, &bench.random) else {
            panic!("{path} is not admitted")
        };
        let whole = timed(200, || {
            let outcome = bench.carry_out(&request, &admitted);
            assert_eq!(outcome.unwrap().response.http_status(), 200);
        });
        println!(
            "{path}: {whole:.0} us; a key, a signature and PEM alone {raw:.0} us: ratio {:.2}",
            raw / whole
        );
    }
}
