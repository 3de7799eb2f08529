//! `cargo xtask test`: every test, with what it needs.

use crate::setup::root;
#[cfg(target_os = "linux")]
use keyward_testkit::packages;
use keyward_testkit::{continuous_integration, say, tools};
use std::error::Error;
use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Command, Stdio};
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
    if arguments.no_cluster {
        say("SKIPPED: the tests against a real Kubernetes, as asked");
    }
    let cargo = || {
        let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
        cargo.current_dir(root()).args(["test", "--workspace", "--locked", "--no-fail-fast"]);
        if arguments.no_cluster {
            cargo.env("KEYWARD_NO_CLUSTER", "1");
        }
        cargo
    };
    let mut passed = outcome(cargo().args(&arguments.filter))?;
    if !passed.all && passed.whole() && (1..=AGAIN).contains(&passed.failed.len()) {
        let names = passed.failed.join(", ");
        say(format_args!("failed beside others, and run once more alone: {names}"));
        let mut again = cargo();
        again.args(END_TO_END.iter().flat_map(|target| ["--test", target]));
        again.args(["--", "--exact", "--test-threads=1"]).args(&passed.failed);
        let alone = outcome(&mut again)?;
        // A name that none of them has was not run.
        passed.all = alone.all && alone.whole() && alone.passed == passed.failed.len();
        if passed.all {
            say(format_args!("UNSTABLE, since they passed only alone: {names}"));
        }
    }
    say(format_args!("tests took {:.0?}", began.elapsed()));
    if passed.all { Ok(()) } else { Err("some tests failed".into()) }
}

/// The tests that run against real parts, whose timing is not in our hands.
const END_TO_END: &[&str] = &["authority", "kms", "kubernetes", "oracles", "sealing"];

/// How many of these may fail and be run once more.
const AGAIN: usize = 3;

/// What came of a run.
#[derive(Debug, Default, PartialEq)]
struct Outcome {
    /// Whether everything was built and nothing failed.
    all: bool,
    begun: usize,
    ended: usize,
    passed: usize,
    failed: Vec<String>,
}

impl Outcome {
    /// Takes one line of the test harness.
    fn read(&mut self, line: &str) {
        if line.starts_with("running ") && (line.ends_with(" tests") || line.ends_with(" test")) {
            self.begun += 1;
        } else if let Some(result) = line.strip_prefix("test result: ") {
            self.ended += 1;
            let passed = result.split_once(" passed;").and_then(|(before, _)| before.rsplit(' ').next());
            self.passed += passed.and_then(|number| number.parse::<usize>().ok()).unwrap_or_default();
        } else if let Some(name) =
            line.strip_prefix("test ").and_then(|told| told.strip_suffix(" ... FAILED"))
        {
            self.failed.push(name.trim_end_matches(" - should panic").to_owned());
        }
    }

    /// Whether each program of tests came to its end: of one that crashed nobody knows what would have failed.
    fn whole(&self) -> bool {
        self.begun == self.ended
    }
}

/// Runs tests, shows what they print, and tells what came of them.
fn outcome(cargo: &mut Command) -> Result<Outcome, Box<dyn Error>> {
    let mut outcome = Outcome::default();
    let mut child = cargo.stdout(Stdio::piped()).spawn()?;
    let mut lines = BufReader::new(child.stdout.take().ok_or("no output of cargo")?);
    let mut line = Vec::new();
    while lines.read_until(b'\n', &mut line)? > 0 {
        std::io::stdout().write_all(&line)?;
        outcome.read(String::from_utf8_lossy(&line).trim_end());
        line.clear();
    }
    outcome.all = child.wait()?.success();
    Ok(outcome)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_harness_is_understood() {
        let mut outcome = Outcome::default();
        for line in [
            "running 4 tests",
            "test kms::keys_are_rotated has been running for over 60 seconds",
            "test kms::keys_are_rotated ... ok",
            "test login::refuses - should panic ... FAILED",
            "test login::waits ... FAILED",
            "test result: FAILED. 1 passed; 2 failed; 0 ignored; 0 measured; 0 filtered out; finished in 1.00s",
        ] {
            outcome.read(line);
        }
        let failed = vec!["login::refuses".to_owned(), "login::waits".to_owned()];
        assert_eq!(outcome, Outcome { all: false, begun: 1, ended: 1, passed: 1, failed });
        outcome.read("running 1 test");
        assert!(!outcome.whole(), "it crashed");
    }
}
