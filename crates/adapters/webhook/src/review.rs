//! AdmissionReviews: what the API server asks, and what it is answered.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use std::fmt;
use std::time::Instant;

const VERSION: &str = "admission.k8s.io/v1";

/// Group, version and kind of an object.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Kind {
    /// Empty for the core group.
    pub group: String,
    /// Such as v1.
    pub version: String,
    /// Such as Pod.
    pub kind: String,
}

/// Group, version and plural name of a resource.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Resource {
    /// Empty for the core group.
    pub group: String,
    /// Such as v1.
    pub version: String,
    /// Such as pods.
    pub resource: String,
}

/// What is done with the object.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Operation {
    /// It is made.
    Create,
    /// It is changed.
    Update,
    /// It is removed.
    Delete,
    /// A subresource such as exec is connected to.
    Connect,
}

/// Who asks (`authentication.k8s.io/v1` UserInfo).
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct User {
    /// Such as `system:serviceaccount:NAMESPACE:NAME`.
    pub username: String,
    /// Empty where the authenticator has none.
    pub uid: String,
    /// Such as `system:masters`.
    pub groups: Vec<String>,
    /// What else the authenticator says, such as the pod that a ServiceAccount's token is bound to.
    pub extra: Map<String, Value>,
}

/// A question of the API server: may this be done?
#[derive(Debug)]
pub struct Review {
    /// Of this question; the answer repeats it.
    pub uid: String,
    /// Of the object, in the version that the webhook is registered for.
    pub kind: Kind,
    /// What the object is one of.
    pub resource: Resource,
    /// Such as exec; empty where the object itself is meant.
    pub subresource: String,
    /// Of the object, in the version that was asked for.
    pub request_kind: Option<Kind>,
    /// As asked for.
    pub request_resource: Option<Resource>,
    /// As asked for.
    pub request_subresource: String,
    /// Of the object; empty while the API server has not made one up.
    pub name: String,
    /// Of the object; empty where it has none.
    pub namespace: String,
    /// What is done.
    pub operation: Operation,
    /// Who asks.
    pub user: User,
    /// Nothing will be kept, so nothing may be done outside of the answer.
    pub dry_run: bool,
    /// When the API server no longer waits.
    pub deadline: Instant,
    request: Value,
}

/// The parts of a request that are looked at here.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Head {
    uid: String,
    #[serde(default)]
    kind: Kind,
    #[serde(default)]
    resource: Resource,
    #[serde(default)]
    sub_resource: String,
    request_kind: Option<Kind>,
    request_resource: Option<Resource>,
    #[serde(default)]
    request_sub_resource: String,
    #[serde(default)]
    name: String,
    #[serde(default)]
    namespace: String,
    operation: Operation,
    #[serde(default)]
    user_info: User,
    #[serde(default)]
    dry_run: Option<bool>,
}

/// Why something is no review.
#[derive(Debug)]
pub struct Malformed(String);

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "not an AdmissionReview of {VERSION}: {}", self.0)
    }
}

impl std::error::Error for Malformed {}

impl Review {
    /// Reads the body of a request.
    ///
    /// # Errors
    ///
    /// Why it is no review; nothing of the object is repeated.
    pub fn read(body: &[u8], deadline: Instant) -> Result<Review, Malformed> {
        let mut review: Value = serde_json::from_slice(body).map_err(|why| {
            Malformed(format!("line {} column {}: it is not JSON", why.line(), why.column()))
        })?;
        if review["apiVersion"] != VERSION || review["kind"] != "AdmissionReview" {
            return Err(Malformed("apiVersion or kind is another".to_owned()));
        }
        let request = review["request"].take();
        let head = Head::deserialize(&request).map_err(|why| Malformed(format!("its request: {why}")))?;
        if head.uid.is_empty() || head.kind.kind.is_empty() {
            return Err(Malformed("its request has no uid or no kind".to_owned()));
        }
        Ok(Review {
            uid: head.uid,
            kind: head.kind,
            resource: head.resource,
            subresource: head.sub_resource,
            request_kind: head.request_kind,
            request_resource: head.request_resource,
            request_subresource: head.request_sub_resource,
            name: head.name,
            namespace: head.namespace,
            operation: head.operation,
            user: head.user_info,
            dry_run: head.dry_run.unwrap_or(false),
            deadline,
            request,
        })
    }

    /// The object as it is to be; null for removals.
    pub fn object(&self) -> &Value {
        &self.request["object"]
    }

    /// The object as it is; null for what is being made.
    pub fn old_object(&self) -> &Value {
        &self.request["oldObject"]
    }

    /// The options of the operation, such as `CreateOptions`.
    pub fn options(&self) -> &Value {
        &self.request["options"]
    }

    /// The whole `request`, as it came.
    pub fn into_request(self) -> Value {
        self.request
    }
}

/// A verdict about a review.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Answer {
    /// Whether it may be done.
    pub allowed: bool,
    /// An HTTP status and a text for who asked; only seen where it may not be done.
    pub status: Option<(u16, String)>,
    /// Shown to who asked. The API server cuts what is longer than 256 characters, and all beyond 4,096.
    pub warnings: Vec<String>,
    /// A JSON patch (RFC 6902) of the object.
    pub patch: Option<Value>,
    /// For the API server's audit log.
    pub audit_annotations: Vec<(String, String)>,
}

impl Answer {
    /// It may be done as it is.
    pub fn allowed() -> Answer {
        Answer { allowed: true, ..Answer::default() }
    }

    /// It may not be done; `code` is an HTTP status such as 403 or 400.
    pub fn refused(code: u16, why: impl Into<String>) -> Answer {
        Answer { status: Some((code, why.into())), ..Answer::default() }
    }

    /// It may be done with the operations of a JSON patch carried out first.
    pub fn patched(operations: Value) -> Answer {
        Answer { allowed: true, patch: Some(operations), ..Answer::default() }
    }

    pub(crate) fn write(&self, uid: &str) -> Vec<u8> {
        let mut response = json!({"uid": uid, "allowed": self.allowed});
        if let Some((code, message)) = &self.status {
            response["status"] = json!({"code": code, "message": message});
        }
        if !self.warnings.is_empty() {
            response["warnings"] = json!(self.warnings);
        }
        if let Some(patch) =
            self.patch.as_ref().filter(|patch| patch.as_array().is_some_and(|list| !list.is_empty()))
        {
            response["patchType"] = json!("JSONPatch");
            response["patch"] = json!(BASE64.encode(patch.to_string()));
        }
        if !self.audit_annotations.is_empty() {
            let annotations: Map<String, Value> =
                self.audit_annotations.iter().map(|(key, value)| (key.clone(), json!(value))).collect();
            response["auditAnnotations"] = Value::Object(annotations);
        }
        json!({"apiVersion": VERSION, "kind": "AdmissionReview", "response": response})
            .to_string()
            .into_bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn review(request: Value) -> Value {
        json!({"apiVersion": VERSION, "kind": "AdmissionReview", "request": request})
    }

    #[test]
    fn what_the_api_server_sends() {
        let request = json!({
            "uid": "u1", "kind": {"group": "", "version": "v1", "kind": "Pod"},
            "resource": {"group": "", "version": "v1", "resource": "pods"}, "subResource": "exec",
            "requestKind": {"group": "", "version": "v1", "kind": "Pod"}, "name": "web", "namespace": "prod",
            "operation": "CONNECT", "dryRun": true, "options": null, "object": {"a": 1}, "oldObject": null,
            "userInfo": {"username": "eve", "groups": ["g"], "extra": {"x": ["y"]}},
        });
        let read = Review::read(review(request.clone()).to_string().as_bytes(), Instant::now()).unwrap();
        assert_eq!(
            (read.uid.as_str(), read.kind.kind.as_str(), read.resource.resource.as_str()),
            ("u1", "Pod", "pods")
        );
        assert_eq!(
            (read.subresource.as_str(), read.operation, read.dry_run),
            ("exec", Operation::Connect, true)
        );
        assert_eq!((read.user.username.as_str(), read.user.groups.len()), ("eve", 1));
        assert!(read.old_object().is_null() && read.object()["a"] == 1 && read.options().is_null());
        assert_eq!(read.into_request(), request);
    }

    #[test]
    fn what_is_no_review_is_refused_without_repeating_it() {
        let mut other =
            review(json!({"uid": "u", "kind": {"kind": "Pod"}, "operation": "EXPLODE", "object": "hunter2"}));
        let why = |value: &Value| {
            Review::read(value.to_string().as_bytes(), Instant::now()).unwrap_err().to_string()
        };
        assert!(!why(&other).contains("hunter2"), "{}", why(&other));
        other["apiVersion"] = json!("admission.k8s.io/v1beta1");
        assert!(why(&other).contains("apiVersion"));
        assert!(why(&review(json!({"kind": {"kind": "Pod"}, "operation": "CREATE"}))).contains("uid"));
        assert!(Review::read(b"{\"hunter2", Instant::now()).unwrap_err().to_string().contains("not JSON"));
    }

    #[test]
    fn answers_as_the_api_server_reads_them() {
        let read = |answer: &Answer| -> Value { serde_json::from_slice(&answer.write("u1")).unwrap() };
        let refused = Answer { warnings: vec!["mind".to_owned()], ..Answer::refused(403, "no") };
        assert_eq!(
            read(&refused)["response"],
            json!({"uid": "u1", "allowed": false, "status": {"code": 403, "message": "no"}, "warnings": ["mind"]})
        );
        let patched = read(&Answer::patched(json!([{"op": "remove", "path": "/a"}])));
        let patch = BASE64.decode(patched["response"]["patch"].as_str().unwrap()).unwrap();
        assert_eq!(serde_json::from_slice::<Value>(&patch).unwrap()[0]["path"], "/a");
        assert_eq!(patched["response"]["patchType"], "JSONPatch");
        assert!(read(&Answer::patched(json!([])))["response"].get("patch").is_none());
    }
}
