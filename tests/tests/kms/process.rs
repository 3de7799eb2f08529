//! The program: its start, its end, its log, and strangers on its socket.

use keyward_testkit::process::{run, wait_for};
use keyward_tests::kms::{ApiServer, Plugin, stdout};
use keyward_tests::server::{SOON, Server};
use std::fs;
use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::time::Duration;

const IDENTITY: &str = "AGE-SECRET-KEY-1GFPYYSJZGFPYYSJZGFPYYSJZGFPYYSJZGFPYYSJZGFPYYSJZGFPQ4EGAEX";

fn by_age() -> Plugin {
    let plugin = Plugin::stopped("http://127.0.0.1:1", &[]);
    let identity = plugin.secret("identity", IDENTITY);
    plugin.with(&["--identity", identity.to_str().unwrap()])
}

#[test]
fn ends_when_asked_and_takes_its_socket_along() {
    let mut plugin = by_age().started();
    assert_eq!(fs::metadata(plugin.socket()).unwrap().permissions().mode() & 0o777, 0o600);
    // A client that never lets go does not hold it up.
    let idle = UnixStream::connect(plugin.socket()).unwrap();
    assert!(plugin.stop().success(), "{}", plugin.output());
    assert!(!plugin.socket().exists());
    drop(idle);
}

#[test]
fn replaces_what_a_killed_one_left_behind() {
    let mut plugin = by_age().started();
    let key_id = plugin.key_id().unwrap();
    plugin.process().kill().unwrap();
    assert!(plugin.socket().exists());
    let error = plugin.key_id().unwrap_err();
    assert!(error.contains("does not answer"), "{error}");
    let mut restarted = plugin.command();
    let log = plugin.folder().join("second");
    let _second = keyward_testkit::process::Process::spawn(&mut restarted, &log).unwrap();
    assert_eq!(plugin.wait_for_key(|_| true), key_id);
}

#[test]
fn refuses_a_socket_that_is_served_and_what_is_none() {
    let plugin = by_age().started();
    let second = run(&mut plugin.command(), b"", SOON).unwrap();
    assert_eq!(second.status.code(), Some(1));
    assert!(second.stderr.contains("another process"), "{}", second.stderr);
    plugin.key_id().unwrap();

    let foreign = by_age();
    let _listener = UnixListener::bind(foreign.socket()).unwrap();
    let refused = run(&mut foreign.command(), b"", SOON).unwrap();
    assert!(refused.stderr.contains("another process serves"), "{}", refused.stderr);

    let taken = by_age();
    fs::write(taken.socket(), "precious").unwrap();
    let refused = run(&mut taken.command(), b"", SOON).unwrap();
    assert!(refused.stderr.contains("no socket"), "{}", refused.stderr);
    assert_eq!(fs::read_to_string(taken.socket()).unwrap(), "precious");
}

#[test]
fn mistakes_on_the_command_line_are_told_with_a_remedy() {
    for (arguments, words) in [
        (&["--identity", "x", "--key", "y"][..], "cannot be used with"),
        (&["--key", "y"], "--token-file"),
        (&[], "--identity"),
        (&["--identity", "x", "--check-interval", "soon"], "duration"),
        (&["--identity", "x", "--max-staleness", "1s"], "two check intervals"),
        (&["--identity", "x", "--cluster", "two words"], "cluster"),
        (&["--identity", "x", "--socket", "unix://kms.sock"], "absolute"),
        (&["--provider", "age-file"], "--identity"),
        (&["--provider", "transit", "--identity", "x"], "--key"),
        (&["--identity", "x", "--socket", "unix:///@kms"], "abstract"),
    ] {
        let plugin = Plugin::stopped("http://127.0.0.1:1", arguments);
        let refused = run(&mut plugin.command(), b"", SOON).unwrap();
        assert!(!refused.status.success(), "{arguments:?}");
        assert!(refused.stderr.contains(words), "{arguments:?}: {}", refused.stderr);
    }
}

#[test]
fn strangers_on_the_socket_change_nothing() {
    let plugin = by_age().started();
    let key_id = plugin.key_id().unwrap();
    let preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
    let frames: [&[u8]; 6] = [
        b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
        b"\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0",
        preface,
        &[preface.as_slice(), &[0xff; 4096]].concat(),
        // A settings frame that claims 16 MiB.
        &[preface.as_slice(), &[0xff, 0xff, 0xff, 4, 0, 0, 0, 0, 0]].concat(),
        // Headers of a stream that never end.
        &[preface.as_slice(), &[0, 0, 0, 4, 0, 0, 0, 0, 0], &[0, 0, 4, 1, 0, 0, 0, 0, 1, 0x40, 1, b'a', 1]]
            .concat(),
    ];
    for frame in frames {
        let mut stranger = UnixStream::connect(plugin.socket()).unwrap();
        stranger.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
        let _ = stranger.write_all(frame);
        let _ = stranger.read(&mut [0; 1024]);
        assert_eq!(plugin.key_id().as_ref(), Ok(&key_id), "{frame:?}");
    }
    let crowd: Vec<_> = (0..500).map(|_| UnixStream::connect(plugin.socket()).unwrap()).collect();
    assert_eq!(plugin.key_id(), Ok(key_id.clone()));
    drop(crowd);
    assert_eq!(plugin.key_id(), Ok(key_id));
}

#[test]
fn another_user_is_turned_away() {
    let root = keyward_testkit::require(match rustix::process::geteuid().is_root() {
        true => Ok(()),
        false => Err("only root can become another user"),
    });
    if !root {
        return;
    }
    let plugin = by_age().started();
    // The file's mode keeps others out; should it be widened, the peer's identity still does.
    fs::set_permissions(plugin.socket(), fs::Permissions::from_mode(0o666)).unwrap();
    fs::set_permissions(plugin.folder(), fs::Permissions::from_mode(0o755)).unwrap();
    let program = plugin.folder().join("keyward");
    fs::copy(keyward_tests::binary::keyward(), &program).unwrap();
    let mut command = std::process::Command::new(program);
    std::os::unix::process::CommandExt::uid(&mut command, 65_534);
    command.env_clear().current_dir("/").args(["kms", "status", "--socket"]).arg(plugin.socket());
    let refused = run(&mut command, b"", SOON).unwrap();
    assert_eq!(refused.status.code(), Some(2), "{}", stdout(&refused));
    let told = wait_for("the log", SOON, || plugin.output().contains("65534").then_some(()));
    told.unwrap();
    plugin.key_id().unwrap();
}

#[test]
fn no_secret_is_told_anywhere() {
    let Some(mut api) = ApiServer::start() else { return };
    let server = Server::dev();
    let mut plugin = Plugin::transit(&server);
    api.load(&plugin);
    api.write("/registry/secrets/default/a", b"canary-plaintext").unwrap();
    plugin.secret("token", "hvs.canary-wrong-token");
    wait_for("the status to fail", SOON, || plugin.key_id().err()).unwrap();
    plugin.secret("token", &server.keys().root);
    plugin.wait_for_key(|_| true);
    let pid = plugin.process().pid();
    let seen = ["cmdline", "environ"].map(|file| fs::read(format!("/proc/{pid}/{file}")).unwrap_or_default());
    assert!(plugin.stop().success());
    let mut told = plugin.output().into_bytes();
    told.extend(seen.concat());
    for file in fs::read_dir(plugin.state()).unwrap() {
        told.extend(fs::read(file.unwrap().path()).unwrap());
    }
    let told = String::from_utf8_lossy(&told).into_owned();
    assert!(told.contains(r#""msg":"encrypt""#), "the log tells of requests");
    for secret in [&server.keys().root, "canary-wrong-token", "canary-plaintext", &server.keys().shares[0]] {
        assert!(!told.contains(secret), "{secret} was told");
    }
}

#[test]
fn core_dumps_are_ruled_out() {
    let mut plugin = by_age().started();
    let limits = fs::read_to_string(format!("/proc/{}/limits", plugin.process().pid())).unwrap();
    let core = limits.lines().find(|line| line.starts_with("Max core file size")).unwrap();
    assert_eq!(core.split_whitespace().nth(4), Some("0"), "{core}");
}

#[test]
fn alive_is_less_than_well() {
    let mut plugin = Plugin::stopped("http://127.0.0.1:1", &["--identity", "/absent"]).started();
    assert_eq!(plugin.kms(&["status"]).status.code(), Some(2));
    assert!(plugin.kms(&["status", "--alive"]).status.success());
    plugin.stop();
    assert_eq!(plugin.kms(&["status", "--alive"]).status.code(), Some(2));
}

/// The manifests in `deploy/` name options and variables that are there.
#[test]
fn the_manifests_are_understood() {
    let deploy = concat!(env!("CARGO_MANIFEST_DIR"), "/../deploy");
    let pod = fs::read_to_string(format!("{deploy}/static-pod/keyward-kms.yaml")).unwrap();
    let unit = fs::read_to_string(format!("{deploy}/systemd/keyward-kms.service")).unwrap();
    let in_pod: Vec<&str> = pod.lines().filter_map(|line| line.strip_prefix("    - --")).collect();
    let served = unit
        .lines()
        .find_map(|line| line.strip_prefix("ExecStart=/usr/local/bin/keyward kms serve "))
        .unwrap();
    let probe =
        pod.lines().find_map(|line| line.trim().strip_prefix("command: [keyward, kms, status, ")).unwrap();
    let understood = |command: &str, words: Vec<String>, last: &str| {
        let mut program = std::process::Command::new(keyward_tests::binary::keyward());
        program.env_clear().args(["kms", command]).args(&words).arg(last);
        let refused = run(&mut program, b"", SOON).unwrap();
        assert!(refused.stderr.contains("--no-such-option"), "{words:?}: {}", refused.stderr);
    };
    assert_eq!(in_pod.len(), 8);
    // Only the last word may be what is not understood.
    understood("serve", in_pod.iter().map(|word| format!("--{word}")).collect(), "--no-such-option");
    understood("serve", served.split_whitespace().map(str::to_owned).collect(), "--no-such-option");
    understood(
        "status",
        probe.trim_end_matches(']').split(", ").map(str::to_owned).collect(),
        "--no-such-option",
    );
    let help = Plugin::stopped("http://127.0.0.1:1", &[]).kms(&["serve", "--help"]);
    for variable in unit.split_whitespace().filter_map(|word| word.split_once('=')).map(|(name, _)| name) {
        if variable.starts_with("KEYWARD_KMS_") {
            assert!(stdout(&help).contains(variable), "{variable}");
        }
    }
}
