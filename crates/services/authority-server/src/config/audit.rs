//! Audit devices declared in the configuration.

use super::build::{Found, Root};
use super::keys;
use super::report::{Place, Report};
use super::schema::{self, Fate, Table};
use keyward_authority::audit::{Device, Sink};
use keyward_authority::hcl::{Object, Value};
use std::collections::{BTreeMap, HashMap};

/// All devices, in the order they are declared.
pub(super) fn devices(report: &mut Report, root: &Root<'_>) -> Vec<Device> {
    let mut devices: Vec<Device> = Vec::new();
    let mut paths: HashMap<String, Place> = HashMap::new();
    let mut sinks: Vec<(Sink, Place)> = Vec::new();
    for block in root.blocks(report, "audit", 2) {
        let place = block.place();
        schema::check(report, block.file, block.block.body, &keys::AUDIT);
        let Some((device, sink)) = device(report, &block) else { continue };
        if let Some(first) = paths.insert(device.path.clone(), place) {
            let first = first.seen_from(place);
            let what = format!("a second audit device at \"{}\", the first is {first}", device.path);
            report.mistake(place, what, "give one of them another path");
        }
        if let Some((_, first)) = sinks.iter().find(|(other, _)| other.is_exclusive() && *other == sink) {
            let what = format!("an audit device writes to the file of the one {}", first.seen_from(place));
            report.mistake(place, what, "give one of them another file");
        }
        sinks.push((sink, place));
        devices.push(device);
    }
    devices
}

fn device(report: &mut Report, block: &Found<'_>) -> Option<(Device, Sink)> {
    let kind = block.kind();
    let known = ["file", "socket", "syslog", "stdout"];
    let table: &Table = match kind.as_str() {
        "file" => &keys::AUDIT_FILE,
        "socket" => &keys::AUDIT_SOCKET,
        "syslog" => &keys::AUDIT_SYSLOG,
        "stdout" => &keys::AUDIT_STDOUT,
        "http" => {
            report.mistake(
                block.place(),
                "audit \"http\" is not available",
                "use file, socket, syslog or stdout",
            );
            return None;
        }
        _ => {
            let near = schema::nearest(&kind, known.into_iter());
            let remedy = near.map_or("use file, socket, syslog or stdout".to_owned(), |near| {
                format!("did you mean \"{near}\"?")
            });
            report.mistake(block.place(), format!("audit \"{kind}\" is unknown"), remedy);
            return None;
        }
    };
    let before = report.mistakes();
    let options = options(report, block, table)?;
    let device = Device {
        path: path(report, block)?,
        kind,
        description: block.text("description").unwrap_or_default().to_owned(),
        local: block.flag("local", false),
        options,
    };
    let sink = sink(report, block, table, &device)?;
    (report.mistakes() == before).then_some((device, sink))
}

/// Values that are right for whichever option must have one.
const FILLERS: [&str; 3] = ["", "/a", "127.0.0.1:1"];

/// Where the device writes. It refuses its options one at a time: each that is refused is set right for the
/// next attempt, so that all of them are reported.
fn sink(report: &mut Report, block: &Found<'_>, table: &Table, device: &Device) -> Option<Sink> {
    let mut attempt = device.clone();
    for _ in table.entries() {
        let refusal = match attempt.config() {
            Ok(config) => return Some(config.sink),
            Err(refusal) => refusal.to_string(),
        };
        let culprit = table.entries().map(|entry| entry.name).find(|name| names(&refusal, name));
        let place = culprit.map_or_else(|| block.place(), |name| option_place(block, name));
        let what = format!("audit \"{}\": {refusal}", device.kind);
        report.mistake(place, what, "correct `options`, see docs/configuration.md");
        let culprit = culprit?;
        for filler in FILLERS {
            attempt.options.insert(culprit.to_owned(), filler.to_owned());
            if attempt.config().err().is_none_or(|refusal| !names(&refusal.to_string(), culprit)) {
                break;
            }
        }
    }
    None
}

/// Whether a sentence has this word.
fn names(sentence: &str, word: &str) -> bool {
    sentence.split(|c: char| !c.is_alphanumeric() && c != '_').any(|found| found == word)
}

fn option_place(block: &Found<'_>, name: &str) -> Place {
    let blocks = block.block.body.blocks("options", 0).into_iter().flatten();
    let at = blocks.filter_map(|options| options.body.get(name)).map(|value| value.at).next_back();
    at.map_or_else(|| block.place(), |at| Place { file: block.file, at: Some(at) })
}

fn path(report: &mut Report, block: &Found<'_>) -> Option<String> {
    let path = block.block.labels.get(1).map_or("", |label| label.text.trim_matches('/'));
    let odd = |c: char| c.is_control() || c.is_whitespace() || c == '*' || c == '+';
    if path.is_empty() || path.contains(odd) || path.split('/').any(|part| matches!(part, "" | "." | "..")) {
        report.mistake(
            block.place(),
            "the audit device's path is none",
            "write audit \"file\" \"NAME\" { … }",
        );
        return None;
    }
    Some(format!("{path}/"))
}

/// The options as texts. Some files write the block several times, or as a list of one.
fn options(report: &mut Report, block: &Found<'_>, table: &Table) -> Option<BTreeMap<String, String>> {
    let mut merged = Object::default();
    for found in block.block.body.blocks("options", 0) {
        match found {
            Ok(options) => merged.items.extend(options.body.items.iter().cloned()),
            Err(error) => {
                report.error(block.file, error);
                return None;
            }
        }
    }
    schema::check(report, block.file, &merged, table);
    let mut texts = BTreeMap::new();
    for entry in table.entries().filter(|entry| entry.fate == Fate::Used) {
        // What is of the wrong type is reported already.
        let value = merged.get(entry.name).filter(|value| schema::fits(value, entry.shape));
        if let Some(text) = value.and_then(Value::as_str).filter(|text| !text.trim().is_empty()) {
            texts.insert(entry.name.to_owned(), text.to_owned());
        }
    }
    if let Some(path) = texts.remove("path") {
        texts.entry("file_path".to_owned()).or_insert(path);
    }
    Some(texts)
}
