//! What workloads ask for: conditions on what they read, certificates, database users, and the end of many leases at
//! once.

use super::setup::{self, Keyward};
use super::{cpu, endings};
use crate::Failure;
use crate::bare;
use crate::measure::{Case, Effort, Sample, figure, in_turn, median};
use crate::server::Server;
use keyward_tests::databases::Postgres;
use serde_json::json;
use std::path::Path;

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

/// Issuing a certificate, beside a bare server that makes, signs and encodes one for each answer; without what a bare server
/// takes that only answers.
fn issue(keyward: &Keyward, effort: Effort) -> Outcome {
    let root = json!({ "common_name": "bench", "key_type": "ec", "key_bits": 256, "ttl": "24h" });
    keyward.manage("POST", "pki/root/generate/internal", &root)?;
    let role =
        json!({ "allow_any_name": true, "key_type": "ec", "key_bits": 256, "no_store": true, "ttl": "1h" });
    keyward.manage("POST", "pki/roles/bench", &role)?;
    let issuing = keyward.with_policy("issue", r#"path "pki/issue/bench" { capabilities = ["update"] }"#)?;
    let ask = issuing.ask("POST", "pki/issue/bench", r#"{"common_name":"a.example.com"}"#);
    let size = keyward.answer(&ask)?.len();
    let (bare, raw) =
        (Server::start(&mut bare::command(size)?)?, Server::start(&mut bare::certifying(size)?)?);
    let case = |server, ask| Case { server, ask, connections: 16 };
    let [issued, raw, bare] =
        in_turn(effort, [case(&keyward.server, &ask), case(&raw, &ask), case(&bare, &ask)])?;
    let [whole, raw, wire] = [issued, raw, bare].map(|samples| median(&samples, |sample| sample.cpu));
    let behind = format!(
        "{whole:.1} us; a bare server takes {raw:.1} us to make one and answer, {wire:.1} us to answer; wanted 0.70"
    );
    figure("pki-issue-p256", (raw - wire) / (whole - wire), behind)
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
