//! A registry of the test's own, images in it, and cosign, which signs them.

use crate::http::{Answer, Client};
use keyward_testkit::packages::{self, REGISTRY};
use keyward_testkit::process::{Process, run, wait_for};
use keyward_testkit::tools;
use serde_json::{Value, json};
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

const LIMIT: Duration = Duration::from_secs(60);
const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
/// Who may read where a registry asks: the password is `reads`.
pub const READER: &str = "reader";

/// What can be wanted of these tests; the error says what is missing.
pub fn check() -> Result<(), String> {
    packages::install(REGISTRY)?;
    cosign().map(|_| ())
}

fn cosign() -> Result<PathBuf, String> {
    tools::cosign(Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/go/cosign")))
}

/// A registry on a loopback port.
pub struct Registry {
    process: Process,
    folder: tempfile::TempDir,
    address: SocketAddr,
    login: Option<String>,
}

impl Registry {
    /// Starts one; `command` makes the command that becomes a program, and so says in which network it is. Whoever is to be asked for a
    /// password has `logins`, lines of htpasswd.
    pub fn start(command: impl Fn(&str) -> Command, address: SocketAddr, logins: &str) -> Registry {
        let folder = tempfile::tempdir().unwrap();
        let place = folder.path().display();
        let mut config = format!(
            "version: 0.1\nlog: {{level: error, accesslog: {{disabled: true}}}}\n\
             storage: {{filesystem: {{rootdirectory: {place}/data}}}}\nhttp: {{addr: \"{address}\"}}\n"
        );
        if !logins.is_empty() {
            fs::write(folder.path().join("htpasswd"), logins).unwrap();
            config.push_str(&format!("auth: {{htpasswd: {{realm: images, path: {place}/htpasswd}}}}\n"));
        }
        let file = folder.path().join("config.yml");
        fs::write(&file, config).unwrap();
        let mut serve = command("docker-registry");
        serve.arg("serve").arg(&file).env("OTEL_TRACES_EXPORTER", "none");
        let process = Process::spawn(&mut serve, &folder.path().join("log")).unwrap();
        let login = (!logins.is_empty()).then(|| "Basic cmVhZGVyOnJlYWRz".to_owned());
        Registry { process, folder, address, login }
    }

    /// Waits until it answers, in the network of whoever calls.
    pub fn wait(&self) {
        let answers = || self.ask("GET", "/v2/", &[], None).ok().filter(|answer| answer.status < 500);
        wait_for("the registry", LIMIT, answers)
            .unwrap_or_else(|why| panic!("{why}: {:?}", self.process.output()));
    }

    /// Where it is.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Ends it.
    pub fn stop(&mut self) {
        self.process.kill().unwrap();
    }

    fn ask(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: Option<&[u8]>,
    ) -> std::io::Result<Answer> {
        let client = Client::new(self.address);
        let mut request = client.request(method, path);
        for (name, value) in headers {
            request = request.header(name, value);
        }
        if let Some(login) = &self.login {
            request = request.header("Authorization", login);
        }
        request.body(body.unwrap_or_default()).try_send()
    }

    fn put_blob(&self, repository: &str, contents: &[u8]) -> String {
        let digest = digest(contents);
        let begun =
            self.ask("POST", &format!("/v2/{repository}/blobs/uploads/"), &[], None).unwrap().expect(202);
        let place = begun.header("location").unwrap();
        let path = place.split_once("://").map_or(place, |(_, rest)| &rest[rest.find('/').unwrap()..]);
        let separator = if path.contains('?') { '&' } else { '?' };
        let path = format!("{path}{separator}digest={digest}");
        let kind = [("Content-Type", "application/octet-stream")];
        self.ask("PUT", &path, &kind, Some(contents)).unwrap().expect(201);
        digest
    }

    /// Puts a manifest under a tag, and answers with its digest.
    pub fn put_manifest(&self, repository: &str, tag: &str, manifest: &[u8]) -> String {
        let path = format!("/v2/{repository}/manifests/{tag}");
        self.ask("PUT", &path, &[("Content-Type", MANIFEST)], Some(manifest)).unwrap().expect(201);
        digest(manifest)
    }

    /// The manifest under a tag.
    pub fn manifest(&self, repository: &str, tag: &str) -> Vec<u8> {
        let path = format!("/v2/{repository}/manifests/{tag}");
        self.ask("GET", &path, &[("Accept", MANIFEST)], None).unwrap().expect(200).body
    }

    /// Pushes an image of one layer with these contents, and answers with its digest.
    pub fn push(&self, repository: &str, tag: &str, contents: &str) -> String {
        let layer = self.put_blob(repository, contents.as_bytes());
        let config = json!({"architecture": "amd64", "os": "linux", "config": {"User": "1000"},
            "rootfs": {"type": "layers", "diff_ids": [layer]}})
        .to_string();
        let manifest = json!({"schemaVersion": 2, "mediaType": MANIFEST,
            "config": {"mediaType": "application/vnd.oci.image.config.v1+json",
                "digest": self.put_blob(repository, config.as_bytes()), "size": config.len()},
            "layers": [{"mediaType": "application/vnd.oci.image.layer.v1.tar", "digest": layer, "size": contents.len()}]});
        self.put_manifest(repository, tag, manifest.to_string().as_bytes())
    }

    /// Puts a signature's manifest under the tag of another digest's signatures.
    pub fn move_signature(&self, repository: &str, from: &str, to: &str) {
        let manifest = self.manifest(repository, &signature_tag(from));
        self.put_manifest(repository, &signature_tag(to), &manifest);
    }

    /// Makes the payload of a signature another one, which it does not fit.
    pub fn tamper(&self, repository: &str, digest: &str) {
        let tag = signature_tag(digest);
        let mut manifest: Value = serde_json::from_slice(&self.manifest(repository, &tag)).unwrap();
        let payload = json!({"critical": {"identity": {"docker-reference": "somewhere/else"},
            "image": {"docker-manifest-digest": digest}, "type": "cosign container image signature"}})
        .to_string();
        manifest["layers"][0]["digest"] = json!(self.put_blob(repository, payload.as_bytes()));
        manifest["layers"][0]["size"] = json!(payload.len());
        self.put_manifest(repository, &tag, manifest.to_string().as_bytes());
    }

    /// A file of its own folder.
    pub fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }
}

fn signature_tag(digest: &str) -> String {
    format!("{}.sig", digest.replace(':', "-"))
}

fn digest(contents: &[u8]) -> String {
    let hash = keyward_crypto::sha256(contents);
    let digits: String = hash.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("sha256:{digits}")
}

/// In which form signatures are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layout {
    /// Under tags made of the digest.
    Tags,
    /// As bundles that refer to the image.
    Bundles,
}

/// cosign with a key of its own, in a folder of its own.
pub struct Signer {
    folder: tempfile::TempDir,
    program: PathBuf,
}

impl Signer {
    /// With a new key.
    pub fn new() -> Signer {
        let signer = Signer::without_key();
        signer.run(Command::new(&signer.program).arg("generate-key-pair"));
        signer
    }

    /// With a private key in PEM.
    pub fn of_key(pem: &str) -> Signer {
        let signer = Signer::without_key();
        fs::write(signer.file("own.key"), pem).unwrap();
        signer.run(Command::new(&signer.program).args([
            "import-key-pair",
            "--key",
            "own.key",
            "--output-key-prefix",
            "cosign",
        ]));
        signer
    }

    fn without_key() -> Signer {
        Signer { folder: tempfile::tempdir().unwrap(), program: cosign().unwrap() }
    }

    /// The public key, in PEM.
    pub fn public_key(&self) -> String {
        fs::read_to_string(self.file("cosign.pub")).unwrap()
    }

    /// A file of its folder.
    pub fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn run(&self, command: &mut Command) {
        command.current_dir(self.folder.path()).env("COSIGN_PASSWORD", "").env("HOME", self.folder.path());
        let done = run(command, b"", LIMIT).unwrap();
        assert!(done.status.success(), "{command:?}: {}", done.stderr);
    }

    /// Signs an image; `command` is as for [`Registry::start`].
    pub fn sign(
        &self,
        command: impl Fn(&Path) -> Command,
        image: &str,
        layout: Layout,
        more: &[&str],
        repository: Option<&str>,
    ) {
        let mut sign = command(&self.program);
        sign.arg("sign").args(usual(layout)).args(more).arg(image);
        if let Some(repository) = repository {
            sign.env("COSIGN_REPOSITORY", repository);
        }
        self.run(&mut sign);
    }

    /// Says something of an image.
    pub fn attest(
        &self,
        command: impl Fn(&Path) -> Command,
        image: &str,
        layout: Layout,
        kind: &str,
        predicate: &Value,
    ) {
        fs::write(self.file("predicate.json"), predicate.to_string()).unwrap();
        let mut attest = command(&self.program);
        attest
            .arg("attest")
            .args(usual(layout))
            .args(["--type", kind, "--predicate", "predicate.json"])
            .arg(image);
        self.run(&mut attest);
    }
}

impl Default for Signer {
    fn default() -> Signer {
        Signer::new()
    }
}

/// By the key, told to nobody, to a registry of plain HTTP.
fn usual(layout: Layout) -> Vec<&'static str> {
    let mut arguments = vec![
        "--yes",
        "--key=cosign.key",
        "--use-signing-config=false",
        "--tlog-upload=false",
        "--allow-http-registry",
    ];
    if layout == Layout::Tags {
        arguments.push("--new-bundle-format=false");
    }
    arguments
}
