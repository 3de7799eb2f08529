//! Admission policies: the engine in this process, the program on files, and the program as a webhook beside one that only answers.

mod cluster;
mod engine;
mod files;
pub(crate) mod pods;
mod webhook;

use crate::Failure;
use std::path::PathBuf;
use std::time::Duration;

/// The Pod Security Standards, as 17 policies with patterns and 16 in CEL.
const POD_SECURITY: &str = include_str!("../../data/pod-security.yaml");
const POD_SECURITY_CEL: &str = include_str!("../../data/pod-security-cel.yaml");

#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// The program to measure
    #[arg(long, value_name = "FILE")]
    keyward: PathBuf,
    /// Shorter turns: done within 50 seconds
    #[arg(long)]
    quick: bool,
}

pub(crate) fn run(arguments: &Arguments) -> Result<(), Failure> {
    let span = Duration::from_millis(if arguments.quick { 200 } else { 1_000 });
    engine::figures(span)?;
    files::figures(&arguments.keyward)?;
    webhook::figures(&arguments.keyward, span)
}

/// `count` policies for ConfigMaps, which no pod is ever asked about.
fn unmatched(count: usize) -> String {
    let policy = |number| {
        format!(
            "apiVersion: kyverno.io/v1
kind: ClusterPolicy
metadata: {{name: unmatched-{number}}}
spec:
  rules:
    - name: has-an-owner
      match: {{any: [{{resources: {{kinds: [ConfigMap]}}}}]}}
      validate:
        failureAction: Enforce
        message: The label owner is required
        pattern: {{metadata: {{labels: {{owner: \"?*\"}}}}}}
---
"
        )
    };
    (0..count).map(policy).collect()
}
