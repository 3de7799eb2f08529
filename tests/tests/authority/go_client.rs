//! Vault's own Go client: the tests in `tests/go/vault-api`.

use keyward_testkit::process::run;
use keyward_testkit::require;
use keyward_tests::databases::{PASSWORD, Postgres};
use keyward_tests::server::{IN_MEMORY, PLAIN_HTTP, Server};
use std::process::Command;
use std::time::Duration;

#[test]
fn the_api_module_finds_what_it_expects() {
    let go = Command::new("go").arg("version").output();
    if !require(go.map(drop).map_err(|why| format!("go: {why}"))) {
        return;
    }
    let sealed = Server::configured(&format!("{PLAIN_HTTP}{IN_MEMORY}"));
    let server = Server::dev();
    let mut command = Command::new("go");
    command
        .args(["test", "-count=1", "-v", "./..."])
        .current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/go/vault-api"))
        .env("TEST_ADDR", server.url())
        .env("TEST_TOKEN", &server.keys().root)
        .env("TEST_SEALED", sealed.url())
        .env("TEST_FOLDER", server.folder());
    let postgres = Postgres::start();
    if let Some(postgres) = &postgres {
        command.env("TEST_POSTGRES", postgres.url()).env("TEST_POSTGRES_PASSWORD", PASSWORD);
    }
    let finished = run(&mut command, b"", Duration::from_secs(540)).unwrap();
    let said = String::from_utf8_lossy(&finished.stdout);
    assert!(finished.status.success(), "{said}\n{}\n{}", finished.stderr, server.output());
    assert!(said.contains("--- PASS: TestWrapping"), "{said}");
    if let Some(postgres) = &postgres {
        assert!(said.contains("--- PASS: TestDay"), "{said}");
        assert!(postgres.made().is_empty(), "a revoked user is left: {:?}", postgres.made());
    }
}
