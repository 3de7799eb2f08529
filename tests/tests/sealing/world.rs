//! A folder with a root, rules and keys, and the program run in it.

use keyward_testkit::process::run;
use keyward_tests::binary::sealer;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;
use tempfile::TempDir;

pub(crate) struct World {
    folder: TempDir,
}

pub(crate) struct Said {
    pub(crate) code: Option<i32>,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl World {
    /// With a root of which two of three shares are needed, an identity `shop.key`, an author `author.key` and rules.
    pub(crate) fn new() -> World {
        let world = World { folder: tempfile::tempdir().unwrap() };
        fs::create_dir_all(world.path("shares")).unwrap();
        fs::create_dir_all(world.path("apps")).unwrap();
        world.done("root init --shares 3 --required 2 --to shares --for prod/shop", b"");
        let shop = world.derive("prod/shop", "shop.key");
        let author = world.derive("author", "author.key");
        let rules = format!(
            "apiVersion: keyward.io/v1alpha1\nkind: SealingRules\nrecipients: {{shop: {shop}}}\nauthors: {{root: {author}}}\n\
             rules:\n- clusters: [prod]\n  recipients: [shop]\n  allowMixed: true\n"
        );
        fs::write(world.path(".keyward.yaml"), rules).unwrap();
        world
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn shares(&self) -> String {
        let mut names: Vec<String> = fs::read_dir(self.path("shares"))
            .unwrap()
            .map(|entry| format!("--share shares/{}", entry.unwrap().file_name().into_string().unwrap()))
            .collect();
        names.sort();
        names[..2].join(" ")
    }

    fn derive(&self, what: &str, to: &str) -> String {
        self.done(&format!("root derive {what} {} --to {to}", self.shares()), b"").trim().to_owned()
    }

    pub(crate) fn says(&self, words: &str, input: &[u8]) -> Said {
        let mut command = Command::new(sealer());
        command.args(words.split_whitespace());
        self.run(&mut command, input)
    }

    pub(crate) fn run(&self, command: &mut Command, input: &[u8]) -> Said {
        command.current_dir(self.folder.path()).env_remove("KEYWARD_SIGN_WITH");
        let ended = run(command, input, Duration::from_secs(120)).unwrap();
        let out = String::from_utf8_lossy(&ended.stdout).into_owned();
        Said { code: ended.status.code(), out, err: ended.stderr }
    }

    /// What is printed by words that succeed.
    pub(crate) fn done(&self, words: &str, input: &[u8]) -> String {
        let said = self.says(words, input);
        assert_eq!(said.code, Some(0), "{words}: {}{}", said.out, said.err);
        said.out
    }

    /// Seals `db` with a username and a password in `apps/db.yaml`.
    pub(crate) fn seal(&self) {
        let secret = b"apiVersion: v1\nkind: Secret\nmetadata: {name: db, namespace: shop}\nstringData: {username: ada, password: correct horse}\n";
        self.done("seal - --to apps/db.yaml --subject web --sign-with author.key", secret);
    }

    /// Seals two values for one recipient in `apps/token.yaml`.
    pub(crate) fn seal_for(&self, recipient: &str) {
        let secret = b"apiVersion: v1\nkind: Secret\nmetadata: {name: token, namespace: shop}\nstringData: {one: first, two: second}\n";
        self.done(&format!("seal - --to apps/token.yaml -r {recipient} --sign-with author.key"), secret);
    }

    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }
}
