//! `keyward pkcs11`: identities whose private key is in a token.

use super::common::now;
use crate::cli::Failure;
use crate::cli::output::Output;
use clap::Subcommand;
use keyward_core::Random;
use keyward_crypto::SystemRandom;
use keyward_intent::Moment;
use keyward_sealer::hardware::{Found, KeyKind, Module, Reference, Token, ask_for_pin, prove};
use keyward_sealer::{SealerError, files};
use serde_json::{Value, json};
use std::path::PathBuf;

/// Keep identities in tokens by PKCS#11: smart cards, HSMs, TPMs
#[derive(Subcommand)]
pub(crate) enum Pkcs11 {
    /// Show the tokens that are there; with --token the keys in one, which takes its PIN
    List(ListArgs),
    /// Make a key in a token, which never leaves it, and write the identity that names it
    Keygen(KeygenArgs),
    /// Write the identity of a key that is in a token already
    Identity(IdentityArgs),
}

/// Where tokens are
#[derive(clap::Args)]
pub(crate) struct ModuleArgs {
    /// PKCS#11 module by its whole path, such as /usr/lib/softhsm/libsofthsm2.so
    #[arg(long, value_name = "FILE", env = keyward_sealer::hardware::MODULE)]
    module: PathBuf,
}

/// A module, and perhaps a token
#[derive(clap::Args)]
pub(crate) struct ListArgs {
    #[command(flatten)]
    module: ModuleArgs,
    /// Label of the token whose keys are shown
    #[arg(long, value_name = "LABEL")]
    token: Option<String>,
}

/// A key to make
#[derive(clap::Args)]
pub(crate) struct KeygenArgs {
    #[command(flatten)]
    module: ModuleArgs,
    /// Label of the token
    #[arg(long, value_name = "LABEL")]
    token: String,
    /// Kind of key: p256, rsa2048, rsa3072 or rsa4096; otherwise p256 where the token agrees on secrets with it, else RSA
    #[arg(long = "type", value_name = "KIND", value_parser = kind)]
    kind: Option<KeyKind>,
    /// Id of the key in hexadecimal; random otherwise
    #[arg(long, value_name = "HEX", value_parser = id)]
    id: Option<Id>,
    /// What the key is called in the token
    #[arg(long, value_name = "TEXT", default_value = "keyward")]
    label: String,
    /// Where the identity goes; it holds no secret, but tells where the key is
    #[arg(long, value_name = "FILE")]
    to: PathBuf,
}

/// A key that is there
#[derive(clap::Args)]
pub(crate) struct IdentityArgs {
    #[command(flatten)]
    module: ModuleArgs,
    /// Label of the token
    #[arg(long, value_name = "LABEL")]
    token: String,
    /// Id of the key in hexadecimal
    #[arg(long, value_name = "HEX", value_parser = id)]
    id: Id,
    /// Where the identity goes
    #[arg(long, value_name = "FILE")]
    to: PathBuf,
}

/// A `CKA_ID`.
#[derive(Clone)]
struct Id(Vec<u8>);

fn kind(text: &str) -> Result<KeyKind, String> {
    match text {
        "p256" => Ok(KeyKind::P256),
        "rsa2048" => Ok(KeyKind::Rsa(2048)),
        "rsa3072" => Ok(KeyKind::Rsa(3072)),
        "rsa4096" => Ok(KeyKind::Rsa(4096)),
        _ => Err("it is none of p256, rsa2048, rsa3072, rsa4096".to_owned()),
    }
}

fn id(text: &str) -> Result<Id, String> {
    let wrong = || "an id has an even number of hexadecimal digits, at most 64".to_owned();
    let text = text.strip_prefix("0x").unwrap_or(text);
    if text.is_empty()
        || text.len() > 64
        || text.len() % 2 == 1
        || !text.bytes().all(|byte| byte.is_ascii_hexdigit())
    {
        return Err(wrong());
    }
    let bytes = (0..text.len())
        .step_by(2)
        .map(|at| text.get(at..at + 2).and_then(|two| u8::from_str_radix(two, 16).ok()));
    bytes.collect::<Option<Vec<u8>>>().map(Id).ok_or_else(wrong)
}

pub(super) fn run(output: &Output, command: &Pkcs11) -> Result<(), Failure> {
    match command {
        Pkcs11::List(args) => list(output, args),
        Pkcs11::Keygen(args) => keygen(output, args),
        Pkcs11::Identity(args) => identity(output, args),
    }
}

fn open(module: &ModuleArgs, label: &str) -> Result<Token, Failure> {
    let module = Module::load(&module.module).map_err(SealerError::from)?;
    Ok(Token::open(&module, label, &mut ask_for_pin).map_err(SealerError::from)?)
}

fn list(output: &Output, args: &ListArgs) -> Result<(), Failure> {
    let Some(label) = &args.token else {
        let module = Module::load(&args.module.module).map_err(SealerError::from)?;
        let tokens = module.tokens().map_err(SealerError::from)?;
        let row = |token: &keyward_sealer::hardware::TokenInfo| {
            vec![token.label.clone(), token.manufacturer.clone(), token.model.clone(), token.serial.clone()]
        };
        let rows: Vec<Vec<String>> = tokens.iter().map(row).collect();
        let keys = ["label", "manufacturer", "model", "serial"];
        let told: Vec<Value> = rows
            .iter()
            .map(|row| keys.into_iter().zip(row.iter().map(|text| json!(text))).collect())
            .collect();
        return output.rows(&["Token", "Manufacturer", "Model", "Serial"], &rows, &Value::Array(told));
    };
    let keys = open(&args.module, label)?.keys().map_err(SealerError::from)?;
    let recipient = |key: &Found| key.recipient.as_ref().map(ToString::to_string);
    let row = |key: &Found| {
        let held = match (key.held, key.local) {
            (true, true) => "never leaves the token",
            (true, false) => "never leaves the token, and may have been brought there",
            (false, _) => "the token would give it out",
        };
        let recipient = recipient(key).unwrap_or_else(|| "of a kind that is not used here".to_owned());
        vec![hexadecimal(&key.id), key.label.clone(), held.to_owned(), recipient]
    };
    let told = |key: &Found| json!({"id": hexadecimal(&key.id), "label": key.label, "held": key.held, "local": key.local, "recipient": recipient(key)});
    let rows: Vec<Vec<String>> = keys.iter().map(row).collect();
    output.rows(&["Id", "Label", "Key", "Recipient"], &rows, &Value::Array(keys.iter().map(told).collect()))
}

fn hexadecimal(id: &[u8]) -> String {
    id.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn keygen(output: &Output, args: &KeygenArgs) -> Result<(), Failure> {
    free(&args.to)?;
    let token = open(&args.module, &args.token)?;
    let id = match &args.id {
        Some(Id(id)) => id.clone(),
        None => {
            let mut id = vec![0; 8];
            SystemRandom.fill(&mut id);
            id
        }
    };
    let kind = args.kind.map_or_else(|| token.preferred(), Ok).map_err(SealerError::from)?;
    let recipient = token.generate(kind, &id, &args.label).map_err(SealerError::from)?;
    let reference =
        Reference { recipient, module: args.module.module.clone(), token: args.token.clone(), id };
    finish(output, &token, &reference, &args.to)
}

fn identity(output: &Output, args: &IdentityArgs) -> Result<(), Failure> {
    free(&args.to)?;
    let token = open(&args.module, &args.token)?;
    let shown = hexadecimal(&args.id.0);
    let keys = token.keys().map_err(SealerError::from)?;
    let found = keys.into_iter().find(|key| key.id == args.id.0).ok_or_else(|| {
        Failure::Usage(format!(
            "token {} has no key {shown}: `keyward pkcs11 list` shows what it has",
            args.token
        ))
    })?;
    if !found.held {
        return Err(Failure::Usage(format!(
            "token {} would give key {shown} out: make one that it keeps with `keyward pkcs11 keygen`",
            args.token
        )));
    }
    let recipient = found.recipient.ok_or_else(|| {
        Failure::Usage(format!(
            "key {shown} is neither on P-256 nor RSA with 2048, 3072 or 4096 bits, or its public part is gone"
        ))
    })?;
    let reference =
        Reference { recipient, module: args.module.module.clone(), token: args.token.clone(), id: found.id };
    finish(output, &token, &reference, &args.to)
}

/// Before a key is made that no file would name.
fn free(to: &std::path::Path) -> Result<(), Failure> {
    match to.exists() {
        true => Err(super::common::at(to, "it is there already, and is not overwritten")),
        false => Ok(()),
    }
}

fn finish(
    output: &Output,
    token: &Token,
    reference: &Reference,
    to: &std::path::Path,
) -> Result<(), Failure> {
    prove(token, reference)?;
    let recipient = reference.recipient.to_string();
    let text = format!(
        "# Key {} in token {}, {}\n# Recipient: {recipient}\n{}\n",
        reference.id_text(),
        reference.token,
        Moment::of(now()),
        reference.text().expose()
    );
    files::create_private(to, text.as_bytes())?;
    output.told_as(
        &recipient,
        &json!({"recipient": recipient, "token": reference.token, "id": reference.id_text(), "file": to}),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_hexadecimal() {
        assert!(id("0a").is_ok_and(|id| id.0 == [10]) && id("0x00ff").is_ok_and(|id| id.0 == [0, 255]));
        for wrong in ["", "0", "0x", "zz", "+1", "é0", &"00".repeat(33)] {
            assert!(id(wrong).is_err(), "{wrong}");
        }
        assert!(kind("rsa2048") == Ok(KeyKind::Rsa(2048)) && kind("dsa").is_err());
    }
}
