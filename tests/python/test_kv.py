"""Secrets kept, versioned, listed and removed."""

from hvac import exceptions

from case import Case


class Version2(Case):
    def setUp(self):
        super().setUp()
        self.kv = self.client.secrets.kv.v2

    def test_kept_and_read(self):
        made = self.kv.create_or_update_secret("kept", secret={"word": "open", "n": 2**53 + 1, "deep": {"x": [1]}})
        self.assertEqual(made["data"]["version"], 1)
        read = self.kv.read_secret_version("kept", raise_on_deleted_version=True)
        self.assertEqual(read["data"]["data"], {"word": "open", "n": 2**53 + 1, "deep": {"x": [1]}})
        metadata = read["data"]["metadata"]
        self.assertEqual((metadata["version"], metadata["destroyed"], metadata["deletion_time"]), (1, False, ""))
        self.assertIsNone(metadata["custom_metadata"])

    def test_names_with_odd_characters(self):
        for name in ["with space", "umlaut-ü", "a+b", "dir/http://example.com", "100%", "q?x=1", "a#b"]:
            self.kv.create_or_update_secret(name, secret={"name": name})
            read = self.kv.read_secret_version(name, raise_on_deleted_version=True)
            self.assertEqual(read["data"]["data"], {"name": name})

    def test_absent(self):
        gone = self.assert_refused(
            exceptions.InvalidPath, "None, on", self.kv.read_secret_version, "absent", raise_on_deleted_version=True
        )
        self.assertEqual(gone.json, {"errors": []})
        self.assertRaises(exceptions.InvalidPath, self.kv.list_secrets, "absent")
        self.assertRaises(exceptions.InvalidPath, self.kv.read_secret_metadata, "absent")

    def test_versions(self):
        for number in range(1, 4):
            self.kv.create_or_update_secret("versions", secret={"n": number})
        for number in range(1, 4):
            read = self.kv.read_secret_version("versions", version=number, raise_on_deleted_version=True)
            self.assertEqual(read["data"]["data"]["n"], number)
        metadata = self.kv.read_secret_metadata("versions")["data"]
        self.assertEqual((metadata["current_version"], metadata["oldest_version"]), (3, 0))
        self.assertEqual(sorted(metadata["versions"]), ["1", "2", "3"])

    def test_check_and_set(self):
        self.kv.create_or_update_secret("cas", secret={"n": 1}, cas=0)
        self.assert_refused(
            exceptions.InvalidRequest,
            "check-and-set parameter did not match the current version",
            self.kv.create_or_update_secret,
            "cas",
            secret={"n": 2},
            cas=0,
        )
        self.kv.create_or_update_secret("cas", secret={"n": 2}, cas=1)
        self.kv.update_metadata("cas", cas_required=True)
        self.assert_refused(
            exceptions.InvalidRequest,
            "check-and-set parameter required",
            self.kv.create_or_update_secret,
            "cas",
            secret={"n": 3},
        )

    def test_deleted_and_back(self):
        self.kv.create_or_update_secret("deleted", secret={"n": 1})
        self.assertEqual(self.kv.delete_latest_version_of_secret("deleted").status_code, 204)
        gone = self.assert_refused(
            exceptions.InvalidPath, "", self.kv.read_secret_version, "deleted", raise_on_deleted_version=True
        )
        self.assertIsNone(gone.json["data"]["data"])
        # hvac answers with the body of the 404 when it is asked to.
        shown = self.kv.read_secret_version("deleted", raise_on_deleted_version=False)
        self.assertNotEqual(shown["data"]["metadata"]["deletion_time"], "")
        self.assertEqual(self.kv.undelete_secret_versions("deleted", [1]).status_code, 204)
        read = self.kv.read_secret_version("deleted", raise_on_deleted_version=True)
        self.assertEqual(read["data"]["data"], {"n": 1})

    def test_destroyed(self):
        for number in range(3):
            self.kv.create_or_update_secret("destroyed", secret={"n": number})
        self.assertEqual(self.kv.delete_secret_versions("destroyed", [1]).status_code, 204)
        self.assertEqual(self.kv.destroy_secret_versions("destroyed", [1, 2]).status_code, 204)
        self.kv.undelete_secret_versions("destroyed", [1, 2])
        for number in (1, 2):
            gone = self.assert_refused(
                exceptions.InvalidPath,
                "",
                self.kv.read_secret_version,
                "destroyed",
                version=number,
                raise_on_deleted_version=True,
            )
            self.assertTrue(gone.json["data"]["metadata"]["destroyed"])
            self.assertIsNone(gone.json["data"]["data"])
        versions = self.kv.read_secret_metadata("destroyed")["data"]["versions"]
        self.assertEqual([versions[number]["destroyed"] for number in "123"], [True, True, False])

    def test_patched_by_read_and_write(self):
        self.assert_refused(exceptions.InvalidPath, "patch only works on existing data", self.kv.patch, "patched", {})
        self.kv.create_or_update_secret("patched", secret={"a": 1, "b": 2})
        self.kv.patch("patched", secret={"b": 3, "c": 4})
        read = self.kv.read_secret_version("patched", raise_on_deleted_version=True)
        self.assertEqual(read["data"]["data"], {"a": 1, "b": 3, "c": 4})

    def test_listed(self):
        for name in ["list/b", "list/a", "list/deep/er", "list/deep/est/one"]:
            self.kv.create_or_update_secret(name, secret={})
        self.assertEqual(self.kv.list_secrets("list")["data"]["keys"], ["a", "b", "deep/"])
        self.assertEqual(self.kv.list_secrets("list/deep/")["data"]["keys"], ["er", "est/"])
        self.assertIn("list/", self.kv.list_secrets("")["data"]["keys"])

    def test_metadata(self):
        self.kv.update_metadata(
            "meta", max_versions=2, delete_version_after="720h0m0s", custom_metadata={"owner": "team"}
        )
        for number in range(3):
            self.kv.create_or_update_secret("meta", secret={"n": number})
        metadata = self.kv.read_secret_metadata("meta")["data"]
        self.assertEqual(metadata["custom_metadata"], {"owner": "team"})
        self.assertEqual((metadata["max_versions"], metadata["delete_version_after"]), (2, "720h0m0s"))
        self.assertEqual(sorted(metadata["versions"]), ["2", "3"])
        self.assertEqual(self.kv.delete_metadata_and_all_versions("meta").status_code, 204)
        self.assertRaises(exceptions.InvalidPath, self.kv.read_secret_metadata, "meta")

    def test_configured(self):
        self.client.sys.enable_secrets_engine("kv", path="configured", options={"version": "2"})
        self.kv.configure(max_versions=3, cas_required=True, mount_point="configured")
        config = self.kv.read_configuration(mount_point="configured")["data"]
        self.assertEqual((config["max_versions"], config["cas_required"]), (3, True))
        self.kv.configure(max_versions=5, cas_required=False, delete_version_after="1h", mount_point="configured")
        config = self.kv.read_configuration(mount_point="configured")["data"]
        self.assertEqual(config, {"max_versions": 5, "cas_required": False, "delete_version_after": "1h0m0s"})


class Version1(Case):
    def setUp(self):
        super().setUp()
        if "kv1/" not in self.client.sys.list_mounted_secrets_engines()["data"]:
            self.client.sys.enable_secrets_engine("kv", path="kv1", options={"version": "1"})
        self.kv = self.client.secrets.kv.v1

    def test_kept_listed_and_deleted(self):
        made = self.kv.create_or_update_secret("one/two", secret={"a": 1}, method="POST", mount_point="kv1")
        self.assertEqual(made.status_code, 204)
        self.kv.create_or_update_secret("one/two", secret={"a": 2}, method="PUT", mount_point="kv1")
        # Without a method hvac looks whether it is there.
        self.kv.create_or_update_secret("one/three", secret={"a": 3}, mount_point="kv1")
        read = self.kv.read_secret("one/two", mount_point="kv1")
        self.assertEqual((read["data"], read["lease_duration"]), ({"a": 2}, 2764800))
        self.assertEqual(self.kv.list_secrets("one", mount_point="kv1")["data"]["keys"], ["three", "two"])
        self.assertEqual(self.kv.delete_secret("one/two", mount_point="kv1").status_code, 204)
        self.assertRaises(exceptions.InvalidPath, self.kv.read_secret, "one/two", mount_point="kv1")

    def test_by_path(self):
        self.client.write_data("kv1/path", data={"path": "foo", "wrap_ttl": "bar"})
        self.assertEqual(self.client.read("kv1/path")["data"], {"path": "foo", "wrap_ttl": "bar"})
        self.assertIn("path", self.client.list("kv1")["data"]["keys"])
        self.client.delete("kv1/path")
        self.assertIsNone(self.client.read("kv1/path"))
        self.assertIsNone(self.client.list("kv1/none"))
