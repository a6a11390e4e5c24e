"""Which bundles are superfluous."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest

from kappa.errors import GammaError, UsageError
from kappa.gamma.local_store import LocalStore
from kappa.gamma.retention import plan_pruning
from kappa.labels import parse_selector
from kappa.spec.store import Query
from kappa.tag import ALL_NAMESPACES, Tag

Put = Callable[..., Path]
NOW = datetime(2026, 6, 1, tzinfo=timezone.utc)
ALL = Query()


@pytest.fixture(autouse=True)
def versions(put: Put) -> None:
    """Put five versions of `Iris`, one a month, and one of `Wine`, which is old."""
    for number in range(1, 6):
        labels = {"stage": "test"} if number % 2 else {}
        put("Iris", str(number), created=f"2026-0{number}-01T00:00:00Z", digest=f"0{number}", labels=labels)
    put("Wine", "1", created="2020-01-01T00:00:00Z", digest="aa")


def gone(store: LocalStore, query: Query = ALL, **rules: Any) -> list[str]:
    return [str(tag) for tag in plan_pruning(store, query, now=NOW, **rules).tags]


@pytest.mark.parametrize(
    ("rules", "tags"),
    [
        pytest.param({"keep": 2}, ["Iris:3", "Iris:2", "Iris:1"], id="beyond the newest"),
        pytest.param({"keep": 5}, [], id="no more than that"),
        pytest.param({"older_than": timedelta(days=92)}, ["Iris:2", "Iris:1"], id="longer ago, not as long ago"),
        pytest.param({"keep": 4, "older_than": timedelta(days=31)}, ["Iris:1"], id="both: few are too many"),
        pytest.param({"keep": 1, "older_than": timedelta(days=100)}, ["Iris:2", "Iris:1"], id="both: few are old"),
        pytest.param({"older_than": timedelta(0)}, ["Iris:4", "Iris:3", "Iris:2", "Iris:1"], id="never the newest"),
    ],
)
def test_what_the_rules_select(store: LocalStore, rules: dict[str, Any], tags: list[str]) -> None:
    assert gone(store, **rules) == tags
    assert len(store.list_bundles()) == 6


def test_without_a_rule_there_is_nothing_to_delete(store: LocalStore) -> None:
    with pytest.raises(UsageError, match="Nothing was deleted: say how many versions to keep"):
        gone(store)


def test_what_an_alias_names_stays_and_counts(store: LocalStore) -> None:
    store.set_alias(Tag("Iris", "1"), "production")
    store.set_alias(Tag("Iris", "5"), "canary")
    pruning = plan_pruning(store, ALL, now=NOW, keep=2)
    assert [str(tag) for tag in pruning.tags] == ["Iris:3", "Iris:2"]
    assert [(str(kept.record.tag), kept.reason) for kept in pruning.protected] == [("Iris:1", "`production` means it")]
    aged = plan_pruning(store, ALL, now=NOW, older_than=timedelta(0))
    assert [(str(kept.record.tag), kept.reason) for kept in aged.protected] == [
        ("Iris:5", "`canary` and `latest` mean it"),
        ("Iris:1", "`production` means it"),
        ("Wine:1", "`latest` means it"),
    ]


def test_labels_select_what_is_counted_and_the_newest_of_all_stays(store: LocalStore) -> None:
    of_tests = Query(selector=parse_selector("stage=test"))
    assert gone(store, of_tests, keep=1) == ["Iris:3", "Iris:1"]
    store.delete([Tag("Iris", "5")])
    assert gone(store, of_tests, older_than=timedelta(0)) == ["Iris:3", "Iris:1"]  # `latest` is 4
    store.delete([Tag("Iris", "4")])
    assert gone(store, of_tests, older_than=timedelta(0)) == ["Iris:1"]


def test_services_of_the_same_name_are_apart(store: LocalStore, put: Put) -> None:
    put("Iris", "9", created="2026-01-01T00:00:00Z", digest="bb", namespace="team")
    assert gone(store, Query(namespace=ALL_NAMESPACES), keep=4) == ["Iris:1"]
    assert gone(store, Query(namespace="team"), keep=1) == []


def test_each_is_given_with_the_rules_that_select_it(store: LocalStore) -> None:
    pruning = plan_pruning(store, ALL, now=NOW, keep=4, older_than=timedelta(days=1))
    assert {judged.reason for judged in pruning.superfluous} == {
        "not among the newest 4 and built more than 1 day ago",
    }
    pruning = plan_pruning(store, ALL, now=NOW, older_than=timedelta(hours=36))
    assert {judged.reason for judged in pruning.superfluous} == {"built more than 36 hours ago"}


def test_an_alias_that_was_set_meanwhile_keeps_everything(store: LocalStore) -> None:
    pruning = plan_pruning(store, ALL, now=NOW, keep=1)
    store.set_alias(Tag("Iris", "2"), "production")
    with pytest.raises(GammaError, match="Nothing is deleted, because aliases name"):
        store.delete(pruning.tags)
    assert len(store.list_bundles()) == 6
