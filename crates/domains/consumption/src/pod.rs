//! What is put into a pod: memory for values, a token for the agent alone, and the agent.
//!
//! The agent is a native sidecar (an init container with `restartPolicy: Always`, Kubernetes 1.29), the first of all: what
//! comes after it, init containers too, starts once its startup probe finds every object opened. Until then the kubelet
//! writes the agent's own words into an Event of the pod. With [`Refresh::Never`] it is a plain init container.

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::{Value, json};

use crate::{Refresh, Refused, Wish, refused};

/// The name of the agent's container, and of the volume that its state lies in.
pub const AGENT: &str = "keyward-agent";
const TOKEN: &str = "keyward-token";
/// Says that a pod was injected, and that what bears our names in it is ours.
const STATUS: &str = "keyward.io/status";
const INJECTED: &str = "injected";

/// Where values lie for the agent, whatever the workload's mount path is.
pub const SECRETS_FOLDER: &str = "/keyward/secrets";
/// Where the agent tells its startup probe how it is.
pub const STATE_FOLDER: &str = "/run/keyward-agent";
const TOKEN_FOLDER: &str = "/var/run/secrets/keyward";

/// Who the agent is where the pod does not say: nobody.
const NOBODY: i64 = 65532;
/// How long one probe waits before it reports what is lacking, in seconds.
const PROBE: u64 = 5;

/// What an operator decides for all pods.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Setup {
    /// The image with `keyward` on its path.
    pub image: String,
    /// `IfNotPresent`, `Always` or `Never`.
    pub pull_policy: String,
    /// The authority's URL, as pods reach it.
    pub address: String,
    /// The certificates it is believed by, in PEM; the image's own without them.
    pub ca: Option<String>,
    /// The name in its certificate, where that is not the host of the address.
    pub tls_server_name: Option<String>,
    /// Where the auth method `kubernetes` is mounted below `auth/`.
    pub auth_mount: String,
    /// The role that pods log in with unless they name one.
    pub role: String,
    /// Where the engine `sealed` is mounted.
    pub mount: String,
    /// For whom the kubelet issues the agent's token: what the role's `audience` says.
    pub audience: String,
    /// How long that token lives; the kubelet takes 10 minutes or more.
    pub token_life: Duration,
    /// Memory for the values of one pod, as a quantity. While values change there are two copies.
    pub memory: String,
}

/// Operations of a JSON patch (RFC 6902) that give a pod what it wishes; none when it has that already.
pub fn patch(pod: &Value, wish: &Wish, setup: &Setup) -> Result<Vec<Value>, Refused> {
    let before = Parts::read(pod)?;
    if pod["spec"]["os"]["name"] == "windows" {
        return refused("values lie in memory, which Windows has no volume for: run the pod on Linux");
    }
    let mut after = before.clone();
    if pod["metadata"]["annotations"][STATUS] == INJECTED {
        after.strip(wish);
    }
    after.check(wish)?;
    after.mount(wish)?;
    let who = Who::of(&pod["spec"], &after, wish);
    after.init_containers.insert(0, agent(wish, setup, &who));
    after.volumes.extend(volumes(wish, setup));
    Ok(before.difference(&after, pod))
}

/// The parts of a pod that change.
#[derive(Clone, PartialEq)]
struct Parts {
    containers: Vec<Value>,
    init_containers: Vec<Value>,
    volumes: Vec<Value>,
}

impl Parts {
    fn read(pod: &Value) -> Result<Parts, Refused> {
        let list = |name: &str| match &pod["spec"][name] {
            Value::Array(list) => Ok(list.clone()),
            Value::Null => Ok(Vec::new()),
            _ => refused(format!("the pod's spec.{name} is no list")),
        };
        Ok(Parts {
            containers: list("containers")?,
            init_containers: list("initContainers")?,
            volumes: list("volumes")?,
        })
    }

    /// Takes out what an earlier call put in.
    fn strip(&mut self, wish: &Wish) {
        let ours = [wish.volume, TOKEN, AGENT];
        self.init_containers.retain(|container| container["name"] != AGENT);
        self.volumes.retain(|volume| !ours.iter().any(|name| volume["name"] == *name));
        let mount =
            |mount: &Value| mount["name"] == wish.volume && mount["mountPath"] == wish.mount_path.as_str();
        for container in self.containers.iter_mut().chain(&mut self.init_containers) {
            if let Some(mounts) = container.get_mut("volumeMounts").and_then(Value::as_array_mut) {
                mounts.retain(|found| !mount(found));
            }
        }
    }

    /// Whether there is room for what is ours.
    fn check(&self, wish: &Wish) -> Result<(), Refused> {
        let named = |list: &[Value], name: &str| list.iter().any(|item| item["name"] == name);
        for name in [wish.volume, TOKEN, AGENT] {
            if named(&self.volumes, name) {
                return refused(format!("the pod has a volume {name} already: rename it"));
            }
        }
        if named(&self.containers, AGENT) || named(&self.init_containers, AGENT) {
            return refused(format!("the pod has a container {AGENT} already: rename it"));
        }
        for container in self.all() {
            let name = container["name"].as_str().unwrap_or_default();
            for variable in container["env"].as_array().into_iter().flatten() {
                let from = &variable["valueFrom"]["secretKeyRef"];
                if from["name"].as_str().is_some_and(|secret| secret.starts_with("zen-lock-inject-")) {
                    let variable = variable["name"].as_str().unwrap_or_default();
                    return refused(format!(
                        "{variable} of container {name} comes from a Secret, and none is made: read the file below {} instead",
                        wish.mount_path
                    ));
                }
            }
        }
        for wanted in wish.containers.iter().flatten() {
            if !named(&self.containers, wanted) && !named(&self.init_containers, wanted) {
                return refused(format!(
                    "keyward.io/containers names {wanted}, and the pod has no such container"
                ));
            }
        }
        Ok(())
    }

    fn all(&self) -> impl Iterator<Item = &Value> {
        self.containers.iter().chain(&self.init_containers)
    }

    fn mount(&mut self, wish: &Wish) -> Result<(), Refused> {
        for container in self.containers.iter_mut().chain(&mut self.init_containers) {
            if wants(container, wish) {
                mount(container, wish)?;
            }
        }
        Ok(())
    }

    fn difference(&self, after: &Parts, pod: &Value) -> Vec<Value> {
        let mut operations = Vec::new();
        let mut set = |name: &str, before: &[Value], after: &[Value]| {
            if before != after {
                operations.push(json!({"op": "add", "path": format!("/spec/{name}"), "value": after}));
            }
        };
        set("volumes", &self.volumes, &after.volumes);
        set("initContainers", &self.init_containers, &after.init_containers);
        set("containers", &self.containers, &after.containers);
        if pod["metadata"]["annotations"][STATUS] != INJECTED {
            let path = format!("/metadata/annotations/{}", STATUS.replace('/', "~1"));
            operations.push(json!({"op": "add", "path": path, "value": INJECTED}));
        }
        operations
    }
}

fn wants(container: &Value, wish: &Wish) -> bool {
    let name = container["name"].as_str().unwrap_or_default();
    wish.containers.as_ref().is_none_or(|wanted| wanted.contains(name))
}

fn mount(container: &mut Value, wish: &Wish) -> Result<(), Refused> {
    let name = container["name"].as_str().unwrap_or_default().to_owned();
    let Value::Object(fields) = container else { return refused("a container of the pod is no object") };
    let mounts = fields.entry("volumeMounts").or_insert_with(|| json!([]));
    if mounts.is_null() {
        *mounts = json!([]);
    }
    let Value::Array(mounts) = mounts else {
        return refused(format!("the volumeMounts of container {name} are no list"));
    };
    // Manifests for zen-lock may mount the volume themselves.
    if let Some(own) = mounts.iter_mut().find(|mount| mount["name"] == wish.volume) {
        own["readOnly"] = json!(true);
        return Ok(());
    }
    let same = |mount: &&Value| {
        mount["mountPath"].as_str().is_some_and(|path| path.trim_end_matches('/') == wish.mount_path)
    };
    if let Some(there) = mounts.iter().find(same) {
        let volume = there["name"].as_str().unwrap_or_default();
        return refused(format!(
            "container {name} mounts {volume} at {} already: choose another mount path, or leave the container out with \
             keyward.io/containers",
            wish.mount_path
        ));
    }
    mounts.push(json!({"name": wish.volume, "mountPath": wish.mount_path, "readOnly": true}));
    Ok(())
}

/// Who the agent is, and who may read what it writes.
struct Who {
    user: i64,
    group: i64,
    /// Of files, in octal.
    mode: &'static str,
}

impl Who {
    /// Files are for their owner alone where every container that wants them is the same user, which the agent then is too;
    /// for the pod's `fsGroup` where it has one; else for whoever has the mount.
    fn of(spec: &Value, parts: &Parts, wish: &Wish) -> Who {
        let pod = &spec["securityContext"];
        let of = |container: &Value, field: &str| {
            container["securityContext"][field].as_i64().or_else(|| pod[field].as_i64())
        };
        let wanting = || parts.all().filter(|container| wants(container, wish));
        let users: BTreeSet<_> = wanting().map(|container| of(container, "runAsUser")).collect();
        // Processes of one user can read each other's files through /proc, and with them the agent's token.
        let apart = spec["shareProcessNamespace"] != true && spec["hostPID"] != true;
        let shared = match users.iter().collect::<Vec<_>>().as_slice() {
            [Some(user)] if *user > 0 && apart => Some(*user),
            _ => None,
        };
        let user = shared.unwrap_or(NOBODY);
        let mode = match (pod["fsGroup"].as_i64(), shared) {
            (Some(_), _) => "0440",
            (None, Some(_)) => "0400",
            (None, None) => "0444",
        };
        Who { user, group: user, mode }
    }
}

fn agent(wish: &Wish, setup: &Setup, who: &Who) -> Value {
    let mut args = vec![
        "agent".to_owned(),
        format!("--to={SECRETS_FOLDER}"),
        format!("--layout={}", wish.layout.name()),
        format!("--mode={}", who.mode),
        format!("--mount={}", setup.mount),
        format!("--auth-mount={}", setup.auth_mount),
        format!("--role={}", wish.role.as_ref().unwrap_or(&setup.role)),
        format!("--token-file={TOKEN_FOLDER}/token"),
        format!("--state={STATE_FOLDER}"),
    ];
    if wish.refresh == Refresh::Never {
        args.push("--once".to_owned());
    }
    args.extend(wish.objects.iter().map(|name| format!("--object={name}")));
    let mut agent = json!({
        "name": AGENT,
        "image": setup.image,
        "imagePullPolicy": setup.pull_policy,
        "command": ["keyward"],
        "args": args,
        "env": environment(setup),
        "volumeMounts": [
            {"name": wish.volume, "mountPath": SECRETS_FOLDER},
            {"name": AGENT, "mountPath": STATE_FOLDER},
            {"name": TOKEN, "mountPath": TOKEN_FOLDER, "readOnly": true},
        ],
        "securityContext": {
            "runAsUser": who.user,
            "runAsGroup": who.group,
            "runAsNonRoot": true,
            "readOnlyRootFilesystem": true,
            "allowPrivilegeEscalation": false,
            "privileged": false,
            "capabilities": {"drop": ["ALL"]},
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "resources": {
            "requests": {"cpu": "5m", "memory": "16Mi"},
            "limits": {"cpu": "500m", "memory": "96Mi"},
        },
        // What it says in the end is shown with the container's state.
        "terminationMessagePolicy": "FallbackToLogsOnError",
    });
    if wish.refresh == Refresh::Follow {
        agent["restartPolicy"] = json!("Always");
        let probe =
            ["keyward", "agent", "--check", &format!("--state={STATE_FOLDER}"), &format!("--wait={PROBE}s")];
        agent["startupProbe"] = json!({
            "exec": {"command": probe},
            "periodSeconds": 1,
            "timeoutSeconds": PROBE * 2,
            // The pod waits for as long as it takes: the agent is not what is to be restarted.
            "failureThreshold": 1_000_000,
        });
    }
    agent
}

fn environment(setup: &Setup) -> Vec<Value> {
    let mut variables = vec![
        json!({"name": "KEYWARD_ADDR", "value": setup.address}),
        json!({"name": "KEYWARD_AGENT_NAMESPACE", "valueFrom": {"fieldRef": {"fieldPath": "metadata.namespace"}}}),
    ];
    let mut also = |name: &str, value: &Option<String>| {
        if let Some(value) = value {
            variables.push(json!({"name": name, "value": value}));
        }
    };
    also("KEYWARD_CACERT_BYTES", &setup.ca);
    also("KEYWARD_TLS_SERVER_NAME", &setup.tls_server_name);
    variables
}

fn volumes(wish: &Wish, setup: &Setup) -> [Value; 3] {
    let token = json!({
        "audience": setup.audience,
        "expirationSeconds": setup.token_life.as_secs(),
        "path": "token",
    });
    [
        json!({"name": wish.volume, "emptyDir": {"medium": "Memory", "sizeLimit": setup.memory}}),
        json!({"name": AGENT, "emptyDir": {"medium": "Memory", "sizeLimit": "1Mi"}}),
        json!({"name": TOKEN, "projected": {"sources": [{"serviceAccountToken": token}]}}),
    ]
}

#[cfg(test)]
mod tests;
