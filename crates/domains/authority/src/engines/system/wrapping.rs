//! `sys/wrapping`: answers that can be opened once.

use crate::context::Context;
use crate::refusal::Refusal;
use crate::request::Operation;
use crate::response::{Data, Response};
use crate::route::{Field, Kind, Route, Traits, field};
use crate::token;
use crate::wrapping;
use keyward_core::Timestamp;
use serde_json::json;

const TOKEN: &[Field] = &[field("token", Kind::Text, "The wrapping token; the one that asks when absent.")];

pub(super) const ROUTES: &[Route] = &[
    Route {
        pattern: "wrapping/wrap",
        operations: &[(Operation::Update, wrap)],
        traits: Traits { any_fields: true, ..Route::EMPTY.traits },
        help: "Wraps what is sent.",
        ..Route::EMPTY
    },
    Route {
        pattern: "wrapping/lookup",
        operations: &[(Operation::Update, look_up), (Operation::Read, look_up)],
        fields: TOKEN,
        traits: Traits { open: true, ..Route::EMPTY.traits },
        help: "Tells when and where a wrapping token was made, without opening it.",
        ..Route::EMPTY
    },
    Route {
        pattern: "wrapping/unwrap",
        operations: &[(Operation::Update, unwrap)],
        fields: TOKEN,
        help: "Opens a wrapped answer.",
        ..Route::EMPTY
    },
    Route {
        pattern: "wrapping/rewrap",
        operations: &[(Operation::Update, rewrap)],
        fields: TOKEN,
        help: "Puts a wrapped answer under a new token, unopened.",
        ..Route::EMPTY
    },
];

fn wrap(cx: &mut Context<'_, '_>) -> Result<Response, Refusal> {
    if cx.request.wrap.is_none_or(|wrap| wrap.ttl.is_zero()) {
        return Err(Refusal::invalid("endpoint requires response wrapping to be used"));
    }
    let data = Data::from_json(cx.fields().to_json());
    let data = data.ok_or_else(|| Refusal::Internal("what was sent could not be written".to_owned()))?;
    Ok(Response { data: Some(data), ..Response::default() })
}

fn look_up(cx: &mut Context<'_, '_>) -> Result<Response, Refusal> {
    let shown = match in_body(cx)? {
        Some(token) => token,
        None => cx.request.token.as_ref().map_or_else(String::new, |token| token.expose().clone()),
    };
    let name = wrapping_token(cx, &shown)?;
    let wrapped = wrapping::find(cx.txn, &name)?;
    Response::data(&json!({
        "creation_path": wrapped.creation_path,
        "creation_time": Timestamp::from_nanos(wrapped.created).to_string(),
        "creation_ttl": wrapped.ttl,
    }))
}

fn unwrap(cx: &mut Context<'_, '_>) -> Result<Response, Refusal> {
    let name = requested(cx)?;
    Ok(wrapping::take(cx.txn, &name)?.into_response())
}

fn rewrap(cx: &mut Context<'_, '_>) -> Result<Response, Refusal> {
    let name = requested(cx)?;
    let mut wrapped = wrapping::take(cx.txn, &name)?;
    wrapped.created = cx.now.nanos();
    wrapping::seal(cx.txn, wrapped)
}

fn in_body(cx: &Context<'_, '_>) -> Result<Option<String>, Refusal> {
    Ok(cx.fields().string("token")?.filter(|token| !token.is_empty()))
}

/// The storage name of the wrapping token in the body, or of the one that asks.
fn requested(cx: &mut Context<'_, '_>) -> Result<String, Refusal> {
    let caller = cx.caller()?;
    let own = |shown: &String| token::name_of(cx.txn, shown) == caller.name;
    if let Some(shown) = in_body(cx)?.filter(|shown| !own(shown)) {
        return wrapping_token(cx, &shown);
    }
    // The use of the token that asks is claimed already: it cannot be looked up any more.
    match caller.token.is_wrapping() {
        true => Ok(caller.name.clone()),
        false => Err(wrapping::invalid()),
    }
}

fn wrapping_token(cx: &mut Context<'_, '_>, shown: &str) -> Result<String, Refusal> {
    match token::look_up(cx.txn, shown, cx.now)? {
        Some((name, token)) if token.is_wrapping() => Ok(name),
        _ => Err(wrapping::invalid()),
    }
}

#[cfg(test)]
mod tests {
    use crate::request::Operation::{Read, Update};
    use crate::request::Wrap;
    use crate::testing::{Answer, Bench};
    use serde_json::{Value, json};
    use std::time::Duration;

    const INVALID: (u16, &str) = (400, "wrapping token is not valid or does not exist");

    fn bench() -> Bench {
        let mut bench = Bench::new();
        bench.write("sys/mounts/kv", r#"{"type":"kv"}"#);
        bench.write("kv/a", r#"{"n":12345678901234567890}"#);
        bench
    }

    fn wrapped(bench: &mut Bench) -> Value {
        let root = bench.root.clone();
        bench.ask_wrapped(&root, Read, "kv/a", "").body["wrap_info"].clone()
    }

    fn named(token: &Value) -> String {
        json!({ "token": token }).to_string()
    }

    fn refused(answer: &Answer) -> (u16, String) {
        (answer.status, answer.errors())
    }

    #[test]
    fn who_has_no_token_shows_the_wrapping_token_in_the_body() {
        let mut bench = bench();
        let info = wrapped(&mut bench);
        let opened = bench.ask("", Update, "sys/wrapping/unwrap", &named(&info["token"]));
        assert_eq!((opened.status, &opened.data()["n"]), (200, &json!(12_345_678_901_234_567_890u64)));
        let again = bench.ask("", Update, "sys/wrapping/unwrap", &named(&info["token"]));
        assert_eq!(refused(&again), (INVALID.0, INVALID.1.to_owned()));
        assert_eq!(bench.ask("", Update, "sys/wrapping/rewrap", &named(&info["token"])).status, 403);
    }

    #[test]
    fn an_answer_is_opened_once() {
        let mut bench = bench();
        let root = bench.root.clone();
        let answer = bench.ask_wrapped(&root, Read, "kv/a", "");
        assert_eq!((&answer.body["data"], &answer.body["auth"]), (&json!(null), &json!(null)));
        let info = &answer.body["wrap_info"];
        assert_eq!((&info["ttl"], &info["creation_path"]), (&json!(60), &json!("kv/a")));
        assert_eq!(info["creation_time"], "2026-01-01T00:00:00Z");
        let token = info["token"].as_str().unwrap();
        let plain = bench.ask(token, Update, "sys/wrapping/unwrap", "");
        assert_eq!(plain.data()["n"], 12_345_678_901_234_567_890u64);
        assert_eq!(
            (&plain.body["wrap_info"], &plain.body["lease_duration"]),
            (&json!(null), &json!(2_764_800))
        );
        for body in ["", &named(&info["token"])] {
            let again = bench.ask(token, Update, "sys/wrapping/unwrap", body);
            assert!(again.status == 400 || (!body.is_empty() && again.status == 403), "{again:?}");
        }
        let again = bench.root(Update, "sys/wrapping/unwrap", &named(&info["token"]));
        assert_eq!(refused(&again), (INVALID.0, INVALID.1.to_owned()));
        assert_eq!((bench.count("cubbyhole/"), bench.count("lease/"), bench.count("token/")), (0, 0, 1));
    }

    #[test]
    fn another_token_may_open_it_for_its_holder() {
        let mut bench = bench();
        let info = wrapped(&mut bench);
        let holder = bench.token(&["default"]);
        let before = bench.count("token/id/");
        let answer = bench.ask(&holder, Update, "sys/wrapping/unwrap", &named(&info["token"]));
        assert_eq!(answer.data()["n"], 12_345_678_901_234_567_890u64);
        assert_eq!((bench.count("cubbyhole/"), bench.count("token/id/")), (0, before - 1));
        let both = wrapped(&mut bench)["token"].clone();
        let answer = bench.ask(both.as_str().unwrap(), Update, "sys/wrapping/unwrap", &named(&both));
        assert_eq!(answer.status, 200);
    }

    #[test]
    fn bad_wrapping_tokens_are_the_clients_mistake() {
        let mut bench = bench();
        let root = bench.root.clone();
        let ordinary = bench.token(&["default"]);
        for (token, body) in [
            ("", String::new()),
            ("hvs.none", String::new()),
            (&*root, String::new()),
            (&*ordinary, String::new()),
            (&*root, named(&json!("hvs.none"))),
            (&*root, named(&json!(ordinary))),
            (&*root, named(&json!(""))),
        ] {
            let answer = bench.ask(token, Update, "sys/wrapping/unwrap", &body);
            assert_eq!(refused(&answer), (INVALID.0, INVALID.1.to_owned()), "{token} {body}");
        }
        let info = wrapped(&mut bench);
        assert_eq!(bench.ask("hvs.none", Update, "sys/wrapping/unwrap", &named(&info["token"])).status, 403);
        assert_eq!(bench.root(Update, "sys/wrapping/unwrap", &named(&info["token"])).status, 200);
    }

    #[test]
    fn a_wrapping_token_is_good_for_nothing_else() {
        let mut bench = bench();
        for (operation, path) in [
            (Read, "kv/a"),
            (Read, "auth/token/lookup-self"),
            (Update, "sys/wrapping/rewrap"),
            (Update, "auth/token/create"),
            (Read, "none/at/all"),
        ] {
            let info = wrapped(&mut bench);
            let token = info["token"].as_str().unwrap();
            assert_eq!(bench.ask(token, operation, path, "").status, 403, "{path}");
            // Its holder sees that it was tried.
            assert_eq!(bench.ask(token, Update, "sys/wrapping/unwrap", "").status, 400, "{path}");
        }
        bench.pass(Duration::from_secs(60));
        assert_eq!((bench.count("cubbyhole/"), bench.count("token/id/")), (0, 1));
        // As clients older than sys/wrapping do.
        let info = wrapped(&mut bench);
        let answer = bench.ask(info["token"].as_str().unwrap(), Read, "cubbyhole/response", "");
        let inner: Value = serde_json::from_str(answer.data()["response"].as_str().unwrap()).unwrap();
        assert_eq!(inner["data"]["n"], 12_345_678_901_234_567_890u64);
        assert_eq!((bench.count("cubbyhole/"), bench.count("token/id/")), (0, 1));
    }

    #[test]
    fn two_at_once_open_it_once() {
        let mut bench = bench();
        let shown = wrapped(&mut bench)["token"].as_str().unwrap().to_owned();
        let other = wrapped(&mut bench);
        let own = bench.request(&shown, Update, "sys/wrapping/unwrap", "");
        let root = bench.root.clone();
        let third = bench.request(&root, Update, "sys/wrapping/unwrap", &named(&other["token"]));
        let admit = |bench: &Bench, request| {
            bench.authority.admit(&bench.store, request, third.arrived, &bench.random)
        };
        // As its own token: the claims conflict.
        let (one, two) = (admit(&bench, &own).ok().unwrap(), admit(&bench, &own).ok().unwrap());
        bench.store.commit(one.claim).unwrap();
        assert!(matches!(bench.store.commit(two.claim), Err(keyward_core::Fault::Conflict(_))));
        assert_eq!(admit(&bench, &own).err().map(|rejected| rejected.refusal.status()), Some(400));
        // In the body: what is taken out conflicts.
        let admitted = admit(&bench, &third).ok().unwrap();
        let carry_out = |bench: &Bench| bench.carry_out(&third, &admitted);
        let (one, two) = (carry_out(&bench).unwrap(), carry_out(&bench).unwrap());
        bench.store.commit(one.batch).unwrap();
        assert!(matches!(bench.store.commit(two.batch), Err(keyward_core::Fault::Conflict(_))));
        assert_eq!(carry_out(&bench).err().map(|why| why.status()), Some(400));
    }

    #[test]
    fn the_answer_of_a_claimed_use_waits_for_it() {
        let mut bench = bench();
        let shown = wrapped(&mut bench)["token"].as_str().unwrap().to_owned();
        let own = bench.request(&shown, Update, "sys/wrapping/unwrap", "");
        let admitted = bench.authority.admit(&bench.store, &own, own.arrived, &bench.random).ok().unwrap();
        bench.store.commit(admitted.claim.clone()).unwrap();
        // The sweeper comes between the claim and the answer.
        bench.pass(Duration::from_secs(5));
        let done = bench.carry_out(&own, &admitted);
        assert_eq!(done.ok().unwrap().response.http_status(), 200);
        bench.pass(Duration::from_secs(60));
        assert_eq!(bench.count("cubbyhole/"), 0);
    }

    #[test]
    fn wrapped_answers_end_with_their_time() {
        let mut bench = bench();
        let info = wrapped(&mut bench);
        bench.clock.advance(Duration::from_secs(60));
        let answer = bench.ask(info["token"].as_str().unwrap(), Update, "sys/wrapping/unwrap", "");
        assert_eq!(refused(&answer), (INVALID.0, INVALID.1.to_owned()));
        bench.pass(Duration::ZERO);
        assert_eq!((bench.count("cubbyhole/"), bench.count("lease/"), bench.count("token/")), (0, 0, 1));
    }

    #[test]
    fn anyone_with_the_token_may_look_it_up() {
        let mut bench = bench();
        let info = wrapped(&mut bench);
        let wanted = json!({"creation_path":"kv/a","creation_time":"2026-01-01T00:00:00Z","creation_ttl":60});
        let body = named(&info["token"]);
        assert_eq!(*bench.ask("", Update, "sys/wrapping/lookup", &body).data(), wanted);
        assert_eq!(
            *bench.ask(info["token"].as_str().unwrap(), Read, "sys/wrapping/lookup", "").data(),
            wanted
        );
        for (token, body) in [("", ""), ("hvs.none", ""), ("", r#"{"token":"hvs.none"}"#)] {
            let answer = bench.ask(token, Update, "sys/wrapping/lookup", body);
            assert_eq!(refused(&answer), (INVALID.0, INVALID.1.to_owned()));
        }
        assert_eq!(bench.root(Update, "sys/wrapping/unwrap", &body).status, 200);
    }

    #[test]
    fn rewrapping_changes_the_token_and_nothing_else() {
        let mut bench = bench();
        let first = wrapped(&mut bench);
        bench.clock.advance(Duration::from_secs(30));
        let answer = bench.root(Update, "sys/wrapping/rewrap", &named(&first["token"]));
        let second = answer.body["wrap_info"].clone();
        assert_ne!(second["token"], first["token"]);
        assert_eq!((&second["ttl"], &second["creation_path"]), (&json!(60), &json!("kv/a")));
        assert_eq!(second["creation_time"], "2026-01-01T00:00:30Z");
        assert_eq!(bench.root(Update, "sys/wrapping/unwrap", &named(&first["token"])).status, 400);
        bench.clock.advance(Duration::from_secs(59));
        let plain = bench.root(Update, "sys/wrapping/unwrap", &named(&second["token"]));
        assert_eq!(plain.data()["n"], 12_345_678_901_234_567_890u64);
        // A wish for a wrapped answer does not wrap it twice.
        let (third, root) = (wrapped(&mut bench), bench.root.clone());
        let answer = bench.ask_wrapped(&root, Update, "sys/wrapping/rewrap", &named(&third["token"]));
        assert_eq!(answer.body["wrap_info"]["creation_path"], "kv/a");
    }

    #[test]
    fn what_is_sent_can_be_wrapped() {
        let mut bench = bench();
        let root = bench.root.clone();
        let plain = bench.root(Update, "sys/wrapping/wrap", r#"{"a":1}"#);
        assert_eq!(plain.errors(), "endpoint requires response wrapping to be used");
        let sent = r#"{"a":1.10,"b":{"c":[true]}}"#;
        let info = bench.ask_wrapped(&root, Update, "sys/wrapping/wrap", sent).body["wrap_info"].clone();
        assert_eq!(info["creation_path"], "sys/wrapping/wrap");
        let answer = bench.root(Update, "sys/wrapping/unwrap", &named(&info["token"]));
        assert_eq!(answer.data().to_string(), r#"{"a":1.1,"b":{"c":[true]}}"#);
        assert_eq!(answer.body["warnings"], json!(null));
    }

    #[test]
    fn a_wrapped_token_is_named_by_its_accessor() {
        let mut bench = bench();
        let root = bench.root.clone();
        let mut request =
            bench.request(&root, Update, "auth/token/create", r#"{"policies":"default","period":"30m"}"#);
        request.wrap = Some(Wrap { ttl: Duration::from_secs(900) });
        let info = bench.send(&request).body["wrap_info"].clone();
        assert_eq!(info["ttl"], 900);
        let inner = bench.root(Update, "sys/wrapping/unwrap", &named(&info["token"]));
        assert_eq!(inner.body["auth"]["accessor"], info["wrapped_accessor"]);
        assert_eq!(inner.body["auth"]["lease_duration"], 1800);
        request.wrap = Some(Wrap { ttl: Duration::ZERO });
        assert_eq!(bench.send(&request).errors(), "the wrapping TTL must be at least one second");
    }
}
