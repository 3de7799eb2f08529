//! Decisions that compute for long. Each begins in brief, on a thread that answers others too; what that does not suffice for is begun
//! anew apart from these, a few at a time, so that there is always a processor for the rest.

use crate::outside::MOMENT;
use keyward_admission::{Outcome, Status};
use std::num::NonZeroUsize;
use std::thread::available_parallelism;
use std::time::{Duration, Instant};
use tokio::runtime::{Handle, RuntimeFlavor};
use tokio::sync::Semaphore;
use tokio::task;
use tokio::time::{timeout, timeout_at};

/// Steps that are taken where others wait: some milliseconds.
pub(crate) const BRIEF: u64 = 50_000;
/// After so many steps others are let in between two decisions of one review.
pub(crate) const BREATH: u64 = 5_000;
/// Reviews that compute for long, or wait for their turn. More wait for a moment and then do without.
pub(crate) const COMPUTING: usize = 24;
/// What is left of a review's time for its answer.
const ANSWERING: Duration = Duration::from_millis(50);

/// How long a decision may wait, and for what.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Patience {
    /// When nobody wants it any more.
    pub(crate) until: Instant,
    /// One of many reviews, of which only some may wait at a time.
    review: bool,
}

impl Patience {
    pub(crate) fn of_review(deadline: Instant) -> Patience {
        Patience { until: deadline, review: true }
    }

    /// Of work that goes on one piece after the other.
    pub(crate) fn of_work(until: Instant) -> Patience {
        Patience { until, review: false }
    }
}

/// See the module.
pub(crate) struct Computing {
    reviews: Semaphore,
    turns: Semaphore,
}

impl Default for Computing {
    fn default() -> Computing {
        let processors = available_parallelism().map_or(1, NonZeroUsize::get);
        let turns = processors.saturating_sub(1).max(1);
        Computing { reviews: Semaphore::new(COMPUTING), turns: Semaphore::new(turns) }
    }
}

impl Computing {
    /// Does work that computes for long, when it is its turn.
    pub(crate) async fn apart<T>(
        &self,
        patience: Patience,
        work: impl FnOnce() -> T,
    ) -> Result<T, &'static str> {
        let _place = match patience.review {
            true => match timeout(MOMENT, self.reviews.acquire()).await {
                Ok(place) => Some(place),
                Err(_) => return Err("too many reviews compute for long"),
            },
            false => None,
        };
        let until = patience.until.checked_sub(ANSWERING).unwrap_or(patience.until);
        let turn = timeout_at(until.into(), self.turns.acquire()).await;
        let Some(turn) = turn.ok().filter(|_| Instant::now() < until) else {
            return Err("there was no time left to compute it");
        };
        let done = match Handle::current().runtime_flavor() {
            // Whatever else this thread had to do goes to another.
            RuntimeFlavor::MultiThread => task::block_in_place(work),
            _ => work(),
        };
        drop(turn);
        task::yield_now().await;
        Ok(done)
    }
}

/// What a policy says that was cut short and is not computed: that none of the rules which are for the request could be evaluated.
pub(crate) fn given_up(mut outcome: Outcome, why: &'static str) -> Outcome {
    for rule in &mut outcome.rules {
        (rule.status, rule.message, rule.effects) = (Status::Error, why.into(), None);
    }
    Outcome { rules: outcome.rules, ..Outcome::default() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use keyward_admission::{RuleKind, RuleOutcome};

    #[tokio::test]
    async fn a_bounded_number_waits_and_nobody_beyond_the_time() {
        let computing = Computing::default();
        let later = Instant::now() + Duration::from_secs(60);
        assert_eq!(computing.apart(Patience::of_review(later), || 1).await, Ok(1));
        let now = Patience::of_review(Instant::now());
        assert_eq!(computing.apart(now, || 1).await, Err("there was no time left to compute it"));
        let places = computing.reviews.acquire_many(COMPUTING as u32).await.unwrap();
        let refused = computing.apart(Patience::of_review(later), || 1).await;
        assert_eq!(refused, Err("too many reviews compute for long"));
        assert_eq!(computing.apart(Patience::of_work(later), || 1).await, Ok(1));
        drop(places);
        let turns = computing.turns.available_permits();
        let _turns = computing.turns.acquire_many(turns as u32).await.unwrap();
        let soon = Patience::of_work(Instant::now() + ANSWERING + Duration::from_millis(20));
        assert_eq!(computing.apart(soon, || 1).await, Err("there was no time left to compute it"));
    }

    #[test]
    fn what_is_given_up_says_nothing_else() {
        let said = RuleOutcome {
            rule: "a".into(),
            kind: RuleKind::Validation,
            status: Status::Pass,
            message: "".into(),
            effects: None,
        };
        let outcome =
            Outcome { rules: vec![said], patched: Some(serde_json::Value::Null), ..Outcome::default() };
        let given = given_up(outcome, "why");
        assert_eq!(
            (given.rules[0].status, &*given.rules[0].message, &given.patched),
            (Status::Error, "why", &None)
        );
    }
}
