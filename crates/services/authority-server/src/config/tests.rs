use super::schema::{Fate, Table};
use super::*;
use std::fmt::Write as _;
use std::path::Path;

/// Set to write the expected files and the documentation's tables anew, to be looked at before they are kept.
const BLESS: &str = "KEYWARD_BLESS";

fn blessing() -> bool {
    std::env::var_os(BLESS).is_some()
}

#[track_caller]
fn expect(path: &Path, found: &str) {
    if blessing() {
        std::fs::write(path, found).unwrap();
    }
    let expected = std::fs::read_to_string(path).unwrap_or_default();
    assert!(
        expected == found,
        "{} says otherwise; if this is right, set {BLESS}=1 and look at the difference:\n{found}",
        path.display()
    );
}

/// Each configuration of a folder: its name and its files. A folder in it is one configuration.
fn configurations(kind: &str) -> Vec<(String, Vec<(String, String)>)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/config").join(kind);
    let names = |folder: &Path| {
        let mut names: Vec<String> = std::fs::read_dir(folder)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    };
    let text = |path: &Path| std::fs::read_to_string(path).unwrap();
    let mut found = Vec::new();
    for name in names(&root) {
        let path = root.join(&name);
        if path.is_dir() {
            let files = names(&path).into_iter().filter(|name| is_read(name));
            found.push((name, files.map(|name| (name.clone(), text(&path.join(name)))).collect()));
        } else if is_read(&name) {
            found.push((name.clone(), vec![(name, text(&path))]));
        }
    }
    found
}

fn expected(kind: &str, name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/config").join(kind).join(format!("{name}.expected"))
}

#[test]
fn configurations_of_keyward_vault_and_openbao_load() {
    let all = configurations("good");
    assert!(all.len() >= 14, "{}", all.len());
    for (name, files) in all {
        let (config, warnings) = read(&files).unwrap_or_else(|mistakes| panic!("{name}:\n{mistakes}"));
        let mut found = String::new();
        for warning in warnings {
            writeln!(found, "{warning}").unwrap();
        }
        writeln!(found, "{config:#?}").unwrap();
        expect(&expected("good", &name), &found);
    }
}

#[test]
fn every_mistake_is_named_at_once() {
    let all = configurations("bad");
    assert!(all.len() >= 20, "{}", all.len());
    for (name, files) in all {
        let mistakes = read(&files).map(|_| ()).expect_err(&name);
        assert!(!mistakes.0.is_empty());
        assert!(
            mistakes.0.iter().all(|mistake| !mistake.what.is_empty() && !mistake.remedy.is_empty()),
            "{mistakes}"
        );
        assert!(!mistakes.to_string().contains("hunter2"), "{mistakes}");
        expect(&expected("bad", &name), &format!("{mistakes}\n"));
    }
}

/// The rows of a table of the documentation.
fn rows(table: &Table) -> String {
    let mut text = String::from("| key | type | default | |\n|---|---|---|---|\n");
    for entry in table.entries() {
        let usual = if entry.usual.is_empty() { String::new() } else { format!("`{}`", entry.usual) };
        let (usual, about) = match entry.fate {
            Fate::Used => (usual, entry.about.to_owned()),
            Fate::Idle => (String::new(), format!("no effect: {}", entry.about)),
            Fate::Inert => (String::new(), "no effect".to_owned()),
            Fate::Absent(remedy) if entry.usual.is_empty() => {
                (String::new(), format!("**refused**: {}; {remedy}", entry.about))
            }
            Fate::Absent(remedy) => {
                (String::new(), format!("**refused** unless {usual}: {}; {remedy}", entry.about))
            }
        };
        writeln!(
            text,
            "| `{}` | {} | {usual} | {} |",
            entry.name,
            entry.shape.name(),
            about.replace('|', "\\|")
        )
        .unwrap();
    }
    text
}

#[test]
fn the_documentation_has_every_key() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../docs/configuration.md");
    let text = std::fs::read_to_string(&path).unwrap();
    let mut wanted = text.clone();
    for table in keys::TABLES {
        if table.entries().next().is_none() {
            continue;
        }
        let begin = format!("<!-- keys of {} -->\n", table.name);
        let start = wanted.find(&begin).unwrap_or_else(|| panic!("there is no line {begin}")) + begin.len();
        let length =
            wanted[start..].find("<!-- end -->").unwrap_or_else(|| panic!("{} has no end", table.name));
        wanted.replace_range(start..start + length, &rows(table));
    }
    expect(&path, &wanted);
}

#[test]
fn no_table_has_a_key_twice() {
    for table in keys::TABLES {
        let mut names: Vec<&str> = table.entries().map(|entry| entry.name).collect();
        let count = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), count, "{}", table.name);
        assert!(names.iter().all(|name| *name == name.to_ascii_lowercase()));
    }
}

#[test]
fn files_of_a_folder() {
    for name in ["a.hcl", "b.json", ".hidden.hcl", "#a.hcl"] {
        assert!(is_read(name), "{name}");
    }
    for name in ["a.hcl~", ".#a.hcl", "#a.hcl#", "a.yaml", "hcl", "a.hcl.bak"] {
        assert!(!is_read(name), "{name}");
    }
}

#[test]
fn settings_of_the_authority_follow() {
    let text = "storage \"sqlite\" { path = \"/d\" } listener \"tcp\" { tls_disable = 1 } max_lease_ttl = 60";
    let (config, _) = read(&[("a".to_owned(), text.to_owned())]).unwrap();
    let settings = config.settings();
    assert_eq!((settings.default_ttl, settings.max_ttl), (Duration::from_secs(60), Duration::from_secs(60)));
    assert_eq!((settings.storage_type.as_str(), settings.cluster_name.as_str()), ("sqlite", "keyward"));
}

#[test]
fn nothing_at_all_is_a_mistake() {
    assert_eq!(read(&[]).unwrap_err().0.len(), 2);
}

/// Cuts and joins configurations at every line: there is always an answer, and it names what it was given.
#[test]
fn mangled_configurations_get_an_answer() {
    let texts: Vec<String> = ["good", "bad"]
        .iter()
        .flat_map(|kind| configurations(kind))
        .flat_map(|(_, files)| files.into_iter().map(|(_, text)| text))
        .collect();
    for (number, text) in texts.iter().enumerate() {
        let other = &texts[(number + 7) % texts.len()];
        for cut in text.char_indices().map(|(at, _)| at).step_by(5) {
            let mangled =
                [("a".to_owned(), text[..cut].to_owned() + other), ("b".to_owned(), text[cut..].to_owned())];
            if let Err(mistakes) = read(&mangled) {
                assert!(
                    mistakes.0.iter().all(|mistake| ["a", "b"].contains(&mistake.file.as_str())),
                    "{mistakes}"
                );
                assert!(!mistakes.0.is_empty());
            }
        }
    }
}
