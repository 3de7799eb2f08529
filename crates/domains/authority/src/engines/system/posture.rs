//! `sys/posture/`: verdicts on workloads and nodes, reported by a policy engine and read by who may. See [`crate::posture`].

use crate::context::Context;
use crate::mounts;
use crate::posture::{Found, MOST_RECORDS, Subjects, Wanted};
use crate::refusal::Refusal;
use crate::request::Operation;
use crate::response::Response;
use crate::route::{Field, Handler, Kind, Route, Traits, field};
use keyward_posture::Signed;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::time::Duration;

/// How long verdicts count without being confirmed, where nothing is said.
const VALIDITY: Duration = Duration::from_secs(60);

/// A report may have hundreds of signatures, and a list hundreds of thousands of subjects.
const HEAVY: Traits = Traits { heavy: true, ..Route::EMPTY.traits };
const LISTED: &[Field] = &[
    field("compliant", Kind::Bool, "Only those that are compliant, or only those that are not."),
    field("policy", Kind::Text, "Only those that violate this policy."),
    field("after", Kind::Text, "Only what comes after this key."),
    field("limit", Kind::Int, "How many at most."),
];

pub(super) const ROUTES: &[Route] = &[
    Route {
        pattern: "posture/sessions",
        operations: &[(Operation::Read, sessions), (Operation::Update, begin)],
        fields: &[
            field("cluster", Kind::Text, "What the cluster is called; each record repeats it."),
            field("key", Kind::Text, "The Ed25519 public key of the session, as authorized_keys has it."),
            field("validity", Kind::Duration, "How long verdicts count unless they are confirmed; 60s."),
        ],
        help: "Begins a session in which verdicts are reported, and shows those there are.",
        ..Route::EMPTY
    },
    Route {
        pattern: "posture/report",
        operations: &[(Operation::Update, report)],
        fields: &[
            field("session", Kind::Text, "The session."),
            field("records", Kind::Json, "What is said, in order: [{text, signature}]."),
        ],
        traits: HEAVY,
        help: "Takes signed verdicts.",
        ..Route::EMPTY
    },
    of(
        "posture/pods/{subject*}",
        &[(Operation::Read, pod), (Operation::List, pods)],
        "The verdict on a pod, MOUNT/NAMESPACE/NAME, and the list of those that are known.",
    ),
    of(
        "posture/namespaces/{subject*}",
        &[(Operation::Read, namespace), (Operation::List, namespaces)],
        "The verdict on a namespace, MOUNT/NAME, and the list of those that are known.",
    ),
    of(
        "posture/nodes/{subject*}",
        &[(Operation::Read, node), (Operation::List, nodes)],
        "The verdict on a node, MOUNT/NAME, and the list of those that are known.",
    ),
];

type Served = &'static [(Operation, Handler)];

const fn of(pattern: &'static str, operations: Served, help: &'static str) -> Route {
    Route { pattern, operations, fields: LISTED, traits: HEAVY, help, ..Route::EMPTY }
}

/// The mount at which the caller logged in, which must be one of pods: it says of which cluster they may speak.
fn cluster_of(cx: &mut Context<'_, '_>) -> Result<String, Refusal> {
    let path = cx.caller()?.token.path.clone();
    let table = mounts::table(cx.txn)?;
    let mount = table.find(&path).filter(|mount| mount.is_auth() && mount.kind == "kubernetes");
    match mount {
        Some(mount) if path == format!("{}login", mount.path) => Ok(mount.path.clone()),
        _ => Err(Refusal::invalid(
            "verdicts are reported with a token of a login by the auth method kubernetes, at the mount where the cluster's pods \
             log in: log in with a ServiceAccount of the cluster",
        )),
    }
}

fn begin(cx: &mut Context<'_, '_>) -> Result<Response, Refusal> {
    let (cluster, key) = (cx.fields().required("cluster")?, cx.fields().required("key")?);
    let validity = cx.fields().duration("validity")?.unwrap_or(VALIDITY);
    let mount = cluster_of(cx)?;
    let token = &cx.caller()?.name;
    let wanted = Wanted { mount: &mount, token, cluster: &cluster, key: &key, validity };
    let begun = cx.verdicts.begin(&wanted, cx.now, cx.random())?;
    Response::data(&json!({
        "session": begun.session,
        "mount": mount,
        "cluster": cluster,
        "validity": begun.validity.as_secs(),
        "records": MOST_RECORDS,
    }))
}

fn sessions(cx: &mut Context<'_, '_>) -> Result<Response, Refusal> {
    Response::data(&json!({ "sessions": cx.verdicts.sessions(cx.now) }))
}

fn report(cx: &mut Context<'_, '_>) -> Result<Response, Refusal> {
    let session = cx.fields().required("session")?;
    let records: Vec<Signed> = cx
        .fields()
        .typed("records")?
        .ok_or_else(|| Refusal::invalid("missing records: [{text, signature}]"))?;
    let mount = cluster_of(cx)?;
    let taken = cx.verdicts.report((&mount, &cx.caller()?.name, &session), &records, cx.now)?;
    Response::data(&json!({ "sequence": taken.sequence, "until": taken.until.to_string() }))
}

fn pods(cx: &mut Context<'_, '_>) -> Result<Response, Refusal> {
    list(cx, Subjects::Pods)
}

fn namespaces(cx: &mut Context<'_, '_>) -> Result<Response, Refusal> {
    list(cx, Subjects::Namespaces)
}

fn nodes(cx: &mut Context<'_, '_>) -> Result<Response, Refusal> {
    list(cx, Subjects::Nodes)
}

fn pod(cx: &mut Context<'_, '_>) -> Result<Response, Refusal> {
    read(cx, Subjects::Pods)
}

fn namespace(cx: &mut Context<'_, '_>) -> Result<Response, Refusal> {
    read(cx, Subjects::Namespaces)
}

fn node(cx: &mut Context<'_, '_>) -> Result<Response, Refusal> {
    read(cx, Subjects::Nodes)
}

/// How a subject is named: by the mount below `auth/` of its cluster, and where it is there.
fn key(mount: &str, found: &Found) -> String {
    let mount = mount.strip_prefix("auth/").unwrap_or(mount);
    format!("{mount}{}", found.known.verdict.subject)
}

/// What is known of subjects, by how they are named; of two of one name the later verdict.
fn known(cx: &Context<'_, '_>, of: Subjects) -> BTreeMap<String, (String, Found)> {
    let mut all: BTreeMap<String, (String, Found)> = BTreeMap::new();
    for (mount, found) in cx.verdicts.all(of, cx.now) {
        let key = key(&mount, &found);
        let since = found.known.verdict.since;
        if all.get(&key).is_none_or(|(_, other)| other.known.verdict.since < since) {
            all.insert(key, (mount, found));
        }
    }
    all
}

fn list(cx: &mut Context<'_, '_>, of: Subjects) -> Result<Response, Refusal> {
    let below = cx.param("subject").trim_matches('/').to_owned();
    let below = if below.is_empty() { below } else { format!("{below}/") };
    let (compliant, policy) = (cx.fields().bool("compliant")?, cx.fields().string("policy")?);
    let after = cx.fields().string("after")?.unwrap_or_default();
    let most = match cx.fields().int("limit")? {
        Some(limit) if limit > 0 => usize::try_from(limit).unwrap_or(usize::MAX),
        _ => usize::MAX,
    };
    let (mut keys, mut info) = (Vec::new(), Map::new());
    for (key, (_, found)) in known(cx, of) {
        let verdict = &found.known.verdict;
        let Some(name) = key.strip_prefix(&below).filter(|name| **name > *after) else { continue };
        let wanted = compliant.is_none_or(|compliant| compliant == verdict.compliant())
            && policy.as_ref().is_none_or(|policy| verdict.violations().any(|name| name == policy));
        if wanted && keys.len() < most {
            info.insert(name.to_owned(), found.summary());
            keys.push(name.to_owned());
        }
    }
    Response::data(&json!({ "keys": keys, "key_info": info }))
}

fn read(cx: &mut Context<'_, '_>, of: Subjects) -> Result<Response, Refusal> {
    let name = cx.param("subject").to_owned();
    let (mount, found) = known(cx, of).remove(&name).ok_or(Refusal::missing())?;
    let mut shown = found.summary();
    let known = &found.known;
    for (field, value) in [
        ("mount", json!(mount)),
        ("subject", json!(known.verdict.subject)),
        ("rulings", json!(known.verdict.rulings)),
        ("left_out", json!(known.verdict.left_out)),
        ("ttl", json!(found.left.as_secs())),
        ("text", json!(known.signed.text)),
        ("signature", json!(known.signed.signature)),
        ("key", Value::from(&*known.key)),
    ] {
        shown[field] = value;
    }
    Response::data(&shown)
}
