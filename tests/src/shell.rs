//! A shell, as a reader of the documentation has one.

use crate::binary::keyward;
use keyward_testkit::process::{Group, read_lossy, wait_for};
use std::fs::File;
use std::io::Write;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::time::Duration;

/// What a line of a block prints stands behind it, after `  # `.
pub fn promised(block: &str) -> impl Iterator<Item = &str> {
    block.lines().filter_map(|line| line.split_once("  # ")).map(|(_, words)| words.trim())
}

/// The blocks of a page that are shell, and of one of these kinds: each with its kind, as in "```sh cluster".
pub fn blocks<'p>(page: &'p str, kinds: &[&str]) -> Vec<(&'p str, &'p str)> {
    let fenced = page.split("\n```sh ").skip(1).filter_map(|rest| rest.split_once("\n```"));
    let fenced = fenced.filter_map(|(block, _)| block.split_once('\n'));
    fenced.filter(|(kind, _)| kinds.contains(kind)).collect()
}

/// A shell that a reader would type into. It and what it started in its group end with the test, however that ends.
pub struct Shell {
    child: Child,
    input: ChildStdin,
    log: PathBuf,
    done: usize,
    _group: Group,
}

impl Shell {
    /// Starts one in `folder`, with the program under test on its `PATH` and `environment`.
    ///
    /// # Panics
    /// When it does not start.
    pub fn start(folder: &Path, environment: &[(&str, &str)]) -> Shell {
        let log = folder.join("terminal");
        let output = File::create(&log).unwrap();
        let path = std::env::var("PATH").unwrap();
        let mut command = Command::new("bash");
        for (name, _) in std::env::vars() {
            if name.starts_with("VAULT_") || name.starts_with("KEYWARD_KMS_") {
                command.env_remove(name);
            }
        }
        command
            .arg("-e")
            .current_dir(folder)
            .env("PATH", format!("{}:{path}", keyward().parent().unwrap().display()))
            .env("CARGO_TARGET_DIR", keyward().parent().and_then(Path::parent).unwrap())
            .envs(environment.iter().copied())
            .stdin(Stdio::piped())
            .stdout(output.try_clone().unwrap())
            .stderr(output)
            .process_group(0);
        let mut child = command.spawn().unwrap();
        let input = child.stdin.take().unwrap();
        let group = Group::of(&child).unwrap();
        Shell { child, input, log, done: 0, _group: group }
    }

    /// Types a block, waits until it has succeeded, and answers with what it printed.
    ///
    /// # Panics
    /// When a command of it fails, or not all are done within `limit`.
    pub fn types(&mut self, text: &str, limit: Duration) -> String {
        self.done += 1;
        let (before, mark) = (self.printed().len(), format!("--- block {} is done\n", self.done));
        writeln!(self.input, "{text}\nprintf '%s\\n' '{}'", mark.trim_end()).unwrap();
        let log = self.log.clone();
        let printed = wait_for("a block of the tour", limit, || {
            let printed = read_lossy(&log).unwrap().split_off(before);
            let ended = self.child.try_wait().unwrap();
            assert!(ended.is_none() || printed.contains(&mark), "{text}\nfailed: {printed}");
            printed.split_once(&mark).map(|(printed, _)| printed.to_owned())
        });
        printed.unwrap_or_else(|late| panic!("{late}: {text}\n{}", self.printed()))
    }

    /// Its process number.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// All it has printed so far.
    ///
    /// # Panics
    /// When that cannot be read.
    pub fn printed(&self) -> String {
        read_lossy(&self.log).unwrap()
    }
}

impl Drop for Shell {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
