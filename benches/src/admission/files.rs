//! The program on files: many pods, and all test suites that are at hand.

use super::{POD_SECURITY, POD_SECURITY_CEL, pods};
use crate::Failure;
use crate::measure::figure;
use keyward_testkit::conformance;
use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// What a process used.
struct Used {
    /// Of the processor, in seconds.
    cpu: f64,
    /// At most at once, in MB (10^6 bytes).
    memory: f64,
}

pub(super) fn figures(program: &Path) -> Result<(), Failure> {
    let folder = tempfile::tempdir()?;
    let place = |name: &str| folder.path().join(name);
    for (name, text) in
        [("patterns.yaml", POD_SECURITY), ("cel.yaml", POD_SECURITY_CEL), ("pods.yaml", &pods::text(10_000))]
    {
        fs::write(place(name), text)?;
    }
    fs::write(place("few.yaml"), pods::text(1_000))?;
    let apply = |policies: &str, pods: &str| {
        let mut command = Command::new(program);
        command.args(["policy", "apply"]).arg(place(policies)).arg("--resource").arg(place(pods));
        used(&mut command)
    };
    let many = apply("patterns.yaml", "pods.yaml")?;
    let what = "17 policies on 10,000 pods";
    figure("admission-apply-cpu", many.cpu / 4.0, format!("{:.2} s of 4 s for {what}", many.cpu))?;
    figure("admission-apply-memory", many.memory / 100.0, format!("{:.1} MB of 100 MB", many.memory))?;
    let few = apply("cel.yaml", "few.yaml")?;
    let what = "16 policies in CEL on 1,000 pods";
    figure("admission-apply-cel-cpu", few.cpu, format!("{:.2} s of 1 s for {what}", few.cpu))?;
    match conformance::folder("kyverno") {
        Ok(suites) => {
            let all = used(Command::new(program).args(["policy", "test"]).arg(suites))?;
            figure("admission-suites-cpu", all.cpu / 3.0, format!("{:.2} s of 3 s for all suites", all.cpu))
        }
        Err(why) => {
            eprintln!("the suites are left out: {why}");
            Ok(())
        }
    }
}

/// Runs a command to its end. What it says does not count, nor how it ends: some policies and suites are made to fail.
fn used(command: &mut Command) -> Result<Used, Failure> {
    let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn()?;
    let mut child = Reaped(child);
    let mut memory = 0f64;
    loop {
        let (ended, cpu) = state(child.0.id())?;
        if ended {
            return match child.0.wait()?.code() {
                Some(0 | 1) => Ok(Used { cpu, memory }),
                other => Err(format!("the program ended with {other:?}").into()),
            };
        }
        if let Ok(peak) = peak_of(child.0.id()) {
            memory = memory.max(peak);
        }
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// Ends with its handle.
struct Reaped(Child);

impl Drop for Reaped {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Whether a process has ended, and the processor time that it used; until it is waited for the kernel knows both.
fn state(pid: u32) -> Result<(bool, f64), Failure> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    let ticks = |at: usize| fields.get(at).and_then(|field| field.parse::<f64>().ok());
    let used = ticks(11).zip(ticks(12)).ok_or("the kernel does not say how much time a process used")?;
    Ok((fields.first() == Some(&"Z"), (used.0 + used.1) / 100.0))
}

/// The most memory a process has had, in MB.
fn peak_of(pid: u32) -> Result<f64, Failure> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).ok_or("no VmHWM")?;
    Ok(line.trim().trim_end_matches(" kB").parse::<f64>()? * 1024.0 / 1e6)
}
