//! The provider, tried past the plugin: both directions, its clock, and whether it can start without the cluster.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use keyward_crypto::{Secret, SystemRandom, same};
use keyward_keystores::{Context, Kek, KeyVersion, Keystore, KeystoreError};

use super::Findings;
use crate::error::ServeError;
use crate::serve::ProviderOptions;

/// The longest the two clocks may differ.
const CLOCKS: Duration = Duration::from_secs(60);
/// 2026-01-01: a clock before it was never set.
const CLOCK_UNSET: Duration = Duration::from_secs(1_767_225_600);

pub(super) async fn examine(provider: Option<ProviderOptions>) -> Result<Findings, ServeError> {
    let mut found = Findings::new("provider");
    let Some(options) = provider else {
        found.skip("provider", "not named");
        return Ok(found);
    };
    match &options {
        ProviderOptions::Transit(options) => examine_cycle(&mut found, &options.client.address.to_string()),
        ProviderOptions::AgeFile(_) => found.warn(
            "kind",
            "a key in a file protects copies of etcd, not this machine",
            "use transit outside of rehearsals",
        ),
    }
    let keystore = options.keystore()?;
    match keystore.current_version().await {
        Ok(version) => {
            found.ok("key", format!("{}, version {version}", keystore.location()));
            both_ways(&mut found, &*keystore, &version).await;
        }
        Err(error) => found.fail("key", error.to_string(), remedy(&error)),
    }
    if let Some(notice) = keystore.notice() {
        found.warn("credentials", notice, "use AppRole, whose tokens are replaced by themselves");
    }
    examine_clock(&mut found, &*keystore).await;
    Ok(found)
}

fn remedy(error: &KeystoreError) -> &'static str {
    match error {
        KeystoreError::Unavailable(_) => "see that the provider runs and is unsealed",
        KeystoreError::Denied(_) => {
            "allow read on keys/KEY and update on encrypt/KEY and decrypt/KEY, and give valid credentials"
        }
        KeystoreError::Key(_) => "make the key, of a kind that encrypts with associated data",
        KeystoreError::Rejected(_) => "find out who altered the wrapped key",
    }
}

async fn both_ways(found: &mut Findings, keystore: &dyn Keystore, version: &KeyVersion) {
    let kek: Kek = Secret::random(&SystemRandom);
    let context = Context { cluster: "doctor", provider: keystore.identity(), key_id: "doctor", epoch: 0 };
    let wrapped = match keystore.wrap(version, &context, &kek).await {
        Ok(wrapped) => wrapped,
        Err(error) => return found.fail("wrap", error.to_string(), remedy(&error)),
    };
    found.ok("wrap", format!("{} bytes", wrapped.len()));
    match keystore.unwrap(version, &context, &wrapped).await {
        Ok(back) if same(back.expose(), kek.expose()) => found.ok("unwrap", "the same key comes back"),
        Ok(_) => found.fail("unwrap", "another key comes back", "do not use this provider"),
        Err(error) => found.fail("unwrap", error.to_string(), remedy(&error)),
    }
    let moved = Context { key_id: "elsewhere", ..context };
    match keystore.unwrap(version, &moved, &wrapped).await {
        Err(KeystoreError::Rejected(_)) => found.ok("binding", "a wrapped key opens in its context only"),
        Ok(_) => found.fail("binding", "a wrapped key opens in another context", "do not use this provider"),
        Err(error) => found.fail("binding", error.to_string(), remedy(&error)),
    }
}

async fn examine_clock(found: &mut Findings, keystore: &dyn Keystore) {
    let ours = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    if ours < CLOCK_UNSET {
        return found.fail(
            "clock",
            "this machine's clock was never set",
            "set it; certificates and tokens depend on it",
        );
    }
    match keystore.clock().await {
        Ok(Some(theirs)) if theirs.abs_diff(ours) > CLOCKS => found.warn(
            "clock",
            format!("{:.0?} away from the provider's", theirs.abs_diff(ours)),
            "set both by NTP; certificates and tokens depend on them",
        ),
        Ok(Some(theirs)) => {
            found.ok("clock", format!("{:.0?} away from the provider's", theirs.abs_diff(ours)));
        }
        Ok(None) => found.ok("clock", "set; the provider has none of its own"),
        Err(error) => found.skip("clock", error.to_string()),
    }
}

/// A provider that needs the API server to be reached cannot be what the API server needs to start.
fn examine_cycle(found: &mut Findings, address: &str) {
    let host = address.split_once("://").map_or(address, |(_, rest)| rest);
    let host = host.split(['/', ':']).next().unwrap_or(host);
    if host.ends_with(".svc") || host.ends_with(".cluster.local") || host.contains(".svc.") {
        return found.fail(
            "cycle",
            format!(
                "{host} is a Service of a cluster: if it is this one, neither can start without the other"
            ),
            "reach an authority outside of this cluster, by an address that does not need it",
        );
    }
    found.ok("cycle", format!("{address} does not look like a Service of this cluster"));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::Verdict;

    #[test]
    fn services_of_a_cluster_are_recognised() {
        for (address, verdict) in [
            ("https://vault.vault.svc:8200", Verdict::Failed),
            ("https://vault.vault.svc.cluster.local:8200", Verdict::Failed),
            ("https://vault.vault.svc.example.org", Verdict::Failed),
            ("https://authority.example.org:8200", Verdict::Ok),
            ("https://10.0.0.5:8200", Verdict::Ok),
            ("unix:///run/keyward/keyward.sock", Verdict::Ok),
        ] {
            let mut found = Findings::new("provider");
            examine_cycle(&mut found, address);
            assert_eq!(found.checks[0].verdict, verdict, "{address}");
        }
    }
}
