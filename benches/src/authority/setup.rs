//! An authority to be measured, and what is in it.

use crate::Failure;
use crate::load::{self, Ask};
use crate::server::Server;
use serde_json::{Value, json};
use std::path::Path;
use std::process::Command;

/// A secret as people keep them: a user, a password, an address.
pub(super) const SECRET: &str = r#"{"data":{"username":"billing-service","password":"7Zq1xW0cVb9sKd3fGh5jLm8nPq2rTt4v","url":"postgres://billing.db.svc:5432/billing?sslmode=verify-full"}}"#;

const POLICY: &str = r#"
path "secret/data/*" { capabilities = ["create", "read", "update", "patch", "delete"] }
path "secret/metadata/*" { capabilities = ["read", "list", "delete"] }
path "transit/encrypt/bench" { capabilities = ["update"] }
path "transit/decrypt/bench" { capabilities = ["update"] }
"#;

/// A server in dev mode on a store in a folder, and an ordinary token.
pub(super) struct Keyward {
    pub(super) server: Server,
    root: String,
    token: String,
}

impl Keyward {
    /// Starts `program` on `data`.
    pub(super) fn start(program: &Path, data: &Path) -> Result<Keyward, Failure> {
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
        self.manage("POST", "secret/data/bench", &serde_json::from_str(SECRET)?).map(|_| ())
    }

    /// A request of the ordinary token: policies `default` and one more.
    pub(super) fn ask(&self, method: &str, path: &str, body: &str) -> Ask {
        Ask::new(method, &format!("/v1/{path}"), &self.token, body)
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

    /// A login by AppRole; none where there is no such method.
    pub(super) fn approle(&self) -> Result<Option<Ask>, Failure> {
        if self.manage("POST", "sys/auth/approle", &json!({ "type": "approle" })).is_err() {
            return Ok(None);
        }
        let role = json!({ "token_policies": ["bench"], "token_ttl": "1h" });
        self.manage("POST", "auth/approle/role/bench", &role)?;
        let id = self.manage("GET", "auth/approle/role/bench/role-id", &Value::Null)?;
        let secret = self.manage("POST", "auth/approle/role/bench/secret-id", &json!({}))?;
        let login = json!({ "role_id": id["data"]["role_id"], "secret_id": secret["data"]["secret_id"] });
        Ok(Some(Ask::new("POST", "/v1/auth/approle/login", "", &login.to_string())))
    }

    fn manage(&self, method: &str, path: &str, body: &Value) -> Result<Value, Failure> {
        let body = if body.is_null() { String::new() } else { body.to_string() };
        let answer = self.answer(&Ask::new(method, &format!("/v1/{path}"), &self.root, &body))?;
        Ok(if answer.is_empty() { Value::Null } else { serde_json::from_str(&answer)? })
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
