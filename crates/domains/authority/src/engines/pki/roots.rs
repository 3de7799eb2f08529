//! `root/`: authorities that sign themselves.

use super::authority::{Kind as Made, Order};
use super::bundle::{self, Format};
use super::params::{self, FORMAT, ISSUER_NAME, KEY_BITS, KEY_NAME, KEY_REF, KEY_TYPE, PRIVATE_KEY_FORMAT};
use super::role::Role;
use super::table::{self, Config, IssuerEntry, Table};
use super::wanted::{self, FIELDS as SHARED, Wanted};
use super::{HEAVY, SUDO, fetch};
use crate::context::Context;
use crate::fields::Fields;
use crate::refusal::Refusal;
use crate::request::Operation;
use crate::response::Response;
use crate::route::{Field, Handler, Kind, Route, field, joined};
use keyward_core::random;
use keyward_crypto::keys::{Key, KeyType};
use keyward_crypto::x509::{Certificate, KeyUsages, PublicKey, Scheme, pem};
use serde_json::{Map, Value, json};

/// The parameters of certificates and requests of authorities.
pub(super) const AUTHORITY: [Field; 12] = [
    field("ou", Kind::List, "Organizational units of the subject."),
    field("organization", Kind::List, "Organizations of the subject."),
    field("country", Kind::List, "Countries of the subject."),
    field("locality", Kind::List, "Localities of the subject."),
    field("province", Kind::List, "Provinces of the subject."),
    field("street_address", Kind::List, "Street addresses of the subject."),
    field("postal_code", Kind::List, "Postal codes of the subject."),
    field("signature_bits", Kind::Int, "256, 384 or 512 for the hash of RSA signatures; 0 for the usual."),
    field("use_pss", Kind::Bool, "Sign with PSS where the signing key is RSA."),
    field("not_before_duration", Kind::Duration, "How long before now the certificate begins."),
    field("key_usage", Kind::List, "Key usages beside those of an authority."),
    field("ext_key_usage", Kind::List, "Extended key usages by Go's names."),
];

/// What an authority may, as who signs it decides.
pub(super) const BOUNDS: [Field; 2] = [
    field("max_path_length", Kind::Int, "How many authorities may stand below; any number when negative."),
    field("permitted_dns_domains", Kind::List, "The domains the authority may certify."),
];

/// What makes an authority with a key, whoever signs it.
pub(super) const KEYED: [Field; 27] =
    joined(&[&SHARED, &AUTHORITY, &[FORMAT, PRIVATE_KEY_FORMAT, KEY_TYPE, KEY_BITS, KEY_NAME, KEY_REF]]);

const GENERATE: &[Field] = &joined::<30>(&[&KEYED, &BOUNDS, &[ISSUER_NAME]]);

const fn generates(pattern: &'static str, operations: &'static [(Operation, Handler)]) -> Route {
    Route {
        pattern,
        operations,
        exists: None,
        fields: GENERATE,
        traits: HEAVY,
        help: "Makes an authority that signs itself; exported is internal, exported or existing.",
    }
}

pub(super) const ROUTES: &[Route] = &[
    generates("root/generate/{exported}", &[(Operation::Update, generate)]),
    generates("issuers/generate/root/{exported}", &[(Operation::Update, generate)]),
    generates("root/rotate/{exported}", &[(Operation::Update, rotate)]),
    Route {
        pattern: "root",
        operations: &[(Operation::Delete, delete)],
        traits: SUDO,
        help: "Deletes all issuers and keys.",
        ..Route::EMPTY
    },
];

/// What becomes of a key that is made for an authority.
pub(super) enum Source {
    /// A new key; shown in the answer when `shown`.
    New { key: Key, kind: KeyType, shown: bool, name: String },
    /// A key that is here, by its id.
    Known(String),
}

impl Source {
    /// The key that the path's `exported` and the parameters ask for.
    pub(super) fn of(cx: &Context<'_, '_>, table: &Table) -> Result<Source, Refusal> {
        let shown = match cx.param("exported") {
            "internal" => false,
            "exported" => true,
            "existing" => {
                let reference = cx.fields().string("key_ref")?.filter(|name| !name.is_empty());
                let key = table.key(reference.as_deref().unwrap_or(table::DEFAULT))?;
                return Ok(Source::Known(key.id.clone()));
            }
            "kms" => {
                return Err(Refusal::invalid("managed keys are not available: use internal or existing"));
            }
            _ => {
                return Err(Refusal::invalid(
                    "the \"exported\" path parameter must be \"internal\", \"existing\" or \"exported\"",
                ));
            }
        };
        let name = params::key_name(cx.fields(), table)?;
        table::make_room(table, 1)?;
        let kind = params::key_type(cx.fields())?;
        Ok(Source::New { key: params::generate(cx, kind)?, kind, shown, name })
    }

    pub(super) fn key<'k>(&'k self, table: &'k Table) -> Result<&'k Key, Refusal> {
        match self {
            Source::New { key, .. } => Ok(key),
            Source::Known(id) => table.key(id).map(|key| &key.key),
        }
    }

    /// Stores a new key, and shows it if it was asked for.
    pub(super) fn keep(
        &self,
        cx: &mut Context<'_, '_>,
        table: &Table,
        config: &mut Config,
        format: Format,
        shown: &mut Map<String, Value>,
    ) -> Result<(), Refusal> {
        let (id, name) = match self {
            Source::Known(id) => (id.clone(), table.key(id)?.name.clone()),
            Source::New { key, kind, name, .. } => {
                let id = random::uuid(cx.random());
                table::put_key(cx, &id, name, *kind, key)?;
                if config.default_key.is_empty() {
                    config.default_key.clone_from(&id);
                }
                (id, name.clone())
            }
        };
        shown.insert("key_id".to_owned(), json!(id));
        shown.insert("key_name".to_owned(), json!(name));
        if let Source::New { key, shown: true, .. } = self
            && let Some(public) = PublicKey::of(key)
        {
            let (private, kind) = bundle::private_key(key, public.kind(), format, cx.fields())?;
            shown.insert("private_key".to_owned(), json!(private));
            shown.insert("private_key_type".to_owned(), json!(kind));
        }
        Ok(())
    }
}

/// The role of who makes an authority, with the usages the request adds.
pub(super) fn authority_role(fields: &Fields) -> Result<Role, Refusal> {
    let mut role = Role::unlimited(fields)?;
    role.signature_bits = params::checked_signature_bits(role.signature_bits)?;
    role.key_usage = fields.strings("key_usage")?.unwrap_or_default();
    role.ext_key_usage = fields.strings("ext_key_usage")?.unwrap_or_default();
    role.ext_key_usage_oids = fields.strings("ext_key_usage_oids")?.unwrap_or_default();
    Ok(role)
}

/// `max_path_length`: none when it is not given or negative.
pub(super) fn path_len(fields: &Fields) -> Result<Option<u8>, Refusal> {
    match fields.int("max_path_length")? {
        None | Some(..0) => Ok(None),
        Some(most) => u8::try_from(most)
            .map(Some)
            .map_err(|_| Refusal::invalid("max_path_length must be at most 255, or negative for any")),
    }
}

fn generate(cx: &mut Context<'_, '_>) -> Result<Response, Refusal> {
    let table = table::table(cx)?;
    let name = params::issuer_name(cx.fields(), &table)?;
    root(cx, &table, name)
}

fn rotate(cx: &mut Context<'_, '_>) -> Result<Response, Refusal> {
    let table = table::table(cx)?;
    let mut name = params::issuer_name(cx.fields(), &table)?;
    if name.is_empty() && table.find("next").is_none() {
        "next".clone_into(&mut name);
    }
    root(cx, &table, name)
}

fn root(cx: &mut Context<'_, '_>, table: &Table, name: String) -> Result<Response, Refusal> {
    let format = Format::of(cx.fields())?;
    table::make_room(table, 2)?;
    let role = authority_role(cx.fields())?;
    let wanted = wanted::gather(cx, cx.fields(), &role, None, None)?;
    let permitted = cx.fields().strings("permitted_dns_domains")?.unwrap_or_default();
    let path_len = path_len(cx.fields())?;
    let source = Source::of(cx, table)?;
    let key = source.key(table)?;
    let certificate =
        self_signed(cx, table, key, &role, &wanted, Made::Authority { path_len, permitted: &permitted })?;
    let mut shown = Map::new();
    let mut config = table.config.clone();
    source.keep(cx, table, &mut config, format, &mut shown)?;
    let mut entry = table::new_issuer(cx, &name, &certificate);
    if let Some(scheme) = Scheme::of(source.key(table)?, role.signature_bits, role.use_pss) {
        scheme.name().clone_into(&mut entry.revocation_scheme);
    }
    let issuer = adopt(cx, &mut config, entry)?;
    table::put_config(cx, &config)?;
    fetch::store(cx, &certificate)?;
    let written = format.write(pem::CERTIFICATE, certificate.der());
    let whole = match (format, shown.get("private_key").and_then(Value::as_str)) {
        (Format::PemBundle, Some(private)) => format!("{private}\n{written}"),
        _ => written.clone(),
    };
    for (field, value) in [
        ("certificate", json!(whole)),
        ("issuing_ca", json!(written)),
        ("expiration", json!(certificate.not_after())),
        ("serial_number", json!(super::colons(certificate.serial()))),
        ("issuer_id", json!(issuer)),
        ("issuer_name", json!(name)),
    ] {
        shown.insert(field.to_owned(), value);
    }
    let response = wanted.warnings.iter().fold(Response::data(&shown)?, Response::warn);
    Ok(advised(response, table, &certificate))
}

fn self_signed(
    cx: &Context<'_, '_>,
    table: &Table,
    key: &Key,
    role: &Role,
    wanted: &Wanted,
    kind: Made<'_>,
) -> Result<Certificate, Refusal> {
    let public =
        PublicKey::of(key).ok_or_else(|| Refusal::Internal("a key without a public part".to_owned()))?;
    let order = Order {
        wanted,
        kind,
        public: &public,
        verbatim: None,
        key_id: None,
        signature_bits: role.signature_bits,
        use_pss: role.use_pss,
    };
    order.self_sign(cx, table, key)
}

/// Stores a new issuer, the default one if there is none yet or the newest is to be. Answers with its id. The
/// configuration is left for the caller to write.
pub(super) fn adopt(
    cx: &mut Context<'_, '_>,
    config: &mut Config,
    entry: IssuerEntry,
) -> Result<String, Refusal> {
    if config.default_issuer.is_empty() || config.default_follows_latest {
        config.default_issuer.clone_from(&entry.id);
    }
    table::put_issuer(cx, &entry)?;
    Ok(entry.id)
}

/// What an operator should know of a new authority's certificate.
pub(super) fn advised(response: Response, table: &Table, certificate: &Certificate) -> Response {
    let mut response = response;
    if certificate.subject().is_empty() {
        response = response.warn(
            "This issuer certificate was generated without a Subject; this makes it likely that issuing leaf certs \
             with this certificate will cause TLS validation libraries to reject this certificate.",
        );
    }
    if table.config.urls.is_empty() {
        response = response.warn(
            "This mount hasn't configured any authority information access (AIA) fields; this may make it harder for \
             systems to find missing certificates in the chain or to validate revocation status of certificates. \
             Consider updating /config/urls or the newly generated issuer with this information.",
        );
    }
    if certificate.path_len() == Some(0) {
        response = response.warn(
            "Max path length of the generated certificate is zero. This certificate cannot be used to issue \
             intermediate CA certificates.",
        );
    }
    if certificate.key_usages().is_some_and(|usages| usages.and(KeyUsages::AUTHORITY) != usages) {
        response = response.warn("The certificate's key usages lack CertSign or CRLSign.");
    }
    response
}

fn delete(cx: &mut Context<'_, '_>) -> Result<Response, Refusal> {
    let table = table::table(cx)?;
    for issuer in &table.issuers {
        table::delete_issuer(cx, &issuer.entry.id)?;
    }
    for key in &table.keys {
        table::delete_key(cx, &key.id)?;
    }
    let none = Config { default_issuer: String::new(), default_key: String::new(), ..table.config.clone() };
    table::put_config(cx, &none)?;
    Ok(Response::empty().warn(
        "DELETE /root deletes all keys and issuers; prefer the new DELETE /key/:key_ref and DELETE \
         /issuer/:issuer_ref for finer granularity, unless removal of all keys and issuers is desired.",
    ))
}
