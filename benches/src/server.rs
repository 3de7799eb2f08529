//! A server under measurement: a process whose time and memory the kernel accounts for.

use crate::Failure;
use std::fs;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

/// What names the address on the bare server's and on Keyward's output.
const ADDRESS: &str = "Address:";

/// How long servers have to notice that nobody asks for anything.
const REST: Duration = Duration::from_secs(3);

/// Ends with its handle.
pub(crate) struct Server {
    child: Child,
    /// What it prints by name: `Root token:` and the like.
    printed: Vec<(String, String)>,
    pub(crate) address: SocketAddr,
    /// From before the process was there until it named its address.
    pub(crate) started_in: Duration,
    /// Kept open: a closed pipe would fail whatever the server prints later.
    _output: Option<BufReader<ChildStdout>>,
}

impl Server {
    /// Starts `command`, which must print its address in a line of its own, and waits for the empty line behind it.
    pub(crate) fn start(command: &mut Command) -> Result<Server, Failure> {
        let began = Instant::now();
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn()?;
        let mut output = BufReader::new(child.stdout.take().ok_or("the server's output is not there")?);
        let mut printed: Vec<(String, String)> = Vec::new();
        let mut address = None;
        let mut started_in = Duration::ZERO;
        let mut line = String::new();
        while output.read_line(&mut line)? > 0 {
            if let Some(named) = line.strip_prefix(ADDRESS) {
                started_in = began.elapsed();
                address = named.trim().trim_start_matches("http://").parse().ok();
            } else if let Some((name, value)) = line.split_once(": ") {
                printed.push((name.to_owned(), value.trim().to_owned()));
            } else if line.trim().is_empty() && address.is_some() {
                break;
            }
            line.clear();
        }
        let Some(address) = address else {
            let _ = child.kill();
            let _ = child.wait();
            return Err("the server named no address".into());
        };
        Ok(Server { child, printed, address, started_in, _output: Some(output) })
    }

    /// Starts `command`, which listens at `address` without saying so. It is for the caller to find out when it answers.
    pub(crate) fn silent(command: &mut Command, address: SocketAddr) -> Result<Server, Failure> {
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn()?;
        Ok(Server { child, printed: Vec::new(), address, started_in: Duration::ZERO, _output: None })
    }

    /// What the server printed after `name: `.
    pub(crate) fn printed(&self, name: &str) -> Result<&str, Failure> {
        let found = self.printed.iter().find(|(known, _)| known == name);
        Ok(found.map(|(_, value)| value.as_str()).ok_or_else(|| format!("the server printed no {name}"))?)
    }

    /// Processor time used so far, in microseconds.
    pub(crate) fn cpu(&self) -> Result<f64, Failure> {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.child.id()))?;
        // The name may hold spaces; user and system time are the twelfth and thirteenth fields behind it.
        let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or("").split_whitespace().collect();
        let ticks = |at: usize| fields.get(at).and_then(|field| field.parse::<f64>().ok());
        let ticks = ticks(11).zip(ticks(12)).ok_or("the kernel does not say how much time a process used")?;
        // The kernel counts in hundredths of a second for user space, whatever its own tick is.
        Ok((ticks.0 + ticks.1) * 10_000.0)
    }

    /// Resident memory now, in MB (10^6 bytes).
    pub(crate) fn memory(&self) -> Result<f64, Failure> {
        memory_of(self.child.id())
    }

    /// The most resident memory it has had, in MB.
    pub(crate) fn peak(&self) -> Result<f64, Failure> {
        peak_of(self.child.id())
    }

    /// Resident memory after some seconds without requests, in which servers give back what they do not need, in MB.
    pub(crate) fn memory_at_rest(&self) -> Result<f64, Failure> {
        std::thread::sleep(REST);
        self.memory()
    }

    /// Ends it and waits: its files may then be used.
    pub(crate) fn stop(mut self) {
        self.end();
    }

    fn end(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.end();
    }
}

/// Resident memory of a process now, in MB (10^6 bytes).
pub(crate) fn memory_of(pid: u32) -> Result<f64, Failure> {
    status_of(pid, "VmRSS:")
}

/// The most resident memory a process has had, in MB (10^6 bytes).
pub(crate) fn peak_of(pid: u32) -> Result<f64, Failure> {
    status_of(pid, "VmHWM:")
}

fn status_of(pid: u32, name: &str) -> Result<f64, Failure> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix(name));
    let kib = line.and_then(|line| line.trim().strip_suffix(" kB")?.trim().parse::<f64>().ok());
    Ok(kib.ok_or("the kernel does not say how much memory a process has")? * 1024.0 / 1e6)
}

/// Open descriptors of a process now.
pub(crate) fn descriptors_of(pid: u32) -> Result<usize, Failure> {
    Ok(fs::read_dir(format!("/proc/{pid}/fd"))?.count())
}
