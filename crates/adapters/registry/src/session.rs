//! Requests about one repository: the login is made once, and kept for those that follow.

use crate::challenge::Challenge;
use crate::credentials::Credential;
use crate::manifest::{self, Descriptor, Manifest};
use crate::repository::{Repository, is_loopback};
use crate::{Access, Error, MOST_BLOB, MOST_MANIFEST, MOST_REFERRERS, Registry};
use bytes::Bytes;
use http::Uri;
use http::header::{LOCATION, WWW_AUTHENTICATE};
use keyward_crypto::Secret;
use keyward_https::{Ask, Error as Unanswered, Reply, Verb};
use keyward_tls::Trust;
use serde_json::Value;
use tokio::sync::Mutex;

/// Redirects that are followed: blobs are often kept elsewhere.
const REDIRECTS: usize = 3;
/// The most bytes of a token.
const MOST_TOKEN: usize = 64 << 10;
const MANIFESTS: &str = "application/vnd.oci.image.index.v1+json, application/vnd.oci.image.manifest.v1+json, \
    application/vnd.docker.distribution.manifest.list.v2+json, application/vnd.docker.distribution.manifest.v2+json";
const INDEX: &str = "application/vnd.oci.image.index.v1+json";
const ANYTHING: &str = "*/*";

/// See the module.
pub struct Session<'r> {
    registry: &'r Registry,
    repository: Repository,
    access: Access,
    found: Mutex<Found>,
}

/// What is found out by asking.
#[derive(Default)]
struct Found {
    /// Whether it speaks plain HTTP, where that is good enough.
    plain: Option<bool>,
    login: Option<Secret<String>>,
}

impl<'r> Session<'r> {
    pub(crate) fn new(registry: &'r Registry, repository: Repository, access: Access) -> Session<'r> {
        Session { registry, repository, access, found: Mutex::default() }
    }

    /// Which repository it is about.
    pub fn repository(&self) -> &Repository {
        &self.repository
    }

    /// The manifest that a tag or a digest names.
    ///
    /// # Errors
    ///
    /// That it is not there, or why it is not known; also where what comes has another digest.
    pub async fn manifest(&self, reference: &str) -> Result<Manifest, Error> {
        let what = format!("the manifest {reference} of {}", self.repository);
        let body = self.get(&format!("manifests/{reference}"), MANIFESTS, &what).await?;
        if body.len() > MOST_MANIFEST {
            return Err(Error::Unusable(format!("{what} has more than {MOST_MANIFEST} bytes")));
        }
        if reference.contains(':') && manifest::digest(&body) != reference {
            return Err(Error::Unusable(format!("{what} has another digest")));
        }
        Manifest::read(&body).map_err(|why| Error::Unusable(format!("{what}: {why}")))
    }

    /// The contents that a descriptor names.
    ///
    /// # Errors
    ///
    /// As [`Session::manifest`].
    pub async fn blob(&self, descriptor: &Descriptor) -> Result<Bytes, Error> {
        let digest = &descriptor.digest;
        let what = format!("the blob {digest} of {}", self.repository);
        if descriptor.size > MOST_BLOB as u64 {
            return Err(Error::Unusable(format!("{what} has more than {MOST_BLOB} bytes")));
        }
        let body = self.get(&format!("blobs/{digest}"), ANYTHING, &what).await?;
        match manifest::digest(&body) == *digest {
            true => Ok(body),
            false => Err(Error::Unusable(format!("{what} has another digest"))),
        }
    }

    /// What is attached to a manifest by its digest: through the API, or where a registry has none by the tag that stands for it.
    ///
    /// # Errors
    ///
    /// Why that is not known. Where nothing is attached, there is none.
    pub async fn referrers(
        &self,
        digest: &str,
        of_kind: impl Fn(&str) -> bool,
    ) -> Result<Vec<Descriptor>, Error> {
        let what = format!("what is attached to {digest} of {}", self.repository);
        let body = match self.get(&format!("referrers/{digest}"), INDEX, &what).await {
            Err(Error::Missing(_)) => {
                self.get(&format!("manifests/{}", digest.replace(':', "-")), INDEX, &what).await
            }
            other => other,
        };
        let body = match body {
            Err(Error::Missing(_)) => return Ok(Vec::new()),
            body => body?,
        };
        if body.len() > MOST_MANIFEST {
            return Err(Error::Unusable(format!("{what} is listed with more than {MOST_MANIFEST} bytes")));
        }
        let index = Manifest::read(&body).map_err(|why| Error::Unusable(format!("{what}: {why}")))?;
        let mut listed = index.manifests();
        listed.retain(|one| of_kind(&one.artifact_type));
        if listed.len() > MOST_REFERRERS {
            return Err(Error::Unusable(format!("{what} is more than {MOST_REFERRERS} artifacts of a kind")));
        }
        Ok(listed)
    }

    /// Reads a path below the repository.
    async fn get(&self, path: &str, accept: &'static str, what: &str) -> Result<Bytes, Error> {
        let mut found = self.found.lock().await;
        let base = self.base(&mut found).await?;
        let url = format!("{base}/v2/{}/{path}", self.repository.path());
        let mut reply = self.follow(&url, accept, found.login.as_ref()).await?;
        if reply.status == 401
            && let Some(login) = self.log_in(&base, &reply).await?
        {
            reply = self.follow(&url, accept, Some(&login)).await?;
            found.login = Some(login);
        }
        let place = self.repository.host();
        match reply.status {
            200 => Ok(reply.body),
            404 => Err(Error::Missing(what.to_owned())),
            401 | 403 => {
                let how = match self.credential() {
                    Some(_) => "with the credentials there are for it",
                    None => "and there are no credentials for it",
                };
                Err(Error::Refused(format!("{place} does not let us read {what}, {how} ({})", reply.status)))
            }
            429 | 500..=599 => {
                Err(Error::Unreachable(format!("{place} answers with {} for {what}", reply.status)))
            }
            status => Err(Error::Unusable(format!("{place} answers with {status} for {what}"))),
        }
    }

    /// The URL of the registry: with TLS, or where plain HTTP is good enough as it turns out.
    async fn base(&self, found: &mut Found) -> Result<String, Error> {
        let address = self.repository.address();
        let secure = format!("https://{address}");
        if !self.access.insecure && !self.repository.is_loopback() {
            return Ok(secure);
        }
        let plain = match found.plain {
            Some(plain) => plain,
            None => {
                let place = self.registry.hosts.place(self.repository.host()).await?;
                let ping = self.ask(&format!("{secure}/v2/"), ANYTHING, None).await;
                drop(place);
                match ping {
                    Err(why @ Unanswered::Late(_)) => return Err(self.unanswered(&why)),
                    ping => matches!(ping, Err(Unanswered::Unreachable(_) | Unanswered::Broken(_))),
                }
            }
        };
        found.plain = Some(plain);
        Ok(if plain { format!("http://{address}") } else { secure })
    }

    fn trust(&self) -> Trust {
        if self.access.insecure { Trust::Anybody } else { Trust::System }
    }

    async fn ask(
        &self,
        url: &str,
        accept: &'static str,
        login: Option<&Secret<String>>,
    ) -> Result<Reply, Unanswered> {
        let authorization = login.map(|login| Secret::new(login.expose().clone()));
        let ask = Ask { url, trust: self.trust(), authorization, accept: Some(accept), verb: Verb::Get };
        self.registry.client.ask(&ask).await
    }

    /// Reads a URL, and where it is said to be elsewhere reads that. The login is for the registry alone.
    async fn follow(
        &self,
        url: &str,
        accept: &'static str,
        login: Option<&Secret<String>>,
    ) -> Result<Reply, Error> {
        let name = self.repository.host();
        let mut url = url.to_owned();
        let home = authority(&url);
        for _ in 0..=REDIRECTS {
            let login = login.filter(|_| authority(&url) == home);
            let place = self.registry.hosts.place(name).await?;
            let reply = self.ask(&url, accept, login).await;
            drop(place);
            let reply = reply.map_err(|why| self.unanswered(&why))?;
            self.registry.hosts.answered(name, None);
            if !matches!(reply.status, 301 | 302 | 303 | 307 | 308) {
                return Ok(reply);
            }
            let location = reply.headers.get(LOCATION).and_then(|value| value.to_str().ok());
            url = self.elsewhere(&url, location.unwrap_or_default())?;
        }
        Err(Error::Unusable(format!("{name} sends us elsewhere more than {REDIRECTS} times")))
    }

    fn unanswered(&self, why: &Unanswered) -> Error {
        let name = self.repository.host();
        match why {
            Unanswered::Unreachable(_) | Unanswered::Broken(_) | Unanswered::Late(_) => {
                self.registry.hosts.answered(name, Some(&why.to_string()));
                Error::Unreachable(format!("{name}: {why}"))
            }
            _ => Error::Unusable(format!("{name}: {why}")),
        }
    }

    /// Where a redirect leads; not from TLS to plain HTTP.
    fn elsewhere(&self, from: &str, location: &str) -> Result<String, Error> {
        let name = self.repository.host();
        let url = match location.starts_with('/') && !location.starts_with("//") {
            true => format!("{}{location}", root(from)),
            false => location.to_owned(),
        };
        match url.starts_with("https://") || (from.starts_with("http://") && url.starts_with("http://")) {
            true => Ok(url),
            false => Err(Error::Unusable(format!("{name} sends us to a place that is no https URL"))),
        }
    }

    fn credential(&self) -> Option<&Credential> {
        self.access.keychain.find(self.repository.host(), self.repository.path())
    }

    /// What the registry wants to see, as the value of a header; none where we have nothing to show.
    async fn log_in(&self, base: &str, reply: &Reply) -> Result<Option<Secret<String>>, Error> {
        let header = |text: String| Ok(Some(Secret::new(text)));
        let challenges =
            reply.headers.get_all(WWW_AUTHENTICATE).iter().filter_map(|value| value.to_str().ok());
        let Some(challenge) = challenges.filter_map(Challenge::parse).next() else { return Ok(None) };
        let credential = self.credential();
        match (challenge, credential) {
            (_, Some(Credential::Token(token))) => header(format!("Bearer {}", token.expose())),
            (Challenge::Basic, Some(Credential::Basic(pair))) => header(format!("Basic {}", pair.expose())),
            (Challenge::Basic, None) => Ok(None),
            (Challenge::Bearer { realm, service }, credential) => {
                let pair = match credential {
                    Some(Credential::Basic(pair)) => Some(Secret::new(format!("Basic {}", pair.expose()))),
                    _ => None,
                };
                let token = self.token(base, &realm, &service, pair.as_ref()).await?;
                header(format!("Bearer {}", token.expose()))
            }
        }
    }

    /// A token to read the repository by: <https://distribution.github.io/distribution/spec/auth/token/>.
    async fn token(
        &self,
        base: &str,
        realm: &str,
        service: &str,
        pair: Option<&Secret<String>>,
    ) -> Result<Secret<String>, Error> {
        let name = self.repository.host();
        let plain_too = base.starts_with("http://") && realm.starts_with("http://");
        if !realm.starts_with("https://") && !plain_too {
            return Err(Error::Unusable(format!(
                "{name} sends us for a token to a place that is no https URL"
            )));
        }
        if base.starts_with("http://") && pair.is_some() && !self.may_see_credentials(realm) {
            return Err(Error::Unusable(format!("{name} sends our credentials elsewhere over plain HTTP")));
        }
        let separator = if realm.contains('?') { '&' } else { '?' };
        let scope = escaped(&format!("repository:{}:pull", self.repository.path()));
        let url = format!("{realm}{separator}service={}&scope={scope}", escaped(service));
        let place = self.registry.hosts.place(name).await?;
        let reply = self.ask(&url, "application/json", pair).await;
        drop(place);
        let reply = reply.map_err(|why| self.unanswered(&why))?;
        if reply.status != 200 || reply.body.len() > MOST_TOKEN {
            let status = reply.status;
            return Err(Error::Refused(format!(
                "{name} gives us no token to read {} ({status})",
                self.repository
            )));
        }
        let value: Value = serde_json::from_slice(&reply.body).unwrap_or_default();
        let token = value["token"].as_str().or_else(|| value["access_token"].as_str());
        let token =
            token.ok_or_else(|| Error::Unusable(format!("{name} gives us a token that cannot be read")))?;
        Ok(Secret::new(token.to_owned()))
    }

    /// Over plain HTTP credentials go to the registry itself and to this machine, and nowhere else.
    fn may_see_credentials(&self, realm: &str) -> bool {
        let host = authority(realm);
        realm.starts_with("https://") || host == self.repository.host() || is_loopback(&host)
    }
}

/// Scheme and host of a URL.
fn root(url: &str) -> &str {
    let after = url.find("://").map_or(0, |at| at + 3);
    url[after..].find('/').map_or(url, |at| &url[..after + at])
}

/// Host and port of a URL.
fn authority(url: &str) -> String {
    let parsed: Option<Uri> = url.parse().ok();
    parsed.and_then(|url| Some(url.authority()?.as_str().to_ascii_lowercase())).unwrap_or_default()
}

fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => out.push(char::from(byte)),
            other => out.push_str(&format!("%{other:02X}")),
        }
    }
    out
}
