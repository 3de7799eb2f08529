//! Plugins: programs named `age-plugin-NAME` that know recipients and identities of their own, such as keys in hardware
//! (<https://c2sp.org/age-plugin>, state machines `recipient-v1` and `identity-v1`).
//!
//! This is the protocol. Starting the program, and asking the person in front of it, is up to a [`Host`]; the other end of it,
//! for a program that is a plugin, is [`program`].
//!
//! Absent: the extension by which a plugin says that its recipients withstand quantum computers. Only the names
//! `pq` and `tagpq`, which the format defines, count as such.

pub mod program;

use std::fmt;
use std::io::{BufRead, Write};
use std::sync::Arc;

use keyward_core::Random;

use super::format::{Lines, Stanza};
use super::{Error, FileKey, Unwrap, Wrap};
use crate::secret::{Secret, SecretString};

/// As many commands are taken from a plugin before it is given up.
const MOST_COMMANDS: usize = 10_000;

/// The name of a plugin: letters, digits and `+-._`, so that it is always the name of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Name(String);

impl Name {
    pub(super) fn new(name: &str) -> Option<Name> {
        let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"+-._".contains(&byte);
        (!name.is_empty() && name.len() <= 64 && name.bytes().all(plain)).then(|| Name(name.to_owned()))
    }

    /// The name itself.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The program's name.
    pub fn program(&self) -> String {
        format!("age-plugin-{}", self.0)
    }
}

/// What starts plugins.
pub trait Host: Send + Sync {
    /// Starts the program with `--age-plugin=` and the name of a state machine.
    fn start(&self, name: &Name, machine: &'static str) -> Result<Box<dyn Session>, Error>;

    /// What unwraps in the place of the program, for an identity as it is written; none where the program is to be started,
    /// which is always so by default.
    fn stands_in(&self, _name: &Name, _identity: &SecretString) -> Option<Box<dyn Unwrap + Send + Sync>> {
        None
    }
}

/// A running plugin, and the person in front of it.
pub trait Session {
    /// What the plugin says.
    fn output(&mut self) -> &mut dyn BufRead;
    /// What the plugin hears.
    fn input(&mut self) -> &mut dyn Write;
    /// Shows a message of the plugin; whether that was possible.
    fn show(&mut self, message: &str) -> bool;
    /// Asks for a text, hidden while it is typed when it is secret; none when nobody can be asked.
    fn ask(&mut self, message: &str, secret: bool) -> Option<SecretString>;
    /// Lets a person choose between `yes` and `no`; none when nobody can be asked.
    fn confirm(&mut self, message: &str, yes: &str, no: Option<&str>) -> Option<bool>;
}

/// A recipient that a plugin knows.
#[derive(Clone)]
pub struct Recipient {
    name: Name,
    text: String,
    host: Option<Arc<dyn Host>>,
}

impl Recipient {
    pub(super) fn new(name: Name, text: &str) -> Recipient {
        Recipient { name, text: text.to_owned(), host: None }
    }

    pub(super) fn started_by(self, host: &Arc<dyn Host>) -> Recipient {
        Recipient { host: Some(Arc::clone(host)), ..self }
    }
}

impl fmt::Display for Recipient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Debug for Recipient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// An identity that a plugin knows. What is written in it is for the plugin alone.
pub struct Identity {
    name: Name,
    text: SecretString,
    host: Option<Arc<dyn Host>>,
    stand_in: Option<Box<dyn Unwrap + Send + Sync>>,
}

impl Identity {
    pub(super) fn new(name: Name, text: &str) -> Identity {
        Identity { name, text: Secret::new(text.to_owned()), host: None, stand_in: None }
    }

    pub(super) fn started_by(self, host: &Arc<dyn Host>) -> Identity {
        let stand_in = host.stands_in(&self.name, &self.text);
        Identity { host: Some(Arc::clone(host)), stand_in, ..self }
    }
}

fn start(
    host: Option<&Arc<dyn Host>>,
    name: &Name,
    machine: &'static str,
) -> Result<Box<dyn Session>, Error> {
    let host = host.ok_or_else(|| Error::Plugin(format!("{} cannot be started here", name.program())))?;
    host.start(name, machine)
}

impl Wrap for Recipient {
    fn wrap(&self, file_key: &FileKey, _: &dyn Random) -> Result<Vec<Stanza>, Error> {
        let mut session = start(self.host.as_ref(), &self.name, "recipient-v1")?;
        send(
            session.as_mut(),
            &[
                Stanza::new("add-recipient", &[&self.text], Vec::new()),
                Stanza::new("wrap-file-key", &[], file_key.expose().to_vec()),
                Stanza::new("done", &[], Vec::new()),
            ],
        )?;
        let mut wrapped = Vec::new();
        converse(session.as_mut(), &self.name, &mut |command| {
            if let [tag, index, rest @ ..] = command.arguments.as_slice()
                && tag == "recipient-stanza"
            {
                let whole = index == "0" && !rest.is_empty();
                wrapped.push(Stanza { arguments: rest.to_vec(), body: std::mem::take(&mut command.body) });
                return whole
                    .then_some(())
                    .ok_or("a stanza for a file that was not asked for")
                    .map(|()| true);
            }
            Ok(false)
        })?;
        match wrapped.is_empty() {
            true => Err(Error::Plugin(format!("{} wrapped nothing", self.name.program()))),
            false => Ok(wrapped),
        }
    }

    fn post_quantum(&self) -> bool {
        matches!(self.name.0.as_str(), "pq" | "tagpq")
    }
}

impl Unwrap for Identity {
    fn unwrap(&self, stanzas: &[Stanza]) -> Result<Option<FileKey>, Error> {
        if let Some(stand_in) = &self.stand_in {
            return stand_in.unwrap(stanzas);
        }
        let mut session = start(self.host.as_ref(), &self.name, "identity-v1")?;
        let mut said = vec![Stanza::new("add-identity", &[self.text.expose()], Vec::new())];
        said.extend(stanzas.iter().map(|stanza| {
            let arguments: Vec<&str> =
                std::iter::once("0").chain(stanza.arguments.iter().map(String::as_str)).collect();
            Stanza::new("recipient-stanza", &arguments, stanza.body.clone())
        }));
        said.push(Stanza::new("done", &[], Vec::new()));
        send(session.as_mut(), &said)?;
        let mut found = None;
        converse(session.as_mut(), &self.name, &mut |command| {
            if command.tag() != "file-key" {
                return Ok(false);
            }
            let body = Secret::new(std::mem::take(&mut command.body));
            let file_key = body.expose().as_slice().try_into().map(Secret::new);
            found = Some(file_key.map_err(|_| "a file key that has not 16 bytes")?);
            Ok(true)
        })?;
        Ok(found)
    }
}

fn send(session: &mut dyn Session, stanzas: &[Stanza]) -> Result<(), Error> {
    let mut bytes = zeroize::Zeroizing::new(Vec::new());
    stanzas.iter().for_each(|stanza| stanza.write(&mut bytes));
    let input = session.input();
    input.write_all(&bytes).and_then(|()| input.flush()).map_err(Error::from)
}

/// What a command is to the state machine: whether it knew it, or what is wrong with it.
type Known<'a> = &'a mut dyn FnMut(&mut Stanza) -> Result<bool, &'static str>;

/// The second phase of both machines: the plugin commands, and is answered, until it is done.
fn converse(session: &mut dyn Session, name: &Name, known: Known<'_>) -> Result<(), Error> {
    let mut refused: Option<String> = None;
    for _ in 0..MOST_COMMANDS {
        let mut command = next(session, name)?;
        let said = String::from_utf8_lossy(&command.body).into_owned();
        let answer = match command.tag() {
            "done" => {
                return match refused {
                    Some(why) => Err(Error::Plugin(format!("{}: {why}", name.program()))),
                    None => Ok(()),
                };
            }
            "msg" => plain(session.show(&said)),
            "request-public" | "request-secret" => {
                let secret = command.tag() == "request-secret";
                match session.ask(&said, secret) {
                    Some(text) => Stanza::new("ok", &[], text.expose().as_bytes().to_vec()),
                    None => plain(false),
                }
            }
            "confirm" => confirm(session, &command, &said)?,
            "error" => {
                refused.get_or_insert(said);
                plain(true)
            }
            _ => match known(&mut command) {
                Ok(true) => plain(true),
                Ok(false) => Stanza::new("unsupported", &[], Vec::new()),
                Err(why) => return Err(Error::Plugin(format!("{} sent {why}", name.program()))),
            },
        };
        send(session, &[answer])?;
    }
    Err(Error::Plugin(format!("{} does not come to an end", name.program())))
}

fn plain(well: bool) -> Stanza {
    Stanza::new(if well { "ok" } else { "fail" }, &[], Vec::new())
}

fn confirm(session: &mut dyn Session, command: &Stanza, said: &str) -> Result<Stanza, Error> {
    let mut labels = Vec::new();
    for label in command.arguments.iter().skip(1) {
        let bytes = super::format::decode_any(label)?;
        labels.push(String::from_utf8_lossy(&bytes).into_owned());
    }
    let yes = labels.first().map_or("yes", String::as_str);
    let chosen = session.confirm(said, yes, labels.get(1).map(String::as_str));
    Ok(match chosen {
        Some(true) => Stanza::new("ok", &["yes"], Vec::new()),
        Some(false) => Stanza::new("ok", &["no"], Vec::new()),
        None => plain(false),
    })
}

fn next(session: &mut dyn Session, name: &Name) -> Result<Stanza, Error> {
    let mut output = session.output();
    let mut lines = Lines::new(&mut output);
    let broken = |why: &str| Error::Plugin(format!("{} {why}", name.program()));
    let line = lines.next().map_err(|_| broken("ended before it was done"))?;
    let arguments = line.strip_prefix(b"-> ").ok_or_else(|| broken("does not speak the protocol"))?;
    Stanza::read(arguments, &mut lines).map_err(|_| broken("does not speak the protocol"))
}
