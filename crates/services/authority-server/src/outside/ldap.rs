//! Asking directories, by `ldap3`.

use keyward_authority::outside::ldap::{Aliases, Answer, Ask, Entry, Found, Search, Server};
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
    let versions: &[_] = if server.only_tls13 { &[&TLS13] } else { &[&TLS13, &TLS12] };
    let trust = super::trust(&server.roots, pod).await?;
    let tls = Arc::new(trust.tls_of(versions).map_err(|why| why.to_string())?);
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
    let failed = |why: ldap3::LdapError| format!("the directory failed: {why}");
    if let Some((name, password)) = &ask.bind {
        let bound = ldap.with_timeout(limit).simple_bind(name, password.0.expose()).await.map_err(failed)?;
        match bound.rc {
            0 => {}
            code if DENIED.contains(&code) => return Ok(Found::Denied(told(&bound))),
            _ => return Err(format!("the bind failed: {}", told(&bound))),
        }
    }
    match &ask.search {
        None => Ok(Found::Entries(Vec::new())),
        Some(wanted) => search(ldap, wanted, limit).await.map(Found::Entries),
    }
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
    let stream = ldap.streaming_search(&wanted.base, Scope::Subtree, &wanted.filter, attributes);
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

fn entry(found: SearchEntry) -> Entry {
    let attributes = found.attrs.into_iter().map(|(name, values)| (name.to_lowercase(), values));
    Entry { dn: found.dn, attributes: attributes.collect() }
}

fn size(entry: &Entry) -> usize {
    let values = entry.attributes.values().flatten().map(String::len);
    entry.dn.len() + values.sum::<usize>()
}
