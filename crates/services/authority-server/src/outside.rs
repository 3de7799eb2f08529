//! Finding out what decisions lack: see [`keyward_authority::outside`].

mod ldap;

use keyward_authority::act::{self, Done};
use keyward_authority::outside::{
    Answer, Ask, Credential, Hidden, LONGEST_ANSWER, Question, Reply, Roots, Told,
};
use keyward_crypto::{Secret, Sha256};
use keyward_https::{Client, Error, Limits, Verb};
use keyward_tls::Trust;
use quick_cache::sync::Cache;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// How long an answer is waited for. Vault's own clients give up after 60 seconds.
const PATIENCE: Duration = Duration::from_secs(10);
/// Before something is sent again; twice as long before the next time.
const PAUSE: Duration = Duration::from_millis(100);
/// Answers kept at most.
const KEPT: usize = 4096;
/// Where Kubernetes mounts a pod's own credentials.
const POD: &str = "/var/run/secrets/kubernetes.io/serviceaccount";

type Digest = [u8; 32];

/// Why nothing was answered.
pub(crate) struct Unanswered {
    /// For the operator, without any secret.
    pub(crate) why: String,
    /// It was certainly not heard.
    pub(crate) unheard: bool,
}

/// Asks other systems, and keeps their answers for as long as those who ask allow.
pub(crate) struct Outside {
    client: Client,
    kept: Cache<Digest, (Instant, Reply)>,
}

impl Outside {
    pub(crate) fn new() -> Outside {
        let limits = Limits { duration: PATIENCE, body: LONGEST_ANSWER };
        Outside { client: Client::new(limits), kept: Cache::new(KEPT) }
    }

    /// The answer to `question`.
    pub(crate) async fn answer(&self, question: &Question) -> Told {
        match question {
            Question::Http(ask) => Told::Http(self.http(ask).await),
            Question::Ldap(ask) => Told::Ldap(ldap::answer(ask, &Path::new(POD).join("ca.crt")).await),
            // By whoever carries the request out.
            Question::Leisure => Told::Leisure,
        }
    }

    /// Has a directory take a new password.
    pub(crate) async fn set_password(&self, deed: &act::ldap::Deed) -> Done {
        ldap::set_password(deed, &Path::new(POD).join("ca.crt")).await
    }

    /// Sends one request, now, and answers with what is answered, whatever its status.
    pub(crate) async fn send(
        &self,
        url: &str,
        verb: Verb<'_>,
        roots: &Roots,
        credential: &Credential,
    ) -> Result<keyward_https::Reply, Unanswered> {
        let pod = Path::new(POD);
        let wanted = keyward_https::Ask {
            url,
            trust: trust(roots, &pod.join("ca.crt")).await.map_err(Unanswered::unsent)?,
            authorization: authorization(credential, &pod.join("token")).await.map_err(Unanswered::unsent)?,
            accept: None,
            verb,
        };
        self.client.ask(&wanted).await.map_err(|why| Unanswered {
            unheard: !matches!(why, Error::Broken(_) | Error::TooLong(_) | Error::Late(_)),
            why: format!("{url}: {why}"),
        })
    }

    /// The answer to `ask`. Of several who ask the same at once, one does and all have the answer. Where there is none,
    /// they do not ask one after the other: nobody waits longer for others than for an answer.
    async fn http(&self, ask: &Ask) -> Answer {
        if ask.may_be_old.is_zero() {
            return self.fetch(ask).await;
        }
        let key = digest(ask);
        if self.kept.get(&key).is_some_and(|(at, _)| at.elapsed() > ask.may_be_old) {
            self.kept.remove(&key);
        }
        let others = tokio::time::timeout(PATIENCE, self.kept.get_value_or_guard_async(&key)).await;
        match others.map_err(|_| format!("{}: no answer within {} s", ask.url, PATIENCE.as_secs()))? {
            Ok((_, reply)) => Ok(reply),
            Err(guard) => {
                let reply = self.fetch(ask).await?;
                if (200..300).contains(&reply.status) {
                    // Refused only when somebody removed the place meanwhile; the answer stands all the same.
                    let _ = guard.insert((Instant::now(), reply.clone()));
                }
                Ok(reply)
            }
        }
    }

    /// Sends until something is answered, as often as `ask` says; what was heard once is not sent again. No longer than one
    /// answer is waited for.
    async fn send_again(&self, ask: &Ask, verb: Verb<'_>) -> Result<keyward_https::Reply, Unanswered> {
        let ends = Instant::now() + PATIENCE;
        let mut pause = PAUSE;
        for _ in 0..ask.retries {
            match self.send(&ask.url, verb, &ask.roots, &ask.credential).await {
                Err(failure) if failure.unheard && Instant::now() + pause < ends => {}
                done => return done,
            }
            tokio::time::sleep(pause).await;
            pause *= 2;
        }
        self.send(&ask.url, verb, &ask.roots, &ask.credential).await
    }

    async fn fetch(&self, ask: &Ask) -> Answer {
        let verb = match &ask.body {
            Some((media_type, text)) => Verb::Post { media_type, body: text.0.expose() },
            None => Verb::Get,
        };
        let reply = self.send_again(ask, verb).await.map_err(|failure| failure.why)?;
        let hash = keyward_crypto::sha256(&reply.body);
        let version = hash.iter().take(8).fold(0, |number, byte| number << 8 | u64::from(*byte));
        Ok(Reply { status: reply.status, body: Arc::from(&reply.body[..]), version })
    }
}

impl Unanswered {
    fn unsent(why: String) -> Unanswered {
        Unanswered { why, unheard: true }
    }
}

async fn trust(roots: &Roots, mounted: &Path) -> Result<Trust, String> {
    match roots {
        Roots::System => Ok(Trust::System),
        Roots::Pem(pem) => Ok(Trust::Pem(pem.clone())),
        Roots::Pod => match tokio::fs::read_to_string(mounted).await {
            Ok(pem) => Ok(Trust::Pem(pem.into())),
            Err(why) if why.kind() == std::io::ErrorKind::NotFound => Ok(Trust::System),
            Err(why) => Err(format!("cannot read {}: {why}", mounted.display())),
        },
    }
}

async fn authorization(credential: &Credential, mounted: &Path) -> Result<Option<Secret<String>>, String> {
    use base64::Engine as _;
    match credential {
        Credential::None => Ok(None),
        Credential::Bearer(token) => Ok(Some(bearer(token))),
        Credential::Basic(name, secret) => {
            let pair = Secret::new(format!("{name}:{}", secret.0.expose()));
            let encoded = base64::engine::general_purpose::STANDARD.encode(pair.expose());
            Ok(Some(Secret::new(format!("Basic {encoded}"))))
        }
        Credential::PodOr(_) | Credential::Pod => match tokio::fs::read_to_string(mounted).await {
            Ok(token) => Ok(Some(Secret::new(format!("Bearer {}", token.trim())))),
            Err(why) => match credential {
                Credential::PodOr(other) if why.kind() == std::io::ErrorKind::NotFound => {
                    Ok(Some(bearer(other)))
                }
                _ => Err(format!("cannot read this pod's own token {}: {why}", mounted.display())),
            },
        },
    }
}

fn bearer(token: &Hidden) -> Secret<String> {
    Secret::new(format!("Bearer {}", token.0.expose()))
}

/// Names a question in the cache without keeping the credentials in it.
fn digest(ask: &Ask) -> Digest {
    let mut hash = Sha256::default();
    let mut part = |tag: &str, bytes: &[u8]| {
        hash.update(tag.as_bytes());
        hash.update(&(bytes.len() as u64).to_be_bytes());
        hash.update(bytes);
    };
    part("url", ask.url.as_bytes());
    match &ask.roots {
        Roots::System => part("system", b""),
        Roots::Pem(pem) => part("pem", pem.as_bytes()),
        Roots::Pod => part("pod", b""),
    }
    match &ask.credential {
        Credential::None => part("none", b""),
        Credential::Bearer(token) => part("bearer", token.0.expose().as_bytes()),
        Credential::Basic(name, secret) => {
            part("name", name.as_bytes());
            part("secret", secret.0.expose().as_bytes());
        }
        Credential::PodOr(token) => part("pod or", token.0.expose().as_bytes()),
        Credential::Pod => part("pod", b""),
    }
    if let Some((media_type, body)) = &ask.body {
        part(media_type, body.0.expose().as_bytes());
    }
    hash.finish()
}
