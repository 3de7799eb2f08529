"""Tokens made, looked up, renewed, revoked; what they may and may not."""

from hvac import exceptions

from case import Case

READ_ONE = 'path "secret/data/allowed" { capabilities = ["read"] }'


class Tokens(Case):
    def setUp(self):
        super().setUp()
        self.token = self.client.auth.token

    def test_made_looked_up_renewed_revoked(self):
        made = self.token.create(ttl="1h", meta={"purpose": "test"}, display_name="web", renewable=True)["auth"]
        self.assertEqual((made["lease_duration"], made["renewable"], made["token_type"]), (3600, True, "service"))
        self.assertTrue(made["client_token"].startswith("hvs."))
        found = self.token.lookup(made["client_token"])["data"]
        self.assertEqual((found["id"], found["accessor"]), (made["client_token"], made["accessor"]))
        self.assertEqual((found["display_name"], found["meta"]), ("token-web", {"purpose": "test"}))
        self.assertEqual((found["creation_ttl"], found["explicit_max_ttl"], found["num_uses"]), (3600, 0, 0))
        self.assertTrue(3590 <= found["ttl"] <= 3600)
        self.assertEqual((found["path"], found["orphan"], found["type"]), ("auth/token/create", False, "service"))
        renewed = self.token.renew(made["client_token"], increment="2h")["auth"]
        self.assertEqual((renewed["client_token"], renewed["lease_duration"]), (made["client_token"], 7200))
        self.assertEqual(self.token.revoke(made["client_token"]).status_code, 204)
        self.assert_refused(exceptions.Forbidden, "bad token", self.token.lookup, made["client_token"])

    def test_by_itself(self):
        client = self.limited("default", ttl="1h")
        found = client.auth.token.lookup_self()["data"]
        self.assertEqual((found["id"], found["policies"]), (client.token, ["default"]))
        self.assertEqual(client.auth.token.renew_self(increment="30m")["auth"]["lease_duration"], 1800)
        self.assertTrue(client.is_authenticated())
        client.auth.token.revoke_self()
        self.assertFalse(client.is_authenticated())

    def test_by_accessor(self):
        made = self.token.create(ttl="1h")["auth"]
        found = self.token.lookup_accessor(made["accessor"])["data"]
        self.assertEqual((found["accessor"], found["id"]), (made["accessor"], ""))
        self.assertIn(made["accessor"], self.token.list_accessors()["data"]["keys"])
        renewed = self.token.renew_accessor(made["accessor"], increment="2h")["auth"]
        self.assertEqual((renewed["lease_duration"], renewed["client_token"]), (7200, ""))
        self.token.revoke_accessor(made["accessor"])
        self.assert_refused(
            exceptions.InvalidRequest, "invalid accessor", self.token.lookup_accessor, made["accessor"]
        )
        self.assertFalse(self.client_with(made["client_token"]).is_authenticated())

    def test_children_end_with_their_parent(self):
        parent = self.client_with(self.token.create(policies=["root"], ttl="1h")["auth"]["client_token"])
        child = parent.auth.token.create(ttl="1h")["auth"]["client_token"]
        grandchild = self.client_with(child).auth.token.create(ttl="30m")["auth"]["client_token"]
        orphan = parent.auth.token.create_orphan(ttl="1h")["auth"]
        self.assertTrue(orphan["orphan"])
        self.token.revoke(parent.token)
        self.assertFalse(self.client_with(child).is_authenticated())
        self.assertFalse(self.client_with(grandchild).is_authenticated())
        self.assertTrue(self.client_with(orphan["client_token"]).is_authenticated())

    def test_children_may_be_left(self):
        parent = self.client_with(self.token.create(policies=["root"], ttl="1h")["auth"]["client_token"])
        child = parent.auth.token.create(ttl="1h")["auth"]["client_token"]
        self.token.revoke_and_orphan_children(parent.token)
        self.assertFalse(parent.is_authenticated())
        self.assertTrue(self.client_with(child).auth.token.lookup_self()["data"]["orphan"])

    def test_times(self):
        short = self.token.create(ttl="30m", explicit_max_ttl="5m")
        self.assertEqual(short["auth"]["lease_duration"], 300)
        self.assertEqual(self.token.lookup(short["auth"]["client_token"])["data"]["explicit_max_ttl"], 300)
        periodic = self.token.create(period="30m")["auth"]
        self.assertEqual(periodic["lease_duration"], 1800)
        self.assertEqual(self.token.lookup(periodic["client_token"])["data"]["period"], 1800)
        self.assertEqual(self.token.renew(periodic["client_token"], increment="9h")["auth"]["lease_duration"], 1800)
        fixed = self.token.create(ttl="1h", renewable=False)["auth"]
        self.assertFalse(fixed["renewable"])
        self.assertRaises(exceptions.InvalidRequest, self.token.renew, fixed["client_token"])
        root = self.token.lookup_self()["data"]
        self.assertEqual((root["ttl"], root["expire_time"], root["policies"]), (0, None, ["root"]))

    def test_limited_uses(self):
        client = self.limited("default", num_uses=2, ttl="1h")
        self.assertEqual(client.auth.token.lookup_self()["data"]["num_uses"], 1)
        self.assertTrue(client.is_authenticated())
        self.assertFalse(client.is_authenticated())

    def test_batch(self):
        made = self.token.create(type="batch", policies=["default"], ttl="1h")["auth"]
        self.assertTrue(made["client_token"].startswith("hvb."))
        self.assertEqual((made["token_type"], made["accessor"], made["renewable"]), ("batch", "", False))
        client = self.client_with(made["client_token"])
        self.assertEqual(client.auth.token.lookup_self()["data"]["type"], "batch")
        self.assertRaises(exceptions.InvalidRequest, client.auth.token.renew_self)

    def test_roles(self):
        self.client.sys.create_or_update_policy("role-policy", READ_ONE)
        made = self.token.create_or_update_role(
            "web", allowed_policies="role-policy", orphan=True, renewable=True, token_period="1h"
        )
        self.assertEqual(made.status_code, 204)
        role = self.token.read_role("web")["data"]
        self.assertEqual((role["name"], role["allowed_policies"], role["orphan"]), ("web", ["role-policy"], True))
        self.assertEqual(self.token.list_roles()["data"]["keys"], ["web"])
        token = self.token.create(role_name="web")["auth"]
        self.assertEqual((token["policies"], token["lease_duration"]), (["default", "role-policy"], 3600))
        self.assertTrue(token["orphan"])
        self.assertRaises(exceptions.InvalidRequest, self.token.create, role_name="web", policies=["other"])
        self.token.delete_role("web")
        self.assertRaises(exceptions.InvalidPath, self.token.list_roles)
        self.assertRaises(exceptions.InvalidRequest, self.token.create, role_name="web")

    def test_tidied(self):
        self.assertIn(self.token.tidy().status_code, (202, 204))


class Authenticated(Case):
    def test_only_with_a_good_token(self):
        self.assertTrue(self.client.is_authenticated())
        for bad in [None, "", "not-a-real-token", "hvs.AAAAAAAAAAAAAAAAAAAAAAAA"]:
            self.assertFalse(self.client_with(bad).is_authenticated(), bad)

    def test_logged_out(self):
        client = self.limited("default", ttl="1h")
        token = client.token
        client.logout(revoke_token=True)
        self.assertFalse(client.is_authenticated())
        self.assertFalse(self.client_with(token).is_authenticated())

    def test_forbidden_is_forbidden(self):
        self.client.sys.create_or_update_policy("read-one", READ_ONE)
        self.client.secrets.kv.v2.create_or_update_secret("allowed", secret={"a": 1})
        client = self.limited("read-one", ttl="1h")
        kv = client.secrets.kv.v2
        self.assertEqual(kv.read_secret_version("allowed", raise_on_deleted_version=True)["data"]["data"], {"a": 1})
        for action in [
            lambda: kv.read_secret_version("other", raise_on_deleted_version=True),
            lambda: kv.create_or_update_secret("allowed", secret={}),
            lambda: kv.delete_latest_version_of_secret("allowed"),
            lambda: kv.list_secrets(""),
            lambda: client.sys.list_mounted_secrets_engines(),
            lambda: client.read("no/such/mount"),
        ]:
            self.assert_refused(exceptions.Forbidden, "permission denied", action)
        # Nobody may make a token that may more.
        self.assertRaises(exceptions.Forbidden, client.auth.token.create, policies=["root"])
