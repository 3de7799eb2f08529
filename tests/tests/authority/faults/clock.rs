//! A wall clock that is stepped by a day, forward and back, while the authority runs and while it does not.
//!
//! The server's wall clock, and no other process's, is stepped by a library in front of the C library's, which
//! `cc` makes. The kernel's own namespaces move the monotonic clocks alone.

use keyward_testkit::process::wait_for;
use keyward_testkit::require;
use keyward_tests::http::Client;
use keyward_tests::server::{IN_MEMORY, ON_DISK, PLAIN_HTTP, SOON, Server};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

const DAY: i64 = 86_400;

/// Adds to the wall's time the seconds that the file named by STEP_FILE holds when it is asked.
const STEPPED: &str = r#"
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

int clock_gettime(clockid_t id, struct timespec *at) {
    static int (*real)(clockid_t, struct timespec *);
    if (!real) real = (int (*)(clockid_t, struct timespec *))dlsym(RTLD_NEXT, "clock_gettime");
    int failed = real(id, at);
    if (failed || id != CLOCK_REALTIME) return failed;
    FILE *file = fopen(getenv("STEP_FILE"), "r");
    long step = 0;
    if (file) {
        if (fscanf(file, "%ld", &step) != 1) step = 0;
        fclose(file);
    }
    at->tv_sec += step;
    return 0;
}
"#;

struct Stepped {
    server: Server,
    tools: tempfile::TempDir,
}

/// A server whose wall clock can be stepped; none where there is no C compiler.
fn stepped(config: &str) -> Option<Stepped> {
    let tools = tempfile::tempdir().unwrap();
    let library = compiled(tools.path());
    if !require(library.as_ref()) {
        return None;
    }
    std::fs::write(tools.path().join("step"), "0").unwrap();
    let preload = format!("LD_PRELOAD={}", library.unwrap().display());
    let step = format!("STEP_FILE={}", tools.path().join("step").display());
    let mut server = Server::configured_under(&["env", &preload, &step], &format!("{PLAIN_HTTP}{config}"));
    server.initialize(1, 1);
    server.unseal();
    Some(Stepped { server, tools })
}

fn compiled(folder: &Path) -> Result<PathBuf, String> {
    let (source, library) = (folder.join("stepped.c"), folder.join("stepped.so"));
    std::fs::write(&source, STEPPED).map_err(|why| why.to_string())?;
    let mut cc = Command::new("cc");
    cc.args(["-shared", "-fPIC", "-O1", "-o"]).arg(&library).arg(&source).arg("-ldl");
    match cc.output() {
        Ok(output) if output.status.success() => Ok(library),
        Ok(output) => Err(format!("cc: {}", String::from_utf8_lossy(&output.stderr))),
        Err(why) => Err(format!("cc: {why}")),
    }
}

impl Stepped {
    /// Sets the server's wall clock so many seconds from everybody's.
    fn step(&self, seconds: i64) {
        // Whole at any moment: the server reads it whenever it asks for the time.
        let (new, file) = (self.tools.path().join("new"), self.tools.path().join("step"));
        std::fs::write(&new, seconds.to_string()).unwrap();
        std::fs::rename(new, file).unwrap();
    }

    fn server_time(&self) -> i64 {
        self.server.guest().read("sys/health").expect(200).json()["server_time_utc"].as_i64().unwrap()
    }

    fn token(&self, ttl: &str) -> Client {
        let body = json!({"ttl": ttl, "policies": ["default"]});
        let made = self.server.root().write("auth/token/create", &body).expect(200).json();
        self.server.guest().with_token(made["auth"]["client_token"].as_str().unwrap())
    }
}

fn remaining(client: &Client) -> i64 {
    client.read("auth/token/lookup-self").expect(200).data()["ttl"].as_i64().unwrap()
}

fn now() -> i64 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    now.as_secs().try_into().unwrap()
}

#[test]
fn a_step_while_it_runs_moves_no_deadline() {
    let Some(stepped) = stepped(IN_MEMORY) else { return };
    let root = stepped.server.root();
    root.write("sys/mounts/secret", &json!({"type": "kv-v2"})).expect(204);
    root.write("secret/metadata/timed", &json!({"delete_version_after": "1h"})).expect(204);
    for step in [DAY, -DAY, 10 * DAY, 0] {
        let (hour, moment) = (stepped.token("1h"), stepped.token("2s"));
        root.write("secret/data/timed", &json!({"data": {"step": step}})).expect(200);
        stepped.step(step);
        std::thread::sleep(Duration::from_millis(1200));
        assert!((3590..=3600).contains(&remaining(&hour)), "{step}: {}", remaining(&hour));
        assert!(remaining(&moment) <= 1, "{step}: {}", remaining(&moment));
        assert_eq!(root.read("secret/data/timed").expect(200).data()["data"]["step"], step);
        std::thread::sleep(Duration::from_millis(1200));
        moment.read("auth/token/lookup-self").refused(403, "permission denied");
        assert!((stepped.server_time() - now()).abs() < 30, "{step}: {}", stepped.server_time());
    }
    // Times that are shown grow, whatever the wall says.
    let versions = root.read("secret/metadata/timed").data()["versions"].clone();
    let times: Vec<&Value> =
        (1..5).map(|number: u64| &versions[number.to_string()]["created_time"]).collect();
    assert!(times.windows(2).all(|pair| pair[0].as_str() < pair[1].as_str()), "{times:?}");
}

#[test]
fn a_step_while_it_rests_counts() {
    let Some(mut stepped) = stepped(ON_DISK) else { return };
    let root = stepped.server.root();
    root.write("sys/mounts/secret", &json!({"type": "kv-v2"})).expect(204);
    root.write("secret/data/a", &json!({"data": {"x": 1}})).expect(200);
    let (hour, week) = (stepped.token("1h"), stepped.token("168h"));
    stepped.step(DAY);
    stepped.server.restart();
    stepped.server.unseal();
    assert!((stepped.server_time() - now() - DAY).abs() < 30);
    hour.read("auth/token/lookup-self").refused(403, "permission denied");
    let left = remaining(&week);
    assert!((left - 6 * DAY).abs() < 60, "{left}");
    // A day back again: what was written in between lies ahead, and does no harm.
    root.write("secret/data/a", &json!({"data": {"x": 2}})).expect(200);
    let ahead = stepped.token("1h");
    // What ended a day ahead is removed within a second or so, and does not come back with the clock.
    let tokens =
        || root.request("LIST", "/v1/auth/token/accessors").send().data()["keys"].as_array().map(Vec::len);
    wait_for("the ended token to be removed", SOON, || (tokens() == Some(3)).then_some(())).unwrap();
    stepped.step(0);
    stepped.server.restart();
    stepped.server.unseal();
    assert_eq!(root.read("secret/data/a").expect(200).data()["data"], json!({"x": 2}));
    root.write("secret/data/a", &json!({"data": {"x": 3}})).expect(200);
    assert_eq!(root.read("secret/metadata/a").data()["current_version"], 3);
    hour.read("auth/token/lookup-self").refused(403, "permission denied");
    assert!(remaining(&week) > 6 * DAY);
    assert!(remaining(&ahead) > 0);
    ahead.write("auth/token/revoke-self", &json!({})).expect(204);
    ahead.read("auth/token/lookup-self").refused(403, "permission denied");
}
