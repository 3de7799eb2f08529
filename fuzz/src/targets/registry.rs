//! What registries answer, names of repositories, and credentials in the form of Docker's configuration.

use keyward_registry::{Challenge, Keychain, Manifest, Repository};

pub(crate) fn run(data: &[u8]) {
    if let Ok(manifest) = Manifest::read(data) {
        let named = [manifest.layers(), manifest.manifests()].concat();
        assert!(named.iter().all(|one| one.digest.len() == 71 && one.digest.starts_with("sha256:")));
        let _ = (manifest.config(), manifest.of_platform("linux", "amd64"));
    }
    let mut keychain = Keychain::default();
    let added = keychain.add(data);
    assert!(added.is_ok() || keychain.is_empty());
    let Some(text) = crate::text(data) else { return };
    let _ = Challenge::parse(text);
    // A name is a name again, and leads nowhere but below its host.
    if let Some(repository) = Repository::parse(text) {
        let again = Repository::parse(&repository.to_string());
        assert_eq!(again.as_ref(), Some(&repository), "{text}");
        assert!(!repository.path().contains("..") && !repository.host().contains('/'), "{text}");
    }
}

pub(crate) fn seeds() -> Vec<Vec<u8>> {
    let manifest = r#"{"schemaVersion":2,"config":{"mediaType":"c","digest":"sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855","size":2},"layers":[{"digest":"sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855","annotations":{"a":"b"}}],"manifests":[{"digest":"sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855","platform":{"os":"linux","architecture":"amd64"}}]}"#;
    let config = r#"{"auths":{"https://index.docker.io/v1/":{"auth":"YTpi"},"a.example.com/team":{"username":"u","password":"p"},"b":{"registrytoken":"t"}}}"#;
    crate::texts(&[
        manifest,
        config,
        r#"Bearer realm="https://auth.docker.io/token",service="registry.docker.io""#,
        r#"Basic realm="a\"b""#,
        "registry.example.com:5000/team/app",
        "nginx",
    ])
}
