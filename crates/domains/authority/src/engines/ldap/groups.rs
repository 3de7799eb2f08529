//! What users and groups get here.

use super::super::named::Named;
use super::config;
use crate::context::Context;
use crate::fields::Fields;
use crate::policy;
use crate::refusal::Refusal;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use std::time::Duration;

/// A user that gets something of their own.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct User {
    pub(super) policies: Vec<String>,
    pub(super) groups: Vec<String>,
}

/// A group, whether or not the directory has it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Group {
    pub(super) policies: Vec<String>,
}

fn policies(sent: &Fields) -> Result<Option<Vec<String>>, Refusal> {
    Ok(sent.strings("policies")?.map(policy::sanitize))
}

impl Named for User {
    const DIRECTORY: &'static str = "user/";

    fn fold(cx: &mut Context<'_, '_>, name: &str) -> Result<String, Refusal> {
        config::fold(cx, name)
    }

    fn take(&mut self, sent: &Fields, _: Duration) -> Result<Vec<String>, Refusal> {
        if let Some(policies) = policies(sent)? {
            self.policies = policies;
        }
        if let Some(groups) = sent.strings("groups")? {
            self.groups = groups.into_iter().filter(|name| !name.is_empty()).collect();
            self.groups.sort_unstable();
            self.groups.dedup();
        }
        Ok(Vec::new())
    }

    fn describe(&self) -> Map<String, Value> {
        let fields = [("policies", json!(self.policies)), ("groups", json!(self.groups.join(",")))];
        fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
    }
}

impl Named for Group {
    const DIRECTORY: &'static str = "group/";

    fn fold(cx: &mut Context<'_, '_>, name: &str) -> Result<String, Refusal> {
        config::fold(cx, name)
    }

    fn take(&mut self, sent: &Fields, _: Duration) -> Result<Vec<String>, Refusal> {
        if let Some(policies) = policies(sent)? {
            self.policies = policies;
        }
        Ok(Vec::new())
    }

    fn describe(&self) -> Map<String, Value> {
        [("policies".to_owned(), json!(self.policies))].into_iter().collect()
    }
}
