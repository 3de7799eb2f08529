//! No secret is in anything the server writes: its log at the level that says most, its audit log, its store.
//!
//! Names are no secrets: of paths, parameters, users and roles, nor the metadata of tokens, which audit records show.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use keyward_crypto::SystemRandom;
use keyward_crypto::age::{pq, x25519};
use keyward_envelope::bundle::Bundle;
use keyward_intent::Phase;
use keyward_tests::canary::{Canary, files_below, sightings};
use keyward_tests::http::Client;
use keyward_tests::sealed::{Author, go_to_bootstrap};
use keyward_tests::server::{ON_DISK, PLAIN_HTTP, Server};
use serde_json::{Value, json};

/// The secrets sent and received so far.
#[derive(Default)]
struct Flock(Vec<Canary>);

impl Flock {
    /// A new secret to send.
    fn word(&mut self, name: &str) -> String {
        let word = format!("Zq{}{}Xw7", self.0.len(), name.replace(|c: char| !c.is_ascii_alphanumeric(), ""));
        self.keep(name, &word)
    }

    /// A secret of the server's making.
    fn keep(&mut self, name: &str, secret: &str) -> String {
        self.0.push(Canary::new(name, secret.as_bytes()));
        secret.to_owned()
    }

    /// One that was answered, as text.
    fn answered(&mut self, name: &str, value: &Value) -> String {
        let text = value.as_str().unwrap_or_else(|| panic!("{name}: {value}")).to_owned();
        if let Ok(bytes) = STANDARD.decode(&text) {
            self.0.push(Canary::new(format!("{name}, decoded"), &bytes));
        }
        self.keep(name, &text)
    }
}

#[test]
fn no_secret_is_in_anything_that_is_written() {
    let device = "audit \"file\" \"log\" {\n options {\n file_path = \"FOLDER/audit.log\"\n }\n}\n";
    let config = format!("{PLAIN_HTTP}{ON_DISK}{device}log_level = \"trace\"\n");
    let mut server = Server::configured(&config);
    let mut flock = Flock::default();
    open(&mut server, &mut flock);
    let root = server.root();
    for (path, kind) in [
        ("secret", "kv-v2"),
        ("kv", "kv"),
        ("ssh", "ssh"),
        ("totp", "totp"),
        ("transit", "transit"),
        ("sealed", "sealed"),
    ] {
        root.write(&format!("sys/mounts/{path}"), &json!({ "type": kind })).expect(204);
    }
    for kind in ["userpass", "approle", "ldap"] {
        root.write(&format!("sys/auth/{kind}"), &json!({ "type": kind })).expect(204);
    }
    values(&root, &mut flock);
    tokens(&root, &mut flock);
    logins(&root, &mut flock);
    directory(&root, &mut flock);
    keys(&root, &mut flock);
    identity(&root, &mut flock);
    transit(&root, &mut flock);
    sealed(&root, &mut flock);
    wrapping(&root, &mut flock);
    refusals(&root, &mut flock);
    malformed(&root, &mut flock);
    root.write("sys/rotate", &json!({})).expect(204);
    root.write("sys/seal", &json!({})).expect(204);
    server.unseal();
    root.read("sys/mounts").expect(200);
    assert!(server.stop().success());

    let found = sightings(server.folder(), &flock.0);
    assert!(found.is_empty(), "{} of {} were found:\n{}", found.len(), flock.0.len(), found.join("\n"));
    everything_was_searched(&server, &flock);
}

/// The search can find what is there, in each place.
fn everything_was_searched(server: &Server, flock: &Flock) {
    let files = files_below(server.folder());
    let size = |end: &str| {
        let ours = files.iter().filter(|path| path.to_str().unwrap().contains(end));
        ours.map(|path| path.metadata().unwrap().len()).sum::<u64>()
    };
    assert!(size("/log") > 1_000 && size("/audit.log") > 100_000 && size("/data/") > 100_000, "{files:?}");
    assert!(flock.0.len() > 60, "{}", flock.0.len());
    let audited = Canary::new("a path in the audit log", b"secret/data/path-that-is-no-secret");
    assert_eq!(sightings(server.folder(), &[audited]).len(), 1);
}

/// Initialises and unseals, with mistakes.
fn open(server: &mut Server, flock: &mut Flock) {
    let guest = server.guest();
    let early = flock.word("share before there is an authority");
    guest.write("sys/unseal", &json!({ "key": early })).expect(400);
    let keys = server.initialize(5, 3);
    flock.keep("root token", &keys.root);
    for share in &keys.shares {
        let raw: Vec<u8> = (0..share.len() / 2)
            .map(|at| u8::from_str_radix(&share[2 * at..2 * at + 2], 16).unwrap())
            .collect();
        flock.0.push(Canary::new("unseal share", &raw));
    }
    let wrong = "5ca1ab1e".repeat(8) + "07";
    flock.keep("wrong share", &wrong);
    for share in [&keys.shares[0], &keys.shares[1], &wrong] {
        guest.write("sys/unseal", &json!({ "key": share }));
    }
    for bad in [flock.word("share that is no hex"), flock.word("longer share").repeat(20)] {
        guest.write("sys/unseal", &json!({ "key": bad })).expect(400);
    }
    let sent = flock.word("token while sealed");
    guest.with_token(&sent).read("secret/data/a").expect(503);
    server.unseal();
}

fn values(root: &Client, flock: &mut Flock) {
    for round in 0..3 {
        let value = json!({"data": {"v": flock.word("version 2 value"), "deep": [flock.word("deep value")]}});
        root.write("secret/data/path-that-is-no-secret", &value).expect(200);
        root.write(&format!("kv/{round}"), &json!({"v": flock.word("version 1 value")})).expect(204);
        root.read("secret/data/path-that-is-no-secret").expect(200);
        root.read(&format!("kv/{round}")).expect(200);
    }
    let patch = json!({"data": {"p": flock.word("patched value")}}).to_string();
    let patching = root.request("PATCH", "/v1/secret/data/path-that-is-no-secret");
    patching.header("Content-Type", "application/merge-patch+json").body(patch).send().expect(200);
    let metadata = json!({"custom_metadata": {"m": flock.word("custom metadata")}});
    root.write("secret/metadata/path-that-is-no-secret", &metadata).expect(204);
    root.read("secret/metadata/path-that-is-no-secret").expect(200);
    root.read("secret/subkeys/path-that-is-no-secret").expect(200);
    root.write("cubbyhole/c", &json!({"v": flock.word("cubbyhole value")})).expect(204);
    root.read("cubbyhole/c").expect(200);
    let large = flock.word("large value").repeat(8_000);
    root.write("kv/large", &json!({ "v": large })).expect(204);
    root.delete("kv/0").expect(204);
    root.delete("secret/metadata/path-that-is-no-secret").expect(204);
}

fn tokens(root: &Client, flock: &mut Flock) {
    for body in [
        json!({"ttl": "1h", "policies": ["default"]}),
        json!({"ttl": "1h", "policies": ["default"], "type": "batch"}),
        json!({"period": "1h"}),
        json!({"id": flock.word("chosen token"), "ttl": "1h"}),
    ] {
        let made = root.write("auth/token/create", &body).expect(200).json();
        let token = flock.answered("token", &made["auth"]["client_token"]);
        root.with_token(&token).read("auth/token/lookup-self").expect(200);
        root.write("auth/token/lookup", &json!({ "token": token })).expect(200);
        if made["auth"]["token_type"] == "service" {
            root.write("auth/token/renew", &json!({ "token": token })).expect(200);
            root.write("auth/token/revoke", &json!({ "token": token })).expect(204);
        }
        root.with_token(&token).read("secret/data/forbidden").expect(403);
    }
}

fn logins(root: &Client, flock: &mut Flock) {
    let guest = root.guest();
    for round in 0..2 {
        let password = flock.word("password");
        let user = json!({"password": password, "token_policies": ["default"]});
        root.write("auth/userpass/users/ada", &user).expect(204);
        let login =
            guest.write("auth/userpass/login/ada", &json!({ "password": password })).expect(200).json();
        flock.answered("token of a login", &login["auth"]["client_token"]);
        let wrong = json!({"password": flock.word("wrong password")});
        guest.write("auth/userpass/login/ada", &wrong).expect(400);
        guest.write(&format!("auth/userpass/login/nobody{round}"), &wrong).expect(400);
    }
    let changed = json!({"password": flock.word("changed password")});
    root.write("auth/userpass/users/ada/password", &changed).expect(204);
    root.write("auth/approle/role/app", &json!({"token_policies": ["default"]})).expect(204);
    let role_id = root.read("auth/approle/role/app/role-id").expect(200).data()["role_id"].clone();
    let made = root.write("auth/approle/role/app/secret-id", &json!({})).expect(200).data();
    let secret_id = flock.answered("secret id", &made["secret_id"]);
    let chosen = flock.word("chosen secret id");
    root.write("auth/approle/role/app/custom-secret-id", &json!({ "secret_id": chosen })).expect(200);
    for secret_id in [&secret_id, &chosen] {
        let body = json!({"role_id": role_id, "secret_id": secret_id});
        let login = guest.write("auth/approle/login", &body).expect(200).json();
        flock.answered("token of an AppRole", &login["auth"]["client_token"]);
        root.write("auth/approle/role/app/secret-id/lookup", &json!({ "secret_id": secret_id })).expect(200);
    }
    root.write("auth/approle/role/app/secret-id/destroy", &json!({ "secret_id": secret_id })).expect(204);
    for secret_id in [&secret_id, &flock.word("wrong secret id")] {
        let body = json!({"role_id": role_id, "secret_id": secret_id});
        guest.write("auth/approle/login", &body).expect(400);
    }
}

/// A directory that is not there: its failure is logged, and the passwords for it are not.
fn directory(root: &Client, flock: &mut Flock) {
    let config = json!({
        "url": "ldap://127.0.0.1:1", "binddn": "cn=service", "bindpass": flock.word("password of the service"),
        "userdn": "ou=users", "connection_timeout": 1,
    });
    root.write("auth/ldap/config", &config).expect(200);
    root.read("auth/ldap/config").expect(200);
    let login = json!({"password": flock.word("password for the directory")});
    root.guest().write("auth/ldap/login/ada", &login).expect(403);
}

fn keys(root: &Client, flock: &mut Flock) {
    root.write("ssh/config/ca", &json!({"key_type": "ed25519"})).expect(200);
    root.delete("ssh/config/ca").expect(204);
    let bad = json!({"private_key": flock.word("private key"), "public_key": "ssh-ed25519 AAAA"});
    root.write("ssh/config/ca", &bad).expect(400);
    root.write("ssh/config/ca", &json!({"key_type": "ed25519"})).expect(200);
    let role = json!({"key_type": "ca", "allow_user_certificates": true, "allowed_users": "*"});
    root.write("ssh/roles/r", &role).expect(204);
    let asked = json!({"key_type": "ed25519", "valid_principals": "root"});
    let issued = root.write("ssh/issue/r", &asked).expect(200).data();
    // Its lines, each of which would be enough.
    let private = issued["private_key"].as_str().unwrap();
    for line in private.lines().filter(|line| !line.starts_with("-----")).skip(1) {
        flock.keep("issued private key", line);
    }
    let wanted = json!({"generate": true, "issuer": "Example", "account_name": "ada"});
    let made = root.write("totp/keys/ada", &wanted).expect(200).data();
    let url = flock.answered("address of a key", &made["url"]);
    flock.keep("key for codes", url.split("secret=").nth(1).unwrap());
    flock.answered("barcode", &made["barcode"]);
    root.read("totp/code/ada").expect(200);
    let bad = format!("{}!", flock.word("key that is none"));
    for field in ["key", "url"] {
        root.write("totp/keys/bad", &json!({ field: bad })).expect(400);
    }
}

fn identity(root: &Client, flock: &mut Flock) {
    let password = flock.word("password of somebody who signs in");
    root.write("auth/userpass/users/ida", &json!({ "password": password })).expect(204);
    let auth = root.write("auth/userpass/login/ida", &json!({ "password": password })).expect(200).json();
    let token = flock.answered("token of somebody who signs in", &auth["auth"]["client_token"]);
    let method = root.write("identity/mfa/method/totp", &json!({"issuer": "Keyward"})).expect(200).data();
    let wish = json!({"method_id": method["method_id"], "entity_id": auth["auth"]["entity_id"]});
    let made = root.write("identity/mfa/method/totp/admin-generate", &wish).expect(200).data();
    let address = made["url"].as_str().unwrap();
    flock.keep("key for one-time passwords", address.split_once("secret=").unwrap().1);

    let client = json!({"redirect_uris": "https://app.test/cb", "assignments": "allow_all"});
    root.write("identity/oidc/client/web", &client).expect(204);
    let client = root.read("identity/oidc/client/web").expect(200).data();
    let secret = flock.answered("secret of an application", &client["client_secret"]);
    let asked = json!({"client_id": client["client_id"], "redirect_uri": "https://app.test/cb", "scope": "openid",
        "response_type": "code"});
    let path = "identity/oidc/provider/default";
    let code = root.with_token(&token).write(&format!("{path}/authorize"), &asked).expect(200).json();
    let code = flock.answered("code for an application", &code["code"]);
    let wrong = flock.word("wrong secret of an application");
    for (secret, status) in [(wrong, 401), (secret, 200)] {
        let body = json!({"grant_type": "authorization_code", "code": code, "client_id": client["client_id"],
            "client_secret": secret, "redirect_uri": "https://app.test/cb"});
        let answer = root.guest().write(&format!("{path}/token"), &body).expect(status).json();
        if status == 200 {
            flock.answered("identity token", &answer["id_token"]);
            let access = flock.answered("access token", &answer["access_token"]);
            root.with_token(&access).read(&format!("{path}/userinfo")).expect(200);
        }
    }
}

fn transit(root: &Client, flock: &mut Flock) {
    let exportable = json!({"exportable": true, "allow_plaintext_backup": true});
    root.write("transit/keys/app", &exportable).expect(200);
    root.write("transit/keys/signer", &json!({"type": "ed25519", "exportable": true})).expect(200);
    root.write("transit/keys/rsa", &json!({"type": "rsa-2048", "exportable": true})).expect(200);
    let plain = STANDARD.encode(flock.word("plaintext"));
    let sealed = root.write("transit/encrypt/app", &json!({ "plaintext": plain })).expect(200).data();
    root.write("transit/decrypt/app", &json!({"ciphertext": sealed["ciphertext"]})).expect(200);
    root.write("transit/rewrap/app", &json!({"ciphertext": sealed["ciphertext"]})).expect(200);
    let items = json!({"batch_input": [{"plaintext": STANDARD.encode(flock.word("plaintext of a batch"))}]});
    root.write("transit/encrypt/app", &items).expect(200);
    let signed = json!({"input": STANDARD.encode(flock.word("signed words"))});
    root.write("transit/sign/signer", &signed).expect(200);
    root.write("transit/hmac/app", &signed).expect(200);
    root.write("transit/hash", &signed).expect(200);
    let key = root.write("transit/datakey/plaintext/app", &json!({})).expect(200).data();
    flock.answered("data key", &key["plaintext"]);
    root.write("transit/keys/app/rotate", &json!({})).expect(200);
    for (kind, name) in [("encryption-key", "app"), ("hmac-key", "app"), ("signing-key", "signer")] {
        let exported = root.read(&format!("transit/export/{kind}/{name}")).expect(200).data();
        for key in exported["keys"].as_object().unwrap().values() {
            flock.answered(&format!("{kind} of {name}"), key);
        }
    }
    let pem = root.read("transit/export/signing-key/rsa").expect(200).data()["keys"]["1"].clone();
    let line = pem.as_str().unwrap().lines().nth(8).unwrap().to_owned();
    flock.answered("line of a private key", &json!(line));
    let backup = root.read("transit/backup/app").expect(200).data()["backup"].as_str().unwrap().to_owned();
    flock.keep("backup", &backup[..400]);
    root.write("transit/restore/copy", &json!({ "backup": backup })).expect(204);
    let random = root.write("transit/random/32", &json!({})).expect(200).data();
    flock.answered("random bytes", &random["random_bytes"]);
}

/// Identities that are imported, values of a bundle and of a secret that is handed over, and what redeeming gives.
fn sealed(root: &Client, flock: &mut Flock) {
    let author = Author::of(root, "shop");
    let (ours, theirs) = (x25519::Identity::generate(&SystemRandom), pq::Identity::generate(&SystemRandom));
    let text = flock.keep("imported identity", ours.text().expose());
    root.write("sealed/zenlock/shop", &json!({ "identity": text })).expect(200);
    for wrong in [flock.word("no identity"), format!("{text}x")] {
        root.write("sealed/zenlock/shop", &json!({ "identity": wrong })).expect(400);
    }
    let value = STANDARD.encode(flock.word("value of a bundle"));
    flock.keep("value of a bundle, encoded", &value);
    let recipient = theirs.recipient().to_string();
    let body = json!({ "recipient": recipient, "purpose": "agent", "items": { "token": value } });
    let made = root.write("sealed/bundles", &body).expect(200).data();
    let bundle = Bundle::read(made["bundle"].as_str().unwrap().as_bytes(), &[&theirs]).unwrap();
    let proof = flock.keep("proof", bundle.proof().expose());
    for (purpose, status) in [("other", 403), ("agent", 200), ("agent", 403)] {
        let body = json!({ "id": bundle.header().id, "proof": proof, "cluster": "prod", "purpose": purpose });
        let given = root.guest().write("sealed/bundles/redeem", &body).expect(status);
        if status == 200 {
            flock.answered("share", &given.data()["share"]);
        }
    }
    let password = flock.word("value that is handed over");
    let object = author.register(root, "db", "web", Phase::Bootstrap, &password);
    root.write("sys/auth/kubernetes", &json!({ "type": "kubernetes" })).expect(204);
    go_to_bootstrap(root);
    let body = json!({ "digest": object["digest"], "target": "secret/data/shop/db", "reason": "a test" });
    root.write("sealed/handover/shop/db", &body).expect(200);
}

fn wrapping(root: &Client, flock: &mut Flock) {
    let sent = json!({"v": flock.word("wrapped value")});
    for unwrapped in [true, false] {
        let made = root
            .request("POST", "/v1/sys/wrapping/wrap")
            .json(&sent)
            .wrapped("60s")
            .send()
            .expect(200)
            .json();
        let token = flock.answered("wrapping token", &made["wrap_info"]["token"]);
        root.write("sys/wrapping/lookup", &json!({ "token": token })).expect(200);
        if unwrapped {
            root.write("sys/wrapping/unwrap", &json!({ "token": token })).expect(200);
            root.write("sys/wrapping/unwrap", &json!({ "token": token })).expect(400);
        }
    }
    root.write("secret/data/w", &json!({"data": {"v": flock.word("value read wrapped")}})).expect(200);
    let made = root.request("GET", "/v1/secret/data/w").wrapped("60s").send().expect(200).json();
    let token = flock.answered("wrapping token of a read", &made["wrap_info"]["token"]);
    let moved = root.write("sys/wrapping/rewrap", &json!({ "token": token })).expect(200).json();
    let token = flock.answered("second wrapping token", &moved["wrap_info"]["token"]);
    root.with_token(&token).request("PUT", "/v1/sys/wrapping/unwrap").send().expect(200);
    let made =
        root.request("POST", "/v1/auth/token/create").json(&json!({"ttl": "1h"})).wrapped("60s").send();
    let token = flock.answered("wrapping token of a token", &made.expect(200).json()["wrap_info"]["token"]);
    let opened = root.with_token(&token).request("PUT", "/v1/sys/wrapping/unwrap").send().expect(200).json();
    flock.answered("token that was wrapped", &opened["auth"]["client_token"]);
    let hash = json!({"input": flock.word("input of an audit hash")});
    root.write("sys/audit-hash/log", &hash).expect(200);
    let random = root.write("sys/tools/random/32", &json!({})).expect(200).data();
    flock.answered("random bytes of sys/tools", &random["random_bytes"]);
}

/// Requests that are understood and refused.
fn refusals(root: &Client, flock: &mut Flock) {
    let limited =
        root.write("auth/token/create", &json!({"policies": ["default"], "ttl": "1h"})).expect(200).json();
    let limited = root.with_token(&flock.answered("limited token", &limited["auth"]["client_token"]));
    let forbidden = json!({"data": {"v": flock.word("value that may not be written")}});
    limited.write("secret/data/forbidden", &forbidden).expect(403);
    root.guest()
        .write("secret/data/forbidden", &json!({"v": flock.word("value without a token")}))
        .expect(403);
    root.write("secret/data/x", &json!({"v": flock.word("value in the wrong place")})).expect(400);
    root.write("secret/data/x", &json!({"data": flock.word("value that is no object")})).expect(400);
    root.write("secret/data/x", &json!({"data": {}, "options": {"cas": flock.word("wrong number")}}))
        .expect(400);
    root.write("nowhere/x", &json!({"v": flock.word("value sent nowhere")})).expect(404);
    root.write("secret/undelete/x", &json!({"versions": [flock.word("wrong version")]})).expect(400);
    root.write("auth/token/create", &json!({"ttl": flock.word("wrong duration")})).expect(400);
    root.write("auth/token/create", &json!({"num_uses": flock.word("wrong count")})).expect(400);
    root.write("auth/token/create", &json!({"renewable": flock.word("wrong boolean")})).expect(400);
    root.write("auth/token/create", &json!({"meta": flock.word("wrong pairs")})).expect(400);
    root.write("auth/token/lookup", &json!({"token": flock.word("unknown token")})).expect(403);
    root.write("auth/token/revoke", &json!({"token": flock.word("unknown token to revoke")}));
    root.write("transit/encrypt/app", &json!({"plaintext": flock.word("plaintext that is no base64!")}))
        .expect(400);
    root.write("transit/decrypt/app", &json!({"ciphertext": flock.word("ciphertext")})).expect(400);
    root.write("transit/keys/app/import", &json!({"ciphertext": flock.word("imported key")})).expect(400);
    root.write("transit/restore/x", &json!({"backup": flock.word("broken backup")})).expect(400);
    root.write("sys/wrapping/unwrap", &json!({"token": flock.word("unknown wrapping token")})).expect(400);
    root.write("auth/userpass/users/eve", &json!({"password": [flock.word("password in a list")]}))
        .expect(400);
    root.write("auth/userpass/users/eve", &json!({"password": flock.word("over-long password").repeat(20)}));
    root.write(
        "auth/approle/role/app/custom-secret-id",
        &json!({"secret_id": {"x": flock.word("secret id in an object")}}),
    )
    .expect(400);
    let large = json!({"data": {"v": flock.word("value too large").repeat(100_000)}});
    assert!(matches!(root.write("secret/data/large", &large).status, 400 | 413));
}

/// Bytes that are not understood at all.
fn malformed(root: &Client, flock: &mut Flock) {
    let post = |body: Vec<u8>| root.request("POST", "/v1/secret/data/x").body(body).send();
    let mut word = |name: &str| flock.word(name);
    for body in [
        format!("{{\"data\":{{\"v\":\"{}\"", word("value cut off")),
        format!("{{\"data\":{{\"v\":{}}}}}", word("value without quotes")),
        format!("{{\"data\":{{\"v\":\"x\"}}}}{}", word("words after the end")),
        format!("password={}&x=y", word("password in a form")),
        word("bare words"),
        format!("\"{}\"", word("bare text")),
        format!("[\"{}\"]", word("text in a list")),
        format!("{{\"data\":{}\"{}\"", "[".repeat(200), word("text nested too deep")),
        format!("{{\"{}\":1", word("name cut off")),
        format!("{{\"data\":{{\"v\":\"{}\\ud800\"}}}}", word("half a character")),
    ] {
        post(body.into_bytes()).expect(400);
    }
    post([b"{\"data\":{\"v\":\"", word("bytes that are no text").as_bytes(), b"\xff\"}}"].concat())
        .expect(400);
    let guest = root.guest();
    let ask = |name: &str, value: &str| guest.request("GET", "/v1/secret/data/x").header(name, value).send();
    ask("X-Vault-Token", &word("unknown token")).expect(403);
    ask("X-Vault-Token", &format!("{}ü", word("token that is not ASCII"))).expect(400);
    ask("Authorization", &format!("Bearer {}", word("unknown bearer token"))).expect(403);
    ask("Authorization", &format!("Basic {}", STANDARD.encode(word("basic password")))).expect(403);
    ask("X-Vault-Wrap-TTL", &word("wrapping time that is none"));
    ask("X-Vault-Namespace", &word("namespace"));
    for line in ["GET /v1/x HTTP/9.9", "FLY", "\u{0}\u{1}"] {
        let mut connection = guest.connect().unwrap();
        let _ = connection.send(format!("{line} {}\r\n\r\n", word("words on a broken line")).as_bytes());
        let _ = connection.receive("GET");
    }
    let mut connection = guest.connect().unwrap();
    let part = format!(
        "POST /v1/secret/data/x HTTP/1.1\r\nHost: x\r\nX-Vault-Token: {}\r\nContent-Length: 9999\r\n\r\n{{\"data\":\"{}",
        word("token of a broken request"),
        word("body of a broken request")
    );
    connection.send(part.as_bytes()).unwrap();
    drop(connection);
}
