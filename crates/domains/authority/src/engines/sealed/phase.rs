//! The phase of trust that the cluster is in: a chain of signed records, each of which names the one before.

use super::census;
use super::config::{self, Config};
use super::keys;
use super::record::{self, Signed, Who};
use crate::context::Context;
use crate::refusal::Refusal;
use crate::response::Response;
use crate::{audit, mounts};
use keyward_intent::{Moment, Phase};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

const CURRENT: &str = "phase";
const HISTORY: &str = "phases/";
/// Records of the history that one answer shows.
const SHOWN: usize = 100;

/// One transition, as it is signed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Transition {
    kind: String,
    cluster: String,
    /// 1 for the first.
    number: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    from: Option<Phase>,
    to: Phase,
    at: Moment,
    by: Who,
    /// In the words of who did it.
    reason: String,
    /// What the authority saw.
    evidence: Value,
    /// The digest of the record before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    previous: Option<String>,
}

/// The phase the cluster is in.
pub(super) fn current(cx: &mut Context<'_, '_>) -> Result<Phase, Refusal> {
    let read = |plain: &[u8]| {
        let signed: Signed =
            serde_json::from_slice(plain).map_err(|_| Refusal::Corrupt(CURRENT.to_owned()))?;
        Ok(signed.read::<Transition>()?.to)
    };
    Ok(cx.built(CURRENT, read)?.map_or(Phase::Root, |phase| *phase))
}

/// Why nothing is opened yet. Until the phase `bootstrap` only the root and Git are trusted: what is in Git is intent, and
/// whoever brings the cluster up has not said that it may be decrypted here.
pub(super) fn early(phase: Phase) -> String {
    format!(
        "phase: the cluster is at {phase} ({}), and nothing is opened before bootstrap (2): write phase={} to phase when it is \
         time",
        phase.number(),
        next(phase).unwrap_or(Phase::Bootstrap)
    )
}

/// The first record, of a mount that gets its configuration.
pub(super) fn begin(cx: &mut Context<'_, '_>, config: &Config) -> Result<(), Refusal> {
    let transition = Transition {
        kind: "phase".to_owned(),
        cluster: config.cluster.clone(),
        number: 1,
        from: None,
        to: Phase::Root,
        at: Moment::of(cx.now),
        by: record::who(cx)?,
        reason: "the authority was told of its cluster".to_owned(),
        evidence: json!({ "root": config.root_id() }),
        previous: None,
    };
    keep(cx, &transition)
}

fn keep(cx: &mut Context<'_, '_>, transition: &Transition) -> Result<(), Refusal> {
    let signed = Signed::of(cx, transition)?;
    cx.put_json(&format!("{HISTORY}{:08}", transition.number), &signed)?;
    cx.put_json(CURRENT, &signed)
}

/// What was seen of the cluster, and what stands in the way of `to`.
fn guard(cx: &mut Context<'_, '_>, config: &Config, to: Phase) -> Result<(Value, Vec<String>), Refusal> {
    let census = census::read(cx)?;
    let key = cx.key(keys::NAMESPACES);
    let has_keys = !cx.txn.keys(&key, b"", 1)?.is_empty();
    let table = mounts::table(cx.txn)?;
    let is_kubernetes = |path: &&String| table.at(path).is_some_and(|mount| mount.kind == "kubernetes");
    let proving: Vec<&String> = config.auth_mounts.iter().filter(is_kubernetes).collect();
    let audited = !audit::auditing(cx.txn)?.devices().is_empty();
    let evidence = json!({
        "root": config.root_id(),
        "authors": config.authors().len(),
        "namespace_keys": has_keys,
        "auth_mounts": proving,
        "audited": audited,
        "bootstrap_secrets": census.bootstrap,
        "rotation_due": census.rotation_due,
    });
    let mut lacking = Vec::new();
    let mut need = |at: Phase, is: bool, what: &str| {
        if to >= at && !is {
            lacking.push(what.to_owned());
        }
    };
    need(
        Phase::Git,
        !config.authors().is_empty(),
        "no author is trusted: write authors or root_document to config",
    );
    need(Phase::Bootstrap, has_keys, "no namespace has a key: write to namespaces/NAMESPACE");
    need(
        Phase::Bootstrap,
        !proving.is_empty(),
        "none of auth_mounts is an auth method of the type kubernetes: nobody could prove a workload",
    );
    need(Phase::Authority, audited, "no audit device is enabled: nobody could tell what the authority does");
    let bootstrap =
        format!("{} bootstrap secrets are owned by Git: hand them over, or delete them", census.bootstrap);
    need(Phase::Steady, census.bootstrap == 0, &bootstrap);
    let due = format!("{} secrets have the value they had in Git: rotate them", census.rotation_due);
    need(Phase::Steady, census.rotation_due == 0, &due);
    Ok((evidence, lacking))
}

/// Phases follow each other, one at a time. There is one way back: an authority that no longer owns everything, since
/// something new was brought up by Git, says so, and bootstrap secrets stay refused.
fn is_legal(from: Phase, to: Phase) -> bool {
    to.number() == from.number() + 1 || (from, to) == (Phase::Steady, Phase::Authority)
}

fn next(phase: Phase) -> Option<Phase> {
    Phase::ALL.into_iter().find(|next| next.number() == phase.number() + 1)
}

pub(super) fn read(cx: &mut Context<'_, '_>) -> Result<Response, Refusal> {
    let config = config::find(cx)?;
    let signed = cx.get_json::<Signed>(CURRENT)?.ok_or(Refusal::missing())?;
    let transition: Transition = signed.read()?;
    let next = next(transition.to);
    let (evidence, lacking) = guard(cx, &config, next.unwrap_or(transition.to))?;
    Response::data(&json!({
        "cluster": config.cluster,
        "phase": transition.to,
        "number": transition.to.number(),
        "since": transition.at,
        "by": transition.by,
        "reason": transition.reason,
        "next": next,
        "lacking": lacking,
        "seen": evidence,
        "record": signed.describe(),
    }))
}

pub(super) fn write(cx: &mut Context<'_, '_>) -> Result<Response, Refusal> {
    let config = config::find(cx)?;
    let to: Phase = cx
        .fields()
        .required("phase")?
        .parse()
        .map_err(|why: keyward_intent::Invalid| Refusal::invalid(why.0))?;
    let reason = cx.fields().required("reason")?;
    let signed = cx.get_json::<Signed>(CURRENT)?.ok_or(Refusal::missing())?;
    let before: Transition = signed.read()?;
    if !is_legal(before.to, to) {
        let allowed = next(before.to).map_or("back to authority".to_owned(), |next| format!("on to {next}"));
        return Err(Refusal::invalid(format!(
            "phase: from {} the cluster goes {allowed}, and not to {to}",
            before.to
        )));
    }
    let (evidence, lacking) = guard(cx, &config, to)?;
    if !lacking.is_empty() && to > before.to {
        return Err(Refusal::Invalid(lacking));
    }
    let transition = Transition {
        kind: "phase".to_owned(),
        cluster: config.cluster.clone(),
        number: before.number + 1,
        from: Some(before.to),
        to,
        at: Moment::of(cx.now),
        by: record::who(cx)?,
        reason,
        evidence,
        previous: Some(signed.digest()),
    };
    keep(cx, &transition)?;
    let facts = [("phase".to_owned(), format!("{} {}", to.number(), to))].into();
    let shown = json!({ "phase": to, "number": to.number(), "since": Moment::of(cx.now) });
    Ok(Response { facts, ..Response::data(&shown)? })
}

pub(super) fn history(cx: &mut Context<'_, '_>) -> Result<Response, Refusal> {
    let names = cx.list(HISTORY)?;
    let mut records = Vec::new();
    for name in names.iter().rev().take(SHOWN) {
        if let Some(signed) = cx.get_json::<Signed>(&[HISTORY, name].concat())? {
            records.push(signed.describe());
        }
    }
    Response::data(&json!({ "records": records }))
}
