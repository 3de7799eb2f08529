//! The server's side of admission webhooks: AdmissionReviews (`admission.k8s.io/v1`) over HTTPS, bounded in size and time.
//! <https://kubernetes.io/docs/reference/access-authn-authz/extensible-admission-controllers/>
//!
//! What is answered is a [`Handler`]'s business. A request that cannot be answered, because it is too large, late or not a
//! review, ends in an HTTP error rather than a verdict, so that the webhook's `failurePolicy` decides.

pub mod certificate;
mod review;
mod server;

pub use certificate::{Certificate, Lives};
pub use keyward_tls::{Clients, TlsFiles};
pub use review::{Answer, Kind, Malformed, Operation, Resource, Review, User};
pub use server::{Handler, Limits, Page, Server};
