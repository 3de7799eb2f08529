//! `verifyImages`: which images are to be signed, by whom, and what is to be said of them. Signatures are looked for outside: what
//! is asked is whether one attestor signed one image. How many must have, and what they must say, is decided here.
//! <https://kyverno.io/docs/policy-types/cluster-policy/verify-images/>

mod attestors;
mod policy;

pub(crate) use policy::{ImageRules, Ready};

use crate::condition::Conditions;
use crate::context::{Frame, pod_spec};
use crate::image::Image;
use crate::jmespath::{Error, Val};
use crate::lookup::{ImageAccess, Lookup, Place, SecretName};
use crate::outcome::{Action, RuleKind, RuleOutcome, Status};
use crate::refusal::{At, Read};
use crate::request::{Operation, Request};
use crate::template::Template;
use crate::wildcard::Glob;
use attestors::{Entry, One, Set};
use serde_json::{Value, json};
use std::borrow::Cow;
use std::cell::RefCell;
use std::sync::Arc;

/// Where it is noted which images were verified. Nothing is decided by it: whoever makes an object could write it.
const ANNOTATION: &str = "kyverno.io/verify-images";
/// Fields of a predicate that conditions may name.
const FIELDS: usize = 1_000;
pub(crate) const CONTAINERS: [&str; 3] = ["initContainers", "containers", "ephemeralContainers"];

#[derive(Debug)]
pub(crate) struct VerifyImages {
    references: Vec<Glob>,
    skip: Vec<Glob>,
    required: bool,
    verify_digest: bool,
    mutate_digest: bool,
    pub(crate) action: Option<Action>,
    place: Place,
    wanted: Source,
    /// What is to hold of each attestation, in their order.
    conditions: Vec<Option<Conditions>>,
}

/// Who is to have signed, read as soon as its variables are known.
#[derive(Debug)]
enum Source {
    Fixed(Wanted),
    Template(Template),
}

#[derive(Clone, Debug)]
struct Wanted {
    attestors: Vec<Set>,
    attestations: Vec<(String, Vec<Set>)>,
    repository: String,
}

impl Wanted {
    fn is_nothing(&self) -> bool {
        self.attestors.is_empty() && self.attestations.is_empty()
    }
}

const ENTRY: [&str; 20] = [
    "type",
    "failureAction",
    "imageReferences",
    "skipImageReferences",
    "attestors",
    "attestations",
    "repository",
    "mutateDigest",
    "verifyDigest",
    "cosignOCI11",
    "required",
    "imageRegistryCredentials",
    "useCache",
    "image",
    "key",
    "annotations",
    "issuer",
    "subject",
    "roots",
    "additionalExtensions",
];

/// What is known of one image.
enum Judged {
    /// With this digest.
    Signed(String),
    /// Nobody signed it.
    Denied(String),
    /// It could not be found out.
    Unknown(String),
    /// It has to be found out first.
    Lacking,
}

/// The images of a pod's containers that a rule is about, and where they stand.
struct Found<'o> {
    text: &'o str,
    place: String,
    unchanged: bool,
}

impl VerifyImages {
    pub(crate) fn compile(at: &At<'_>) -> Read<VerifyImages> {
        at.only(&ENTRY)?;
        let globs =
            |key: &str| -> Read<Vec<Glob>> { Ok(at.texts(key)?.into_iter().map(Glob::new).collect()) };
        let mut references = globs("imageReferences")?;
        let image = at.text("image")?;
        if !image.is_empty() {
            references.push(Glob::new(image));
        }
        if references.is_empty() {
            return at.refuse("imageReferences is missing");
        }
        let only_bundles = match at.text("type")? {
            "" | "Cosign" => false,
            "SigstoreBundle" => true,
            "Notary" => {
                return at.need("type")?.refuse(
                    "signatures of Notary are not verified: sign with cosign, or leave this rule to who verifies them",
                );
            }
            other => {
                let hint = crate::nearest::hint(other, ["Cosign", "SigstoreBundle", "Notary"]);
                return at.need("type")?.refuse(format_args!("there is no type {other}{hint}"));
            }
        };
        let conditions = at.each_of("attestations", |at| {
            at.only(&["name", "predicateType", "type", "attestors", "conditions"])?;
            at.get("conditions").map(|at| Conditions::compile(&at)).transpose()
        })?;
        // Conditions have variables of what is attested, which is not known before.
        let mut signers = at.value.clone();
        for attestation in signers["attestations"].as_array_mut().into_iter().flatten() {
            if let Some(attestation) = attestation.as_object_mut() {
                attestation.remove("conditions");
            }
        }
        // What cannot mean anything is refused here, at its place; variables stand for what they may become.
        let wanted = wanted(at)?;
        let wanted = match Template::compile(&At::new(&signers))? {
            template if template.fixed().is_some() => Source::Fixed(wanted),
            template => Source::Template(template),
        };
        Ok(VerifyImages {
            references,
            skip: globs("skipImageReferences")?,
            required: at.flag("required", true)?,
            verify_digest: at.flag("verifyDigest", true)?,
            mutate_digest: at.flag("mutateDigest", true)?,
            action: at.get("failureAction").map(|at| crate::cluster_policy::action(&at)).transpose()?,
            place: Place {
                only_bundles,
                access: access(at, "imageRegistryCredentials")?,
                cached: at.flag("useCache", true)?,
                ..Place::default()
            },
            wanted,
            conditions,
        })
    }

    fn covers(&self, image: &str) -> bool {
        let full = Image::parse(image).map(|image| image.to_string()).unwrap_or_default();
        let among = |globs: &[Glob]| globs.iter().any(|glob| glob.matches(image) || glob.matches(&full));
        among(&self.references) && !among(&self.skip)
    }

    /// What entries say about the images of an object, and the object with their digests.
    pub(crate) fn decide<'a>(
        entries: &'a [VerifyImages],
        rule: &Arc<str>,
        frame: &Frame<'a>,
    ) -> Result<(Option<RuleOutcome>, Option<Value>), Error> {
        let said =
            |status, why: String| Some(RuleOutcome::new(rule, RuleKind::ImageVerification, status, why));
        let request = frame.request;
        let object = request.object();
        let images = found(request);
        if annotation_changed(request) {
            let why = format!("{ANNOTATION} annotation cannot be changed");
            return Ok((said(Status::Fail, why), None));
        }
        let (mut seen, mut lacking, mut kept) = (0, false, 0);
        let mut changed: Option<Value> = None;
        let mut verified = Vec::new();
        for image in images {
            for entry in entries.iter().filter(|entry| entry.covers(image.text)) {
                seen += 1;
                if image.unchanged {
                    kept += 1;
                    continue;
                }
                let why = match entry.verify(image.text, frame)? {
                    Verdict::Lacking => {
                        lacking = true;
                        continue;
                    }
                    Verdict::Not(status, why) => return Ok((said(status, why), None)),
                    Verdict::Good { reference, signed } => {
                        let now = reference.as_deref().unwrap_or(image.text).to_owned();
                        if let Some(reference) = reference {
                            put(changed.get_or_insert_with(|| object.clone()), &image.place, reference);
                        }
                        signed.then_some(now)
                    }
                };
                verified.extend(why);
            }
        }
        if lacking {
            return Err(Error::Lacking);
        }
        if !verified.is_empty() {
            note(changed.get_or_insert_with(|| object.clone()), &verified);
        }
        Ok(match (seen, kept) {
            (0, _) => (said(Status::Skip, "no image is meant by the rule".to_owned()), None),
            (seen, kept) if seen == kept => {
                (said(Status::Pass, "no image has changed since it was verified".to_owned()), None)
            }
            _ => (said(Status::Pass, format!("{} images verified", seen - kept)), changed),
        })
    }

    fn verify<'a>(&'a self, image: &str, frame: &Frame<'a>) -> Result<Verdict, Error> {
        let parsed = match Image::parse(image) {
            Ok(parsed) => parsed,
            Err(why) => return Ok(Verdict::Not(Status::Fail, why)),
        };
        let wanted = match &self.wanted {
            Source::Fixed(wanted) => Cow::Borrowed(wanted),
            Source::Template(template) => {
                let value = template.render(&frame.view())?;
                Cow::Owned(wanted(&At::new(&value)).map_err(|refusal| Error::Fault(refusal.to_string()))?)
            }
        };
        if wanted.is_nothing() {
            if self.required {
                return Ok(Verdict::Not(Status::Fail, format!("unverified image {parsed}")));
            }
            let missing = self.verify_digest && parsed.digest.is_empty();
            return Ok(match missing {
                true => Verdict::Not(Status::Fail, format!("missing digest for {parsed}")),
                false => Verdict::Good { reference: None, signed: false },
            });
        }
        let digest = RefCell::default();
        let asking = Asking { image: parsed.to_string(), digest, entry: self, wanted: &wanted, frame };
        let mut digest = String::new();
        for judged in [asking.attestors(), asking.attestations()?].into_iter().flatten() {
            match judged {
                Judged::Signed(found) => digest = found,
                Judged::Denied(why) => return Ok(Verdict::Not(Status::Fail, why)),
                Judged::Unknown(why) => return Ok(Verdict::Not(Status::Error, why)),
                Judged::Lacking => return Ok(Verdict::Lacking),
            }
        }
        if !parsed.digest.is_empty() {
            return Ok(Verdict::Good { reference: None, signed: true });
        }
        match (self.mutate_digest, self.verify_digest) {
            (true, _) => Ok(Verdict::Good { reference: Some(format!("{parsed}@{digest}")), signed: true }),
            (false, true) => Ok(Verdict::Not(Status::Fail, format!("missing digest for {parsed}"))),
            (false, false) => Ok(Verdict::Good { reference: None, signed: true }),
        }
    }
}

/// What comes of one image and one entry.
enum Verdict {
    Good {
        /// What is to stand in the image's place.
        reference: Option<String>,
        /// Somebody has signed it.
        signed: bool,
    },
    Not(Status, String),
    Lacking,
}

/// One image, and who is asked for.
struct Asking<'v, 'f, 'a> {
    image: String,
    /// What was answered first: all are to have signed the same.
    digest: RefCell<String>,
    entry: &'a VerifyImages,
    wanted: &'v Wanted,
    frame: &'f Frame<'a>,
}

impl Asking<'_, '_, '_> {
    fn place(&self, one: &One) -> Place {
        let repository = if one.repository.is_empty() { &self.wanted.repository } else { &one.repository };
        Place {
            repository: repository.clone(),
            access: with_pull_secrets(&self.entry.place.access, self.frame.request),
            ..self.entry.place.clone()
        }
    }

    fn failed(&self, why: &str) -> String {
        format!("failed to verify image {}: {why}", self.image)
    }

    /// None where no attestor is asked for.
    fn attestors(&self) -> Option<Judged> {
        let mut last = None;
        for (index, set) in self.wanted.attestors.iter().enumerate() {
            let judged = self.set(set, &format!(".attestors[{index}]"), &mut |one| self.signatures(one));
            match judged {
                Judged::Signed(_) => last = Some(judged),
                Judged::Denied(why) => return Some(Judged::Denied(self.failed(&why))),
                Judged::Unknown(why) => return Some(Judged::Unknown(self.failed(&why))),
                Judged::Lacking => return Some(Judged::Lacking),
            }
        }
        last
    }

    fn signatures(&self, one: &One) -> Judged {
        let question = Lookup::Signatures {
            image: self.image.clone(),
            attestor: one.attestor.clone(),
            place: self.place(one),
        };
        self.ask(&question).map_or_else(|judged| judged, |answer| Judged::Signed(digest(&answer)))
    }

    /// The answer to a question; or what is known instead.
    fn ask(&self, question: &Lookup) -> Result<Value, Judged> {
        match self.frame.ask(question) {
            Ok(answer) => {
                let answer = answer.into_value();
                if let Some(why) = answer["denied"].as_str() {
                    return Err(Judged::Denied(why.to_owned()));
                }
                let (found, mut first) = (digest(&answer), self.digest.borrow_mut());
                if first.is_empty() {
                    first.clone_from(&found);
                }
                match *first == found {
                    true => Ok(answer),
                    false => Err(Judged::Unknown("its tag was moved while it was verified".to_owned())),
                }
            }
            Err(Error::Lacking) => Err(Judged::Lacking),
            Err(why) => Err(Judged::Unknown(why.to_string())),
        }
    }

    /// Whether as many entries of a set are met as must be. What is not known counts only where it matters.
    fn set(&self, set: &Set, path: &str, judge: &mut dyn FnMut(&One) -> Judged) -> Judged {
        let mut met = 0;
        let (mut why, mut unknown, mut lacking) = (Vec::new(), false, false);
        for (index, entry) in set.entries.iter().enumerate() {
            let path = format!("{path}.entries[{index}]");
            let (judged, path) = match entry {
                Entry::Nested(set) => (self.set(set, &format!("{path}.attestor"), judge), None),
                Entry::One(one) => (judge(one), Some(format!("{path}.{}: ", one.kind))),
            };
            let path = path.unwrap_or_default();
            match judged {
                Judged::Signed(digest) => {
                    met += 1;
                    if met >= set.count {
                        return Judged::Signed(digest);
                    }
                }
                Judged::Denied(reason) => why.push(format!("{path}{reason}")),
                Judged::Unknown(reason) => {
                    unknown = true;
                    why.push(format!("{path}{reason}"));
                }
                Judged::Lacking => lacking = true,
            }
        }
        match (lacking, unknown) {
            (true, _) => Judged::Lacking,
            (false, true) => Judged::Unknown(why.join("; ")),
            (false, false) => Judged::Denied(why.join("; ")),
        }
    }

    fn attestations(&self) -> Result<Option<Judged>, Error> {
        let mut last = None;
        for (index, (kind, sets)) in self.wanted.attestations.iter().enumerate() {
            let conditions = self.entry.conditions.get(index).and_then(Option::as_ref);
            for (at, set) in sets.iter().enumerate() {
                let path = format!(".attestations[{index}].attestors[{at}]");
                let mut fault = None;
                let judged = self.set(set, &path, &mut |one| {
                    self.statements(one, kind, conditions).unwrap_or_else(|why| {
                        fault = Some(why);
                        Judged::Lacking
                    })
                });
                if let Some(why) = fault {
                    return Err(why);
                }
                match judged {
                    Judged::Signed(_) => last = Some(judged),
                    Judged::Denied(why) => return Ok(Some(Judged::Denied(self.failed(&why)))),
                    Judged::Unknown(why) => return Ok(Some(Judged::Unknown(self.failed(&why)))),
                    Judged::Lacking => return Ok(Some(Judged::Lacking)),
                }
            }
        }
        Ok(last)
    }

    /// Whether an attestor says what it is to say, and nothing of the same kind that does not fit.
    fn statements(&self, one: &One, kind: &str, conditions: Option<&Conditions>) -> Result<Judged, Error> {
        let question = Lookup::Attestations {
            image: self.image.clone(),
            attestor: one.attestor.clone(),
            place: self.place(one),
        };
        let answer = match self.ask(&question) {
            Ok(answer) => answer,
            Err(judged) => return Ok(judged),
        };
        let digest = digest(&answer);
        let answer = self.frame.arena.alloc(answer);
        let statements = answer["statements"].as_array().into_iter().flatten();
        let mut of_kind = statements.filter(|statement| statement["predicateType"] == kind).peekable();
        if of_kind.peek().is_none() {
            return Ok(Judged::Denied(format!("attestations not found for predicate type {kind}")));
        }
        let Some(conditions) = conditions else { return Ok(Judged::Signed(digest)) };
        for statement in of_kind {
            let mark = self.frame.mark();
            for (name, value) in statement["predicate"].as_object().into_iter().flatten().take(FIELDS) {
                self.frame.bind(name, Val::Ref(value));
            }
            let held = conditions.hold(&self.frame.view());
            self.frame.forget(mark);
            let (held, messages) = held?;
            if !held {
                let why = messages.join("; ");
                let image = &self.image;
                return Ok(Judged::Denied(format!(
                    "attestation checks failed for {image} and predicate {kind}: {why}"
                )));
            }
        }
        Ok(Judged::Signed(digest))
    }
}

fn digest(answer: &Value) -> String {
    answer["digest"].as_str().unwrap_or_default().to_owned()
}

/// Who is to have signed, and what they are to say.
fn wanted(at: &At<'_>) -> Read<Wanted> {
    let annotations = attestors::texts(at, "annotations")?;
    let mut attestors = attestors::sets(at, "attestors", &annotations)?;
    let old = attestors::of_old_fields(at)?;
    let attestations = at.each_of("attestations", |at| {
        let kind = match at.text("type")? {
            "" => at.text("predicateType")?,
            kind => kind,
        };
        if kind.is_empty() {
            return at.refuse("type is missing");
        }
        let mut sets = attestors::sets(at, "attestors", &annotations)?;
        sets.extend(old.clone());
        if sets.is_empty() {
            return at.refuse("attestors are missing: anybody could say it");
        }
        Ok((kind.to_owned(), sets))
    })?;
    if attestations.is_empty() {
        attestors.extend(old);
    }
    Ok(Wanted { attestors, attestations, repository: at.text("repository")?.to_owned() })
}

/// How the registry is asked, by what a policy says of credentials.
pub(crate) fn access(at: &At<'_>, key: &str) -> Read<ImageAccess> {
    let Some(at) = at.get(key) else { return Ok(ImageAccess::default()) };
    at.only(&["allowInsecureRegistry", "providers", "secrets"])?;
    let secret = |text: &str| {
        let (namespace, name) = text.split_once('/').unwrap_or(("", text));
        SecretName { namespace: namespace.to_owned(), name: name.to_owned(), optional: false }
    };
    Ok(ImageAccess {
        insecure: at.flag("allowInsecureRegistry", false)?,
        secrets: at.texts("secrets")?.into_iter().map(secret).collect(),
    })
}

/// With the Secrets by which the pod's images are pulled.
pub(crate) fn with_pull_secrets(access: &ImageAccess, request: &Request) -> ImageAccess {
    let mut access = access.clone();
    let namespace = request.namespace_name();
    let listed = pod_spec(request.object()).and_then(|(spec, _)| spec["imagePullSecrets"].as_array());
    let names = listed.into_iter().flatten().filter_map(|secret| secret["name"].as_str());
    access.secrets.extend(names.filter(|_| !namespace.is_empty()).map(|name| SecretName {
        namespace: namespace.to_owned(),
        name: name.to_owned(),
        optional: true,
    }));
    access
}

/// The images of an object's containers. Those that stood there before a change need not be verified again.
fn found(request: &Request) -> Vec<Found<'_>> {
    let object = request.object();
    let Some((spec, pointer)) = pod_spec(object) else { return Vec::new() };
    let before = (request.operation == Operation::Update).then(|| request.old_object());
    let mut images = Vec::new();
    for kind in CONTAINERS {
        for (index, container) in spec[kind].as_array().into_iter().flatten().enumerate() {
            let Some(text) = container["image"].as_str() else { continue };
            let place = format!("{pointer}/{kind}/{index}/image");
            let unchanged = before.is_some_and(|before| before.pointer(&place) == Some(&container["image"]));
            images.push(Found { text, place, unchanged });
        }
    }
    images
}

/// The object with another image.
fn put(object: &mut Value, place: &str, reference: String) {
    if let Some(place) = object.pointer_mut(place) {
        *place = Value::from(reference);
    }
}

fn noted(object: &Value) -> serde_json::Map<String, Value> {
    let text = object["metadata"]["annotations"][ANNOTATION].as_str().unwrap_or_default();
    serde_json::from_str(text).unwrap_or_default()
}

/// Whether a change says something else of an image than was noted.
fn annotation_changed(request: &Request) -> bool {
    if request.operation != Operation::Update || request.old_object().is_null() {
        return false;
    }
    let (before, now) = (noted(request.old_object()), noted(request.new_object()));
    before.iter().any(|(image, verdict)| now.get(image).is_some_and(|other| other != verdict))
}

/// Notes in the object that images were verified.
fn note(object: &mut Value, images: &[String]) {
    let mut noted = noted(object);
    noted.extend(images.iter().map(|image| (image.clone(), json!("pass"))));
    let text = Value::Object(noted).to_string();
    if !object["metadata"]["annotations"].is_object() {
        object["metadata"]["annotations"] = json!({});
    }
    object["metadata"]["annotations"][ANNOTATION] = Value::from(text);
}

#[cfg(test)]
mod tests;
