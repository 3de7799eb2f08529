//! `sys/tools`: random bytes and hashes, without a mount.

use crate::engines::transit::tools;
use crate::request::Operation;
use crate::route::{Kind, Route, field};

const RANDOM: Route = Route {
    operations: &[(Operation::Update, tools::random)],
    fields: &[
        field("bytes", Kind::Int, "How many bytes; 32 unless given, at most 131072."),
        field("format", Kind::Text, "base64 or hex; base64 unless given."),
        field("source", Kind::Text, "platform, seal or all: the same here."),
    ],
    help: "Makes random bytes.",
    ..Route::EMPTY
};

const HASH: Route = Route {
    operations: &[(Operation::Update, tools::hash)],
    fields: &[
        field("input", Kind::Text, "Base64 of what is to be hashed."),
        field("algorithm", Kind::Text, "The hash function; sha2-256 unless given."),
        field("format", Kind::Text, "hex or base64; hex unless given."),
    ],
    help: "Makes a hash of an input.",
    ..Route::EMPTY
};

pub(super) const ROUTES: &[Route] = &[
    Route { pattern: "tools/random", ..RANDOM },
    Route { pattern: "tools/random/{source}", ..RANDOM },
    Route { pattern: "tools/random/{source}/{urlbytes}", ..RANDOM },
    Route { pattern: "tools/hash", ..HASH },
    Route { pattern: "tools/hash/{urlalgorithm}", ..HASH },
];
