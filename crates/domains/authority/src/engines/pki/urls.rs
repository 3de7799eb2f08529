//! Where certificates say that their issuer, its lists and its OCSP servers are found.

use super::table::Cluster;
use crate::fields::Fields;
use crate::refusal::Refusal;
use crate::route::{Field, Kind, field};
use keyward_crypto::x509::Extension;
use serde::{Deserialize, Serialize};

pub(super) const FIELDS: [Field; 5] = [
    field("issuing_certificates", Kind::List, "URLs of the issuer's certificate."),
    field("crl_distribution_points", Kind::List, "URLs of the revocation list."),
    field("delta_crl_distribution_points", Kind::List, "URLs of the changes since the last complete list."),
    field("ocsp_servers", Kind::List, "URLs of OCSP servers."),
    field(
        "enable_templating",
        Kind::Bool,
        "Replace {{issuer_id}}, {{cluster_path}} and {{cluster_aia_path}}.",
    ),
];

/// The URLs of one issuer or of all.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Urls {
    pub(super) issuing_certificates: Vec<String>,
    pub(super) crl_distribution_points: Vec<String>,
    pub(super) delta_crl_distribution_points: Vec<String>,
    pub(super) ocsp_servers: Vec<String>,
    pub(super) enable_templating: bool,
}

impl Urls {
    /// True when there are none.
    pub(super) fn is_empty(&self) -> bool {
        self.lists().iter().all(|(_, urls)| urls.is_empty())
    }

    fn lists(&self) -> [(&'static str, &Vec<String>); 4] {
        [
            ("issuing_certificates", &self.issuing_certificates),
            ("crl_distribution_points", &self.crl_distribution_points),
            ("delta_crl_distribution_points", &self.delta_crl_distribution_points),
            ("ocsp_servers", &self.ocsp_servers),
        ]
    }

    /// These, changed by what a request says. `templating` is what the switch is called there.
    pub(super) fn changed(&self, fields: &Fields, templating: &str) -> Result<Urls, Refusal> {
        let list = |name: &str, known: &[String]| -> Result<Vec<String>, Refusal> {
            Ok(fields.strings(name)?.unwrap_or_else(|| known.to_vec()))
        };
        let urls = Urls {
            issuing_certificates: list("issuing_certificates", &self.issuing_certificates)?,
            crl_distribution_points: list("crl_distribution_points", &self.crl_distribution_points)?,
            delta_crl_distribution_points: list(
                "delta_crl_distribution_points",
                &self.delta_crl_distribution_points,
            )?,
            ocsp_servers: list("ocsp_servers", &self.ocsp_servers)?,
            enable_templating: fields.bool(templating)?.unwrap_or(self.enable_templating),
        };
        if !urls.enable_templating {
            for (name, urls) in urls.lists() {
                if let Some(bad) = urls.iter().find(|url| !is_url(url)) {
                    return Err(Refusal::invalid(format!("invalid URL found in {name}: {bad}")));
                }
            }
        }
        Ok(urls)
    }

    /// The extensions these make in a certificate of the issuer `id`; `None` is an issuer that has no id yet.
    pub(super) fn extensions(&self, cluster: &Cluster, id: Option<&str>) -> Result<Vec<Extension>, Refusal> {
        let filled = |urls: &[String]| {
            urls.iter().map(|url| self.fill(url, cluster, id)).collect::<Result<Vec<_>, Refusal>>()
        };
        let mut made = Vec::new();
        let (ocsp, issuers) = (filled(&self.ocsp_servers)?, filled(&self.issuing_certificates)?);
        if !ocsp.is_empty() || !issuers.is_empty() {
            made.push(Extension::authority_info(&ocsp, &issuers).map_err(super::refuse)?);
        }
        for (urls, delta) in
            [(&self.crl_distribution_points, false), (&self.delta_crl_distribution_points, true)]
        {
            if !urls.is_empty() {
                made.push(Extension::distribution_points(&filled(urls)?, delta).map_err(super::refuse)?);
            }
        }
        Ok(made)
    }

    fn fill(&self, url: &str, cluster: &Cluster, id: Option<&str>) -> Result<String, Refusal> {
        if !self.enable_templating {
            return Ok(url.to_owned());
        }
        let values = [
            ("{{issuer_id}}", id.unwrap_or_default()),
            ("{{cluster_path}}", cluster.path.as_str()),
            ("{{cluster_aia_path}}", cluster.aia_path.as_str()),
        ];
        let mut out = url.to_owned();
        for (name, value) in values {
            if out.contains(name) && value.is_empty() {
                return Err(Refusal::invalid(format!(
                    "unable to parse AIA URL information: {name} has no value here; set config/cluster, or do \
                     without the template"
                )));
            }
            out = out.replace(name, value);
        }
        match is_url(&out) {
            true => Ok(out),
            false => Err(Refusal::invalid(format!("unable to parse AIA URL information: {out} is no URL"))),
        }
    }
}

/// A scheme, a host, and nothing that is not a URL's.
pub(super) fn is_url(text: &str) -> bool {
    let plain = text.bytes().all(|byte| byte.is_ascii_graphic() && !b"\"<>\\^`{|}".contains(&byte));
    let (scheme, rest) = text.split_once("://").unwrap_or_default();
    let host = rest.split(['/', '?', '#']).next().unwrap_or_default();
    plain
        && matches!(scheme, "http" | "https" | "ldap" | "ldaps")
        && (!host.is_empty() || scheme.starts_with("ldap"))
}
