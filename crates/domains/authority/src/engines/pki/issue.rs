//! `issue/` and `sign/`: certificates under the rules of a role.

use super::authority::{self, Kind as Made, Order};
use super::bundle::{Bundle, Format};
use super::params::{self, FORMAT, Family, KEY_BITS, PRIVATE_KEY_FORMAT};
use super::role::Role;
use super::table::{self, DEFAULT, Issuer, Table};
use super::wanted::{self, FIELDS as SHARED, USER_IDS, Wanted};
use super::{HEAVY, fetch, leased, refuse, roles};
use crate::context::Context;
use crate::refusal::Refusal;
use crate::request::Operation;
use crate::response::Response;
use crate::route::{Field, Kind, Route, field, joined};
use keyward_crypto::keys::Key;
use keyward_crypto::x509::{Certificate, PublicKey, PublicKind, Request, oid, pem};

pub(super) const CSR: Field = field("csr", Kind::Text, "The certificate request in PEM.");
pub(super) const REMOVE_ROOTS: Field =
    field("remove_roots_from_chain", Kind::Bool, "Leave authorities that signed themselves out of ca_chain.");

pub(super) const ISSUE: &[Field] = &joined::<15>(&[
    &SHARED,
    &[
        USER_IDS,
        FORMAT,
        PRIVATE_KEY_FORMAT,
        REMOVE_ROOTS,
        field("key_type", Kind::Text, "rsa, ec or ed25519; where the role's key_type is any."),
        KEY_BITS,
    ],
]);

pub(super) const SIGN: &[Field] =
    &joined::<14>(&[&SHARED, &[USER_IDS, FORMAT, PRIVATE_KEY_FORMAT, REMOVE_ROOTS, CSR]]);

const VERBATIM: &[Field] = &joined::<22>(&[
    &SHARED,
    &[
        USER_IDS,
        FORMAT,
        PRIVATE_KEY_FORMAT,
        REMOVE_ROOTS,
        CSR,
        field("issuer_ref", Kind::Text, "The issuer that signs, where no role names one."),
        field("key_usage", Kind::List, "Key usages, unless the request asks for some."),
        field("ext_key_usage", Kind::List, "Extended key usages, unless the request asks for some."),
        field("ext_key_usage_oids", Kind::List, "The same by OID."),
        field(
            "signature_bits",
            Kind::Int,
            "256, 384 or 512 for the hash of RSA signatures; 0 for the usual.",
        ),
        field("use_pss", Kind::Bool, "Sign with PSS where the issuer's key is RSA."),
        field("not_before_duration", Kind::Duration, "How long before now the certificate begins."),
        field(
            "basic_constraints_valid_for_non_ca",
            Kind::Bool,
            "Say that the certificate is no authority's.",
        ),
    ],
]);

const fn route(
    pattern: &'static str,
    operations: &'static [(Operation, crate::route::Handler)],
    fields: &'static [Field],
    help: &'static str,
) -> Route {
    Route { pattern, operations, exists: None, fields, traits: HEAVY, help }
}

const ISSUES: &[(Operation, crate::route::Handler)] = &[(Operation::Update, issue)];
const SIGNS: &[(Operation, crate::route::Handler)] = &[(Operation::Update, sign)];
const VERBATIMS: &[(Operation, crate::route::Handler)] = &[(Operation::Update, sign_verbatim)];

const ISSUE_HELP: &str = "Makes a key and a certificate for it, as a role allows.";
const SIGN_HELP: &str = "Makes a certificate for a request, as a role allows.";
const VERBATIM_HELP: &str = "Makes a certificate with the names and extensions of a request as they are.";

pub(super) const ROUTES: &[Route] = &[
    Route { traits: Route::EMPTY.traits, ..route("issue/{role}", ISSUES, ISSUE, ISSUE_HELP) },
    route("sign/{role}", SIGNS, SIGN, SIGN_HELP),
    route("sign-verbatim", VERBATIMS, VERBATIM, VERBATIM_HELP),
    route("sign-verbatim/{role}", VERBATIMS, VERBATIM, VERBATIM_HELP),
    Route {
        traits: Route::EMPTY.traits,
        ..route("issuer/{issuer_ref}/issue/{role}", ISSUES, ISSUE, ISSUE_HELP)
    },
    route("issuer/{issuer_ref}/sign/{role}", SIGNS, SIGN, SIGN_HELP),
    route("issuer/{issuer_ref}/sign-verbatim", VERBATIMS, VERBATIM, VERBATIM_HELP),
    route("issuer/{issuer_ref}/sign-verbatim/{role}", VERBATIMS, VERBATIM, VERBATIM_HELP),
];

/// The issuer that the path names, or the role.
fn reference<'r>(cx: &'r Context<'_, '_>, role: &'r Role) -> &'r str {
    match cx.param("issuer_ref") {
        "" => &role.issuer_ref,
        named => named,
    }
}

fn issue(cx: &mut Context<'_, '_>) -> Result<Response, Refusal> {
    let name = cx.param("role").to_owned();
    let role = roles::for_caller(cx, &name)?;
    let fields = cx.fields();
    let given = fields.string("key_type")?.filter(|kind| !kind.is_empty());
    let bits = params::number(fields, "key_bits")?;
    let family = Family::parse(&role.key_type)?;
    let ignored = family != Family::Any && (given.is_some() || bits.is_some());
    let kind = match (family, given) {
        (Family::Any, None) => {
            return Err(Refusal::invalid(
                "role key type \"any\" not allowed for issuing certificates without providing key_type and/or \
                 key_bits request parameters",
            ));
        }
        (Family::Any, Some(given)) => params::typed(Family::parse(&given)?, bits.unwrap_or(0))?,
        _ => params::typed(family, role.key_bits)?,
    };
    let table = table::table(cx)?;
    let issuer = authority::issuing(&table, reference(cx, &role))?;
    let wanted = wanted::gather(cx, cx.fields(), &role, None, Some(issuer))?;
    // The usual kinds take less than handing the request over to another thread would.
    let signer = issuer.key()?.public.kind();
    if !params::is_quick(kind) || !matches!(signer, PublicKind::Ec(256) | PublicKind::Ed25519) {
        cx.gathered.leisure()?;
    }
    let key = params::generate(cx, kind)?;
    let public =
        PublicKey::of(&key).ok_or_else(|| Refusal::Internal("a key without a public part".to_owned()))?;
    let order = order(&role, &wanted, &public);
    let response = finish(cx, (&table, issuer), Keep::from(&*role), order, Some(&key))?;
    let response = wanted.warnings.iter().fold(response, Response::warn);
    Ok(match ignored {
        true => response.warn("parameters key_type and key_bits ignored as role had specific values"),
        false => response,
    })
}

fn order<'a>(role: &Role, wanted: &'a Wanted, public: &'a PublicKey) -> Order<'a> {
    Order {
        wanted,
        kind: Made::Leaf,
        public,
        verbatim: None,
        key_id: None,
        signature_bits: role.signature_bits,
        use_pss: role.use_pss,
    }
}

/// What becomes of a certificate once it is made.
#[derive(Clone, Copy)]
pub(super) struct Keep {
    /// It is not kept, so that it can be neither shown nor revoked.
    pub(super) no_store: bool,
    /// It is revoked with its lease.
    pub(super) lease: bool,
}

impl From<&Role> for Keep {
    fn from(role: &Role) -> Keep {
        Keep { no_store: role.no_store, lease: role.generate_lease }
    }
}

/// Signs, keeps and answers.
pub(super) fn finish(
    cx: &mut Context<'_, '_>,
    (table, issuer): (&Table, &Issuer),
    keep: Keep,
    order: Order<'_>,
    key: Option<&Key>,
) -> Result<Response, Refusal> {
    let format = Format::of(cx.fields())?;
    let certificate = order.issue(cx, table, issuer)?;
    let bundle = Bundle {
        certificate: &certificate,
        issuer: &issuer.certificate,
        chain: &issuer.chain,
        written: Some(&issuer.written),
        key,
    };
    let response = Response::data(&bundle.describe(format, cx.fields())?)?;
    if !keep.no_store {
        fetch::store(cx, &certificate)?;
    }
    match keep.lease && !keep.no_store {
        true => leased::lease(cx, response, &certificate),
        false => Ok(response),
    }
}

/// The certificate request of the field `csr`, its signature verified.
pub(super) fn csr(cx: &Context<'_, '_>) -> Result<Request, Refusal> {
    let text = cx.fields().string("csr")?.unwrap_or_default();
    if text.is_empty() {
        return Err(Refusal::invalid("\"csr\" is empty"));
    }
    let der = pem::first(&[pem::REQUEST, "NEW CERTIFICATE REQUEST"], &text)
        .ok_or_else(|| Refusal::invalid("csr contains no data: send a PEM block CERTIFICATE REQUEST"))?;
    Request::read(&der)
        .map_err(|why| Refusal::invalid(format!("certificate request could not be parsed: {}", refuse(why))))
}

/// Refuses a request whose key is not of the role's type, or weaker.
pub(super) fn check_key(role: &Role, csr: &Request) -> Result<(), Refusal> {
    let found = csr.public.kind();
    if role.key_type == "any" {
        return Ok(());
    }
    if found.name() != role.key_type {
        return Err(Refusal::invalid(format!("role requires keys of type {}", role.key_type)));
    }
    match found.bits() < role.key_bits {
        true => Err(Refusal::invalid(format!(
            "role requires a minimum of a {}-bit key, but CSR's key is {} bits",
            role.key_bits,
            found.bits()
        ))),
        false => Ok(()),
    }
}

fn sign(cx: &mut Context<'_, '_>) -> Result<Response, Refusal> {
    let name = cx.param("role").to_owned();
    let role = roles::for_caller(cx, &name)?;
    let csr = csr(cx)?;
    check_key(&role, &csr)?;
    let table = table::table(cx)?;
    let issuer = authority::issuing(&table, reference(cx, &role))?;
    let wanted = wanted::gather(cx, cx.fields(), &role, Some(&csr), Some(issuer))?;
    let order = order(&role, &wanted, &csr.public);
    let mut response = finish(cx, (&table, issuer), Keep::from(&*role), order, None)?;
    if role.use_csr_common_name && cx.fields().string("common_name")?.is_some_and(|name| !name.is_empty()) {
        response = response.warn(
            "the common_name field was provided but the role is set with \"use_csr_common_name\" set to true",
        );
    }
    if role.use_csr_sans && cx.fields().strings("alt_names")?.is_some_and(|names| !names.is_empty()) {
        response = response
            .warn("the alt_names field was provided but the role is set with \"use_csr_sans\" set to true");
    }
    Ok(warned(response, &role, &csr, &wanted))
}

fn warned(response: Response, role: &Role, csr: &Request, wanted: &Wanted) -> Response {
    let response = wanted.warnings.iter().fold(response, Response::warn);
    match csr.has(oid::BASIC_CONSTRAINTS) && !role.basic_constraints_valid_for_non_ca {
        true => response
            .warn("specified CSR contained a Basic Constraints extension that was ignored during issuance"),
        false => response,
    }
}

fn sign_verbatim(cx: &mut Context<'_, '_>) -> Result<Response, Refusal> {
    let role = verbatim_role(cx)?;
    let csr = csr(cx)?;
    let table = table::table(cx)?;
    let issuer = authority::issuing(&table, reference(cx, &role))?;
    let wanted = wanted::gather(cx, cx.fields(), &role, Some(&csr), Some(issuer))?;
    let order = Order { verbatim: Some(&csr), ..order(&role, &wanted, &csr.public) };
    let response = finish(cx, (&table, issuer), Keep::from(&role), order, None)?;
    Ok(warned(response, &role, &csr, &wanted))
}

/// Everything is allowed; of the path's role, if any, count the times, the issuer and whether to store.
fn verbatim_role(cx: &mut Context<'_, '_>) -> Result<Role, Refusal> {
    let fields = cx.fields();
    let mut role = Role::unlimited(fields)?;
    role.use_csr_common_name = true;
    role.use_csr_sans = true;
    role.key_usage = fields.strings("key_usage")?.unwrap_or_else(|| Role::default().key_usage);
    role.ext_key_usage = fields.strings("ext_key_usage")?.unwrap_or_default();
    role.ext_key_usage_oids = fields.strings("ext_key_usage_oids")?.unwrap_or_default();
    role.basic_constraints_valid_for_non_ca =
        fields.bool("basic_constraints_valid_for_non_ca")?.unwrap_or(false);
    role.issuer_ref =
        fields.string("issuer_ref")?.filter(|name| !name.is_empty()).unwrap_or(DEFAULT.to_owned());
    if !cx.param("role").is_empty() {
        let name = cx.param("role").to_owned();
        let known = roles::find(cx, &name)?;
        role.ttl = known.ttl;
        role.max_ttl = known.max_ttl;
        role.no_store = known.no_store;
        role.generate_lease = known.generate_lease;
        role.issuer_ref.clone_from(&known.issuer_ref);
        role.not_after.clone_from(&known.not_after);
    }
    Ok(role)
}

/// A certificate in PEM that a field holds.
pub(super) fn certificate(cx: &Context<'_, '_>, field: &str) -> Result<Certificate, Refusal> {
    let text = cx.fields().required(field)?;
    let der = pem::first(&[pem::CERTIFICATE, "X509 CERTIFICATE"], &text).ok_or_else(|| {
        Refusal::invalid(format!("{field} contains no PEM data: send a PEM block CERTIFICATE"))
    })?;
    Certificate::read(&der)
        .map_err(|why| Refusal::invalid(format!("{field} could not be parsed: {}", refuse(why))))
}
