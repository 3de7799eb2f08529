//! The configuration of a mount.

use super::super::token_params::TokenParams;
use super::names::{fill, filter_value, name_value};
use crate::context::Context;
use crate::fields::Fields;
use crate::outside::ldap::{Aliases, Search, Server};
use crate::outside::{Hidden, Roots};
use crate::refusal::Refusal;
use crate::response::Response;
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::sync::Arc;
use std::time::Duration;

pub(super) const PATH: &str = "config";
const USER_FILTER: &str = "({{.UserAttr}}={{.Username}})";
const GROUP_FILTER: &str = "(|(memberUid={{.Username}})(member={{.UserDN}})(uniqueMember={{.UserDN}}))";
/// Seconds that a server may take, when the operator says nothing; and the most they may say.
const USUAL_TIME: u64 = 10;
const MOST_TIME: u64 = 30;
/// Servers of one directory.
const MOST_SERVERS: usize = 5;
/// Groups of one user.
const MOST_GROUPS: usize = 1_000;

/// The configuration as it is stored. It holds a password: no `Debug`.
// house: the fields are those of the configuration as clients write it, and are read back one by one.
#[derive(Clone, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Stored {
    url: String,
    starttls: bool,
    certificate: String,
    only_tls13: bool,
    binddn: String,
    bindpass: String,
    userdn: String,
    userattr: String,
    userfilter: String,
    discoverdn: bool,
    upndomain: String,
    groupdn: String,
    groupfilter: String,
    groupattr: String,
    anonymous_group_search: bool,
    pub(super) username_as_alias: bool,
    aliases: String,
    request_timeout: u64,
    connection_timeout: u64,
    pub(super) token: TokenParams,
}

impl Default for Stored {
    fn default() -> Stored {
        Stored {
            url: "ldap://127.0.0.1".to_owned(),
            starttls: false,
            certificate: String::new(),
            only_tls13: false,
            binddn: String::new(),
            bindpass: String::new(),
            userdn: String::new(),
            userattr: "cn".to_owned(),
            userfilter: USER_FILTER.to_owned(),
            discoverdn: false,
            upndomain: String::new(),
            groupdn: String::new(),
            groupfilter: GROUP_FILTER.to_owned(),
            groupattr: "cn".to_owned(),
            anonymous_group_search: false,
            username_as_alias: false,
            aliases: "never".to_owned(),
            request_timeout: USUAL_TIME,
            connection_timeout: USUAL_TIME,
            token: TokenParams::default(),
        }
    }
}

/// Whom a password is tried for.
pub(super) enum Bearer {
    /// Whoever this search finds.
    Found(Search),
    /// The bearer of this name, which is also what they are known by.
    Named(String),
}

/// The configuration, ready for use.
pub(super) struct Config {
    pub(super) stored: Stored,
    pub(super) server: Arc<Server>,
    aliases: Aliases,
}

impl Config {
    fn new(stored: Stored) -> Result<Config, Refusal> {
        let refuse = |why: String| Err(Refusal::invalid(why));
        let urls: Vec<String> = stored.url.split(',').map(|url| url.trim().to_owned()).collect();
        let is_good = |url: &String| {
            let host = url.strip_prefix("ldap://").or_else(|| url.strip_prefix("ldaps://"));
            host.is_some_and(|host| !host.is_empty() && !host.contains(['/', '?', '@']))
        };
        if urls.len() > MOST_SERVERS || !urls.iter().all(is_good) {
            return refuse(format!(
                "url must be ldap://HOST:PORT or ldaps://HOST:PORT, at most {MOST_SERVERS} with commas between"
            ));
        }
        if !stored.certificate.is_empty() && !stored.certificate.contains("-----BEGIN CERTIFICATE-----") {
            return refuse("certificate has no certificate in PEM".to_owned());
        }
        for (name, seconds) in
            [("request_timeout", stored.request_timeout), ("connection_timeout", stored.connection_timeout)]
        {
            if !(1..=MOST_TIME).contains(&seconds) {
                return refuse(format!(
                    "{name} must be from 1 to {MOST_TIME} seconds: a client waits for it"
                ));
            }
        }
        let aliases = match stored.aliases.as_str() {
            "never" => Aliases::Never,
            "finding" => Aliases::Finding,
            "searching" => Aliases::Searching,
            "always" => Aliases::Always,
            _ => return refuse("dereference_aliases must be never, finding, searching or always".to_owned()),
        };
        let roots = match stored.certificate.as_str() {
            "" => Roots::System,
            pem => Roots::Pem(pem.into()),
        };
        let server = Server {
            urls,
            starttls: stored.starttls,
            roots,
            only_tls13: stored.only_tls13,
            connect: Duration::from_secs(stored.connection_timeout),
            request: Duration::from_secs(stored.request_timeout),
        };
        let config = Config { stored, server: Arc::new(server), aliases };
        config.bearer("name")?;
        config.groups("name", "cn=name")?;
        Ok(config)
    }

    /// Who searches; nobody in particular when there is none.
    pub(super) fn service(&self) -> Option<(String, Hidden)> {
        let Stored { binddn, bindpass, .. } = &self.stored;
        (!binddn.is_empty() && !bindpass.is_empty()).then(|| (binddn.clone(), Hidden::new(bindpass.as_str())))
    }

    /// Whether groups are searched for as nobody in particular, whoever else there is.
    pub(super) fn anonymous_groups(&self) -> bool {
        self.stored.anonymous_group_search
    }

    pub(super) fn userattr(&self) -> &str {
        &self.stored.userattr
    }

    pub(super) fn groupattr(&self) -> &str {
        &self.stored.groupattr
    }

    pub(super) fn groupdn(&self) -> &str {
        &self.stored.groupdn
    }

    fn search(&self, base: &str, filter: String, attribute: &str, most: usize) -> Search {
        Search {
            base: base.to_owned(),
            filter,
            attributes: vec![attribute.to_owned()],
            most,
            aliases: self.aliases,
        }
    }

    /// Whom a password for `username` is tried for.
    pub(super) fn bearer(&self, username: &str) -> Result<Bearer, Refusal> {
        let Stored { userattr, userdn, upndomain, userfilter, .. } = &self.stored;
        if self.stored.discoverdn || self.service().is_some() {
            let (attribute, name) = match upndomain.as_str() {
                "" => (filter_value(userattr), filter_value(username)),
                domain => ("userPrincipalName".to_owned(), filter_value(&format!("{username}@{domain}"))),
            };
            let filter = fill(userfilter, "userfilter", &[("UserAttr", &attribute), ("Username", &name)])?;
            // Two are enough to know that it is not one.
            return Ok(Bearer::Found(self.search(userdn, filter, userattr, 2)));
        }
        Ok(Bearer::Named(match upndomain.as_str() {
            "" => format!("{userattr}={},{userdn}", name_value(username)),
            domain => format!("{}@{domain}", name_value(username)),
        }))
    }

    /// The entry of whoever bound as `NAME@upndomain`; none where the name they bound with is the entry's.
    pub(super) fn principal(&self, username: &str) -> Option<Search> {
        let Stored { upndomain, userdn, userattr, .. } = &self.stored;
        let filter = format!("(userPrincipalName={})", filter_value(&format!("{username}@{upndomain}")));
        (!upndomain.is_empty()).then(|| self.search(userdn, filter, userattr, 2))
    }

    /// The groups of `username`, whose entry is `dn`; none where groups are not searched for.
    pub(super) fn groups(&self, username: &str, dn: &str) -> Result<Option<Search>, Refusal> {
        let Stored { groupdn, groupfilter, groupattr, .. } = &self.stored;
        if groupdn.is_empty() || groupfilter.is_empty() {
            return Ok(None);
        }
        let (name, dn) = (filter_value(username), filter_value(dn));
        let filter = fill(groupfilter, "groupfilter", &[("Username", &name), ("UserDN", &dn)])?;
        Ok(Some(self.search(groupdn, filter, groupattr, MOST_GROUPS)))
    }
}

pub(super) fn find(cx: &mut Context<'_, '_>) -> Result<Option<Arc<Config>>, Refusal> {
    cx.built(PATH, |plain| {
        Config::new(serde_json::from_slice(plain).map_err(|_| Refusal::Corrupt(PATH.to_owned()))?)
    })
}

pub(super) fn exists(cx: &mut Context<'_, '_>) -> Result<bool, Refusal> {
    cx.exists(PATH)
}

pub(super) fn read(cx: &mut Context<'_, '_>) -> Result<Response, Refusal> {
    let config = find(cx)?.ok_or(Refusal::missing())?;
    let stored = &config.stored;
    let mut shown = stored.token.describe(&[]);
    for (name, value) in [
        ("url", json!(stored.url)),
        ("starttls", json!(stored.starttls)),
        ("certificate", json!(stored.certificate)),
        ("tls_min_version", json!(if stored.only_tls13 { "tls13" } else { "tls12" })),
        ("tls_max_version", json!("tls13")),
        ("insecure_tls", json!(false)),
        ("binddn", json!(stored.binddn)),
        ("userdn", json!(stored.userdn)),
        ("userattr", json!(stored.userattr)),
        ("userfilter", json!(stored.userfilter)),
        ("discoverdn", json!(stored.discoverdn)),
        ("upndomain", json!(stored.upndomain)),
        ("groupdn", json!(stored.groupdn)),
        ("groupfilter", json!(stored.groupfilter)),
        ("groupattr", json!(stored.groupattr)),
        ("anonymous_group_search", json!(stored.anonymous_group_search)),
        ("use_token_groups", json!(false)),
        ("username_as_alias", json!(stored.username_as_alias)),
        ("case_sensitive_names", json!(false)),
        ("deny_null_bind", json!(true)),
        ("dereference_aliases", json!(stored.aliases)),
        ("request_timeout", json!(stored.request_timeout)),
        ("connection_timeout", json!(stored.connection_timeout)),
        ("max_page_size", json!(0)),
    ] {
        shown.insert(name.to_owned(), value);
    }
    Response::data(&shown)
}

/// Takes over what is sent; the rest stays.
pub(super) fn write(cx: &mut Context<'_, '_>) -> Result<Response, Refusal> {
    let sent = cx.fields();
    refuse_absent(sent)?;
    let mut stored = cx.get_json::<Stored>(PATH)?.unwrap_or_default();
    let sent = cx.fields();
    let mut warnings = stored.token.read(sent, &[])?;
    warnings.extend(stored.token.check_limits(cx.max_ttl())?);
    take_over(&mut stored, sent)?;
    if stored.url.split(',').any(|url| url.trim().starts_with("ldap://")) && !stored.starttls {
        warnings.push(
            "passwords are sent to the directory unencrypted: use ldaps:// or starttls=true".to_owned(),
        );
    }
    let config = Config::new(stored)?;
    cx.put_json(PATH, &config.stored)?;
    Ok(Response { warnings, ..Response::empty() })
}

fn take_over(stored: &mut Stored, sent: &Fields) -> Result<(), Refusal> {
    for (name, text) in [
        ("url", &mut stored.url),
        ("certificate", &mut stored.certificate),
        ("binddn", &mut stored.binddn),
        ("bindpass", &mut stored.bindpass),
        ("userdn", &mut stored.userdn),
        ("userfilter", &mut stored.userfilter),
        ("upndomain", &mut stored.upndomain),
        ("groupdn", &mut stored.groupdn),
        ("groupfilter", &mut stored.groupfilter),
        ("groupattr", &mut stored.groupattr),
        ("dereference_aliases", &mut stored.aliases),
    ] {
        if let Some(value) = sent.string(name)? {
            *text = value;
        }
    }
    if let Some(attribute) = sent.string("userattr")? {
        stored.userattr = attribute.to_lowercase();
    }
    for (name, flag) in [
        ("starttls", &mut stored.starttls),
        ("discoverdn", &mut stored.discoverdn),
        ("anonymous_group_search", &mut stored.anonymous_group_search),
        ("username_as_alias", &mut stored.username_as_alias),
    ] {
        if let Some(value) = sent.bool(name)? {
            *flag = value;
        }
    }
    for (name, seconds) in [
        ("request_timeout", &mut stored.request_timeout),
        ("connection_timeout", &mut stored.connection_timeout),
    ] {
        if let Some(value) = sent.duration(name)? {
            *seconds = value.as_secs();
        }
    }
    if let Some(version) = sent.string("tls_min_version")? {
        stored.only_tls13 = match version.as_str() {
            "" | "tls12" => false,
            "tls13" => true,
            _ => return Err(Refusal::invalid("tls_min_version must be tls12 or tls13")),
        };
    }
    if stored.userfilter.is_empty() {
        USER_FILTER.clone_into(&mut stored.userfilter);
    }
    Ok(())
}

fn refuse_absent(sent: &Fields) -> Result<(), Refusal> {
    let refuse = |why: &str| Err(Refusal::invalid(why));
    for (name, why) in [
        (
            "insecure_tls",
            "insecure_tls: who does not verify a certificate tells passwords to anybody; set certificate to the \
             directory's authority instead",
        ),
        (
            "use_token_groups",
            "use_token_groups is not available: search for groups with groupdn and groupfilter",
        ),
        (
            "case_sensitive_names",
            "case_sensitive_names is not available: names of users and groups have no case",
        ),
    ] {
        if sent.bool(name)?.unwrap_or(false) {
            return refuse(why);
        }
    }
    if sent.bool("deny_null_bind")? == Some(false) {
        return refuse(
            "deny_null_bind must be true: a bind without a password succeeds for everybody (RFC 4513, 5.1.2)",
        );
    }
    for name in ["client_tls_cert", "client_tls_key"] {
        if sent.string(name)?.is_some_and(|text| !text.is_empty()) {
            return Err(Refusal::invalid(format!(
                "{name}: no client certificates are shown to the directory; leave it out"
            )));
        }
    }
    if sent
        .string("tls_max_version")?
        .is_some_and(|version| !matches!(version.as_str(), "" | "tls12" | "tls13"))
    {
        return refuse("tls_max_version must be tls12 or tls13");
    }
    match sent.int("max_page_size")? {
        None | Some(..=0) => Ok(()),
        Some(_) => refuse("max_page_size: searches are not paged; leave it out"),
    }
}
