//! The page that shows compliance: one document, without a script, a picture or anything fetched from elsewhere.

use super::history::{History, Sample, Share};
use askama::Template;
use keyward_core::Timestamp;
use std::cmp::Reverse;
use std::fmt::Write as _;

/// The chart and the small lines beside names: width and height, in units of the drawing.
const CHART: (f64, f64) = (900.0, 180.0);
const LINE: (f64, f64) = (160.0, 26.0);

#[derive(Template)]
#[template(path = "compliance.html")]
struct Document {
    /// When the counts are of.
    at: String,
    /// Whether they are counted by this replica, at this moment.
    live: bool,
    since: String,
    chart: (f64, f64),
    line: (f64, f64),
    tiers: Vec<Row>,
    policies: Vec<Row>,
    namespaces: Vec<Row>,
}

/// One line of a table.
struct Row {
    name: String,
    /// Of a policy.
    tier: String,
    share: Share,
    /// Points of a polyline, of the size of a chart for tiers and of a small line for the rest.
    line: String,
}

impl Row {
    /// In percent, rounded down: only what all hold to is at 100.
    fn percent(&self) -> u64 {
        percent(self.share)
    }
}

fn percent(share: Share) -> u64 {
    share.held * 100 / share.of.max(1)
}

/// The page, of what was kept and of what is counted now.
pub(super) fn render(history: &History, now: Option<Sample>) -> String {
    let live = now.is_some();
    let mut samples: Vec<&Sample> = history.samples.iter().collect();
    if let Some(now) = &now {
        samples.retain(|sample| sample.at < now.at);
        samples.push(now);
    }
    let nothing = Sample::default();
    let last = samples.last().copied().unwrap_or(&nothing);
    let row = |name: &str, tier: &str, share: Share, size, of: &dyn Fn(&Sample) -> Option<Share>| Row {
        name: name.to_owned(),
        tier: tier.to_owned(),
        share,
        line: polyline(&samples, size, of),
    };
    let tiers = last
        .tiers
        .iter()
        .map(|(tier, share)| row(tier, tier, *share, CHART, &|s| s.tiers.get(tier).copied()));
    let policies = last
        .policies
        .iter()
        .flat_map(|(tier, policies)| policies.iter().map(move |(policy, share)| (tier, policy, *share)));
    let policies = policies.map(|(tier, policy, share)| {
        row(policy, tier, share, LINE, &|s| s.policies.get(tier)?.get(policy).copied())
    });
    let namespaces = last.namespaces.iter().map(|(namespace, share)| {
        let name = if namespace.is_empty() { "(of the cluster)" } else { namespace };
        row(name, "", *share, LINE, &|s| s.namespaces.get(namespace).copied())
    });
    let when = |sample: Option<&&Sample>| {
        sample.map_or_else(String::new, |sample| Timestamp::from_secs(sample.at).to_string())
    };
    let document = Document {
        at: when(samples.last()),
        live,
        since: when(samples.first()),
        chart: CHART,
        line: LINE,
        tiers: tiers.collect(),
        policies: worst_first(policies.collect()),
        namespaces: worst_first(namespaces.collect()),
    };
    document.render().unwrap_or_else(|why| format!("the page cannot be written: {why}"))
}

fn worst_first(mut rows: Vec<Row>) -> Vec<Row> {
    rows.sort_by_key(|row| Reverse(row.share.failing()));
    rows
}

/// Shares over the time of all samples, from nothing at the bottom to everything at the top. A share holds until the next sample.
fn polyline(
    samples: &[&Sample],
    (width, height): (f64, f64),
    of: &dyn Fn(&Sample) -> Option<Share>,
) -> String {
    let (Some(first), Some(last)) = (samples.first(), samples.last()) else { return String::new() };
    let span = (last.at - first.at).max(1) as f64;
    let mut points = String::new();
    let mut before = None;
    for sample in samples {
        let Some(share) = of(sample) else { continue };
        let x = (sample.at - first.at) as f64 / span * width;
        let y = height - share.held as f64 / share.of.max(1) as f64 * height;
        if let Some(before) = before.replace(y) {
            let _ = write!(points, "{x:.1},{before:.1} ");
        }
        let _ = write!(points, "{x:.1},{y:.1} ");
    }
    // One sample alone, and what was the same ever since, are lines too.
    if let Some(before) = before {
        let _ = write!(points, "{width:.1},{before:.1}");
    }
    points
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    fn share(held: u64, of: u64) -> Share {
        Share { held, of }
    }

    fn sample(at: u64, held: u64) -> Sample {
        let of = |name: &str, held| BTreeMap::from([(name.to_owned(), share(held, 10))]);
        Sample {
            at,
            tiers: of("critical", held),
            policies: BTreeMap::from([("critical".to_owned(), of("no-<i>privilege</i>", held))]),
            namespaces: BTreeMap::from([(String::new(), share(1, 1)), ("shop".to_owned(), share(held, 10))]),
        }
    }

    #[test]
    fn without_a_sample_the_page_says_what_is_missing() {
        let page = render(&History::default(), None);
        assert!(page.contains("Nothing has been looked at yet") && !page.contains("<table"), "{page}");
    }

    #[test]
    fn shares_and_lines_are_shown_and_names_are_text() {
        let mut history = History::default();
        history.add(sample(1_000, 5));
        let page = render(&history, Some(sample(2_000, 7)));
        assert!(page.contains("70") && page.contains("3 of 10 do not hold"), "{page}");
        assert!(page.contains("0.0,90.0 900.0,90.0 900.0,54.0 900.0,54.0"), "{page}");
        assert!(!page.contains("<i>") && page.contains("(of the cluster)"), "{page}");
        let worst = page.find("shop").zip(page.find("(of the cluster)"));
        assert!(worst.is_some_and(|(shop, cluster)| shop < cluster));
    }

    #[test]
    fn what_another_replica_counted_is_dated() {
        let mut history = History::default();
        history.add(sample(1_000, 5));
        let page = render(&history, None);
        assert!(page.contains("as another replica counted at 1970-01-01T00:16:40Z"), "{page}");
    }

    #[test]
    fn only_what_all_hold_to_is_at_a_hundred() {
        assert_eq!([percent(share(999, 1_000)), percent(share(7, 7)), percent(share(0, 0))], [99, 100, 0]);
    }
}
