"""Gamma, the model store: where bundles are kept, and how a team shares them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kappa._facade import lazy_names

if TYPE_CHECKING:  # what `__getattr__` below resolves, for editors and type checkers
    from kappa.gamma.choosing import open_remote_store as open_remote_store
    from kappa.gamma.local_store import open_local_store as open_local_store
    from kappa.gamma.programs import async_client as async_client
    from kappa.gamma.programs import client as client
    from kappa.gamma.remote_store import RemoteStore as RemoteStore
    from kappa.gamma.reserved import forget_reserved as forget_reserved
    from kappa.gamma.retention import Pruning as Pruning
    from kappa.gamma.retention import plan_pruning as plan_pruning
    from kappa.gamma.rollback import Rollback as Rollback
    from kappa.gamma.rollback import roll_back as roll_back
    from kappa.gamma.service.comparison import BundleDifference as BundleDifference
    from kappa.gamma.service.comparison import BundleSource as BundleSource
    from kappa.gamma.service.comparison import DirectorySource as DirectorySource
    from kappa.gamma.service.comparison import compare_bundles as compare_bundles
    from kappa.gamma.serving import Listening as Listening
    from kappa.gamma.serving import ServerTls as ServerTls
    from kappa.gamma.serving import ServingOptions as ServingOptions
    from kappa.gamma.serving import check_database_url as check_database_url
    from kappa.gamma.serving import serve as serve
    from kappa.gamma.serving import usual_urls as usual_urls
    from kappa.gamma.tokens import all_tokens as all_tokens
    from kappa.gamma.tokens import create_token as create_token
    from kappa.gamma.tokens import revoke_token as revoke_token
    from kappa.gamma.transfer.cache import local_cache as local_cache
    from kappa.gamma.transfer.sources import RegistrySource as RegistrySource

_HOMES = {
    "BundleDifference": "kappa.gamma.service.comparison",
    "BundleSource": "kappa.gamma.service.comparison",
    "DirectorySource": "kappa.gamma.service.comparison",
    "Listening": "kappa.gamma.serving",
    "Pruning": "kappa.gamma.retention",
    "RegistrySource": "kappa.gamma.transfer.sources",
    "RemoteStore": "kappa.gamma.remote_store",
    "Rollback": "kappa.gamma.rollback",
    "ServerTls": "kappa.gamma.serving",
    "ServingOptions": "kappa.gamma.serving",
    "all_tokens": "kappa.gamma.tokens",
    "async_client": "kappa.gamma.programs",
    "check_database_url": "kappa.gamma.serving",
    "client": "kappa.gamma.programs",
    "compare_bundles": "kappa.gamma.service.comparison",
    "create_token": "kappa.gamma.tokens",
    "forget_reserved": "kappa.gamma.reserved",
    "local_cache": "kappa.gamma.transfer.cache",
    "open_local_store": "kappa.gamma.local_store",
    "open_remote_store": "kappa.gamma.choosing",
    "plan_pruning": "kappa.gamma.retention",
    "revoke_token": "kappa.gamma.tokens",
    "roll_back": "kappa.gamma.rollback",
    "serve": "kappa.gamma.serving",
    "usual_urls": "kappa.gamma.serving",
}

__all__ = [
    "BundleDifference",
    "BundleSource",
    "DirectorySource",
    "Listening",
    "Pruning",
    "RegistrySource",
    "RemoteStore",
    "Rollback",
    "ServerTls",
    "ServingOptions",
    "all_tokens",
    "async_client",
    "check_database_url",
    "client",
    "compare_bundles",
    "create_token",
    "forget_reserved",
    "local_cache",
    "open_local_store",
    "open_remote_store",
    "plan_pruning",
    "revoke_token",
    "roll_back",
    "serve",
    "usual_urls",
]

__getattr__, __dir__ = lazy_names(__name__, _HOMES)
