//! Tools from package registries, kept outside the tree.

use crate::cluster::{cache_folder, lock};
use crate::say;
use sha2::{Digest, Sha256};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The `bin` folder of a Python environment with exactly what `requirements` pins by hash; made once. Answers
/// with why there is none where there is no Python or its registry is out of reach.
pub fn python(requirements: &Path) -> Result<PathBuf, String> {
    let folder = once("python", requirements, |folder| {
        done(Command::new("python3").args(["-m", "venv", "--clear"]).arg(folder))?;
        let bin = folder.join("bin");
        let mut install = Command::new(bin.join("python"));
        install.args([
            "-m",
            "pip",
            "install",
            "--quiet",
            "--disable-pip-version-check",
            "--require-hashes",
            "-r",
        ]);
        done(install.arg(requirements))
    })?;
    Ok(folder.join("bin"))
}

/// The folder of the JavaScript modules that the `package-lock.json` in `package` pins by hash; made once, without running
/// anything that is in them. Answers with why there is none where there is no `npm` or its registry is out of reach.
pub fn node(package: &Path) -> Result<PathBuf, String> {
    let lock = package.join("package-lock.json");
    let folder = once("node", &lock, |folder| {
        fs::create_dir_all(folder).map_err(|why| why.to_string())?;
        for name in ["package.json", "package-lock.json"] {
            fs::copy(package.join(name), folder.join(name)).map_err(|why| format!("{name}: {why}"))?;
        }
        let mut install = Command::new("npm");
        install.args(["ci", "--ignore-scripts", "--no-audit", "--no-fund", "--no-update-notifier"]);
        done(install.current_dir(folder))
    })?;
    Ok(folder.join("node_modules"))
}

/// The program that signs images, of the Go module in `module`; built once. Answers with why there is none where there is no Go or its
/// proxy is out of reach.
pub fn cosign(module: &Path) -> Result<PathBuf, String> {
    let folder = once("cosign", &module.join("go.sum"), |folder| {
        fs::create_dir_all(folder).map_err(|why| why.to_string())?;
        let mut build = Command::new("go");
        build.args(["build", "-mod=readonly", "-trimpath", "-buildvcs=false", "-ldflags=-s -w", "-o"]);
        build.arg(folder.join("cosign")).arg("github.com/sigstore/cosign/v3/cmd/cosign");
        done(build.env("CGO_ENABLED", "0").current_dir(module))
    })?;
    Ok(folder.join("cosign"))
}

/// A folder that `make` fills, one for each content of `pins`; `kind` names what is in it.
fn once(kind: &str, pins: &Path, make: impl FnOnce(&Path) -> Result<(), String>) -> Result<PathBuf, String> {
    let pinned = fs::read(pins).map_err(|why| format!("{}: {why}", pins.display()))?;
    let folder = cache_folder().join(kind).join(hex::encode(&Sha256::digest(pinned)[..8]));
    let made = folder.join("complete");
    if made.exists() {
        return Ok(folder);
    }
    fs::create_dir_all(folder.parent().unwrap_or(&folder)).map_err(|why| why.to_string())?;
    let waiting = format!("another process installs {kind} packages; waiting for it");
    let _lock = lock(&folder.with_extension("lock"), &waiting).map_err(|why| why.to_string())?;
    if !made.exists() {
        say(format_args!("installing {} into {}", pins.display(), folder.display()));
        make(&folder)?;
        fs::write(&made, b"").map_err(|why| why.to_string())?;
    }
    Ok(folder)
}

fn done(command: &mut Command) -> Result<(), String> {
    let shown = command.get_program().to_string_lossy().into_owned();
    let output = command.output().map_err(|why: io::Error| format!("{shown}: {why}"))?;
    match output.status.success() {
        true => Ok(()),
        false => Err(format!("{shown}: {}", String::from_utf8_lossy(&output.stderr).trim())),
    }
}
