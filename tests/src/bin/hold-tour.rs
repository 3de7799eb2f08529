//! Starts what the README's tour starts and holds it: what a test ends, in several ways, to see what is left.

#![allow(clippy::unwrap_used, reason = "this ends by panicking, which is one of the ways")]

/// An identity that nobody uses.
#[cfg(target_os = "linux")]
const IDENTITY: &str = "AGE-SECRET-KEY-1GQ9778VQXMMJVE8SK7J6VT8UJ4HDQAJUVSFCWCM02D8GEWQ72PVQ2Y5J33";

#[cfg(target_os = "linux")]
fn main() {
    use keyward_tests::server::{SOON, Server};
    use keyward_tests::shell::Shell;

    let how = std::env::args().nth(1).unwrap_or_default();
    let mut server = Server::dev();
    let folder = tempfile::tempdir().unwrap();
    let mut shell = Shell::start(folder.path(), &[]);
    let serve = "(umask 077; echo $IDENTITY > identity)\nkeyward kms serve --identity identity --socket kms.sock --state \
                 state 2> kms.log &\necho $!\nwhile [ ! -S kms.sock ]; do sleep 0.1; done";
    let plugin = shell.types(&serve.replace("$IDENTITY", IDENTITY), SOON);
    println!("held: {} {} {}", server.process().pid(), shell.pid(), plugin.trim());
    // Until told; the end of the test that asks ends this too.
    std::io::stdin().read_line(&mut String::new()).unwrap();
    if how == "a step fails" {
        shell.types("false", SOON);
    }
}

#[cfg(not(target_os = "linux"))]
fn main() {}
