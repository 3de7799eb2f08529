//! Whom values are sealed for: each of several, or k of n groups together.

use keyward_core::Random;
use keyward_crypto::age::{self, Mixing, Recipient, Wrap, armor, pq};
use keyward_crypto::shamir;
use keyward_intent::{Share, Threshold};

use crate::violation::{Failure, age_failure, invalid};

pub use keyward_envelope::recipient_id;

/// Whom values are sealed for.
pub enum Audience {
    /// Each opens alone.
    Each(Vec<Recipient>),
    /// Groups, of which so many must act together; of a group any one.
    Threshold {
        /// How many.
        required: u8,
        /// By name.
        groups: Vec<(String, Vec<Recipient>)>,
    },
}

impl Audience {
    /// Ids of those who open alone.
    pub fn ids(&self) -> Vec<String> {
        match self {
            Audience::Each(recipients) => ids(recipients),
            Audience::Threshold { .. } => Vec::new(),
        }
    }

    /// Whether a manifest is sealed for exactly these, as far as it says.
    pub fn is_of(&self, spec: &keyward_intent::Spec) -> bool {
        match (self, &spec.threshold) {
            (Audience::Each(recipients), None) => ids(recipients) == spec.recipients,
            (Audience::Threshold { required, groups }, Some(threshold)) => {
                let wanted = groups.iter().map(|(name, members)| (name.as_str(), ids(members)));
                let found =
                    threshold.shares.iter().map(|share| (share.group.as_str(), share.recipients.clone()));
                *required == threshold.required && wanted.eq(found)
            }
            _ => false,
        }
    }
}

fn ids(recipients: &[Recipient]) -> Vec<String> {
    let mut ids: Vec<String> = recipients.iter().map(recipient_id).collect();
    ids.sort();
    ids.dedup();
    ids
}

/// What seals each value of one object, and what the manifest says of it.
pub struct Sealer {
    recipients: Vec<Recipient>,
    mixing: Mixing,
    /// The groups' shares, where there are groups.
    pub(crate) threshold: Option<Threshold>,
    /// The ids of single recipients.
    pub(crate) ids: Vec<String>,
}

impl Sealer {
    /// For an audience. Groups get a new identity of the object's own, and shares of it, each time: whoever left a group
    /// keeps a share of an identity that opens nothing.
    pub fn new(audience: &Audience, mixing: Mixing, random: &dyn Random) -> Result<Sealer, Failure> {
        match audience {
            Audience::Each(recipients) if recipients.is_empty() => invalid("there is no recipient"),
            Audience::Each(recipients) => {
                Ok(Sealer { recipients: recipients.clone(), mixing, threshold: None, ids: audience.ids() })
            }
            Audience::Threshold { required, groups } => {
                let identity = pq::Identity::generate(random);
                let threshold = divide(&identity, *required, groups, mixing, random)?;
                let recipient = Recipient::PostQuantum(Box::new(identity.recipient()));
                Ok(Sealer {
                    recipients: vec![recipient],
                    mixing,
                    threshold: Some(threshold),
                    ids: Vec::new(),
                })
            }
        }
    }

    /// For whom an object is sealed already: its own identity, or the same single recipients.
    pub fn same(
        threshold: Option<&Threshold>,
        audience: &Audience,
        mixing: Mixing,
        random: &dyn Random,
    ) -> Result<Sealer, Failure> {
        let Some(threshold) = threshold else { return Sealer::new(audience, mixing, random) };
        let recipient = threshold.recipient.parse().map_err(|why| age_failure("threshold", why))?;
        Ok(Sealer {
            recipients: vec![recipient],
            mixing,
            threshold: Some(threshold.clone()),
            ids: Vec::new(),
        })
    }

    /// Seals bytes, in armor.
    pub fn seal(&self, what: &str, plaintext: &[u8], random: &dyn Random) -> Result<String, Failure> {
        armored(&self.recipients, self.mixing, random, plaintext).map_err(|why| age_failure(what, why))
    }
}

fn armored(
    recipients: &[Recipient],
    mixing: Mixing,
    random: &dyn Random,
    plaintext: &[u8],
) -> Result<String, age::Error> {
    let wraps: Vec<&dyn Wrap> = recipients.iter().map(|recipient| recipient as &dyn Wrap).collect();
    armor::encode(&age::seal(&wraps, mixing, random, plaintext)?)
}

fn divide(
    identity: &pq::Identity,
    required: u8,
    groups: &[(String, Vec<Recipient>)],
    mixing: Mixing,
    random: &dyn Random,
) -> Result<Threshold, Failure> {
    let Some(count) = u8::try_from(groups.len()).ok().filter(|count| required >= 2 && *count >= required)
    else {
        return invalid("a threshold is at least 2, and not more than there are groups");
    };
    let text = identity.text();
    let parts = shamir::split(text.expose().as_bytes(), count, required, random)
        .map_err(|why| Failure::Invalid(why.to_string()))?;
    let mut shares = Vec::with_capacity(groups.len());
    for ((group, members), part) in groups.iter().zip(&parts) {
        let data = armored(members, mixing, random, part.expose());
        shares.push(Share {
            group: group.clone(),
            recipients: ids(members),
            data: data.map_err(|why| age_failure(&format!("the share of {group}"), why))?,
        });
    }
    Ok(Threshold { required, recipient: identity.recipient().to_string(), shares })
}
