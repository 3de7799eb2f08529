"""A day of an operator and of ann: she is known, shows a second factor, and is given what her group may have."""

import base64
import hashlib
import hmac
import os
import struct
import time
from urllib.parse import parse_qs, urlparse

from hvac import exceptions

from case import Case

CREATION = "CREATE ROLE \"{{name}}\" WITH LOGIN PASSWORD '{{password}}' VALID UNTIL '{{expiration}}'"
RULES = """
path "database/creds/reports" { capabilities = ["read"] }
path "pki/issue/web" { capabilities = ["update"] }
path "sys/leases/renew" { capabilities = ["update"] }
path "secret/data/people/{{identity.entity.name}}" { capabilities = ["create", "read", "update"] }
"""


def code(address):
    """The code that an application shows now for what it read from this address (RFC 6238)."""
    secret = parse_qs(urlparse(address).query)["secret"][0]
    key = base64.b32decode(secret + "=" * (-len(secret) % 8))
    digest = hmac.new(key, struct.pack(">Q", int(time.time()) // 30), hashlib.sha1).digest()
    at = digest[-1] & 15
    return f"{(struct.unpack('>I', digest[at:at + 4])[0] & 0x7FFFFFFF) % 1_000_000:06}"


class Day(Case):
    def set_up_engines(self):
        for engine in ["database", "pki"]:
            self.client.sys.enable_secrets_engine(engine)
        self.client.secrets.database.configure(
            name="main", plugin_name="postgresql-database-plugin", allowed_roles="*",
            connection_url=os.environ["TEST_POSTGRES"], username="postgres",
            password=os.environ["TEST_POSTGRES_PASSWORD"],
        )
        self.client.secrets.database.create_role(
            name="reports", db_name="main", creation_statements=[CREATION], default_ttl="1h", max_ttl="24h"
        )
        pki = self.client.secrets.pki
        pki.generate_root("internal", "Example CA")
        pki.create_or_update_role(
            "web", {"allowed_domains": "example.com", "allow_subdomains": True, "ttl": "72h"}
        )

    def set_up_people(self):
        """ann, her second factor, and her group. Answers with her entity, and the address her application reads."""
        self.client.sys.enable_auth_method("userpass")
        accessor = self.client.sys.list_auth_methods()["data"]["userpass/"]["accessor"]
        self.client.auth.userpass.create_or_update_user("ann", "a good password")
        identity = self.client.secrets.identity
        ann = identity.create_or_update_entity("ann", metadata={"team": "reports"})["data"]["id"]
        identity.create_or_update_entity_alias("ann", ann, accessor)
        self.client.sys.create_or_update_policy("reports", RULES)
        identity.create_or_update_group("analysts", policies=["reports"], member_entity_ids=[ann])
        made = self.client.write_data("identity/mfa/method/totp", data={"issuer": "Keyward", "method_name": "app"})
        method = made["data"]["method_id"]
        self.client.write_data(
            "identity/mfa/login-enforcement/people",
            data={"mfa_method_ids": [method], "auth_method_accessors": [accessor]},
        )
        wish = {"method_id": method, "entity_id": ann}
        url = self.client.write_data("identity/mfa/method/totp/admin-generate", data=wish)["data"]["url"]
        return ann, method, url

    def log_in(self, method, url):
        ann = self.client_with(None)
        asked = ann.auth.userpass.login("ann", "a good password", use_token=False)["auth"]
        self.assertEqual(asked["client_token"], "")
        request = asked["mfa_requirement"]["mfa_request_id"]
        guess = {"mfa_request_id": request, "mfa_payload": {method: ["000000"]}}
        self.assertRaises(exceptions.VaultError, ann.write_data, "sys/mfa/validate", data=guess)
        shown = {"mfa_request_id": request, "mfa_payload": {method: [code(url)]}}
        auth = ann.write_data("sys/mfa/validate", data=shown)["auth"]
        ann.token = auth["client_token"]
        self.addCleanup(ann.adapter.close)
        return ann, auth

    def test_from_morning_to_night(self):
        self.set_up_engines()
        entity, method, url = self.set_up_people()
        ann, auth = self.log_in(method, url)
        self.assertEqual((auth["entity_id"], auth["identity_policies"]), (entity, ["reports"]))
        ann.secrets.kv.v2.create_or_update_secret("people/ann", secret={"note": "hers"})
        self.assert_refused(
            exceptions.Forbidden, "permission denied", ann.secrets.kv.v2.read_secret_metadata, "people/bob"
        )
        issued = ann.secrets.pki.generate_certificate("web", "www.example.com")["data"]
        self.assertTrue(issued["certificate"].startswith("-----BEGIN CERTIFICATE-----"))
        made = ann.secrets.database.generate_credentials("reports")
        self.assertTrue(made["data"]["username"].startswith("v-userpass-reports-"))
        self.assertEqual(ann.sys.renew_lease(made["lease_id"], increment=7200)["lease_duration"], 7200)
        self.assert_refused(
            exceptions.Forbidden, "permission denied", ann.sys.revoke_lease, made["lease_id"]
        )
        leases = self.client.sys
        self.assertEqual(len(leases.list_leases("database/creds/reports")["data"]["keys"]), 1)
        self.assertTrue(leases.read_lease(made["lease_id"])["data"]["renewable"])
        leases.revoke_lease(made["lease_id"])
        self.assert_refused(exceptions.InvalidRequest, "invalid lease", leases.read_lease, made["lease_id"])
        self.client.secrets.pki.revoke_certificate(issued["serial_number"])
        for _ in range(3):
            ann.secrets.database.generate_credentials("reports")
        leases.revoke_prefix("database/creds/reports")
        self.assertRaises(exceptions.InvalidPath, leases.list_leases, "database/creds/reports")
        ann.secrets.database.generate_credentials("reports")
        self.client.secrets.identity.update_entity(entity, disabled=True)
        self.assertRaises(exceptions.Forbidden, ann.secrets.database.generate_credentials, "reports")
        self.client.secrets.identity.update_entity(entity, disabled=False)
        ann.auth.token.revoke_self()
        self.assertRaises(exceptions.Forbidden, ann.auth.token.lookup_self)
