//! Identities in tokens: SoftHSM, and a TPM in software. The commands are the program's own, the judges are OpenSC's tool and
//! stock age.

use crate::world::{Said, World};
use keyward_testkit::process::run;
use keyward_testkit::require;
use keyward_tests::binary::{keyward, sealer};
use keyward_tests::devices::{Device, LABEL, PIN};
use keyward_tests::server::Server;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

/// Somebody with a token, in a folder with a root and rules.
struct Owner {
    world: World,
    device: Device,
    _folder: tempfile::TempDir,
}

impl Owner {
    fn of(device: fn(&Path) -> Option<Device>) -> Option<Owner> {
        let folder = tempfile::tempdir().unwrap();
        let device = device(folder.path())?;
        let world = World::new();
        private(&world.path("pin"), &format!("{PIN}\n"));
        Some(Owner { world, device, _folder: folder })
    }

    fn command(&self, program: &Path, words: &str) -> Command {
        let mut command = Command::new(program);
        command.args(words.split_whitespace().map(|word| word.replace("MODULE", self.device.module)));
        command.env("KEYWARD_PKCS11_PIN_FILE", self.world.path("pin"));
        self.device.found_by(&mut command);
        command
    }

    fn says(&self, words: &str, input: &[u8]) -> Said {
        self.world.run(&mut self.command(keyward(), words), input)
    }

    fn done(&self, words: &str, input: &[u8]) -> String {
        let said = self.says(words, input);
        assert_eq!(said.code, Some(0), "{words}: {}{}", said.out, said.err);
        assert!(!said.out.contains(PIN) && !said.err.contains(PIN), "{words} tells the PIN");
        said.out
    }

    /// What it says when it does not do something; never the PIN.
    fn refusal(&self, words: &str, environment: &[(&str, &str)]) -> String {
        let mut command = self.command(keyward(), words);
        command.envs(environment.iter().copied());
        let said = self.world.run(&mut command, b"");
        assert_eq!((said.code, said.out.as_str()), (Some(1), ""), "{words}: {}", said.err);
        assert!(!said.err.contains(PIN), "{words} tells the PIN: {}", said.err);
        said.err
    }

    /// An age file for a recipient, whose text may have spaces.
    fn seals_file(&self, recipient: &str, text: &str, to: &str) {
        let mut seal = self.command(keyward(), "seal --age -");
        let sealed = self.world.run(seal.args(["-r", recipient]), text.as_bytes());
        assert_eq!(sealed.code, Some(0), "{}", sealed.err);
        fs::write(self.world.path(to), sealed.out).unwrap();
    }

    fn keygen(&self, more: &str) -> String {
        let made = self.done(&format!("pkcs11 keygen --module MODULE --token {LABEL} {more}"), b"");
        made.trim().to_owned()
    }
}

/// Writes a file that its owner alone may read.
fn private(path: &Path, text: &str) {
    fs::write(path, text).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o600)).unwrap();
}

/// The age project's own program, of the version that `tests/go/age` requires.
fn stock_age(folder: &Path) -> Result<PathBuf, String> {
    let program = folder.join("age");
    let mut go = Command::new("go");
    go.args(["build", "-o"]).arg(&program).arg("filippo.io/age/cmd/age");
    go.current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/go/age"));
    let built = run(&mut go, b"", Duration::from_secs(540)).map_err(|why| format!("go: {why}"))?;
    match built.status.success() {
        true => Ok(program),
        false => Err(format!("age cannot be built: {}", built.stderr)),
    }
}

/// A secret, a root's shares and an authority's unseal keys are sealed for the key in the token, and opened with it.
fn seals_and_opens(owner: &Owner, kind: &str) {
    let (world, device) = (&owner.world, &owner.device);
    let tokens = owner.done("pkcs11 list --module MODULE", b"");
    assert!(tokens.contains(LABEL), "{tokens}");
    let recipient = owner.keygen("--id 0a --to ada.txt");
    assert!(recipient.starts_with(kind), "{recipient}");
    let shown = device.as_owner(&["--list-objects", "--type", "privkey"]);
    assert!(shown.contains("always sensitive, never extractable"), "{shown}");
    let keys = owner.done(&format!("pkcs11 list --module MODULE --token {LABEL}"), b"");
    assert!(
        keys.contains("0a") && keys.contains("never leaves the token") && keys.contains(&recipient),
        "{keys}"
    );
    owner.done(&format!("pkcs11 identity --module MODULE --token {LABEL} --id 0a --to again.txt"), b"");
    let last = |name: &str| fs::read_to_string(world.path(name)).unwrap().lines().last().unwrap().to_owned();
    assert_eq!(last("again.txt"), last("ada.txt"));

    // The rules name it.
    let rules = fs::read_to_string(world.path(".keyward.yaml")).unwrap();
    let line = rules.lines().find(|line| line.starts_with("recipients:")).unwrap();
    let named = format!("recipients: {{ada: \"{recipient}\"}}");
    fs::write(world.path(".keyward.yaml"), rules.replace(line, &named).replace("[shop]", "[ada]")).unwrap();
    world.seal();
    assert_eq!(owner.done("open -i ada.txt --key password apps/db.yaml", b""), "correct horse");
    owner.done("set apps/db.yaml password --from - --sign-with author.key", b"battery staple");
    let mut edit = owner.command(keyward(), "edit apps/db.yaml password -i ada.txt --sign-with author.key");
    edit.env("EDITOR", "sh -c 'printf 42 >> \"$1\"' sh").env_remove("VISUAL");
    let edited = world.run(&mut edit, b"");
    assert_eq!(edited.code, Some(0), "{}", edited.err);
    assert_eq!(owner.done("open -i ada.txt --key password apps/db.yaml", b""), "battery staple42");

    // Custodians of a root.
    fs::create_dir(world.path("custody")).unwrap();
    let mut init = owner
        .command(keyward(), "root init --shares 2 --required 2 --to custody --document r.yaml --for prod");
    init.args(["--custodian", &recipient, "--custodian", &recipient]);
    let made = world.run(&mut init, b"");
    assert_eq!(made.code, Some(0), "{}", made.err);
    let mut shares: Vec<_> =
        fs::read_dir(world.path("custody")).unwrap().map(|entry| entry.unwrap().path()).collect();
    shares.sort();
    let shares: Vec<String> = shares.iter().map(|share| format!("--share {}", share.display())).collect();
    let verified = owner.done(&format!("root verify --document r.yaml -i ada.txt {}", shares.join(" ")), b"");
    assert!(verified.contains("comes from it"), "{verified}");

    // The authority's unseal keys.
    let server = Server::configured(
        "listener \"tcp\" {\n  address = \"ADDRESS\"\n  tls_disable = true\n}\nstorage \"inmem\" {}\n",
    );
    let mut operator = owner.command(keyward(), "operator init -n 1 -t 1 --to unseal.age");
    operator.args(["--recipient", &recipient]).env("VAULT_ADDR", server.url());
    let sealed = world.run(&mut operator, b"");
    assert_eq!(sealed.code, Some(0), "{}", sealed.err);
    let keys = owner.done("open --age -i ada.txt unseal.age", b"");
    assert!(keys.trim().len() > 40, "{}", keys.len());
}

#[test]
fn a_token_holds_an_identity() {
    let Some(owner) = Owner::of(Device::soft_hsm) else { return };
    seals_and_opens(&owner, "age1tag1");
    // The same with RSA, which age knows by another name.
    let recipient = owner.keygen("--type rsa2048 --id 0b --to rsa.txt");
    assert!(recipient.starts_with("ssh-rsa "), "{recipient}");
    owner.seals_file(&recipient, "a line", "notes.age");
    assert_eq!(owner.done("open --age -i rsa.txt notes.age", b""), "a line");
    assert!(owner.refusal("open --age -i ada.txt notes.age", &[]).contains("none of the identities"));
}

#[test]
fn a_tpm_holds_an_identity() {
    let Some(owner) = Owner::of(Device::tpm) else { return };
    seals_and_opens(&owner, "ssh-rsa ");
    // The TPM itself counts wrong PINs.
    private(&owner.world.path("wrong"), "9999");
    let wrong = owner.world.path("wrong").display().to_string();
    let open = || {
        owner.refusal("open -i ada.txt --key password apps/db.yaml", &[("KEYWARD_PKCS11_PIN_FILE", &wrong)])
    };
    let first = open();
    assert!(first.contains("not the PIN of token ada"), "{first}");
    let said: Vec<String> = (0..40).map(|_| open()).take_while(|said| !said.contains("is locked")).collect();
    assert!(said.len() < 40 && said.iter().all(|said| said.contains("not the PIN")), "{said:?}");
    let right = owner.refusal("open -i ada.txt --key password apps/db.yaml", &[]);
    assert!(right.contains("token ada is locked") && right.contains("security officer"), "{right}");
}

#[test]
fn stock_age_opens_with_a_token() {
    let Some(owner) = Owner::of(Device::soft_hsm) else { return };
    let built = stock_age(owner.world.folder());
    if !require(built.as_ref()) {
        return;
    }
    let (world, age) = (&owner.world, built.unwrap());
    let recipient = owner.keygen("--to ada.txt");
    fs::create_dir(world.path("bin")).unwrap();
    std::os::unix::fs::symlink(keyward(), world.path("bin/age-plugin-keyward")).unwrap();
    let path = format!("{}:{}", world.path("bin").display(), std::env::var("PATH").unwrap());
    let stock = |words: &str, input: &[u8]| {
        let said = world.run(owner.command(&age, words).env("PATH", &path), input);
        assert_eq!(said.code, Some(0), "{words}: {}", said.err);
        said.out
    };
    // What stock age seals, for the recipient and for the identity, opens here.
    stock(&format!("-r {recipient} -o a.age -"), b"from age");
    assert_eq!(owner.done("open --age -i ada.txt a.age", b""), "from age");
    stock("-e -i ada.txt -o b.age -", b"by the identity");
    assert_eq!(owner.done("open --age -i ada.txt b.age", b""), "by the identity");
    // What is sealed here opens with stock age, and with a build of ours that has no tokens in it.
    owner.seals_file(&recipient, "from keyward", "c.age");
    assert_eq!(stock("-d -i ada.txt c.age", b""), "from keyward");
    let opened = world.run(owner.command(sealer(), "open --age -i ada.txt c.age").env("PATH", &path), b"");
    assert_eq!((opened.code, opened.out.as_str()), (Some(0), "from keyward"), "{}", opened.err);
    let without = world.run(&mut owner.command(sealer(), "open --age -i ada.txt c.age"), b"");
    assert!(without.code == Some(1) && without.err.contains("put a link of that name"), "{}", without.err);
    // A person at a terminal types the PIN, to either, and to ours once for all values.
    world.seal_for(&recipient);
    for (words, questions) in [
        (format!("{} -d -i ada.txt c.age", age.display()), 1),
        (format!("{} open -i ada.txt apps/token.yaml", keyward().display()), 1),
    ] {
        let mut terminal = owner.command(Path::new("script"), "-q -e -c");
        terminal.arg(&words).arg("/dev/null").env("PATH", &path).env_remove("KEYWARD_PKCS11_PIN_FILE");
        let said = world.run(&mut terminal, format!("{PIN}\n").as_bytes());
        assert_eq!(said.code, Some(0), "{words}: {}{}", said.out, said.err);
        assert_eq!(said.out.matches("PIN of token ada").count(), questions, "{words}: {}", said.out);
    }
    // Its errors reach whoever runs stock age.
    private(&world.path("wrong"), "9999");
    let mut wrong = owner.command(&age, "-d -i ada.txt c.age");
    wrong.env("PATH", &path).env("KEYWARD_PKCS11_PIN_FILE", world.path("wrong"));
    let said = world.run(&mut wrong, b"");
    assert!(said.code != Some(0) && said.err.contains("not the PIN of token ada"), "{}", said.err);
}

#[test]
fn what_is_wrong_with_a_token_is_said_with_what_to_do() {
    let Some(owner) = Owner::of(Device::soft_hsm) else { return };
    let world = &owner.world;
    let recipient = owner.keygen("--id 01 --to ada.txt");
    owner.seals_file(&recipient, "hush", "c.age");
    let open = "open --age -i ada.txt c.age";
    let refused = |environment: &[(&str, &str)], wanted: &[&str]| {
        let said = owner.refusal(open, environment);
        assert!(wanted.iter().all(|words| said.contains(words)), "{said}");
    };
    let path = |name: &str| world.path(name).display().to_string();
    private(&world.path("wrong"), "9999");
    private(&world.path("empty"), "\n");
    fs::write(world.path("public"), PIN).unwrap();
    fs::set_permissions(world.path("public"), fs::Permissions::from_mode(0o644)).unwrap();
    let pin = |name: &str| [("KEYWARD_PKCS11_PIN_FILE", path(name))];
    for (name, words) in [
        ("wrong", "not the PIN of token ada"),
        ("empty", "it holds no PIN"),
        ("public", "chmod 600"),
        ("absent", "No such file"),
    ] {
        let [(key, value)] = pin(name);
        refused(&[(key, &value)], &[words]);
    }
    refused(
        &[("KEYWARD_PKCS11_MODULE", "/nowhere/module.so")],
        &["/nowhere/module.so", "Install the token's software"],
    );
    refused(&[("KEYWARD_PKCS11_MODULE", "libsofthsm2.so")], &["named by its whole path"]);
    refused(&[("KEYWARD_PKCS11_MODULE", "/usr/lib/x86_64-linux-gnu/libc.so.6")], &["cannot be used"]);
    // Without a terminal nobody can be asked.
    let mut alone = Command::new("setsid");
    alone.arg("-w").arg(keyward()).args(open.split(' ')).env_remove("KEYWARD_PKCS11_PIN_FILE");
    let said = world.run(owner.device.found_by(&mut alone), b"");
    assert!(
        said.code == Some(1) && said.err.contains("name the file by KEYWARD_PKCS11_PIN_FILE"),
        "{}",
        said.err
    );

    // Another token in the reader.
    fs::create_dir(world.path("other")).unwrap();
    private(&world.path("other.conf"), &format!("directories.tokendir = {}\n", path("other")));
    refused(&[("SOFTHSM2_CONF", &path("other.conf"))], &["there is no token ada", "plug it in"]);
    // Ids and files that are taken, and an id of nothing.
    let again = format!("pkcs11 keygen --module MODULE --token {LABEL}");
    let taken = owner.refusal(&format!("{again} --id 01 --to more.txt"), &[]);
    assert!(taken.contains("has a key 01 already") && !world.path("more.txt").exists(), "{taken}");
    assert!(owner.refusal(&format!("{again} --to ada.txt"), &[]).contains("not overwritten"));
    let absent = format!("pkcs11 identity --module MODULE --token {LABEL} --id ff --to more.txt");
    assert!(owner.refusal(&absent, &[]).contains("no key ff"));
    // A key that the token would give out is no identity.
    let keypair =
        ["--keypairgen", "--key-type", "EC:prime256v1", "--usage-derive", "--extractable", "--id", "0c"];
    owner.device.as_owner(&keypair);
    let loose = format!("pkcs11 identity --module MODULE --token {LABEL} --id 0c --to more.txt");
    assert!(owner.refusal(&loose, &[]).contains("would give key 0c out"));
    // The key is removed; and then there is another in its place.
    owner.device.as_owner(&["--delete-object", "--type", "privkey", "--id", "01"]);
    refused(&[], &["no key 01", "another recipient"]);
    owner.device.as_owner(&["--delete-object", "--type", "pubkey", "--id", "01"]);
    owner.keygen("--id 01 --to second.txt");
    refused(&[], &["is not the one this identity was made for"]);
    assert!(owner.refusal("open --age -i second.txt c.age", &[]).contains("none of the identities"));
    // An identity that is damaged.
    let text = fs::read_to_string(world.path("ada.txt")).unwrap();
    let cut = keyward_crypto::bech32::encode_upper("age-plugin-keyward-", &[1, 0]);
    let damaged: String = text
        .lines()
        .map(|line| if line.starts_with('#') { line } else { cut.expose() })
        .collect::<Vec<_>>()
        .join("\n");
    fs::write(world.path("ada.txt"), damaged).unwrap();
    refused(&[], &["keyward pkcs11 identity"]);
}
