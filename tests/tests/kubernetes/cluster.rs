//! The test cluster itself: what other tests rely on when they use it.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::Command;
use std::time::Duration;

use keyward_testkit::cluster::{BUSYBOX, Cluster, Component, Error, NODE_ADDRESS, Options, check};
use keyward_testkit::process::{Process, run, wait_for};
use keyward_testkit::require;

const LIMIT: Duration = Duration::from_secs(180);

fn contains(bytes: &[u8], part: &str) -> bool {
    bytes.windows(part.len()).any(|window| window == part.as_bytes())
}

fn assert_nothing_remains(name: &str) {
    assert_eq!(Cluster::remains(name).unwrap(), Vec::<String>::new());
}

#[test]
fn a_control_plane_keeps_restarts_and_leaves_nothing() {
    if !require(check(false)) {
        return;
    }
    let mut cluster = Cluster::start(Options::named("test-control")).unwrap();
    objects_round_trip(&cluster);
    etcd_is_read_past_the_api_server(&cluster);
    flags_count_from_the_next_start(&mut cluster);
    a_killed_component_starts_again(&mut cluster);
    the_network_is_its_own(&cluster);
    let again = Cluster::start(Options::named("test-control")).unwrap_err();
    assert!(matches!(again, Error::InUse { .. }), "{again}");
    assert!(!Cluster::remains("test-control").unwrap().is_empty());
    drop(cluster);
    assert_nothing_remains("test-control");
    assert!(!Cluster::down("test-control").unwrap());
}

fn objects_round_trip(cluster: &Cluster) {
    cluster.kubectl(&["create", "configmap", "greeting", "--from-literal=text=hello"], "").unwrap();
    let manifest = r#"{"apiVersion":"v1","kind":"Secret","metadata":{"name":"plain"},
        "stringData":{"word":"an-open-word"}}"#;
    cluster.kubectl(&["apply", "--filename=-"], manifest).unwrap();
    let text =
        cluster.kubectl(&["get", "configmap", "greeting", "--output=jsonpath={.data.text}"], "").unwrap();
    assert_eq!(text, "hello");
    assert_eq!(word_of(cluster, "plain"), "an-open-word");
    let refused = cluster.kubectl(&["get", "secret", "absent"], "").unwrap_err();
    assert!(refused.to_string().contains(r#"secrets "absent" not found"#), "{refused}");
}

fn word_of(cluster: &Cluster, secret: &str) -> String {
    let template = "go-template={{.data.word | base64decode}}";
    cluster.kubectl(&["get", "secret", secret, "--output", template], "").unwrap()
}

fn etcd_is_read_past_the_api_server(cluster: &Cluster) {
    let raw = cluster.etcd_get("/registry/secrets/default/plain").unwrap().unwrap();
    assert!(raw.starts_with(b"k8s\0") && contains(&raw, "an-open-word"));
    assert_eq!(cluster.etcd_get("/registry/secrets/default/absent").unwrap(), None);
    let listed = cluster.etcd_list("/registry/secrets/default/").unwrap();
    assert_eq!(listed, [("/registry/secrets/default/plain".to_owned(), raw)]);
    let file = cluster.folder().join("snapshot.db");
    cluster.etcd_snapshot(&file).unwrap();
    assert!(contains(&std::fs::read(file).unwrap(), "an-open-word"));
}

fn flags_count_from_the_next_start(cluster: &mut Cluster) {
    let file = cluster.folder().join("encryption.json");
    let config = r#"{"apiVersion":"apiserver.config.k8s.io/v1","kind":"EncryptionConfiguration","resources":[
        {"resources":["secrets"],"providers":[
            {"aesgcm":{"keys":[{"name":"first","secret":"MDEyMzQ1Njc4OWFiY2RlZg=="}]}},{"identity":{}}]}]}"#;
    std::fs::write(&file, config).unwrap();
    cluster.set_api_server_flags(&[&format!("--encryption-provider-config={}", file.display())]).unwrap();
    cluster.restart_component(Component::ApiServer).unwrap();
    cluster
        .kubectl(&["create", "secret", "generic", "hidden", "--from-literal=word=a-hidden-word"], "")
        .unwrap();
    let raw = cluster.etcd_get("/registry/secrets/default/hidden").unwrap().unwrap();
    assert!(raw.starts_with(b"k8s:enc:aesgcm:v1:first:") && !contains(&raw, "a-hidden-word"));
    assert_eq!(word_of(cluster, "hidden"), "a-hidden-word");
    assert_eq!(word_of(cluster, "plain"), "an-open-word");
}

fn a_killed_component_starts_again(cluster: &mut Cluster) {
    for component in [Component::Etcd, Component::ApiServer] {
        cluster.kill_component(component).unwrap();
        assert!(cluster.status().iter().any(|part| part.component == component && part.pid.is_none()));
        assert!(cluster.kubectl(&["get", "namespaces", "--request-timeout=2s"], "").is_err());
        cluster.start_component(component).unwrap();
        cluster.wait_ready(LIMIT).unwrap();
    }
    assert_eq!(word_of(cluster, "hidden"), "a-hidden-word");
    assert!(cluster.status().iter().all(|part| part.pid.is_some() && part.memory_kib > 0));
    assert!(cluster.log(Component::ApiServer).unwrap().contains("Serving securely"));
}

fn the_network_is_its_own(cluster: &Cluster) {
    let server: SocketAddr = format!("{NODE_ADDRESS}:6443").parse().unwrap();
    let connect = |address: SocketAddr| TcpStream::connect_timeout(&address, Duration::from_secs(2));
    cluster.in_namespace(|| connect(server)).unwrap().unwrap();
    // A listener made inside is reached from inside alone. Whether connecting from outside fails is no proof: a
    // gateway may answer for any address.
    let listener = cluster.in_namespace(|| TcpListener::bind((NODE_ADDRESS, 0))).unwrap().unwrap();
    listener.set_nonblocking(true).unwrap();
    let inside = listener.local_addr().unwrap();
    drop(connect(inside));
    assert_eq!(listener.accept().unwrap_err().kind(), ErrorKind::WouldBlock);
    let mut client = cluster.command_in_namespace("bash");
    client.args(["-c", &format!("exec 3<>/dev/tcp/{NODE_ADDRESS}/{}", inside.port())]);
    let finished = run(&mut client, b"", LIMIT).unwrap();
    assert!(finished.status.success(), "{}", finished.stderr);
    listener.accept().unwrap();
}

#[test]
fn what_a_killed_starter_left_is_removed() {
    if !require(check(false)) {
        return;
    }
    Cluster::down("test-killed").unwrap();
    let folder = tempfile::tempdir().unwrap();
    let hold = |attempt: &str| {
        let mut holder = Command::new(env!("CARGO_BIN_EXE_hold-cluster"));
        Process::spawn(holder.arg("test-killed"), &folder.path().join(attempt)).unwrap()
    };

    let mut early = hold("early");
    wait_for("etcd to be started", LIMIT, || {
        let cluster = Cluster::attach("test-killed").unwrap()?;
        cluster.status().first().filter(|etcd| etcd.pid.is_some()).copied()
    })
    .unwrap();
    early.kill().unwrap();
    assert!(!Cluster::remains("test-killed").unwrap().is_empty());
    assert!(Cluster::down("test-killed").unwrap());
    assert_nothing_remains("test-killed");

    let mut late = hold("late");
    wait_for("the cluster to be held", LIMIT, || {
        assert!(late.exited().unwrap().is_none(), "{}", late.output().unwrap());
        late.output().ok().filter(|text| text.contains("held: test-killed"))
    })
    .unwrap();
    // The name is waited for while its holder lives.
    let killer = std::thread::spawn(move || {
        std::thread::sleep(Duration::from_secs(2));
        late.kill().unwrap();
    });
    let cluster = Cluster::start(Options::named("test-killed")).unwrap();
    killer.join().unwrap();
    cluster.kubectl(&["get", "namespaces"], "").unwrap();
    drop(cluster);
    assert_nothing_remains("test-killed");
}

const PODS: &str = r#"
apiVersion: v1
kind: Secret
metadata: {name: mounted}
stringData: {word: from-a-secret}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      terminationGracePeriodSeconds: 0
      containers:
      - name: web
        image: BUSYBOX
        imagePullPolicy: Never
        command: [sh, -c, "echo serving; exec httpd -f -p 8080 -h /mounted"]
        volumeMounts: [{name: mounted, mountPath: /mounted, readOnly: true}]
      volumes: [{name: mounted, secret: {secretName: mounted}}]
---
apiVersion: v1
kind: Service
metadata: {name: web}
spec:
  selector: {app: web}
  ports: [{port: 80, targetPort: 8080}]
"#;

#[test]
fn a_node_runs_pods_and_leaves_nothing() {
    if !require(check(true)) {
        return;
    }
    let cluster = Cluster::start(Options::named("test-node").with_node()).unwrap();
    cluster.kubectl(&["apply", "--filename=-"], &PODS.replace("BUSYBOX", BUSYBOX)).unwrap();
    cluster.kubectl(&["rollout", "status", "deployment/web", "--timeout=120s"], "").unwrap();

    let word = cluster.kubectl(&["exec", "deployment/web", "--", "cat", "/mounted/word"], "").unwrap();
    assert_eq!(word, "from-a-secret");
    let log = cluster.kubectl(&["logs", "deployment/web"], "").unwrap();
    assert_eq!(log, "serving\n");

    let address =
        cluster.kubectl(&["get", "service", "web", "--output=jsonpath={.spec.clusterIP}"], "").unwrap();
    let fetch = || cluster.in_namespace(|| fetch(&format!("{address}:80"), "/word")).unwrap();
    let answer = wait_for("the Service to answer", LIMIT, || fetch().ok()).unwrap();
    assert!(answer.ends_with("\r\n\r\nfrom-a-secret"), "{answer}");

    let runs = |part: &Component| cluster.status().iter().any(|at| at.component == *part && at.pid.is_some());
    assert!([Component::Containerd, Component::Kubelet, Component::KubeProxy].iter().all(runs));
    a_static_pod_needs_no_scheduler(&cluster);

    // As after a crash: nothing but the name leads to the pods, their mounts and control groups.
    cluster.detach().unwrap();
    assert!(Cluster::down("test-node").unwrap());
    assert_nothing_remains("test-node");
}

fn fetch(server: &str, path: &str) -> std::io::Result<String> {
    let address = server.parse().map_err(std::io::Error::other)?;
    let mut connection = TcpStream::connect_timeout(&address, Duration::from_secs(2))?;
    connection.set_read_timeout(Some(Duration::from_secs(5)))?;
    write!(connection, "GET {path} HTTP/1.0\r\n\r\n")?;
    let mut answer = String::new();
    connection.read_to_string(&mut answer)?;
    Ok(answer)
}

fn a_static_pod_needs_no_scheduler(cluster: &Cluster) {
    let manifest = format!(
        r#"{{"apiVersion":"v1","kind":"Pod","metadata":{{"name":"early"}},"spec":{{"hostNetwork":true,"containers":[
            {{"name":"early","image":"{BUSYBOX}","imagePullPolicy":"Never","command":["sleep","3600"]}}]}}}}"#
    );
    let partial = cluster.folder().join("early.json");
    std::fs::write(&partial, manifest).unwrap();
    std::fs::rename(partial, cluster.static_pods().join("early.json")).unwrap();
    wait_for("the static pod", LIMIT, || {
        let phase = cluster.kubectl(&["get", "pod", "early-node", "--output=jsonpath={.status.phase}"], "");
        phase.ok().filter(|phase| phase == "Running")
    })
    .unwrap();
}
