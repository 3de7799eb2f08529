//! An authority to be measured, and what is in it.

use crate::Failure;
use crate::load::{self, Ask};
use crate::server::Server;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use keyward_testkit::certificates::Authority;
use keyward_tests::databases::{PASSWORD, Postgres};
use serde_json::{Value, json};
use std::path::Path;
use std::process::Command;
use std::time::{SystemTime, UNIX_EPOCH};

/// A secret as people keep them: a user, a password, an address.
pub(super) const SECRET: &str = r#"{"data":{"username":"billing-service","password":"7Zq1xW0cVb9sKd3fGh5jLm8nPq2rTt4v","url":"postgres://billing.db.svc:5432/billing?sslmode=verify-full"}}"#;

const POLICY: &str = r#"
path "secret/data/*" { capabilities = ["create", "read", "update", "patch", "delete"] }
path "secret/metadata/*" { capabilities = ["read", "list", "delete"] }
path "transit/encrypt/bench" { capabilities = ["update"] }
path "transit/decrypt/bench" { capabilities = ["update"] }
"#;

/// A server in dev mode on a store in a folder, and an ordinary token.
pub(crate) struct Keyward {
    pub(crate) server: Server,
    root: String,
    token: String,
}

impl Keyward {
    /// Starts `program` on `data`.
    pub(crate) fn start(program: &Path, data: &Path) -> Result<Keyward, Failure> {
        let server = start(program, data)?;
        let root = server.printed("Root token")?.to_owned();
        let mut keyward = Keyward { server, root, token: String::new() };
        keyward.manage("PUT", "sys/policies/acl/bench", &json!({ "policy": POLICY }))?;
        let issued = keyward.manage("POST", "auth/token/create", &json!({ "policies": ["bench"] }))?;
        keyward.token = text(&issued, "/auth/client_token")?;
        Ok(keyward)
    }

    /// Mounts and writes what the requests are for.
    pub(super) fn prepare(&self) -> Result<(), Failure> {
        self.manage("POST", "sys/mounts/transit", &json!({ "type": "transit" }))?;
        self.manage("POST", "transit/keys/bench", &json!({}))?;
        self.prepare_secret()
    }

    /// Writes the secret that is read.
    pub(super) fn prepare_secret(&self) -> Result<(), Failure> {
        self.manage("POST", "secret/data/bench", &serde_json::from_str(SECRET)?).map(|_| ())
    }

    /// Another ordinary token, with `rules` as its policy `name`.
    pub(super) fn with_policy(&self, name: &str, rules: &str) -> Result<Holder, Failure> {
        self.manage("PUT", &format!("sys/policies/acl/{name}"), &json!({ "policy": rules }))?;
        let issued = self.manage("POST", "auth/token/create", &json!({ "policies": [name] }))?;
        Ok(Holder(text(&issued, "/auth/client_token")?))
    }

    /// A token of a user called `name`, with rules that name the mount it logs in at.
    pub(super) fn with_identity(
        &self,
        name: &str,
        rules: impl Fn(&str) -> String,
    ) -> Result<Holder, Failure> {
        let methods = self.manage("GET", "sys/auth", &Value::Null)?;
        let rules = rules(&text(&methods, "/data/userpass~1/accessor")?);
        self.manage("PUT", &format!("sys/policies/acl/of-{name}"), &json!({ "policy": rules }))?;
        let user = json!({ "password": "of the benchmark", "token_policies": [format!("of-{name}")] });
        self.manage("POST", &format!("auth/userpass/users/{name}"), &user)?;
        let login = json!({ "password": "of the benchmark" });
        let issued = self.manage("POST", &format!("auth/userpass/login/{name}"), &login)?;
        Ok(Holder(text(&issued, "/auth/client_token")?))
    }

    /// Mounts an engine at the name of its kind.
    pub(super) fn mount(&self, kind: &str) -> Result<(), Failure> {
        self.manage("POST", &format!("sys/mounts/{kind}"), &json!({ "type": kind })).map(|_| ())
    }

    /// Configures the database engine to make users there.
    pub(super) fn use_database(&self, postgres: &Postgres) -> Result<(), Failure> {
        let config = json!({
            "plugin_name": "postgresql-database-plugin",
            "allowed_roles": "*",
            "connection_url": postgres.url(),
            "username": "postgres",
            "password": PASSWORD,
            "max_open_connections": 8,
        });
        self.manage("POST", "database/config/db", &config)?;
        let creation =
            "CREATE ROLE \"{{name}}\" WITH LOGIN PASSWORD '{{password}}' VALID UNTIL '{{expiration}}'";
        let role = json!({ "db_name": "db", "creation_statements": creation, "default_ttl": "1h" });
        self.manage("POST", "database/roles/bench", &role).map(|_| ())
    }

    /// A request of the ordinary token: policies `default` and one more.
    pub(super) fn ask(&self, method: &str, path: &str, body: &str) -> Ask {
        Ask::new(method, &format!("/v1/{path}"), &self.token, body)
    }

    /// A request of the root token.
    pub(crate) fn ask_as_root(&self, method: &str, path: &str, body: &str) -> Ask {
        Ask::new(method, &format!("/v1/{path}"), &self.root, body)
    }

    /// The body of the answer.
    pub(super) fn answer(&self, ask: &Ask) -> Result<String, Failure> {
        load::once(self.server.address, ask)
    }

    /// Writes audit records to `log` from now on.
    pub(super) fn audit_to(&self, log: &Path) -> Result<(), Failure> {
        let options = json!({ "type": "file", "options": { "file_path": log } });
        self.manage("PUT", "sys/audit/bench", &options).map(|_| ())
    }

    /// Ends that.
    pub(super) fn audit_no_more(&self) -> Result<(), Failure> {
        self.manage("DELETE", "sys/audit/bench", &Value::Null).map(|_| ())
    }

    /// A login by AppRole.
    pub(super) fn approle(&self) -> Result<Ask, Failure> {
        self.manage("POST", "sys/auth/approle", &json!({ "type": "approle" }))?;
        let role = json!({ "token_policies": ["bench"], "token_ttl": "1h" });
        self.manage("POST", "auth/approle/role/bench", &role)?;
        let id = self.manage("GET", "auth/approle/role/bench/role-id", &Value::Null)?;
        let secret = self.manage("POST", "auth/approle/role/bench/secret-id", &json!({}))?;
        let login = json!({ "role_id": id["data"]["role_id"], "secret_id": secret["data"]["secret_id"] });
        Ok(Ask::new("POST", "/v1/auth/approle/login", "", &login.to_string()))
    }

    /// A login of a pod, by keys that the authority has: batch tokens, as controllers should use them.
    pub(super) fn kubernetes(&self) -> Result<Ask, Failure> {
        let login = json!({ "role": "bench", "jwt": self.pod("bench")? });
        Ok(Ask::new("POST", "/v1/auth/kubernetes/login", "", &login.to_string()))
    }

    /// A pod's token for the auth method `kubernetes`, whose role `bench` has the policy `policy`.
    pub(crate) fn pod(&self, policy: &str) -> Result<String, Failure> {
        let cluster = Authority::new("cluster")?;
        self.manage("POST", "sys/auth/kubernetes", &json!({ "type": "kubernetes" }))?;
        let config = json!({
            "kubernetes_host": "https://127.0.0.1:1",
            "pem_keys": [cluster.certificate()],
            "verification": "keys",
        });
        self.manage("POST", "auth/kubernetes/config", &config)?;
        let role = json!({
            "bound_service_account_names": "api",
            "bound_service_account_namespaces": "prod",
            "audience": "keyward",
            "token_policies": [policy],
            "token_ttl": "1h",
            "token_type": "batch",
        });
        self.manage("POST", "auth/kubernetes/role/bench", &role)?;
        let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs();
        let claims = json!({
            "iss": "https://kubernetes.default.svc.cluster.local",
            "sub": "system:serviceaccount:prod:api",
            "aud": ["keyward"],
            "iat": now,
            "nbf": now,
            "exp": now + 3600,
            "kubernetes.io": {
                "namespace": "prod",
                "serviceaccount": { "name": "api", "uid": "5f0c4ff4-1f5d-4b3e-9f5f-6a4b8f0f6f5e" },
                "pod": { "name": "api-7d4b9c6f5-x2x7k", "uid": "0d9d3f3e-6e0b-4c39-8b69-4d2c65d1f2b7" },
                "node": { "name": "node-3", "uid": "b7a3f2f8-3c5e-4c47-9f1c-0f1a7a2d9c11" },
            },
        });
        let key = EncodingKey::from_ec_pem(cluster.key().as_bytes())?;
        Ok(jsonwebtoken::encode(&Header::new(Algorithm::ES256), &claims, &key)?)
    }

    pub(crate) fn manage(&self, method: &str, path: &str, body: &Value) -> Result<Value, Failure> {
        let body = if body.is_null() { String::new() } else { body.to_string() };
        let answer = self.answer(&self.ask_as_root(method, path, &body))?;
        Ok(if answer.is_empty() { Value::Null } else { serde_json::from_str(&answer)? })
    }
}

/// Whoever has a token.
pub(super) struct Holder(String);

impl Holder {
    /// A request with it.
    pub(super) fn ask(&self, method: &str, path: &str, body: &str) -> Ask {
        Ask::new(method, &format!("/v1/{path}"), &self.0, body)
    }
}

/// Starts `program` on the store in `data`.
pub(super) fn start(program: &Path, data: &Path) -> Result<Server, Failure> {
    Server::start(Command::new(program).args(["dev", "--listen", "127.0.0.1:0", "--data"]).arg(data))
}

fn text(value: &Value, at: &str) -> Result<String, Failure> {
    let text = value.pointer(at).and_then(Value::as_str);
    Ok(text.ok_or_else(|| format!("the answer has no {at}: {value}"))?.to_owned())
}
