//! `keyward operator`: initialise, unseal, seal, rotate.

use crate::cli::{Failure, Session, output};
use clap::Subcommand;
use keyward_authority_client::Method;
use keyward_crypto::age::{self, Mixing, Recipient, Wrap, armor};
use keyward_crypto::{Secret, SystemRandom};
use serde_json::{Value, json};
use std::fs::File;
use std::io::{BufRead, IsTerminal, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// Operate the authority
#[derive(Subcommand)]
pub(crate) enum Operator {
    /// Initialise a new authority: prints the unseal keys and the first token, once
    Init {
        /// Unseal keys to make
        #[arg(long, short = 'n', default_value_t = 5)]
        key_shares: u8,
        /// Unseal keys needed to unseal
        #[arg(long, short = 't', default_value_t = 3)]
        key_threshold: u8,
        /// Seal the unseal keys for this age recipient, as the root's `recovery`, and print none of them; can be given
        /// several times
        #[arg(long, value_name = "RECIPIENT", requires = "to")]
        recipient: Vec<Recipient>,
        /// A new file for the sealed unseal keys, one in a line; `keyward open --age` opens it
        #[arg(long, value_name = "FILE", requires = "recipient")]
        to: Option<PathBuf>,
        /// Only tell whether it is initialised: exit code 0 if it is, 2 if not, 1 if it cannot be asked
        #[arg(long)]
        status: bool,
    },
    /// Give unseal keys; one is asked for where no file or standard input brings any
    Unseal {
        /// - for standard input or @file, with a key in each line; a key as an argument can be read by others, but is
        /// accepted
        key: Option<String>,
        /// Forget the keys given so far
        #[arg(long)]
        reset: bool,
    },
    /// Forget the root key: nothing is served until unsealed again
    Seal,
    /// Encrypt new entries under a new key of the ring
    Rotate,
    /// Show the ring's active key
    KeyStatus,
}

pub(crate) async fn run(session: &Session, command: &Operator) -> Result<(), Failure> {
    match command {
        Operator::Init { status: true, .. } => {
            let reply = session.ask("Error asking for the status", Method::Get, "sys/init", None).await;
            // As with `status`: 2 is an answer.
            let reply = reply.map_err(|why| Failure::Usage(why.to_string()))?;
            let initialized = reply.body().and_then(|body| body["initialized"].as_bool()).unwrap_or(false);
            session.output.done(if initialized { "Initialized" } else { "Not initialized" })?;
            if initialized { Ok(()) } else { Err(Failure::Code(2)) }
        }
        Operator::Init { key_shares, key_threshold, recipient, to, .. } => {
            let sealed = to.as_deref().map(|to| SealedKeys::at(to, recipient)).transpose()?;
            init(session, *key_shares, *key_threshold, sealed).await
        }
        Operator::Unseal { key, reset } => unseal(session, key.as_deref(), *reset).await,
        Operator::Seal => {
            session.write("Error sealing", "sys/seal", &json!({}), "Success! The authority is sealed.").await
        }
        Operator::Rotate => {
            session.write("Error rotating", "sys/rotate", &json!({}), "Success! Rotated key").await?;
            key_status(session).await
        }
        Operator::KeyStatus => key_status(session).await,
    }
}

async fn key_status(session: &Session) -> Result<(), Failure> {
    let reply = session.ask("Error reading the key status", Method::Get, "sys/key-status", None).await?;
    session.output.reply(&reply)
}

/// Where unseal keys go that nobody shall see.
struct SealedKeys<'a> {
    file: File,
    path: &'a Path,
    recipients: &'a [Recipient],
}

impl SealedKeys<'_> {
    /// Makes the file before there are keys, which are told only once.
    fn at<'a>(path: &'a Path, recipients: &'a [Recipient]) -> Result<SealedKeys<'a>, Failure> {
        let refused = |why: &dyn std::fmt::Display| {
            Failure::Usage(format!("{}: {why}: name a new file that can be written", path.display()))
        };
        let mut options = File::options();
        let file =
            options.write(true).create_new(true).mode(0o600).open(path).map_err(|why| refused(&why))?;
        let keys = SealedKeys { file, path, recipients };
        // What recipients refuse is found out now.
        keys.seal("").map_err(|why| refused(&why))?;
        Ok(keys)
    }

    fn seal(&self, keys: &str) -> Result<String, age::Error> {
        let recipients: Vec<&dyn Wrap> =
            self.recipients.iter().map(|recipient| recipient as &dyn Wrap).collect();
        armor::encode(&age::seal(&recipients, Mixing::Refuse, &SystemRandom, keys.as_bytes())?)
    }

    fn write(mut self, keys: &[Value]) -> Result<(), Failure> {
        let lines = keys.iter().filter_map(Value::as_str).flat_map(|key| [key, "\n"]);
        let lines = Secret::new(lines.collect::<String>());
        let sealed = self.seal(lines.expose()).map_err(|why| Failure::Usage(why.to_string()))?;
        self.file.write_all(sealed.as_bytes())?;
        Ok(self.file.sync_all()?)
    }
}

async fn init(
    session: &Session,
    shares: u8,
    threshold: u8,
    sealed: Option<SealedKeys<'_>>,
) -> Result<(), Failure> {
    let body = json!({ "secret_shares": shares, "secret_threshold": threshold });
    let reply = session.ask("Error initialising", Method::Put, "sys/init", Some(&body)).await?;
    let mut body = reply.body().unwrap_or(Value::Null);
    let kept = sealed.as_ref().map(|sealed| sealed.path.display().to_string());
    if let Some(sealed) = sealed {
        let keys = body["keys_base64"].as_array_mut().map(std::mem::take).unwrap_or_default();
        body["keys"] = json!([]);
        sealed.write(&keys)?;
    }
    if !session.output.is_table() {
        // The names that Vault's command line gives these, not those of its API.
        let shown = json!({
            "unseal_keys_b64": body["keys_base64"],
            "unseal_keys_hex": body["keys"],
            "unseal_shares": shares,
            "unseal_threshold": threshold,
            "recovery_keys_b64": [],
            "recovery_keys_hex": [],
            "recovery_keys_shares": 0,
            "recovery_keys_threshold": 0,
            "root_token": body["root_token"],
        });
        return session.output.value(&shown);
    }
    for (at, key) in body["keys_base64"].as_array().into_iter().flatten().enumerate() {
        output::line(&format!("Unseal Key {}: {}", at + 1, key.as_str().unwrap_or("")))?;
    }
    output::line(&format!("\nInitial Root Token: {}", body["root_token"].as_str().unwrap_or("")))?;
    if let Some(kept) = kept {
        return output::line(&format!(
            "\nThe authority is initialised with {shares} unseal keys, {threshold} of which unseal it. They are in {kept}, sealed \
             for those\nwho can open it, and nowhere else: keep it with the backups, and prove now that it opens."
        ));
    }
    output::line(&format!(
        "\nThe authority is initialised with {shares} unseal keys, {threshold} of which unseal it. They are shown this \
         once:\ngive each to another person, and keep them offline. Without {threshold} of them everything in the \
         store is lost."
    ))
}

async fn unseal(session: &Session, key: Option<&str>, reset: bool) -> Result<(), Failure> {
    let given = match (reset, key) {
        (true, _) => vec![json!({ "reset": true })],
        (false, Some(word)) => {
            let text = Secret::new(crate::cli::input::content(word)?);
            let lines = text.expose().lines().map(str::trim).filter(|line| !line.is_empty());
            lines.map(|key| json!({ "key": key })).collect()
        }
        (false, None) => vec![json!({ "key": prompt("Unseal Key (will be hidden): ")? })],
    };
    if given.is_empty() {
        return Err(Failure::Usage("there is no unseal key in what was given".to_owned()));
    }
    let mut body = Value::Null;
    for given in given {
        let reply = session.ask("Error unsealing", Method::Put, "sys/unseal", Some(&given)).await?;
        body = reply.body().unwrap_or(Value::Null);
        if body["sealed"] == false {
            break;
        }
    }
    let rows =
        [("Sealed", "sealed"), ("Total Shares", "n"), ("Threshold", "t"), ("Unseal Progress", "progress")];
    session.output.titled(&rows, &body)
}

/// A line from standard input, not shown while it is typed.
pub(crate) fn prompt(question: &str) -> Result<String, Failure> {
    let input = std::io::stdin();
    let hidden = input.is_terminal().then(|| Hidden::new(question)).flatten();
    let mut line = String::new();
    let read = input.lock().read_line(&mut line);
    drop(hidden);
    read?;
    match line.trim() {
        "" => Err(Failure::Usage("nothing was given".to_owned())),
        given => Ok(given.to_owned()),
    }
}

/// A terminal that does not echo, until dropped.
struct Hidden(rustix::termios::Termios);

impl Hidden {
    fn new(question: &str) -> Option<Hidden> {
        let mut error = std::io::stderr();
        let _ = error.write_all(question.as_bytes()).and_then(|()| error.flush());
        let before = rustix::termios::tcgetattr(std::io::stdin()).ok()?;
        let mut quiet = before.clone();
        quiet.local_modes.remove(rustix::termios::LocalModes::ECHO);
        rustix::termios::tcsetattr(std::io::stdin(), rustix::termios::OptionalActions::Now, &quiet).ok()?;
        Some(Hidden(before))
    }
}

impl Drop for Hidden {
    fn drop(&mut self) {
        let _ = rustix::termios::tcsetattr(std::io::stdin(), rustix::termios::OptionalActions::Now, &self.0);
        let _ = std::io::stderr().write_all(b"\n");
    }
}
