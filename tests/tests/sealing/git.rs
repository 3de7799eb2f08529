//! A real Git repository: merges by item, a hook that keeps plaintext out, and nothing secret in its history.

use crate::world::World;
use keyward_tests::binary::sealer;
use keyward_tests::canary::{Canary, sightings};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

fn git(world: &World, words: &[&str]) -> (bool, String) {
    let mut command = Command::new("git");
    command.args(["-c", "user.name=ada", "-c", "user.email=ada@example.com"]).args(words);
    let path = format!("{}:{}", sealer().parent().unwrap().display(), std::env::var("PATH").unwrap());
    let said = world.run(command.env("PATH", path), b"");
    (said.code == Some(0), said.out + &said.err)
}

fn repository() -> World {
    let world = World::new();
    world.seal();
    let hook = world.path(".git/hooks/pre-commit");
    assert!(git(&world, &["init", "--quiet", "--initial-branch=main", "."]).0);
    fs::write(&hook, "#!/bin/sh\nexec keyward lint apps\n").unwrap();
    fs::set_permissions(&hook, fs::Permissions::from_mode(0o755)).unwrap();
    let key = world.path("author.key");
    let driver = format!("keyward merge %O %A %B %P --sign-with {}", key.display());
    assert!(git(&world, &["config", "merge.keyward.driver", &driver]).0);
    fs::write(world.path(".gitattributes"), "apps/** merge=keyward\n").unwrap();
    commit(&world, "one");
    world
}

fn commit(world: &World, message: &str) {
    assert!(git(world, &["add", "apps", ".keyward.yaml", ".gitattributes"]).0);
    let (well, said) = git(world, &["commit", "--quiet", "--message", message]);
    assert!(well, "{said}");
}

fn set(world: &World, key: &str, value: &str) {
    world.done(&format!("set apps/db.yaml {key} --from - --sign-with author.key"), value.as_bytes());
}

#[test]
fn two_branches_that_change_two_values_merge_and_one_value_conflicts() {
    let world = repository();
    assert!(git(&world, &["checkout", "--quiet", "-b", "other"]).0);
    set(&world, "username", "grace of the other branch");
    commit(&world, "theirs");
    assert!(git(&world, &["checkout", "--quiet", "main"]).0);
    set(&world, "password", "battery staple");
    commit(&world, "ours");
    let (well, said) = git(&world, &["merge", "--quiet", "--no-edit", "other"]);
    assert!(well, "{said}");
    let opened = world.done("open -i shop.key -o json apps/db.yaml", b"");
    assert!(opened.contains("grace of the other branch") && opened.contains("battery staple"), "{opened}");
    world.done("lint apps", b"");

    assert!(git(&world, &["checkout", "--quiet", "-b", "third", "HEAD~2"]).0);
    set(&world, "password", "another one");
    commit(&world, "a conflict");
    let (well, said) = git(&world, &["merge", "--no-edit", "main"]);
    assert!(!well && said.contains("item password"), "{said}");
    // The history holds none of the values in any form.
    let canaries = [
        Canary::new("password", b"correct horse"),
        Canary::new("new password", b"battery staple"),
        Canary::new("username", b"grace of the other branch"),
    ];
    let mut unpack = Command::new("sh");
    unpack.args(["-c", "git cat-file --batch --batch-all-objects > objects"]);
    assert_eq!(world.run(&mut unpack, b"").code, Some(0));
    assert!(fs::metadata(world.path("objects")).unwrap().len() > 10_000);
    assert_eq!(sightings(world.folder(), &canaries), Vec::<String>::new());
}

#[test]
fn the_hook_keeps_plaintext_and_moved_objects_out() {
    let world = repository();
    let plain = "apiVersion: v1\nkind: Secret\nmetadata: {name: x}\nstringData: {a: b}\n";
    fs::write(world.path("apps/plain.yaml"), plain).unwrap();
    assert!(git(&world, &["add", "apps"]).0);
    let (well, said) = git(&world, &["commit", "--message", "plain"]);
    assert!(!well && said.contains("plaintext"), "{said}");
    let moved = fs::read_to_string(world.path("apps/db.yaml"))
        .unwrap()
        .replace("namespace: shop", "namespace: thief");
    fs::remove_file(world.path("apps/plain.yaml")).unwrap();
    fs::write(world.path("apps/moved.yaml"), moved).unwrap();
    let said = world.says("lint -o json apps", b"");
    assert!(said.code == Some(1) && said.out.contains("\"signature\""), "{}{}", said.out, said.err);
    let refused = world.says("open -i shop.key apps/moved.yaml", b"");
    assert!(refused.code == Some(1) && refused.out.is_empty(), "{}", refused.out);
    assert!(refused.err.contains("stands in thief"), "{}", refused.err);
}
