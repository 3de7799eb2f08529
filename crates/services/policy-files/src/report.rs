//! Reports about what policies say, written as they come so that a report on many objects needs no more memory than one on few.

use keyward_admission::{Policy, RuleOutcome, Status};
use serde_json::{Map, Value, json};
use std::io::{self, Write};

/// How a report is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// A line for each result that is not a pass.
    Table,
    /// A line for each result, passes and skips too, with why.
    Explained,
    /// `PolicyReport`s of `wgpolicyk8s.io/v1alpha2`, a document for each object.
    Yaml,
    /// The same as a JSON list.
    Json,
    /// JUnit's XML.
    Junit,
    /// SARIF 2.1.0, of failures and errors.
    Sarif,
}

/// How often each result came.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// What holds.
    pub pass: usize,
    /// What does not.
    pub fail: usize,
    /// What does not, and is only worth a warning.
    pub warn: usize,
    /// What could not be found out.
    pub error: usize,
    /// What does not apply.
    pub skip: usize,
}

impl Summary {
    fn count(&mut self, status: Status) {
        *match status {
            Status::Pass => &mut self.pass,
            Status::Fail => &mut self.fail,
            Status::Warn => &mut self.warn,
            Status::Error => &mut self.error,
            Status::Skip => &mut self.skip,
        } += 1;
    }
}

impl std::fmt::Display for Summary {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Summary { pass, fail, warn, error, skip } = self;
        write!(f, "pass: {pass}, fail: {fail}, warn: {warn}, error: {error}, skip: {skip}")
    }
}

/// A report that is being written.
pub struct Report<W> {
    out: W,
    form: Form,
    summary: Summary,
    first: bool,
}

fn part<'v>(object: &'v Value, key: &str) -> &'v str {
    object["metadata"][key].as_str().unwrap_or_default()
}

fn label(object: &Value) -> String {
    let parts = [object["kind"].as_str().unwrap_or("JSON"), part(object, "namespace"), part(object, "name")];
    parts.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join("/")
}

/// What a policy says where its failures are only worth a warning.
fn scored(policy: &Policy, status: Status) -> Status {
    let unscored = policy.metadata.annotation("policies.kyverno.io/scored") == "false";
    if status == Status::Fail && unscored { Status::Warn } else { status }
}

impl<W: Write> Report<W> {
    /// Begins one.
    ///
    /// # Errors
    ///
    /// That it cannot be written; so of the others.
    pub fn new(mut out: W, form: Form, policies: &[Policy]) -> io::Result<Report<W>> {
        match form {
            Form::Json => write!(out, "[")?,
            Form::Junit => writeln!(out, "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites>")?,
            Form::Sarif => write!(out, "{}", sarif_head(policies))?,
            Form::Table | Form::Explained | Form::Yaml => {}
        }
        Ok(Report { out, form, summary: Summary::default(), first: true })
    }

    /// Adds what policies say about an object.
    ///
    /// # Errors
    ///
    /// That it cannot be written.
    pub fn object(&mut self, object: &Value, said: &[(&Policy, RuleOutcome)]) -> io::Result<()> {
        let mut own = Summary::default();
        for (policy, rule) in said {
            let status = scored(policy, rule.status);
            own.count(status);
            self.summary.count(status);
        }
        if said.is_empty() {
            return Ok(());
        }
        match self.form {
            Form::Table | Form::Explained => self.lines(object, said),
            Form::Yaml => {
                let text = serde_saphyr::to_string(&document(object, said, own)).map_err(io::Error::other)?;
                write!(self.out, "{}{text}", if std::mem::take(&mut self.first) { "" } else { "---\n" })
            }
            Form::Json => {
                let comma = if std::mem::take(&mut self.first) { "" } else { "," };
                write!(self.out, "{comma}\n{}", document(object, said, own))
            }
            Form::Junit => self.junit(object, said, own),
            Form::Sarif => self.sarif(object, said),
        }
    }

    fn lines(&mut self, object: &Value, said: &[(&Policy, RuleOutcome)]) -> io::Result<()> {
        for (policy, rule) in said {
            let status = scored(policy, rule.status);
            if self.form == Form::Table && matches!(status, Status::Pass | Status::Skip) {
                continue;
            }
            let name = rule_name(policy, rule);
            writeln!(self.out, "{:<5} {name} {}: {}", status.name(), label(object), rule.message)?;
        }
        Ok(())
    }

    fn junit(&mut self, object: &Value, said: &[(&Policy, RuleOutcome)], own: Summary) -> io::Result<()> {
        let name = xml(&label(object));
        let (tests, failures, errors) = (said.len(), own.fail + own.warn, own.error);
        writeln!(
            self.out,
            "  <testsuite name=\"{name}\" tests=\"{tests}\" failures=\"{failures}\" errors=\"{errors}\" skipped=\"{}\">",
            own.skip
        )?;
        for (policy, rule) in said {
            write!(
                self.out,
                "    <testcase classname=\"{}\" name=\"{}\"",
                xml(&policy.metadata.full_name()),
                xml(&rule.rule)
            )?;
            let tag = match scored(policy, rule.status) {
                Status::Pass => {
                    writeln!(self.out, "/>")?;
                    continue;
                }
                Status::Fail | Status::Warn => "failure",
                Status::Error => "error",
                Status::Skip => "skipped",
            };
            writeln!(self.out, "><{tag} message=\"{}\"/></testcase>", xml(&rule.message))?;
        }
        writeln!(self.out, "  </testsuite>")
    }

    fn sarif(&mut self, object: &Value, said: &[(&Policy, RuleOutcome)]) -> io::Result<()> {
        for (policy, rule) in said {
            let level = match scored(policy, rule.status) {
                Status::Fail | Status::Error => "error",
                Status::Warn => "warning",
                Status::Pass | Status::Skip => continue,
            };
            let result = json!({
                "ruleId": policy.metadata.full_name(),
                "level": level,
                "message": { "text": rule.message },
                "locations": [{ "logicalLocations": [{ "fullyQualifiedName": label(object), "kind": "resource" }] }],
            });
            write!(self.out, "{}{result}", if std::mem::take(&mut self.first) { "" } else { "," })?;
        }
        Ok(())
    }

    /// Ends it.
    ///
    /// # Errors
    ///
    /// That it cannot be written.
    pub fn finish(mut self) -> io::Result<Summary> {
        match self.form {
            Form::Json => writeln!(self.out, "\n]")?,
            Form::Junit => writeln!(self.out, "</testsuites>")?,
            Form::Sarif => writeln!(self.out, "]}}]}}")?,
            Form::Table | Form::Explained => writeln!(self.out, "{}", self.summary)?,
            Form::Yaml => {}
        }
        self.out.flush()?;
        Ok(self.summary)
    }
}

fn rule_name(policy: &Policy, rule: &RuleOutcome) -> String {
    let policy_name = policy.metadata.full_name();
    if policy.is_cel() { policy_name } else { format!("{policy_name}/{}", rule.rule) }
}

/// A report on one object.
fn document(object: &Value, said: &[(&Policy, RuleOutcome)], summary: Summary) -> Value {
    let (name, namespace) = (part(object, "name"), part(object, "namespace"));
    let kind = object["kind"].as_str().unwrap_or("JSON");
    let mut metadata =
        Map::from_iter([("name".to_owned(), json!(format!("{}-{name}", kind.to_lowercase())))]);
    let mut scope = json!({ "apiVersion": object["apiVersion"], "kind": kind, "name": name });
    if !namespace.is_empty() {
        metadata.insert("namespace".to_owned(), json!(namespace));
        scope["namespace"] = json!(namespace);
    }
    let results: Vec<Value> = said.iter().map(|(policy, rule)| result(policy, rule)).collect();
    let Summary { pass, fail, warn, error, skip } = summary;
    json!({
        "apiVersion": "wgpolicyk8s.io/v1alpha2",
        "kind": if namespace.is_empty() { "ClusterPolicyReport" } else { "PolicyReport" },
        "metadata": metadata,
        "scope": scope,
        "results": results,
        "summary": { "pass": pass, "fail": fail, "warn": warn, "error": error, "skip": skip },
    })
}

fn result(policy: &Policy, rule: &RuleOutcome) -> Value {
    let mut result = json!({
        "policy": policy.metadata.full_name(),
        "result": scored(policy, rule.status).name(),
        "scored": policy.metadata.annotation("policies.kyverno.io/scored") != "false",
        "source": "keyward",
        "message": rule.message,
    });
    if !policy.is_cel() {
        result["rule"] = json!(&*rule.rule);
    }
    for (field, annotation) in
        [("category", "policies.kyverno.io/category"), ("severity", "policies.kyverno.io/severity")]
    {
        let value = policy.metadata.annotation(annotation);
        if !value.is_empty() {
            result[field] = json!(value);
        }
    }
    let exceptions = rule.effects.as_deref().map(|effects| &effects.exceptions[..]).unwrap_or_default();
    if !exceptions.is_empty() {
        result["properties"] = json!({ "exceptions": exceptions.join(",") });
    }
    result
}

fn sarif_head(policies: &[Policy]) -> String {
    let rule = |policy: &Policy| {
        let text = policy.metadata.annotation("policies.kyverno.io/description");
        json!({ "id": policy.metadata.full_name(), "shortDescription": { "text": if text.is_empty() { &policy.metadata.name } else { text } } })
    };
    let rules = Value::Array(policies.iter().map(rule).collect());
    format!(
        "{{\"$schema\":\"https://json.schemastore.org/sarif-2.1.0.json\",\"version\":\"2.1.0\",\"runs\":[{{\"tool\":{{\"driver\":\
         {{\"name\":\"keyward\",\"rules\":{rules}}}}},\"results\":["
    )
}

fn xml(text: &str) -> String {
    let fine = |c: char| !c.is_control() || c == '\n' || c == '\t';
    let text: String = text.chars().filter(|c| fine(*c)).collect();
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
        .replace('\n', "&#10;")
}

#[cfg(test)]
mod tests {
    use super::*;
    use keyward_admission::{Leave, Loaded, Operation, Request, RuleKind, Surroundings, load};

    fn report(form: Form) -> String {
        let policy = json!({
            "apiVersion": "kyverno.io/v1", "kind": "ClusterPolicy", "metadata": {"name": "named"},
            "spec": {"rules": [{
                "name": "has-a-name", "match": {"any": [{"resources": {"kinds": ["ConfigMap"]}}]},
                "validate": {"message": "<wrong> & \"bad\"", "pattern": {"metadata": {"name": "a*"}}},
            }]},
        });
        let Ok(Loaded::Policy(policy)) = load(&policy, None) else { panic!("the policy is refused") };
        let policies = vec![*policy];
        let around = Surroundings {
            snapshot: &keyward_admission::Nothing,
            exceptions: &[],
            bindings: &[],
            now: 0,
            seed: 1,
            leave: Leave::Full,
        };
        let mut out = Vec::new();
        let mut report = Report::new(&mut out, form, &policies).unwrap();
        for name in ["abc", "xyz"] {
            let object = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "namespace": "n"}});
            let request = Request::of_object(object.clone(), Operation::Create);
            let outcome = policies[0].decide(RuleKind::Validation, &request, &around);
            let said: Vec<_> = outcome.rules.into_iter().map(|rule| (&policies[0], rule)).collect();
            report.object(&object, &said).unwrap();
        }
        let summary = report.finish().unwrap();
        assert_eq!((summary.pass, summary.fail), (1, 1));
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn every_form() {
        let table = report(Form::Table);
        assert!(
            table.starts_with("fail  named/has-a-name ConfigMap/n/xyz: ")
                && table.contains("pass: 1, fail: 1"),
            "{table}"
        );
        let json: Value = serde_json::from_str(&report(Form::Json)).unwrap();
        assert_eq!(json[1]["summary"]["fail"], 1);
        let sarif: Value = serde_json::from_str(&report(Form::Sarif)).unwrap();
        assert_eq!(sarif["runs"][0]["results"].as_array().map(Vec::len), Some(1));
        assert!(report(Form::Junit).contains("&lt;wrong&gt; &amp; &quot;bad&quot;"));
        assert_eq!(keyward_admission::yaml::values(&report(Form::Yaml)).unwrap().len(), 2);
    }
}
