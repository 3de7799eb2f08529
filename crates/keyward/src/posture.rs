//! `keyward posture`: verdicts on pods, namespaces and nodes.

use crate::cli::{Failure, Session, output};
use crate::data::nothing_there;
use clap::Subcommand;
use keyward_authority_client::{Method, RequestOptions};
use serde_json::{Value, json};

/// Show which pods, namespaces and nodes comply with the policies of their cluster
#[derive(Subcommand)]
pub(crate) enum Posture {
    /// List pods, namespaces or nodes that verdicts are known of
    List {
        /// Only pods of this namespace of the cluster
        #[arg(value_name = "NAMESPACE")]
        within: Option<String>,
        /// Namespaces in the place of pods
        #[arg(long, conflicts_with = "within")]
        namespaces: bool,
        /// Nodes in the place of pods
        #[arg(long, conflicts_with_all = ["within", "namespaces"])]
        nodes: bool,
        /// Only those that violate a critical policy
        #[arg(long)]
        violating: bool,
        /// Only those that violate this policy, critical or not
        #[arg(long, value_name = "NAME")]
        policy: Option<String>,
        #[command(flatten)]
        cluster: Cluster,
    },
    /// Show the verdict on a pod, a namespace or a node, policy by policy
    Get {
        /// NAMESPACE/POD, NAMESPACE, or with --node NODE
        subject: String,
        /// It is a node
        #[arg(long)]
        node: bool,
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

/// The columns of a list, by the names of fields.
const LISTED: [(&str, &str); 6] = [
    ("Subject", "subject"),
    ("Compliant", "compliant"),
    ("Critical", "critical"),
    ("Violations", "violations"),
    ("Exceptions", "exceptions"),
    ("Since", "since"),
];
/// Those that nodes have besides.
const OF_NODES: [(&str, &str); 3] =
    [("Ready", "ready"), ("Problems", "problems"), ("Kubelet", "kubelet_version")];
const RULINGS: [&str; 6] = ["Policy", "Result", "Tier", "Critical", "Rules", "Exceptions"];
const SESSIONS: [&str; 5] = ["Pods log in at", "Cluster", "Counts", "Confirmed", "Key"];

pub(crate) async fn run(session: &Session, command: &Posture) -> Result<(), Failure> {
    match command {
        Posture::List { within, namespaces, nodes, violating, policy, cluster } => {
            let (kind, columns) = match (namespaces, nodes) {
                (true, _) => ("namespaces", LISTED.to_vec()),
                (_, true) => ("nodes", [&LISTED[..2], &OF_NODES, &LISTED[2..]].concat()),
                _ => ("pods", LISTED.to_vec()),
            };
            let path = cluster.path(kind, within.as_deref().unwrap_or_default());
            let mut query = Vec::new();
            if *violating {
                query.push(("compliant".to_owned(), "false".to_owned()));
            }
            query.extend(policy.iter().map(|policy| ("policy".to_owned(), policy.clone())));
            list(session, &path, within.as_deref(), query, &columns).await
        }
        Posture::Get { subject, node, cluster } => {
            let kind = match (node, subject.contains('/')) {
                (true, _) => "nodes",
                (false, true) => "pods",
                (false, false) => "namespaces",
            };
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
    columns: &[(&str, &str)],
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
    let (headers, names): (Vec<&str>, Vec<&str>) = columns.iter().copied().unzip();
    let rows: Vec<Vec<String>> = all.iter().map(|one| cells(one, &names)).collect();
    session.output.rows(&headers, &rows, &json!(all))
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
    if verdict["ready"].is_boolean() {
        output::line(&format!("{}\n", health(subject, verdict)))?;
    }
    let names = ["policy", "result", "tier", "critical", "rules", "exceptions"];
    let rows: Vec<Vec<String>> = items(&verdict["rulings"]).map(|one| cells(one, &names)).collect();
    session.output.rows(&RULINGS, &rows, verdict)
}

/// How a node is.
fn health(node: &str, verdict: &Value) -> String {
    let ready = if verdict["ready"] == true { "ready" } else { "not ready" };
    let pods = if verdict["schedulable"] == true { "" } else { " and cordoned" };
    let problems = match &verdict["problems"] {
        Value::Array(problems) if problems.is_empty() => "without a problem".to_owned(),
        Value::Null => "with more problems than are named".to_owned(),
        problems => format!("with {}", text(problems)),
    };
    let taints = match &verdict["taints"] {
        Value::Array(taints) if !taints.is_empty() => format!("; taints {}", text(&verdict["taints"])),
        _ => String::new(),
    };
    let versions =
        ["kubelet_version", "container_runtime_version", "kernel_version", "os_image", "architecture"]
            .map(|name| text(&verdict[name]));
    let versions: Vec<&str> = versions.iter().map(String::as_str).filter(|one| !one.is_empty()).collect();
    format!("{node} is {ready}{pods}, {problems}{taints}; {}", versions.join(", "))
        .trim_end_matches("; ")
        .to_owned()
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
