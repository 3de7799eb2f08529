//! The adapter that reads, watches and writes objects, against a real API server.

use keyward_kubernetes::{
    About, Access, Change, Changes, Cluster as Client, Election, Key, Kind, Selection, Severity, Source, Why,
};
use keyward_testkit::cluster::{Cluster, Component, Options, check};
use keyward_testkit::require;
use serde_json::{Value, json};
use std::time::Duration;

const CONFIG_MAPS: Kind = Kind::namespaced("", "v1", "ConfigMap", "configmaps");
const EVENTS: Kind = Kind::namespaced("events.k8s.io", "v1", "Event", "events");
/// A loaded machine needs a minute for what takes a moment.
const LONG: Duration = Duration::from_secs(120);

fn map(name: &str, value: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "ConfigMap", "data": {"value": value},
        "metadata": {"name": name, "namespace": "default", "labels": {"of": "test"}},
    })
}

fn selected() -> Selection {
    Selection { labels: Some("of=test".to_owned()), fields: None }
}

#[test]
fn objects_are_written_watched_and_led() {
    if !require(check(false)) {
        return;
    }
    let cluster = Cluster::start(Options::named("test-objects")).unwrap();
    let source = Source { kubeconfig: Some(cluster.kubeconfig()), context: None };
    within(&cluster, async {
        let client = Client::connect(&source).await.unwrap();
        written(&client).await;
        watched(&client).await;
        asked(&client).await;
        led(&client).await;
        told(&client).await;
        resumed(&client, &mut Cluster::attach("test-objects").unwrap().unwrap()).await;
        let missing = Source { kubeconfig: Some("/missing".into()), context: None };
        let why = Client::connect(&missing).await.err().unwrap();
        assert!(matches!(why.why(), Why::Configuration(_)), "{why}");
        assert!(why.to_string().contains("/missing") && why.to_string().contains("--kubeconfig"), "{why}");
    });
}

/// In the cluster's network, on this one thread: sockets belong to where they are made.
pub(crate) fn within<T: Send>(cluster: &Cluster, work: impl Future<Output = T> + Send) -> T {
    let run = || tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(work);
    cluster.in_namespace(run).unwrap()
}

async fn written(client: &Client) {
    let maps = client.objects(&CONFIG_MAPS, Some("default"));
    assert_eq!(maps.get("one").await.unwrap(), None);
    let made = maps.create(&map("one", "1")).await.unwrap();
    let again = maps.create(&map("one", "1")).await.unwrap_err();
    assert!(again.is_conflict(), "{again}");
    maps.apply("test", &map("one", "2")).await.unwrap();
    let stale = maps.replace("one", &serde_json::to_value(&made).unwrap()).await.unwrap_err();
    assert!(stale.is_conflict() && stale.is_passing(), "{stale}");
    let merged = maps.merge("one", &json!({"data": {"more": "3"}})).await.unwrap();
    assert_eq!(merged.data["data"], json!({"value": "2", "more": "3"}));
    let mut odd = map("odd", "1");
    odd["spek"] = json!({});
    let why = maps.apply("test", &odd).await.unwrap_err();
    assert!(
        matches!(why.why(), Why::Invalid(_) | Why::Other(_)) && why.to_string().contains("spek"),
        "{why}"
    );
    // One that was made again under the name is another.
    assert!(maps.delete("one", Some("another-uid")).await.is_err());
    assert_eq!(maps.delete("one", made.metadata.uid.as_deref()).await, Ok(true));
    assert_eq!(maps.delete("one", None).await, Ok(false));
    let found = client.discover("apps", "v1", "Deployment").await.unwrap().unwrap();
    assert_eq!((found.plural.as_ref(), found.namespaced), ("deployments", true));
    assert_eq!(client.discover("apps", "v1", "Nothing").await.unwrap(), None);
}

async fn next(changes: &mut Changes<String>) -> Change<String> {
    tokio::time::timeout(LONG, changes.next()).await.unwrap()
}

fn watch(client: &Client) -> Changes<String> {
    let maps = client.objects(&CONFIG_MAPS, None);
    maps.changes(&selected(), |object| object.data["data"]["value"].as_str().unwrap_or_default().to_owned())
}

fn key(name: &str) -> Key {
    Key { namespace: "default".into(), name: name.into() }
}

async fn watched(client: &Client) {
    let maps = client.objects(&CONFIG_MAPS, Some("default"));
    // More than a page.
    for number in 0..150 {
        maps.create(&map(&format!("many-{number}"), "1")).await.unwrap();
    }
    let mut listed = 0;
    maps.list(&selected(), |_| listed += 1).await.unwrap();
    assert_eq!(listed, 150);
    let mut changes = watch(client);
    assert_eq!(next(&mut changes).await, Change::Listing);
    for _ in 0..150 {
        assert!(matches!(next(&mut changes).await, Change::There(..)));
    }
    assert_eq!(next(&mut changes).await, Change::Listed);
    maps.apply("test", &map("many-7", "2")).await.unwrap();
    assert_eq!(next(&mut changes).await, Change::There(key("many-7"), "2".to_owned()));
    maps.delete("many-7", None).await.unwrap();
    assert_eq!(next(&mut changes).await, Change::Gone(key("many-7")));
}

async fn asked(client: &Client) {
    let access = Access { verb: "list", kind: &CONFIG_MAPS, subresource: None, namespace: None };
    assert_eq!(client.may(&access).await, Ok(true));
}

/// One of two leads; the other does once it resigns.
async fn led(client: &Client) {
    let stand = |identity: &str| {
        let election = Election {
            namespace: "default".to_owned(),
            name: "leader".to_owned(),
            identity: identity.to_owned(),
            term: Duration::from_secs(5),
        };
        election.stand(client, |_| {})
    };
    let mut first = stand("first");
    assert!(tokio::time::timeout(LONG, first.changed()).await.unwrap());
    let mut second = stand("second");
    assert!(tokio::time::timeout(Duration::from_secs(7), second.changed()).await.is_err());
    assert!(first.is_leader() && !second.is_leader());
    first.resign().await;
    assert!(tokio::time::timeout(LONG, second.changed()).await.unwrap());
    // Who ends without a word is waited for.
    drop(second);
    let mut third = stand("third");
    assert!(tokio::time::timeout(LONG, third.changed()).await.unwrap());
}

async fn told(client: &Client) {
    let about = About {
        api_version: "v1".to_owned(),
        kind: "Namespace".to_owned(),
        namespace: None,
        name: "default".to_owned(),
        uid: None,
    };
    let events = client.events("keyward.io/test", Some("test-1"));
    events.publish(&about, Severity::Warning, "Tested", "Test", "a word").await.unwrap();
    events.publish(&about, Severity::Warning, "Tested", "Test", "a word").await.unwrap();
    let mut counts = Vec::new();
    let stored = client.objects(&EVENTS, Some("default"));
    let count = |event: keyward_kubernetes::Object| {
        counts.extend((event.data["note"] == "a word").then(|| event.data["series"]["count"].clone()));
    };
    stored.list(&Selection::default(), count).await.unwrap();
    assert_eq!(counts, [json!(2)]);
}

/// An API server that goes away and comes back is listened to again.
async fn resumed(client: &Client, cluster: &mut Cluster) {
    let mut changes = watch(client);
    while next(&mut changes).await != Change::Listed {}
    cluster.restart_component(Component::ApiServer).unwrap();
    client.objects(&CONFIG_MAPS, Some("default")).create(&map("after", "1")).await.unwrap();
    let after = Change::There(key("after"), "1".to_owned());
    while next(&mut changes).await != after {}
}
