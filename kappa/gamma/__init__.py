"""Gamma, the model store: where bundles are kept, and how a team shares them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kappa._facade import lazy_names

if TYPE_CHECKING:  # what `__getattr__` below resolves, for editors and type checkers
    from kappa.gamma.choosing import open_remote_store as open_remote_store
    from kappa.gamma.local_store import open_local_store as open_local_store
    from kappa.gamma.programs import async_client as async_client
    from kappa.gamma.programs import client as client
    from kappa.gamma.reserved import forget_reserved as forget_reserved
    from kappa.gamma.serving import Listening as Listening
    from kappa.gamma.serving import ServerTls as ServerTls
    from kappa.gamma.serving import ServingOptions as ServingOptions
    from kappa.gamma.serving import check_database_url as check_database_url
    from kappa.gamma.serving import serve as serve
    from kappa.gamma.serving import usual_urls as usual_urls
    from kappa.gamma.tokens import all_tokens as all_tokens
    from kappa.gamma.tokens import create_token as create_token
    from kappa.gamma.tokens import revoke_token as revoke_token

_HOMES = {
    "Listening": "kappa.gamma.serving",
    "ServerTls": "kappa.gamma.serving",
    "ServingOptions": "kappa.gamma.serving",
    "all_tokens": "kappa.gamma.tokens",
    "async_client": "kappa.gamma.programs",
    "check_database_url": "kappa.gamma.serving",
    "client": "kappa.gamma.programs",
    "create_token": "kappa.gamma.tokens",
    "forget_reserved": "kappa.gamma.reserved",
    "open_local_store": "kappa.gamma.local_store",
    "open_remote_store": "kappa.gamma.choosing",
    "revoke_token": "kappa.gamma.tokens",
    "serve": "kappa.gamma.serving",
    "usual_urls": "kappa.gamma.serving",
}

__all__ = [
    "Listening",
    "ServerTls",
    "ServingOptions",
    "all_tokens",
    "async_client",
    "check_database_url",
    "client",
    "create_token",
    "forget_reserved",
    "open_local_store",
    "open_remote_store",
    "revoke_token",
    "serve",
    "usual_urls",
]

__getattr__, __dir__ = lazy_names(__name__, _HOMES)
