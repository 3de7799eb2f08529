//! Policies and resources from files and folders.

use keyward_admission::{Binding, Exception, Loaded, Policy, has_namespace, load, yaml};
use serde_json::{Map, Value};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// The largest file that is read, in bytes.
const LARGEST: u64 = 64 << 20;

/// What files hold that is for the engine.
#[derive(Debug, Default)]
pub struct Policies {
    /// Policies of every kind.
    pub policies: Vec<Policy>,
    /// What they are not for.
    pub exceptions: Vec<Exception>,
    /// Where the API server's own kinds are for.
    pub bindings: Vec<Binding>,
    /// Entries of the global context.
    pub globals: Vec<Value>,
    /// Those that were refused, with the file and the reason.
    pub refused: Vec<(String, String)>,
}

/// The text of a file.
///
/// # Errors
///
/// The file and why it cannot be read.
pub fn text(path: &Path) -> Result<String, String> {
    let named = |why: io::Error| format!("{}: {why}", path.display());
    let size = fs::metadata(path).map_err(named)?.len();
    if size > LARGEST {
        return Err(format!("{}: {size} bytes, of which {LARGEST} are allowed", path.display()));
    }
    fs::read_to_string(path).map_err(named)
}

/// The YAML and JSON files at a path: itself, or those in the folder and its folders, in order.
///
/// # Errors
///
/// What cannot be read.
pub fn files(path: &Path) -> Result<Vec<PathBuf>, String> {
    if !path.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let mut found = Vec::new();
    let named = |why: io::Error| format!("{}: {why}", path.display());
    let mut entries = fs::read_dir(path).map_err(named)?.collect::<Result<Vec<_>, _>>().map_err(named)?;
    entries.sort_by_key(fs::DirEntry::path);
    for entry in entries {
        let path = entry.path();
        if path.is_dir() {
            if entry.file_name() != ".git" {
                found.extend(files(&path)?);
            }
        } else if path.extension().is_some_and(|one| one == "yaml" || one == "yml" || one == "json") {
            found.push(path);
        }
    }
    Ok(found)
}

/// The objects of a file, lists taken apart.
///
/// # Errors
///
/// The file, and the line that is not YAML.
pub fn objects(path: &Path) -> Result<Vec<Value>, String> {
    let values = yaml::values(&text(path)?).map_err(|fault| format!("{}: {fault}", path.display()))?;
    Ok(values.into_iter().flat_map(apart).collect())
}

/// A list as its items; anything else as it is.
pub(crate) fn apart(mut value: Value) -> Vec<Value> {
    let list = value["kind"].as_str().is_some_and(|kind| kind.ends_with("List")) && value["items"].is_array();
    if !list {
        return vec![value];
    }
    match value["items"].take() {
        Value::Array(items) => items,
        _ => Vec::new(),
    }
}

/// The objects of a file as they would be in a cluster: with a namespace, where their kind has one.
///
/// # Errors
///
/// As [`objects`].
pub fn resources(path: &Path) -> Result<Vec<Value>, String> {
    let mut found = objects(path)?;
    found.retain(|object| object["kind"].is_string());
    found.iter_mut().for_each(place);
    Ok(found)
}

/// Puts an object into the namespace `default`, where it has none and its kind has one.
pub fn place(object: &mut Value) {
    if has_namespace(object) && object["metadata"]["namespace"].as_str().unwrap_or_default().is_empty() {
        if !object["metadata"].is_object() {
            object["metadata"] = Value::Object(Map::new());
        }
        object["metadata"]["namespace"] = Value::from("default");
    }
}

pub(crate) fn is_namespaced_policy(object: &Value) -> bool {
    object["kind"] == "Policy" || object["kind"].as_str().is_some_and(|kind| kind.starts_with("Namespaced"))
}

/// Puts a new text in the place of a file, whole or not at all, with the permissions it had.
///
/// # Errors
///
/// The file and why it cannot be written; then it is as it was.
pub fn replace(path: &Path, text: &str) -> Result<(), String> {
    let named = |why: io::Error| format!("{}: {why}", path.display());
    // A link stays one: what it points to is replaced.
    let path = fs::canonicalize(path).map_err(named)?;
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let fresh = path.with_file_name(format!(".{name}.{}.keyward", std::process::id()));
    let written = fs::metadata(&path).and_then(|before| {
        fs::write(&fresh, text)?;
        fs::set_permissions(&fresh, before.permissions())?;
        fs::rename(&fresh, &path)
    });
    written.map_err(|why| {
        let _ = fs::remove_file(&fresh);
        named(why)
    })
}

impl Policies {
    /// Adds what a file or folder has.
    ///
    /// # Errors
    ///
    /// What cannot be read, or is not YAML. A policy that is refused is no error: it is in `refused`.
    pub fn add(&mut self, path: &Path) -> Result<(), String> {
        files(path)?.iter().try_for_each(|file| self.text(&text(file)?, &file.display().to_string()))
    }

    /// Adds what a text has, such as standard input.
    ///
    /// # Errors
    ///
    /// The line that is not YAML.
    pub fn text(&mut self, text: &str, name: &str) -> Result<(), String> {
        let documents = yaml::documents(text).map_err(|fault| format!("{name}: {fault}"))?;
        for document in documents {
            for (index, mut object) in apart(document.value).into_iter().enumerate() {
                if is_namespaced_policy(&object) {
                    place(&mut object);
                }
                let lines = (index == 0).then_some(&document.lines);
                match load(&object, lines) {
                    Ok(Loaded::Policy(policy)) => self.policies.push(*policy),
                    Ok(Loaded::Exception(exception)) => self.exceptions.push(*exception),
                    Ok(Loaded::Binding(binding)) => self.bindings.push(*binding),
                    Ok(Loaded::Other) if object["kind"] == "GlobalContextEntry" => self.globals.push(object),
                    Ok(Loaded::Other) => {}
                    Err(refusal) => self.refused.push((name.to_owned(), refusal.to_string())),
                }
            }
        }
        Ok(())
    }
}
