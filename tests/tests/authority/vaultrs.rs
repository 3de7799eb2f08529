//! The Rust client `vaultrs`, on its usual day.

use keyward_tests::databases::{PASSWORD, Postgres};
use keyward_tests::server::Server;
use serde_json::{Value, json};
use std::collections::HashMap;
use vaultrs::api::ResponseWrapper;
use vaultrs::api::auth::approle::requests::SetAppRoleRequest;
use vaultrs::api::database::requests::{
    PostgreSQLConnectionRequest, SetRoleRequest as SetDatabaseRoleRequest, SetStaticRoleRequest,
};
use vaultrs::api::identity::entity::requests::CreateEntityRequest;
use vaultrs::api::kv2::requests::{ReadSecretRequest, SetSecretRequestOptions};
use vaultrs::api::pki::requests::{GenerateCertificateRequest, GenerateRootRequest, SetRoleRequest};
use vaultrs::api::token::requests::CreateTokenRequest;
use vaultrs::api::transit::KeyType;
use vaultrs::api::transit::requests::{CreateKeyRequest, VerifySignedDataRequest};
use vaultrs::client::{Client, VaultClient, VaultClientSettingsBuilder};
use vaultrs::error::ClientError;
use vaultrs::{auth, database, identity, kv2, pki, sys, token, transit};

const RULES: &str = r#"
path "secret/data/app/*" { capabilities = ["create", "read", "update", "delete"] }
path "secret/metadata/app/*" { capabilities = ["list", "read"] }
path "transit/+/app" { capabilities = ["update"] }
path "pki/issue/web" { capabilities = ["update"] }
path "database/creds/app" { capabilities = ["read"] }
"#;

fn client(server: &Server, token: &str) -> VaultClient {
    // It speaks plain HTTP here, and wants to know what TLS would be made of all the same.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let settings = VaultClientSettingsBuilder::default().address(server.url()).token(token).build();
    VaultClient::new(settings.unwrap()).unwrap()
}

/// The status of a refusal, and what it says.
fn refused<T>(result: Result<T, ClientError>) -> (u16, String) {
    match result {
        Err(ClientError::APIError { code, errors }) => (code, errors.join("; ")),
        Err(other) => panic!("{other:?}"),
        Ok(_) => panic!("it was not refused"),
    }
}

/// What an operator sets up, with the same client.
async fn prepare(root: &VaultClient, postgres: Option<&Postgres>) {
    sys::policy::set(root, "app", RULES).await.unwrap();
    sys::auth::enable(root, "approle", "approle", None).await.unwrap();
    let mut role = SetAppRoleRequest::builder();
    role.token_policies(vec!["app".to_owned()]).token_ttl("20m");
    auth::approle::role::set(root, "approle", "app", Some(&mut role)).await.unwrap();
    for engine in ["transit", "pki", "database"] {
        sys::mount::enable(root, engine, engine, None).await.unwrap();
    }
    let mut key = CreateKeyRequest::builder();
    transit::key::create(root, "transit", "app", Some(key.key_type(KeyType::Ed25519))).await.unwrap();
    transit::key::create(root, "transit", "sealed", None).await.unwrap();
    let mut ca = GenerateRootRequest::builder();
    pki::cert::ca::generate(root, "pki", "internal", Some(ca.common_name("Example CA"))).await.unwrap();
    let mut role = SetRoleRequest::builder();
    role.allowed_domains(vec!["example.com".to_owned()]).allow_subdomains(true).ttl("72h");
    pki::role::set(root, "pki", "web", Some(&mut role)).await.unwrap();
    let Some(postgres) = postgres else { return };
    let mut connection = PostgreSQLConnectionRequest::builder();
    connection
        .plugin_name("postgresql-database-plugin")
        .connection_url(postgres.url())
        .username("postgres")
        .password(PASSWORD)
        .allowed_roles(vec!["*".to_owned()]);
    database::connection::postgres(root, "database", "main", Some(&mut connection)).await.unwrap();
    let creation = "CREATE ROLE \"{{name}}\" WITH LOGIN PASSWORD '{{password}}' VALID UNTIL '{{expiration}}'";
    let mut role = SetDatabaseRoleRequest::builder();
    role.db_name("main").creation_statements(vec![creation.to_owned()]).default_ttl("1h").max_ttl("24h");
    database::role::set(root, "database", "app", Some(&mut role)).await.unwrap();
}

async fn log_in(root: &VaultClient, server: &Server) -> VaultClient {
    let role_id = auth::approle::role::read_id(root, "approle", "app").await.unwrap().role_id;
    let secret = auth::approle::role::secret::generate(root, "approle", "app", None).await.unwrap();
    let mut app = client(server, "");
    let (code, _) = refused(auth::approle::login(&app, "approle", &role_id, "wrong").await);
    assert_eq!(code, 400);
    let login = auth::approle::login(&app, "approle", &role_id, &secret.secret_id).await.unwrap();
    assert!(login.renewable && login.lease_duration == 1200 && login.policies.contains(&"app".to_owned()));
    app.set_token(&login.client_token);
    assert_eq!(app.renew(Some("10m")).await.unwrap().lease_duration, 600);
    assert_eq!(app.lookup().await.unwrap().path, "auth/approle/login");
    app
}

async fn keeps_secrets(app: &VaultClient) {
    let secret =
        HashMap::from([("user".to_owned(), "ann".to_owned()), ("word".to_owned(), "one".to_owned())]);
    assert_eq!(kv2::set(app, "secret", "app/db", &secret).await.unwrap().version, 1);
    let cas = |cas| SetSecretRequestOptions { cas };
    let (code, why) = refused(kv2::set_with_options(app, "secret", "app/db", &secret, cas(0)).await);
    assert!(code == 400 && why.contains("check-and-set"), "{why}");
    let changed = HashMap::from([("word".to_owned(), "two".to_owned())]);
    kv2::set_with_options(app, "secret", "app/db", &changed, cas(1)).await.unwrap();
    let read: HashMap<String, String> = kv2::read(app, "secret", "app/db").await.unwrap();
    assert_eq!(read, changed);
    let first: HashMap<String, String> = kv2::read_version(app, "secret", "app/db", 1).await.unwrap();
    assert_eq!(first, secret);
    assert_eq!(kv2::list(app, "secret", "app").await.unwrap(), ["db"]);
    assert_eq!(kv2::read_metadata(app, "secret", "app/db").await.unwrap().current_version, 2);
    kv2::delete_latest(app, "secret", "app/db").await.unwrap();
    // A 404 that is not a list of errors but tells when the version was deleted, as Vault's.
    let deleted = kv2::read::<Value>(app, "secret", "app/db").await;
    assert!(matches!(deleted, Err(ClientError::RestClientError { .. })), "{deleted:?}");
    assert_eq!(refused(kv2::read::<Value>(app, "secret", "other").await).0, 403);
}

async fn wraps(root: &VaultClient, app: &VaultClient) {
    kv2::set(root, "secret", "app/wrapped", &json!({ "word": "three" })).await.unwrap();
    let request = ReadSecretRequest::builder().mount("secret").path("app/wrapped").build().unwrap();
    let wrapped = request.wrap(app).await.unwrap();
    assert_eq!(wrapped.lookup(app).await.unwrap().creation_path, "secret/data/app/wrapped");
    assert_eq!(wrapped.unwrap(app).await.unwrap().data, json!({ "word": "three" }));
    assert!(matches!(wrapped.lookup(app).await, Err(ClientError::WrapInvalidError)));
}

async fn signs_and_encrypts(root: &VaultClient, app: &VaultClient) {
    let input = "aGVsbG8gd29ybGQ=";
    let signed = transit::data::sign(app, "transit", "app", input, None).await.unwrap();
    assert!(signed.signature.starts_with("vault:v1:"), "{}", signed.signature);
    let verify = async |input: &str| {
        let mut request = VerifySignedDataRequest::builder();
        request.signature(signed.signature.clone());
        transit::data::verify(app, "transit", "app", input, Some(&mut request)).await.unwrap().valid
    };
    assert!(verify(input).await && !verify("aGVsbG8=").await);
    let sealed = transit::data::encrypt(root, "transit", "sealed", input, None).await.unwrap().ciphertext;
    transit::key::rotate(root, "transit", "sealed").await.unwrap();
    let rewrapped = transit::data::rewrap(root, "transit", "sealed", &sealed, None).await.unwrap().ciphertext;
    assert!(rewrapped.starts_with("vault:v2:"), "{rewrapped}");
    let opened = transit::data::decrypt(root, "transit", "sealed", &rewrapped, None).await.unwrap();
    assert_eq!(opened.plaintext, input);
    assert_eq!(refused(transit::data::encrypt(app, "transit", "sealed", input, None).await).0, 403);
}

async fn has_certificates(root: &VaultClient, app: &VaultClient) {
    let issue = async |name: &str| {
        let mut request = GenerateCertificateRequest::builder();
        pki::cert::generate(app, "pki", "web", Some(request.common_name(name))).await
    };
    let issued = issue("www.example.com").await.unwrap();
    assert!(issued.certificate.starts_with("-----BEGIN CERTIFICATE-----"));
    let (code, why) = refused(issue("www.example.org").await);
    assert!(code == 400 && why.contains("not allowed"), "{why}");
    assert!(pki::cert::list(root, "pki").await.unwrap().contains(&issued.serial_number));
    pki::cert::revoke(root, "pki", &issued.serial_number).await.unwrap();
}

async fn is_somebody(root: &VaultClient) {
    let mut entity = CreateEntityRequest::builder();
    let made =
        identity::entity::create(root, Some(entity.name("ann").policies(vec!["app".to_owned()]))).await;
    let id = made.unwrap().id;
    let read = identity::entity::read_by_name(root, "ann").await.unwrap();
    assert_eq!((read.id, read.policies), (id.clone(), vec!["app".to_owned()]));
    identity::entity::delete_by_id(root, &id).await.unwrap();
    assert_eq!(refused(identity::entity::read_by_id(root, &id).await).0, 404);
}

async fn uses_databases(root: &VaultClient, app: &VaultClient, postgres: &Postgres) {
    let made = database::role::creds(app, "database", "app").await.unwrap();
    postgres.try_sql(&made.username, &made.password, "SELECT 1").unwrap();
    postgres.sql("CREATE ROLE legacy LOGIN");
    let mut role = SetStaticRoleRequest::builder();
    role.db_name("main").username("legacy").rotation_period("24h");
    database::static_role::set(root, "database", "legacy", Some(&mut role)).await.unwrap();
    let first = database::static_role::creds(root, "database", "legacy").await.unwrap();
    postgres.try_sql("legacy", &first.password, "SELECT 1").unwrap();
    database::static_role::rotate(root, "database", "legacy").await.unwrap();
    let second = database::static_role::creds(root, "database", "legacy").await.unwrap();
    assert_ne!(first.password, second.password);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn spends_its_day() {
    let server = Server::dev();
    let postgres = Postgres::start();
    let root = client(&server, &server.keys().root);
    assert!(!sys::health(&root).await.unwrap().sealed);
    prepare(&root, postgres.as_ref()).await;
    let app = log_in(&root, &server).await;
    keeps_secrets(&app).await;
    wraps(&root, &app).await;
    signs_and_encrypts(&root, &app).await;
    has_certificates(&root, &app).await;
    is_somebody(&root).await;
    if let Some(postgres) = &postgres {
        uses_databases(&root, &app, postgres).await;
        assert_eq!(postgres.made().len(), 1);
    }
    let mut child = CreateTokenRequest::builder();
    let child = token::new(&app, Some(child.ttl("5m"))).await;
    assert_eq!(refused(child).0, 403, "no policy lets it make tokens");
    app.revoke().await.unwrap();
    assert_eq!(refused(app.lookup().await).0, 403);
    if let Some(postgres) = &postgres {
        assert!(postgres.made().is_empty(), "what was made for a token goes with it");
    }
}
