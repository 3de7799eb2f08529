//! The ways to install the KMS plugin that `deploy/` ships.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;

use keyward_testkit::cluster::{Cluster, Component, Entry, Image, Options, check};
use keyward_testkit::process::{run, wait_for};
use keyward_testkit::require;
use keyward_tests::binary::keyward;
use keyward_tests::kms::PREFIX;
use keyward_tests::server::SOON;

use crate::kms::{POLLED, api_server_flags, authority, encryption_config};

pub(crate) const IMAGE: &str = "keyward.test/keyward:1";

/// The manifest as it is shipped, with this test's image, authority and folders.
fn manifest(address: &str, folder: &Path) -> String {
    let shipped = include_str!("../../../deploy/static-pod/keyward-kms.yaml");
    let own = |path: &str| format!("path: {}", folder.join(path).display());
    let replaced = [
        ("image: keyward:latest", format!("image: {IMAGE}")),
        ("https://authority.example.org:8200", address.to_owned()),
        ("path: /run/keyward", own("run")),
        ("path: /var/lib/keyward/kms", own("state")),
        ("path: /etc/keyward/kms", own("credentials")),
    ];
    replaced.iter().fold(shipped.to_owned(), |text, (from, to)| {
        assert_eq!(text.lines().filter(|line| line.trim_end().ends_with(from)).count(), 1, "{from}");
        text.replace(from, to)
    })
}

/// The program and what it is linked with.
pub(crate) fn image() -> Image {
    let linked = run(Command::new("ldd").arg(keyward()), b"", SOON).unwrap();
    assert!(linked.status.success(), "{}", linked.stderr);
    let linked = String::from_utf8(linked.stdout).unwrap();
    let libraries = linked.split_whitespace().filter(|word| word.starts_with('/'));
    let files = libraries.map(|path| (path, Path::new(path))).chain([("/usr/local/bin/keyward", keyward())]);
    let files: Vec<_> = files.map(|(path, file)| (path.trim_start_matches('/').to_owned(), file)).collect();
    let parents = files.iter().flat_map(|(path, _)| Path::new(path).ancestors().skip(1));
    let folders: BTreeSet<_> = parents.filter(|folder| *folder != Path::new("")).collect();
    let mut entries: Vec<_> =
        folders.iter().map(|folder| (folder.display().to_string(), Entry::Folder(0o755))).collect();
    let content = |file| Entry::File(0o755, fs::read(file).unwrap());
    entries.extend(files.iter().map(|(path, file)| (path.clone(), content(file))));
    Image { name: IMAGE.to_owned(), entries, entrypoint: vec!["keyward".to_owned()] }
}

#[test]
fn a_static_pod_serves_an_api_server_that_starts_later() {
    if !require(check(true)) {
        return;
    }
    let mut cluster = Cluster::start(Options::named("test-kms-pod").with_node()).unwrap();
    cluster.load_image(&image()).unwrap();
    let folder = cluster.folder().join("kms");
    fs::create_dir_all(folder.join("credentials")).unwrap();
    let server = cluster.in_namespace(authority).unwrap();
    let credentials = folder.join("credentials");
    for name in ["role-id", "secret-id"] {
        fs::copy(server.folder().join(name), credentials.join(name)).unwrap();
    }
    // The address is a plain one; the file named must be there nonetheless.
    fs::copy(cluster.folder().join("credentials/ca.crt"), credentials.join("ca.pem")).unwrap();

    cluster.stop_component(Component::ApiServer).unwrap();
    let partial = folder.join("keyward-kms.yaml");
    fs::write(&partial, manifest(&server.url(), &folder)).unwrap();
    fs::rename(&partial, cluster.static_pods().join("keyward-kms.yaml")).unwrap();
    let socket = folder.join("run/kms.sock");
    wait_for("the static pod to listen", POLLED, || socket.exists().then_some(())).unwrap();
    let config = encryption_config(&folder, &socket);
    let flags = api_server_flags(&config);
    cluster.set_api_server_flags(&[&flags[0], &flags[1]]).unwrap();
    cluster.start_component(Component::ApiServer).unwrap();
    cluster.wait_ready(POLLED).unwrap();

    cluster.kubectl(&["create", "secret", "generic", "app", "--from-literal=word=hunter2"], "").unwrap();
    let raw = cluster.etcd_get("/registry/secrets/default/app").unwrap().unwrap();
    assert!(raw.starts_with(PREFIX));
    let ready = "--output=jsonpath={.status.conditions[?(@.type=='Ready')].status}";
    let pod = ["--namespace=kube-system", "get", "pod", "keyward-kms-node"];
    wait_for("the pod to be ready", POLLED, || {
        cluster.kubectl(&[&pod[..], &[ready]].concat(), "").ok().filter(|status| status == "True")
    })
    .unwrap();
    let restarts = "--output=jsonpath={.status.containerStatuses[0].restartCount}";
    assert_eq!(cluster.kubectl(&[&pod[..], &[restarts]].concat(), "").unwrap(), "0");
}

#[test]
fn systemd_understands_the_unit() {
    let shipped = include_str!("../../../deploy/systemd/keyward-kms.service");
    let analyze = Path::new("/usr/bin/systemd-analyze");
    if !require(
        analyze.exists().then_some(()).ok_or("systemd-analyze is not installed: apt-get install systemd"),
    ) {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let unit = folder.path().join("keyward-kms.service");
    let program = keyward().display().to_string();
    fs::write(&unit, shipped.replace("/usr/local/bin/keyward", &program)).unwrap();
    let verified = run(Command::new(analyze).arg("verify").arg(&unit), b"", SOON).unwrap();
    assert!(verified.status.success() && verified.stderr.is_empty(), "{}", verified.stderr);
    let arguments = ["security", "--offline=true", "--threshold=20"];
    let exposed = run(Command::new(analyze).args(arguments).arg(&unit), b"", SOON).unwrap();
    assert!(exposed.status.success(), "{}", String::from_utf8_lossy(&exposed.stdout));
}
