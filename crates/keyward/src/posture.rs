//! `keyward posture`: verdicts on pods and namespaces.

use crate::cli::{Failure, Session, output};
use crate::data::nothing_there;
use clap::Subcommand;
use keyward_authority_client::{Method, RequestOptions};
use serde_json::{Value, json};

/// Show which pods and namespaces comply with the policies of their cluster
#[derive(Subcommand)]
pub(crate) enum Posture {
    /// List pods, or namespaces, that verdicts are known of
    List {
        /// Only pods of this namespace of the cluster
        #[arg(value_name = "NAMESPACE")]
        within: Option<String>,
        /// Namespaces in the place of pods
        #[arg(long, conflicts_with = "within")]
        namespaces: bool,
        /// Only those that violate a critical policy
        #[arg(long)]
        violating: bool,
        /// Only those that violate this policy, critical or not
        #[arg(long, value_name = "NAME")]
        policy: Option<String>,
        #[command(flatten)]
        cluster: Cluster,
    },
    /// Show the verdict on a pod or a namespace, policy by policy
    Get {
        /// NAMESPACE/POD, or NAMESPACE
        subject: String,
        #[command(flatten)]
        cluster: Cluster,
    },
    /// Show who publishes verdicts
    Publishers,
}

/// Which cluster
#[derive(clap::Args)]
pub(crate) struct Cluster {
    /// Where the cluster's pods log in, below auth/
    #[arg(long, value_name = "PATH", default_value = "kubernetes")]
    mount: String,
}

impl Cluster {
    fn path(&self, kind: &str, subject: &str) -> String {
        let path = format!("sys/posture/{kind}/{}/{subject}", self.mount.trim_matches('/'));
        path.trim_end_matches('/').to_owned()
    }
}

const LISTED: [&str; 6] = ["Subject", "Compliant", "Critical", "Violations", "Exceptions", "Since"];
const RULINGS: [&str; 6] = ["Policy", "Result", "Tier", "Critical", "Rules", "Exceptions"];
const SESSIONS: [&str; 5] = ["Pods log in at", "Cluster", "Counts", "Confirmed", "Key"];

pub(crate) async fn run(session: &Session, command: &Posture) -> Result<(), Failure> {
    match command {
        Posture::List { within, namespaces, violating, policy, cluster } => {
            let kind = if *namespaces { "namespaces" } else { "pods" };
            let path = cluster.path(kind, within.as_deref().unwrap_or_default());
            let mut query = Vec::new();
            if *violating {
                query.push(("compliant".to_owned(), "false".to_owned()));
            }
            query.extend(policy.iter().map(|policy| ("policy".to_owned(), policy.clone())));
            list(session, &path, within.as_deref(), query).await
        }
        Posture::Get { subject, cluster } => {
            let kind = if subject.contains('/') { "pods" } else { "namespaces" };
            let path = cluster.path(kind, subject);
            let reply = session.ask("Error reading the verdict", Method::Get, &path, None).await;
            let none = format!(
                "There is no verdict on {subject}, or the last one is too old: see `keyward posture publishers`"
            );
            let reply = reply.map_err(|why| nothing_there(why, &none))?;
            if !session.output.is_table() {
                return session.output.reply(&reply);
            }
            one(session, subject, &reply.data().unwrap_or_default())
        }
        Posture::Publishers => {
            let reply =
                session.ask("Error reading the sessions", Method::Get, "sys/posture/sessions", None).await?;
            let sessions = reply.data().map(|mut data| data["sessions"].take()).unwrap_or_default();
            let names = ["mount", "cluster", "counts", "confirmed", "key"];
            let rows: Vec<Vec<String>> = items(&sessions).map(|one| cells(one, &names)).collect();
            session.output.rows(&SESSIONS, &rows, &sessions)
        }
    }
}

async fn list(
    session: &Session,
    path: &str,
    within: Option<&str>,
    query: Vec<(String, String)>,
) -> Result<(), Failure> {
    let options = RequestOptions { query, ..RequestOptions::default() };
    let reply = session.ask_with("Error listing verdicts", Method::List, path, None, &options).await?;
    let data = reply.data().unwrap_or_default();
    let named = |key: &str| {
        let mut one = data["key_info"][key].clone();
        one["subject"] = json!(within.map_or_else(|| key.to_owned(), |within| format!("{within}/{key}")));
        one
    };
    let all: Vec<Value> = items(&data["keys"]).filter_map(Value::as_str).map(named).collect();
    let names = ["subject", "compliant", "critical", "violations", "exceptions", "since"];
    let rows: Vec<Vec<String>> = all.iter().map(|one| cells(one, &names)).collect();
    session.output.rows(&LISTED, &rows, &json!(all))
}

fn one(session: &Session, subject: &str, verdict: &Value) -> Result<(), Failure> {
    let complies = match verdict["compliant"] == true {
        true => "complies with every critical policy",
        false => "violates critical policies",
    };
    output::line(&format!(
        "{subject} {complies}: since {}, confirmed {} s ago, verdict {}\n",
        text(&verdict["since"]),
        text(&verdict["age"]),
        text(&verdict["digest"])
    ))?;
    let names = ["policy", "result", "tier", "critical", "rules", "exceptions"];
    let rows: Vec<Vec<String>> = items(&verdict["rulings"]).map(|one| cells(one, &names)).collect();
    session.output.rows(&RULINGS, &rows, verdict)
}

fn items(list: &Value) -> impl Iterator<Item = &Value> {
    list.as_array().into_iter().flatten()
}

fn cells(row: &Value, names: &[&str]) -> Vec<String> {
    names.iter().map(|name| text(&row[*name])).collect()
}

fn text(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        Value::Array(all) => all.iter().map(text).collect::<Vec<_>>().join(","),
        other => other.to_string(),
    }
}
