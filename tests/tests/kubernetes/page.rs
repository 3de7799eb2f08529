//! docs/sealing.md, run as it stands there from the offline root to the memory of a running pod, the handover and the rotation.

use crate::install::{IMAGE, image};
use keyward_testkit::cluster::{BUSYBOX, Cluster, NODE_ADDRESS, Options, check};
use keyward_testkit::require;
use keyward_tests::binary::keyward;
use keyward_tests::sealed::mount;
use keyward_tests::server::{ON_DISK, Server};
use keyward_tests::shell::{Shell, blocks, promised};
use serde_json::json;
use std::time::Duration;

/// The longest that a block waits itself, twice over.
const LONG: Duration = Duration::from_secs(600);

/// An authority that pods reach, with what `keyward dev` has.
fn authority() -> Server {
    let listener =
        format!("listener \"tcp\" {{\n address = \"{NODE_ADDRESS}:8200\"\n tls_disable = true\n}}\n");
    let mut server = Server::configured(&format!("{listener}{ON_DISK}"));
    server.initialize(1, 1);
    server.unseal();
    let root = server.root();
    mount(&root);
    root.write("sys/mounts/secret", &json!({ "type": "kv-v2" })).expect(204);
    server
}

#[test]
fn the_page_on_sealing_works_in_a_cluster_as_it_is_written() {
    if !require(check(true)) {
        return;
    }
    let blocks = blocks(include_str!("../../../docs/sealing.md"), &["sealing", "authority", "cluster"]);
    let of = |wanted: &str| blocks.iter().filter(|(kind, _)| *kind == wanted).count();
    assert!(of("sealing") > 7 && of("authority") > 5 && of("cluster") > 3);
    let cluster = Cluster::start(Options::named("test-sealing-page").with_node()).unwrap();
    cluster.load_image(&image()).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let server = cluster.in_namespace(authority).unwrap();
    let programs = [keyward().parent().unwrap().to_owned(), cluster.programs()];
    let programs = programs.map(|folder| folder.display().to_string()).join(":");
    let (url, path) = (server.url(), format!("{programs}:{}", std::env::var("PATH").unwrap()));
    let environment = [
        ("PATH", path.as_str()),
        ("VAULT_ADDR", url.as_str()),
        ("VAULT_TOKEN", server.keys().root.as_str()),
        ("repository", concat!(env!("CARGO_MANIFEST_DIR"), "/..")),
        ("image", IMAGE),
    ];
    let mut shell = cluster.in_namespace(|| Shell::start(folder.path(), &environment)).unwrap();
    // There is no registry: the node has its image already.
    let there = format!("image: {BUSYBOX}, imagePullPolicy: Never");
    for (kind, block) in blocks {
        let printed = shell.types(&block.replace("image: busybox", &there), LONG);
        for words in promised(block).filter(|_| kind != "sealing") {
            assert!(printed.contains(words), "{block}\npromises {words:?} and prints:\n{printed}");
        }
    }
    // What the pod read before the handover it keeps.
    let read =
        ["exec", "--namespace=shop", "web", "--container=web", "--", "cat", "/keyward/secrets/db/password"];
    assert_eq!(cluster.kubectl(&read, "").unwrap(), "correct horse");
}
