//! `sys/leases`: what was handed out for a time, shown, renewed and revoked by its id.

use crate::context::{Context, Effect};
use crate::jobs::{self, Job};
use crate::lease::{self, Holder, Lease};
use crate::mounts;
use crate::refusal::Refusal;
use crate::request::Operation;
use crate::response::Response;
use crate::route::{Field, Handler, Kind, Route, Traits, field};
use serde_json::json;
use std::collections::BTreeMap;

const ID: Field = field("lease_id", Kind::Text, "The lease.");
const SYNC: Field = field("sync", Kind::Bool, "Answer when it is done, not before; yes by default.");
const RENEW: &[Field] = &[ID, field("increment", Kind::Duration, "For how much longer.")];
const KIND: &[Field] = &[
    field("type", Kind::Text, "`irrevocable`, or nothing for all leases."),
    field("limit", Kind::Text, "How many leases to list; `none` for all."),
];
const HOLDER: &[Field] = &[
    field("pod", Kind::Text, "The pod, as NAMESPACE/NAME."),
    field("pod_uid", Kind::Text, "The pod's UID."),
    field("entity_id", Kind::Text, "The identity."),
    SYNC,
];
const SUDO: Traits = Traits { sudo: true, ..Route::EMPTY.traits };

const fn update(
    pattern: &'static str,
    operations: &'static [(Operation, Handler)],
    fields: &'static [Field],
    traits: Traits,
    help: &'static str,
) -> Route {
    Route { pattern, operations, fields, traits, help, ..Route::EMPTY }
}

const RENEWING: &[(Operation, Handler)] = &[(Operation::Update, renew)];
const REVOKING: &[(Operation, Handler)] = &[(Operation::Update, revoke)];
const REVOKING_ALL: &[(Operation, Handler)] = &[(Operation::Update, revoke_prefix)];
const FORCING: &[(Operation, Handler)] = &[(Operation::Update, revoke_force)];
const PLAIN: Traits = Route::EMPTY.traits;
const EXTENDS: &str = "Extends a lease.";
const ENDS: &str = "Ends a lease.";
const ENDS_ALL: &str = "Ends all leases whose ids begin with a path.";
const ENDS_FORCED: &str = "As revoke-prefix, and forgets leases that cannot be taken back outside: what is left there \
    must be removed by hand.";
const ENDS_HELD: &str = "Ends all tokens of a pod or an identity, and all leases handed out to it.";

pub(super) const ROUTES: &[Route] = &[
    update("leases/lookup", &[(Operation::Update, look_up)], &[ID], PLAIN, "What is known of a lease."),
    update("leases/lookup/{prefix*}", &[(Operation::List, list)], &[], SUDO, "Lists the ids of leases."),
    update("leases/renew", RENEWING, RENEW, PLAIN, EXTENDS),
    update("leases/renew/{url_lease_id*}", RENEWING, RENEW, PLAIN, EXTENDS),
    update("leases/revoke", REVOKING, &[ID, SYNC], PLAIN, ENDS),
    update("leases/revoke/{url_lease_id*}", REVOKING, &[ID, SYNC], PLAIN, ENDS),
    update("leases/revoke-prefix/{prefix*}", REVOKING_ALL, &[SYNC], SUDO, ENDS_ALL),
    update("leases/revoke-force/{prefix*}", FORCING, &[], SUDO, ENDS_FORCED),
    update("leases/revoke-holder", &[(Operation::Update, revoke_holder)], HOLDER, SUDO, ENDS_HELD),
    update("leases/count", &[(Operation::Read, count)], KIND, PLAIN, "Counts leases by mount."),
    update("leases/tidy", &[(Operation::Update, tidy)], &[], PLAIN, "Removes leases of what is not there."),
    update(
        "leases",
        &[(Operation::Read, irrevocable)],
        KIND,
        SUDO,
        "Lists leases that could not be revoked.",
    ),
    update("renew", RENEWING, RENEW, PLAIN, EXTENDS),
    update("renew/{url_lease_id*}", RENEWING, RENEW, PLAIN, EXTENDS),
    update("revoke", REVOKING, &[ID, SYNC], PLAIN, ENDS),
    update("revoke/{url_lease_id*}", REVOKING, &[ID, SYNC], PLAIN, ENDS),
    update("revoke-prefix/{prefix*}", REVOKING_ALL, &[SYNC], SUDO, ENDS_ALL),
    update("revoke-force/{prefix*}", FORCING, &[], SUDO, ENDS_FORCED),
];

/// The lease named in the body, or in the path.
fn lease_id(cx: &Context<'_, '_>) -> Result<String, Refusal> {
    let id = cx.fields().string("lease_id")?.filter(|id| !id.is_empty());
    let id = id.unwrap_or_else(|| cx.param("url_lease_id").to_owned());
    match id.is_empty() {
        true => Err(Refusal::invalid("lease_id must be specified")),
        false => Ok(id),
    }
}

fn look_up(cx: &mut Context<'_, '_>) -> Result<Response, Refusal> {
    let id = lease_id(cx)?;
    let Some((_, times)) = lease::find(cx.txn, &id, cx.now)? else {
        return Err(Refusal::invalid("invalid lease"));
    };
    Response::data(&json!({
        "expire_time": times.expires.map(|end| end.to_string()),
        "id": id,
        "issue_time": times.issued.to_string(),
        "last_renewal": times.renewed.map(|at| at.to_string()),
        "renewable": times.renewable,
        "ttl": times.ttl,
    }))
}

fn list(cx: &mut Context<'_, '_>) -> Result<Response, Refusal> {
    let prefix = cx.param("prefix").trim_end_matches('/');
    let directory = match prefix {
        "" => lease::ENTRIES.to_owned(),
        prefix => format!("{}{prefix}/", lease::ENTRIES),
    };
    Response::keys(&cx.list_at(&directory)?)
}

fn renew(cx: &mut Context<'_, '_>) -> Result<Response, Refusal> {
    let id = lease_id(cx)?;
    let increment = cx.fields().duration("increment")?.unwrap_or_default();
    match lease::find(cx.txn, &id, cx.now)? {
        Some((Lease::Token { .. }, _)) => {
            Err(Refusal::invalid("tokens cannot be renewed through this endpoint"))
        }
        Some((Lease::Issued(issued), times)) if times.renewable => lease::renew(cx, &id, *issued, increment),
        Some((_, times)) if times.ttl == 0 => Err(Refusal::invalid("lease expired")),
        Some(_) => Err(Refusal::invalid("lease is not renewable")),
        None => Err(Refusal::invalid("lease not found")),
    }
}

fn revoke(cx: &mut Context<'_, '_>) -> Result<Response, Refusal> {
    let id = lease_id(cx)?;
    lease::revoke(cx.txn, &id, false)?;
    done(cx)
}

fn revoke_prefix(cx: &mut Context<'_, '_>) -> Result<Response, Refusal> {
    revoke_all(cx, false)
}

fn revoke_force(cx: &mut Context<'_, '_>) -> Result<Response, Refusal> {
    revoke_all(cx, true)
}

fn revoke_all(cx: &mut Context<'_, '_>, force: bool) -> Result<Response, Refusal> {
    let prefix = cx.param("prefix").to_owned();
    let path = prefix.trim_end_matches('/');
    if path.is_empty() {
        return Err(Refusal::invalid("the path of the leases to revoke is missing"));
    }
    // Without a slash it may be a lease's own id.
    if prefix == path && lease::revoke(cx.txn, path, force)? {
        return done(cx);
    }
    jobs::add(cx.txn, &Job::RevokePrefix { path: format!("{path}/"), force, after: String::new() })?;
    done(cx)
}

fn revoke_holder(cx: &mut Context<'_, '_>) -> Result<Response, Refusal> {
    let said = |name: &str| Ok::<_, Refusal>(cx.fields().string(name)?.unwrap_or_default());
    let holder = Holder { entity_id: said("entity_id")?, pod: said("pod")?, pod_uid: said("pod_uid")? };
    if holder == Holder::default() {
        return Err(Refusal::invalid(
            "say whose tokens and leases to revoke: pod (as NAMESPACE/NAME), pod_uid or entity_id",
        ));
    }
    if !holder.pod.is_empty() && holder.pod.split('/').filter(|part| !part.is_empty()).count() != 2 {
        return Err(Refusal::invalid("pod must be written as NAMESPACE/NAME"));
    }
    jobs::add(cx.txn, &Job::RevokeHolder { holder, directory: 0, after: String::new() })?;
    done(cx)
}

/// What hangs on a lease goes by jobs: before the answer, unless the client would rather not wait.
fn done(cx: &mut Context<'_, '_>) -> Result<Response, Refusal> {
    if !cx.fields().bool("sync")?.unwrap_or(true) {
        return Ok(Response { status: Some(202), ..Response::empty() });
    }
    cx.effects.push(Effect::RunJobs);
    Ok(Response::empty())
}

fn tidy(cx: &mut Context<'_, '_>) -> Result<Response, Refusal> {
    jobs::add(cx.txn, &Job::TidyTokens { directory: 0, after: String::new() })?;
    let started = Response { status: Some(202), ..Response::empty() };
    Ok(started.warn("Tidy operation successfully started. It goes on in the background."))
}

/// True when leases are meant that could not be revoked: what has to be done outside for it has failed several times.
fn only_irrevocable(cx: &Context<'_, '_>) -> Result<bool, Refusal> {
    match cx.fields().string("type")?.unwrap_or_default().to_lowercase().as_str() {
        "irrevocable" => Ok(true),
        "" => Ok(false),
        other => {
            Err(Refusal::invalid(format!("unknown type of leases {other:?}: write irrevocable, or nothing")))
        }
    }
}

fn count(cx: &mut Context<'_, '_>) -> Result<Response, Refusal> {
    const PAGE: usize = 1000;
    let mut counts: BTreeMap<String, u64> = BTreeMap::new();
    if only_irrevocable(cx)? {
        let stuck = lease::stuck(cx.txn, usize::MAX)?;
        let counts = stuck_by_mount(cx, &stuck)?;
        return Response::data(&json!({ "lease_count": counts.values().sum::<u64>(), "counts": counts }));
    }
    let mut page = cx.txn.keys(lease::ENTRIES, b"", PAGE)?;
    let table = mounts::table(cx.txn)?;
    while let Some(last) = page.last().cloned() {
        for key in &page {
            let mount = table.find(key.get(lease::ENTRIES.len()..).unwrap_or(""));
            let accessor = mount.map_or_else(String::new, |mount| mount.accessor.clone());
            *counts.entry(accessor).or_default() += 1;
        }
        page = cx.txn.keys(lease::ENTRIES, last.as_bytes(), PAGE)?;
    }
    Response::data(&json!({ "lease_count": counts.values().sum::<u64>(), "counts": counts }))
}

fn stuck_by_mount(
    cx: &mut Context<'_, '_>,
    stuck: &[lease::Stuck],
) -> Result<BTreeMap<String, u64>, Refusal> {
    let table = mounts::table(cx.txn)?;
    let mut counts: BTreeMap<String, u64> = BTreeMap::new();
    for stuck in stuck {
        let mount = table.iter().find(|mount| mount.uuid == stuck.lease.mount);
        *counts.entry(mount.map_or_else(String::new, |mount| mount.accessor.clone())).or_default() += 1;
    }
    Ok(counts)
}

fn irrevocable(cx: &mut Context<'_, '_>) -> Result<Response, Refusal> {
    /// What one answer shows unless all are asked for, as in Vault.
    const MOST: usize = 10_000;
    if !only_irrevocable(cx)? {
        return Err(Refusal::invalid(
            "type must be irrevocable; list all leases with LIST sys/leases/lookup",
        ));
    }
    let most = match cx.fields().string("limit")?.as_deref() {
        Some("none") => usize::MAX,
        None | Some("") => MOST,
        Some(number) => number
            .parse()
            .map_err(|_| Refusal::invalid(format!("limit must be a number or none, not {number:?}")))?,
    };
    let stuck = lease::stuck(cx.txn, most)?;
    let counts = stuck_by_mount(cx, &stuck)?;
    let leases: Vec<_> =
        stuck.iter().map(|stuck| json!({ "lease_id": stuck.id, "error": stuck.why })).collect();
    Response::data(&json!({ "lease_count": leases.len(), "counts": counts, "leases": leases }))
}

#[cfg(test)]
mod tests {
    use crate::request::Operation::{List, Read, Update};
    use crate::testing::Bench;
    use serde_json::json;
    use std::time::Duration;

    fn bench() -> Bench {
        let mut bench = Bench::new();
        bench.policy("a", "path \"x\" { capabilities = [\"read\"] }");
        bench
    }

    fn create(bench: &mut Bench, path: &str) -> (String, String) {
        let body = r#"{"policies":"a","ttl":"1h"}"#;
        let auth = bench.root(Update, &format!("auth/token/{path}"), body).body["auth"].clone();
        let text = |name: &str| auth[name].as_str().unwrap().to_owned();
        (text("client_token"), format!("auth/token/{path}/h{}", text("accessor")))
    }

    fn good(bench: &mut Bench, token: &str) -> bool {
        bench.root(Update, "auth/token/lookup", &json!({ "token": token }).to_string()).status == 200
    }

    #[test]
    fn leases_are_looked_up_and_listed() {
        let mut bench = bench();
        assert_eq!(bench.root(List, "sys/leases/lookup", "").status, 404);
        let (token, lease) = create(&mut bench, "create");
        let (_, orphan) = create(&mut bench, "create-orphan");
        let body = json!({ "lease_id": lease }).to_string();
        assert_eq!(
            *bench.root(Update, "sys/leases/lookup", &body).data(),
            json!({"id": lease, "issue_time": "2026-01-01T00:00:00Z", "expire_time": "2026-01-01T01:00:00Z",
                "last_renewal": null, "renewable": true, "ttl": 3600})
        );
        bench.pass(Duration::from_secs(60));
        bench.ask(&token, Update, "auth/token/renew-self", "");
        let known = bench.root(Update, "sys/leases/lookup", &body);
        assert_eq!(known.data()["last_renewal"], "2026-01-01T00:01:00Z");
        assert_eq!(known.data()["expire_time"], "2026-01-01T01:01:00Z");
        let keys = |bench: &mut Bench, path: &str| bench.root(List, path, "").data()["keys"].clone();
        assert_eq!(keys(&mut bench, "sys/leases/lookup"), json!(["auth/"]));
        assert_eq!(keys(&mut bench, "sys/leases/lookup/auth/token"), json!(["create-orphan/", "create/"]));
        let name = orphan.rsplit('/').next().unwrap();
        assert_eq!(keys(&mut bench, "sys/leases/lookup/auth/token/create-orphan/"), json!([name]));
        let none = bench.root(Update, "sys/leases/lookup", r#"{"lease_id":"none"}"#);
        assert_eq!((none.status, none.errors().as_str()), (400, "invalid lease"));
        let none = bench.root(Update, "sys/leases/lookup", "");
        assert_eq!(none.errors(), "lease_id must be specified");
    }

    #[test]
    fn leases_are_revoked_in_body_or_path() {
        let mut bench = bench();
        for path in ["leases/revoke", "revoke"] {
            let (token, lease) = create(&mut bench, "create");
            let body = json!({ "lease_id": lease }).to_string();
            assert_eq!(bench.root(Update, &format!("sys/{path}"), &body).status, 204);
            assert!(!good(&mut bench, &token));
            let (token, lease) = create(&mut bench, "create");
            let answer = bench.root(Update, &format!("sys/{path}/{lease}"), r#"{"sync":false}"#);
            assert_eq!(answer.status, 202);
            assert!(!good(&mut bench, &token));
            assert_eq!(bench.root(Update, &format!("sys/{path}/{lease}"), "").status, 204);
            assert_eq!(bench.root(Update, &format!("sys/{path}"), "").errors(), "lease_id must be specified");
        }
        assert_eq!((bench.count("lease/"), bench.count("token/")), (0, 1));
    }

    #[test]
    fn leases_of_a_path_are_revoked_together() {
        let mut bench = bench();
        for (path, prefix) in [
            ("leases/revoke-prefix", "auth/token/create"),
            ("revoke-prefix", "auth/token/create/"),
            ("leases/revoke-force", "auth/token/create"),
        ] {
            let tokens: Vec<String> = (0..200).map(|_| create(&mut bench, "create").0).collect();
            let (other, _) = create(&mut bench, "create-orphan");
            assert_eq!(bench.root(Update, &format!("sys/{path}/{prefix}"), "").status, 204);
            assert!(!tokens.iter().any(|token| good(&mut bench, token)));
            assert!(good(&mut bench, &other));
        }
        let (one, lease) = create(&mut bench, "create");
        let (another, _) = create(&mut bench, "create");
        assert_eq!(bench.root(Update, &format!("sys/leases/revoke-prefix/{lease}"), "").status, 204);
        assert!(!good(&mut bench, &one) && good(&mut bench, &another));
        assert_eq!(bench.root(Update, "sys/leases/revoke-prefix/", "").status, 400);
        let later = bench.root(Update, "sys/leases/revoke-prefix/auth/token", r#"{"sync":false}"#);
        assert_eq!(later.status, 202);
        bench.pass(Duration::ZERO);
        assert!(!good(&mut bench, &another));
        assert_eq!((bench.count("lease/"), bench.count("job/")), (0, 0));
    }

    #[test]
    fn tokens_are_renewed_elsewhere() {
        let mut bench = bench();
        let (_, lease) = create(&mut bench, "create");
        for path in ["leases/renew", "renew"] {
            let answer = bench.root(Update, &format!("sys/{path}/{lease}"), "");
            assert_eq!(answer.errors(), "tokens cannot be renewed through this endpoint");
            let answer = bench.root(Update, &format!("sys/{path}"), r#"{"lease_id":"none"}"#);
            assert_eq!((answer.status, answer.errors().as_str()), (400, "lease not found"));
        }
    }

    #[test]
    fn leases_are_counted_by_mount() {
        let mut bench = bench();
        for _ in 0..3 {
            create(&mut bench, "create");
        }
        let counted = bench.read("sys/leases/count").data().clone();
        assert_eq!(counted["lease_count"], 3);
        let accessor = counted["counts"].as_object().unwrap().keys().next().unwrap().clone();
        assert!(accessor.starts_with("auth_token_"));
        let none = json!({"lease_count": 0, "counts": {}});
        assert_eq!(*bench.read("sys/leases/count?type=irrevocable").data(), none);
        assert_eq!(bench.read("sys/leases?type=irrevocable").data()["leases"], json!([]));
        assert_eq!(bench.root(Read, "sys/leases/count?type=odd", "").status, 400);
        assert_eq!(bench.root(Read, "sys/leases", "").status, 400);
        assert_eq!(bench.root(Update, "sys/leases/tidy", "").status, 202);
        bench.pass(Duration::ZERO);
        assert_eq!(bench.read("sys/leases/count").data()["lease_count"], 3);
    }

    #[test]
    fn who_may_not_touch_all_leases_may_look_up_those_it_knows() {
        let mut bench = bench();
        let (_, lease) = create(&mut bench, "create");
        let ordinary = bench.token(&["default"]);
        let body = json!({ "lease_id": lease }).to_string();
        assert_eq!(bench.ask(&ordinary, Update, "sys/leases/lookup", &body).status, 200);
        bench.policy("all", "path \"sys/leases/*\" { capabilities = [\"create\", \"update\", \"list\"] }");
        let without_sudo = bench.token(&["all"]);
        assert_eq!(bench.ask(&without_sudo, List, "sys/leases/lookup/auth", "").status, 403);
        assert_eq!(bench.ask(&without_sudo, Update, "sys/leases/revoke-prefix/auth", "").status, 403);
        assert_eq!(bench.ask(&without_sudo, Update, "sys/leases/revoke", &body).status, 204);
    }
}
