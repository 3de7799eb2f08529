//! `kms doctor`: tries everything between the API server and the provider, and says what to do about what fails.

mod apiserver;
mod files;
mod plugin;
mod provider;

use std::fmt::Write as _;
use std::path::PathBuf;
use std::time::Duration;

use serde::Serialize;

use crate::error::ServeError;
use crate::serve::ProviderOptions;

/// What to examine. What is not named is not examined, and said to be skipped.
pub struct DoctorOptions {
    /// The plugin's socket.
    pub socket: PathBuf,
    /// How long the API server waits for an answer: 3 s unless its configuration says otherwise.
    pub timeout: Duration,
    /// The plugin's state folder.
    pub state: Option<PathBuf>,
    /// Files that hold credentials or keys.
    pub secret_files: Vec<PathBuf>,
    /// The provider, to be tried directly, past the plugin.
    pub provider: Option<ProviderOptions>,
    /// The API server's `--encryption-provider-config`.
    pub encryption_config: Option<PathBuf>,
    /// The API server's static pod manifest.
    pub apiserver_manifest: Option<PathBuf>,
}

/// How a check ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// As it should be.
    Ok,
    /// Not examined; the detail says why.
    Skipped,
    /// Works, and may not for long.
    Warning,
    /// Does not work, or does not protect.
    Failed,
}

/// One thing examined.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Check {
    /// What part it belongs to: `plugin`, `files`, `provider`, `apiserver`.
    pub area: &'static str,
    /// What was examined.
    pub name: &'static str,
    /// How it ended.
    pub verdict: Verdict,
    /// What was found.
    pub detail: String,
    /// What to do about it; empty when nothing.
    pub remedy: String,
}

/// Everything examined.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct DoctorReport {
    /// The worst of all verdicts, skipped ones apart.
    pub verdict: Verdict,
    /// The checks, in the order of the way from the API server to the provider.
    pub checks: Vec<Check>,
}

/// Collects the checks of one area.
pub(crate) struct Findings {
    area: &'static str,
    checks: Vec<Check>,
}

impl Findings {
    fn new(area: &'static str) -> Findings {
        Findings { area, checks: Vec::new() }
    }

    fn add(
        &mut self,
        name: &'static str,
        verdict: Verdict,
        detail: impl Into<String>,
        remedy: impl Into<String>,
    ) {
        self.checks.push(Check {
            area: self.area,
            name,
            verdict,
            detail: detail.into(),
            remedy: remedy.into(),
        });
    }

    fn ok(&mut self, name: &'static str, detail: impl Into<String>) {
        self.add(name, Verdict::Ok, detail, "");
    }

    fn skip(&mut self, name: &'static str, why: impl Into<String>) {
        self.add(name, Verdict::Skipped, why, "");
    }

    fn warn(&mut self, name: &'static str, detail: impl Into<String>, remedy: impl Into<String>) {
        self.add(name, Verdict::Warning, detail, remedy);
    }

    fn fail(&mut self, name: &'static str, detail: impl Into<String>, remedy: impl Into<String>) {
        self.add(name, Verdict::Failed, detail, remedy);
    }
}

/// Examines everything named in the options.
pub async fn doctor(options: DoctorOptions) -> Result<DoctorReport, ServeError> {
    let mut checks = plugin::examine(&options.socket, options.timeout).await.checks;
    checks.extend(files::examine(options.state.as_deref(), &options.secret_files).checks);
    checks.extend(provider::examine(options.provider).await?.checks);
    let config = options.encryption_config.as_deref();
    checks.extend(apiserver::examine(config, options.apiserver_manifest.as_deref(), &options.socket).checks);
    let counted = checks.iter().map(|check| check.verdict).filter(|verdict| *verdict != Verdict::Skipped);
    let verdict = counted.max().unwrap_or(Verdict::Ok);
    Ok(DoctorReport { verdict, checks })
}

impl DoctorReport {
    /// The report for people.
    pub fn table(&self) -> String {
        let mut out = String::new();
        for check in &self.checks {
            let verdict = match check.verdict {
                Verdict::Ok => "ok",
                Verdict::Skipped => "skipped",
                Verdict::Warning => "WARNING",
                Verdict::Failed => "FAILED",
            };
            // Writing to a String cannot fail.
            // An authority's error may have several lines.
            let detail = check.detail.split_whitespace().collect::<Vec<_>>().join(" ");
            let _ = writeln!(out, "{verdict:<8} {:<10} {:<24} {detail}", check.area, check.name);
            if !check.remedy.is_empty() {
                let _ = writeln!(out, "{:<8} {:<10} {:<24} -> {}", "", "", "", check.remedy);
            }
        }
        let count = |verdict| self.checks.iter().filter(|check| check.verdict == verdict).count();
        let (failed, warned) = (count(Verdict::Failed), count(Verdict::Warning));
        let _ = writeln!(out, "\n{} checks: {failed} failed, {warned} warnings", self.checks.len());
        out
    }
}
