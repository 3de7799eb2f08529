//! Sealed secrets over HTTP: bundles that race, and what a server that dies leaves of a redemption and of a handover.

use crate::faults::Moments;
use keyward_crypto::SystemRandom;
use keyward_crypto::age::pq;
use keyward_envelope::bundle::Bundle;
use keyward_intent::Phase;
use keyward_testkit::process::run;
use keyward_tests::binary::keyward;
use keyward_tests::http::{Answer, Client};
use keyward_tests::sealed::{Author, go_to_bootstrap};
use keyward_tests::server::{ON_DISK, SOON, Server};
use keyward_tests::shell::{Shell, blocks, promised};
use serde_json::{Value, json};
use std::process::Command;
use std::sync::Barrier;
use std::time::Duration;

/// How often each test kills its server; `KEYWARD_CRASHES` says otherwise.
fn crashes() -> usize {
    std::env::var("KEYWARD_CRASHES").map_or(12, |count| count.parse().unwrap())
}

fn bundle(root: &Client, identity: &pq::Identity) -> Bundle {
    let body = json!({
        "recipient": identity.recipient().to_string(), "purpose": "agent", "items": { "token": "aHVzaA==" },
    });
    let made = root.write("sealed/bundles", &body).expect(200).data();
    Bundle::read(made["bundle"].as_str().unwrap().as_bytes(), &[identity]).unwrap()
}

fn redeem(client: &Client, bundle: &Bundle) -> Option<Answer> {
    let body = json!({
        "id": bundle.header().id, "proof": bundle.proof().expose(), "cluster": "prod", "purpose": "agent",
    });
    client.request("POST", "/v1/sealed/bundles/redeem").json(&body).try_send().ok()
}

#[test]
fn of_many_who_redeem_at_once_one_does() {
    let server = Server::unsealed(ON_DISK);
    let root = server.root();
    Author::trusted_by(&root, "shop");
    let identity = pq::Identity::generate(&SystemRandom);
    for _ in 0..10 {
        let bundle = bundle(&root, &identity);
        let start = Barrier::new(8);
        let answers: Vec<Answer> = std::thread::scope(|scope| {
            let racing = || {
                start.wait();
                redeem(&server.guest(), &bundle).unwrap()
            };
            let racers: Vec<_> = (0..8).map(|_| scope.spawn(racing)).collect();
            racers.into_iter().map(|racer| racer.join().unwrap()).collect()
        });
        let (won, lost): (Vec<_>, Vec<_>) = answers.into_iter().partition(|answer| answer.status == 200);
        assert_eq!((won.len(), lost.len()), (1, 7));
        for answer in lost {
            answer.refused(403, "it was redeemed at");
        }
        let share = won[0].data();
        assert_eq!(bundle.open(share["share"].as_str().unwrap()).unwrap()["token"].expose(), b"hush");
    }
}

#[test]
fn of_many_who_register_at_once_nobody_is_turned_away() {
    let server = Server::unsealed(ON_DISK);
    let root = server.root();
    let author = Author::trusted_by(&root, "shop");
    let (writers, each) = (24, 12);
    let start = Barrier::new(writers);
    // All of them count in the same entry of their namespace.
    std::thread::scope(|scope| {
        for writer in 0..writers {
            let (start, author, root) = (&start, &author, &root);
            scope.spawn(move || {
                start.wait();
                for at in 0..each {
                    author.register(root, &format!("db-{writer}-{at}"), "web", Phase::Steady, "hunter2");
                }
            });
        }
    });
    let listed = root.read("sealed/inventory").expect(200).data();
    assert_eq!(listed["secrets"].as_array().unwrap().len(), writers * each);
}

#[test]
fn a_redemption_that_a_crash_cut_off_is_not_given_twice() {
    let mut server = Server::unsealed(ON_DISK);
    Author::trusted_by(&server.root(), "shop");
    let identity = pq::Identity::generate(&SystemRandom);
    let mut moments = Moments::new();
    for round in 0..crashes() {
        let bundle = bundle(&server.root(), &identity);
        let guest = server.guest();
        let answered = std::thread::scope(|scope| {
            let redeeming = scope.spawn(|| redeem(&guest, &bundle));
            std::thread::sleep(moments.up_to(Duration::from_millis(15)));
            server.restart();
            redeeming.join().unwrap()
        });
        server.unseal();
        let given = answered.is_some_and(|answer| answer.status == 200);
        let path = format!("sealed/bundles/{}", bundle.header().id);
        let state = server.root().read(&path).expect(200).data()["state"].clone();
        assert!(!given || state == "redeemed", "round {round}: given, and {state}");
        // Whoever asks again is given it only if nobody was.
        let again = redeem(&server.guest(), &bundle).unwrap();
        assert_eq!(again.status, if state == "waiting" { 200 } else { 403 }, "round {round}: {state}");
        assert_eq!(redeem(&server.guest(), &bundle).unwrap().status, 403);
    }
}

#[test]
fn a_handover_that_a_crash_cut_off_leaves_one_authority() {
    let mut server = Server::unsealed(ON_DISK);
    let root = server.root();
    let author = Author::trusted_by(&root, "shop");
    root.write("sys/mounts/secret", &json!({ "type": "kv-v2" })).expect(204);
    root.write("sys/auth/kubernetes", &json!({ "type": "kubernetes" })).expect(204);
    go_to_bootstrap(&root);
    let mut moments = Moments::new();
    for round in 0..crashes() {
        let name = format!("db-{round}");
        let object = author.register(&server.root(), &name, "web", Phase::Bootstrap, "hunter2");
        let (path, target) = (format!("sealed/handover/shop/{name}"), format!("secret/data/shop/{name}"));
        let body = json!({ "digest": object["digest"], "target": target, "reason": "a test" });
        let root = server.root();
        let answered = std::thread::scope(|scope| {
            let url = format!("/v1/{path}");
            let (root, body) = (&root, &body);
            let handing = scope.spawn(move || root.request("POST", &url).json(body).try_send().ok());
            std::thread::sleep(moments.up_to(Duration::from_millis(60)));
            server.restart();
            handing.join().unwrap()
        });
        server.unseal();
        let root = server.root();
        let authority =
            root.read(&format!("sealed/objects/shop/{name}")).expect(200).data()["authority"].clone();
        let kept = root.read(&target).status;
        assert!(
            (authority == "git" && kept == 404) || (authority == "runtime" && kept == 200),
            "round {round}: {authority} owns it, and the authority's copy is {kept}"
        );
        assert!(
            answered.is_none_or(|answer| answer.status != 200) || authority == "runtime",
            "round {round}"
        );
        let receipt = root.write(&path, &body).expect(200).data()["receipt"].clone();
        assert_eq!(root.write(&path, &body).expect(200).data()["receipt"], receipt);
        let versions = root.read(&format!("secret/metadata/shop/{name}")).expect(200).data();
        assert_eq!(versions["current_version"], 1, "round {round}");
        assert_eq!(root.read(&target).expect(200).data()["data"]["password"], "hunter2");
    }
    let phase = root.read("sealed/phase").expect(200).data();
    assert_eq!(phase["seen"]["rotation_due"], crashes());
}

/// Runs the command line against `server`; what it prints.
fn keyward_of(server: &Server, arguments: &[&str], input: &str) -> Result<String, String> {
    let mut command = Command::new(keyward());
    command.current_dir(server.folder()).env("VAULT_ADDR", server.url());
    command.env("VAULT_TOKEN", &server.keys().root).args(arguments);
    let done = run(&mut command, input.as_bytes(), SOON).unwrap();
    let printed = String::from_utf8_lossy(&done.stdout).into_owned();
    if done.status.success() { Ok(printed) } else { Err(done.stderr) }
}

#[test]
fn the_command_line_makes_and_opens_bundles_and_shows_the_inventory() {
    let server = Server::unsealed(ON_DISK);
    let root = server.root();
    let author = Author::trusted_by(&root, "shop");
    root.write("sys/auth/kubernetes", &json!({ "type": "kubernetes" })).expect(204);
    go_to_bootstrap(&root);
    author.register(&root, "db", "web", Phase::Bootstrap, "hunter2");
    let table = keyward_of(&server, &["inventory"], "").unwrap();
    assert!(table.contains("shop/db") && table.contains("shop/web") && table.contains("active"), "{table}");
    let listed = keyward_of(&server, &["inventory", "shop", "-o", "json"], "").unwrap();
    let listed: Value = serde_json::from_str(&listed).unwrap();
    assert_eq!((listed[0]["name"].as_str(), listed[0]["authority"].as_str()), (Some("db"), Some("git")));
    assert_eq!(keyward_of(&server, &["inventory", "other", "-o", "json"], "").unwrap().trim(), "[]");

    let identity = pq::Identity::generate(&SystemRandom);
    let key = server.folder().join("agent.key");
    std::fs::write(&key, identity.text().expose()).unwrap();
    std::fs::set_permissions(&key, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    let recipient = identity.recipient().to_string();
    let create =
        ["bundle", "create", "token=-", "--recipient", &recipient, "--purpose", "agent", "--to", "b.age"];
    let made = keyward_of(&server, &create, "hush").unwrap();
    assert!(made.contains("Expires"), "{made}");
    let open = |purpose: &str, to: &str| {
        let to = ["--cluster", "prod", "--purpose", purpose, "--to", to];
        keyward_of(&server, &[&["bundle", "open", "b.age", "-i", "agent.key"], &to[..]].concat(), "")
    };
    assert!(open("other", "a").unwrap_err().contains("the purpose agent"));
    open("agent", "enrolled").unwrap();
    assert_eq!(std::fs::read(server.folder().join("enrolled/token")).unwrap(), b"hush");
    assert!(open("agent", "again").unwrap_err().contains("it was redeemed at"));
    let plain = keyward_of(
        &server,
        &["bundle", "create", "token=hush", "--recipient", &recipient, "--purpose", "a"],
        "",
    );
    assert!(plain.unwrap_err().contains("an argument can be read by others"));
}

#[test]
fn the_page_works_beside_an_authority_as_it_is_written() {
    let page = include_str!("../../../docs/sealing.md");
    let blocks = blocks(page, &["sealing", "authority"]);
    assert!(blocks.iter().filter(|(kind, _)| *kind == "authority").count() > 4);
    let (server, folder) = (Server::dev(), tempfile::tempdir().unwrap());
    let url = server.url();
    let environment = [("VAULT_ADDR", url.as_str()), ("VAULT_TOKEN", server.keys().root.as_str())];
    let mut shell = Shell::start(folder.path(), &environment);
    for (kind, block) in blocks {
        let printed = shell.types(block, Duration::from_secs(120));
        for words in promised(block).filter(|_| kind == "authority") {
            assert!(printed.contains(words), "{block}\npromises {words:?} and prints:\n{printed}");
        }
    }
}
