//! Secrets of sealed objects, where the author, the namespace and the operator say so.

use super::LONG;
use super::world::World;
use crate::install::IMAGE;
use keyward_testkit::process::wait_for;
use std::fs;

pub(super) fn is_made_where_all_say_so(world: &World) {
    world.in_repository(
        "printf '{apiVersion: v1, kind: Secret, type: kubernetes.io/tls, metadata: {name: tls, namespace: shop}, \
         stringData: {tls.crt: first, tls.key: key}}' > tls.yaml && \
         keyward seal tls.yaml --to apps/shop/tls.yaml --subject keyward-materializer --sign-with author.key && rm tls.yaml",
    );
    apply(world);
    // Nobody but the author of `db` says who has it.
    world.kubectl(&["apply", "--filename=-"], &materializer(world, "db"));
    told(world, "the authority does not open it for this pod");
    assert!(secret(world).is_none());

    // This API server has no KMS plugin.
    world.kubectl(&["apply", "--filename=-"], &materializer(world, "tls"));
    told(world, "cannot get path");
    let binding = documented("create clusterrolebinding keyward-materializer-shop");
    world.kubectl(&binding.split_whitespace().collect::<Vec<_>>(), "");
    told(world, "the API server encrypts no Secrets");
    assert!(secret(world).is_none());

    world.kubectl(&["create", "secret", "generic", "tls", "--namespace=shop", "--from-literal=mine=1"], "");
    let accepting =
        materializer(world, "tls").replace("- --to-secrets", "- --to-secrets\n        - --at-rest=plaintext");
    world.kubectl(&["apply", "--filename=-"], &accepting);
    told(world, "Secret shop/tls is there, and is not of a sealed object");
    assert_eq!(secret(world).as_deref(), Some("Opaque  MQ=="));
    world.kubectl(&["delete", "secret", "tls", "--namespace=shop"], "");
    wait(world, Some("kubernetes.io/tls Zmlyc3Q= "));

    world.in_repository(
        "printf second | keyward set apps/shop/tls.yaml tls.crt --from - --sign-with author.key",
    );
    apply(world);
    wait(world, Some("kubernetes.io/tls c2Vjb25k "));
    world.kubectl(&["delete", "sealedsecrets.keyward.io", "tls", "--namespace=shop"], "");
    wait(world, None);
}

fn apply(world: &World) {
    world.kubectl(&["apply", "--recursive", "--filename", &world.tree()], "");
    world.wait_condition("tls", "Ready", "True");
}

/// What is shipped, as the documentation's overlay has it.
fn materializer(world: &World, object: &str) -> String {
    let overlay = tempfile::tempdir().unwrap();
    let base = overlay.path().join("base");
    fs::create_dir(&base).unwrap();
    for file in fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/../deploy/materialize")).unwrap() {
        let file = file.unwrap();
        fs::copy(file.path(), base.join(file.file_name())).unwrap();
    }
    let mut written = documented("# kubectl apply -k: one for each namespace").to_owned();
    for (from, to) in [
        ("../../deploy/materialize", "base"),
        ("https://authority.example.org:8200", &world.server.url()),
        ("--object=tls", &format!("--object={object}")),
    ] {
        assert!(written.contains(from), "{from}");
        written = written.replace(from, to);
    }
    fs::write(overlay.path().join("kustomization.yaml"), written).unwrap();
    let made = world.kubectl(&["kustomize", &overlay.path().display().to_string()], "");
    made.replace("image: keyward:latest", &format!("image: {IMAGE}"))
}

/// From `beginning` to the end of its block in the documentation.
fn documented(beginning: &str) -> &'static str {
    let page = include_str!("../../../../docs/sealing.md");
    let from = &page[page.find(beginning).unwrap()..];
    &from[..from.find("```").unwrap()]
}

fn told(world: &World, words: &str) {
    let logs = ["logs", "--namespace=shop", "deployment/keyward-materializer", "--tail=50"];
    let mut last = String::new();
    wait_for("the materializer to say why", LONG, || {
        last = world.try_kubectl(&logs).unwrap_or_else(|why| why.to_string());
        last.contains(words).then_some(())
    })
    .unwrap_or_else(|late| panic!("{late}: {last}"));
}

/// Its type, and the values that are sealed and that somebody else wrote.
fn secret(world: &World) -> Option<String> {
    let shown = "--output=jsonpath={.type} {.data.tls\\.crt} {.data.mine}";
    world.try_kubectl(&["get", "secret", "tls", "--namespace=shop", shown]).ok()
}

fn wait(world: &World, wanted: Option<&str>) {
    let mut last = None;
    wait_for("the Secret", LONG, || {
        last = secret(world);
        (last.as_deref() == wanted).then_some(())
    })
    .unwrap_or_else(|late| panic!("{late}: {last:?}"));
}
