"""Certificates."""

from hvac import exceptions

from case import Case


class Pki(Case):
    def setUp(self):
        super().setUp()
        for mount in ["pki", "int"]:
            if f"{mount}/" not in self.client.sys.list_mounted_secrets_engines()["data"]:
                self.client.sys.enable_secrets_engine("pki", path=mount, config={"max_lease_ttl": "87600h"})
        self.pki = self.client.secrets.pki
        if not self.pki.read_ca_certificate():
            self.pki.generate_root("internal", "Root", {"key_type": "ec", "ttl": "8760h"})

    def role(self, name, **options):
        options = {"key_type": "ec", "allowed_domains": "example.com", "allow_subdomains": True, **options}
        self.pki.create_or_update_role(name, options)
        return name

    def test_authority_for_everybody(self):
        guest = self.client_with(None).secrets.pki
        self.assertTrue(guest.read_ca_certificate().startswith("-----BEGIN CERTIFICATE-----"))
        self.assertIn("BEGIN CERTIFICATE", guest.read_ca_certificate_chain())
        self.assertIn("BEGIN X509 CRL", guest.read_crl())
        self.assertRaises(exceptions.Forbidden, guest.list_certificates)

    def test_roles(self):
        name = self.role("web", ttl="1h", max_ttl="72h", ou=["one", "two"])
        role = self.pki.read_role(name)["data"]
        self.assertEqual((role["ttl"], role["max_ttl"], role["ou"]), (3600, 259200, ["one", "two"]))
        self.assertEqual((role["allowed_domains"], role["allow_ip_sans"]), (["example.com"], True))
        self.assertIn(name, self.pki.list_roles()["data"]["keys"])
        self.pki.delete_role(name)
        self.assertRaises(exceptions.InvalidPath, self.pki.read_role, name)

    def test_issued_read_revoked(self):
        name = self.role("issue")
        made = self.pki.generate_certificate(name, "a.example.com", {"alt_names": "b.example.com", "ttl": "1h"})["data"]
        self.assertEqual(made["private_key_type"], "ec")
        self.assertEqual(made["ca_chain"], [made["issuing_ca"]])
        serial = made["serial_number"]
        self.assertEqual(self.pki.read_certificate(serial)["data"]["certificate"], made["certificate"])
        self.assertIn(serial, self.pki.list_certificates()["data"]["keys"])
        before = self.pki.read_crl()
        revoked = self.pki.revoke_certificate(serial)["data"]
        self.assertGreater(revoked["revocation_time"], 0)
        self.assertEqual(self.pki.read_certificate(serial)["data"]["revocation_time"], revoked["revocation_time"])
        self.assertNotEqual(self.pki.read_crl(), before)
        self.assertTrue(self.pki.rotate_crl()["data"]["success"])
        self.assert_refused(
            exceptions.InvalidRequest, "not allowed by this role", self.pki.generate_certificate, name, "a.example.org"
        )
        self.assert_refused(
            exceptions.InvalidRequest, "unknown role", self.pki.generate_certificate, "absent", "a.example.com"
        )

    def test_intermediate(self):
        asked = self.pki.generate_intermediate("internal", "Middle", {"key_type": "ec"}, mount_point="int")
        signed = self.pki.sign_intermediate(asked["data"]["csr"], "Middle", {"ttl": "4000h"})["data"]
        self.pki.set_signed_intermediate(signed["certificate"], mount_point="int")
        self.assertEqual(self.pki.read_ca_certificate(mount_point="int"), signed["certificate"])
        self.pki.create_or_update_role("any", {"key_type": "ec", "allow_any_name": True}, mount_point="int")
        made = self.pki.generate_certificate("any", "a.example.com", mount_point="int")["data"]
        self.assertEqual(made["issuing_ca"], signed["certificate"])
        csr = self.pki.generate_intermediate("internal", "leaf.example.com", {"key_type": "ec"})["data"]["csr"]
        made = self.pki.sign_certificate(self.role("sign"), csr, "leaf.example.com")["data"]
        self.assertNotIn("private_key", made)
        self.assertIn("certificate", self.pki.sign_verbatim(csr)["data"])

    def test_issuers(self):
        listed = self.pki.list_issuers()["data"]
        ref = listed["keys"][0]
        self.assertIn(ref, listed["key_info"])
        shown = self.pki.read_issuer(ref)["data"]
        self.assertEqual((shown["issuer_id"], shown["revoked"]), (ref, False))
        changed = self.pki.update_issuer(ref, {"issuer_name": "first", "leaf_not_after_behavior": "truncate"})["data"]
        self.assertEqual(changed["issuer_name"], "first")
        self.assertEqual(self.pki.read_issuer("first")["data"]["leaf_not_after_behavior"], "truncate")

    def test_configured(self):
        self.pki.set_urls({"ocsp_servers": ["http://127.0.0.1:8200/v1/pki/ocsp"]})
        self.assertEqual(self.pki.read_urls()["data"]["ocsp_servers"], ["http://127.0.0.1:8200/v1/pki/ocsp"])
        self.pki.set_crl_configuration(expiry="24h", disable=False)
        self.assertEqual(self.pki.read_crl_configuration()["data"]["expiry"], "24h")
        self.pki.tidy({"tidy_cert_store": True})
