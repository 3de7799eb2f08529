//! What an object demands of a workload besides being one of its ServiceAccounts. What cannot be found out is not so: a workload of
//! which something that is demanded is not known is refused.

use super::object;
use super::prove::Workload;
use crate::context::Context;
use crate::engines::kubernetes;
use crate::policy::Ask;
use crate::posture::Seen;
use crate::refusal::Refusal;
use crate::request::Operation;
use keyward_envelope::Violation;
use keyward_intent::{Bounds, LabelSelector};
use keyward_posture::Images;
use std::collections::{BTreeMap, BTreeSet};

/// Whether `workload` is all that `bounds`, of the object `name` in `namespace`, demand of it. Answers with the verdicts that were
/// looked at, for the audit record.
pub(super) fn workload(
    cx: &mut Context<'_, '_>,
    (workload, seen): (&Workload, &Seen),
    (namespace, name): (&str, &str),
    bounds: &Bounds,
) -> Result<BTreeMap<String, String>, Refusal> {
    if !bounds.images.is_empty() {
        images(cx, seen, &bounds.images)?;
    }
    // What costs a question to the API server comes last.
    if !bounds.conditions.is_empty() {
        conditions(cx, seen, (namespace, name))?;
    }
    if let Some(selector) = &bounds.namespace_selector {
        labels(cx, workload, selector)?;
    }
    Ok(seen.digests().into_iter().map(|(of, digest)| (format!("posture_{of}"), digest)).collect())
}

fn refused<T>(why: &Violation) -> Result<T, Refusal> {
    Err(Refusal::denied(why.to_string()))
}

/// What the policy engine says that the pod runs. A pod without a verdict that still counts runs what nobody knows.
fn images(cx: &Context<'_, '_>, seen: &Seen, allowed: &BTreeSet<String>) -> Result<(), Refusal> {
    let token = &cx.caller()?.token;
    let found = cx.verdicts.attest(seen).pod(token, cx.now);
    let runs = found.and_then(|found| found.known.verdict.images.as_ref());
    let why = match runs {
        None if found.is_some() => {
            "the verdict does not say what the pod runs: the policy engine is an older one".to_owned()
        }
        None => "what the pod runs is not known".to_owned(),
        Some(Images { unpinned: 0, digests }) if !digests.is_empty() => {
            match digests.difference(allowed).next() {
                None => return Ok(()),
                Some(digest) => format!("the pod runs {digest}, which is not among them"),
            }
        }
        Some(runs) => format!("{} of the pod's containers are pinned to no digest", runs.unpinned),
    };
    Err(Refusal::denied(format!("{}{}", Violation::Images(why), seen.words())))
}

/// The same as conditions of policies: of the token that asks, and its pod.
fn conditions(cx: &mut Context<'_, '_>, seen: &Seen, (namespace, name): (&str, &str)) -> Result<(), Refusal> {
    let conditions = object::conditions(cx, namespace, name)?;
    let who = cx.caller()?.who(cx.request, cx.verdicts.attest(seen));
    let ask = Ask {
        path: &cx.request.path,
        operation: Operation::Read,
        parameters: None,
        wrap_ttl: cx.request.wrap.map(|wrap| wrap.ttl),
        now: cx.now,
        who: Some(who),
    };
    for condition in &conditions.0 {
        let why = match condition.holds(&ask) {
            Ok(true) => continue,
            Ok(false) => None,
            Err(why) => Some(why),
        };
        let violation = Violation::Condition { text: condition.text().to_owned(), why };
        return Err(Refusal::denied(format!("{violation}{}", seen.words())));
    }
    Ok(())
}

/// The labels that the API server says the namespace has.
fn labels(cx: &mut Context<'_, '_>, workload: &Workload, selector: &LabelSelector) -> Result<(), Refusal> {
    let namespace = &workload.subject.namespace;
    let labels = kubernetes::namespace_labels(cx, &workload.cluster, namespace)?;
    match selector.selects(&labels) {
        true => Ok(()),
        false => refused(&Violation::NamespaceSelector {
            selector: selector.to_string(),
            namespace: namespace.clone(),
        }),
    }
}
