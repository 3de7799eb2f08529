//! Kubernetes and etcd, built from Go modules once and kept outside the tree.

use std::fs::{self, File, TryLockError};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use sha2::{Digest, Sha256};

use super::error::{Error, doing, run};
use crate::say;

/// The slowest build takes five minutes of one core; a busy machine shares it.
const BUILD_LIMIT: Duration = Duration::from_secs(3600);

/// A program of the cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Binary {
    /// The store of the API server.
    Etcd,
    /// etcd's own client.
    Etcdctl,
    /// etcd's own tool for snapshots and data files.
    Etcdutl,
    /// The API server.
    ApiServer,
    /// The controllers.
    ControllerManager,
    /// The command-line client.
    Kubectl,
    /// The scheduler.
    Scheduler,
    /// The node's agent.
    Kubelet,
    /// Services' addresses.
    KubeProxy,
}

/// What a cluster without a node needs.
pub(super) const CONTROL_PLANE: &[Binary] = &[
    Binary::Etcd,
    Binary::Etcdctl,
    Binary::Etcdutl,
    Binary::ApiServer,
    Binary::ControllerManager,
    Binary::Kubectl,
];

/// What a node needs besides.
pub(super) const NODE: &[Binary] = &[Binary::Scheduler, Binary::Kubelet, Binary::KubeProxy];

impl Binary {
    /// The file's name.
    pub fn name(self) -> &'static str {
        self.package().0
    }

    fn package(self) -> (&'static str, &'static str) {
        match self {
            Binary::Etcd => ("etcd", "go.etcd.io/etcd/server/v3"),
            Binary::Etcdctl => ("etcdctl", "go.etcd.io/etcd/etcdctl/v3"),
            Binary::Etcdutl => ("etcdutl", "go.etcd.io/etcd/etcdutl/v3"),
            Binary::ApiServer => ("kube-apiserver", "k8s.io/kubernetes/cmd/kube-apiserver"),
            Binary::ControllerManager => {
                ("kube-controller-manager", "k8s.io/kubernetes/cmd/kube-controller-manager")
            }
            Binary::Kubectl => ("kubectl", "k8s.io/kubernetes/cmd/kubectl"),
            Binary::Scheduler => ("kube-scheduler", "k8s.io/kubernetes/cmd/kube-scheduler"),
            Binary::Kubelet => ("kubelet", "k8s.io/kubernetes/cmd/kubelet"),
            Binary::KubeProxy => ("kube-proxy", "k8s.io/kubernetes/cmd/kube-proxy"),
        }
    }
}

/// Where built programs are kept: `KEYWARD_CACHE`, else `XDG_CACHE_HOME/keyward`, else
/// `~/.cache/keyward`.
pub fn cache_folder() -> PathBuf {
    let set = |name| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    set("KEYWARD_CACHE")
        .or_else(|| set("XDG_CACHE_HOME").map(|cache| cache.join("keyward")))
        .or_else(|| set("HOME").map(|home| home.join(".cache/keyward")))
        .unwrap_or_else(|| std::env::temp_dir().join("keyward-cache"))
}

/// The programs of one version.
#[derive(Clone, Debug)]
pub(super) struct Binaries(PathBuf);

impl Binaries {
    /// Where the programs that the tree's Go module pins are, built or not.
    pub(super) fn locate() -> Result<Binaries, Error> {
        let module = module_folder();
        let sums = fs::read(module.join("go.sum")).map_err(doing("reading tests/kubernetes/go.sum"))?;
        let key = hex::encode(&Sha256::digest(sums)[..8]);
        Ok(Binaries(cache_folder().join("kubernetes").join(key)))
    }

    /// The file of one program.
    pub(super) fn path(&self, binary: Binary) -> PathBuf {
        self.0.join(binary.name())
    }

    /// The programs not built yet.
    pub(super) fn missing(&self, wanted: &[Binary]) -> Vec<Binary> {
        wanted.iter().copied().filter(|binary| !self.path(*binary).is_file()).collect()
    }

    /// Builds what is missing, saying so. Two processes that want the same wait for each other.
    pub(super) fn build(&self, wanted: &[Binary]) -> Result<(), Error> {
        if self.missing(wanted).is_empty() {
            return Ok(());
        }
        fs::create_dir_all(&self.0).map_err(doing("making the cache folder"))?;
        let _lock =
            lock(&self.0.with_extension("lock"), "another process builds Kubernetes; waiting for it")?;
        let missing = self.missing(wanted);
        for (at, binary) in missing.iter().enumerate() {
            say(format_args!(
                "building {} ({} of {}; kept in {})",
                binary.name(),
                at + 1,
                missing.len(),
                self.0.display()
            ));
            let began = Instant::now();
            self.build_one(*binary)?;
            say(format_args!("built {} in {:.0?}", binary.name(), began.elapsed()));
        }
        Ok(())
    }

    fn build_one(&self, binary: Binary) -> Result<(), Error> {
        let partial = self.path(binary).with_extension("partial");
        let mut build = Command::new("go");
        build
            .current_dir(module_folder())
            .env("CGO_ENABLED", "0")
            .args([
                "build",
                "-mod=readonly",
                "-trimpath",
                "-buildvcs=false",
                "-ldflags",
                &link_flags()?,
                "-o",
            ])
            .arg(&partial)
            .arg(binary.package().1);
        run(&mut build, b"", BUILD_LIMIT)?;
        fs::rename(&partial, self.path(binary)).map_err(doing("keeping a built program"))
    }
}

/// Takes an exclusive lock that ends with the returned file, or with the process.
pub(crate) fn lock(path: &Path, waiting: &str) -> Result<File, Error> {
    let what = format!("locking {}", path.display());
    let file = File::create(path).map_err(doing(what.clone()))?;
    match file.try_lock() {
        Ok(()) => return Ok(file),
        Err(TryLockError::WouldBlock) => say(waiting),
        Err(TryLockError::Error(error)) => return Err(doing(what)(error)),
    }
    file.lock().map_err(doing(what))?;
    Ok(file)
}

/// The Go module that pins the versions. Test tools run from the tree they were built in.
fn module_folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/kubernetes")
}

/// Clients refuse a server that does not tell its version, and the linker sets it.
fn link_flags() -> Result<String, Error> {
    let module = fs::read_to_string(module_folder().join("go.mod"))
        .map_err(doing("reading tests/kubernetes/go.mod"))?;
    let version = module.lines().find_map(|line| line.trim().strip_prefix("k8s.io/kubernetes "));
    let version = version.and_then(|version| version.strip_prefix('v')).unwrap_or_default();
    let mut parts = version.split('.');
    let (Some(major), Some(minor), Some(_)) = (parts.next(), parts.next(), parts.next()) else {
        return Err(Error::Unavailable(
            "tests/kubernetes/go.mod requires no k8s.io/kubernetes vX.Y.Z".into(),
        ));
    };
    let set = |name: &str, value: &str| format!(" -X k8s.io/component-base/version.{name}={value}");
    Ok([
        "-s -w".to_owned(),
        set("gitVersion", &format!("v{version}")),
        set("gitMajor", major),
        set("gitMinor", minor),
    ]
    .concat())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pinned_version_is_linked_in() {
        let flags = link_flags().unwrap();
        assert!(flags.contains("version.gitVersion=v1."), "{flags}");
        assert!(flags.contains("version.gitMajor=1 "), "{flags}");
    }

    #[test]
    fn every_program_has_its_own_file() {
        let mut names: Vec<_> = CONTROL_PLANE.iter().chain(NODE).map(|binary| binary.name()).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), CONTROL_PLANE.len() + NODE.len());
    }
}
