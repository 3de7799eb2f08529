//! Roles.

use super::super::named::{Issues, Named};
use super::super::token_params::{OLDER, TokenParams};
use crate::fields::Fields;
use crate::kubernetes::selector;
use crate::policy::Expression;
use crate::refusal::Refusal;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use std::time::Duration;

/// What a login is an identity by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum AliasName {
    /// The UID: an account deleted and made again is another one.
    #[default]
    #[serde(rename = "serviceaccount_uid")]
    Uid,
    /// `namespace/name`.
    #[serde(rename = "serviceaccount_name")]
    Name,
}

/// One role.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Role {
    pub(super) names: Vec<String>,
    pub(super) namespaces: Vec<String>,
    pub(super) namespace_selector: String,
    pub(super) audience: String,
    pub(super) alias_name: AliasName,
    /// In CEL, as conditions of policies are; none where it is empty.
    pub(super) condition: String,
    pub(super) token: TokenParams,
}

impl Named for Role {
    const DIRECTORY: &'static str = "role/";

    fn take(&mut self, sent: &Fields, max_ttl: Duration) -> Result<Vec<String>, Refusal> {
        let mut warnings = self.token.read(sent, OLDER)?;
        if let Some(names) = sent.strings("bound_service_account_names")? {
            self.names = names;
        }
        if let Some(namespaces) = sent.strings("bound_service_account_namespaces")? {
            self.namespaces = namespaces;
        }
        if let Some(selector) = sent.string("bound_service_account_namespace_selector")? {
            self.namespace_selector = selector;
        }
        if let Some(audience) = sent.string("audience")? {
            self.audience = audience;
        }
        if let Some(source) = sent.string("alias_name_source")? {
            self.alias_name = match source.as_str() {
                "" | "serviceaccount_uid" => AliasName::Uid,
                "serviceaccount_name" => AliasName::Name,
                _ => {
                    return Err(Refusal::invalid(format!(
                        "invalid alias_name_source {source:?}, must be one of: serviceaccount_uid, serviceaccount_name"
                    )));
                }
            };
        }
        if let Some(condition) = sent.string("condition")? {
            self.condition = condition;
        }
        warnings.extend(self.token.check_limits(max_ttl)?);
        check(self)?;
        Ok(warnings)
    }

    fn describe(&self) -> Map<String, Value> {
        let mut shown = self.token.describe(OLDER);
        for (name, value) in [
            ("bound_service_account_names", json!(self.names)),
            ("bound_service_account_namespaces", json!(self.namespaces)),
            ("bound_service_account_namespace_selector", json!(self.namespace_selector)),
            ("alias_name_source", json!(self.alias_name)),
        ] {
            shown.insert(name.to_owned(), value);
        }
        if !self.audience.is_empty() {
            shown.insert("audience".to_owned(), json!(self.audience));
        }
        if !self.condition.is_empty() {
            shown.insert("condition".to_owned(), json!(self.condition));
        }
        shown
    }
}

impl Issues for Role {
    fn token(&self) -> &TokenParams {
        &self.token
    }
}

fn check(role: &Role) -> Result<(), Refusal> {
    let refuse = |why: &str| Err(Refusal::invalid(why));
    if role.names.is_empty() {
        return refuse("\"bound_service_account_names\" can not be empty");
    }
    if role.namespaces.is_empty() && role.namespace_selector.is_empty() {
        return refuse(
            "\"bound_service_account_namespaces\" can not be empty if \
             \"bound_service_account_namespace_selector\" is not set",
        );
    }
    let mixed = |list: &[String]| list.len() > 1 && list.iter().any(|name| name == "*");
    if mixed(&role.names) || mixed(&role.namespaces) {
        return refuse("can not mix \"*\" with values");
    }
    if !role.condition.is_empty() {
        Expression::parse(&role.condition).map_err(Refusal::invalid)?;
    }
    if !role.namespace_selector.is_empty() && selector::parse(&role.namespace_selector).is_err() {
        return refuse("invalid \"bound_service_account_namespace_selector\" configured");
    }
    Ok(())
}
