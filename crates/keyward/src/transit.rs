//! `keyward transit`: encryption as a service.

use crate::cli::input::content;
use crate::cli::{Failure, Session, output};
use crate::data::nothing_there;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use clap::Subcommand;
use keyward_authority_client::Method;
use serde_json::{Value, json};
use std::io::Write;

/// Encrypt, decrypt and sign with keys that do not leave the authority
#[derive(Subcommand)]
pub(crate) enum Transit {
    /// Make a key
    Create {
        #[command(flatten)]
        key: Key,
        /// Its type, such as aes256-gcm96, chacha20-poly1305, ed25519, ecdsa-p256, rsa-2048
        #[arg(long = "type", default_value = "aes256-gcm96")]
        kind: String,
        /// Derive a key for each context
        #[arg(long)]
        derived: bool,
        /// Equal plaintexts give equal ciphertexts
        #[arg(long)]
        convergent: bool,
        /// The key may be exported
        #[arg(long)]
        exportable: bool,
    },
    /// Show a key's settings and versions
    Read {
        #[command(flatten)]
        key: Key,
    },
    /// List keys
    List {
        /// Where the engine is mounted
        #[arg(long, default_value = "transit")]
        mount: String,
    },
    /// Add a version to a key
    Rotate {
        #[command(flatten)]
        key: Key,
    },
    /// Encrypt standard input or a file
    Encrypt {
        #[command(flatten)]
        key: Key,
        /// @file, or - for standard input
        #[arg(default_value = "-")]
        plaintext: String,
        /// Context of a derived key
        #[arg(long)]
        context: Option<String>,
    },
    /// Decrypt to standard output
    Decrypt {
        #[command(flatten)]
        key: Key,
        /// The ciphertext, @file, or - for standard input
        #[arg(default_value = "-")]
        ciphertext: String,
        /// Context of a derived key
        #[arg(long)]
        context: Option<String>,
    },
    /// Encrypt a ciphertext again under the newest version
    Rewrap {
        #[command(flatten)]
        key: Key,
        /// The ciphertext, @file, or - for standard input
        #[arg(default_value = "-")]
        ciphertext: String,
    },
    /// Sign standard input or a file
    Sign {
        #[command(flatten)]
        key: Key,
        /// @file, or - for standard input
        #[arg(default_value = "-")]
        input: String,
    },
    /// Check a signature; the exit code is 0 when it is good and 2 when it is not
    Verify {
        #[command(flatten)]
        key: Key,
        /// The signature
        signature: String,
        /// @file, or - for standard input
        #[arg(default_value = "-")]
        input: String,
    },
}

/// Which key
#[derive(clap::Args)]
pub(crate) struct Key {
    /// The key's name
    name: String,
    /// Where the engine is mounted
    #[arg(long, default_value = "transit")]
    mount: String,
}

impl Key {
    fn at(&self, verb: &str) -> String {
        format!("{}/{verb}/{}", self.mount.trim_matches('/'), self.name)
    }
}

pub(crate) async fn run(session: &Session, command: &Transit) -> Result<(), Failure> {
    match command {
        Transit::Create { key, kind, derived, convergent, exportable } => {
            let body = json!({
                "type": kind, "derived": derived, "convergent_encryption": convergent, "exportable": exportable,
            });
            session
                .write("Error creating the key", &key.at("keys"), &body, "Success! The key is there.")
                .await
        }
        Transit::Read { key } => {
            let reply = session.ask("Error reading the key", Method::Get, &key.at("keys"), None).await;
            let none = |why| nothing_there(why, &format!("There is no key {} in {}/", key.name, key.mount));
            session.output.reply(&reply.map_err(none)?)
        }
        Transit::List { mount } => {
            let path = format!("{}/keys", mount.trim_matches('/'));
            let reply = session.ask("Error listing the keys", Method::List, &path, None).await;
            let none = |why| nothing_there(why, &format!("There are no keys at {path}"));
            session.output.keys(&reply.map_err(none)?)
        }
        Transit::Rotate { key } => {
            let path = format!("{}/rotate", key.at("keys"));
            session
                .write("Error rotating the key", &path, &json!({}), "Success! The key has a new version.")
                .await
        }
        Transit::Encrypt { key, plaintext, context } => {
            let body = with_context(json!({ "plaintext": STANDARD.encode(bytes(plaintext)?) }), context);
            answer(session, "Error encrypting", &key.at("encrypt"), &body, "ciphertext").await
        }
        Transit::Decrypt { key, ciphertext, context } => decrypt(session, key, ciphertext, context).await,
        Transit::Rewrap { key, ciphertext } => {
            let body = json!({ "ciphertext": content(ciphertext)?.trim() });
            answer(session, "Error rewrapping", &key.at("rewrap"), &body, "ciphertext").await
        }
        Transit::Sign { key, input } => {
            let body = json!({ "input": STANDARD.encode(bytes(input)?) });
            answer(session, "Error signing", &key.at("sign"), &body, "signature").await
        }
        Transit::Verify { key, signature, input } => {
            let body = json!({ "input": STANDARD.encode(bytes(input)?), "signature": signature });
            let reply = session.ask("Error verifying", Method::Put, &key.at("verify"), Some(&body)).await?;
            let valid = reply.data().and_then(|data| data["valid"].as_bool()).unwrap_or(false);
            session.output.rows(&["Valid"], &[vec![valid.to_string()]], &json!({ "valid": valid }))?;
            if valid { Ok(()) } else { Err(Failure::Code(2)) }
        }
    }
}

fn with_context(mut body: Value, context: &Option<String>) -> Value {
    if let Some(context) = context {
        body["context"] = json!(STANDARD.encode(context));
    }
    body
}

/// The bytes `@file` or `-` names: they need not be text.
fn bytes(word: &str) -> Result<Vec<u8>, Failure> {
    use std::io::Read;
    match word.strip_prefix('@') {
        Some(file) => {
            std::fs::read(file).map_err(|why| Failure::Usage(format!("{file} cannot be read: {why}")))
        }
        None if word == "-" => {
            let mut read = Vec::new();
            std::io::stdin().read_to_end(&mut read)?;
            Ok(read)
        }
        None => Err(Failure::Usage(
            "give the plaintext as @file or on standard input: an argument can be read by others".to_owned(),
        )),
    }
}

async fn answer(
    session: &Session,
    doing: &str,
    path: &str,
    body: &Value,
    field: &str,
) -> Result<(), Failure> {
    let reply = session.ask(doing, Method::Put, path, Some(body)).await?;
    match reply.data().and_then(|data| data[field].as_str().map(str::to_owned)) {
        Some(text) if session.output.is_table() => output::line(&text),
        _ => session.output.reply(&reply),
    }
}

async fn decrypt(
    session: &Session,
    key: &Key,
    ciphertext: &str,
    context: &Option<String>,
) -> Result<(), Failure> {
    let body = with_context(json!({ "ciphertext": content(ciphertext)?.trim() }), context);
    let reply = session.ask("Error decrypting", Method::Put, &key.at("decrypt"), Some(&body)).await?;
    if !session.output.is_table() {
        return session.output.reply(&reply);
    }
    let data = reply.data().unwrap_or(Value::Null);
    let plain = data["plaintext"].as_str().and_then(|text| STANDARD.decode(text).ok());
    let plain = plain.ok_or_else(|| Failure::Remote("the answer has no plaintext".to_owned()))?;
    Ok(std::io::stdout().write_all(&plain)?)
}
