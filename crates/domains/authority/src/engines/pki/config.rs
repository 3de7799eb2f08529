//! `config/`: defaults, URLs, revocation lists.

use super::crl;
use super::table::{self, Cluster, Config, DEFAULT, Table};
use super::urls::{self, Urls, is_url};
use crate::context::Context;
use crate::refusal::Refusal;
use crate::request::Operation;
use crate::response::Response;
use crate::route::{Field, Kind, Route, field};
use serde_json::json;

const ISSUER: Field = field("default", Kind::Text, "The issuer to use where none is named, by id or name.");

pub(super) const ROUTES: &[Route] = &[
    Route {
        pattern: "config/issuers",
        operations: &[(Operation::Read, read_issuers), (Operation::Update, write_issuers)],
        fields: &[
            ISSUER,
            field("default_follows_latest_issuer", Kind::Bool, "Make each new issuer the default."),
        ],
        help: "Configures the default issuer.",
        ..Route::EMPTY
    },
    Route {
        pattern: "root/replace",
        operations: &[(Operation::Update, replace_root)],
        fields: &[ISSUER],
        help: "Makes another issuer the default: next unless one is named.",
        ..Route::EMPTY
    },
    Route {
        pattern: "config/keys",
        operations: &[(Operation::Read, read_keys), (Operation::Update, write_keys)],
        fields: &[field("default", Kind::Text, "The key to use where none is named, by id or name.")],
        help: "Configures the default key.",
        ..Route::EMPTY
    },
    Route {
        pattern: "config/urls",
        operations: &[(Operation::Read, read_urls), (Operation::Update, write_urls)],
        fields: &urls::FIELDS,
        help: "Configures where certificates say that their issuer, its lists and its OCSP servers are.",
        ..Route::EMPTY
    },
    Route {
        pattern: "config/cluster",
        operations: &[(Operation::Read, read_cluster), (Operation::Update, write_cluster)],
        fields: &[
            field("path", Kind::Text, "The URL of this mount."),
            field("aia_path", Kind::Text, "The URL of this mount for who checks certificates."),
        ],
        help: "Configures the values of templates in URLs.",
        ..Route::EMPTY
    },
    Route {
        pattern: "config/crl",
        operations: &[(Operation::Read, read_crl), (Operation::Update, write_crl)],
        fields: crl::CONFIG_FIELDS,
        help: "Configures revocation lists and OCSP.",
        ..Route::EMPTY
    },
];

fn show_issuers(config: &Config) -> Result<Response, Refusal> {
    Response::data(&json!({
        "default": config.default_issuer, "default_follows_latest_issuer": config.default_follows_latest,
    }))
}

fn read_issuers(cx: &mut Context<'_, '_>) -> Result<Response, Refusal> {
    show_issuers(&table::table(cx)?.config)
}

fn write_issuers(cx: &mut Context<'_, '_>) -> Result<Response, Refusal> {
    let table = table::table(cx)?;
    let reference = cx.fields().string("default")?;
    let follows = cx.fields().bool("default_follows_latest_issuer")?;
    let mut config = table.config.clone();
    config.default_follows_latest = follows.unwrap_or(config.default_follows_latest);
    match reference.filter(|name| !name.is_empty()) {
        Some(reference) => make_default(cx, &table, config, &reference),
        None if follows.is_some() => {
            table::put_config(cx, &config)?;
            show_issuers(&config)
        }
        None => {
            Err(Refusal::invalid("Invalid issuer specification; must be non-empty and can't be 'default'."))
        }
    }
}

fn replace_root(cx: &mut Context<'_, '_>) -> Result<Response, Refusal> {
    let table = table::table(cx)?;
    let reference = cx.fields().string("default")?.filter(|name| !name.is_empty());
    make_default(cx, &table, table.config.clone(), reference.as_deref().unwrap_or("next"))
}

fn make_default(
    cx: &mut Context<'_, '_>,
    table: &Table,
    mut config: Config,
    reference: &str,
) -> Result<Response, Refusal> {
    if reference == DEFAULT {
        return Err(Refusal::invalid(
            "Invalid issuer specification; must be non-empty and can't be 'default'.",
        ));
    }
    let issuer = table.issuer(reference)?;
    config.default_issuer.clone_from(&issuer.entry.id);
    table::put_config(cx, &config)?;
    let response = show_issuers(&config)?;
    Ok(match &issuer.key {
        Some(_) => response,
        None => response.warn(
            "This selected default issuer has no key associated with it. Some operations like issuing certificates and \
             signing CRLs will be unavailable with the requested default issuer until a key is imported or the default \
             issuer is changed.",
        ),
    })
}

fn read_keys(cx: &mut Context<'_, '_>) -> Result<Response, Refusal> {
    Response::data(&json!({ "default": table::table(cx)?.config.default_key }))
}

fn write_keys(cx: &mut Context<'_, '_>) -> Result<Response, Refusal> {
    let table = table::table(cx)?;
    let reference = cx.fields().string("default")?.unwrap_or_default();
    if reference.is_empty() || reference == DEFAULT {
        return Err(Refusal::invalid("Invalid key specification; must be non-empty and can't be 'default'."));
    }
    let config = Config { default_key: table.key(&reference)?.id.clone(), ..table.config.clone() };
    table::put_config(cx, &config)?;
    Response::data(&json!({ "default": config.default_key }))
}

fn read_urls(cx: &mut Context<'_, '_>) -> Result<Response, Refusal> {
    Response::data(&table::table(cx)?.config.urls)
}

fn write_urls(cx: &mut Context<'_, '_>) -> Result<Response, Refusal> {
    let table = table::table(cx)?;
    let urls: Urls = table.config.urls.changed(cx.fields(), "enable_templating")?;
    let config = Config { urls, ..table.config.clone() };
    table::put_config(cx, &config)?;
    Response::data(&config.urls)
}

fn read_cluster(cx: &mut Context<'_, '_>) -> Result<Response, Refusal> {
    Response::data(&table::table(cx)?.config.cluster)
}

fn write_cluster(cx: &mut Context<'_, '_>) -> Result<Response, Refusal> {
    let table = table::table(cx)?;
    let url = |name: &str, known: &str| match cx.fields().string(name)? {
        Some(text) if !text.is_empty() && !is_url(&text) => {
            Err(Refusal::invalid(format!("invalid, non-URL {name} given to cluster: {text}")))
        }
        text => Ok(text.unwrap_or_else(|| known.to_owned())),
    };
    let known = &table.config.cluster;
    let cluster = Cluster { path: url("path", &known.path)?, aia_path: url("aia_path", &known.aia_path)? };
    let config = Config { cluster, ..table.config.clone() };
    table::put_config(cx, &config)?;
    Response::data(&config.cluster)
}

fn read_crl(cx: &mut Context<'_, '_>) -> Result<Response, Refusal> {
    Response::data(&table::table(cx)?.config.crl)
}

fn write_crl(cx: &mut Context<'_, '_>) -> Result<Response, Refusal> {
    let table = table::table(cx)?;
    let crl = table.config.crl.changed(cx.fields())?;
    if crl.asks_for_new_lists(&table.config.crl) {
        crl::renew_all(cx, &table, &crl)?;
    }
    let config = Config { crl, ..table.config.clone() };
    table::put_config(cx, &config)?;
    Response::data(&config.crl)
}
