//! The key-value engine, version 2: versions, check-and-set, soft deletion, metadata.
//!
//! A secret is one metadata entry and one entry a version, so a listing or a metadata read decrypts no value.

mod config;
mod data;
mod meta;
mod metadata;
pub(crate) mod upgrade;
mod versions;

use crate::request::Operation::{Delete, List, Patch, Read, Update};
use crate::route::{Backend, Field, Kind, Route, field};

/// See the module.
pub static BACKEND: Backend = Backend {
    kind: "kv",
    about: "Stores arbitrary secrets, encrypted, with versions that can be deleted, restored and destroyed.",
    routes: &[ROUTES],
    ..Backend::EMPTY
};

const DATA: &[Field] = &[
    field("data", Kind::Json, "The secret: an object."),
    field("options", Kind::Json, "`cas`: the version this write relies on; 0 for none yet."),
    field("version", Kind::Int, "The version to read; the newest when absent or 0."),
];

const VERSIONS: &[Field] = &[field("versions", Kind::List, "The numbers of the versions.")];

const METADATA: &[Field] = &[
    field("max_versions", Kind::Int, "Versions to keep; the mount's when 0, and 10 when that is 0 too."),
    field("cas_required", Kind::Bool, "Refuse writes without `cas`."),
    field(
        "delete_version_after",
        Kind::Duration,
        "Versions are deleted so long after they were made; negative: never.",
    ),
    field("custom_metadata", Kind::Pairs, "Words about the secret; they are not secret themselves."),
];

const ROUTES: &[Route] = &[
    Route {
        pattern: "config",
        operations: &[(Read, config::read), (Update, config::write)],
        fields: &[METADATA[0], METADATA[1], METADATA[2]],
        help: "Defaults of the secrets of this mount.",
        ..Route::EMPTY
    },
    Route {
        pattern: "data/{path*}",
        operations: &[
            (Read, data::read),
            (Update, data::write),
            (Patch, data::patch),
            (Delete, data::delete),
        ],
        exists: Some(meta::exists),
        fields: DATA,
        help: "Reads, writes, patches and soft-deletes a secret.",
        ..Route::EMPTY
    },
    Route {
        pattern: "subkeys/{path*}",
        operations: &[(Read, data::subkeys)],
        fields: &[
            field("version", Kind::Int, "The version to read; the newest when absent or 0."),
            field("depth", Kind::Int, "How deep to look; everything when absent or 0."),
        ],
        help: "Shows a secret's structure without its values.",
        ..Route::EMPTY
    },
    Route {
        pattern: "delete/{path*}",
        operations: &[(Update, versions::delete)],
        fields: VERSIONS,
        help: "Soft-deletes versions.",
        ..Route::EMPTY
    },
    Route {
        pattern: "undelete/{path*}",
        operations: &[(Update, versions::undelete)],
        fields: VERSIONS,
        help: "Restores soft-deleted versions.",
        ..Route::EMPTY
    },
    Route {
        pattern: "destroy/{path*}",
        operations: &[(Update, versions::destroy)],
        fields: VERSIONS,
        help: "Removes versions for ever.",
        ..Route::EMPTY
    },
    Route {
        pattern: "metadata/{path*}",
        operations: &[
            (Read, metadata::read),
            (Update, metadata::write),
            (Patch, metadata::patch),
            (Delete, metadata::delete),
            (List, metadata::list),
        ],
        exists: Some(meta::exists),
        fields: METADATA,
        help: "Reads, writes, lists and removes secrets' metadata.",
        ..Route::EMPTY
    },
];

#[cfg(test)]
mod tests;
