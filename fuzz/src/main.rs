//! The fuzzer: libFuzzer's `main`, which gives bytes to the target that `KEYWARD_FUZZ_TARGET` names. Where
//! `KEYWARD_FUZZ_SEEDS` names a folder, the target's seeds are written there first.

#![no_main]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "without its target or folder there is nothing to run"
)]

use keyward_fuzz::{Target, named};
use std::sync::OnceLock;

static TARGET: OnceLock<&Target> = OnceLock::new();

fn target() -> &'static Target {
    TARGET.get_or_init(|| {
        let name = std::env::var("KEYWARD_FUZZ_TARGET").expect("KEYWARD_FUZZ_TARGET names a target");
        named(&name).expect("KEYWARD_FUZZ_TARGET names one of the files in fuzz/src/targets")
    })
}

libfuzzer_sys::fuzz_target!(
    init: if let Some(folder) = std::env::var_os("KEYWARD_FUZZ_SEEDS") {
        for (at, seed) in (target().seeds)().iter().enumerate() {
            std::fs::write(std::path::Path::new(&folder).join(format!("seed-{at}")), seed).unwrap();
        }
    },
    |data: &[u8]| (target().run)(data)
);
