//! A full disk refuses writes, keeps reading, and heals when there is room again.

use keyward_testkit::process::run;
use keyward_testkit::require;
use keyward_tests::server::{ON_DISK, PLAIN_HTTP, SOON, Server};
use serde_json::json;
use std::process::Command;

/// Mounts a small file system of the server's own at its data folder, which no other process sees and which is
/// gone with it.
const SMALL_DISK: [&str; 6] = ["unshare", "--mount", "sh", "-c", MOUNT_AND_RUN, "sh"];
const MOUNT_AND_RUN: &str =
    "mkdir FOLDER/data && mount -t tmpfs -o size=8m,mode=700 none FOLDER/data && exec \"$@\"";

fn small_disk() -> Option<Server> {
    let probe = run(Command::new("unshare").args(["--mount", "true"]), b"", SOON);
    let permitted = match probe {
        Ok(done) if done.status.success() => Ok(()),
        Ok(done) => Err(format!("a small disk needs root: {}", done.stderr.trim())),
        Err(why) => Err(why.to_string()),
    };
    if !require(permitted) {
        return None;
    }
    let mut server = Server::configured_under(&SMALL_DISK, &format!("{PLAIN_HTTP}{ON_DISK}"));
    server.initialize(1, 1);
    server.unseal();
    server.root().write("sys/mounts/kv", &json!({"type": "kv"})).expect(204);
    Some(server)
}

/// Gives the server's small disk more room, or less.
fn resize(server: &mut Server, size: &str) {
    let pid = server.process().pid().to_string();
    let folder = server.folder().join("data");
    let mut command = Command::new("nsenter");
    command.args(["--mount", "--target", &pid, "mount", "-o", &format!("remount,size={size}")]).arg(folder);
    let done = run(&mut command, b"", SOON).unwrap();
    assert!(done.status.success(), "{}", done.stderr);
}

#[test]
fn a_full_disk_refuses_reads_on_and_heals() {
    let Some(mut server) = small_disk() else { return };
    let root = server.root();
    let value = |number: u32| json!({"n": number, "fill": "x".repeat(100_000)});
    let mut kept = 0;
    let refused = loop {
        let answer = root.write(&format!("kv/{kept}"), &value(kept));
        if answer.status != 204 {
            break answer;
        }
        kept += 1;
        assert!(kept < 200, "8 MiB hold {kept} values of 100 KB");
    };
    // Clients try again after a 503, which is what a disk that may be emptied asks for.
    let refused = refused.expect(503);
    assert!(refused.errors()[0].contains("full"), "{}", refused.text());
    for _ in 0..20 {
        root.write("kv/more", &value(0)).expect(503);
    }
    for number in 0..kept {
        assert_eq!(root.read(&format!("kv/{number}")).expect(200).data(), value(number));
    }
    root.read("kv/more").expect(404);
    root.read("sys/health").expect(200);
    root.read("auth/token/lookup-self").expect(200);

    resize(&mut server, "32m");
    root.write("kv/more", &value(1)).expect(204);
    assert_eq!(root.read("kv/more").expect(200).data(), value(1));
    let made = root.write("auth/token/create", &json!({"ttl": "1h"})).expect(200).json();
    root.with_token(made["auth"]["client_token"].as_str().unwrap()).read("kv/0").expect(200);
    assert!(server.stop().success());
}
