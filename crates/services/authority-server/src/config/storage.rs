//! Where secrets are kept.

use super::build::{Found, Root};
use super::report::{Place, Report};
use super::schema::{self, Table};
use super::{Storage, keys, vault};
use std::path::PathBuf;

const REMEDY: &str = "write storage \"sqlite\" { path = \"/var/lib/keyward\" }";

/// The storage of the last file that declares one.
pub(super) fn storage(report: &mut Report, root: &Root<'_>, whole: bool) -> Option<Storage> {
    let before = report.mistakes();
    let mut blocks = root.blocks(report, "storage", 1);
    blocks.extend(root.blocks(report, "backend", 1));
    blocks.sort_by_key(Found::place);
    let mut last: Option<(usize, Option<Storage>)> = None;
    for block in &blocks {
        if last.as_ref().is_some_and(|(file, _)| *file == block.file) {
            report.mistake(block.place(), "a second storage in the same file", "remove one of the two");
        }
        last = Some((block.file, one(report, block)));
    }
    if last.is_none() && whole && report.mistakes() == before {
        report.mistake(Place { file: 0, at: None }, "there is no storage", REMEDY);
    }
    last.and_then(|(_, storage)| storage)
}

fn one(report: &mut Report, block: &Found<'_>) -> Option<Storage> {
    let kind = block.kind();
    let table: &Table = match kind.as_str() {
        "sqlite" => &keys::SQLITE,
        "memory" => &keys::MEMORY,
        "file" => &keys::FILE,
        "raft" => &keys::RAFT,
        "inmem" | "inmem_ha" | "inmem_transactional" | "inmem_transactional_ha" => &keys::INMEM,
        _ => {
            let known = ["sqlite", "memory", "file", "raft", "inmem"];
            let (what, remedy) = if vault::STORAGES.contains(&kind.as_str()) {
                (format!("storage \"{kind}\" is not available"), REMEDY.to_owned())
            } else {
                let near = schema::nearest(&kind, known.into_iter());
                let remedy =
                    near.map_or_else(|| REMEDY.to_owned(), |near| format!("did you mean \"{near}\"?"));
                (format!("storage \"{kind}\" is unknown"), remedy)
            };
            report.mistake(block.place(), what, remedy);
            return None;
        }
    };
    schema::check(report, block.file, block.block.body, table);
    if !table.entries().any(|entry| entry.name == "path") {
        return Some(Storage::Memory);
    }
    match (block.get("path"), block.text("path")) {
        (_, Some(path)) => {
            if table.name != keys::SQLITE.name {
                let what = format!(
                    "storage \"{kind}\" is kept in SQLite: Vault's own data in that folder is not read"
                );
                report.warn(block.place(), what);
            }
            Some(Storage::Sqlite(PathBuf::from(path)))
        }
        // No text, which is reported.
        (Some(_), None) => None,
        (None, None) => {
            let what = format!("storage \"{kind}\" has no `path`");
            report.mistake(block.place(), what, "name the folder the database is kept in");
            None
        }
    }
}
