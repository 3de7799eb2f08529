//! Credentials for registries, in the form of Docker's configuration: what Secrets for pulling images hold.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use keyward_crypto::Secret;
use serde_json::Value;

/// How somebody logs in to a registry.
pub enum Credential {
    /// A name and a password: the base64 of both with a colon between.
    Basic(Secret<String>),
    /// A token that the registry itself takes.
    Token(Secret<String>),
}

/// Credentials by the registries that they are for, those first that come first.
#[derive(Default)]
pub struct Keychain(Vec<(String, Credential)>);

impl std::fmt::Debug for Keychain {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.0.iter().map(|(place, _)| place)).finish()
    }
}

impl Keychain {
    /// Adds what a `.dockerconfigjson`, a `.dockercfg` or Docker's `config.json` has. Helpers that would have to be run are passed
    /// over.
    ///
    /// # Errors
    ///
    /// That it is none of these.
    pub fn add(&mut self, json: &[u8]) -> Result<(), String> {
        let value: Value = serde_json::from_slice(json).map_err(|_| "it is not JSON".to_owned())?;
        let auths = value.get("auths").unwrap_or(&value);
        let auths = auths.as_object().ok_or("it has no auths")?;
        for (place, entry) in auths {
            if let Some(credential) = credential(entry) {
                self.0.push((bare(place).to_ascii_lowercase(), credential));
            }
        }
        Ok(())
    }

    /// Whether there is nothing in it.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The credential for a repository: the first of those whose place says the most.
    pub(crate) fn find(&self, host: &str, path: &str) -> Option<&Credential> {
        let mut best: Option<(usize, &Credential)> = None;
        for (place, credential) in &self.0 {
            let (of_host, of_path) = place.split_once('/').unwrap_or((place, ""));
            let within = of_path.is_empty()
                || path == of_path
                || path.strip_prefix(of_path).is_some_and(|rest| rest.starts_with('/'));
            if is_host(of_host, host) && within && best.is_none_or(|(length, _)| of_path.len() > length) {
                best = Some((of_path.len(), credential));
            }
        }
        best.map(|(_, credential)| credential)
    }
}

/// Docker Hub has several names; `*` stands for one label.
fn is_host(place: &str, host: &str) -> bool {
    const HUB: [&str; 3] = ["docker.io", "index.docker.io", "registry-1.docker.io"];
    if host == HUB[0] {
        return HUB.contains(&place);
    }
    match place.strip_prefix("*.") {
        Some(rest) => host.split_once('.').is_some_and(|(_, parent)| parent == rest),
        None => place == host,
    }
}

/// Without what Docker puts around a host: `https://index.docker.io/v1/`.
fn bare(place: &str) -> &str {
    let place = place.trim_start_matches("https://").trim_start_matches("http://").trim_end_matches('/');
    place.strip_suffix("/v1").or_else(|| place.strip_suffix("/v2")).unwrap_or(place)
}

fn credential(entry: &Value) -> Option<Credential> {
    let text = |key: &str| entry[key].as_str().filter(|text| !text.is_empty());
    if let Some(token) = text("registrytoken") {
        return Some(Credential::Token(Secret::new(token.to_owned())));
    }
    if let Some(auth) = text("auth") {
        let decoded = STANDARD.decode(auth).ok()?;
        return decoded.contains(&b':').then(|| Credential::Basic(Secret::new(auth.to_owned())));
    }
    let (name, password) = (text("username")?, text("password")?);
    Some(Credential::Basic(Secret::new(STANDARD.encode(format!("{name}:{password}")))))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(keychain: &Keychain, host: &str, path: &str) -> String {
        match keychain.find(host, path) {
            Some(Credential::Basic(pair)) => {
                String::from_utf8(STANDARD.decode(pair.expose()).unwrap()).unwrap()
            }
            Some(Credential::Token(token)) => token.expose().clone(),
            None => String::new(),
        }
    }

    #[test]
    fn each_registry_gets_its_own() {
        let mut keychain = Keychain::default();
        let auth = STANDARD.encode("hub:a");
        keychain
            .add(
                format!(
                    r#"{{"auths": {{"https://index.docker.io/v1/": {{"auth": "{auth}"}},
                    "registry.example.com": {{"username": "all", "password": "b"}},
                    "registry.example.com/team": {{"username": "team", "password": "c"}},
                    "*.azurecr.io": {{"registrytoken": "t"}}, "helped.example.com": {{}}}}}}"#
                )
                .as_bytes(),
            )
            .unwrap();
        assert_eq!(found(&keychain, "docker.io", "library/nginx"), "hub:a");
        assert_eq!(found(&keychain, "registry.example.com", "other/app"), "all:b");
        assert_eq!(found(&keychain, "registry.example.com", "team/app"), "team:c");
        assert_eq!(found(&keychain, "registry.example.com", "teams/app"), "all:b");
        assert_eq!(found(&keychain, "a.azurecr.io", "x"), "t");
        for host in ["azurecr.io", "a.b.azurecr.io", "helped.example.com", "example.com"] {
            assert_eq!(found(&keychain, host, "x"), "", "{host}");
        }
        assert!(!format!("{keychain:?}").contains("hub:a"));
        assert!(keychain.add(b"[]").is_err());
        assert!(keychain.add(b"{").is_err());
    }
}
