//! Signatures of container images: who must have signed an image, and whether what is attached to it in a registry shows that
//! they have.
//!
//! An [`Attestor`] says whose word is taken: that of a key, of a certificate, or of an identity that a certificate authority vouches
//! for. [`Verifier::new`] reads its keys and certificates once. What was found attached to an image are [`Artifact`]s:
//! signatures as cosign has always written them, and Sigstore's bundles. They come from a registry, that is from anybody: each
//! is read within bounds, and what cannot be read is one more reason why nobody has signed.
//!
//! Everything is verified offline. That a transparency log has an entry is proved by what comes with the signature: the log's
//! signed promise, or a proof of inclusion with a signed checkpoint (`log`). That a certificate was valid when it was used is
//! told by the time in that promise, and that it was logged by the timestamps within it.

mod artifact;
mod attestor;
mod bundle;
mod candidate;
mod certificate;
mod digest;
mod envelope;
mod log;
mod trusted_root;
mod verifier;

#[cfg(test)]
mod tests;

pub use artifact::Artifact;
pub use attestor::{
    Attestor, CertificateLog, Identity, PublicKeySource, TransparencyLog, Trust, Wanted, extension_oid,
};
pub use digest::Digest;
pub use verifier::{Denied, Unfit, Verifier};

/// The most bytes that one signature, envelope or bundle may have.
pub const MOST_BYTES: usize = 10 << 20;
/// The most signatures that are looked at for one image.
pub const MOST_ARTIFACTS: usize = 64;
