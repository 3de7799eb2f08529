//! From audit to enforcement: which policies are to be enforced and when, and what that would refuse of what is there already.
//!
//! What is there is known from reports: those of this engine or another, in either of the kinds that reports have. When a policy may be
//! enforced is an annotation of its own, [`ENFORCE_AFTER`]. Nothing happens by itself when that day comes: what is enforced is what
//! the policy says.

use crate::enforce::enforce;
use crate::load;
use jiff::civil::Date;
use keyward_admission::{Action, Loaded, Policy, RuleKind, load as compile, yaml};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::{Path, PathBuf};

/// The annotation with the first day, in UTC and as `YYYY-MM-DD`, on which a policy may be enforced.
pub const ENFORCE_AFTER: &str = "keyward.io/enforce-after";
/// The label with the tier that a policy belongs to.
pub const TIER: &str = "keyward.io/tier";

/// How far a policy is on its way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stage {
    /// Its day has come, and it is not enforced.
    Due,
    /// It has a day, which is still to come.
    Planned,
    /// It is only reported, and no day is set.
    Audited,
    /// It is enforced.
    Enforced,
}

impl Stage {
    /// In one word.
    pub fn name(self) -> &'static str {
        match self {
            Stage::Due => "due",
            Stage::Planned => "planned",
            Stage::Audited => "audited",
            Stage::Enforced => "enforced",
        }
    }
}

/// An object that a policy would refuse, were it made anew.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Affected {
    /// Empty where its kind has none.
    pub namespace: String,
    /// Its kind.
    pub kind: String,
    /// Its name.
    pub name: String,
    /// Why, in the policy's words.
    pub message: String,
}

/// What is planned with a policy.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Its name, with its namespace in front where it has one.
    pub policy: String,
    /// Its kind.
    pub kind: String,
    /// The tier that it belongs to; empty where it says none.
    pub tier: String,
    /// The first day on which it may be enforced.
    pub after: Option<Date>,
    /// How far it is.
    pub stage: Stage,
    /// How many results reports have of it; none where no report ever has any, since the API server evaluates it.
    pub results: Option<usize>,
    /// What it would refuse besides what it refuses now.
    pub refuses: Vec<Affected>,
}

/// A policy, or a binding of one, as it is written.
struct Written {
    object: Value,
    file: Option<PathBuf>,
}

/// Policies, as they are written and compiled.
#[derive(Default)]
pub struct Policies {
    policies: Vec<(Written, Policy)>,
    bindings: Vec<Written>,
}

impl Policies {
    /// Adds the policies of a file or folder.
    ///
    /// # Errors
    ///
    /// What cannot be read, and policies that are refused, with the file.
    pub fn add(&mut self, path: &Path) -> Result<(), String> {
        for file in load::files(path)? {
            for object in load::objects(&file)? {
                self.insert(object, Some(file.clone()))?;
            }
        }
        Ok(())
    }

    /// Adds the policies of a text, such as standard input.
    ///
    /// # Errors
    ///
    /// The line that is not YAML, and policies that are refused.
    pub fn text(&mut self, text: &str) -> Result<(), String> {
        let values = yaml::values(text).map_err(|fault| fault.to_string())?;
        values.into_iter().flat_map(load::apart).try_for_each(|object| self.insert(object, None))
    }

    /// Adds an object, where it is a policy or a binding of one.
    ///
    /// # Errors
    ///
    /// Why a policy is refused.
    pub fn insert(&mut self, mut object: Value, file: Option<PathBuf>) -> Result<(), String> {
        if load::is_namespaced_policy(&object) {
            load::place(&mut object);
        }
        let place = || file.as_deref().map_or_else(String::new, |file| format!("{}: ", file.display()));
        let loaded = compile(&object, None).map_err(|why| format!("{}{why}", place()))?;
        let written = Written { object, file };
        match loaded {
            Loaded::Policy(policy) if checks(&policy) => self.policies.push((written, *policy)),
            Loaded::Binding(_) if written.object["kind"] == "ValidatingAdmissionPolicyBinding" => {
                self.bindings.push(written);
            }
            _ => {}
        }
        Ok(())
    }

    /// What is planned with each policy that checks something, on a day; what is due first, then by day and name.
    ///
    /// # Errors
    ///
    /// A policy whose annotation is no day.
    pub fn plans(&self, findings: &Findings, on: Date) -> Result<Vec<Plan>, String> {
        let mut plans = Vec::new();
        for (written, policy) in &self.policies {
            let name = policy.metadata.full_name();
            let object = &written.object;
            let after = date(policy.metadata.annotation(ENFORCE_AFTER))
                .map_err(|why| format!("{name}: the annotation {ENFORCE_AFTER}: {why}"))?;
            let stage = match after {
                _ if self.is_enforced(object) => Stage::Enforced,
                Some(day) if day <= on => Stage::Due,
                Some(_) => Stage::Planned,
                None => Stage::Audited,
            };
            let seen = findings.results.get(&name).copied().unwrap_or_default();
            plans.push(Plan {
                kind: policy.metadata.kind.clone(),
                tier: object["metadata"]["labels"][TIER].as_str().unwrap_or_default().to_owned(),
                after,
                stage,
                results: (!policy.is_native()).then_some(seen),
                refuses: refused(policy, findings.of.get(&name)),
                policy: name,
            });
        }
        plans.sort_by(|a, b| (a.stage, a.after, &a.policy).cmp(&(b.stage, b.after, &b.policy)));
        Ok(plans)
    }

    /// Whether each part of a policy, or each of its bindings, refuses what fails.
    fn is_enforced(&self, policy: &Value) -> bool {
        let own = |binding: &&Written| binding.object["spec"]["policyName"] == policy["metadata"]["name"];
        let enforced = |object: &Value| {
            let settings = settings(object);
            !settings.is_empty() && settings.iter().all(|setting| setting.enforced)
        };
        if policy["kind"] != "ValidatingAdmissionPolicy" {
            return enforced(policy);
        }
        let mut bindings = self.bindings.iter().filter(own).peekable();
        bindings.peek().is_some() && bindings.all(|binding| enforced(&binding.object))
    }

    /// The files with what makes policies enforcing ones, and their new texts. Nothing is written.
    ///
    /// # Errors
    ///
    /// The file in which that cannot be done, and why; policies that are in no file.
    pub fn enforcing(&self, plans: &[&Plan]) -> Result<Vec<(PathBuf, String)>, String> {
        let planned = |object: &Value| {
            let bound = &object["spec"]["policyName"];
            plans
                .iter()
                .any(|plan| plan.is_of(object) || (plan.results.is_none() && *bound == plan.policy.as_str()))
        };
        let all = self.policies.iter().map(|(written, _)| written).chain(&self.bindings);
        let mut files = BTreeSet::new();
        for written in all.filter(|written| planned(&written.object)) {
            let name = &written.object["metadata"]["name"];
            let file = written.file.as_ref();
            files.insert(
                file.ok_or_else(|| {
                    format!("{name} is in no file: name the files of policies to change them")
                })?,
            );
        }
        let mut changed = Vec::new();
        for file in files {
            let text = load::text(file)?;
            let written = enforce(&text, planned).map_err(|why| format!("{}: {why}", file.display()))?;
            if written != text {
                changed.push((file.clone(), written));
            }
        }
        Ok(changed)
    }
}

impl Plan {
    fn is_of(&self, object: &Value) -> bool {
        let metadata = &object["metadata"];
        let name = metadata["name"].as_str().unwrap_or_default();
        object["kind"] == self.kind.as_str()
            && match self.policy.split_once('/') {
                Some((namespace, own)) => {
                    own == name && metadata["namespace"].as_str().unwrap_or("default") == namespace
                }
                None => self.policy == name,
            }
    }
}

fn checks(policy: &Policy) -> bool {
    policy.has(RuleKind::Validation) || policy.has(RuleKind::ImageVerification)
}

/// A day; none where the text is empty.
///
/// # Errors
///
/// That it is none, and how one is written.
pub fn date(text: &str) -> Result<Option<Date>, String> {
    if text.is_empty() {
        return Ok(None);
    }
    text.parse().map(Some).map_err(|_| format!("{text} is no day: write it as 2027-01-31"))
}

/// What a policy would refuse that it does not refuse now.
fn refused(policy: &Policy, found: Option<&BTreeMap<Subject, Found>>) -> Vec<Affected> {
    let closed = policy.settings().fail_closed;
    let would = |(subject, found): &(&Subject, &Found)| {
        policy.action(&found.rule, &subject.0) != Action::Enforce && (found.failed || closed)
    };
    let affected = |((namespace, kind, name), found): (&Subject, &Found)| Affected {
        namespace: namespace.clone(),
        kind: kind.clone(),
        name: name.clone(),
        message: found.message.clone(),
    };
    found.into_iter().flatten().filter(would).map(affected).collect()
}

/// A place in a policy that says what is done where it fails.
pub(crate) struct Setting {
    pub(crate) path: Vec<String>,
    pub(crate) enforced: bool,
    /// What stands there for enforcing.
    pub(crate) wanted: Value,
}

/// All of them, in a policy or binding.
pub(crate) fn settings(object: &Value) -> Vec<Setting> {
    let path = |steps: &[&str]| steps.iter().map(|step| (*step).to_owned()).collect::<Vec<String>>();
    let group = object["apiVersion"].as_str().unwrap_or_default().split('/').next().unwrap_or_default();
    if group != "kyverno.io" {
        let actions = object["spec"]["validationActions"].as_array();
        // A policy that says nothing refuses.
        let enforced = actions.is_none_or(|list| list.iter().any(|one| one == "Deny" || one == "Enforce"));
        let wanted = Value::Array(vec![Value::from("Deny")]);
        return vec![Setting { path: path(&["spec", "validationActions"]), enforced, wanted }];
    }
    let enforces = |value: &Value| value.as_str().is_some_and(|text| text.eq_ignore_ascii_case("enforce"));
    let mut settings: Vec<Setting> = Vec::new();
    for (index, rule) in object["spec"]["rules"].as_array().into_iter().flatten().enumerate() {
        if !rule["validate"].is_object() && !rule["verifyImages"].is_array() {
            continue;
        }
        let own = &rule["validate"]["failureAction"];
        let (path, enforced) = match own {
            Value::Null => {
                let whole = &object["spec"]["validationFailureAction"];
                (path(&["spec", "validationFailureAction"]), enforces(whole))
            }
            own => (path(&["spec", "rules", &index.to_string(), "validate", "failureAction"]), enforces(own)),
        };
        if settings.iter().all(|known| known.path != path) {
            settings.push(Setting { path, enforced, wanted: Value::from("Enforce") });
        }
    }
    settings
}

/// Namespace, kind and name.
type Subject = (String, String, String);

#[derive(Debug)]
struct Found {
    rule: String,
    message: String,
    /// It failed; otherwise it could not be evaluated.
    failed: bool,
}

/// What reports say.
#[derive(Debug, Default)]
pub struct Findings {
    /// Objects that do not hold, by policy.
    of: HashMap<String, BTreeMap<Subject, Found>>,
    /// How many results there are, by policy.
    results: BTreeMap<String, usize>,
    /// How many reports were read.
    pub reports: usize,
    /// Reports that count more failures than they list, by namespace or, where they have none, by name.
    pub incomplete: BTreeSet<String>,
}

impl Findings {
    /// Adds the reports of a file or folder.
    ///
    /// # Errors
    ///
    /// What cannot be read.
    pub fn files(&mut self, path: &Path) -> Result<(), String> {
        for file in load::files(path)? {
            load::objects(&file)?.iter().for_each(|object| self.add(object));
        }
        Ok(())
    }

    /// Adds the reports of a text.
    ///
    /// # Errors
    ///
    /// The line that is not YAML.
    pub fn text(&mut self, text: &str) -> Result<(), String> {
        let values = yaml::values(text).map_err(|fault| fault.to_string())?;
        values.into_iter().flat_map(load::apart).for_each(|object| self.add(&object));
        Ok(())
    }

    /// Adds an object, where it is a report.
    pub fn add(&mut self, report: &Value) {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let group = report["apiVersion"].as_str().unwrap_or_default().split('/').next().unwrap_or_default();
        let kind = report["kind"].as_str().unwrap_or_default();
        match (group, kind) {
            ("wgpolicyk8s.io", "PolicyReport" | "ClusterPolicyReport") => {}
            ("openreports.io", "Report" | "ClusterReport") => {}
            _ => return,
        }
        self.reports += 1;
        let namespace = &report["metadata"]["namespace"];
        let mut listed = 0;
        for result in report["results"].as_array().into_iter().flatten() {
            let policy = text(&result["policy"]);
            *self.results.entry(policy.clone()).or_default() += 1;
            let status = result["result"].as_str().unwrap_or_default();
            if !matches!(status, "fail" | "warn" | "error") {
                continue;
            }
            listed += 1;
            let own = result["resources"].as_array().map(Vec::as_slice).unwrap_or_default();
            // A report may be of one object, and then names it once.
            let subjects = if own.is_empty() { std::slice::from_ref(&report["scope"]) } else { own };
            for subject in subjects.iter().filter(|subject| subject.is_object()) {
                let namespace = subject.get("namespace").unwrap_or(namespace);
                let key = (text(namespace), text(&subject["kind"]), text(&subject["name"]));
                let found = || Found {
                    rule: text(&result["rule"]),
                    message: text(&result["message"]),
                    failed: status != "error",
                };
                self.of.entry(policy.clone()).or_default().entry(key).or_insert_with(found);
            }
        }
        let counted: u64 =
            ["fail", "warn", "error"].iter().filter_map(|key| report["summary"][*key].as_u64()).sum();
        if counted > listed {
            let name = if namespace.is_null() { &report["metadata"]["name"] } else { namespace };
            self.incomplete.insert(text(name));
        }
    }

    /// Policies that reports have results of.
    pub fn policies(&self) -> impl Iterator<Item = &str> {
        self.results.keys().map(String::as_str)
    }
}
