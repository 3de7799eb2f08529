//! Making certificates: composed here, signed by an issuer's key.

use super::table::{Issuer, Table};
use super::wanted::Wanted;
use super::{new_serial, refuse};
use crate::context::Context;
use crate::refusal::Refusal;
use keyward_crypto::x509::{Certificate, Extension, PublicKey, Request, Scheme, Subject, Template, oid};

/// What kind of certificate is made.
pub(super) enum Kind<'a> {
    /// One that signs no others.
    Leaf,
    /// An authority's.
    Authority {
        /// How many more may stand below it; any number when none.
        path_len: Option<u8>,
        /// The domains it may certify; all when empty.
        permitted: &'a [String],
    },
}

/// A certificate to be made.
pub(super) struct Order<'a> {
    pub(super) wanted: &'a Wanted,
    pub(super) kind: Kind<'a>,
    pub(super) public: &'a PublicKey,
    /// The subject and the extensions are taken from here as they are.
    pub(super) verbatim: Option<&'a Request>,
    /// Another key identifier than the usual.
    pub(super) key_id: Option<Vec<u8>>,
    /// Bits of the hash of RSA signatures; 0 for the usual.
    pub(super) signature_bits: u64,
    pub(super) use_pss: bool,
}

/// The issuer that `reference` names, if it may issue.
pub(super) fn issuing<'t>(table: &'t Table, reference: &str) -> Result<&'t Issuer, Refusal> {
    let unusable =
        |why: &str| Refusal::invalid(format!("could not fetch the CA certificate (was one set?): {why}"));
    let issuer = table.issuer(reference).map_err(|why| unusable(&why.to_string()))?;
    if !issuer.entry.usage.issuing {
        return Err(unusable(&format!(
            "error while fetching issuer {}: the issuer does not have the usage issuing-certificates",
            issuer.entry.id
        )));
    }
    if !issuer.is_authority {
        return Err(unusable(&format!("the certificate of issuer {} is no authority's", issuer.entry.id)));
    }
    issuer.key()?;
    Ok(issuer)
}

/// How many authorities may stand below one that `signer` makes: what was asked for, within what the signer may.
pub(super) fn path_len(asked: Option<u8>, signer: &Certificate) -> Result<Option<u8>, Refusal> {
    match (signer.path_len(), asked) {
        (None, asked) => Ok(asked),
        (Some(0), _) => Err(Refusal::invalid(
            "signing certificate has a max path length of zero, and cannot issue further CA certificates",
        )),
        (Some(most), None) => Ok(Some(most - 1)),
        (Some(most), Some(asked)) if asked < most => Ok(Some(asked)),
        (Some(most), Some(asked)) => Err(Refusal::invalid(format!(
            "max_path_length {asked} does not fit below the signing certificate, whose own is {most}"
        ))),
    }
}

impl Order<'_> {
    /// The certificate, signed by `issuer`.
    pub(super) fn issue(
        self,
        cx: &Context<'_, '_>,
        table: &Table,
        issuer: &Issuer,
    ) -> Result<Certificate, Refusal> {
        let key = &issuer.key()?.key;
        let scheme = Scheme::of(key, self.signature_bits, self.use_pss)
            .ok_or_else(|| Refusal::invalid("the issuer's key cannot sign certificates"))?;
        let urls = table.urls(issuer).extensions(&table.config.cluster, Some(&issuer.entry.id))?;
        let serial = new_serial(cx);
        let (subject, key_id) = (issuer.certificate.subject(), issuer.key_id_below.clone());
        let template = self.template(subject, key_id, urls, &serial)?;
        template.issue(self.public, key, scheme).map_err(refuse)
    }

    /// The certificate of an authority that signs itself with `key`.
    pub(super) fn self_sign(
        self,
        cx: &Context<'_, '_>,
        table: &Table,
        key: &keyward_crypto::keys::Key,
    ) -> Result<Certificate, Refusal> {
        let scheme = Scheme::of(key, self.signature_bits, self.use_pss)
            .ok_or_else(|| Refusal::invalid("the key cannot sign certificates"))?;
        // A root needs no pointer to itself: URLs that cannot be filled in without its id are left out.
        let urls = table.config.urls.extensions(&table.config.cluster, None).unwrap_or_default();
        let subject = self.wanted.subject.clone();
        let id = self.key_id.clone().unwrap_or_else(|| self.public.identifier());
        let id = Extension::authority_key_id(&id).map_err(refuse)?;
        let serial = new_serial(cx);
        let template = self.template(&subject, id, urls, &serial)?;
        Certificate::read(&template.sign(key, scheme).map_err(refuse)?).map_err(refuse)
    }

    fn template<'t>(
        &'t self,
        issuer: &'t Subject,
        authority_key_id: Extension,
        urls: Vec<Extension>,
        serial: &'t [u8],
    ) -> Result<Template<'t>, Refusal> {
        let subject = self.verbatim.map_or(&self.wanted.subject, |csr| &csr.subject);
        let mut extensions = self.own_extensions(authority_key_id, subject).map_err(refuse)?;
        extensions.extend(urls);
        let asked = self.verbatim.map_or(&self.wanted.extra, |csr| &csr.extensions);
        if !asked.is_empty() {
            extensions = overridden(extensions, asked);
        }
        Ok(Template {
            serial,
            issuer,
            subject,
            not_before: self.wanted.not_before,
            not_after: self.wanted.not_after,
            spki: self.public.spki(),
            extensions,
        })
    }

    fn own_extensions(
        &self,
        authority_key_id: Extension,
        subject: &Subject,
    ) -> Result<Vec<Extension>, keyward_crypto::x509::Error> {
        let wanted = self.wanted;
        let mut made = wanted.uses.before_keys(&self.kind)?;
        made.push(match &self.key_id {
            Some(id) => Extension::subject_key_id(id)?,
            None => Extension::subject_key_id(&self.public.identifier())?,
        });
        made.push(authority_key_id);
        if !wanted.sans.is_empty() {
            made.push(Extension::alternative_names(&wanted.sans, subject.is_empty())?);
        }
        made.extend(wanted.uses.policies().cloned());
        if let Kind::Authority { permitted, .. } = self.kind
            && !permitted.is_empty()
        {
            made.push(Extension::permitted_domains(permitted)?);
        }
        Ok(made)
    }
}

/// What says who issued a certificate and whether it is an authority's.
pub(super) const OURS: [&str; 3] = [oid::BASIC_CONSTRAINTS, oid::AUTHORITY_KEY_ID, oid::SUBJECT_KEY_ID];

/// What the request asks for goes before our own, but for what says who issued the certificate and whether it is
/// an authority's: that is not the requester's to say.
fn overridden(own: Vec<Extension>, asked: &[Extension]) -> Vec<Extension> {
    let asked: Vec<&Extension> = asked.iter().filter(|asked| !OURS.iter().any(|oid| asked.is(oid))).collect();
    let kept = own.into_iter().filter(|own| !asked.iter().any(|asked| asked.is(&own.oid())));
    kept.chain(asked.iter().map(|asked| (*asked).clone())).collect()
}
