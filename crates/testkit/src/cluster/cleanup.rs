//! Ending a cluster, whatever is left of it.
//!
//! Everything that belongs to a cluster is found by what the kernel keeps: its network namespace, its control
//! groups and the processes recorded on disk. So one that was half started, or whose starter was killed, ends the
//! same way.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::mount::{UnmountFlags, unmount};

use super::error::{Error, doing};
use super::network::Namespace;
use super::state::{State, folder};
use crate::process::{ProcessId, wait_for};

const LIMIT: Duration = Duration::from_secs(60);

/// Removes every process, control group, mount, namespace and file of the cluster called `name`. The caller holds
/// the name's lock. True when there was something.
pub(super) fn remove(name: &str) -> Result<bool, Error> {
    let folder = folder(name)?;
    let namespace = Namespace::of(name);
    let found = folder.exists() || namespace.path().exists() || !control_groups(name).is_empty();
    end_processes(name, &namespace)?;
    remove_control_groups(name)?;
    for mounted in mounts_under(&folder)? {
        unmount(&mounted, UnmountFlags::DETACH)
            .map_err(|error| doing(format!("unmounting {}", mounted.display()))(error.into()))?;
    }
    namespace.delete()?;
    remove_folder(&folder)?;
    Ok(found)
}

/// What of the cluster called `name` is there, in words; empty when nothing is.
pub(super) fn remains(name: &str) -> Result<Vec<String>, Error> {
    let folder = folder(name)?;
    let namespace = Namespace::of(name);
    let mut remains: Vec<String> =
        members(name, &namespace).iter().map(|process| format!("process {}", process.pid())).collect();
    let paths = [folder.clone(), namespace.path()].into_iter().filter(|path| path.exists());
    remains.extend(paths.chain(control_groups(name)).map(|path| path.display().to_string()));
    remains.extend(mounts_under(&folder)?.iter().map(|mounted| format!("mount {}", mounted.display())));
    Ok(remains)
}

fn end_processes(name: &str, namespace: &Namespace) -> Result<(), Error> {
    let ended = wait_for("the cluster's processes to end", LIMIT, || {
        let members = members(name, namespace);
        // One that cannot be signalled now is met again, until the limit.
        members.iter().for_each(|process| drop(process.kill()));
        members.is_empty().then_some(())
    });
    ended.map_err(|late| {
        let left: Vec<_> = members(name, namespace).iter().map(|process| process.pid().to_string()).collect();
        Error::NotReady { what: format!("{late}: {}", left.join(", ")), log: String::new() }
    })
}

/// The processes recorded, and those inside the cluster's network namespace or control groups, the caller not.
fn members(name: &str, namespace: &Namespace) -> BTreeSet<ProcessId> {
    let state = State::load(name).ok().flatten();
    let recorded = state.into_iter().flat_map(|state| state.components.into_values().chain(state.mounts));
    let mut found: BTreeSet<ProcessId> = recorded.filter(|process| process.is_running()).collect();
    found.extend(inside(namespace));
    for group in control_groups(name) {
        processes_of(&group, &mut found);
    }
    found.retain(|process| process.pid() != std::process::id());
    found
}

fn inside(namespace: &Namespace) -> Vec<ProcessId> {
    let Some(inode) = namespace.inode() else { return Vec::new() };
    let wanted = PathBuf::from(format!("net:[{inode}]"));
    let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
    processes
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .filter(|pid: &u32| fs::read_link(format!("/proc/{pid}/ns/net")).is_ok_and(|link| link == wanted))
        .filter_map(ProcessId::of)
        .collect()
}

fn processes_of(group: &Path, found: &mut BTreeSet<ProcessId>) {
    let pids = fs::read_to_string(group.join("cgroup.procs")).unwrap_or_default();
    found.extend(pids.lines().filter_map(|pid| pid.parse().ok()).filter_map(ProcessId::of));
    for child in child_folders(group) {
        processes_of(&child, found);
    }
}

fn child_folders(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries
        .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
        .map(|entry| entry.path())
        .collect()
}

/// The name of a cluster's control group, the same in each hierarchy.
pub(super) fn control_group(name: &str) -> String {
    format!("keyward-{name}")
}

/// The roots control groups can be made in: one per hierarchy with cgroup v1, one with v2.
pub(super) fn hierarchies() -> Vec<PathBuf> {
    let root = PathBuf::from("/sys/fs/cgroup");
    if root.join("cgroup.controllers").exists() { vec![root] } else { child_folders(&root) }
}

fn control_groups(name: &str) -> Vec<PathBuf> {
    let groups = hierarchies().into_iter().map(|root| root.join(control_group(name)));
    groups.filter(|group| group.exists()).collect()
}

fn remove_control_groups(name: &str) -> Result<(), Error> {
    for group in control_groups(name) {
        // An ended process keeps its group for a moment.
        wait_for("a control group to empty", LIMIT, || remove_group(&group).ok())?;
    }
    Ok(())
}

fn remove_group(group: &Path) -> io::Result<()> {
    for child in child_folders(group) {
        remove_group(&child)?;
    }
    fs::remove_dir(group)
}

/// The mounts at and below `folder`, the deepest first.
fn mounts_under(folder: &Path) -> Result<Vec<PathBuf>, Error> {
    let table = fs::read_to_string("/proc/self/mountinfo").map_err(doing("reading /proc/self/mountinfo"))?;
    let points = table.lines().filter_map(|line| line.split(' ').nth(4));
    let mut found: Vec<PathBuf> =
        points.map(PathBuf::from).filter(|point| point.starts_with(folder)).collect();
    found.sort();
    found.reverse();
    Ok(found)
}

fn remove_folder(folder: &Path) -> Result<(), Error> {
    // Deleting through a mount would delete what is mounted.
    if let Some(mounted) = mounts_under(folder)?.first() {
        let text = format!("{} is still mounted; unmount it, and run this again", mounted.display());
        return Err(Error::Io {
            doing: "removing the cluster's folder".into(),
            source: io::Error::other(text),
        });
    }
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(doing(format!("removing {}", folder.display()))(error))
        }
        _ => Ok(()),
    }
}
