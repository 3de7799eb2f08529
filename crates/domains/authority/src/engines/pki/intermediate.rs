//! `intermediate/`: authorities that others sign.

use super::bundle::Format;
use super::params;
use super::roots::{self, KEYED, Source};
use super::table;
use super::wanted;
use super::{HEAVY, refuse};
use crate::context::Context;
use crate::refusal::Refusal;
use crate::request::Operation;
use crate::response::Response;
use crate::route::{Field, Handler, Kind, Route, field, joined};
use keyward_crypto::x509::{Extension, KeyUsages, Scheme, pem, sign_request};
use serde_json::{Map, json};

const GENERATE: &[Field] = &joined::<28>(&[
    &KEYED,
    &[field("add_basic_constraints", Kind::Bool, "Ask in the request to be an authority.")],
]);

const fn generates(pattern: &'static str, operations: &'static [(Operation, Handler)]) -> Route {
    Route {
        pattern,
        operations,
        exists: None,
        fields: GENERATE,
        traits: HEAVY,
        help: "Makes a key and a certificate request for an authority that others sign.",
    }
}

pub(super) const ROUTES: &[Route] = &[
    generates("intermediate/generate/{exported}", &[(Operation::Update, generate)]),
    generates("issuers/generate/intermediate/{exported}", &[(Operation::Update, generate)]),
    generates("intermediate/cross-sign", &[(Operation::Update, cross_sign)]),
];

fn cross_sign(cx: &mut Context<'_, '_>) -> Result<Response, Refusal> {
    let table = table::table(cx)?;
    let reference = cx.fields().string("key_ref")?.filter(|name| !name.is_empty());
    let key = table.key(reference.as_deref().unwrap_or(table::DEFAULT))?;
    let source = Source::Known(key.id.clone());
    request(cx, &table, &source)
}

fn generate(cx: &mut Context<'_, '_>) -> Result<Response, Refusal> {
    let table = table::table(cx)?;
    let source = Source::of(cx, &table)?;
    request(cx, &table, &source)
}

fn request(cx: &mut Context<'_, '_>, table: &table::Table, source: &Source) -> Result<Response, Refusal> {
    let format = Format::of(cx.fields())?;
    let role = roots::authority_role(cx.fields())?;
    let wanted = wanted::gather(cx, cx.fields(), &role, None, None)?;
    let mut extensions = Vec::new();
    if cx.fields().bool("add_basic_constraints")?.unwrap_or(false) {
        extensions.push(Extension::basic_constraints(true, None).map_err(refuse)?);
    }
    let usages = wanted.uses.key_usages();
    if usages != KeyUsages::default() {
        extensions.push(Extension::key_usage(usages).map_err(refuse)?);
    }
    if !wanted.sans.is_empty() {
        let critical = wanted.subject.is_empty();
        extensions.push(Extension::alternative_names(&wanted.sans, critical).map_err(refuse)?);
    }
    let key = source.key(table)?;
    let scheme = Scheme::of(key, params::number(cx.fields(), "signature_bits")?.unwrap_or(0), role.use_pss)
        .ok_or_else(|| Refusal::invalid("the key cannot sign certificate requests"))?;
    let der = sign_request(&wanted.subject, &extensions, key, scheme).map_err(refuse)?;
    let mut shown = Map::new();
    let mut config = table.config.clone();
    source.keep(cx, table, &mut config, format, &mut shown)?;
    if matches!(source, Source::New { .. }) {
        table::put_config(cx, &config)?;
    }
    let written = format.write(pem::REQUEST, &der);
    let whole = match (format, shown.get("private_key").and_then(serde_json::Value::as_str)) {
        (Format::PemBundle, Some(private)) => format!("{private}\n{written}"),
        _ => written,
    };
    shown.insert("csr".to_owned(), json!(whole));
    Response::data(&shown)
}
