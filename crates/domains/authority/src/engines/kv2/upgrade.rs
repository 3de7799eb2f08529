//! From version 1 to version 2: each secret becomes the first version of itself.
//!
//! The two layouts cannot share a directory, since version 1 lets a secret have any name. So the secrets are
//! written into a new one, and the mount is turned to it with the last of them.

use super::meta::{Meta, Version, meta_key, value_key};
use crate::jobs::{self, Job};
use crate::mounts;
use crate::refusal::Refusal;
use crate::txn::Txn;
use keyward_core::Timestamp;
use zeroize::Zeroizing;

/// A secret takes three operations, and half the bytes of a batch leave room for one of the largest.
const SECRETS_A_CHUNK: usize = 25;
const BYTES_A_CHUNK: usize = 400 * 1024;

/// Converts some secrets of the mount `from` behind the key `after`. Answers with the last key converted while
/// there may be more.
pub(crate) fn step(
    txn: &mut Txn<'_>,
    from: &str,
    to: &str,
    at: u64,
    after: &str,
) -> Result<Option<String>, Refusal> {
    let (old, new) = (mounts::prefix(from), mounts::prefix(to));
    let (mut bytes, mut last) = (0, None);
    for key in txn.keys(&old, after.as_bytes(), SECRETS_A_CHUNK)? {
        let Some(value) = txn.get(&key)?.map(Zeroizing::new) else { continue };
        let path = key.get(old.len()..).unwrap_or("");
        let mut meta = Meta::new(Timestamp::from_nanos(at));
        meta.current = 1;
        meta.versions.insert(1, Version { created: at, deletion: None, destroyed: false });
        txn.put(&format!("{new}{}", value_key(path, 1)), &value)?;
        txn.put_json(&format!("{new}{}", meta_key(path)), &meta)?;
        bytes += value.len();
        last = Some(key);
        if bytes > BYTES_A_CHUNK {
            break;
        }
    }
    if last.is_none() {
        finish(txn, from, to)?;
    }
    Ok(last)
}

fn finish(txn: &mut Txn<'_>, from: &str, to: &str) -> Result<(), Refusal> {
    let table = mounts::table(txn)?;
    let Some(known) = table.iter().find(|mount| mount.uuid == from) else {
        // Unmounted meanwhile.
        return jobs::add(txn, &Job::Wipe { prefix: mounts::prefix(to) });
    };
    let mut mount = mounts::Mount::clone(known);
    mounts::remove(txn, known)?;
    mount.uuid = to.to_owned();
    mount.upgrading = false;
    mount.options.insert("version".to_owned(), "2".to_owned());
    mounts::put(txn, &mount)?;
    jobs::add(txn, &Job::Wipe { prefix: mounts::prefix(from) })
}
