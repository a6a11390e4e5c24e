"""Bundles copied from one namespace to another, and from one registry to another, with the same digest."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import replace

from kappa.actions.failures import failing_writes_explained
from kappa.actions.stores import bundle_store, gamma_url, reference_of, resolved
from kappa.actions.transfer import Moved
from kappa.errors import UsageError
from kappa.gamma.clients.tokens import TOKEN_VARIABLE
from kappa.gamma.remote_store import RemoteStore
from kappa.gamma.transfer.copying import put_copy
from kappa.services.bundle import open_bundle
from kappa.spec.store import Query
from kappa.tag import BundleReference, Tag, check_namespace

__all__ = ["copy_bundle"]

Progress = Callable[[int, int], None]


def copy_bundle(
    text: str,
    destination: str,
    *,
    from_url: str | None = None,
    to_url: str | None = None,
    on_progress: Progress | None = None,
    environ: Mapping[str, str] = os.environ,
) -> Moved:
    """Copy a bundle to ``destination``, ``namespace/`` or the tag that it has there; a URL names another registry.

    The copy has the same bytes, and so its name and its version. Raises `UsageError` for another name or version, and
    `DestinationExistsError` where the tag has other bytes.
    """
    source_environ, target_environ = _at(from_url, environ), _at(to_url, environ)
    source = bundle_store(source_environ, on_progress=on_progress)
    target = bundle_store(target_environ, on_progress=on_progress)
    record = resolved(source, reference_of(text, source_environ), source_environ)
    tag = _tag_there(destination, record.tag, target_environ)
    if tag == record.tag and gamma_url(source_environ) == gamma_url(target_environ):
        raise UsageError(f"`{tag}` would be copied onto itself: name another namespace, or another registry.")
    there = target.list_bundles(Query(tag.name, tag.version, record.bundle_digest, namespace=tag.namespace, limit=1))
    if there:
        newest = target.resolve(BundleReference(tag.name, namespace=tag.namespace)).tag
        return Moved(tag, record.bundle_digest, was_there=True, is_latest=newest == tag)
    directory = source.path_of(record)
    if isinstance(target, RemoteStore):
        commit = target.send(open_bundle(directory), namespace=tag.namespace)
        return Moved(tag, record.bundle_digest, was_there=commit.was_there, is_latest=commit.is_latest)
    with failing_writes_explained("The bundle"):
        path = put_copy(target, directory, namespace=tag.namespace)
    newest = target.resolve(BundleReference(tag.name, namespace=tag.namespace)).tag
    return Moved(tag, record.bundle_digest, path, is_latest=newest == tag)


def _at(url: str | None, environ: Mapping[str, str]) -> Mapping[str, str]:
    """Return the environment for another registry, which never gets the token of the one that is configured."""
    if url is None or url == gamma_url(environ):
        return environ
    return {**environ, "KAPPA_GAMMA_SERVICE__URL": url, TOKEN_VARIABLE: "", "KAPPA_GAMMA_SERVICE__TOKEN_FILE": ""}


def _tag_there(destination: str, tag: Tag, environ: Mapping[str, str]) -> Tag:
    if destination.endswith("/"):
        try:
            return replace(tag, namespace=check_namespace(destination.removesuffix("/")))
        except ValueError as exc:
            raise UsageError(f"{exc}.") from None
    reference = reference_of(destination, environ)
    there = replace(tag, namespace=reference.namespace)
    if reference.name != tag.name or reference.digest is not None or reference.version not in (None, tag.version):
        raise UsageError(
            f"`{tag}` cannot become `{destination}`: its name and its version are under its digest. Write `{there}`, "
            f"or `{there.namespace}/` for the namespace."
        )
    return there
