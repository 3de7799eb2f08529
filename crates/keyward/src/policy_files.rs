//! `keyward policy test|apply|jp|cel|lint`: admission policies in files, without an authority and mostly without a cluster.

use crate::cli::Failure;
use crate::cli::input::content;
use crate::cli::output::{self, Format, Output};
use crate::policy_outside::{FromHere, Live};
use crate::services::ClusterArgs;
use clap::{Args, ValueEnum};
use keyward_admission::{Operation, evaluate, functions, search, yaml};
use keyward_admission_server::{Catalog, listing};
use keyward_policy_files::apply::Apply;
use keyward_policy_files::git::Tree;
use keyward_policy_files::judge::Row;
use keyward_policy_files::load::{self, Policies};
use keyward_policy_files::report::{Form, Report};
use keyward_policy_files::suite;
use keyward_policy_files::world::Outside;
use serde_json::Value;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

/// Test suites of admission policies
#[derive(Args)]
pub(crate) struct Test {
    /// Folders that are searched for suites, or suites
    #[arg(required = true, value_name = "DIR|FILE")]
    paths: Vec<PathBuf>,
    /// How files with suites are named
    #[arg(long, value_name = "NAME", default_value = suite::FILE)]
    file_name: String,
    /// Show only what fails
    #[arg(long)]
    fail_only: bool,
    /// As they stand in this revision of the Git repository that they are in
    #[arg(long, value_name = "REVISION")]
    revision: Option<String>,
}

/// Policies, and objects they are applied to
#[derive(Args)]
pub(crate) struct ApplyArgs {
    /// Files and folders of policies, exceptions and bindings; - is standard input
    #[arg(required_unless_present = "live", value_name = "POLICY")]
    policies: Vec<PathBuf>,
    /// Files and folders of objects; - is standard input
    #[arg(long, short, required_unless_present = "live", value_name = "FILE")]
    resource: Vec<PathBuf>,
    /// Objects of the cluster that the policies are for, in the place of files; its own policies where no file of them is named
    #[arg(long = "cluster", conflicts_with_all = ["resource", "revision"])]
    live: bool,
    /// With --cluster: only objects in this namespace
    #[arg(long, value_name = "NAME", requires = "live")]
    of_namespace: Option<String>,
    #[command(flatten)]
    cluster: ClusterArgs,
    /// Files of objects that policies find where they look into the cluster
    #[arg(long, value_name = "FILE")]
    cluster_resource: Vec<PathBuf>,
    /// A file with the UserInfo of who asks
    #[arg(long, value_name = "FILE")]
    userinfo: Option<PathBuf>,
    /// What is done with the objects
    #[arg(long, value_parser = ["CREATE", "UPDATE", "DELETE"], default_value = "CREATE")]
    operation: String,
    /// How the report is written; as --output says, where this does not
    #[arg(long, value_enum)]
    report: Option<ReportForm>,
    /// Write what is changed and generated, as YAML, in the place of the report
    #[arg(long, conflicts_with = "report")]
    changed: bool,
    /// Ask registries for signatures and data of images, with the credentials of Docker's configuration
    #[arg(long)]
    registry: bool,
    /// As they stand in this revision of the Git repository that they are in
    #[arg(long, value_name = "REVISION")]
    revision: Option<String>,
}

#[derive(Clone, Copy, ValueEnum)]
enum ReportForm {
    /// What does not hold, a line each
    Table,
    /// Rule by rule why, also of what holds or does not apply
    Explained,
    /// PolicyReports
    Yaml,
    /// PolicyReports
    Json,
    /// JUnit XML
    Junit,
    /// SARIF 2.1.0
    Sarif,
}

/// A JMESPath expression, with the functions of policies
#[derive(Args)]
pub(crate) struct Jp {
    /// The expression; without it, the functions are listed
    expression: Option<String>,
    /// A file with the document, YAML or JSON; - is standard input
    #[arg(long, short, value_name = "FILE", default_value = "-")]
    input: String,
}

/// A CEL expression, with the functions of policies
#[derive(Args)]
pub(crate) struct Cel {
    /// The expression
    expression: String,
    /// A file with what it sees as `object`; - is standard input
    #[arg(long, value_name = "FILE")]
    object: Option<String>,
    /// A file with what it sees as `oldObject`
    #[arg(long, value_name = "FILE")]
    old_object: Option<String>,
    /// A file with what it sees as `request`
    #[arg(long, value_name = "FILE")]
    request: Option<String>,
    /// A file with what it sees as `namespaceObject`
    #[arg(long, value_name = "FILE")]
    namespace_object: Option<String>,
    /// A file with what it sees as `params`
    #[arg(long, value_name = "FILE")]
    params: Option<String>,
}

/// Policies that are only read
#[derive(Args)]
pub(crate) struct Lint {
    /// Files and folders of policies
    #[arg(required = true, value_name = "FILE")]
    paths: Vec<PathBuf>,
}

pub(crate) fn now() -> i128 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i128::try_from(since.as_nanos()).unwrap_or(i128::MAX)
}

fn usage(why: String) -> Failure {
    Failure::Usage(why)
}

/// Paths, in a tree of a revision where one is asked for.
fn located(paths: &[PathBuf], revision: Option<&str>) -> Result<(Vec<PathBuf>, Option<Tree>), Failure> {
    let (Some(revision), Some(first)) = (revision, paths.first()) else {
        return Ok((paths.to_owned(), None));
    };
    let tree = Tree::new(first, revision).map_err(usage)?;
    let located = paths.iter().map(|path| tree.path(path)).collect::<Result<Vec<_>, _>>().map_err(usage)?;
    Ok((located, Some(tree)))
}

pub(crate) fn test(args: &Test, out: &Output) -> Result<(), Failure> {
    let (paths, _tree) = located(&args.paths, args.revision.as_deref())?;
    let mut rows = Vec::new();
    let mut unread = Vec::new();
    for path in &paths {
        for suite in suite::find(path, &args.file_name).map_err(usage)? {
            match suite.run(now()) {
                Ok(found) => rows.extend(found),
                Err(why) => unread.push(format!("{} ({}): {why}", suite.name, suite.folder.display())),
            }
        }
    }
    let failed = rows.iter().filter(|row| !row.passed).count() + unread.len();
    if out.is_table() {
        let shown: Vec<&Row> = rows.iter().filter(|row| !row.passed || !args.fail_only).collect();
        let cells = |row: &&Row| {
            let verdict = if row.passed { "Pass" } else { "Fail" };
            [&*row.policy, &row.rule, &row.resource, verdict, &row.reason].map(str::to_owned).to_vec()
        };
        let cells: Vec<Vec<String>> = shown.iter().map(cells).collect();
        if !cells.is_empty() {
            out.rows(&["Policy", "Rule", "Resource", "Result", "Reason"], &cells, &Value::Null)?;
        }
        unread.iter().try_for_each(|why| output::line(&format!("Error: {why}")))?;
        let passed = rows.len() + unread.len() - failed;
        output::line(&format!("\nTest Summary: {passed} tests passed and {failed} tests failed"))?;
    } else {
        let row = |row: &Row| {
            serde_json::json!({
                "policy": row.policy, "rule": row.rule, "resource": row.resource,
                "passed": row.passed, "reason": row.reason, "message": row.message,
            })
        };
        out.value(&serde_json::json!({
            "results": rows.iter().map(row).collect::<Vec<_>>(), "errors": unread,
            "passed": rows.len() + unread.len() - failed, "failed": failed,
        }))?;
    }
    if failed > 0 { Err(Failure::Code(1)) } else { Ok(()) }
}

pub(crate) fn policies(paths: &[PathBuf]) -> Result<Policies, Failure> {
    let mut policies = Policies::default();
    for path in paths {
        if path.as_os_str() == "-" {
            policies.text(&content("-")?, "-").map_err(usage)?;
        } else {
            policies.add(path).map_err(usage)?;
        }
    }
    for (file, why) in &policies.refused {
        eprintln!("{file}: {why}");
    }
    Ok(policies)
}

fn document(file: &str) -> Result<Value, Failure> {
    let text = if file == "-" { content("-")? } else { load::text(Path::new(file)).map_err(usage)? };
    let values = yaml::values(&text).map_err(|fault| usage(format!("{file}: {fault}")))?;
    Ok(values.into_iter().next().unwrap_or(Value::Null))
}

pub(crate) fn apply(args: &ApplyArgs, out: &Output) -> Result<(), Failure> {
    let all: Vec<PathBuf> =
        args.policies.iter().chain(&args.resource).chain(&args.cluster_resource).cloned().collect();
    let of_stdin = |path: &&PathBuf| path.as_os_str() == "-";
    let stdin = args.resource.iter().any(|path| of_stdin(&path));
    if args.policies.iter().chain(&args.resource).filter(of_stdin).count() > 1 {
        return Err(usage("standard input can be read once: name files for the rest".to_owned()));
    }
    if all.iter().any(|path| of_stdin(&path)) && args.revision.is_some() {
        return Err(usage("standard input has no revision: name a file".to_owned()));
    }
    let (all, _tree) = located(&all, args.revision.as_deref())?;
    let (of_policies, rest) = all.split_at(args.policies.len());
    let (resources, of_cluster) = rest.split_at(args.resource.len());
    let mut apply = Apply { policies: policies(of_policies)?, now: now(), ..Apply::default() };
    let cluster = args.live.then(|| Live::connect(&args.cluster)).transpose()?;
    let found = cluster.as_ref().map(|live| ask(live, args, &mut apply)).transpose()?;
    if !apply.policies.refused.is_empty() {
        return Err(Failure::Code(1));
    }
    apply.operation = Operation::parse(&args.operation);
    for path in of_cluster {
        for file in load::files(path).map_err(usage)? {
            apply.world.objects.extend(load::resources(&file).map_err(usage)?);
        }
    }
    let (outside, live) = match (cluster, found) {
        (Some(live), Some(found)) => {
            let told = apply.world.objects.iter().chain(&apply.policies.globals);
            (Some(live.outside(found.catalog, found.globals.iter().chain(told))), found.objects)
        }
        _ => (None, Vec::new()),
    };
    let outside = match args.registry {
        true => Some(outside.map_or_else(FromHere::nobody, Ok)?.with_registries(&apply.world.objects)),
        false => outside,
    };
    apply.world.outside = outside.map(|outside| Box::new(outside) as Box<dyn Outside>);
    if let Some(file) = &args.userinfo {
        let mut info = document(&file.display().to_string())?;
        let inner = info["userInfo"].take();
        apply.user = Some(if inner.is_null() { info } else { inner });
    }
    let form = match args.report {
        Some(ReportForm::Table) => Form::Table,
        Some(ReportForm::Explained) => Form::Explained,
        Some(ReportForm::Yaml) => Form::Yaml,
        Some(ReportForm::Json) => Form::Json,
        Some(ReportForm::Junit) => Form::Junit,
        Some(ReportForm::Sarif) => Form::Sarif,
        None => match out.format() {
            Format::Table => Form::Table,
            Format::Json => Form::Json,
            Format::Yaml => Form::Yaml,
        },
    };
    let written: Box<dyn Write> = if args.changed {
        Box::new(std::io::sink())
    } else {
        Box::new(BufWriter::new(std::io::stdout().lock()))
    };
    let report = Report::new(written, form, &apply.policies.policies)?;
    let mut changed = Vec::new();
    let mut made = |object: &Value| {
        if args.changed {
            changed.push(object.clone());
        }
    };
    let summary = if args.live {
        let mut report = report;
        for object in live {
            apply.object(object, &mut report, &mut made).map_err(usage)?;
        }
        report.finish()?
    } else if stdin {
        let mut report = report;
        apply.text(&content("-")?, Path::new("-"), &mut report, &mut made).map_err(usage)?;
        report.finish()?
    } else {
        apply.files(resources, report, &mut made).map_err(usage)?
    };
    for object in &changed {
        output::line(&format!("---\n{}", output::yaml(object)?.trim_end()))?;
    }
    if summary.fail + summary.error > 0 { Err(Failure::Code(1)) } else { Ok(()) }
}

/// What the cluster has for the policies.
struct Found {
    catalog: Catalog,
    globals: Vec<Value>,
    objects: Vec<Value>,
}

/// Asks the cluster for objects, and for policies where no file of them was named.
fn ask(live: &Live, args: &ApplyArgs, apply: &mut Apply) -> Result<Found, Failure> {
    if args.policies.is_empty() {
        for policy in live.wait(listing::policies(&live.cluster))? {
            let name = format!("{} {}", policy["kind"], policy["metadata"]["name"]).replace('"', "");
            apply.policies.text(&policy.to_string(), &name).map_err(usage)?;
        }
        for (name, why) in apply.policies.refused.drain(..) {
            eprintln!("{name} is left out: {why}");
        }
    }
    apply.world.objects.extend(live.wait(listing::namespaces(&live.cluster))?);
    let catalog = live.wait(listing::catalog(&live.cluster))?;
    let globals = live.wait(listing::global_context(&live.cluster))?;
    let (policies, namespace) = (&apply.policies.policies, args.of_namespace.as_deref());
    let objects = live.wait(listing::objects(&live.cluster, &catalog, policies, namespace))?;
    Ok(Found { catalog, globals, objects })
}

pub(crate) fn jp(args: &Jp, out: &Output) -> Result<(), Failure> {
    let Some(expression) = &args.expression else {
        return functions().try_for_each(output::line);
    };
    let found = search(expression, &document(&args.input)?).map_err(usage)?;
    if out.is_table() { output::line(&format!("{found:#}")) } else { out.value(&found) }
}

pub(crate) fn cel(args: &Cel, out: &Output) -> Result<(), Failure> {
    let named = [
        ("object", &args.object),
        ("oldObject", &args.old_object),
        ("request", &args.request),
        ("namespaceObject", &args.namespace_object),
        ("params", &args.params),
    ];
    let mut values = Vec::new();
    for (name, file) in named {
        values.push((name, file.as_deref().map_or(Ok(Value::Null), document)?));
    }
    let bindings: Vec<(&'static str, &Value)> = values.iter().map(|(name, value)| (*name, value)).collect();
    let found = evaluate(&args.expression, &bindings, now()).map_err(usage)?;
    if out.is_table() { output::line(&format!("{found:#}")) } else { out.value(&found) }
}

pub(crate) fn lint(args: &Lint) -> Result<(), Failure> {
    let policies = policies(&args.paths)?;
    let (fine, wrong) = (
        policies.policies.len() + policies.exceptions.len() + policies.bindings.len(),
        policies.refused.len(),
    );
    output::line(&format!("{fine} policies can be used, {wrong} cannot"))?;
    if wrong > 0 { Err(Failure::Code(1)) } else { Ok(()) }
}
