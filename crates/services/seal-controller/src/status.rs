//! What stands in an object's status.

use keyward_core::Timestamp;
use serde_json::{Map, Value, json};

use crate::authority::{Failed, Registered};
use crate::object::Which;

/// A status that differs from what stands there.
#[derive(Debug, PartialEq)]
pub(crate) struct Change {
    /// The whole status.
    pub(crate) status: Value,
    /// What people are told of it, if it is news.
    pub(crate) news: Option<News>,
}

/// An event.
#[derive(Debug, PartialEq)]
pub(crate) struct News {
    pub(crate) good: bool,
    pub(crate) reason: String,
    pub(crate) note: String,
}

struct Condition<'a> {
    name: &'static str,
    status: &'static str,
    reason: &'a str,
    message: &'a str,
}

/// The status of an object of this `generation`, after the authority's `verdict`; none when it stands there already.
pub(crate) fn change(
    which: Which,
    before: &Value,
    generation: i64,
    verdict: &Result<Registered, Failed>,
    now: Timestamp,
) -> Option<Change> {
    let state;
    let conditions = match verdict {
        Ok(registered) => {
            let is_active = registered.state == "active";
            state = if is_active { "Active".to_owned() } else { camel(&registered.state) };
            let message = if is_active { "its subjects can have it" } else { &registered.reason };
            let ready = if is_active { "True" } else { "False" };
            [
                Condition {
                    name: "Verified",
                    status: "True",
                    reason: "Registered",
                    message: "the authority has it",
                },
                Condition { name: "Ready", status: ready, reason: &state, message },
            ]
        }
        Err(Failed::Refused(why)) => [
            Condition { name: "Verified", status: "False", reason: "Refused", message: why },
            Condition { name: "Ready", status: "False", reason: "Refused", message: why },
        ],
        Err(Failed::Away(reason, why)) => {
            let verified = condition(before, "Verified");
            let stands = before["observedGeneration"] == generation && verified["status"] == "True";
            let verified = match stands {
                true => Condition {
                    name: "Verified",
                    status: "True",
                    reason: "Registered",
                    message: "the authority has it",
                },
                false => Condition { name: "Verified", status: "Unknown", reason, message: why },
            };
            [verified, Condition { name: "Ready", status: "Unknown", reason, message: why }]
        }
    };
    let mut status = before.as_object().cloned().unwrap_or_default();
    let written: Vec<Value> =
        conditions.iter().map(|condition| write(condition, before, generation, now)).collect();
    status.insert("observedGeneration".to_owned(), json!(generation));
    status.insert("conditions".to_owned(), Value::from(written));
    describe(which, &mut status, verdict);
    let status = Value::Object(status);
    if status == *before {
        return None;
    }
    let [_, ready] = &conditions;
    let old = condition(before, "Ready");
    let is_news =
        old["status"] != ready.status || old["reason"] != ready.reason || old["message"] != ready.message;
    let news = is_news.then(|| News {
        good: ready.status == "True",
        reason: ready.reason.to_owned(),
        note: ready.message.to_owned(),
    });
    Some(Change { status, news })
}

fn describe(which: Which, status: &mut Map<String, Value>, verdict: &Result<Registered, Failed>) {
    if let Ok(registered) = verdict {
        status.insert("version".to_owned(), json!(registered.version));
        status.insert("keys".to_owned(), json!(registered.keys));
        status.insert("digest".to_owned(), json!(registered.digest));
    }
    if which == Which::Zen {
        let is_active = verdict.as_ref().is_ok_and(|registered| registered.state == "active");
        status.insert("phase".to_owned(), json!(if is_active { "Ready" } else { "Error" }));
    }
}

fn condition<'a>(status: &'a Value, name: &str) -> &'a Value {
    let all = status["conditions"].as_array().into_iter().flatten();
    all.into_iter().find(|condition| condition["type"] == name).unwrap_or(&Value::Null)
}

fn write(condition: &Condition<'_>, before: &Value, generation: i64, now: Timestamp) -> Value {
    let old = self::condition(before, condition.name);
    let since = match &old["lastTransitionTime"] {
        Value::String(since) if old["status"] == condition.status => since.clone(),
        _ => Timestamp::from_secs(now.secs()).to_string(),
    };
    json!({
        "type": condition.name,
        "status": condition.status,
        "reason": condition.reason,
        "message": condition.message,
        "observedGeneration": generation,
        "lastTransitionTime": since,
    })
}

/// `phase-over` as `PhaseOver`: reasons of conditions are written so.
fn camel(state: &str) -> String {
    let mut words = state.split('-').map(|word| {
        let mut letters = word.chars();
        letters
            .next()
            .map(|first| first.to_ascii_uppercase().to_string() + letters.as_str())
            .unwrap_or_default()
    });
    match words.by_ref().collect::<String>() {
        empty if empty.is_empty() => "Unknown".to_owned(),
        reason => reason,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may fail where it stands")]
    use super::*;

    const NOW: Timestamp = Timestamp::from_secs(1_800_000_000);

    fn registered(state: &str, reason: &str) -> Result<Registered, Failed> {
        Ok(Registered {
            version: 3,
            digest: "sha256:d".to_owned(),
            keys: 2,
            state: state.to_owned(),
            reason: reason.to_owned(),
        })
    }

    fn next(
        before: &Value,
        generation: i64,
        verdict: &Result<Registered, Failed>,
        later: u64,
    ) -> Option<Change> {
        change(Which::Sealed, before, generation, verdict, Timestamp::from_secs(NOW.secs() + later))
    }

    #[test]
    fn a_status_is_written_once_and_told_once() {
        let first = next(&Value::Null, 1, &registered("active", ""), 0).unwrap();
        assert_eq!((&first.status["keys"], &first.status["version"]), (&json!(2), &json!(3)));
        assert!(first.news.as_ref().unwrap().good);
        assert_eq!(next(&first.status, 1, &registered("active", ""), 60), None);
        // A new generation is no news.
        let second = next(&first.status, 2, &registered("active", ""), 60).unwrap();
        assert_eq!(second.news, None);
        let since = |change: &Change| condition(&change.status, "Ready")["lastTransitionTime"].clone();
        assert_eq!(since(&first), since(&second));
        let over = next(&second.status, 2, &registered("phase-over", "the phase"), 120).unwrap();
        assert_ne!(since(&over), since(&second));
        assert_eq!(condition(&over.status, "Ready")["reason"], "PhaseOver");
        assert_eq!(condition(&over.status, "Verified")["status"], "True");
    }

    #[test]
    fn an_absent_authority_makes_nothing_false() {
        let away = Err(Failed::Away("AuthoritySealed", "sealed".to_owned()));
        let verified = next(&Value::Null, 1, &registered("active", ""), 0).unwrap().status;
        let change = next(&verified, 1, &away, 1).unwrap();
        assert_eq!(condition(&change.status, "Ready")["status"], "Unknown");
        assert_eq!(condition(&change.status, "Verified")["status"], "True");
        assert_eq!(change.status["version"], 3);
        // Of a generation that it has not seen nothing is known.
        let change = next(&verified, 2, &away, 1).unwrap();
        assert_eq!(condition(&change.status, "Verified")["status"], "Unknown");
    }

    #[test]
    fn a_zenlock_has_the_phase_its_tools_read() {
        let refused = Err(Failed::Refused("no".to_owned()));
        let change = change(Which::Zen, &Value::Null, 1, &refused, NOW).unwrap();
        assert_eq!(change.status["phase"], "Error");
        assert!(!change.news.unwrap().good);
    }
}
