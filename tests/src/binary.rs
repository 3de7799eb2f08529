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
    BUILT.get_or_init(build_whole)
}

/// The same program with nothing but sealing in it, static, for a machine without a network: built as docs/sealing.md says, in
/// a target folder of its own, since it has the same name.
///
/// # Panics
/// When it does not build.
pub fn sealer() -> &'static Path {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    BUILT.get_or_init(|| {
        let (folder, profile) = place();
        let target = folder.join("sealer");
        let triple = format!("{}-unknown-linux-gnu", std::env::consts::ARCH);
        let mut cargo = cargo(&profile, &target);
        cargo.args(["--no-default-features", "--features", "seal", "--target", &triple]);
        build(cargo.env("RUSTFLAGS", "-C target-feature=+crt-static"));
        target.join(triple).join(folder.file_name().unwrap_or_default()).join("keyward")
    })
}

fn build_whole() -> PathBuf {
    let (folder, profile) = place();
    build(&mut cargo(&profile, folder.parent().unwrap()));
    folder.join("keyward")
}

/// The folder that programs of the running test's profile are built into, and the profile.
fn place() -> (PathBuf, String) {
    // A test runs as TARGET/FOLDER/deps/NAME, a program of the tests as TARGET/FOLDER/NAME, FOLDER being the
    // profile's but for `dev`.
    let running = std::env::current_exe().unwrap();
    let folder = running.ancestors().skip(1).find(|folder| !folder.ends_with("deps")).unwrap();
    let profile = match folder.file_name().and_then(|name| name.to_str()) {
        Some("debug") | None => "dev",
        Some(named) => named,
    };
    (folder.to_owned(), profile.to_owned())
}

fn cargo(profile: &str, target: &Path) -> Command {
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo
        .args(["build", "--quiet", "--locked", "--package", "keyward", "--profile", profile, "--target-dir"])
        .arg(target)
        .current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/.."));
    cargo
}

fn build(cargo: &mut Command) {
    let built = cargo.status().unwrap();
    assert!(built.success(), "keyward does not build: {built}");
}
