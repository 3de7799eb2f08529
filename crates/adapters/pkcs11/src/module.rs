//! Modules, and the tokens behind them.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use cryptoki::context::{CInitializeArgs, CInitializeFlags, Pkcs11};
use cryptoki::error::{Error, RvError};
use cryptoki::slot::Slot;

use crate::TokenError;

/// A module is initialised once in a process (PKCS#11 2.40, 5.4), and stays: what it started may outlive what used it.
static LOADED: Mutex<Vec<(PathBuf, Pkcs11)>> = Mutex::new(Vec::new());

/// A PKCS#11 module that was loaded.
#[derive(Clone)]
pub struct Module {
    pub(crate) context: Pkcs11,
    pub(crate) path: PathBuf,
}

/// What is known of a token without a PIN.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenInfo {
    /// What its owner called it.
    pub label: String,
    /// Who made it.
    pub manufacturer: String,
    /// What it is.
    pub model: String,
    /// Its number, which not all have.
    pub serial: String,
}

impl Module {
    /// Loads the module at a whole path.
    pub fn load(path: &Path) -> Result<Module, TokenError> {
        let failed = |why: String| TokenError::Module { path: path.to_owned(), why };
        if !path.is_absolute() {
            return Err(failed("a module is named by its whole path".to_owned()));
        }
        let mut loaded = LOADED.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, context)) = loaded.iter().find(|(known, _)| known == path) {
            return Ok(Module { context: context.clone(), path: path.to_owned() });
        }
        let context = Pkcs11::new(path).map_err(|error| match error {
            Error::LibraryLoading(why) => failed(why.to_string()),
            other => failed(other.to_string()),
        })?;
        match context.initialize(CInitializeArgs::new(CInitializeFlags::OS_LOCKING_OK)) {
            // The same file under another path.
            Ok(()) | Err(Error::Pkcs11(RvError::CryptokiAlreadyInitialized, _)) => {}
            Err(why) => return Err(failed(why.to_string())),
        }
        loaded.push((path.to_owned(), context.clone()));
        Ok(Module { context, path: path.to_owned() })
    }

    /// The tokens that are there and have been given a name.
    pub fn tokens(&self) -> Result<Vec<TokenInfo>, TokenError> {
        Ok(self.slots()?.into_iter().map(|(_, info)| info).collect())
    }

    fn slots(&self) -> Result<Vec<(Slot, TokenInfo)>, TokenError> {
        let who = self.path.display().to_string();
        let slots = self.context.get_slots_with_initialized_token();
        let mut found = Vec::new();
        for slot in slots.map_err(TokenError::refused(&who, "show its tokens"))? {
            let info = self.context.get_token_info(slot);
            let info = info.map_err(TokenError::refused(&who, "show a token"))?;
            let text = |text: &str| text.trim().to_owned();
            found.push((
                slot,
                TokenInfo {
                    label: text(info.label()),
                    manufacturer: text(info.manufacturer_id()),
                    model: text(info.model()),
                    serial: text(info.serial_number()),
                },
            ));
        }
        Ok(found)
    }

    /// The one token of that label.
    pub(crate) fn slot(&self, label: &str) -> Result<Slot, TokenError> {
        let slots = self.slots()?;
        let mut matching = slots.iter().filter(|(_, info)| info.label == label);
        match (matching.next(), matching.next()) {
            (Some((slot, _)), None) => Ok(*slot),
            (Some(_), Some(_)) => Err(TokenError::Ambiguous(label.to_owned())),
            _ => Err(TokenError::Absent {
                token: label.to_owned(),
                present: slots.iter().map(|(_, info)| info.label.clone()).collect(),
            }),
        }
    }
}
