//! What Prometheus reads at `/metrics`.

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
    pub(crate) work_waiting: Count,
    pub(crate) work_failing: Count,
    pub(crate) work_stuck: Count,
    pub(crate) work_stuck_seconds: Count,
    pub(crate) work_deferred: Count,
    pub(crate) queue_full: Count,
    pub(crate) generated_objects: Count,
    pub(crate) objects_removed: Count,
    pub(crate) sources_unwatched: Count,
    worked: [[Count; 2]; WORK.len()],
    pub(crate) verdicts_published: Count,
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
        let known = WORK.iter().zip(&self.worked).find(|(name, _)| **name == task);
        if let Some((_, counts)) = known {
            counts[usize::from(done)].add(1);
        }
    }

    fn queue(&self, out: &mut String) {
        let counts = [
            &self.work_waiting,
            &self.work_failing,
            &self.work_stuck,
            &self.work_stuck_seconds,
            &self.work_deferred,
            &self.queue_full,
            &self.generated_objects,
            &self.objects_removed,
            &self.sources_unwatched,
        ];
        for ((kind, name, help), count) in QUEUE.iter().zip(counts) {
            let name = format!("keyward_policy_{name}");
            let _ = writeln!(out, "# HELP {name} {help}\n# TYPE {name} {kind}\n{name} {}", count.get());
        }
        let name = "keyward_policy_work_total";
        let _ = writeln!(out, "# HELP {name} Pieces of work that were tried.\n# TYPE {name} counter");
        for (task, counts) in WORK.iter().zip(&self.worked) {
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
        out
    }
}
