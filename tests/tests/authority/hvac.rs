//! The Python client `hvac`, as its users run it: each module of `tests/python` on a server of its own.

use keyward_testkit::process::run;
use keyward_testkit::{require, tools};
use keyward_tests::databases::{PASSWORD, Postgres};
use keyward_tests::server::{IN_MEMORY, PLAIN_HTTP, Server};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

fn passes(module: &str, server: &Server) {
    passes_with(module, server, &[]);
}

/// As [`passes`], with more of an environment.
pub(crate) fn passes_with(module: &str, server: &Server, environment: &[(&str, &str)]) {
    let tests = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/python"));
    let python = tools::python(&tests.join("requirements.txt"));
    if !require(python.as_ref().map(|_| ())) {
        return;
    }
    let mut command = Command::new(python.unwrap().join("python"));
    command
        .args(["-B", "-W", "error::ResourceWarning", "-m", "unittest", "--verbose", module])
        .current_dir(tests)
        .env("TEST_ADDR", server.url())
        .env("TEST_TOKEN", &server.keys().root)
        .env("TEST_FOLDER", server.folder())
        .envs(environment.iter().copied());
    let finished = run(&mut command, b"", Duration::from_secs(300)).unwrap();
    assert!(finished.status.success(), "{}\n{}", finished.stderr, server.output());
    let ran = finished.stderr.lines().find(|line| line.starts_with("Ran ")).unwrap_or("nothing");
    assert!(!ran.starts_with("Ran 0 "), "{module}: {}", finished.stderr);
}

#[test]
fn keeps_and_versions() {
    passes("test_kv", &Server::dev());
}

#[test]
fn tokens() {
    passes("test_tokens", &Server::dev());
}

#[test]
fn system() {
    passes("test_system", &Server::dev());
}

#[test]
fn logins() {
    passes("test_logins", &Server::dev());
}

#[test]
fn transit() {
    passes("test_transit", &Server::dev());
}

#[test]
fn certificates() {
    passes("test_pki", &Server::dev());
}

#[test]
fn ssh_certificates() {
    passes("test_ssh", &Server::dev());
}

#[test]
fn identity() {
    passes("test_identity", &Server::dev());
}

#[test]
fn a_day_with_databases_and_second_factors() {
    let Some(postgres) = Postgres::start() else { return };
    let environment = [("TEST_POSTGRES", postgres.url()), ("TEST_POSTGRES_PASSWORD", PASSWORD.to_owned())];
    passes_with(
        "test_day",
        &Server::dev(),
        &environment.each_ref().map(|(name, value)| (*name, value.as_str())),
    );
    assert!(postgres.made().is_empty(), "a revoked user is left: {:?}", postgres.made());
}

#[test]
fn seal() {
    passes("test_seal", &Server::configured(&format!("{PLAIN_HTTP}{IN_MEMORY}")));
}
