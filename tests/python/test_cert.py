"""Logins with TLS certificates."""

import os
import pathlib

from hvac import Client, exceptions

from case import Case


class Cert(Case):
    def setUp(self):
        super().setUp()
        self.folder = pathlib.Path(os.environ["TEST_FILES"])
        if "cert/" not in self.client.sys.list_auth_methods()["data"]:
            self.client.sys.enable_auth_method("cert")
        self.cert = self.client.auth.cert
        self.cert.create_ca_certificate_role(
            "web",
            certificate=(self.folder / "ca.crt").read_text(),
            allowed_dns_sans="*.example.com",
            token_policies=["one"],
            token_ttl=600,
        )

    def log_in(self, name, role=""):
        client = Client(url=os.environ["TEST_TLS_ADDR"], verify=str(self.folder / "ca.crt"))
        self.addCleanup(client.adapter.close)
        client.auth.cert.login(
            name=role,
            cert_pem=str(self.folder / f"{name}.crt"),
            key_pem=str(self.folder / f"{name}.key"),
        )
        return client

    def test_logged_in(self):
        client = self.log_in("client", role="web")
        found = client.auth.token.lookup_self()["data"]
        self.assertEqual(found["policies"], ["default", "one"])
        self.assertEqual((found["meta"]["cert_name"], found["meta"]["common_name"]), ("web", "client"))
        self.assertEqual(self.log_in("client").auth.token.lookup_self()["data"]["meta"]["cert_name"], "web")

    def test_not_logged_in(self):
        self.assert_refused(exceptions.InvalidRequest, "invalid certificate", self.log_in, "stranger")

    def test_managed(self):
        self.assertEqual(self.cert.list_certificate_roles()["data"]["keys"], ["web"])
        role = self.cert.read_ca_certificate_role("web")["data"]
        self.assertEqual((role["allowed_dns_sans"], role["token_ttl"]), (["*.example.com"], 600))
        self.cert.configure_tls_certificate(disable_binding=True)
        self.cert.create_ca_certificate_role("gone", certificate=(self.folder / "ca.crt").read_text())
        self.cert.delete_certificate_role("gone")
        self.assertRaises(exceptions.InvalidPath, self.cert.read_ca_certificate_role, "gone")
