"""An authority from its first start, by hvac alone. The one test module whose server is not initialised."""

import hvac
from hvac import exceptions

from case import Case


class Seal(Case):
    def test_initialised_unsealed_sealed(self):
        client = self.client_with(None)
        self.assertFalse(client.sys.is_initialized())
        self.assertEqual(client.sys.read_health_status(method="GET").status_code, 501)
        self.assertEqual(client.sys.read_health_status(method="HEAD").status_code, 501)
        self.assertTrue(client.sys.is_sealed())
        self.assertRaises(exceptions.InvalidRequest, client.sys.initialize, 1, 2)

        made = client.sys.initialize(secret_shares=5, secret_threshold=3)
        self.assertEqual((len(made["keys"]), len(made["keys_base64"])), (5, 5))
        self.assertTrue(client.sys.is_initialized())
        self.assertRaises(exceptions.InvalidRequest, client.sys.initialize)
        self.assertEqual(client.sys.read_health_status(method="HEAD").status_code, 503)

        root = self.client_with(made["root_token"])
        self.assertRaises(exceptions.VaultDown, root.sys.list_policies)
        self.assertRaises(exceptions.VaultDown, root.is_authenticated)
        status = client.sys.submit_unseal_keys(made["keys"][:2])
        self.assertEqual((status["sealed"], status["progress"], status["t"], status["n"]), (True, 2, 3, 5))
        status = client.sys.submit_unseal_key(reset=True)
        self.assertEqual(status["progress"], 0)
        status = client.sys.submit_unseal_keys(made["keys_base64"][2:])
        self.assertEqual((status["sealed"], status["progress"]), (False, 0))
        self.assertTrue(root.is_authenticated())

        self.assertRaises(exceptions.Forbidden, client.sys.seal)
        self.assertEqual(root.sys.seal().status_code, 204)
        self.assertTrue(client.sys.is_sealed())
        client.sys.submit_unseal_keys(made["keys"])
        self.assertTrue(root.is_authenticated())
        self.assertIsInstance(root, hvac.Client)
