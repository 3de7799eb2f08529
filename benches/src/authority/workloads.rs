//! What workloads ask for: conditions on what they read, certificates, database users, and the end of many leases at
//! once.

use super::setup::{self, Keyward};
use super::{cpu, endings};
use crate::Failure;
use crate::bare;
use crate::measure::{Case, Effort, Sample, figure, in_turn, median};
use crate::server::Server;
use keyward_core::random;
use keyward_crypto::SystemRandom;
use keyward_crypto::keys::{Key, KeyType};
use keyward_crypto::x509::{
    Extension, KeyUsages, PublicKey, San, Scheme, Subject, Template, attribute, oid, pem,
};
use keyward_tests::databases::Postgres;
use rustix::time::{ClockId, clock_gettime};
use serde_json::json;
use std::hint::black_box;
use std::path::Path;
use std::time::Duration;

const CONDITIONAL: &str = r#"path "secret/data/*" { capabilities = ["read"]
    condition = "token.type == 'service' && time.weekday <= 7 && inCidr(request.address, '127.0.0.0/8')" }"#;

type Outcome = Result<(), Failure>;

/// Everything, on a server of its own.
pub(crate) fn run(program: &Path, folder: &Path, effort: Effort, quick: bool) -> Outcome {
    let keyward = Keyward::start(program, &folder.join("workloads"))?;
    memory(&keyward)?;
    keyward.prepare_secret()?;
    let bare = Server::start(&mut bare::command(600)?)?;
    guarded_reads(&keyward, effort)?;
    issue(&keyward, effort)?;
    database(&keyward, &bare, effort)?;
    drop(keyward);
    endings::expiries(program, folder, if quick { 20_000 } else { 100_000 })?;
    endings::revocations(program, folder, if quick { 2_000 } else { 100_000 })?;
    endings::memory(program, folder, if quick { 100_000 } else { 1_000_000 })
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
    let used = keyward.server.memory_at_rest()?;
    figure("memory-idle-all-mounted", used / 30.0, format!("{used:.1} MB of 30 MB"))
}

/// What a condition, and a path with the caller's name in it, add to a read.
fn guarded_reads(keyward: &Keyward, effort: Effort) -> Outcome {
    let conditional = keyward.with_policy("conditional", CONDITIONAL)?;
    let templated = keyward.with_identity("bench", |accessor| {
        format!(
            "path \"secret/data/{{{{identity.entity.aliases.{accessor}.name}}}}\" {{ capabilities = [\"read\"] }}"
        )
    })?;
    let read = |holder: &setup::Holder| holder.ask("GET", "secret/data/bench", "");
    let (conditional, templated) = (read(&conditional), read(&templated));
    let plain = keyward.ask("GET", "secret/data/bench", "");
    let case = |ask| Case { server: &keyward.server, ask, connections: 16 };
    let [conditional, templated, plain] =
        in_turn(effort, [case(&conditional), case(&templated), case(&plain)])?;
    for (name, what, with) in [
        ("kv-read-conditional-cpu", "a condition", conditional),
        ("kv-read-templated-cpu", "an identity", templated),
    ] {
        let of = |sample: &Sample| sample.cpu;
        let (with, without) = (median(&with, of), median(&plain, of));
        let behind = format!(
            "{with:.1} us; without {without:.1} us; {:.1} us of the 10 us {what} may add",
            with - without
        );
        figure(name, with / without, behind)?;
    }
    Ok(())
}

/// Issuing a certificate, beside making, signing and encoding one alone.
fn issue(keyward: &Keyward, effort: Effort) -> Outcome {
    let root = json!({ "common_name": "bench", "key_type": "ec", "key_bits": 256, "ttl": "24h" });
    keyward.manage("POST", "pki/root/generate/internal", &root)?;
    let role =
        json!({ "allow_any_name": true, "key_type": "ec", "key_bits": 256, "no_store": true, "ttl": "1h" });
    keyward.manage("POST", "pki/roles/bench", &role)?;
    let issuing = keyward.with_policy("issue", r#"path "pki/issue/bench" { capabilities = ["update"] }"#)?;
    let ask = issuing.ask("POST", "pki/issue/bench", r#"{"common_name":"a.example.com"}"#);
    let bare = Server::start(&mut bare::command(keyward.answer(&ask)?.len())?)?;
    let case = |server, ask| Case { server, ask, connections: 16 };
    let [issued, floor] = in_turn(effort, [case(&keyward.server, &ask), case(&bare, &ask)])?;
    let of = |sample: &Sample| sample.cpu;
    let (whole, wire) = (median(&issued, of), median(&floor, of));
    let raw = raw_issue(effort.span)?;
    let behind = format!(
        "{whole:.1} us, {wire:.1} us of which a bare server takes; a key, a certificate and both in PEM alone \
         {raw:.1} us; wanted 0.70"
    );
    figure("pki-issue-p256", raw / (whole - wire), behind)
}

/// Microseconds of processor time for a key, a certificate for it, and both in PEM.
fn raw_issue(span: Duration) -> Result<f64, Failure> {
    let new = || Key::generate(KeyType::EcdsaP256, 0, &SystemRandom);
    let issuer = new()?;
    let name = |name: &str| Subject::new(&[(attribute::COMMON_NAME, &[name.to_owned()])]);
    let id = PublicKey::of(&issuer).ok_or("the issuer's key has no public part")?.identifier();
    let above = name("bench")?;
    let used = || {
        let used = clock_gettime(ClockId::ThreadCPUTime);
        used.tv_sec as f64 * 1e6 + used.tv_nsec as f64 / 1e3
    };
    let (began, mut rounds) = (used(), 0u32);
    while used() - began < span.as_secs_f64() * 1e6 {
        let key = new()?;
        let public = PublicKey::of(&key).ok_or("the key has no public part")?;
        let template = Template {
            serial: &random::bytes::<16>(&SystemRandom).map(|byte| byte & 0x7f),
            issuer: &above,
            subject: &name("a.example.com")?,
            not_before: 1_800_000_000,
            not_after: 1_800_003_600,
            spki: public.spki(),
            extensions: vec![
                Extension::key_usage(KeyUsages(0b10101))?,
                Extension::ext_key_usage(&[oid::CLIENT_AUTH.to_owned()])?,
                Extension::subject_key_id(&public.identifier())?,
                Extension::authority_key_id(&id)?,
                Extension::alternative_names(&[San::Dns("a.example.com".to_owned())], false)?,
            ],
        };
        let scheme = Scheme::of(&issuer, 0, false).ok_or("the issuer's key signs nothing")?;
        black_box(pem::encode(pem::CERTIFICATE, &template.sign(&issuer, scheme)?));
        black_box(key.private_pem());
        rounds += 1;
    }
    Ok((used() - began) / f64::from(rounds.max(1)))
}

fn database(keyward: &Keyward, bare: &Server, effort: Effort) -> Outcome {
    let Some(postgres) = Postgres::start() else { return Ok(()) };
    keyward.use_database(&postgres)?;
    let asking =
        keyward.with_policy("creds", r#"path "database/creds/bench" { capabilities = ["read"] }"#)?;
    let ask = asking.ask("GET", "database/creds/bench", "");
    let case = |server, ask| Case { server, ask, connections: 16 };
    let [made, floor] = in_turn(effort, [case(&keyward.server, &ask), case(bare, &ask)])?;
    cpu("database-credential-cpu", &made, &floor, 300.0)
}
