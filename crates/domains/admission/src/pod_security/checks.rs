//! The controls, each with what it forbids.

use serde_json::Value;

/// What a pod has that a control forbids.
pub(super) struct Violation<'p> {
    pub(super) control: &'static str,
    /// The field, with `[*]` for any element.
    pub(super) field: String,
    pub(super) value: String,
    /// The image of the container that has it; None for what the pod has as a whole.
    pub(super) image: Option<&'p str>,
    /// It is about containers all the same.
    pub(super) of_containers: bool,
}

pub(super) struct Checks<'p> {
    spec: &'p Value,
    metadata: &'p Value,
    version: u32,
    found: Vec<Violation<'p>>,
}

const CONTAINERS: [&str; 3] = ["initContainers", "containers", "ephemeralContainers"];

const BASELINE_CAPABILITIES: [&str; 13] = [
    "AUDIT_WRITE",
    "CHOWN",
    "DAC_OVERRIDE",
    "FOWNER",
    "FSETID",
    "KILL",
    "MKNOD",
    "NET_BIND_SERVICE",
    "SETFCAP",
    "SETGID",
    "SETPCAP",
    "SETUID",
    "SYS_CHROOT",
];

/// Sysctls that are safe, each from a version on.
const SYSCTLS: [(&str, u32); 12] = [
    ("kernel.shm_rmid_forced", 0),
    ("net.ipv4.ip_local_port_range", 0),
    ("net.ipv4.ip_unprivileged_port_start", 0),
    ("net.ipv4.tcp_syncookies", 0),
    ("net.ipv4.ping_group_range", 0),
    ("net.ipv4.ip_local_reserved_ports", 27),
    ("net.ipv4.tcp_keepalive_time", 29),
    ("net.ipv4.tcp_fin_timeout", 29),
    ("net.ipv4.tcp_keepalive_intvl", 29),
    ("net.ipv4.tcp_keepalive_probes", 29),
    ("net.ipv4.tcp_rmem", 32),
    ("net.ipv4.tcp_wmem", 32),
];

const VOLUMES: [&str; 9] = [
    "configMap",
    "csi",
    "downwardAPI",
    "emptyDir",
    "ephemeral",
    "persistentVolumeClaim",
    "projected",
    "secret",
    "image",
];

impl<'p> Checks<'p> {
    pub(super) fn new(spec: &'p Value, metadata: &'p Value, version: u32) -> Checks<'p> {
        Checks { spec, metadata, version, found: Vec::new() }
    }

    pub(super) fn run(mut self, restricted: bool) -> Vec<Violation<'p>> {
        self.host();
        self.privileged();
        self.volumes(restricted);
        self.ports_and_probes();
        self.app_armor();
        self.se_linux();
        self.proc_mount();
        self.sysctls();
        self.capabilities(restricted);
        if self.version >= 19 {
            self.seccomp(restricted);
        }
        if restricted {
            self.escalation();
            self.non_root();
        }
        self.found
    }

    fn containers(&self) -> impl Iterator<Item = (&'static str, &'p Value)> + use<'p> {
        let spec = self.spec;
        CONTAINERS
            .into_iter()
            .flat_map(move |kind| spec[kind].as_array().into_iter().flatten().map(move |one| (kind, one)))
    }

    fn windows(&self) -> bool {
        self.version >= 25 && self.spec["os"]["name"] == "windows"
    }

    fn pod(&mut self, control: &'static str, field: &str, value: &Value) {
        let violation = Violation {
            control,
            field: field.to_owned(),
            value: printed(value),
            image: None,
            of_containers: false,
        };
        self.found.push(violation);
    }

    fn container(
        &mut self,
        control: &'static str,
        (kind, container): (&str, &'p Value),
        field: &str,
        value: &Value,
    ) {
        let field = format!("spec.{kind}[*].{field}");
        let image = container["image"].as_str();
        self.found.push(Violation { control, field, value: printed(value), image, of_containers: true });
    }

    /// Pod and containers alike: every place of a field of a security context that does not suit.
    fn contexts(&mut self, control: &'static str, path: &[&str], fine: impl Fn(&Value) -> bool) {
        let at = |value: &'p Value| path.iter().fold(&value["securityContext"], |value, step| &value[*step]);
        let dotted = format!("securityContext.{}", path.join("."));
        let value = at(self.spec);
        if !value.is_null() && !fine(value) {
            self.pod(control, &format!("spec.{dotted}"), value);
        }
        for container in self.containers().collect::<Vec<_>>() {
            let value = at(container.1);
            if !value.is_null() && !fine(value) {
                self.container(control, container, &dotted, value);
            }
        }
    }

    fn host(&mut self) {
        self.contexts("HostProcess", &["windowsOptions", "hostProcess"], |value| {
            value == &Value::Bool(false)
        });
        for field in ["hostNetwork", "hostPID", "hostIPC"] {
            let value = &self.spec[field];
            if value == &Value::Bool(true) {
                self.pod("Host Namespaces", &format!("spec.{field}"), value);
            }
        }
    }

    fn privileged(&mut self) {
        for container in self.containers().collect::<Vec<_>>() {
            let value = &container.1["securityContext"]["privileged"];
            if value == &Value::Bool(true) {
                self.container("Privileged Containers", container, "securityContext.privileged", value);
            }
        }
    }

    fn volumes(&mut self, restricted: bool) {
        for volume in self.spec["volumes"].as_array().into_iter().flatten() {
            let path = &volume["hostPath"];
            if !path.is_null() {
                self.pod("HostPath Volumes", "spec.volumes[*].hostPath", &path["path"]);
            }
            let kinds = volume.as_object().into_iter().flatten().map(|(key, _)| key.as_str());
            for kind in kinds.filter(|kind| restricted && *kind != "name" && !VOLUMES.contains(kind)) {
                self.pod("Volume Types", &format!("spec.volumes[*].{kind}"), &volume["name"]);
            }
        }
    }

    fn ports_and_probes(&mut self) {
        for container in self.containers().collect::<Vec<_>>() {
            for port in container.1["ports"].as_array().into_iter().flatten() {
                if port["hostPort"].as_i64().is_some_and(|port| port != 0) {
                    self.container("Host Ports", container, "ports[*].hostPort", &port["hostPort"]);
                }
            }
            if self.version < 34 {
                continue;
            }
            for field in [
                "livenessProbe",
                "readinessProbe",
                "startupProbe",
                "lifecycle.postStart",
                "lifecycle.preStop",
            ] {
                let probe = field.split('.').fold(container.1, |value, step| &value[step]);
                for handler in ["httpGet", "tcpSocket"] {
                    let host = &probe[handler]["host"];
                    let outside = host
                        .as_str()
                        .is_some_and(|host| !["", "127.0.0.1", "::1", "localhost"].contains(&host));
                    if outside {
                        let field = format!("{field}.{handler}.host");
                        self.container("Host Probes / Lifecycle Hooks", container, &field, host);
                    }
                }
            }
        }
    }

    fn app_armor(&mut self) {
        let fine =
            |text: &str| text.is_empty() || text == "runtime/default" || text.starts_with("localhost/");
        for (key, value) in self.metadata["annotations"].as_object().into_iter().flatten() {
            let ours = key.starts_with("container.apparmor.security.beta.kubernetes.io/");
            if ours && !fine(value.as_str().unwrap_or_default()) {
                self.pod("AppArmor", &format!("metadata.annotations[{key}]"), value);
            }
        }
        if self.version >= 30 {
            self.contexts("AppArmor", &["appArmorProfile", "type"], |value| {
                matches!(value.as_str(), Some("RuntimeDefault" | "Localhost"))
            });
        }
    }

    fn se_linux(&mut self) {
        let engine = self.version >= 31;
        self.contexts("SELinux", &["seLinuxOptions", "type"], |value| {
            matches!(value.as_str(), Some("" | "container_t" | "container_init_t" | "container_kvm_t"))
                || (engine && value == "container_engine_t")
        });
        for field in ["user", "role"] {
            self.contexts("SELinux", &["seLinuxOptions", field], |value| value == "");
        }
    }

    fn proc_mount(&mut self) {
        // With user namespaces a pod sees only what is its own.
        if self.version >= 35 && self.spec["hostUsers"] == Value::Bool(false) {
            return;
        }
        for container in self.containers().collect::<Vec<_>>() {
            let value = &container.1["securityContext"]["procMount"];
            if value.as_str().is_some_and(|value| value != "Default") {
                self.container("/proc Mount Type", container, "securityContext.procMount", value);
            }
        }
    }

    fn sysctls(&mut self) {
        for sysctl in self.spec["securityContext"]["sysctls"].as_array().into_iter().flatten() {
            let name = sysctl["name"].as_str().unwrap_or_default();
            if !SYSCTLS.iter().any(|(known, from)| *known == name && self.version >= *from) {
                self.pod("Sysctls", "spec.securityContext.sysctls[*].name", &sysctl["name"]);
            }
        }
    }

    fn capabilities(&mut self, restricted: bool) {
        let restricted = restricted && self.version >= 22 && !self.windows();
        for container in self.containers().collect::<Vec<_>>() {
            let capabilities = &container.1["securityContext"]["capabilities"];
            for added in capabilities["add"].as_array().into_iter().flatten() {
                let name = added.as_str().unwrap_or_default();
                if !BASELINE_CAPABILITIES.contains(&name) || (restricted && name != "NET_BIND_SERVICE") {
                    self.container("Capabilities", container, "securityContext.capabilities.add", added);
                }
            }
            let dropped =
                capabilities["drop"].as_array().is_some_and(|list| list.iter().any(|name| name == "ALL"));
            if restricted && !dropped {
                // What is dropped besides says nothing about what is not; an exclusion names its values all the same.
                let first =
                    capabilities["drop"].as_array().and_then(|list| list.first()).unwrap_or(&Value::Null);
                self.container("Capabilities", container, "securityContext.capabilities.drop", first);
            }
        }
    }

    fn seccomp(&mut self, restricted: bool) {
        if restricted && self.windows() {
            return;
        }
        let fine = |value: &Value| matches!(value.as_str(), Some("RuntimeDefault" | "Localhost"));
        let path = &["seccompProfile", "type"];
        if !restricted {
            return self.contexts("Seccomp", path, |value| value != "Unconfined");
        }
        self.contexts("Seccomp", path, fine);
        if fine(&self.spec["securityContext"]["seccompProfile"]["type"]) {
            return;
        }
        for container in self.containers().collect::<Vec<_>>() {
            let value = &container.1["securityContext"]["seccompProfile"]["type"];
            if value.is_null() {
                self.container("Seccomp", container, "securityContext.seccompProfile.type", value);
            }
        }
    }

    fn escalation(&mut self) {
        if self.version < 8 || self.windows() {
            return;
        }
        for container in self.containers().collect::<Vec<_>>() {
            let value = &container.1["securityContext"]["allowPrivilegeEscalation"];
            if value != &Value::Bool(false) {
                self.container(
                    "Privilege Escalation",
                    container,
                    "securityContext.allowPrivilegeEscalation",
                    value,
                );
            }
        }
    }

    fn non_root(&mut self) {
        // With user namespaces, root of the pod is not root of the node.
        let relaxed = self.version >= 35 && self.spec["hostUsers"] == Value::Bool(false);
        let pod = &self.spec["securityContext"]["runAsNonRoot"];
        for container in self.containers().collect::<Vec<_>>() {
            let own = &container.1["securityContext"]["runAsNonRoot"];
            let fine = own == &Value::Bool(true) || (own.is_null() && pod == &Value::Bool(true));
            if !fine && !relaxed {
                self.container("Running as Non-root", container, "securityContext.runAsNonRoot", own);
            }
        }
        if pod == &Value::Bool(false) && !relaxed {
            self.pod("Running as Non-root", "spec.securityContext.runAsNonRoot", pod);
        }
        if self.version >= 23 && !relaxed {
            self.contexts("Running as Non-root user", &["runAsUser"], |value| value.as_i64() != Some(0));
        }
    }
}

fn printed(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}
