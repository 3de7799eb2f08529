use super::*;
use crate::certificate::Lives;
use keyward_core::Timestamp;
use keyward_https::{Ask, Client, Reply, Verb};
use keyward_tls::{Clients, Trust};
use serde_json::{Value, json};

struct Names;

impl Handler for Names {
    async fn review(&self, path: &str, review: Review) -> Answer {
        if review.name == "slow" {
            tokio::time::sleep(Duration::from_secs(60)).await;
        }
        match path {
            "/validate" if review.object()["metadata"]["name"] != review.name.as_str() => {
                Answer::refused(403, "another name")
            }
            _ => Answer::allowed(),
        }
    }

    fn serves(&self, path: &str) -> bool {
        path == "/validate"
    }

    fn ready(&self) -> Result<(), String> {
        Err("the policies are not read yet".to_owned())
    }
}

struct Running {
    url: String,
    trust: Trust,
    client: Client,
    stop: watch::Sender<bool>,
    served: tokio::task::JoinHandle<()>,
}

fn start(limits: Limits) -> Running {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    let names = ["127.0.0.1".to_owned()];
    let certificate =
        Certificate::own(&names, Lives::default(), Clients::Silent, Timestamp::EPOCH.plus(now)).unwrap();
    let trust = Trust::Pem(certificate.bundle().borrow().clone());
    let server = Server::bind("127.0.0.1:0".parse().unwrap(), Arc::new(certificate), limits).unwrap();
    let url = format!("https://{}", server.address());
    let stop = watch::Sender::new(false);
    let served = tokio::spawn(server.serve(Arc::new(Names), stop.subscribe()));
    let client = Client::new(keyward_https::Limits { duration: Duration::from_secs(20), body: 1 << 20 });
    Running { url, trust, client, stop, served }
}

impl Running {
    async fn ask(&self, path: &str, verb: Verb<'_>) -> Reply {
        let url = format!("{}{path}", self.url);
        let ask = Ask { url: &url, trust: self.trust.clone(), authorization: None, accept: None, verb };
        self.client.ask(&ask).await.unwrap()
    }

    async fn post(&self, path: &str, body: &str) -> Reply {
        self.ask(path, Verb::Post { media_type: "application/json", body }).await
    }
}

fn review(name: &str, object: &str) -> String {
    json!({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": {
        "uid": "u", "kind": {"group": "", "version": "v1", "kind": "Pod"}, "operation": "CREATE", "name": name,
        "object": {"metadata": {"name": object}}}})
    .to_string()
}

#[tokio::test]
async fn reviews_are_answered_and_everything_else_is_an_error() {
    let running = start(Limits { body: 10_000, ..Limits::default() });
    let answered = |reply: Reply| -> Value { serde_json::from_slice(&reply.body).unwrap() };
    let response = answered(running.post("/validate?timeout=5s", &review("a", "a")).await);
    assert_eq!(response["response"], json!({"uid": "u", "allowed": true}));
    let response = answered(running.post("/validate", &review("a", "b")).await);
    assert_eq!(response["response"]["status"], json!({"code": 403, "message": "another name"}));
    for (path, body, status) in [
        ("/validate", "{", 400),
        ("/validate", &review("a", &"x".repeat(10_000)), 413),
        ("/other", &review("a", "a"), 404),
        ("/validate?timeout=300ms", &review("slow", "slow"), 504),
    ] {
        assert_eq!(running.post(path, body).await.status, status, "{path}");
    }
    for (path, status) in [("/livez", 200), ("/readyz", 503), ("/metrics", 404), ("/validate", 405)] {
        assert_eq!(running.ask(path, Verb::Get).await.status, status, "{path}");
    }
}

#[tokio::test]
async fn a_flood_waits_for_its_turn_and_a_stop_for_the_last_of_it() {
    let running = start(Limits { at_once: 2, duration: Duration::from_millis(700), ..Limits::default() });
    let slow = review("slow", "slow");
    let (one, two, three) =
        tokio::join!(running.post("/validate", &slow), running.post("/validate", &slow), async {
            tokio::time::sleep(Duration::from_millis(300)).await;
            let reply = running.post("/validate", &review("a", "a")).await;
            running.stop.send_replace(true);
            reply
        });
    assert_eq!((one.status, two.status, three.status), (504, 504, 200));
    tokio::time::timeout(Duration::from_secs(5), running.served).await.unwrap().unwrap();
}
