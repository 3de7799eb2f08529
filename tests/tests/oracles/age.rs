//! Our age files against the age project's own Go module, both ways.

use keyward_crypto::age::{self, Identity, Mixing, Recipient, armor};
use keyward_crypto::keys::{Key, KeyType};
use keyward_crypto::secret::SecretBytes;
use keyward_crypto::{Secret, SystemRandom, ssh};
use keyward_testkit::process::run;
use keyward_testkit::require;
use p256::elliptic_curve::point::AffineCoordinates;
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

/// The program in `tests/go/age`, built once.
fn build(folder: &Path) -> Result<PathBuf, String> {
    let program = folder.join("age");
    let mut go = Command::new("go");
    go.args(["build", "-o"]).arg(&program).arg(".");
    go.current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/go/age"));
    let built = run(&mut go, b"", Duration::from_secs(540)).map_err(|why| format!("go: {why}"))?;
    match built.status.success() {
        true => Ok(program),
        false => Err(format!("the age module cannot be built: {}", built.stderr)),
    }
}

fn theirs(program: &Path, arguments: &[&str], input: &[u8]) -> Vec<u8> {
    let finished = run(Command::new(program).args(arguments), input, Duration::from_secs(60)).unwrap();
    assert!(finished.status.success(), "{arguments:?}: {}", finished.stderr);
    finished.stdout
}

/// Identity files of every kind that both know.
fn identity_files() -> Vec<String> {
    let mut files = vec![
        age::x25519::Identity::generate(&SystemRandom).text().expose().clone(),
        age::pq::Identity::generate(&SystemRandom).text().expose().clone(),
    ];
    for kind in [KeyType::Ed25519, KeyType::Rsa2048] {
        let key = Key::generate(kind, 0, &SystemRandom).unwrap();
        files.push(ssh::private_text(&key).unwrap().expose().clone());
    }
    files
}

#[test]
fn each_opens_what_the_other_sealed() {
    let folder = tempfile::tempdir().unwrap();
    let program = build(folder.path());
    if !require(program.as_ref()) {
        return;
    }
    let program = program.unwrap();
    for (at, file) in identity_files().iter().enumerate() {
        let path = folder.path().join(format!("identity-{at}"));
        fs::write(&path, file).unwrap();
        let identities = age::read_identities(file).unwrap();
        let recipient = identities[0].recipient().unwrap();
        let text = recipient.to_string();
        for length in [0, 5, 65_536, 65_537, 1_000_000] {
            let plaintext = vec![at as u8; length];
            let ours = age::seal(&[&recipient], Mixing::Refuse, &SystemRandom, &plaintext).unwrap();
            let armored = armor::encode(&ours).unwrap();
            for sealed in [ours.as_slice(), armored.as_bytes()] {
                assert!(
                    theirs(&program, &["open", path.to_str().unwrap()], sealed) == plaintext,
                    "{recipient}"
                );
            }
            for flags in [&["seal"][..], &["seal", "-a"]] {
                let arguments = [flags, &[&text]].concat();
                let sealed = theirs(&program, &arguments, &plaintext);
                let opened = age::open(&sealed, &age::identities(&identities), 1 << 24).unwrap();
                assert!(*opened.expose() == plaintext, "{recipient}");
            }
        }
    }
}

/// What a token does, with a key that the Go module made: the x coordinate of the product.
fn token(number: &[u8]) -> impl FnMut(&[u8]) -> Result<SecretBytes, age::Error> + use<> {
    let key = p256::SecretKey::from_slice(number).unwrap();
    move |point: &[u8]| {
        let point = p256::PublicKey::from_sec1_bytes(point).unwrap();
        let product = (point.to_projective() * *key.to_nonzero_scalar()).to_affine();
        Ok(Secret::new(product.x().to_vec()))
    }
}

#[test]
fn recipients_in_hardware_are_sealed_for_alike() {
    let folder = tempfile::tempdir().unwrap();
    let program = build(folder.path());
    if !require(program.as_ref()) {
        return;
    }
    let program = program.unwrap();
    let made = String::from_utf8(theirs(&program, &["keygen", "-tag"], b"")).unwrap();
    let (identity, text) = made.trim().split_once('\n').unwrap();
    let path = folder.path().join("identity");
    fs::write(&path, identity).unwrap();
    let recipient: Recipient = text.parse().unwrap();
    assert_eq!(recipient.to_string(), text);
    let ours = age::seal(&[&recipient], Mixing::Refuse, &SystemRandom, b"correct horse").unwrap();
    assert_eq!(theirs(&program, &["open", path.to_str().unwrap()], &ours), b"correct horse");
    let sealed = theirs(&program, &["seal", text], b"battery staple");
    let mut token = token(&hex::decode(identity.strip_prefix("tag:").unwrap()).unwrap());
    let mut input = sealed.as_slice();
    let header = age::Header::read(&mut input).unwrap();
    let file_key = age::held::unwrap(&recipient, header.stanzas(), &mut token).unwrap().unwrap();
    let mut opened = Vec::new();
    age::begin_payload(&file_key, input).unwrap().read_to_end(&mut opened).unwrap();
    assert_eq!(opened, b"battery staple");
}

#[test]
fn keys_that_the_other_made_are_read() {
    let folder = tempfile::tempdir().unwrap();
    let program = build(folder.path());
    if !require(program.as_ref()) {
        return;
    }
    for arguments in [&["keygen"][..], &["keygen", "-pq"]] {
        let made = String::from_utf8(theirs(program.as_ref().unwrap(), arguments, b"")).unwrap();
        let (identity, recipient) = made.trim().split_once('\n').unwrap();
        let identity: Identity = identity.parse().unwrap();
        assert_eq!(identity.recipient(), Some(recipient.parse::<Recipient>().unwrap()));
    }
}
