//! What the API server serves, by the names that policies use.

use crate::policies::is_wild;
use keyward_admission::{Interest, Subject, matches_wildcards};
use keyward_kubernetes::{Kind, Served};
use std::collections::BTreeMap;

/// Groups that are not looked at for a policy of everything.
const PASSING: [&str; 8] = [
    "coordination.k8s.io",
    "events.k8s.io",
    "wgpolicyk8s.io",
    "openreports.io",
    "authentication.k8s.io",
    "authorization.k8s.io",
    "metrics.k8s.io",
    "apiregistration.k8s.io",
];

/// All kinds, in the versions that the API server prefers.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Catalog {
    served: Vec<Served>,
}

impl Catalog {
    /// Of what discovery found.
    pub fn new(served: Vec<Served>) -> Catalog {
        Catalog { served }
    }

    /// The kinds that an interest is about; versions are not looked at, for objects are converted.
    pub fn of<'c>(&'c self, interest: &'c Interest) -> impl Iterator<Item = &'c Served> {
        self.served.iter().filter(move |served| {
            matches_wildcards(&interest.group, &served.kind.group)
                && interest.covers(&served.kind.kind, &served.kind.plural)
        })
    }

    /// The kinds whose objects are there to be looked at, of those that interests are about. An interest in everything does not
    /// mean what passes, nor Secrets.
    pub(crate) fn kinds(&self, interests: impl IntoIterator<Item = Interest>) -> Vec<Kind> {
        self.listed(interests, |interest, kind| !is_passing(kind) || !is_wild(interest))
    }

    /// The same where an interest in everything means everything.
    pub(crate) fn all_kinds(&self, interests: impl IntoIterator<Item = Interest>) -> Vec<Kind> {
        self.listed(interests, |_, _| true)
    }

    fn listed(
        &self,
        interests: impl IntoIterator<Item = Interest>,
        meant: impl Fn(&Interest, &Kind) -> bool,
    ) -> Vec<Kind> {
        let mut kinds: BTreeMap<String, Kind> = BTreeMap::new();
        // A subresource is nothing that is there.
        for interest in interests.into_iter().filter(|one| matches!(&*one.subresource, "" | "*")) {
            let served = self.of(&interest).filter(|served| served.watched).map(|served| &served.kind);
            let meant = served.filter(|kind| meant(&interest, kind));
            kinds.extend(meant.map(|kind| (kind.to_string(), kind.clone())));
        }
        kinds.into_values().collect()
    }

    /// The kind of what a resource is one of, such as Pod for pods.
    pub(crate) fn parent(&self, group: &str, plural: &str) -> Option<&Kind> {
        self.served
            .iter()
            .map(|served| &served.kind)
            .find(|kind| kind.group == group && kind.plural == plural)
    }

    /// What an API version and a kind or plural name mean, whatever its case.
    pub(crate) fn named(&self, api_version: &str, name: &str) -> Option<&Kind> {
        let group = api_version.split_once('/').map_or("", |(group, _)| group);
        let any = api_version.is_empty() || api_version == "*";
        self.served.iter().map(|served| &served.kind).find(|kind| {
            (any || kind.group == group)
                && (kind.plural.eq_ignore_ascii_case(name) || kind.kind.eq_ignore_ascii_case(name))
        })
    }

    /// The kind of this name in exactly this group.
    pub(crate) fn in_group(&self, group: &str, kind: &str) -> Option<&Kind> {
        self.served
            .iter()
            .map(|served| &served.kind)
            .find(|served| served.group == group && served.kind == kind)
    }

    /// Everything whose objects can be listed and watched.
    pub(crate) fn watched(&self) -> impl Iterator<Item = &Kind> {
        self.served.iter().filter(|served| served.watched).map(|served| &served.kind)
    }

    /// Whether something is named that is not served.
    pub(crate) fn lacks(&self, interest: &Interest) -> bool {
        let exact = match &interest.subject {
            Subject::Kind(name) | Subject::Resource(name) => !name.contains(['*', '?']),
        };
        exact && self.of(interest).next().is_none()
    }
}

/// Whether a policy of everything does not mean a kind.
fn is_passing(kind: &Kind) -> bool {
    PASSING.contains(&&*kind.group)
        || (kind.group.is_empty() && matches!(&*kind.plural, "events" | "secrets"))
}
