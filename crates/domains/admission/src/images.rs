//! `verifyImages`: which images are to be signed, by whom. The signatures themselves are checked outside: what is asked for is a
//! verdict on one image by one entry of the rule.

use crate::context::{Frame, pod_spec};
use crate::image::Image;
use crate::jmespath::Error;
use crate::lookup::Lookup;
use crate::outcome::{RuleKind, RuleOutcome, Status};
use crate::refusal::{At, Read};
use crate::wildcard::Glob;
use serde_json::Value;
use std::sync::Arc;

#[derive(Debug)]
pub(crate) struct VerifyImages {
    references: Vec<Glob>,
    skip: Vec<Glob>,
    /// Someone has to have signed it, or said something of it.
    signed: bool,
    required: bool,
    verify_digest: bool,
    mutate_digest: bool,
    rule: Value,
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
    "validate",
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
        let some = |key: &str| at.value[key].as_array().is_some_and(|list| !list.is_empty());
        Ok(VerifyImages {
            references,
            skip: globs("skipImageReferences")?,
            signed: some("attestors") || some("attestations") || at.get("key").is_some(),
            required: at.flag("required", true)?,
            verify_digest: at.flag("verifyDigest", true)?,
            mutate_digest: at.flag("mutateDigest", true)?,
            rule: at.value.clone(),
        })
    }

    fn covers(&self, image: &str) -> bool {
        let full = Image::parse(image).map(|image| image.to_string()).unwrap_or_default();
        let among = |globs: &[Glob]| globs.iter().any(|glob| glob.matches(image) || glob.matches(&full));
        among(&self.references) && !among(&self.skip)
    }

    /// What entries say about the images of an object, and the object with their digests.
    pub(crate) fn decide(
        entries: &[VerifyImages],
        rule: &Arc<str>,
        frame: &Frame<'_>,
    ) -> Result<(Option<RuleOutcome>, Option<Value>), Error> {
        let said =
            |status, why: String| Some(RuleOutcome::new(rule, RuleKind::ImageVerification, status, why));
        let object = frame.request.object();
        let Some((spec, pointer)) = pod_spec(object) else { return Ok((None, None)) };
        let (mut seen, mut changed) = (0, None);
        for kind in ["initContainers", "containers", "ephemeralContainers"] {
            for (index, container) in spec[kind].as_array().into_iter().flatten().enumerate() {
                let Some(image) = container["image"].as_str() else { continue };
                for entry in entries.iter().filter(|entry| entry.covers(image)) {
                    seen += 1;
                    match entry.verify(image, frame)? {
                        Err(why) => return Ok((said(Status::Fail, why), None)),
                        Ok(None) => {}
                        Ok(Some(full)) => {
                            let place = format!("{pointer}/{kind}/{index}/image");
                            let object = changed.get_or_insert_with(|| object.clone());
                            if let Some(place) = object.pointer_mut(&place) {
                                *place = Value::from(full);
                            }
                        }
                    }
                }
            }
        }
        match seen {
            0 => Ok((said(Status::Skip, "no image is meant by the rule".to_owned()), None)),
            _ => Ok((said(Status::Pass, format!("{seen} images verified")), changed)),
        }
    }

    /// The reference to put in its place, if any; or what is wrong with it.
    fn verify(&self, image: &str, frame: &Frame<'_>) -> Result<Result<Option<String>, String>, Error> {
        let parsed = match Image::parse(image) {
            Ok(parsed) => parsed,
            Err(why) => return Ok(Err(why)),
        };
        if !self.signed {
            if self.required {
                return Ok(Err(format!("unverified image {parsed}")));
            }
            let missing = self.verify_digest && parsed.digest.is_empty();
            return Ok(if missing { Err(format!("missing digest for {parsed}")) } else { Ok(None) });
        }
        let question = Lookup::Signatures { image: parsed.to_string(), rule: self.rule.clone() };
        let verdict = match frame.ask(&question) {
            Ok(verdict) => verdict.into_value(),
            Err(Error::Fault(why)) => return Ok(Err(format!("failed to verify image {parsed}: {why}"))),
            Err(why) => return Err(why),
        };
        match verdict["digest"].as_str() {
            Some(digest) if self.mutate_digest && parsed.digest.is_empty() => {
                Ok(Ok(Some(format!("{image}@{digest}"))))
            }
            _ => Ok(Ok(None)),
        }
    }
}
