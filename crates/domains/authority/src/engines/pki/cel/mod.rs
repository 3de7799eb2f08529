//! Roles whose rules are a program in the Common Expression Language, as OpenBao has them: it sees the request and answers with
//! the certificate to be made, or says why none is.
//! <https://openbao.org/docs/secrets/pki/cel>
//!
//! What OpenBao leaves open is settled so: variables may stand in any order; a patch replaces variables by their names; a program
//! is read when its role is written, and what it does not know is refused then.

mod issue;
mod message;
mod program;
mod roles;
mod template;

use crate::route::Route;

pub(super) const ISSUE: &[Route] = issue::ROUTES;
pub(super) const ROLES: &[Route] = roles::ROUTES;
