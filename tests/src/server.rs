//! A running authority: the real program on a loopback port.

use crate::binary::keyward;
use crate::http::{Answer, Client};
use keyward_testkit::process::{Process, wait_for};
use keyward_testkit::say;
use rustix::process::Signal;
use serde_json::{Value, json};
use std::ffi::OsString;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::process::{Command, ExitStatus};
use std::time::Duration;
use tempfile::TempDir;

/// A loaded machine needs many seconds for what takes a tenth of one.
pub const SOON: Duration = Duration::from_secs(60);

/// A listener without TLS, for [`Server::configured`].
pub const PLAIN_HTTP: &str = "listener \"tcp\" {\n address = \"ADDRESS\"\n tls_disable = true\n}\n";

/// A store in the server's folder, for [`Server::configured`].
pub const ON_DISK: &str = "storage \"sqlite\" {\n path = \"FOLDER/data\"\n}\n";

/// A store that ends with the server, for [`Server::configured`].
pub const IN_MEMORY: &str = "storage \"memory\" {}\n";

/// A server that ends with its test. Its folder is kept when the test fails.
pub struct Server {
    process: Process,
    folder: Option<TempDir>,
    start: Start,
    address: SocketAddr,
    keys: Keys,
}

/// What opens an authority.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Keys {
    /// Unseal shares, in hex.
    pub shares: Vec<String>,
    /// The root token.
    pub root: String,
}

struct Start {
    /// A program that runs what follows as itself, with its own arguments; none if empty.
    wrapper: Vec<String>,
    what: What,
}

enum What {
    /// `keyward dev` with these arguments.
    Dev(Vec<String>),
    /// `keyward server` with this file, in which `ADDRESS` and `FOLDER` stand for the server's own.
    Configured(String),
}

impl Server {
    /// `keyward dev`, in memory: initialised, unsealed, with version 2 key-value secrets at `secret/`.
    ///
    /// # Panics
    /// When it does not start; so do all others here.
    pub fn dev() -> Server {
        Server::dev_with(&[])
    }

    /// `keyward dev` with more arguments.
    pub fn dev_with(arguments: &[&str]) -> Server {
        let arguments = arguments.iter().map(|&argument| argument.to_owned()).collect();
        let mut server = Server::start(Start { wrapper: Vec::new(), what: What::Dev(arguments) });
        let words = |label: &str| wait_for(label, SOON, || after(&server.output(), label)).unwrap();
        server.keys = Keys { root: words("Root token:"), shares: vec![words("Unseal key:")] };
        server
    }

    /// `keyward server`, neither initialised nor unsealed, with `config`: a file in which `ADDRESS` stands for
    /// a loopback address and `FOLDER` for [`Server::folder`].
    pub fn configured(config: &str) -> Server {
        Server::configured_under(&[], config)
    }

    /// The same, started by another program: `wrapper`, with its arguments, runs in the server's place what
    /// follows them. `FOLDER` stands for [`Server::folder`] in it too.
    pub fn configured_under(wrapper: &[&str], config: &str) -> Server {
        let wrapper = wrapper.iter().map(|&word| word.to_owned()).collect();
        Server::start(Start { wrapper, what: What::Configured(config.to_owned()) })
    }

    /// `keyward server` on plain HTTP, and on the store and with whatever else `config` says, initialised with
    /// one share and unsealed.
    pub fn unsealed(config: &str) -> Server {
        let mut server = Server::configured(&format!("{PLAIN_HTTP}{config}"));
        server.initialize(1, 1);
        server.unseal();
        server
    }

    fn start(start: Start) -> Server {
        let folder = tempfile::tempdir().unwrap();
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let (process, address) = spawn(&start, folder.path(), address);
        Server { process, folder: Some(folder), start, address, keys: Keys::default() }
    }

    /// Initialises it and keeps what opens it.
    pub fn initialize(&mut self, shares: u8, threshold: u8) -> Keys {
        let wanted = json!({"secret_shares": shares, "secret_threshold": threshold});
        self.keys = keys_of(&self.guest().write("sys/init", &wanted).expect(200).json());
        self.keys.clone()
    }

    /// Takes what opens it from who initialised it.
    pub fn initialized(&mut self, keys: Keys) {
        self.keys = keys;
    }

    /// Hands in the shares of [`Server::initialize`] until it is unsealed.
    pub fn unseal(&self) {
        let open = self.keys.shares.iter().any(|share| {
            let state = self.guest().write("sys/unseal", &json!({ "key": share })).expect(200).json();
            state["sealed"] == false
        });
        assert!(open, "it stays sealed: {}", self.output());
    }

    /// Ends it as `kill -9` does, if it still runs, and starts it again at the same address on the same
    /// folder. It is sealed then, unless it is a dev server.
    pub fn restart(&mut self) {
        self.process.kill().unwrap();
        let folder = self.folder.as_ref().unwrap().path();
        (self.process, self.address) = spawn(&self.start, folder, self.address);
    }

    /// Asks with the root token.
    pub fn root(&self) -> Client {
        self.guest().with_token(&self.keys.root)
    }

    /// Asks without a token.
    pub fn guest(&self) -> Client {
        Client::new(self.address)
    }

    /// Its address as clients take it.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// What opens it.
    pub fn keys(&self) -> &Keys {
        &self.keys
    }

    /// Where its log and data are, and whatever a test puts there.
    pub fn folder(&self) -> &Path {
        self.folder.as_ref().unwrap().path()
    }

    /// Everything it has written to its standard output and error, earlier starts included.
    pub fn output(&self) -> String {
        self.process.output().unwrap()
    }

    /// Its process.
    pub fn process(&mut self) -> &mut Process {
        &mut self.process
    }

    /// Asks it to end and waits until it has.
    pub fn stop(&mut self) -> ExitStatus {
        let status = self.process.terminate(SOON).unwrap();
        let signal = std::os::unix::process::ExitStatusExt::signal(&status);
        assert_ne!(signal, Some(Signal::KILL.as_raw()), "it did not end: {}", self.output());
        status
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let kept = self.folder.take().filter(|_| std::thread::panicking()).map(TempDir::keep);
        if let Some(folder) = kept {
            say(format_args!("the failed test's server left {}", folder.display()));
        }
    }
}

/// What `sys/init` answered.
pub fn keys_of(answer: &Value) -> Keys {
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let shares = answer["keys"].as_array().unwrap().iter().map(text).collect();
    Keys { shares, root: text(&answer["root_token"]) }
}

/// A policy's name and text, written by `root`; answers with a token that has it beside `default`.
pub fn token_with(root: &Client, policy: &str, rules: &str) -> Client {
    root.write(&format!("sys/policies/acl/{policy}"), &json!({ "policy": rules })).expect(204);
    let made: Answer =
        root.write("auth/token/create", &json!({"policies": [policy], "ttl": "1h"})).expect(200);
    root.with_token(made.json()["auth"]["client_token"].as_str().unwrap())
}

fn spawn(start: &Start, folder: &Path, address: SocketAddr) -> (Process, SocketAddr) {
    let shown = folder.display().to_string();
    let words = start.wrapper.iter().map(|word| word.replace("FOLDER", &shown));
    let mut words: Vec<OsString> = words.map(OsString::from).collect();
    words.push(keyward().into());
    let label = match &start.what {
        What::Dev(arguments) => {
            words.extend(["dev".into(), "--listen".into(), address.to_string().into()]);
            words.extend(arguments.iter().map(OsString::from));
            "Address:"
        }
        What::Configured(config) => {
            let file = folder.join("config.hcl");
            let text = config.replace("ADDRESS", &address.to_string()).replace("FOLDER", &shown);
            std::fs::write(&file, text).unwrap();
            words.extend(["server".into(), "--config".into(), file.into()]);
            "listening on "
        }
    };
    let mut command = Command::new(&words[0]);
    command.args(&words[1..]);
    let log = folder.join("log");
    let earlier = std::fs::metadata(&log).map_or(0, |file| file.len());
    // Nothing of the tester's own environment reaches it.
    for (name, _) in std::env::vars_os() {
        if name.to_str().is_some_and(|name| name.starts_with("VAULT_") || name.starts_with("KEYWARD_")) {
            command.env_remove(name);
        }
    }
    let mut process = Process::spawn(&mut command, &log).unwrap();
    let address = wait_for("the server", SOON, || {
        let output = process.output().unwrap();
        let told = after(output.get(usize::try_from(earlier).unwrap()..).unwrap_or(""), label);
        if let (None, Some(status)) = (&told, process.exited().unwrap()) {
            panic!("the server ended with {status}: {}", process.output().unwrap());
        }
        told
    });
    let address = address.unwrap_or_else(|late| panic!("{late}: {}", process.output().unwrap()));
    let bare = address.trim_start_matches("http://").trim_start_matches("https://");
    (process, bare.parse().unwrap())
}

/// What follows `label` in the first whole line that has it: the last line may still be on its way.
fn after(output: &str, label: &str) -> Option<String> {
    let lines = output.split_inclusive('\n').filter_map(|line| line.strip_suffix('\n'));
    lines.filter_map(|line| line.split_once(label)).map(|(_, rest)| rest.trim().to_owned()).next()
}
