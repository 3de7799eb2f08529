//! `docs/compatibility.md`: which endpoints of Vault's API are there, found out by calling each of them.
//!
//! `COMPATIBILITY=overwrite cargo test -p keyward-tests --test authority compatibility` writes the page anew.

mod endpoints;
mod page;

use endpoints::{Answers, Call, Group, Step};
use keyward_tests::http::{Answer, Client};
use keyward_tests::server::Server;
use serde_json::{Value, json};
use std::collections::BTreeSet;

const ENDPOINTS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/data/endpoints.txt");
const PAGE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/compatibility.md");

/// What a call of one method of an endpoint showed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Found {
    Present,
    Absent,
    /// There, but refuses what the line of the call names.
    Without,
    /// Not to be told from the answer, which is a fault of the list.
    Unclear,
}

#[test]
fn the_page_says_what_is_there() {
    let text = std::fs::read_to_string(ENDPOINTS).unwrap();
    let groups = endpoints::parse(&text);
    let server = Server::dev();
    mount_everything(&server.root());
    let described = Described::read(&server.root());
    let mut faults = Vec::new();
    let mut found: Vec<(&Call, Vec<Found>)> = Vec::new();
    for step in groups.iter().flat_map(|group| &group.steps) {
        match step {
            Step::Given { method, path, body } => {
                let answer = ask(&server.root(), method, path, body.as_ref());
                assert!(answer.status < 300, "given {method} {path}: {}", shown(&answer));
            }
            Step::Call(call) => found.push((call, try_out(&server, call, &mut faults))),
        }
    }
    faults.extend(described.disagreements(&found));
    assert!(faults.is_empty(), "tests/data/endpoints.txt is to be mended:\n{}", faults.join("\n"));

    let page = page::write(&groups, |call| {
        let known = found.iter().find(|(known, _)| std::ptr::eq(*known, call));
        known.map(|(_, found)| found.as_slice()).unwrap_or_default()
    });
    if std::env::var("COMPATIBILITY").is_ok_and(|wish| wish == "overwrite") {
        std::fs::write(PAGE, &page).unwrap();
    }
    let checked_in = std::fs::read_to_string(PAGE).unwrap_or_default();
    let line = page.lines().zip(checked_in.lines()).find(|(found, written)| found != written);
    assert!(
        page == checked_in,
        "docs/compatibility.md is not what was found, first where {line:?}: run this test with \
         COMPATIBILITY=overwrite, and read the difference"
    );
}

/// Mounts every type that the authority says can be mounted, at the path of its name, where a dev server has none yet.
fn mount_everything(root: &Client) {
    let catalog = root.read("sys/plugins/catalog").expect(200).data();
    let there = root.read("sys/mounts").expect(200).data();
    for (group, prefix) in [("auth", "sys/auth/"), ("secret", "sys/mounts/")] {
        for kind in catalog[group].as_array().unwrap() {
            let kind = kind.as_str().unwrap();
            if group == "secret" && there[format!("{kind}/")]["type"] == *kind {
                continue;
            }
            let path = format!("{prefix}{kind}");
            root.write(&path, &json!({ "type": kind })).expect(204);
        }
    }
}

/// Calls each method of `call`, and says what it showed; what cannot be judged is a fault.
fn try_out(server: &Server, call: &Call, faults: &mut Vec<String>) -> Vec<Found> {
    let mut explained = matches!(call.answers, Answers::Plainly);
    let mut found = Vec::new();
    for method in &call.methods {
        let (caller, other) = (token(server), token(server));
        let body = call.body.as_ref().map(Value::to_string);
        let body = body.map(|body| body.replace("TOKEN", &other.0).replace("ACCESSOR", &other.1));
        let body = body.map(|body| serde_json::from_str::<Value>(&body).unwrap());
        let answer = ask(&server.root().with_token(&caller.0), method, &call.path, body.as_ref());
        if call.pattern == "sys/seal" {
            server.unseal();
        }
        let judged = judge(&answer, &call.answers);
        explained |= judged.is_some_and(|(_, by_words)| by_words);
        found.push(judged.map(|(found, _)| found).unwrap_or_else(|| {
            faults.push(format!("line {}: {method} {} says {}", call.line, call.path, shown(&answer)));
            Found::Unclear
        }));
    }
    if !explained {
        faults.push(format!("line {}: no call of {} says what the line says", call.line, call.pattern));
    }
    found
}

/// A token that may do everything, and its accessor.
fn token(server: &Server) -> (String, String) {
    let auth =
        server.root().write("auth/token/create", &json!({"ttl": "1h"})).expect(200).json()["auth"].take();
    let text = |name: &str| auth[name].as_str().unwrap().to_owned();
    (text("client_token"), text("accessor"))
}

fn ask(client: &Client, method: &str, path: &str, body: Option<&Value>) -> Answer {
    let path = format!("/v1/{path}");
    let request = client.request(method, &path);
    match (method, body) {
        ("PATCH", body) => {
            let body = body.cloned().unwrap_or_else(|| json!({})).to_string();
            request.header("Content-Type", "application/merge-patch+json").body(body).send()
        }
        ("POST", body) => request.json(body.unwrap_or(&json!({}))).send(),
        _ => request.send(),
    }
}

/// What an answer shows, and whether it took the line's words to say so; none when they are needed and not said.
fn judge(answer: &Answer, expected: &Answers) -> Option<(Found, bool)> {
    let said = String::from_utf8_lossy(&answer.body);
    let words = |words: &str| answer.status >= 400 && said.contains(words);
    match expected {
        Answers::With(expected) if words(expected) => return Some((Found::Present, true)),
        Answers::Refusing(expected) if words(expected) => return Some((Found::Absent, true)),
        Answers::Without(_, expected) => return words(expected).then_some((Found::Without, true)),
        _ => {}
    }
    let nothing_there = answer.status == 404
        && (said.contains(r#""errors":[]"#)
            || said.contains(r#""data":{"#)
            || !said.contains(r#""errors":["#));
    match answer.status {
        200..=299 => Some((Found::Present, false)),
        404 if nothing_there => Some((Found::Present, false)),
        404 if said.contains("no handler for route") => Some((Found::Absent, false)),
        405 => Some((Found::Absent, false)),
        _ => None,
    }
}

fn shown(answer: &Answer) -> String {
    format!("{} {}", answer.status, String::from_utf8_lossy(&answer.body))
}

/// What the OpenAPI document says is there, as methods and paths whose parameters have no names.
struct Described(BTreeSet<(String, String)>);

impl Described {
    fn read(root: &Client) -> Described {
        let document = root.read("sys/internal/specs/openapi").expect(200).json();
        let mut all = BTreeSet::new();
        for (path, item) in document["paths"].as_object().unwrap() {
            let path = endpoints::nameless(path.trim_start_matches('/'));
            for method in ["get", "post", "patch", "delete"] {
                let Some(operation) = item.get(method) else { continue };
                let parameters = operation["parameters"].as_array();
                let list = parameters.into_iter().flatten().find(|parameter| parameter["name"] == "list");
                if list.is_some() {
                    all.insert(("LIST".to_owned(), path.clone()));
                }
                if list.is_none_or(|list| list["required"] != true) {
                    all.insert((method.to_uppercase(), path.clone()));
                }
            }
        }
        Described(all)
    }

    /// What is there and not described, described and not there, and described and not listed.
    fn disagreements(&self, found: &[(&Call, Vec<Found>)]) -> Vec<String> {
        let mut faults = BTreeSet::new();
        let mut listed = BTreeSet::new();
        for (call, found) in found {
            for (method, found) in call.methods.iter().zip(found) {
                let method = if method == "HEAD" { "GET" } else { method };
                let endpoint = (method.to_owned(), endpoints::nameless(&call.pattern));
                let described = self.0.contains(&endpoint);
                if described == (*found == Found::Absent) && *found != Found::Unclear {
                    let is = if described { "is in" } else { "is not in" };
                    faults.insert(format!(
                        "line {}: {method} {} is {found:?}, and {is} the OpenAPI document",
                        call.line, call.pattern
                    ));
                }
                listed.insert(endpoint);
            }
        }
        let more = self.0.difference(&listed);
        faults.extend(
            more.map(|(method, path)| {
                format!("{method} {path} is in the OpenAPI document and not in the list")
            }),
        );
        faults.into_iter().collect()
    }
}

#[test]
fn lines_of_the_list_are_read() {
    let text = "# words\n\n## A group\ngiven POST a/b {\"c\": 1}\n\
                must GET,POST a/{b}/{c=d/e} {\"f\": [1]} without g h: no such thing\nother LIST x answers: y: z\n";
    let groups: Vec<Group> = endpoints::parse(text);
    assert_eq!(groups.len(), 1);
    let [Step::Given { .. }, Step::Call(first), Step::Call(second)] = groups[0].steps.as_slice() else {
        panic!("{groups:?}");
    };
    assert_eq!((first.pattern.as_str(), first.path.as_str()), ("a/{b}/{c}", "a/compat/d/e"));
    assert_eq!(
        (&first.methods[..], &first.body),
        (&["GET".into(), "POST".into()][..], &Some(json!({"f": [1]})))
    );
    assert_eq!(first.answers, Answers::Without("g h".into(), "no such thing".into()));
    assert_eq!((second.line, &second.answers), (6, &Answers::With("y: z".into())));
    assert_eq!(endpoints::nameless("/a/{b}/c"), "/a/{}/c");
}
