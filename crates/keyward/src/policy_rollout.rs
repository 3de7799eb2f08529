//! `keyward policy rollout`: from audit to enforcement.

use crate::cli::Failure;
use crate::cli::input::content;
use crate::cli::output::{self, Output, columns};
use crate::policy_outside::Live;
use crate::services::ClusterArgs;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use keyward_admission_server::listing;
use keyward_policy_files::load;
use keyward_policy_files::rollout::{Findings, Plan, Policies, Stage, date};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// Objects that the table lists of a policy; the other formats list all.
const SHOWN: usize = 20;

/// Policies that are on their way from audit to enforcement
#[derive(clap::Args)]
pub(crate) struct RolloutArgs {
    /// Files and folders of policies, or - for standard input; those of the cluster without any
    #[arg(value_name = "POLICY")]
    policies: Vec<PathBuf>,
    /// Files and folders of PolicyReports or Reports, or - for standard input; those of the cluster without any
    #[arg(long = "report", value_name = "FILE")]
    reports: Vec<PathBuf>,
    #[command(flatten)]
    cluster: ClusterArgs,
    /// As of this day, such as 2027-01-31; today in UTC otherwise
    #[arg(long, value_name = "DAY", value_parser = day)]
    on: Option<Date>,
    /// Only policies whose day has come; exit code 1 if enforcing them would refuse something that is there
    #[arg(long)]
    due: bool,
    /// Make policies whose day has come enforcing ones, in their files
    #[arg(long, requires = "policies")]
    write: bool,
}

fn day(text: &str) -> Result<Date, String> {
    date(text)?.ok_or_else(|| "a day is written as 2027-01-31".to_owned())
}

fn usage(why: String) -> Failure {
    Failure::Usage(why)
}

fn is_stdin(path: &Path) -> bool {
    path.as_os_str() == "-"
}

pub(crate) fn rollout(args: &RolloutArgs, out: &Output) -> Result<(), Failure> {
    if args.policies.iter().chain(&args.reports).filter(|path| is_stdin(path)).count() > 1 {
        return Err(usage("standard input can be read once: name files for the rest".to_owned()));
    }
    let (mut policies, mut findings) = (Policies::default(), Findings::default());
    for path in &args.policies {
        let read = if is_stdin(path) { policies.text(&content("-")?) } else { policies.add(path) };
        read.map_err(usage)?;
    }
    for path in &args.reports {
        let read = if is_stdin(path) { findings.text(&content("-")?) } else { findings.files(path) };
        read.map_err(usage)?;
    }
    if args.policies.is_empty() || args.reports.is_empty() {
        ask(args, &mut policies, &mut findings)?;
    }
    if findings.reports == 0 {
        let why = "there is no report, so nobody knows what would be refused: name files with --report, or serve policies \
                   in the cluster (keyward policy serve) until it has written some";
        return Err(usage(why.to_owned()));
    }
    let on = args.on.unwrap_or_else(|| jiff::Timestamp::now().to_zoned(TimeZone::UTC).date());
    let mut plans = policies.plans(&findings, on).map_err(usage)?;
    plans.retain(|plan| !args.due || plan.stage == Stage::Due);
    let due: Vec<&Plan> = plans.iter().filter(|plan| plan.stage == Stage::Due).collect();
    let mut written = Vec::new();
    if args.write {
        for (file, text) in policies.enforcing(&due).map_err(usage)? {
            load::replace(&file, &text).map_err(usage)?;
            written.push(file.display().to_string());
        }
    }
    match out.is_table() {
        true => table(args, &plans, &findings, &written, on)?,
        false => out.value(&whole(&plans, &findings, on, &written))?,
    }
    if args.due && due.iter().any(|plan| !plan.refuses.is_empty()) { Err(Failure::Code(1)) } else { Ok(()) }
}

/// Asks the cluster for what no file was named for.
fn ask(args: &RolloutArgs, policies: &mut Policies, findings: &mut Findings) -> Result<(), Failure> {
    let live = Live::connect(&args.cluster)?;
    if args.policies.is_empty() {
        let found = live.wait(listing::policies(&live.cluster))?;
        found.into_iter().try_for_each(|object| policies.insert(object, None)).map_err(usage)?;
    }
    if args.reports.is_empty() {
        live.wait(listing::reports(&live.cluster))?.iter().for_each(|report| findings.add(report));
    }
    Ok(())
}

fn namespaces(plan: &Plan) -> BTreeSet<&str> {
    plan.refuses.iter().map(|one| one.namespace.as_str()).filter(|name| !name.is_empty()).collect()
}

fn whole(plans: &[Plan], findings: &Findings, on: Date, written: &[String]) -> Value {
    let plan = |plan: &Plan| {
        let refuses = plan.refuses.iter().map(|one| {
            json!({"namespace": one.namespace, "kind": one.kind, "name": one.name, "message": one.message})
        });
        json!({
            "policy": plan.policy, "kind": plan.kind, "tier": plan.tier, "stage": plan.stage.name(),
            "enforceAfter": plan.after.map(|day| day.to_string()), "results": plan.results,
            "namespaces": namespaces(plan), "wouldRefuse": refuses.collect::<Vec<_>>(),
        })
    };
    json!({
        "on": on.to_string(), "policies": plans.iter().map(plan).collect::<Vec<_>>(),
        "incomplete": findings.incomplete, "written": written,
    })
}

fn table(
    args: &RolloutArgs,
    plans: &[Plan],
    findings: &Findings,
    written: &[String],
    on: Date,
) -> Result<(), Failure> {
    let (enforced, open): (Vec<&Plan>, Vec<&Plan>) =
        plans.iter().partition(|plan| plan.stage == Stage::Enforced);
    let row = |plan: &&Plan| {
        let days = plan.after.and_then(|day| on.until(day).ok()).map(|span| span.get_days());
        let stage = match (plan.stage, days) {
            (Stage::Planned, Some(1)) => "in 1 day".to_owned(),
            (Stage::Planned, Some(days)) => format!("in {days} days"),
            (stage, _) => stage.name().to_owned(),
        };
        let refuses = match plan.results {
            None => "not in reports".to_owned(),
            Some(0) => "no results".to_owned(),
            Some(_) => plan.refuses.len().to_string(),
        };
        let day = plan.after.map(|day| day.to_string()).unwrap_or_default();
        vec![plan.policy.clone(), plan.tier.clone(), day, stage, refuses, namespaces(plan).len().to_string()]
    };
    if !open.is_empty() {
        let headings = ["Policy", "Tier", "Enforce after", "Stage", "Would refuse", "In namespaces"];
        output::line(&columns(&headings, &open.iter().map(row).collect::<Vec<_>>()))?;
    }
    for plan in open.iter().filter(|plan| !plan.refuses.is_empty()) {
        output::line(&format!("\n{} would refuse:", plan.policy))?;
        for one in plan.refuses.iter().take(SHOWN) {
            let parts = [one.kind.as_str(), &one.namespace, &one.name];
            let name = parts.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join("/");
            output::line(&format!("  {name}: {}", one.message))?;
        }
        if plan.refuses.len() > SHOWN {
            output::line(&format!("  and {} more, which -o json lists", plan.refuses.len() - SHOWN))?;
        }
    }
    let due = open.iter().filter(|plan| plan.stage == Stage::Due).count();
    let (open, enforced) = (open.len(), enforced.len());
    output::line(&match args.due {
        true => format!("\n{due} policies are due"),
        false => format!("\n{open} policies are audited, {due} of them due; {enforced} are enforced"),
    })?;
    if !findings.incomplete.is_empty() {
        let names = findings.incomplete.iter().map(String::as_str).collect::<Vec<_>>().join(", ");
        output::line(&format!("The reports of {names} leave failures out: there are more than these"))?;
    }
    written.iter().try_for_each(|file| output::line(&format!("Changed {file}")))
}
