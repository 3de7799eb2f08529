//! The paths of `sys/` that the server answers without the barrier, and so without this crate: what they are called, for
//! the server to know them and for the description of all paths.

use crate::request::Operation;
use crate::route::{Field, Kind, field};

/// One of these paths. It needs no token.
pub struct Unsealed {
    /// Below `/v1/`.
    pub path: &'static str,
    /// What it serves.
    pub operations: &'static [Operation],
    /// The parameters it knows.
    pub fields: &'static [Field],
    /// One sentence.
    pub help: &'static str,
}

const READ: &[Operation] = &[Operation::Read];

/// All of them.
pub const UNSEALED: [Unsealed; 5] = [
    Unsealed {
        path: "sys/init",
        operations: &[Operation::Read, Operation::Update],
        fields: &[
            field("secret_shares", Kind::Int, "Shares that the unseal key is split into."),
            field("secret_threshold", Kind::Int, "Shares that unseal it."),
            field("pgp_keys", Kind::List, "Must be empty: shares are not encrypted to PGP keys."),
            field(
                "root_token_pgp_key",
                Kind::Text,
                "Must be empty: the root token is not encrypted to a PGP key.",
            ),
            field("recovery_pgp_keys", Kind::List, "Must be empty: there are no recovery keys."),
            field("recovery_shares", Kind::Int, "Must be 0: there are no recovery keys."),
            field("recovery_threshold", Kind::Int, "Must be 0: there are no recovery keys."),
            field("stored_shares", Kind::Int, "Must be 0: no share is stored."),
        ],
        help: "Tells whether there is an authority, and makes one: its unseal shares and its root token.",
    },
    Unsealed {
        path: "sys/seal-status",
        operations: READ,
        fields: &[],
        help: "Tells whether it is sealed, and how many shares it waits for.",
    },
    Unsealed {
        path: "sys/unseal",
        operations: &[Operation::Update],
        fields: &[
            field("key", Kind::Text, "A share, in hex or base64."),
            field("reset", Kind::Bool, "Forget the shares handed in so far."),
            field("migrate", Kind::Bool, "Must be false: there is one kind of seal."),
        ],
        help: "Takes a share, and unseals when there are enough.",
    },
    Unsealed {
        path: "sys/health",
        operations: READ,
        fields: &[
            field("activecode", Kind::Int, "The status when it serves; 200."),
            field("sealedcode", Kind::Int, "The status when it is sealed; 503."),
            field("uninitcode", Kind::Int, "The status before there is an authority; 501."),
        ],
        help: "Tells by its status whether it serves.",
    },
    Unsealed { path: "sys/leader", operations: READ, fields: &[], help: "Tells which node is active." },
];
