"""SSH certificates."""

from hvac import exceptions

from case import Case

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIKqjbPDRV4BHzhVEyIPTBUbYv1mRUKPjVmRQFtQu3pJ4 me@example.com"


class Ssh(Case):
    def setUp(self):
        super().setUp()
        if "ssh/" not in self.client.sys.list_mounted_secrets_engines()["data"]:
            self.client.sys.enable_secrets_engine("ssh")
        self.ssh = self.client.secrets.ssh
        self.ssh.delete_ca_information()
        self.made = self.ssh.submit_ca_information(generate_signing_key=True, key_type="ssh-ed25519", key_bits=0)
        self.ssh.create_role(
            name="web",
            key_type="ca",
            allow_user_certificates=True,
            allowed_users="ubuntu",
            default_user="ubuntu",
            default_extensions={"permit-pty": ""},
            ttl="30m",
        )

    def test_signed(self):
        signed = self.ssh.sign_ssh_key(name="web", public_key=KEY, valid_principals="ubuntu", cert_type="user")["data"]
        self.assertTrue(signed["signed_key"].startswith("ssh-ed25519-cert-v01@openssh.com "))
        self.assertGreaterEqual(int(signed["serial_number"], 16), 0)
        self.assert_refused(
            exceptions.InvalidRequest,
            "root is not a valid value for valid_principals",
            self.ssh.sign_ssh_key,
            name="web",
            public_key=KEY,
            valid_principals="root",
        )

    def test_roles(self):
        role = self.ssh.read_role("web")["data"]
        self.assertEqual((role["allowed_users"], role["ttl"]), ("ubuntu", 1800))
        self.assertEqual(role["default_extensions"], {"permit-pty": ""})
        self.assertEqual(self.ssh.list_roles()["data"]["keys"], ["web"])
        self.ssh.delete_role("web")
        self.assertRaises(exceptions.InvalidPath, self.ssh.read_role, "web")

    def test_one_time_passwords(self):
        self.ssh.create_role(
            name="otp", key_type="otp", default_user="ubuntu", cidr_list="10.0.0.0/8", allowed_users="root"
        )
        made = self.ssh.generate_ssh_credentials(name="otp", username="root", ip="10.0.0.5")
        self.assertFalse(made["renewable"])
        server = self.client_with(None).secrets.ssh
        shown = server.verify_ssh_otp(otp=made["data"]["key"])["data"]
        self.assertEqual(shown, {"ip": "10.0.0.5", "username": "root", "role_name": "otp"})
        again = (server.verify_ssh_otp, made["data"]["key"])
        self.assert_refused(exceptions.InvalidRequest, "OTP not found", *again)
        self.assertEqual(self.ssh.list_roles_by_ip(ip="10.0.0.5")["data"]["roles"], ["otp"])
        self.ssh.configure_zeroaddress_roles(roles="otp")
        self.assertEqual(self.ssh.list_zeroaddress_roles()["data"]["roles"], ["otp"])
        self.ssh.delete_zeroaddress_role()
        self.assertRaises(exceptions.InvalidPath, self.ssh.list_zeroaddress_roles)
        self.ssh.delete_role("otp")

    def test_authority(self):
        self.assertEqual(self.ssh.read_public_key()["data"]["public_key"], self.made["data"]["public_key"])
        self.assert_refused(
            exceptions.InvalidRequest, "already configured", self.ssh.submit_ca_information, generate_signing_key=True
        )
