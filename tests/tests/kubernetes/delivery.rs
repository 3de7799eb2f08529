//! Sealed Secrets go from Git into the memory of running pods, and are nowhere else: what `deploy/delivery` ships, on a real
//! node, against the attackers that zen-lock's security page names.

mod definitions;
mod injectors;
mod materialized;
pub(crate) mod world;

use keyward_testkit::process::wait_for;
use keyward_testkit::require;
use keyward_tests::canary::{Canary, sightings};
use serde_json::Value;
use std::fs;
use std::time::Duration;
use world::{FIRST, SECOND, World, ZEN};

/// A loaded machine needs minutes for what takes seconds.
pub(crate) const LONG: Duration = Duration::from_secs(240);

/// Of each kind that makes pods one. Their image has a shell, so that the test can look into them.
const WORKLOADS: &str = include_str!("delivery/workloads.yaml");

#[test]
fn what_is_sealed_in_git_is_in_the_memory_of_pods_and_nowhere_else() {
    if !require(keyward_testkit::cluster::check(true)) {
        return;
    }
    let mut world = World::start();
    world.deploy();
    definitions::hold(&world);
    world.seal(FIRST);
    world.kubectl(&["apply", "--recursive", "--filename", &world.tree()], "");
    world.wait_condition("db", "Ready", "True");
    a_dry_run_is_answered_as_any_other(&world);
    world.kubectl(&["apply", "--filename=-"], &world.filled(WORKLOADS));
    every_kind_of_workload_reads_it(&world);
    what_cannot_be_is_refused(&world);
    a_change_reaches_running_pods(&world);
    a_zenlock_is_where_its_annotations_say(&world);
    injectors::one_is_enough(&world);
    the_four_attackers_find_nothing(&world);
    a_stranger_waits_and_is_told_why(&world);
    a_sealed_authority_stops_nobody_who_runs(&mut world);
    materialized::is_made_where_all_say_so(&world);
}

fn a_dry_run_is_answered_as_any_other(world: &World) {
    let pod = world.pod("dry", "web", "keyward.io/inject: db");
    let made = world.kubectl(&["create", "--dry-run=server", "--output=json", "--filename=-"], &pod);
    let made: Value = serde_json::from_str(&made).unwrap();
    assert_eq!(made["spec"]["initContainers"][0]["name"], "keyward-agent");
    assert!(world.try_kubectl(&["get", "pod", "dry", "--namespace=shop"]).is_err());
}

fn every_kind_of_workload_reads_it(world: &World) {
    for what in ["deployment/web", "statefulset/queue", "daemonset/probe"] {
        world.kubectl(&["rollout", "status", what, "--namespace=shop", "--timeout=240s"], "");
    }
    world
        .kubectl(&["wait", "job/once", "--for=condition=Complete", "--namespace=shop", "--timeout=240s"], "");
    world.kubectl(&["wait", "pod/bare", "--for=condition=Ready", "--namespace=shop", "--timeout=240s"], "");
    for what in ["deployment/web", "statefulset/queue", "daemonset/probe", "pod/bare"] {
        assert_eq!(world.exec(what, "cat /keyward/secrets/db/password"), FIRST, "{what}");
        let mounts = world.exec(what, "grep ' /keyward/secrets ' /proc/mounts");
        assert!(mounts.starts_with("tmpfs ") && mounts.contains(" ro,"), "{what}: {mounts}");
        // What proves the pod is the agent's alone.
        assert_eq!(world.exec(what, "ls /var/run/secrets/keyward 2>/dev/null | wc -l").trim(), "0", "{what}");
    }
    let mode = world.exec("statefulset/queue", "stat -L -c '%a %u' /keyward/secrets/db/password");
    assert_eq!(mode.trim(), "400 1000");
    let secrets = world.kubectl(&["get", "secrets", "--namespace=shop", "--output=name"], "");
    assert_eq!(secrets.trim(), "");
}

fn what_cannot_be_is_refused(world: &World) {
    for (annotations, why) in [
        ("keyward.io/inject: ''", "keyward.io/inject names no object"),
        ("{keyward.io/inject: db, keyward.io/mount-path: /proc}", "keyward.io/mount-path lies in /proc"),
        ("{keyward.io/inject: db, keyward.io/containers: nobody}", "the pod has no such container"),
    ] {
        let pod = world.pod("refused", "web", annotations);
        let said = world.try_apply(&pod).unwrap_err();
        assert!(said.contains("keyward cannot inject secrets") && said.contains(why), "{said}");
    }
}

fn a_change_reaches_running_pods(world: &World) {
    world.set(SECOND);
    world.kubectl(&["apply", "--recursive", "--filename", &world.tree()], "");
    for what in ["deployment/web", "pod/bare"] {
        wait_for("the new value", LONG, || {
            (world.exec(what, "cat /keyward/secrets/db/password") == SECOND).then_some(())
        })
        .unwrap();
        assert_eq!(world.exec(what, "cat /keyward/secrets/db/username"), "ada", "{what}");
    }
}

fn a_zenlock_is_where_its_annotations_say(world: &World) {
    let sealed = world.zenlock(&[("DB_USER", "admin"), ("DB_PASS", ZEN)]);
    world.kubectl(&["apply", "--filename=-"], &sealed);
    let annotations = "{zen-lock/inject: db-credentials, zen-lock/mount-path: /etc/config}";
    world.kubectl(&["apply", "--filename=-"], &world.pod("zen", "web", annotations));
    world.kubectl(&["wait", "pod/zen", "--for=condition=Ready", "--namespace=shop", "--timeout=240s"], "");
    assert_eq!(world.exec("pod/zen", "cat /etc/config/DB_USER /etc/config/DB_PASS"), format!("admin{ZEN}"));
    let phase = ["get", "zenlock", "db-credentials", "--namespace=shop", "--output=jsonpath={.status.phase}"];
    assert_eq!(world.kubectl(&phase, ""), "Ready");
}

/// Who reads etcd, who has a backup of it, who has the Git repository, and who administers the cluster.
fn the_four_attackers_find_nothing(world: &World) {
    let loot = tempfile::tempdir().unwrap();
    let keep = |name: &str, bytes: &[u8]| fs::write(loot.path().join(name), bytes).unwrap();
    let raw = world.cluster.etcd_get("/registry/keyward.io/sealedsecrets/shop/db").unwrap().unwrap();
    keep("etcd", &raw);
    world.cluster.etcd_snapshot(&loot.path().join("snapshot")).unwrap();
    let history = "git rev-list --all --objects | cut -d' ' -f1 | git cat-file --batch";
    keep("git", world.in_repository(history).as_bytes());
    let kinds = world.kubectl(&["api-resources", "--verbs=list", "--output=name"], "");
    let kinds: Vec<_> = kinds.split_whitespace().collect();
    let listed = world.kubectl(&["get", &kinds.join(","), "--all-namespaces", "--output=json"], "");
    assert!(listed.contains("\"SealedSecret\"") && listed.contains("\"DaemonSet\""));
    keep("objects", listed.as_bytes());
    keep("authority", world.server.output().as_bytes());
    let canaries = [FIRST, SECOND, ZEN].map(|text| Canary::new(text, text.as_bytes()));
    assert_eq!(sightings(loot.path(), &canaries), Vec::<String>::new());
    // The limit that no sealing lifts: whoever may exec into the pod reads what the pod reads.
    keep("exec", world.exec("pod/bare", "cat /keyward/secrets/db/password").as_bytes());
    assert_eq!(sightings(loot.path(), &canaries).len(), 1);
}

fn a_stranger_waits_and_is_told_why(world: &World) {
    world.kubectl(&["apply", "--filename=-"], &world.pod("thief", "thief", "keyward.io/inject: db"));
    world.wait_event("thief", "the authority does not open it for this pod");
    let phase = ["get", "pod", "thief", "--namespace=shop", "--output=jsonpath={.status.phase}"];
    assert_eq!(world.kubectl(&phase, ""), "Pending");
    world.kubectl(&["delete", "pod", "thief", "--namespace=shop", "--grace-period=0", "--force"], "");
}

fn a_sealed_authority_stops_nobody_who_runs(world: &mut World) {
    world.restart_authority();
    world.set("a third value, which nobody gets yet");
    world.kubectl(&["apply", "--recursive", "--filename", &world.tree()], "");
    world.wait_condition("db", "Ready", "Unknown");
    world.kubectl(&["apply", "--filename=-"], &world.pod("late", "web", "keyward.io/inject: db"));
    world.wait_event("late", "the authority is sealed");
    assert_eq!(world.exec("deployment/web", "cat /keyward/secrets/db/password"), SECOND);
    world.unseal_authority();
    world.kubectl(&["wait", "pod/late", "--for=condition=Ready", "--namespace=shop", "--timeout=240s"], "");
    world.wait_condition("db", "Ready", "True");
    wait_for("the value that was sealed meanwhile", LONG, || {
        (world.exec("pod/late", "cat /keyward/secrets/db/password").starts_with("a third")).then_some(())
    })
    .unwrap();
}
