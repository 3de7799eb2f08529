//! Asking directories, by `ldap3`.

use keyward_authority::act::ldap::Deed;
use keyward_authority::act::{Done, Failure};
use keyward_authority::outside::Hidden;
use keyward_authority::outside::ldap::{Aliases, Answer, Ask, Entry, Found, Search, Server, Versions};
use ldap3::adapters::{Adapter, PagedResults};
use ldap3::exop::PasswordModify;
use ldap3::result::ExopResult;
use ldap3::{
    DerefAliases, Ldap, LdapConnAsync, LdapConnSettings, LdapResult, Scope, SearchEntry, SearchOptions,
};
use rustls::version::{TLS12, TLS13};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// What a whole question may take, whatever its server's times are: every server of the list, and the bind and the
/// search.
const PATIENCE: Duration = Duration::from_secs(60);
/// Bytes of everything that a search tells.
const MOST_BYTES: usize = 1024 * 1024;

/// Codes of a bind that is not to be (RFC 4511, appendix A): no such entry, a malformed name, inappropriate or wrong
/// credentials, insufficient rights, unwilling.
const DENIED: &[u32] = &[32, 34, 48, 49, 50, 53];
/// What is answered to an extended operation that is not known (RFC 4511, 4.12).
const PROTOCOL_ERROR: u32 = 2;
/// There is more than was asked for.
const SIZE_LIMIT: u32 = 4;

/// The answer to `ask`. `pod` is the file of the roots of the pod this runs in.
pub(super) async fn answer(ask: &Ask, pod: &Path) -> Answer {
    match tokio::time::timeout(PATIENCE, converse(ask, pod)).await {
        Ok(answer) => answer,
        Err(_) => Err(format!("the directory did not answer in {} seconds", PATIENCE.as_secs())),
    }
}

async fn converse(ask: &Ask, pod: &Path) -> Answer {
    let mut ldap = connect(&ask.server, pod).await?;
    let said = carry_out(&mut ldap, ask).await;
    // The answer stands whether or not the directory hears that this is over.
    let _ = ldap.with_timeout(ask.server.request).unbind().await;
    said
}

async fn connect(server: &Server, pod: &Path) -> Result<Ldap, String> {
    let versions: &[_] = match server.versions {
        Versions::Both => &[&TLS13, &TLS12],
        Versions::Only12 => &[&TLS12],
        Versions::Only13 => &[&TLS13],
    };
    let trust = super::trust(&server.roots, pod).await?;
    let identity = server.identity.as_ref();
    let identity = identity.map(|(chain, key)| (&**chain, key.0.expose().as_str()));
    let tls = Arc::new(trust.tls_of(versions, identity).map_err(|why| why.to_string())?);
    let mut failures = Vec::new();
    for url in &server.urls {
        let settings = LdapConnSettings::new()
            .set_conn_timeout(server.connect)
            .set_starttls(server.starttls)
            .set_config(tls.clone());
        match tokio::time::timeout(server.connect, LdapConnAsync::with_settings(settings, url)).await {
            Ok(Ok((connection, ldap))) => {
                // Ends when its handle is dropped.
                tokio::spawn(connection.drive());
                return Ok(ldap);
            }
            Ok(Err(why)) => failures.push(format!("{url}: {why}")),
            Err(_) => failures.push(format!("{url}: it could not be reached in {:?}", server.connect)),
        }
    }
    Err(failures.join("; "))
}

async fn carry_out(ldap: &mut Ldap, ask: &Ask) -> Answer {
    let limit = ask.server.request;
    if let Some((name, password)) = &ask.bind {
        let passwords: Vec<&Hidden> = std::iter::once(password).chain(&ask.also).collect();
        if let Err(denied) = bind(ldap, name, &passwords, limit).await? {
            return Ok(Found::Denied(denied));
        }
    }
    match &ask.search {
        None => Ok(Found::Entries(Vec::new())),
        Some(wanted) => search(ldap, wanted, limit).await.map(Found::Entries),
    }
}

/// Binds with the first password that the directory takes; else says why it took none.
async fn bind(
    ldap: &mut Ldap,
    name: &str,
    passwords: &[&Hidden],
    limit: Duration,
) -> Result<Result<(), String>, String> {
    let mut denied = String::new();
    for password in passwords {
        let bound = ldap.with_timeout(limit).simple_bind(name, password.0.expose()).await;
        let bound = bound.map_err(|why| format!("the directory failed: {why}"))?;
        match bound.rc {
            0 => return Ok(Ok(())),
            code if DENIED.contains(&code) => denied = told(&bound),
            _ => return Err(format!("the bind failed: {}", told(&bound))),
        }
    }
    Ok(Err(denied))
}

/// Has the directory take the new password of whoever binds.
pub(super) async fn set_password(deed: &Deed, pod: &Path) -> Done {
    match tokio::time::timeout(PATIENCE, try_set_password(deed, pod)).await {
        Ok(done) => done,
        Err(_) => Err(Failure {
            why: format!("the directory did not answer in {} seconds", PATIENCE.as_secs()),
            nothing_done: false,
        }),
    }
}

async fn try_set_password(deed: &Deed, pod: &Path) -> Done {
    let limit = deed.server.request;
    let mut ldap = connect(&deed.server, pod).await.map_err(unchanged)?;
    let passwords: Vec<&Hidden> = deed.passwords.iter().collect();
    bind(&mut ldap, &deed.name, &passwords, limit)
        .await
        .map_err(unchanged)?
        .map_err(|why| unchanged(format!("the directory refuses the bind: {why}")))?;
    let new = deed.new.0.expose().as_str();
    let modify = PasswordModify { user_id: Some(&deed.name), old_pass: None, new_pass: Some(new) };
    let said = ldap.with_timeout(limit).extended(modify).await;
    let ExopResult(_, said) =
        said.map_err(|why| Failure { why: format!("the directory failed: {why}"), nothing_done: false })?;
    // What was changed stands whether or not the directory hears that this is over.
    let _ = ldap.with_timeout(limit).unbind().await;
    match said.rc {
        0 => Ok(()),
        PROTOCOL_ERROR => Err(unchanged(
            "the directory does not know Password Modify (RFC 3062), as Active Directory does not: change the password \
             there, and write it as bindpass"
                .to_owned(),
        )),
        _ => Err(unchanged(format!("the directory refuses the new password: {}", told(&said)))),
    }
}

/// A failure that left the directory as it was.
fn unchanged(why: String) -> Failure {
    Failure { why, nothing_done: true }
}

/// A code and what the directory says about it.
fn told(result: &LdapResult) -> String {
    format!("code {}: {}", result.rc, result.text)
}

async fn search(ldap: &mut Ldap, wanted: &Search, limit: Duration) -> Result<Vec<Entry>, String> {
    let failed = |why: ldap3::LdapError| format!("the search below {:?} failed: {why}", wanted.base);
    let options = SearchOptions::new()
        .deref(match wanted.aliases {
            Aliases::Never => DerefAliases::Never,
            Aliases::Finding => DerefAliases::Finding,
            Aliases::Searching => DerefAliases::Searching,
            Aliases::Always => DerefAliases::Always,
        })
        .sizelimit(i32::try_from(wanted.most).unwrap_or(i32::MAX))
        .timelimit(i32::try_from(limit.as_secs()).unwrap_or(i32::MAX));
    ldap.with_timeout(limit).with_search_options(options);
    let attributes = wanted.attributes.clone();
    let scope = if wanted.alone { Scope::Base } else { Scope::Subtree };
    let pages = pages(wanted.page);
    let stream = ldap.streaming_search_with(pages, &wanted.base, scope, &wanted.filter, attributes);
    let mut stream = stream.await.map_err(failed)?;
    let (mut entries, mut bytes) = (Vec::new(), 0);
    while let Some(found) = stream.next().await.map_err(failed)? {
        if found.is_ref() || found.is_intermediate() {
            continue;
        }
        let entry = entry(SearchEntry::construct(found));
        bytes += size(&entry);
        if bytes > MOST_BYTES {
            return Err(format!("the search below {:?} found more than {MOST_BYTES} bytes", wanted.base));
        }
        entries.push(entry);
        // A directory may know no limits.
        if entries.len() >= wanted.most {
            return Ok(entries);
        }
    }
    let result = stream.finish().await;
    match result.rc {
        0 | SIZE_LIMIT => Ok(entries),
        _ => Err(format!("the search below {:?} failed: {}", wanted.base, told(&result))),
    }
}

/// What has entries come `size` at a time; nothing when it is zero.
fn pages(size: u32) -> Vec<Box<dyn Adapter<'static, String, Vec<String>>>> {
    match i32::try_from(size) {
        Ok(0) => Vec::new(),
        size => vec![Box::new(PagedResults::new(size.unwrap_or(i32::MAX)))],
    }
}

fn entry(found: SearchEntry) -> Entry {
    let attributes = found.attrs.into_iter().map(|(name, values)| (name.to_lowercase(), values));
    let bytes = found.bin_attrs.into_iter().map(|(name, values)| (name.to_lowercase(), values));
    Entry { dn: found.dn, attributes: attributes.collect(), bytes: bytes.collect() }
}

fn size(entry: &Entry) -> usize {
    let texts = entry.attributes.values().flatten().map(String::len);
    let values = texts.chain(entry.bytes.values().flatten().map(Vec::len));
    entry.dn.len() + values.sum::<usize>()
}
