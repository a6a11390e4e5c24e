"""Which store is meant: that of this machine, or the Gamma server that is configured."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from kappa import gamma
from kappa.errors import BundleNotFoundError, optional_import
from kappa.gamma.storages.directories import local_storage
from kappa.settings import read_settings
from kappa.spec.store import BundleRecord, Store
from kappa.tag import BundleReference, Tag

if TYPE_CHECKING:  # it needs a database, which a bundle's own packages do not have
    from kappa.gamma.local_store import LocalStore
    from kappa.gamma.remote_store import RemoteStore

__all__ = [
    "bundle_store",
    "default_namespace",
    "gamma_url",
    "is_remote",
    "local_environment",
    "local_store",
    "names_service",
    "reference_of",
    "remote_store",
    "resolved",
    "with_local_hint",
]

Progress = Callable[[int, int], None]


def gamma_url(environ: Mapping[str, str] = os.environ) -> str | None:
    """Return the Gamma server that is configured; ``None`` for the store of this machine."""
    return read_settings(environ).gamma_service.url


def is_remote(environ: Mapping[str, str] = os.environ) -> bool:
    """Return whether bundles are in a Gamma server's store."""
    return gamma_url(environ) is not None


def local_environment(environ: Mapping[str, str]) -> dict[str, str]:
    """Return the environment in which no Gamma server is configured, as with `--local`."""
    return {**environ, "KAPPA_GAMMA_SERVICE__URL": ""}


def local_store(environ: Mapping[str, str] = os.environ) -> LocalStore:
    """Return the store below ``$KAPPA_HOME``."""
    with optional_import("kappa-ml", needed_for="finding bundles by their names"):
        return gamma.open_local_store(environ)


def bundle_store(environ: Mapping[str, str] = os.environ, *, on_progress: Progress | None = None) -> Store:
    """Return the store of the Gamma server that is configured, or that of this machine where none is."""
    return remote_store(environ, on_progress=on_progress) if is_remote(environ) else local_store(environ)


def remote_store(environ: Mapping[str, str] = os.environ, *, on_progress: Progress | None = None) -> RemoteStore:
    """Return the store of the Gamma server that is configured; raises `UsageError` where none is."""
    return gamma.open_remote_store(read_settings(environ), environ, on_progress=on_progress)


def default_namespace(environ: Mapping[str, str] = os.environ) -> str:
    """Return the namespace of names without one."""
    return read_settings(environ).gamma_service.namespace


def reference_of(text: str, environ: Mapping[str, str] = os.environ) -> BundleReference:
    """Read a reference; one without a namespace is in that which is configured. Raises `UsageError`."""
    return BundleReference.parse(text.removeprefix("gamma:"), namespace=default_namespace(environ))


def resolved(store: Store, reference: BundleReference, environ: Mapping[str, str] = os.environ) -> BundleRecord:
    """Return the bundle of a store that a reference means; where this machine alone has it, the error says so."""
    try:
        return store.resolve(reference)
    except BundleNotFoundError as exc:
        raise with_local_hint(exc, reference, environ) from None


def names_service(text: str) -> bool:
    """Return whether text is the name of a service, with its namespace or without, and not one of its versions."""
    namespace, slash, name = text.removeprefix("gamma:").rpartition("/")
    return (
        name.isidentifier() and bool(namespace or not slash) and "/" not in namespace and not namespace.startswith(".")
    )


def with_local_hint(exc: BundleNotFoundError, reference: BundleReference, environ: Mapping[str, str]) -> Exception:
    """Return the error, which says so where the store of this machine has what the server has not."""
    storage = local_storage(environ)
    there = {tag for tag in storage.tags() if (tag.namespace, tag.name) == (reference.namespace, reference.name)}
    tag = None if reference.version is None else Tag(reference.name, reference.version, reference.namespace)
    if not is_remote(environ) or not there or (tag is not None and tag not in there):
        return exc
    return BundleNotFoundError(
        f"{exc} The store of this machine has it: `--local` uses that, and `kappa push {reference}` sends it there."
    )
