//! A running KMS plugin, and the API server's own code to drive it with.

use crate::binary::keyward;
use crate::server::{SOON, Server};
use keyward_testkit::process::{Finished, Process, run, wait_for};
use keyward_testkit::say;
use serde_json::{Value, json};
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, ExitStatus, Stdio};
use std::sync::OnceLock;
use tempfile::TempDir;

/// The provider's name in the encryption configuration.
pub const PROVIDER: &str = "keyward";
/// How values it encrypted begin in etcd.
pub const PREFIX: &[u8] = b"k8s:enc:kms:v2:keyward:";

/// A plugin that ends with its test.
pub struct Plugin {
    process: Option<Process>,
    folder: TempDir,
    arguments: Vec<String>,
}

impl Plugin {
    /// A plugin whose provider is the transit key `kube` of `server`, with the root token in a file. Makes the
    /// key when it is not there yet.
    pub fn transit(server: &Server) -> Plugin {
        let root = server.root();
        root.write("sys/mounts/transit", &json!({"type": "transit"}));
        root.write("transit/keys/kube", &json!({})).expect(200);
        let plugin = Plugin::stopped(&server.url(), &[]);
        let token = plugin.secret("token", &server.keys().root);
        plugin.with(&["--key", "kube", "--token-file", token.to_str().unwrap()]).started()
    }

    /// A plugin not yet started, in a folder of its own.
    pub fn stopped(address: &str, arguments: &[&str]) -> Plugin {
        let folder = tempfile::tempdir().unwrap();
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o700)).unwrap();
        Plugin { process: None, folder, arguments: Vec::new() }.with(&["--address", address]).with(arguments)
    }

    /// With more arguments.
    pub fn with(mut self, arguments: &[&str]) -> Plugin {
        self.arguments.extend(arguments.iter().map(|argument| (*argument).to_owned()));
        self
    }

    /// Started and listening.
    pub fn started(mut self) -> Plugin {
        self.start();
        self
    }

    /// Starts it and waits until it listens.
    ///
    /// # Panics
    /// When it ends instead.
    pub fn start(&mut self) {
        let mut process = Process::spawn(&mut self.command(), &self.log()).unwrap();
        let listening = wait_for("the plugin to listen", SOON, || {
            assert_eq!(process.exited().unwrap(), None, "{}", self.output());
            self.socket().exists().then_some(())
        });
        listening.unwrap();
        self.process = Some(process);
    }

    /// The command that serves; an argument of the test replaces the usual one.
    pub fn command(&self) -> Command {
        let (socket, state) = (self.socket(), self.state());
        let usual = [
            ("--cluster", "test"),
            ("--log-level", "debug"),
            ("--check-interval", "1s"),
            ("--max-staleness", "3s"),
            ("--socket", socket.to_str().unwrap()),
            ("--state", state.to_str().unwrap()),
        ];
        let mut command = Command::new(keyward());
        command.env_clear().args(["kms", "serve"]).args(&self.arguments);
        for (name, value) in usual {
            if !self.arguments.iter().any(|argument| argument == name) {
                command.args([name, value]);
            }
        }
        command
    }

    /// A file that only this user may read.
    pub fn secret(&self, name: &str, text: &str) -> PathBuf {
        let (path, fresh) = (self.folder().join(name), self.folder().join(format!("{name}.new")));
        fs::write(&fresh, text).unwrap();
        fs::set_permissions(&fresh, fs::Permissions::from_mode(0o600)).unwrap();
        fs::rename(fresh, &path).unwrap();
        path
    }

    /// Its folder.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Its socket.
    pub fn socket(&self) -> PathBuf {
        self.folder().join("kms.sock")
    }

    /// Its state folder.
    pub fn state(&self) -> PathBuf {
        self.folder().join("state")
    }

    fn log(&self) -> PathBuf {
        self.folder().join("log")
    }

    /// Everything it has written to its standard output and error.
    pub fn output(&self) -> String {
        fs::read_to_string(self.log()).unwrap_or_default()
    }

    /// Its process.
    pub fn process(&mut self) -> &mut Process {
        self.process.as_mut().unwrap()
    }

    /// Asks it to end, and waits until it has.
    pub fn stop(&mut self) -> ExitStatus {
        self.process.take().unwrap().terminate(SOON).unwrap()
    }

    /// `keyward kms ...`, with its socket.
    pub fn kms(&self, arguments: &[&str]) -> Finished {
        let mut command = Command::new(keyward());
        command.env_clear().env("KEYWARD_KMS_SOCKET", self.socket()).arg("kms").args(arguments);
        run(&mut command, b"", SOON).unwrap()
    }

    /// The key its status tells; why not, when it tells none.
    pub fn key_id(&self) -> Result<String, String> {
        let finished = self.kms(&["status", "--format", "json"]);
        if !finished.status.success() {
            return Err(finished.stderr);
        }
        let status: Value = serde_json::from_slice(&finished.stdout).unwrap();
        Ok(status["key_id"].as_str().unwrap().to_owned())
    }

    /// Waits until its status tells a key that `wanted` accepts.
    pub fn wait_for_key(&self, wanted: impl Fn(&str) -> bool) -> String {
        wait_for("the key", SOON, || self.key_id().ok().filter(|key| wanted(key)))
            .unwrap_or_else(|late| panic!("{late}: {}", self.output()))
    }

    /// An encryption configuration whose first provider is this plugin.
    pub fn encryption_config(&self) -> PathBuf {
        let path = self.folder().join("encryption.json");
        let providers = json!([
            {"kms": {"apiVersion": "v2", "name": PROVIDER, "endpoint": format!("unix://{}", self.socket().display())}},
            {"identity": {}},
        ]);
        let config = json!({
            "apiVersion": "apiserver.config.k8s.io/v1",
            "kind": "EncryptionConfiguration",
            "resources": [{"resources": ["secrets"], "providers": providers}],
        });
        fs::write(&path, config.to_string()).unwrap();
        path
    }
}

/// What a command wrote to its standard output.
pub fn stdout(finished: &Finished) -> String {
    String::from_utf8_lossy(&finished.stdout).into_owned()
}

/// The API server's encryption code in a process of its own.
pub struct ApiServer {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl ApiServer {
    /// Starts it; `None`, said aloud, without Go.
    ///
    /// # Panics
    /// Without Go where everything must run, and when it does not build.
    pub fn start() -> Option<ApiServer> {
        let binary = harness()?;
        let mut command = Command::new(binary);
        let mut child =
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let (input, output) = (child.stdin.take().unwrap(), BufReader::new(child.stdout.take().unwrap()));
        Some(ApiServer { child, input, output })
    }

    fn ask(&mut self, request: &Value) -> Result<Value, String> {
        writeln!(self.input, "{request}").unwrap();
        let mut line = String::new();
        self.output.read_line(&mut line).unwrap();
        let answer: Value = serde_json::from_str(&line).unwrap();
        match answer["error"].as_str() {
            Some(error) => Err(error.to_owned()),
            None => Ok(answer),
        }
    }

    /// Reads the plugin's configuration as a starting API server does, and waits until it is healthy.
    pub fn load(&mut self, plugin: &Plugin) {
        self.load_unready(plugin);
        let healthy = wait_for("the API server to be healthy", SOON, || self.health().ok());
        healthy.unwrap_or_else(|late| panic!("{late}: {:?}: {}", self.health(), plugin.output()));
    }

    /// Reads the plugin's configuration as a starting API server does.
    pub fn load_unready(&mut self, plugin: &Plugin) {
        let config = plugin.encryption_config();
        self.ask(&json!({"do": "load", "config": config, "provider": PROVIDER})).unwrap();
    }

    /// Its health check, which polls the plugin unless it did so a moment ago.
    pub fn health(&mut self) -> Result<(), String> {
        self.ask(&json!({"do": "health"})).map(drop)
    }

    /// Moves the clock by which its write seed expires.
    pub fn advance(&mut self, seconds: u64) {
        self.ask(&json!({"do": "advance", "seconds": seconds})).unwrap();
    }

    /// What it would store in etcd.
    pub fn write(&mut self, key: &str, plaintext: &[u8]) -> Result<Vec<u8>, String> {
        let answer = self.ask(&json!({"do": "write", "key": key, "data": to_base64(plaintext)}))?;
        Ok(from_base64(&answer["data"]))
    }

    /// Writes `count` values in a row.
    pub fn write_many(&mut self, key: &str, count: usize) -> Result<(), String> {
        self.ask(&json!({"do": "writes", "key": key, "data": to_base64(b"value"), "count": count})).map(drop)
    }

    /// What it reads from etcd, and whether it wants it rewritten.
    pub fn read(&mut self, key: &str, stored: &[u8]) -> Result<(Vec<u8>, bool), String> {
        let answer = self.ask(&json!({"do": "read", "key": key, "data": to_base64(stored)}))?;
        Ok((from_base64(&answer["data"]), answer["stale"] == true))
    }

    /// Adds a revision to the next snapshot.
    pub fn put(&mut self, key: &str, value: &[u8]) {
        self.ask(&json!({"do": "put", "key": key, "data": to_base64(value)})).unwrap();
    }

    /// Adds a tombstone to the next snapshot.
    pub fn delete(&mut self, key: &str) {
        self.ask(&json!({"do": "delete", "key": key})).unwrap();
    }

    /// Writes all revisions so far as etcd's snapshots hold them.
    pub fn snapshot(&mut self, file: &Path, page_size: usize, checksum: bool) {
        let request = json!({"do": "snapshot", "file": file, "page_size": page_size, "checksum": checksum});
        self.ask(&request).unwrap();
    }
}

impl Drop for ApiServer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn harness() -> Option<&'static Path> {
    static BUILT: OnceLock<Option<PathBuf>> = OnceLock::new();
    let build = || {
        let source = concat!(env!("CARGO_MANIFEST_DIR"), "/go/kms-harness");
        // TARGET/FOLDER/deps/NAME runs; the harness lies beside the folder's programs.
        let running = std::env::current_exe().unwrap();
        let binary = running.parent().and_then(Path::parent).unwrap().join("kms-harness");
        match Command::new("go").args(["build", "-o"]).arg(&binary).arg(".").current_dir(source).status() {
            Ok(status) => {
                assert!(status.success(), "go build in {source} failed: {status}");
                Some(binary)
            }
            Err(error) => {
                assert!(!keyward_testkit::continuous_integration(), "Go is needed here: {error}");
                say(format_args!(
                    "SKIPPED: driving the plugin with the API server's code needs `go` in PATH ({error})"
                ));
                None
            }
        }
    };
    BUILT.get_or_init(build).as_deref()
}

fn to_base64(bytes: &[u8]) -> String {
    base64::Engine::encode(&base64::prelude::BASE64_STANDARD, bytes)
}

fn from_base64(text: &Value) -> Vec<u8> {
    let decoded =
        base64::Engine::decode(&base64::prelude::BASE64_STANDARD, text.as_str().unwrap_or_default());
    decoded.unwrap()
}
