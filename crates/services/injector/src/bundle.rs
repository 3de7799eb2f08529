//! Keeps the certificates in the webhook's configuration that the API server is to believe.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use keyward_kubernetes::{Cluster, Error, Kind};
use keyward_log::LogLevel;
use serde_json::{Value, json};
use tokio::sync::watch;

use crate::handler::Injector;

const CONFIGURATIONS: Kind = Kind::cluster_wide(
    "admissionregistration.k8s.io",
    "v1",
    "MutatingWebhookConfiguration",
    "mutatingwebhookconfigurations",
);
/// Somebody may apply the configuration anew, without our certificate.
const LOOK: Duration = Duration::from_secs(20);
const AGAIN: Duration = Duration::from_secs(2);
/// Several injectors have an authority each: those of others stay, of so many at most.
const MOST: usize = 8;
const END: &str = "-----END CERTIFICATE-----";

/// Writes the bundle into the configuration called `name` for as long as it is awaited.
pub(crate) async fn keep(
    cluster: Cluster,
    name: String,
    mut bundle: watch::Receiver<Arc<str>>,
    injector: Arc<Injector>,
) {
    loop {
        let ours = bundle.borrow_and_update().clone();
        let wait = match write(&cluster, &name, &ours).await {
            Ok(()) => {
                if !injector.known.swap(true, Ordering::Relaxed) {
                    injector.log.event(LogLevel::Info, "the API server knows our certificate", &[]);
                }
                LOOK
            }
            Err(why) => {
                if !why.is_conflict() {
                    let told = [("error", why.to_string())];
                    let told = told.each_ref().map(|(name, why)| (*name, why.as_str()));
                    injector.log.event(
                        LogLevel::Warn,
                        "the webhook's configuration is not ours to use yet",
                        &told,
                    );
                }
                AGAIN
            }
        };
        tokio::select! {
            () = tokio::time::sleep(wait) => {}
            _ = bundle.changed() => {}
        }
    }
}

async fn write(cluster: &Cluster, name: &str, ours: &str) -> Result<(), Error> {
    let configurations = cluster.objects(&CONFIGURATIONS, None);
    let Some(mut object) = configurations.get(name).await? else {
        // It says who is missing.
        return configurations.merge(name, &json!({})).await.map(|_| ());
    };
    let mut changed = false;
    for webhook in object.data.get_mut("webhooks").and_then(Value::as_array_mut).into_iter().flatten() {
        let config = &mut webhook["clientConfig"];
        let there =
            config["caBundle"].as_str().and_then(|text| STANDARD.decode(text).ok()).unwrap_or_default();
        let wanted = STANDARD.encode(merged(ours, &String::from_utf8_lossy(&there)));
        if config["caBundle"] != wanted.as_str() {
            config["caBundle"] = Value::from(wanted);
            changed = true;
        }
    }
    if changed {
        let object = serde_json::to_value(&object).unwrap_or_default();
        configurations.replace(name, &object).await?;
    }
    Ok(())
}

/// Our certificates, and those that were there besides.
fn merged(ours: &str, there: &str) -> String {
    let mut all: Vec<&str> = Vec::new();
    for certificate in ours.split_inclusive(END).chain(there.split_inclusive(END)) {
        let certificate = certificate.trim();
        if certificate.ends_with(END) && !all.contains(&certificate) {
            all.push(certificate);
        }
    }
    // In an order of their own, or two injectors would change places for ever.
    all.truncate(MOST);
    all.sort_unstable();
    all.join("\n") + "\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    fn certificate(name: &str) -> String {
        format!("-----BEGIN CERTIFICATE-----\n{name}\n{END}\n")
    }

    #[test]
    fn injectors_leave_each_other_their_place() {
        let (a, b) = (certificate("a"), certificate("b"));
        let both = merged(&a, &b);
        assert_eq!(both, merged(&b, &both));
        assert_eq!(both.matches(END).count(), 2);
        assert_eq!(merged(&a, ""), a);
        assert_eq!(merged(&a, "nonsense"), a);
        let many: String = (0..20).map(|number| certificate(&number.to_string())).collect();
        let kept = merged(&a, &many);
        assert!(kept.contains("\na\n") && kept.matches(END).count() == MOST);
    }
}
