//! Entities: who logs in, across methods. Logins create them; policy templates name them.

use crate::policy::{self, Subject};
use crate::refusal::Refusal;
use crate::txn::Txn;
use keyward_core::{Rev, random};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Who logs in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entity {
    /// A random UUID.
    pub id: String,
    /// `entity_` and eight characters of the id, until renamed.
    pub name: String,
    /// The mount's accessor and the name there, for each method.
    pub aliases: Vec<Alias>,
}

/// The name an entity has at one auth method.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Alias {
    /// A random UUID.
    pub id: String,
    /// The auth mount.
    pub mount_accessor: String,
    /// The name at that mount.
    pub name: String,
    /// From the last login.
    #[serde(default)]
    pub metadata: BTreeMap<String, String>,
}

fn entity_key(id: &str) -> String {
    ["identity/entity/", id].concat()
}

/// Alias names come from outside (user names): hashed, so that any name is a valid key.
fn alias_key(txn: &Txn<'_>, accessor: &str, name: &str) -> String {
    let tag = txn.keyring().names.tag_parts(&[b"alias\0", accessor.as_bytes(), b"\0", name.as_bytes()]);
    format!("identity/alias/{}", hex::encode(&tag[..20]))
}

/// The id of the entity that `name` at the mount `accessor` belongs to. Writes at its first login, and when
/// `metadata` has changed; else costs two reads of what is kept in memory.
pub fn of_login(
    txn: &mut Txn<'_>,
    accessor: &str,
    name: &str,
    metadata: &BTreeMap<String, String>,
) -> Result<String, Refusal> {
    let key = alias_key(txn, accessor, name);
    if let Some(id) = txn.built_json::<String>(&key)?
        && let Some(entity) = txn.built_json::<Entity>(&entity_key(&id))?
    {
        let this = |alias: &&Alias| alias.mount_accessor == accessor && alias.name == name;
        if entity.aliases.iter().find(this).is_none_or(|alias| alias.metadata != *metadata) {
            let mut entity = (*entity).clone();
            entity.set_alias(txn, accessor, name, metadata);
            txn.put_json(&entity_key(&id), &entity)?;
        }
        return Ok(entity.id.clone());
    }
    let id = random::uuid(txn.random());
    let mut entity = Entity {
        name: format!("entity_{}", id.get(..8).unwrap_or(&id)),
        id: id.clone(),
        aliases: Vec::new(),
    };
    entity.set_alias(txn, accessor, name, metadata);
    txn.put_json(&key, &id)?;
    txn.put_json(&entity_key(&id), &entity)?;
    Ok(id)
}

/// The revision of the entity `id`: what is compiled for it holds as long as this does not change. Zero when
/// there is no such entity.
pub fn revision(txn: &mut Txn<'_>, id: &str) -> Result<Rev, Refusal> {
    txn.revision(&entity_key(id))
}

/// What policy templates may name of the entity `id`.
pub fn subject(txn: &mut Txn<'_>, id: &str) -> Result<Option<Subject>, Refusal> {
    let Some(entity) = txn.built_json::<Entity>(&entity_key(id))? else { return Ok(None) };
    Ok(Some(entity.subject()))
}

impl Entity {
    fn set_alias(&mut self, txn: &Txn<'_>, accessor: &str, name: &str, metadata: &BTreeMap<String, String>) {
        let this = |alias: &&mut Alias| alias.mount_accessor == accessor && alias.name == name;
        match self.aliases.iter_mut().find(this) {
            Some(alias) => alias.metadata.clone_from(metadata),
            None => self.aliases.push(Alias {
                id: random::uuid(txn.random()),
                mount_accessor: accessor.to_owned(),
                name: name.to_owned(),
                metadata: metadata.clone(),
            }),
        }
    }

    fn subject(&self) -> Subject {
        let alias = |alias: &Alias| policy::Alias {
            accessor: alias.mount_accessor.clone(),
            id: alias.id.clone(),
            name: alias.name.clone(),
            metadata: alias.metadata.clone(),
            ..policy::Alias::default()
        };
        Subject {
            entity_id: self.id.clone(),
            entity_name: self.name.clone(),
            aliases: self.aliases.iter().map(alias).collect(),
            ..Subject::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::request::Operation::{Read, Update};
    use crate::testing::Bench;
    use serde_json::json;
    use std::collections::BTreeMap;

    fn log_in(bench: &mut Bench, path: &str, body: &str) -> String {
        let answer = bench.ask("", Update, path, body);
        answer.body["auth"]["client_token"].as_str().unwrap().to_owned()
    }

    #[test]
    fn templates_name_who_logged_in() {
        let mut bench = Bench::new();
        bench.write("sys/mounts/kv", r#"{"type":"kv"}"#);
        let people = bench.mount_auth("userpass", "people");
        let machines = bench.mount_auth("approle", "machines");
        bench.policy(
            "own",
            &format!(
                "path \"kv/{{{{identity.entity.aliases.{}.name}}}}\" {{ capabilities = [\"read\"] }}
                 path \"kv/{{{{identity.entity.aliases.{}.metadata.role_name}}}}\" {{ capabilities = [\"read\"] }}",
                people.accessor, machines.accessor
            ),
        );
        for name in ["ann", "bob", "web"] {
            bench.write(&format!("kv/{name}"), r#"{"a":1}"#);
            bench.write(&format!("auth/people/users/{name}"), r#"{"password":"x","policies":"own"}"#);
        }
        bench.write(
            "auth/machines/role/web",
            r#"{"role_id":"r","token_policies":"own","bind_secret_id":false,"secret_id_bound_cidrs":"127.0.0.1",
                "token_type":"batch"}"#,
        );
        let ann = log_in(&mut bench, "auth/people/login/ann", r#"{"password":"x"}"#);
        let bob = log_in(&mut bench, "auth/people/login/bob", r#"{"password":"x"}"#);
        let web = log_in(&mut bench, "auth/machines/login", r#"{"role_id":"r"}"#);
        for (token, own, other) in [(&ann, "ann", "bob"), (&bob, "bob", "ann"), (&web, "web", "ann")] {
            assert_eq!(bench.ask(token, Read, &format!("kv/{own}"), "").status, 200, "{own}");
            assert_eq!(bench.ask(token, Read, &format!("kv/{other}"), "").status, 403, "{own}");
        }
        // A child has its creator's identity; an orphan has none.
        bench.policy("creator", "path \"auth/token/*\" { capabilities = [\"create\", \"update\"] }");
        bench.write("auth/people/users/ann", r#"{"policies":"own,creator"}"#);
        let ann = log_in(&mut bench, "auth/people/login/ann", r#"{"password":"x"}"#);
        let child = bench.created(&ann, "{}");
        assert_eq!(bench.ask(&child, Read, "kv/ann", "").status, 200);
        let orphan = bench.ask(&ann, Update, "auth/token/create-orphan", "{}");
        let orphan = orphan.body["auth"]["client_token"].as_str().unwrap().to_owned();
        assert_eq!(bench.ask(&orphan, Read, "kv/ann", "").status, 403);
    }

    #[test]
    fn a_changed_entity_is_another_right_at_once() {
        let mut bench = Bench::new();
        bench.write("sys/mounts/kv", r#"{"type":"kv"}"#);
        bench.write("kv/red", r#"{"a":1}"#);
        let mount = bench.mount_auth("userpass", "people");
        let path = format!("kv/{{{{identity.entity.aliases.{}.metadata.team}}}}", mount.accessor);
        bench.policy("team", &format!("path \"{path}\" {{ capabilities = [\"read\"] }}"));
        bench.write("auth/people/users/ann", r#"{"password":"x","policies":"team"}"#);
        let ann = log_in(&mut bench, "auth/people/login/ann", r#"{"password":"x"}"#);
        for (team, wanted) in [("red", 200), ("blue", 403), ("red", 200)] {
            let mut txn = bench.authority.begin(&bench.store, &bench.random).unwrap();
            let metadata = BTreeMap::from([("team".to_owned(), team.to_owned())]);
            let id = super::of_login(&mut txn, &mount.accessor, "ann", &metadata).unwrap();
            let again = super::of_login(&mut txn, &mount.accessor, "ann", &metadata).unwrap();
            assert_eq!(id, again);
            let batch = txn.finish();
            bench.store.commit(batch).unwrap();
            assert_eq!(bench.ask(&ann, Read, "kv/red", "").status, wanted, "{team}");
        }
        assert_eq!(bench.count("identity/"), 2);
    }

    #[test]
    fn the_same_name_at_another_mount_is_another() {
        let mut bench = Bench::new();
        let mut id = |accessor: &str, name: &str| {
            let mut txn = bench.authority.begin(&bench.store, &bench.random).unwrap();
            let id = super::of_login(&mut txn, accessor, name, &BTreeMap::new()).unwrap();
            let batch = txn.finish();
            bench.store.commit(batch).unwrap();
            id
        };
        let first = id("auth_a", "n");
        assert_eq!(id("auth_a", "n"), first);
        assert_ne!(id("auth_b", "n"), first);
        assert_ne!(id("auth_a", "m"), first);
        assert_ne!(id("auth_", "an"), id("auth_a", "n"));
        assert_eq!(json!(first).as_str().map(str::len), Some(36));
    }
}
