//! Who must have signed, as rules of `kyverno.io` say it: sets of attestors of which so many must have.
//! <https://kyverno.io/docs/policy-types/cluster-policy/verify-images/sigstore/>

use crate::refusal::{At, Read};
use keyward_signatures::{
    Attestor, CertificateLog, Identity, PublicKeySource, TransparencyLog, Trust, Wanted, extension_oid,
};
use regex::escape;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Sets within sets.
const DEEPEST: usize = 8;
const END: &str = "-----END PUBLIC KEY-----";

/// Entries of which so many must be met.
#[derive(Clone, Debug)]
pub(crate) struct Set {
    pub(crate) count: usize,
    pub(crate) entries: Vec<Entry>,
}

#[derive(Clone, Debug)]
pub(crate) enum Entry {
    Nested(Set),
    One(One),
}

/// One attestor, and where its signatures are.
#[derive(Clone, Debug)]
pub(crate) struct One {
    /// What kind of attestor it is: `keys`, `certificates` or `keyless`.
    pub(crate) kind: &'static str,
    pub(crate) attestor: Arc<Attestor>,
    /// Empty where the rule's counts.
    pub(crate) repository: String,
}

const KEYLESS: [&str; 9] = [
    "issuer",
    "issuerRegExp",
    "subject",
    "subjectRegExp",
    "roots",
    "rekor",
    "ctlog",
    "additionalExtensions",
    "tsaCertChain",
];

/// The sets at a key, with what the fields that came before them say.
pub(crate) fn sets(at: &At<'_>, key: &str, annotations: &BTreeMap<String, String>) -> Read<Vec<Set>> {
    at.each_of(key, |at| set(at, annotations, 0))
}

/// What the fields that came before attestors say; none where they are not used.
pub(crate) fn of_old_fields(at: &At<'_>) -> Read<Option<Set>> {
    let text = |key: &str| at.text(key);
    let keyless = !text("roots")?.is_empty() || !text("issuer")?.is_empty() || !text("subject")?.is_empty();
    let annotations = texts(at, "annotations")?;
    let one = if !text("key")?.is_empty() {
        One {
            kind: "keys",
            repository: String::new(),
            attestor: Arc::new(attestor(key(at, at.text("key")?, "")?, annotations, at)?),
        }
    } else if keyless {
        let trust = keyless_trust(at)?;
        One {
            kind: "keyless",
            repository: String::new(),
            attestor: Arc::new(attestor(trust, annotations, at)?),
        }
    } else {
        return Ok(None);
    };
    Ok(Some(Set { count: 1, entries: vec![Entry::One(one)] }))
}

fn set(at: &At<'_>, annotations: &BTreeMap<String, String>, depth: usize) -> Read<Set> {
    at.only(&["count", "entries"])?;
    if depth > DEEPEST {
        return at.refuse("attestors are nested too deeply");
    }
    let listed = at.need("entries")?.each(|at| entries(at, annotations, depth))?;
    let entries: Vec<Entry> = listed.into_iter().flatten().collect();
    if entries.is_empty() {
        return at.refuse("an entry is required");
    }
    let count = match at.get("count") {
        None => entries.len(),
        Some(count) => match count.value.as_u64().and_then(|count| usize::try_from(count).ok()) {
            Some(0) => entries.len(),
            Some(number) if number <= entries.len() => number,
            Some(_) => return count.refuse("count cannot exceed the number of entries"),
            None => return count.refuse("a number is expected"),
        },
    };
    Ok(Set { count, entries })
}

/// One entry; each of several keys is one of its own.
fn entries(at: &At<'_>, inherited: &BTreeMap<String, String>, depth: usize) -> Read<Vec<Entry>> {
    at.only(&["keys", "certificates", "keyless", "attestor", "annotations", "repository"])?;
    let given: Vec<&str> = ["keys", "certificates", "keyless", "attestor"]
        .into_iter()
        .filter(|key| at.get(key).is_some())
        .collect();
    let [kind] = given[..] else {
        return at.refuse("one of keys, certificates, keyless and attestor is expected");
    };
    let inner = at.need(kind)?;
    let own = texts(at, "annotations")?;
    let annotations = if own.is_empty() { inherited.clone() } else { own };
    let one = |kind, trust| {
        let attestor = Arc::new(attestor(trust, annotations.clone(), &inner)?);
        Ok(Entry::One(One { kind, attestor, repository: at.text("repository")?.to_owned() }))
    };
    match kind {
        "attestor" => Ok(vec![Entry::Nested(set(&inner, inherited, depth + 1)?)]),
        "keys" => keys(&inner)?.into_iter().map(|trust| one("keys", trust)).collect(),
        "certificates" => {
            inner.only(&["cert", "certChain", "rekor", "ctlog"])?;
            let (certificate, chain) = (inner.text("cert")?.to_owned(), inner.text("certChain")?.to_owned());
            if certificate.is_empty() && chain.is_empty() {
                return inner.refuse("cert or certChain is missing");
            }
            Ok(vec![one("certificates", Trust::Certificate { certificate, chain })?])
        }
        _ => {
            inner.only(&KEYLESS)?;
            Ok(vec![one("keyless", keyless_trust(&inner)?)?])
        }
    }
}

fn keys(at: &At<'_>) -> Read<Vec<Trust>> {
    at.only(&["publicKeys", "signatureAlgorithm", "kms", "secret", "rekor", "ctlog"])?;
    let hash = at.text("signatureAlgorithm")?;
    let (text, kms) = (at.text("publicKeys")?, at.text("kms")?);
    if let Some(secret) = at.get("secret") {
        secret.only(&["name", "namespace"])?;
        let (namespace, name) =
            (secret.text("namespace")?.to_owned(), secret.need("name")?.str()?.to_owned());
        let key = PublicKeySource::Secret { namespace, name };
        return Ok(vec![Trust::Key { key, hash: hash.to_owned() }]);
    }
    match (text.is_empty(), kms.is_empty()) {
        (true, true) => at.refuse("a public key or a secret is required"),
        (true, false) => Ok(vec![key(at, kms, hash)?]),
        (false, _) if text.matches(END).count() > 1 => {
            text.split_inclusive(END).filter(|one| one.ends_with(END)).map(|one| key(at, one, hash)).collect()
        }
        (false, _) => Ok(vec![key(at, text, hash)?]),
    }
}

/// A key in PEM, or a reference to one; variables may still be in it.
fn key(at: &At<'_>, text: &str, hash: &str) -> Read<Trust> {
    let text = text.trim();
    let key = match text.strip_prefix("k8s://") {
        Some(reference) => {
            let (namespace, name) = reference.split_once('/').unwrap_or_default();
            if namespace.is_empty() || name.is_empty() {
                return at.refuse(format_args!("{text} is no k8s://NAMESPACE/SECRET"));
            }
            PublicKeySource::Secret { namespace: namespace.to_owned(), name: name.to_owned() }
        }
        None if text.contains("://") && !text.contains("-----BEGIN") => {
            return at.refuse(
                "keys of a KMS are not asked for: give the public key itself, or a Secret that has it",
            );
        }
        None => PublicKeySource::Pem(text.to_owned()),
    };
    Ok(Trust::Key { key, hash: hash.to_owned() })
}

fn keyless_trust(at: &At<'_>) -> Read<Trust> {
    let issuer = wanted(at, "issuer", "issuerRegExp")?;
    let subject = wanted(at, "subject", "subjectRegExp")?;
    let mut extensions = BTreeMap::new();
    for (name, value) in texts(at, "additionalExtensions")? {
        if extension_oid(&name).is_none() {
            return at.refuse(format_args!("{name} is no extension of a certificate"));
        }
        extensions.insert(name, like(&value));
    }
    Ok(Trust::Keyless {
        roots: at.text("roots")?.to_owned(),
        identities: vec![Identity { issuer, subject }],
        extensions,
    })
}

fn wanted(at: &At<'_>, plain: &str, pattern: &str) -> Read<Wanted> {
    let expression = at.text(pattern)?;
    if !expression.is_empty() {
        return Ok(Wanted::Pattern(expression.to_owned()));
    }
    let text = at.text(plain)?;
    Ok(if text.is_empty() { Wanted::Anything } else { like(text) })
}

/// A text with wildcards.
fn like(text: &str) -> Wanted {
    if !crate::wildcard::is_wild(text) {
        return Wanted::Text(text.to_owned());
    }
    let pattern = escape(text).replace("\\*", ".*").replace("\\?", ".");
    Wanted::Pattern(format!("(?s)^(?:{pattern})$"))
}

fn attestor(trust: Trust, annotations: BTreeMap<String, String>, at: &At<'_>) -> Read<Attestor> {
    let mut log = TransparencyLog::default();
    if let Some(rekor) = at.get("rekor") {
        rekor.only(&["url", "pubkey", "ignoreTlog"])?;
        log = TransparencyLog {
            ignored: rekor.flag("ignoreTlog", false)?,
            keys: rekor.text("pubkey")?.to_owned(),
        };
    }
    let mut certificate_log = CertificateLog::default();
    if let Some(ctlog) = at.get("ctlog") {
        ctlog.only(&["ignoreSCT", "pubkey", "tsaCertChain"])?;
        let (ignored, keys) = (ctlog.flag("ignoreSCT", false)?, ctlog.text("pubkey")?.to_owned());
        certificate_log = CertificateLog { ignored, keys };
    }
    Ok(Attestor { trust, annotations, log, certificate_log, trusted_root: String::new() })
}

/// A mapping of texts.
pub(super) fn texts(at: &At<'_>, key: &str) -> Read<BTreeMap<String, String>> {
    let Some(map) = at.get(key) else { return Ok(BTreeMap::new()) };
    let mut found = BTreeMap::new();
    for (name, value) in map.map()? {
        match value.as_str() {
            Some(text) => found.insert(name.clone(), text.to_owned()),
            None => return map.refuse(format_args!("{name} is not a string")),
        };
    }
    Ok(found)
}
