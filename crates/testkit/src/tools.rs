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
    let pinned = fs::read(requirements).map_err(|why| format!("{}: {why}", requirements.display()))?;
    let folder = cache_folder().join("python").join(hex::encode(&Sha256::digest(pinned)[..8]));
    let (bin, made) = (folder.join("bin"), folder.join("complete"));
    if made.exists() {
        return Ok(bin);
    }
    fs::create_dir_all(folder.parent().unwrap_or(&folder)).map_err(|why| why.to_string())?;
    let _lock =
        lock(&folder.with_extension("lock"), "another process installs Python packages; waiting for it")
            .map_err(|why| why.to_string())?;
    if !made.exists() {
        say(format_args!("installing {} into {}", requirements.display(), folder.display()));
        done(Command::new("python3").args(["-m", "venv", "--clear"]).arg(&folder))?;
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
        done(install.arg(requirements))?;
        fs::write(&made, b"").map_err(|why| why.to_string())?;
    }
    Ok(bin)
}

fn done(command: &mut Command) -> Result<(), String> {
    let shown = command.get_program().to_string_lossy().into_owned();
    let output = command.output().map_err(|why: io::Error| format!("{shown}: {why}"))?;
    match output.status.success() {
        true => Ok(()),
        false => Err(format!("{shown}: {}", String::from_utf8_lossy(&output.stderr).trim())),
    }
}
