//! What Prometheus reads at `/metrics`.

use crate::results::Results;
use std::fmt::Write as _;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Upper bounds of how long reviews take, in microseconds.
const BOUNDS: [u64; 9] = [100, 250, 500, 1_000, 2_500, 10_000, 50_000, 250_000, 1_000_000];

/// What is done besides reviews.
const WORK: [&str; 3] = ["generate", "mutate-existing", "cleanup"];
/// Gauges and counters of it: kind, name, help.
const QUEUE: [(&str, &str, &str); 9] = [
    ("gauge", "queue_waiting", "Pieces of work that wait for their first attempt."),
    ("gauge", "queue_failing", "Pieces of work that failed and are tried again."),
    ("gauge", "queue_stuck", "Pieces of work that failed five times or more."),
    ("gauge", "queue_stuck_seconds", "The age of the oldest of these."),
    (
        "counter",
        "queue_deferred_total",
        "Failing pieces that were dropped until everything is looked at again.",
    ),
    ("counter", "queue_full_total", "How often a watch was held up because the queue was full."),
    ("gauge", "generated_objects", "Objects that policies made and that are there."),
    ("counter", "objects_removed_total", "Objects that policies and their own labels had removed."),
    ("counter", "sources_unwatched_total", "Sources of copies that were too many to be watched."),
];

/// A number that only grows, or is set.
#[derive(Debug, Default)]
pub(crate) struct Count(AtomicU64);

impl Count {
    pub(crate) fn add(&self, more: u64) {
        self.0.fetch_add(more, Ordering::Relaxed);
    }

    pub(crate) fn set(&self, value: u64) {
        self.0.store(value, Ordering::Relaxed);
    }

    pub(crate) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// What is counted of work besides reviews.
#[derive(Debug, Default)]
pub(crate) struct WorkCounts {
    pub(crate) waiting: Count,
    pub(crate) failing: Count,
    pub(crate) stuck: Count,
    pub(crate) stuck_seconds: Count,
    pub(crate) deferred: Count,
    pub(crate) full: Count,
    pub(crate) generated: Count,
    pub(crate) removed: Count,
    pub(crate) unwatched: Count,
    tried: [[Count; 2]; WORK.len()],
}

/// Everything that is counted.
#[derive(Debug, Default)]
pub(crate) struct Metrics {
    pub(crate) allowed: Count,
    pub(crate) refused: Count,
    pub(crate) policies: Count,
    pub(crate) policies_refused: Count,
    pub(crate) violations: Count,
    pub(crate) events_dropped: Count,
    pub(crate) objects_scanned: Count,
    pub(crate) reports_written: Count,
    pub(crate) verdicts_published: Count,
    pub(crate) work: WorkCounts,
    pub(crate) results: Results,
    within: [Count; BOUNDS.len()],
    micros: Count,
}

impl Metrics {
    /// Counts a review that was answered.
    pub(crate) fn reviewed(&self, allowed: bool, took: Duration) {
        if allowed { &self.allowed } else { &self.refused }.add(1);
        let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        self.micros.add(micros);
        for (bound, count) in BOUNDS.iter().zip(&self.within) {
            if micros <= *bound {
                count.add(1);
            }
        }
    }

    /// Counts a piece of work that was tried.
    pub(crate) fn worked(&self, task: &str, done: bool) {
        let known = WORK.iter().zip(&self.work.tried).find(|(name, _)| **name == task);
        if let Some((_, counts)) = known {
            counts[usize::from(done)].add(1);
        }
    }

    fn queue(&self, out: &mut String) {
        let counts = [
            &self.work.waiting,
            &self.work.failing,
            &self.work.stuck,
            &self.work.stuck_seconds,
            &self.work.deferred,
            &self.work.full,
            &self.work.generated,
            &self.work.removed,
            &self.work.unwatched,
        ];
        for ((kind, name, help), count) in QUEUE.iter().zip(counts) {
            let name = format!("keyward_policy_{name}");
            let _ = writeln!(out, "# HELP {name} {help}\n# TYPE {name} {kind}\n{name} {}", count.get());
        }
        let name = "keyward_policy_work_total";
        let _ = writeln!(out, "# HELP {name} Pieces of work that were tried.\n# TYPE {name} counter");
        for (task, counts) in WORK.iter().zip(&self.work.tried) {
            for (result, count) in ["failed", "done"].into_iter().zip(counts) {
                let _ = writeln!(out, "{name}{{task=\"{task}\",result=\"{result}\"}} {}", count.get());
            }
        }
    }

    /// In the text format of Prometheus.
    pub(crate) fn page(&self) -> String {
        let mut out = String::new();
        let mut counter = |kind: &str, name: &str, help: &str, value: &Count| {
            let _ = writeln!(out, "# HELP {name} {help}\n# TYPE {name} {kind}\n{name} {}", value.get());
        };
        counter("gauge", "keyward_policy_policies", "Policies that are served.", &self.policies);
        counter(
            "gauge",
            "keyward_policy_policies_refused",
            "Policies that cannot mean anything.",
            &self.policies_refused,
        );
        counter(
            "counter",
            "keyward_policy_violations_total",
            "Rules that failed in reviews.",
            &self.violations,
        );
        counter(
            "counter",
            "keyward_policy_events_dropped_total",
            "Events that were not written because too many were waiting.",
            &self.events_dropped,
        );
        counter(
            "counter",
            "keyward_policy_objects_scanned_total",
            "Objects that background policies were held against.",
            &self.objects_scanned,
        );
        counter("counter", "keyward_policy_reports_written_total", "Reports written.", &self.reports_written);
        counter(
            "counter",
            "keyward_policy_verdicts_published_total",
            "Verdicts on pods and namespaces that the authority has taken.",
            &self.verdicts_published,
        );
        self.queue(&mut out);
        let name = "keyward_policy_reviews_total";
        let _ = writeln!(out, "# HELP {name} Admission reviews that were answered.\n# TYPE {name} counter");
        for (allowed, count) in [("true", &self.allowed), ("false", &self.refused)] {
            let _ = writeln!(out, "{name}{{allowed=\"{allowed}\"}} {}", count.get());
        }
        let name = "keyward_policy_review_seconds";
        let _ = writeln!(out, "# HELP {name} How long reviews take.\n# TYPE {name} histogram");
        for (bound, count) in BOUNDS.iter().zip(&self.within) {
            let _ = writeln!(out, "{name}_bucket{{le=\"{}\"}} {}", *bound as f64 / 1e6, count.get());
        }
        let total = self.allowed.get() + self.refused.get();
        let _ = writeln!(out, "{name}_bucket{{le=\"+Inf\"}} {total}");
        let _ = writeln!(out, "{name}_sum {}\n{name}_count {total}", self.micros.get() as f64 / 1e6);
        self.results.write(&mut out);
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use keyward_admission::Status;
    use serde_json::Value;
    use std::collections::{BTreeMap, BTreeSet};

    const DASHBOARD: &str = include_str!("../../../../dashboards/admission.json");

    /// Every metric of a page, with the labels that it has.
    fn exposed(page: &str) -> BTreeMap<String, BTreeSet<String>> {
        let mut found: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for line in page.lines().filter(|line| !line.starts_with('#')) {
            let (name, rest) = line.split_once(['{', ' ']).unwrap();
            let labels = rest.split_once("} ").map(|(labels, _)| labels).unwrap_or_default();
            let names =
                labels.split(',').filter_map(|label| label.split_once('=')).map(|(name, _)| name.to_owned());
            found.entry(name.to_owned()).or_default().extend(names);
        }
        found
    }

    /// The words of an expression, without what stands in quotes.
    fn words(expression: &str) -> impl Iterator<Item = &str> {
        let bare = expression.split('"').step_by(2);
        bare.flat_map(|part| part.split(|c: char| !c.is_ascii_alphanumeric() && c != '_'))
            .filter(|word| !word.is_empty())
    }

    fn expressions<'v>(value: &'v Value, found: &mut Vec<&'v str>) {
        match value {
            Value::Object(map) => map.iter().for_each(|(key, value)| match value {
                Value::String(text) if matches!(key.as_str(), "expr" | "definition" | "query") => {
                    found.push(text);
                }
                value => expressions(value, found),
            }),
            Value::Array(list) => list.iter().for_each(|value| expressions(value, found)),
            _ => {}
        }
    }

    #[test]
    fn the_dashboard_draws_what_is_there() {
        let metrics = Metrics::default();
        metrics.reviewed(true, Duration::from_micros(300));
        metrics.results.put("shop", [(("a".into(), "critical".into(), Status::Pass), 1)].into());
        let exposed = exposed(&metrics.page());
        let dashboard: Value = serde_json::from_str(DASHBOARD).unwrap();
        let mut found = Vec::new();
        expressions(&dashboard, &mut found);
        let asked: BTreeSet<&str> =
            found.iter().flat_map(|one| words(one)).filter(|word| word.starts_with("keyward_")).collect();
        for metric in &asked {
            assert!(exposed.contains_key(*metric), "the dashboard asks for {metric}, which is not there");
        }
        // What stands before `=` in braces, or is grouped by, is a label of some metric.
        let labels: BTreeSet<&str> = exposed.values().flatten().map(String::as_str).collect();
        for expression in found {
            let grouped = expression.split("by (").skip(1).filter_map(|rest| rest.split(')').next());
            let chosen = expression.split('{').skip(1).filter_map(|rest| rest.split('}').next());
            let chosen =
                chosen.flat_map(|inner| inner.split(',')).filter_map(|one| one.split(['=', '!']).next());
            for label in grouped.flat_map(|list| list.split(',')).chain(chosen).map(str::trim) {
                assert!(labels.contains(label), "{expression}: there is no label {label}");
            }
        }
    }

    #[test]
    fn the_dashboard_has_a_place_for_each_panel() {
        let dashboard: Value = serde_json::from_str(DASHBOARD).unwrap();
        let panels = dashboard["panels"].as_array().unwrap();
        let ids: BTreeSet<u64> = panels.iter().map(|panel| panel["id"].as_u64().unwrap()).collect();
        assert_eq!(ids.len(), panels.len());
        let side = |panel: &Value, key: &str| panel["gridPos"][key].as_u64().unwrap();
        for (at, panel) in panels.iter().enumerate() {
            assert!(side(panel, "x") + side(panel, "w") <= 24);
            for other in &panels[..at] {
                let apart = |from: &str, size: &str| {
                    side(panel, from) + side(panel, size) <= side(other, from)
                        || side(other, from) + side(other, size) <= side(panel, from)
                };
                assert!(apart("x", "w") || apart("y", "h"), "{} lies on {}", panel["title"], other["title"]);
            }
        }
    }
}
