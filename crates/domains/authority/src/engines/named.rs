//! What a mount keeps under names that operators give: roles, users, groups. What is plain about them is here: each is
//! one entry, read once per revision, whose name usually has no case.

use super::token_params::TokenParams;
use crate::context::Context;
use crate::fields::Fields;
use crate::mounts::Mount;
use crate::refusal::Refusal;
use crate::request::Operation;
use crate::response::Response;
use crate::route::{Field, Handler, Route};
use crate::token::{Terms, TokenEntry};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};
use std::sync::Arc;
use std::time::Duration;

/// One kind of named entry.
pub(super) trait Named:
    Clone + Default + Serialize + DeserializeOwned + Send + Sync + 'static
{
    /// The directory below the mount that holds them; it ends in a slash.
    const DIRECTORY: &'static str;
    /// What routes call the name.
    const PARAM: &'static str = "name";

    /// What an entry called `name` is stored as.
    fn fold(_: &mut Context<'_, '_>, name: &str) -> Result<String, Refusal> {
        Ok(name.to_lowercase())
    }

    /// Takes over what was sent, and checks the whole. `max_ttl` is the mount's. Answers with warnings.
    fn take(&mut self, sent: &Fields, max_ttl: Duration) -> Result<Vec<String>, Refusal>;

    /// As it is read back.
    fn describe(&self) -> Map<String, Value>;
}

/// Named entries that say what the tokens of their logins may do.
pub(super) trait Issues: Named {
    /// The `token_*` parameters.
    fn token(&self) -> &TokenParams;
}

/// Where the entry is stored.
pub(super) fn key<T: Named>(name: &str) -> String {
    format!("{}{}", T::DIRECTORY, name.to_lowercase())
}

/// The name that the path gives.
pub(super) fn name<T: Named>(cx: &Context<'_, '_>) -> String {
    cx.param(T::PARAM).to_lowercase()
}

/// Where the entry called `name` is stored in this mount.
fn place<T: Named>(cx: &mut Context<'_, '_>, name: &str) -> Result<String, Refusal> {
    Ok([T::DIRECTORY, &T::fold(cx, name)?].concat())
}

/// The entry called `name`.
pub(super) fn find<T: Named>(cx: &mut Context<'_, '_>, name: &str) -> Result<Option<Arc<T>>, Refusal> {
    let place = place::<T>(cx, name)?;
    cx.built_json(&place)
}

/// The entry that the path names.
pub(super) fn wanted<T: Named>(cx: &mut Context<'_, '_>) -> Result<Option<Arc<T>>, Refusal> {
    let name = cx.param(T::PARAM).to_owned();
    find(cx, &name)
}

/// Stores `entry` under the name that the path gives.
pub(super) fn put<T: Named>(cx: &mut Context<'_, '_>, entry: &T) -> Result<(), Refusal> {
    let name = cx.param(T::PARAM).to_owned();
    let place = place::<T>(cx, &name)?;
    cx.put_json(&place, entry)
}

pub(super) fn exists<T: Named>(cx: &mut Context<'_, '_>) -> Result<bool, Refusal> {
    Ok(wanted::<T>(cx)?.is_some())
}

pub(super) fn list<T: Named>(cx: &mut Context<'_, '_>) -> Result<Response, Refusal> {
    Response::keys(&cx.list(T::DIRECTORY)?)
}

pub(super) fn read<T: Named>(cx: &mut Context<'_, '_>) -> Result<Response, Refusal> {
    let entry = wanted::<T>(cx)?.ok_or(Refusal::missing())?;
    Response::data(&entry.describe())
}

pub(super) fn write<T: Named>(cx: &mut Context<'_, '_>) -> Result<Response, Refusal> {
    let mut entry = wanted::<T>(cx)?.map(Arc::unwrap_or_clone).unwrap_or_default();
    let warnings = entry.take(cx.fields(), cx.max_ttl())?;
    put(cx, &entry)?;
    Ok(Response { warnings, ..Response::empty() })
}

pub(super) fn delete<T: Named>(cx: &mut Context<'_, '_>) -> Result<Response, Refusal> {
    let name = cx.param(T::PARAM).to_owned();
    let place = place::<T>(cx, &name)?;
    cx.delete(&place);
    Ok(Response::empty())
}

/// The terms on which `token` may be renewed: those of its role as it is now.
pub(super) fn terms<T: Issues>(
    cx: &mut Context<'_, '_>,
    mount: &Mount,
    token: &TokenEntry,
) -> Result<Terms, Refusal> {
    Ok(role_of::<T>(cx, mount, token)?.token().terms(token))
}

/// The role that `token` was issued by, as it is now.
pub(super) fn role_of<T: Issues>(
    cx: &mut Context<'_, '_>,
    mount: &Mount,
    token: &TokenEntry,
) -> Result<Arc<T>, Refusal> {
    let role = cx.txn.built_json::<T>(&format!("{}{}", mount.prefix(), key::<T>(&token.login)))?;
    role.ok_or_else(|| Refusal::invalid(format!("role {} does not exist during renewal", token.login)))
}

/// The routes of a kind: the list, and one entry.
pub(super) struct Routes<T>(std::marker::PhantomData<T>);

impl<T: Named> Routes<T> {
    const LIST: &'static [(Operation, Handler)] = &[(Operation::List, list::<T>)];
    const ENTRY: &'static [(Operation, Handler)] =
        &[(Operation::Read, read::<T>), (Operation::Update, write::<T>), (Operation::Delete, delete::<T>)];

    /// `directory` lists them, `entry` is one of them with `fields`.
    pub(super) const fn table(
        (directory, listed): (&'static str, &'static str),
        (entry, help): (&'static str, &'static str),
        fields: &'static [Field],
    ) -> [Route; 2] {
        [
            Route { pattern: directory, operations: Self::LIST, help: listed, ..Route::EMPTY },
            Route {
                pattern: entry,
                operations: Self::ENTRY,
                exists: Some(exists::<T>),
                fields,
                help,
                ..Route::EMPTY
            },
        ]
    }
}
