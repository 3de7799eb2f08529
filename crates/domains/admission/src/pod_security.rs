//! The Pod Security Standards, by version.
//! <https://kubernetes.io/docs/concepts/security/pod-security-standards/>

mod checks;

use crate::context::pod_spec;
use crate::exception::Exception;
use crate::nearest;
use crate::refusal::{At, Read};
use crate::wildcard::Glob;
use checks::{Checks, Violation};
use serde_json::Value;

/// `validate.podSecurity` of a rule.
#[derive(Debug)]
pub(crate) struct PodSecurity {
    restricted: bool,
    privileged: bool,
    /// The minor version of Kubernetes whose standards count.
    version: u32,
    exclude: Vec<Exclusion>,
}

/// A control that is not looked at, for some images or values.
#[derive(Debug)]
pub(crate) struct Exclusion {
    control: String,
    images: Vec<Glob>,
    field: String,
    values: Vec<Glob>,
}

/// What the standards say about a pod.
pub(crate) struct Verdict {
    pub(crate) failed: Option<String>,
    pub(crate) exceptions: Vec<String>,
}

/// Newer than any that has other controls.
const LATEST: u32 = u32::MAX;

pub(crate) const CONTROLS: [&str; 16] = [
    "HostProcess",
    "Host Namespaces",
    "Privileged Containers",
    "Capabilities",
    "HostPath Volumes",
    "Host Ports",
    "Host Probes / Lifecycle Hooks",
    "AppArmor",
    "SELinux",
    "/proc Mount Type",
    "Seccomp",
    "Sysctls",
    "Volume Types",
    "Privilege Escalation",
    "Running as Non-root",
    "Running as Non-root user",
];

impl Exclusion {
    pub(crate) fn compile(at: &At<'_>) -> Read<Exclusion> {
        at.only(&["controlName", "images", "restrictedField", "values"])?;
        let control = at.need("controlName")?;
        let name = control.str()?;
        if !CONTROLS.contains(&name) {
            return control
                .refuse(format_args!("there is no control {name}{}", nearest::hint(name, CONTROLS)));
        }
        let globs =
            |key: &str| -> Read<Vec<Glob>> { Ok(at.texts(key)?.into_iter().map(Glob::new).collect()) };
        let (images, values) = (globs("images")?, globs("values")?);
        Ok(Exclusion {
            control: name.to_owned(),
            images,
            field: at.text("restrictedField")?.to_owned(),
            values,
        })
    }

    fn covers(&self, violation: &Violation<'_>) -> bool {
        let image = match violation.image {
            Some(image) => self.images.iter().any(|glob| glob.matches(image)),
            None => self.images.is_empty() || violation.of_containers,
        };
        let field = self.field.is_empty() || self.field == violation.field;
        let value = self.values.is_empty() || self.values.iter().any(|glob| glob.matches(&violation.value));
        self.control == violation.control && image && field && value
    }
}

impl PodSecurity {
    pub(crate) fn compile(at: &At<'_>) -> Read<PodSecurity> {
        at.only(&["level", "version", "exclude"])?;
        let level = at.need("level")?;
        let (restricted, privileged) = match level.str()? {
            "restricted" => (true, false),
            "baseline" => (false, false),
            "privileged" => (false, true),
            other => {
                let hint = nearest::hint(other, ["restricted", "baseline", "privileged"]);
                return level
                    .refuse(format_args!("{other} is none of privileged, baseline and restricted{hint}"));
            }
        };
        let version = match at.text("version")? {
            "" | "latest" => LATEST,
            text => match text.strip_prefix("v1.").and_then(|minor| minor.parse().ok()) {
                Some(minor) => minor,
                None => {
                    return at
                        .need("version")?
                        .refuse(format_args!("{text} is not a version such as v1.29, or latest"));
                }
            },
        };
        Ok(PodSecurity {
            restricted,
            privileged,
            version,
            exclude: at.each_of("exclude", Exclusion::compile)?,
        })
    }

    pub(crate) fn decide(&self, object: &Value, exceptions: &[&Exception]) -> Verdict {
        let none = Verdict { failed: None, exceptions: Vec::new() };
        let Some((spec, _)) = pod_spec(object).filter(|_| !self.privileged) else { return none };
        let metadata = match object["kind"].as_str() {
            Some("Pod") => &object["metadata"],
            Some("CronJob") => &object["spec"]["jobTemplate"]["spec"]["template"]["metadata"],
            _ => &object["spec"]["template"]["metadata"],
        };
        let mut violations = Checks::new(spec, metadata, self.version).run(self.restricted);
        violations.retain(|violation| !self.exclude.iter().any(|exclusion| exclusion.covers(violation)));
        if violations.is_empty() {
            return none;
        }
        let mut used = Vec::new();
        for exception in exceptions {
            let before = violations.len();
            violations.retain(|violation| {
                !exception.controls().iter().any(|exclusion| exclusion.covers(violation))
            });
            if violations.len() < before {
                used.push(exception.name().to_owned());
            }
        }
        if violations.is_empty() {
            return Verdict { failed: None, exceptions: used };
        }
        let level = if self.restricted { "restricted" } else { "baseline" };
        let version =
            if self.version == LATEST { "latest".to_owned() } else { format!("v1.{}", self.version) };
        let mut text = format!("It violates PodSecurity \"{level}:{version}\": ");
        for (index, violation) in violations.iter().enumerate() {
            let parts = [
                if index > 0 { ", " } else { "" },
                violation.control,
                " (",
                &violation.field,
                " = ",
                &violation.value,
                ")",
            ];
            text.extend(parts);
        }
        Verdict { failed: Some(text), exceptions: used }
    }
}
