//! `cargo xtask fuzz`: coverage-guided fuzzing of what reads bytes that others made, on the pinned stable compiler.
//!
//! What `cargo fuzz` does on nightly is done here with stable flags: LLVM's coverage pass is turned on by name, and
//! `libfuzzer-sys` brings the engine. There is no address sanitizer: the workspace forbids unsafe code.

use crate::setup::root;
use cargo_metadata::MetadataCommand;
use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// LLVM's coverage pass, writing where libFuzzer reads.
const INSTRUMENTED: &str = "-Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
                            -Cllvm-args=-sanitizer-coverage-inline-8bit-counters \
                            -Cllvm-args=-sanitizer-coverage-pc-table \
                            -Cllvm-args=-sanitizer-coverage-trace-compares";
/// Build scripts must not be instrumented, so the target is named and with it a folder of its own.
#[cfg(target_arch = "x86_64")]
const TRIPLE: &str = "x86_64-unknown-linux-gnu";
#[cfg(not(target_arch = "x86_64"))]
const TRIPLE: &str = "aarch64-unknown-linux-gnu";

/// Which target, and for how long. Without a target those there are are listed; `all` runs one after the other.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// A target: one of the files in fuzz/src/targets; `all` for every one
    target: Option<String>,
    /// How long each target runs
    #[arg(long, default_value_t = 60, value_name = "NUMBER")]
    seconds: u64,
    /// Run the target once, on this file: one that an earlier run found
    #[arg(long, value_name = "FILE", conflicts_with = "seconds", requires = "target")]
    replay: Option<PathBuf>,
}

pub(crate) fn run(arguments: &Arguments) -> Result<(), Box<dyn Error>> {
    let targets = targets()?;
    let Some(wanted) = &arguments.target else {
        println!("What may be fuzzed, with `cargo xtask fuzz TARGET [--seconds NUMBER]`:\n");
        targets.iter().for_each(|(name, about)| println!("  {name:<20}{about}"));
        return Ok(());
    };
    let chosen: Vec<&str> = targets
        .iter()
        .map(|(name, _)| name.as_str())
        .filter(|name| wanted == "all" || name == wanted)
        .collect();
    if chosen.is_empty() {
        return Err(format!("there is no target {wanted:?}; `cargo xtask fuzz` lists them").into());
    }
    let metadata = MetadataCommand::new().manifest_path(root().join("Cargo.toml")).no_deps().exec()?;
    let folder = metadata.target_directory.as_std_path().join("fuzz");
    let program = build(&folder)?;
    let mut found = Vec::new();
    for target in chosen {
        println!("fuzz: {target}");
        if !fuzz(&program, target, &folder, arguments)? {
            found.push(target);
        }
    }
    match found.as_slice() {
        [] => Ok(()),
        found => Err(format!(
            "{} found something: mend it, and keep the input as a test beside the code. Run it again with `cargo xtask \
             fuzz TARGET --replay {}/findings/TARGET/FILE`",
            found.join(", "),
            folder.display()
        )
        .into()),
    }
}

/// The targets' names, and the first line of each file.
fn targets() -> Result<Vec<(String, String)>, Box<dyn Error>> {
    let mut targets = Vec::new();
    for file in fs::read_dir(root().join("fuzz/src/targets"))? {
        let path = file?.path();
        let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        if name != "mod" {
            let text = fs::read_to_string(&path)?;
            let about = text.lines().next().unwrap_or_default().trim_start_matches("//! ").to_owned();
            targets.push((name, about));
        }
    }
    targets.sort();
    Ok(targets)
}

fn build(folder: &Path) -> Result<PathBuf, Box<dyn Error>> {
    let mut build = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    build.current_dir(root()).env("RUSTFLAGS", INSTRUMENTED).env_remove("CARGO_ENCODED_RUSTFLAGS");
    build.args([
        "build",
        "--locked",
        "--profile",
        "fuzz",
        "--package",
        "keyward-fuzz",
        "--features",
        "engine",
    ]);
    build.args(["--target", TRIPLE, "--target-dir"]).arg(folder);
    if !build.status()?.success() {
        return Err("the fuzzer did not build; it needs a C++ compiler".into());
    }
    Ok(folder.join(TRIPLE).join("fuzz/fuzz"))
}

/// Whether nothing was found.
fn fuzz(program: &Path, target: &str, folder: &Path, arguments: &Arguments) -> Result<bool, Box<dyn Error>> {
    let place = |part: &str| -> std::io::Result<PathBuf> {
        let path = folder.join(part).join(target);
        fs::create_dir_all(&path)?;
        Ok(path)
    };
    let (corpus, seeds, findings) = (place("corpus")?, place("seeds")?, place("findings")?);
    let mut fuzzer = Command::new(program);
    fuzzer.env("KEYWARD_FUZZ_TARGET", target);
    if let Some(file) = &arguments.replay {
        return Ok(fuzzer.arg(file).status()?.success());
    }
    fuzzer.env("KEYWARD_FUZZ_SEEDS", &seeds).arg(&corpus).arg(&seeds);
    fuzzer.arg(format!("-max_total_time={}", arguments.seconds));
    fuzzer.arg(format!("-artifact_prefix={}/", findings.display()));
    // A finding is also what takes longer than any request may, or much more memory than its input.
    fuzzer.args(["-timeout=10", "-rss_limit_mb=2048", "-print_final_stats=1", "-verbosity=0"]);
    Ok(fuzzer.status()?.success())
}
