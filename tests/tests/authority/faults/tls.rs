//! TLS: what is negotiated, whose certificates are taken, and new ones without a restart.

use keyward_testkit::certificates::{Authority, CertifiedKey};
use keyward_testkit::process::wait_for;
use keyward_tests::http::Client;
use keyward_tests::server::{IN_MEMORY, SOON, Server};
use rustix::process::Signal;
use rustls::crypto::CryptoProvider;
use rustls::crypto::aws_lc_rs::{default_provider, kx_group};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, ClientConnection, NamedGroup, ProtocolVersion, RootCertStore, StreamOwned};
use rustls::{SupportedProtocolVersion, version};
use serde_json::json;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

type Versions = &'static [&'static SupportedProtocolVersion];

const OLD: Versions = &[&version::TLS12];
const BOTH: Versions = &[&version::TLS13, &version::TLS12];

/// Certificates in a folder of their own, and a server that uses them.
struct Secured {
    authority: Authority,
    folder: tempfile::TempDir,
    server: Server,
}

fn install(folder: &Path, leaf: &CertifiedKey) {
    std::fs::write(folder.join("tls.crt"), &leaf.certificate).unwrap();
    std::fs::write(folder.join("tls.key"), &leaf.key).unwrap();
}

fn secured(options: &str) -> Secured {
    let authority = Authority::new("test authority").unwrap();
    let folder = tempfile::tempdir().unwrap();
    install(folder.path(), &authority.issue("first", &[], &["localhost"]).unwrap());
    std::fs::write(folder.path().join("ca.crt"), authority.certificate()).unwrap();
    let tls = folder.path().display();
    let listener = format!(
        "listener \"tcp\" {{\n address = \"ADDRESS\"\n tls_cert_file = \"{tls}/tls.crt\"\n \
         tls_key_file = \"{tls}/tls.key\"\n {}\n}}\n",
        options.replace("TLS", &tls.to_string())
    );
    let server = Server::configured(&format!("{listener}{IN_MEMORY}"));
    Secured { authority, folder, server }
}

impl Secured {
    /// A client's side of TLS that trusts the test's authority.
    fn config(&self, versions: Versions, leaf: Option<&CertifiedKey>) -> ClientConfig {
        self.config_by(default_provider(), versions, leaf)
    }

    fn config_by(
        &self,
        provider: CryptoProvider,
        versions: Versions,
        leaf: Option<&CertifiedKey>,
    ) -> ClientConfig {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(self.authority.certificate().as_bytes()).unwrap()).unwrap();
        let builder = ClientConfig::builder_with_provider(Arc::new(provider))
            .with_protocol_versions(versions)
            .unwrap()
            .with_root_certificates(roots);
        match leaf {
            None => builder.with_no_client_auth(),
            Some(leaf) => {
                let chain = vec![CertificateDer::from_pem_slice(leaf.certificate.as_bytes()).unwrap()];
                let key = PrivateKeyDer::from_pem_slice(leaf.key.as_bytes()).unwrap();
                builder.with_client_auth_cert(chain, key).unwrap()
            }
        }
    }

    fn client(&self, leaf: Option<&CertifiedKey>) -> Client {
        self.server.guest().with_tls(self.config(BOTH, leaf))
    }

    /// Shakes hands and asks for the health, so that a refusal after the client's flight shows too.
    fn session(&self, config: ClientConfig) -> Result<StreamOwned<ClientConnection, TcpStream>, String> {
        let name = ServerName::try_from("localhost").unwrap();
        let session = ClientConnection::new(Arc::new(config), name).unwrap();
        let socket = TcpStream::connect(self.server.guest().address()).unwrap();
        socket.set_read_timeout(Some(SOON)).unwrap();
        let mut stream = StreamOwned::new(session, socket);
        let ask = b"GET /v1/sys/health HTTP/1.1\r\nHost: localhost\r\n\r\n";
        stream.write_all(ask).map_err(|why| why.to_string())?;
        let mut first = [0; 12];
        stream.read_exact(&mut first).map_err(|why| why.to_string())?;
        assert_eq!(&first, b"HTTP/1.1 501");
        Ok(stream)
    }

    /// The certificate a new connection is shown.
    fn shown(&self) -> CertificateDer<'static> {
        let stream = self.session(self.config(BOTH, None)).unwrap();
        stream.conn.peer_certificates().unwrap()[0].clone().into_owned()
    }
}

#[test]
fn version_1_3_and_a_hybrid_key_exchange() {
    let secured = secured("");
    let stream = secured.session(secured.config(BOTH, None)).unwrap();
    assert_eq!(stream.conn.protocol_version(), Some(ProtocolVersion::TLSv1_3));
    let group = stream.conn.negotiated_key_exchange_group().unwrap().name();
    assert_eq!(group, NamedGroup::X25519MLKEM768);
    assert_eq!(stream.conn.alpn_protocol(), None);
    // One that does not know it is served all the same.
    let classical = CryptoProvider { kx_groups: vec![kx_group::X25519], ..default_provider() };
    let classical = secured.config_by(classical, BOTH, None);
    let stream = secured.session(classical).unwrap();
    assert_eq!(stream.conn.negotiated_key_exchange_group().unwrap().name(), NamedGroup::X25519);
}

#[test]
fn version_1_2_only_when_asked_for() {
    let refusing = secured("");
    let why = refusing.session(refusing.config(OLD, None)).unwrap_err();
    assert!(why.contains("ProtocolVersion"), "{why}");
    let taking = secured("tls_min_version = \"tls12\"");
    let old = taking.session(taking.config(OLD, None)).unwrap();
    assert_eq!(old.conn.protocol_version(), Some(ProtocolVersion::TLSv1_2));
    let new = taking.session(taking.config(BOTH, None)).unwrap();
    assert_eq!(new.conn.protocol_version(), Some(ProtocolVersion::TLSv1_3));
}

#[test]
fn the_authority_is_served_over_tls() {
    let secured = secured("");
    let client = secured.client(None);
    let made =
        client.write("sys/init", &json!({"secret_shares": 1, "secret_threshold": 1})).expect(200).json();
    client.write("sys/unseal", &json!({"key": made["keys"][0]})).expect(200);
    let root = client.with_token(made["root_token"].as_str().unwrap());
    root.write("sys/mounts/kv", &json!({"type": "kv"})).expect(204);
    let value = json!({"x": "y".repeat(200_000)});
    root.write("kv/a", &value).expect(204);
    assert_eq!(root.read("kv/a").expect(200).data(), value);
    // Plain HTTP on the TLS port is answered with nothing that could be mistaken for an answer.
    assert!(secured.server.guest().request("GET", "/v1/sys/health").try_send().is_err());
    client.read("sys/health").expect(200);
}

#[test]
fn clients_show_certificates() {
    let options = "tls_client_ca_file = \"TLS/ca.crt\"\n tls_require_and_verify_client_cert = true";
    let requiring = secured(options);
    let ours = requiring.authority.issue("client", &[], &[]).unwrap();
    requiring.client(Some(&ours)).read("sys/health").expect(501);
    let stranger = Authority::new("another authority").unwrap().issue("client", &[], &[]).unwrap();
    for wrong in [None, Some(&stranger)] {
        let refused = requiring.session(requiring.config(BOTH, wrong)).unwrap_err();
        assert!(["ertificate", "UnknownCA", "reset"].iter().any(|why| refused.contains(why)), "{refused}");
    }
    requiring.client(Some(&ours)).read("sys/health").expect(501);
}

#[test]
fn new_certificates_are_read_at_a_hangup() {
    let mut secured = secured("");
    let mut kept = secured.client(None).connect().unwrap();
    let ask = secured.client(None);
    assert_eq!(kept.exchange(&ask.request("GET", "/v1/sys/health")).unwrap().status, 501);
    let first = secured.shown();
    let second = secured.authority.issue("second", &[], &["localhost"]).unwrap();
    install(secured.folder.path(), &second);
    assert_eq!(secured.shown(), first);
    secured.server.process().signal(Signal::HUP).unwrap();
    let wanted = CertificateDer::from_pem_slice(second.certificate.as_bytes()).unwrap();
    wait_for("the second certificate", SOON, || (secured.shown() == wanted).then_some(())).unwrap();
    // Connections that are there go on.
    assert_eq!(kept.exchange(&ask.request("GET", "/v1/sys/health")).unwrap().status, 501);

    std::fs::write(secured.folder.path().join("tls.key"), "no key at all").unwrap();
    secured.server.process().signal(Signal::HUP).unwrap();
    wait_for("the refusal", SOON, || secured.server.output().contains("old certificates stay").then_some(()))
        .unwrap();
    assert_eq!(secured.shown(), wanted);
    assert!(!secured.server.output().contains("no key at all"));
}

#[test]
fn a_handshake_that_does_not_come_is_let_go() {
    let secured = secured("");
    let mut silent = TcpStream::connect(secured.server.guest().address()).unwrap();
    silent.set_read_timeout(Some(SOON)).unwrap();
    let began = Instant::now();
    assert_eq!(silent.read(&mut [0; 16]).unwrap_or(0), 0);
    assert!(began.elapsed() < Duration::from_secs(30), "{:?}", began.elapsed());
    secured.client(None).read("sys/health").expect(501);
}
