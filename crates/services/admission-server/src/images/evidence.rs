//! What is attached to an image in a registry and may be a signature.

use super::Failed;
use keyward_admission::Place;
use keyward_registry::{Descriptor, Error, MOST_BLOB, Session};
use keyward_signatures::{Artifact, Digest, MOST_ARTIFACTS};

/// The kind of cosign's signatures that refer to an image rather than being under its tag.
const REFERRING: &str = "application/vnd.dev.cosign.artifact.sig.v1+json";
/// Bytes of all artifacts of an image together.
const MOST_TOGETHER: usize = 4 * MOST_BLOB;

/// Where it is looked for.
pub(super) struct Evidence<'s, 'r> {
    pub(super) session: &'s Session<'r>,
    pub(super) digest: Digest,
    pub(super) place: &'s Place,
}

impl Evidence<'_, '_> {
    /// What cosign keeps under a tag made of the digest: `sig` has signatures, and `att` what is said of the image.
    pub(super) async fn under_tag(&self, kind: &str) -> Result<Vec<Artifact>, Failed> {
        if self.place.only_bundles {
            return Ok(Vec::new());
        }
        let tag = format!("{}sha256-{}.{kind}", self.place.tag_prefix, self.digest.digits());
        let manifest = match self.session.manifest(&tag).await {
            Err(Error::Missing(_)) => return Ok(Vec::new()),
            manifest => manifest?,
        };
        self.layers(manifest.layers()).await
    }

    /// Sigstore's bundles, and cosign's signatures, that refer to the image.
    pub(super) async fn referring(&self) -> Result<Vec<Artifact>, Failed> {
        let only_bundles = self.place.only_bundles;
        let of_kind = |kind: &str| Artifact::is_bundle(kind) || (kind == REFERRING && !only_bundles);
        let listed = self.session.referrers(&self.digest.to_string(), of_kind).await?;
        let mut artifacts = Vec::new();
        let mut together = 0;
        for one in listed {
            // Whoever removes an artifact need not remove it from the list.
            let manifest = match self.session.manifest(&one.digest).await {
                Err(Error::Missing(_)) => continue,
                manifest => manifest?,
            };
            let layers = manifest.layers();
            if one.artifact_type == REFERRING {
                artifacts.extend(self.layers(layers).await?);
            } else if let [layer] = layers.as_slice() {
                let contents = self.blob(layer, &mut together).await?;
                artifacts.push(Artifact::Bundle(contents));
            }
        }
        Ok(artifacts)
    }

    async fn layers(&self, layers: Vec<Descriptor>) -> Result<Vec<Artifact>, Failed> {
        let mut artifacts = Vec::new();
        let mut together = 0;
        let layers = layers.into_iter().filter(|layer| Artifact::is_signature(&layer.media_type));
        for layer in layers.take(MOST_ARTIFACTS) {
            let contents = self.blob(&layer, &mut together).await?;
            artifacts.push(Artifact::Layer {
                media_type: layer.media_type,
                contents,
                annotations: layer.annotations,
            });
        }
        Ok(artifacts)
    }

    async fn blob(&self, descriptor: &Descriptor, together: &mut usize) -> Result<Vec<u8>, Failed> {
        let contents = self.session.blob(descriptor).await?;
        *together += contents.len();
        if *together > MOST_TOGETHER {
            return Err(Failed::Denied(format!("more than {MOST_TOGETHER} bytes are attached to it")));
        }
        Ok(contents.to_vec())
    }
}
