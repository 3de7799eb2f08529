"""Entities, groups, their aliases, and what they give to tokens."""

from hvac import exceptions

from case import Case


class Identity(Case):
    def setUp(self):
        super().setUp()
        self.identity = self.client.secrets.identity
        methods = self.client.sys.list_auth_methods()["data"]
        if "userpass/" not in methods:
            self.client.sys.enable_auth_method("userpass")
            methods = self.client.sys.list_auth_methods()["data"]
        self.accessor = methods["userpass/"]["accessor"]

    def log_in(self, name):
        self.client.auth.userpass.create_or_update_user(name, "a good password")
        client = self.client_with(None)
        return client, client.auth.userpass.login(name, "a good password")["auth"]

    def test_entities(self):
        made = self.identity.create_or_update_entity("Ada", policies=["one"], metadata={"team": "red"})["data"]
        self.assertEqual(made["name"], "Ada")
        entity = self.identity.read_entity(made["id"])["data"]
        self.assertEqual((entity["policies"], entity["metadata"]), (["one"], {"team": "red"}))
        self.assertEqual(self.identity.read_entity_by_name("ada")["data"], entity)
        renamed = self.identity.update_entity(made["id"], name="Ada L", disabled=True)
        self.assertEqual(renamed.status_code, 204)
        self.assertTrue(self.identity.read_entity_by_name("ada l")["data"]["disabled"])
        self.assertEqual(self.identity.create_or_update_entity_by_name("Ada L", disabled=False).status_code, 204)
        self.assertIn(made["id"], self.identity.list_entities()["data"]["keys"])
        self.assertIn("Ada L", self.identity.list_entities_by_name(method="GET")["data"]["keys"])
        self.identity.delete_entity(made["id"])
        self.assertRaises(exceptions.InvalidPath, self.identity.read_entity, made["id"])
        self.identity.create_or_update_entity_by_name("grace")
        self.identity.delete_entity_by_name("grace")
        self.assertRaises(exceptions.InvalidPath, self.identity.read_entity_by_name, "grace")

    def test_aliases(self):
        entity = self.identity.create_or_update_entity("aliased")["data"]["id"]
        alias = self.identity.create_or_update_entity_alias("eve", entity, self.accessor)["data"]
        self.assertEqual(alias["canonical_id"], entity)
        self.assertEqual(self.identity.read_entity_alias(alias["id"])["data"]["name"], "eve")
        self.assertIn(alias["id"], self.identity.list_entity_aliases()["data"]["keys"])
        _, login = self.log_in("eve")
        self.assertEqual(login["entity_id"], entity)
        for found in [
            self.identity.lookup_entity(entity_id=entity),
            self.identity.lookup_entity(name="aliased"),
            self.identity.lookup_entity(alias_id=alias["id"]),
            self.identity.lookup_entity(alias_name="eve", alias_mount_accessor=self.accessor),
        ]:
            self.assertEqual(found["data"]["id"], entity)
        self.identity.delete_entity_alias(alias["id"])
        self.assertRaises(exceptions.InvalidPath, self.identity.read_entity_alias, alias["id"])

    def test_merged(self):
        one = self.identity.create_or_update_entity("one", policies="a")["data"]["id"]
        two = self.identity.create_or_update_entity("two", policies="b")["data"]["id"]
        self.identity.merge_entities(from_entity_ids=[two], to_entity_id=one)
        merged = self.identity.read_entity(one)["data"]
        self.assertEqual((merged["policies"], merged["merged_entity_ids"]), (["a", "b"], [two]))
        self.assertRaises(exceptions.InvalidPath, self.identity.read_entity, two)

    def test_groups_give_rights(self):
        self.client.sys.create_or_update_policy("team", 'path "secret/data/team" { capabilities = ["read"] }')
        self.client.secrets.kv.v2.create_or_update_secret("team", secret={"a": "b"})
        client, login = self.log_in("mia")
        read = client.secrets.kv.v2.read_secret_version
        self.assertRaises(exceptions.Forbidden, read, "team", raise_on_deleted_version=True)
        inner = self.identity.create_or_update_group("inner", member_entity_ids=[login["entity_id"]])["data"]["id"]
        outer = self.identity.create_or_update_group("outer", policies="team", member_group_ids=[inner])["data"]["id"]
        self.assertEqual(read("team", raise_on_deleted_version=True)["data"]["data"], {"a": "b"})
        self.assertEqual(client.auth.token.lookup_self()["data"]["identity_policies"], ["team"])
        self.assertEqual(self.identity.read_group(inner)["data"]["parent_group_ids"], [outer])
        self.assertEqual(self.identity.read_group_by_name("OUTER")["data"]["member_group_ids"], [inner])
        self.assertIn(inner, self.identity.list_groups()["data"]["keys"])
        self.assertIn("inner", self.identity.list_groups_by_name()["data"]["keys"])
        self.assert_refused(
            exceptions.InvalidRequest, "cyclic relationship", self.identity.update_group, inner, "inner",
            member_group_ids=[outer],
        )
        self.identity.delete_group(outer)
        self.assertRaises(exceptions.Forbidden, read, "team", raise_on_deleted_version=True)
        self.identity.delete_group_by_name("inner")

    def test_external_groups(self):
        group = self.identity.create_or_update_group("external", group_type="external")["data"]["id"]
        alias = self.identity.create_or_update_group_alias(
            "admins", mount_accessor=self.accessor, canonical_id=group
        )["data"]["id"]
        self.assertEqual(self.identity.read_group_alias(alias)["data"]["name"], "admins")
        self.assertIn(alias, self.identity.list_group_aliases()["data"]["keys"])
        found = self.identity.lookup_group(alias_name="admins", alias_mount_accessor=self.accessor)
        self.assertEqual((found["data"]["id"], found["data"]["type"]), (group, "external"))
        self.identity.update_group_alias(alias, "operators", mount_accessor=self.accessor)
        self.assertEqual(self.identity.read_group_alias(alias)["data"]["name"], "operators")
        self.identity.delete_group_alias(alias)
        self.assertRaises(exceptions.InvalidPath, self.identity.read_group_alias, alias)
        self.identity.delete_group(group)

    def test_disabled(self):
        client, login = self.log_in("zoe")
        self.assertTrue(client.is_authenticated())
        self.identity.update_entity(login["entity_id"], disabled=True)
        self.assertFalse(client.is_authenticated())
        self.assertRaises(exceptions.Forbidden, self.log_in, "zoe")


class Tokens(Case):
    def setUp(self):
        super().setUp()
        self.identity = self.client.secrets.identity
        if "people/" not in self.client.sys.list_auth_methods()["data"]:
            self.client.sys.enable_auth_method("userpass", path="people")
        self.client.sys.create_or_update_policy("tokens", 'path "identity/oidc/token/*" { capabilities = ["read"] }')
        self.client.auth.userpass.create_or_update_user("ida", "x", policies=["tokens"], mount_point="people")

    def test_signed_and_introspected(self):
        self.identity.configure_tokens_backend(issuer="https://keyward.test:1234")
        issuer = self.identity.read_tokens_backend_configuration()["data"]["issuer"]
        self.assertEqual(issuer, "https://keyward.test:1234")
        self.identity.create_named_key("k", algorithm="ES256", allowed_client_ids=["*"])
        key = self.identity.read_named_key("k")["data"]
        self.assertEqual((key["algorithm"], key["rotation_period"]), ("ES256", 86400))
        self.identity.create_or_update_role("app", key="k", ttl="5m", template='{"who": {{identity.entity.name}}}')
        self.assertEqual(self.identity.read_role("app")["data"]["ttl"], 300)
        client = self.client_with(None)
        client.auth.userpass.login("ida", "x", mount_point="people")
        signed = client.secrets.identity.generate_signed_id_token("app")["data"]
        self.assertEqual(signed["ttl"], 300)
        self.assertTrue(self.identity.introspect_signed_id_token(signed["token"], signed["client_id"])["active"])
        self.assertFalse(self.identity.introspect_signed_id_token(signed["token"] + "x")["active"])
        known = self.identity.read_well_known_configurations()
        self.assertEqual(known["issuer"], "https://keyward.test:1234/v1/identity/oidc")
        self.assertEqual(len(self.identity.read_active_public_keys()["keys"]), 2)
        # hvac posts to the key itself, which is another thing.
        self.client.write_data("identity/oidc/key/k/rotate", data={"verification_ttl": 0})
        self.assertFalse(self.identity.introspect_signed_id_token(signed["token"])["active"])
        self.assertEqual(self.identity.list_roles()["data"]["keys"], ["app"])
        self.assert_refused(exceptions.InvalidRequest, "these roles: app", self.identity.delete_named_key, "k")
        self.identity.delete_role("app")
        self.identity.delete_named_key("k")
        self.assertRaises(exceptions.InvalidPath, self.identity.list_named_keys)
