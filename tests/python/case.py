"""What the tests of hvac share: a client with the root token of a server that serves this module alone."""

import base64
import os
import unittest

import hvac


def encoded(text):
    """Text as transit takes it."""
    return base64.b64encode(text.encode()).decode()


class Case(unittest.TestCase):
    """A test of one server. Its address and root token come by names that hvac itself does not read."""

    def setUp(self):
        self.url = os.environ["TEST_ADDR"]
        self.root = os.environ["TEST_TOKEN"]
        self.client = self.client_with(self.root)
        self.addCleanup(self.client.adapter.close)

    def client_with(self, token):
        return hvac.Client(url=self.url, token=token)

    def limited(self, *policies, **options):
        """A client with a new token of these policies."""
        made = self.client.auth.token.create(policies=list(policies), **options)
        return self.client_with(made["auth"]["client_token"])

    def assert_refused(self, kind, words, action, *args, **kwargs):
        """The action raises an hvac exception of exactly this kind, whose text has these words."""
        with self.assertRaises(kind) as caught:
            action(*args, **kwargs)
        self.assertIs(type(caught.exception), kind)
        self.assertIn(words, str(caught.exception))
        return caught.exception
