//! Compliance over time: one sample of all shares every so often, fewer the older they are.

use crate::results::Counts;
use flate2::Compression;
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;
use keyward_admission::Status;
use serde::{Deserialize, Serialize};
use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::io::{self, Read, Write};

const HOUR: u64 = 3_600;
const DAY: u64 = 24 * HOUR;
/// For how long every sample is kept, for how long one of each hour, and for how long one of each day: in seconds.
const AGES: [(u64, u64); 3] = [(2 * HOUR, 1), (2 * DAY, HOUR), (90 * DAY, DAY)];
/// Namespaces in a sample: those where most fails.
const NAMESPACES: usize = 50;
/// Policies in a sample: those that fail most.
const POLICIES: usize = 200;
/// Bytes of a history, unpacked: some ten times what it has with as much in it as there may be.
const LARGEST: u64 = 32 << 20;

/// Of so many objects and policies that concern them, how many hold.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Share {
    pub(super) held: u64,
    pub(super) of: u64,
}

impl Share {
    fn add(&mut self, status: Status, count: u64) {
        if status != Status::Skip {
            self.of += count;
            self.held += if status == Status::Pass { count } else { 0 };
        }
    }

    pub(super) fn failing(self) -> u64 {
        self.of.saturating_sub(self.held)
    }
}

/// Shares at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Sample {
    /// Seconds since 1970.
    pub(super) at: u64,
    pub(super) tiers: BTreeMap<String, Share>,
    /// By tier and policy.
    pub(super) policies: BTreeMap<String, BTreeMap<String, Share>>,
    /// What is in no namespace is under the empty name.
    pub(super) namespaces: BTreeMap<String, Share>,
}

impl Sample {
    pub(super) fn of<'a>(at: u64, counts: impl Iterator<Item = (&'a str, &'a Counts)>) -> Sample {
        let mut tiers: BTreeMap<String, Share> = BTreeMap::new();
        let mut policies: BTreeMap<(String, String), Share> = BTreeMap::new();
        let mut namespaces: BTreeMap<String, Share> = BTreeMap::new();
        for (namespace, counts) in counts {
            let within = namespaces.entry(namespace.to_owned()).or_default();
            for ((policy, tier, status), count) in counts {
                within.add(*status, *count);
                tiers.entry(tier.to_string()).or_default().add(*status, *count);
                policies.entry((tier.to_string(), policy.to_string())).or_default().add(*status, *count);
            }
        }
        let mut sample = Sample { at, tiers, namespaces: worst(namespaces, NAMESPACES), ..Sample::default() };
        for ((tier, policy), share) in worst(policies, POLICIES) {
            sample.policies.entry(tier).or_default().insert(policy, share);
        }
        sample
    }

    /// Whether nothing has changed since.
    pub(super) fn says_as(&self, other: &Sample) -> bool {
        (&self.tiers, &self.policies, &self.namespaces) == (&other.tiers, &other.policies, &other.namespaces)
    }
}

fn worst<K: Ord>(shares: BTreeMap<K, Share>, most: usize) -> BTreeMap<K, Share> {
    let mut ranked: Vec<(K, Share)> = shares.into_iter().filter(|(_, share)| share.of > 0).collect();
    ranked.sort_by_key(|(_, share)| Reverse(share.failing()));
    ranked.truncate(most);
    ranked.into_iter().collect()
}

/// Samples, oldest first.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct History {
    pub(super) samples: Vec<Sample>,
}

impl History {
    pub(super) fn last(&self) -> Option<&Sample> {
        self.samples.last()
    }

    /// Adds a sample, and forgets what is too old or too close to another of its age.
    pub(super) fn add(&mut self, sample: Sample) {
        let now = sample.at;
        // A clock that was put back would leave samples that nothing ever makes older.
        self.samples.retain(|old| old.at < now);
        self.samples.push(sample);
        let mut newer = None;
        let mut kept: Vec<Sample> = Vec::new();
        for sample in self.samples.drain(..).rev() {
            let age = now - sample.at;
            let Some((_, every)) = AGES.iter().find(|(until, _)| age <= *until) else { break };
            let slot = (*every, sample.at / every);
            if newer.replace(slot) != Some(slot) {
                kept.push(sample);
            }
        }
        kept.reverse();
        self.samples = kept;
    }

    /// Packed, to be kept in a ConfigMap: half a million bytes at most where names do not resemble each other.
    pub(super) fn pack(&self) -> io::Result<Vec<u8>> {
        let mut packed = GzEncoder::new(Vec::new(), Compression::default());
        packed.write_all(&serde_json::to_vec(self)?)?;
        packed.finish()
    }

    /// What [`History::pack`] made.
    pub(super) fn unpack(packed: &[u8]) -> io::Result<History> {
        let mut plain = Vec::new();
        if GzDecoder::new(packed).take(LARGEST).read_to_end(&mut plain)? as u64 == LARGEST {
            return Err(io::Error::other("it is too large"));
        }
        let history: History = serde_json::from_slice(&plain)?;
        if !history.samples.is_sorted_by(|before, after| before.at < after.at) {
            return Err(io::Error::other("its samples are not in order"));
        }
        Ok(history)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(fails: u64) -> Counts {
        let line = |status| ("latest-tag".into(), "important".into(), status);
        Counts::from([(line(Status::Fail), fails), (line(Status::Pass), 6), (line(Status::Skip), 100)])
    }

    fn sample(at: u64, fails: u64) -> Sample {
        let counts = counts(fails);
        Sample::of(at, [("shop", &counts)].into_iter())
    }

    #[test]
    fn shares_are_of_what_is_not_skipped() {
        let (shop, team) = (counts(2), counts(4));
        let sample = Sample::of(7, [("shop", &shop), ("team", &team)].into_iter());
        assert_eq!(sample.tiers, BTreeMap::from([("important".to_owned(), Share { held: 12, of: 18 })]));
        assert_eq!(sample.policies["important"]["latest-tag"], Share { held: 12, of: 18 });
        assert_eq!(sample.namespaces["team"], Share { held: 6, of: 10 });
        assert_eq!(sample.namespaces["team"].failing(), 4);
    }

    #[test]
    fn the_worst_namespaces_are_in_a_sample() {
        let all: Vec<(String, Counts)> =
            (0..NAMESPACES as u64 + 5).map(|at| (format!("n-{at:03}"), counts(at))).collect();
        let sample = Sample::of(7, all.iter().map(|(name, counts)| (&**name, counts)));
        assert_eq!(sample.namespaces.len(), NAMESPACES);
        assert!(!sample.namespaces.contains_key("n-004") && sample.namespaces.contains_key("n-005"));
    }

    #[test]
    fn older_samples_are_fewer_and_the_oldest_go() {
        let mut history = History::default();
        let start = 20_000 * DAY;
        for quarter in 0..100 * 96 {
            history.add(sample(start + quarter * 900, quarter));
        }
        let now = history.last().unwrap().at;
        let age = |from: u64, to: u64| {
            history.samples.iter().filter(|s| (from..to).contains(&(now - s.at))).count()
        };
        assert_eq!(age(0, 2 * HOUR), 8);
        assert!((45..=47).contains(&age(2 * HOUR, 2 * DAY)), "{}", age(2 * HOUR, 2 * DAY));
        assert!((88..=90).contains(&age(2 * DAY, 90 * DAY + 1)), "{}", age(2 * DAY, 90 * DAY + 1));
        assert_eq!(age(90 * DAY + 1, u64::MAX), 0);
    }

    #[test]
    fn a_clock_put_back_leaves_no_sample_of_the_future() {
        let mut history = History::default();
        history.add(sample(90 * DAY, 1));
        history.add(sample(89 * DAY, 2));
        assert_eq!(history.samples, [sample(89 * DAY, 2)]);
    }

    #[test]
    fn what_is_packed_is_unpacked_and_what_is_damaged_is_refused() {
        let mut history = History::default();
        history.add(sample(1, 1));
        history.add(sample(900, 2));
        let packed = history.pack().unwrap();
        assert_eq!(History::unpack(&packed).unwrap(), history);
        for length in 0..packed.len() {
            assert!(History::unpack(&packed[..length]).is_err(), "{length}");
        }
        history.samples.reverse();
        assert!(History::unpack(&history.pack().unwrap()).is_err());
    }

    #[test]
    fn the_largest_history_fits_a_config_map() {
        let mut history = History::default();
        for day in 0..160 {
            let mut counts = Counts::new();
            for policy in 0..POLICIES as u64 {
                let share = (policy * 7_919 + day * 104_729) % 1_000;
                counts
                    .insert((format!("policy-{policy}").into(), "critical".into(), Status::Fail), share + 1);
                counts.insert(
                    (format!("policy-{policy}").into(), "critical".into(), Status::Pass),
                    share * 3 + 1,
                );
            }
            let all: Vec<String> = (0..NAMESPACES).map(|at| format!("namespace-{at}")).collect();
            history.samples.push(Sample::of(day, all.iter().map(|name| (&**name, &counts))));
        }
        let packed = history.pack().unwrap().len();
        assert!(packed < 700_000, "{packed}");
    }
}
