//! Devices on real files, pipes and sockets.

use super::file::LOOK_EVERY;
use super::search;
use super::verify::{self, Failure};
use super::{Devices, NoDeviceAccepts, Report};
use keyward_authority::audit::chain::{Head, Why};
use keyward_authority::audit::search::Query;
use keyward_authority::audit::{self, Device, Exchange, Record, Subject};
use keyward_authority::authority::Authority;
use keyward_authority::fields::Fields;
use keyward_authority::request::{Media, Operation, Request, Shown};
use keyward_authority::seal::{self, Shares, Unsealing};
use keyward_authority::settings::Settings;
use keyward_core::Timestamp;
use keyward_testkit::fakes::SeededRandom;
use keyward_testkit::store::MapStore;
use parking_lot::Mutex;
use std::fs;
use std::io::{Read, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::task::{Context, Waker};
use std::time::{Duration, Instant};

/// An authority whose audit devices are configured as an operator would.
struct Lab {
    store: MapStore,
    random: SeededRandom,
    authority: Authority,
    folder: tempfile::TempDir,
    told: Arc<Mutex<Vec<String>>>,
    devices: Arc<Devices>,
}

impl Lab {
    fn new() -> Lab {
        let (mut store, random) = (MapStore::default(), SeededRandom::new(3));
        let now = Timestamp::from_secs(1);
        let made = seal::initialize(&store, Shares { shares: 1, threshold: 1 }, now, &random).unwrap();
        store.commit(made.batch).unwrap();
        let config = seal::config(&store).unwrap().unwrap();
        let key = hex::encode(made.shares[0].expose());
        let opened = Unsealing::default().submit(&config, &key, &Settings::default(), &store, &random);
        let told: Arc<Mutex<Vec<String>>> = Arc::default();
        let report: Report = {
            let told = told.clone();
            Arc::new(move |what: &str| told.lock().push(what.to_owned()))
        };
        Lab {
            store,
            random,
            authority: opened.unwrap().unwrap(),
            folder: tempfile::tempdir().unwrap(),
            told,
            devices: Arc::new(Devices::new(report, Duration::from_millis(400))),
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn device(&self, path: &str, kind: &str, options: &[(&str, &str)]) -> Device {
        Device {
            path: format!("{path}/"),
            kind: kind.to_owned(),
            description: String::new(),
            local: false,
            options: options.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect(),
        }
    }

    fn enable(&mut self, path: &str, kind: &str, options: &[(&str, &str)]) {
        let device = self.device(path, kind, options);
        let mut txn = self.authority.begin(&self.store, &self.random).unwrap();
        audit::enable(&mut txn, device).unwrap();
        let batch = txn.finish();
        self.store.commit(batch).unwrap();
        self.configure();
    }

    fn enable_file(&mut self, name: &str) -> PathBuf {
        let path = self.path(name);
        self.enable(name, "file", &[("file_path", path.to_str().unwrap())]);
        path
    }

    fn disable(&mut self, path: &str) {
        let mut txn = self.authority.begin(&self.store, &self.random).unwrap();
        assert!(audit::disable(&mut txn, &format!("{path}/")).unwrap());
        let batch = txn.finish();
        self.store.commit(batch).unwrap();
        self.configure();
    }

    fn configure(&self) {
        self.devices.configure(&self.authority.auditing(&self.store, &self.random).unwrap());
    }

    fn record(&self, path: &str) -> Record {
        let auditing = self.authority.auditing(&self.store, &self.random).unwrap();
        let request = Request {
            id: "id".to_owned(),
            operation: Operation::Read,
            path: path.to_owned(),
            fields: Fields::default(),
            token: None,
            wrap: None,
            headers: Vec::new(),
            remote: None,
            certificates: Default::default(),
            shown: Shown::default(),
            media: Media::Json,
            head: false,
            arrived: Timestamp::EPOCH,
        };
        let posture = std::collections::BTreeMap::new();
        let subject = Subject {
            operation: None,
            mount: None,
            caller: None,
            granting: &[],
            posture: &posture,
            refusal: None,
        };
        Exchange::new(&auditing, &request, subject).request_record(Timestamp::from_secs(9))
    }

    /// Has a record written, also where a runtime is running already.
    fn try_write(&self, path: &str) -> Result<(), NoDeviceAccepts> {
        let written = || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(self.devices.record(self.record(path)))
        };
        std::thread::scope(|scope| scope.spawn(written).join().unwrap())
    }

    fn write(&self, path: &str) -> bool {
        self.try_write(path).is_ok()
    }

    fn told(&self, part: &str) -> usize {
        self.told.lock().iter().filter(|told| told.contains(part)).count()
    }
}

fn proved(files: &[&Path]) -> (u64, u64) {
    let files: Vec<PathBuf> = files.iter().map(|file| file.to_path_buf()).collect();
    let proved = verify::files(&files, None).unwrap_or_else(|why| panic!("{why:?}"));
    (proved.first, proved.head.seq)
}

fn wait_for(mut holds: impl FnMut() -> bool) {
    let start = Instant::now();
    while !holds() {
        assert!(start.elapsed() < Duration::from_secs(10), "it never came to hold");
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn without_devices_everything_is_accepted() {
    let lab = Lab::new();
    assert!(lab.write("a"));
    assert!(lab.devices.status().is_empty());
}

#[test]
fn a_file_is_private_and_its_chain_goes_on_after_a_restart() {
    let mut lab = Lab::new();
    let log = lab.enable_file("audit.log");
    for at in 0..5 {
        assert!(lab.write(&format!("a/{at}")));
    }
    assert_eq!(fs::metadata(&log).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(proved(&[&log]), (1, 5));
    let head = lab.devices.status()[0].head.unwrap();
    assert!(verify::files(std::slice::from_ref(&log), Some(head)).is_ok());
    // Another process goes on where this one ended.
    lab.devices = Arc::new(Devices::new(Arc::new(|_| {}), Duration::from_secs(1)));
    lab.configure();
    assert!(lab.write("b"));
    assert_eq!(proved(&[&log]), (1, 6));
    let cut = verify::files(std::slice::from_ref(&log), Some(head));
    assert!(matches!(cut, Err(Failure::Broken { line: 6, why: Why::Ends { .. }, .. })));
    assert!(lab.told.lock().is_empty(), "{:?}", lab.told);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn many_at_once_write_one_chain() {
    const WRITERS: u64 = 32;
    const RECORDS: u64 = 100;
    let mut lab = Lab::new();
    let log = lab.enable_file("log");
    let writers: Vec<_> = (0..WRITERS)
        .map(|writer| {
            let (devices, records) = (lab.devices.clone(), (0..RECORDS));
            let records: Vec<Record> =
                records.map(|at| lab.record(&format!("secret/{writer}/{at}"))).collect();
            tokio::spawn(async move {
                for record in records {
                    devices.record(record).await.unwrap();
                }
            })
        })
        .collect();
    for writer in writers {
        writer.await.unwrap();
    }
    assert_eq!(proved(&[&log]), (1, WRITERS * RECORDS));
    assert_eq!(lab.devices.status()[0].written, WRITERS * RECORDS);
    let text = fs::read_to_string(&log).unwrap();
    for writer in 0..WRITERS {
        let places = (0..RECORDS).map(|at| text.find(&format!("\"secret/{writer}/{at}\"")).unwrap());
        assert!(places.is_sorted(), "the records of one writer are in its order");
    }
}

#[tokio::test]
async fn who_goes_away_leaves_nobody_waiting() {
    let mut lab = Lab::new();
    let log = lab.enable_file("log");
    let mut first = Box::pin(lab.devices.record(lab.record("first")));
    let mut context = Context::from_waker(Waker::noop());
    assert!(first.as_mut().poll(&mut context).is_pending(), "it makes room for others");
    let mut second = Box::pin(lab.devices.record_both(lab.record("second"), lab.record("third")));
    assert!(second.as_mut().poll(&mut context).is_pending(), "it waits for the first");
    drop(first);
    second.await.unwrap();
    assert_eq!(proved(&[&log]), (1, 3));
}

#[test]
fn a_torn_line_is_cut_off_and_foreign_files_are_left_alone() {
    let mut lab = Lab::new();
    let log = lab.path("audit.log");
    lab.enable_file("audit.log");
    assert!(lab.write("a") && lab.write("b"));
    let whole = fs::read(&log).unwrap();
    for cut in [1, 5, 80] {
        fs::write(&log, &whole[..whole.len() - cut]).unwrap();
        let device = lab.device("x", "file", &[("file_path", log.to_str().unwrap())]);
        assert_eq!(lab.devices.probe(&device), Ok(()));
        assert_eq!(
            fs::metadata(&log).unwrap().len(),
            (whole.len() - cut) as u64,
            "trying it changes nothing"
        );
        lab.devices = Arc::new(Devices::new(Arc::new(|_| {}), Duration::from_secs(1)));
        lab.configure();
        assert!(lab.write("c"));
        assert_eq!(proved(&[&log]), (1, 2), "cut by {cut}");
    }
    // A file that Vault began is gone on with; a new chain begins in it.
    fs::write(&log, "{\"type\":\"request\"}\n").unwrap();
    lab.devices = Arc::new(Devices::new(Arc::new(|_| {}), Duration::from_secs(1)));
    lab.configure();
    assert!(lab.write("d"));
    let text = fs::read_to_string(&log).unwrap();
    assert!(text.lines().nth(1).is_some_and(|line| line.contains("\"seq\":1,")), "{text}");
    // Anything else is not written to.
    for foreign in ["root:x:0:0:root:/root:/bin/bash\n", "no newline", "#!/bin/sh\n{ echo\n"] {
        fs::write(&log, foreign).unwrap();
        let device = lab.device("x", "file", &[("file_path", log.to_str().unwrap())]);
        let refused = lab.devices.probe(&device).unwrap_err();
        assert!(refused.contains("something else than audit records"), "{refused}");
        assert_eq!(fs::read_to_string(&log).unwrap(), foreign);
    }
}

#[test]
fn rotation_keeps_the_chain_over_files() {
    let mut lab = Lab::new();
    let (log, old) = (lab.enable_file("audit.log"), lab.path("audit.log.1"));
    assert!(lab.write("a") && lab.write("b"));
    fs::rename(&log, &old).unwrap();
    lab.devices.reopen();
    assert!(lab.write("c") && lab.write("d"));
    assert_eq!(proved(&[&old]), (1, 2));
    assert_eq!(proved(&[&log]), (3, 4));
    assert_eq!(proved(&[&old, &log]), (1, 4));
    let wrong = verify::files(&[log.clone(), old], None);
    assert!(matches!(wrong, Err(Failure::Broken { line: 1, why: Why::Restart, .. })), "{wrong:?}");
    // Nothing was moved away: the same file goes on.
    lab.devices.reopen();
    assert!(lab.write("e"));
    assert_eq!(proved(&[&log]), (3, 5));
}

#[test]
fn a_removed_file_is_noticed_and_its_last_records_are_written_again() {
    let mut lab = Lab::new();
    let log = lab.enable_file("audit.log");
    assert!(lab.write("a"));
    std::thread::sleep(LOOK_EVERY);
    assert!(lab.write("b"));
    fs::remove_file(&log).unwrap();
    assert!(lab.write("c"));
    assert!(!log.exists(), "not noticed yet");
    std::thread::sleep(LOOK_EVERY);
    assert!(lab.write("d"));
    // The record before the look was seen in its place, those after it were not.
    assert_eq!(proved(&[&log]), (2, 4));
    assert_eq!(lab.told("removed or moved away"), 1);
    // Cut to nothing from outside, it goes on too, and what is missing shows.
    fs::OpenOptions::new().write(true).truncate(true).open(&log).unwrap();
    std::thread::sleep(LOOK_EVERY);
    assert!(lab.write("e"));
    assert_eq!(proved(&[&log]), (5, 5));
    assert_eq!(lab.told("shortened by something else"), 1);
}

#[test]
fn a_file_put_in_its_place_is_noticed() {
    let mut lab = Lab::new();
    let log = lab.enable_file("audit.log");
    assert!(lab.write("a"));
    let other = lab.path("other");
    let mut line = Vec::new();
    Head::START.link("", "{\"forged\":true}", &mut line);
    fs::write(&other, &line).unwrap();
    fs::rename(&other, &log).unwrap();
    std::thread::sleep(LOOK_EVERY);
    assert!(lab.write("b"));
    assert_eq!(lab.told("replaced by another file"), 1);
    let found = verify::files(std::slice::from_ref(&log), None);
    assert!(matches!(found, Err(Failure::Broken { .. })), "{found:?}");
}

/// A disk of 64 KiB.
struct SmallDisk(PathBuf);

impl SmallDisk {
    fn mount(path: PathBuf) -> SmallDisk {
        fs::create_dir(&path).unwrap();
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", "size=64k", "none"]).arg(&path);
        assert!(mount.status().unwrap().success());
        SmallDisk(path)
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

#[test]
fn a_full_disk_refuses_and_heals() {
    if !rustix::process::geteuid().is_root() {
        eprintln!("SKIPPED: mounting a small tmpfs needs root");
        return;
    }
    let mut lab = Lab::new();
    let small = SmallDisk::mount(lab.path("disk"));
    let disk = &small.0;
    let log = lab.enable_file("disk/audit.log");
    let ballast = disk.join("ballast");
    fs::write(&ballast, vec![0; 40 * 1024]).unwrap();
    let mut written = 0;
    while lab.write("a") {
        written += 1;
        assert!(written < 1000, "the disk never filled");
    }
    assert!(!lab.write("b"));
    let refused = lab.try_write("b").unwrap_err();
    assert!(refused.to_string().contains("No space left"), "{refused}");
    assert_eq!(proved(&[&log]), (1, written));
    fs::remove_file(&ballast).unwrap();
    assert!(lab.write("c"));
    // The records and the notice of what is missing.
    assert_eq!(proved(&[&log]), (1, written + 2));
    let text = fs::read_to_string(&log).unwrap();
    assert!(text.contains("\"type\":\"notice\",\"error\":\"3 records were not written"), "{text}");
    assert_eq!((lab.told("does not take records"), lab.told("takes records again")), (1, 1));
}

fn fifo(path: &Path) {
    assert!(Command::new("mkfifo").arg(path).status().unwrap().success());
}

#[tokio::test]
async fn a_hung_device_does_not_stop_a_healthy_one() {
    let mut lab = Lab::new();
    let pipe = lab.path("pipe");
    fifo(&pipe);
    // A reader that never reads: the pipe fills up, then hangs.
    let nonblocking = rustix::fs::OFlags::NONBLOCK.bits().cast_signed();
    let mut reader = fs::OpenOptions::new().read(true).custom_flags(nonblocking).open(&pipe).unwrap();
    lab.enable_file("pipe");
    let log = lab.enable_file("audit.log");
    let start = Instant::now();
    for at in 0..1000 {
        lab.devices.record(lab.record(&format!("{at}/{}", "x".repeat(200)))).await.unwrap();
    }
    assert!(start.elapsed() < Duration::from_secs(5));
    wait_for(|| lab.devices.status()[0].written == 1000);
    assert_eq!(proved(&[&log]), (1, 1000));
    let hung = lab.devices.status().remove(1);
    assert!(hung.path == "pipe/" && hung.written < 1000, "{hung:?}");
    // By itself it refuses, after a wait that ends.
    lab.disable("audit.log");
    let start = Instant::now();
    let refused = lab.devices.record(lab.record("late")).await.unwrap_err();
    assert!(refused.to_string().contains("did not answer in time"), "{refused}");
    assert!(start.elapsed() < Duration::from_secs(3));
    // Once it is read again, everything arrives, in order and chained.
    let taken = std::thread::spawn(move || {
        let (mut all, mut some) = (Vec::new(), [0; 65536]);
        while !all.ends_with(b"\n") || all.iter().filter(|byte| **byte == b'\n').count() < 1001 {
            match reader.read(&mut some) {
                Ok(count) => all.extend_from_slice(&some[..count]),
                Err(_) => std::thread::sleep(Duration::from_millis(2)),
            }
        }
        all
    });
    assert!(lab.devices.finish(Duration::from_secs(10)));
    let copy = lab.path("copy");
    fs::write(&copy, taken.join().unwrap()).unwrap();
    assert_eq!(proved(&[&copy]), (1, 1001));
}

#[tokio::test]
async fn a_pipe_without_a_reader_refuses_at_once() {
    let mut lab = Lab::new();
    let pipe = lab.path("pipe");
    fifo(&pipe);
    let device = lab.device("pipe", "file", &[("file_path", pipe.to_str().unwrap())]);
    assert!(lab.devices.probe(&device).unwrap_err().contains("no process reads from it"));
    lab.enable_file("pipe");
    let refused = lab.devices.record(lab.record("a")).await.unwrap_err();
    assert!(refused.to_string().contains("no process reads from it"), "{refused}");
}

#[tokio::test]
async fn a_queue_that_is_full_loses_records_and_says_so() {
    let mut lab = Lab::new();
    let pipe = lab.path("pipe");
    fifo(&pipe);
    let nonblocking = rustix::fs::OFlags::NONBLOCK.bits().cast_signed();
    let reader = fs::OpenOptions::new().read(true).custom_flags(nonblocking).open(&pipe).unwrap();
    lab.enable_file("pipe");
    lab.enable_file("audit.log");
    for at in 0..6000 {
        lab.devices.record(lab.record(&format!("{at}"))).await.unwrap();
    }
    let hung = lab.devices.status().remove(1);
    assert!(hung.lost > 0 && hung.trouble.is_some_and(|why| why.contains("queue is full")));
    assert_eq!(lab.told("audit device pipe/ does not take records"), 1);
    drop(reader);
}

#[tokio::test]
async fn sockets_get_lines_and_are_connected_again() {
    let mut lab = Lab::new();
    let tcp = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let udp = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let unix_path = lab.path("socket");
    let unix = std::os::unix::net::UnixListener::bind(&unix_path).unwrap();
    let (tcp_address, udp_address) =
        (tcp.local_addr().unwrap().to_string(), udp.local_addr().unwrap().to_string());
    lab.enable("tcp", "socket", &[("address", &tcp_address)]);
    lab.enable("udp", "socket", &[("address", &udp_address), ("socket_type", "udp"), ("prefix", "kw: ")]);
    lab.enable("unix", "socket", &[("address", unix_path.to_str().unwrap()), ("socket_type", "unix")]);
    lab.devices.record(lab.record("first")).await.unwrap();
    let line = |stream: &mut dyn Read| {
        let mut line = Vec::new();
        let mut byte = [0];
        while !line.ends_with(b"\n") && stream.read(&mut byte).unwrap() == 1 {
            line.push(byte[0]);
        }
        String::from_utf8(line).unwrap()
    };
    let (mut over_tcp, _) = tcp.accept().unwrap();
    let (mut over_unix, _) = unix.accept().unwrap();
    let mut datagram = [0; 4096];
    for text in [line(&mut over_tcp), line(&mut over_unix)] {
        assert!(text.contains("\"path\":\"first\"") && text.contains("\"seq\":1,"), "{text}");
    }
    let length = udp.recv(&mut datagram).unwrap();
    assert!(datagram[..length].starts_with(b"kw: {\"time\""));
    // The other side goes away and comes back: the next record makes a new connection.
    drop(over_tcp);
    tcp.set_nonblocking(true).unwrap();
    let start = Instant::now();
    while tcp.accept().is_err() {
        assert!(start.elapsed() < Duration::from_secs(10), "never connected again");
        lab.devices.record(lab.record("again")).await.unwrap();
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test]
async fn standard_output_and_nothing_are_devices() {
    let mut lab = Lab::new();
    lab.enable("none", "file", &[("file_path", "discard")]);
    assert!(lab.write("a"));
    lab.enable("out", "stdout", &[]);
    lab.devices.record(lab.record("b")).await.unwrap();
    // The chain of a device goes on when another one comes or goes.
    lab.disable("out");
    lab.devices.record(lab.record("c")).await.unwrap();
    let head = lab.devices.status()[0].head.map(|head| head.seq);
    assert!(head.is_some_and(|seq| seq >= 2), "{head:?}");
}

#[test]
fn unknown_devices_cannot_be_opened() {
    let lab = Lab::new();
    let folder = lab.folder.path().to_str().unwrap();
    for (kind, options, part) in [
        ("file", &[("file_path", folder)][..], "directory"),
        ("file", &[("file_path", "/none/such/audit.log")], "its folder does not exist"),
        ("socket", &[("address", "127.0.0.1:1")], "refused"),
        ("socket", &[("address", "/none"), ("socket_type", "unix")], "No such file"),
        ("file", &[], "file_path is required"),
    ] {
        let refused = lab.devices.probe(&lab.device("x", kind, options)).unwrap_err();
        assert!(refused.contains(part), "{kind} {options:?}: {refused}");
    }
}

const CHILD_LOG: &str = "KEYWARD_TEST_AUDIT_LOG";

#[test]
#[ignore = "run as another process by the test below"]
fn writes_until_it_is_killed() {
    let path = std::env::var(CHILD_LOG).unwrap();
    let mut lab = Lab::new();
    lab.enable("file", "file", &[("file_path", &path)]);
    let out = std::io::stdout();
    for at in 0u64.. {
        let long = "x".repeat(usize::try_from(at % 7).unwrap() * 3000);
        assert!(lab.write(&format!("{at}/{long}")));
        let head = lab.devices.status()[0].head.unwrap();
        writeln!(out.lock(), "acknowledged {}", head.seq).unwrap();
    }
}

#[test]
fn nothing_acknowledged_is_lost_when_the_process_is_killed() {
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("audit.log");
    let mut acknowledged = 0;
    for round in 0..20u64 {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "audit::tests::writes_until_it_is_killed", "--nocapture", "--ignored"])
            .env(CHILD_LOG, &log)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut out = child.stdout.take().unwrap();
        let reader = std::thread::spawn(move || {
            let mut said = String::new();
            out.read_to_string(&mut said).unwrap();
            said
        });
        wait_for(|| fs::metadata(&log).is_ok_and(|about| about.len() > (round + 1) * 4000));
        std::thread::sleep(Duration::from_micros(round * 1700));
        child.kill().unwrap();
        child.wait().unwrap();
        let said = reader.join().unwrap();
        let last =
            said.lines().rev().find_map(|line| line.strip_prefix("acknowledged ")?.parse::<u64>().ok());
        acknowledged = last.unwrap_or(acknowledged);
    }
    let mut lab = Lab::new();
    lab.enable("file", "file", &[("file_path", log.to_str().unwrap())]);
    assert!(lab.write("last"));
    let (first, last) = proved(&[&log]);
    assert_eq!(first, 1);
    assert!(last > acknowledged && acknowledged > 20, "{last} {acknowledged}");
}

#[test]
fn the_report_tells_where_a_log_is_broken() {
    let mut lab = Lab::new();
    let log = lab.enable_file("audit.log");
    for at in 0..10_000 {
        assert!(lab.write(&format!("a/{at}")));
    }
    let check = |files: &[&Path], head| {
        let files: Vec<PathBuf> = files.iter().map(|file| file.to_path_buf()).collect();
        let mut out = Vec::new();
        let code = verify::report(&files, head, &mut out).unwrap();
        (code, String::from_utf8(out).unwrap())
    };
    let head = lab.devices.status()[0].head;
    let (code, text) = check(&[&log], head);
    assert_eq!(code, verify::WHOLE);
    let last = format!("Last record: 10000 {}", head.unwrap().hash());
    assert!(text.contains("10000 records, 1 to 10000") && text.contains(&last), "{text}");
    let text = fs::read_to_string(&log).unwrap();
    fs::write(&log, text.replacen("a/4711\"", "a/4712\"", 1)).unwrap();
    let (code, text) = check(&[&log], head);
    assert_eq!(code, verify::BROKEN);
    assert!(text.contains("line 4713: the line before is not the one that was written"), "{text}");
    let (code, text) = check(&[&lab.path("none")], None);
    assert!(code == verify::UNREADABLE && text.contains("cannot be read"), "{text}");
    assert_eq!(check(&[lab.folder.path()], None).0, verify::UNREADABLE);
}

/// `path line` of what is found at `path`, and the log.
fn searched(files: &[&Path], path: &str, most: usize) -> (Vec<String>, u64, search::Log) {
    let files: Vec<PathBuf> = files.iter().map(|file| file.to_path_buf()).collect();
    let query = Query { path: path.to_owned(), ..Query::default() };
    let answer = search::files(&files, query, most).unwrap();
    let tell = |row: &keyward_authority::audit::search::Row| {
        format!("{} {}:{}", row.path, row.place.file, row.place.line)
    };
    (answer.rows.iter().map(tell).collect(), answer.found, answer.log)
}

#[test]
fn a_search_goes_over_files_and_tells_whether_they_are_whole() {
    let mut lab = Lab::new();
    let (log, old) = (lab.enable_file("audit.log"), lab.path("audit.log.1"));
    for at in 0..3 {
        assert!(lab.write(&format!("a/{at}")));
    }
    fs::rename(&log, &old).unwrap();
    lab.devices.reopen();
    assert!(lab.write("b/3") && lab.write("a/4"));
    // All of the same id, as only a test has them: the last one that waits for an answer stands for them.
    let (rows, found, whole) = searched(&[&old, &log], "a/*", 10);
    assert_eq!((rows, found), (vec!["a/4 1:2".to_owned()], 1));
    assert!(whole.is_whole() && whole.lines == 5, "{whole:?}");
    assert_eq!(whole.sentences(), ["The log is whole where it was read: records 1 to 5."]);
    assert_eq!(searched(&[&log], "none", 10).2.first, Some(4));
    assert_eq!(searched(&[&log, &old], "none", 10).2.breaks, 1);

    let text = fs::read_to_string(&log).unwrap();
    fs::write(&log, text.replacen("b/3", "b/9", 1)).unwrap();
    let (rows, _, log_read) = searched(&[&old, &log], "a/*", 10);
    assert_eq!(rows, ["a/4 1:2"], "what stands behind a break is still found");
    let broken = log_read.broken.as_ref().unwrap();
    assert_eq!((&broken.file, broken.line, &broken.why, log_read.breaks), (&log, 2, &Why::Altered, 1));
    assert!(log_read.sentences()[0].starts_with("WARNING! The log is broken at"));
    assert_eq!(log_read.to_json()["first_break"]["line"], 2);
    let none = search::files(&[lab.path("none")], Query::default(), 1);
    assert!(matches!(none, Err(Failure::Unreadable { .. })));
}

#[test]
fn lines_without_a_chain_are_searched_and_prove_nothing() {
    let mut lab = Lab::new();
    let log = lab.path("audit.log");
    let line = |id: u32| {
        format!(
            r#"{{"time":"2026-01-01T00:00:00Z","type":"response","request":{{"id":"{id}","path":"a/{id}"}}}}"#
        )
    };
    fs::write(&log, format!("{}\n{}\n", line(1), line(2))).unwrap();
    let (rows, found, read) = searched(&[&log], "a/*", 1);
    assert_eq!((rows, found), (vec!["a/2 0:2".to_owned()], 2), "the last ones are kept");
    assert_eq!((read.unchained, read.breaks, read.is_whole()), (2, 0, false));
    // The authority goes on behind what Vault wrote.
    lab.enable("file", "file", &[("file_path", log.to_str().unwrap())]);
    assert!(lab.write("b") && lab.write("c"));
    let (rows, _, read) = searched(&[&log], "*", 9);
    assert_eq!(rows.len(), 3);
    assert_eq!((read.unchained, read.breaks, read.first), (2, 0, Some(1)));
    let mut text = fs::read_to_string(&log).unwrap();
    text.push_str("words\n");
    fs::write(&log, text).unwrap();
    let (_, _, read) = searched(&[&log], "*", 9);
    assert_eq!((read.breaks, read.foreign), (1, 1));
    assert_eq!(read.sentences().len(), 3, "{:?}", read.sentences());
    assert!(!searched(&[Path::new("/dev/null")], "*", 9).2.is_whole());
}
