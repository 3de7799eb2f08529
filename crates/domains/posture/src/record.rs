//! What is signed, and by whom.

use crate::moment;
use crate::verdict::{Subject, Verdict};
use keyward_core::{Random, Timestamp};
use keyward_crypto::sha256;
use keyward_envelope::author::generate;
use keyward_envelope::{AuthorKey, Signer};
use serde::{Deserialize, Serialize};
use std::fmt;

/// Bytes of the longest record.
pub const LONGEST: usize = 64 << 10;
/// What is signed begins with it, so that no signature of another protocol is one of a record.
const MAGIC: &[u8] = b"keyward.io/posture-record/v1\n";

/// What a record says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Said {
    /// This holds of its subject from now on.
    Verdict(Verdict),
    /// The subject is there no longer.
    Gone(Subject),
    /// What was said before goes on to hold.
    Holds,
}

/// One thing that a publisher says. All records of a session are numbered without a gap, so none can be held back or repeated
/// unnoticed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Record {
    /// The session that it belongs to, as the authority named it.
    pub session: String,
    /// The cluster, as its publisher calls it.
    pub cluster: String,
    /// Its number within the session, from 1.
    pub sequence: u64,
    /// When it was signed: until then everything said before was seen to hold.
    #[serde(with = "moment")]
    pub at: Timestamp,
    /// What it says.
    pub said: Said,
}

/// A record as it was signed, with its signature.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Signed {
    /// The record, byte for byte: JSON.
    pub text: String,
    /// The Ed25519 signature in base64.
    pub signature: String,
}

/// Why a record is not believed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Bad {
    /// It has more than [`LONGEST`] bytes.
    TooLong,
    /// Its signature is none of the session's key.
    Signature,
    /// It is signed, and cannot be read.
    Unreadable(String),
}

impl fmt::Display for Bad {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Bad::TooLong => write!(f, "a record has over {LONGEST} bytes"),
            Bad::Signature => f.write_str("a record's signature is none of the session's key"),
            Bad::Unreadable(why) => write!(f, "a record cannot be read: {why}"),
        }
    }
}

impl std::error::Error for Bad {}

/// Who signs: a key in memory, which is never written anywhere.
pub struct Publisher(Signer);

impl Publisher {
    /// With a new key; none where it cannot be made.
    pub fn new(random: &dyn Random) -> Option<Publisher> {
        generate(random).ok().map(Publisher)
    }

    /// Its public key, as `authorized_keys` has it.
    pub fn public(&self) -> String {
        self.0.public()
    }

    /// Signs a record. Of a verdict that would have over [`LONGEST`] bytes the least of its rulings are left out. None where it
    /// cannot be signed.
    pub fn sign(&self, record: &Record) -> Option<Signed> {
        let mut text = serde_json::to_string(record).ok()?;
        let mut shorter = None;
        while text.len() > LONGEST {
            let shorter = shorter.get_or_insert_with(|| record.clone());
            match &mut shorter.said {
                Said::Verdict(verdict) if verdict.rulings.len() > 1 => verdict.shorten(),
                _ => return None,
            }
            text = serde_json::to_string(shorter).ok()?;
        }
        let signature = self.0.sign(&[MAGIC, text.as_bytes()].concat()).ok()?;
        Some(Signed { text, signature })
    }
}

/// Whose signatures are checked.
pub struct PublisherKey(AuthorKey);

impl PublisherKey {
    /// From a line as `authorized_keys` has it; none where it is no Ed25519 key.
    pub fn read(line: &str) -> Option<PublisherKey> {
        AuthorKey::read(line).ok().map(PublisherKey)
    }

    /// As `ssh-keygen -l` shows it.
    pub fn fingerprint(&self) -> String {
        self.0.fingerprint()
    }
}

impl Signed {
    /// What it says, once it is certain that the holder of `key` signed it.
    ///
    /// # Errors
    ///
    /// Why it is not believed.
    pub fn open(&self, key: &PublisherKey) -> Result<Record, Bad> {
        if self.text.len() > LONGEST {
            return Err(Bad::TooLong);
        }
        if !key.0.verifies(&[MAGIC, self.text.as_bytes()].concat(), &self.signature) {
            return Err(Bad::Signature);
        }
        serde_json::from_str(&self.text).map_err(|why| Bad::Unreadable(why.to_string()))
    }

    /// Names it where it is relied on: a hash of its text.
    pub fn digest(&self) -> String {
        format!("sha256:{}", hex::encode(sha256(self.text.as_bytes())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::images::Images;
    use crate::node::{NodeState, tests::largest};
    use crate::verdict::{Finding, Ruling, Tier};
    use keyward_testkit::fakes::SeededRandom;
    use proptest::prelude::*;

    fn record(sequence: u64, said: Said) -> Record {
        Record {
            session: "s1".to_owned(),
            cluster: "prod".to_owned(),
            sequence,
            at: Timestamp::from_secs(1_767_225_600),
            said,
        }
    }

    fn verdict() -> Verdict {
        let subject =
            Subject::Pod { namespace: "shop".to_owned(), name: "api-1".to_owned(), uid: "u1".to_owned() };
        let ruling = Ruling {
            policy: "no-root".to_owned(),
            result: Finding::Fail,
            tier: Some(Tier::Critical),
            critical: true,
            rules: vec!["non-root".to_owned()],
            exceptions: Vec::new(),
        };
        Verdict::new(subject, Timestamp::from_secs(1_767_225_000), &[ruling])
    }

    #[test]
    fn a_record_is_read_as_it_was_signed_and_by_nobody_elses_key() {
        let publisher = Publisher::new(&SeededRandom::new(1)).unwrap();
        let key = PublisherKey::read(&publisher.public()).unwrap();
        for said in [Said::Verdict(verdict()), Said::Gone(verdict().subject), Said::Holds] {
            let record = record(1, said);
            let signed = publisher.sign(&record).unwrap();
            assert_eq!(signed.open(&key), Ok(record));
            let other = Publisher::new(&SeededRandom::new(2)).unwrap();
            assert_eq!(signed.open(&PublisherKey::read(&other.public()).unwrap()), Err(Bad::Signature));
            let forged = Signed { text: signed.text.replace("\"sequence\":1", "\"sequence\":2"), ..signed };
            assert_eq!(forged.open(&key), Err(Bad::Signature));
        }
    }

    #[test]
    fn the_signed_form_is_canonical() {
        let text = publisher_text();
        assert_eq!(
            text,
            "{\"session\":\"s1\",\"cluster\":\"prod\",\"sequence\":7,\"at\":\"2026-01-01T00:00:00Z\",\"said\":{\"verdict\":\
             {\"subject\":{\"kind\":\"Pod\",\"namespace\":\"shop\",\"name\":\"api-1\",\"uid\":\"u1\"},\
             \"since\":\"2025-12-31T23:50:00Z\",\"rulings\":[{\"policy\":\"no-root\",\"result\":\"fail\",\"tier\":\"critical\",\
             \"critical\":true,\"rules\":[\"non-root\"]}]}}}"
        );
    }

    #[test]
    fn what_a_pod_runs_is_signed_with_the_rest() {
        let publisher = Publisher::new(&SeededRandom::new(1)).unwrap();
        let images = Images { digests: [format!("sha256:{}", "a".repeat(64))].into(), unpinned: 1 };
        let said = Said::Verdict(Verdict { images: Some(images), ..verdict() });
        let signed = publisher.sign(&record(1, said.clone())).unwrap();
        let key = PublisherKey::read(&publisher.public()).unwrap();
        assert_eq!(signed.open(&key).map(|record| record.said), Ok(said));
        assert!(signed.text.ends_with(",\"unpinned\":1}}}}"), "{}", signed.text);
    }

    fn node(state: NodeState, rulings: &[Ruling]) -> Said {
        let subject = Subject::Node { name: "n1".to_owned(), uid: "u2".to_owned() };
        let at = Timestamp::from_secs(1_767_225_000);
        Said::Verdict(Verdict { state: Some(Box::new(state)), ..Verdict::new(subject, at, rulings) })
    }

    #[test]
    fn how_a_node_is_is_signed_and_a_pod_names_its_own() {
        let publisher = Publisher::new(&SeededRandom::new(1)).unwrap();
        let key = PublisherKey::read(&publisher.public()).unwrap();
        let state = NodeState {
            ready: true,
            problems: Some(["DiskPressure".to_owned()].into()),
            ..NodeState::default()
        };
        let pod = Said::Verdict(Verdict { node: Some("n1".to_owned()), ..verdict() });
        let gone = Said::Gone(Subject::Node { name: "n1".to_owned(), uid: "u2".to_owned() });
        for (said, end) in [
            (
                node(state, &[]),
                "{\"verdict\":{\"subject\":{\"kind\":\"Node\",\"name\":\"n1\",\"uid\":\"u2\"},\"since\":\"2025-12-31T23:50:00Z\",\
                 \"rulings\":[],\"state\":{\"ready\":true,\"schedulable\":false,\"problems\":[\"DiskPressure\"]}}}}",
            ),
            (pod, "\"rules\":[\"non-root\"]}],\"node\":\"n1\"}}}"),
            (gone, "{\"gone\":{\"kind\":\"Node\",\"name\":\"n1\",\"uid\":\"u2\"}}}"),
        ] {
            let signed = publisher.sign(&record(1, said.clone())).unwrap();
            assert!(signed.text.ends_with(end), "{}", signed.text);
            assert_eq!(signed.open(&key).map(|record| record.said), Ok(said));
        }
    }

    #[test]
    fn the_largest_node_is_said_with_its_worst_policies() {
        let publisher = Publisher::new(&SeededRandom::new(1)).unwrap();
        let signed = publisher.sign(&record(1, node(largest(), &long_rulings()))).unwrap();
        let key = PublisherKey::read(&publisher.public()).unwrap();
        let Said::Verdict(short) = signed.open(&key).unwrap().said else { panic!("another record") };
        assert_eq!(
            (short.policies(), short.compliant(), short.state),
            (90, false, Some(Box::new(largest())))
        );
    }

    /// As engines wrote it that did not know of nodes.
    #[test]
    fn what_says_nothing_of_nodes_is_read() {
        let text = publisher_text();
        let record: Record = serde_json::from_str(&text).unwrap();
        let Said::Verdict(verdict) = record.said else { panic!("another record") };
        assert_eq!((verdict.node, verdict.state), (None, None));
    }

    /// More than a record has room for; one of them is critical.
    fn long_rulings() -> Vec<Ruling> {
        let ruling = |n: usize| Ruling {
            policy: format!("{n:0300}"),
            result: Finding::Fail,
            tier: None,
            critical: n == 50,
            rules: (0..16).map(|rule| format!("{rule:063}")).collect(),
            exceptions: (0..16).map(|exception| format!("{exception:0300}")).collect(),
        };
        (0..90).map(ruling).collect()
    }

    fn publisher_text() -> String {
        let publisher = Publisher::new(&SeededRandom::new(1)).unwrap();
        publisher.sign(&record(7, Said::Verdict(verdict()))).unwrap().text
    }

    #[test]
    fn a_verdict_of_many_long_names_is_shortened_and_no_better_for_it() {
        let publisher = Publisher::new(&SeededRandom::new(1)).unwrap();
        let said = Said::Verdict(Verdict::new(verdict().subject, Timestamp::EPOCH, &long_rulings()));
        let signed = publisher.sign(&record(1, said)).unwrap();
        let Said::Verdict(short) =
            signed.open(&PublisherKey::read(&publisher.public()).unwrap()).unwrap().said
        else {
            panic!("another record")
        };
        assert!(signed.text.len() <= LONGEST && short.rulings.len() < 90);
        assert_eq!((short.policies(), short.compliant()), (90, false));
    }

    #[test]
    fn what_is_signed_and_says_something_else_is_refused() {
        let publisher = Publisher::new(&SeededRandom::new(1)).unwrap();
        let key = PublisherKey::read(&publisher.public()).unwrap();
        let text = publisher_text().replace("\"said\":", "\"more\":1,\"said\":");
        let signature = publisher.0.sign(&[MAGIC, text.as_bytes()].concat()).unwrap();
        assert!(matches!(Signed { text, signature }.open(&key), Err(Bad::Unreadable(_))));
        let signature = publisher.0.sign(publisher_text().as_bytes()).unwrap();
        assert_eq!(Signed { text: publisher_text(), signature }.open(&key), Err(Bad::Signature));
        let long = Signed { text: " ".repeat(LONGEST + 1), signature: String::new() };
        assert_eq!(long.open(&key), Err(Bad::TooLong));
        for line in ["", "ssh-rsa AAAA", "ssh-ed25519 AAAA"] {
            assert!(PublisherKey::read(line).is_none(), "{line}");
        }
    }

    proptest! {
        #[test]
        fn no_text_is_too_odd(text in ".{0,200}", signature in ".{0,100}") {
            let key = PublisherKey::read(&Publisher::new(&SeededRandom::new(1)).unwrap().public()).unwrap();
            let opened = Signed { text, signature }.open(&key);
            prop_assert!(opened.is_err());
        }
    }
}
