//! A network namespace of the cluster's own: nothing listens on the machine's addresses, and every cluster can
//! have the same ones.

use std::fs::File;
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::process::Command;
use std::thread;
use std::time::Duration;

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use super::error::{Error, doing, run};

/// The node's address, the same in every cluster's namespace.
pub const NODE_ADDRESS: &str = "10.10.0.1";

/// The file system namespaces live in; linux/magic.h.
const NSFS_MAGIC: rustix::fs::FsWord = 0x6e73_6673;

const LIMIT: Duration = Duration::from_secs(30);

/// A named network namespace, as ip-netns(8) keeps it.
#[derive(Clone, Debug)]
pub(super) struct Namespace(String);

impl Namespace {
    /// The namespace of the cluster called `cluster`, existing or not.
    pub(super) fn of(cluster: &str) -> Namespace {
        Namespace(format!("keyward-{cluster}"))
    }

    pub(super) fn path(&self) -> PathBuf {
        PathBuf::from("/run/netns").join(&self.0)
    }

    /// The kernel's number of the namespace; none when it does not exist.
    pub(super) fn inode(&self) -> Option<u64> {
        // An interrupted creation leaves the plain file that the namespace would have been mounted on.
        let kind = rustix::fs::statfs(self.path()).ok()?.f_type;
        (kind == NSFS_MAGIC).then(|| self.path().metadata().ok().map(|file| file.ino())).flatten()
    }

    /// Makes the namespace with a loopback device and the node's address.
    pub(super) fn create(&self) -> Result<(), Error> {
        self.ip(&["netns", "add", &self.0], b"")?;
        // Kernels without dummy devices have veth pairs; a route must exist for addresses behind the proxy.
        let setup = format!(
            "link set lo up\n\
             link add node0 type veth peer name node1\n\
             address add {NODE_ADDRESS}/24 dev node0\n\
             link set node0 up\n\
             link set node1 up\n\
             route add default via 10.10.0.254 dev node0\n"
        );
        self.ip(&["-netns", &self.0, "-batch", "-"], setup.as_bytes())
    }

    /// Removes the namespace; its devices, routes and firewall rules go with its last process.
    pub(super) fn delete(&self) -> Result<(), Error> {
        if self.path().exists() { self.ip(&["netns", "delete", &self.0], b"") } else { Ok(()) }
    }

    fn ip(&self, arguments: &[&str], input: &[u8]) -> Result<(), Error> {
        run(Command::new("ip").args(arguments), input, LIMIT).map(|_| ())
    }

    /// A command that becomes `program` inside the namespace, keeping its process number. `ip netns exec` would
    /// remount /sys, and so hide the control groups.
    pub(super) fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = Command::new("nsenter");
        command.arg(format!("--net={}", self.path().display())).arg("--").arg(program);
        command
    }

    /// Runs `work` on a thread of its own inside the namespace. Sockets it makes stay there wherever they are used.
    pub(super) fn enter<T: Send>(&self, work: impl FnOnce() -> T + Send) -> Result<T, Error> {
        let entering = || format!("entering the network namespace {}", self.0);
        let file = File::open(self.path()).map_err(doing(entering()))?;
        thread::scope(|scope| {
            let thread = scope.spawn(|| {
                move_into_link_name_space(file.as_fd(), Some(LinkNameSpaceType::Network))?;
                Ok(work())
            });
            match thread.join() {
                Ok(done) => done.map_err(|error: rustix::io::Errno| doing(entering())(error.into())),
                Err(panic) => std::panic::resume_unwind(panic),
            }
        })
    }
}
