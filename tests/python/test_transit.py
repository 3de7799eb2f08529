"""Encryption as a service."""

import base64
import hashlib

from hvac import exceptions

from case import Case, encoded

CIPHERS = ["aes256-gcm96", "chacha20-poly1305"]
SIGNERS = ["ed25519", "ecdsa-p256", "ecdsa-p384", "ecdsa-p521", "rsa-2048"]


class Transit(Case):
    def setUp(self):
        super().setUp()
        if "transit/" not in self.client.sys.list_mounted_secrets_engines()["data"]:
            self.client.sys.enable_secrets_engine("transit")
        self.transit = self.client.secrets.transit

    def made(self, name, **options):
        self.transit.create_key(name, **options)
        return name

    def plain(self, name, ciphertext, **options):
        return self.transit.decrypt_data(name, ciphertext=ciphertext, **options)["data"]["plaintext"]

    def cipher(self, name, text, **options):
        return self.transit.encrypt_data(name, plaintext=encoded(text), **options)["data"]["ciphertext"]

    def test_every_cipher(self):
        for kind in CIPHERS:
            name = self.made(f"cipher-{kind}", key_type=kind)
            ciphertext = self.cipher(name, "a word")
            self.assertTrue(ciphertext.startswith("vault:v1:"))
            self.assertNotEqual(ciphertext, self.cipher(name, "a word"))
            self.assertEqual(self.plain(name, ciphertext), encoded("a word"))
            bound = self.cipher(name, "bound", associated_data=encoded("context"))
            self.assertEqual(self.plain(name, bound, associated_data=encoded("context")), encoded("bound"))
            self.assertRaises(exceptions.InvalidRequest, self.plain, name, bound)
            self.assertRaises(exceptions.InvalidRequest, self.plain, name, bound, associated_data=encoded("other"))

    def test_read_and_listed(self):
        self.made("read", key_type="aes256-gcm96")
        key = self.transit.read_key("read")["data"]
        self.assertEqual((key["name"], key["type"], key["latest_version"]), ("read", "aes256-gcm96", 1))
        self.assertEqual((key["min_decryption_version"], key["deletion_allowed"], key["exportable"]), (1, False, False))
        self.assertEqual(list(key["keys"]), ["1"])
        self.assertIn("read", self.transit.list_keys()["data"]["keys"])
        self.assertRaises(exceptions.InvalidPath, self.transit.read_key, "absent")

    def test_rotated_rewrapped_trimmed(self):
        name = self.made("rotated")
        old = self.cipher(name, "old")
        self.transit.rotate_key(name)
        self.assertTrue(self.cipher(name, "x").startswith("vault:v2:"))
        self.assertTrue(self.cipher(name, "x", key_version=1).startswith("vault:v1:"))
        self.assertEqual(self.plain(name, old), encoded("old"))
        new = self.transit.rewrap_data(name, ciphertext=old)["data"]["ciphertext"]
        self.assertTrue(new.startswith("vault:v2:"))
        self.assertEqual(self.plain(name, new), encoded("old"))
        self.transit.update_key_configuration(name, min_decryption_version=2)
        self.assertRaises(exceptions.InvalidRequest, self.plain, name, old)
        # hvac itself wants the second to be larger than the first.
        self.transit.rotate_key(name)
        self.transit.update_key_configuration(name, min_decryption_version=2, min_encryption_version=3)
        self.assertRaises(exceptions.InvalidRequest, self.cipher, name, "x", key_version=2)
        self.transit.trim_key(name, min_version=2)
        self.assertEqual(sorted(self.transit.read_key(name)["data"]["keys"]), ["2", "3"])
        self.assertRaises(
            exceptions.InvalidRequest, self.transit.update_key_configuration, name, min_decryption_version=1
        )

    def test_deleted_only_when_allowed(self):
        name = self.made("deleted")
        self.assertRaises(exceptions.InvalidRequest, self.transit.delete_key, name)
        self.transit.update_key_configuration(name, deletion_allowed=True)
        self.assertEqual(self.transit.delete_key(name).status_code, 204)
        self.assertRaises(exceptions.InvalidPath, self.transit.read_key, name)

    def test_convergent_and_derived(self):
        name = self.made("convergent", derived=True, convergent_encryption=True)
        one = self.cipher(name, "same", context=encoded("a"))
        self.assertEqual(one, self.cipher(name, "same", context=encoded("a")))
        self.assertNotEqual(one, self.cipher(name, "same", context=encoded("b")))
        self.assertEqual(self.plain(name, one, context=encoded("a")), encoded("same"))
        self.assertRaises(exceptions.InvalidRequest, self.plain, name, one, context=encoded("b"))
        self.assertRaises(exceptions.InvalidRequest, self.cipher, name, "no context")

    def test_batches(self):
        name = self.made("batch")
        items = [{"plaintext": encoded(str(number))} for number in range(20)]
        sealed = self.transit.encrypt_data(name, batch_input=items)["data"]["batch_results"]
        self.assertEqual(len(sealed), 20)
        items = [{"ciphertext": item["ciphertext"]} for item in sealed]
        opened = self.transit.decrypt_data(name, batch_input=items)["data"]["batch_results"]
        self.assertEqual([item["plaintext"] for item in opened], [encoded(str(number)) for number in range(20)])
        items[3] = {"ciphertext": "vault:v1:AAAA"}
        refused = self.assert_refused(exceptions.InvalidRequest, "", self.transit.decrypt_data, name, batch_input=items)
        results = refused.json["data"]["batch_results"]
        self.assertIn("error", results[3])
        self.assertEqual(results[4]["plaintext"], encoded("4"))

    def test_data_keys(self):
        name = self.made("data-key")
        for bits in (128, 256, 512):
            key = self.transit.generate_data_key(name, key_type="plaintext", bits=bits)["data"]
            self.assertEqual(len(base64.b64decode(key["plaintext"])) * 8, bits)
            self.assertEqual(self.plain(name, key["ciphertext"]), key["plaintext"])
            wrapped = self.transit.generate_data_key(name, key_type="wrapped", bits=bits)["data"]
            self.assertNotIn("plaintext", wrapped)

    def test_signed_and_verified(self):
        for kind in SIGNERS:
            name = self.made(f"signer-{kind}", key_type=kind)
            signed = self.transit.sign_data(name, hash_input=encoded("words"))["data"]["signature"]
            self.assertTrue(signed.startswith("vault:v1:"))
            self.assertTrue(self.verified(name, "words", signature=signed), kind)
            self.assertFalse(self.verified(name, "other", signature=signed), kind)
        name = "signer-rsa-2048"
        for algorithm in ("pss", "pkcs1v15"):
            options = {"signature_algorithm": algorithm, "hash_algorithm": "sha2-512"}
            signed = self.transit.sign_data(name, hash_input=encoded("words"), **options)["data"]["signature"]
            self.assertTrue(self.verified(name, "words", signature=signed, **options))
        digest = base64.b64encode(hashlib.sha256(b"words").digest()).decode()
        name, options = "signer-ecdsa-p256", {"hash_algorithm": "sha2-256", "marshaling_algorithm": "jws"}
        signed = self.transit.sign_data(name, hash_input=digest, prehashed=True, **options)["data"]["signature"]
        self.assertTrue(self.verified(name, "words", signature=signed, **options))

    def verified(self, name, text, **options):
        return self.transit.verify_signed_data(name, hash_input=encoded(text), **options)["data"]["valid"]

    def test_hmac(self):
        name = self.made("hmac")
        for algorithm in ("sha2-224", "sha2-256", "sha2-384", "sha2-512"):
            made = self.transit.generate_hmac(name, hash_input=encoded("words"), algorithm=algorithm)["data"]["hmac"]
            self.assertTrue(made.startswith("vault:v1:"))
            self.assertTrue(self.verified(name, "words", hmac=made, hash_algorithm=algorithm))
            self.assertFalse(self.verified(name, "other", hmac=made, hash_algorithm=algorithm))

    def test_random_and_hashes(self):
        for form, decode in [("hex", bytes.fromhex), ("base64", base64.b64decode)]:
            made = self.transit.generate_random_bytes(n_bytes=32, output_format=form)["data"]["random_bytes"]
            self.assertEqual(len(decode(made)), 32)
        for algorithm, ours in [("sha2-224", hashlib.sha224), ("sha2-256", hashlib.sha256),
                                ("sha2-384", hashlib.sha384), ("sha2-512", hashlib.sha512)]:
            made = self.transit.hash_data(encoded("words"), algorithm=algorithm, output_format="hex")["data"]["sum"]
            self.assertEqual(made, ours(b"words").hexdigest())

    def test_exported(self):
        name = self.made("exported", exportable=True)
        keys = self.transit.export_key(name, key_type="encryption-key")["data"]["keys"]
        self.assertEqual(len(base64.b64decode(keys["1"])), 32)
        closed = self.made("closed")
        self.assertRaises(exceptions.InvalidRequest, self.transit.export_key, closed, key_type="encryption-key")

    def test_backed_up_and_restored(self):
        name = self.made("backup", exportable=True, allow_plaintext_backup=True)
        ciphertext = self.cipher(name, "kept")
        backup = self.transit.backup_key(name)["data"]["backup"]
        self.assertRaises(exceptions.InvalidRequest, self.transit.restore_key, backup)
        self.transit.restore_key(backup, name="restored")
        self.assertEqual(self.plain("restored", ciphertext), encoded("kept"))
        self.transit.restore_key(backup, force=True)
        self.assertEqual(self.plain(name, ciphertext), encoded("kept"))

    def test_mistakes_are_told(self):
        name = self.made("mistakes")
        self.assertRaises(
            exceptions.InvalidRequest, self.client.write_data, "transit/keys/bad", data={"type": "nonsense"}
        )
        for wrong in ["", "nonsense", "vault:v1:", "vault:v9:AAAA", "vault:v1:!!!!", "vault:v1:" + encoded("x" * 40)]:
            self.assertRaises(exceptions.InvalidRequest, self.plain, name, wrong)
        self.assertRaises(exceptions.InvalidRequest, self.transit.encrypt_data, name, plaintext="not base64!")
        self.assertRaises(exceptions.InvalidRequest, self.plain, "absent", "vault:v1:AAAA")
