//! Random histories against a model.

use super::{auth, bench, lookup, token_in};
use crate::request::Operation::{Read, Update};
use proptest::prelude::*;
use serde_json::json;
use std::time::Duration;

/// What a token is to the model.
#[derive(Clone, Debug)]
struct Known {
    token: String,
    parent: Option<usize>,
    ends: u64,
    created: u64,
    max: u64,
    gone: bool,
}

#[derive(Clone, Debug)]
enum Step {
    Create { parent: usize, ttl: u64, max: u64, orphan: bool },
    Renew { token: usize, increment: u64 },
    Revoke { token: usize },
    RevokeOrphan { token: usize },
    Pass { seconds: u64, sweep: bool },
}

fn step() -> impl Strategy<Value = Step> {
    let token = 0usize..12;
    prop_oneof![
        4 => (token.clone(), 10u64..90, 0u64..120, any::<bool>())
            .prop_map(|(parent, ttl, max, orphan)| Step::Create { parent, ttl, max, orphan }),
        2 => (token.clone(), 0u64..90).prop_map(|(token, increment)| Step::Renew { token, increment }),
        1 => token.clone().prop_map(|token| Step::Revoke { token }),
        1 => token.prop_map(|token| Step::RevokeOrphan { token }),
        2 => (0u64..40, any::<bool>()).prop_map(|(seconds, sweep)| Step::Pass { seconds, sweep }),
    ]
}

/// Ends the token `at` and those below it.
fn fell(known: &mut [Known], at: usize) {
    known[at].gone = true;
    for below in 0..known.len() {
        if known[below].parent == Some(at) && !known[below].gone {
            fell(known, below);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]
    #[test]
    fn any_history_agrees_with_a_model(steps in prop::collection::vec(step(), 1..60)) {
        let mut bench = bench();
        let root = bench.root.clone();
        let mut known: Vec<Known> = Vec::new();
        let mut now = 0u64;
        for step in steps {
            let pick = |at: usize, known: &[Known]| (!known.is_empty()).then(|| at % known.len());
            match step {
                Step::Create { parent, ttl, max, orphan } => {
                    let parent = pick(parent, &known).filter(|at| at % 3 > 0 && !known[*at].gone && known[*at].ends > now);
                    let creator = parent.map_or(&root, |at| &known[at].token).clone();
                    let path = if orphan { "auth/token/create-orphan" } else { "auth/token/create" };
                    let body = json!({"policies": ["creator"], "ttl": ttl, "explicit_max_ttl": max}).to_string();
                    let answer = bench.ask(&creator, Update, path, &body);
                    let granted = if max > 0 { ttl.min(max) } else { ttl };
                    prop_assert_eq!(&auth(&answer)["lease_duration"], &json!(granted));
                    let parent = parent.filter(|_| !orphan);
                    known.push(Known { token: token_in(&answer), parent, ends: now + granted, created: now, max, gone: false });
                }
                Step::Renew { token, increment } => if let Some(at) = pick(token, &known) {
                    let body = json!({"token": known[at].token, "increment": increment}).to_string();
                    let answer = bench.root(Update, "auth/token/renew", &body);
                    let one = &mut known[at];
                    if one.gone || one.ends <= now {
                        prop_assert_eq!(answer.errors(), "token not found");
                    } else if increment > 0 {
                        let left = if one.max > 0 { one.created + one.max - now } else { u64::MAX };
                        prop_assert_eq!(&auth(&answer)["lease_duration"], &json!(increment.min(left)));
                        one.ends = now + increment.min(left);
                    } else {
                        one.ends = now + auth(&answer)["lease_duration"].as_u64().unwrap();
                        prop_assert!(one.max == 0 || one.ends <= one.created + one.max);
                    }
                },
                Step::Revoke { token } => if let Some(at) = pick(token, &known) {
                    let there = !known[at].gone && known[at].ends > now;
                    bench.root(Update, "auth/token/revoke", &json!({"token": known[at].token}).to_string());
                    if there { fell(&mut known, at); }
                },
                Step::RevokeOrphan { token } => if let Some(at) = pick(token, &known) {
                    let there = !known[at].gone && known[at].ends > now;
                    let answer = bench.root(Update, "auth/token/revoke-orphan", &json!({"token": known[at].token}).to_string());
                    prop_assert_eq!(answer.status, if there { 204 } else { 400 });
                    if there {
                        known[at].gone = true;
                        known.iter_mut().filter(|one| one.parent == Some(at)).for_each(|one| one.parent = None);
                    }
                },
                Step::Pass { seconds, sweep } => {
                    now += seconds;
                    if sweep {
                        bench.pass(Duration::from_secs(seconds));
                        for at in 0..known.len() {
                            if !known[at].gone && known[at].ends <= now { fell(&mut known, at); }
                        }
                    } else {
                        bench.clock.advance(Duration::from_secs(seconds));
                    }
                }
            }
            for one in &known {
                let wanted = if one.gone || one.ends <= now { 403 } else { 200 };
                prop_assert_eq!(lookup(&mut bench, &one.token).status, wanted);
            }
        }
        // Once everything has ended nothing is left but the root token.
        bench.pass(Duration::from_secs(1000));
        prop_assert_eq!((bench.count("token/"), bench.count("lease/"), bench.count("job/")), (1, 0, 0));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]
    /// However requests overlap, as many go through as the token has uses.
    #[test]
    fn uses_are_claimed_once_each(uses in 1u32..6, overlaps in prop::collection::vec(1usize..4, 1..12)) {
        let mut bench = bench();
        let root = bench.root.clone();
        let body = json!({"policies": "a", "num_uses": uses}).to_string();
        let token = bench.created(&root, &body);
        let request = bench.request(&token, Read, "auth/token/lookup-self", "");
        let (mut done, mut tried) = (0, 0);
        for overlap in overlaps {
            // All of these see the same snapshot.
            let admit = |_| bench.authority.admit(&bench.store, &request, request.arrived, &bench.random).ok();
            let admitted: Vec<_> = (0..overlap).filter_map(admit).collect();
            tried += overlap;
            for admitted in admitted {
                if bench.store.commit(admitted.claim.clone()).is_ok() {
                    let outcome = bench.carry_out(&request, &admitted);
                    bench.store.commit(outcome.ok().unwrap().batch).unwrap();
                    done += 1;
                }
            }
        }
        prop_assert!(done <= uses);
        for _ in done..uses {
            prop_assert_eq!(bench.ask(&token, Read, "auth/token/lookup-self", "").status, 200, "{} {}", done, tried);
        }
        prop_assert_eq!(bench.ask(&token, Read, "auth/token/lookup-self", "").status, 403);
        prop_assert_eq!((bench.count("token/id/"), bench.count("lease/")), (1, 0));
    }
}
