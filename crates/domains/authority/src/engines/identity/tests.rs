//! `identity/` as its clients meet it.

use crate::request::Operation::{Delete, List, Patch, Read, Update};
use crate::testing::{Answer, Bench};
use serde_json::{Value, json};

/// An authority where `ann` and `bob` can log in by `people` and `staff`.
fn bench() -> (Bench, String, String) {
    let mut bench = Bench::new();
    let people = bench.mount_auth("userpass", "people").accessor;
    let staff = bench.mount_auth("userpass", "staff").accessor;
    for user in ["people/users/ann", "people/users/bob", "staff/users/ann"] {
        bench.write(&format!("auth/{user}"), r#"{"password":"x"}"#);
    }
    (bench, people, staff)
}

fn log_in(bench: &mut Bench, mount: &str, name: &str) -> Value {
    let answer = bench.ask("", Update, &format!("auth/{mount}/login/{name}"), r#"{"password":"x"}"#);
    answer.body["auth"].clone()
}

fn token(auth: &Value) -> String {
    auth["client_token"].as_str().unwrap().to_owned()
}

fn post(bench: &mut Bench, path: &str, body: &Value) -> Answer {
    bench.root(Update, &format!("identity/{path}"), &body.to_string())
}

/// Creates something and answers with its id.
fn made(bench: &mut Bench, path: &str, body: &Value) -> String {
    let answer = post(bench, path, body);
    assert_eq!(answer.status, 200, "{path}: {answer:?}");
    answer.data()["id"].as_str().unwrap().to_owned()
}

#[test]
fn entities_are_patched() {
    let (mut bench, ..) = bench();
    let body = json!({"name": "ann", "metadata": {"team": "red", "floor": "3"}, "policies": ["a"], "disabled": true});
    let id = made(&mut bench, "entity", &body);
    let path = format!("identity/entity/id/{id}");
    let patch = |bench: &mut Bench, body: Value| bench.root(Patch, &path, &body.to_string());
    assert_eq!(patch(&mut bench, json!({"metadata": {"team": null, "room": "7"}})).status, 204);
    let shown = bench.read(&path).data().clone();
    assert_eq!(shown["metadata"], json!({"floor": "3", "room": "7"}));
    assert_eq!(
        (&shown["policies"], &shown["disabled"], &shown["name"]),
        (&json!(["a"]), &json!(true), &json!("ann"))
    );
    assert_eq!(patch(&mut bench, json!({"name": "eve", "policies": null, "disabled": false})).status, 204);
    assert_eq!(patch(&mut bench, json!({"metadata": null})).status, 204);
    let shown = bench.read("identity/entity/name/eve").data().clone();
    assert_eq!(
        (&shown["metadata"], &shown["policies"], &shown["disabled"]),
        (&Value::Null, &json!([]), &json!(false))
    );
    made(&mut bench, "entity", &json!({"name": "bob"}));
    for (body, error) in [
        (json!({"name": "bob"}), "already in use"),
        (json!({"policies": ["root"]}), "cannot contain root"),
        (json!({"metadata": {"a": 1}}), "an object of texts"),
    ] {
        let refused = patch(&mut bench, body);
        assert!(refused.status == 400 && refused.errors().contains(error), "{refused:?}");
    }
    assert_eq!(bench.root(Patch, "identity/entity/id/none", "{}").status, 404);
}

#[test]
fn entities_are_created_read_renamed_and_removed() {
    let (mut bench, ..) = bench();
    let body = json!({"name": "Ann B/C", "metadata": {"team": "red"}, "policies": ["B", "a"]});
    let created = post(&mut bench, "entity", &body);
    let id = created.data()["id"].as_str().unwrap().to_owned();
    assert_eq!((&created.data()["name"], &created.data()["aliases"]), (&json!("Ann B/C"), &Value::Null));
    let by_id = bench.read(&format!("identity/entity/id/{id}")).data().clone();
    assert_eq!(by_id["policies"], json!(["a", "b"]));
    assert_eq!((&by_id["metadata"], &by_id["disabled"]), (&json!({"team": "red"}), &json!(false)));
    assert_eq!((&by_id["group_ids"], &by_id["merged_entity_ids"]), (&json!([]), &Value::Null));
    assert_eq!(bench.read("identity/entity/name/ann b/c").data(), &by_id);
    // A write by name or id changes what is there, and says nothing.
    let changed = bench.root(Update, &format!("identity/entity/id/{id}"), r#"{"name":"eve"}"#);
    assert_eq!(changed.status, 204);
    assert_eq!(bench.root(Read, "identity/entity/name/ann b/c", "").status, 404);
    assert_eq!(bench.read("identity/entity/name/eve").data()["id"], id);
    let other = made(&mut bench, "entity", &json!({}));
    assert!(
        bench.read(&format!("identity/entity/id/{other}")).data()["name"].to_string().contains("entity_")
    );
    let listed = bench.root(List, "identity/entity/name", "");
    assert_eq!(listed.data()["keys"].as_array().unwrap().len(), 2);
    assert_eq!(listed.data()["key_info"][&id], json!({"name": "eve"}));
    for (path, body, wanted) in [
        ("entity".to_owned(), json!({"policies": "root"}), "policies cannot contain root"),
        ("entity".to_owned(), json!({"id": "none"}), "entity not found from id"),
        (format!("entity/id/{other}"), json!({"name": "EVE"}), "entity name is already in use"),
        (
            "entity".to_owned(),
            json!({"name": "x".repeat(513)}),
            "the name is too long: at most 512 bytes are allowed",
        ),
    ] {
        let answer = post(&mut bench, &path, &body);
        assert_eq!((answer.status, answer.errors().as_str()), (400, wanted), "{path}");
    }
    assert_eq!(bench.root(Delete, "identity/entity/name/eve", "").status, 204);
    assert_eq!(bench.root(Delete, &format!("identity/entity/id/{other}"), "").status, 204);
    assert_eq!(bench.root(List, "identity/entity/id", "").status, 404);
    assert_eq!(bench.count("identity/"), 0);
}

#[test]
fn aliases_are_made_found_moved_and_removed() {
    let (mut bench, people, staff) = bench();
    let first = made(&mut bench, "entity", &json!({"name": "first"}));
    let second = made(&mut bench, "entity", &json!({"name": "second"}));
    let body = json!({"name": "ann", "mount_accessor": people, "canonical_id": first, "custom_metadata": {"k": "v"}});
    let alias = made(&mut bench, "entity-alias", &body);
    assert_eq!(post(&mut bench, "entity-alias", &body).status, 204);
    let shown = bench.read(&format!("identity/entity-alias/id/{alias}")).data().clone();
    assert_eq!(shown["mount_path"], "auth/people/");
    assert_eq!((&shown["canonical_id"], &shown["custom_metadata"]), (&json!(first), &json!({"k": "v"})));
    // A login finds it.
    assert_eq!(log_in(&mut bench, "people", "ann")["entity_id"], first.as_str());
    // It moves, and the login with it.
    let moved = post(&mut bench, &format!("entity-alias/id/{alias}"), &json!({"canonical_id": second}));
    assert_eq!(moved.data(), &json!({"id": alias, "canonical_id": second}));
    assert_eq!(log_in(&mut bench, "people", "ann")["entity_id"], second.as_str());
    assert_eq!(bench.read("identity/entity/name/first").data()["aliases"], json!([]));
    // Its name changes, and what it was is free.
    assert_eq!(post(&mut bench, &format!("entity-alias/id/{alias}"), &json!({"name": "bob"})).status, 200);
    assert_ne!(log_in(&mut bench, "people", "ann")["entity_id"], second.as_str());
    assert_eq!(log_in(&mut bench, "people", "bob")["entity_id"], second.as_str());
    for (body, wanted) in [
        (json!({"name": "x", "mount_accessor": "none"}), "invalid mount accessor \"none\""),
        (json!({"name": "x"}), "'id' or 'mount_accessor' and 'name' must be provided"),
        (
            json!({"name": "x", "mount_accessor": people, "canonical_id": second}),
            "Alias already exists for requested entity and mount accessor",
        ),
        (json!({"name": "x", "mount_accessor": staff, "canonical_id": "none"}), "invalid canonical ID"),
        (json!({"id": "none", "name": "x"}), "invalid alias ID provided"),
        (
            json!({"id": alias, "name": "ann"}),
            "alias with combination of mount accessor and name already exists",
        ),
    ] {
        let answer = post(&mut bench, "entity-alias", &body);
        assert_eq!((answer.status, answer.errors().as_str()), (400, wanted), "{body}");
    }
    let listed = bench.root(List, "identity/entity-alias/id", "");
    assert_eq!(listed.data()["keys"].as_array().unwrap().len(), 2);
    assert_eq!(listed.data()["key_info"][&alias]["name"], "bob");
    assert_eq!(bench.root(Delete, &format!("identity/entity-alias/id/{alias}"), "").status, 204);
    assert_eq!(bench.root(Read, &format!("identity/entity-alias/id/{alias}"), "").status, 404);
    assert_ne!(log_in(&mut bench, "people", "bob")["entity_id"], second.as_str());
}

#[test]
fn where_names_have_no_case_nobody_is_another_by_it() {
    let (mut bench, people, _) = bench();
    let approle = bench.mount_auth("approle", "machines").accessor;
    let entity = made(&mut bench, "entity", &json!({}));
    let alias = made(
        &mut bench,
        "entity-alias",
        &json!({"name": "Ann", "mount_accessor": people, "canonical_id": entity}),
    );
    assert_eq!(log_in(&mut bench, "people", "aNN")["entity_id"], entity.as_str());
    let shown = bench.read(&format!("identity/entity/id/{entity}")).data().clone();
    assert_eq!(
        (shown["aliases"].as_array().unwrap().len(), &shown["aliases"][0]["name"]),
        (1, &json!("Ann"))
    );
    assert_eq!(post(&mut bench, &format!("entity-alias/id/{alias}"), &json!({"name": "ANN"})).status, 200);
    let found =
        post(&mut bench, "lookup/entity", &json!({"alias_name": "ann", "alias_mount_accessor": people}));
    assert_eq!(found.data()["aliases"][0]["name"], "ANN");
    // Elsewhere names are what they are.
    let lower = made(&mut bench, "entity-alias", &json!({"name": "id", "mount_accessor": approle}));
    assert_ne!(made(&mut bench, "entity-alias", &json!({"name": "ID", "mount_accessor": approle})), lower);
}

#[test]
fn a_disabled_entity_and_one_that_is_gone_have_no_tokens() {
    let (mut bench, ..) = bench();
    let auth = log_in(&mut bench, "people", "ann");
    let (ann, id) = (token(&auth), auth["entity_id"].as_str().unwrap().to_owned());
    let status = |bench: &mut Bench| bench.ask(&ann, Read, "auth/token/lookup-self", "").status;
    assert_eq!(status(&mut bench), 200);
    bench.write(&format!("identity/entity/id/{id}"), r#"{"disabled":true}"#);
    assert_eq!(status(&mut bench), 403);
    assert_eq!(log_in(&mut bench, "people", "ann"), Value::Null);
    bench.write(&format!("identity/entity/id/{id}"), r#"{"disabled":false}"#);
    assert_eq!(status(&mut bench), 200);
    bench.root(Delete, &format!("identity/entity/id/{id}"), "");
    assert_eq!(status(&mut bench), 403);
    // The next login is of a new entity, which the old tokens do not belong to.
    assert_ne!(log_in(&mut bench, "people", "ann")["entity_id"], id.as_str());
    assert_eq!(status(&mut bench), 403);
}

#[test]
fn a_login_that_tells_nothing_new_writes_only_its_token() {
    let (mut bench, ..) = bench();
    log_in(&mut bench, "people", "ann");
    let before: Vec<_> = identity_entries(&bench);
    let tokens = bench.count("token/");
    log_in(&mut bench, "people", "ann");
    assert_eq!(identity_entries(&bench), before);
    assert_eq!(bench.count("token/"), tokens + 1);
}

fn identity_entries(bench: &Bench) -> Vec<(Vec<u8>, Vec<u8>)> {
    let entries = bench.store.entries();
    let of_identity = entries.filter(|(key, _)| key.starts_with(b"identity/"));
    of_identity.map(|(key, value)| (key.to_vec(), value.value.to_vec())).collect()
}

#[test]
fn entities_are_merged_with_what_they_have() {
    let (mut bench, ..) = bench();
    bench.write("sys/mounts/kv", r#"{"type":"kv"}"#);
    bench.write("kv/a", r#"{"a":1}"#);
    bench.policy("reader", "path \"kv/a\" { capabilities = [\"read\"] }");
    let (ann, staff) = (log_in(&mut bench, "people", "ann"), log_in(&mut bench, "staff", "ann"));
    let id = |auth: &Value| auth["entity_id"].as_str().unwrap().to_owned();
    let (into, from) = (id(&ann), id(&staff));
    bench.write(&format!("identity/entity/id/{from}"), r#"{"policies":"reader"}"#);
    let group = made(&mut bench, "group", &json!({"member_entity_ids": from}));
    let staff_token = token(&staff);
    assert_eq!(bench.ask(&token(&ann), Read, "kv/a", "").status, 403);
    for (body, wanted) in [
        (json!({}), "missing entity id to merge to"),
        (json!({"to_entity_id": into}), "missing entity ids to merge from"),
        (json!({"to_entity_id": "x", "from_entity_ids": from}), "entity id to merge to is invalid"),
        (json!({"to_entity_id": into, "from_entity_ids": "x"}), "entity id to merge from is invalid"),
        (
            json!({"to_entity_id": into, "from_entity_ids": into}),
            "to_entity_id should not be present in from_entity_ids",
        ),
    ] {
        let answer = post(&mut bench, "entity/merge", &body);
        assert_eq!((answer.status, answer.errors().as_str()), (400, wanted), "{body}");
    }
    assert_eq!(
        post(&mut bench, "entity/merge", &json!({"to_entity_id": into, "from_entity_ids": from})).status,
        204
    );
    let merged = bench.read(&format!("identity/entity/id/{into}")).data().clone();
    assert_eq!((&merged["merged_entity_ids"], &merged["policies"]), (&json!([from]), &json!(["reader"])));
    assert_eq!(merged["direct_group_ids"], json!([group]));
    assert_eq!(merged["aliases"][1]["merged_from_canonical_ids"], json!([from]));
    assert_eq!(bench.root(Read, &format!("identity/entity/id/{from}"), "").status, 404);
    assert_eq!(bench.read(&format!("identity/group/id/{group}")).data()["member_entity_ids"], json!([into]));
    // The tokens of both are tokens of the one.
    for token in [&token(&ann), &staff_token] {
        assert_eq!(bench.ask(token, Read, "kv/a", "").status, 200);
    }
    assert_eq!(log_in(&mut bench, "staff", "ann")["entity_id"], into.as_str());
}

#[test]
fn of_two_aliases_at_one_mount_one_is_chosen() {
    let (mut bench, ..) = bench();
    let (ann, bob) = (log_in(&mut bench, "people", "ann"), log_in(&mut bench, "people", "bob"));
    let (into, from) = (ann["entity_id"].clone(), bob["entity_id"].clone());
    let alias = |bench: &mut Bench, id: &Value| {
        bench.read(&format!("identity/entity/id/{}", id.as_str().unwrap())).data()["aliases"][0]["id"].clone()
    };
    let (kept, lost) = (alias(&mut bench, &from), alias(&mut bench, &into));
    let mut body = json!({"to_entity_id": into, "from_entity_ids": from});
    let refused = post(&mut bench, "entity/merge", &body);
    assert_eq!(refused.status, 400);
    assert!(refused.errors().contains(lost.as_str().unwrap()), "{refused:?}");
    body["conflicting_alias_ids_to_keep"] = json!("neither");
    assert!(post(&mut bench, "entity/merge", &body).errors().contains("neither were present"));
    body["conflicting_alias_ids_to_keep"] = kept.clone();
    assert_eq!(post(&mut bench, "entity/merge", &body).status, 204);
    let merged = bench.read(&format!("identity/entity/id/{}", into.as_str().unwrap())).data().clone();
    assert_eq!((merged["aliases"].as_array().unwrap().len(), &merged["aliases"][0]["id"]), (1, &kept));
    assert_eq!(log_in(&mut bench, "people", "bob")["entity_id"], into);
    assert_ne!(log_in(&mut bench, "people", "ann")["entity_id"], into);
}

#[test]
fn many_entities_are_removed_at_once() {
    let mut bench = Bench::new();
    let ids: Vec<String> = (0..150).map(|_| made(&mut bench, "entity", &json!({}))).collect();
    assert_eq!(bench.root(List, "identity/entity/id", "").data()["keys"].as_array().unwrap().len(), 150);
    assert_eq!(post(&mut bench, "entity/batch-delete", &json!({"entity_ids": ids})).status, 204);
    assert_eq!(bench.root(List, "identity/entity/id", "").status, 404);
    assert_eq!(bench.count("identity/"), 0);
    assert_eq!(post(&mut bench, "entity/batch-delete", &json!({})).errors(), "missing entity ids to delete");
}

#[test]
fn groups_give_policies_also_through_groups() {
    let (mut bench, ..) = bench();
    bench.write("sys/mounts/kv", r#"{"type":"kv"}"#);
    bench.write("kv/team-red", r#"{"a":1}"#);
    let auth = log_in(&mut bench, "people", "ann");
    let (ann, entity) = (token(&auth), auth["entity_id"].clone());
    let inner = made(&mut bench, "group", &json!({"name": "Inner", "member_entity_ids": entity}));
    let body =
        json!({"name": "outer", "policies": "team", "metadata": {"color": "red"}, "member_group_ids": inner});
    let outer = made(&mut bench, "group", &body);
    bench.policy(
        "team",
        "path \"kv/team-{{identity.groups.names.outer.metadata.color}}\" { capabilities = [\"read\"] }",
    );
    assert_eq!(bench.ask(&ann, Read, "kv/team-red", "").status, 200);
    let own = bench.ask(&ann, Read, "auth/token/lookup-self", "").data().clone();
    assert_eq!((&own["identity_policies"], &own["policies"]), (&json!(["team"]), &json!(["default"])));
    assert_eq!(own["external_namespace_policies"], json!({}));
    let auth = log_in(&mut bench, "people", "ann");
    assert_eq!(auth["policies"], json!(["default", "team"]));
    assert_eq!(
        (&auth["identity_policies"], &auth["token_policies"]),
        (&json!(["team"]), &json!(["default"]))
    );
    let shown = bench.read(&format!("identity/entity/id/{}", entity.as_str().unwrap())).data().clone();
    assert_eq!(
        (&shown["direct_group_ids"], &shown["inherited_group_ids"]),
        (&json!([inner]), &json!([outer]))
    );
    let group = bench.read("identity/group/name/inner").data().clone();
    assert_eq!(
        (&group["parent_group_ids"], &group["member_entity_ids"]),
        (&json!([outer]), &json!([entity]))
    );
    assert_eq!((&group["type"], &group["member_group_ids"]), (&json!("internal"), &Value::Null));
    let listed = bench.root(List, "identity/group/id", "");
    assert_eq!(
        listed.data()["key_info"][&inner],
        json!({"name": "Inner", "num_member_entities": 1, "num_parent_groups": 1})
    );
    // Whoever leaves loses the right at once, and so does everybody when the group is gone.
    post(&mut bench, &format!("group/id/{inner}"), &json!({"member_entity_ids": []}));
    assert_eq!(bench.ask(&ann, Read, "kv/team-red", "").status, 403);
    post(&mut bench, &format!("group/id/{inner}"), &json!({"member_entity_ids": entity}));
    assert_eq!(bench.ask(&ann, Read, "kv/team-red", "").status, 200);
    bench.root(Delete, "identity/group/name/outer", "");
    assert_eq!(bench.ask(&ann, Read, "kv/team-red", "").status, 403);
    assert_eq!(bench.read("identity/group/name/inner").data()["parent_group_ids"], Value::Null);
}

#[test]
fn groups_do_not_contain_themselves() {
    let (mut bench, people, _) = bench();
    let a = made(&mut bench, "group", &json!({"name": "a"}));
    let b = made(&mut bench, "group", &json!({"name": "b", "member_group_ids": a}));
    let c = made(&mut bench, "group", &json!({"name": "c", "member_group_ids": b}));
    let external = made(&mut bench, "group", &json!({"name": "e", "type": "external"}));
    for (id, body, wanted) in [
        (
            &a,
            json!({"member_group_ids": c}),
            format!("cyclic relationship detected for member group ID {c:?}"),
        ),
        (
            &a,
            json!({"member_group_ids": a}),
            format!("cyclic relationship detected for member group ID {a:?}"),
        ),
        (&a, json!({"member_group_ids": "none"}), "invalid member group ID \"none\"".to_owned()),
        (&a, json!({"member_entity_ids": "none"}), "invalid entity ID \"none\"".to_owned()),
        (&a, json!({"name": "B"}), "group name is already in use".to_owned()),
        (&a, json!({"type": "external"}), "group type cannot be changed".to_owned()),
        (&a, json!({"policies": "root"}), "policies cannot contain root".to_owned()),
        (
            &external,
            json!({"member_entity_ids": []}),
            "member entities can't be set manually for external groups".to_owned(),
        ),
    ] {
        let answer = post(&mut bench, &format!("group/id/{id}"), &body);
        assert_eq!((answer.status, answer.errors()), (400, wanted), "{body}");
    }
    let internal = json!({"name": "x", "mount_accessor": people, "canonical_id": a});
    assert_eq!(
        post(&mut bench, "group-alias", &internal).errors(),
        "alias can't be set on an internal group"
    );
    assert_eq!(post(&mut bench, "group", &json!({"type": "odd"})).errors(), "invalid group type \"odd\"");
}

#[test]
fn everything_is_found_by_all_that_is_known_of_it() {
    let (mut bench, people, staff) = bench();
    let auth = log_in(&mut bench, "people", "ann");
    let id = auth["entity_id"].clone();
    let entity = bench.read(&format!("identity/entity/id/{}", id.as_str().unwrap())).data().clone();
    for query in [
        json!({"id": id}),
        json!({"name": entity["name"]}),
        json!({"alias_id": entity["aliases"][0]["id"]}),
        json!({"alias_name": "ann", "alias_mount_accessor": people}),
    ] {
        assert_eq!(post(&mut bench, "lookup/entity", &query).data(), &entity, "{query}");
    }
    let body = json!({"name": "admins", "mount_accessor": staff});
    let alias = made(&mut bench, "group-alias", &body);
    let listed = bench.root(List, "identity/group/id", "");
    let id = listed.data()["keys"][0].clone();
    let group = bench.read(&format!("identity/group/id/{}", id.as_str().unwrap())).data().clone();
    assert_eq!((&group["type"], &group["alias"]["name"]), (&json!("external"), &json!("admins")));
    for query in [
        json!({"id": id}),
        json!({"name": group["name"]}),
        json!({"alias_id": alias}),
        json!({"alias_name": "admins", "alias_mount_accessor": staff}),
    ] {
        assert_eq!(post(&mut bench, "lookup/group", &query).data(), &group, "{query}");
    }
    for kind in ["entity", "group"] {
        for nobody in [json!({"id": "x"}), json!({"alias_name": "x", "alias_mount_accessor": "y"})] {
            assert_eq!(post(&mut bench, &format!("lookup/{kind}"), &nobody).status, 204);
        }
        for (query, wanted) in [
            (json!({}), "query parameter not supplied"),
            (json!({"alias_name": "x"}), "both 'alias_name' and 'alias_mount_accessor' needs to be set"),
            (
                json!({"id": "x", "name": "y"}),
                "query parameter conflict; please supply distinct set of query parameters",
            ),
        ] {
            let answer = post(&mut bench, &format!("lookup/{kind}"), &query);
            assert_eq!((answer.status, answer.errors().as_str()), (400, wanted));
        }
    }
}

#[test]
fn a_mount_that_is_gone_leaves_no_aliases() {
    let (mut bench, people, staff) = bench();
    let ann = log_in(&mut bench, "people", "ann");
    log_in(&mut bench, "people", "bob");
    log_in(&mut bench, "staff", "ann");
    for number in 0..20 {
        made(&mut bench, "group-alias", &json!({"name": format!("g{number}"), "mount_accessor": people}));
        made(&mut bench, "entity-alias", &json!({"name": format!("u{number}"), "mount_accessor": people}));
    }
    assert_eq!(bench.root(Delete, "sys/auth/people", "").status, 204);
    assert_eq!((bench.count(&format!("identity/entity-alias/{people}/"))), 0);
    assert_eq!((bench.count(&format!("identity/entity-alias/{staff}/"))), 1);
    assert_eq!(bench.root(List, "identity/group-alias/id", "").status, 404);
    let left =
        bench.read(&format!("identity/entity/id/{}", ann["entity_id"].as_str().unwrap())).data().clone();
    assert_eq!(left["aliases"], json!([]));
    assert_eq!(bench.root(List, "identity/entity-alias/id", "").data()["keys"].as_array().unwrap().len(), 1);
}

#[test]
fn an_entity_with_all_the_aliases_it_can_have_goes_at_once() {
    let mut bench = Bench::new();
    let id = made(&mut bench, "entity", &json!({"name": "many"}));
    for number in 0..20 {
        let mount = bench.mount_auth("approle", &format!("m{number}")).accessor;
        let body = json!({"name": "a", "mount_accessor": mount, "canonical_id": id});
        made(&mut bench, "entity-alias", &body);
    }
    let mount = bench.mount_auth("approle", "one-too-many").accessor;
    let more =
        post(&mut bench, "entity-alias", &json!({"name": "a", "mount_accessor": mount, "canonical_id": id}));
    assert_eq!(more.errors(), "an entity can have at most 20 aliases");
    assert_eq!(bench.root(Delete, "identity/entity/name/many", "").status, 204);
    assert_eq!(bench.count("identity/"), 0);
}

#[test]
fn the_mount_stays() {
    let mut bench = Bench::new();
    assert_eq!(bench.read("sys/mounts").data()["identity/"]["type"], "identity");
    for (operation, path) in [(Delete, "sys/mounts/identity"), (Update, "sys/mounts/identity")] {
        assert_eq!(bench.root(operation, path, r#"{"type":"identity"}"#).status, 400);
    }
    assert_eq!(bench.root(Update, "sys/mounts/other", r#"{"type":"identity"}"#).status, 400);
}
