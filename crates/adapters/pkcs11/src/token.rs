//! A token, somebody logged in to it, and its keys.

use std::path::Path;

use cryptoki::error::{Error, RvError};
use cryptoki::mechanism::elliptic_curve::{EcKdf, Ecdh1DeriveParams};
use cryptoki::mechanism::{Mechanism, MechanismType};
use cryptoki::object::{Attribute, AttributeType, KeyType, ObjectClass, ObjectHandle};
use cryptoki::session::{Session, UserType};
use cryptoki::slot::Slot;
use cryptoki::types::RawAuthPin;
use keyward_crypto::Secret;
use keyward_crypto::age::{Recipient, ssh, tag};
use keyward_crypto::secret::SecretBytes;

use crate::module::Module;
use crate::reference::hexadecimal;
use crate::{AskPin, Reference, TokenError};

/// P-256 by its object identifier, in DER (RFC 5480, 2.1.1.1).
const P256: [u8; 10] = [0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07];

/// What kind of key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyKind {
    /// On the curve P-256.
    P256,
    /// RSA with so many bits: 2048, 3072 or 4096.
    Rsa(u16),
}

/// A private key that is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// Its `CKA_ID`.
    pub id: Vec<u8>,
    /// What it was called.
    pub label: String,
    /// Who to seal for; none for keys of a kind that is not used here.
    pub recipient: Option<Recipient>,
    /// Whether the token gives it to nobody.
    pub held: bool,
    /// Whether the token made it, so that there is no copy; not all tokens know.
    pub local: bool,
}

/// A token after the login.
pub struct Token {
    module: Module,
    slot: Slot,
    session: Session,
    label: String,
}

impl Token {
    /// Logs in to the one token of that label. The PIN is asked for once, and only where the token wants one from here.
    pub fn open(module: &Module, label: &str, ask: AskPin<'_>) -> Result<Token, TokenError> {
        let slot = module.slot(label)?;
        let session = module.context.open_rw_session(slot);
        let session = session.map_err(TokenError::refused(label, "open a session"))?;
        let token = Token { module: module.clone(), slot, session, label: label.to_owned() };
        token.login(ask)?;
        Ok(token)
    }

    fn info(&self) -> Result<cryptoki::slot::TokenInfo, TokenError> {
        let info = self.module.context.get_token_info(self.slot);
        info.map_err(TokenError::refused(&self.label, "show itself"))
    }

    fn login(&self, ask: AskPin<'_>) -> Result<(), TokenError> {
        let info = self.info()?;
        if !info.login_required() {
            return Ok(());
        }
        if !info.user_pin_initialized() {
            return Err(TokenError::NoUserPin(self.label.clone()));
        }
        if info.user_pin_locked() {
            return Err(TokenError::Locked(self.label.clone()));
        }
        let tried = if info.protected_authentication_path() {
            self.session.login(UserType::User, None)
        } else {
            let last = if info.user_pin_final_try() { " (the last try before it is locked)" } else { "" };
            let pin = ask(&format!("PIN of token {}{last}:", self.label))?;
            let pin = RawAuthPin::new(Box::new(pin.expose().as_bytes().to_vec()));
            self.session.login_with_raw(UserType::User, &pin)
        };
        match tried {
            // All sessions with a token share one login.
            Ok(()) | Err(Error::Pkcs11(RvError::UserAlreadyLoggedIn, _)) => Ok(()),
            Err(Error::Pkcs11(RvError::PinIncorrect | RvError::PinInvalid | RvError::PinLenRange, _)) => {
                let after = self.info()?;
                match after.user_pin_locked() {
                    true => Err(TokenError::Locked(self.label.clone())),
                    false => Err(TokenError::WrongPin {
                        token: self.label.clone(),
                        last_try: after.user_pin_final_try(),
                    }),
                }
            }
            Err(why) => Err(TokenError::refused(&self.label, "let anybody in")(why)),
        }
    }

    /// Whether and which keys the token can both make and use: P-256 where it agrees on secrets, else the largest RSA up to
    /// 3072 bits.
    pub fn preferred(&self) -> Result<KeyKind, TokenError> {
        let context = &self.module.context;
        let known = context.get_mechanism_list(self.slot);
        let known = known.map_err(TokenError::refused(&self.label, "say what it can do"))?;
        if known.contains(&MechanismType::ECDH1_DERIVE) && known.contains(&MechanismType::ECC_KEY_PAIR_GEN) {
            return Ok(KeyKind::P256);
        }
        if !known.contains(&MechanismType::RSA_X_509) {
            return Err(TokenError::Unfit(format!(
                "token {} has neither CKM_ECDH1_DERIVE nor CKM_RSA_X_509, and can hold no identity",
                self.label
            )));
        }
        let info = context.get_mechanism_info(self.slot, MechanismType::RSA_PKCS_KEY_PAIR_GEN);
        Ok(KeyKind::Rsa(if info.is_ok_and(|info| info.max_key_size() >= 3072) { 3072 } else { 2048 }))
    }

    /// Makes a key that never leaves the token. An id that is taken is refused.
    pub fn generate(&self, kind: KeyKind, id: &[u8], label: &str) -> Result<Recipient, TokenError> {
        if !self.objects(ObjectClass::PRIVATE_KEY, Some(id))?.is_empty() {
            return Err(TokenError::Exists { token: self.label.clone(), id: hexadecimal(id) });
        }
        let named =
            [Attribute::Token(true), Attribute::Id(id.to_vec()), Attribute::Label(label.as_bytes().to_vec())];
        let hidden = [Attribute::Private(true), Attribute::Sensitive(true), Attribute::Extractable(false)];
        let (mechanism, public, private) = match kind {
            KeyKind::P256 => (
                Mechanism::EccKeyPairGen,
                vec![Attribute::EcParams(P256.to_vec())],
                vec![Attribute::KeyType(KeyType::EC), Attribute::Derive(true)],
            ),
            KeyKind::Rsa(bits) => (
                Mechanism::RsaPkcsKeyPairGen,
                vec![
                    Attribute::ModulusBits(u64::from(bits).into()),
                    Attribute::PublicExponent(vec![1, 0, 1]),
                    Attribute::Encrypt(true),
                ],
                vec![Attribute::KeyType(KeyType::RSA), Attribute::Decrypt(true)],
            ),
        };
        let public = [named.as_slice(), &public].concat();
        let private = [named.as_slice(), &hidden, &private].concat();
        let made = self.session.generate_key_pair(&mechanism, &public, &private);
        let (public, _) = made.map_err(TokenError::refused(&self.label, "make a key"))?;
        self.recipient(public)?
            .ok_or_else(|| TokenError::Unfit(format!("token {} does not show the key it made", self.label)))
    }

    /// Every private key that is there.
    pub fn keys(&self) -> Result<Vec<Found>, TokenError> {
        let mut found = Vec::new();
        for key in self.objects(ObjectClass::PRIVATE_KEY, None)? {
            let wanted = [
                AttributeType::Id,
                AttributeType::Label,
                AttributeType::Sensitive,
                AttributeType::Extractable,
                AttributeType::Local,
            ];
            let (mut id, mut label) = (Vec::new(), String::new());
            // What a token does not say counts against it.
            let (mut sensitive, mut extractable, mut local) = (false, true, false);
            for attribute in self.attributes(key, &wanted)? {
                match attribute {
                    Attribute::Id(bytes) => id = bytes,
                    Attribute::Label(bytes) => label = String::from_utf8_lossy(&bytes).into_owned(),
                    Attribute::Sensitive(yes) => sensitive = yes,
                    Attribute::Local(yes) => local = yes,
                    Attribute::Extractable(yes) => extractable = yes,
                    _ => {}
                }
            }
            let recipient = self.public(&id)?;
            found.push(Found { id, label, recipient, held: sensitive && !extractable, local });
        }
        Ok(found)
    }

    /// The operation of the private key that `reference` names ([`keyward_crypto::age::held::Operation`]).
    pub fn operate(&self, reference: &Reference, input: &[u8]) -> Result<SecretBytes, TokenError> {
        let names = || (self.label.clone(), reference.id_text());
        let keys = self.objects(ObjectClass::PRIVATE_KEY, Some(&reference.id))?;
        let Some(key) = keys.first() else {
            let (token, id) = names();
            return Err(TokenError::NoKey { token, id });
        };
        if self.public(&reference.id)?.is_some_and(|public| public != reference.recipient) {
            let (token, id) = names();
            return Err(TokenError::OtherKey { token, id });
        }
        match &reference.recipient {
            Recipient::Tag(_) => self.agree(*key, input),
            _ => self.raise(*key, input),
        }
    }

    /// The x coordinate of the product with a point (PKCS#11 2.40, mechanisms, 2.3.8).
    fn agree(&self, key: ObjectHandle, point: &[u8]) -> Result<SecretBytes, TokenError> {
        let refused = || TokenError::refused(&self.label, "agree on a secret");
        let mechanism = Mechanism::Ecdh1Derive(Ecdh1DeriveParams::new(EcKdf::null(), point));
        let template = [
            Attribute::Class(ObjectClass::SECRET_KEY),
            Attribute::KeyType(KeyType::GENERIC_SECRET),
            Attribute::Token(false),
            Attribute::Sensitive(false),
            Attribute::Extractable(true),
            Attribute::ValueLen(32u64.into()),
        ];
        let derived = self.session.derive_key(&mechanism, key, &template).map_err(refused())?;
        let value = self.session.get_attributes(derived, &[AttributeType::Value]);
        // Gone with the session at the latest.
        let _ = self.session.destroy_object(derived);
        match value.map_err(refused())?.pop() {
            Some(Attribute::Value(agreed)) => Ok(Secret::new(agreed)),
            _ => Err(TokenError::Unfit(format!("token {} keeps what it agreed on to itself", self.label))),
        }
    }

    /// The power by the private exponent (PKCS#11 2.40, mechanisms, 2.1.8), as long as the input.
    fn raise(&self, key: ObjectHandle, block: &[u8]) -> Result<SecretBytes, TokenError> {
        let raised = self.session.decrypt(&Mechanism::RsaX509, key, block);
        let raised = Secret::new(raised.map_err(TokenError::refused(&self.label, "decrypt"))?);
        let mut whole = vec![0; block.len().saturating_sub(raised.expose().len())];
        whole.reserve_exact(raised.expose().len());
        whole.extend_from_slice(raised.expose());
        Ok(Secret::new(whole))
    }

    fn objects(&self, class: ObjectClass, id: Option<&[u8]>) -> Result<Vec<ObjectHandle>, TokenError> {
        let mut template = vec![Attribute::Class(class), Attribute::Token(true)];
        template.extend(id.map(|id| Attribute::Id(id.to_vec())));
        self.session.find_objects(&template).map_err(TokenError::refused(&self.label, "show its keys"))
    }

    fn attributes(
        &self,
        object: ObjectHandle,
        wanted: &[AttributeType],
    ) -> Result<Vec<Attribute>, TokenError> {
        self.session
            .get_attributes(object, wanted)
            .map_err(TokenError::refused(&self.label, "describe a key"))
    }

    /// The public part of the key of that id, where the token has it.
    fn public(&self, id: &[u8]) -> Result<Option<Recipient>, TokenError> {
        match self.objects(ObjectClass::PUBLIC_KEY, Some(id))?.first() {
            Some(object) => self.recipient(*object),
            None => Ok(None),
        }
    }

    /// Who a public key stands for; none when it is of another kind.
    fn recipient(&self, public: ObjectHandle) -> Result<Option<Recipient>, TokenError> {
        let kind = self.attributes(public, &[AttributeType::KeyType])?.pop();
        match kind {
            Some(Attribute::KeyType(KeyType::EC)) => {
                let found = self.attributes(public, &[AttributeType::EcPoint])?.pop();
                let Some(Attribute::EcPoint(point)) = found else { return Ok(None) };
                // An OCTET STRING around it, which not all tokens write.
                let bare = point.strip_prefix(&[0x04, 65]).filter(|bare| bare.len() == 65).unwrap_or(&point);
                Ok(tag::Recipient::new(bare).ok().map(Recipient::Tag))
            }
            Some(Attribute::KeyType(KeyType::RSA)) => {
                let wanted = [AttributeType::Modulus, AttributeType::PublicExponent];
                let (mut modulus, mut exponent) = (Vec::new(), Vec::new());
                for attribute in self.attributes(public, &wanted)? {
                    match attribute {
                        Attribute::Modulus(bytes) => modulus = bytes,
                        Attribute::PublicExponent(bytes) => exponent = bytes,
                        _ => {}
                    }
                }
                Ok(ssh::Recipient::rsa(&modulus, &exponent).ok().map(Recipient::Ssh))
            }
            _ => Ok(None),
        }
    }
}

impl Reference {
    /// The token that has the key, after a login. `module` stands in for the module that the identity names.
    pub fn token(&self, module: Option<&Path>, ask: AskPin<'_>) -> Result<Token, TokenError> {
        Token::open(&Module::load(module.unwrap_or(&self.module))?, &self.token, ask)
    }
}
