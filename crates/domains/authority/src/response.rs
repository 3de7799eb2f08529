//! What is answered, before it is written to a connection.

use crate::lease::Completion;
use crate::refusal::Refusal;
use crate::token::TokenKind;
use keyward_core::Timestamp;
use serde::Serialize;
use serde_json::value::RawValue;
use std::collections::BTreeMap;
use std::time::Duration;

/// The `data` of an answer: JSON text, built once and written through as it is.
#[derive(serde::Serialize)]
#[serde(transparent)]
pub struct Data(Box<RawValue>);

impl Data {
    /// Serializes `value`, which must come out as a JSON object.
    pub fn of(value: &impl Serialize) -> Result<Data, Refusal> {
        serde_json::value::to_raw_value(value)
            .map(Data)
            .map_err(|why| Refusal::Internal(format!("an answer could not be written: {why}")))
    }

    /// From the text of a JSON object.
    pub fn from_json(text: String) -> Option<Data> {
        RawValue::from_string(text).ok().map(Data)
    }

    /// The JSON text.
    pub fn get(&self) -> &str {
        self.0.get()
    }
}

/// Asks the authority to issue a token: what an auth method answers when it is satisfied.
#[derive(Clone, Debug, Default)]
pub struct Login {
    /// Policies by name; `default` is added unless `no_default_policy`.
    pub policies: Vec<String>,
    /// Do not add `default`.
    pub no_default_policy: bool,
    /// Metadata shown in the answer and in lookups.
    pub metadata: BTreeMap<String, String>,
    /// What the metadata say of a pod and its ServiceAccount the method has proved; see
    /// [`crate::token::TokenEntry::attested`].
    pub attested: bool,
    /// Prefixed to the mount's name in `display_name`.
    pub display_name: String,
    /// The name the caller has at this method (user name, role id): the identity alias.
    pub alias: String,
    /// Kept with the alias, for policy templates. Must not differ between logins of one alias without need:
    /// every change is a write.
    pub alias_metadata: BTreeMap<String, String>,
    /// What the method calls the groups they are in, where it knows of groups: identity groups with such an alias
    /// have them as a member until the next login.
    pub groups: Option<Vec<String>>,
    /// The role or user that a renewal looks up again; see [`crate::route::Backend::renew`].
    pub role: String,
    /// Wished time to live; the mount's default when zero.
    pub ttl: Duration,
    /// The method's own maximum; the mount's when zero.
    pub max_ttl: Duration,
    /// Never extended past this, whatever the mount says; none when zero.
    pub explicit_max_ttl: Duration,
    /// A periodic token: renewed for ever by this much; none when zero.
    pub period: Duration,
    /// Uses before the token ends; unlimited when zero.
    pub num_uses: u32,
    /// CIDRs the token may be used from.
    pub bound_cidrs: Vec<String>,
    /// Which kind of token; the mount's default when absent.
    pub kind: Option<TokenKind>,
}

/// An issued or renewed token, as the `auth` object of the answer.
#[derive(Clone, Debug, Default, Serialize)]
#[allow(missing_docs)]
pub struct Auth {
    pub client_token: String,
    pub accessor: String,
    pub policies: Vec<String>,
    pub token_policies: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub identity_policies: Option<Vec<String>>,
    pub metadata: Option<BTreeMap<String, String>>,
    pub lease_duration: u64,
    pub renewable: bool,
    pub entity_id: String,
    pub token_type: &'static str,
    pub orphan: bool,
    pub mfa_requirement: Option<crate::identity::mfa::Requirement>,
    pub num_uses: u32,
}

/// Where a wrapped answer waits.
#[derive(Clone, Debug, Serialize)]
#[allow(missing_docs)]
pub struct WrapInfo {
    pub token: String,
    pub accessor: String,
    pub ttl: u64,
    pub creation_time: String,
    pub creation_path: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub wrapped_accessor: String,
}

/// An answer that is not an envelope.
pub struct Verbatim {
    /// The `Content-Type`.
    pub content_type: &'static str,
    /// The body, whole.
    pub body: Vec<u8>,
}

/// One answer.
#[derive(Default)]
pub struct Response {
    /// The envelope's `data`.
    pub data: Option<Data>,
    /// Asks for a token; replaced by `auth` before the answer leaves the authority.
    pub login: Option<Box<Login>>,
    /// The envelope's `auth`.
    pub auth: Option<Box<Auth>>,
    /// The envelope's `wrap_info`.
    pub wrap_info: Option<Box<WrapInfo>>,
    /// The envelope's `warnings`.
    pub warnings: Vec<String>,
    /// The envelope's `lease_id`.
    pub lease_id: String,
    /// The envelope's `lease_duration`, in seconds.
    pub lease_duration: u64,
    /// The envelope's `renewable`.
    pub renewable: bool,
    /// Another status than 200 or 204.
    pub status: Option<u16>,
    /// Repeats the data's fields beside the envelope, as old clients of `sys/` read them.
    pub flat: bool,
    /// What audit records say of it in plain words, beside its data. Never sent, and never a secret.
    pub facts: BTreeMap<String, String>,
    /// Sent instead of an envelope.
    pub verbatim: Option<Verbatim>,
    /// Headers of its own.
    pub headers: Vec<(&'static str, String)>,
    /// The mount's type, which newer clients read.
    pub mount_type: String,
    /// What is written is committed, but the caller is refused: failed logins are counted.
    pub refused: Option<Refusal>,
    /// Its data come when what it is about is made; it is recorded, wrapped and sent after that.
    pub unfinished: bool,
}

impl Response {
    /// Nothing to say: 204.
    pub fn empty() -> Response {
        Response::default()
    }

    /// An envelope around `value`.
    pub fn data(value: &impl Serialize) -> Result<Response, Refusal> {
        Ok(Response { data: Some(Data::of(value)?), ..Response::default() })
    }

    /// `{"keys": [...]}`, or 404 when there are none.
    pub fn keys(keys: &[String]) -> Result<Response, Refusal> {
        if keys.is_empty() {
            return Err(Refusal::missing());
        }
        Response::data(&serde_json::json!({ "keys": keys }))
    }

    /// A bare JSON body.
    pub fn verbatim_json(value: &impl Serialize) -> Result<Response, Refusal> {
        let body = serde_json::to_vec(value)
            .map_err(|why| Refusal::Internal(format!("an answer could not be written: {why}")))?;
        let verbatim = Verbatim { content_type: "application/json", body };
        Ok(Response { verbatim: Some(verbatim), ..Response::default() })
    }

    /// A body that is not JSON.
    pub fn raw(content_type: &'static str, body: Vec<u8>) -> Response {
        Response { verbatim: Some(Verbatim { content_type, body }), ..Response::default() }
    }

    /// A login.
    pub fn login(login: Login) -> Response {
        Response { login: Some(Box::new(login)), ..Response::default() }
    }

    /// A refusal that leaves something written; see [`Response::refused`].
    pub fn refused(refusal: Refusal) -> Response {
        Response { refused: Some(refusal), ..Response::default() }
    }

    /// Finishes an answer that lacked `completion` until `now`.
    pub fn complete(&mut self, completion: Completion, now: Timestamp) {
        self.data = Some(completion.data);
        self.unfinished = false;
        if let Some(ends) = completion.ends {
            self.lease_duration = self.lease_duration.min(ends.since(now).as_secs());
            self.warnings.push("what was made ends by itself before the time that was asked for".to_owned());
        }
    }

    /// Adds a warning.
    #[must_use]
    pub fn warn(mut self, warning: impl Into<String>) -> Response {
        self.warnings.push(warning.into());
        self
    }

    /// Repeats the data at the top level; see [`Response::flat`].
    #[must_use]
    pub fn flattened(mut self) -> Response {
        self.flat = true;
        self
    }

    /// With another HTTP status than usual.
    #[must_use]
    pub fn with_status(mut self, status: u16) -> Response {
        self.status = Some(status);
        self
    }

    /// With a header.
    #[must_use]
    pub fn with_header(mut self, name: &'static str, value: impl Into<String>) -> Response {
        self.headers.push((name, value.into()));
        self
    }

    /// True when there is nothing to put in a body.
    pub fn is_empty(&self) -> bool {
        self.data.is_none()
            && self.auth.is_none()
            && self.login.is_none()
            && self.wrap_info.is_none()
            && self.warnings.is_empty()
            && self.verbatim.is_none()
            && self.lease_id.is_empty()
    }

    /// The HTTP status.
    pub fn http_status(&self) -> u16 {
        self.status.unwrap_or(if self.is_empty() { 204 } else { 200 })
    }

    /// The body, as section 0 of Vault's API has it; empty for 204.
    pub fn body(&self, request_id: &str) -> Result<Vec<u8>, Refusal> {
        if let Some(verbatim) = &self.verbatim {
            return Ok(verbatim.body.clone());
        }
        if self.is_empty() {
            return Ok(Vec::new());
        }
        let mut body = Vec::with_capacity(320 + self.data.as_ref().map_or(0, |data| data.get().len()));
        serde_json::to_writer(&mut body, &self.envelope(request_id))
            .map_err(|why| Refusal::Internal(format!("an answer could not be written: {why}")))?;
        if let (true, Some(data)) = (self.flat, &self.data) {
            append_members(&mut body, data.get());
        }
        body.push(b'\n');
        Ok(body)
    }

    fn envelope<'a>(&'a self, request_id: &'a str) -> Envelope<'a> {
        Envelope {
            request_id,
            lease_id: &self.lease_id,
            renewable: self.renewable,
            lease_duration: self.lease_duration,
            data: self.data.as_ref().map(|data| &*data.0),
            wrap_info: self.wrap_info.as_deref(),
            warnings: (!self.warnings.is_empty()).then_some(&self.warnings[..]),
            auth: self.auth.as_deref(),
            mount_type: &self.mount_type,
        }
    }
}

/// The wire's success envelope; keys are present even when null.
#[derive(Serialize)]
struct Envelope<'a> {
    request_id: &'a str,
    lease_id: &'a str,
    renewable: bool,
    lease_duration: u64,
    data: Option<&'a RawValue>,
    wrap_info: Option<&'a WrapInfo>,
    warnings: Option<&'a [String]>,
    auth: Option<&'a Auth>,
    mount_type: &'a str,
}

/// Writes the members of the JSON object `data` into the JSON object `body`, before its closing brace.
fn append_members(body: &mut Vec<u8>, data: &str) {
    let members = data.trim().strip_prefix('{').and_then(|rest| rest.strip_suffix('}')).unwrap_or("").trim();
    if !members.is_empty() && body.pop() == Some(b'}') {
        body.push(b',');
        body.extend_from_slice(members.as_bytes());
        body.push(b'}');
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn body(response: &Response) -> Value {
        serde_json::from_slice(&response.body("id").unwrap()).unwrap()
    }

    #[test]
    fn the_envelope_has_every_key() {
        let response = Response::data(&json!({"a": 1})).unwrap();
        assert_eq!(response.http_status(), 200);
        assert_eq!(
            body(&response),
            json!({"request_id":"id","lease_id":"","renewable":false,"lease_duration":0,"data":{"a":1},
                   "wrap_info":null,"warnings":null,"auth":null,"mount_type":""})
        );
    }

    #[test]
    fn flat_answers_repeat_their_data() {
        let response = Response::data(&json!({"a": {"b": 2}})).unwrap().flattened();
        assert_eq!(body(&response)["a"], json!({"b": 2}));
        assert_eq!(body(&response)["data"]["a"], json!({"b": 2}));
    }

    #[test]
    fn nothing_is_204() {
        assert_eq!(Response::empty().http_status(), 204);
        assert!(Response::empty().body("id").unwrap().is_empty());
        assert_eq!(Response::empty().warn("careful").http_status(), 200);
        assert_eq!(Response::keys(&[]).err().map(|why| why.status()), Some(404));
    }
}
