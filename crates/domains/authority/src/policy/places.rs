//! What of a request an expression names. Nothing is found out that it does not name.

use super::Ask;
use keyward_expressions::cel::{Record, Val};
use std::collections::BTreeMap;
use std::fmt;

/// A variable that expressions may name.
pub(super) struct Variable {
    pub(super) name: &'static str,
    /// What the names of its fields do not say.
    note: &'static str,
    fields: &'static [(&'static str, Read)],
}

/// A field of a request; none where it is not there.
type Read = for<'a> fn(&'a Ask<'_>) -> Option<Val<'a>>;

static NOTHING: BTreeMap<String, String> = BTreeMap::new();

/// Everything that there is.
pub(super) static VARIABLES: [Variable; 6] = [
    Variable {
        name: "request",
        note: "",
        fields: &[
            ("path", |ask| Some(Val::Str(ask.path))),
            ("operation", |ask| Some(Val::Str(ask.operation.name()))),
            ("address", |ask| {
                let from = ask.who.and_then(|who| who.address);
                Some(Val::text(from.map(|from| from.to_string()).unwrap_or_default()))
            }),
            ("wrap_ttl", |ask| Some(number(ask.wrap_ttl.map_or(0, |ttl| ttl.as_secs())))),
        ],
    },
    Variable {
        name: "time",
        note: " (1 is Monday), all in UTC",
        fields: &[
            ("unix", |ask| Some(number(ask.now.secs()))),
            ("date", |ask| Some(Val::text(ask.now.to_string().split('T').next().unwrap_or_default()))),
            ("hour", |ask| Some(number(ask.now.secs() % DAY / 3600))),
            ("minute", |ask| Some(number(ask.now.secs() % 3600 / 60))),
            // The first day of 1970 was a Thursday.
            ("weekday", |ask| Some(number((ask.now.secs() / DAY + 3) % 7 + 1))),
        ],
    },
    Variable {
        name: "token",
        note: "",
        fields: &[
            ("policies", |ask| Some(texts(&ask.who?.token.policies))),
            ("metadata", |ask| Some(Val::Record(&ask.who?.token.metadata))),
            ("display_name", |ask| Some(Val::Str(ask.who?.token.display_name.as_str()))),
            ("path", |ask| Some(Val::Str(ask.who?.token.path.as_str()))),
            ("type", |ask| Some(Val::Str(ask.who?.token.kind.name()))),
        ],
    },
    Variable {
        name: "entity",
        note: "",
        fields: &[
            ("id", |ask| Some(Val::Str(ask.who?.holder?.entity.id.as_str()))),
            ("name", |ask| Some(Val::Str(ask.who?.holder?.entity.name.as_str()))),
            ("metadata", |ask| {
                Some(Val::Record(ask.who?.holder?.entity.metadata.as_ref().unwrap_or(&NOTHING)))
            }),
            ("policies", |ask| Some(texts(&ask.who?.holder?.policies))),
            ("groups", |ask| Some(texts(ask.who?.holder?.groups().map(|group| &group.name)))),
        ],
    },
    Variable {
        name: "pod",
        note: "",
        fields: &[
            ("namespace", |ask| said(ask, "service_account_namespace")),
            ("service_account", |ask| said(ask, "service_account_name")),
            ("name", |ask| said(ask, "pod_name")),
            ("uid", |ask| said(ask, "pod_uid")),
            ("node", |ask| said(ask, "node_name")),
            ("node_uid", |ask| said(ask, "node_uid")),
        ],
    },
    Variable {
        name: "posture",
        note: "; of the pod, of its namespace in posture.namespace, and of its node in posture.node, which also has healthy, ready, schedulable, problems, taints, labels",
        fields: &[
            ("compliant", |ask| of_pod(ask, "compliant")),
            ("critical", |ask| of_pod(ask, "critical")),
            ("violations", |ask| of_pod(ask, "violations")),
            ("exceptions", |ask| of_pod(ask, "exceptions")),
            ("policies", |ask| of_pod(ask, "policies")),
            ("since", |ask| of_pod(ask, "since")),
            ("age", |ask| of_pod(ask, "age")),
            ("digest", |ask| of_pod(ask, "digest")),
            ("images", |ask| of_pod(ask, "images")),
            ("unpinned", |ask| of_pod(ask, "unpinned")),
            ("namespace", |ask| {
                let who = ask.who?;
                Some(Val::Record(who.posture?.namespace(who.token, ask.now)?))
            }),
            ("node", |ask| {
                let who = ask.who?;
                Some(Val::Record(who.posture?.node(who.token, ask.now)?))
            }),
        ],
    },
];

const DAY: u64 = 86_400;

/// What a login proved and wrote into its token. Metadata that nobody proved say nothing of a pod, whatever they are called.
fn said<'a>(ask: &'a Ask<'_>, name: &str) -> Option<Val<'a>> {
    let token = ask.who?.token;
    if token.attested { token.metadata.field(name) } else { None }
}

/// A field of the verdict on the pod.
fn of_pod<'a>(ask: &'a Ask<'_>, name: &str) -> Option<Val<'a>> {
    let who = ask.who?;
    who.posture?.pod(who.token, ask.now)?.field(name)
}

pub(crate) fn number<'a>(number: u64) -> Val<'a> {
    Val::Int(i64::try_from(number).unwrap_or(i64::MAX))
}

pub(crate) fn texts<'a>(texts: impl IntoIterator<Item = &'a String>) -> Val<'a> {
    Val::list(texts.into_iter().map(|text| Val::Str(text)).collect())
}

impl Variable {
    /// Its name, with what it has.
    pub(super) fn about(&self) -> String {
        let fields: Vec<&str> = self.fields.iter().map(|(name, _)| *name).collect();
        format!("{} ({}{})", self.name, fields.join(", "), self.note)
    }
}

/// A variable, for one request.
pub(super) struct Fields<'a> {
    pub(super) variable: &'static Variable,
    pub(super) ask: &'a Ask<'a>,
}

impl Record for Fields<'_> {
    fn field(&self, name: &str) -> Option<Val<'_>> {
        let (_, read) = self.variable.fields.iter().find(|(known, _)| *known == name)?;
        read(self.ask)
    }

    fn names(&self) -> Vec<&str> {
        self.variable.fields.iter().map(|(name, _)| *name).collect()
    }
}

impl fmt::Debug for Fields<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.variable.name)
    }
}
