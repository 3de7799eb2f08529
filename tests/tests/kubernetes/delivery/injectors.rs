//! Several injectors behind one webhook, of which one dies without a word.

use super::LONG;
use super::world::World;
use keyward_testkit::process::{ProcessId, wait_for};
use rustix::process::Signal;
use serde_json::Value;
use std::fs;
use std::time::{Duration, Instant};

/// Pods are asked for as long; a container that died twice is not started again before 10 s.
const SPAN: Duration = Duration::from_secs(8);
/// The API server may ask a dead injector until its Service is told, and refuses the pod then.
const NOTICED: Duration = Duration::from_secs(4);

/// The injectors of this cluster: the names of their pods.
fn injectors(world: &World) -> Vec<String> {
    let label = "--selector=app.kubernetes.io/name=keyward-injector";
    let path = "--output=jsonpath={.items[*].metadata.name}";
    let found = world.kubectl(&["get", "pods", "--namespace=keyward", label, path], "");
    found.split_whitespace().map(str::to_owned).collect()
}

/// The process of an injector, while there is one. The machine may have other clusters on it; pods' names are their own.
fn process_of(pod: &str) -> Option<ProcessId> {
    let wanted = format!("HOSTNAME={pod}");
    fs::read_dir("/proc").unwrap().flatten().find_map(|entry| {
        let pid = entry.file_name().to_str()?.parse().ok()?;
        let read = |name: &str| fs::read(entry.path().join(name)).unwrap_or_default();
        let serves = read("cmdline").windows(14).any(|words| words == b"\0inject\0serve\0");
        let is_its = || read("environ").split(|byte| *byte == 0).any(|line| line == wanted.as_bytes());
        if serves && is_its() { ProcessId::of(pid) } else { None }
    })
}

/// Whether a pod is admitted now. One that is has the agent, whatever happens.
fn is_admitted(world: &World) -> bool {
    let pod = world.pod("asked", "web", "keyward.io/inject: db");
    let arguments = ["create", "--dry-run=server", "--output=json", "--filename=-"];
    let Ok(made) = world.cluster.kubectl(&arguments, &pod) else { return false };
    let made: Value = serde_json::from_str(&made).unwrap();
    assert_eq!(made["spec"]["initContainers"][0]["name"], "keyward-agent", "admitted without the agent");
    true
}

fn restarts(world: &World, pod: &str) -> String {
    let path = "--output=jsonpath={.status.containerStatuses[0].restartCount}";
    world.kubectl(&["get", "pod", pod, "--namespace=keyward", path], "")
}

pub(super) fn one_is_enough(world: &World) {
    let pods = injectors(world);
    let [first, second] = pods.as_slice() else { panic!("not two injectors: {pods:?}") };
    let survivor = process_of(second);
    assert!(survivor.is_some());
    assert!(is_admitted(world));
    // Killed once it is started again at once, and after the second time not for a while.
    for _ in 0..2 {
        let process = wait_for("an injector to kill", LONG, || process_of(first)).unwrap();
        process.signal(Signal::KILL).unwrap();
        wait_for("its end", LONG, || (!process.is_running()).then_some(())).unwrap();
    }
    let began = Instant::now();
    let mut outcomes = Vec::new();
    while began.elapsed() < SPAN {
        outcomes.push((began.elapsed(), is_admitted(world)));
    }
    let late: Vec<_> = outcomes.iter().filter(|(at, admitted)| *at > NOTICED && !admitted).collect();
    let admitted = outcomes.iter().filter(|(_, admitted)| *admitted).count();
    assert!(late.is_empty() && admitted > 5, "{outcomes:?}");
    assert!(process_of(first).is_none(), "{first} is back already, and nothing was shown");
    assert_eq!(process_of(second), survivor, "the other one went on all the time");
    assert_eq!(restarts(world, second), "0");
    // The one that died comes back by itself, and is as good as the other.
    world.kubectl(
        &["rollout", "status", "deployment/keyward-injector", "--namespace=keyward", "--timeout=240s"],
        "",
    );
    assert!(is_admitted(world));
}
