//! Decisions in this process: how long one takes, what it allocates, and what policies cost that are for something else.

use super::{POD_SECURITY, pods, unmatched};
use crate::Failure;
use crate::measure::{figure, middle};
use keyward_admission::{Leave, Loaded, Nothing, Operation, Request, RuleKind, Surroundings, load, yaml};
use keyward_admission_server::policies::{Entry, Set};
use rustix::time::{ClockId, clock_gettime};
use serde_json::Value;
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};
use std::alloc::System;
use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;

/// Counts what this process allocates; the programs under measurement are others.
#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// Microseconds, and kB (10^3 bytes), for all policies on one pod.
const MEAN: f64 = 50.0;
const ALLOCATED: f64 = 20.0;
const ROUNDS: usize = 10;
/// Decisions between two looks at the clock.
const BATCH: usize = 64;

pub(super) fn figures(span: Duration) -> Result<(), Failure> {
    let pod = yaml::values(&pods::text(1))?.into_iter().next().ok_or("there is no pod")?;
    let (few, many) = (set(POD_SECURITY)?, set(&format!("{POD_SECURITY}---\n{}", unmatched(500)))?);
    let (policies, all) = (few.entries.len(), many.entries.len());
    turn(&few, &pod, span / 10);
    let (mut own, mut beside, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        let (one, other) = (turn(&few, &pod, span / 10), turn(&many, &pod, span / 10));
        own.push(one);
        beside.push(other);
        ratios.push(other / one);
    }
    let (mean, with) = (middle(own), middle(beside));
    let behind = format!("{mean:.1} us of {MEAN} us for {policies} policies on one pod");
    figure("admission-decision", mean / MEAN, behind)?;
    let allocated = allocated(&few, &pod);
    let behind = format!("{allocated:.1} kB of {ALLOCATED} kB");
    figure("admission-allocated", allocated / ALLOCATED, behind)?;
    let behind = format!("{with:.1} us with {} policies more that are for something else", all - policies);
    figure("admission-unmatched", middle(ratios), behind)
}

/// Policies of a text, sorted by what they are for as they are when they are served.
fn set(text: &str) -> Result<Set, Failure> {
    let mut entries = Vec::new();
    for value in yaml::values(text)? {
        match load(&value, None).map_err(|why| why.to_string())? {
            Loaded::Policy(policy) => entries.push(Entry::new(Arc::new(*policy))),
            _ => return Err("a policy was expected".into()),
        }
    }
    Ok(Set::new(entries, Vec::new()))
}

/// One request, decided by the policies that are for it. The object is the request's own, as in a review.
fn decide(set: &Set, pod: Value) -> usize {
    let request = Request::of_object(pod, Operation::Create);
    let around = Surroundings {
        snapshot: &Nothing,
        exceptions: &[],
        bindings: &[],
        now: 0,
        seed: 1,
        leave: Leave::Full,
    };
    let policies = set.matching(RuleKind::Validation, "Pod", "pods");
    let said = policies.iter().map(|entry| entry.policy.decide(RuleKind::Validation, &request, &around));
    said.map(|outcome| outcome.rules.len()).sum()
}

/// The mean processor time of a decision, in microseconds.
fn turn(set: &Set, pod: &Value, span: Duration) -> f64 {
    let (mut took, mut decisions) = (Duration::ZERO, 0);
    while took < span {
        let pods = vec![pod.clone(); BATCH];
        let began = processor_time();
        for pod in pods {
            black_box(decide(set, pod));
        }
        took += processor_time().saturating_sub(began);
        decisions += BATCH;
    }
    took.as_secs_f64() * 1e6 / decisions as f64
}

/// What this thread has used of the processor: what others take of a busy machine does not count.
fn processor_time() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec.try_into().unwrap_or(0), time.tv_nsec.try_into().unwrap_or(0))
}

/// What a decision allocates, in kB.
fn allocated(set: &Set, pod: &Value) -> f64 {
    let pods = vec![pod.clone(); BATCH];
    let region = Region::new(ALLOCATOR);
    for pod in pods {
        black_box(decide(set, pod));
    }
    region.change().bytes_allocated as f64 / BATCH as f64 / 1e3
}
