//! `sys/tools`: random bytes and hashes, without a mount.

use crate::engines::transit::tools::{HASH, RANDOM};
use crate::route::Route;

pub(super) const ROUTES: &[Route] = &[
    Route { pattern: "tools/random", ..RANDOM },
    Route { pattern: "tools/random/{source}", ..RANDOM },
    Route { pattern: "tools/random/{source}/{urlbytes}", ..RANDOM },
    Route { pattern: "tools/hash", ..HASH },
    Route { pattern: "tools/hash/{urlalgorithm}", ..HASH },
];
