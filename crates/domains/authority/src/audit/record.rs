//! Records as Vault writes them: one JSON object for a request and one for its answer.

use super::hashes::{HASHED, Hashes};
use super::values::{Numbers, Rules, push_hashed, push_string};
use super::{Auditing, Form};
use crate::authority::{Admitted, Rejected};
use crate::mounts::Mount;
use crate::policy;
use crate::refusal::Refusal;
use crate::request::{Operation, Request};
use crate::response::{Auth, Data, Response, Verbatim, WrapInfo};
use crate::token::{BATCH_PREFIX, Caller, SERVICE_PREFIX};
use keyward_core::Timestamp;
use serde::de::IgnoredAny;
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Data that would take more than this many bytes in a record is hashed whole: a request of 32 MiB of empty
/// strings would otherwise become a record of a gigabyte.
const MOST_DATA: usize = 1024 * 1024;

/// What is known of a request once it was admitted or rejected.
#[derive(Clone, Copy)]
pub struct Subject<'a> {
    /// The operation, decided if it was.
    pub operation: Option<Operation>,
    /// The mount, if there is one at the path.
    pub mount: Option<&'a Arc<Mount>>,
    /// Who asks, if the token was good.
    pub caller: Option<&'a Caller>,
    /// The policies that allow it.
    pub granting: &'a [String],
    /// Which verdicts the conditions of policies looked at.
    pub posture: &'a BTreeMap<String, String>,
    /// Why the request goes no further.
    pub refusal: Option<&'a Refusal>,
}

impl<'a> From<&'a Admitted> for Subject<'a> {
    fn from(admitted: &'a Admitted) -> Subject<'a> {
        Subject {
            operation: Some(admitted.operation),
            mount: Some(&admitted.mount),
            caller: admitted.caller.as_ref(),
            granting: &admitted.granting,
            posture: &admitted.posture,
            refusal: None,
        }
    }
}

impl<'a> From<&'a Rejected> for Subject<'a> {
    fn from(rejected: &'a Rejected) -> Subject<'a> {
        Subject {
            operation: None,
            mount: rejected.mount.as_ref(),
            caller: rejected.caller.as_ref(),
            granting: &[],
            posture: &rejected.posture,
            refusal: Some(&rejected.refusal),
        }
    }
}

/// One record in each form that devices want. Devices add their prefix and the chain.
#[derive(Clone, Debug, Default)]
pub struct Record(Vec<(Form, String)>);

impl Record {
    /// The record as one line of JSON, without a newline. None when there is no device.
    pub fn text(&self, form: Form) -> Option<&str> {
        let exact = self.0.iter().find(|(known, _)| *known == form);
        // A device enabled since the record was made takes the form there is.
        exact.or(self.0.first()).map(|(_, text)| text.as_str())
    }

    /// How many bytes it takes.
    pub fn size(&self) -> usize {
        self.0.iter().map(|(_, text)| text.len()).sum()
    }

    /// True when nothing is to be written.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// A request and its answer: what both records say is written once.
pub struct Exchange {
    auditing: Arc<Auditing>,
    /// `"auth":{…},"request":{…}` for each form.
    heads: Vec<(Form, String)>,
    mount: Option<Arc<Mount>>,
    is_list: bool,
    numbers: Numbers,
    refusal: Option<String>,
}

impl Exchange {
    /// Writes down what is asked, and by whom.
    pub fn new(auditing: &Arc<Auditing>, request: &Request, subject: Subject<'_>) -> Exchange {
        let operation = subject.operation.unwrap_or(request.operation);
        let numbers = numbers(subject.mount, &request.path);
        let head = |form: &Form| {
            let writer = Writer { hashes: &auditing.hashes, form: *form };
            let mut head = String::with_capacity(1536);
            writer.head(&mut head, auditing, request, operation, &subject, numbers);
            (*form, head)
        };
        Exchange {
            auditing: auditing.clone(),
            heads: auditing.forms.iter().map(head).collect(),
            mount: subject.mount.cloned(),
            is_list: operation == Operation::List,
            numbers,
            refusal: subject.refusal.map(describe),
        }
    }

    /// The record to be written before the request is carried out, or before its rejection is sent.
    pub fn request_record(&self, now: Timestamp) -> Record {
        self.record("request", now, self.refusal.as_deref(), |_, _| {})
    }

    /// The record to be written before the answer is sent.
    pub fn response_record(&self, outcome: Result<&Response, &Refusal>, now: Timestamp) -> Record {
        let refusal = outcome.err().map(describe);
        self.record("response", now, refusal.as_deref(), |writer, text| {
            let mut object = Object::open(text, "response");
            writer.mount(&mut object, self.mount.as_deref());
            if let Ok(response) = outcome {
                let shown = self.mount.as_ref().map_or(&[][..], |m| &m.config.audit_non_hmac_response_keys);
                let rules = Rules { hashes: writer.hashes, shown, numbers: self.numbers };
                writer.response(&mut object, response, &rules, self.is_list);
            }
            object.close();
        })
    }

    fn record(
        &self,
        kind: &str,
        now: Timestamp,
        refusal: Option<&str>,
        more: impl Fn(Writer<'_>, &mut String),
    ) -> Record {
        let write = |(form, head): &(Form, String)| {
            let mut text = String::with_capacity(head.len() + 1024);
            text.push('{');
            push_member(&mut text, "time", &now.to_string());
            push_member(&mut text, "type", kind);
            text.push(',');
            text.push_str(head);
            let writer = Writer { hashes: &self.auditing.hashes, form: *form };
            more(writer, &mut text);
            if let Some(refusal) = refusal {
                push_member(&mut text, "error", &writer.tokenless(refusal));
            }
            text.push('}');
            (*form, text)
        };
        Record(self.heads.iter().map(write).collect())
    }
}

/// Engines whose values are the user's own show no numbers of theirs either.
fn numbers(mount: Option<&Arc<Mount>>, path: &str) -> Numbers {
    let version = |mount: &Mount| mount.options.get("version").is_some_and(|version| version == "2");
    match mount {
        Some(mount) if mount.kind == "kv" && version(mount) => Numbers::HashedIn("data"),
        Some(mount) if matches!(mount.kind.as_str(), "kv" | "generic" | "cubbyhole") => Numbers::Hashed,
        _ if path.starts_with("sys/wrapping/") => Numbers::Hashed,
        _ => Numbers::Shown,
    }
}

/// What a record says of a refusal: the caller's text, and for denials the reason, which callers do not learn.
fn describe(refusal: &Refusal) -> String {
    match refusal {
        Refusal::Denied { reason } => format!("permission denied: {reason}"),
        other => other.messages().join("; "),
    }
}

#[derive(Clone, Copy)]
struct Writer<'a> {
    hashes: &'a Hashes,
    form: Form,
}

impl Writer<'_> {
    fn accessor(self, accessor: &str) -> String {
        if self.form.hmac_accessor && !accessor.is_empty() {
            self.hashes.of(accessor)
        } else {
            accessor.to_owned()
        }
    }

    fn head(
        self,
        out: &mut String,
        auditing: &Auditing,
        request: &Request,
        operation: Operation,
        subject: &Subject<'_>,
        numbers: Numbers,
    ) {
        let token = request.token.as_ref().map(|token| token.expose().as_str());
        let shown = subject.caller.zip(token).map(|(caller, token)| auditing.token(token, caller));
        let stranger = if shown.is_none() { token.map(|token| self.hashes.of(token)) } else { None };
        let token = shown.as_ref().map(|shown| &*shown.token).or(stranger.as_deref()).unwrap_or_default();
        let accessor = subject.caller.zip(shown.as_ref()).map_or("", |(caller, shown)| {
            match self.form.hmac_accessor && !caller.token.accessor.is_empty() {
                true => &shown.accessor,
                false => &caller.token.accessor,
            }
        });
        let mut auth = Object::open(out, "auth");
        match subject.caller.zip(shown.as_ref()) {
            Some((caller, shown)) => {
                auth.text("client_token", token);
                auth.text("accessor", accessor);
                self.caller(&mut auth, caller, subject, &shown.issued);
            }
            None => auth.text("token_type", "default"),
        }
        auth.close();
        let mut object = Object::open(out, "request");
        object.text("id", &request.id);
        object.text("operation", operation.name());
        self.mount(&mut object, subject.mount.map(|mount| &**mount));
        object.text("client_token", token);
        object.text("client_token_accessor", accessor);
        object.raw("namespace", "{\"id\":\"root\"}");
        object.text("path", &self.tokenless(&request.path));
        let shown = subject.mount.map_or(&[][..], |mount| &mount.config.audit_non_hmac_request_keys);
        self.fields(&mut object, request, &Rules { hashes: self.hashes, shown, numbers });
        if let Some(remote) = request.remote {
            object.text("remote_address", &remote.ip().to_string());
            object.number("remote_port", u64::from(remote.port()));
        }
        object.number("wrap_ttl", request.wrap.map_or(0, |wrap| wrap.ttl.as_secs()));
        self.headers(&mut object, auditing, request);
        object.close();
    }

    fn caller(self, auth: &mut Object<'_>, caller: &Caller, subject: &Subject<'_>, issued: &str) {
        let token = &caller.token;
        auth.text("display_name", &token.display_name);
        let of_identity = caller.holder.as_ref().map_or(&[][..], |holder| &holder.policies);
        match of_identity.is_empty() {
            true => auth.texts("policies", &token.policies),
            false => auth.texts("policies", &policy::sanitize(token.policies.iter().chain(of_identity))),
        }
        auth.texts("token_policies", &token.policies);
        auth.texts("identity_policies", of_identity);
        let denied = matches!(subject.refusal, Some(Refusal::Denied { .. }));
        let mut results = Object::open(auth.out, "policy_results");
        results.raw("allowed", if denied { "false" } else { "true" });
        if !subject.granting.is_empty() {
            results.key("granting_policies");
            results.granting(subject.granting);
        }
        results.pairs("posture", subject.posture);
        results.close();
        auth.pairs("metadata", &token.metadata);
        auth.number("remaining_uses", u64::from(token.num_uses));
        auth.text("entity_id", &token.entity_id);
        auth.text("token_type", token.kind.name());
        auth.number("token_ttl", token.creation_ttl);
        auth.text("token_issue_time", issued);
    }

    fn mount(self, object: &mut Object<'_>, mount: Option<&Mount>) {
        let Some(mount) = mount else { return };
        object.text("mount_point", &mount.path);
        object.text("mount_type", &mount.kind);
        object.text("mount_accessor", &mount.accessor);
        object.text("mount_class", if mount.is_auth() { "auth" } else { "secret" });
    }

    /// Older clients put tokens into paths, from where they get into messages: each is replaced by its hash.
    fn tokenless<'t>(self, text: &'t str) -> Cow<'t, str> {
        let mut out = String::new();
        let mut rest = text;
        while let Some(start) = [SERVICE_PREFIX, BATCH_PREFIX].iter().filter_map(|p| rest.find(p)).min() {
            let (before, token) = rest.split_at(start);
            let ends = |c: char| !(c.is_ascii_alphanumeric() || "._-".contains(c));
            let (token, after) = token.split_at(token.find(ends).unwrap_or(token.len()));
            out.push_str(before);
            self.hashes.push(&mut out, token.as_bytes());
            rest = after;
        }
        if rest.len() == text.len() { Cow::Borrowed(text) } else { Cow::Owned(out + rest) }
    }

    fn fields(self, object: &mut Object<'_>, request: &Request, rules: &Rules<'_>) {
        if request.fields.is_empty() {
            return;
        }
        let data = Object::open(object.out, "data");
        let (start, mut first) = (data.out.len(), true);
        let mut fits = true;
        for (name, value) in request.fields.iter() {
            if !std::mem::take(&mut first) {
                data.out.push(',');
            }
            push_string(data.out, name);
            data.out.push(':');
            let left = MOST_DATA.saturating_sub(data.out.len() - start);
            fits = fits && push_hashed(data.out, value.get(), name, rules, left);
            if !fits {
                break;
            }
        }
        if !fits {
            data.out.truncate(start);
            push_whole(data.out, self.hashes, &request.fields.to_json());
        }
        data.close();
    }

    fn headers(self, object: &mut Object<'_>, auditing: &Auditing, request: &Request) {
        let mut shown: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for (name, value) in &request.headers {
            let value = match auditing.header(name) {
                Some(true) => self.hashes.of(value),
                Some(false) => value.clone(),
                None => continue,
            };
            shown.entry(name.to_ascii_lowercase()).or_default().push(value);
        }
        if shown.is_empty() {
            return;
        }
        let mut headers = Object::open(object.out, "headers");
        for (name, values) in &shown {
            headers.foreign_key(name);
            headers.list(values);
        }
        headers.close();
    }

    fn response(self, object: &mut Object<'_>, response: &Response, rules: &Rules<'_>, is_list: bool) {
        match &response.verbatim {
            Some(verbatim) => self.verbatim(object, verbatim, response.http_status(), rules),
            None => {
                if let Some(auth) = &response.auth {
                    self.auth(object, auth);
                }
                self.lease(object, &response.lease_id);
                if let Some(data) = &response.data {
                    self.data(object, data, rules, is_list);
                }
                object.pairs("facts", &response.facts);
                let warnings = response.warnings.iter().map(|warning| self.tokenless(warning).into_owned());
                object.texts("warnings", &warnings.collect::<Vec<_>>());
                if let Some(info) = &response.wrap_info {
                    self.wrap_info(object, info);
                }
            }
        }
    }

    fn lease(self, object: &mut Object<'_>, lease_id: &str) {
        if !lease_id.is_empty() {
            let mut secret = Object::open(object.out, "secret");
            secret.text("lease_id", lease_id);
            secret.close();
        }
    }

    fn auth(self, object: &mut Object<'_>, auth: &Auth) {
        let mut shown = Object::open(object.out, "auth");
        shown.text("client_token", &self.hashes.of(&auth.client_token));
        shown.text("accessor", &self.accessor(&auth.accessor));
        shown.texts("policies", &auth.policies);
        shown.texts("token_policies", &auth.token_policies);
        shown.texts("identity_policies", auth.identity_policies.as_deref().unwrap_or_default());
        if let Some(metadata) = &auth.metadata {
            shown.pairs("metadata", metadata);
        }
        shown.number("num_uses", u64::from(auth.num_uses));
        shown.text("entity_id", &auth.entity_id);
        shown.text("token_type", auth.token_type);
        shown.number("token_ttl", auth.lease_duration);
        shown.close();
    }

    fn wrap_info(self, object: &mut Object<'_>, info: &WrapInfo) {
        let mut shown = Object::open(object.out, "wrap_info");
        shown.number("ttl", info.ttl);
        shown.text("token", &self.hashes.of(&info.token));
        shown.text("accessor", &self.accessor(&info.accessor));
        shown.text("creation_time", &info.creation_time);
        shown.text("creation_path", &self.tokenless(&info.creation_path));
        shown.text("wrapped_accessor", &self.accessor(&info.wrapped_accessor));
        shown.close();
    }

    fn data(self, object: &mut Object<'_>, data: &Data, rules: &Rules<'_>, is_list: bool) {
        let counted = (self.form.elide_lists && is_list).then(|| counted(data.get())).flatten();
        let text = counted.as_deref().unwrap_or(data.get());
        let numbers = if counted.is_some() { Numbers::Shown } else { rules.numbers };
        let rules = &Rules { numbers, ..*rules };
        object.key("data");
        let start = object.out.len();
        if !push_hashed(object.out, text, "", rules, MOST_DATA) {
            object.out.truncate(start);
            object.out.push('{');
            push_whole(object.out, self.hashes, text);
            object.out.push('}');
        }
    }

    /// An unwrapped answer is shown as what it is; anything else verbatim by its hash, as Vault does.
    fn verbatim(self, object: &mut Object<'_>, verbatim: &Verbatim, status: u16, rules: &Rules<'_>) {
        let text = std::str::from_utf8(&verbatim.body).ok();
        if let Some(answer) = text.and_then(|text| serde_json::from_str::<Envelope<'_>>(text).ok()) {
            let rules = Rules { hashes: rules.hashes, shown: &[], numbers: Numbers::Hashed };
            // Leases have been shown nowhere else, if what handed them out was wrapped.
            self.lease(object, &answer.lease_id);
            for (name, value) in
                [("auth", answer.auth), ("data", answer.data), ("wrap_info", answer.wrap_info)]
            {
                if let Some(value) = value.filter(|value| value.get() != "null") {
                    object.key(name);
                    let start = object.out.len();
                    if !push_hashed(object.out, value.get(), "", &rules, MOST_DATA) {
                        object.out.truncate(start);
                        object.out.push('{');
                        push_whole(object.out, self.hashes, value.get());
                        object.out.push('}');
                    }
                }
            }
            return;
        }
        let mut body = String::with_capacity(HASHED);
        self.hashes.push(&mut body, &verbatim.body);
        let mut data = Object::open(object.out, "data");
        data.text("http_content_type", verbatim.content_type);
        data.text("http_raw_body", &body);
        data.number("http_status_code", u64::from(status));
        data.close();
    }
}

/// What tells a wrapped answer from other JSON.
#[derive(serde::Deserialize)]
struct Envelope<'a> {
    #[serde(rename = "request_id")]
    _request_id: IgnoredAny,
    #[serde(borrow)]
    auth: Option<&'a RawValue>,
    #[serde(borrow)]
    data: Option<&'a RawValue>,
    #[serde(borrow)]
    wrap_info: Option<&'a RawValue>,
    #[serde(default)]
    lease_id: String,
}

/// The one member that stands for data too long to be shown.
fn push_whole(out: &mut String, hashes: &Hashes, json: &str) {
    out.push_str("\"*\":\"");
    hashes.push(out, json.as_bytes());
    out.push('"');
}

/// An answer to a list with counts instead of its keys.
fn counted(json: &str) -> Option<String> {
    let members: BTreeMap<&str, &RawValue> = serde_json::from_str(json).ok()?;
    let count = |name: &str, value: &RawValue| match name {
        "keys" => serde_json::from_str::<Vec<IgnoredAny>>(value.get()).ok().map(|keys| keys.len()),
        "key_info" => {
            serde_json::from_str::<BTreeMap<String, IgnoredAny>>(value.get()).ok().map(|keys| keys.len())
        }
        _ => None,
    };
    let mut out = String::from("{");
    for (name, value) in members {
        if out.len() > 1 {
            out.push(',');
        }
        push_string(&mut out, name);
        out.push(':');
        match count(name, value) {
            Some(count) => out.push_str(&count.to_string()),
            None => out.push_str(value.get()),
        }
    }
    out.push('}');
    Some(out)
}

fn push_member(out: &mut String, name: &str, text: &str) {
    if !out.ends_with('{') {
        out.push(',');
    }
    push_string(out, name);
    out.push(':');
    push_string(out, text);
}

/// A JSON object being written. Members that are empty are left out, as Vault leaves them out.
struct Object<'o> {
    out: &'o mut String,
}

impl Object<'_> {
    fn open<'o>(out: &'o mut String, name: &'static str) -> Object<'o> {
        let mut object = Object { out };
        object.key(name);
        object.out.push('{');
        object
    }

    fn close(self) {
        self.out.push('}');
    }

    /// A name of ours, which needs no escapes.
    fn key(&mut self, name: &'static str) {
        if !self.out.is_empty() && !self.out.ends_with('{') {
            self.out.push(',');
        }
        self.out.push('"');
        self.out.push_str(name);
        self.out.push_str("\":");
    }

    /// A name from elsewhere.
    fn foreign_key(&mut self, name: &str) {
        if !self.out.ends_with('{') {
            self.out.push(',');
        }
        push_string(self.out, name);
        self.out.push(':');
    }

    fn text(&mut self, name: &'static str, text: &str) {
        if !text.is_empty() {
            self.key(name);
            push_string(self.out, text);
        }
    }

    fn number(&mut self, name: &'static str, number: u64) {
        if number > 0 {
            self.key(name);
            self.out.push_str(&number.to_string());
        }
    }

    fn raw(&mut self, name: &'static str, json: &str) {
        self.key(name);
        self.out.push_str(json);
    }

    fn texts(&mut self, name: &'static str, texts: &[String]) {
        if !texts.is_empty() {
            self.key(name);
            self.list(texts);
        }
    }

    fn list(&mut self, texts: &[String]) {
        for (at, text) in texts.iter().enumerate() {
            self.out.push(if at == 0 { '[' } else { ',' });
            push_string(self.out, text);
        }
        self.out.push(']');
    }

    fn granting(&mut self, policies: &[String]) {
        for (at, policy) in policies.iter().enumerate() {
            self.out.push_str(if at == 0 { "[{" } else { ",{" });
            self.text("name", policy);
            self.raw("namespace_id", "\"root\"");
            self.raw("type", "\"acl\"");
            self.out.push('}');
        }
        self.out.push(']');
    }

    fn pairs(&mut self, name: &'static str, pairs: &BTreeMap<String, String>) {
        if pairs.is_empty() {
            return;
        }
        let mut object = Object::open(self.out, name);
        pairs.iter().for_each(|(name, value)| {
            object.foreign_key(name);
            push_string(object.out, value);
        });
        object.close();
    }
}
