//! Changing the password that searches are made with.

use super::super::automated::{self, Own, Rotation};
use super::super::journaled::Place;
use super::BACKEND;
use super::config::{self, Config, PATH, Stored};
use crate::act::ldap::Deed;
use crate::act::{Act, Done};
use crate::context::Context;
use crate::outside::Hidden;
use crate::refusal::Refusal;
use crate::response::Response;
use crate::route::Resumed;
use crate::txn::Txn;
use keyward_core::Timestamp;

pub(super) fn place(uuid: &str) -> Place<'_> {
    Place { kind: BACKEND.kind, uuid, what: PATH }
}

impl Own for Stored {
    fn rotation(&self) -> &Rotation {
        &self.rotation
    }

    fn parts(&mut self) -> (&mut Rotation, &mut String) {
        (&mut self.rotation, &mut self.bindpass)
    }

    fn policy(&self) -> &str {
        &self.password_policy
    }

    fn check(&self) -> Result<(), Refusal> {
        match self.binddn.is_empty() || self.bindpass.is_empty() {
            true => Err(Refusal::invalid(
                "there is no password to rotate: the configuration has no binddn and bindpass",
            )),
            false => Ok(()),
        }
    }

    fn act(&self, _: &mut Txn<'_>, _: &Place<'_>) -> Result<Act, Refusal> {
        let next = self.rotation.next().unwrap_or_default();
        Ok(Act::Ldap(Box::new(Deed {
            server: Config::new(self.clone())?.server,
            name: self.binddn.clone(),
            passwords: [&self.bindpass, next].map(Hidden::new).into(),
            new: Hidden::new(next),
        })))
    }
}

pub(super) fn rotate(cx: &mut Context<'_, '_>) -> Result<Response, Refusal> {
    let uuid = cx.mount.uuid.clone();
    automated::rotate::<Stored>(cx, &place(&uuid), || Refusal::invalid(config::ABSENT))
}

pub(super) fn due(txn: &mut Txn<'_>, uuid: &str, _: &str, now: Timestamp) -> Resumed {
    automated::due::<Stored>(txn, &place(uuid), now)
}

pub(super) fn conclude(
    txn: &mut Txn<'_>,
    uuid: &str,
    _: &str,
    done: &Done,
    now: Timestamp,
) -> Result<(), Refusal> {
    automated::conclude::<Stored>(txn, &place(uuid), done, now)
}
