use crate::barcode::tests::read as read_barcode;
use crate::request::Operation;
use crate::testing::{Answer, Bench, now};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use keyward_core::Timestamp;
use serde_json::{Value, json};
use std::time::Duration;

/// "12345678901234567890", the key of RFC 6238, appendix B.
const KEY: &str = "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ";

fn bench() -> Bench {
    let mut bench = Bench::new();
    bench.write("sys/mounts/totp", r#"{"type":"totp"}"#);
    bench
}

fn code(bench: &mut Bench, name: &str) -> String {
    bench.read(&format!("totp/code/{name}")).data()["code"].as_str().unwrap().to_owned()
}

fn check(bench: &mut Bench, name: &str, code: &str) -> Answer {
    bench.root(Operation::Update, &format!("totp/code/{name}"), &json!({ "code": code }).to_string())
}

fn refused(answer: &Answer, words: &str) {
    assert!(answer.status == 400 && answer.errors().contains(words), "{words}: {answer:?}");
}

#[test]
fn a_key_of_another_service_gives_codes() {
    let mut bench = bench();
    bench.write("totp/keys/own", &json!({"key": KEY, "digits": 8}).to_string());
    let address = format!("otpauth://totp/Example:ada?secret={KEY}&digits=8&algorithm=SHA1&period=30");
    bench.write("totp/keys/url", &json!({ "url": address }).to_string());
    // A time of RFC 6238, appendix B, that is still to come.
    let wanted = Timestamp::from_secs(2_000_000_000);
    let span = Duration::from_secs(wanted.secs() - now(&bench).secs());
    bench.clock.advance(span);
    assert_eq!((code(&mut bench, "own"), code(&mut bench, "url")), ("69279037".into(), "69279037".into()));
    let shown = bench.read("totp/keys/url").data().clone();
    assert_eq!(
        shown,
        json!({"account_name": "ada", "algorithm": "SHA1", "digits": 8, "issuer": "Example", "period": 30})
    );
    refused(&bench.root(Operation::Read, "totp/code/none", ""), "unknown key: none");
}

#[test]
fn a_key_made_here_checks_codes() {
    let mut bench = bench();
    let body = json!({"generate": true, "issuer": "Big Co", "account_name": "ada@example.com", "algorithm": "SHA256"});
    let made = bench.write("totp/keys/ada", &body.to_string()).data().clone();
    let url = made["url"].as_str().unwrap();
    assert!(url.starts_with("otpauth://totp/Big%20Co:ada%40example.com?algorithm=SHA256&digits=6"), "{url}");
    let picture = STANDARD.decode(made["barcode"].as_str().unwrap()).unwrap();
    assert_eq!(read_barcode(&picture), (url.to_owned(), 200));
    // What the application makes of the address.
    bench.write("totp/keys/application", &json!({ "url": url }).to_string());
    let given = code(&mut bench, "application");
    assert_eq!(check(&mut bench, "ada", &given).data(), &json!({"valid": true}));
    refused(&check(&mut bench, "ada", &given), "code already used");
    let wrong = if given == "000000" { "000001" } else { "000000" };
    assert_eq!(check(&mut bench, "ada", wrong).data(), &json!({"valid": false}));
    refused(&check(&mut bench, "ada", ""), "the code value is required");
    // A key made anew is another one: none of its codes was used.
    bench.write("totp/keys/application", &json!({"key": KEY}).to_string());
    bench.write("totp/keys/ada", &json!({"key": KEY}).to_string());
    let given = code(&mut bench, "application");
    assert_eq!(check(&mut bench, "ada", &given).data(), &json!({"valid": true}));
}

#[test]
fn codes_count_once_and_near_their_time() {
    let mut bench = bench();
    bench.write("totp/keys/a", &json!({"key": KEY}).to_string());
    bench.write("totp/keys/strict", &json!({"key": KEY, "skew": 0}).to_string());
    let first = code(&mut bench, "a");
    bench.clock.advance(Duration::from_secs(30));
    let second = code(&mut bench, "a");
    assert_eq!(check(&mut bench, "strict", &first).data(), &json!({"valid": false}));
    assert_eq!(check(&mut bench, "a", &second).data(), &json!({"valid": true}));
    // One of an earlier period, though it would still be right: somebody may have seen it.
    refused(&check(&mut bench, "a", &first), "code already used");
    bench.clock.advance(Duration::from_secs(90));
    assert_eq!(check(&mut bench, "a", &second).data(), &json!({"valid": false}));
}

#[test]
fn what_is_exported_is_what_was_asked_for() {
    let mut bench = bench();
    let ask = |bench: &mut Bench, more: Value| {
        let mut body = json!({"generate": true, "issuer": "i", "account_name": "a"});
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        bench.root(Operation::Update, "totp/keys/k", &body.to_string())
    };
    assert_eq!(ask(&mut bench, json!({"exported": false, "key": "", "url": ""})).status, 204);
    let answer = ask(&mut bench, json!({"qr_size": 0}));
    assert!(answer.data().get("barcode").is_none() && answer.data().get("url").is_some());
    for (more, words) in [
        (json!({"key": KEY}), "a key should not be passed"),
        (json!({"url": "otpauth://totp/a?secret=GEZA"}), "a url should not be passed"),
        (json!({"issuer": ""}), "issuer value is required"),
        (json!({"account_name": ""}), "account_name value is required"),
        (json!({"key_size": 4}), "from 16 to 128"),
        (json!({"key_size": 1_000_000}), "from 16 to 128"),
        (json!({"qr_size": -1}), "qr_size value"),
        (json!({"qr_size": 100_000}), "qr_size must be"),
        (json!({"qr_size": 10}), "qr_size must be"),
    ] {
        refused(&ask(&mut bench, more), words);
    }
}

#[test]
fn names_have_case() {
    let mut bench = bench();
    bench.policy("maker", r#"path "totp/keys/*" { capabilities = ["update"] }"#);
    let maker = bench.token(&["maker"]);
    let own = json!({"key": KEY}).to_string();
    assert_eq!(bench.ask(&maker, Operation::Update, "totp/keys/ada", &own).status, 204);
    bench.write("totp/keys/Ada", r#"{"key":"GEZDGNBVGY3TQOJQ"}"#);
    assert_ne!(code(&mut bench, "ada"), code(&mut bench, "Ada"));
    // What is used of one is not of the other.
    bench.write("totp/keys/ADA", &own);
    let given = code(&mut bench, "ada");
    for name in ["ada", "ADA"] {
        assert_eq!(check(&mut bench, name, &given).data(), &json!({"valid": true}), "{name}");
    }
}

#[test]
fn bad_keys_change_nothing() {
    let mut bench = bench();
    bench.write("totp/keys/k", &json!({"key": KEY, "issuer": "here"}).to_string());
    let before = code(&mut bench, "k");
    for (body, words) in [
        (json!({}), "the key value is required"),
        (json!({"key": "no key!"}), "not base 32"),
        (json!({"key": "A".repeat(400)}), "too long"),
        (json!({"url": "otpauth://hotp/a?secret=GEZA"}), "by counter are not available"),
        (json!({"url": "otpauth://totp/a?secret=canary!"}), "not base 32"),
        (json!({"key": KEY, "digits": 7}), "can only be 6 or 8"),
        (json!({"key": KEY, "digits": -1}), "can only be 6 or 8"),
        (json!({"key": KEY, "algorithm": "MD5"}), "algorithm value is not valid"),
        (json!({"key": KEY, "period": 0}), "greater than zero"),
        (json!({"key": KEY, "skew": 2}), "skew value must be 0 or 1"),
    ] {
        let answer = bench.root(Operation::Update, "totp/keys/k", &body.to_string());
        refused(&answer, words);
        assert!(!answer.errors().contains("canary"));
    }
    assert_eq!(code(&mut bench, "k"), before);
    assert_eq!(bench.root(Operation::List, "totp/keys", "").data(), &json!({"keys": ["k"]}));
    bench.root(Operation::Delete, "totp/keys/k", "");
    assert_eq!(bench.root(Operation::Read, "totp/keys/k", "").status, 404);
}
