//! Changing a connection's own password.

use super::super::automated::{self, Own, Rotation};
use super::super::journaled::Place;
use super::config::{self, Stored};
use super::dialect;
use crate::act::Act;
use crate::act::database::{Deed, Dialect};
use crate::context::Context;
use crate::refusal::Refusal;
use crate::response::Response;
use crate::txn::Txn;

impl Own for Stored {
    fn rotation(&self) -> &Rotation {
        &self.rotation
    }

    fn parts(&mut self) -> (&mut Rotation, &mut String) {
        (&mut self.rotation, &mut self.password)
    }

    fn policy(&self) -> &str {
        &self.password_policy
    }

    fn check(&self) -> Result<(), Refusal> {
        let refuse = |why: &str| Err(Refusal::invalid(format!("unable to rotate root credentials: {why}")));
        if self.username.is_empty() || self.password.is_empty() {
            return refuse("no username or password in the configuration, apart from its URL");
        }
        // The URL of a Redis server is its address alone.
        if Dialect::of_plugin(&self.plugin)? != Dialect::Redis && !self.url.contains("{{password}}") {
            return refuse("no {{password}} in connection_url, which would go on with another password");
        }
        Ok(())
    }

    fn act(&self, txn: &mut Txn<'_>, place: &Place<'_>) -> Result<Act, Refusal> {
        let name = place.what.strip_prefix(config::DIRECTORY).unwrap_or_default();
        let (connection, server) = config::server(txn, place.uuid, name)?;
        let next = self.rotation.next().unwrap_or_default();
        dialect::check_password(next)?;
        let work = connection.set_password(&self.username, next, &self.rotation_statements, txn.random())?;
        Ok(Act::Database(Box::new(Deed { server, work })))
    }
}

pub(super) fn rotate(cx: &mut Context<'_, '_>) -> Result<Response, Refusal> {
    let (uuid, name) = (cx.mount.uuid.clone(), cx.param("name").to_owned());
    let what = config::path(&name);
    automated::rotate::<Stored>(cx, &super::place(&uuid, &what), || config::absent(&name))
}
