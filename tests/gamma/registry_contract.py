"""What every registry does, whatever it keeps bundles in and whatever door it is reached through.

A module of tests imports all names of this one, and gives two fixtures: ``registry``, which is empty, and ``push``, a
function that puts a bundle into it (`Push`). Bundles of other ``content`` have other digests.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timezone
from typing import Any, Protocol
from uuid import uuid4

import pytest

from kappa.errors import BundleNotFoundError, DestinationExistsError, GammaError, UsageError
from kappa.gamma.protocols.registry import Registry
from kappa.labels import parse_selector
from kappa.spec.store import AliasChange, BundleRecord, Query
from kappa.tag import ALL_NAMESPACES, BundleReference, Tag
from tests.gamma.sealed import Moves, seal
from tests.gamma.sealed import push as upload

LOCK = (("apple", "1.0"), ("pear", "2.0"))


class Push(Protocol):
    def __call__(
        self,
        tag: str,
        *,
        created: str = "2026-01-01T00:00:00Z",
        content: str = "a",
        labels: Mapping[str, str] = ...,
        packages: Sequence[tuple[str, str]] = LOCK,
    ) -> BundleRecord:
        """Build a bundle, put it into the registry, and return its record."""


def lock_of(packages: Sequence[tuple[str, str]]) -> str:
    """Return the text of a lock; a version with a slash is a URL."""
    return "".join(f"{name} @ {pin}\n" if "/" in pin else f"{name}=={pin}\n" for name, pin in packages)


def pushing_to(registry: Moves) -> Push:
    """Return a function that uploads bundles to a registry."""

    def push_bundle(
        tag: str,
        *,
        created: str = "2026-01-01T00:00:00Z",
        content: str = "a",
        labels: Mapping[str, str] | None = None,
        packages: Sequence[tuple[str, str]] = LOCK,
    ) -> BundleRecord:
        name = Tag.parse(tag)
        contents = {f"{name.name}/handlers.py": content.encode()}
        lock = lock_of(packages).encode()
        bundle = seal(name.version, contents, name=name.name, created=created, labels=labels, lock=lock)
        return upload(registry, bundle, namespace=name.namespace).record

    return push_bundle


def resolve(registry: Registry, text: str) -> str:
    return str(registry.resolve(BundleReference.parse(text)).tag)


def tags(registry: Registry, selector: str = "", **options: Any) -> list[str]:
    requirements = parse_selector(selector) if selector else ()
    return [str(record.tag) for record in registry.list_bundles(Query(selector=requirements, **options))]


def once() -> str:
    return uuid4().hex


# -- reading -----------------------------------------------------------------------------------------------------------


def test_a_bundle_is_resolved_by_version_by_digest_and_as_the_latest(registry: Registry, push: Push) -> None:
    first = push("Iris:1", content="a", created="2026-02-01T00:00:00Z")
    second = push("Iris:2", content="b", created="2026-01-01T00:00:00Z")
    assert resolve(registry, "Iris") == resolve(registry, "Iris:latest") == "Iris:1"
    assert resolve(registry, "Iris:2") == "Iris:2"
    assert resolve(registry, f"Iris@{second.bundle_digest}") == "Iris:2"
    assert resolve(registry, f"Iris@{first.bundle_digest[:20]}") == "Iris:1"


def test_a_record_says_what_the_bundle_is(registry: Registry, push: Push) -> None:
    push("Iris:1", created="2026-07-01T12:00:00Z", labels={"team": "growth"})
    (record,) = registry.list_bundles()
    assert record == registry.resolve(BundleReference("Iris", "1"))
    assert (record.tag, dict(record.labels), record.aliases) == (Tag("Iris", "1"), {"team": "growth"}, ())
    assert record.created_at == datetime(2026, 7, 1, 12, tzinfo=timezone.utc)
    assert record.registered_at is not None
    assert record.registered_at.tzinfo is not None
    assert record.size_bytes > 0
    assert (record.view["version"], record.view["labels"]) == ("1", {"team": "growth"})
    changed = registry.set_labels(record.tag, dict.fromkeys("gfedcba", "1"), operation=once())
    assert list(changed.labels) == list(registry.list_bundles()[0].labels) == [*"abcdefg", "team"]


def test_a_clock_that_is_ahead_makes_no_bundle_newer_than_its_registration(registry: Registry, push: Push) -> None:
    push("Iris:ahead", created="2099-01-01T00:00:00Z")
    push("Iris:older", created="2026-01-01T00:00:00Z", content="b")
    push("Iris:further-ahead", created="2098-01-01T00:00:00Z", content="c")
    assert resolve(registry, "Iris") == "Iris:further-ahead"


@pytest.mark.parametrize(
    ("reference", "message"),
    [
        ("Iris:2", "There is no bundle `Iris:2` in the store. Of `Iris` it holds `Iris:1`."),
        ("Irys", "There is no bundle `Irys:latest` in the store. Did you mean `Iris`?"),
        ("Wine:1", "There is no bundle `Wine:1` in the store. It holds `Iris`."),
    ],
)
def test_what_is_not_there_says_what_there_is(registry: Registry, push: Push, reference: str, message: str) -> None:
    push("Iris:1")
    with pytest.raises(BundleNotFoundError) as caught:
        resolve(registry, reference)
    assert str(caught.value) == message


def test_an_empty_registry_lists_nothing_and_says_so(registry: Registry) -> None:
    assert registry.list_bundles() == []
    assert registry.aliases("Iris") == []
    with pytest.raises(BundleNotFoundError, match="is empty"):
        resolve(registry, "Iris")


def test_order_limit_and_offset(registry: Registry, push: Push) -> None:
    for month, name in enumerate("BAC", start=1):
        push(f"{name}:1", created=f"2026-0{month}-01T00:00:00Z", content=name)
    push("A:2", created="2026-04-01T00:00:00Z")
    assert tags(registry) == ["A:2", "C:1", "A:1", "B:1"]
    assert tags(registry, ascending=True) == ["B:1", "A:1", "C:1", "A:2"]
    assert tags(registry, order_by="name", ascending=True) == ["A:2", "A:1", "B:1", "C:1"]
    assert tags(registry, order_by="name") == ["C:1", "B:1", "A:2", "A:1"]
    assert tags(registry, limit=2, offset=1) == ["C:1", "A:1"]
    assert tags(registry, name="A", limit=1) == ["A:2"]


@pytest.mark.parametrize(
    ("selector", "expected"),
    [
        ("framework=pytorch", ["C:1", "A:1"]),
        ("framework!=pytorch", ["B:1"]),
        ("framework In (xgboost, lightgbm)", ["B:1"]),
        ("framework NotIn (xgboost)", ["C:1", "A:1"]),
        ("stage Exists", ["C:1"]),
        ("stage DoesNotExist", ["D:1", "B:1", "A:1"]),
        ("framework=pytorch, stage DoesNotExist", ["A:1"]),
        ("framework=pytorch,framework=xgboost", []),
        ("framework=pytorch, framework Exists, stage!=live", ["C:1"]),
    ],
)
def test_a_selector_chooses_by_labels(registry: Registry, push: Push, selector: str, expected: list[str]) -> None:
    push("A:1", labels={"framework": "pytorch"})
    push("B:1", labels={"framework": "xgboost"})
    push("C:1", labels={"framework": "pytorch", "stage": "test"})
    push("D:1")
    assert tags(registry, selector) == expected
    assert tags(registry, selector, ascending=True) == expected[::-1]
    assert tags(registry, selector, order_by="name", ascending=True) == sorted(expected)
    assert tags(registry, selector, limit=1, offset=1) == expected[1:2]


def test_requires_finds_the_bundles_that_lock_an_affected_version(registry: Registry, push: Push) -> None:
    push("A:1", packages=[("pillow", "11.0"), ("numpy", "2.0")])
    push("B:1", packages=[("pillow", "11.1"), ("numpy", "2.0")])
    push("C:1", packages=[("pillow", "10.4"), ("pillow", "11.0")])
    push("D:1", packages=[("numpy", "2.1rc1")])
    push("E:1", packages=[("pillow", "https://example.org/pillow.whl")])
    assert tags(registry, requires="pillow<11.1") == ["C:1", "A:1"]
    assert tags(registry, requires="Pillow >=11, <12") == ["C:1", "B:1", "A:1"]
    assert tags(registry, requires="pillow") == ["E:1", "C:1", "B:1", "A:1"]
    assert tags(registry, requires="numpy>2") == ["D:1"]
    assert tags(registry, requires="pillow<11.1", limit=1, offset=1) == ["A:1"]
    assert tags(registry, requires="pillow<11.1", name="A") == ["A:1"]
    assert tags(registry, requires="pillow<11.1", order_by="name", ascending=True) == ["A:1", "C:1"]
    assert tags(registry, requires="absent") == tags(registry, requires="pillow>20") == []


@pytest.mark.parametrize("text", ["pillow<", "", "pillow[extra]", "pillow; python_version>'3'", "a b", "pillow==x"])
def test_what_requires_cannot_mean_is_refused(registry: Registry, push: Push, text: str) -> None:
    push("A:1")
    with pytest.raises(UsageError, match=r"`pillow<11\.1`|more than a package with versions"):
        tags(registry, requires=text)


# -- namespaces --------------------------------------------------------------------------------------------------------


def test_namespaces_do_not_see_each_other(registry: Registry, push: Push) -> None:
    push("Iris:1", labels={"team": "a"})
    push("team-b/Iris:1", content="b", labels={"team": "b"})
    push("team-b/Wine:1")
    assert tags(registry) == ["Iris:1"]
    assert sorted(tags(registry, namespace="team-b")) == ["team-b/Iris:1", "team-b/Wine:1"]
    assert tags(registry, "team=b") == []
    assert tags(registry, "team=b", namespace="team-b") == ["team-b/Iris:1"]
    assert sorted(tags(registry, namespace="team-b", requires="apple==1.0")) == ["team-b/Iris:1", "team-b/Wine:1"]
    assert resolve(registry, "team-b/Iris") == "team-b/Iris:1"
    registry.set_alias(Tag("Iris", "1", "team-b"), "live", operation=once())
    assert registry.aliases("Iris") == []
    registry.delete([Tag("Iris", "1")], operation=once())
    assert tags(registry) == []
    assert resolve(registry, "team-b/Iris:live") == "team-b/Iris:1"


def test_all_namespaces_are_listed_in_one_order(registry: Registry, push: Push) -> None:
    for number, tag in enumerate(("Wine:1", "team-b/Iris:1", "Iris:1", "a/Iris:1", "team-b/Wine:2", "a/Iris:2")):
        push(
            tag, created=f"2026-01-0{number + 1}T00:00:00Z", content=tag, labels={"stage": "live"} if number % 2 else {}
        )
    newest = ["a/Iris:2", "team-b/Wine:2", "a/Iris:1", "Iris:1", "team-b/Iris:1", "Wine:1"]
    every: dict[str, Any] = {"namespace": ALL_NAMESPACES}
    assert tags(registry, **every) == newest
    assert tags(registry, ascending=True, **every) == newest[::-1]
    assert tags(registry, limit=2, offset=3, **every) == newest[3:5]
    assert tags(registry, offset=4, **every) == newest[4:]
    assert tags(registry, offset=9, **every) == []
    assert tags(registry, "stage=live", **every) == ["a/Iris:2", "a/Iris:1", "team-b/Iris:1"]
    assert tags(registry, name="Wine", **every) == ["team-b/Wine:2", "Wine:1"]
    assert tags(registry, requires="apple==1.0", limit=1, **every) == ["a/Iris:2"]
    by_name = ["a/Iris:2", "a/Iris:1", "Iris:1", "team-b/Iris:1", "team-b/Wine:2", "Wine:1"]
    assert tags(registry, order_by="name", ascending=True, **every) == by_name
    assert tags(registry, order_by="name", limit=3, offset=1, **every) == ["Wine:1", "a/Iris:2", "a/Iris:1"]


# -- labels ------------------------------------------------------------------------------------------------------------


def test_labels_are_set_changed_and_removed(registry: Registry, push: Push) -> None:
    pushed = push("Iris:1", labels={"team": "growth", "stage": "test"})
    changed = registry.set_labels(
        pushed.tag, {"stage": "live", "team": None, "cohort": "b", "no": None}, operation=once()
    )
    assert dict(changed.labels) == {"stage": "live", "cohort": "b"}
    assert changed == registry.resolve(BundleReference("Iris", "1"))
    assert changed.view["labels"] == {"stage": "live", "cohort": "b"}
    assert changed.bundle_digest == pushed.bundle_digest
    assert tags(registry, "team Exists") == []
    assert tags(registry, "stage=live") == ["Iris:1"]


@pytest.mark.parametrize("changes", [{"-a": "b"}, {"a": "b c"}, {"": "b"}, {"a": ""}, {"a" * 64: "b"}])
def test_what_cannot_be_a_label_is_refused(registry: Registry, push: Push, changes: Mapping[str, str]) -> None:
    push("Iris:1", labels={"team": "growth"})
    with pytest.raises(UsageError, match="of a label: use 1 to 63"):
        registry.set_labels(Tag("Iris", "1"), {"good": "too", **changes}, operation=once())
    assert dict(registry.resolve(BundleReference("Iris")).labels) == {"team": "growth"}


def test_a_bundle_that_is_not_there_has_no_labels_to_set(registry: Registry, push: Push) -> None:
    push("Iris:1")
    with pytest.raises(BundleNotFoundError, match="There is no bundle `Iris:2`"):
        registry.set_labels(Tag("Iris", "2"), {"a": "b"}, operation=once())


def test_the_same_bundle_again_keeps_its_labels_and_aliases(registry: Registry, push: Push) -> None:
    pushed = push("Iris:1", labels={"team": "growth"})
    registry.set_labels(pushed.tag, {"team": "core"}, operation=once())
    registry.set_alias(pushed.tag, "live", operation=once())
    again = push("Iris:1", labels={"team": "growth"})
    assert (dict(again.labels), again.aliases) == ({"team": "core"}, ("live",))
    assert again.registered_at == pushed.registered_at


# -- services ----------------------------------------------------------------------------------------------------------


def listed_services(registry: Registry, *arguments: Any, **options: Any) -> list[tuple[str, str, int]]:
    services = registry.list_services(*arguments, **options)
    return [(service.latest.tag.namespace, str(service.latest.tag), service.versions) for service in services]


def test_services_are_listed_with_what_latest_means_and_the_newest_comes_first(registry: Registry, push: Push) -> None:
    assert registry.list_services() == []
    push("Iris:1", created="2026-01-01T00:00:00Z")
    push("Flowers:1", created="2026-01-02T00:00:00Z", content="b")
    latest = push("Iris:2", created="2026-01-03T00:00:00Z", content="c")
    registry.set_alias(latest.tag, "production", operation=once())
    assert listed_services(registry) == [("default", "Iris:2", 2), ("default", "Flowers:1", 1)]
    assert registry.list_services()[0].latest == registry.resolve(BundleReference("Iris"))
    assert listed_services(registry, limit=1, offset=1) == [("default", "Flowers:1", 1)]
    assert listed_services(registry, limit=1, offset=2) == []


def test_services_are_searched_by_a_part_of_their_names_that_is_no_pattern(registry: Registry, push: Push) -> None:
    push("Iris_Small:1")
    push("IrisTall:1", content="b")
    assert [tag for _, tag, _ in listed_services(registry, "TALL")] == ["IrisTall:1"]
    assert [tag for _, tag, _ in listed_services(registry, "s_s")] == ["Iris_Small:1"]
    assert listed_services(registry, "%") == []


def test_services_of_all_namespaces_are_apart(registry: Registry, push: Push) -> None:
    push("Iris:1")
    push("growth/Iris:2", content="b")
    assert listed_services(registry, namespace="growth") == [("growth", "growth/Iris:2", 1)]
    assert {namespace: versions for namespace, _, versions in listed_services(registry, namespace="*")} == {
        "default": 1,
        "growth": 1,
    }


# -- aliases -----------------------------------------------------------------------------------------------------------


def moves(changes: Sequence[AliasChange]) -> list[tuple[str | None, str | None]]:
    return [(change.previous, change.version) for change in changes]


def test_an_alias_names_a_version_and_moves(registry: Registry, push: Push) -> None:
    one, two = push("Iris:1").tag, push("Iris:2", content="b").tag
    first = registry.set_alias(one, "production", operation=once())
    assert (first.previous, first.version) == (None, "1")
    assert resolve(registry, "Iris:production") == "Iris:1"
    second = registry.set_alias(two, "production", operation=once())
    registry.set_alias(two, "canary", operation=once())
    assert resolve(registry, "Iris:production") == "Iris:2"
    assert [(alias.alias, alias.version) for alias in registry.aliases("Iris")] == [
        ("canary", "2"),
        ("production", "2"),
    ]
    assert registry.aliases("Iris")[1].changed_at == second.changed_at
    assert [record.aliases for record in registry.list_bundles()] == [("canary", "production"), ()]
    gone = registry.delete_alias("Iris", "production", operation=once())
    assert moves(registry.alias_history("Iris", "production")) == [("2", None), ("1", "2"), (None, "1")]
    assert registry.alias_history("Iris", "production") == [gone, second, first]
    with pytest.raises(BundleNotFoundError, match="There is no bundle `Iris:production`"):
        resolve(registry, "Iris:production")


def test_an_alias_that_names_a_version_already_is_no_change(registry: Registry, push: Push) -> None:
    tag = push("Iris:1").tag
    first = registry.set_alias(tag, "live", operation=once())
    again = registry.set_alias(tag, "live", operation=once())
    assert (again.previous, again.version, again.changed_at) == ("1", "1", first.changed_at)
    assert registry.alias_history("Iris", "live") == [first]


def test_an_expected_version_is_compared_before_an_alias_moves(registry: Registry, push: Push) -> None:
    one, two = push("Iris:1").tag, push("Iris:2", content="b").tag
    with pytest.raises(GammaError) as caught:
        registry.set_alias(one, "live", expect="2", operation=once())
    assert str(caught.value) == (
        "The alias `Iris:live` names no version now, and not `2` as expected; nothing was changed."
    )
    registry.set_alias(one, "live", expect="", operation=once())
    with pytest.raises(GammaError, match="names `1` now, and not none as expected"):
        registry.set_alias(two, "live", expect="", operation=once())
    registry.set_alias(two, "live", expect="1", operation=once())
    with pytest.raises(GammaError, match="names `2` now, and not `1` as expected"):
        registry.delete_alias("Iris", "live", expect="1", operation=once())
    registry.delete_alias("Iris", "live", expect="2", operation=once())
    assert moves(registry.alias_history("Iris", "live")) == [("2", None), ("1", "2"), (None, "1")]


def test_a_version_cannot_become_an_alias(registry: Registry, push: Push) -> None:
    one = push("Iris:1").tag
    push("Iris:2", content="b")
    with pytest.raises(UsageError, match="`2` cannot be an alias of `Iris`: it is a version"):
        registry.set_alias(one, "2", operation=once())
    with pytest.raises(UsageError, match="it is a version"):
        registry.set_alias(one, "1", operation=once())
    push("Wine:1")
    assert registry.set_alias(Tag("Wine", "1"), "2", operation=once()).version == "1"


def test_an_alias_cannot_become_a_version(registry: Registry, push: Push) -> None:
    registry.set_alias(push("Iris:1").tag, "live", operation=once())
    with pytest.raises(UsageError) as caught:
        push("Iris:live", content="b")
    assert str(caught.value) == (
        "`Iris:live` cannot be a version: `live` is an alias of `Iris:1`. Give another version, or delete the alias."
    )
    assert tags(registry) == ["Iris:1"]
    registry.delete_alias("Iris", "live", operation=once())
    push("Iris:live", content="b")
    assert resolve(registry, "Iris:live") == "Iris:live"


@pytest.mark.parametrize("alias", ["latest", "Latest", "a b", "", "-a", "a" * 129])
def test_what_cannot_be_an_alias_is_refused(registry: Registry, push: Push, alias: str) -> None:
    tag = push("Iris:1").tag
    with pytest.raises(UsageError, match=r"is not an alias: use|is reserved"):
        registry.set_alias(tag, alias, operation=once())


def test_an_alias_needs_a_version_that_is_there(registry: Registry, push: Push) -> None:
    registry.set_alias(push("Iris:1").tag, "live", operation=once())
    with pytest.raises(BundleNotFoundError, match="There is no bundle `Iris:2`, so `beta` cannot name it"):
        registry.set_alias(Tag("Iris", "2"), "beta", operation=once())
    with pytest.raises(BundleNotFoundError, match="`live` is an alias of `1`"):
        registry.set_alias(Tag("Iris", "live"), "beta", operation=once())
    with pytest.raises(BundleNotFoundError, match="`Iris:beta` is not an alias"):
        registry.delete_alias("Iris", "beta", operation=once())
    with pytest.raises(BundleNotFoundError, match=r"`Iris:1` is not an alias\. `1` is a version"):
        registry.delete_alias("Iris", "1", operation=once())


# -- deleting ----------------------------------------------------------------------------------------------------------


def test_what_is_deleted_is_gone_and_nothing_else(registry: Registry, push: Push) -> None:
    for version in "123":
        push(f"Iris:{version}", content=version)
    deleted = registry.delete([Tag("Iris", "1"), Tag("Iris", "9"), Tag("Iris", "3")], operation=once())
    assert deleted == [Tag("Iris", "1"), Tag("Iris", "3")]
    assert tags(registry) == ["Iris:2"]
    assert registry.delete([Tag("Iris", "1")], operation=once()) == []


def test_a_bundle_that_an_alias_names_is_deleted_by_force_alone(registry: Registry, push: Push) -> None:
    one, two = push("Iris:1").tag, push("Iris:2", content="b").tag
    registry.set_alias(two, "live", operation=once())
    with pytest.raises(GammaError, match=r"Nothing is deleted, because aliases name `Iris:2` \(live\)"):
        registry.delete([one, two], operation=once())
    assert sorted(tags(registry)) == ["Iris:1", "Iris:2"]
    assert registry.delete([one, two], force=True, operation=once()) == [one, two]
    assert registry.aliases("Iris") == []
    assert moves(registry.alias_history("Iris", "live")) == [("2", None), (None, "2")]


def test_a_deleted_bundle_may_come_back_and_begins_anew(registry: Registry, push: Push) -> None:
    tag = push("Iris:1", labels={"team": "growth"}).tag
    registry.set_labels(tag, {"team": "core"}, operation=once())
    registry.delete([tag], operation=once())
    again = push("Iris:1", labels={"team": "growth"})
    assert dict(again.labels) == {"team": "growth"}
    assert tags(registry) == ["Iris:1"]


def test_the_version_of_a_deleted_bundle_is_no_alias(registry: Registry, push: Push) -> None:
    one, two = push("Iris:1").tag, push("Iris:2", content="b").tag
    registry.delete([one], operation=once())
    with pytest.raises(UsageError, match="it is the version of a deleted bundle"):
        registry.set_alias(two, "1", operation=once())


# -- repeats -----------------------------------------------------------------------------------------------------------


def test_a_repeated_operation_gets_its_first_answer_and_changes_nothing(registry: Registry, push: Push) -> None:
    one, two = push("Iris:1").tag, push("Iris:2", content="b").tag
    first = registry.set_alias(one, "live", operation="move-1")
    labelled = registry.set_labels(one, {"a": "b"}, operation="label-1")
    registry.set_alias(two, "live", operation=once())
    registry.set_labels(one, {"a": "c"}, operation=once())
    assert registry.set_alias(one, "live", operation="move-1") == first
    assert registry.set_labels(one, {"a": "b"}, operation="label-1") == labelled
    assert resolve(registry, "Iris:live") == "Iris:2"
    assert dict(registry.resolve(BundleReference("Iris", "1")).labels) == {"a": "c"}
    gone = registry.delete_alias("Iris", "live", operation="drop-1")
    assert registry.delete_alias("Iris", "live", operation="drop-1") == gone
    assert registry.delete([two], operation="delete-1") == [two]
    assert registry.delete([two], operation="delete-1") == [two]
    assert registry.delete([two], operation="delete-2") == []


def test_one_id_is_for_one_operation(registry: Registry, push: Push) -> None:
    tag = push("Iris:1").tag
    registry.set_alias(tag, "live", operation="the-same")
    with pytest.raises(UsageError, match="The operation `the-same` was another one"):
        registry.set_alias(tag, "beta", operation="the-same")
    with pytest.raises(UsageError, match="The operation `the-same` was another one"):
        registry.delete([tag], operation="the-same")
    assert [alias.alias for alias in registry.aliases("Iris")] == ["live"]


def test_a_version_that_is_there_keeps_its_bytes(registry: Registry, push: Push) -> None:
    first = push("Iris:1", content="a")
    with pytest.raises(DestinationExistsError, match="`Iris:1`"):
        push("Iris:1", content="b")
    assert registry.resolve(BundleReference("Iris")).bundle_digest == first.bundle_digest
