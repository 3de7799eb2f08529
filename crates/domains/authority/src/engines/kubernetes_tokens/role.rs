//! Roles: whose tokens are made, where, and for how long.

use super::super::named::{self, Named};
use crate::context::Context;
use crate::fields::Fields;
use crate::kubernetes::{is_name, selector};
use crate::lease::Terms;
use crate::name_template::{NameTemplate, Subject};
use crate::refusal::Refusal;
use crate::response::Response;
use crate::token::human;
use keyward_core::{Random, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

/// As Vault has it. Names have no capitals, and neither dots nor underscores.
const TEMPLATE: &str = r#"{{ printf "v-%s-%s-%s-%s" (.DisplayName | truncate 8) (.RoleName | truncate 8) (unix_time) (random 24) | truncate 62 | lowercase }}"#;

/// The longest name of what is made: it may become the value of a label, which has no more.
const LONGEST: usize = 63;

/// Kinds of roles.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum RoleKind {
    /// Of a namespace.
    #[default]
    Role,
    /// Of the cluster.
    ClusterRole,
}

impl RoleKind {
    /// As manifests call it.
    pub(super) fn name(self) -> &'static str {
        match self {
            RoleKind::Role => "Role",
            RoleKind::ClusterRole => "ClusterRole",
        }
    }
}

/// A rule of a role (`PolicyRule` of `rbac.authorization.k8s.io/v1`).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub(super) struct Rule {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    api_groups: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    resources: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    resource_names: Vec<String>,
    #[serde(rename = "nonResourceURLs", skip_serializing_if = "Vec::is_empty")]
    non_resource_urls: Vec<String>,
    verbs: Vec<String>,
}

/// Rules as they are written: a whole manifest of a role will do.
#[derive(Deserialize)]
struct Rules {
    rules: Vec<Rule>,
}

/// Reads `text`, which is JSON or YAML.
pub(super) fn rules(text: &str) -> Result<Vec<Rule>, Refusal> {
    let bad = |why: &dyn std::fmt::Display| {
        Refusal::invalid(format!(
            "failed to parse 'generated_role_rules' as k8s.io/api/rbac/v1/Policy object: {why}; write rules: \
             [{{apiGroups: [...], resources: [...], verbs: [...]}}]"
        ))
    };
    let Rules { rules } = serde_saphyr::from_str(text).map_err(|why| bad(&why))?;
    match rules.iter().any(|rule| rule.verbs.is_empty()) {
        _ if rules.is_empty() => Err(bad(&"there is no rule")),
        true => Err(bad(&"a rule has no verbs")),
        false => Ok(rules),
    }
}

// house: what one request configures is one entry, so that nobody sees half of it
/// A role as stored. Times are in seconds; zero is "the mount's".
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Role {
    pub(super) namespaces: Vec<String>,
    pub(super) namespace_selector: String,
    default_ttl: u64,
    max_ttl: u64,
    pub(super) audiences: Vec<String>,
    pub(super) service_account: String,
    pub(super) revocable: bool,
    pub(super) role: String,
    pub(super) kind: RoleKind,
    /// As it was written.
    pub(super) rules: String,
    name_template: String,
    pub(super) labels: BTreeMap<String, String>,
    pub(super) annotations: BTreeMap<String, String>,
}

impl Default for Role {
    fn default() -> Role {
        Role {
            namespaces: Vec::new(),
            namespace_selector: String::new(),
            default_ttl: 0,
            max_ttl: 0,
            audiences: Vec::new(),
            service_account: String::new(),
            revocable: true,
            role: String::new(),
            kind: RoleKind::Role,
            rules: String::new(),
            name_template: String::new(),
            labels: BTreeMap::new(),
            annotations: BTreeMap::new(),
        }
    }
}

impl Role {
    /// How long tokens may live, `wished` where the request says so.
    pub(super) fn terms(&self, wished: Duration) -> Terms {
        let usual = Duration::from_secs(self.default_ttl);
        Terms {
            ttl: if wished.is_zero() { usual } else { wished },
            max_ttl: Duration::from_secs(self.max_ttl),
        }
    }

    fn template(&self) -> Result<NameTemplate, Refusal> {
        let text = if self.name_template.is_empty() { TEMPLATE } else { &self.name_template };
        NameTemplate::parse(text, "name template")
    }

    /// A name for what is made for `subject`.
    pub(super) fn render(
        &self,
        subject: &Subject<'_>,
        now: Timestamp,
        random: &dyn Random,
    ) -> Result<String, Refusal> {
        let subject =
            Subject { display_name: &tame(subject.display_name), role_name: &tame(subject.role_name) };
        let name = self.template()?.render(&subject, now, random)?;
        match is_name(&name) && name.len() <= LONGEST {
            true => Ok(name),
            false => Err(Refusal::invalid(format!(
                "the name template must yield 1 to {LONGEST} lower-case letters, digits and hyphens, and yielded \
                 something else"
            ))),
        }
    }
}

/// Display names come from whoever logs in.
fn tame(text: &str) -> String {
    text.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).collect()
}

impl Named for Role {
    const DIRECTORY: &'static str = "role/";

    fn take(&mut self, sent: &Fields, _: Duration) -> Result<Vec<String>, Refusal> {
        for (name, list) in [
            ("allowed_kubernetes_namespaces", &mut self.namespaces),
            ("token_default_audiences", &mut self.audiences),
        ] {
            if let Some(sent) = sent.strings(name)? {
                *list = sent;
            }
        }
        for (name, text) in [
            ("allowed_kubernetes_namespace_selector", &mut self.namespace_selector),
            ("service_account_name", &mut self.service_account),
            ("kubernetes_role_name", &mut self.role),
            ("generated_role_rules", &mut self.rules),
            ("name_template", &mut self.name_template),
        ] {
            if let Some(sent) = sent.string(name)? {
                *text = sent;
            }
        }
        for (name, seconds) in
            [("token_default_ttl", &mut self.default_ttl), ("token_max_ttl", &mut self.max_ttl)]
        {
            if let Some(sent) = sent.duration(name)? {
                *seconds = sent.as_secs();
            }
        }
        for (name, pairs) in
            [("extra_labels", &mut self.labels), ("extra_annotations", &mut self.annotations)]
        {
            if let Some(sent) = sent.pairs(name)? {
                *pairs = sent;
            }
        }
        if let Some(revocable) = sent.bool("token_revocable")? {
            self.revocable = revocable;
        }
        if let Some(kind) = sent.string("kubernetes_role_type")? {
            self.kind = match kind.to_ascii_lowercase().as_str() {
                "" | "role" => RoleKind::Role,
                "clusterrole" => RoleKind::ClusterRole,
                _ => {
                    return Err(Refusal::invalid(
                        "kubernetes_role_type must be either 'Role' or 'ClusterRole'",
                    ));
                }
            };
        }
        check(self)?;
        Ok(Vec::new())
    }

    fn describe(&self) -> Map<String, Value> {
        let shown = json!({
            "allowed_kubernetes_namespaces": self.namespaces,
            "allowed_kubernetes_namespace_selector": self.namespace_selector,
            "token_default_ttl": self.default_ttl,
            "token_max_ttl": self.max_ttl,
            "token_default_audiences": self.audiences,
            "token_revocable": self.revocable,
            "service_account_name": self.service_account,
            "kubernetes_role_name": self.role,
            "kubernetes_role_type": self.kind.name(),
            "generated_role_rules": self.rules,
            "name_template": self.name_template,
            "extra_labels": self.labels,
            "extra_annotations": self.annotations,
        });
        shown.as_object().cloned().unwrap_or_default()
    }
}

pub(super) fn read(cx: &mut Context<'_, '_>) -> Result<Response, Refusal> {
    let role = named::wanted::<Role>(cx)?.ok_or(Refusal::missing())?;
    let mut shown = role.describe();
    shown.insert("name".to_owned(), json!(named::name::<Role>(cx)));
    Response::data(&shown)
}

pub(super) fn write(cx: &mut Context<'_, '_>) -> Result<Response, Refusal> {
    let mut role = named::wanted::<Role>(cx)?.map(Arc::unwrap_or_clone).unwrap_or_default();
    let warnings = role.take(cx.fields(), cx.max_ttl())?;
    check_names(&role, cx.random())?;
    named::put(cx, &role)?;
    Ok(Response { warnings, ..Response::empty() })
}

fn check(role: &Role) -> Result<(), Refusal> {
    let refuse = |why: &str| Err(Refusal::invalid(why));
    if role.namespaces.is_empty() && role.namespace_selector.is_empty() {
        return refuse(
            "one (at least) of allowed_kubernetes_namespaces or allowed_kubernetes_namespace_selector must be set",
        );
    }
    if let Some(odd) = role.namespaces.iter().find(|name| *name != "*" && !is_name(name)) {
        return Err(Refusal::invalid(format!("{odd:?} is no name of a namespace")));
    }
    if !role.namespace_selector.is_empty()
        && let Err(why) = selector::parse(&role.namespace_selector)
    {
        return Err(Refusal::invalid(format!(
            "failed to parse 'allowed_kubernetes_namespace_selector' as k8s.io/api/meta/v1/LabelSelector object: {why}"
        )));
    }
    let ways = [&role.service_account, &role.role, &role.rules];
    if ways.iter().filter(|way| !way.is_empty()).count() != 1 {
        return refuse(
            "one (and only one) of service_account_name, kubernetes_role_name or generated_role_rules must be set",
        );
    }
    if !role.service_account.is_empty() && !is_name(&role.service_account) {
        return refuse("service_account_name is no name of a ServiceAccount");
    }
    if !role.rules.is_empty() {
        rules(&role.rules)?;
    }
    if role.max_ttl > 0 && role.default_ttl > role.max_ttl {
        return Err(Refusal::invalid(format!(
            "token_default_ttl {} cannot be greater than token_max_ttl {}",
            human(role.default_ttl),
            human(role.max_ttl)
        )));
    }
    Ok(())
}

/// What a lease made is found again by its name alone, and deleted: a name must not be that of anything else. So
/// templates whose names come up again are refused.
fn check_names(role: &Role, random: &dyn Random) -> Result<(), Refusal> {
    const NAMES: usize = 64;
    let subject = Subject { display_name: "token", role_name: "role" };
    let names = (0..NAMES).map(|_| role.render(&subject, Timestamp::from_secs(0), random));
    let names = names.collect::<Result<BTreeSet<_>, _>>()?;
    match names.len() {
        NAMES => Ok(()),
        _ => Err(Refusal::invalid(
            "the name template yields the same name again: have {{random 8 | lowercase}} or more in it",
        )),
    }
}
