"""The store that the settings name: on a Gamma server, with the cache of this machine."""

from __future__ import annotations

from collections.abc import Mapping

from kappa.errors import UsageError
from kappa.gamma.clients.connecting import connect
from kappa.gamma.clients.tokens import token_of
from kappa.gamma.remote_store import RemoteStore
from kappa.gamma.transfer.cache import local_cache
from kappa.gamma.transfer.streams import Progress
from kappa.settings import Settings

__all__ = ["open_remote_store"]


def open_remote_store(
    settings: Settings, environ: Mapping[str, str], *, on_progress: Progress | None = None
) -> RemoteStore:
    """Return the store of the Gamma server that is configured; raises `UsageError` where none is."""
    url = settings.gamma_service.url
    if url is None and environ.get("KAPPA_GAMMA_SERVICE__URL") == "":
        raise UsageError(
            "This needs a Gamma server, and `--local`, or an empty `KAPPA_GAMMA_SERVICE__URL`, ignores the one that is "
            "configured."
        )
    if url is None:
        raise UsageError(
            "No Gamma server is configured: `kappa config set gamma_service.url=HOST:PORT` names the one of your team."
        )
    cache = local_cache(environ, max_size_bytes=settings.cache.max_size_bytes)
    token = token_of(settings.gamma_service, environ)
    return RemoteStore(connect(url, settings.gamma_service, token=token), cache, on_progress=on_progress)
