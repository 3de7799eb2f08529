//! Which cluster this is, whose signatures are taken, and what proves a workload.

use super::{phase, record};
use crate::context::Context;
use crate::refusal::Refusal;
use crate::response::Response;
use keyward_envelope::{AuthorKey, Document};
use keyward_intent::{names, yaml};
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::collections::BTreeSet;
use std::sync::Arc;

const PATH: &str = "config";
/// How often agents ask whether something changed, in seconds.
const REFRESH: u64 = 30;

/// The configuration of a mount.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Config {
    pub(super) cluster: String,
    /// Names of sets of clusters that this one is among.
    pub(super) cluster_sets: BTreeSet<String>,
    /// Lines as `authorized_keys` has them.
    authors: Vec<String>,
    /// The public document of the root of trust.
    root: Option<Document>,
    /// Mounts of the type `kubernetes`, as `auth/NAME/`.
    pub(super) auth_mounts: Vec<String>,
    pub(super) require_pod: bool,
    pub(super) require_account_uid: bool,
    pub(super) refresh: u64,
}

impl Default for Config {
    fn default() -> Config {
        Config {
            cluster: String::new(),
            cluster_sets: BTreeSet::new(),
            authors: Vec::new(),
            root: None,
            auth_mounts: vec!["auth/kubernetes/".to_owned()],
            require_pod: true,
            require_account_uid: false,
            refresh: REFRESH,
        }
    }
}

impl Config {
    /// Whose signatures are taken.
    pub(super) fn authors(&self) -> Vec<&str> {
        let root = self.root.as_ref().map(|root| root.spec.author.as_str());
        self.authors.iter().map(String::as_str).chain(root).collect()
    }

    /// The id of the root of trust, if its document was given.
    pub(super) fn root_id(&self) -> Option<&str> {
        self.root.as_ref().map(|root| root.spec.id.as_str())
    }

    /// The name that something sealed for `clusters` knows this cluster by; the cluster's own when it knows none.
    pub(super) fn known_as<'a>(&'a self, clusters: &BTreeSet<String>) -> &'a str {
        let known = |name: &&String| clusters.contains(*name);
        self.cluster_sets.iter().find(known).map_or(&self.cluster, |set| set)
    }
}

/// The configuration, or a refusal that there is none.
pub(super) fn find(cx: &mut Context<'_, '_>) -> Result<Arc<Config>, Refusal> {
    let path = cx.mount.path.clone();
    cx.built_json(PATH)?.ok_or_else(|| {
        Refusal::invalid(format!(
            "the mount has no configuration: write cluster and root_document to {path}config"
        ))
    })
}

pub(super) fn exists(cx: &mut Context<'_, '_>) -> Result<bool, Refusal> {
    cx.exists(PATH)
}

pub(super) fn read(cx: &mut Context<'_, '_>) -> Result<Response, Refusal> {
    let config = cx.built_json::<Config>(PATH)?.ok_or(Refusal::missing())?;
    let fingerprints =
        config.authors().into_iter().map(|line| AuthorKey::read(line).map(|key| key.fingerprint()));
    let fingerprints: Vec<String> = fingerprints.filter_map(Result::ok).collect();
    Response::data(&json!({
        "cluster": config.cluster,
        "cluster_sets": config.cluster_sets,
        "authors": config.authors,
        "author_fingerprints": fingerprints,
        "root": config.root.as_ref().map(|root| json!({
            "id": root.spec.id,
            "generation": root.spec.generation,
            "author": root.spec.author,
        })),
        "auth_mounts": config.auth_mounts,
        "require_pod": config.require_pod,
        "require_account_uid": config.require_account_uid,
        "refresh": config.refresh,
        "public_key": record::signer(cx)?.public(),
    }))
}

pub(super) fn write(cx: &mut Context<'_, '_>) -> Result<Response, Refusal> {
    let before = cx.built_json::<Config>(PATH)?;
    let mut config = before.as_deref().cloned().unwrap_or_default();
    take(cx, &mut config)?;
    if config.cluster.is_empty() {
        return Err(Refusal::invalid("missing cluster: the name that sealed objects are bound to"));
    }
    let bad = |why: keyward_intent::Invalid| Refusal::invalid(why.0);
    names::label("cluster", &config.cluster).map_err(bad)?;
    config.cluster_sets.iter().try_for_each(|set| names::label("a cluster set", set)).map_err(bad)?;
    cx.put_json(PATH, &config)?;
    if before.is_none() {
        phase::begin(cx, &config)?;
    }
    Ok(match config.authors().is_empty() {
        true => Response::empty()
            .warn("no author is trusted yet: write authors or root_document, or no object is taken"),
        false => Response::empty(),
    })
}

fn take(cx: &Context<'_, '_>, config: &mut Config) -> Result<(), Refusal> {
    let sent = cx.fields();
    if let Some(cluster) = sent.string("cluster")? {
        config.cluster = cluster;
    }
    if let Some(sets) = sent.strings("cluster_sets")? {
        config.cluster_sets = sets.into_iter().collect();
    }
    if let Some(authors) = sent.strings("authors")? {
        for line in &authors {
            AuthorKey::read(line).map_err(|why| Refusal::invalid(format!("authors: {why}")))?;
        }
        config.authors = authors;
    }
    if let Some(text) = sent.string("root_document")? {
        take_root(config, &text)?;
    }
    if let Some(mounts) = sent.strings("auth_mounts")? {
        config.auth_mounts = mounts.iter().map(|path| auth_path(path)).collect();
    }
    if let Some(require) = sent.bool("require_pod")? {
        config.require_pod = require;
    }
    if let Some(require) = sent.bool("require_account_uid")? {
        config.require_account_uid = require;
    }
    if let Some(refresh) = sent.duration("refresh")? {
        config.refresh = refresh.as_secs();
    }
    match config.refresh {
        1..=86_400 => Ok(()),
        _ => Err(Refusal::invalid("refresh is from 1 second to 24 hours")),
    }
}

/// A root replaces another only if that one signed it. The old root's author stays trusted until it is taken off the list, so
/// that what was signed before opens while it is sealed anew.
fn take_root(config: &mut Config, text: &str) -> Result<(), Refusal> {
    let root =
        Document::read(yaml::body(text)).map_err(|why| Refusal::invalid(format!("root_document: {why}")))?;
    if let Some(old) = config.root.take().filter(|old| old.spec.id != root.spec.id) {
        old.is_followed_by(&root).map_err(|why| Refusal::invalid(format!("root_document: {why}")))?;
        if !config.authors.contains(&old.spec.author) {
            config.authors.push(old.spec.author);
        }
    }
    config.root = Some(root);
    Ok(())
}

fn auth_path(path: &str) -> String {
    let name = path.trim_matches('/');
    format!("auth/{}/", name.strip_prefix("auth/").unwrap_or(name))
}
