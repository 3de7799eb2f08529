//! The Node client `node-vault`, as its users run it: the tests in `tests/node`.

use keyward_testkit::process::run;
use keyward_testkit::{packages, require, tools};
use keyward_tests::databases::{PASSWORD, Postgres};
use keyward_tests::server::Server;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

#[test]
fn spends_its_day() {
    let tests = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/node"));
    let modules = packages::install(packages::NODE).and_then(|()| tools::node(tests));
    if !require(modules.as_ref().map(|_| ())) {
        return;
    }
    let (server, postgres) = (Server::dev(), Postgres::start());
    let mut command = Command::new("node");
    command
        .args(["--test", "--test-reporter=tap", "day.test.js"])
        .current_dir(tests)
        .env("NODE_PATH", modules.unwrap())
        .env("TEST_ADDR", server.url())
        .env("TEST_TOKEN", &server.keys().root);
    if let Some(postgres) = &postgres {
        command.env("TEST_POSTGRES", postgres.url()).env("TEST_POSTGRES_PASSWORD", PASSWORD);
    }
    let finished = run(&mut command, b"", Duration::from_secs(300)).unwrap();
    let said = String::from_utf8_lossy(&finished.stdout);
    assert!(finished.status.success(), "{said}\n{}\n{}", finished.stderr, server.output());
    assert!(said.contains("ok 1 - the server is there and open"), "{said}");
    assert!(postgres.is_none_or(|postgres| postgres.made().is_empty()), "a revoked user is left");
}
