//! What workloads ask for: conditions on what they read, certificates, database users, and the end of many leases at
//! once.

use super::setup::{self, Keyward};
use super::{cpu, leases};
use crate::Failure;
use crate::bare;
use crate::measure::{Case, Effort, Sample, figure, in_turn, median};
use crate::server::Server;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use keyward_tests::databases::{PASSWORD, Postgres};
use serde_json::json;
use std::hint::black_box;
use std::path::Path;
use std::time::{Duration, Instant};

const CONDITIONAL: &str = r#"path "secret/data/*" { capabilities = ["read"]
    condition = "token.type == 'service' && time.weekday <= 7 && inCidr(request.address, '127.0.0.0/8')" }"#;

type Outcome = Result<(), Failure>;

/// Everything, on a server of its own.
pub(crate) fn run(program: &Path, folder: &Path, effort: Effort, quick: bool) -> Outcome {
    let keyward = Keyward::start(program, &folder.join("workloads"))?;
    memory(&keyward)?;
    keyward.prepare_secret()?;
    let bare = Server::start(&mut bare::command(600)?)?;
    conditional_read(&keyward, effort)?;
    issue(&keyward, &bare, effort)?;
    database(&keyward, &bare, effort)?;
    drop(keyward);
    expiries(program, folder, if quick { 20_000 } else { 100_000 })
}

/// Every engine and method that there is, idle.
fn memory(keyward: &Keyward) -> Outcome {
    for (path, kinds) in [
        ("sys/mounts", &["database", "pki", "ssh", "totp", "transit"][..]),
        ("sys/auth", &["approle", "cert", "jwt", "kubernetes", "ldap", "userpass"]),
    ] {
        for kind in kinds {
            keyward.manage("POST", &format!("{path}/{kind}"), &json!({ "type": kind }))?;
        }
    }
    let used = keyward.server.memory()?;
    figure("memory-idle-all-mounted", used / 30.0, format!("{used:.1} MB of 30 MB"))
}

fn conditional_read(keyward: &Keyward, effort: Effort) -> Outcome {
    let conditional = keyward.with_policy("conditional", CONDITIONAL)?;
    let plain = keyward.ask("GET", "secret/data/bench", "");
    let conditional = conditional.ask("GET", "secret/data/bench", "");
    let case = |ask| Case { server: &keyward.server, ask, connections: 16 };
    let [with, without] = in_turn(effort, [case(&conditional), case(&plain)])?;
    let of = |sample: &Sample| sample.cpu;
    let added = median(&with, of) - median(&without, of);
    let behind = format!(
        "{:.1} us; without {:.1} us; {added:.1} us of the 10 us a condition may add",
        median(&with, of),
        median(&without, of)
    );
    figure("kv-read-conditional-cpu", median(&with, of) / median(&without, of), behind)
}

/// Issuing a certificate, beside making a key, signing and encoding alone.
fn issue(keyward: &Keyward, bare: &Server, effort: Effort) -> Outcome {
    let root = json!({ "common_name": "bench", "key_type": "ec", "key_bits": 256, "ttl": "24h" });
    keyward.manage("POST", "pki/root/generate/internal", &root)?;
    let role =
        json!({ "allow_any_name": true, "key_type": "ec", "key_bits": 256, "no_store": true, "ttl": "1h" });
    keyward.manage("POST", "pki/roles/bench", &role)?;
    let issuing = keyward.with_policy("issue", r#"path "pki/issue/bench" { capabilities = ["update"] }"#)?;
    let ask = issuing.ask("POST", "pki/issue/bench", r#"{"common_name":"a.example.com"}"#);
    let case = |server, ask| Case { server, ask, connections: 16 };
    let [issued, floor] = in_turn(effort, [case(&keyward.server, &ask), case(bare, &ask)])?;
    let of = |sample: &Sample| sample.cpu;
    let (whole, wire) = (median(&issued, of), median(&floor, of));
    let raw = raw_issue(effort.span)?;
    let behind = format!(
        "{whole:.1} us, {wire:.1} us of which a bare server takes; key, signature and encoding alone {raw:.1} us; \
         wanted 0.70"
    );
    figure("pki-issue-p256", raw / (whole - wire), behind)
}

/// Microseconds for a key, a signature over a certificate's worth of bytes, and both in PEM.
fn raw_issue(span: Duration) -> Result<f64, Failure> {
    let failed = |_| "a key could not be made";
    let issuer = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_ASN1_SIGNING).map_err(failed)?;
    let (began, mut rounds) = (Instant::now(), 0u32);
    while began.elapsed() < span {
        let key = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_ASN1_SIGNING).map_err(failed)?;
        black_box(STANDARD.encode(key.to_pkcs8v1().map_err(failed)?.as_ref()));
        let signature = issuer.sign(&SystemRandom::new(), &[7; 420]).map_err(failed)?;
        black_box(STANDARD.encode([&[7; 420], signature.as_ref()].concat()));
        rounds += 1;
    }
    Ok(began.elapsed().as_secs_f64() * 1e6 / f64::from(rounds.max(1)))
}

fn database(keyward: &Keyward, bare: &Server, effort: Effort) -> Outcome {
    let Some(postgres) = Postgres::start() else { return Ok(()) };
    let config = json!({
        "plugin_name": "postgresql-database-plugin",
        "allowed_roles": "*",
        "connection_url": postgres.url(),
        "username": "postgres",
        "password": PASSWORD,
        "max_open_connections": 8,
    });
    keyward.manage("POST", "database/config/db", &config)?;
    let creation = "CREATE ROLE \"{{name}}\" WITH LOGIN PASSWORD '{{password}}' VALID UNTIL '{{expiration}}'";
    let role = json!({ "db_name": "db", "creation_statements": creation, "default_ttl": "1h" });
    keyward.manage("POST", "database/roles/bench", &role)?;
    let asking =
        keyward.with_policy("creds", r#"path "database/creds/bench" { capabilities = ["read"] }"#)?;
    let ask = asking.ask("GET", "database/creds/bench", "");
    let case = |server, ask| Case { server, ask, connections: 16 };
    let [made, floor] = in_turn(effort, [case(&keyward.server, &ask), case(bare, &ask)])?;
    cpu("database-credential-cpu", &made, &floor, 300.0)
}

/// How long a store full of tokens that are all over takes to be empty.
fn expiries(program: &Path, folder: &Path, count: usize) -> Outcome {
    let data = folder.join("over");
    let server = setup::start(program, &data)?;
    let key = server.printed("Unseal key")?.to_owned();
    let root = server.printed("Root token")?.to_owned();
    server.stop();
    leases::fill(&data, &key, count, Duration::from_secs(1))?;
    std::thread::sleep(Duration::from_secs(2));
    let (began, server) = (Instant::now(), setup::start(program, &data)?);
    let before = server.cpu()?;
    let left = || -> Result<u64, Failure> {
        let ask = crate::load::Ask::new("GET", "/v1/sys/leases/count", &root, "");
        let answer: serde_json::Value = serde_json::from_str(&crate::load::once(server.address, &ask)?)?;
        Ok(answer["data"]["lease_count"].as_u64().unwrap_or_default())
    };
    while left()? > 0 {
        std::thread::sleep(Duration::from_millis(200));
    }
    let rate = count as f64 / began.elapsed().as_secs_f64();
    let each = (server.cpu()? - before) / count as f64;
    figure(
        "expiries",
        rate / 10_000.0,
        format!("{rate:.0}/s, {each:.0} us of processor time each; wanted 10,000/s"),
    )
}
