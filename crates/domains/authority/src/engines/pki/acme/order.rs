//! Orders (RFC 8555, section 7.4): what shall be certified, whether it is proved, and the certificate.

use super::super::authority::{Kind as Made, Order as Making};
use super::super::names::{is_hostname, refused};
use super::super::role::Role;
use super::super::table::{Issuer, NotAfter};
use super::super::wanted::{self, Wanted};
use super::super::{fetch, issue, params};
use super::account::{self, Account};
use super::server::{Answered, Directory, Signed, of_account};
use super::validation::{Authorization, Standing};
use super::wrong::{Kind, Wrong};
use crate::act::challenge::Identifier;
use crate::context::Context;
use crate::expiry::{self, Due};
use crate::fields::Fields;
use crate::refusal::Refusal;
use crate::response::Response;
use crate::txn::Txn;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use keyward_core::{Timestamp, random};
use keyward_crypto::x509::{Certificate, Request, San};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use std::time::Duration;

pub(super) const ORDERS: &str = "acme/order/";
/// Who ordered a certificate.
pub(super) const CERTIFICATES: &str = "acme/certificate/";

/// Identifiers of one order: so many fit into one entry with their challenges.
const MOST_IDENTIFIERS: usize = 100;
/// Orders shown in one list.
const MOST_SHOWN: usize = 500;
/// How long a client has to prove what it ordered.
const PATIENCE: Duration = Duration::from_secs(24 * 3600);
/// How long an order that came to nothing can still be looked at.
const AFTERLIFE: Duration = Duration::from_secs(24 * 3600);
/// The longest common name (RFC 5280, appendix A.1: ub-common-name).
const LONGEST_COMMON_NAME: usize = 64;

/// An order as stored. Moments are in seconds since 1970.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Order {
    pub(super) id: String,
    pub(super) expires: u64,
    pub(super) identifiers: Vec<Identifier>,
    pub(super) authorizations: Vec<Authorization>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) certificate: Option<Certified>,
}

/// The certificate of an order.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Certified {
    /// In the form it is stored under.
    pub(super) serial: String,
    /// The issuer's id.
    pub(super) issuer: String,
    pub(super) until: u64,
}

/// Where an order stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Status {
    Pending,
    Ready,
    Valid,
    Invalid,
}

impl Status {
    const fn name(self) -> &'static str {
        match self {
            Status::Pending => "pending",
            Status::Ready => "ready",
            Status::Valid => "valid",
            Status::Invalid => "invalid",
        }
    }
}

impl Order {
    fn status(&self, now: u64) -> Status {
        let every = |wanted: Standing| self.authorizations.iter().all(|found| found.standing == wanted);
        let hopeless = |found: &Authorization| !matches!(found.standing, Standing::Pending | Standing::Valid);
        match () {
            () if self.certificate.is_some() => Status::Valid,
            () if now >= self.expires || self.authorizations.iter().any(hopeless) => Status::Invalid,
            () if every(Standing::Valid) => Status::Ready,
            () => Status::Pending,
        }
    }

    /// When it is deleted, if it comes to nothing.
    fn end(&self) -> u64 {
        Timestamp::from_secs(self.expires).plus(AFTERLIFE).nanos()
    }
}

/// Where an order is kept, below the mount.
pub(super) fn path(account: &str, order: &str) -> String {
    format!("{ORDERS}{account}/{order}")
}

/// The order `id` of `account`.
pub(super) fn find(cx: &mut Context<'_, '_>, account: &Account, id: &str) -> Result<Order, Wrong> {
    let order = cx.get_json(&path(&account.id, id))?;
    order.ok_or_else(|| Kind::Malformed.because("the account has no such order").with_status(404))
}

/// The same by its storage key.
pub(super) fn at(txn: &mut Txn<'_>, prefix: &str, account: &str, id: &str) -> Result<Option<Order>, Refusal> {
    txn.get_json(&format!("{prefix}{}", path(account, id)))
}

fn display(cx: &Context<'_, '_>, directory: &Directory, order: &Order) -> Answered {
    let status = order.status(cx.now.secs());
    let url = directory.at(&format!("order/{}", order.id));
    let authorizations = (0..order.authorizations.len())
        .map(|at| directory.at(&format!("authorization/{}.{at}", order.id)))
        .collect::<Vec<_>>();
    let mut shown = json!({
        "status": status.name(),
        "expires": Timestamp::from_secs(order.expires).to_string(),
        "identifiers": order.identifiers,
        "authorizations": authorizations,
        "finalize": format!("{url}/finalize"),
    });
    if status == Status::Valid {
        shown["certificate"] = json!(format!("{url}/cert"));
    }
    if let Some(failed) = order.authorizations.iter().find_map(Authorization::error) {
        shown["error"] = failed.clone();
    }
    Ok(Response::verbatim_json(&shown)?.with_header("location", url))
}

pub(super) fn new(cx: &mut Context<'_, '_>) -> Result<Response, Refusal> {
    of_account(cx, |cx, directory, request, account| {
        let said = request.said()?;
        if ["notBefore", "notAfter"].iter().any(|name| said.get(*name).is_some_and(|at| !at.is_null())) {
            return Err(
                Kind::Malformed.because("notBefore and notAfter are not supported: the server sets them")
            );
        }
        let identifiers = identifiers(said)?;
        for identifier in &identifiers {
            check_allowed(&directory.role, identifier)?;
        }
        let order = Order {
            id: random::uuid(cx.random()),
            expires: cx.now.plus(PATIENCE).secs(),
            authorizations: identifiers.iter().map(|of| Authorization::new(of, cx.random())).collect(),
            identifiers,
            certificate: None,
        };
        let path = path(&account.id, &order.id);
        cx.put_json(&path, &order)?;
        let key = cx.key(&path);
        expiry::remember(cx.txn, order.end(), &order.id, &Due::Entry(key))?;
        Ok(display(cx, directory, &order)?.with_status(201))
    })
}

/// The identifiers that are ordered, each once.
fn identifiers(said: &Map<String, Value>) -> Result<Vec<Identifier>, Wrong> {
    let listed = said
        .get("identifiers")
        .and_then(Value::as_array)
        .ok_or_else(|| Kind::Malformed.because("identifiers must be a list"))?;
    if listed.is_empty() || listed.len() > MOST_IDENTIFIERS {
        return Err(Kind::Malformed.because(format!("an order has one to {MOST_IDENTIFIERS} identifiers")));
    }
    let mut found: Vec<Identifier> = Vec::with_capacity(listed.len());
    for item in listed {
        let text = |name: &str| {
            item.get(name).and_then(Value::as_str).ok_or_else(|| {
                Kind::Malformed.because(format!("an identifier must have a {name} that is a text"))
            })
        };
        let identifier = identifier(text("type")?, text("value")?)?;
        if !found.contains(&identifier) {
            found.push(identifier);
        }
    }
    Ok(found)
}

fn identifier(kind: &str, value: &str) -> Result<Identifier, Wrong> {
    match kind {
        "dns" => {
            let name = value.to_ascii_lowercase();
            let base = name.strip_prefix("*.").unwrap_or(&name);
            // An address is a host name by its letters, and is no domain name.
            let is_address = base.parse::<std::net::IpAddr>().is_ok();
            if !is_hostname(base) || base.ends_with('.') || is_address {
                return Err(Kind::Malformed.because(
                    "an identifier of the type dns must be a host name as DNS has it, perhaps with *. in front",
                ));
            }
            Ok(Identifier::Dns(name))
        }
        "ip" => value.parse().map(Identifier::Ip).map_err(|_| {
            Kind::Malformed.because("an identifier of the type ip must be an address (RFC 8738)")
        }),
        _ => Err(Kind::UnsupportedIdentifier.because("there are identifiers of the types dns and ip")),
    }
}

fn check_allowed(role: &Role, identifier: &Identifier) -> Result<(), Wrong> {
    let allowed = match identifier {
        Identifier::Dns(name) => refused(role, std::iter::once(name.as_str())).is_none(),
        Identifier::Ip(_) => role.allow_ip_sans,
    };
    match allowed {
        true => Ok(()),
        false => Err(Kind::RejectedIdentifier
            .because(format!("the role does not allow certificates for {identifier}"))),
    }
}

fn asked(cx: &mut Context<'_, '_>, account: &Account) -> Result<Order, Wrong> {
    let id = cx.param("order_id").to_owned();
    find(cx, account, &id)
}

pub(super) fn show(cx: &mut Context<'_, '_>) -> Result<Response, Refusal> {
    of_account(cx, |cx, directory, _, account| {
        let order = asked(cx, account)?;
        display(cx, directory, &order)
    })
}

pub(super) fn list(cx: &mut Context<'_, '_>) -> Result<Response, Refusal> {
    of_account(cx, |cx, directory, _, account| {
        let key = cx.key(&format!("{ORDERS}{}/", account.id));
        let now = cx.now.secs();
        let mut urls = Vec::new();
        for id in cx.txn.list(&key, "", MOST_SHOWN)? {
            let order = cx.get_json::<Order>(&path(&account.id, &id))?;
            if order.is_some_and(|order| order.status(now) != Status::Invalid) {
                urls.push(directory.at(&format!("order/{id}")));
            }
        }
        Ok(Response::verbatim_json(&json!({ "orders": urls }))?)
    })
}

pub(super) fn finalize(cx: &mut Context<'_, '_>) -> Result<Response, Refusal> {
    of_account(cx, |cx, directory, request, account| {
        let mut order = asked(cx, account)?;
        match order.status(cx.now.secs()) {
            Status::Ready => {}
            other => {
                return Err(Kind::OrderNotReady
                    .because(format!("order is status {}, needs to be in ready state", other.name())));
            }
        }
        let csr = csr(request)?;
        check_names(&csr, &order)?;
        let made = make(cx, directory, &csr, &order)?;
        let certified = Certified {
            serial: super::super::colons(made.serial()),
            issuer: directory.issuer.clone(),
            until: made.not_after(),
        };
        fetch::store(cx, &made)?;
        cx.put_json(&format!("{CERTIFICATES}{}", certified.serial), &account.id)?;
        expiry::forget(cx.txn, order.end(), &order.id);
        if certified.until > account.certified_until {
            account::put(cx, &Account { certified_until: certified.until, ..account.clone() })?;
        }
        order.certificate = Some(certified);
        cx.put_json(&path(&account.id, &order.id), &order)?;
        display(cx, directory, &order)
    })
}

/// The request for a certificate that finalizing sends, for another key than the account's.
fn csr(request: &Signed) -> Result<Request, Wrong> {
    let text = request.said()?.get("csr").and_then(Value::as_str);
    let text = text.ok_or_else(|| Kind::Malformed.because("csr must be a text"))?;
    let der = URL_SAFE_NO_PAD
        .decode(text)
        .map_err(|_| Kind::Malformed.because("csr is not base64url without padding"))?;
    let csr =
        Request::read(&der).map_err(|why| Kind::BadCsr.because(format!("the CSR cannot be used: {why}")))?;
    match csr.public == request.key.public {
        true => Err(Kind::BadCsr.because("certificate public key must not match account key")),
        false => Ok(csr),
    }
}

/// Refuses a request for other names than those that were ordered.
fn check_names(csr: &Request, order: &Order) -> Result<(), Wrong> {
    let common_name = csr.subject.common_name();
    let mut asked = Vec::new();
    for san in &csr.sans {
        asked.push(match san {
            San::Dns(name) => Identifier::Dns(name.to_ascii_lowercase()),
            San::Ip(address) => Identifier::Ip(*address),
            _ => {
                return Err(Kind::BadCsr
                    .because("the CSR asks for names that are neither domain names nor addresses"));
            }
        });
    }
    if !common_name.is_empty() {
        let address = common_name.parse().map(Identifier::Ip);
        asked.push(address.unwrap_or_else(|_| Identifier::Dns(common_name.to_ascii_lowercase())));
    }
    let mut ordered = order.identifiers.clone();
    asked.sort_unstable();
    asked.dedup();
    ordered.sort_unstable();
    match asked == ordered {
        true => Ok(()),
        false => Err(Kind::BadCsr
            .because("the names in the CSR are not those of the order, all of them and no others")),
    }
}

/// The certificate: its names are those of the order, its key is that of the CSR.
fn make(
    cx: &mut Context<'_, '_>,
    directory: &Directory,
    csr: &Request,
    order: &Order,
) -> Result<Certificate, Wrong> {
    let bad = |why: Refusal| Wrong::of(Kind::BadCsr, why);
    let mut role = directory.role.clone();
    issue::check_key(&role, csr).map_err(bad)?;
    role.use_csr_common_name = false;
    role.use_csr_sans = false;
    let most = Duration::from_secs(directory.config.max_ttl);
    let ttl = match std::mem::take(&mut role.not_after) {
        end if end.is_empty() => wanted::usual_ttl(cx, &role),
        end => Duration::from_secs(params::moment("not_after", &end)?.saturating_sub(cx.now.secs())),
    };
    let ttl = ttl.min(most);
    if ttl.is_zero() {
        return Err(
            Kind::ServerInternal.because("the role's not_after has passed: the operator must change it")
        );
    }
    let fields = fields(&role, csr, order, ttl);
    let issuer = directory.issuer()?;
    // Certificates end with their issuer, where they would be refused.
    let truncating = match issuer.entry.not_after {
        NotAfter::Err => NotAfter::Truncate,
        other => other,
    };
    let signer = issuer.with_not_after(truncating);
    let wanted = wanted::gather(cx, &fields, &role, None, Some(&signer)).map_err(bad)?;
    Ok(sign(cx, directory, issuer, &wanted, &role, csr)?)
}

fn fields(role: &Role, csr: &Request, order: &Order, ttl: Duration) -> Fields {
    let (mut names, mut addresses) = (Vec::new(), Vec::new());
    for identifier in &order.identifiers {
        match identifier {
            Identifier::Dns(name) => names.push(name.clone()),
            Identifier::Ip(address) => addresses.push(address.to_string()),
        }
    }
    let asked = csr.subject.common_name().to_ascii_lowercase();
    // Many clients leave the common name out, and many roles require one.
    let common_name = match asked.is_empty() && role.require_cn {
        true => {
            let fits = |name: &&String| name.len() <= LONGEST_COMMON_NAME;
            names.iter().chain(&addresses).find(fits).cloned().unwrap_or_default()
        }
        false => asked,
    };
    let mut fields = Fields::default();
    fields.set("common_name", &common_name);
    fields.set("exclude_cn_from_sans", &true);
    fields.set("alt_names", &names);
    fields.set("ip_sans", &addresses);
    fields.set("ttl", &ttl.as_secs());
    fields
}

fn sign(
    cx: &Context<'_, '_>,
    directory: &Directory,
    issuer: &Issuer,
    wanted: &Wanted,
    role: &Role,
    csr: &Request,
) -> Result<Certificate, Refusal> {
    let making = Making {
        wanted,
        kind: Made::Leaf,
        public: &csr.public,
        verbatim: None,
        key_id: None,
        signature_bits: role.signature_bits,
        use_pss: role.use_pss,
    };
    making.issue(cx, &directory.table, issuer)
}

pub(super) fn certificate(cx: &mut Context<'_, '_>) -> Result<Response, Refusal> {
    of_account(cx, |cx, directory, _, account| {
        let order = asked(cx, account)?;
        let Some(certified) = &order.certificate else {
            return Err(Kind::OrderNotReady.because("the order has no certificate yet: finalize it"));
        };
        let gone = || Kind::ServerInternal.because("the certificate was removed: it has expired");
        let der = fetch::stored(cx, &certified.serial)?.ok_or_else(gone)?;
        let leaf = Certificate::read(&der).map_err(super::super::refuse)?;
        let issuer = directory.table.issuer(&certified.issuer)?;
        // Each ends its line, as certbot's reader wants it (RFC 8555, 9.1).
        let all = std::iter::once(&leaf).chain(&issuer.chain);
        let chain: String = all.map(|certificate| certificate.pem() + "\n").collect();
        Ok(Response::raw(fetch::PEM_TYPE, chain.into_bytes()))
    })
}
