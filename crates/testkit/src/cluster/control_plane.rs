//! Credentials and command lines of etcd, the API server and the controllers.

use std::fs;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use serde_json::json;

use super::error::{Error, doing};
use super::network::NODE_ADDRESS;
use crate::certificates::{Authority, CertifiedKey, key_pair};

/// The address the API server's clients use, inside the namespace.
pub(super) fn server_address() -> String {
    format!("https://{NODE_ADDRESS}:6443")
}

pub(super) const ETCD_ADDRESS: &str = "http://127.0.0.1:2379";

/// Who gets a kubeconfig: the file's name, the user and the group Kubernetes' own roles are bound to.
const CLIENTS: &[(&str, &str, &[&str])] = &[
    ("admin", "kubernetes-admin", &["system:masters"]),
    ("controller-manager", "system:kube-controller-manager", &[]),
    ("scheduler", "system:kube-scheduler", &[]),
    ("proxy", "system:kube-proxy", &[]),
    ("kubelet", "system:node:node", &["system:nodes"]),
];

/// Writes one authority, all certificates and all kubeconfigs into `folder`/credentials.
pub(super) fn write_credentials(folder: &Path) -> Result<(), Error> {
    let credentials = folder.join("credentials");
    fs::create_dir_all(&credentials).map_err(doing(format!("making {}", credentials.display())))?;
    let authority = Authority::new("test cluster")?;
    write(&credentials.join("ca.crt"), &authority.certificate())?;
    write(&credentials.join("ca.key"), &authority.key())?;
    let (private, public) = key_pair()?;
    write(&credentials.join("service-accounts.key"), &private)?;
    write(&credentials.join("service-accounts.pub"), &public)?;
    let hosts = [
        NODE_ADDRESS,
        "10.96.0.1",
        "127.0.0.1",
        "localhost",
        "kubernetes",
        "kubernetes.default",
        "kubernetes.default.svc",
        "kubernetes.default.svc.cluster.local",
    ];
    write_pair(&credentials, "api-server", &authority.issue("kube-apiserver", &[], &hosts)?)?;
    let client = authority.issue("kube-apiserver-kubelet-client", &["system:masters"], &[])?;
    write_pair(&credentials, "kubelet-client", &client)?;
    write_pair(&credentials, "kubelet-server", &authority.issue("node", &[], &["node", NODE_ADDRESS])?)?;
    for (name, user, groups) in CLIENTS {
        write_pair(&credentials, name, &authority.issue(user, groups, &[])?)?;
        write(&credentials.join(format!("{name}.kubeconfig")), &kubeconfig(&credentials, name))?;
    }
    Ok(())
}

fn kubeconfig(credentials: &Path, name: &str) -> String {
    let file = |suffix: &str| credentials.join(format!("{name}.{suffix}"));
    json!({
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{
            "name": "test",
            "cluster": {"server": server_address(), "certificate-authority": credentials.join("ca.crt")},
        }],
        "users": [{
            "name": name,
            "user": {"client-certificate": file("crt"), "client-key": file("key")},
        }],
        "contexts": [{"name": "test", "context": {"cluster": "test", "user": name}}],
        "current-context": "test",
    })
    .to_string()
}

fn write_pair(folder: &Path, name: &str, pair: &CertifiedKey) -> Result<(), Error> {
    write(&folder.join(format!("{name}.crt")), &pair.certificate)?;
    write(&folder.join(format!("{name}.key")), &pair.key)
}

/// Writes a file only its owner can read.
pub(super) fn write(path: &Path, text: &str) -> Result<(), Error> {
    let mut options = fs::OpenOptions::new();
    let file = options.write(true).create(true).truncate(true).mode(0o600).open(path);
    file.and_then(|mut file| std::io::Write::write_all(&mut file, text.as_bytes()))
        .map_err(doing(format!("writing {}", path.display())))
}

pub(super) fn etcd_flags(folder: &Path) -> Vec<String> {
    vec![
        format!("--data-dir={}", folder.join("etcd").display()),
        format!("--listen-client-urls={ETCD_ADDRESS}"),
        format!("--advertise-client-urls={ETCD_ADDRESS}"),
        "--listen-peer-urls=http://127.0.0.1:2380".into(),
        "--initial-advertise-peer-urls=http://127.0.0.1:2380".into(),
        "--initial-cluster=default=http://127.0.0.1:2380".into(),
        // A test's data need not outlive the machine; it does outlive a killed process.
        "--unsafe-no-fsync".into(),
    ]
}

pub(super) fn api_server_flags(folder: &Path, extra: &[String]) -> Vec<String> {
    let credential = |name: &str| folder.join("credentials").join(name).display().to_string();
    let mut flags = vec![
        format!("--etcd-servers={ETCD_ADDRESS}"),
        format!("--advertise-address={NODE_ADDRESS}"),
        "--secure-port=6443".into(),
        format!("--tls-cert-file={}", credential("api-server.crt")),
        format!("--tls-private-key-file={}", credential("api-server.key")),
        format!("--client-ca-file={}", credential("ca.crt")),
        "--service-account-issuer=https://kubernetes.default.svc.cluster.local".into(),
        format!("--service-account-key-file={}", credential("service-accounts.pub")),
        format!("--service-account-signing-key-file={}", credential("service-accounts.key")),
        "--service-cluster-ip-range=10.96.0.0/16".into(),
        "--authorization-mode=Node,RBAC".into(),
        "--enable-admission-plugins=NodeRestriction".into(),
        "--allow-privileged=true".into(),
        // Without it the watches of other components hold a stopping server for a minute.
        "--shutdown-watch-termination-grace-period=1s".into(),
        // Nothing resolves the node's name.
        "--kubelet-preferred-address-types=InternalIP".into(),
        format!("--kubelet-certificate-authority={}", credential("ca.crt")),
        format!("--kubelet-client-certificate={}", credential("kubelet-client.crt")),
        format!("--kubelet-client-key={}", credential("kubelet-client.key")),
    ];
    flags.extend_from_slice(extra);
    flags
}

pub(super) fn controller_manager_flags(folder: &Path) -> Vec<String> {
    let credential = |name: &str| folder.join("credentials").join(name).display().to_string();
    vec![
        format!("--kubeconfig={}", credential("controller-manager.kubeconfig")),
        "--bind-address=127.0.0.1".into(),
        "--leader-elect=false".into(),
        "--use-service-account-credentials=true".into(),
        format!("--root-ca-file={}", credential("ca.crt")),
        format!("--service-account-private-key-file={}", credential("service-accounts.key")),
        format!("--cluster-signing-cert-file={}", credential("ca.crt")),
        format!("--cluster-signing-key-file={}", credential("ca.key")),
        "--service-cluster-ip-range=10.96.0.0/16".into(),
    ]
}
