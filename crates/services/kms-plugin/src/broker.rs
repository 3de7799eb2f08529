//! Stands between the API server and the provider: holds the local keys in use, and touches the provider only
//! at the start, on a rotation, on a key not seen before, and once per check.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use arc_swap::ArcSwapOption;
use keyward_crypto::{AeadKey, Secret, SystemRandom, same, sha256};
use keyward_keystores::{Context, Kek, KeyVersion, Keystore, KeystoreError};
use quick_cache::sync::Cache;
use zeroize::Zeroizing;

use crate::envelope::{self, ANNOTATION, LONGEST_SEED, WrappedKek};
use crate::key_id::{key_id, now};
use crate::refusal::Refusal;
use crate::registry::{Registry, State};

/// The most local keys kept unwrapped. A cluster uses one per node and rotation.
const CACHED_KEKS: usize = 256;
/// The longest a call of the provider may take, all told.
const CALL_LIMIT: Duration = Duration::from_secs(10);

/// A local key ready for use.
pub(crate) struct OpenKek {
    pub(crate) key_id: String,
    pub(crate) annotation: Vec<u8>,
    aead: Arc<AeadKey>,
}

/// What a seed was sealed into.
pub(crate) struct Sealed {
    pub(crate) ciphertext: Vec<u8>,
    pub(crate) kek: Arc<OpenKek>,
}

/// What a check found out.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Found {
    /// All as before.
    Same,
    /// A key was promoted: the identifier before, if any, and the one since.
    Promoted(Option<String>, String),
    /// The provider tells a version that was current earlier. The later one, which still opens, stays.
    Backwards(KeyVersion),
}

/// What the last checks came to.
#[derive(Default)]
struct Health {
    last_good: Option<Instant>,
    failure: Option<KeystoreError>,
}

/// The local keys of one plugin.
// house: two locks, since a poll of the health must not wait for a registry that is being written
pub(crate) struct Broker {
    keystore: Box<dyn Keystore>,
    state: State,
    cluster: String,
    least_epoch: u64,
    max_staleness: Duration,
    registry: Mutex<Registry>,
    health: Mutex<Health>,
    current: ArcSwapOption<OpenKek>,
    /// What the API server was last told: it discards a seed sealed under any other identifier.
    announced: ArcSwapOption<OpenKek>,
    others: Cache<[u8; 32], Arc<AeadKey>>,
}

/// What the provider's version and the wanted epoch ask for.
#[derive(Debug, PartialEq, Eq)]
enum Plan {
    Keep,
    KeepDespite,
    Make { key_id: String, epoch: u64 },
}

fn plan(registry: &Registry, version: &KeyVersion, wanted_epoch: u64) -> Plan {
    let present = registry.current().map_or(0, |entry| entry.record.epoch);
    let epoch = wanted_epoch.max(present);
    let key_id = key_id(&registry.cluster, &registry.provider, version, epoch);
    match registry.current() {
        Some(entry) if entry.key_id == key_id => Plan::Keep,
        _ if registry.knows(&key_id) => Plan::KeepDespite,
        _ => Plan::Make { key_id, epoch },
    }
}

impl Broker {
    pub(crate) fn new(
        keystore: Box<dyn Keystore>,
        state: State,
        cluster: &str,
        least_epoch: u64,
        max_staleness: Duration,
    ) -> Result<Broker, String> {
        let registry = state.load(cluster, keystore.identity())?;
        Ok(Broker {
            keystore,
            state,
            cluster: cluster.to_owned(),
            least_epoch,
            max_staleness,
            registry: Mutex::new(registry),
            health: Mutex::default(),
            current: ArcSwapOption::empty(),
            announced: ArcSwapOption::empty(),
            others: Cache::new(CACHED_KEKS),
        })
    }

    pub(crate) fn keystore(&self) -> &dyn Keystore {
        &*self.keystore
    }

    /// The identifier to be used, as last written down; it is known before the provider is reached.
    pub(crate) fn recorded_key_id(&self) -> Option<String> {
        self.registry().current().map(|entry| entry.key_id.clone())
    }

    fn registry(&self) -> Registry {
        self.registry.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Asks the provider for its version, follows a rotation, and tries both directions.
    pub(crate) async fn check(&self) -> Result<Found, KeystoreError> {
        let outcome = match tokio::time::timeout(CALL_LIMIT, self.check_now()).await {
            Ok(outcome) => outcome,
            Err(_) => Err(KeystoreError::Unavailable(format!("no answer within {CALL_LIMIT:?}"))),
        };
        let mut health = self.health.lock().unwrap_or_else(PoisonError::into_inner);
        match &outcome {
            Ok(_) => *health = Health { last_good: Some(Instant::now()), failure: None },
            Err(error) => health.failure = Some(error.clone()),
        }
        outcome
    }

    async fn check_now(&self) -> Result<Found, KeystoreError> {
        let requested = self.state.requested_epoch().map_err(KeystoreError::Key)?;
        let wanted = requested.unwrap_or(0).max(self.least_epoch);
        let version = self.keystore.current_version().await?;
        let registry = self.registry();
        match plan(&registry, &version, wanted) {
            Plan::Make { key_id, epoch } => self.make(registry, key_id, epoch, version).await,
            Plan::Keep => self.keep(&registry).await.map(|()| Found::Same),
            Plan::KeepDespite => self.keep(&registry).await.map(|()| Found::Backwards(version)),
        }
    }

    /// Makes a local key, proves that it comes back from the provider, writes it down, and only then uses it.
    async fn make(
        &self,
        registry: Registry,
        key_id: String,
        epoch: u64,
        version: KeyVersion,
    ) -> Result<Found, KeystoreError> {
        self.still_opens(&registry, epoch).await?;
        let kek: Kek = Secret::random(&SystemRandom);
        let context = self.context(&key_id, epoch);
        let wrapped = self.keystore.wrap(&version, &context, &kek).await?;
        let back = self.keystore.unwrap(&version, &context, &wrapped).await?;
        if !same(back.expose(), kek.expose()) {
            return Err(KeystoreError::Key("it gives back another key than it was given".to_owned()));
        }
        let record = WrappedKek { epoch, version, wrapped };
        let annotation = record.encode().ok_or_else(|| {
            KeystoreError::Key("what it makes of a key is too long to ride in every object".to_owned())
        })?;
        let next = registry.with(record, now().to_string());
        self.state.save(&next).map_err(KeystoreError::Key)?;
        let before = registry.current().map(|entry| entry.key_id.clone());
        *self.registry.lock().unwrap_or_else(PoisonError::into_inner) = next;
        self.open(&key_id, annotation, &kek);
        Ok(Found::Promoted(before, key_id))
    }

    /// Refuses to go on to a provider's key that has replaced the one before instead of succeeding it: what
    /// rests under that one would be lost unnoticed. An epoch the operator asked for says that it may be.
    async fn still_opens(&self, registry: &Registry, epoch: u64) -> Result<(), KeystoreError> {
        let Some(entry) = registry.current().filter(|entry| entry.record.epoch == epoch) else {
            return Ok(());
        };
        let context = self.context(&entry.key_id, epoch);
        let opened = self.keystore.unwrap(&entry.record.version, &context, &entry.record.wrapped).await;
        opened.map(drop).map_err(|error| match error {
            KeystoreError::Unavailable(_) | KeystoreError::Denied(_) => error,
            KeystoreError::Key(_) | KeystoreError::Rejected(_) => KeystoreError::Key(format!(
                "there is a new version, but it no longer opens what version {} wrapped ({error}): bring the old key \
                 back beside the new one; or, if what rests under it may be lost, ask for a new epoch (kms rotate)",
                entry.record.version
            )),
        })
    }

    /// Makes a local key the current one. It goes on opening what was sealed under it when another follows.
    fn open(&self, key_id: &str, annotation: Vec<u8>, kek: &Kek) {
        let aead = Arc::new(AeadKey::new(kek.expose()));
        self.others.insert(sha256(&annotation), aead.clone());
        self.current.store(Some(Arc::new(OpenKek { key_id: key_id.to_owned(), annotation, aead })));
    }

    /// Opens the current key anew, and wraps one that nobody will use: a provider that has stopped doing
    /// either must be noticed before the API server needs it.
    async fn keep(&self, registry: &Registry) -> Result<(), KeystoreError> {
        let Some(entry) = registry.current() else {
            return Err(KeystoreError::Key("the registry is empty".to_owned()));
        };
        let context = self.context(&entry.key_id, entry.record.epoch);
        let kek = self.keystore.unwrap(&entry.record.version, &context, &entry.record.wrapped).await?;
        if self.current.load().is_none() {
            self.open(&entry.key_id, entry.record.encode().unwrap_or_default(), &kek);
        }
        let probe: Kek = Secret::random(&SystemRandom);
        self.keystore.wrap(&entry.record.version, &context, &probe).await.map(drop)
    }

    /// The key to be announced, unless the provider has failed for good, or for longer than is tolerated.
    pub(crate) fn status(&self) -> Result<Arc<OpenKek>, Refusal> {
        self.usable()?;
        let current = self.current.load_full().ok_or_else(|| self.not_open())?;
        self.announced.store(Some(current.clone()));
        Ok(current)
    }

    fn usable(&self) -> Result<(), Refusal> {
        let health = self.health.lock().unwrap_or_else(PoisonError::into_inner);
        let fresh = health.last_good.is_some_and(|at| at.elapsed() <= self.max_staleness);
        match &health.failure {
            Some(failure) if !fresh || !failure.is_transient() => Err(Refusal::provider(failure)),
            None if !fresh => {
                Err(health.last_good.map_or_else(|| self.not_open(), |at| self.silent_since(at)))
            }
            _ => Ok(()),
        }
    }

    fn not_open(&self) -> Refusal {
        Refusal::Unavailable(format!("the provider at {} has not been reached yet", self.keystore.location()))
    }

    fn silent_since(&self, last_good: Instant) -> Refusal {
        let (location, silent) = (self.keystore.location(), last_good.elapsed().as_secs());
        Refusal::Unavailable(format!("the provider at {location} last answered {silent} s ago"))
    }

    /// Seals a seed under the key last announced.
    pub(crate) fn encrypt(&self, seed: &[u8]) -> Result<Sealed, Refusal> {
        if seed.is_empty() || seed.len() > LONGEST_SEED {
            return Err(Refusal::Caller(format!(
                "the plaintext has {} bytes: a seed has 1 to {LONGEST_SEED}",
                seed.len()
            )));
        }
        self.usable()?;
        let kek =
            self.announced.load_full().or_else(|| self.current.load_full()).ok_or_else(|| self.not_open())?;
        let ciphertext = envelope::seal_seed(&kek.aead, &SystemRandom, &kek.key_id, &kek.annotation, seed);
        Ok(Sealed { ciphertext, kek })
    }

    /// Opens a seed that any node of the cluster sealed.
    pub(crate) async fn decrypt(
        &self,
        asked_id: &str,
        annotation: Option<&[u8]>,
        ciphertext: &[u8],
    ) -> Result<Zeroizing<Vec<u8>>, Refusal> {
        let Some(annotation) = annotation else {
            return Err(Refusal::Caller(format!(
                "there is no {ANNOTATION} annotation: another plugin made this"
            )));
        };
        let aead = match self.current.load_full() {
            Some(current) if current.annotation == annotation && current.key_id == asked_id => {
                current.aead.clone()
            }
            _ => self.other(asked_id, annotation).await?,
        };
        envelope::open_seed(&aead, asked_id, annotation, ciphertext)
            .map(Zeroizing::new)
            .map_err(|_| Refusal::Caller("the ciphertext does not open: it was altered or moved".to_owned()))
    }

    async fn other(&self, asked_id: &str, annotation: &[u8]) -> Result<Arc<AeadKey>, Refusal> {
        let Some(record) = WrappedKek::decode(annotation) else {
            return Err(Refusal::Caller(format!("the {ANNOTATION} annotation is malformed")));
        };
        if key_id(&self.cluster, self.keystore.identity(), &record.version, record.epoch) != asked_id {
            return Err(Refusal::Caller(
                "the key_id is not the one of the annotation for this cluster and provider: was the object moved, \
                 or the plugin's --cluster or key changed?"
                    .to_owned(),
            ));
        }
        let context = self.context(asked_id, record.epoch);
        let cached = sha256(annotation);
        let unwrapped = self.others.get_or_insert_async(&cached, async {
            let unwrap = self.keystore.unwrap(&record.version, &context, &record.wrapped);
            match tokio::time::timeout(CALL_LIMIT, unwrap).await {
                Ok(kek) => kek.map(|kek| Arc::new(AeadKey::new(kek.expose()))),
                Err(_) => Err(KeystoreError::Unavailable(format!("no answer within {CALL_LIMIT:?}"))),
            }
        });
        unwrapped.await.map_err(|error| Refusal::provider(&error))
    }

    fn context<'a>(&'a self, key_id: &'a str, epoch: u64) -> Context<'a> {
        Context { cluster: &self.cluster, provider: self.keystore.identity(), key_id, epoch }
    }
}

#[cfg(test)]
mod tests;
