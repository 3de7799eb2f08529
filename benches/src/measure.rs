//! Samples taken in turn, so that what disturbs the machine disturbs all that is compared.

use crate::Failure;
use crate::load::{self, Ask};
use crate::server::Server;
use std::fmt::Display;
use std::io::Write;
use std::time::Duration;

/// How much to measure.
#[derive(Clone, Copy)]
pub(crate) struct Effort {
    /// How often each case has its turn.
    pub(crate) rounds: usize,
    /// How long one turn is.
    pub(crate) span: Duration,
}

/// One kind of request to one server.
pub(crate) struct Case<'a> {
    pub(crate) server: &'a Server,
    pub(crate) ask: &'a Ask,
    pub(crate) connections: usize,
}

/// What came of one turn.
#[derive(Clone, Copy)]
pub(crate) struct Sample {
    /// Requests a second.
    pub(crate) rate: f64,
    /// Processor time of the server for a request, in microseconds.
    pub(crate) cpu: f64,
}

/// Gives each case a turn, `effort.rounds` times, after one short turn that does not count.
pub(crate) fn in_turn<const N: usize>(
    effort: Effort,
    cases: [Case<'_>; N],
) -> Result<[Vec<Sample>; N], Failure> {
    let mut samples = [const { Vec::new() }; N];
    for case in &cases {
        turn(case, effort.span / 4)?;
    }
    for _ in 0..effort.rounds {
        for (case, samples) in cases.iter().zip(&mut samples) {
            samples.push(turn(case, effort.span)?);
        }
    }
    Ok(samples)
}

fn turn(case: &Case<'_>, span: Duration) -> Result<Sample, Failure> {
    let before = case.server.cpu()?;
    let load = load::run(case.server.address, case.ask, case.connections, span)?;
    let used = case.server.cpu()? - before;
    Ok(Sample { rate: load.per_second(), cpu: used / load.requests as f64 })
}

/// The median of `of` over the samples.
pub(crate) fn median(samples: &[Sample], of: impl Fn(&Sample) -> f64) -> f64 {
    middle(samples.iter().map(of).collect())
}

/// The median, over the rounds, of the one's figure divided by the other's.
pub(crate) fn ratio(one: &[Sample], other: &[Sample], of: impl Fn(&Sample) -> f64) -> f64 {
    middle(one.iter().zip(other).map(|(one, other)| of(one) / of(other)).collect())
}

/// The value in the middle; the upper of two.
pub(crate) fn middle(mut values: Vec<f64>) -> f64 {
    values.sort_unstable_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

/// Prints one figure, at once: a run takes minutes.
pub(crate) fn figure(name: &str, ratio: f64, behind: impl Display) -> Result<(), Failure> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{name} ratio {ratio:.2} ({behind})")?;
    Ok(out.flush()?)
}
