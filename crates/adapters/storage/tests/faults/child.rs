//! Other processes: this test binary again, started on one of its ignored tests.

use std::path::Path;
use std::process::{Child, Command, Output, Stdio};

const DIR: &str = "KEYWARD_TEST_DIR";

/// A command that runs the ignored test `name` on the store in `dir`.
pub(crate) fn command(name: &str, dir: &Path) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", name, "--ignored", "--nocapture", "--test-threads=1"]).env(DIR, dir);
    command
}

/// Starts it with its output in a pipe.
pub(crate) fn start(name: &str, dir: &Path) -> Child {
    command(name, dir).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap()
}

/// Waits for a command that has to succeed.
pub(crate) fn succeed(mut command: Command) {
    let Output { status, stdout, stderr } = command.output().unwrap();
    let said = |bytes| String::from_utf8_lossy(bytes).into_owned();
    assert!(status.success(), "{command:?}: {status}\n{}\n{}", said(&stdout), said(&stderr));
    // A name that matches no test would succeed too.
    assert!(said(&stdout).contains("1 passed"), "{command:?} ran nothing");
}

/// The folder this process was started for.
pub(crate) fn dir() -> std::path::PathBuf {
    std::env::var_os(DIR).expect("started by another test").into()
}
