"""AppRole and userpass."""

import json

from hvac import exceptions

from case import Case


class AppRole(Case):
    def setUp(self):
        super().setUp()
        if "approle/" not in self.client.sys.list_auth_methods()["data"]:
            self.client.sys.enable_auth_method("approle")
        self.client.sys.create_or_update_policy(
            "app", 'path "secret/data/app" { capabilities = ["create", "update", "read"] }'
        )
        self.approle = self.client.auth.approle
        self.approle.create_or_update_approle("app", token_policies=["app"], token_ttl="20m", token_max_ttl="30m")

    def test_logged_in_and_used(self):
        role_id = self.approle.read_role_id("app")["data"]["role_id"]
        secret = self.approle.generate_secret_id("app", metadata={"host": "one"})["data"]
        client = self.client_with(None)
        login = client.auth.approle.login(role_id=role_id, secret_id=secret["secret_id"])["auth"]
        self.assertEqual(client.token, login["client_token"])
        self.assertEqual(login["token_policies"], ["app", "default"])
        self.assertEqual((login["lease_duration"], login["renewable"]), (1200, True))
        self.assertEqual(login["metadata"], {"role_name": "app", "host": "one"})
        client.secrets.kv.v2.create_or_update_secret("app", secret={"by": "approle"})
        read = client.secrets.kv.v2.read_secret_version("app", raise_on_deleted_version=True)
        self.assertEqual(read["data"]["data"], {"by": "approle"})
        self.assertRaises(exceptions.Forbidden, client.secrets.kv.v2.read_secret_metadata, "app")
        self.assertEqual(client.auth.token.lookup_self()["data"]["path"], "auth/approle/login")
        self.assertEqual(client.auth.token.renew_self(increment="1h")["auth"]["lease_duration"], 1800)

    def test_not_logged_in(self):
        role_id = self.approle.read_role_id("app")["data"]["role_id"]
        secret = self.approle.generate_secret_id("app")["data"]["secret_id"]
        client = self.client_with(None)
        for role, wrong in [(role_id, "wrong"), ("wrong", secret), (role_id, ""), (role_id, None), ("", secret)]:
            self.assertRaises(exceptions.InvalidRequest, client.auth.approle.login, role_id=role, secret_id=wrong)
        self.assertIsNone(client.token)

    def test_roles(self):
        self.approle.create_or_update_approle(
            "full", token_policies=["a", "b"], secret_id_num_uses=3, secret_id_ttl="1h", token_num_uses=5,
            token_type="service", bind_secret_id=True, token_bound_cidrs=["127.0.0.0/8"],
        )
        role = self.approle.read_role("full")["data"]
        self.assertEqual(role["token_policies"], ["a", "b"])
        self.assertEqual((role["secret_id_num_uses"], role["secret_id_ttl"], role["token_num_uses"]), (3, 3600, 5))
        self.assertEqual(role["token_bound_cidrs"], ["127.0.0.0/8"])
        self.assertEqual(self.approle.list_roles()["data"]["keys"], ["app", "full"])
        self.approle.delete_role("full")
        self.assertRaises(exceptions.InvalidPath, self.approle.read_role, "full")
        self.assertRaises(exceptions.InvalidPath, self.approle.read_role_id, "full")

    def test_role_ids_are_chosen(self):
        self.approle.create_or_update_approle("chosen", token_policies=["app"])
        self.assertEqual(self.approle.update_role_id("chosen", "the-id").status_code, 204)
        self.assertEqual(self.approle.read_role_id("chosen")["data"]["role_id"], "the-id")
        self.approle.create_custom_secret_id("chosen", "the-secret")
        client = self.client_with(None)
        client.auth.approle.login(role_id="the-id", secret_id="the-secret")
        self.assertTrue(client.is_authenticated())
        self.approle.delete_role("chosen")

    def test_secret_ids_are_used_up(self):
        self.approle.create_or_update_approle("once", token_policies=["app"], secret_id_num_uses=1)
        role_id = self.approle.read_role_id("once")["data"]["role_id"]
        secret_id = self.approle.generate_secret_id("once")["data"]["secret_id"]
        client = self.client_with(None)
        client.auth.approle.login(role_id=role_id, secret_id=secret_id)
        self.assertRaises(
            exceptions.InvalidRequest, client.auth.approle.login, role_id=role_id, secret_id=secret_id
        )
        self.approle.delete_role("once")

    def test_secret_ids_are_looked_up_and_destroyed(self):
        made = self.approle.generate_secret_id("app", metadata={"host": "two"})["data"]
        found = self.approle.read_secret_id("app", made["secret_id"])["data"]
        self.assertEqual((found["secret_id_accessor"], found["metadata"]),
                         (made["secret_id_accessor"], {"host": "two"}))
        found = self.approle.read_secret_id_accessor("app", made["secret_id_accessor"])["data"]
        self.assertEqual(found["metadata"], {"host": "two"})
        self.assertNotIn("secret_id", found)
        self.assertIn(made["secret_id_accessor"], self.approle.list_secret_id_accessors("app")["data"]["keys"])
        self.approle.destroy_secret_id("app", made["secret_id"])
        # A secret id that is not there is nothing, not a mistake; an accessor that is not there is one.
        self.assertEqual(self.approle.read_secret_id("app", made["secret_id"]).status_code, 204)
        self.assertRaises(
            exceptions.InvalidPath, self.approle.read_secret_id_accessor, "app", made["secret_id_accessor"]
        )
        other = self.approle.generate_secret_id("app")["data"]
        self.approle.destroy_secret_id_accessor("app", other["secret_id_accessor"])
        self.assertEqual(self.approle.read_secret_id("app", other["secret_id"]).status_code, 204)

    def test_a_secret_id_is_handed_over_wrapped(self):
        wrapped = self.approle.generate_secret_id("app", wrap_ttl="1m")
        self.assertIsNone(wrapped["data"])
        self.assertEqual(wrapped["wrap_info"]["creation_path"], "auth/approle/role/app/secret-id")
        opened = self.client_with(wrapped["wrap_info"]["token"]).sys.unwrap()
        self.assertIn("secret_id", opened["data"])


class Userpass(Case):
    def setUp(self):
        super().setUp()
        if "userpass/" not in self.client.sys.list_auth_methods()["data"]:
            self.client.sys.enable_auth_method("userpass")
        self.userpass = self.client.auth.userpass

    def test_logged_in(self):
        self.userpass.create_or_update_user("ada", "a good password", policies="one,two", token_ttl="10s")
        client = self.client_with(None)
        login = client.auth.userpass.login("ada", "a good password")["auth"]
        self.assertEqual((login["policies"], login["lease_duration"]), (["default", "one", "two"], 10))
        self.assertEqual(login["metadata"], {"username": "ada"})
        self.assertTrue(client.is_authenticated())
        self.assert_refused(
            exceptions.InvalidRequest, "invalid username or password", client.auth.userpass.login, "ada", "wrong"
        )
        # Whether somebody is known cannot be told from the answer.
        self.assert_refused(
            exceptions.InvalidRequest, "invalid username or password", client.auth.userpass.login, "bob", "wrong"
        )

    def test_managed(self):
        self.userpass.create_or_update_user("eve", "first", policies=["one"])
        self.assertIn("eve", self.userpass.list_user()["data"]["keys"])
        user = self.userpass.read_user("eve")["data"]
        self.assertEqual(user["token_policies"], ["one"])
        self.assertNotIn("first", json.dumps(user))
        self.userpass.update_password_on_user("eve", "second")
        self.assertRaises(exceptions.InvalidRequest, self.client_with(None).auth.userpass.login, "eve", "first")
        self.client_with(None).auth.userpass.login("eve", "second")
        self.userpass.delete_user("eve")
        self.assertRaises(exceptions.InvalidPath, self.userpass.read_user, "eve")
