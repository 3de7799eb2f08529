//! What a sealed secret is bound to.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::{Invalid, LabelSelector, Moment, Phase, invalid, names};

/// Where below a cluster an object may stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Scope {
    /// Under its name in its namespace, and nowhere else.
    #[default]
    Strict,
    /// Under any name in its namespace.
    Namespace,
    /// Anywhere in the cluster.
    Cluster,
}

impl Scope {
    /// As manifests have it.
    pub const fn name(self) -> &'static str {
        match self {
            Scope::Strict => "strict",
            Scope::Namespace => "namespace",
            Scope::Cluster => "cluster",
        }
    }
}

impl FromStr for Scope {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Scope, Invalid> {
        match [Scope::Strict, Scope::Namespace, Scope::Cluster].into_iter().find(|scope| scope.name() == text)
        {
            Some(scope) => Ok(scope),
            None => invalid("a scope is strict, namespace or cluster"),
        }
    }
}

/// Who may have a secret opened in the cluster: a ServiceAccount, or those of any namespace or name ([`Subject::ANY`]) where
/// something else that is bound says which.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Subject {
    /// `ServiceAccount`.
    pub kind: String,
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Its UID, where only this one of all that ever have the name is meant: one deleted and made again is another.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uid: Option<String>,
}

impl Subject {
    /// The kind there is.
    pub const SERVICE_ACCOUNT: &'static str = "ServiceAccount";
    /// In place of a namespace or name: any.
    pub const ANY: &'static str = "*";

    /// A ServiceAccount from `NAME` or `NAMESPACE/NAME`, with `@UID` behind it where one is meant; `*` is any.
    pub fn parse(text: &str, namespace: &str) -> Result<Subject, Invalid> {
        let (text, uid) = match text.split_once('@') {
            Some((text, uid)) => (text, Some(uid.to_owned())),
            None => (text, None),
        };
        let (namespace, name) = text.split_once('/').unwrap_or((namespace, text));
        let subject = Subject {
            kind: Subject::SERVICE_ACCOUNT.to_owned(),
            namespace: namespace.to_owned(),
            name: name.to_owned(),
            uid,
        };
        subject.check().map(|()| subject)
    }

    fn check(&self) -> Result<(), Invalid> {
        if self.kind != Subject::SERVICE_ACCOUNT {
            return invalid("a subject is a ServiceAccount");
        }
        if self.namespace != Subject::ANY {
            names::label("a subject's namespace", &self.namespace)?;
        }
        if self.uid.is_some() && self.is_pattern() {
            return invalid("a UID is of one ServiceAccount: name it");
        }
        if self.uid.as_deref().is_some_and(|uid| uid.is_empty() || uid.len() > names::LONGEST_LABEL) {
            return invalid("a subject's UID is 1 to 63 characters long, as Kubernetes shows it");
        }
        match self.name.as_str() {
            Subject::ANY => Ok(()),
            name => names::object("a subject's name", name),
        }
    }

    /// Whether it is of any namespace or of any name.
    pub fn is_pattern(&self) -> bool {
        [&self.namespace, &self.name].iter().any(|part| *part == Subject::ANY)
    }

    /// Whether `other` is the same account, or one of those that this stands for.
    pub fn covers(&self, other: &Subject) -> bool {
        let takes = |own: &String, other: &String| own == Subject::ANY || own == other;
        self.kind == other.kind
            && takes(&self.namespace, &other.namespace)
            && takes(&self.name, &other.name)
            && (self.uid.is_none() || self.uid == other.uid)
    }
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

/// Everything a sealed secret is bound to but its place and its items.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Bounds {
    /// The clusters it may be opened in; at least one.
    pub clusters: BTreeSet<String>,
    /// Where below a cluster it may stand.
    #[serde(default)]
    pub scope: Scope,
    /// The type of the Secret, such as `Opaque` or `kubernetes.io/tls`.
    #[serde(rename = "type", default = "opaque")]
    pub kind: String,
    /// The last phase it may be opened in.
    pub phase: Phase,
    /// From when on it may be opened.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub not_before: Option<Moment>,
    /// Until when it may be opened.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub not_after: Option<Moment>,
    /// Who may have it opened in the cluster. Nobody, when nobody is named.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub subjects: BTreeSet<Subject>,
    /// Labels that the namespace of who asks must have besides.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace_selector: Option<LabelSelector>,
    /// What else must be true of who asks, when and from where: expressions in CEL, with the names that conditions of the
    /// authority's policies have. All must hold.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub conditions: BTreeSet<String>,
    /// Digests of images. Every container of the pod must be pinned to one of them, where there are any.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub images: BTreeSet<String>,
}

fn opaque() -> String {
    "Opaque".to_owned()
}

/// What would be wider than it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wider(pub &'static str);

impl fmt::Display for Wider {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} would be wider than it was sealed: seal the values anew from where they are kept",
            self.0
        )
    }
}

/// Images of one object at most.
const MOST_IMAGES: usize = 256;
/// Conditions of one object at most.
const MOST_CONDITIONS: usize = 16;
/// Bytes of the longest condition.
const LONGEST_CONDITION: usize = 2048;

/// Whether there are as many conditions as there may be. What they say is for whoever knows the language.
pub(crate) fn check_conditions(conditions: &BTreeSet<String>) -> Result<(), Invalid> {
    if conditions.len() > MOST_CONDITIONS {
        return invalid(format!("more than {MOST_CONDITIONS} conditions: join some with &&"));
    }
    match conditions.iter().all(|text| (1..=LONGEST_CONDITION).contains(&text.len())) {
        true => Ok(()),
        false => invalid(format!("a condition has from 1 to {LONGEST_CONDITION} bytes")),
    }
}

/// Whether all images are digests, and not too many.
pub(crate) fn check_images(images: &BTreeSet<String>) -> Result<(), Invalid> {
    if images.len() > MOST_IMAGES {
        return invalid(format!("more than {MOST_IMAGES} images"));
    }
    images.iter().try_for_each(|image| match names::image_digest(image)? == image {
        true => Ok(()),
        false => invalid("images are digests, without the names of images"),
    })
}

/// Whether a list of what may be, where none is everything, has nothing that `was` has not.
pub(crate) fn is_within(list: &BTreeSet<String>, was: &BTreeSet<String>) -> bool {
    was.is_empty() || !list.is_empty() && list.is_subset(was)
}

impl Bounds {
    /// Everything allowed in one cluster, for nobody.
    pub fn in_cluster(cluster: &str) -> Bounds {
        Bounds {
            clusters: BTreeSet::from([cluster.to_owned()]),
            scope: Scope::Strict,
            kind: opaque(),
            phase: Phase::Steady,
            not_before: None,
            not_after: None,
            subjects: BTreeSet::new(),
            namespace_selector: None,
            conditions: BTreeSet::new(),
            images: BTreeSet::new(),
        }
    }

    /// Whether every field is what it may be.
    pub fn check(&self) -> Result<(), Invalid> {
        if self.clusters.is_empty() {
            return invalid("no cluster is named: a sealed secret belongs to at least one");
        }
        self.clusters.iter().try_for_each(|cluster| names::label("a cluster", cluster))?;
        self.check_subjects()?;
        let odd = |byte: u8| !byte.is_ascii_graphic();
        if self.kind.is_empty() || self.kind.len() > names::LONGEST_NAME || self.kind.bytes().any(odd) {
            return invalid("the type of a Secret is a word such as Opaque or kubernetes.io/tls");
        }
        match (self.not_before, self.not_after) {
            (Some(from), Some(until)) if from >= until => invalid("notAfter is not after notBefore"),
            _ => Ok(()),
        }
    }

    fn check_subjects(&self) -> Result<(), Invalid> {
        self.subjects.iter().try_for_each(Subject::check)?;
        if let Some(selector) = &self.namespace_selector {
            selector.check_demands().map_err(|why| Invalid(format!("namespaceSelector: {why}")))?;
        }
        check_conditions(&self.conditions)?;
        check_images(&self.images)?;
        // A selector says of which namespaces, and images which workloads.
        let is_anybody = |subject: &&Subject| {
            let name = subject.name == Subject::ANY && self.images.is_empty();
            self.namespace_selector.is_none() && (subject.namespace == Subject::ANY || name)
        };
        match self.subjects.iter().find(is_anybody) {
            Some(subject) => invalid(format!(
                "the subject {subject} is anybody: a namespaceSelector must say of which namespaces, or images what they run"
            )),
            None => Ok(()),
        }
    }

    /// Whether `subject` is among those who may have it.
    pub fn allow(&self, subject: &Subject) -> bool {
        self.subjects.iter().any(|named| named.covers(subject))
    }

    /// Whether nothing here allows more than `was` did. What comes first is named.
    pub fn within(&self, was: &Bounds) -> Result<(), Wider> {
        // No bound is wider than any; of bounds, the later one at the end and the earlier one at the beginning.
        let later = match (self.not_after, was.not_after) {
            (_, None) => false,
            (None, Some(_)) => true,
            (Some(now), Some(was)) => now > was,
        };
        let earlier = match (self.not_before, was.not_before) {
            (_, None) => false,
            (None, Some(_)) => true,
            (Some(now), Some(was)) => now < was,
        };
        let selector = match (&self.namespace_selector, &was.namespace_selector) {
            (_, None) => false,
            (None, Some(_)) => true,
            (Some(now), Some(was)) => !now.is_within(was),
        };
        let wider = [
            ("clusters", !self.clusters.is_subset(&was.clusters)),
            ("scope", self.scope > was.scope),
            ("type", self.kind != was.kind),
            ("phase", self.phase > was.phase),
            ("notBefore", earlier),
            ("notAfter", later),
            ("subjects", !self.subjects.iter().all(|subject| was.allow(subject))),
            ("namespaceSelector", selector),
            ("images", !is_within(&self.images, &was.images)),
            ("conditions", !self.conditions.is_superset(&was.conditions)),
        ];
        match wider.into_iter().find(|(_, wider)| *wider) {
            Some((field, _)) => Err(Wider(field)),
            None => Ok(()),
        }
    }
}
