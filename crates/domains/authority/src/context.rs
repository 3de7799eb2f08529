//! What a handler is given.

use crate::act::{Act, Undertaking};
use crate::barrier::RootKey;
use crate::fields::Fields;
use crate::mounts::{self, Mount};
use crate::nonces::Nonces;
use crate::outside::{Answer, Ask, Gathered, ldap};
use crate::params::Params;
use crate::posture::Verdicts;
use crate::refusal::Refusal;
use crate::request::{Operation, Request};
use crate::settings::Settings;
use crate::token::Caller;
use crate::txn::Txn;
use keyward_core::{Random, Timestamp};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::sync::Arc;
use std::time::Duration;

/// Something only the server can do, asked for by a handler.
#[derive(Debug, PartialEq, Eq)]
pub enum Effect {
    /// Before the commit: make sure that this can be done, and refuse the request if not.
    Prove(Act),
    /// After the commit, before the answer: see [`crate::act`].
    Undertake(Undertaking),
    /// Before the commit: make sure that this audit device can be opened, and refuse the request if not.
    ProbeAudit(crate::audit::Device),
    /// After the commit: forget the root key.
    Seal,
    /// Before the answer: its data are the heads of the audit devices' chains.
    ShowAuditHeads,
    /// After the commit, before the answer: carry out the stored jobs, and what they made due.
    RunJobs,
}

/// What a handler is given: the request, the transaction, and the entries below its own mount only.
pub struct Context<'c, 'v> {
    /// The whole store; handlers of mounts use [`Context::get`] and its kin instead.
    pub txn: &'c mut Txn<'v>,
    /// The request.
    pub request: &'c Request,
    /// The operation, decided: a creation or an update.
    pub operation: Operation,
    /// The mount.
    pub mount: &'c Arc<Mount>,
    /// What the route's pattern captured.
    pub params: &'c Params,
    /// Who asks; nobody on open routes.
    pub caller: Option<&'c Caller>,
    /// The present moment.
    pub now: Timestamp,
    /// Opens and seals the key ring.
    pub root: &'c RootKey,
    /// Limits and defaults of this authority.
    pub settings: &'c Settings,
    /// What was found out from outside.
    pub gathered: &'c Gathered,
    /// See [`Nonces`].
    pub nonces: &'c Nonces,
    /// What is attested of workloads.
    pub verdicts: &'c Verdicts,
    /// What the server must do.
    pub effects: &'c mut Vec<Effect>,
}

impl<'v> Context<'_, 'v> {
    /// The request's parameters.
    pub fn fields(&self) -> &Fields {
        &self.request.fields
    }

    /// What the pattern captured as `name`.
    pub fn param(&self, name: &str) -> &str {
        self.params.get(name)
    }

    /// The randomness of this transaction.
    pub fn random(&self) -> &'v dyn Random {
        self.txn.random()
    }

    /// Who asks, or a refusal: for handlers of routes that are not open.
    pub fn caller(&self) -> Result<&Caller, Refusal> {
        self.caller.ok_or(Refusal::denied("the route needs a token"))
    }

    /// What the world outside says to `ask`; see [`crate::outside`].
    pub fn ask(&self, ask: Ask) -> Result<&Answer, Refusal> {
        self.gathered.answer(ask)
    }

    /// Has `undertaking` done once this transaction is committed; see [`crate::act`].
    pub fn undertake(&mut self, undertaking: Undertaking) {
        self.effects.push(Effect::Undertake(undertaking));
    }

    /// What a directory says to `ask`; see [`crate::outside`].
    pub fn ask_directory(&self, ask: ldap::Ask) -> Result<&ldap::Answer, Refusal> {
        self.gathered.ldap(ask)
    }

    /// The storage key of `path` below this mount.
    pub fn key(&self, path: &str) -> String {
        [mounts::DIRECTORIES, &self.mount.uuid, "/", path].concat()
    }

    /// The decrypted entry at `path` below this mount.
    pub fn get(&mut self, path: &str) -> Result<Option<Vec<u8>>, Refusal> {
        let key = self.key(path);
        self.txn.get(&key)
    }

    /// The entry at `path` below this mount, read as JSON.
    pub fn get_json<T: DeserializeOwned>(&mut self, path: &str) -> Result<Option<T>, Refusal> {
        let key = self.key(path);
        self.txn.get_json(&key)
    }

    /// The entry at `path` below this mount, read as JSON once per revision.
    pub fn built_json<T>(&mut self, path: &str) -> Result<Option<Arc<T>>, Refusal>
    where
        T: DeserializeOwned + Send + Sync + 'static,
    {
        let key = self.key(path);
        self.txn.built_json(&key)
    }

    /// What `build` makes of the entry at `path` below this mount, once per revision.
    pub fn built<T: Send + Sync + 'static>(
        &mut self,
        path: &str,
        build: impl FnOnce(&[u8]) -> Result<T, Refusal>,
    ) -> Result<Option<Arc<T>>, Refusal> {
        let key = self.key(path);
        self.txn.built(&key, build)
    }

    /// True when there is an entry at `path` below this mount.
    pub fn exists(&mut self, path: &str) -> Result<bool, Refusal> {
        let key = self.key(path);
        self.txn.exists(&key)
    }

    /// Writes `plain` at `path` below this mount.
    pub fn put(&mut self, path: &str, plain: &[u8]) -> Result<(), Refusal> {
        let key = self.key(path);
        self.txn.put(&key, plain)
    }

    /// Writes `value` as JSON at `path` below this mount.
    pub fn put_json(&mut self, path: &str, value: &impl Serialize) -> Result<(), Refusal> {
        let key = self.key(path);
        self.txn.put_json(&key, value)
    }

    /// Deletes `path` below this mount.
    pub fn delete(&mut self, path: &str) {
        let key = self.key(path);
        self.txn.delete(&key);
    }

    /// The names under the directory `path` below this mount, honouring the request's `after` and `limit`.
    pub fn list(&mut self, path: &str) -> Result<Vec<String>, Refusal> {
        let key = self.key(path);
        self.list_at(&key)
    }

    /// The names under the storage directory `key`, honouring the request's `after` and `limit`.
    pub fn list_at(&mut self, key: &str) -> Result<Vec<String>, Refusal> {
        let after = self.fields().string("after")?.unwrap_or_default();
        let most = match self.fields().int("limit")? {
            Some(limit) if limit > 0 => usize::try_from(limit).unwrap_or(usize::MAX),
            _ => usize::MAX,
        };
        self.txn.list(key, &after, most)
    }

    /// The default time to live of what this mount issues.
    pub fn default_ttl(&self) -> Duration {
        self.mount.default_ttl(self.settings)
    }

    /// The longest time to live of what this mount issues.
    pub fn max_ttl(&self) -> Duration {
        self.mount.max_ttl(self.settings)
    }
}
