//! A plugin that speaks the protocol, as a program on the `PATH`: it "wraps" by writing the file key down.

use crate::world::World;
use keyward_crypto::bech32;
use keyward_tests::binary::sealer;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

/// Answers both state machines with what it was told; the file key stands in the stanza, turned around.
const PLUGIN: &str = r#"#!/usr/bin/env python3
import base64, sys
def read():
    head = sys.stdin.readline().rstrip("\n").split(" ")[1:]
    body = ""
    while True:
        line = sys.stdin.readline().rstrip("\n")
        body += line
        if len(line) < 64:
            return head, base64.b64decode(body + "=" * (-len(body) % 4))
def write(head, body=b""):
    text = base64.b64encode(body).decode().rstrip("=")
    print("-> " + " ".join(head)); print(text); sys.stdout.flush()
told = []
while not told or told[-1][0][0] != "done":
    told.append(read())
write(["grease-" + "x" * 5, "1"])
assert read()[0] == ["unsupported"]
if sys.argv[1] == "--age-plugin=recipient-v1":
    key = next(body for head, body in told if head[0] == "wrap-file-key")
    write(["recipient-stanza", "0", "test", "odd"], key[::-1])
    assert read()[0] == ["ok"]
else:
    for head, body in told:
        if head[:3] == ["recipient-stanza", "0", "test"]:
            write(["file-key", "0"], body[::-1])
            assert read()[0] == ["ok"]
write(["done"])
"#;

#[test]
fn a_plugin_wraps_and_unwraps() {
    let world = World::new();
    let program = world.path("age-plugin-test");
    fs::write(&program, PLUGIN).unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    let identity = bech32::encode_upper("age-plugin-test-", b"identity");
    fs::write(world.path("identity"), identity.expose()).unwrap();
    fs::set_permissions(world.path("identity"), fs::Permissions::from_mode(0o600)).unwrap();
    let recipient = bech32::encode("age1test", b"recipient");
    let secret = b"apiVersion: v1\nkind: Secret\nmetadata: {name: db, namespace: shop}\nstringData: {password: correct horse}\n";
    let path = format!("{}:{}", world.folder().display(), std::env::var("PATH").unwrap());
    let with_plugin = |words: &str, input: &[u8]| {
        let mut command = Command::new(sealer());
        command.args(words.split_whitespace()).env("PATH", &path);
        world.run(&mut command, input)
    };
    let seal = format!("seal - --to apps/db.yaml -r {recipient} --sign-with author.key");
    let sealed = with_plugin(&seal, secret);
    assert_eq!(sealed.code, Some(0), "{}", sealed.err);
    let opened = with_plugin("open -i identity --key password apps/db.yaml", b"");
    assert_eq!((opened.code, opened.out.as_str()), (Some(0), "correct horse"), "{}", opened.err);
    let missing = world.says("open -i identity apps/db.yaml", b"");
    assert!(
        missing.code == Some(1) && missing.err.contains("age-plugin-test is not on the PATH"),
        "{}",
        missing.err
    );
}
