//! Removing accounts, orders and bindings that are of no use any more, a chunk at a time.

use super::account::{ACCOUNTS, Account, Status, key_path};
use super::eab::{BINDINGS, Binding};
use super::order::{CERTIFICATES, ORDERS, Order};
use crate::refusal::Refusal;
use crate::txn::Txn;
use serde::{Deserialize, Serialize};

/// How many of what were looked at and removed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Count {
    pub(crate) accounts: u64,
    pub(crate) accounts_revoked: u64,
    pub(crate) accounts_deleted: u64,
    pub(crate) orders_deleted: u64,
}

/// Orders, accounts and bindings of a chunk: an account takes up to five operations.
const CHUNK: usize = 15;

/// What is removed, one directory after the other.
pub(crate) const DIRECTORIES: [&str; 3] = [ORDERS, ACCOUNTS, BINDINGS];

/// One entry that may be removed.
pub(crate) struct Look<'l> {
    /// Below which the mount's entries stand.
    pub(crate) prefix: &'l str,
    /// Now, in seconds since 1970.
    pub(crate) at: u64,
    /// How long certificates are kept after they expired, in seconds.
    pub(crate) buffer: u64,
    /// How long accounts without orders and bindings without accounts are kept, in seconds.
    pub(crate) account_buffer: u64,
}

impl Look<'_> {
    /// Looks at one chunk of `directory` after the storage key `after`. Answers with the last key looked at, if there may
    /// be more.
    pub(crate) fn step(
        &self,
        txn: &mut Txn<'_>,
        directory: &str,
        after: &str,
        count: &mut Count,
    ) -> Result<Option<String>, Refusal> {
        let keys = txn.keys(&format!("{}{directory}", self.prefix), after.as_bytes(), CHUNK)?;
        for key in &keys {
            match directory {
                ORDERS => self.order(txn, key, count)?,
                ACCOUNTS => self.account(txn, key, count)?,
                _ => self.binding(txn, key)?,
            }
        }
        let more = keys.len() == CHUNK;
        Ok(keys.into_iter().next_back().filter(|_| more))
    }

    fn order(&self, txn: &mut Txn<'_>, key: &str, count: &mut Count) -> Result<(), Refusal> {
        let Some(order) = txn.get_json::<Order>(key)? else { return Ok(()) };
        let end = order.certificate.as_ref().map_or(order.expires, |certified| certified.until);
        if end.saturating_add(self.buffer) < self.at {
            if let Some(certified) = order.certificate {
                txn.delete(&format!("{}{CERTIFICATES}{}", self.prefix, certified.serial));
            }
            txn.delete(key);
            count.orders_deleted += 1;
        }
        Ok(())
    }

    fn account(&self, txn: &mut Txn<'_>, key: &str, count: &mut Count) -> Result<(), Refusal> {
        let Some(account) = txn.get_json::<Account>(key)? else { return Ok(()) };
        count.accounts += 1;
        let last = account.created.max(account.certified_until).max(account.ended.unwrap_or(0));
        let orders = format!("{}{ORDERS}{}/", self.prefix, account.id);
        if last.saturating_add(self.account_buffer) >= self.at || !txn.keys(&orders, b"", 1)?.is_empty() {
            return Ok(());
        }
        // In two steps, as Vault does: who comes back in between learns that the account is revoked.
        if account.status == Status::Valid {
            txn.put_json(key, &Account { status: Status::Revoked, ended: Some(self.at), ..account })?;
            count.accounts_revoked += 1;
        } else {
            if let Ok(known) = account.key() {
                txn.delete(&format!("{}{}", self.prefix, key_path(&account.directory, &known)));
            }
            txn.delete(key);
            count.accounts_deleted += 1;
        }
        Ok(())
    }

    fn binding(&self, txn: &mut Txn<'_>, key: &str) -> Result<(), Refusal> {
        let binding = txn.get_json::<Binding>(key)?;
        if binding.is_some_and(|binding| binding.created.saturating_add(self.account_buffer) < self.at) {
            txn.delete(key);
        }
        Ok(())
    }
}
