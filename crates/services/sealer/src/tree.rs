//! Trees of manifests, as they lie in Git.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use keyward_crypto::age::{self, Unwrap, armor};
use keyward_intent::{SealedSecret, yaml};

use crate::{SealerError, files};

/// The files below `paths` that may hold manifests, in order: by their extension, without hidden folders and without
/// following links. A file that is named itself is always one of them.
pub fn manifests(paths: &[PathBuf]) -> Result<Vec<PathBuf>, SealerError> {
    let mut found = Vec::new();
    for path in paths {
        let kind = fs::metadata(path).map_err(|why| SealerError::at(path, why))?;
        if kind.is_dir() {
            walk(path, &mut found)?;
        } else {
            found.push(path.clone());
        }
    }
    found.sort();
    found.dedup();
    Ok(found)
}

fn walk(folder: &Path, found: &mut Vec<PathBuf>) -> Result<(), SealerError> {
    let entries = fs::read_dir(folder).map_err(|why| SealerError::at(folder, why))?;
    for entry in entries {
        let entry = entry.map_err(|why| SealerError::at(folder, why))?;
        let kind = entry.file_type().map_err(|why| SealerError::at(folder, why))?;
        let (path, name) = (entry.path(), entry.file_name());
        let hidden = name.to_string_lossy().starts_with('.');
        if kind.is_dir() && !hidden {
            walk(&path, found)?;
        } else if kind.is_file() && !hidden && is_manifest(&path) {
            found.push(path);
        }
    }
    Ok(())
}

fn is_manifest(path: &Path) -> bool {
    path.extension().is_some_and(|extension| ["yaml", "yml", "json"].iter().any(|known| extension == *known))
}

/// A file of documents, of which some may be replaced.
pub struct Manifest {
    path: PathBuf,
    documents: Vec<String>,
    changed: bool,
}

impl Manifest {
    /// Reads a file.
    pub fn read(path: &Path) -> Result<Manifest, SealerError> {
        let text = files::read_text(path)?;
        let documents = yaml::documents(text.expose()).into_iter().map(str::to_owned).collect();
        Ok(Manifest { path: path.to_owned(), documents, changed: false })
    }

    /// The documents, as they stand.
    pub fn documents(&self) -> &[String] {
        &self.documents
    }

    /// The sealed secrets in it, by the number of their document. One that cannot be read is an error: who looks for what is left
    /// of something must not pass it over.
    pub fn sealed(&self) -> Result<Vec<(usize, SealedSecret)>, SealerError> {
        let mut found = Vec::new();
        for (at, document) in self.documents.iter().enumerate() {
            // Cheap, and right for all but what names the kind in a way nobody writes.
            if !document.contains("SealedSecret") {
                continue;
            }
            let body = yaml::body(document);
            let is_ours = match yaml::read(body) {
                Ok(kind) => SealedSecret::is(&kind),
                // Templates and kinds of other tools are none of our business.
                Err(_) => yaml::says_kind(body, "SealedSecret") && body.contains("keyward.io/v1alpha1"),
            };
            if is_ours {
                let object = SealedSecret::read(body);
                found.push((at, object.map_err(|why| SealerError::at(&self.path, why))?));
            }
        }
        Ok(found)
    }

    /// The one sealed secret in it.
    pub fn only(&self) -> Result<(usize, SealedSecret), SealerError> {
        let mut found = self.sealed()?;
        match (found.pop(), found.is_empty()) {
            (Some(one), true) => Ok(one),
            (None, _) => Err(SealerError::at(&self.path, "it holds no SealedSecret of keyward.io/v1alpha1")),
            _ => Err(SealerError::at(&self.path, "it holds several sealed secrets: divide the file")),
        }
    }

    /// Puts an object in the place of a document.
    pub fn put(&mut self, at: usize, object: &SealedSecret) -> Result<(), SealerError> {
        let text = object.write().map_err(|why| SealerError::at(&self.path, why))?;
        if let Some(document) = self.documents.get_mut(at) {
            let divided = document.trim_start().starts_with("---");
            *document = if divided { format!("---\n{text}") } else { text };
            self.changed = true;
        }
        Ok(())
    }

    /// Writes the file, when something changed.
    pub fn save(&self) -> Result<bool, SealerError> {
        if self.changed {
            files::replace(&self.path, self.documents.concat().as_bytes())?;
        }
        Ok(self.changed)
    }
}

/// The age files of an object: its values, or the shares of its own identity.
fn headers(object: &SealedSecret) -> Result<Vec<age::Header>, SealerError> {
    let shares = object.spec.threshold.iter().flat_map(|threshold| &threshold.shares);
    let files = shares.map(|share| &share.data).chain(object.spec.items.values().map(|item| &item.data));
    let each = files.map(|data| {
        let mut file = std::io::BufReader::new(armor::Reader::new(data.as_bytes()));
        age::Header::read(&mut file).map_err(|why| SealerError(why.to_string()))
    });
    each.collect()
}

/// For how many recipients the values of an object really are sealed: the most that any of its age files has. What a manifest
/// says of its recipients nobody signed.
pub fn stanzas(object: &SealedSecret) -> Result<usize, SealerError> {
    Ok(headers(object)?.iter().map(|header| header.stanzas().len()).max().unwrap_or(0))
}

/// Whether any of an object's age files opens for one of the identities, found out by trying.
pub fn opens(object: &SealedSecret, identities: &[&dyn Unwrap]) -> Result<bool, SealerError> {
    // Anything but that none of them is a recipient counts as opening: this proves that nothing is left.
    Ok(headers(object)?
        .iter()
        .any(|header| age::unwrap(header, identities).err() != Some(age::Error::NoMatch)))
}

/// What was done to each file of a tree.
pub struct Outcome<T> {
    /// The file.
    pub path: PathBuf,
    /// What came of it.
    pub result: Result<T, SealerError>,
}

/// Does `work` to each file, on `threads` threads, and calls `progress` with how many are done. The outcomes come in the order
/// of the files.
pub fn each<T: Send>(
    paths: &[PathBuf],
    threads: usize,
    work: &(dyn Fn(&Path) -> Result<T, SealerError> + Sync),
    progress: &(dyn Fn(usize) + Sync),
) -> Vec<Outcome<T>> {
    let (next, done) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let results: Mutex<Vec<(usize, Result<T, SealerError>)>> = Mutex::new(Vec::with_capacity(paths.len()));
    std::thread::scope(|scope| {
        for _ in 0..threads.clamp(1, paths.len().max(1)) {
            scope.spawn(|| {
                while let Some((at, path)) = {
                    let at = next.fetch_add(1, Ordering::Relaxed);
                    paths.get(at).map(|path| (at, path))
                } {
                    let result = work(path);
                    results.lock().unwrap_or_else(std::sync::PoisonError::into_inner).push((at, result));
                    progress(done.fetch_add(1, Ordering::Relaxed) + 1);
                }
            });
        }
    });
    let mut results = results.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
    results.sort_by_key(|(at, _)| *at);
    let path = |at: usize| paths.get(at).cloned().unwrap_or_default();
    results.into_iter().map(|(at, result)| Outcome { path: path(at), result }).collect()
}
