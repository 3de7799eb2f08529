//! Roles.

use super::super::named::{Issues, Named};
use super::super::token_params::{OLDER, TokenParams};
use super::claims;
use crate::fields::Fields;
use crate::jwt::Leeways;
use crate::refusal::Refusal;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::time::Duration;

/// How the outcome of a login through a browser comes to whoever began it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Callback {
    /// The browser brings it to them: see [`super::oidc`].
    #[default]
    Client,
    /// The browser brings it to the authority, which they ask: see [`super::direct`].
    Direct,
    /// There is no redirection: see [`super::device`].
    Device,
}

/// One role. Leeways are in seconds: the default when zero, none when negative.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Role {
    pub(super) user_claim: String,
    pub(super) user_claim_json_pointer: bool,
    pub(super) audiences: Vec<String>,
    pub(super) subject: String,
    pub(super) claims: Map<String, Value>,
    pub(super) globs: bool,
    pub(super) mappings: BTreeMap<String, String>,
    pub(super) groups_claim: String,
    pub(super) expiration_leeway: i64,
    pub(super) not_before_leeway: i64,
    pub(super) skew_leeway: i64,
    /// For logins through a browser, and for no others.
    pub(super) oidc: bool,
    pub(super) redirect_uris: Vec<String>,
    pub(super) scopes: Vec<String>,
    pub(super) callback: Callback,
    /// With [`Callback::Direct`]: whoever signs in is not asked whether they began the login.
    pub(super) disable_confirmation: bool,
    /// Seconds; the provider's when zero.
    pub(super) poll_interval: u64,
    /// Seconds since the sign-in at the provider; any number when zero.
    pub(super) max_age: u64,
    pub(super) token: TokenParams,
}

/// Where a ServiceAccount's token says what metadata of these names say of pods, as JSON pointers.
const OF_PODS: [(&str, &str); 6] = [
    ("service_account_namespace", "/kubernetes.io/namespace"),
    ("service_account_name", "/kubernetes.io/serviceaccount/name"),
    ("pod_name", "/kubernetes.io/pod/name"),
    ("pod_uid", "/kubernetes.io/pod/uid"),
    ("node_name", "/kubernetes.io/node/name"),
    ("node_uid", "/kubernetes.io/node/uid"),
];

impl Role {
    /// Whether the metadata say of a pod what the claims say that an API server makes, and nothing else does: one name
    /// that is filled from another claim and nothing counts.
    pub(super) fn attests_pods(&self) -> bool {
        let of_pod = |target: &str| OF_PODS.iter().find(|(name, _)| *name == target).map(|(_, claim)| *claim);
        let mut mapped =
            self.mappings.iter().filter_map(|(claim, target)| Some(of_pod(target)? == claim)).peekable();
        mapped.peek().is_some() && mapped.all(|own| own)
    }

    pub(super) fn leeways(&self) -> Leeways {
        let or = |seconds: i64, otherwise: Duration| match seconds {
            0 => otherwise,
            seconds => Duration::from_secs(u64::try_from(seconds).unwrap_or(0)),
        };
        let usual = Leeways::default();
        Leeways {
            skew: or(self.skew_leeway, usual.skew),
            expiration: or(self.expiration_leeway, usual.expiration),
            not_before: or(self.not_before_leeway, usual.not_before),
        }
    }
}

impl Named for Role {
    const DIRECTORY: &'static str = "role/";

    fn take(&mut self, sent: &Fields, max_ttl: Duration) -> Result<Vec<String>, Refusal> {
        let mut warnings = self.token.read(sent, OLDER)?;
        take_over(self, sent)?;
        take_over_oidc(self, sent)?;
        warnings.extend(self.token.check_limits(max_ttl)?);
        check(self)?;
        Ok(warnings)
    }

    fn describe(&self) -> Map<String, Value> {
        let mut shown = self.token.describe(OLDER);
        for (name, value) in [
            ("role_type", json!(if self.oidc { "oidc" } else { "jwt" })),
            ("user_claim", json!(self.user_claim)),
            ("user_claim_json_pointer", json!(self.user_claim_json_pointer)),
            ("bound_audiences", json!(self.audiences)),
            ("bound_subject", json!(self.subject)),
            ("bound_claims", json!(self.claims)),
            ("bound_claims_type", json!(if self.globs { "glob" } else { "string" })),
            ("claim_mappings", json!(self.mappings)),
            ("groups_claim", json!(self.groups_claim)),
            ("expiration_leeway", json!(self.expiration_leeway)),
            ("not_before_leeway", json!(self.not_before_leeway)),
            ("clock_skew_leeway", json!(self.skew_leeway)),
            ("allowed_redirect_uris", json!(self.redirect_uris)),
            ("oidc_scopes", json!(self.scopes)),
            ("callback_mode", json!(self.callback)),
            ("oidc_disable_confirmation", json!(self.disable_confirmation)),
            ("poll_interval", json!(self.poll_interval)),
            ("max_age", json!(self.max_age)),
            ("verbose_oidc_logging", json!(false)),
        ] {
            shown.insert(name.to_owned(), value);
        }
        shown
    }
}

impl Issues for Role {
    fn token(&self) -> &TokenParams {
        &self.token
    }
}

/// What makes a role one for logins through a browser. A role without a type is one where redirections are given.
fn take_over_oidc(role: &mut Role, sent: &Fields) -> Result<(), Refusal> {
    if let Some(uris) = sent.strings("allowed_redirect_uris")? {
        role.redirect_uris = uris;
        role.oidc |= !sent.has("role_type") && !role.redirect_uris.is_empty();
    }
    if let Some(kind) = sent.string("role_type")?.filter(|kind| !kind.is_empty()) {
        role.oidc = match kind.as_str() {
            "jwt" => false,
            "oidc" => true,
            other => return Err(Refusal::invalid(format!("invalid 'role_type': {other}"))),
        };
    }
    if let Some(scopes) = sent.strings("oidc_scopes")? {
        role.scopes = scopes;
    }
    if let Some(age) = sent.duration("max_age")? {
        role.max_age = age.as_secs();
    }
    if let Some(mode) = sent.string("callback_mode")? {
        role.callback = match mode.as_str() {
            "" | "client" => Callback::Client,
            "direct" => Callback::Direct,
            "device" => {
                role.oidc |= !sent.has("role_type");
                Callback::Device
            }
            other => return Err(Refusal::invalid(format!("invalid 'callback_mode': {other}"))),
        };
    }
    if let Some(seconds) = sent.duration("poll_interval")? {
        role.poll_interval = seconds.as_secs();
    }
    role.disable_confirmation = sent.bool("oidc_disable_confirmation")?.unwrap_or(role.disable_confirmation);
    match role.oidc && role.callback != Callback::Device && role.redirect_uris.is_empty() {
        true => Err(Refusal::invalid(
            "'allowed_redirect_uris' must be set if 'role_type' is 'oidc' or unspecified.",
        )),
        false => Ok(()),
    }
}

fn take_over(role: &mut Role, sent: &Fields) -> Result<(), Refusal> {
    if let Some(claim) = sent.string("user_claim")? {
        role.user_claim = claim;
    }
    if let Some(pointer) = sent.bool("user_claim_json_pointer")? {
        role.user_claim_json_pointer = pointer;
    }
    if let Some(audiences) = sent.strings("bound_audiences")? {
        role.audiences = audiences;
    }
    if let Some(subject) = sent.string("bound_subject")? {
        role.subject = subject;
    }
    if let Some(kind) = sent.string("bound_claims_type")? {
        role.globs = match kind.as_str() {
            "" | "string" => false,
            "glob" => true,
            other => return Err(Refusal::invalid(format!("invalid 'bound_claims_type': {other}"))),
        };
    }
    if let Some(bound) = sent.value("bound_claims")? {
        role.claims = object(bound)?;
    }
    if let Some(mappings) = sent.pairs("claim_mappings")? {
        role.mappings = mappings;
    }
    if let Some(claim) = sent.string("groups_claim")? {
        role.groups_claim = claim;
    }
    for (name, leeway) in [
        ("expiration_leeway", &mut role.expiration_leeway),
        ("not_before_leeway", &mut role.not_before_leeway),
        ("clock_skew_leeway", &mut role.skew_leeway),
    ] {
        if let Some(seconds) = signed_seconds(sent, name)? {
            *leeway = seconds;
        }
    }
    Ok(())
}

/// An object; clients on a command line send the text of one.
fn object(value: Value) -> Result<Map<String, Value>, Refusal> {
    let read = match value {
        Value::Object(object) => Some(object),
        Value::String(text) if text.trim().is_empty() => Some(Map::new()),
        Value::String(text) => serde_json::from_str(&text).ok(),
        _ => None,
    };
    read.ok_or_else(|| Refusal::invalid("bound_claims must be an object of claims and their values"))
}

fn signed_seconds(sent: &Fields, name: &str) -> Result<Option<i64>, Refusal> {
    let text = sent.string(name)?;
    match text.as_deref().map(str::trim) {
        Some(text) if text.starts_with('-') => Ok(Some(-1)),
        _ => Ok(sent.duration(name)?.map(|span| i64::try_from(span.as_secs()).unwrap_or(i64::MAX))),
    }
}

fn check(role: &Role) -> Result<(), Refusal> {
    if role.user_claim.is_empty() {
        return Err(Refusal::invalid("a user claim must be defined on the role"));
    }
    if !role.oidc
        && role.token.bound_cidrs.is_empty()
        && role.audiences.is_empty()
        && role.subject.is_empty()
        && role.claims.is_empty()
    {
        return Err(Refusal::invalid(
            "must have at least one bound constraint when creating/updating a role",
        ));
    }
    let mut targets: Vec<&str> = role.mappings.values().map(String::as_str).collect();
    targets.sort_unstable();
    if targets.windows(2).any(|pair| pair[0] == pair[1]) {
        return Err(Refusal::invalid(
            "metadata key is mapped more than once: give each claim a key of its own",
        ));
    }
    if targets.contains(&"role") {
        return Err(Refusal::invalid(
            "metadata key \"role\" is reserved and may not be a mapping destination",
        ));
    }
    claims::check_bound(&role.claims, role.globs).map_err(Refusal::invalid)
}
