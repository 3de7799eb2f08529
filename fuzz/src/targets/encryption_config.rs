//! The API server's encryption configuration and static pod manifest, as `kms doctor` reads them.

use crate::open::runtime;
use keyward_kms_plugin::doctor::{DoctorOptions, doctor};
use std::time::Duration;

pub(crate) fn run(data: &[u8]) {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let cut = data.iter().position(|byte| *byte == 0).unwrap_or(data.len());
    std::fs::write(path("config"), &data[..cut]).unwrap();
    std::fs::write(path("manifest"), data.get(cut + 1..).unwrap_or_default()).unwrap();
    let report = runtime().block_on(doctor(DoctorOptions {
        socket: path("absent.sock"),
        timeout: Duration::from_millis(50),
        state: None,
        secret_files: Vec::new(),
        provider: None,
        encryption_config: Some(path("config")),
        apiserver_manifest: Some(path("manifest")),
    }));
    assert!(!report.unwrap().table().is_empty());
}

pub(crate) fn seeds() -> Vec<Vec<u8>> {
    let config = "apiVersion: apiserver.config.k8s.io/v1\nkind: EncryptionConfiguration\nresources:\n- resources: \
                  [secrets]\n  providers:\n  - kms: {apiVersion: v2, name: keyward, endpoint: unix:///run/k.sock, \
                  timeout: 3s}\n  - identity: {}\n";
    let manifest = "apiVersion: v1\nkind: Pod\nspec:\n  containers:\n  - command:\n    - kube-apiserver\n    - \
                    --encryption-provider-config=/e.yaml\n    volumeMounts:\n    - {mountPath: /run, name: r}\n  \
                    volumes:\n  - {hostPath: {path: /run}, name: r}\n";
    vec![config.into(), [config, "\0", manifest].concat().into_bytes()]
}
