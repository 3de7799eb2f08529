//! Starting on a store full of leases.

use super::setup;
use crate::Failure;
use crate::measure::{figure as print, middle};
use keyward_authority::authority::Authority;
use keyward_authority::expiry::{self, Due};
use keyward_authority::lease::{self, Issued, Lease};
use keyward_authority::refusal::Refusal;
use keyward_authority::seal::{self, Unsealing};
use keyward_authority::settings::Settings;
use keyward_authority::token::{self, NewToken, TokenEntry};
use keyward_core::{Batch, Fault, Timestamp, random};
use keyward_crypto::SystemRandom;
use keyward_storage::sqlite::Options;
use keyward_storage::{Sqlite, Store, read};
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Tokens of one batch: each takes three writes and relies on one absence.
const TOKENS: usize = 24;
/// Batches committed together.
const TOGETHER: usize = 64;
pub(super) const MONTH: Duration = Duration::from_secs(30 * 24 * 3600);
/// Starts that are measured.
const STARTS: usize = 7;

pub(super) fn figure(program: &Path, folder: &Path, leases: usize) -> Result<(), Failure> {
    let (empty, full) = (folder.join("empty"), folder.join("full"));
    setup::start(program, &empty)?.stop();
    let server = setup::start(program, &full)?;
    let key = server.printed("Unseal key")?.to_owned();
    server.stop();
    fill(&full, &key, leases, MONTH)?;
    let (mut with, mut without) = (Vec::new(), Vec::new());
    for _ in 0..STARTS {
        for (data, times) in [(&full, &mut with), (&empty, &mut without)] {
            let server = setup::start(program, data)?;
            times.push(server.started_in.as_secs_f64() * 1e3);
            server.stop();
        }
    }
    let (with, without) = (middle(with), middle(without));
    let behind = format!(
        "{with:.1} ms from the process's start to unsealed with {leases} leases; without {without:.1} ms; {:.2} of \
         the budget of 50 ms",
        with / 50.0
    );
    print("start-with-leases", with / without, behind)
}

/// Issues `leases` tokens for `ttl`, each with its lease and its end, into the store in `data`.
pub(super) fn fill(data: &Path, key: &str, leases: usize, ttl: Duration) -> Result<(), Failure> {
    let store = Sqlite::open(data, Options::default())?;
    let authority = unseal(&store, key)?;
    let now = Timestamp::EPOCH.plus(SystemTime::now().duration_since(UNIX_EPOCH)?);
    // In the order of their names in the store, which is the order it is fastest to fill in.
    let tokens = look(&store, |view| {
        let txn = authority.begin(view, &SystemRandom)?;
        let mut tokens: Vec<(String, String)> = (0..leases)
            .map(|_| format!("hvs.{}", random::base62(&SystemRandom, 28)))
            .map(|id| (token::name_of(&txn, &id), id))
            .collect();
        tokens.sort_unstable();
        Ok(tokens)
    })?;
    for (at, some) in tokens.chunks(TOKENS * TOGETHER).enumerate() {
        let at = now.plus(Duration::from_micros(at as u64));
        let batches = some.chunks(TOKENS).map(|few| batch(&store, &authority, few, at, ttl));
        commit(&store, batches)?;
    }
    Ok(())
}

/// Puts `leases` leases that `made` gives, each with its id, into the store in `data`, as engines issue them.
pub(super) fn fill_issued(
    data: &Path,
    key: &str,
    leases: usize,
    made: impl Fn(usize, Timestamp) -> (String, Issued),
) -> Result<(), Failure> {
    let store = Sqlite::open(data, Options::default())?;
    let authority = unseal(&store, key)?;
    let now = Timestamp::EPOCH.plus(SystemTime::now().duration_since(UNIX_EPOCH)?);
    let numbers: Vec<usize> = (1..=leases).collect();
    for some in numbers.chunks(TOKENS * TOGETHER) {
        let batches = some.chunks(TOKENS).map(|few| {
            look(&store, |view| {
                let mut txn = authority.begin(view, &SystemRandom)?;
                for at in few {
                    let (id, issued) = made(*at, now);
                    let name = id.rsplit('/').next().unwrap_or_default();
                    expiry::remember(&mut txn, issued.expires, name, &Due::Lease(id.clone()))?;
                    txn.put(&format!("{}{name}", lease::of_token_key(&issued.token)), id.as_bytes())?;
                    lease::put(&mut txn, &id, &Lease::Issued(Box::new(issued)))?;
                }
                Ok(txn.finish())
            })
        });
        commit(&store, batches)?;
    }
    Ok(())
}

/// Commits `batches` together.
fn commit(store: &Sqlite, batches: impl Iterator<Item = Result<Batch, Failure>>) -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().build()?;
    let commits = batches.map(|batch| Ok(store.commit(batch?))).collect::<Result<Vec<_>, Failure>>()?;
    let commits: Vec<_> = commits.into_iter().map(|commit| runtime.spawn(commit)).collect();
    for commit in commits {
        runtime.block_on(commit)??;
    }
    Ok(())
}

fn batch(
    store: &Sqlite,
    authority: &Authority,
    tokens: &[(String, String)],
    now: Timestamp,
    ttl: Duration,
) -> Result<Batch, Failure> {
    look(store, |view| {
        let mut txn = authority.begin(view, &SystemRandom)?;
        for (_, id) in tokens {
            let entry = TokenEntry {
                policies: vec!["default".to_owned()],
                path: "auth/token/create".to_owned(),
                display_name: "token".to_owned(),
                renewable: true,
                ..TokenEntry::default()
            };
            token::issue(&mut txn, NewToken { entry, ttl, id: Some(id.clone()) }, now)?;
        }
        Ok(txn.finish())
    })
}

fn unseal(store: &Sqlite, key: &str) -> Result<Authority, Failure> {
    look(store, |view| {
        let config = seal::config(view)?.ok_or_else(|| Refusal::invalid("the store has no seal"))?;
        let opened = Unsealing::default().submit(&config, key, &Settings::default(), view, &SystemRandom)?;
        opened.ok_or_else(|| Refusal::invalid("one share is not enough"))
    })
}

fn look<R>(
    store: &Sqlite,
    mut act: impl FnMut(&dyn keyward_core::View) -> Result<R, Refusal>,
) -> Result<R, Failure> {
    let refused = |why: Refusal| match why {
        Refusal::Storage(fault) => fault,
        other => Fault::Io(other.to_string()),
    };
    Ok(read(store, |view| act(view).map_err(refused))?)
}
