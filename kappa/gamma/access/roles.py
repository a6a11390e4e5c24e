"""Which role each operation of a registry needs, and the registry that asks for it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

from kappa.gamma.protocols.callers import Caller, Role
from kappa.gamma.protocols.registry import Registry

__all__ = ["ROLE_OF", "guarded"]

ROLE_OF: Mapping[str, Role] = {
    "info": "read",
    "resolve": "read",
    "list_bundles": "read",
    "list_services": "read",
    "files_of": "read",
    "read_blob": "read",
    "download_url": "read",
    "aliases": "read",
    "alias_history": "read",
    "set_labels": "write",
    "set_alias": "write",
    "delete_alias": "write",
    "begin_upload": "write",
    "write_blob": "write",
    "upload_url": "write",
    "take_blob": "write",
    "upload_state": "write",
    "commit_upload": "write",
    "abort_upload": "write",
    "delete": "write",
    "collect_garbage": "admin",
}
"""By the name of a method of `Registry`; a method without a row cannot be called through a door."""


def guarded(registry: Registry, caller: Caller) -> Registry:
    """Return a registry whose operations raise `AccessDeniedError` for a caller of a lower role than they need."""
    return cast("Registry", _Guarded(registry, caller))


class _Guarded:
    __slots__ = ("_caller", "_registry")

    def __init__(self, registry: Registry, caller: Caller) -> None:
        self._registry = registry
        self._caller = caller

    def __getattr__(self, operation: str) -> Any:
        if operation not in ROLE_OF:
            raise AttributeError(f"`{operation}` is not an operation that a caller may have.")
        self._caller.check_role(ROLE_OF[operation])
        return getattr(self._registry, operation)
