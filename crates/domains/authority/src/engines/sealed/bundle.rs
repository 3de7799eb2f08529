//! Enrollment bundles: made for one recipient, redeemed once, in time, where and for what they were made. What redeeming
//! gives is one half of the key of the values, which are kept nowhere but in the bundle; see [`keyward_envelope::bundle`].
//!
//! A redemption is committed before it is answered. Of two at the same time one finds that the other came first; a server
//! that dies between leaves a bundle that is used up, and whoever needs one makes another.

use super::config;
use super::record;
use crate::context::Context;
use crate::engines::transit::wire::{Hidden, decode, encode};
use crate::expiry::{self, Due};
use crate::refusal::Refusal;
use crate::response::Response;
use keyward_core::{Timestamp, random};
use keyward_crypto::age::Recipient;
use keyward_crypto::secret::SecretBytes;
use keyward_crypto::{Secret, sha256};
use keyward_envelope::bundle::{self, Header};
use keyward_envelope::recipient_id;
use keyward_intent::{Moment, names};
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::collections::BTreeMap;
use std::time::Duration;

const ENTRIES: &str = "bundle/";
const USUAL_TTL: Duration = Duration::from_secs(30 * 60);
const LONGEST_TTL: Duration = Duration::from_secs(24 * 3600);
/// How long a bundle that is over is remembered, so that a late use is told from nonsense.
const REMEMBERED: Duration = Duration::from_secs(7 * 24 * 3600);
/// Bytes of all values together.
const LONGEST: usize = 256 * 1024;

/// What is kept of a bundle. It holds a secret: no `Debug`.
#[derive(Serialize, Deserialize)]
struct Entry {
    header: Header,
    /// The hash of the proof.
    proof: String,
    /// What is given for it; gone once it is given.
    share: Option<Hidden>,
    /// Nanoseconds since the epoch.
    redeemed: Option<u64>,
    /// Where from.
    #[serde(default)]
    redeemed_from: String,
}

impl Entry {
    fn state(&self, now: Timestamp) -> &'static str {
        match self.redeemed {
            Some(_) => "redeemed",
            None if self.header.expires.timestamp() <= now => "expired",
            None => "waiting",
        }
    }
}

fn key(id: &str) -> String {
    [ENTRIES, id].concat()
}

fn items(cx: &Context<'_, '_>) -> Result<BTreeMap<String, SecretBytes>, Refusal> {
    let sent = cx.fields().typed::<BTreeMap<String, String>>("items")?.unwrap_or_default();
    let mut items = BTreeMap::new();
    for (key, text) in sent {
        let text = zeroize::Zeroizing::new(text);
        names::item(&key).map_err(|why| Refusal::invalid(why.0))?;
        let value = decode(&text).map_err(|_| Refusal::invalid(format!("items.{key} is not base64")))?;
        items.insert(key, Secret::new(value));
    }
    match items.values().map(|value| value.expose().len()).sum::<usize>() {
        _ if items.is_empty() => Err(Refusal::invalid("missing items: values in base64 by their keys")),
        0..=LONGEST => Ok(items),
        _ => Err(Refusal::invalid(format!("the items are longer than {} KiB together", LONGEST / 1024))),
    }
}

fn header(cx: &Context<'_, '_>, cluster: &str, recipient: &Recipient) -> Result<Header, Refusal> {
    let sent = cx.fields();
    let bad = |why: keyward_intent::Invalid| Refusal::invalid(why.0);
    let cluster = sent.string("cluster")?.unwrap_or_else(|| cluster.to_owned());
    names::label("cluster", &cluster).map_err(bad)?;
    let purpose = sent.required("purpose")?;
    names::label("purpose", &purpose).map_err(bad)?;
    let namespace = sent.string("namespace")?.filter(|namespace| !namespace.is_empty());
    namespace.as_deref().map_or(Ok(()), |namespace| names::label("namespace", namespace)).map_err(bad)?;
    let ttl = sent.duration("ttl")?.unwrap_or(USUAL_TTL);
    if ttl < Duration::from_secs(1) || ttl > LONGEST_TTL {
        return Err(Refusal::invalid("ttl is from 1 second to 24 hours"));
    }
    Ok(Header {
        id: random::uuid(cx.random()),
        cluster,
        purpose,
        namespace,
        recipient: recipient_id(recipient),
        created: Moment::of(cx.now),
        expires: Moment::of(cx.now.plus(ttl)),
        contents: String::new(),
    })
}

fn facts(header: &Header) -> BTreeMap<String, String> {
    [
        ("bundle".to_owned(), header.id.clone()),
        ("cluster".to_owned(), header.cluster.clone()),
        ("purpose".to_owned(), header.purpose.clone()),
    ]
    .into()
}

pub(super) fn create(cx: &mut Context<'_, '_>) -> Result<Response, Refusal> {
    let config = config::find(cx)?;
    let recipient: Recipient = cx.fields().required("recipient")?.parse().map_err(|_| {
        Refusal::invalid("recipient is an age recipient: age1pq1..., age1... or an SSH public key")
    })?;
    if matches!(recipient, Recipient::Plugin(_)) {
        return Err(Refusal::invalid(
            "recipient: the authority starts no plugins; make an identity with age-keygen",
        ));
    }
    let header = header(cx, &config.cluster, &recipient)?;
    let items = items(cx)?;
    let signer = record::signer(cx)?;
    let made = bundle::make(header.clone(), &items, &recipient, &signer, cx.random())
        .map_err(|why| Refusal::invalid(why.to_string()))?;
    let entry = Entry {
        header: header.clone(),
        proof: encode(&sha256(made.proof.expose())),
        share: Some(Hidden(Secret::new(made.share.expose().to_vec()))),
        redeemed: None,
        redeemed_from: String::new(),
    };
    cx.put_json(&key(&header.id), &entry)?;
    let forgotten = header.expires.timestamp().plus(REMEMBERED).nanos();
    let stored = cx.key(&key(&header.id));
    expiry::remember(cx.txn, forgotten, &header.id, &Due::Entry(stored))?;
    let shown = json!({
        "id": header.id,
        "bundle": made.file,
        "expires": header.expires,
        "recipient_id": header.recipient,
        "issuer": signer.public(),
    });
    Ok(Response { facts: facts(&header), ..Response::data(&shown)? })
}

pub(super) fn list(cx: &mut Context<'_, '_>) -> Result<Response, Refusal> {
    Response::keys(&cx.list(ENTRIES)?)
}

pub(super) fn read(cx: &mut Context<'_, '_>) -> Result<Response, Refusal> {
    let entry = cx.get_json::<Entry>(&key(cx.param("id")))?.ok_or(Refusal::missing())?;
    Response::data(&json!({
        "state": entry.state(cx.now),
        "cluster": entry.header.cluster,
        "purpose": entry.header.purpose,
        "namespace": entry.header.namespace,
        "recipient_id": entry.header.recipient,
        "created": entry.header.created,
        "expires": entry.header.expires,
        "redeemed": entry.redeemed.map(|at| Timestamp::from_nanos(at).to_string()),
        "redeemed_from": entry.redeemed_from,
    }))
}

pub(super) fn delete(cx: &mut Context<'_, '_>) -> Result<Response, Refusal> {
    let key = key(cx.param("id"));
    cx.delete(&key);
    Ok(Response::empty())
}

pub(super) fn redeem(cx: &mut Context<'_, '_>) -> Result<Response, Refusal> {
    let sent = cx.fields();
    let (id, proof) = (sent.required("id")?, zeroize::Zeroizing::new(sent.required("proof")?));
    let (cluster, purpose) = (sent.required("cluster")?, sent.required("purpose")?);
    let namespace = sent.string("namespace")?.filter(|namespace| !namespace.is_empty());
    let unproved = || Refusal::denied("no bundle has this id and proof");
    if id.len() > 64 || id.contains('/') {
        return Err(unproved());
    }
    let Some(mut entry) = cx.get_json::<Entry>(&key(&id))? else { return Err(unproved()) };
    let proof = zeroize::Zeroizing::new(decode(&proof).map_err(|_| unproved())?);
    if !keyward_crypto::same(encode(&sha256(&proof)).as_bytes(), entry.proof.as_bytes()) {
        return Err(unproved());
    }
    // Whoever has the proof decrypted the bundle, and may know what is wrong.
    let refused = |why: String| Err(Refusal::Forbidden(format!("bundle {id}: {why}").into()));
    let header = &entry.header;
    if let Some(at) = entry.redeemed {
        return refused(format!(
            "it was redeemed at {} from {}: if that was not you, what is in it is lost to somebody else",
            Timestamp::from_nanos(at),
            entry.redeemed_from
        ));
    }
    if header.expires.timestamp() <= cx.now {
        return refused(format!("it expired at {}: have another one made", header.expires));
    }
    let bound = (header.cluster.as_str(), header.purpose.as_str(), header.namespace.as_deref());
    if bound != (cluster.as_str(), purpose.as_str(), namespace.as_deref()) {
        let (cluster, purpose, namespace) = bound;
        return refused(format!(
            "it is for the cluster {cluster}, the purpose {purpose} and the namespace {}",
            namespace.unwrap_or("(none)")
        ));
    }
    let Some(share) = entry.share.take() else { return Err(Refusal::Corrupt(key(&id))) };
    entry.redeemed = Some(cx.now.nanos());
    entry.redeemed_from =
        cx.request.remote.map_or("an unknown address".to_owned(), |remote| remote.ip().to_string());
    cx.put_json(&key(&id), &entry)?;
    let shown = json!({ "id": id, "share": share });
    Ok(Response { facts: facts(&entry.header), ..Response::data(&shown)? })
}
