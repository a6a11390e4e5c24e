"""For the tests of services: ask one over HTTP without a server."""

from kappa.testing.client import Client, client

__all__ = ["Client", "client"]
