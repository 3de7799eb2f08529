//! The inventory of an authority that knows many sealed secrets.

use crate::Failure;
use crate::load::{self, Ask};
use crate::measure::{figure, middle};
use crate::server::Server;
use keyward_crypto::SystemRandom;
use keyward_crypto::age::{Mixing, Recipient};
use keyward_intent::{Bounds, Metadata, Scope, Subject};
use keyward_sealing::author;
use keyward_sealing::recipients::Sealer;
use keyward_sealing::{Audience, PlainSecret, object};
use serde_json::{Value, json};
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

/// Seconds that an inventory of [`MANY`] secrets may take.
const BUDGET: f64 = 1.0;
const MANY: f64 = 100_000.0;
/// How often it is read; what counts is the middle.
const ROUNDS: usize = 7;

/// Registers `wanted` objects, and reads them all.
pub(crate) fn run(program: &Path, wanted: u64) -> Result<(), Failure> {
    let folder = tempfile::tempdir()?;
    let mut command = Command::new(program);
    let server = Server::start(
        command.args(["dev", "--listen", "127.0.0.1:0", "--data"]).arg(folder.path().join("data")),
    )?;
    let token = server.printed("Root token")?.to_owned();
    let ask = |method: &str, path: &str, body: &Value| {
        Ask::new(method, &format!("/v1/{path}"), &token, &body.to_string())
    };
    let send = |method: &str, path: &str, body: &Value| -> Result<Value, Failure> {
        let answer = load::once(server.address, &ask(method, path, body))?;
        Ok(if answer.is_empty() { Value::Null } else { serde_json::from_str(&answer)? })
    };
    let signer = author::generate(&SystemRandom)?;
    send("POST", "sealed/config", &json!({ "cluster": "prod", "authors": [signer.public()] }))?;
    let key = send("POST", "sealed/namespaces/bench", &json!({}))?;
    let recipient: Recipient = key["data"]["recipient"].as_str().ok_or("no recipient")?.parse()?;
    // Bound to the namespace alone, so that one object may have any name.
    let bounds = Bounds {
        scope: Scope::Namespace,
        subjects: [Subject::parse("web", "bench").map_err(|why| why.0)?].into(),
        ..Bounds::in_cluster("prod")
    };
    let metadata =
        Metadata { name: "db".to_owned(), namespace: Some("bench".to_owned()), ..Metadata::default() };
    let data = [("password".to_owned(), keyward_crypto::Secret::new(vec![7; 64]))].into();
    let secret = PlainSecret { metadata, kind: "Opaque".to_owned(), data };
    let sealer = Sealer::new(&Audience::Each(vec![recipient]), Mixing::Refuse, &SystemRandom)?;
    let mut sealed =
        serde_json::to_value(object::seal(&secret, bounds, 1, &sealer, &signer, &SystemRandom)?)?;
    sealed["metadata"]["name"] = json!("db-{n}");
    let register = ask("POST", "sealed/objects/bench/db-{n}", &json!({ "manifest": sealed }));
    let (mut there, began) = (0, Instant::now());
    while there < wanted {
        there += load::run(server.address, &register, 8, Duration::from_secs(1))?.requests;
    }
    let rate = there as f64 / began.elapsed().as_secs_f64();
    let mut took = Vec::new();
    for _ in 0..ROUNDS {
        took.push(read_all(&|after| {
            load::once(server.address, &ask("GET", &format!("sealed/inventory?after={after}"), &json!({})))
        })?);
    }
    let took = middle(took) * MANY / there as f64;
    figure(
        "inventory-over-budget",
        took / BUDGET,
        format!(
            "{took:.2} s of {BUDGET:.0} s for 100,000, measured with {there}; {rate:.0} registered a second"
        ),
    )
}

/// Seconds until the answers with the whole inventory are there. What they say is looked at apart from that.
fn read_all(page: &dyn Fn(&str) -> Result<String, Failure>) -> Result<f64, Failure> {
    let (mut took, mut after) = (0.0, String::new());
    loop {
        let began = Instant::now();
        let page = page(&after)?;
        took += began.elapsed().as_secs_f64();
        let page: Value = serde_json::from_str(&page)?;
        match page["data"]["next"].as_str() {
            Some(next) => next.clone_into(&mut after),
            None => return Ok(took),
        }
    }
}
