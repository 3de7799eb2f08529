//! A role: what certificates may be issued under it.

use super::params::{self, Family};
use super::table::DEFAULT;
use super::uses::Uses;
use super::wanted;
use crate::fields::Fields;
use crate::policy::{Subject, fill};
use crate::refusal::Refusal;
use crate::route::{Field, Kind, field};
use keyward_crypto::x509::PolicyIdentifier;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::sync::{Arc, OnceLock};

// house: a role's fields are those of Vault's API, one for one, and are shown as they are.
/// As it is stored, and as clients read it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Role {
    /// Seconds; the mount's default when zero.
    pub(super) ttl: u64,
    /// Seconds; the mount's maximum when zero.
    pub(super) max_ttl: u64,
    pub(super) allow_localhost: bool,
    pub(super) allowed_domains: Vec<String>,
    pub(super) allowed_domains_template: bool,
    pub(super) allow_bare_domains: bool,
    pub(super) allow_subdomains: bool,
    pub(super) allow_glob_domains: bool,
    pub(super) allow_wildcard_certificates: bool,
    pub(super) allow_any_name: bool,
    pub(super) enforce_hostnames: bool,
    pub(super) allow_ip_sans: bool,
    pub(super) allowed_uri_sans: Vec<String>,
    pub(super) allowed_uri_sans_template: bool,
    pub(super) allowed_other_sans: Vec<String>,
    pub(super) allowed_serial_numbers: Vec<String>,
    pub(super) allowed_user_ids: Vec<String>,
    pub(super) server_flag: bool,
    pub(super) client_flag: bool,
    pub(super) code_signing_flag: bool,
    pub(super) email_protection_flag: bool,
    pub(super) key_type: String,
    pub(super) key_bits: u64,
    pub(super) signature_bits: u64,
    pub(super) use_pss: bool,
    pub(super) key_usage: Vec<String>,
    pub(super) ext_key_usage: Vec<String>,
    pub(super) ext_key_usage_oids: Vec<String>,
    pub(super) use_csr_common_name: bool,
    pub(super) use_csr_sans: bool,
    pub(super) ou: Vec<String>,
    pub(super) organization: Vec<String>,
    pub(super) country: Vec<String>,
    pub(super) locality: Vec<String>,
    pub(super) province: Vec<String>,
    pub(super) street_address: Vec<String>,
    pub(super) postal_code: Vec<String>,
    pub(super) generate_lease: bool,
    pub(super) no_store: bool,
    pub(super) require_cn: bool,
    pub(super) cn_validations: Vec<String>,
    pub(super) policy_identifiers: Vec<String>,
    pub(super) basic_constraints_valid_for_non_ca: bool,
    /// Seconds.
    pub(super) not_before_duration: u64,
    pub(super) not_after: String,
    pub(super) issuer_ref: String,
    /// What its certificates are for; see [`Role::uses`].
    #[serde(skip)]
    pub(super) uses: Once,
}

/// Made of a role when it is first asked for. A copy has none yet, for copies are made to be changed; and it makes no
/// difference between roles.
#[derive(Debug, Default)]
pub(super) struct Once(OnceLock<Arc<Uses>>);

impl Clone for Once {
    fn clone(&self) -> Once {
        Once::default()
    }
}

impl PartialEq for Once {
    fn eq(&self, _: &Once) -> bool {
        true
    }
}

impl Eq for Once {}

fn texts(values: &[&str]) -> Vec<String> {
    values.iter().map(|value| (*value).to_owned()).collect()
}

impl Default for Role {
    /// What a role is that was made without parameters.
    fn default() -> Role {
        Role {
            ttl: 0,
            max_ttl: 0,
            allow_localhost: true,
            allowed_domains: Vec::new(),
            allowed_domains_template: false,
            allow_bare_domains: false,
            allow_subdomains: false,
            allow_glob_domains: false,
            allow_wildcard_certificates: true,
            allow_any_name: false,
            enforce_hostnames: true,
            allow_ip_sans: true,
            allowed_uri_sans: Vec::new(),
            allowed_uri_sans_template: false,
            allowed_other_sans: Vec::new(),
            allowed_serial_numbers: Vec::new(),
            allowed_user_ids: Vec::new(),
            server_flag: true,
            client_flag: true,
            code_signing_flag: false,
            email_protection_flag: false,
            key_type: "rsa".to_owned(),
            key_bits: 0,
            signature_bits: 0,
            use_pss: false,
            key_usage: texts(&["DigitalSignature", "KeyAgreement", "KeyEncipherment"]),
            ext_key_usage: Vec::new(),
            ext_key_usage_oids: Vec::new(),
            use_csr_common_name: true,
            use_csr_sans: true,
            ou: Vec::new(),
            organization: Vec::new(),
            country: Vec::new(),
            locality: Vec::new(),
            province: Vec::new(),
            street_address: Vec::new(),
            postal_code: Vec::new(),
            generate_lease: false,
            no_store: false,
            require_cn: true,
            cn_validations: texts(&["email", "hostname"]),
            policy_identifiers: Vec::new(),
            basic_constraints_valid_for_non_ca: false,
            not_before_duration: 30,
            not_after: String::new(),
            issuer_ref: DEFAULT.to_owned(),
            uses: Once::default(),
        }
    }
}

impl Role {
    /// What an operator may do who names no role: certify anything. `fields` are those of a request for an authority.
    pub(super) fn unlimited(fields: &Fields) -> Result<Role, Refusal> {
        let mut role = Role {
            allow_any_name: true,
            enforce_hostnames: false,
            allowed_other_sans: texts(&["*"]),
            allowed_serial_numbers: texts(&["*"]),
            allowed_uri_sans: texts(&["*"]),
            allowed_user_ids: texts(&["*"]),
            cn_validations: texts(&["disabled"]),
            key_type: "any".to_owned(),
            key_usage: Vec::new(),
            server_flag: false,
            client_flag: false,
            require_cn: false,
            use_csr_common_name: false,
            use_csr_sans: false,
            ..Role::default()
        };
        for (name, slot) in role.subject_mut() {
            if let Some(values) = fields.strings(name)? {
                *slot = values;
            }
        }
        role.not_before_duration = fields.duration("not_before_duration")?.map_or(30, |span| span.as_secs());
        role.signature_bits = params::number(fields, "signature_bits")?.unwrap_or(0);
        role.use_pss = fields.bool("use_pss")?.unwrap_or(false);
        Ok(role)
    }

    /// What may be certified of names that were proved: any, and nothing else of a subject.
    pub(super) fn of_proved_names() -> Role {
        Role {
            allow_any_name: true,
            enforce_hostnames: false,
            key_type: "any".to_owned(),
            require_cn: false,
            ..Role::default()
        }
    }

    /// Restricts it to the certificates of TLS servers.
    pub(super) fn only_for_servers(&mut self) {
        self.ext_key_usage = texts(&["serverauth"]);
        self.ext_key_usage_oids.clear();
        self.server_flag = true;
        self.client_flag = false;
        self.code_signing_flag = false;
        self.email_protection_flag = false;
    }

    /// This role, changed by what a request says, and checked.
    pub(super) fn changed(&self, fields: &Fields) -> Result<Role, Refusal> {
        let mut role = self.clone();
        for (name, slot) in role.flags_mut() {
            if let Some(value) = fields.bool(name)? {
                *slot = value;
            }
        }
        for (name, slot) in role.lists_mut() {
            if let Some(values) = fields.strings(name)? {
                *slot = values;
            }
        }
        for (name, slot) in role.subject_mut() {
            if let Some(values) = fields.strings(name)? {
                *slot = values;
            }
        }
        for (name, slot) in role.spans_mut() {
            if let Some(span) = fields.duration(name)? {
                *slot = span.as_secs();
            }
        }
        for (name, slot) in role.texts_mut() {
            if let Some(text) = fields.string(name)? {
                *slot = text;
            }
        }
        role.key_bits = params::number(fields, "key_bits")?.unwrap_or(role.key_bits);
        role.signature_bits = params::number(fields, "signature_bits")?.unwrap_or(role.signature_bits);
        if let Some(policies) = policy_field(fields)? {
            role.policy_identifiers = policies;
        }
        role.check()?;
        Ok(role)
    }

    /// What its certificates are for, and under which policies. A role is not changed once it was asked.
    pub(super) fn uses(&self) -> Result<Arc<Uses>, Refusal> {
        if let Some(known) = self.uses.0.get() {
            return Ok(known.clone());
        }
        let made = Arc::new(self.made_uses()?);
        Ok(self.uses.0.get_or_init(|| made).clone())
    }

    fn made_uses(&self) -> Result<Uses, Refusal> {
        Uses::new(
            wanted::key_usages(&self.key_usage),
            &params::ext_key_usages(self)?,
            &policies(&self.policy_identifiers)?,
            self.basic_constraints_valid_for_non_ca,
        )
    }

    /// The role for a caller: its templates filled in with who asks. What cannot be filled in is left out, as is what would
    /// allow more than the role's own text because of a `*` in somebody's metadata.
    pub(super) fn filled(&self, subject: Option<&Subject>) -> Result<Role, Refusal> {
        let mut role = self.clone();
        for (template, texts) in [
            (self.allowed_domains_template, &mut role.allowed_domains),
            (self.allowed_uri_sans_template, &mut role.allowed_uri_sans),
        ] {
            if template {
                *texts = filled(texts, subject)?;
            }
        }
        Ok(role)
    }

    fn flags_mut(&mut self) -> [(&'static str, &mut bool); 21] {
        [
            ("allow_localhost", &mut self.allow_localhost),
            ("allowed_domains_template", &mut self.allowed_domains_template),
            ("allow_bare_domains", &mut self.allow_bare_domains),
            ("allow_subdomains", &mut self.allow_subdomains),
            ("allow_glob_domains", &mut self.allow_glob_domains),
            ("allow_wildcard_certificates", &mut self.allow_wildcard_certificates),
            ("allow_any_name", &mut self.allow_any_name),
            ("enforce_hostnames", &mut self.enforce_hostnames),
            ("allow_ip_sans", &mut self.allow_ip_sans),
            ("allowed_uri_sans_template", &mut self.allowed_uri_sans_template),
            ("server_flag", &mut self.server_flag),
            ("client_flag", &mut self.client_flag),
            ("code_signing_flag", &mut self.code_signing_flag),
            ("email_protection_flag", &mut self.email_protection_flag),
            ("use_pss", &mut self.use_pss),
            ("use_csr_common_name", &mut self.use_csr_common_name),
            ("use_csr_sans", &mut self.use_csr_sans),
            ("generate_lease", &mut self.generate_lease),
            ("no_store", &mut self.no_store),
            ("require_cn", &mut self.require_cn),
            ("basic_constraints_valid_for_non_ca", &mut self.basic_constraints_valid_for_non_ca),
        ]
    }

    fn lists_mut(&mut self) -> [(&'static str, &mut Vec<String>); 9] {
        [
            ("allowed_domains", &mut self.allowed_domains),
            ("allowed_uri_sans", &mut self.allowed_uri_sans),
            ("allowed_other_sans", &mut self.allowed_other_sans),
            ("allowed_serial_numbers", &mut self.allowed_serial_numbers),
            ("allowed_user_ids", &mut self.allowed_user_ids),
            ("key_usage", &mut self.key_usage),
            ("ext_key_usage", &mut self.ext_key_usage),
            ("ext_key_usage_oids", &mut self.ext_key_usage_oids),
            ("cn_validations", &mut self.cn_validations),
        ]
    }

    fn subject_mut(&mut self) -> [(&'static str, &mut Vec<String>); 7] {
        [
            ("ou", &mut self.ou),
            ("organization", &mut self.organization),
            ("country", &mut self.country),
            ("locality", &mut self.locality),
            ("province", &mut self.province),
            ("street_address", &mut self.street_address),
            ("postal_code", &mut self.postal_code),
        ]
    }

    fn spans_mut(&mut self) -> [(&'static str, &mut u64); 3] {
        [
            ("ttl", &mut self.ttl),
            ("max_ttl", &mut self.max_ttl),
            ("not_before_duration", &mut self.not_before_duration),
        ]
    }

    fn texts_mut(&mut self) -> [(&'static str, &mut String); 3] {
        [
            ("key_type", &mut self.key_type),
            ("not_after", &mut self.not_after),
            ("issuer_ref", &mut self.issuer_ref),
        ]
    }

    fn check(&mut self) -> Result<(), Refusal> {
        if self.max_ttl > 0 && self.ttl > self.max_ttl {
            return Err(Refusal::invalid("\"ttl\" value must be less than \"max_ttl\" value"));
        }
        let family = Family::parse(&self.key_type)?;
        self.key_bits = family.checked_bits(self.key_bits)?;
        self.signature_bits = params::checked_signature_bits(self.signature_bits)?;
        // What is not kept cannot be revoked.
        self.generate_lease &= !self.no_store;
        // What cannot be read as a template is refused here, not at the first certificate.
        self.filled(None)?;
        if self.issuer_ref.is_empty() {
            DEFAULT.clone_into(&mut self.issuer_ref);
        }
        self.cn_validations = cn_validations(&self.cn_validations)?;
        if self.allowed_other_sans != ["*"] {
            for pattern in &self.allowed_other_sans {
                wanted::other_san(pattern)
                    .map_err(|why| Refusal::invalid(format!("error parsing allowed_other_sans: {why}")))?;
            }
        }
        if !self.not_after.is_empty() {
            params::moment("not_after", &self.not_after)?;
        }
        // What cannot be encoded is refused here, not at the first certificate.
        self.made_uses().map(|_| ())
    }
}

fn filled(texts: &[String], subject: Option<&Subject>) -> Result<Vec<String>, Refusal> {
    let bad = |why: String| Refusal::invalid(format!("the role's template cannot be filled in: {why}"));
    let mut all = Vec::new();
    for text in texts {
        let stars = |text: &str| text.matches('*').count();
        let found = fill(text, subject).map_err(bad)?;
        all.extend(found.filter(|found| stars(found) == stars(text)));
    }
    Ok(all)
}

fn cn_validations(given: &[String]) -> Result<Vec<String>, Refusal> {
    let given: Vec<String> = given.iter().map(|value| value.to_ascii_lowercase()).collect();
    for value in &given {
        if !matches!(value.as_str(), "email" | "hostname" | "disabled") {
            return Err(Refusal::invalid(format!(
                "cn_validations value incorrect: unknown type: `{value}`; there are email, hostname and disabled"
            )));
        }
    }
    if given.len() > 1 && given.iter().any(|value| value == "disabled") {
        return Err(Refusal::invalid(
            "cn_validations value incorrect: cannot specify `disabled` along with `email` or `hostname`",
        ));
    }
    Ok(if given.is_empty() { texts(&["email", "hostname"]) } else { given })
}

/// The policies a request names: OIDs, or a JSON list of objects with an OID, a notice and a place; each as text.
fn policy_field(fields: &Fields) -> Result<Option<Vec<String>>, Refusal> {
    let listed = |items: Vec<Value>| {
        items.into_iter().map(|item| match item {
            Value::String(text) => text,
            other => other.to_string(),
        })
    };
    match fields.value("policy_identifiers")? {
        None => Ok(None),
        Some(Value::Array(items)) => Ok(Some(listed(items).collect())),
        Some(Value::String(text)) if text.trim_start().starts_with('[') => {
            let items: Vec<Value> = serde_json::from_str(&text)
                .map_err(|_| Refusal::invalid("policy_identifiers: the text is not a JSON list"))?;
            Ok(Some(listed(items).collect()))
        }
        Some(_) => fields.strings("policy_identifiers"),
    }
}

/// What the stored texts of policies say.
pub(super) fn policies(stored: &[String]) -> Result<Vec<PolicyIdentifier>, Refusal> {
    #[derive(Deserialize)]
    struct Qualified {
        oid: String,
        #[serde(default)]
        notice: String,
        #[serde(default)]
        cps: String,
    }
    let read = |text: &String| {
        let bad = || Refusal::invalid(format!("policy_identifiers: {text} is no OID and no object with one"));
        let found = match text.trim_start().starts_with('{') {
            true => {
                let found: Qualified = serde_json::from_str(text).map_err(|_| bad())?;
                PolicyIdentifier { oid: found.oid.trim().to_owned(), notice: found.notice, cps: found.cps }
            }
            false => PolicyIdentifier { oid: text.trim().to_owned(), ..PolicyIdentifier::default() },
        };
        keyward_crypto::x509::Extension::policies(std::slice::from_ref(&found)).map_err(|_| bad())?;
        Ok(found)
    };
    stored.iter().filter(|text| !text.trim().is_empty()).map(read).collect()
}

pub(super) const FIELDS: &[Field] = &[
    field("ttl", Kind::Duration, "How long certificates are valid unless asked for otherwise."),
    field("max_ttl", Kind::Duration, "How long they may be valid at most."),
    field("allow_localhost", Kind::Bool, "Allow localhost and localdomain."),
    field("allowed_domains", Kind::List, "The domains that names may be of."),
    field("allowed_domains_template", Kind::Bool, "`allowed_domains` has `{{identity...}}` in it."),
    field("allow_bare_domains", Kind::Bool, "Allow the domains themselves."),
    field("allow_subdomains", Kind::Bool, "Allow names below the domains, wildcards too."),
    field("allow_glob_domains", Kind::Bool, "Let * in allowed_domains stand for anything."),
    field("allow_wildcard_certificates", Kind::Bool, "Allow names with a wildcard (RFC 6125, 6.4.3)."),
    field("allow_any_name", Kind::Bool, "Allow every name."),
    field("enforce_hostnames", Kind::Bool, "Allow valid host names only."),
    field("allow_ip_sans", Kind::Bool, "Allow addresses as alternative names."),
    field("allowed_uri_sans", Kind::List, "URIs allowed as alternative names; * stands for anything."),
    field("allowed_uri_sans_template", Kind::Bool, "`allowed_uri_sans` has `{{identity...}}` in it."),
    field("allowed_other_sans", Kind::List, "Other names allowed, as <oid>;UTF8:<value>, or * for any."),
    field("allowed_serial_numbers", Kind::List, "Serial numbers allowed in the subject."),
    field("allowed_user_ids", Kind::List, "User ids allowed in the subject."),
    field("server_flag", Kind::Bool, "For TLS servers."),
    field("client_flag", Kind::Bool, "For TLS clients."),
    field("code_signing_flag", Kind::Bool, "For signing code."),
    field("email_protection_flag", Kind::Bool, "For e-mail."),
    field("key_type", Kind::Text, "rsa, ec, ed25519, or any for requests."),
    field("key_bits", Kind::Int, "2048, 3072 or 4096 for rsa; 256, 384 or 521 for ec; 0 for the usual."),
    field("signature_bits", Kind::Int, "256, 384 or 512 for the hash of RSA signatures; 0 for the usual."),
    field("use_pss", Kind::Bool, "Sign with PSS where the issuer's key is RSA."),
    field("key_usage", Kind::List, "Key usages by Go's names."),
    field("ext_key_usage", Kind::List, "Extended key usages by Go's names."),
    field("ext_key_usage_oids", Kind::List, "Extended key usages by OID."),
    field("use_csr_common_name", Kind::Bool, "Take the common name from the request."),
    field("use_csr_sans", Kind::Bool, "Take the alternative names from the request."),
    field("ou", Kind::List, "Organizational units of the subject."),
    field("organization", Kind::List, "Organizations of the subject."),
    field("country", Kind::List, "Countries of the subject."),
    field("locality", Kind::List, "Localities of the subject."),
    field("province", Kind::List, "Provinces of the subject."),
    field("street_address", Kind::List, "Street addresses of the subject."),
    field("postal_code", Kind::List, "Postal codes of the subject."),
    field("generate_lease", Kind::Bool, "Lease certificates: they are revoked with their lease."),
    field("no_store", Kind::Bool, "Do not keep the certificates; revoking one then needs the certificate."),
    field("require_cn", Kind::Bool, "Require a common name."),
    field("cn_validations", Kind::List, "What a common name may be: email, hostname, or disabled."),
    field(
        "policy_identifiers",
        Kind::List,
        "Certificate policies: OIDs, or objects with oid, notice and cps.",
    ),
    field(
        "basic_constraints_valid_for_non_ca",
        Kind::Bool,
        "Say in certificates that they are no authority's.",
    ),
    field("not_before_duration", Kind::Duration, "How long before now certificates begin."),
    field("not_after", Kind::Text, "When certificates end, as YYYY-MM-DDTHH:MM:SSZ, instead of a ttl."),
    field("issuer_ref", Kind::Text, "The issuer that signs; default unless given."),
];
