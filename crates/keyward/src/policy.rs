//! `keyward policy`: what tokens may do, by the authority's ACL policies; and what may be in a cluster, by admission policies.
//!
//! The word has both meanings, and the commands tell which: those that list, read, write and delete ask the authority, those
//! that test, apply, lint, roll out and evaluate expressions work on files; `explain` is for both.

use crate::cli::input::{content, object};
use crate::cli::output::Output;
use crate::cli::{Failure, Session, output};
use crate::data::nothing_there;
use crate::services::ClusterArgs;
use crate::{policy_explain, policy_files, policy_rollout, policy_serve};
use clap::Subcommand;
use keyward_authority_client::Method;
use serde_json::{Value, json};
use std::path::PathBuf;

/// Manage ACL policies of the authority, and check admission policies in files
#[derive(Subcommand)]
pub(crate) enum Policy {
    /// List ACL policies
    List,
    /// Show an ACL policy's text
    Read {
        /// Its name
        name: String,
    },
    /// Write an ACL policy
    Write {
        /// Its name
        name: String,
        /// A file, or - for standard input
        file: String,
    },
    /// Remove an ACL policy
    Delete {
        /// Its name
        name: String,
    },
    /// Explain by which ACL rule a request is allowed, or what admission policies say of objects
    ///
    /// With --resource it is about admission policies, rule by rule, and no authority is asked:
    /// `keyward policy explain policies/ --resource pod.yaml`.
    Explain {
        /// create, read, update, patch, delete or list; with --resource, files and folders of policies
        #[arg(value_name = "OPERATION|POLICY")]
        operation: String,
        /// The path of the request, such as secret/data/app
        path: Option<String>,
        /// The request's parameters as key=value, for rules that look at them
        parameters: Vec<String>,
        /// Whose request: the token with this accessor; your own without it
        #[arg(long, conflicts_with = "policies")]
        accessor: Option<String>,
        /// Nobody's request: what a token with these policies might do
        #[arg(long = "policy", value_name = "NAME")]
        policies: Vec<String>,
        /// Files and folders of objects that admission policies are to be explained for; - is standard input
        #[arg(long, short, value_name = "FILE", conflicts_with_all = ["accessor", "policies"])]
        resource: Vec<PathBuf>,
    },
    /// Run test suites of admission policies (kyverno-test.yaml)
    Test(policy_files::Test),
    /// Apply admission policies to objects, and report
    Apply(Box<policy_files::ApplyArgs>),
    /// Evaluate a JMESPath expression as admission policies do
    Jp(policy_files::Jp),
    /// Evaluate a CEL expression as admission policies do
    Cel(policy_files::Cel),
    /// Say which admission policies cannot mean anything, and why
    Lint(policy_files::Lint),
    /// Say what enforcing audited policies would refuse today, by the reports, and which are due
    Rollout(policy_rollout::RolloutArgs),
    /// Serve admission policies in a cluster: webhooks, background scans and reports
    Serve(Box<policy_serve::ServeArgs>),
    /// Write the custom resource definitions of policies and reports to standard output
    Crds,
    /// Remove the webhooks, so that no policy holds anything up; `serve` puts them back
    Release(ClusterArgs),
}

impl Policy {
    /// Whether it needs no authority.
    pub(crate) fn is_about_files(&self) -> bool {
        match self {
            Policy::List | Policy::Read { .. } | Policy::Write { .. } | Policy::Delete { .. } => false,
            Policy::Explain { resource, .. } => !resource.is_empty(),
            _ => true,
        }
    }
}

/// What needs no authority.
pub(crate) fn of_files(command: &Policy, output: &Output) -> Result<(), Failure> {
    match command {
        Policy::Test(args) => policy_files::test(args, output),
        Policy::Apply(args) => policy_files::apply(args, output),
        Policy::Jp(args) => policy_files::jp(args, output),
        Policy::Cel(args) => policy_files::cel(args, output),
        Policy::Lint(args) => policy_files::lint(args),
        Policy::Rollout(args) => policy_rollout::rollout(args, output),
        Policy::Crds => policy_serve::crds(),
        Policy::Release(args) => policy_serve::release(args),
        Policy::Explain { operation, path, parameters, resource, .. } => {
            let policies = [operation].into_iter().chain(path).chain(parameters).map(PathBuf::from);
            policy_explain::explain(&policies.collect::<Vec<_>>(), resource, output)
        }
        Policy::List
        | Policy::Read { .. }
        | Policy::Write { .. }
        | Policy::Delete { .. }
        | Policy::Serve(_) => Ok(()),
    }
}

pub(crate) async fn run(session: &Session, command: &Policy) -> Result<(), Failure> {
    match command {
        Policy::List => {
            let reply = session.ask("Error listing policies", Method::Get, "sys/policy", None).await?;
            let data = reply.data().unwrap_or(Value::Null);
            if !session.output.is_table() {
                return session.output.value(&data["policies"]);
            }
            let mut names = data["policies"].as_array().into_iter().flatten().filter_map(Value::as_str);
            names.try_for_each(output::line)
        }
        Policy::Read { name } => {
            let path = format!("sys/policies/acl/{name}");
            let reply = session.ask("Error reading the policy", Method::Get, &path, None).await;
            let none =
                |why| nothing_there(why, &format!("There is no policy {name}: see `keyward policy list`"));
            let reply = reply.map_err(none)?;
            match reply.data().as_ref().and_then(|data| data.get("policy")).and_then(Value::as_str) {
                Some(text) if session.output.is_table() => output::line(text.trim_end()),
                _ => session.output.reply(&reply),
            }
        }
        Policy::Write { name, file } => {
            let text = if file == "-" { content("-")? } else { content(&format!("@{file}"))? };
            let path = format!("sys/policies/acl/{name}");
            let done = format!("Success! Uploaded policy: {name}");
            session.write("Error writing the policy", &path, &json!({ "policy": text }), &done).await
        }
        Policy::Delete { name } => {
            let path = format!("sys/policies/acl/{name}");
            let reply = session.ask("Error deleting the policy", Method::Delete, &path, None).await?;
            session.output.reply_or(&reply, &format!("Success! Deleted policy: {name}"))
        }
        files @ (Policy::Test(_)
        | Policy::Apply(_)
        | Policy::Jp(_)
        | Policy::Cel(_)
        | Policy::Lint(_)
        | Policy::Rollout(_)
        | Policy::Serve(_)
        | Policy::Crds
        | Policy::Release(_)) => of_files(files, &session.output),
        Policy::Explain { operation, path, parameters, accessor, policies, .. } => {
            let path = path.as_deref().ok_or_else(|| {
                let why = "name the path of the request, such as secret/data/app, or objects with --resource";
                Failure::Usage(why.to_owned())
            })?;
            let mut sent = json!({ "path": path, "operation": operation });
            if !parameters.is_empty() {
                sent["parameters"] = Value::Object(object(parameters)?);
            }
            if let Some(accessor) = accessor {
                sent["accessor"] = json!(accessor);
            }
            if !policies.is_empty() {
                sent["policies"] = json!(policies);
            }
            let place = "sys/policies/explain";
            let reply = session.ask("Error explaining", Method::Put, place, Some(&sent)).await?;
            match reply.data().as_ref().and_then(|data| data.get("text")).and_then(Value::as_str) {
                Some(text) if session.output.is_table() => output::line(text),
                _ => session.output.reply(&reply),
            }
        }
    }
}
