#![allow(clippy::unwrap_used, reason = "a test may fail where it stands")]
use super::*;
use std::collections::BTreeMap;

fn setup() -> Setup {
    Setup {
        image: "keyward:1".to_owned(),
        pull_policy: "IfNotPresent".to_owned(),
        address: "https://keyward.keyward:8200".to_owned(),
        ca: Some("PEM".to_owned()),
        tls_server_name: None,
        auth_mount: "kubernetes".to_owned(),
        role: "workload".to_owned(),
        mount: "sealed".to_owned(),
        audience: "keyward".to_owned(),
        token_life: Duration::from_secs(3600),
        memory: "32Mi".to_owned(),
    }
}

fn pod(annotations: Value, spec: Value) -> Value {
    json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"generateName": "web-", "annotations": annotations}, "spec": spec})
}

fn inject(pod: &Value) -> Result<Vec<Value>, Refused> {
    let annotations: BTreeMap<String, String> =
        serde_json::from_value(pod["metadata"]["annotations"].clone()).unwrap();
    patch(pod, &Wish::read(&annotations)?.unwrap(), &setup())
}

/// Applies the few operations that are made here.
fn applied(pod: &Value) -> Value {
    let mut after = pod.clone();
    for operation in inject(pod).unwrap() {
        let path = operation["path"].as_str().unwrap();
        let (parent, name) = path.rsplit_once('/').unwrap();
        let parent = after.pointer_mut(parent).unwrap();
        parent[name.replace("~1", "/")] = operation["value"].clone();
    }
    after
}

fn simple() -> Value {
    pod(json!({"keyward.io/inject": "db"}), json!({"containers": [{"name": "app", "image": "app"}]}))
}

#[test]
fn a_pod_without_a_name_gets_memory_a_token_and_an_agent() {
    let after = applied(&simple());
    let spec = &after["spec"];
    assert_eq!(
        spec["containers"][0]["volumeMounts"],
        json!([
            {"name": "keyward-secrets", "mountPath": "/keyward/secrets", "readOnly": true}
        ])
    );
    let agent = &spec["initContainers"][0];
    assert_eq!((&agent["name"], &agent["restartPolicy"]), (&json!(AGENT), &json!("Always")));
    assert_eq!(agent["securityContext"]["runAsNonRoot"], true);
    assert!(agent["args"].as_array().unwrap().contains(&json!("--object=db")));
    assert!(agent["args"].as_array().unwrap().contains(&json!("--mode=0444")));
    let volumes = spec["volumes"].as_array().unwrap();
    assert_eq!(volumes[0]["emptyDir"], json!({"medium": "Memory", "sizeLimit": "32Mi"}));
    assert_eq!(volumes[2]["projected"]["sources"][0]["serviceAccountToken"]["audience"], "keyward");
    // The token is the agent's alone.
    assert!(!spec["containers"].to_string().contains(TOKEN));
    assert_eq!(after["metadata"]["annotations"][STATUS], INJECTED);
}

#[test]
fn asked_again_it_changes_nothing_and_serves_containers_that_came_since() {
    let once = applied(&simple());
    assert_eq!(applied(&once), once);
    assert!(inject(&once).unwrap().is_empty());
    let mut more = once.clone();
    more["spec"]["containers"].as_array_mut().unwrap().push(json!({"name": "proxy", "image": "p"}));
    // The API server fills in what it defaults between two calls.
    more["spec"]["initContainers"][0]["terminationMessagePath"] = json!("/dev/termination-log");
    let again = applied(&more);
    assert_eq!(again["spec"]["containers"][1]["volumeMounts"][0]["mountPath"], "/keyward/secrets");
    assert_eq!(again["spec"]["initContainers"], once["spec"]["initContainers"]);
    assert_eq!(again["spec"]["volumes"], once["spec"]["volumes"]);
}

#[test]
fn files_are_for_as_few_as_can_be_told() {
    let mode = |spec: Value| {
        let after = applied(&pod(json!({"keyward.io/inject": "db"}), spec));
        let agent = after["spec"]["initContainers"][0].clone();
        let args = agent["args"].as_array().unwrap().iter().filter_map(Value::as_str);
        let mode = args.filter_map(|arg| arg.strip_prefix("--mode=")).next().unwrap().to_owned();
        (agent["securityContext"]["runAsUser"].as_i64().unwrap(), mode)
    };
    let app = json!({"name": "app"});
    let user = |user: i64| json!({"name": "other", "securityContext": {"runAsUser": user}});
    assert_eq!(mode(json!({"containers": [app]})), (NOBODY, "0444".to_owned()));
    assert_eq!(mode(json!({"containers": [user(7)]})), (7, "0400".to_owned()));
    assert_eq!(
        mode(json!({"containers": [app, user(7)], "securityContext": {"runAsUser": 7}})),
        (7, "0400".to_owned())
    );
    assert_eq!(mode(json!({"containers": [app, user(7)]})), (NOBODY, "0444".to_owned()));
    assert_eq!(mode(json!({"containers": [user(0)]})), (NOBODY, "0444".to_owned()));
    assert_eq!(
        mode(json!({"containers": [user(7)], "shareProcessNamespace": true})),
        (NOBODY, "0444".to_owned())
    );
    assert_eq!(
        mode(json!({"containers": [app], "securityContext": {"fsGroup": 9}})),
        (NOBODY, "0440".to_owned())
    );
}

#[test]
fn only_the_containers_named_get_the_mount() {
    let spec = json!({
        "initContainers": [{"name": "migrate"}],
        "containers": [{"name": "app"}, {"name": "proxy"}],
    });
    let annotations = json!({"keyward.io/inject": "db", "keyward.io/containers": "app,migrate", "keyward.io/refresh": "never"});
    let after = applied(&pod(annotations, spec.clone()));
    assert!(after["spec"]["containers"][0]["volumeMounts"].is_array());
    assert!(after["spec"]["containers"][1]["volumeMounts"].is_null());
    assert_eq!(after["spec"]["initContainers"][1]["name"], "migrate");
    assert!(after["spec"]["initContainers"][1]["volumeMounts"].is_array());
    let agent = &after["spec"]["initContainers"][0];
    assert!(agent["restartPolicy"].is_null() && agent["startupProbe"].is_null());
    assert!(agent["args"].as_array().unwrap().contains(&json!("--once")));
    let why =
        inject(&pod(json!({"keyward.io/inject": "db", "keyward.io/containers": "ap"}), spec)).unwrap_err();
    assert!(why.0.contains("names ap,"), "{why}");
}

#[test]
fn manifests_of_zen_lock_keep_their_own_mount() {
    let mounts = json!([{"name": "zen-secrets", "mountPath": "/etc/config"}]);
    let annotations = json!({"zen-lock/inject": "db-credentials", "zen-lock/mount-path": "/etc/config"});
    let after =
        applied(&pod(annotations.clone(), json!({"containers": [{"name": "app", "volumeMounts": mounts}]})));
    assert_eq!(
        after["spec"]["containers"][0]["volumeMounts"],
        json!([
            {"name": "zen-secrets", "mountPath": "/etc/config", "readOnly": true}
        ])
    );
    assert_eq!(after["spec"]["volumes"][0]["name"], "zen-secrets");
    assert_eq!(applied(&after), after);
    let env = json!([{"name": "DB_USER", "valueFrom": {"secretKeyRef": {"name": "zen-lock-inject-x", "key": "DB_USER"}}}]);
    let why = inject(&pod(annotations, json!({"containers": [{"name": "app", "env": env}]}))).unwrap_err();
    assert!(why.0.contains("DB_USER") && why.0.contains("/etc/config"), "{why}");
}

#[test]
fn what_clashes_is_refused() {
    let wish = json!({"keyward.io/inject": "db", "keyward.io/mount-path": "/etc/app"});
    for (spec, named) in [
        (
            json!({"containers": [{"name": "app", "volumeMounts": [{"name": "c", "mountPath": "/etc/app/"}]}]}),
            "mounts c at",
        ),
        (json!({"containers": [{"name": "keyward-agent"}]}), "container keyward-agent"),
        (
            json!({"containers": [{"name": "app"}], "volumes": [{"name": "keyward-token"}]}),
            "volume keyward-token",
        ),
        (
            json!({"containers": [{"name": "app"}], "volumes": [{"name": "keyward-secrets"}]}),
            "volume keyward-secrets",
        ),
        (json!({"containers": [{"name": "app"}], "os": {"name": "windows"}}), "Linux"),
        (json!({"containers": "app"}), "no list"),
        (json!({"containers": [{"name": "app", "volumeMounts": "x"}]}), "no list"),
        (json!({"containers": ["app"]}), "no object"),
    ] {
        let why = inject(&pod(wish.clone(), spec)).unwrap_err();
        assert!(why.0.contains(named), "{why}");
    }
}
