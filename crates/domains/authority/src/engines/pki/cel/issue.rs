//! `cel/issue/` and `cel/sign/`: certificates as a program decides.

use super::roles;
use super::template::Decision;
use crate::context::Context;
use crate::engines::pki::authority::{self, Kind as Made, Order};
use crate::engines::pki::issue::{self, ISSUE, Keep, SIGN};
use crate::engines::pki::table::{self, DEFAULT};
use crate::engines::pki::{HEAVY, params};
use crate::identity;
use crate::refusal::Refusal;
use crate::request::Operation;
use crate::response::Response;
use crate::route::Route;
use keyward_crypto::x509::{PublicKey, Request, San, attribute};
use keyward_expressions::cel::Val;
use serde_json::{Value, json};
use typed_arena::Arena;

pub(super) const ROUTES: &[Route] = &[
    Route {
        pattern: "cel/issue/{role}",
        operations: &[(Operation::Update, issue)],
        fields: ISSUE,
        help: "Makes a key and a certificate for it, as a program decides.",
        traits: HEAVY,
        ..Route::EMPTY
    },
    Route {
        pattern: "cel/sign/{role}",
        operations: &[(Operation::Update, sign)],
        fields: SIGN,
        help: "Makes a certificate for a request, as a program decides.",
        traits: HEAVY,
        ..Route::EMPTY
    },
];

fn issue(cx: &mut Context<'_, '_>) -> Result<Response, Refusal> {
    let decision = decide(cx, None)?;
    let key = params::generate(cx, decision.key_type)?;
    let public =
        PublicKey::of(&key).ok_or_else(|| Refusal::Internal("a key without a public part".to_owned()))?;
    carry_out(cx, decision, &public, Some(&key))
}

fn sign(cx: &mut Context<'_, '_>) -> Result<Response, Refusal> {
    let csr = issue::csr(cx)?;
    let decision = decide(cx, Some(&csr))?;
    carry_out(cx, decision, &csr.public, None)
}

/// Runs the role's program on the request.
fn decide(cx: &mut Context<'_, '_>, csr: Option<&Request>) -> Result<Decision, Refusal> {
    let name = cx.param("role").to_owned();
    let program = roles::program(cx, &name)?;
    let said = said(cx)?;
    let (arena, csr) = (Arena::new(), csr.map_or(Val::Null, parsed));
    let mut roots = vec![("now", Val::Timestamp(i128::from(cx.now.nanos()))), ("parsed_csr", csr)];
    roots.extend(said.iter().map(|(name, value)| (*name, Val::Json(value).simple())));
    let output = program.run(roots, cx.now, &arena)?;
    Decision::of(cx, &output)
}

/// The request's parameters, and who asks.
fn said(cx: &mut Context<'_, '_>) -> Result<[(&'static str, Value); 5], Refusal> {
    let request = Value::Object(cx.fields().to_object()?);
    let token = cx.caller()?.token.clone();
    let holder = match token.entity_id.is_empty() {
        true => None,
        false => identity::holder(cx.txn, &token.entity_id)?,
    };
    let subject = holder.map(|holder| holder.subject()).unwrap_or_default();
    let groups = subject.groups.iter();
    let groups =
        groups.map(|group| json!({ "ID": group.id, "name": group.name, "metadata": group.metadata }));
    let info = json!({ "ID": subject.entity_id, "name": subject.entity_name, "metadata": subject.metadata });
    Ok([
        ("request", request),
        ("entity_id", Value::from(token.entity_id.as_str())),
        ("entity_groups", groups.collect()),
        ("entity_info", info),
        (
            "token",
            json!({ "display_name": token.display_name, "policies": token.policies, "metadata": token.metadata }),
        ),
    ])
}

/// A certificate request by the names that Go has for its parts.
fn parsed<'a>(csr: &Request) -> Val<'a> {
    let map = |entries: Vec<(&'static str, Val<'a>)>| {
        Val::Map(entries.into_iter().map(|(name, value)| (Val::Str(name), value)).collect::<Vec<_>>().into())
    };
    let texts = |texts: Vec<String>| Val::list(texts.into_iter().map(Val::text).collect());
    let values = |oid: &str| texts(csr.subject.values(oid));
    let first = |oid: &str| Val::text(csr.subject.values(oid).into_iter().next().unwrap_or_default());
    let names = |of: fn(&San) -> Option<String>| texts(csr.sans.iter().filter_map(of).collect());
    let extensions = csr.extensions.iter();
    let extensions = extensions
        .map(|extension| (Val::text(extension.oid()), Val::Bytes(extension.value().into())))
        .collect();
    let kind = csr.public.kind();
    map(vec![
        (
            "Subject",
            map(vec![
                ("CommonName", first(attribute::COMMON_NAME)),
                ("SerialNumber", first(attribute::SERIAL_NUMBER)),
                ("Country", values(attribute::COUNTRY)),
                ("Organization", values(attribute::ORGANIZATION)),
                ("OrganizationalUnit", values(attribute::ORGANIZATIONAL_UNIT)),
                ("Locality", values(attribute::LOCALITY)),
                ("Province", values(attribute::PROVINCE)),
                ("StreetAddress", values(attribute::STREET_ADDRESS)),
                ("PostalCode", values(attribute::POSTAL_CODE)),
            ]),
        ),
        ("DNSNames", names(|san| if let San::Dns(name) = san { Some(name.clone()) } else { None })),
        ("EmailAddresses", names(|san| if let San::Email(name) = san { Some(name.clone()) } else { None })),
        (
            "IPAddresses",
            names(|san| if let San::Ip(address) = san { Some(address.to_string()) } else { None }),
        ),
        ("URIs", names(|san| if let San::Uri(uri) = san { Some(uri.clone()) } else { None })),
        ("Extensions", Val::Map(std::rc::Rc::new(extensions))),
        ("PublicKeyAlgorithm", Val::Str(algorithm(kind.name()))),
        ("PublicKeyBits", Val::Int(i64::try_from(kind.bits()).unwrap_or_default())),
        ("RawSubjectPublicKeyInfo", Val::Bytes(csr.public.spki().into())),
        ("RawSubject", Val::Bytes(csr.subject.der().into())),
    ])
}

/// A type of key by Go's name.
fn algorithm(name: &str) -> &'static str {
    match name {
        "rsa" => "RSA",
        "ec" => "ECDSA",
        _ => "Ed25519",
    }
}

/// Signs what was decided, for the key `public`.
fn carry_out(
    cx: &mut Context<'_, '_>,
    decision: Decision,
    public: &PublicKey,
    key: Option<&keyward_crypto::keys::Key>,
) -> Result<Response, Refusal> {
    let table = table::table(cx)?;
    let named = if decision.issuer_ref.is_empty() { DEFAULT } else { &decision.issuer_ref };
    let issuer = authority::issuing(&table, named)?;
    let decision = decision.below(issuer)?;
    let order = Order {
        wanted: &decision.wanted,
        kind: match &decision.authority {
            Some((path_len, permitted)) => Made::Authority { path_len: *path_len, permitted },
            None => Made::Leaf,
        },
        public,
        verbatim: None,
        key_id: decision.key_id.clone(),
        signature_bits: decision.signature_bits,
        use_pss: decision.use_pss,
    };
    let keep = Keep { no_store: decision.no_store, lease: decision.generate_lease };
    let response = issue::finish(cx, (&table, issuer), keep, order, key)?;
    Ok(decision.wanted.warnings.iter().fold(response, Response::warn))
}
