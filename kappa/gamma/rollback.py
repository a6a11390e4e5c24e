"""Aliases that go back to the version which they named before."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from kappa.errors import BundleNotFoundError, UsageError
from kappa.spec.store import Store
from kappa.tag import BundleReference, Tag

__all__ = ["Rollback", "roll_back"]


@dataclass(frozen=True, slots=True)
class Rollback:
    """An alias that names an earlier version again."""

    tag: Tag
    """What it names again."""
    alias: str
    previous: str | None
    """The version that it named until then; ``None`` where it was deleted."""
    changed_at: datetime | None = None
    """``None`` where it was not moved yet."""


def roll_back(store: Store, service: BundleReference, alias: str, *, dry_run: bool = False) -> Rollback:
    """Let an alias of a service name the version again that it named before; with ``dry_run`` nothing is changed.

    Raises `BundleNotFoundError` where it named no other version or that one was deleted, and `GammaError` where
    somebody else moves the alias meanwhile.
    """
    if service.version is not None or service.digest is not None:
        raise UsageError(f"`{service}` is more than the name of a service: write `{service.name}` and its alias.")
    named = Tag(service.name, alias, service.namespace)
    changes = store.alias_history(service.name, alias, namespace=service.namespace)
    if not changes:
        raise BundleNotFoundError(f"`{named}` never was an alias. `kappa alias {named.service}` lists those there are.")
    current = changes[0].version
    former = next((change.previous for change in changes if change.previous not in (None, current)), None)
    if former is None:
        raise BundleNotFoundError(f"`{named}` named no version before {current}, so nothing was changed.")
    tag = Tag(service.name, former, service.namespace)
    if not store.has(tag):
        raise BundleNotFoundError(
            f"`{named}` named `{tag}` before, which was deleted since, so nothing was changed. `kappa alias {named} "
            f"--history` shows what else it named, and `kappa alias {tag.service}:VERSION {alias}` sets it."
        )
    if dry_run:
        return Rollback(tag, alias, current)
    return Rollback(tag, alias, current, store.set_alias(tag, alias, expect=current or "").changed_at)
