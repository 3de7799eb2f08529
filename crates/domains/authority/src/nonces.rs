//! Nonces of the ACME server (RFC 8555, section 6.5): each is good for one request, and nothing is written for it.
//!
//! A nonce is a number sealed with a key of this process: the numbers count up, so what has to be remembered is which
//! of the last ones were used. What is older than those counts as used. After a restart all that were handed out before
//! are refused, and clients repeat the request with the nonce of the refusal, as the protocol has it.
//!
//! A request is decided anew after a conflict: it may use its own nonce again, and nobody else may.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use keyward_core::{Random, random};
use keyward_crypto::AeadKey;
use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

/// Used nonces that are remembered; a process takes about 100 bytes for each.
const REMEMBERED: usize = 65_536;

/// See the module. One lock, held for a look into a map.
#[derive(Default)]
pub struct Nonces(Mutex<State>);

#[derive(Default)]
struct State {
    /// Made when it is first needed.
    key: Option<AeadKey>,
    /// The number of the last that was made.
    last: u64,
    /// Numbers up to this count as used.
    floor: u64,
    /// The numbers that were used, with the id of the request that did.
    used: BTreeMap<u64, String>,
}

impl State {
    fn key(&mut self, random: &dyn Random) -> &AeadKey {
        self.key.get_or_insert_with(|| AeadKey::new(&random::bytes(random)))
    }
}

impl Nonces {
    fn with<T>(&self, act: impl FnOnce(&mut State) -> T) -> T {
        // Nothing in here is left half done by a panic.
        act(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// A nonce for `scope`: base64url (RFC 4648, section 5).
    pub fn issue(&self, scope: &str, random: &dyn Random) -> String {
        self.with(|state| {
            state.last += 1;
            let number = state.last.to_be_bytes();
            URL_SAFE_NO_PAD.encode(state.key(random).seal_with(random, scope.as_bytes(), &number))
        })
    }

    /// Uses up `nonce` for the request `request`. False when it is none of `scope`, or was used by another request.
    pub fn spend(&self, scope: &str, nonce: &str, request: &str, random: &dyn Random) -> bool {
        let Ok(sealed) = URL_SAFE_NO_PAD.decode(nonce) else { return false };
        self.with(|state| {
            let opened = state.key(random).open_prefixed(scope.as_bytes(), &sealed);
            let Some(number) = opened.ok().and_then(|number| number.try_into().ok()).map(u64::from_be_bytes)
            else {
                return false;
            };
            if number <= state.floor {
                return false;
            }
            let by = state.used.entry(number).or_insert_with(|| request.to_owned());
            let mine = by == request;
            if state.used.len() > REMEMBERED
                && let Some((oldest, _)) = state.used.pop_first()
            {
                state.floor = oldest;
            }
            mine
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use keyward_testkit::fakes::SeededRandom;

    #[test]
    fn a_nonce_is_good_once_and_only_where_it_was_handed_out() {
        let (nonces, random) = (Nonces::default(), SeededRandom::new(1));
        let nonce = nonces.issue("a", &random);
        assert!(!nonces.spend("b", &nonce, "1", &random));
        assert!(!nonces.spend("a", "", "1", &random));
        assert!(!nonces.spend("a", &nonce[1..], "1", &random));
        assert!(!Nonces::default().spend("a", &nonce, "1", &random));
        assert!(nonces.spend("a", &nonce, "1", &random));
        assert!(nonces.spend("a", &nonce, "1", &random), "decided anew");
        assert!(!nonces.spend("a", &nonce, "2", &random));
        assert_ne!(nonces.issue("a", &random), nonce);
    }

    #[test]
    fn what_is_not_remembered_any_more_counts_as_used() {
        let (nonces, random) = (Nonces::default(), SeededRandom::new(1));
        let (first, second) = (nonces.issue("", &random), nonces.issue("", &random));
        assert!(nonces.spend("", &second, "1", &random));
        for _ in 0..REMEMBERED {
            let nonce = nonces.issue("", &random);
            assert!(nonces.spend("", &nonce, "1", &random));
        }
        for old in [first, second] {
            assert!(!nonces.spend("", &old, "1", &random));
        }
        assert_eq!(nonces.with(|state| state.used.len()), REMEMBERED);
    }
}
