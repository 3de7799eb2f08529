//! The command line, as data: the cases in `tests/cli` are what a person would type and see.
//!
//! `TRYCMD=overwrite cargo test -p keyward-tests --test authority cli` writes what is printed now into them; what
//! `[..]` and `...` stand for there stays.

use keyward_tests::binary::keyward;
use keyward_tests::server::{IN_MEMORY, PLAIN_HTTP, Server};
use trycmd::TestCases;

/// Cases of the files that `glob` names, in an environment that holds nothing of the tester's. Those of one file
/// follow each other.
fn cases(glob: &str, address: &str, token: &str) {
    let home = tempfile::tempdir().unwrap();
    let cases = TestCases::new();
    cases.register_bin("keyward", keyward());
    for name in ["ADDR", "TOKEN", "CACERT", "CAPATH", "CLIENT_CERT", "CLIENT_KEY", "NAMESPACE", "WRAP_TTL"] {
        cases.env(format!("KEYWARD_{name}"), "");
        cases.env(format!("VAULT_{name}"), "");
    }
    cases.env("VAULT_ADDR", address).env("VAULT_TOKEN", token).env("VAULT_MAX_RETRIES", "0");
    cases.env("HOME", home.path().display().to_string()).env("COLUMNS", "100");
    if !address.is_empty() {
        cases.insert_var("[ADDRESS]", address.to_owned()).unwrap();
    }
    cases.insert_var("[VERSION]", env!("CARGO_PKG_VERSION")).unwrap();
    cases.case(glob);
    cases.run();
}

#[test]
fn what_needs_no_authority() {
    cases("cli/alone/*.trycmd", "", "");
}

#[test]
fn what_an_open_authority_answers() {
    // Each file has a server of its own: what one mounts is in no other's listings.
    for file in std::fs::read_dir("cli/open").unwrap().map(|entry| entry.unwrap().path()) {
        if file.is_file() {
            let server = Server::dev();
            cases(file.to_str().unwrap(), &server.url(), &server.keys().root);
        }
    }
}

#[test]
fn what_a_sealed_authority_answers() {
    let mut server = Server::configured(&format!("{PLAIN_HTTP}{IN_MEMORY}"));
    server.initialize(3, 2);
    cases("cli/sealed/*.trycmd", &server.url(), "");
}

#[test]
fn what_is_said_of_a_bad_token() {
    let server = Server::dev();
    cases("cli/denied/*.trycmd", &server.url(), "hvs.mistyped");
}

#[test]
fn what_is_said_without_a_token() {
    let server = Server::dev();
    cases("cli/guest/*.trycmd", &server.url(), "");
}
