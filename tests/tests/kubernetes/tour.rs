//! README.md's tour, run as it stands there.

use std::fs::{self, File};
use std::io::Write;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::time::Duration;

use keyward_testkit::cluster::{Cluster, check};
use keyward_testkit::process::{read_lossy, wait_for};
use keyward_testkit::require;
use keyward_tests::binary::keyward;
use keyward_tests::server::{SOON, Server};
use rustix::process::{Pid, Signal, kill_process_group};

const CLUSTER: &str = "test-tour";
/// A cluster may have to wait until another test has built Kubernetes.
const CLUSTER_LIMIT: Duration = Duration::from_secs(3600);

/// A block of commands, and what its tag says about it.
struct Block {
    tag: String,
    text: String,
}

fn blocks() -> Vec<Block> {
    let readme = include_str!("../../../README.md");
    let (_, tour) = readme.split_once("\n## Five minutes\n").unwrap();
    let fenced = tour.split("\n```sh ").skip(1).map(|rest| rest.split_once("\n```").unwrap().0);
    let block = |fenced: &str| {
        let (tag, text) = fenced.split_once('\n').unwrap();
        Block { tag: tag.to_owned(), text: text.to_owned() }
    };
    fenced.map(block).collect()
}

/// A shell that a reader would type into. It and what it started end with the test.
struct Shell {
    child: Child,
    input: ChildStdin,
    log: PathBuf,
    done: usize,
}

impl Shell {
    fn start(folder: &Path) -> Shell {
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
            .env("KEYWARD_CLUSTER", CLUSTER)
            .stdin(Stdio::piped())
            .stdout(output.try_clone().unwrap())
            .stderr(output)
            .process_group(0);
        let mut child = command.spawn().unwrap();
        let input = child.stdin.take().unwrap();
        Shell { child, input, log, done: 0 }
    }

    /// Types a block, waits until it has succeeded, and answers with what it printed.
    fn types(&mut self, text: &str, limit: Duration) -> String {
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

    fn printed(&self) -> String {
        read_lossy(&self.log).unwrap()
    }
}

impl Drop for Shell {
    fn drop(&mut self) {
        let group = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw);
        let _ = kill_process_group(group.unwrap(), Signal::KILL);
        let _ = self.child.wait();
    }
}

/// Takes the tour's cluster down, however the test ends.
struct Down;

impl Drop for Down {
    fn drop(&mut self) {
        if let Err(error) = Cluster::down(CLUSTER) {
            keyward_testkit::say(error);
        }
    }
}

/// What a line prints stands behind it, after `  # `.
fn promised(text: &str) -> impl Iterator<Item = &str> {
    text.lines().filter_map(|line| line.split_once("  # ")).map(|(_, words)| words.trim())
}

/// The file that `keyward kms serve` in the block makes when it listens.
fn wait_until_it_serves(folder: &Path) {
    let socket = folder.join("kms.sock");
    let log = || fs::read_to_string(folder.join("kms.log")).unwrap_or_default();
    wait_for("the plugin to listen", SOON, || socket.exists().then_some(()))
        .unwrap_or_else(|late| panic!("{late}: {}", log()));
}

#[test]
fn the_tour_works_as_it_is_written() {
    let blocks = blocks();
    let tagged = |wanted: &str| blocks.iter().filter(|block| block.tag == wanted).count();
    assert_eq!((tagged("tour-background"), tagged("tour-cluster")), (1, 1));
    assert_eq!(tagged("tour"), blocks.len() - 2, "a tag that this test does not know");
    assert!(blocks.len() > 6 && blocks.iter().flat_map(|block| promised(&block.text)).count() > 5);

    let server = Server::dev();
    let told = server.output();
    let export = told.lines().map(str::trim).find(|line| line.starts_with("export VAULT_ADDR=")).unwrap();
    // Two folders below the top, as the reader's is, for the shipped files are named from there.
    let target = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../target"));
    fs::create_dir_all(target).unwrap();
    let folder = tempfile::tempdir_in(target.canonicalize().unwrap()).unwrap();
    let _down = Down;
    let mut shell = Shell::start(folder.path());
    for Block { tag, text } in &blocks {
        let cluster = tag == "tour-cluster";
        if cluster && !require(check(false)) {
            return;
        }
        let address = "export VAULT_ADDR=http://127.0.0.1:8200 VAULT_TOKEN=hvs...";
        let typed =
            text.replace(address, export).replace("/clusters/default/", &format!("/clusters/{CLUSTER}/"));
        let printed = shell.types(&typed, if cluster { CLUSTER_LIMIT } else { SOON });
        for words in promised(text) {
            let words = words.trim_end_matches("...");
            assert!(printed.contains(words), "{text}\npromises {words:?} and prints:\n{printed}");
        }
        if tag == "tour-background" {
            wait_until_it_serves(folder.path());
        }
    }
    assert!(shell.printed().contains("hunter2") && Cluster::remains(CLUSTER).unwrap().is_empty());
}
