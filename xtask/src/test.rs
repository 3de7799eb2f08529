//! `cargo xtask test`: every test, with what it needs.

use crate::setup::root;
#[cfg(target_os = "linux")]
use keyward_testkit::packages;
use keyward_testkit::{continuous_integration, say, tools};
use std::error::Error;
use std::process::Command;
use std::time::Instant;

#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Leave out the tests against a real Kubernetes
    #[arg(long)]
    no_cluster: bool,
    /// Run only tests whose name contains this
    filter: Option<String>,
}

/// What tests use besides Cargo, and what it is for.
const PROGRAMS: &[(&str, &str)] = &[
    ("go", "clients and oracles written in Go, and Kubernetes itself"),
    ("python3", "the hvac client"),
    ("cc", "the bundled SQLite and aws-lc"),
];

pub(crate) fn run(arguments: &Arguments) -> Result<(), Box<dyn Error>> {
    let began = Instant::now();
    for (program, why) in PROGRAMS {
        let there = Command::new(program).arg("--help").output().is_ok();
        let missing = format!("{program} is not installed: {why}");
        match (there, continuous_integration()) {
            (true, _) => {}
            (false, true) => return Err(missing.into()),
            (false, false) => say(format_args!("SKIPPED: {missing}")),
        }
    }
    #[cfg(target_os = "linux")]
    for (wanted, why) in [
        (packages::OPENSSH, "SSH certificates"),
        (packages::SLAPD, "logins by LDAP"),
        (packages::OATHTOOL, "one-time passwords"),
        (packages::POSTGRESQL, "users of PostgreSQL"),
        (packages::MARIADB, "users of MariaDB"),
        (packages::REDIS, "users of Redis"),
        (packages::REGISTRY, "signatures of images"),
        (packages::SOFTHSM, "keys that a token holds"),
        (packages::TPM, "keys that a TPM holds"),
        (packages::NODE, "the runtime of node-vault and of an OpenID provider"),
    ] {
        match packages::install(wanted) {
            Ok(()) => {}
            Err(missing) if continuous_integration() => return Err(missing.into()),
            Err(missing) => say(format_args!("SKIPPED: {why}: {missing}")),
        }
    }
    for (made, what) in [
        (tools::python(&root().join("tests/python/requirements.txt")), "the hvac client"),
        (tools::python(&root().join("tests/certbot/requirements.txt")), "the ACME client certbot"),
        (tools::node(&root().join("tests/node")), "the node-vault client"),
        (tools::cosign(&root().join("tests/go/cosign")), "signatures of images"),
        (tools::node(&root().join("tests/openid")), "an OpenID provider"),
    ] {
        match made {
            Ok(_) => {}
            Err(why) if continuous_integration() => return Err(why.into()),
            Err(why) => say(format_args!("SKIPPED: {what}: {why}")),
        }
    }
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.current_dir(root()).args(["test", "--workspace", "--locked", "--no-fail-fast"]);
    if arguments.no_cluster {
        say("SKIPPED: the tests against a real Kubernetes, as asked");
        cargo.env("KEYWARD_NO_CLUSTER", "1");
    }
    cargo.args(&arguments.filter);
    let passed = cargo.status()?.success();
    say(format_args!("tests took {:.0?}", began.elapsed()));
    if passed { Ok(()) } else { Err("some tests failed".into()) }
}
