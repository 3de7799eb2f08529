//! One node: container runtime, kubelet, proxy and scheduler.
//!
//! They share a mount namespace. What they mount is seen by them alone and goes with the last of them, and the
//! paths that are fixed in them (`/var/lib/kubelet`, `/run/containerd`, ...) are the cluster's own folders there. On
//! the machine itself those paths are made where they are missing, and stay empty.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::json;

use super::cleanup::{control_group, hierarchies};
use super::control_plane::write;
use super::error::{Error, doing, run, tail};
use super::images::{Entry, Image};
use super::network::NODE_ADDRESS;
use super::{Binary, COMMAND_LIMIT, Cluster, Component, READY_LIMIT};
use crate::packages::{self, Package};
use crate::process::{ProcessId, spawn_detached, wait_for};

/// An image with a shell and the usual small programs, loaded into every node. Pods name it with
/// `imagePullPolicy: Never`: there is no registry. Debian 12's `wget -T` crashes; `nc` does not.
pub const BUSYBOX: &str = "keyward.test/busybox:1";

const PAUSE: &str = "keyward.test/pause:1";

/// Debian's packages, and a file that tells each is there. The first two every cluster needs.
const PACKAGES: &[Package] = &[
    ("iproute2", "ip"),
    ("util-linux", "nsenter"),
    ("containerd", "containerd"),
    ("runc", "runc"),
    ("containernetworking-plugins", "/usr/lib/cni/bridge"),
    ("iptables", "iptables"),
    ("busybox-static", "busybox"),
];

/// Folders of the cluster, and where the node's processes see them.
const FOLDERS: &[(&str, &str)] = &[
    ("kubelet", "/var/lib/kubelet"),
    ("cni", "/var/lib/cni"),
    ("runtime", "/run/containerd"),
    ("pod-logs", "/var/log/pods"),
    ("container-logs", "/var/log/containers"),
];

/// What the kubelet wants of the kernel. It is shown files that say so, and leaves the machine as it is.
const SYSCTLS: &[(&str, &str)] = &[
    ("vm/overcommit_memory", "1"),
    ("vm/panic_on_oom", "0"),
    ("kernel/panic", "10"),
    ("kernel/panic_on_oops", "1"),
    ("kernel/keys/root_maxkeys", "1000000"),
    ("kernel/keys/root_maxbytes", "25000000"),
];

/// Mounts pairs of folders, tells that it has, and keeps the mount namespace.
const HOLD_MOUNTS: &str = "ready=$1; shift
mount --make-rshared /
while [ $# -gt 0 ]; do mount --bind \"$1\" \"$2\"; shift 2; done
touch \"$ready\"
exec sleep infinity";

/// Installs the Debian packages that are missing. The caller is root.
pub(super) fn install_packages(node: bool) -> Result<(), Error> {
    packages::install(if node { PACKAGES } else { &PACKAGES[..2] }).map_err(Error::Unavailable)
}

impl Cluster {
    /// Makes an image known to the node's container runtime.
    pub fn load_image(&self, image: &Image) -> Result<(), Error> {
        let file = self.node_folder().join("image.tar");
        let archive = image.archive().map_err(doing(format!("packing {}", image.name)))?;
        fs::write(&file, archive).map_err(doing(format!("writing {}", file.display())))?;
        let mut import = self.command_on_node("ctr");
        import.args(["--namespace=k8s.io", "images", "import"]).arg(&file);
        run(&mut import, b"", COMMAND_LIMIT)?;
        fs::remove_file(&file).map_err(doing(format!("removing {}", file.display())))
    }

    /// The folder whose manifests the kubelet runs without asking the API server. Move files into it whole.
    pub fn static_pods(&self) -> PathBuf {
        self.node_folder().join("static-pods")
    }

    /// A command that becomes `program` where the node's processes are: in the network namespace and seeing their
    /// mounts. Its working folder is the root.
    pub fn command_on_node(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let holder = self.state.mounts.map_or(0, ProcessId::pid);
        let mut command = self.command_in_namespace("nsenter");
        command.arg(format!("--mount=/proc/{holder}/ns/mnt")).arg("--").arg(program);
        command
    }

    fn node_folder(&self) -> PathBuf {
        self.folder.join("node")
    }

    /// The container runtime and its images; needs no API server.
    pub(super) fn prepare_node(&mut self) -> Result<(), Error> {
        self.write_node_files()?;
        make_control_groups(&control_group(self.name()))?;
        self.hold_mounts()?;
        self.start_component(Component::Containerd)?;
        self.wait_until("the container runtime", Component::Containerd, READY_LIMIT, |cluster| {
            run(cluster.command_on_node("ctr").arg("version"), b"", COMMAND_LIMIT).is_ok()
        })?;
        for image in [busybox()?, pause()?] {
            self.load_image(&image)?;
        }
        Ok(())
    }

    /// The rest of the node, once the API server is ready.
    pub(super) fn join_node(&mut self) -> Result<(), Error> {
        self.start_component(Component::Scheduler)?;
        self.start_component(Component::Kubelet)?;
        self.start_component(Component::KubeProxy)?;
        let ready = "jsonpath={.status.conditions[?(@.type=='Ready')].status}";
        self.wait_until("the node to be ready", Component::Kubelet, READY_LIMIT, |cluster| {
            cluster
                .kubectl(&["get", "node", "node", "--output", ready], "")
                .is_ok_and(|status| status == "True")
        })
    }

    pub(super) fn node_command(&self, component: Component) -> Result<Command, Error> {
        let file = |name: &str| self.node_folder().join(name).display().to_string();
        let credential = |name: &str| self.folder.join("credentials").join(name).display().to_string();
        let (program, flags) = match component {
            Component::Scheduler => (
                self.binary(Binary::Scheduler),
                vec![
                    format!("--kubeconfig={}", credential("scheduler.kubeconfig")),
                    "--bind-address=127.0.0.1".into(),
                    "--leader-elect=false".into(),
                ],
            ),
            Component::Kubelet => (
                self.binary(Binary::Kubelet),
                vec![
                    format!("--config={}", file("kubelet.json")),
                    format!("--kubeconfig={}", credential("kubelet.kubeconfig")),
                    "--hostname-override=node".into(),
                    format!("--node-ip={NODE_ADDRESS}"),
                ],
            ),
            Component::KubeProxy => {
                (self.binary(Binary::KubeProxy), vec![format!("--config={}", file("kube-proxy.json"))])
            }
            _ => ("containerd".into(), vec![format!("--config={}", file("containerd.toml"))]),
        };
        if self.state.mounts.is_none() {
            let reason = format!("{} needs a cluster with a node", component.name());
            return Err(Error::Unavailable(reason));
        }
        let mut command = self.command_on_node(program);
        command.args(flags);
        Ok(command)
    }

    fn hold_mounts(&mut self) -> Result<(), Error> {
        let folder = self.node_folder();
        let (ready, log) = (folder.join("mounted"), self.folder.join("logs/mounts.log"));
        let mut hold = self.command_in_namespace("unshare");
        hold.args(["--mount", "--", "sh", "-ec", HOLD_MOUNTS, "sh"]).arg(&ready);
        for (own, seen) in FOLDERS {
            fs::create_dir_all(seen).map_err(doing(format!("making {seen}")))?;
            hold.arg(folder.join(own)).arg(seen);
        }
        for (name, _) in SYSCTLS {
            hold.arg(folder.join("sysctls").join(name)).arg(format!("/proc/sys/{name}"));
        }
        let holder = spawn_detached(&mut hold, &log).map_err(doing("making a mount namespace"))?;
        self.state.mounts = Some(holder);
        self.state.save()?;
        let mounted = || (ready.exists() || !holder.is_running()).then(|| ready.exists());
        if wait_for("the node's mounts", READY_LIMIT, mounted)? {
            return Ok(());
        }
        Err(Error::NotReady { what: "the node's folders could not be mounted".into(), log: tail(&log) })
    }

    fn write_node_files(&self) -> Result<(), Error> {
        let folder = self.node_folder();
        let folders = FOLDERS.iter().map(|(own, _)| *own).chain(["containerd", "network", "static-pods"]);
        for name in folders.chain(["sysctls/vm", "sysctls/kernel/keys"]) {
            let path = folder.join(name);
            fs::create_dir_all(&path).map_err(doing(format!("making {}", path.display())))?;
        }
        for (name, value) in SYSCTLS {
            write(&folder.join("sysctls").join(name), &format!("{value}\n"))?;
        }
        write(&folder.join("containerd.toml"), &containerd(&folder))?;
        write(&folder.join("network/10-pods.conflist"), &pod_network())?;
        write(&folder.join("resolv.conf"), "nameserver 10.96.0.10\n")?;
        write(&folder.join("kubelet.json"), &self.kubelet())?;
        write(&folder.join("kube-proxy.json"), &self.kube_proxy())
    }

    fn kubelet(&self) -> String {
        let (folder, credentials) = (self.node_folder(), self.folder.join("credentials"));
        json!({
            "apiVersion": "kubelet.config.k8s.io/v1beta1",
            "kind": "KubeletConfiguration",
            "address": NODE_ADDRESS,
            "authentication": {
                "anonymous": {"enabled": false},
                "webhook": {"enabled": true},
                "x509": {"clientCAFile": credentials.join("ca.crt")},
            },
            "authorization": {"mode": "Webhook"},
            "tlsCertFile": credentials.join("kubelet-server.crt"),
            "tlsPrivateKeyFile": credentials.join("kubelet-server.key"),
            "containerRuntimeEndpoint": "unix:///run/containerd/containerd.sock",
            "cgroupDriver": "cgroupfs",
            "cgroupRoot": format!("/{}", control_group(self.name())),
            "failCgroupV1": false,
            "failSwapOn": false,
            // Lowering it needs a capability that containers of a test machine rarely have.
            "oomScoreAdj": 0,
            "resolvConf": folder.join("resolv.conf"),
            "staticPodPath": folder.join("static-pods"),
            "fileCheckFrequency": "1s",
            "syncFrequency": "10s",
            // A full disk or a busy machine must not evict what a test looks at.
            "evictionHard": {"memory.available": "0%", "nodefs.available": "0%", "imagefs.available": "0%"},
            "imageGCHighThresholdPercent": 100,
        })
        .to_string()
    }

    fn kube_proxy(&self) -> String {
        json!({
            "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
            "kind": "KubeProxyConfiguration",
            "bindAddress": NODE_ADDRESS,
            "clientConnection": {"kubeconfig": self.folder.join("credentials/proxy.kubeconfig")},
            "clusterCIDR": "10.244.0.0/16",
            "hostnameOverride": "node",
            "mode": "iptables",
            "oomScoreAdj": 0,
            // The table of connections is the machine's: leave its size.
            "conntrack": {"maxPerCore": 0, "min": 0, "tcpEstablishedTimeout": "0s", "tcpCloseWaitTimeout": "0s"},
        })
        .to_string()
    }
}

fn containerd(folder: &Path) -> String {
    let (root, network) = (folder.join("containerd"), folder.join("network"));
    format!(
        r#"version = 2
root = "{}"
state = "/run/containerd"

[grpc]
  address = "/run/containerd/containerd.sock"

[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "{PAUSE}"
  # Only a capability that is often missing can lower a process's score.
  restrict_oom_score_adj = true
  # Network namespaces of pods then go with the folder they are mounted in.
  netns_mounts_under_state_dir = true
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "/usr/lib/cni"
    conf_dir = "{}"
"#,
        root.display(),
        network.display()
    )
}

fn pod_network() -> String {
    json!({
        "cniVersion": "1.0.0",
        "name": "pods",
        "plugins": [
            {
                "type": "bridge",
                "bridge": "pods0",
                "isGateway": true,
                "ipMasq": true,
                "hairpinMode": true,
                "ipam": {
                    "type": "host-local",
                    "ranges": [[{"subnet": "10.244.0.0/24"}]],
                    "routes": [{"dst": "0.0.0.0/0"}],
                },
            },
            {"type": "portmap", "capabilities": {"portMappings": true}},
        ],
    })
    .to_string()
}

/// The kubelet puts its groups below one that must exist, in every hierarchy there is.
fn make_control_groups(name: &str) -> Result<(), Error> {
    for root in hierarchies() {
        // Version 2 hands controllers down only where it is told to.
        if let Ok(controllers) = fs::read_to_string(root.join("cgroup.controllers")) {
            let enabled: String = controllers.split_whitespace().map(|name| format!("+{name} ")).collect();
            let file = root.join("cgroup.subtree_control");
            fs::write(&file, enabled).map_err(doing(format!("writing {}", file.display())))?;
        }
        let group = root.join(name);
        fs::create_dir_all(&group).map_err(doing(format!("making {}", group.display())))?;
    }
    Ok(())
}

fn busybox() -> Result<Image, Error> {
    let program = std::env::split_paths(&std::env::var_os("PATH").unwrap_or_default())
        .map(|folder| folder.join("busybox"))
        .find(|file| file.is_file())
        .ok_or_else(|| Error::Unavailable("busybox is not installed".into()))?;
    let bytes = fs::read(&program).map_err(doing(format!("reading {}", program.display())))?;
    let applets = run(Command::new(&program).arg("--list"), b"", COMMAND_LIMIT)?;
    let mut entries: Vec<(String, Entry)> =
        [("bin", 0o755), ("etc", 0o755), ("root", 0o700), ("tmp", 0o1777)]
            .map(|(name, mode)| (name.to_owned(), Entry::Folder(mode)))
            .into();
    entries.push(("bin/busybox".into(), Entry::File(0o755, bytes)));
    entries.push(("etc/passwd".into(), Entry::File(0o644, b"root:x:0:0:root:/root:/bin/sh\n".to_vec())));
    let applets = String::from_utf8_lossy(&applets).into_owned();
    let links = applets.lines().filter(|name| *name != "busybox" && !name.contains('/'));
    entries.extend(links.map(|name| (format!("bin/{name}"), Entry::Link("busybox".into()))));
    Ok(Image { name: BUSYBOX.into(), entries, entrypoint: vec!["/bin/busybox".into(), "sh".into()] })
}

/// What holds a pod's namespaces: a process that does nothing. The runtime ends it with SIGKILL.
fn pause() -> Result<Image, Error> {
    let sleep = ["/bin/busybox", "sleep", "2147483647"].map(str::to_owned).into();
    Ok(Image { name: PAUSE.into(), entrypoint: sleep, ..busybox()? })
}
