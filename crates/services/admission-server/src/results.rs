//! How many objects hold to which policy now, by namespace: what compliance over time is drawn from.

use keyward_admission::Status;
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Arc;

/// Series at most, for every one is kept by whoever reads the metrics.
const MOST: usize = 10_000;
/// Where namespaces beyond that are counted together; no namespace has such a name.
const OTHERS: &str = "_others";
const NAME: &str = "keyward_policy_results";

/// A policy, the tier it belongs to, and what it says.
pub(crate) type Line = (Arc<str>, Arc<str>, Status);
/// How many objects each is said of.
pub(crate) type Counts = BTreeMap<Line, u64>;

/// The counts of all namespaces; what has none is under the empty name.
#[derive(Debug, Default)]
pub(crate) struct Results(Mutex<BTreeMap<Box<str>, Counts>>);

impl Results {
    /// Puts the counts of a namespace in the place of those before.
    pub(crate) fn put(&self, namespace: &str, counts: Counts) {
        let mut all = self.0.lock();
        match counts.is_empty() {
            true => all.remove(namespace),
            false => all.insert(namespace.into(), counts),
        };
    }

    /// Forgets everything: another replica counts now.
    pub(crate) fn clear(&self) {
        self.0.lock().clear();
    }

    /// Shows all of them.
    pub(crate) fn read<T>(&self, look: impl FnOnce(&BTreeMap<Box<str>, Counts>) -> T) -> T {
        look(&self.0.lock())
    }

    /// Adds them to a page in the text format of Prometheus.
    pub(crate) fn write(&self, out: &mut String) {
        let help = "Results of background policies on what is there; namespaces beyond 10000 series are counted as _others.";
        let _ = writeln!(out, "# HELP {NAME} {help}\n# TYPE {NAME} gauge");
        let all = self.0.lock();
        let mut written = 0;
        let mut others = Counts::new();
        for (namespace, counts) in &*all {
            written += counts.len();
            if written > MOST {
                counts.iter().for_each(|(line, count)| *others.entry(line.clone()).or_default() += count);
            } else {
                lines(out, namespace, counts);
            }
        }
        lines(out, OTHERS, &others);
    }
}

fn lines(out: &mut String, namespace: &str, counts: &Counts) {
    for ((policy, tier, status), count) in counts {
        let _ = writeln!(
            out,
            "{NAME}{{namespace=\"{namespace}\",policy=\"{policy}\",tier=\"{tier}\",result=\"{}\"}} {count}",
            status.name()
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(policies: usize) -> Counts {
        (0..policies).map(|at| ((format!("p-{at}").into(), "critical".into(), Status::Fail), 2)).collect()
    }

    fn page(results: &Results) -> String {
        let mut page = String::new();
        results.write(&mut page);
        page
    }

    #[test]
    fn a_namespace_is_counted_by_policy_and_tier() {
        let results = Results::default();
        results.put("shop", counts(1));
        let line =
            "keyward_policy_results{namespace=\"shop\",policy=\"p-0\",tier=\"critical\",result=\"fail\"} 2\n";
        assert!(page(&results).ends_with(line), "{}", page(&results));
        results.put("shop", Counts::new());
        assert!(!page(&results).contains('{'));
    }

    #[test]
    fn there_are_never_more_series_than_one_can_keep() {
        let results = Results::default();
        for at in 0..2_000 {
            results.put(&format!("team-{at:04}"), counts(10));
        }
        let page = page(&results);
        assert_eq!(page.lines().count(), 2 + MOST + 10);
        let others = format!(
            "{NAME}{{namespace=\"_others\",policy=\"p-9\",tier=\"critical\",result=\"fail\"}} 2000\n"
        );
        assert!(page.ends_with(&others));
        let counted: u64 = page.lines().filter_map(|line| line.split("} ").nth(1)?.parse::<u64>().ok()).sum();
        assert_eq!(counted, 2_000 * 10 * 2);
    }
}
