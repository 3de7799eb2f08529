//! The program under test, built as users build it.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// The `keyward` program, built once with the profile and into the target folder of the running test.
///
/// # Panics
/// When it does not build.
pub fn keyward() -> &'static Path {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    BUILT.get_or_init(build)
}

fn build() -> PathBuf {
    // A test runs as TARGET/FOLDER/deps/NAME, a program of the tests as TARGET/FOLDER/NAME, FOLDER being the
    // profile's but for `dev`.
    let running = std::env::current_exe().unwrap();
    let folder = running.ancestors().skip(1).find(|folder| !folder.ends_with("deps")).unwrap();
    let target = folder.parent().unwrap();
    let profile = match folder.file_name().and_then(|name| name.to_str()) {
        Some("debug") | None => "dev",
        Some(named) => named,
    };
    let built = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
        .args(["build", "--quiet", "--locked", "--package", "keyward", "--profile", profile, "--target-dir"])
        .arg(target)
        .current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
        .status()
        .unwrap();
    assert!(built.success(), "keyward does not build: {built}");
    folder.join("keyward")
}
