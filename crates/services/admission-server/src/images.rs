//! What policies ask of images: whether somebody signed one, what they say of it, and what a registry knows of it. Registries are
//! asked, and what they have is verified ([`keyward_signatures`]).
//!
//! That somebody signed a digest stays true, and is kept for an hour; that nobody did may change any moment. Which digest a tag names
//! is asked anew after seconds.

mod evidence;
mod kept;
mod secrets;

pub use keyward_registry::Keychain;
pub use secrets::{Reading, Secrets};

use evidence::Evidence;
use kept::{Kept, Key};
use keyward_admission::{ImageAccess, Lookup, Place};
use keyward_registry::{Error, Manifest, Registry, Repository, Session};
use keyward_signatures::{Artifact, Attestor, Digest, Verifier};
use serde_json::{Value, json};
use std::sync::Arc;
use tokio::sync::Semaphore;

/// Questions that are under way at a time, of all registries.
const AT_ONCE: usize = 32;
/// The platform whose configuration stands for an image of many.
const PLATFORM: (&str, &str) = ("linux", "amd64");

/// See the module.
pub struct Images {
    registry: Registry,
    kept: Kept,
    places: Semaphore,
}

impl Default for Images {
    fn default() -> Images {
        Images { registry: Registry::new(), kept: Kept::default(), places: Semaphore::new(AT_ONCE) }
    }
}

/// Where an image is.
struct Located {
    repository: Repository,
    /// Its tag or digest.
    reference: String,
}

impl Located {
    fn parse(image: &str) -> Result<Located, String> {
        let bad = || format!("{image} names no image of a registry");
        let (name, reference) = match image.split_once('@') {
            Some((name, digest)) => (name, digest),
            None => {
                let at = image.rfind(':').filter(|at| !image[*at..].contains('/')).ok_or_else(bad)?;
                (&image[..at], &image[at + 1..])
            }
        };
        let repository = Repository::parse(name).ok_or_else(bad)?;
        Ok(Located { repository, reference: reference.to_owned() })
    }
}

/// Why there is no answer: what is definite denies, and the rest is to be asked again.
enum Failed {
    Denied(String),
    Unknown(String),
}

impl From<Error> for Failed {
    fn from(why: Error) -> Failed {
        match why {
            Error::Unreachable(why) => Failed::Unknown(why),
            why => Failed::Denied(why.to_string()),
        }
    }
}

impl Images {
    /// The answer to a question that is about images; `now` is in seconds since 1970.
    ///
    /// # Errors
    ///
    /// Why it is not known.
    pub async fn answer(&self, question: &Lookup, secrets: &dyn Secrets, now: u64) -> Result<Value, String> {
        let place = self.places.acquire().await;
        let _place = place.map_err(|_| "no registry is asked any more".to_owned())?;
        match question {
            Lookup::Signatures { image, attestor, place } => {
                self.judge(image, attestor, place, false, secrets, now).await
            }
            Lookup::Attestations { image, attestor, place } => {
                self.judge(image, attestor, place, true, secrets, now).await
            }
            Lookup::Referrer { image, artifact_type, access } => {
                self.referrer(image, artifact_type, access, secrets).await.map_err(|why| told(image, why))
            }
            Lookup::Image { reference, access } => {
                self.data(reference, access, secrets).await.map_err(|why| told(reference, why))
            }
            _ => Err("the question is about no image".to_owned()),
        }
    }

    async fn judge(
        &self,
        image: &str,
        attestor: &Arc<Attestor>,
        place: &Place,
        statements: bool,
        secrets: &dyn Secrets,
        now: u64,
    ) -> Result<Value, String> {
        let located = Located::parse(image)?;
        let access = secrets::access(&place.access, secrets).await?;
        let session = self.registry.session(&located.repository, &access);
        let digest = match self.digest(&session, &located.reference).await {
            Ok(digest) => digest,
            Err(Failed::Denied(why)) => return Ok(json!({ "denied": why })),
            Err(Failed::Unknown(why)) => return Err(why),
        };
        // With the key itself, which may be another one from now on.
        let attestor = secrets::with_key(attestor, secrets).await?;
        let key = Key::new(&located.repository, digest, &attestor, place, statements);
        if place.cached
            && let Some(answer) = self.kept.find(&key)
        {
            return Ok(answer);
        }
        let verifier = Verifier::new(&attestor).map_err(|why| why.to_string())?;
        let elsewhere = match place.repository.as_str() {
            "" => None,
            text => {
                let repository = Repository::parse(text);
                let repository = repository.ok_or_else(|| format!("{text} names no repository"))?;
                Some(self.registry.session(&repository, &access))
            }
        };
        let evidence = Evidence { session: elsewhere.as_ref().unwrap_or(&session), digest, place };
        let found = match statements {
            true => attested(&verifier, &evidence, now).await,
            false => signed(&verifier, &evidence, now).await,
        };
        let answer = match found {
            Ok(said) => json!({ "digest": digest.to_string(), "statements": said }),
            Err(Failed::Denied(why)) => json!({ "digest": digest.to_string(), "denied": why }),
            Err(Failed::Unknown(why)) => return Err(why),
        };
        self.kept.keep(key, &answer);
        Ok(answer)
    }

    /// The digest that a tag names at the moment.
    async fn digest(&self, session: &Session<'_>, reference: &str) -> Result<Digest, Failed> {
        if reference.contains(':') {
            let unknown = || Failed::Denied(format!("the digest {reference} is none of SHA-256"));
            return Digest::parse(reference).ok_or_else(unknown);
        }
        let tag = format!("{}:{reference}", session.repository());
        if let Some(digest) = self.kept.tagged(&tag) {
            return Ok(digest);
        }
        let manifest = session.manifest(reference).await?;
        let digest = Digest::parse(&manifest.digest);
        let digest = digest.ok_or_else(|| Failed::Denied(format!("{tag} has no digest of SHA-256")))?;
        self.kept.tag(tag, digest);
        Ok(digest)
    }

    async fn referrer(
        &self,
        image: &str,
        kind: &str,
        access: &ImageAccess,
        secrets: &dyn Secrets,
    ) -> Result<Value, Failed> {
        let located = Located::parse(image).map_err(Failed::Denied)?;
        let access = secrets::access(access, secrets).await.map_err(Failed::Unknown)?;
        let session = self.registry.session(&located.repository, &access);
        let digest = self.digest(&session, &located.reference).await?;
        let listed = session.referrers(&digest.to_string(), |artifact| artifact == kind).await?;
        let first = listed
            .first()
            .ok_or_else(|| Failed::Denied(format!("no artifact of type {kind} is attached")))?;
        let manifest = session.manifest(&first.digest).await?;
        let layers = manifest.layers();
        let [layer] = layers.as_slice() else {
            return Err(Failed::Denied(format!("the artifact of type {kind} has not one layer")));
        };
        let contents = session.blob(layer).await?;
        serde_json::from_slice(&contents)
            .map_err(|_| Failed::Denied(format!("the artifact of type {kind} is not JSON")))
    }

    /// What policies see as the data of an image.
    async fn data(&self, image: &str, access: &ImageAccess, secrets: &dyn Secrets) -> Result<Value, Failed> {
        let image = keyward_admission::full_image(image).map_err(Failed::Denied)?;
        let located = Located::parse(&image).map_err(Failed::Denied)?;
        let access = secrets::access(access, secrets).await.map_err(Failed::Unknown)?;
        let session = self.registry.session(&located.repository, &access);
        let top = session.manifest(&located.reference).await?;
        let (index, manifest) = of_platform(&session, top.clone()).await?;
        let config = match manifest.config() {
            Some(config) => serde_json::from_slice(&session.blob(&config).await?).unwrap_or_default(),
            None => Value::Null,
        };
        let (registry, repository) = (located.repository.host(), located.repository.path());
        Ok(json!({
            "image": image,
            "resolvedImage": format!("{registry}/{repository}@{}", top.digest),
            "registry": registry,
            "repository": repository,
            "identifier": located.reference,
            "digest": top.digest,
            "imageIndex": index,
            "manifest": manifest.value,
            "configData": config,
            "config": config,
        }))
    }
}

fn told(image: &str, why: Failed) -> String {
    let (Failed::Denied(why) | Failed::Unknown(why)) = why;
    format!("{image}: {why}")
}

/// The manifest of one platform, with the index that it stands in; an index within an index is none.
async fn of_platform(session: &Session<'_>, manifest: Manifest) -> Result<(Value, Manifest), Failed> {
    if !manifest.is_index() {
        return Ok((Value::Null, manifest));
    }
    let chosen =
        manifest.of_platform(PLATFORM.0, PLATFORM.1).or_else(|| manifest.manifests().into_iter().next());
    let chosen = chosen.ok_or_else(|| Failed::Denied("its index lists no manifest".to_owned()))?;
    let inner = session.manifest(&chosen.digest).await?;
    match inner.is_index() {
        true => Err(Failed::Denied("its index lists an index for a platform".to_owned())),
        false => Ok((manifest.value, inner)),
    }
}

/// Nothing is said by a signature but that it is there.
async fn signed(verifier: &Verifier, evidence: &Evidence<'_, '_>, now: u64) -> Result<Vec<Value>, Failed> {
    let mut artifacts = evidence.under_tag("sig").await?;
    if verifier.signed(&evidence.digest, &artifacts, now).is_ok() {
        return Ok(Vec::new());
    }
    artifacts.extend(evidence.referring().await?);
    let signed = verifier.signed(&evidence.digest, &artifacts, now);
    signed.map(|()| Vec::new()).map_err(|why| Failed::Denied(why.to_string()))
}

async fn attested(verifier: &Verifier, evidence: &Evidence<'_, '_>, now: u64) -> Result<Vec<Value>, Failed> {
    let mut artifacts: Vec<Artifact> = evidence.under_tag("att").await?;
    artifacts.extend(evidence.referring().await?);
    verifier.statements(&evidence.digest, &artifacts, now).map_err(|why| Failed::Denied(why.to_string()))
}
