//! Child processes of tests: started with their output in a file, ended by what was recorded of them.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{
    Pid, PidfdFlags, Signal, WaitOptions, kill_process_group, pidfd_open, pidfd_send_signal, waitpid,
};

/// How often a condition is looked at again.
const POLL: Duration = Duration::from_millis(25);

/// One process, told apart from a later one with the same number by when it started.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[cfg_attr(feature = "cluster", derive(serde::Serialize, serde::Deserialize))]
pub struct ProcessId {
    pid: i32,
    /// Clock ticks from boot to the process's start: field 22 of `/proc/PID/stat`, see proc_pid_stat(5).
    started: u64,
}

impl ProcessId {
    /// What runs as `pid` now; none when there is no such process or it has ended.
    pub fn of(pid: u32) -> Option<ProcessId> {
        let pid = i32::try_from(pid).ok()?;
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        // The command's name, in parentheses, may itself hold spaces and parentheses.
        let mut fields = stat.get(stat.rfind(')')? + 1..)?.split_ascii_whitespace();
        let state = fields.next()?;
        let started = fields.nth(18)?.parse().ok()?;
        (!matches!(state, "Z" | "X")).then_some(ProcessId { pid, started })
    }

    /// The process's number.
    pub fn pid(self) -> u32 {
        self.pid.unsigned_abs()
    }

    /// Whether the very same process still runs; one that ended and was not waited for does not.
    pub fn is_running(self) -> bool {
        ProcessId::of(self.pid()) == Some(self)
    }

    /// Sends `signal` to this process and to no other; false when it has ended already.
    pub fn signal(self, signal: Signal) -> io::Result<bool> {
        let Some(pid) = Pid::from_raw(self.pid) else { return Ok(false) };
        let handle = match pidfd_open(pid, PidfdFlags::empty()) {
            Ok(handle) => handle,
            Err(rustix::io::Errno::SRCH) => return Ok(false),
            Err(error) => return Err(error.into()),
        };
        // The handle keeps the number from being given away between this look and the signal.
        if !self.is_running() {
            return Ok(false);
        }
        match pidfd_send_signal(&handle, signal) {
            Ok(()) => Ok(true),
            Err(rustix::io::Errno::SRCH) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    /// Asks the process to end, and ends it after `grace`. Returns when it has ended.
    pub fn terminate(self, grace: Duration) -> io::Result<()> {
        if self.signal(Signal::TERM)? && !self.ended_within(grace) {
            self.kill()?;
        }
        self.reap();
        Ok(())
    }

    /// Ends the process at once. Returns when it has ended.
    pub fn kill(self) -> io::Result<()> {
        if self.signal(Signal::KILL)? && !self.ended_within(Duration::from_secs(30)) {
            return Err(io::Error::new(
                io::ErrorKind::TimedOut,
                format!("process {} outlives SIGKILL", self.pid),
            ));
        }
        self.reap();
        Ok(())
    }

    fn ended_within(self, limit: Duration) -> bool {
        wait_for("a process to end", limit, || (!self.is_running()).then_some(())).is_ok()
    }

    /// Takes the exit status of an ended child of ours, so that no zombie stays; not ours is not an error.
    fn reap(self) {
        if let Some(pid) = Pid::from_raw(self.pid) {
            let _ = waitpid(Some(pid), WaitOptions::NOHANG);
        }
    }
}

/// Starts `command` with no input and its output appended to `log`, in a process group of its own so that a
/// Ctrl-C meant for the test runner does not reach it. It outlives the caller.
pub fn spawn_detached(command: &mut Command, log: &Path) -> io::Result<ProcessId> {
    let child = spawn(command, log)?;
    ProcessId::of(child.id()).ok_or_else(|| {
        io::Error::other(format!("{} ended as soon as it started; see {}", name(command), log.display()))
    })
}

fn spawn(command: &mut Command, log: &Path) -> io::Result<Child> {
    let output = OpenOptions::new().create(true).append(true).open(log)?;
    command.stdin(Stdio::null()).stdout(output.try_clone()?).stderr(output).process_group(0);
    command
        .spawn()
        .map_err(|error| io::Error::new(error.kind(), format!("cannot start {}: {error}", name(command))))
}

fn name(command: &Command) -> String {
    command.get_program().to_string_lossy().into_owned()
}

/// Ends a process group when it is dropped, and also when the process that holds it ends in any other way: killed,
/// aborted, interrupted at the terminal.
///
/// A shell in the group reads from a pipe that only the holder can write to. Once nobody can, the read ends, and the
/// shell kills its group. Being of the group it also keeps the group's number from being given to another.
#[derive(Debug)]
pub struct Group {
    leader: Pid,
    guard: Child,
    _held: Option<ChildStdin>,
}

impl Group {
    /// Guards the group that `leader`, a child of this process that has not been waited for, was started in with
    /// [`CommandExt::process_group`]`(0)`.
    pub fn of(leader: &Child) -> io::Result<Group> {
        let number = i32::try_from(leader.id()).map_err(io::Error::other)?;
        let mut guard = Command::new("sh");
        guard.args(["-c", "read -r _; kill -KILL 0"]).process_group(number);
        guard.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
        let mut guard = guard.spawn()?;
        let held = guard.stdin.take();
        let leader = Pid::from_raw(number).ok_or_else(|| io::Error::other("a process has the number 0"))?;
        Ok(Group { leader, guard, _held: held })
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        let _ = kill_process_group(self.leader, Signal::KILL);
        let _ = self.guard.wait();
    }
}

/// A child that ends with the test that holds it, with whatever of its group it leaves, however the test ends.
#[derive(Debug)]
pub struct Process {
    child: Child,
    log: PathBuf,
    /// Dropped after the child was waited for.
    _group: Group,
}

impl Process {
    /// Starts `command` with no input and its output appended to `log`.
    pub fn spawn(command: &mut Command, log: &Path) -> io::Result<Process> {
        let mut child = spawn(command, log)?;
        match Group::of(&child) {
            Ok(group) => Ok(Process { child, log: log.to_owned(), _group: group }),
            Err(why) => {
                child.kill()?;
                child.wait()?;
                Err(io::Error::new(why.kind(), format!("{} cannot be guarded: {why}", name(command))))
            }
        }
    }

    /// The child's process number.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// What the child has written so far.
    pub fn output(&self) -> io::Result<String> {
        read_lossy(&self.log)
    }

    /// The child's exit status, once it has ended.
    pub fn exited(&mut self) -> io::Result<Option<ExitStatus>> {
        self.child.try_wait()
    }

    /// Sends `signal`; nothing happens when the child has ended.
    pub fn signal(&mut self, signal: Signal) -> io::Result<()> {
        match (self.exited()?, ProcessId::of(self.pid())) {
            (None, Some(process)) => process.signal(signal).map(|_| ()),
            _ => Ok(()),
        }
    }

    /// Asks the child to end, and ends it after `grace`. The status tells which of the two it was.
    pub fn terminate(&mut self, grace: Duration) -> io::Result<ExitStatus> {
        self.signal(Signal::TERM)?;
        let deadline = Instant::now() + grace;
        while Instant::now() < deadline {
            if let Some(status) = self.exited()? {
                return Ok(status);
            }
            thread::sleep(POLL);
        }
        self.kill()
    }

    /// Ends the child at once, as `kill -9` does.
    pub fn kill(&mut self) -> io::Result<ExitStatus> {
        self.child.kill()?;
        self.child.wait()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.kill();
    }
}

/// How a command ended and what it wrote.
#[derive(Debug)]
pub struct Finished {
    /// Its exit status.
    pub status: ExitStatus,
    /// Its standard output.
    pub stdout: Vec<u8>,
    /// Its standard error; bytes that are not UTF-8 are replaced.
    pub stderr: String,
}

/// Runs `command` to its end with `input`. It is ended, and the error is `TimedOut`, once it has run for `limit`.
pub fn run(command: &mut Command, input: &[u8], limit: Duration) -> io::Result<Finished> {
    let what = name(command);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command
        .spawn()
        .map_err(|error| io::Error::new(error.kind(), format!("cannot start {what}: {error}")))?;
    let stdin = child.stdin.take();
    let input = input.to_vec();
    // A program that does not read its input ends the pipe; its status says whether that was wrong.
    let feeder = thread::spawn(move || stdin.map(|mut stdin| stdin.write_all(&input)));
    let stdout = child.stdout.take().map(drain);
    let stderr = child.stderr.take().map(drain);
    let deadline = Instant::now() + limit;
    let mut pause = Duration::from_millis(1);
    let status = loop {
        if let Some(status) = child.try_wait()? {
            break status;
        }
        if Instant::now() >= deadline {
            child.kill()?;
            child.wait()?;
            return Err(io::Error::new(
                io::ErrorKind::TimedOut,
                format!("{what} ran for more than {limit:?}"),
            ));
        }
        thread::sleep(pause);
        pause = (pause * 2).min(POLL);
    };
    let _ = feeder.join();
    let collect = |reader: Option<thread::JoinHandle<Vec<u8>>>| {
        reader.and_then(|reader| reader.join().ok()).unwrap_or_default()
    };
    Ok(Finished {
        status,
        stdout: collect(stdout),
        stderr: String::from_utf8_lossy(&collect(stderr)).into_owned(),
    })
}

fn drain(mut pipe: impl Read + Send + 'static) -> thread::JoinHandle<Vec<u8>> {
    thread::spawn(move || {
        let mut out = Vec::new();
        let _ = pipe.read_to_end(&mut out);
        out
    })
}

/// A condition that did not come true in time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TimedOut {
    /// What was waited for.
    pub what: String,
    /// For how long.
    pub limit: Duration,
}

impl std::fmt::Display for TimedOut {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "waited {:?} in vain for {}", self.limit, self.what)
    }
}

impl std::error::Error for TimedOut {}

/// Asks `probe` every 25 ms until it answers with something, for at most `limit`. It is asked at least once.
pub fn wait_for<T>(what: &str, limit: Duration, mut probe: impl FnMut() -> Option<T>) -> Result<T, TimedOut> {
    let deadline = Instant::now() + limit;
    loop {
        if let Some(found) = probe() {
            return Ok(found);
        }
        if Instant::now() >= deadline {
            return Err(TimedOut { what: what.to_owned(), limit });
        }
        thread::sleep(POLL);
    }
}

/// A loopback TCP port that was free a moment ago. Nothing reserves it: bind it soon, and where a program can be
/// told port 0 prefer that.
pub fn free_port() -> io::Result<u16> {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr().map(|address| address.port())
}

/// A file's text, with what is not UTF-8 replaced: logs may be cut anywhere.
pub fn read_lossy(path: &Path) -> io::Result<String> {
    let mut bytes = Vec::new();
    File::open(path)?.read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOON: Duration = Duration::from_secs(10);

    #[test]
    fn a_process_is_known_by_its_start() {
        let folder = tempfile::tempdir().unwrap();
        let process = spawn_detached(Command::new("sleep").arg("600"), &folder.path().join("log")).unwrap();
        assert!(process.is_running());
        let another = ProcessId { started: process.started + 1, ..process };
        assert!(!another.is_running());
        assert!(!another.signal(Signal::KILL).unwrap());
        assert!(process.is_running());
        process.terminate(SOON).unwrap();
        assert!(!process.is_running());
        assert_eq!(ProcessId::of(process.pid()), None);
        process.terminate(SOON).unwrap();
    }

    #[test]
    fn one_that_will_not_end_is_ended() {
        let folder = tempfile::tempdir().unwrap();
        let log = folder.path().join("log");
        let script = "trap 'echo refused' TERM; echo ready; while :; do sleep 0.05; done";
        let mut process = Process::spawn(Command::new("sh").args(["-c", script]), &log).unwrap();
        wait_for("the trap", SOON, || process.output().ok().filter(|text| text.contains("ready"))).unwrap();
        let status = process.terminate(Duration::from_millis(500)).unwrap();
        assert_eq!(std::os::unix::process::ExitStatusExt::signal(&status), Some(9));
        assert!(process.output().unwrap().contains("refused"));
    }

    #[test]
    fn dropping_ends() {
        let folder = tempfile::tempdir().unwrap();
        let process = Process::spawn(Command::new("sleep").arg("600"), &folder.path().join("log")).unwrap();
        let id = ProcessId::of(process.pid()).unwrap();
        drop(process);
        assert!(!id.is_running());
    }

    #[test]
    fn a_command_is_fed_read_and_bounded() {
        let big = vec![7; 1 << 20];
        let echoed = run(&mut Command::new("cat"), &big, SOON).unwrap();
        assert!(echoed.status.success());
        assert_eq!(echoed.stdout, big);
        let failed = run(Command::new("sh").args(["-c", "echo why >&2; exit 3"]), b"", SOON).unwrap();
        assert_eq!((failed.status.code(), failed.stderr.as_str()), (Some(3), "why\n"));
        let late = run(Command::new("sleep").arg("600"), b"", Duration::from_millis(50)).unwrap_err();
        assert_eq!(late.kind(), io::ErrorKind::TimedOut);
    }

    #[test]
    fn waiting_has_an_end() {
        let mut left = 3;
        let found = wait_for("three looks", SOON, || {
            left -= 1;
            (left == 0).then_some("seen")
        });
        assert_eq!(found, Ok("seen"));
        let never = wait_for("nothing", Duration::ZERO, || None::<()>).unwrap_err();
        assert_eq!(never.to_string(), "waited 0ns in vain for nothing");
    }

    #[test]
    fn a_free_port_can_be_bound() {
        TcpListener::bind((Ipv4Addr::LOCALHOST, free_port().unwrap())).unwrap();
    }
}
