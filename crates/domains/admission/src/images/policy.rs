//! What an ImageValidatingPolicy says of images: which are meant, who are its attestors, and what they may say.
//! <https://kyverno.io/docs/policy-types/image-validating-policy/>

use super::{CONTAINERS, access, attestors, with_pull_secrets};
use crate::cel::{self, Fault, Outside, Program, Scope, Val};
use crate::cel_rule::{Named, ROOTS};
use crate::context::pod_spec;
use crate::image::Image;
use crate::lookup::{ImageAccess, Lookup, Place, SecretName};
use crate::refusal::{At, Read};
use crate::request::Request;
use crate::wildcard::Glob;
use keyward_signatures::{
    Attestor, CertificateLog, Identity, PublicKeySource, TransparencyLog, Trust, Wanted,
};
use serde_json::{Map, Value, json};
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::sync::Arc;

/// What a reference of an image is called where it is matched by an expression.
const OF_IMAGE: [&str; 2] = ["ref", "image"];

/// See the module.
#[derive(Debug)]
pub(crate) struct ImageRules {
    references: Vec<Reference>,
    extractors: Vec<Named>,
    attestors: Vec<Declared>,
    attestations: Vec<(String, Said)>,
    access: ImageAccess,
    mutate_digest: bool,
    verify_digest: bool,
    /// What expressions see as `attestors` and `attestations`.
    named: Value,
}

#[derive(Debug)]
enum Reference {
    Glob(Glob),
    Expression(Program),
}

/// An attestor as it is written, some of which may have to be evaluated.
#[derive(Debug)]
struct Declared {
    name: String,
    value: Value,
    expressions: Vec<(&'static str, Program)>,
}

#[derive(Clone, Debug)]
enum Said {
    InToto(String),
    Referrer(String),
}

#[derive(Clone, Debug)]
struct Signer {
    attestor: Arc<Attestor>,
    place: Place,
}

/// Where texts may be evaluated, and where the text then goes.
const EXPRESSIONS: [(&str, &str); 4] = [
    ("/cosign/key/expression", "/cosign/key/data"),
    ("/cosign/certificate/cert/expression", "/cosign/certificate/cert/value"),
    ("/cosign/certificate/certChain/expression", "/cosign/certificate/certChain/value"),
    ("/cosign/trustedRoot/expression", "/cosign/trustedRoot/value"),
];

impl ImageRules {
    pub(crate) fn compile(spec: &At<'_>, variables: &[Box<str>]) -> Read<ImageRules> {
        let names = cel::names(&ROOTS, variables);
        let references = spec.each_of("matchImageReferences", |at| {
            at.only(&["glob", "expression"])?;
            match at.get("expression") {
                Some(expression) => {
                    Ok(Reference::Expression(cel::condition(&expression, &cel::names(&OF_IMAGE, &[]))?))
                }
                None => Ok(Reference::Glob(Glob::new(at.need("glob")?.str()?))),
            }
        })?;
        let extractors = spec.each_of("images", |at| {
            at.only(&["name", "expression"])?;
            Ok((at.need("name")?.str()?.into(), cel::compile(&at.need("expression")?, &names)?))
        })?;
        let attestors = spec.each_of("attestors", |at| declared(at, variables))?;
        let attestations = spec.each_of("attestations", |at| {
            at.only(&["name", "intoto", "referrer"])?;
            let name = at.need("name")?.str()?.to_owned();
            let kind = |at: &At<'_>| Ok(at.need("type")?.str()?.to_owned());
            match (at.get("intoto"), at.get("referrer")) {
                (Some(at), None) => Ok((name, Said::InToto(kind(&at)?))),
                (None, Some(at)) => Ok((name, Said::Referrer(kind(&at)?))),
                _ => at.refuse("one of intoto and referrer is expected"),
            }
        })?;
        let configuration = spec.get("validationConfigurations");
        let flag = |key: &str| configuration.as_ref().map_or(Ok(true), |at| at.flag(key, true));
        let by_name = attestors.iter().map(|one| (one.name.clone(), one.value.clone()));
        let of_attestations = attestations.iter().map(|(name, _)| (name.clone(), json!(name)));
        let named = json!({
            "attestors": Value::Object(by_name.collect::<Map<_, _>>()),
            "attestations": Value::Object(of_attestations.collect::<Map<_, _>>()),
        });
        Ok(ImageRules {
            references,
            extractors,
            attestors,
            attestations,
            access: access(spec, "credentials")?,
            mutate_digest: flag("mutateDigest")?,
            verify_digest: flag("verifyDigest")?,
            named,
        })
    }

    /// What expressions see as `attestors` and `attestations`.
    pub(crate) fn roots(&self) -> [(&'static str, Val<'_>); 2] {
        [
            ("attestors", Val::Json(&self.named["attestors"])),
            ("attestations", Val::Json(&self.named["attestations"])),
        ]
    }

    /// The images of an object that are meant, by the lists that they stand in.
    pub(crate) fn images<'a>(
        &'a self,
        object: &Value,
        scope: &Scope<'_, 'a>,
        outside: &Outside<'_, 'a>,
    ) -> Result<Value, Fault> {
        let mut images = Map::new();
        if let Some((spec, _)) = pod_spec(object) {
            for kind in CONTAINERS {
                let listed = spec[kind].as_array().into_iter().flatten();
                let listed = listed.map(|container| container["image"].clone()).filter(Value::is_string);
                images.insert(kind.to_owned(), listed.collect());
            }
        }
        for (name, program) in &self.extractors {
            images.insert(name.to_string(), program.run(scope)?.to_json().map_err(Fault::no)?);
        }
        for list in images.values_mut() {
            let mut meant = Vec::new();
            for image in list.as_array().into_iter().flatten() {
                if let Some(text) = image.as_str()
                    && self.means(text, scope, outside)?
                {
                    meant.push(image.clone());
                }
            }
            *list = Value::Array(meant);
        }
        Ok(Value::Object(images))
    }

    fn means<'a>(
        &'a self,
        text: &str,
        scope: &Scope<'_, 'a>,
        outside: &Outside<'_, 'a>,
    ) -> Result<bool, Fault> {
        if self.references.is_empty() {
            return Ok(true);
        }
        let parsed = Image::parse(text).ok();
        let full = parsed.as_ref().map(ToString::to_string).unwrap_or_default();
        for reference in &self.references {
            let means = match reference {
                Reference::Glob(glob) => glob.matches(text) || glob.matches(&full),
                Reference::Expression(program) => {
                    let info = parsed.as_ref().map(|image| image.info("")).unwrap_or_default();
                    let kept = outside.keep(json!([text, info]));
                    let roots = [("ref", Val::Json(&kept[0]).simple()), ("image", Val::Json(&kept[1]))];
                    let scope = Scope {
                        roots: &roots,
                        variables: scope.variables,
                        host: scope.host,
                        world: scope.world,
                    };
                    program.holds(&scope)?
                }
            };
            if means {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Its attestors, with what has to be evaluated of them.
    pub(crate) fn ready<'a>(&'a self, scope: &Scope<'_, 'a>, request: &Request) -> Result<Ready<'a>, Fault> {
        let mut signers = Vec::new();
        for declared in &self.attestors {
            let mut value = declared.value.clone();
            for (place, program) in &declared.expressions {
                let found = program.run(scope)?;
                let text = found.as_str().ok_or_else(|| {
                    Fault::no(format!("{place} of the attestor {} does not yield a string", declared.name))
                })?;
                set(&mut value, place, text);
            }
            let signer = signer(&At::new(&value));
            let mut signer =
                signer.map_err(|why| Fault::no(format!("the attestor {}: {why}", declared.name)))?;
            let mut access = with_pull_secrets(&self.access, request);
            access.secrets.extend(
                signer
                    .place
                    .access
                    .secrets
                    .drain(..)
                    .map(|secret| SecretName { namespace: request.namespace_name().to_owned(), ..secret }),
            );
            signer.place.access = access;
            signers.push((declared.name.as_str(), signer));
        }
        Ok(Ready {
            rules: self,
            signers,
            access: with_pull_secrets(&self.access, request),
            seen: RefCell::default(),
        })
    }
}

fn declared(at: &At<'_>, variables: &[Box<str>]) -> Read<Declared> {
    at.only(&["name", "cosign", "notary"])?;
    let name = at.need("name")?.str()?.to_owned();
    let mut expressions = Vec::new();
    let mut value = at.value.clone();
    for (from, to) in EXPRESSIONS {
        if let Some(text) = at.value.pointer(from).and_then(Value::as_str) {
            let program = Program::parse(text, &cel::names(&ROOTS, variables));
            expressions.push((to, program.or_else(|why| at.refuse(format_args!("{why}, in: {text}")))?));
            // Something has to stand there for the rest to be judged.
            set(&mut value, to, "{{ }}");
        }
    }
    let judged = At::new(&value);
    signer(&judged).or_else(|refusal| at.refuse(refusal))?;
    Ok(Declared { name, value: at.value.clone(), expressions })
}

/// Puts a text at a place, making what is above it.
fn set(value: &mut Value, place: &str, text: &str) {
    let mut current = value;
    for step in place.split('/').skip(1) {
        current = &mut current[step];
    }
    *current = Value::from(text);
}

fn signer(at: &At<'_>) -> Read<Signer> {
    if at.get("notary").is_some() {
        return at.refuse(
            "signatures of Notary are not verified: sign with cosign, or leave this to who verifies them",
        );
    }
    let cosign = at.need("cosign")?;
    cosign.only(&[
        "key",
        "keyless",
        "certificate",
        "source",
        "ctlog",
        "tuf",
        "annotations",
        "trustedRoot",
    ])?;
    let trust = if let Some(key) = cosign.get("key") {
        of_key(&key)?
    } else if let Some(keyless) = cosign.get("keyless") {
        of_keyless(&keyless)?
    } else if let Some(certificate) = cosign.get("certificate") {
        certificate.only(&["cert", "certChain"])?;
        let (own, chain) = (value_of(&certificate, "cert")?, value_of(&certificate, "certChain")?);
        if own.is_empty() && chain.is_empty() {
            return certificate.refuse("cert or certChain is missing");
        }
        Trust::Certificate { certificate: own, chain }
    } else {
        return cosign.refuse("one of key, keyless and certificate is expected");
    };
    let (mut log, mut certificate_log) = (TransparencyLog::default(), CertificateLog::default());
    if let Some(ctlog) = cosign.get("ctlog") {
        ctlog.only(&[
            "url",
            "rekorPubKey",
            "ctLogPubKey",
            "tsaCertChain",
            "insecureIgnoreTlog",
            "insecureIgnoreSCT",
        ])?;
        log.ignored = ctlog.flag("insecureIgnoreTlog", false)?;
        ctlog.text("rekorPubKey")?.clone_into(&mut log.keys);
        certificate_log.ignored = ctlog.flag("insecureIgnoreSCT", false)?;
        ctlog.text("ctLogPubKey")?.clone_into(&mut certificate_log.keys);
    }
    if let Some(tuf) = cosign.get("tuf") {
        return tuf
            .refuse("nothing is fetched to verify signatures: give the trusted root itself, as trustedRoot");
    }
    let mut place = Place { cached: true, ..Place::default() };
    if let Some(source) = cosign.get("source") {
        source.only(&["repository", "PullSecrets", "tagPrefix"])?;
        source.text("repository")?.clone_into(&mut place.repository);
        source.text("tagPrefix")?.clone_into(&mut place.tag_prefix);
        place.access.secrets = source.each_of("PullSecrets", |at| {
            let name = at.need("name")?.str()?.to_owned();
            Ok(SecretName { namespace: String::new(), name, optional: false })
        })?;
    }
    let annotations = attestors::texts(&cosign, "annotations")?;
    let trusted_root = value_of(&cosign, "trustedRoot")?;
    let attestor = Arc::new(Attestor { trust, annotations, log, certificate_log, trusted_root });
    Ok(Signer { attestor, place })
}

/// A text, or the value of one that may also be an expression.
fn value_of(at: &At<'_>, key: &str) -> Read<String> {
    let Some(inner) = at.get(key) else { return Ok(String::new()) };
    match inner.value.as_str() {
        Some(text) => Ok(text.to_owned()),
        None => {
            inner.only(&["value", "expression"])?;
            Ok(inner.text("value")?.to_owned())
        }
    }
}

fn of_key(at: &At<'_>) -> Read<Trust> {
    at.only(&["data", "kms", "hashAlgorithm", "expression"])?;
    let hash = at.text("hashAlgorithm")?.to_owned();
    let (data, kms) = (at.text("data")?, at.text("kms")?);
    let key = match kms.strip_prefix("k8s://").and_then(|reference| reference.split_once('/')) {
        Some((namespace, name)) => {
            PublicKeySource::Secret { namespace: namespace.to_owned(), name: name.to_owned() }
        }
        None if !kms.is_empty() => {
            return at.refuse(
                "keys of a KMS are not asked for: give the public key itself, or a Secret that has it",
            );
        }
        None if data.is_empty() => return at.refuse("data is missing"),
        None => PublicKeySource::Pem(data.to_owned()),
    };
    Ok(Trust::Key { key, hash })
}

fn of_keyless(at: &At<'_>) -> Read<Trust> {
    at.only(&["identities", "roots"])?;
    let identities = at.each_of("identities", |at| {
        at.only(&["issuer", "subject", "issuerRegExp", "subjectRegExp"])?;
        let wanted = |text: &str, pattern: &str| -> Read<Wanted> {
            Ok(match (at.text(text)?, at.text(pattern)?) {
                ("", "") => Wanted::Anything,
                ("", pattern) => Wanted::Pattern(pattern.to_owned()),
                (text, _) => Wanted::Text(text.to_owned()),
            })
        };
        Ok(Identity {
            issuer: wanted("issuer", "issuerRegExp")?,
            subject: wanted("subject", "subjectRegExp")?,
        })
    })?;
    if identities.is_empty() {
        return at.refuse("identities are missing: anybody could sign");
    }
    Ok(Trust::Keyless { roots: at.text("roots")?.to_owned(), identities, extensions: BTreeMap::new() })
}

/// What functions of images know while a policy is evaluated.
pub(crate) struct Ready<'a> {
    rules: &'a ImageRules,
    signers: Vec<(&'a str, Signer)>,
    access: ImageAccess,
    seen: RefCell<Seen<'a>>,
}

/// What they have found out.
#[derive(Default)]
struct Seen<'a> {
    /// By image.
    digests: BTreeMap<String, String>,
    /// By image and name of the attestation: what was verified.
    statements: BTreeMap<(String, String), &'a Value>,
    denied: Vec<String>,
}

impl<'a> Ready<'a> {
    pub(crate) fn access(&self) -> ImageAccess {
        self.access.clone()
    }

    /// How many of the attestors signed an image, or an attestation of it.
    pub(crate) fn count(
        &self,
        outside: &Outside<'_, 'a>,
        scope: &Scope<'_, 'a>,
        image: &str,
        attestation: Option<&str>,
        attestors: &Val<'a>,
    ) -> Result<i64, Fault> {
        if !self.rules.means(image, scope, outside)? {
            return Ok(0);
        }
        let kind = attestation.map(|name| self.intoto(name)).transpose()?;
        let listed = attestors.items().ok_or_else(|| Fault::no("a list of attestors is expected"))?;
        let (mut count, mut lacking) = (0, false);
        for attestor in listed {
            let name = attestor.field("name");
            let name = name.as_ref().and_then(Val::as_str).or_else(|| attestor.as_str()).unwrap_or_default();
            let known = self.signers.iter().find(|(known, _)| *known == name);
            let (_, signer) =
                known.ok_or_else(|| Fault::no(format!("attestor not found in policy: {name}")))?;
            match self.ask(outside, image, signer, attestation.zip(kind)) {
                Ok(None) => count += 1,
                Ok(Some(why)) => {
                    self.seen.borrow_mut().denied.push(format!("{image}: attestor {name}: {why}"));
                }
                Err(Fault::Lacking) => lacking = true,
                Err(Fault::No(why)) => {
                    return Err(Fault::no(format!("failed to verify image {image}: attestor {name}: {why}")));
                }
                Err(why) => return Err(why),
            }
        }
        if lacking { Err(Fault::Lacking) } else { Ok(count) }
    }

    /// What is wrong, if anything is.
    fn ask(
        &self,
        outside: &Outside<'_, 'a>,
        image: &str,
        signer: &Signer,
        attestation: Option<(&str, &str)>,
    ) -> Result<Option<String>, Fault> {
        let (reference, attestor, place) = (full(image)?, signer.attestor.clone(), signer.place.clone());
        let answer = outside.ask(&match attestation {
            None => Lookup::Signatures { image: reference, attestor, place },
            Some(_) => Lookup::Attestations { image: reference, attestor, place },
        })?;
        if let Some(why) = answer["denied"].as_str() {
            return Ok(Some(why.to_owned()));
        }
        let mut seen = self.seen.borrow_mut();
        let digest = answer["digest"].as_str().unwrap_or_default();
        if seen.digests.get(image).is_some_and(|first| first != digest) {
            return Err(Fault::no("its tag was moved while it was verified"));
        }
        seen.digests.insert(image.to_owned(), digest.to_owned());
        if let Some((name, kind)) = attestation {
            let mut statements = answer["statements"].as_array().into_iter().flatten();
            let Some(statement) = statements.find(|statement| statement["predicateType"] == kind) else {
                return Ok(Some(format!("required predicate type {kind} not found")));
            };
            seen.statements.insert((image.to_owned(), name.to_owned()), statement);
        }
        Ok(None)
    }

    fn intoto(&self, name: &str) -> Result<&str, Fault> {
        match self.said(name)? {
            Said::InToto(kind) => Ok(kind),
            Said::Referrer(_) => Err(Fault::no(format!(
                "the attestation {name} is a referrer, whose signatures are those of Notary: they are not verified"
            ))),
        }
    }

    fn said(&self, name: &str) -> Result<&Said, Fault> {
        let found = self.rules.attestations.iter().find(|(known, _)| known == name);
        found
            .map(|(_, said)| said)
            .ok_or_else(|| Fault::no(format!("attestation not found in policy: {name}")))
    }

    /// What is attested of an image: a statement that was verified, or an artifact that anybody may have attached.
    pub(crate) fn payload(
        &self,
        outside: &Outside<'_, 'a>,
        image: &str,
        name: &str,
    ) -> Result<&'a Value, Fault> {
        match self.said(name)? {
            Said::InToto(_) => {
                let known = self.seen.borrow().statements.get(&(image.to_owned(), name.to_owned())).copied();
                known.ok_or_else(|| {
                    Fault::no(format!(
                        "{name} of {image} was not verified: call verifyAttestationSignatures() before"
                    ))
                })
            }
            Said::Referrer(kind) => outside.ask(&Lookup::Referrer {
                image: full(image)?,
                artifact_type: kind.clone(),
                access: self.access.clone(),
            }),
        }
    }

    /// Why attestors did not count.
    pub(crate) fn reasons(&self) -> Vec<String> {
        self.seen.borrow().denied.clone()
    }

    /// The object with the digests of what was verified; or which image has none and is to have one.
    pub(crate) fn with_digests(&self, request: &Request) -> Result<Option<Value>, String> {
        let object = request.new_object();
        let Some((spec, pointer)) = pod_spec(object) else { return Ok(None) };
        let seen = self.seen.borrow();
        let mut changed: Option<Value> = None;
        for kind in CONTAINERS {
            for (index, container) in spec[kind].as_array().into_iter().flatten().enumerate() {
                let text = container["image"].as_str().unwrap_or_default();
                let (Some(digest), Ok(parsed)) = (seen.digests.get(text), Image::parse(text)) else {
                    continue;
                };
                if !parsed.digest.is_empty() {
                    continue;
                }
                if self.rules.mutate_digest {
                    let place = format!("{pointer}/{kind}/{index}/image");
                    let object = changed.get_or_insert_with(|| object.clone());
                    super::put(object, &place, format!("{parsed}@{digest}"));
                } else if self.rules.verify_digest {
                    return Err(format!("missing digest for {parsed}"));
                }
            }
        }
        Ok(changed)
    }
}

fn full(image: &str) -> Result<String, Fault> {
    Image::parse(image).map(|image| image.to_string()).map_err(Fault::no)
}
