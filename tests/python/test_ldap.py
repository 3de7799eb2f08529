"""Logins by LDAP."""

import os

from hvac import exceptions

from case import Case


class Ldap(Case):
    def setUp(self):
        super().setUp()
        if "ldap/" not in self.client.sys.list_auth_methods()["data"]:
            self.client.sys.enable_auth_method("ldap")
        self.ldap = self.client.auth.ldap
        self.ldap.configure(
            url=os.environ["TEST_LDAP_URL"],
            certificate=os.environ["TEST_LDAP_CA"],
            bind_dn="cn=keyward,dc=example,dc=com",
            bind_pass="service-password",
            user_dn="ou=users,dc=example,dc=com",
            user_attr="uid",
            group_dn="ou=groups,dc=example,dc=com",
            group_attr="cn",
        )

    def test_logged_in(self):
        self.ldap.create_or_update_group("ops", policies=["p-ops"])
        client = self.client_with(None)
        login = client.auth.ldap.login("ada", "ada-password")["auth"]
        self.assertEqual((login["policies"], login["metadata"]), (["default", "p-ops"], {"username": "ada"}))
        self.assertTrue(client.is_authenticated())
        self.assert_refused(
            exceptions.InvalidRequest, "failed to bind as user", client.auth.ldap.login, "ada", "wrong"
        )

    def test_managed(self):
        config = self.ldap.read_configuration()["data"]
        self.assertEqual((config["userattr"], config["binddn"]), ("uid", "cn=keyward,dc=example,dc=com"))
        self.assertNotIn("bindpass", config)
        self.ldap.create_or_update_user("eve", policies=["one"], groups=["dev", "ops"])
        self.assertEqual(self.ldap.read_user("eve")["data"], {"policies": ["one"], "groups": "dev,ops"})
        self.assertIn("eve", self.ldap.list_users()["data"]["keys"])
        self.ldap.delete_user("eve")
        self.assertRaises(exceptions.InvalidPath, self.ldap.read_user, "eve")
        self.ldap.create_or_update_group("gone", policies=["one"])
        self.assertEqual(self.ldap.read_group("gone")["data"]["policies"], ["one"])
        self.ldap.delete_group("gone")
        self.assertRaises(exceptions.InvalidPath, self.ldap.read_group, "gone")
