//! The API server's side: its encryption configuration, and how it is started.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::Duration;

use keyward_core::parse_duration;
use serde::Deserialize;
use serde::de::IgnoredAny;

use super::Findings;

const LONGEST: u64 = 1 << 20;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct EncryptionConfiguration {
    #[serde(default)]
    kind: String,
    #[serde(default)]
    api_version: String,
    #[serde(default)]
    resources: Vec<Rule>,
}

#[derive(Deserialize)]
struct Rule {
    #[serde(default)]
    resources: Vec<String>,
    #[serde(default)]
    providers: Vec<Provider>,
}

#[derive(Deserialize)]
struct Provider {
    kms: Option<Kms>,
    identity: Option<IgnoredAny>,
    aescbc: Option<IgnoredAny>,
    aesgcm: Option<IgnoredAny>,
    secretbox: Option<IgnoredAny>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Kms {
    #[serde(default)]
    api_version: String,
    #[serde(default)]
    name: String,
    #[serde(default)]
    endpoint: String,
    timeout: Option<String>,
    cachesize: Option<i64>,
}

#[derive(Deserialize)]
struct Pod {
    spec: PodSpec,
}

#[derive(Deserialize)]
struct PodSpec {
    #[serde(default)]
    containers: Vec<Container>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Container {
    #[serde(default)]
    command: Vec<String>,
    #[serde(default)]
    args: Vec<String>,
    liveness_probe: Option<Probe>,
    #[serde(default)]
    volume_mounts: Vec<VolumeMount>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Probe {
    http_get: Option<HttpGet>,
}

#[derive(Deserialize)]
struct HttpGet {
    #[serde(default)]
    path: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct VolumeMount {
    #[serde(default)]
    mount_path: String,
}

pub(super) fn examine(config: Option<&Path>, manifest: Option<&Path>, socket: &Path) -> Findings {
    let mut found = Findings::new("apiserver");
    match config.map(read::<EncryptionConfiguration>) {
        None => found.skip("encryption config", "not named"),
        Some(Err(why)) => found.fail("encryption config", why, "correct the file"),
        Some(Ok(read)) => examine_config(&mut found, &read, socket),
    }
    if let Some(Ok(metadata)) = config.map(fs::metadata) {
        match metadata.mode() & 0o777 {
            mode if mode & 0o022 != 0 => found.fail(
                "config file",
                format!("mode {mode:04o}: others can turn encryption off"),
                "chmod 0600 it",
            ),
            mode => found.ok("config file", format!("mode {mode:04o}")),
        }
    }
    match manifest.map(read::<Pod>) {
        None => found.skip("manifest", "not named"),
        Some(Err(why)) => found.fail("manifest", why, "name the API server's static pod manifest"),
        Some(Ok(pod)) => examine_manifest(&mut found, &pod, socket),
    }
    found
}

fn read<T: serde::de::DeserializeOwned>(path: &Path) -> Result<T, String> {
    let named = |why: String| format!("{}: {why}", path.display());
    let length = fs::metadata(path).map_err(|error| named(error.to_string()))?.len();
    if length > LONGEST {
        return Err(named("it is longer than 1 MiB".to_owned()));
    }
    let text = fs::read_to_string(path).map_err(|error| named(error.to_string()))?;
    serde_saphyr::from_str(&text).map_err(|error| named(error.to_string()))
}

fn examine_config(found: &mut Findings, config: &EncryptionConfiguration, socket: &Path) {
    if config.kind != "EncryptionConfiguration" || config.api_version != "apiserver.config.k8s.io/v1" {
        found.fail(
            "encryption config",
            format!("it is {} of {}", config.kind, config.api_version),
            "write kind: EncryptionConfiguration and apiVersion: apiserver.config.k8s.io/v1",
        );
        return;
    }
    let secrets = |name: &String| matches!(name.as_str(), "secrets" | "*." | "*.*");
    match config.resources.iter().find(|rule| rule.resources.iter().any(secrets)) {
        None => found.fail("secrets", "no rule covers secrets", "list secrets under resources"),
        Some(rule) => examine_rule(found, rule, socket),
    }
    let mut names: Vec<&str> = kms(config).map(|kms| kms.name.as_str()).collect();
    names.sort_unstable();
    if names.iter().any(|name| name.is_empty() || name.contains(':'))
        || names.windows(2).any(|two| two[0] == two[1])
    {
        found.fail(
            "provider names",
            format!("{names:?}"),
            "give every kms provider a name of its own, without a colon; never change it once objects carry it",
        );
    } else {
        found.ok("provider names", names.join(", "));
    }
}

fn kms(config: &EncryptionConfiguration) -> impl Iterator<Item = &Kms> {
    config.resources.iter().flat_map(|rule| &rule.providers).filter_map(|provider| provider.kms.as_ref())
}

fn examine_rule(found: &mut Findings, rule: &Rule, socket: &Path) {
    let endpoint = format!("unix://{}", socket.display());
    let ours = |provider: &Provider| provider.kms.as_ref().is_some_and(|kms| kms.endpoint == endpoint);
    match rule.providers.iter().position(ours) {
        Some(0) => found.ok("first provider", format!("{endpoint} encrypts what is written")),
        Some(at) => found.fail(
            "first provider",
            format!(
                "{endpoint} is number {}: it only reads, {} encrypts what is written",
                at + 1,
                kind(&rule.providers[0])
            ),
            "put it first, once every API server has it in its list",
        ),
        None => found.fail(
            "first provider",
            format!("no kms provider has the endpoint {endpoint}"),
            "add one with apiVersion v2, a name and this endpoint",
        ),
    }
    if let Some(kms) =
        rule.providers.iter().find(|provider| ours(provider)).and_then(|provider| provider.kms.as_ref())
    {
        examine_kms(found, kms);
    }
    match rule.providers.iter().position(|provider| provider.identity.is_some()) {
        Some(0) => found.fail("identity", "it is first: secrets are written as plain text", "put it last"),
        Some(at) if at + 1 < rule.providers.len() => found.warn(
            "identity",
            "it is not last",
            "put it last: what follows it is only ever tried for objects of its own",
        ),
        Some(_) => {
            found
                .ok("identity", "last: objects not yet encrypted stay readable; drop it after the migration");
        }
        None => found.ok("identity", "absent: an object that is not encrypted does not read"),
    }
}

fn kind(provider: &Provider) -> &str {
    match provider {
        Provider { kms: Some(kms), .. } => &kms.name,
        Provider { identity: Some(_), .. } => "identity (no encryption)",
        Provider { aescbc: Some(_), .. } => "aescbc",
        Provider { aesgcm: Some(_), .. } => "aesgcm",
        Provider { secretbox: Some(_), .. } => "secretbox",
        _ => "an unknown provider",
    }
}

fn examine_kms(found: &mut Findings, kms: &Kms) {
    if kms.api_version == "v2" {
        found.ok("kms version", "v2");
    } else {
        found.fail("kms version", format!("{:?}", kms.api_version), "write apiVersion: v2");
    }
    if kms.cachesize.is_some() {
        found.fail("cachesize", "v2 does not know it, and the API server refuses it", "remove it");
    }
    let timeout = kms.timeout.as_deref().map_or(Ok(Duration::from_secs(3)), parse_duration);
    match timeout {
        Err(error) => found.fail("timeout", error.to_string(), "write 3s"),
        Ok(timeout) if timeout.is_zero() => found.fail("timeout", "it is zero", "write 3s"),
        Ok(timeout) if timeout < Duration::from_secs(1) => {
            found.warn(
                "timeout",
                format!("{timeout:?}"),
                "a key of another node needs a call of the provider: allow 3s",
            );
        }
        Ok(timeout) if timeout > Duration::from_secs(10) => {
            found.warn("timeout", format!("{timeout:?}"), "requests of users wait as long: 3s is usual");
        }
        Ok(timeout) => found.ok("timeout", format!("{timeout:?}")),
    }
}

fn examine_manifest(found: &mut Findings, pod: &Pod, socket: &Path) {
    let words =
        |container: &Container| container.command.iter().chain(&container.args).cloned().collect::<Vec<_>>();
    let serves = |container: &&Container| words(container).iter().any(|word| word.contains("kube-apiserver"));
    let Some(container) = pod.spec.containers.iter().find(serves).or(pod.spec.containers.first()) else {
        return found.fail("manifest", "it has no container", "name the API server's static pod manifest");
    };
    let words = words(container);
    let flag = |name: &str| {
        words.iter().find_map(|word| word.strip_prefix(name).and_then(|rest| rest.strip_prefix('=')))
    };
    match flag("--encryption-provider-config") {
        Some(path) => found.ok("provider config", path),
        None => found.fail(
            "provider config",
            "--encryption-provider-config is not set",
            "set it to the configuration's path",
        ),
    }
    match flag("--encryption-provider-config-automatic-reload") {
        Some("true") => found.ok("automatic reload", "on"),
        _ => found.warn(
            "automatic reload",
            "off: a change of the configuration needs a restart",
            "set --encryption-provider-config-automatic-reload=true",
        ),
    }
    let probe = container.liveness_probe.as_ref().and_then(|probe| probe.http_get.as_ref());
    match probe {
        Some(get) if get.path.contains("exclude=kms-provider") => found.ok("liveness", get.path.clone()),
        Some(get) => found.warn(
            "liveness",
            format!(
                "{}: while the plugin is unwell the API server is killed, and loses the keys it still has",
                get.path
            ),
            "probe /livez?exclude=kms-providers",
        ),
        None => found.skip("liveness", "the API server has no liveness probe over HTTP"),
    }
    let folder = socket.parent().unwrap_or(Path::new("/"));
    let mounted = container.volume_mounts.iter().any(|mount| folder.starts_with(&mount.mount_path));
    if mounted {
        found.ok("socket mount", folder.display().to_string());
    } else {
        found.fail(
            "socket mount",
            format!("{} is not mounted: the API server cannot reach the socket", folder.display()),
            "mount the folder, not the socket itself, by hostPath",
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::Verdict::{self, Failed, Ok, Skipped, Warning};
    use std::collections::BTreeMap;

    const CONFIG: &str = "
apiVersion: apiserver.config.k8s.io/v1
kind: EncryptionConfiguration
resources:
- resources: [secrets]
  providers:
  - kms: {apiVersion: v2, name: keyward, endpoint: 'unix:///run/keyward/kms.sock', timeout: 3s}
  - identity: {}
";

    const MANIFEST: &str = "
apiVersion: v1
kind: Pod
spec:
  containers:
  - command:
    - kube-apiserver
    - --encryption-provider-config=/etc/kubernetes/encryption.yaml
    - --encryption-provider-config-automatic-reload=true
    livenessProbe: {httpGet: {path: '/livez?exclude=kms-providers', port: 6443}}
    volumeMounts:
    - {mountPath: /run/keyward, name: kms}
";

    fn verdicts(config: &str, manifest: &str) -> BTreeMap<&'static str, Verdict> {
        let folder = tempfile::tempdir().unwrap();
        let (one, two) = (folder.path().join("config"), folder.path().join("manifest"));
        fs::write(&one, config).unwrap();
        fs::write(&two, manifest).unwrap();
        let found = examine(Some(&one), Some(&two), Path::new("/run/keyward/kms.sock"));
        found.checks.iter().map(|check| (check.name, check.verdict)).collect()
    }

    #[test]
    fn what_is_right_passes() {
        let all = verdicts(CONFIG, MANIFEST);
        assert!(all.values().all(|verdict| *verdict == Ok), "{all:?}");
        assert_eq!(all.len(), 10, "{all:?}");
        let none = examine(None, None, Path::new("/run/keyward/kms.sock"));
        assert!(none.checks.iter().all(|check| check.verdict == Skipped));
    }

    #[test]
    fn every_mistake_in_the_configuration_is_found() {
        let changed = |from: &str, to: &str| {
            assert!(CONFIG.contains(from), "{from}");
            CONFIG.replace(from, to)
        };
        let identity_first = changed("providers:\n", "providers:\n  - identity: {}\n");
        let identity_between = changed("- identity: {}", "- identity: {}\n  - aescbc: {keys: []}");
        let second = changed("providers:\n", "providers:\n  - aescbc: {keys: []}\n");
        let twice =
            changed("- identity: {}", "- kms: {apiVersion: v2, name: keyward, endpoint: 'unix:///other'}");
        for (text, name, verdict) in [
            (identity_first.as_str(), "identity", Failed),
            (&identity_between, "identity", Warning),
            (&second, "first provider", Failed),
            (&twice, "provider names", Failed),
            (&changed("kms.sock", "other.sock"), "first provider", Failed),
            (&changed("apiVersion: v2, ", ""), "kms version", Failed),
            (&changed("name: keyward", "name: 'a:b'"), "provider names", Failed),
            (&changed("timeout: 3s", "timeout: soon"), "timeout", Failed),
            (&changed("timeout: 3s", "timeout: 0s"), "timeout", Failed),
            (&changed("timeout: 3s", "timeout: 100ms"), "timeout", Warning),
            (&changed("timeout: 3s", "timeout: 1m"), "timeout", Warning),
            (&changed("timeout: 3s", "cachesize: 1000"), "cachesize", Failed),
            (&changed("[secrets]", "[configmaps]"), "secrets", Failed),
            (&changed("EncryptionConfiguration", "Pod"), "encryption config", Failed),
            ("resources: [", "encryption config", Failed),
        ] {
            assert_eq!(verdicts(text, MANIFEST).get(name), Some(&verdict), "{text}");
        }
    }

    #[test]
    fn every_mistake_in_the_manifest_is_found() {
        for (from, to, name, verdict) in [
            ("--encryption-provider-config=", "--other=", "provider config", Failed),
            ("reload=true", "reload=false", "automatic reload", Warning),
            ("?exclude=kms-providers", "", "liveness", Warning),
            ("mountPath: /run/keyward", "mountPath: /run/other", "socket mount", Failed),
        ] {
            assert!(MANIFEST.contains(from), "{from}");
            assert_eq!(verdicts(CONFIG, &MANIFEST.replace(from, to)).get(name), Some(&verdict), "{from}");
        }
        assert_eq!(verdicts(CONFIG, "{}").get("manifest"), Some(&Failed));
        assert_eq!(verdicts(CONFIG, "spec: {}").get("manifest"), Some(&Failed));
    }
}
