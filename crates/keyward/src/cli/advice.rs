//! What to do about a refusal, in the words of this command line.

use keyward_authority_client::{ClientError, Rejection};

/// What the session knows that the error does not.
pub(crate) struct Known {
    /// The address was given, by option or environment.
    pub(crate) address_given: bool,
    /// The request had a token.
    pub(crate) has_token: bool,
}

/// What the authority says in a refusal, and what helps. The first that fits counts.
const ADVICE: &[(&str, &str)] = &[
    (
        "check-and-set parameter did not match",
        "Somebody wrote meanwhile: see the version with `keyward kv get`, and give it with --cas (0: not there yet).",
    ),
    (
        "check-and-set parameter required",
        "Give --cas with the version this write relies on; `keyward kv metadata get` shows the current one.",
    ),
    (
        "path is already in use",
        "Choose another place with --path; `keyward secrets list` and `keyward auth list` show what is taken.",
    ),
    ("not found in the catalog", "Choose one of the known types."),
    (
        "already initialized",
        "Unseal it with `keyward operator unseal` and the keys shown when it was initialised.",
    ),
    (
        "preflight capability check",
        "Nothing is mounted there, or the token may not see it: `keyward secrets list` shows what is mounted.",
    ),
    (
        "no handler for route",
        "See what is mounted with `keyward secrets list` and `keyward auth list`, and what a path takes with \
         `keyward path-help PATH`.",
    ),
    (
        "wrapping token is not valid",
        "It is mistyped, expired or used: it opens once. If nobody of yours opened it, take what it held as read by \
         others.",
    ),
    ("lease not found", LEASES),
    ("invalid lease", LEASES),
    ("file_path is required", "Give it: `keyward audit enable file file_path=/var/log/keyward-audit.log`."),
    (
        "invalid username or password",
        "Check both; after several failures the user may be locked for some minutes.",
    ),
    ("belongs to another one", "Give a key that this authority's own `keyward operator init` printed."),
    ("bad token", TOKEN),
    ("token not found", TOKEN),
    (
        "invalid accessor",
        "It is mistyped, or its token is over; `keyward list auth/token/accessors` shows which there are.",
    ),
];

const TOKEN: &str = "It is mistyped, expired or revoked.";
const LEASES: &str = "It is mistyped or over; `keyward list sys/leases/lookup/` shows which there are.";

/// One sentence or two, for the line below the error.
pub(crate) fn next(why: &ClientError, known: &Known) -> String {
    match why {
        ClientError::Unreachable { .. } | ClientError::NotUnderstood { .. } if !known.address_given => {
            "VAULT_ADDR is not set, so the usual address was tried: set it to the authority's, as `keyward dev` prints \
             it, or give --address."
                .to_owned()
        }
        ClientError::Denied(_) if !known.has_token => {
            "There is no token: log in with `keyward login`, or set VAULT_TOKEN.".to_owned()
        }
        ClientError::Denied(rejection) if rejection.path == "auth/token/lookup-self" => {
            format!("{TOKEN} Log in with another: `keyward login`.")
        }
        ClientError::Denied(rejection) => advised(rejection).unwrap_or_else(|| {
            format!(
                "The token is wrong or over (see `keyward token lookup`), or no policy of it allows this (see `keyward \
                 token capabilities {}`).",
                // Asking what is mounted is this command line's own doing.
                rejection.path.trim_start_matches("sys/internal/ui/mounts/")
            )
        }),
        ClientError::BadRequest(rejection) => advised(rejection).unwrap_or_else(|| {
            format!("`keyward path-help {}` tells what the path takes.", rejection.path)
        }),
        ClientError::NotFound(rejection) => advised(rejection).unwrap_or_else(|| sentence(why.remedy())),
        ClientError::Sealed(_) => {
            "Unseal it with `keyward operator unseal`; a new authority first wants `keyward operator init`. `keyward \
             status` tells which."
                .to_owned()
        }
        _ => sentence(why.remedy()),
    }
}

fn advised(rejection: &Rejection) -> Option<String> {
    let said = rejection.said();
    ADVICE.iter().find(|(words, _)| said.contains(words)).map(|(_, advice)| (*advice).to_owned())
}

fn sentence(remedy: &str) -> String {
    let mut letters = remedy.chars();
    let first = letters.next().map(|first| first.to_uppercase().to_string()).unwrap_or_default();
    format!("{first}{}.", letters.as_str())
}
