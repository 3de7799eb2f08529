//! What a certificate shall say: a request's parameters, held against a role.

use super::role::Role;
use super::table::{Issuer, NotAfter};
use super::uses::Uses;
use super::{names, params};
use crate::context::Context;
use crate::fields::Fields;
use crate::refusal::Refusal;
use crate::route::{Field, Kind, field};
use keyward_core::Timestamp;
use keyward_crypto::x509::{Extension, KeyUsages, Request, San, Subject, attribute};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

/// The parameters that all requests for certificates share.
pub(super) const FIELDS: [Field; 9] = [
    field("common_name", Kind::Text, "The common name, and an alternative name unless excluded."),
    field("alt_names", Kind::List, "Host names and e-mail addresses as alternative names."),
    field("ip_sans", Kind::List, "Addresses as alternative names."),
    field("uri_sans", Kind::List, "URIs as alternative names."),
    field("other_sans", Kind::List, "Other names, as <oid>;UTF8:<value>."),
    field("exclude_cn_from_sans", Kind::Bool, "Do not make the common name an alternative name."),
    field("serial_number", Kind::Text, "The serial number in the subject, not the certificate's own."),
    field("ttl", Kind::Duration, "How long the certificate is valid."),
    field("not_after", Kind::Text, "When it ends, as YYYY-MM-DDTHH:MM:SSZ, instead of a ttl."),
];

/// Of certificates that are no authority's.
pub(super) const USER_IDS: Field = field("user_ids", Kind::List, "User ids in the subject.");

/// See the module.
pub(super) struct Wanted {
    pub(super) subject: Subject,
    pub(super) sans: Vec<San>,
    /// Seconds since 1970.
    pub(super) not_before: u64,
    /// Seconds since 1970.
    pub(super) not_after: u64,
    pub(super) uses: Arc<Uses>,
    /// Others, in place of our own of the same kind.
    pub(super) extra: Vec<Extension>,
    pub(super) warnings: Vec<String>,
}

/// Gathers what is wanted, from the parameters `fields` and from `csr`, and refuses what `role` does not allow.
/// `issuer` is who will sign; none for an authority that signs itself.
pub(super) fn gather(
    cx: &Context<'_, '_>,
    fields: &Fields,
    role: &Role,
    csr: Option<&Request>,
    issuer: Option<&Issuer>,
) -> Result<Wanted, Refusal> {
    let mut warnings = Vec::new();
    let common_name = common_name(fields, role, csr)?;
    let sans = sans(fields, role, csr, &common_name)?;
    let subject = subject(fields, role, csr, &common_name)?;
    let (not_before, not_after) = validity(cx, fields, role, issuer, &mut warnings)?;
    Ok(Wanted { subject, sans, not_before, not_after, uses: role.uses()?, extra: Vec::new(), warnings })
}

/// The usages with these names. Names that are not known are left out, as Vault does.
pub(super) fn key_usages(names: &[String]) -> KeyUsages {
    names.iter().filter_map(|name| KeyUsages::named(name)).fold(KeyUsages::default(), KeyUsages::and)
}

fn common_name(fields: &Fields, role: &Role, csr: Option<&Request>) -> Result<String, Refusal> {
    let of_csr = csr.filter(|_| role.use_csr_common_name).map(|csr| csr.subject.common_name());
    let name = match of_csr.filter(|name| !name.is_empty()) {
        Some(name) => name,
        None => fields.string("common_name")?.unwrap_or_default(),
    };
    if name.is_empty() && role.require_cn {
        return Err(Refusal::invalid(
            "the common_name field is required, or must be provided in a CSR with \"use_csr_common_name\" set to \
             true, unless \"require_cn\" is set to false",
        ));
    }
    if !name.is_empty() && !names::allows_common_name(role, &name) {
        return Err(Refusal::invalid(format!("common name {name} not allowed by this role")));
    }
    Ok(name)
}

/// Host names and addresses as one list of text, commas and all, as clients send them.
fn listed(fields: &Fields, name: &str) -> Result<Vec<String>, Refusal> {
    let given = fields.strings(name)?.unwrap_or_default();
    let split = given.iter().flat_map(|text| text.split(',')).map(|text| text.trim().to_owned());
    Ok(split.filter(|text| !text.is_empty()).collect())
}

fn sans(fields: &Fields, role: &Role, csr: Option<&Request>, common_name: &str) -> Result<Vec<San>, Refusal> {
    let of_csr = csr.filter(|_| role.use_csr_sans);
    let mut sans = match of_csr {
        Some(csr) => csr.sans.clone(),
        None => of_fields(fields)?,
    };
    for other in fields.strings("other_sans")?.unwrap_or_default() {
        sans.push(
            other_san(&other)
                .map_err(|why| Refusal::invalid(format!("could not parse requested other SAN: {why}")))?,
        );
    }
    let excluded = fields.bool("exclude_cn_from_sans")?.unwrap_or(false);
    if !common_name.is_empty() && !excluded {
        if common_name.contains('@') {
            sans.push(San::Email(common_name.to_owned()));
        } else if names::is_certifiable(common_name) {
            sans.push(San::Dns(common_name.to_owned()));
        }
    }
    let mut distinct: Vec<San> = Vec::with_capacity(sans.len());
    for san in sans {
        if !distinct.contains(&san) {
            distinct.push(san);
        }
    }
    allowed(role, &distinct, of_csr.is_some())?;
    Ok(distinct)
}

/// More names than this have no use, and would make checking them slow.
const MOST_SANS: usize = 1000;

fn of_fields(fields: &Fields) -> Result<Vec<San>, Refusal> {
    let mut sans = Vec::new();
    for name in listed(fields, "alt_names")? {
        if name.contains('@') {
            sans.push(San::Email(name));
        } else if !name.is_ascii() {
            return Err(Refusal::invalid(format!(
                "alt_names: {name} is not ASCII: write it as DNS has it, in the form xn--..."
            )));
        } else if name.contains('*') || names::is_certifiable(&name) {
            sans.push(San::Dns(name));
        } else {
            return Err(Refusal::invalid(format!("subject alternate name {name} not allowed by this role")));
        }
    }
    for text in listed(fields, "ip_sans")? {
        let address: IpAddr = text
            .parse()
            .map_err(|_| Refusal::invalid(format!("the value {text:?} is not a valid IP address")))?;
        sans.push(San::Ip(address));
    }
    sans.extend(fields.strings("uri_sans")?.unwrap_or_default().into_iter().map(San::Uri));
    Ok(sans)
}

/// Refuses more names than a certificate may have.
pub(super) fn few_enough(sans: &[San]) -> Result<(), Refusal> {
    match sans.len() {
        0..=MOST_SANS => Ok(()),
        _ => Err(Refusal::invalid(format!("a certificate may have at most {MOST_SANS} alternative names"))),
    }
}

/// Refuses names that `role` does not allow. `by_csr` says where they came from.
fn allowed(role: &Role, sans: &[San], by_csr: bool) -> Result<(), Refusal> {
    few_enough(sans)?;
    let dns = sans.iter().filter_map(|san| if let San::Dns(name) = san { Some(name.as_str()) } else { None });
    if let Some(name) = names::refused(role, dns) {
        return Err(Refusal::invalid(format!("subject alternate name {name} not allowed by this role")));
    }
    let emails =
        sans.iter().filter_map(|san| if let San::Email(name) = san { Some(name.as_str()) } else { None });
    if let Some(name) = names::refused(role, emails) {
        return Err(Refusal::invalid(format!("email address {name} not allowed by this role")));
    }
    let source = if by_csr { "CSR" } else { "the API" };
    for san in sans {
        match san {
            San::Ip(_) if !role.allow_ip_sans => {
                return Err(Refusal::invalid(format!(
                    "IP Subject Alternative Names are not allowed in this role, but was provided some via {source}"
                )));
            }
            San::Uri(_) if role.allowed_uri_sans.is_empty() => {
                return Err(Refusal::invalid(format!(
                    "URI Subject Alternative Names are not allowed in this role, but were provided via {source}"
                )));
            }
            San::Uri(uri) if !role.allowed_uri_sans.iter().any(|pattern| names::glob(pattern, uri)) => {
                return Err(Refusal::invalid(format!(
                    "URI Subject Alternative Names were provided via {source} which are not valid for this role"
                )));
            }
            San::Other { oid, value } => allowed_other(role, oid, value)?,
            San::Dns(_) | San::Email(_) | San::Ip(_) | San::Uri(_) => {}
        }
    }
    Ok(())
}

fn allowed_other(role: &Role, oid: &str, value: &str) -> Result<(), Refusal> {
    if role.allowed_other_sans == ["*"] {
        return Ok(());
    }
    let patterns = role.allowed_other_sans.iter().filter_map(|pattern| other_san(pattern).ok());
    let mut of_oid = patterns.filter_map(|pattern| match pattern {
        San::Other { oid: allowed, value } if allowed == oid => Some(value),
        _ => None,
    });
    match of_oid.next() {
        None => Err(Refusal::invalid(format!("other SAN OID {oid} not allowed by this role"))),
        Some(first) if names::glob(&first, value) || of_oid.any(|pattern| names::glob(&pattern, value)) => {
            Ok(())
        }
        Some(_) => Err(Refusal::invalid(format!("other SAN {value} not allowed for OID {oid} by this role"))),
    }
}

/// Reads `<oid>;UTF8:<value>`.
pub(super) fn other_san(text: &str) -> Result<San, String> {
    let (oid, rest) =
        text.split_once(';').ok_or_else(|| format!("expected a semicolon in other SAN {text:?}"))?;
    let (kind, value) =
        rest.split_once(':').ok_or_else(|| format!("expected a colon in other SAN {text:?}"))?;
    match kind.eq_ignore_ascii_case("utf8") || kind.eq_ignore_ascii_case("utf-8") {
        true => Ok(San::Other { oid: oid.to_owned(), value: value.to_owned() }),
        false => {
            Err(format!("only utf8 other SANs are supported; found non-supported type in other SAN {text:?}"))
        }
    }
}

fn subject(
    fields: &Fields,
    role: &Role,
    csr: Option<&Request>,
    common_name: &str,
) -> Result<Subject, Refusal> {
    let of_csr = |oid: &str| csr.map(|csr| csr.subject.values(oid)).unwrap_or_default();
    let matches = |patterns: &[String], value: &str| {
        patterns.iter().any(|pattern| !pattern.is_empty() && names::glob(pattern, value))
    };
    let mut serial: Vec<String> = fields.string("serial_number")?.into_iter().collect();
    serial.retain(|serial| !serial.is_empty());
    if serial.is_empty() {
        serial = of_csr(attribute::SERIAL_NUMBER);
        serial.truncate(1);
    }
    if let Some(bad) = serial.iter().find(|serial| !matches(&role.allowed_serial_numbers, serial)) {
        return Err(Refusal::invalid(format!("serial_number {bad} not allowed by this role")));
    }
    let mut users = fields.strings("user_ids")?.unwrap_or_default();
    if users.is_empty() {
        users = of_csr(attribute::USER_ID);
    }
    let named = |user: &str| role.allowed_user_ids.iter().any(|allowed| allowed.eq_ignore_ascii_case(user));
    if let Some(bad) = users.iter().find(|user| !named(user) && !matches(&role.allowed_user_ids, user)) {
        return Err(Refusal::invalid(format!("user_id {bad} is not allowed by this role")));
    }
    let common_name: Vec<String> =
        if common_name.is_empty() { Vec::new() } else { vec![common_name.to_owned()] };
    Subject::new(&[
        (attribute::COUNTRY, &distinct(&role.country)),
        (attribute::ORGANIZATION, &distinct(&role.organization)),
        (attribute::ORGANIZATIONAL_UNIT, &distinct(&role.ou)),
        (attribute::LOCALITY, &distinct(&role.locality)),
        (attribute::PROVINCE, &distinct(&role.province)),
        (attribute::STREET_ADDRESS, &distinct(&role.street_address)),
        (attribute::POSTAL_CODE, &distinct(&role.postal_code)),
        (attribute::COMMON_NAME, &common_name),
        (attribute::SERIAL_NUMBER, &serial),
        (attribute::USER_ID, &distinct(&users)),
    ])
    .map_err(super::refuse)
}

fn distinct(values: &[String]) -> Vec<String> {
    let mut out: Vec<String> = Vec::new();
    for value in values.iter().filter(|value| !value.is_empty()) {
        if !out.contains(value) {
            out.push(value.clone());
        }
    }
    out
}

/// From when to when, in seconds since 1970.
fn validity(
    cx: &Context<'_, '_>,
    fields: &Fields,
    role: &Role,
    issuer: Option<&Issuer>,
    warnings: &mut Vec<String>,
) -> Result<(u64, u64), Refusal> {
    let ttl = fields.duration("ttl")?.filter(|ttl| !ttl.is_zero());
    let at = fields.string("not_after")?.filter(|at| !at.is_empty());
    if ttl.is_some() && at.is_some() {
        return Err(Refusal::invalid(
            "either ttl or not_after should be provided. Both should not be provided in the same request.",
        ));
    }
    let at = at.or_else(|| Some(role.not_after.clone()).filter(|at| !at.is_empty() && ttl.is_none()));
    let not_before = super::now(cx).saturating_sub(role.not_before_duration);
    let not_after = match at {
        Some(at) => params::moment("not_after", &at)?,
        None => super::now(cx).saturating_add(allowed_ttl(cx, role, ttl, warnings).as_secs()),
    };
    within(issuer, not_before, not_after).map(|not_after| (not_before, not_after))
}

/// When a certificate ends that shall be valid from `not_before` to `not_after`, for what `issuer` may sign.
pub(super) fn within(issuer: Option<&Issuer>, not_before: u64, mut not_after: u64) -> Result<u64, Refusal> {
    if let Some(issuer) = issuer
        && not_after > issuer.certificate.not_after()
    {
        match issuer.entry.not_after {
            NotAfter::Permit => {}
            NotAfter::Truncate => not_after = issuer.certificate.not_after(),
            NotAfter::Err => {
                return Err(Refusal::invalid(format!(
                    "cannot satisfy request, as TTL would result in notAfter of {} that is beyond the expiration of \
                     the CA certificate at {}",
                    Timestamp::from_secs(not_after),
                    Timestamp::from_secs(issuer.certificate.not_after())
                )));
            }
        }
    }
    if not_before >= not_after {
        return Err(Refusal::invalid(format!(
            "The certificate's Not Before ({}) is not earlier than the certificate's Not After ({})",
            Timestamp::from_secs(not_before),
            Timestamp::from_secs(not_after)
        )));
    }
    Ok(not_after)
}

/// How long certificates are valid under `role` where nobody asks for another time.
pub(super) fn usual_ttl(cx: &Context<'_, '_>, role: &Role) -> Duration {
    allowed_ttl(cx, role, None, &mut Vec::new())
}

/// A span in seconds, unless it is zero.
fn set(seconds: u64) -> Option<Duration> {
    Some(Duration::from_secs(seconds)).filter(|span| !span.is_zero())
}

fn allowed_ttl(
    cx: &Context<'_, '_>,
    role: &Role,
    asked: Option<Duration>,
    warnings: &mut Vec<String>,
) -> Duration {
    let ttl = asked.or(set(role.ttl)).unwrap_or_else(|| cx.default_ttl());
    let most = set(role.max_ttl).unwrap_or_else(|| cx.max_ttl());
    if ttl > most && asked.is_some() {
        warnings.push(format!(
            "TTL \"{}s\" is longer than permitted maxTTL \"{}s\", so maxTTL is being used",
            ttl.as_secs(),
            most.as_secs()
        ));
    }
    ttl.min(most)
}
