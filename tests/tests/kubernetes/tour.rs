//! README.md's tour, run as it stands there.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use keyward_testkit::cluster::{Cluster, check};
use keyward_testkit::process::{ProcessId, wait_for};
use keyward_testkit::require;
use keyward_tests::server::{SOON, Server};
use keyward_tests::shell::{Shell, promised};
use rustix::process::Signal;

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

/// Takes the tour's cluster down, however the test ends.
struct Down;

impl Drop for Down {
    fn drop(&mut self) {
        if let Err(error) = Cluster::down(CLUSTER) {
            keyward_testkit::say(error);
        }
    }
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
    let mut shell = Shell::start(folder.path(), &[("KEYWARD_CLUSTER", CLUSTER)]);
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

/// Starts what the tour starts, and says which processes they are.
fn hold(how: &str) -> (std::process::Child, Vec<ProcessId>) {
    let mut holder = Command::new(env!("CARGO_BIN_EXE_hold-tour"));
    holder.arg(how).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut holder = holder.spawn().unwrap();
    let mut lines = BufReader::new(holder.stdout.take().unwrap()).lines();
    let held = lines.find_map(|line| Some(line.unwrap().strip_prefix("held: ")?.to_owned())).unwrap();
    let pids = held.split(' ').map(|pid| ProcessId::of(pid.parse().unwrap()).unwrap()).collect();
    (holder, pids)
}

#[test]
fn nothing_of_the_tour_outlives_its_test() {
    for how in ["a step fails", "killed", "asked to end"] {
        let (mut holder, started) = hold(how);
        assert_eq!(started.len(), 3);
        assert!(started.iter().all(|process| process.is_running()), "{how}: they ended before their holder");
        let process = ProcessId::of(holder.id()).unwrap();
        match how {
            "killed" => drop(process.signal(Signal::KILL).unwrap()),
            "asked to end" => drop(process.signal(Signal::TERM).unwrap()),
            _ => holder.stdin.take().unwrap().write_all(b"go on\n").unwrap(),
        }
        assert!(!holder.wait().unwrap().success(), "{how}");
        let gone = || started.iter().all(|process| !process.is_running()).then_some(());
        wait_for("the tour's processes to end", SOON, gone).unwrap_or_else(|late| panic!("{how}: {late}"));
    }
}
