//! `keyward inventory`: every sealed secret, who owns it and what became of it.

use crate::cli::{Failure, Session};
use keyward_authority_client::{Method, RequestOptions};
use serde_json::{Value, json};

/// Which secrets
#[derive(clap::Args)]
pub(crate) struct Inventory {
    /// Only secrets of this namespace of the cluster
    #[arg(value_name = "NAMESPACE")]
    within: Option<String>,
    /// Where the engine is mounted
    #[arg(long, default_value = "sealed")]
    mount: String,
}

const HEADINGS: [&str; 8] =
    ["Secret", "Owner", "Why", "Consumers", "Authority", "State", "Changed", "Workflow"];

pub(crate) async fn run(session: &Session, args: &Inventory) -> Result<(), Failure> {
    let path = format!("{}/inventory", args.mount.trim_matches('/'));
    let mut secrets: Vec<Value> = Vec::new();
    let mut after = args.within.as_ref().map_or(String::new(), |namespace| format!("{namespace}/"));
    loop {
        let query = vec![("after".to_owned(), after)];
        let options = RequestOptions { query, ..RequestOptions::default() };
        let reply =
            session.ask_with("Error reading the inventory", Method::Get, &path, None, &options).await?;
        let mut data = reply.data().unwrap_or_default();
        let page = data["secrets"].as_array_mut().map(std::mem::take).unwrap_or_default();
        let of_namespace =
            |secret: &Value| args.within.as_deref().is_none_or(|within| secret["namespace"] == within);
        let ended = page.last().is_some_and(|last| !of_namespace(last));
        secrets.extend(page.into_iter().filter(of_namespace));
        match data["next"].as_str() {
            Some(next) if !ended => after = next.to_owned(),
            _ => break,
        }
    }
    let rows: Vec<Vec<String>> = secrets.iter().map(row).collect();
    session.output.rows(&HEADINGS, &rows, &json!(secrets))
}

/// What consumers must be besides.
fn demands(secret: &Value) -> Vec<String> {
    let selector = secret["namespace_selector"].as_str().map(|selector| format!("namespaces {selector}"));
    let texts = |name: &str| {
        secret[name].as_array().into_iter().flatten().filter_map(Value::as_str).map(str::to_owned)
    };
    selector.into_iter().chain(texts("conditions")).chain(texts("images")).collect()
}

fn row(secret: &Value) -> Vec<String> {
    let text = |name: &str| secret[name].as_str().unwrap_or_default().to_owned();
    let consumers = secret["consumers"].as_array().into_iter().flatten().filter_map(Value::as_str);
    vec![
        format!("{}/{}", text("namespace"), text("name")),
        text("owner"),
        text("why"),
        [&[consumers.collect::<Vec<_>>().join(",")], demands(secret).as_slice()].concat().join("; "),
        text("authority"),
        text("state"),
        text("changed"),
        text("workflow"),
    ]
}
