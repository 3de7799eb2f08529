//! The ACME server by TLS, with a real client, and with what the client shows looked at for real.

mod certbot;
mod world;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use instant_acme::{
    Account, AuthorizationStatus, ChallengeType, ExternalAccountKey, Identifier, NewAccount, NewOrder, Order,
    OrderStatus, RetryPolicy, RevocationRequest,
};
use keyward_crypto::x509::{Certificate, San, pem};
use keyward_testkit::certificates::Authority;
use keyward_tests::http::Client;
use keyward_tests::server::{IN_MEMORY, PLAIN_HTTP, Server};
use rcgen::{CertificateParams, DistinguishedName, KeyPair, PublicKeyData};
use rustls_pki_types::CertificateDer;
use serde_json::{Value, json};
use std::net::TcpListener;
use std::path::PathBuf;
use std::time::Duration;
use world::World;

/// A server with a root at `pki/` and ACME there, and who is looked at.
struct Issuing {
    server: Server,
    world: World,
    port: u16,
}

const PATIENCE: RetryPolicy = RetryPolicy::new().timeout(Duration::from_secs(60));

impl Issuing {
    /// `open`: challenges may lead to loopback.
    fn new(open: bool) -> Issuing {
        let world = World::new();
        let http_port = world.http_port;
        Issuing::looking_at(world, http_port, open)
    }

    /// The web servers of all hosts are looked for at `http_port`.
    fn looking_at(world: World, http_port: u16, open: bool) -> Issuing {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let networks = if open { "acme_reachable_networks = [\"127.0.0.0/8\"]" } else { "" };
        let config = format!(
            "{PLAIN_HTTP}listener \"tcp\" {{\n address = \"127.0.0.1:{port}\"\n tls_cert_file = \"FOLDER/tls.crt\"\n \
             tls_key_file = \"FOLDER/tls.key\"\n}}\nacme_http_port = {http_port}\nacme_tls_port = {}\n{networks}\n{IN_MEMORY}",
            world.tls_port
        );
        let certificates = tempfile::tempdir().unwrap();
        let authority = Authority::new("test authority").unwrap();
        let leaf = authority.issue("server", &[], &["localhost"]).unwrap();
        for (name, text) in [("tls.crt", &leaf.certificate), ("tls.key", &leaf.key)] {
            std::fs::write(certificates.path().join(name), text).unwrap();
        }
        let folder = certificates.path().display().to_string();
        let mut server = Server::configured(&config.replace("FOLDER", &folder));
        std::fs::write(server.folder().join("roots.pem"), authority.certificate()).unwrap();
        server.initialize(1, 1);
        server.unseal();
        let root = server.root();
        write(
            &root,
            "sys/mounts/pki",
            &json!({"type": "pki", "config": {
                "max_lease_ttl": "87600h",
                "passthrough_request_headers": ["If-Modified-Since"],
                "allowed_response_headers": ["Last-Modified", "Location", "Replay-Nonce", "Link"],
            }}),
        );
        let made = json!({"common_name": "Root", "key_type": "ec", "ttl": "8760h", "issuer_name": "root"});
        write(&root, "pki/root/generate/internal", &made);
        write(&root, "pki/config/cluster", &json!({"path": format!("https://localhost:{port}/v1/pki")}));
        let issuing = Issuing { server, world, port };
        issuing.configure(&json!({}));
        issuing
    }

    fn configure(&self, more: &Value) {
        let mut config = json!({"enabled": true, "dns_resolver": self.world.dns.to_string()});
        config.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        write(&self.server.root(), "pki/config/acme", &config);
    }

    fn directory(&self) -> String {
        format!("https://localhost:{}/v1/pki/acme/directory", self.port)
    }

    async fn register(&self, binding: Option<&ExternalAccountKey>) -> Result<Account, instant_acme::Error> {
        let roots: PathBuf = self.server.folder().join("roots.pem");
        let account = NewAccount {
            contact: &["mailto:me@example.org"],
            terms_of_service_agreed: true,
            only_return_existing: false,
        };
        let builder = Account::builder_with_root(roots).unwrap();
        builder.create(&account, self.directory(), binding).await.map(|(account, _)| account)
    }

    /// Orders a certificate and shows, by `way`, what proves the names, changed by `change`.
    async fn order(
        &self,
        account: &Account,
        names: &[&str],
        way: &ChallengeType,
        change: impl Fn(&str) -> String,
    ) -> Order {
        let identifiers: Vec<_> = names.iter().map(|name| Identifier::Dns((*name).to_owned())).collect();
        let mut order = account.new_order(&NewOrder::new(&identifiers)).await.unwrap();
        let mut authorizations = order.authorizations();
        while let Some(authorization) = authorizations.next().await {
            let mut authorization = authorization.unwrap();
            assert_eq!(authorization.status, AuthorizationStatus::Pending);
            let mut challenge = authorization.challenge(way.clone()).unwrap();
            let host = challenge.identifier().to_string();
            let host = host.trim_start_matches("*.");
            let proof = challenge.key_authorization();
            match way {
                ChallengeType::Dns01 => self.world.show_text(host, &change(&proof.dns_value())),
                ChallengeType::TlsAlpn01 => self.world.show_digest(host, proof.digest().as_ref()),
                _ => self.world.show_document(&challenge.token, &change(proof.as_str())),
            }
            challenge.set_ready().await.unwrap();
        }
        order
    }

    /// Has an order whose names are proved filled. Answers the chain, and the leaf's key.
    async fn fill(&self, order: &mut Order, names: &[&str]) -> (Vec<Vec<u8>>, KeyPair) {
        assert_eq!(order.poll_ready(&PATIENCE).await.unwrap(), OrderStatus::Ready);
        let key = KeyPair::generate().unwrap();
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let mut params = CertificateParams::new(names).unwrap();
        params.distinguished_name = DistinguishedName::new();
        order.finalize_csr(params.serialize_request(&key).unwrap().der()).await.unwrap();
        let chain = order.poll_certificate(&PATIENCE).await.unwrap();
        let chain = pem::blocks(&chain).unwrap().iter().map(|block| block.der.to_vec()).collect();
        (chain, key)
    }
}

fn write(root: &Client, path: &str, body: &Value) -> Value {
    let answer = root.write(path, body);
    assert!(answer.status < 300, "{path}: {}", String::from_utf8_lossy(&answer.body));
    if answer.body.is_empty() { Value::Null } else { answer.json()["data"].clone() }
}

fn unchanged(text: &str) -> String {
    text.to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_obtains_and_renews_certificates_by_every_challenge() {
    let issuing = Issuing::new(true);
    let account = issuing.register(None).await.unwrap();
    for (way, names) in [
        (ChallengeType::Http01, &["a.example.test", "b.example.test"][..]),
        (ChallengeType::Dns01, &["c.example.test", "*.c.example.test"]),
        (ChallengeType::TlsAlpn01, &["d.example.test"]),
    ] {
        let mut seen = Vec::new();
        for _ in 0..2 {
            let mut order = issuing.order(&account, names, &way, unchanged).await;
            let (chain, key) = issuing.fill(&mut order, names).await;
            let [leaf, root] = &chain[..] else { panic!("{} certificates", chain.len()) };
            let (leaf, root) = (Certificate::read(leaf).unwrap(), Certificate::read(root).unwrap());
            assert!(leaf.signed_by(&root) && root.self_signed(), "{way:?}");
            let wanted: Vec<_> = names.iter().map(|name| San::Dns((*name).to_owned())).collect();
            assert_eq!(leaf.alternative_names().unwrap(), wanted);
            assert_eq!(leaf.public().spki(), key.subject_public_key_info());
            seen.push(leaf);
        }
        assert_ne!(seen[0].serial(), seen[1].serial());
        let revoked = CertificateDer::from(seen[0].der().to_vec());
        let revocation = RevocationRequest { certificate: &revoked, reason: None };
        account.revoke(&revocation).await.unwrap();
        let again = account.revoke(&revocation).await.unwrap_err().to_string();
        assert!(again.contains("alreadyRevoked"), "{again}");
    }
    let listed = issuing.server.root().list("pki/certs/revoked").expect(200).json();
    assert_eq!(listed["data"]["keys"].as_array().unwrap().len(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_proofs_do_not_count_and_are_looked_at_again() {
    let issuing = Issuing::new(true);
    let account = issuing.register(None).await.unwrap();
    let names = ["wrong.example.test"];
    let mut order = issuing.order(&account, &names, &ChallengeType::Http01, |text| format!("{text}x")).await;
    let (mut failed, mut token, mut proof) = (false, String::new(), String::new());
    for _ in 0..100 {
        let mut authorizations = order.authorizations();
        let mut authorization = authorizations.next().await.unwrap().unwrap();
        authorization.refresh().await.unwrap();
        let challenge = authorization.challenge(ChallengeType::Http01).unwrap();
        token.clone_from(&challenge.token);
        proof = challenge.key_authorization().as_str().to_owned();
        if let Some(why) = &challenge.error {
            assert!(why.to_string().contains("incorrectResponse"), "{why}");
            failed = true;
            break;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert!(failed, "the wrong document was not noticed");
    assert_eq!(order.refresh().await.unwrap().status, OrderStatus::Pending);
    let refused = order.finalize_csr(&[0x30, 0]).await.unwrap_err().to_string();
    assert!(refused.contains("orderNotReady"), "{refused}");
    // Another's answer for the same name proves nothing for this account, but its own does when it comes late.
    issuing.world.show_document(&token, &proof);
    issuing.fill(&mut order, &names).await;
    // Where nothing is opened, challenges do not lead to loopback.
    let closed = Issuing::new(false);
    let account = closed.register(None).await.unwrap();
    let mut order = closed.order(&account, &names, &ChallengeType::Http01, unchanged).await;
    for _ in 0..100 {
        let mut authorizations = order.authorizations();
        let mut authorization = authorizations.next().await.unwrap().unwrap();
        authorization.refresh().await.unwrap();
        let challenge = authorization.challenge(ChallengeType::Http01).unwrap();
        if let Some(why) = &challenge.error {
            assert!(why.to_string().contains("may not lead to"), "{why}");
            return;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("loopback was looked at, or nothing");
}

#[tokio::test(flavor = "multi_thread")]
async fn accounts_need_a_binding_where_the_operator_says_so() {
    let issuing = Issuing::new(true);
    issuing.configure(&json!({"eab_policy": "always-required"}));
    let refused = issuing.register(None).await.err().unwrap().to_string();
    assert!(refused.contains("externalAccountRequired"), "{refused}");
    let made = write(&issuing.server.root(), "pki/acme/new-eab", &json!({}));
    let id = made["id"].as_str().unwrap().to_owned();
    let secret = URL_SAFE_NO_PAD.decode(made["key"].as_str().unwrap()).unwrap();
    let wrong = ExternalAccountKey::new(id.clone(), b"wrong");
    let refused = issuing.register(Some(&wrong)).await.err().unwrap().to_string();
    assert!(refused.contains("unauthorized"), "{refused}");
    let binding = ExternalAccountKey::new(id, &secret);
    let mut account = issuing.register(Some(&binding)).await.unwrap();
    let spent = issuing.register(Some(&binding)).await.err().unwrap().to_string();
    assert!(spent.contains("unauthorized"), "{spent}");
    drop(account.update_key().await.unwrap());
    let names = ["bound.example.test"];
    let mut order = issuing.order(&account, &names, &ChallengeType::Dns01, unchanged).await;
    issuing.fill(&mut order, &names).await;
    account.clone().deactivate().await.unwrap();
    let identifiers = [Identifier::Dns(names[0].to_owned())];
    let refused = account.new_order(&NewOrder::new(&identifiers)).await.err().unwrap().to_string();
    assert!(refused.contains("unauthorized"), "{refused}");
}
