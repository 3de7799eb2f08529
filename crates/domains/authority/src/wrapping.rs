//! Response wrapping: an answer kept in the cubbyhole of a single-use token.

use crate::cubbyhole::wrapped_key;
use crate::refusal::Refusal;
use crate::request::Request;
use crate::response::{Response, Verbatim, WrapInfo};
use crate::token::{self, NewToken, TokenEntry, WRAPPING_POLICY};
use crate::txn::Txn;
use keyward_core::Timestamp;
use keyward_crypto::Secret;
use serde::{Deserialize, Serialize};
use std::time::Duration;

const JSON: &str = "application/json";

/// What a wrapping token stands for.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Wrapped {
    /// The answer's body, under the name by which a wrapping token reads it from its cubbyhole.
    #[serde(rename = "response")]
    pub body: String,
    /// The answer's HTTP status.
    pub status: u16,
    /// The path of the request it answers.
    pub creation_path: String,
    /// Nanoseconds since the epoch.
    pub created: u64,
    /// Seconds.
    pub ttl: u64,
    /// The accessor inside, if the answer has a token or a secret id.
    pub wrapped_accessor: String,
}

impl Wrapped {
    /// The answer as it would have been sent.
    pub fn into_response(self) -> Response {
        Response {
            verbatim: Some(Verbatim { content_type: JSON, body: self.body.into_bytes() }),
            status: Some(self.status),
            ..Response::default()
        }
    }
}

/// The refusal of a token that wraps nothing, or nothing any more.
pub fn invalid() -> Refusal {
    Refusal::invalid("wrapping token is not valid or does not exist")
}

/// Clients that show a wrapping token as their own expect a bad one to be their mistake, not a denial.
pub fn bad_token(request: &Request, refusal: Refusal) -> Refusal {
    let shown = match request.path.as_str() {
        "sys/wrapping/unwrap" => request.token.is_none() || !request.fields.has("token"),
        "sys/wrapping/rewrap" => !request.fields.has("token"),
        _ => false,
    };
    match refusal {
        Refusal::Denied { .. } if shown => invalid(),
        other => other,
    }
}

/// Who has no token but a wrapping token may show it in the body: it then asks for itself.
pub fn shown_in_body(request: &Request) -> Result<Option<Secret<String>>, Refusal> {
    if request.token.is_some() || request.path != "sys/wrapping/unwrap" {
        return Ok(None);
    }
    let shown = request.fields.string("token")?.filter(|token| !token.is_empty());
    Ok(shown.map(Secret::new))
}

/// Puts `response` away and answers with the token that opens it once.
pub fn wrap(
    txn: &mut Txn<'_>,
    request: &Request,
    response: &Response,
    ttl: Duration,
    now: Timestamp,
) -> Result<Response, Refusal> {
    if response.verbatim.as_ref().is_some_and(|verbatim| verbatim.content_type != JSON) {
        return Err(Refusal::invalid("the answer is not JSON and cannot be wrapped"));
    }
    let wrapped = Wrapped {
        body: String::from_utf8(response.body(&request.id)?)
            .map_err(|_| Refusal::Internal("an answer is not UTF-8".to_owned()))?,
        status: response.http_status(),
        creation_path: request.path.clone(),
        created: now.nanos(),
        ttl: ttl.as_secs(),
        wrapped_accessor: accessor(response),
    };
    seal(txn, wrapped)
}

/// What can be taken back if the wrapped answer goes astray.
fn accessor(response: &Response) -> String {
    #[derive(Deserialize)]
    struct SecretId {
        secret_id_accessor: String,
    }
    if let Some(auth) = &response.auth {
        return auth.accessor.clone();
    }
    let data = response.data.as_ref().filter(|_| response.mount_type == "approle");
    let secret_id = data.and_then(|data| serde_json::from_str::<SecretId>(data.get()).ok());
    secret_id.map(|data| data.secret_id_accessor).unwrap_or_default()
}

/// Refuses a time that nothing can be unwrapped in; in seconds.
pub fn check_ttl(ttl: u64) -> Result<(), Refusal> {
    match ttl {
        0 => Err(Refusal::invalid("the wrapping TTL must be at least one second")),
        _ => Ok(()),
    }
}

/// Keeps `wrapped` under a new wrapping token, from the moment it is created.
pub fn seal(txn: &mut Txn<'_>, wrapped: Wrapped) -> Result<Response, Refusal> {
    check_ttl(wrapped.ttl)?;
    let entry = TokenEntry {
        policies: vec![WRAPPING_POLICY.to_owned()],
        path: wrapped.creation_path.clone(),
        num_uses: 1,
        explicit_max_ttl: wrapped.ttl,
        ..TokenEntry::default()
    };
    let now = Timestamp::from_nanos(wrapped.created);
    let ttl = Duration::from_secs(wrapped.ttl);
    let issued = token::issue(txn, NewToken { entry, ttl, id: None }, now)?;
    txn.put_json(&wrapped_key(&issued.accessor), &wrapped)?;
    let info = WrapInfo {
        token: issued.client_token,
        accessor: issued.accessor,
        ttl: wrapped.ttl,
        creation_time: now.to_string(),
        creation_path: wrapped.creation_path,
        wrapped_accessor: wrapped.wrapped_accessor,
    };
    Ok(Response { wrap_info: Some(Box::new(info)), ..Response::default() })
}

/// What the wrapping token stored as `name` stands for, if it is still there.
pub fn find(txn: &mut Txn<'_>, name: &str) -> Result<Wrapped, Refusal> {
    txn.get_json(&wrapped_key(name))?.ok_or_else(invalid)
}

/// Takes out what the wrapping token stored as `name` stands for, and ends the token. A second transaction on
/// the same snapshot that does the same conflicts with this one.
pub fn take(txn: &mut Txn<'_>, name: &str) -> Result<Wrapped, Refusal> {
    let wrapped = find(txn, name)?;
    txn.delete(&wrapped_key(name));
    token::revoke(txn, name)?;
    Ok(wrapped)
}
