//! Userpass: people log in with a name and a password.
//!
//! Passwords are kept as bcrypt hashes (Provos and Mazieres, 1999), which read at most 72 bytes: longer passwords
//! are refused rather than cut.

use super::token_params::{self, Older, TokenParams};
use crate::context::Context;
use crate::fields::Fields;
use crate::lockout::{self, Attempt};
use crate::mounts::Mount;
use crate::policy;
use crate::refusal::Refusal;
use crate::request::Operation;
use crate::response::Response;
use crate::route::{Backend, Field, Kind, Route, Traits, field, joined};
use crate::token::{Terms, TokenEntry};
use bcrypt::HashParts;
use keyward_core::random;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::Arc;

/// See the module.
pub static BACKEND: Backend = Backend {
    kind: "userpass",
    about: "Logins of people, by a name and a password.",
    routes: &[ROUTES],
    renew: Some(terms),
    ..Backend::EMPTY
};

/// Of new hashes: each step doubles the work of a login, and of guessing.
const COST: u32 = 10;
/// Of hashes made elsewhere: one of more work would let a login hold a processor for seconds.
const MAX_COST: u32 = 14;
/// What bcrypt reads of a password, in bytes.
const MAX_PASSWORD: usize = 72;

const OLDER: &[Older] = &[
    ("policies", "token_policies"),
    ("ttl", "token_ttl"),
    ("max_ttl", "token_max_ttl"),
    ("bound_cidrs", "token_bound_cidrs"),
];

const PASSWORD: Field = field("password", Kind::Text, "The password, of at most 72 bytes.");
const HASH: Field = field("password_hash", Kind::Text, "A bcrypt hash of the password, instead of it.");
const POLICIES: Field = field("policies", Kind::List, "An older name of `token_policies`.");

const USER: &[Field] = &joined::<15>(&[
    &[
        PASSWORD,
        HASH,
        POLICIES,
        field("ttl", Kind::Duration, "An older name of `token_ttl`."),
        field("max_ttl", Kind::Duration, "An older name of `token_max_ttl`."),
        field("bound_cidrs", Kind::List, "An older name of `token_bound_cidrs`."),
    ],
    &token_params::FIELDS,
]);

const HEAVY: Traits = Traits { heavy: true, ..Route::EMPTY.traits };

const ROUTES: &[Route] = &[
    Route {
        pattern: "login/{username}",
        operations: &[(Operation::Update, login)],
        fields: &[PASSWORD],
        traits: Traits { open: true, ..HEAVY },
        help: "Logs in.",
        ..Route::EMPTY
    },
    Route {
        pattern: "users",
        operations: &[(Operation::List, list)],
        help: "Lists the users.",
        ..Route::EMPTY
    },
    Route {
        pattern: "users/{username}",
        operations: &[(Operation::Read, read), (Operation::Update, write), (Operation::Delete, delete)],
        exists: Some(exists),
        fields: USER,
        traits: HEAVY,
        help: "Who may log in, and what the token may do.",
    },
    Route {
        pattern: "users/{username}/password",
        operations: &[(Operation::Update, write_password)],
        fields: &[PASSWORD, HASH],
        traits: HEAVY,
        help: "Changes the password.",
        ..Route::EMPTY
    },
    Route {
        pattern: "users/{username}/policies",
        operations: &[(Operation::Update, write_policies)],
        fields: &[POLICIES, field("token_policies", Kind::List, "The tokens' policies.")],
        help: "Changes the policies.",
        ..Route::EMPTY
    },
];

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
struct User {
    password_hash: String,
    token: TokenParams,
}

/// User names have no case.
fn name(cx: &Context<'_, '_>) -> String {
    cx.param("username").to_lowercase()
}

fn key(name: &str) -> String {
    format!("user/{name}")
}

fn find(cx: &mut Context<'_, '_>) -> Result<Option<Arc<User>>, Refusal> {
    let path = key(&name(cx));
    cx.built_json(&path)
}

fn required(cx: &mut Context<'_, '_>) -> Result<User, Refusal> {
    match find(cx)? {
        Some(user) => Ok((*user).clone()),
        None => Err(Refusal::invalid("username does not exist")),
    }
}

fn exists(cx: &mut Context<'_, '_>) -> Result<bool, Refusal> {
    Ok(find(cx)?.is_some())
}

fn list(cx: &mut Context<'_, '_>) -> Result<Response, Refusal> {
    Response::keys(&cx.list("user/")?)
}

fn read(cx: &mut Context<'_, '_>) -> Result<Response, Refusal> {
    let user = find(cx)?.ok_or(Refusal::missing())?;
    Response::data(&user.token.describe(OLDER))
}

fn delete(cx: &mut Context<'_, '_>) -> Result<Response, Refusal> {
    let path = key(&name(cx));
    cx.delete(&path);
    Ok(Response::empty())
}

fn write(cx: &mut Context<'_, '_>) -> Result<Response, Refusal> {
    let found = find(cx)?;
    let mut user = found.as_deref().cloned().unwrap_or_default();
    let warnings = user.token.read(cx.fields(), OLDER)?;
    match hash_sent(cx.fields(), cx)? {
        Some(hash) => user.password_hash = hash,
        None if found.is_none() => return Err(Refusal::invalid("missing password")),
        None => {}
    }
    let path = key(&name(cx));
    cx.put_json(&path, &user)?;
    Ok(Response { warnings, ..Response::empty() })
}

fn write_password(cx: &mut Context<'_, '_>) -> Result<Response, Refusal> {
    let mut user = required(cx)?;
    user.password_hash = hash_sent(cx.fields(), cx)?.ok_or_else(|| Refusal::invalid("missing password"))?;
    let path = key(&name(cx));
    cx.put_json(&path, &user)?;
    Ok(Response::empty())
}

fn write_policies(cx: &mut Context<'_, '_>) -> Result<Response, Refusal> {
    let mut user = required(cx)?;
    let mut sent = Fields::default();
    for name in ["policies", "token_policies"] {
        sent.set(name, &cx.fields().raw(name));
    }
    user.token.read(&sent, OLDER)?;
    let path = key(&name(cx));
    cx.put_json(&path, &user)?;
    Ok(Response::empty())
}

/// The hash of the password that was sent, or the hash that was sent instead.
fn hash_sent(sent: &Fields, cx: &Context<'_, '_>) -> Result<Option<String>, Refusal> {
    let text = |name: &str| sent.string(name).map(|text| text.filter(|text| !text.is_empty()));
    match (text("password")?, text("password_hash")?) {
        (Some(_), Some(_)) => {
            Err(Refusal::invalid("password and password_hash are mutually exclusive: send one of them"))
        }
        (Some(password), None) => hash(&password, random::bytes(cx.random())).map(Some),
        (None, Some(hash)) => checked(hash).map(Some),
        (None, None) => Ok(None),
    }
}

fn hash(password: &str, salt: [u8; 16]) -> Result<String, Refusal> {
    if password.len() > MAX_PASSWORD {
        return Err(Refusal::invalid(format!(
            "the password has {} bytes, but bcrypt reads at most {MAX_PASSWORD}: choose a shorter one",
            password.len()
        )));
    }
    if password.contains('\0') {
        return Err(Refusal::invalid(
            "the password must not contain a zero character: bcrypt reads it as the end",
        ));
    }
    match bcrypt::hash_with_salt(password, COST, salt) {
        Ok(parts) => Ok(parts.format_for_version(bcrypt::Version::TwoB)),
        Err(_) => Err(Refusal::Internal("a password could not be hashed".to_owned())),
    }
}

/// A hash made elsewhere, if it is one that can be verified here in good time.
fn checked(hash: String) -> Result<String, Refusal> {
    let refuse = |why: &str| Err(Refusal::invalid(format!("password_hash is not accepted: {why}")));
    let known = ["$2a$", "$2b$", "$2x$", "$2y$"].iter().any(|version| hash.starts_with(version));
    match hash.parse::<HashParts>() {
        Ok(parts) if known && hash.len() == 60 => match parts.get_cost() {
            cost if cost > MAX_COST => {
                refuse(&format!("its cost is {cost}, but at most {MAX_COST} is allowed"))
            }
            _ => Ok(hash),
        },
        _ => refuse("it is not a bcrypt hash such as $2b$10$ and 53 characters"),
    }
}

fn login(cx: &mut Context<'_, '_>) -> Result<Response, Refusal> {
    let name = name(cx);
    lockout::guarded(cx, &name, attempt)
}

fn attempt(cx: &mut Context<'_, '_>) -> Result<Attempt, Refusal> {
    let password = cx.fields().required("password")?;
    let user = find(cx)?;
    let good = match &user {
        Some(user) => matches(&password, &user.password_hash),
        None => {
            // An unknown user costs what a known one with a wrong password does.
            let _ = bcrypt::hash_with_salt(&password, COST, [0; 16]);
            false
        }
    };
    let Some(user) = user.filter(|_| good) else {
        return Ok(Attempt::Wrong(Refusal::invalid("invalid username or password")));
    };
    user.token.check_address(cx.request)?;
    let mut login = user.token.login();
    let name = name(cx);
    login.metadata = BTreeMap::from([("username".to_owned(), name.clone())]);
    login.display_name.clone_from(&name);
    login.alias.clone_from(&name);
    login.role = name;
    Ok(Attempt::good(login))
}

/// Compares in constant time, as bcrypt's crate does.
fn matches(password: &str, hash: &str) -> bool {
    let right = bcrypt::verify(password, hash).unwrap_or(false);
    right & (password.len() <= MAX_PASSWORD) & !password.contains('\0')
}

/// The terms of the user as it is now. Other policies than the token has are for a new login to give.
fn terms(cx: &mut Context<'_, '_>, mount: &Mount, token: &TokenEntry) -> Result<Terms, Refusal> {
    let user = cx.txn.built_json::<User>(&format!("{}{}", mount.prefix(), key(&token.login)))?;
    let user = user
        .ok_or_else(|| Refusal::invalid(format!("user {:?} does not exist during renewal", token.login)))?;
    let without_default = |policies: &[String]| {
        let mut policies = policy::sanitize(policies);
        policies.retain(|policy| policy != "default");
        policies
    };
    if without_default(&user.token.policies) != without_default(&token.policies) {
        return Err(Refusal::invalid("policies have changed, not renewing"));
    }
    Ok(user.token.terms(token))
}

#[cfg(test)]
mod tests {
    use crate::request::Operation::{Delete, List, Read, Update};
    use crate::testing::{Answer, Bench};
    use serde_json::json;
    use std::time::Duration;

    fn bench() -> Bench {
        let mut bench = Bench::new();
        bench.mount_auth("userpass", "userpass");
        bench.policy("p", "path \"x\" { capabilities = [\"read\"] }");
        bench
    }

    fn log_in(bench: &mut Bench, name: &str, password: &str) -> Answer {
        let body = json!({ "password": password }).to_string();
        bench.ask("", Update, &format!("auth/userpass/login/{name}"), &body)
    }

    #[test]
    fn who_has_the_password_gets_a_token() {
        let mut bench = bench();
        bench.write("auth/userpass/users/Ann", r#"{"password":"secret","policies":"p","ttl":"1h"}"#);
        let answer = log_in(&mut bench, "aNN", "secret");
        let auth = &answer.body["auth"];
        assert_eq!(auth["policies"], json!(["default", "p"]));
        assert_eq!(auth["metadata"], json!({"username": "ann"}));
        assert_eq!((&auth["lease_duration"], &auth["renewable"]), (&json!(3600), &json!(true)));
        assert_eq!((&auth["orphan"], &auth["token_type"]), (&json!(true), &json!("service")));
        let token = auth["client_token"].as_str().unwrap().to_owned();
        let own = bench.ask(&token, Read, "auth/token/lookup-self", "");
        assert_eq!(own.data()["display_name"], "userpass-ann");
        assert_eq!(own.data()["path"], "auth/userpass/login/aNN");
        assert_eq!(own.data()["entity_id"], auth["entity_id"]);
        let again = log_in(&mut bench, "ann", "secret");
        assert_eq!(again.body["auth"]["entity_id"], auth["entity_id"]);
        for (name, password) in [("ann", "Secret"), ("ann", "secret "), ("bob", "secret")] {
            let answer = log_in(&mut bench, name, password);
            assert_eq!((answer.status, answer.errors().as_str()), (400, "invalid username or password"));
        }
        assert_eq!(log_in(&mut bench, "ann", "").errors(), "missing password");
    }

    #[test]
    fn users_are_read_back_listed_and_deleted() {
        let mut bench = bench();
        assert_eq!(bench.root(Update, "auth/userpass/users/a", "").errors(), "missing password");
        assert_eq!(bench.root(List, "auth/userpass/users", "").status, 404);
        assert_eq!(
            bench.root(Update, "auth/userpass/users/a", r#"{"password":"x","policies":"p"}"#).status,
            204
        );
        let user = bench.read("auth/userpass/users/A").data().clone();
        assert_eq!((&user["policies"], &user["token_policies"]), (&json!(["p"]), &json!(["p"])));
        assert_eq!((&user["token_ttl"], &user["token_type"]), (&json!(0), &json!("default")));
        assert!(!user.to_string().contains("hash"));
        bench.write("auth/userpass/users/a", r#"{"token_ttl":"2h"}"#);
        assert_eq!(log_in(&mut bench, "a", "x").body["auth"]["lease_duration"], 7200);
        assert_eq!(bench.root(List, "auth/userpass/users", "").data()["keys"], json!(["a"]));
        assert_eq!(bench.root(Delete, "auth/userpass/users/A", "").status, 204);
        assert_eq!(bench.root(Read, "auth/userpass/users/a", "").status, 404);
        assert_eq!(log_in(&mut bench, "a", "x").status, 400);
    }

    #[test]
    fn passwords_and_policies_are_changed_apart() {
        let mut bench = bench();
        bench.write("auth/userpass/users/a", r#"{"password":"one","token_policies":"p"}"#);
        bench.write("auth/userpass/users/a/password", r#"{"password":"two"}"#);
        assert_eq!(log_in(&mut bench, "a", "one").status, 400);
        bench.write("auth/userpass/users/a/policies", r#"{"policies":"q"}"#);
        assert_eq!(log_in(&mut bench, "a", "two").body["auth"]["policies"], json!(["default", "q"]));
        for (path, body, wanted) in [
            ("a/password", "", "missing password"),
            ("b/password", r#"{"password":"x"}"#, "username does not exist"),
            ("b/policies", r#"{"policies":"x"}"#, "username does not exist"),
        ] {
            let answer = bench.root(Update, &format!("auth/userpass/users/{path}"), body);
            assert_eq!((answer.status, answer.errors().as_str()), (400, wanted), "{path}");
        }
        let long = json!({ "password": "x".repeat(73) }).to_string();
        assert!(bench.root(Update, "auth/userpass/users/a/password", &long).errors().contains("at most 72"));
        let most = "x".repeat(72);
        bench.write("auth/userpass/users/a/password", &json!({ "password": most }).to_string());
        assert_eq!(log_in(&mut bench, "a", &most).status, 200);
        assert_eq!(log_in(&mut bench, "a", &format!("{most}y")).status, 400);
    }

    #[test]
    fn hashes_made_elsewhere_are_accepted() {
        let mut bench = bench();
        // "U*U" in the test vectors of Openwall's crypt_blowfish.
        let hash = "$2a$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW";
        let body = json!({ "password_hash": hash }).to_string();
        assert_eq!(bench.root(Update, "auth/userpass/users/a", &body).status, 204);
        assert_eq!(log_in(&mut bench, "a", "U*U").status, 200);
        assert_eq!(log_in(&mut bench, "a", "U*V").status, 400);
        let costly = hash.replace("$05$", "$15$");
        for (hash, wanted) in [
            (
                "plain",
                "password_hash is not accepted: it is not a bcrypt hash such as $2b$10$ and 53 characters",
            ),
            (costly.as_str(), "password_hash is not accepted: its cost is 15, but at most 14 is allowed"),
        ] {
            let answer =
                bench.root(Update, "auth/userpass/users/a", &json!({ "password_hash": hash }).to_string());
            assert_eq!((answer.status, answer.errors().as_str()), (400, wanted));
        }
        let both = json!({ "password_hash": hash, "password": "x" }).to_string();
        assert!(bench.root(Update, "auth/userpass/users/a", &both).errors().contains("mutually exclusive"));
    }

    #[test]
    fn logins_come_from_the_networks_of_the_user() {
        let mut bench = bench();
        bench.write("auth/userpass/users/a", r#"{"password":"x","token_bound_cidrs":"10.0.0.0/8"}"#);
        assert_eq!(log_in(&mut bench, "a", "x").status, 403);
        let mut request = bench.request("", Update, "auth/userpass/login/a", r#"{"password":"x"}"#);
        request.remote = "10.1.1.1:1".parse().ok();
        assert_eq!(bench.send(&request).status, 200);
    }

    #[test]
    fn no_user_becomes_root() {
        let mut bench = bench();
        for (policy, wanted) in [
            ("root", "auth methods cannot create root tokens"),
            ("response-wrapping", "cannot assign policy \"response-wrapping\""),
        ] {
            bench.write("auth/userpass/users/a", &json!({"password": "x", "policies": policy}).to_string());
            let answer = log_in(&mut bench, "a", "x");
            assert_eq!((answer.status, answer.errors().as_str()), (400, wanted));
        }
    }

    #[test]
    fn a_renewal_follows_the_user_as_it_is_now() {
        let mut bench = bench();
        bench.write("auth/userpass/users/a", r#"{"password":"x","policies":"p","ttl":"1h","max_ttl":"4h"}"#);
        let token = log_in(&mut bench, "a", "x").body["auth"]["client_token"].as_str().unwrap().to_owned();
        let renew = |bench: &mut Bench| bench.ask(&token, Update, "auth/token/renew-self", "");
        bench.write("auth/userpass/users/a", r#"{"ttl":"2h"}"#);
        assert_eq!(renew(&mut bench).body["auth"]["lease_duration"], 7200);
        bench.pass(Duration::from_secs(3600));
        bench.write("auth/userpass/users/a", r#"{"max_ttl":"2h"}"#);
        assert_eq!(renew(&mut bench).body["auth"]["lease_duration"], 3600);
        bench.write("auth/userpass/users/a", r#"{"policies":"default,P"}"#);
        assert_eq!(renew(&mut bench).status, 200);
        bench.write("auth/userpass/users/a", r#"{"policies":"q"}"#);
        assert_eq!(renew(&mut bench).errors(), "policies have changed, not renewing");
        bench.root(Delete, "auth/userpass/users/a", "");
        assert_eq!(renew(&mut bench).errors(), "user \"a\" does not exist during renewal");
    }
}
