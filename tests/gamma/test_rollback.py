"""Aliases that go back to the version which they named before."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from kappa.errors import BundleNotFoundError, GammaError, UsageError
from kappa.gamma.local_store import LocalStore
from kappa.gamma.rollback import roll_back
from kappa.spec.store import Query
from kappa.tag import BundleReference, Tag

Put = Callable[..., Path]
IRIS = BundleReference("Iris")


@pytest.fixture(autouse=True)
def versions(put: Put) -> None:
    for number in (1, 2, 3):
        put("Iris", str(number), created=f"2026-0{number}-01T00:00:00Z", digest=f"0{number}")


def move(store: LocalStore, *versions: str) -> None:
    for version in versions:
        store.set_alias(Tag("Iris", version), "production")


def named(store: LocalStore) -> str:
    return store.resolve(BundleReference("Iris", "production")).tag.version


def test_a_second_rollback_undoes_the_first(store: LocalStore) -> None:
    move(store, "1", "2", "3")
    first = roll_back(store, IRIS, "production")
    assert (first.tag, first.previous, named(store)) == (Tag("Iris", "2"), "3", "2")
    assert first.changed_at == store.alias_history("Iris", "production")[0].changed_at
    second = roll_back(store, IRIS, "production")
    assert (second.tag, second.previous, named(store)) == (Tag("Iris", "3"), "2", "3")


def test_a_dry_run_moves_nothing(store: LocalStore) -> None:
    move(store, "1", "2")
    plan = roll_back(store, IRIS, "production", dry_run=True)
    assert (plan.tag, plan.previous, plan.changed_at, named(store)) == (Tag("Iris", "1"), "2", None, "2")


def test_an_alias_that_was_deleted_names_the_same_version_again(store: LocalStore) -> None:
    move(store, "1", "2")
    store.delete_alias("Iris", "production")
    assert (roll_back(store, IRIS, "production").tag, named(store)) == (Tag("Iris", "2"), "2")


def test_one_that_was_deleted_and_set_again_goes_back_beyond_that(store: LocalStore) -> None:
    move(store, "1", "2")
    store.delete_alias("Iris", "production")
    move(store, "3")
    assert roll_back(store, IRIS, "production").tag == Tag("Iris", "2")


@pytest.mark.parametrize("dry_run", [False, True])
def test_a_version_that_was_deleted_is_not_named_again(store: LocalStore, dry_run: bool) -> None:
    move(store, "1", "2")
    store.delete([Tag("Iris", "1")])
    with pytest.raises(BundleNotFoundError, match="named `Iris:1` before, which was deleted since, so nothing was"):
        roll_back(store, IRIS, "production", dry_run=dry_run)
    assert named(store) == "2"


def test_an_alias_that_never_moved_stays(store: LocalStore) -> None:
    move(store, "1", "1")
    with pytest.raises(BundleNotFoundError, match="`Iris:production` named no version before 1, so nothing was"):
        roll_back(store, IRIS, "production")
    with pytest.raises(BundleNotFoundError, match="`Iris:canary` never was an alias"):
        roll_back(store, IRIS, "canary")
    assert named(store) == "1"


def test_a_version_is_not_a_service(store: LocalStore) -> None:
    with pytest.raises(UsageError, match="write `Iris` and its alias"):
        roll_back(store, BundleReference("Iris", "production"), "production")


@dataclass
class Raced:
    """A store in which somebody else moves the alias after its history was read."""

    store: LocalStore

    def __getattr__(self, name: str) -> object:
        return getattr(self.store, name)

    def has(self, tag: Tag) -> bool:
        move(self.store, "3")
        return bool(self.store.list_bundles(Query(tag.name, tag.version)))


def test_a_move_of_somebody_else_is_not_lost(store: LocalStore) -> None:
    move(store, "1", "2")
    with pytest.raises(GammaError, match="names `3` now, and not `2` as expected; nothing was changed"):
        roll_back(Raced(store), IRIS, "production")  # type: ignore[arg-type]  # passes the rest on
    assert named(store) == "3"
