//! The page that says what was found.

use super::Found;
use super::endpoints::{Answers, Call, Group, Step};
use std::fmt::Write as _;

const INTRODUCTION: &str = "\
<!-- Written by tests/tests/authority/compatibility.rs from tests/data/endpoints.txt: do not edit. -->
# Compatibility with Vault's HTTP API

Which endpoints of Vault's API Keyward serves, and which it does not. A test calls every one of them on a running server
and writes this page from the answers; it holds them against `sys/internal/specs/openapi` too, so that the document a server
gives of itself lists what is present here and nothing else.

Paths stand below `/v1/`, engines and methods at their usual paths: `secret/` is a key-value engine of version 2, `kv/` one of
version 1. `POST` stands for `PUT` too, which is the same, and `LIST` for `GET` with `?list=true`.

How much an endpoint is needed: **must**, common clients call it; **should**, operators expect it; **beyond**, Keyward's own, or
seldom found elsewhere; **other**, the rest of what Vault documents. An endpoint is **present** when it does what it is for,
**absent** when it does not, and **partly** there when it lacks a method or refuses a parameter, which is named.
";

/// The lines of one path and level.
struct Row<'a> {
    pattern: &'a str,
    level: &'a str,
    methods: Vec<&'a str>,
    present: Vec<&'a str>,
    absent: Vec<&'a str>,
    without: Vec<&'a str>,
}

impl Row<'_> {
    fn is_present(&self) -> bool {
        self.absent.is_empty() && self.without.is_empty()
    }

    fn state(&self) -> String {
        let lacks: Vec<String> =
            self.absent.iter().chain(&self.without).map(|what| format!("`{what}`")).collect();
        match (self.present.is_empty(), self.is_present()) {
            (_, true) => "present".to_owned(),
            (true, false) if self.without.is_empty() => "absent".to_owned(),
            (true, false) => format!("absent: {}", lacks.join(", ")),
            (false, false) => format!("partly: without {}", lacks.join(", ")),
        }
    }
}

/// The whole page; `found` says what each method of a call showed.
pub(super) fn write<'a>(groups: &'a [Group], found: impl Fn(&'a Call) -> &'a [Found]) -> String {
    let groups: Vec<(&str, Vec<Row<'_>>)> =
        groups.iter().map(|group| (group.title.as_str(), rows(group, &found))).collect();
    let mut page = INTRODUCTION.to_owned();
    page.push_str("\n## Summary\n\nEndpoints that are present, of those there are; partly present ones count as missing.\n\n");
    page.push_str("| group | must | should | beyond | other |\n|---|---|---|---|---|\n");
    for (title, rows) in &groups {
        let counts = LEVELS.map(|level| count(rows.iter().filter(|row| row.level == level)));
        writeln!(page, "| [{title}](#{}) | {} |", anchor(title), counts.join(" | ")).unwrap();
    }
    let all =
        LEVELS.map(|level| count(groups.iter().flat_map(|(_, rows)| rows).filter(|row| row.level == level)));
    writeln!(page, "| **all** | {} |", all.join(" | ")).unwrap();
    for (title, rows) in &groups {
        write!(page, "\n## {title}\n\n| endpoint | methods | level | |\n|---|---|---|---|\n").unwrap();
        for row in rows {
            let methods: Vec<&str> =
                METHODS.into_iter().filter(|method| row.methods.contains(method)).collect();
            writeln!(
                page,
                "| `{}` | {} | {} | {} |",
                row.pattern,
                methods.join(", "),
                row.level,
                row.state()
            )
            .unwrap();
        }
    }
    page
}

const LEVELS: [&str; 4] = ["must", "should", "beyond", "other"];
const METHODS: [&str; 6] = ["LIST", "GET", "HEAD", "POST", "PATCH", "DELETE"];

/// How many are present of all; nothing when there are none.
fn count<'a>(rows: impl Iterator<Item = &'a Row<'a>>) -> String {
    let states: Vec<bool> = rows.map(Row::is_present).collect();
    let present = states.iter().filter(|present| **present).count();
    if states.is_empty() { String::new() } else { format!("{present} / {}", states.len()) }
}

/// How GitHub calls a heading.
fn anchor(title: &str) -> String {
    title.to_lowercase().replace(' ', "-").replace(',', "")
}

fn rows<'a>(group: &'a Group, found: &impl Fn(&'a Call) -> &'a [Found]) -> Vec<Row<'a>> {
    let mut rows: Vec<Row<'a>> = Vec::new();
    for step in &group.steps {
        let Step::Call(call) = step else { continue };
        let known = rows.iter().position(|row| row.pattern == call.pattern && row.level == call.level);
        let at = known.unwrap_or_else(|| {
            rows.push(Row {
                pattern: &call.pattern,
                level: &call.level,
                methods: Vec::new(),
                present: Vec::new(),
                absent: Vec::new(),
                without: Vec::new(),
            });
            rows.len() - 1
        });
        rows[at].methods.extend(call.methods.iter().map(String::as_str));
        for (method, found) in call.methods.iter().zip(found(call)) {
            match (found, &call.answers) {
                (Found::Without, Answers::Without(what, _)) => rows[at].without.push(what),
                (Found::Absent, _) => rows[at].absent.push(method),
                _ => rows[at].present.push(method),
            }
        }
    }
    rows
}
