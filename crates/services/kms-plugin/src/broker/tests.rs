use std::sync::atomic::{AtomicBool, AtomicU32, Ordering::SeqCst};

use keyward_keystores::Answer;

use super::*;

/// What was given, in which context, and which key it holds.
type Kept = (String, Vec<u8>, [u8; 32]);

/// A provider that tests break and rotate. It wraps by keeping what it is given.
// house: a test changes the version while the broker wraps
#[derive(Default)]
struct Fake {
    version: Mutex<String>,
    kept: Mutex<Vec<Kept>>,
    down: AtomicBool,
    denies: AtomicBool,
    forgets: AtomicBool,
    calls: AtomicU32,
}

impl Fake {
    fn answer<T>(&self, value: impl FnOnce() -> Result<T, KeystoreError>) -> Result<T, KeystoreError> {
        self.calls.fetch_add(1, SeqCst);
        if self.down.load(SeqCst) {
            return Err(KeystoreError::Unavailable("down".to_owned()));
        }
        if self.denies.load(SeqCst) {
            return Err(KeystoreError::Denied("permission denied".to_owned()));
        }
        value()
    }

    fn rotate(&self, version: &str) {
        version.clone_into(&mut self.version.lock().unwrap());
    }
}

struct Shared(Arc<Fake>);

impl Keystore for Shared {
    fn identity(&self) -> &str {
        "fake"
    }

    fn location(&self) -> String {
        "nowhere".to_owned()
    }

    fn current_version(&self) -> Answer<'_, KeyVersion> {
        Box::pin(async move {
            self.0.answer(|| Ok(KeyVersion::new(self.0.version.lock().unwrap().clone()).unwrap()))
        })
    }

    fn wrap<'a>(&'a self, _: &'a KeyVersion, context: &'a Context<'a>, key: &'a Kek) -> Answer<'a, Vec<u8>> {
        Box::pin(async move {
            self.0.answer(|| {
                let mut kept = self.0.kept.lock().unwrap();
                let wrapped = format!("wrapped {}", kept.len());
                kept.push((wrapped.clone(), context.encode(), *key.expose()));
                Ok(wrapped.into_bytes())
            })
        })
    }

    fn unwrap<'a>(
        &'a self,
        _: &'a KeyVersion,
        context: &'a Context<'a>,
        wrapped: &'a [u8],
    ) -> Answer<'a, Kek> {
        Box::pin(async move {
            self.0.answer(|| {
                let kept = self.0.kept.lock().unwrap();
                let same = |entry: &&Kept| entry.0.as_bytes() == wrapped && entry.1 == context.encode();
                let found = kept.iter().find(same).filter(|_| !self.0.forgets.load(SeqCst));
                found.map(|entry| Secret::new(entry.2)).ok_or(KeystoreError::Rejected("unknown".to_owned()))
            })
        })
    }
}

struct Setting {
    fake: Arc<Fake>,
    folder: tempfile::TempDir,
}

impl Setting {
    fn new() -> Setting {
        let fake = Arc::new(Fake::default());
        fake.rotate("v1");
        Setting { fake, folder: tempfile::tempdir().unwrap() }
    }

    fn broker(&self) -> Broker {
        self.broker_at(1, Duration::from_secs(90))
    }

    fn broker_at(&self, epoch: u64, staleness: Duration) -> Broker {
        self.node("state", epoch, staleness)
    }

    fn node(&self, name: &str, epoch: u64, staleness: Duration) -> Broker {
        let state = State::open(&self.folder.path().join(name)).unwrap();
        Broker::new(Box::new(Shared(self.fake.clone())), state, "test", epoch, staleness).unwrap()
    }
}

async fn opens(broker: &Broker, sealed: &Sealed) -> Result<Vec<u8>, Refusal> {
    let opened = broker.decrypt(&sealed.kek.key_id, Some(&sealed.kek.annotation), &sealed.ciphertext).await;
    opened.map(|seed| seed.to_vec())
}

#[tokio::test]
async fn the_provider_is_not_asked_per_request() {
    let setting = Setting::new();
    let broker = setting.broker();
    assert!(matches!(broker.check().await, Ok(Found::Promoted(None, _))));
    let calls = setting.fake.calls.load(SeqCst);
    for _ in 0..100 {
        broker.status().unwrap();
        let sealed = broker.encrypt(&[9; 32]).unwrap();
        assert_eq!(sealed.kek.key_id, broker.status().unwrap().key_id);
        assert_eq!(opens(&broker, &sealed).await.unwrap(), [9; 32]);
    }
    assert_eq!(setting.fake.calls.load(SeqCst), calls);
    assert_eq!(broker.check().await, Ok(Found::Same));
    assert_eq!(setting.fake.calls.load(SeqCst), calls + 3, "version, decrypt, encrypt");
}

#[tokio::test]
async fn nothing_is_served_before_the_provider_was_reached() {
    let setting = Setting::new();
    setting.fake.down.store(true, SeqCst);
    let broker = setting.broker();
    assert!(matches!(broker.status(), Err(Refusal::Unavailable(why)) if why.contains("not been reached")));
    assert!(broker.check().await.unwrap_err().is_transient());
    assert!(matches!(broker.status(), Err(Refusal::Unavailable(why)) if why.contains("down")));
    assert!(broker.encrypt(&[9; 32]).is_err());
}

#[tokio::test]
async fn the_identifier_survives_a_restart_with_the_provider_down() {
    let setting = Setting::new();
    let first = setting.broker();
    first.check().await.unwrap();
    let sealed = first.encrypt(&[9; 32]).unwrap();
    drop(first);
    setting.fake.down.store(true, SeqCst);
    let second = setting.broker();
    assert!(second.check().await.is_err());
    assert_eq!(second.recorded_key_id(), Some(sealed.kek.key_id.clone()));
    assert!(second.status().is_err());
    assert!(matches!(opens(&second, &sealed).await, Err(Refusal::Unavailable(_))));
    setting.fake.down.store(false, SeqCst);
    assert_eq!(second.check().await, Ok(Found::Same), "no new key for a restart");
    assert_eq!(second.status().unwrap().key_id, sealed.kek.key_id);
    assert_eq!(opens(&second, &sealed).await.unwrap(), [9; 32]);
}

#[tokio::test]
async fn a_failed_unwrap_is_not_remembered() {
    let setting = Setting::new();
    let (one, two) =
        (setting.node("a", 1, Duration::from_secs(90)), setting.node("b", 1, Duration::from_secs(90)));
    one.check().await.unwrap();
    two.check().await.unwrap();
    let sealed = one.encrypt(&[9; 32]).unwrap();
    setting.fake.down.store(true, SeqCst);
    assert!(opens(&two, &sealed).await.is_err());
    setting.fake.down.store(false, SeqCst);
    assert_eq!(opens(&two, &sealed).await.unwrap(), [9; 32]);
    setting.fake.down.store(true, SeqCst);
    assert_eq!(
        opens(&two, &sealed).await.unwrap(),
        [9; 32],
        "what was opened once is served while the provider is down"
    );
}

#[tokio::test]
async fn nodes_agree_on_the_identifier_and_open_each_others_objects() {
    let setting = Setting::new();
    let (one, two) =
        (setting.node("a", 1, Duration::from_secs(90)), setting.node("b", 1, Duration::from_secs(90)));
    one.check().await.unwrap();
    two.check().await.unwrap();
    assert_eq!(one.status().unwrap().key_id, two.status().unwrap().key_id);
    let sealed = one.encrypt(&[9; 32]).unwrap();
    assert_ne!(sealed.kek.annotation, two.status().unwrap().annotation, "each has a local key of its own");
    let calls = setting.fake.calls.load(SeqCst);
    for _ in 0..10 {
        assert_eq!(opens(&two, &sealed).await.unwrap(), [9; 32]);
    }
    assert_eq!(setting.fake.calls.load(SeqCst), calls + 1, "one unwrap, then none");
}

#[tokio::test]
async fn many_waiting_for_one_key_ask_once() {
    let setting = Setting::new();
    let (one, two) =
        (setting.node("a", 1, Duration::from_secs(90)), setting.node("b", 1, Duration::from_secs(90)));
    one.check().await.unwrap();
    two.check().await.unwrap();
    let (sealed, calls) = (one.encrypt(&[9; 32]).unwrap(), setting.fake.calls.load(SeqCst));
    let (sealed, two) = (Arc::new(sealed), Arc::new(two));
    let waiting: Vec<_> = (0..50)
        .map(|_| {
            let (sealed, two) = (sealed.clone(), two.clone());
            tokio::spawn(async move { opens(&two, &sealed).await.unwrap() })
        })
        .collect();
    for one in waiting {
        assert_eq!(one.await.unwrap(), [9; 32]);
    }
    assert_eq!(setting.fake.calls.load(SeqCst), calls + 1);
}

#[tokio::test]
async fn a_rotation_promotes_a_new_identifier_and_old_objects_open() {
    let setting = Setting::new();
    let broker = setting.broker();
    broker.check().await.unwrap();
    let old = broker.encrypt(&[1; 32]).unwrap();
    setting.fake.rotate("v2");
    let Ok(Found::Promoted(Some(before), after)) = broker.check().await else { panic!("no promotion") };
    assert_eq!(before, old.kek.key_id);
    assert_eq!(broker.status().unwrap().key_id, after);
    let new = broker.encrypt(&[2; 32]).unwrap();
    assert_eq!(new.kek.key_id, after);
    setting.fake.down.store(true, SeqCst);
    assert_eq!(opens(&broker, &old).await.unwrap(), [1; 32], "without the provider");
    assert_eq!(opens(&broker, &new).await.unwrap(), [2; 32]);
}

#[tokio::test]
async fn a_seed_is_sealed_under_what_was_announced() {
    let setting = Setting::new();
    let broker = setting.broker();
    broker.check().await.unwrap();
    let announced = broker.status().unwrap().key_id.clone();
    setting.fake.rotate("v2");
    broker.check().await.unwrap();
    assert_eq!(
        broker.encrypt(&[1; 32]).unwrap().kek.key_id,
        announced,
        "the API server would discard any other"
    );
    let next = broker.status().unwrap().key_id.clone();
    assert_ne!(next, announced);
    assert_eq!(broker.encrypt(&[1; 32]).unwrap().kek.key_id, next);
}

#[tokio::test]
async fn an_earlier_version_is_not_followed() {
    let setting = Setting::new();
    let broker = setting.broker();
    broker.check().await.unwrap();
    setting.fake.rotate("v2");
    broker.check().await.unwrap();
    let key_id = broker.status().unwrap().key_id.clone();
    setting.fake.rotate("v1");
    assert_eq!(broker.check().await, Ok(Found::Backwards(KeyVersion::new("v1").unwrap())));
    assert_eq!(broker.status().unwrap().key_id, key_id);
}

#[tokio::test]
async fn a_key_that_opens_nothing_old_is_not_followed_without_a_new_epoch() {
    let setting = Setting::new();
    let broker = setting.broker();
    broker.check().await.unwrap();
    let key_id = broker.status().unwrap().key_id.clone();
    setting.fake.kept.lock().unwrap().clear();
    setting.fake.rotate("another");
    let error = broker.check().await.unwrap_err();
    assert!(matches!(&error, KeystoreError::Key(why) if why.contains("kms rotate")), "{error}");
    assert!(matches!(broker.status(), Err(Refusal::Provider(_))));
    crate::request_epoch(&setting.folder.path().join("state"), None).unwrap();
    assert!(matches!(broker.check().await, Ok(Found::Promoted(..))));
    assert_ne!(broker.status().unwrap().key_id, key_id);
}

#[tokio::test]
async fn a_new_epoch_is_a_new_key() {
    let setting = Setting::new();
    let broker = setting.broker();
    broker.check().await.unwrap();
    let first = broker.status().unwrap().key_id.clone();
    assert_eq!(crate::request_epoch(&setting.folder.path().join("state"), None), Ok(2));
    assert!(matches!(broker.check().await, Ok(Found::Promoted(..))));
    let second = broker.status().unwrap().key_id.clone();
    assert_ne!(first, second);
    assert_eq!(broker.check().await, Ok(Found::Same));
    drop(broker);
    let raised = setting.broker_at(5, Duration::from_secs(90));
    assert!(matches!(raised.check().await, Ok(Found::Promoted(..))));
    drop(raised);
    let lowered = setting.broker_at(1, Duration::from_secs(90));
    assert_eq!(lowered.check().await, Ok(Found::Same), "an epoch never goes back");
}

#[tokio::test]
async fn a_refusal_stops_at_once_and_silence_after_a_while() {
    let setting = Setting::new();
    let broker = setting.broker_at(1, Duration::from_millis(200));
    broker.check().await.unwrap();
    setting.fake.down.store(true, SeqCst);
    broker.check().await.unwrap_err();
    broker.status().unwrap();
    tokio::time::sleep(Duration::from_millis(250)).await;
    assert!(matches!(broker.status(), Err(Refusal::Unavailable(_))));
    assert!(matches!(broker.encrypt(&[1; 32]), Err(Refusal::Unavailable(_))));
    setting.fake.down.store(false, SeqCst);
    broker.check().await.unwrap();
    broker.status().unwrap();
    setting.fake.denies.store(true, SeqCst);
    broker.check().await.unwrap_err();
    assert!(matches!(broker.status(), Err(Refusal::Provider(_))));
}

#[tokio::test]
async fn a_check_that_never_ends_makes_the_status_stale() {
    let setting = Setting::new();
    let broker = setting.broker_at(1, Duration::from_millis(100));
    broker.check().await.unwrap();
    tokio::time::sleep(Duration::from_millis(150)).await;
    assert!(broker.status().is_err(), "no check ended since");
}

#[tokio::test]
async fn a_provider_that_only_encrypts_is_noticed() {
    let setting = Setting::new();
    let broker = setting.broker();
    broker.check().await.unwrap();
    setting.fake.forgets.store(true, SeqCst);
    broker.check().await.unwrap_err();
    assert!(broker.status().is_err());
}

#[tokio::test]
async fn moved_and_altered_requests_are_refused() {
    let setting = Setting::new();
    let broker = setting.broker();
    broker.check().await.unwrap();
    let (one, key_id) = (broker.encrypt(&[1; 32]).unwrap(), broker.status().unwrap().key_id.clone());
    setting.fake.rotate("v2");
    broker.check().await.unwrap();
    broker.status().unwrap();
    let two = broker.encrypt(&[2; 32]).unwrap();
    let mut other_epoch = WrappedKek::decode(&one.kek.annotation).unwrap();
    other_epoch.epoch = 2;
    let other_epoch = other_epoch.encode().unwrap();
    let mut other_wrapped = WrappedKek::decode(&one.kek.annotation).unwrap();
    other_wrapped.wrapped.push(0);
    let other_wrapped = other_wrapped.encode().unwrap();
    for (id, annotation, ciphertext) in [
        (key_id.as_str(), None, &one.ciphertext),
        (&key_id, Some(&b""[..]), &one.ciphertext),
        (&key_id, Some(&b"nonsense"[..]), &one.ciphertext),
        (&key_id, Some(&one.kek.annotation[..]), &two.ciphertext),
        (&key_id, Some(&two.kek.annotation[..]), &two.ciphertext),
        (&two.kek.key_id, Some(&one.kek.annotation[..]), &one.ciphertext),
        (&key_id, Some(&other_epoch[..]), &one.ciphertext),
        (&key_id, Some(&other_wrapped[..]), &one.ciphertext),
        ("", Some(&one.kek.annotation[..]), &one.ciphertext),
        (&key_id, Some(&one.kek.annotation[..]), &Vec::new()),
    ] {
        let refusal = broker.decrypt(id, annotation, ciphertext).await.unwrap_err();
        assert!(matches!(refusal, Refusal::Caller(_)), "{refusal:?}");
    }
    assert_eq!(opens(&broker, &one).await.unwrap(), [1; 32]);
}

#[tokio::test]
async fn seeds_have_a_size() {
    let setting = Setting::new();
    let broker = setting.broker();
    broker.check().await.unwrap();
    assert!(matches!(broker.encrypt(&[]), Err(Refusal::Caller(_))));
    assert!(matches!(broker.encrypt(&[0; LONGEST_SEED + 1]), Err(Refusal::Caller(_))));
    let sealed = broker.encrypt(&[7; LONGEST_SEED]).unwrap();
    assert_eq!(sealed.ciphertext.len(), 1024);
    assert_eq!(opens(&broker, &sealed).await.unwrap(), [7; LONGEST_SEED]);
}

#[tokio::test]
async fn a_key_is_used_only_once_it_is_written_down() {
    let setting = Setting::new();
    let broker = setting.broker();
    let state = setting.folder.path().join("state");
    // A folder in the registry's place makes the write fail, for root too.
    std::fs::create_dir(state.join("registry.json.new")).unwrap();
    let error = broker.check().await.unwrap_err();
    assert!(error.to_string().contains("cannot write"), "{error}");
    assert!(broker.status().is_err());
    std::fs::remove_dir(state.join("registry.json.new")).unwrap();
    assert!(matches!(broker.check().await, Ok(Found::Promoted(None, _))));
}
