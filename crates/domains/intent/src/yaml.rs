//! YAML as manifests are written in it: strict where two readers could understand two things.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::{Invalid, invalid};

/// The longest file that is read: a value of 10 MB is 14 MB in armor.
pub const LONGEST: usize = 64 << 20;

/// What a document says it is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Kind {
    /// Group and version.
    pub api_version: String,
    /// The kind.
    pub kind: String,
}

/// Text from a file's bytes.
pub fn text(bytes: &[u8]) -> Result<&str, Invalid> {
    if bytes.len() > LONGEST {
        return invalid("the file is longer than 64 MiB");
    }
    let text = std::str::from_utf8(bytes);
    let text =
        text.map_err(|why| Invalid(format!("the file is not UTF-8: see byte {}", why.valid_up_to())))?;
    Ok(text.strip_prefix('\u{feff}').unwrap_or(text))
}

/// Reads one document. Keys that stand twice are refused, and so are anchors, aliases and merge keys: what a reviewer sees
/// must be what is read.
pub fn read<T: DeserializeOwned>(text: &str) -> Result<T, Invalid> {
    if text.len() > LONGEST {
        return invalid("the document is longer than 64 MiB");
    }
    let mut options = serde_saphyr::Options::default();
    options.with_snippet = false;
    options.budget = options.budget.map(|mut budget| {
        budget.max_anchors = 0;
        budget.max_aliases = 0;
        budget.max_merge_keys = 0;
        budget.max_documents = 1;
        budget.max_depth = 64;
        budget.max_total_scalar_bytes = LONGEST;
        budget
    });
    // The parser's text tells the place and what was wanted. It may quote a key, but of values it tells only the type.
    serde_saphyr::from_str_with_options(text, options).map_err(|why| Invalid(refused(&why)))
}

/// As [`read`], and ten times as fast where the text is JSON, as programs write it. Copies of what is read may stay behind in
/// memory, so it is for documents without a plaintext.
pub fn read_public<T: DeserializeOwned>(text: &str) -> Result<T, Invalid> {
    match text.len() <= LONGEST {
        true => crate::json::read(text).map_or_else(|| read(text), Ok),
        false => read(text),
    }
}

fn refused(why: &serde_saphyr::Error) -> String {
    let place = why.location().map_or(String::new(), |at| format!("line {}: ", at.line()));
    let said = why.without_snippet().to_string();
    let first = said.lines().next().unwrap_or("it is not YAML").to_owned();
    if first.contains("anchor") || first.contains("alias") || first.contains("Anchors") {
        return format!("{place}anchors and aliases are not taken: write the value where it belongs");
    }
    format!("{place}{first}")
}

/// Writes a document, ending with a line feed; one that could be read again.
pub fn write<T: Serialize>(value: &T) -> Result<String, Invalid> {
    let mut text =
        serde_saphyr::to_string(value).map_err(|why| Invalid(format!("it cannot be written: {why}")))?;
    if !text.ends_with('\n') {
        text.push('\n');
    }
    match text.len() <= LONGEST {
        true => Ok(text),
        // Nobody could read it back.
        false => invalid("it would be longer than 64 MiB: seal a key, and keep what it encrypts elsewhere"),
    }
}

/// The documents of a file, each as it stands there. A line of `---` divides them; comments and empty documents stay with
/// what they stand beside.
pub fn documents(text: &str) -> Vec<&str> {
    let mut starts = vec![0];
    let mut at = 0;
    for line in text.split_inclusive('\n') {
        let bare = line.trim_end();
        if at > 0 && (bare == "---" || bare.starts_with("--- ")) {
            starts.push(at);
        }
        at += line.len();
    }
    starts.push(text.len());
    starts.windows(2).filter_map(|pair| text.get(pair[0]..pair[1])).collect()
}

/// The part of a document behind its `---`.
pub fn body(document: &str) -> &str {
    let bare = document.trim_start();
    match bare.strip_prefix("---") {
        Some(rest) if rest.is_empty() || rest.starts_with(['\n', '\r']) => rest,
        _ => document,
    }
}

/// What a document says it is; nothing when it says nothing that can be read.
pub fn kind(document: &str) -> Kind {
    read(body(document)).unwrap_or_default()
}

/// Whether a part of a document says that this is its kind, for documents that are not taken as a whole: with anchors in them,
/// with keys that stand twice, or templates of other tools.
pub fn says_kind(document: &str, kind: &str) -> bool {
    let mut parts = document.split(['\n', ',', '{', '}']);
    parts.any(|part| {
        let bare: String = part.chars().filter(|letter| !" \t\r\"'".contains(*letter)).collect();
        bare.strip_prefix("kind:") == Some(kind)
    })
}
