//! JWT: logins with a token that someone else signed, such as a CI system's or a cloud's, and logins through a browser at
//! an OpenID provider.
//!
//! Absent, and refused: the implicit flow, the provider's userinfo endpoint (claims are those of its ID token).
//!
//! A mount believes one signer: keys given in PEM, a published key set, or an OpenID provider found by discovery. A
//! role says which of its tokens may log in, by their claims.

mod claims;
mod config;
mod device;
mod direct;
mod login;
mod oidc;
#[cfg(test)]
mod oidc_tests;
mod role;
#[cfg(test)]
mod tests;

use super::named::{self, Routes};
use super::token_params;
use crate::request::Operation;
use crate::route::{Backend, Field, Kind, Route, Traits, field, joined};

/// See the module.
pub static BACKEND: Backend = Backend {
    kind: "jwt",
    about: "Logins with tokens that someone else signed.",
    routes: &[ROUTES, ROLES],
    renew: Some(named::terms::<role::Role>),
    ..Backend::EMPTY
};

const CONFIG: &[Field] = &[
    field(
        "jwt_validation_pubkeys",
        Kind::List,
        "Public keys or certificates in PEM that tokens must be signed by.",
    ),
    field("jwks_url", Kind::Text, "Where the keys are published as a JSON Web Key Set."),
    field(
        "jwks_ca_pem",
        Kind::Text,
        "Certificates in PEM that `jwks_url` is believed by; the machine's without it.",
    ),
    field("oidc_discovery_url", Kind::Text, "The issuer's URL, below which its discovery document is."),
    field(
        "oidc_discovery_ca_pem",
        Kind::Text,
        "Certificates in PEM that `oidc_discovery_url` is believed by; the machine's without it.",
    ),
    field(
        "bound_issuer",
        Kind::Text,
        "What tokens must name as their issuer; the discovered one by default.",
    ),
    field("jwt_supported_algs", Kind::List, "Algorithms that count; all of public keys by default."),
    field("default_role", Kind::Text, "The role of logins that name none."),
    field(
        "skip_jwks_validation",
        Kind::Bool,
        "Store the configuration even if the keys cannot be fetched now.",
    ),
    field("oidc_client_id", Kind::Text, "Who we are to the provider: logins through a browser need it."),
    field("oidc_client_secret", Kind::Text, "What proves that; none for a public client."),
    field(
        "oidc_response_mode",
        Kind::Text,
        "`query`, which is the default, or `form_post`: codes come in forms, not in addresses.",
    ),
    field("oidc_response_types", Kind::List, "Must be `code`, which is the default."),
    field("provider_config", Kind::Json, "Must be empty: nothing is asked of a provider in ways of its own."),
];

const ROLE: &[Field] = &joined::<34>(&[
    &[
        field("role_type", Kind::Text, "`jwt`, or `oidc` for logins through a browser."),
        field("user_claim", Kind::Text, "The claim that names the identity."),
        field("user_claim_json_pointer", Kind::Bool, "`user_claim` is a JSON pointer (RFC 6901)."),
        field("bound_audiences", Kind::List, "Whom tokens must be for; one of these is enough."),
        field("bound_subject", Kind::Text, "What tokens must name as their subject."),
        field("bound_claims", Kind::Json, "Claims and the values they must have: one of several is enough."),
        field("bound_claims_type", Kind::Text, "`string`, or `glob`, in which `*` stands for any text."),
        field("claim_mappings", Kind::Pairs, "Claims that are copied to metadata, and under which names."),
        field("groups_claim", Kind::Text, "The claim that lists the groups: aliases of external groups."),
        field(
            "expiration_leeway",
            Kind::Duration,
            "Added where a token has no end; 150 seconds when 0, none when -1.",
        ),
        field(
            "not_before_leeway",
            Kind::Duration,
            "Taken where a token has no beginning; 150 seconds when 0, none when -1.",
        ),
        field(
            "clock_skew_leeway",
            Kind::Duration,
            "By how much clocks may differ; 60 seconds when 0, none when -1.",
        ),
        field("max_age", Kind::Duration, "How long ago the sign-in at the provider may be; any time when 0."),
        field("allowed_redirect_uris", Kind::List, "Where the browser may be sent to with the outcome."),
        field(
            "callback_mode",
            Kind::Text,
            "`client`; `direct`: the browser comes back to the authority, and who began asks `oidc/poll`; or `device`: \
             somebody signs in with another machine, without redirections.",
        ),
        field(
            "oidc_disable_confirmation",
            Kind::Bool,
            "With `direct`: do not ask who signs in whether they began the login.",
        ),
        field("poll_interval", Kind::Int, "Seconds between two questions; the provider's when 0."),
        field("oidc_scopes", Kind::List, "What is asked of the provider beside `openid`."),
        field("verbose_oidc_logging", Kind::Bool, "Has no effect: no token is logged."),
    ],
    &token_params::OLDER_FIELDS,
    &token_params::FIELDS,
]);

const ROUTES: &[Route] = &[
    Route {
        pattern: "oidc/auth_url",
        operations: &[(Operation::Update, oidc::begin)],
        fields: &[
            field("role", Kind::Text, "The role to log in to; the configuration's default without it."),
            field(
                "redirect_uri",
                Kind::Text,
                "Where the browser is sent to with the outcome; not for devices.",
            ),
            field("client_nonce", Kind::Text, "Random; only who knows it can complete the login."),
        ],
        traits: Traits { open: true, ..Route::EMPTY.traits },
        help: "Begins a login through a browser: where to go to sign in.",
        ..Route::EMPTY
    },
    Route {
        pattern: "oidc/callback",
        operations: &[(Operation::Read, oidc::complete), (Operation::Update, oidc::complete)],
        fields: &[
            field("state", Kind::Text, "As the provider repeats it."),
            field("code", Kind::Text, "The provider's code."),
            field("client_nonce", Kind::Text, "As it was when the login began."),
            field("error", Kind::Text, "Why the provider refuses."),
            field("error_description", Kind::Text, "The same in words."),
            field("confirmation", Kind::Text, "With `callback_mode=direct`: who signs in began the login."),
        ],
        traits: Traits { open: true, ..Route::EMPTY.traits },
        help: "Completes a login through a browser.",
        ..Route::EMPTY
    },
    Route {
        pattern: "oidc/poll",
        operations: &[(Operation::Update, oidc::poll)],
        fields: &[
            field("state", Kind::Text, "As it was given when the login began."),
            field("client_nonce", Kind::Text, "As it was when the login began."),
        ],
        traits: Traits { open: true, ..Route::EMPTY.traits },
        help: "Completes a login whose browser does not come back here, once somebody has signed in.",
        ..Route::EMPTY
    },
    Route {
        pattern: "login",
        operations: &[(Operation::Update, login::login)],
        fields: &[
            field("role", Kind::Text, "The role to log in to; the configuration's default without it."),
            field("jwt", Kind::Text, "The signed token."),
        ],
        traits: Traits { open: true, ..Route::EMPTY.traits },
        help: "Logs in.",
        ..Route::EMPTY
    },
    Route {
        pattern: "config",
        operations: &[(Operation::Read, config::read), (Operation::Update, config::write)],
        fields: CONFIG,
        help: "Whose tokens count.",
        ..Route::EMPTY
    },
];

const ROLES: &[Route] = &Routes::<role::Role>::table(
    ("role", "Lists the roles."),
    ("role/{name}", "Which tokens may log in, and what the tokens issued for them may do."),
    ROLE,
);
