//! Sealed Secrets: what was sealed for a namespace of a cluster is opened here, for the workloads that it names and that
//! Kubernetes vouches for, and for nobody else.
//!
//! # Who is believed
//! The manifest's author, by a signature; the workload, by a login with its projected ServiceAccount token ([`prove`]); the
//! clock and the phase of this authority. Whoever writes objects here, such as the controller that watches them in a
//! cluster, is believed in nothing: it can withhold an object or repeat one, and widen none. A ZenLock is signed by nobody,
//! and is only as good as who may write it.
//!
//! # What is kept
//! The keys of namespaces, which never leave ([`keys`]); ciphertext, and what is known of it without opening ([`object`]);
//! the highest version of every object there ever was, so that an older one is refused; signed records of phases
//! ([`phase`]) and of who owns a secret since when ([`handover`]).

mod admit;
mod bundle;
mod census;
mod config;
mod handover;
mod inventory;
mod keys;
mod manifest;
mod namespace;
mod object;
mod open;
mod phase;
mod prove;
mod record;
mod runtime;
#[cfg(test)]
mod tests;
mod usage;

use crate::request::Operation::{Delete, List, Read, Update};
use crate::route::{Backend, Field, Kind, Route, Traits, field};

/// See the module.
pub static BACKEND: Backend = Backend {
    kind: "sealed",
    about: "Opens Secrets that are sealed in Git, for the workloads they are sealed for.",
    routes: &[SETTINGS, NAMESPACES, OBJECTS, TRUST, BUNDLES],
    ..Backend::EMPTY
};

const CONFIG: &[Field] = &[
    field("cluster", Kind::Text, "The name that sealed objects are bound to."),
    field("cluster_sets", Kind::List, "Other names this cluster goes by, such as that of a set of clusters."),
    field("authors", Kind::List, "SSH public keys of the type Ed25519 whose signatures are taken."),
    field(
        "root_document",
        Kind::Text,
        "The public document of the root of trust: its author is taken too. Only a root that this one signed replaces it.",
    ),
    field("auth_mounts", Kind::List, "Auth methods of the type kubernetes whose logins prove a workload."),
    field("require_pod", Kind::Bool, "Take only tokens that are bound to a pod; yes by default."),
    field(
        "require_account_uid",
        Kind::Bool,
        "Open only for ServiceAccounts whose UID `accounts` says; no by default.",
    ),
    field("refresh", Kind::Duration, "How often agents ask whether something changed; 30 seconds."),
];

const SETTINGS: &[Route] = &[
    Route {
        pattern: "config",
        operations: &[(Read, config::read), (Update, config::write)],
        exists: Some(config::exists),
        fields: CONFIG,
        help: "Which cluster this is, whose signatures are taken, and what proves a workload.",
        ..Route::EMPTY
    },
    Route {
        pattern: "accounts",
        operations: &[(List, prove::list_namespaces)],
        help: "Lists the namespaces with ServiceAccounts whose UID is known.",
        ..Route::EMPTY
    },
    Route {
        pattern: "accounts/{namespace}",
        operations: &[(List, prove::list)],
        help: "Lists the ServiceAccounts whose UID is known.",
        ..Route::EMPTY
    },
    Route {
        pattern: "accounts/{namespace}/{name}",
        operations: &[(Read, prove::read), (Update, prove::write), (Delete, prove::delete)],
        fields: &[field("uid", Kind::Text, "The UID.")],
        help: "Which of all ServiceAccounts that ever had the name is meant.",
        ..Route::EMPTY
    },
];

const NAMESPACES: &[Route] = &[
    Route {
        pattern: "namespaces",
        operations: &[(List, namespace::list)],
        help: "Lists the namespaces that have a key.",
        ..Route::EMPTY
    },
    Route {
        pattern: "namespaces/{namespace}",
        operations: &[(Read, namespace::read), (Update, namespace::create), (Delete, namespace::delete)],
        exists: Some(namespace::exists),
        fields: &[field("zenlock", Kind::Bool, "Make an X25519 identity too, for ZenLocks.")],
        help: "A namespace's key: whom to seal for, its versions, and how many objects need each.",
        ..Route::EMPTY
    },
    Route {
        pattern: "namespaces/{namespace}/rotate",
        operations: &[(Update, namespace::rotate)],
        help: "Makes a new version of the key; the old ones go on opening.",
        ..Route::EMPTY
    },
    Route {
        pattern: "namespaces/{namespace}/trim",
        operations: &[(Update, namespace::trim)],
        fields: &[field("min_version", Kind::Int, "The oldest version to keep.")],
        help: "Destroys old versions of the key that no registered object needs.",
        ..Route::EMPTY
    },
    Route {
        pattern: "recipients",
        operations: &[(Read, namespace::recipients)],
        help: "Whom to seal for in each namespace, as .keyward.yaml has it.",
        ..Route::EMPTY
    },
    Route {
        pattern: "zenlock/{namespace}",
        operations: &[
            (Read, namespace::read_legacy),
            (Update, namespace::import_legacy),
            (Delete, namespace::delete_legacy),
        ],
        fields: &[field("identity", Kind::Text, "An age identity. Never shown here.")],
        help: "What opens the ZenLocks of a namespace, or of all with `*`.",
        ..Route::EMPTY
    },
];

const OBJECTS: &[Route] = &[
    Route {
        pattern: "objects",
        operations: &[(List, object::list_namespaces)],
        help: "Lists the namespaces that objects were registered in.",
        ..Route::EMPTY
    },
    Route {
        pattern: "objects/{namespace}",
        operations: &[(List, object::list)],
        help: "Lists the objects of a namespace, also those that are gone.",
        ..Route::EMPTY
    },
    Route {
        pattern: "objects/{namespace}/{name}",
        operations: &[(Read, object::read), (Update, object::write), (Delete, object::delete)],
        exists: Some(object::exists),
        fields: &[field(
            "manifest",
            Kind::Json,
            "The SealedSecret or ZenLock: text in YAML or JSON, or an object.",
        )],
        help: "A sealed object: its version, digest and state, and never a value.",
        ..Route::EMPTY
    },
    Route {
        pattern: "open/{namespace}",
        operations: &[(Update, open::several)],
        fields: &[field("objects", Kind::Json, "Up to 32 of `{name, digest}`.")],
        help: "Opens several objects of a namespace for the workload that asks, all or none.",
        ..Route::EMPTY
    },
    Route {
        pattern: "open/{namespace}/{name}",
        operations: &[(Read, open::read)],
        fields: &[field(
            "digest",
            Kind::Text,
            "What is known already: when it is the same, no values are sent.",
        )],
        help: "Opens an object for the workload that asks, if it is sealed for it.",
        ..Route::EMPTY
    },
];

const TRUST: &[Route] = &[
    Route {
        pattern: "phase",
        operations: &[(Read, phase::read), (Update, phase::write)],
        fields: &[
            field("phase", Kind::Text, "The phase to go to: the next one, or from steady back to authority."),
            field("reason", Kind::Text, "Why, for the record."),
        ],
        help: "The phase of trust that the cluster is in, signed, and what is lacking for the next.",
        ..Route::EMPTY
    },
    Route {
        pattern: "phase/history",
        operations: &[(Read, phase::history)],
        help: "The signed records of all phases, the latest first.",
        ..Route::EMPTY
    },
    Route {
        pattern: "inventory",
        operations: &[(Read, inventory::read)],
        fields: &[
            field(
                "after",
                Kind::Text,
                "NAMESPACE/NAME of the last secret that is known: `next` of the answer before.",
            ),
            field("limit", Kind::Int, "Secrets to answer with; 10,000 at most."),
        ],
        help: "Who owns each secret, why, who consumes it, when it changed and by what.",
        ..Route::EMPTY
    },
    Route {
        pattern: "handover/{namespace}/{name}",
        operations: &[(Read, handover::read), (Update, handover::write)],
        fields: &[
            field("digest", Kind::Text, "Of the sealed object, as it was read."),
            field(
                "target",
                Kind::Text,
                "Where the authority keeps it: secret/data/NAME of a key-value mount.",
            ),
            field("reason", Kind::Text, "Why, for the receipt."),
            field("encoding", Kind::Text, "`text`, or `base64` for values that are not UTF-8."),
        ],
        help: "Makes the authority the owner of a secret, once; the sealed copy is refused from then on.",
        ..Route::EMPTY
    },
    Route {
        pattern: "rotated/{namespace}/{name}",
        operations: &[(Update, handover::rotated)],
        fields: &[
            field("value_digest", Kind::Text, "Of the new value, as handover/NAMESPACE/NAME shows it."),
            field("workflow", Kind::Text, "What changed it, for the receipt."),
        ],
        help: "Records that the value of a secret that was handed over was changed.",
        ..Route::EMPTY
    },
];

const BUNDLES: &[Route] = &[
    Route {
        pattern: "bundles",
        operations: &[(List, bundle::list), (Update, bundle::create)],
        fields: &[
            field("recipient", Kind::Text, "The age recipient, who alone can open it."),
            field("cluster", Kind::Text, "Where it may be redeemed; this cluster by default."),
            field("purpose", Kind::Text, "What for."),
            field("namespace", Kind::Text, "For which namespace; none by default."),
            field("ttl", Kind::Duration, "For how long; 30 minutes by default, 24 hours at most."),
            field("items", Kind::Pairs, "Values in base64 by their keys."),
        ],
        help: "Makes an enrollment bundle, and lists those that are remembered.",
        ..Route::EMPTY
    },
    Route {
        pattern: "bundles/redeem",
        operations: &[(Update, bundle::redeem)],
        fields: &[
            field("id", Kind::Text, "The bundle's id."),
            field("proof", Kind::Text, "What stands in the bundle, in base64."),
            field("cluster", Kind::Text, "Where it is redeemed."),
            field("purpose", Kind::Text, "What for."),
            field("namespace", Kind::Text, "For which namespace, if it is bound to one."),
        ],
        // Whoever enrolls has no token yet; the proof is 32 random bytes that only the recipient can read.
        traits: Traits { open: true, ..Route::EMPTY.traits },
        help: "Gives what opens a bundle, once.",
        ..Route::EMPTY
    },
    Route {
        pattern: "bundles/{id}",
        operations: &[(Read, bundle::read), (Delete, bundle::delete)],
        help: "Whether a bundle was redeemed, when and from where; deleting it makes it void.",
        ..Route::EMPTY
    },
];
