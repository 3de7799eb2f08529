//! What every auth method's roles and users say of the tokens their logins issue: the `token_*` parameters.

use crate::cidr;
use crate::fields::Fields;
use crate::refusal::Refusal;
use crate::request::Request;
use crate::response::Login;
use crate::route::{Field, Kind, field};
use crate::token::{Terms, TokenEntry, TokenKind, go_duration};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use std::collections::BTreeSet;
use std::time::Duration;

/// The parameters, for route tables.
pub(super) const FIELDS: [Field; 9] = [
    field("token_bound_cidrs", Kind::List, "Networks the tokens may be used from."),
    field("token_explicit_max_ttl", Kind::Duration, "The tokens never outlive this, periods included."),
    field("token_max_ttl", Kind::Duration, "The most a token's renewals may add up to."),
    field("token_no_default_policy", Kind::Bool, "Leave out the policy `default`."),
    field("token_num_uses", Kind::Int, "How often a token may be used; any number of times when 0."),
    field("token_period", Kind::Duration, "The tokens may be renewed for ever, by this much each time."),
    field("token_policies", Kind::List, "The tokens' policies."),
    field("token_ttl", Kind::Duration, "How long a token lives when it is issued."),
    field("token_type", Kind::Text, "`service`, `batch` or `default`, which is the mount's."),
];

/// The kind of tokens a role issues.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum TokenType {
    /// The mount's.
    #[default]
    Default,
    /// Stored tokens.
    Service,
    /// Tokens that carry themselves.
    Batch,
    /// What the creator asks for, else stored; token roles only.
    DefaultService,
    /// What the creator asks for, else carried; token roles only.
    DefaultBatch,
}

impl TokenType {
    pub(super) const fn name(self) -> &'static str {
        match self {
            TokenType::Default => "default",
            TokenType::Service => "service",
            TokenType::Batch => "batch",
            TokenType::DefaultService => "default-service",
            TokenType::DefaultBatch => "default-batch",
        }
    }
}

/// The parameters as stored. Times are in seconds; zero is "not set".
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct TokenParams {
    pub(super) bound_cidrs: Vec<String>,
    pub(super) explicit_max_ttl: u64,
    pub(super) max_ttl: u64,
    pub(super) no_default_policy: bool,
    pub(super) num_uses: u32,
    pub(super) period: u64,
    pub(super) policies: Vec<String>,
    pub(super) ttl: u64,
    pub(super) kind: TokenType,
    /// The older names under which parameters were written last: they are read back under both.
    pub(super) older: BTreeSet<String>,
}

/// An older name of a parameter, and the parameter.
pub(super) type Older = (&'static str, &'static str);

/// The older names that methods from before the parameters were one for all still read.
pub(super) const OLDER: &[Older] = &[
    ("policies", "token_policies"),
    ("num_uses", "token_num_uses"),
    ("ttl", "token_ttl"),
    ("max_ttl", "token_max_ttl"),
    ("period", "token_period"),
    ("bound_cidrs", "token_bound_cidrs"),
];

/// [`OLDER`], for route tables.
pub(super) const OLDER_FIELDS: [Field; 6] = [
    field("policies", Kind::List, "An older name of `token_policies`."),
    field("num_uses", Kind::Int, "An older name of `token_num_uses`."),
    field("ttl", Kind::Duration, "An older name of `token_ttl`."),
    field("max_ttl", Kind::Duration, "An older name of `token_max_ttl`."),
    field("period", Kind::Duration, "An older name of `token_period`."),
    field("bound_cidrs", Kind::List, "An older name of `token_bound_cidrs`."),
];

/// The number a client sent, or a refusal of negative and huge ones.
pub(super) fn count(sent: &Fields, name: &str) -> Result<Option<u32>, Refusal> {
    match sent.int(name)? {
        Some(number) if number < 0 => Err(Refusal::invalid(format!("{name} cannot be negative"))),
        Some(number) => Ok(Some(u32::try_from(number).unwrap_or(u32::MAX))),
        None => Ok(None),
    }
}

/// Seconds of the duration a client sent.
pub(super) fn seconds(sent: &Fields, name: &str) -> Result<Option<u64>, Refusal> {
    Ok(sent.duration(name)?.map(|span| span.as_secs()))
}

impl TokenParams {
    /// Takes over what was sent and checks the whole. `older` are the names this method also reads. Answers with
    /// warnings.
    pub(super) fn read(&mut self, sent: &Fields, older: &[Older]) -> Result<Vec<String>, Refusal> {
        let mut warnings = Vec::new();
        let mut older_names = BTreeSet::new();
        let mut named = |name: &'static str| {
            let old = older.iter().find(|(_, new)| *new == name).map_or(name, |(old, _)| *old);
            if sent.has(old) && old != name {
                older_names.insert(old.to_owned());
            }
            if !sent.has(name) && sent.has(old) { old } else { name }
        };
        if let Some(networks) = sent.strings(named("token_bound_cidrs"))? {
            cidr::check(&networks)?;
            self.bound_cidrs = networks;
        }
        if let Some(span) = seconds(sent, named("token_explicit_max_ttl"))? {
            self.explicit_max_ttl = span;
        }
        if let Some(span) = seconds(sent, named("token_max_ttl"))? {
            self.max_ttl = span;
        }
        if let Some(without) = sent.bool("token_no_default_policy")? {
            self.no_default_policy = without;
        }
        if let Some(number) = count(sent, "token_num_uses")? {
            self.num_uses = number;
        }
        if let Some(span) = seconds(sent, named("token_period"))? {
            self.period = span;
        }
        if let Some(policies) = sent.strings(named("token_policies"))? {
            self.policies = crate::policy::sanitize(policies);
        }
        if let Some(span) = seconds(sent, named("token_ttl"))? {
            self.ttl = span;
        }
        if let Some(kind) = sent.string("token_type")? {
            self.kind = method_type(&kind, &mut warnings)?;
        }
        let written = |(_, new): &Older| sent.has(new);
        for (old, _) in older.iter().filter(|pair| written(pair)) {
            self.older.remove(*old);
        }
        self.older.extend(older_names);
        self.check()?;
        Ok(warnings)
    }

    fn check(&self) -> Result<(), Refusal> {
        let refuse = |why: &str| Err(Refusal::invalid(why));
        if matches!(self.kind, TokenType::Batch | TokenType::DefaultBatch) {
            if self.period > 0 {
                return refuse(
                    "'token_type' cannot be 'batch' or 'default_batch' when set to generate periodic tokens",
                );
            }
            if self.num_uses > 0 {
                return refuse(
                    "'token_type' cannot be 'batch' or 'default_batch' when set to generate tokens with limited use count",
                );
            }
        }
        if self.max_ttl > 0 && self.ttl > self.max_ttl {
            return refuse("'token_ttl' cannot be greater than 'token_max_ttl'");
        }
        Ok(())
    }

    /// The parameters as they are read back, older names included where those were written.
    pub(super) fn describe(&self, older: &[Older]) -> Map<String, Value> {
        let mut shown = Map::new();
        let mut show = |name: &str, value: Value| {
            if let Some((old, _)) = older.iter().find(|(old, new)| *new == name && self.older.contains(*old))
            {
                shown.insert((*old).to_owned(), value.clone());
            }
            shown.insert(name.to_owned(), value);
        };
        show("token_bound_cidrs", json!(self.bound_cidrs));
        show("token_explicit_max_ttl", json!(self.explicit_max_ttl));
        show("token_max_ttl", json!(self.max_ttl));
        show("token_no_default_policy", json!(self.no_default_policy));
        show("token_num_uses", json!(self.num_uses));
        show("token_period", json!(self.period));
        show("token_policies", json!(self.policies));
        show("token_ttl", json!(self.ttl));
        show("token_type", json!(self.kind.name()));
        shown
    }

    /// A login under these parameters.
    pub(super) fn login(&self) -> Login {
        Login {
            policies: self.policies.clone(),
            no_default_policy: self.no_default_policy,
            ttl: Duration::from_secs(self.ttl),
            max_ttl: Duration::from_secs(self.max_ttl),
            explicit_max_ttl: Duration::from_secs(self.explicit_max_ttl),
            period: Duration::from_secs(self.period),
            num_uses: self.num_uses,
            bound_cidrs: self.bound_cidrs.clone(),
            kind: match self.kind {
                TokenType::Default => None,
                TokenType::Service | TokenType::DefaultService => Some(TokenKind::Service),
                TokenType::Batch | TokenType::DefaultBatch => Some(TokenKind::Batch),
            },
            ..Login::default()
        }
    }

    /// Refuses periods that the mount does not allow. Answers with a warning when the mount cuts the maximum.
    pub(super) fn check_limits(&self, mount_max: Duration) -> Result<Option<String>, Refusal> {
        let period = Duration::from_secs(self.period);
        if period > mount_max {
            return Err(Refusal::invalid(format!(
                "token period of {:?} is greater than the backend's maximum lease TTL of {:?}",
                go_duration(period),
                go_duration(mount_max)
            )));
        }
        Ok((self.max_ttl > mount_max.as_secs()).then(|| {
            "max_ttl is greater than the system or backend mount's maximum TTL value; issued tokens' max TTL value will \
             be truncated"
                .to_owned()
        }))
    }

    /// The terms on which `token`, issued under these parameters, may be renewed now. Its explicit maximum stays
    /// what it was when it was issued.
    pub(super) fn terms(&self, token: &TokenEntry) -> Terms {
        Terms {
            ttl: Duration::from_secs(self.ttl),
            max_ttl: Duration::from_secs(self.max_ttl),
            period: Duration::from_secs(self.period),
            explicit_max_ttl: Duration::from_secs(token.explicit_max_ttl),
            ..Terms::default()
        }
    }

    /// Refuses a login from outside the networks the token would be bound to.
    pub(super) fn check_address(&self, request: &Request) -> Result<(), Refusal> {
        let from = request.remote.map(|remote| remote.ip());
        if self.bound_cidrs.is_empty() || from.is_some_and(|from| cidr::any(&self.bound_cidrs, from)) {
            return Ok(());
        }
        Err(Refusal::denied("the login comes from outside the networks the role is bound to"))
    }
}

fn method_type(name: &str, warnings: &mut Vec<String>) -> Result<TokenType, Refusal> {
    let mut adjusted = |kind: TokenType| {
        warnings.push(format!("{name} has no useful meaning; adjusting to {}", kind.name()));
        kind
    };
    Ok(match name {
        "" | "default" => TokenType::Default,
        "service" => TokenType::Service,
        "batch" => TokenType::Batch,
        "default-service" => adjusted(TokenType::Service),
        "default-batch" => adjusted(TokenType::Batch),
        _ => return Err(Refusal::invalid(format!("invalid 'token_type' value {name:?}"))),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const OLDER: &[Older] = &[("policies", "token_policies"), ("ttl", "token_ttl")];

    fn read(params: &mut TokenParams, body: &str) -> Result<Vec<String>, String> {
        params.read(&Fields::parse(body.as_bytes()).unwrap(), OLDER).map_err(|why| why.to_string())
    }

    #[test]
    fn what_is_written_is_read_back() {
        let mut params = TokenParams::default();
        let body = r#"{"token_bound_cidrs":"10.0.0.0/8,127.0.0.1","token_explicit_max_ttl":"3h","token_max_ttl":7200,
            "token_no_default_policy":"true","token_num_uses":"4","token_period":60,"token_policies":["B","a","b"],
            "token_ttl":"1h","token_type":"service"}"#;
        assert_eq!(read(&mut params, body), Ok(vec![]));
        assert_eq!(
            Value::Object(params.describe(OLDER)),
            json!({"token_bound_cidrs":["10.0.0.0/8","127.0.0.1"],"token_explicit_max_ttl":10800,"token_max_ttl":7200,
                "token_no_default_policy":true,"token_num_uses":4,"token_period":60,"token_policies":["a","b"],
                "token_ttl":3600,"token_type":"service"})
        );
        let before = params.clone();
        assert_eq!(read(&mut params, "{}"), Ok(vec![]));
        assert_eq!(params, before);
    }

    #[test]
    fn older_names_are_read_and_repeated() {
        let mut params = TokenParams::default();
        read(&mut params, r#"{"policies":"x","ttl":60}"#).unwrap();
        let shown = params.describe(OLDER);
        assert_eq!((&shown["policies"], &shown["token_policies"]), (&json!(["x"]), &json!(["x"])));
        assert_eq!((&shown["ttl"], &shown["token_ttl"]), (&json!(60), &json!(60)));
        read(&mut params, r#"{"token_policies":"y"}"#).unwrap();
        assert!(!params.describe(OLDER).contains_key("policies"));
        read(&mut params, r#"{"policies":"old","token_policies":"new"}"#).unwrap();
        assert_eq!(params.describe(OLDER)["policies"], json!(["new"]));
    }

    #[test]
    fn contradictions_are_refused() {
        for (body, wanted) in [
            (r#"{"token_ttl":2,"token_max_ttl":1}"#, "'token_ttl' cannot be greater than 'token_max_ttl'"),
            (r#"{"token_num_uses":-1}"#, "token_num_uses cannot be negative"),
            (r#"{"token_type":"odd"}"#, "invalid 'token_type' value \"odd\""),
            (
                r#"{"token_type":"batch","token_period":1}"#,
                "'token_type' cannot be 'batch' or 'default_batch' when set to generate periodic tokens",
            ),
            (
                r#"{"token_type":"batch","token_num_uses":1}"#,
                "'token_type' cannot be 'batch' or 'default_batch' when set to generate tokens with limited use count",
            ),
        ] {
            assert_eq!(read(&mut TokenParams::default(), body), Err(wanted.to_owned()));
        }
        assert!(read(&mut TokenParams::default(), r#"{"token_bound_cidrs":"ten"}"#).is_err());
        let adjusted = read(&mut TokenParams::default(), r#"{"token_type":"default-service"}"#);
        assert_eq!(
            adjusted,
            Ok(vec!["default-service has no useful meaning; adjusting to service".to_owned()])
        );
    }
}
