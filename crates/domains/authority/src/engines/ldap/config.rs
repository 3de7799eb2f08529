//! The configuration of a mount.

use super::super::automated::{self, Rotation};
use super::super::token_params::TokenParams;
use super::names::{fill, filter_value, name_value};
use super::root;
use crate::context::Context;
use crate::fields::Fields;
use crate::outside::ldap::{Aliases, Search, Server, Versions};
use crate::outside::{Hidden, Roots};
use crate::password_policy;
use crate::refusal::Refusal;
use crate::response::Response;
use keyward_crypto::keys::Key;
use keyward_crypto::x509::{Certificate, PublicKey, pem};
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::sync::Arc;
use std::time::Duration;

pub(super) const PATH: &str = "config";
pub(super) const ABSENT: &str = "ldap backend not configured: write the config of this auth method first";
const USER_FILTER: &str = "({{.UserAttr}}={{.Username}})";
const GROUP_FILTER: &str = "(|(memberUid={{.Username}})(member={{.UserDN}})(uniqueMember={{.UserDN}}))";
/// Seconds that a server may take, when the operator says nothing; and the most they may say.
const USUAL_TIME: u64 = 10;
const MOST_TIME: u64 = 30;
/// Servers of one directory.
const MOST_SERVERS: usize = 5;
/// Groups of one user.
const MOST_GROUPS: usize = 1_000;
/// Entries of one page; directories allow a thousand, most of them.
const MOST_PAGE: i64 = 10_000;

/// The configuration as it is stored. It holds a password: no `Debug`.
// house: the fields are those of the configuration as clients write it, and are read back one by one.
#[derive(Clone, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Stored {
    url: String,
    starttls: bool,
    certificate: String,
    client_tls_cert: String,
    client_tls_key: String,
    only_tls12: bool,
    only_tls13: bool,
    pub(super) binddn: String,
    pub(super) bindpass: String,
    pub(super) password_policy: String,
    /// Of `bindpass`.
    pub(super) rotation: Rotation,
    userdn: String,
    userattr: String,
    userfilter: String,
    discoverdn: bool,
    upndomain: String,
    groupdn: String,
    groupfilter: String,
    groupattr: String,
    anonymous_group_search: bool,
    pub(super) use_token_groups: bool,
    pub(super) username_as_alias: bool,
    pub(super) case_sensitive_names: bool,
    enable_samaccountname_login: bool,
    max_page_size: u32,
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
            client_tls_cert: String::new(),
            client_tls_key: String::new(),
            only_tls12: false,
            only_tls13: false,
            binddn: String::new(),
            bindpass: String::new(),
            password_policy: String::new(),
            rotation: Rotation::default(),
            userdn: String::new(),
            userattr: "cn".to_owned(),
            userfilter: USER_FILTER.to_owned(),
            discoverdn: false,
            upndomain: String::new(),
            groupdn: String::new(),
            groupfilter: GROUP_FILTER.to_owned(),
            groupattr: "cn".to_owned(),
            anonymous_group_search: false,
            use_token_groups: false,
            username_as_alias: false,
            case_sensitive_names: false,
            enable_samaccountname_login: false,
            max_page_size: 0,
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
    pub(super) fn new(stored: Stored) -> Result<Config, Refusal> {
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
        let versions = match (stored.only_tls12, stored.only_tls13) {
            (false, false) => Versions::Both,
            (true, false) => Versions::Only12,
            (false, true) => Versions::Only13,
            (true, true) => {
                return refuse("tls_min_version cannot be above tls_max_version".to_owned());
            }
        };
        let identity = match (stored.client_tls_cert.as_str(), stored.client_tls_key.as_str()) {
            ("", "") => None,
            ("", _) | (_, "") => {
                return refuse("client_tls_cert and client_tls_key must be given together".to_owned());
            }
            (chain, key) => {
                pair(chain, key)?;
                Some((Arc::from(chain), Arc::new(Hidden::new(key))))
            }
        };
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
            versions,
            identity,
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

    /// Another password of theirs, while it is not known which the directory has.
    pub(super) fn service_next(&self) -> Option<Hidden> {
        self.stored.rotation.next().map(Hidden::new)
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
            alone: false,
            filter,
            attributes: vec![attribute.to_owned()],
            most,
            aliases: self.aliases,
            page: self.stored.max_page_size,
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
            let mut filter =
                fill(userfilter, "userfilter", &[("UserAttr", &attribute), ("Username", &name)])?;
            if self.stored.enable_samaccountname_login && !upndomain.is_empty() {
                filter = format!("(|{filter}(sAMAccountName={}))", filter_value(username));
            }
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

    /// The groups of the entry `dn`, as Active Directory counts them, nested ones included: their security identifiers.
    pub(super) fn token_groups(&self, dn: &str) -> Search {
        let all = "(objectClass=*)".to_owned();
        Search { alone: true, page: 0, ..self.search(dn, all, TOKEN_GROUPS, 1) }
    }

    /// The groups that have these security identifiers, in the domain of the entry `dn`.
    pub(super) fn identified(&self, sids: &[&[u8]], dn: &str) -> Search {
        let mut filter = "(|".to_owned();
        for sid in sids {
            filter.push_str("(objectSid=");
            sid.iter().for_each(|byte| filter.push_str(&format!("\\{byte:02x}")));
            filter.push(')');
        }
        filter.push(')');
        self.search(domain(dn).unwrap_or(&self.stored.groupdn), filter, &self.stored.groupattr, sids.len())
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

/// Where Active Directory has the identifiers of all groups of a user. Names of attributes have no case.
pub(super) const TOKEN_GROUPS: &str = "tokengroups";

/// Refuses what cannot be shown to a server as the certificate of whoever holds `key`.
fn pair(chain: &str, key: &str) -> Result<(), Refusal> {
    let certificate = pem::first(&[pem::CERTIFICATE], chain).and_then(|der| Certificate::read(&der).ok());
    let certificate =
        certificate.ok_or_else(|| Refusal::invalid("client_tls_cert has no certificate in PEM"))?;
    let key = pem::blocks(key).into_iter().flatten().find(|block| block.label.ends_with("PRIVATE KEY"));
    let key = key.and_then(|block| Key::import_der(&block.der).ok());
    let (_, key) = key.ok_or_else(|| Refusal::invalid("client_tls_key has no private key in PEM"))?;
    match PublicKey::of(&key).is_some_and(|public| public.spki() == certificate.public().spki()) {
        true => Ok(()),
        false => Err(Refusal::invalid("client_tls_key is not the key of client_tls_cert")),
    }
}

/// The end of a name that says which domain it is of: its `DC` parts.
fn domain(dn: &str) -> Option<&str> {
    let mut from = None;
    let mut end = dn.len();
    while let Some(part) = dn.get(..end) {
        let start = part.rfind(',').map_or(0, |comma| comma + 1);
        let kind = part.get(start..)?.split_once('=')?.0.trim();
        if !kind.eq_ignore_ascii_case("dc") {
            break;
        }
        from = Some(start);
        if start == 0 {
            break;
        }
        end = start - 1;
    }
    from.and_then(|from| dn.get(from..)).map(str::trim_start)
}

/// What users and groups called `name` are kept under.
pub(super) fn fold(cx: &mut Context<'_, '_>, name: &str) -> Result<String, Refusal> {
    Ok(match find(cx)?.is_some_and(|config| config.stored.case_sensitive_names) {
        true => name.to_owned(),
        false => name.to_lowercase(),
    })
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
        ("tls_max_version", json!(if stored.only_tls12 { "tls12" } else { "tls13" })),
        ("client_tls_cert", json!(stored.client_tls_cert)),
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
        ("use_token_groups", json!(stored.use_token_groups)),
        ("username_as_alias", json!(stored.username_as_alias)),
        ("case_sensitive_names", json!(stored.case_sensitive_names)),
        ("enable_samaccountname_login", json!(stored.enable_samaccountname_login)),
        ("deny_null_bind", json!(true)),
        ("dereference_aliases", json!(stored.aliases)),
        ("request_timeout", json!(stored.request_timeout)),
        ("connection_timeout", json!(stored.connection_timeout)),
        ("max_page_size", json!(stored.max_page_size)),
    ] {
        shown.insert(name.to_owned(), value);
    }
    shown.insert("password_policy".to_owned(), json!(stored.password_policy));
    shown.extend(stored.rotation.describe().map(|(name, value)| (name.to_owned(), value)));
    if let Some(rotated) = stored.rotation.last() {
        shown.insert("last_bind_password_rotation".to_owned(), json!(rotated));
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
    let was_due = stored.rotation.due();
    take_over(&mut stored, sent)?;
    stored.rotation.take(sent, sent.has("bindpass"), cx.now)?;
    if stored.url.split(',').any(|url| url.trim().starts_with("ldap://")) && !stored.starttls {
        warnings.push(
            "passwords are sent to the directory unencrypted: use ldaps:// or starttls=true".to_owned(),
        );
    }
    let config = Config::new(stored)?;
    password_policy::wanted(cx.txn, &config.stored.password_policy)?;
    let uuid = cx.mount.uuid.clone();
    automated::configure(cx.txn, &root::place(&uuid), &config.stored, was_due)?;
    Ok(Response { warnings, ..Response::empty() })
}

fn take_over(stored: &mut Stored, sent: &Fields) -> Result<(), Refusal> {
    for (name, text) in [
        ("url", &mut stored.url),
        ("certificate", &mut stored.certificate),
        ("client_tls_cert", &mut stored.client_tls_cert),
        ("client_tls_key", &mut stored.client_tls_key),
        ("binddn", &mut stored.binddn),
        ("password_policy", &mut stored.password_policy),
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
    if let Some(password) = sent.string("bindpass")? {
        stored.bindpass = password;
    }
    if let Some(attribute) = sent.string("userattr")? {
        stored.userattr = attribute.to_lowercase();
    }
    for (name, flag) in [
        ("starttls", &mut stored.starttls),
        ("discoverdn", &mut stored.discoverdn),
        ("anonymous_group_search", &mut stored.anonymous_group_search),
        ("use_token_groups", &mut stored.use_token_groups),
        ("username_as_alias", &mut stored.username_as_alias),
        ("case_sensitive_names", &mut stored.case_sensitive_names),
        ("enable_samaccountname_login", &mut stored.enable_samaccountname_login),
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
    for (name, usual, other, flag) in [
        ("tls_min_version", "tls12", "tls13", &mut stored.only_tls13),
        ("tls_max_version", "tls13", "tls12", &mut stored.only_tls12),
    ] {
        match sent.string(name)?.as_deref() {
            None => {}
            Some(version) if version.is_empty() || version == usual => *flag = false,
            Some(version) if version == other => *flag = true,
            Some(_) => return Err(Refusal::invalid(format!("{name} must be tls12 or tls13"))),
        }
    }
    if let Some(size) = sent.int("max_page_size")? {
        let fits = u32::try_from(size.max(0)).ok().filter(|_| size <= MOST_PAGE);
        stored.max_page_size =
            fits.ok_or_else(|| Refusal::invalid(format!("max_page_size must be at most {MOST_PAGE}")))?;
    }
    if stored.userfilter.is_empty() {
        USER_FILTER.clone_into(&mut stored.userfilter);
    }
    Ok(())
}

fn refuse_absent(sent: &Fields) -> Result<(), Refusal> {
    if sent.bool("insecure_tls")?.unwrap_or(false) {
        return Err(Refusal::invalid(
            "insecure_tls: who does not verify a certificate tells passwords to anybody; set certificate to the \
             directory's authority instead",
        ));
    }
    if sent.bool("deny_null_bind")? == Some(false) {
        return Err(Refusal::invalid(
            "deny_null_bind must be true: a bind without a password succeeds for everybody (RFC 4513, 5.1.2)",
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::domain;

    #[test]
    fn a_domain_is_the_end_of_a_name() {
        for (dn, wanted) in [
            ("cn=ada,ou=users,dc=example,dc=com", Some("dc=example,dc=com")),
            ("CN=Ada\\, Countess,OU=x, DC=example, DC=com", Some("DC=example, DC=com")),
            ("dc=com", Some("dc=com")),
            ("cn=ada,o=example", None),
            ("dc=example,o=x", None),
            ("ada", None),
            ("", None),
        ] {
            assert_eq!(domain(dn), wanted, "{dn}");
        }
    }
}
