//! Signing authorities: intermediates by their requests, and roots of elsewhere.

use super::authority::{self, Kind as Made, Order};
use super::bundle::{Bundle, Format};
use super::issue::{self, CSR, REMOVE_ROOTS};
use super::params::FORMAT;
use super::roots::{self, AUTHORITY, BOUNDS};
use super::table::{self, DEFAULT, Issuer, NotAfter, Table};
use super::wanted::{self, FIELDS as SHARED};
use super::{HEAVY, SUDO, fetch, refuse};
use crate::context::Context;
use crate::refusal::Refusal;
use crate::request::Operation;
use crate::response::Response;
use crate::route::{Field, Handler, Kind, Route, Traits, field, joined};
use keyward_crypto::x509::{Certificate, Extension, Scheme, Template, oid, pem};
use serde_json::json;

const INTERMEDIATE: &[Field] = &joined::<29>(&[
    &SHARED,
    &AUTHORITY,
    &BOUNDS,
    &[
        FORMAT,
        CSR,
        REMOVE_ROOTS,
        field("issuer_ref", Kind::Text, "The issuer that signs; default unless given."),
        field("use_csr_values", Kind::Bool, "Take subject and extensions from the request as they are."),
        field("skid", Kind::Text, "The subject key identifier in hexadecimal, for cross-signing."),
    ],
]);

const SELF_ISSUED: &[Field] = &[
    field("certificate", Kind::Text, "A certificate that signed itself, in PEM."),
    field("issuer_ref", Kind::Text, "The issuer that signs; default unless given."),
    field(
        "require_matching_certificate_algorithms",
        Kind::Bool,
        "Refuse when the keys of both are not of one type.",
    ),
];

const fn signs(
    pattern: &'static str,
    operations: &'static [(Operation, Handler)],
    fields: &'static [Field],
    traits: Traits,
    help: &'static str,
) -> Route {
    Route { pattern, operations, exists: None, fields, traits, help }
}

const HELP: &str = "Makes an authority of a certificate request.";
const SELF_HELP: &str = "Signs a certificate that signed itself, for rolling over from one root to another.";

pub(super) const ROUTES: &[Route] = &[
    signs("root/sign-intermediate", &[(Operation::Update, intermediate)], INTERMEDIATE, HEAVY, HELP),
    signs(
        "issuer/{issuer_ref}/sign-intermediate",
        &[(Operation::Update, intermediate)],
        INTERMEDIATE,
        HEAVY,
        HELP,
    ),
    signs("root/sign-self-issued", &[(Operation::Update, self_issued)], SELF_ISSUED, SUDO, SELF_HELP),
    signs(
        "issuer/{issuer_ref}/sign-self-issued",
        &[(Operation::Update, self_issued)],
        SELF_ISSUED,
        SUDO,
        SELF_HELP,
    ),
];

/// The issuer the path or the field `issuer_ref` names. Its authorities may outlive it.
fn signer(cx: &Context<'_, '_>, table: &Table) -> Result<Issuer, Refusal> {
    let named = cx.fields().string("issuer_ref")?.filter(|name| !name.is_empty());
    let reference = match cx.param("issuer_ref") {
        "" => named.unwrap_or_else(|| DEFAULT.to_owned()),
        reference => reference.to_owned(),
    };
    Ok(authority::issuing(table, &reference)?.with_not_after(NotAfter::Permit))
}

fn intermediate(cx: &mut Context<'_, '_>) -> Result<Response, Refusal> {
    let table = table::table(cx)?;
    let signer = signer(cx, &table)?;
    let format = Format::of(cx.fields())?;
    let csr = issue::csr(cx)?;
    let fields = cx.fields();
    let mut role = roots::authority_role(fields)?;
    role.use_csr_common_name = fields.string("common_name")?.is_none_or(|name| name.is_empty());
    let wanted = wanted::gather(cx, cx.fields(), &role, Some(&csr), Some(&signer))?;
    let permitted = fields.strings("permitted_dns_domains")?.unwrap_or_default();
    let path_len = authority::path_len(roots::path_len(fields)?, &signer.certificate)?;
    let verbatim = fields.bool("use_csr_values")?.unwrap_or(false);
    let order = Order {
        wanted: &wanted,
        kind: Made::Authority { path_len, permitted: &permitted },
        public: &csr.public,
        verbatim: verbatim.then_some(&csr),
        key_id: key_id(cx)?,
        signature_bits: role.signature_bits,
        use_pss: role.use_pss,
    };
    let certificate = order.issue(cx, &table, &signer)?;
    let chain: Vec<Certificate> = std::iter::once(&certificate).chain(&signer.chain).cloned().collect();
    let bundle = Bundle {
        certificate: &certificate,
        issuer: &signer.certificate,
        chain: &chain,
        written: None,
        key: None,
    };
    let response = Response::data(&bundle.describe(format, cx.fields())?)?;
    fetch::store(cx, &certificate)?;
    let response = wanted.warnings.iter().fold(response, Response::warn);
    let response = roots::advised(response, &table, &certificate);
    Ok(match certificate.not_after() > signer.certificate.not_after() {
        true => response.warn(
            "The expiration time for the signed certificate is after the CA's expiration time. If the new certificate \
             is not treated as a root, validation paths with the certificate past the issuing CA's expiration time \
             will fail.",
        ),
        false => response,
    })
}

fn key_id(cx: &Context<'_, '_>) -> Result<Option<Vec<u8>>, Refusal> {
    let Some(text) = cx.fields().string("skid")?.filter(|text| !text.is_empty()) else { return Ok(None) };
    let digits: String = text.chars().filter(|c| !matches!(c, ':' | '-' | ' ')).collect();
    match hex::decode(digits) {
        Ok(id) if (1..=64).contains(&id.len()) => Ok(Some(id)),
        _ => Err(Refusal::invalid("cannot parse requested SKID value as hex: write 1 to 64 bytes")),
    }
}

fn self_issued(cx: &mut Context<'_, '_>) -> Result<Response, Refusal> {
    let table = table::table(cx)?;
    let signer = signer(cx, &table)?;
    let given = issue::certificate(cx, "certificate")?;
    if !given.is_authority() {
        return Err(Refusal::invalid("given certificate is not a CA certificate"));
    }
    if !given.self_signed() {
        return Err(Refusal::invalid(
            "given certificate is not self-issued, or its signature is not its own",
        ));
    }
    let matching = cx.fields().bool("require_matching_certificate_algorithms")?.unwrap_or(false);
    let kinds = (given.public().kind().name(), signer.certificate.public().kind().name());
    if matching && kinds.0 != kinds.1 {
        return Err(Refusal::invalid(format!(
            "the keys are of different types: the certificate's is {}, the issuer's is {}",
            kinds.0, kinds.1
        )));
    }
    let replaced =
        [oid::AUTHORITY_KEY_ID, oid::AUTHORITY_INFO_ACCESS, oid::CRL_DISTRIBUTION_POINTS, oid::FRESHEST_CRL];
    let kept = given.extensions().iter().filter(|extension| !replaced.iter().any(|oid| extension.is(oid)));
    let mut extensions: Vec<Extension> = kept.cloned().collect();
    extensions.push(signer.key_id_below.clone());
    extensions.extend(table.urls(&signer).extensions(&table.config.cluster, Some(&signer.entry.id))?);
    let key = &signer.key()?.key;
    let scheme = Scheme::of(key, 0, false)
        .ok_or_else(|| Refusal::invalid("the issuer's key cannot sign certificates"))?;
    // The serial number is a new one: two certificates of one issuer may not share theirs (RFC 5280, 4.1.2.2).
    let serial = super::new_serial(cx);
    let template = Template {
        serial: &serial,
        issuer: signer.certificate.subject(),
        subject: given.subject(),
        not_before: given.not_before(),
        not_after: given.not_after(),
        spki: given.public().spki(),
        extensions,
    };
    let der = template.sign(key, scheme).map_err(refuse)?;
    Response::data(&json!({ "certificate": pem::encode(pem::CERTIFICATE, &der), "issuing_ca": signer.pem }))
}
