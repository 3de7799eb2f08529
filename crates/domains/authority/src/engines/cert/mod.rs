//! TLS certificates: clients log in with the certificate that they show to the listener.
//!
//! The listener asks every client for a certificate and verifies only that it holds the key. Whether the certificate
//! counts is decided here, by the entries below `certs/`: an entry trusts an authority, and so what it issues, or one
//! certificate that is no authority's. What else a certificate must say is in the entry: names, units, extensions.
//!
//! What is revoked does not log in: by lists ([`crl`]), and by OCSP ([`ocsp`]). Absent: certificates that a proxy passes on
//! in a header.

mod config;
mod crl;
mod entry;
mod login;
mod ocsp;
#[cfg(test)]
mod outside_tests;
#[cfg(test)]
mod tests;

use super::named::Routes;
use super::token_params;
use crate::request::Operation;
use crate::route::{Backend, Field, Kind, Route, Traits, field, joined};

/// See the module.
pub static BACKEND: Backend = Backend {
    kind: "cert",
    about: "Logins with the certificate that a client shows in TLS.",
    routes: &[ROUTES, ENTRIES],
    renew: Some(login::terms),
    ..Backend::EMPTY
};

const ENTRY: &[Field] = &joined::<33>(&[
    &[
        field(
            "certificate",
            Kind::Text,
            "The trusted certificates in PEM: authorities, or one that is none.",
        ),
        field("display_name", Kind::Text, "How the tokens are called; the entry's name by default."),
        field(
            "allowed_names",
            Kind::List,
            "Patterns; one must match the common name, a DNS or an email name.",
        ),
        field("allowed_common_names", Kind::List, "Patterns; one must match the common name."),
        field("allowed_dns_sans", Kind::List, "Patterns; one must match a DNS name."),
        field("allowed_email_sans", Kind::List, "Patterns; one must match an email name."),
        field("allowed_uri_sans", Kind::List, "Patterns; one must match a URI, such as a SPIFFE ID."),
        field("allowed_organizational_units", Kind::List, "Patterns; one must match an organizational unit."),
        field(
            "required_extensions",
            Kind::List,
            "`OID:PATTERN`; the texts of all these extensions must match.",
        ),
        field("allowed_metadata_extensions", Kind::List, "OIDs of extensions whose texts become metadata."),
        field(
            "alias_name_source",
            Kind::Text,
            "What a login is an identity by: `common_name`, or `spiffe_id` for the one URI of an X.509-SVID.",
        ),
        field(
            "ocsp_enabled",
            Kind::Bool,
            "Ask OCSP servers at logins and renewals whether the certificate is revoked.",
        ),
        field(
            "ocsp_ca_certificates",
            Kind::Text,
            "Certificates in PEM that OCSP answers may be signed by beside the issuer.",
        ),
        field(
            "ocsp_servers_override",
            Kind::List,
            "Whom to ask; those that the certificate names without it.",
        ),
        field(
            "ocsp_fail_open",
            Kind::Bool,
            "Let in who is not known to be revoked, even if nobody can tell.",
        ),
        field("ocsp_query_all_servers", Kind::Bool, "Ask all servers; all must say that it is good."),
        field("ocsp_max_retries", Kind::Int, "Times that a server is asked again that does not answer; 4."),
        field("ocsp_this_update_max_age", Kind::Duration, "How old an answer may be; as it says when 0."),
    ],
    &token_params::OLDER_FIELDS,
    &token_params::FIELDS,
]);

const ROUTES: &[Route] = &[
    Route {
        pattern: "login",
        operations: &[(Operation::Update, login::login)],
        fields: &[field("name", Kind::Text, "The entry to log in by; the first that matches without it.")],
        traits: Traits { open: true, ..Route::EMPTY.traits },
        help: "Logs in.",
        ..Route::EMPTY
    },
    Route {
        pattern: "config",
        operations: &[(Operation::Read, config::read), (Operation::Update, config::write)],
        fields: &[
            field(
                "disable_binding",
                Kind::Bool,
                "Renew tokens without the certificate they were issued for.",
            ),
            field(
                "enable_identity_alias_metadata",
                Kind::Bool,
                "Keep the tokens' metadata with the alias too.",
            ),
        ],
        help: "What holds for all entries.",
        ..Route::EMPTY
    },
    Route {
        pattern: "crls",
        operations: &[(Operation::List, crl::list)],
        help: "Lists the revocation lists.",
        ..Route::EMPTY
    },
    Route {
        pattern: "crls/{name}",
        operations: &[
            (Operation::Read, crl::read),
            (Operation::Update, crl::write),
            (Operation::Delete, crl::delete),
        ],
        fields: &[
            field("crl", Kind::Text, "The revocation list in PEM, or in DER as base64."),
            field("url", Kind::Text, "Where the revocation list is fetched, now and when it changes."),
        ],
        help: "A revocation list: what is on it does not log in.",
        ..Route::EMPTY
    },
];

const ENTRIES: &[Route] = &Routes::<entry::Entry>::table(
    ("certs", "Lists the entries."),
    ("certs/{name}", "Which certificates log in, and what their tokens may do."),
    ENTRY,
);
