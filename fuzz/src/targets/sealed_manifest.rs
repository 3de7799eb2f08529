//! Manifests from Git: sealed Secrets, ZenLocks, Secrets, files of SOPS and of Bitnami's SealedSecret, roots.

use keyward_core::Timestamp;
use keyward_intent::{Rules, SealedSecret, ZenLock, yaml};
use keyward_sealing::root::{Document, Share};
use keyward_sealing::{PlainSecret, import, lint, object};

pub(crate) fn run(data: &[u8]) {
    let Ok(text) = yaml::text(data) else { return };
    let documents = yaml::documents(text);
    assert_eq!(documents.concat(), text);
    for document in documents {
        let body = yaml::body(document);
        let _ = lint::document(document, &Rules::empty(), None, Timestamp::from_secs(1_800_000_000));
        let _ = (PlainSecret::read(body), import::open_sops(body, &[]), Document::read(body), Share::read(body));
        if let Ok(lock) = ZenLock::read(body) {
            assert_eq!(ZenLock::read(&lock.write().unwrap()).unwrap(), lock);
        }
        // JSON has a quicker reader, which understands the same or nothing.
        let both = (yaml::read_public::<SealedSecret>(body), yaml::read::<SealedSecret>(body));
        if let (Ok(quick), Ok(strict)) = both {
            assert_eq!(quick, strict);
        }
        if let Ok(sealed) = SealedSecret::read(body) {
            let _ = object::verify(&sealed, None);
            assert_eq!(SealedSecret::read(&sealed.write().unwrap()).unwrap(), sealed);
        }
    }
}

pub(crate) fn seeds() -> Vec<Vec<u8>> {
    crate::texts(&[
        r#"{"apiVersion":"keyward.io/v1alpha1","kind":"SealedSecret","metadata":{"name":"db","labels":{"a":"b"}},"spec":{"bounds":{"clusters":["prod"],"phase":"steady"},"version":1,"recipients":["0123456789abcdef"],"items":{"password":{"version":1,"seal":"c2VhbA","data":"a\\nb"}}}}"#,
        "apiVersion: keyward.io/v1alpha1\nkind: SealedSecret\nmetadata:\n  name: db\n  namespace: shop\nspec:\n  bounds:\n    clusters: [prod]\n    phase: steady\n    notAfter: 2027-01-01T00:00:00Z\n    subjects: [{kind: ServiceAccount, namespace: shop, name: web}]\n  version: 1\n  recipients: [0123456789abcdef]\n  items:\n    password: {version: 1, seal: c2VhbA, data: x}\n  author: ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIFAAZdsXa0z0SwQ4yMLo/h3czbeYeKxE7B4tjztIhPhM\n  signature: AAAA\n---\n# more\n",
        "apiVersion: keyward.io/v1alpha1\nkind: SealedSecret\nmetadata: {name: db, namespace: shop}\nspec:\n  bounds:\n    clusters: [prod]\n    phase: steady\n    subjects: [{kind: ServiceAccount, namespace: '*', name: web}]\n    namespaceSelector: {matchLabels: {env: prod}, matchExpressions: [{key: tier, operator: In, values: [gold]}]}\n    conditions: [\"posture.compliant && pod.node != 'a'\"]\n    images: [\"sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\"]\n  version: 1\n  recipients: [0123456789abcdef]\n",
        "apiVersion: security.kube-zen.io/v1alpha1\nkind: ZenLock\nmetadata: {name: a}\nspec:\n  algorithm: age\n  encryptedData: {TOKEN: YWdl}\n  allowedSubjects: [{kind: ServiceAccount, name: x}]\n",
        "apiVersion: v1\nkind: Secret\nmetadata: {name: a}\ndata: {a: YQ==}\nstringData: {b: c}\nsops:\n  age: [{recipient: age1, enc: x}]\n  lastmodified: \"2026-01-01T00:00:00Z\"\n  mac: ENC[AES256_GCM,data:AA==,iv:AA==,tag:AA==,type:str]\n",
        "apiVersion: keyward.io/v1alpha1\nkind: RootOfTrust\nspec: {id: \"00\", generation: 1, created: 2026-01-01T00:00:00Z, required: 2, shares: 3, key: x, author: y, recipients: {}, signature: z}\n",
    ])
}
