//! What people and programs write otherwise than was thought of: large values, bytes that are no text, YAML that two readers
//! understand differently. It is sealed and opened as it is, or refused by what is wrong with it, and then no file has changed.

use crate::world::World;
use keyward_tests::binary::sealer;
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;

/// Every file below a folder, with what is in it.
fn files(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let read = |path: std::path::PathBuf| match path.is_dir() {
        true => files(&path),
        false => [(path.display().to_string(), fs::read(path).unwrap())].into(),
    };
    entries.flat_map(read).collect()
}

#[test]
fn a_value_of_ten_megabytes_is_sealed_changed_and_opened() {
    let world = World::new();
    world.seal();
    // No text, and nothing that could be compressed or quoted shorter.
    let mut state = 1u32;
    let large: Vec<u8> = std::iter::repeat_with(|| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    })
    .take(10_000_000)
    .collect();
    world.done("set apps/db.yaml large --from - --sign-with author.key", &large);
    world.done("reseal apps/db.yaml -i shop.key", b"");
    world.done("lint apps", b"");
    let mut open = Command::new("sh");
    open.args(["-c", "exec \"$0\" open -i shop.key apps/db.yaml --key large > opened"]).arg(sealer());
    assert_eq!(world.run(&mut open, b"").code, Some(0));
    assert!(fs::read(world.path("opened")).unwrap() == large);
    assert_eq!(world.done("open -i shop.key apps/db.yaml --key password", b""), "correct horse");
    // More than one value may have, more than a manifest that is read may hold, and more than is read at all.
    world.done("set apps/db.yaml second --from - --sign-with author.key", &vec![7; 20 << 20]);
    let before = files(world.folder());
    for (length, wanted) in [(33 << 20, "32 MiB"), (20 << 20, "64 MiB"), (65 << 20, "64 MiB")] {
        let said = world.says("set apps/db.yaml third --from - --sign-with author.key", &vec![7; length]);
        assert_eq!((said.code, said.out.as_str()), (Some(1), ""), "{length}: {}", said.err);
        assert!(said.err.contains(wanted), "{length}: {}", said.err);
        assert!(files(world.folder()) == before, "{length}: something changed");
    }
    world.done("lint apps", b"");
}

#[test]
fn what_could_be_understood_in_two_ways_is_refused_and_changes_nothing() {
    let world = World::new();
    world.seal();
    let head = "apiVersion: v1\nkind: Secret\nmetadata: {name: db, namespace: shop}\n";
    for (name, text, wanted) in [
        ("anchor", format!("{head}stringData: {{a: &x canary, b: *x}}\n"), "anchors"),
        ("merge", format!("{head}x: &x {{a: canary}}\nstringData: {{<<: *x}}\n"), "anchors"),
        ("twice", format!("{head}stringData: {{a: canary, a: other}}\n"), "uplicate"),
        ("again", format!("{head}stringData: {{a: canary}}\nstringData: {{a: other}}\n"), "uplicate"),
        ("binary", format!("{head}data: {{a: canary!}}\n"), "base64"),
    ] {
        fs::write(world.path("secret.yaml"), text).unwrap();
        let before = files(world.folder());
        let said = world.says("seal secret.yaml --to apps/new.yaml --sign-with author.key", b"");
        assert!(said.code == Some(1) && said.err.contains(wanted), "{name}: {}", said.err);
        assert!(!said.err.contains("canary"), "{name}: {}", said.err);
        assert!(files(world.folder()) == before, "{name}: something changed");
    }
    let sealed = fs::read_to_string(world.path("apps/db.yaml")).unwrap();
    let broken = |from: &str, to: &str| sealed.replacen(from, to, 1).into_bytes();
    for (name, bytes, wanted) in [
        ("anchor", broken("name: db", "name: &n db"), "anchors"),
        ("twice", broken("  name: db\n", "  name: db\n  name: other\n"), "uplicate"),
        ("no text", [sealed.as_bytes(), b"# \xff\n"].concat(), "not UTF-8"),
        ("cut", sealed.as_bytes()[..sealed.len() / 2].to_vec(), ""),
    ] {
        assert_ne!(bytes, sealed.as_bytes());
        fs::write(world.path("apps/db.yaml"), bytes).unwrap();
        let before = files(world.folder());
        for words in [
            "open -i shop.key apps/db.yaml",
            "set apps/db.yaml password --from - --sign-with author.key",
            "reseal apps -i shop.key",
            "lint apps",
        ] {
            let said = world.says(words, b"battery staple");
            let told = said.out.clone() + &said.err;
            assert!(said.code == Some(1) && told.contains(wanted), "{name}, {words}: {told}");
            assert!(told.contains("db.yaml"), "{name}, {words}: {told}");
            assert!(files(world.folder()) == before, "{name}, {words}: something changed");
        }
    }
    // A Secret that others would read.
    let wide = format!("\u{feff}{head}stringData: {{a: canary}}\n");
    fs::write(world.path("apps/db.yaml"), wide.encode_utf16().flat_map(u16::to_le_bytes).collect::<Vec<_>>())
        .unwrap();
    let said = world.says("lint apps", b"");
    assert!(said.code == Some(1) && said.out.contains("not UTF-8"), "{}", said.out);
    // The rules say for whom everything is sealed.
    fs::write(world.path("apps/db.yaml"), &sealed).unwrap();
    let rules = fs::read_to_string(world.path(".keyward.yaml")).unwrap();
    for (from, to, wanted) in [
        ("recipients: {", "recipients: {shop: age1x, ", "uplicate"),
        ("clusters: [prod]", "clusters: &c [prod]", "anchors"),
        ("allowMixed: true", "allowMixed: true\n  allowMixed: false", "uplicate"),
    ] {
        fs::write(world.path(".keyward.yaml"), rules.replacen(from, to, 1)).unwrap();
        let before = files(world.folder());
        let said = world.says("set apps/db.yaml password --from - --sign-with author.key", b"x");
        assert!(said.code == Some(1) && said.err.contains(wanted), "{to}: {}", said.err);
        assert!(said.err.contains(".keyward.yaml"), "{}", said.err);
        assert!(files(world.folder()) == before, "{to}: something changed");
    }
}
