//! What a route says of itself: `?help=1`, and warnings about parameters it does not know.

use crate::fields::Fields;
use crate::mounts::Mount;
use crate::params::Params;
use crate::refusal::Refusal;
use crate::request::Operation;
use crate::response::Response;
use crate::route::{Field, Kind, Route};
use serde_json::{Map, Value, json};

/// The answer to `?help=1`; `about` is the mount's engine or method in a sentence.
pub fn describe(mount: &Mount, about: &str, route: &Route) -> Result<Response, Refusal> {
    let mut text = format!(
        "Request:        {}\nPath:           {}{}\n\n{}\n",
        mount.path, mount.path, route.pattern, route.help
    );
    if !route.fields.is_empty() {
        text.push_str("\n## PARAMETERS\n");
    }
    for field in route.fields {
        text.push_str(&format!(
            "\n    {} ({})\n        {}\n",
            field.name,
            type_name(field.kind),
            field.about
        ));
    }
    text.push_str(&format!("\n## DESCRIPTION\n\n{about}\n"));
    Response::verbatim_json(&json!({ "help": text, "see_also": null, "openapi": openapi(mount, route) }))
}

fn type_name(kind: Kind) -> &'static str {
    match kind {
        Kind::Text => "string",
        Kind::Int => "int",
        Kind::Bool => "bool",
        Kind::Duration => "duration (sec)",
        Kind::List => "[]string",
        Kind::Pairs => "map[string]string",
        Kind::Json => "map",
    }
}

/// An OpenAPI 3.0.2 document of one route.
pub fn openapi(mount: &Mount, route: &Route) -> Value {
    let mut paths = Map::new();
    paths.insert(format!("/{}{}", mount.path, route.pattern.replace("*}", "}")), path_item(route));
    json!({
        "openapi": "3.0.2",
        "info": { "title": "Keyward API", "version": env!("CARGO_PKG_VERSION"), "license": { "name": "Apache-2.0" } },
        "paths": paths,
    })
}

/// The OpenAPI path item of one route.
pub fn path_item(route: &Route) -> Value {
    let operations: Vec<Operation> = route.operations.iter().map(|(operation, _)| *operation).collect();
    described_item(route.help, &operations, route.fields)
}

/// The OpenAPI path item of a path that serves `operations` and knows `fields`. A list is a `get` with the parameter `list`,
/// which is required where there is nothing else to get.
pub fn described_item(help: &str, operations: &[Operation], fields: &[Field]) -> Value {
    let lists = operations.contains(&Operation::List);
    let only_lists = lists && !operations.contains(&Operation::Read);
    let mut item = Map::new();
    item.insert("description".to_owned(), json!(help));
    for operation in operations {
        let method = match operation {
            Operation::Read | Operation::List => "get",
            Operation::Delete => "delete",
            Operation::Patch => "patch",
            _ => "post",
        };
        let mut described = json!({ "summary": help, "responses": { "200": { "description": "OK" } } });
        if lists && method == "get" {
            described["parameters"] = json!([{
                "name": "list", "in": "query", "required": only_lists,
                "description": "`true` lists what is below the path.",
                "schema": { "type": "string", "enum": ["true"] },
            }]);
        }
        if matches!(operation, Operation::Update | Operation::Create | Operation::Patch) {
            let property = |field: &Field| {
                (field.name.to_owned(), json!({ "type": schema(field.kind), "description": field.about }))
            };
            let properties: Map<String, Value> = fields.iter().map(property).collect();
            described["requestBody"] = json!({ "content": { "application/json": {
                "schema": { "type": "object", "properties": properties } } } });
        }
        item.insert(method.to_owned(), described);
    }
    Value::Object(item)
}

fn schema(kind: Kind) -> &'static str {
    match kind {
        Kind::Text => "string",
        Kind::Int | Kind::Duration => "integer",
        Kind::Bool => "boolean",
        Kind::List => "array",
        Kind::Pairs | Kind::Json => "object",
    }
}

/// The warnings about parameters that do nothing here, where `params` is what the route captured from the path.
pub fn unrecognized(fields: &Fields, operation: Operation, route: &Route, params: &Params) -> Vec<String> {
    if route.traits.any_fields
        || !matches!(operation, Operation::Create | Operation::Update | Operation::Patch)
    {
        return Vec::new();
    }
    let captured = |name: &&str| params.names().any(|param| param == *name);
    let mut ignored: Vec<&str> = fields
        .names()
        .filter(|name| !route.fields.iter().any(|field| field.name == *name) && !captured(name))
        .collect();
    let mut replaced: Vec<&str> = fields.names().filter(captured).collect();
    ignored.sort_unstable();
    replaced.sort_unstable();
    let mut warnings = Vec::new();
    if !ignored.is_empty() {
        warnings.push(format!("Endpoint ignored these unrecognized parameters: [{}]", ignored.join(" ")));
    }
    if !replaced.is_empty() {
        warnings.push(format!(
            "Endpoint replaced the value of these parameters with the values captured from the endpoint's path: [{}]",
            replaced.join(" ")
        ));
    }
    warnings
}
