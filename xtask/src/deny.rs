//! `cargo xtask deny`: licences, sources, banned crates and advisories, by cargo-deny.

use crate::setup::root;
use keyward_testkit::{say, tools};
use std::error::Error;
use std::process::Command;

pub(crate) fn run() -> Result<(), Box<dyn Error>> {
    let bin = tools::python(&root().join("tests/tools/requirements.txt"))?;
    let deny = |checks: &[&str]| {
        let mut command = Command::new(bin.join("cargo-deny"));
        command.current_dir(root()).args(["--locked", "check", "--hide-inclusion-graph"]).args(checks);
        command
    };
    if !deny(&["bans", "licenses", "sources"]).status()?.success() {
        return Err("cargo-deny found something; its lines above say what".into());
    }
    // The advisory database is a Git repository that not every machine reaches.
    let advisories = deny(&["advisories"]).output()?;
    let said = String::from_utf8_lossy(&advisories.stderr);
    match advisories.status.success() {
        true => say("advisories ok"),
        false
            if said.contains("failed to fetch")
                || said.contains("unable to fetch")
                || said.contains("advisory database") =>
        {
            say("SKIPPED: advisories: the database cannot be fetched from here");
        }
        false => return Err(format!("cargo-deny found advisories:\n{said}").into()),
    }
    Ok(())
}
