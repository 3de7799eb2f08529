"""Policies, mounts, auth methods, audit devices, capabilities, health, keys, wrapping."""

import json
import os

from hvac import exceptions

from case import Case

POLICY = 'path "secret/data/team/*" {\n  capabilities = ["create", "read"]\n}\n'


class Policies(Case):
    def test_kept_as_written(self):
        sys = self.client.sys
        self.assertEqual(sys.create_or_update_policy("text", POLICY).status_code, 204)
        self.assertEqual(sys.read_policy("text")["data"]["rules"], POLICY)
        self.assertEqual(self.client.get_policy("text"), POLICY)
        self.assertEqual(sys.read_acl_policy("text")["data"], {"name": "text", "policy": POLICY})
        self.assertIn("text", sys.list_policies()["data"]["policies"])
        self.assertIn("text", sys.list_policies()["policies"])
        self.assertIn("text", sys.list_acl_policies()["data"]["keys"])
        self.assertEqual(sys.delete_policy("text").status_code, 204)
        self.assertRaises(exceptions.InvalidPath, sys.read_policy, "text")
        self.assertIsNone(self.client.get_policy("text"))

    def test_from_json(self):
        rules = {"path": {"secret/data/json": {"capabilities": ["read"]}}}
        self.client.sys.create_or_update_acl_policy("json", rules)
        self.assertEqual(json.loads(self.client.sys.read_acl_policy("json")["data"]["policy"]), rules)
        capabilities = self.limited("json").sys.get_capabilities(["secret/data/json"])
        self.assertEqual(capabilities["secret/data/json"], ["read"])
        self.client.sys.delete_acl_policy("json")

    def test_built_in(self):
        policies = self.client.sys.list_policies()["data"]["policies"]
        self.assertLessEqual({"default", "root"}, set(policies))
        for name in ("root", "default"):
            self.assertRaises(exceptions.InvalidRequest, self.client.sys.delete_policy, name)
        self.assertRaises(exceptions.InvalidRequest, self.client.sys.create_or_update_policy, "root", POLICY)

    def test_mistakes_are_told(self):
        for wrong in ['path "x" {', 'path "x" { capabilities = ["fly"] }', 'pat "x" { capabilities = ["read"] }']:
            self.assertRaises(exceptions.InvalidRequest, self.client.sys.create_or_update_policy, "wrong", wrong)
        self.assertRaises(exceptions.InvalidPath, self.client.sys.read_policy, "wrong")

    def test_capabilities(self):
        self.client.sys.create_or_update_policy("caps", POLICY)
        token = self.client.auth.token.create(policies=["caps"])["auth"]
        paths = ["secret/data/team/a", "secret/data/other"]
        answers = [
            self.client.sys.get_capabilities(paths, token=token["client_token"]),
            self.client.sys.get_capabilities(paths, accessor=token["accessor"]),
            self.client_with(token["client_token"]).sys.get_capabilities(paths),
        ]
        for answer in answers:
            self.assertEqual(answer["secret/data/team/a"], ["create", "read"])
            self.assertEqual(answer["secret/data/other"], ["deny"])
            self.assertEqual(answer["data"]["secret/data/other"], ["deny"])
        self.assertEqual(self.client.sys.get_capabilities(["x"])["capabilities"], ["root"])


class Mounts(Case):
    def test_enabled_tuned_moved_disabled(self):
        sys = self.client.sys
        sys.enable_secrets_engine("kv", path="here", description="words", options={"version": "1"})
        mounted = sys.list_mounted_secrets_engines()["data"]["here/"]
        self.assertEqual((mounted["type"], mounted["description"]), ("kv", "words"))
        self.assertEqual(mounted["options"], {"version": "1"})
        self.assertEqual(sys.retrieve_mount_option("here", "version"), "1")
        self.client.write_data("here/a", data={"x": 1})
        sys.tune_mount_configuration("here", default_lease_ttl="3600s", max_lease_ttl="8600s", description="tuned")
        tuning = sys.read_mount_configuration("here")["data"]
        self.assertEqual((tuning["default_lease_ttl"], tuning["max_lease_ttl"]), (3600, 8600))
        self.assertEqual(tuning["description"], "tuned")
        self.assertEqual(self.client.read("here/a")["lease_duration"], 3600)
        sys.move_backend("here", "there")
        self.assertEqual(self.client.read("there/a")["data"], {"x": 1})
        self.assertNotIn("here/", sys.list_mounted_secrets_engines()["data"])
        sys.disable_secrets_engine("there")
        self.assertNotIn("there/", sys.list_mounted_secrets_engines()["data"])
        self.assertRaises(exceptions.InvalidPath, self.client.secrets.kv.v1.read_secret, "a", mount_point="there")

    def test_mistakes_are_told(self):
        sys = self.client.sys
        self.assert_refused(exceptions.InvalidRequest, "catalog", sys.enable_secrets_engine, "nonsense")
        self.assert_refused(exceptions.InvalidRequest, "in use", sys.enable_secrets_engine, "kv", path="secret")
        self.assertRaises(exceptions.InvalidRequest, sys.disable_secrets_engine, "sys")
        self.assertRaises(exceptions.InvalidRequest, sys.move_backend, "absent", "elsewhere")

    def test_auth_methods(self):
        sys = self.client.sys
        self.assertIn("token/", sys.list_auth_methods()["data"])
        sys.enable_auth_method("userpass", path="people", description="words")
        self.assertEqual(sys.list_auth_methods()["data"]["people/"]["type"], "userpass")
        sys.tune_auth_method("people", default_lease_ttl="1h", max_lease_ttl="2h", description="tuned")
        tuning = sys.read_auth_method_tuning("people")["data"]
        self.assertEqual((tuning["default_lease_ttl"], tuning["max_lease_ttl"]), (3600, 7200))
        self.assertEqual(tuning["description"], "tuned")
        self.assertEqual(sys.disable_auth_method("people").status_code, 204)
        self.assertNotIn("people/", sys.list_auth_methods()["data"])
        self.assertRaises(exceptions.InvalidRequest, sys.enable_auth_method, "nonsense")


class Audit(Case):
    def test_enabled_hashed_disabled(self):
        sys = self.client.sys
        self.assertEqual(sys.list_enabled_audit_devices()["data"], {})
        log = os.path.join(os.environ["TEST_FOLDER"], "audit.log")
        sys.enable_audit_device("file", description="words", options={"file_path": log}, path="tmp")
        device = sys.list_enabled_audit_devices()["data"]["tmp/"]
        self.assertEqual((device["type"], device["description"]), ("file", "words"))
        self.assertEqual(device["options"]["file_path"], log)
        hashed = sys.calculate_hash("tmp", "a canary word")["data"]["hash"]
        self.assertRegex(hashed, "^hmac-sha256:[0-9a-f]{64}$")
        self.client.secrets.kv.v2.create_or_update_secret("audited", secret={"word": "a canary word"})
        with open(log, encoding="utf-8") as lines:
            records = [json.loads(line) for line in lines]
        self.assertTrue(any(hashed in json.dumps(record) for record in records))
        self.assertFalse(any("a canary word" in json.dumps(record) for record in records))
        self.assertLessEqual({"request", "response"}, {record["type"] for record in records})
        self.assertEqual(sys.disable_audit_device("tmp").status_code, 204)
        self.assertEqual(sys.list_enabled_audit_devices()["data"], {})
        self.assertRaises(exceptions.InvalidRequest, sys.calculate_hash, "tmp", "x")

    def test_mistakes_are_told(self):
        sys = self.client.sys
        self.assertRaises(exceptions.InvalidRequest, sys.enable_audit_device, "nonsense")
        self.assertRaises(exceptions.InvalidRequest, sys.enable_audit_device, "file")
        absent = {"file_path": "/dev/null/audit.log"}
        self.assertRaises(exceptions.InvalidRequest, sys.enable_audit_device, "file", options=absent)
        self.assertEqual(sys.list_enabled_audit_devices()["data"], {})


class Status(Case):
    def test_health(self):
        self.assertEqual(self.client.sys.read_health_status(method="HEAD").status_code, 200)
        self.assertEqual(self.client.sys.read_health_status(method="GET", active_code=429).status_code, 429)
        # hvac answers with the body of a 200, and with the response of anything else.
        health = self.client.sys.read_health_status(method="GET")
        self.assertEqual((health["initialized"], health["sealed"], health["standby"]), (True, False, False))
        self.assertTrue(self.client_with(None).sys.is_initialized())
        self.assertFalse(self.client_with(None).sys.is_sealed())

    def test_leader(self):
        status = self.client.sys.read_leader_status()
        self.assertFalse(status["ha_enabled"])
        self.assertTrue(status["is_self"])
        self.assertFalse(self.client.ha_status["ha_enabled"])

    def test_seal_status(self):
        status = self.client.seal_status
        self.assertEqual((status["sealed"], status["t"], status["n"], status["progress"]), (False, 1, 1, 0))
        self.assertEqual(status["type"], "shamir")

    def test_rotated(self):
        before = self.client.sys.get_encryption_key_status()["data"]["term"]
        self.assertEqual(self.client.sys.rotate_encryption_key().status_code, 204)
        after = self.client.sys.get_encryption_key_status()
        self.assertEqual((after["data"]["term"], after["term"]), (before + 1, before + 1))
        self.client.secrets.kv.v2.create_or_update_secret("rotated", secret={"a": 1})

    def test_read_only_paths_explain_themselves(self):
        help_text = self.client.adapter.get("/v1/sys/policy", params={"help": 1})
        self.assertIn("help", help_text)


class Wrapping(Case):
    def test_wrapped_and_unwrapped(self):
        self.client.secrets.kv.v2.create_or_update_secret("wrapped", secret={"word": "open"})
        wrapped = self.client.read("secret/data/wrapped", wrap_ttl="10s")["wrap_info"]
        self.assertEqual((wrapped["ttl"], wrapped["creation_path"]), (10, "secret/data/wrapped"))
        opened = self.client.sys.unwrap(token=wrapped["token"])
        self.assertEqual(opened["data"]["data"], {"word": "open"})
        self.assert_refused(
            exceptions.InvalidRequest,
            "wrapping token is not valid or does not exist",
            self.client.sys.unwrap,
            token=wrapped["token"],
        )

    def test_by_the_wrapping_token_itself(self):
        made = self.client.auth.token.create(policies=["default"], ttl="1h", wrap_ttl="1m")
        self.assertIsNone(made["auth"])
        client = self.client_with(made["wrap_info"]["token"])
        opened = client.sys.unwrap()
        self.assertEqual(opened["auth"]["accessor"], made["wrap_info"]["wrapped_accessor"])
        self.assertTrue(self.client_with(opened["auth"]["client_token"]).is_authenticated())
        self.assertRaises(exceptions.InvalidRequest, client.sys.unwrap)

    def test_any_payload(self):
        wrapped = self.client.sys.wrap(payload={"a": "b"}, ttl=60)["wrap_info"]
        self.assertEqual(self.client.sys.unwrap(wrapped["token"])["data"], {"a": "b"})

    def test_a_wrapping_token_opens_nothing_else(self):
        self.client.secrets.kv.v2.create_or_update_secret("closed", secret={"a": 1})
        wrapped = self.client.read("secret/data/closed", wrap_ttl="1m")["wrap_info"]
        client = self.client_with(wrapped["token"])
        self.assertRaises(exceptions.Forbidden, client.secrets.kv.v2.read_secret_metadata, "closed")

    def test_revoked_before_it_is_opened(self):
        wrapped = self.client.sys.wrap(payload={"a": "b"}, ttl=60)["wrap_info"]
        self.client.auth.token.revoke_accessor(wrapped["accessor"])
        self.assertRaises(exceptions.InvalidRequest, self.client.sys.unwrap, wrapped["token"])


class Errors(Case):
    def test_kinds(self):
        kv = self.client.secrets.kv.v2
        self.assertRaises(exceptions.InvalidPath, self.client.adapter.get, "/v1/no/such/mount")
        self.assertRaises(exceptions.InvalidRequest, self.client.adapter.post, "/v1/secret/data/x", json={"no": "data"})
        self.assertRaises(exceptions.UnexpectedError, self.client.adapter.delete, "/v1/secret/config")
        self.assertRaises(exceptions.Forbidden, self.client_with("bad").sys.list_policies)
        refused = self.assert_refused(
            exceptions.InvalidRequest, "check-and-set", kv.create_or_update_secret, "x", secret={}, cas="many"
        )
        self.assertEqual(len(refused.errors), 1)
