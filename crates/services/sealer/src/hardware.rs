//! Identities whose private key is in a token, for this program and, as the plugin `age-plugin-keyward`, for stock age.

use std::env;
use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use keyward_crypto::age::held;
use keyward_crypto::age::plugin::program::{self, Ask, Program};
use keyward_crypto::age::{Error, FileKey, Recipient, Stanza, Unwrap, Wrap, plugin};
use keyward_crypto::secret::SecretString;
use keyward_crypto::{Secret, SystemRandom};
pub use keyward_pkcs11::{Found, KeyKind, Module, Reference, Token, TokenError, TokenInfo};

use crate::{SealerError, files, terminal};

/// The name by which stock age knows this program.
pub const PROGRAM: &str = "age-plugin-keyward";
/// File with the PIN, for when nobody is at a terminal; its owner's alone.
pub const PIN_FILE: &str = "KEYWARD_PKCS11_PIN_FILE";
/// The module in the place of the one that an identity names.
pub const MODULE: &str = "KEYWARD_PKCS11_MODULE";

impl From<TokenError> for SealerError {
    fn from(why: TokenError) -> SealerError {
        SealerError(why.to_string())
    }
}

/// The module that the environment names in the place of others.
pub fn module_of_environment() -> Option<PathBuf> {
    env::var_os(MODULE).filter(|path| !path.is_empty()).map(PathBuf::from)
}

/// The PIN from its file, or else from `person`.
fn pin(question: &str, person: Ask<'_>) -> Result<SecretString, TokenError> {
    if let Some(path) = env::var_os(PIN_FILE).filter(|path| !path.is_empty()) {
        return pin_of_file(Path::new(&path)).map_err(|why| TokenError::NoPin(why.0));
    }
    person(question).filter(|pin| !pin.expose().is_empty()).ok_or_else(|| {
        TokenError::NoPin(format!(
            "no PIN was given (\"{question}\"), or there is no terminal to ask for it on: write it into a file that only you can \
             read, and name the file by {PIN_FILE}"
        ))
    })
}

fn pin_of_file(path: &Path) -> Result<SecretString, SealerError> {
    let bytes = files::read_key(path)?;
    let text = std::str::from_utf8(bytes.expose()).map_err(|_| SealerError::at(path, "it is not text"))?;
    match text.trim_end_matches(['\r', '\n']) {
        "" => Err(SealerError::at(path, "it holds no PIN")),
        pin => Ok(Secret::new(pin.to_owned())),
    }
}

/// Asks for a PIN on the terminal, unless it is in a file.
pub fn ask_for_pin(question: &str) -> Result<SecretString, TokenError> {
    pin(question, &mut |question| terminal::ask(question, true))
}

/// Proves that the key of `reference` opens what is sealed for it, so that nothing is sealed for one that cannot.
pub fn prove(token: &Token, reference: &Reference) -> Result<(), SealerError> {
    let file_key: FileKey = Secret::random(&SystemRandom);
    let stanzas = reference.recipient.wrap(&file_key, &SystemRandom);
    let opened = stanzas.and_then(|stanzas| {
        held::unwrap(&reference.recipient, &stanzas, &mut |input| Ok(token.operate(reference, input)?))
    });
    match opened.map_err(|why| SealerError(why.to_string()))? {
        Some(opened) if opened.is(file_key.expose()) => Ok(()),
        _ => Err(SealerError(format!(
            "token {} does not open what is sealed for its key {}: use another token, and remove the key",
            reference.token,
            reference.id_text()
        ))),
    }
}

/// An identity in a token. The login is made when the first file needs it, and is kept.
struct InToken {
    reference: Result<Reference, TokenError>,
    token: Mutex<Option<Token>>,
}

/// What unwraps for an identity of ours; none for those of other plugins.
pub(crate) fn stands_in(
    name: &plugin::Name,
    identity: &SecretString,
) -> Option<Box<dyn Unwrap + Send + Sync>> {
    (name.as_str() == keyward_pkcs11::PLUGIN).then(|| {
        let reference = Reference::read(identity.expose());
        Box::new(InToken { reference, token: Mutex::new(None) }) as Box<dyn Unwrap + Send + Sync>
    })
}

impl Unwrap for InToken {
    fn unwrap(&self, stanzas: &[Stanza]) -> Result<Option<FileKey>, Error> {
        let reference = self.reference.as_ref().map_err(|why| Error::from(why.clone()))?;
        let mut token = self.token.lock().unwrap_or_else(PoisonError::into_inner);
        open(reference, &mut token, stanzas, &mut |question| terminal::ask(question, true))
    }
}

/// Opens with a token that is logged in to at the first need.
fn open(
    reference: &Reference,
    token: &mut Option<Token>,
    stanzas: &[Stanza],
    person: Ask<'_>,
) -> Result<Option<FileKey>, Error> {
    held::unwrap(&reference.recipient, stanzas, &mut |input| {
        let opened = match token.take() {
            Some(opened) => opened,
            None => {
                let module = module_of_environment();
                reference.token(module.as_deref(), &mut |question| pin(question, person))?
            }
        };
        Ok(token.insert(opened).operate(reference, input)?)
    })
}

/// This program as a plugin of stock age, and of a build of itself without tokens.
struct Tokens;

impl Program for Tokens {
    fn recipient(&self, identity: &str) -> Result<Recipient, Error> {
        Ok(Reference::read(identity)?.recipient)
    }

    fn unwrap(&self, identity: &str, stanzas: &[Stanza], ask: Ask<'_>) -> Result<Option<FileKey>, Error> {
        open(&Reference::read(identity)?, &mut None, stanzas, ask)
    }
}

/// Whether the program was started as a plugin, by its name.
pub fn is_plugin(program: Option<&OsString>) -> bool {
    program.is_some_and(|path| Path::new(path).file_name().is_some_and(|name| name == PROGRAM))
}

/// Answers as a plugin, with the arguments behind the program's name.
pub fn serve(arguments: impl Iterator<Item = OsString>) -> Result<(), SealerError> {
    crate::harden();
    let arguments: Vec<OsString> = arguments.collect();
    let machine = match arguments.as_slice() {
        [only] => only.to_str().and_then(|text| text.strip_prefix("--age-plugin=")),
        _ => None,
    };
    let machine = machine.ok_or_else(|| {
        SealerError(format!(
            "{PROGRAM} is started by age, for identities in tokens; `keyward pkcs11` makes them"
        ))
    })?;
    let served =
        program::serve(&Tokens, machine, &SystemRandom, &mut io::stdin().lock(), &mut io::stdout().lock());
    served.map_err(|why| SealerError(why.to_string()))
}
