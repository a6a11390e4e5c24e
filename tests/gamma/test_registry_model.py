"""The registry beside a plain model of it in Python: whatever is done in whatever order, both agree."""

from __future__ import annotations

import itertools
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test
from packaging.specifiers import SpecifierSet
from packaging.version import Version

from kappa.errors import BundleNotFoundError, DestinationExistsError, GammaError, KappaError, UsageError
from kappa.gamma.database import selection
from kappa.gamma.database.bundles import add_bundle
from kappa.gamma.database.engine import open_database, sqlite_url
from kappa.gamma.service.gamma_service import GammaService
from kappa.gamma.storages.opening import open_storage
from kappa.labels import Requirement, matches
from kappa.spec.store import BundleRecord, Order, Query
from kappa.tag import BundleReference, Tag
from tests.gamma.postgres_server import Databases

NAMES = st.sampled_from(["Iris", "Wine"])
NAMESPACES = st.sampled_from(["default", "default", "team-b"])
REFS = st.sampled_from(["1", "2", "3", "live"])  # versions and aliases are of one grammar
TAGS = st.builds(Tag, NAMES, REFS, NAMESPACES)
KEYS = st.sampled_from(["team", "stage", "framework"])
VALUES = st.sampled_from(["a", "b", "c"])
LABELS = st.dictionaries(KEYS, VALUES, max_size=3)
REQUIREMENTS = st.one_of(
    st.builds(Requirement, KEYS, st.sampled_from(["in", "notin"]), st.lists(VALUES, min_size=1, max_size=2).map(tuple)),
    st.builds(Requirement, KEYS, st.sampled_from(["exists", "doesnotexist"])),
)
SELECTORS = st.lists(REQUIREMENTS, max_size=3).map(tuple)
PACKAGES = st.lists(
    st.tuples(st.sampled_from(["pillow", "numpy"]), st.sampled_from(["1.0", "1.1", "2.0"])), max_size=3
).map(tuple)
SPECIFIERS = st.sampled_from(["", "<1.1", ">=1.1", "==2.0", ">3"])
START = datetime(2026, 1, 1, tzinfo=timezone.utc)


@dataclass
class Stored:
    """A bundle of the model."""

    created: int
    order: int
    digest: str
    labels: dict[str, str]
    packages: tuple[tuple[str, str], ...]


@dataclass
class Model:
    """What a registry holds, as plain values."""

    bundles: dict[Tag, Stored] = field(default_factory=dict)
    aliases: dict[Tag, str] = field(default_factory=dict)
    """By the tag that an alias makes, the version that it names."""
    reserved: dict[Tag, str] = field(default_factory=dict)
    history: dict[Tag, list[tuple[str | None, str | None]]] = field(default_factory=dict)

    def aliases_of(self, tag: Tag) -> list[str]:
        return sorted(
            alias.version
            for alias, version in self.aliases.items()
            if (alias.namespace, alias.name, version) == (tag.namespace, tag.name, tag.version)
        )

    def move(self, alias: Tag, version: str | None) -> None:
        previous = self.aliases.pop(alias, None)
        if version is not None:
            self.aliases[alias] = version
        self.history.setdefault(alias, []).insert(0, (previous, version))

    def latest(self, namespace: str, name: str) -> Tag | None:
        own = [tag for tag in self.bundles if (tag.namespace, tag.name) == (namespace, name)]
        return max(own, key=lambda tag: (self.bundles[tag].created, self.bundles[tag].order), default=None)

    def list(self, query: Query) -> list[str]:
        own = [
            (tag, stored)
            for tag, stored in self.bundles.items()
            if tag.namespace == query.namespace
            and query.name in (None, tag.name)
            and matches(stored.labels, query.selector)
            and (query.requires is None or _locks(stored, query.requires))
        ]
        age = {tag: (stored.created, stored.order) for tag, stored in own}
        if query.order_by == "created_at":
            ordered = sorted(age, key=lambda tag: age[tag], reverse=not query.ascending)
        else:
            ordered = sorted(age, key=lambda tag: age[tag], reverse=True)
            ordered.sort(key=lambda tag: tag.name, reverse=not query.ascending)
        end = None if query.limit is None else query.offset + query.limit
        return [str(tag) for tag in ordered[query.offset : end]]


def _locks(stored: Stored, requires: str) -> bool:
    name = requires[: len("pillow")] if requires.startswith("pillow") else requires[: len("numpy")]
    specifier = SpecifierSet(requires[len(name) :])
    return any(
        name == locked and specifier.contains(Version(version), prereleases=True) for locked, version in stored.packages
    )


class RegistryMachine(RuleBasedStateMachine):
    """Do the same to a registry and to its model."""

    new_url: Callable[[Path], str]

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory(prefix="kappa-model-")
        self.model = Model()
        self.numbers = itertools.count()

    @initialize()
    def begin(self) -> None:
        root = Path(self.folder.name)
        self.url = type(self).new_url(root)
        self.service = GammaService(open_storage("memory://", environ={"KAPPA_HOME": str(root)}), self.url)
        self.service.open()
        self.engine = open_database(self.url)

    def teardown(self) -> None:
        if hasattr(self, "service"):
            self.service.close()
            self.engine.dispose()
        self.folder.cleanup()

    def expect(self, kind: type[KappaError], act: Callable[[], object]) -> None:
        with pytest.raises(kind):
            act()

    @rule(
        tag=TAGS,
        digest=st.sampled_from(["aa", "bb"]),
        created=st.integers(0, 3),
        labels=LABELS,
        packages=PACKAGES,
    )
    def put(
        self, tag: Tag, digest: str, created: int, labels: dict[str, str], packages: tuple[tuple[str, str], ...]
    ) -> None:
        record = BundleRecord(
            tag=tag,
            created_at=START + timedelta(days=created),
            uri=str(tag),
            kappa_version="0.1.0",
            content_digest="sha256:" + "0" * 64,
            bundle_digest="sha256:" + digest * 32,
            size_bytes=1,
            view={},
            labels=labels,
            packages=packages,
        )

        def act() -> BundleRecord:
            with self.engine.begin() as connection:
                return add_bundle(connection, record)

        if tag in self.model.aliases:
            self.expect(UsageError, act)
        elif (stored := self.model.bundles.get(tag)) is not None and stored.digest == digest:
            assert dict(act().labels) == stored.labels
        elif stored is not None or self.model.reserved.get(tag, digest) != digest:
            self.expect(DestinationExistsError, act)
        else:
            assert dict(act().labels) == labels
            self.model.reserved.pop(tag, None)
            self.model.bundles[tag] = Stored(created, next(self.numbers), digest, dict(labels), packages)

    @rule(tag=TAGS, changes=st.dictionaries(KEYS, st.one_of(st.none(), VALUES), max_size=3))
    def label(self, tag: Tag, changes: dict[str, str | None]) -> None:
        def act() -> BundleRecord:
            return self.service.set_labels(tag, changes, operation="")

        if (stored := self.model.bundles.get(tag)) is None:
            self.expect(BundleNotFoundError, act)
            return
        merged = {**stored.labels, **changes}
        stored.labels = {key: value for key, value in merged.items() if value is not None}
        assert dict(act().labels) == stored.labels

    @rule(tag=TAGS, alias=REFS, expect=st.one_of(st.none(), st.just(""), REFS))
    def alias(self, tag: Tag, alias: str, expect: str | None) -> None:
        named = Tag(tag.name, alias, tag.namespace)

        def act() -> tuple[str | None, str | None]:
            change = self.service.set_alias(tag, alias, expect=expect, operation="")
            return change.previous, change.version

        current = self.model.aliases.get(named)
        if tag not in self.model.bundles:
            self.expect(BundleNotFoundError, act)
        elif named in self.model.bundles or named in self.model.reserved:
            self.expect(UsageError, act)
        elif expect is not None and expect != (current or ""):
            self.expect(GammaError, act)
        else:
            assert act() == (current, tag.version)
            if current != tag.version:
                self.model.move(named, tag.version)

    @rule(tag=TAGS, expect=st.one_of(st.none(), REFS))
    def unalias(self, tag: Tag, expect: str | None) -> None:
        def act() -> tuple[str | None, str | None]:
            change = self.service.delete_alias(
                tag.name, tag.version, namespace=tag.namespace, expect=expect, operation=""
            )
            return change.previous, change.version

        current = self.model.aliases.get(tag)
        if current is None:
            self.expect(BundleNotFoundError, act)
        elif expect not in (None, current):
            self.expect(GammaError, act)
        else:
            assert act() == (current, None)
            self.model.move(tag, None)

    @rule(tags=st.lists(TAGS, min_size=1, max_size=3), force=st.booleans())
    def delete(self, tags: list[Tag], force: bool) -> None:
        def act() -> list[Tag]:
            return self.service.delete(tags, force=force, operation="")

        there = [tag for tag in dict.fromkeys(tags) if tag in self.model.bundles]
        if not force and any(self.model.aliases_of(tag) for tag in there):
            self.expect(GammaError, act)
            return
        assert act() == there
        for tag in there:
            for alias in self.model.aliases_of(tag):
                self.model.move(Tag(tag.name, alias, tag.namespace), None)
            self.model.reserved[tag] = self.model.bundles.pop(tag).digest

    @rule(tag=TAGS)
    def resolve(self, tag: Tag) -> None:
        reference = BundleReference(tag.name, tag.version, namespace=tag.namespace)
        version = tag.version if tag in self.model.bundles else self.model.aliases.get(tag)
        if version is None:
            self.expect(BundleNotFoundError, lambda: self.service.resolve(reference))
            return
        record = self.service.resolve(reference)
        assert record.tag == Tag(tag.name, version, tag.namespace)
        assert list(record.aliases) == self.model.aliases_of(record.tag)
        assert record.bundle_digest == "sha256:" + self.model.bundles[record.tag].digest * 32

    @rule(name=NAMES, namespace=NAMESPACES)
    def resolve_latest(self, name: str, namespace: str) -> None:
        reference = BundleReference(name, namespace=namespace)
        latest = self.model.latest(namespace, name)
        if latest is None:
            self.expect(BundleNotFoundError, lambda: self.service.resolve(reference))
        else:
            assert self.service.resolve(reference).tag == latest

    @rule(
        name=st.one_of(st.none(), NAMES),
        namespace=NAMESPACES,
        selector=SELECTORS,
        requires=st.one_of(st.none(), st.builds("{}{}".format, st.sampled_from(["pillow", "numpy"]), SPECIFIERS)),
        order_by=st.sampled_from(["created_at", "name"]),
        ascending=st.booleans(),
        limit=st.one_of(st.none(), st.integers(1, 3)),
        offset=st.integers(0, 2),
    )
    def list_bundles(
        self,
        name: str | None,
        namespace: str,
        selector: tuple[Requirement, ...],
        requires: str | None,
        order_by: Order,
        ascending: bool,
        limit: int | None,
        offset: int,
    ) -> None:
        query = Query(
            name=name,
            namespace=namespace,
            selector=selector,
            requires=requires,
            order_by=order_by,
            ascending=ascending,
            limit=limit,
            offset=offset,
        )
        assert [str(record.tag) for record in self.service.list_bundles(query)] == self.model.list(query)

    @invariant()
    def aliases_and_their_history_agree(self) -> None:
        if not hasattr(self, "service"):
            return
        for namespace, name in {(alias.namespace, alias.name) for alias in self.model.history}:
            rows = self.service.aliases(name, namespace=namespace)
            assert {Tag(name, row.alias, namespace): row.version for row in rows} == {
                alias: version
                for alias, version in self.model.aliases.items()
                if (alias.namespace, alias.name) == (namespace, name)
            }
        for alias, moves in self.model.history.items():
            changes = self.service.alias_history(alias.name, alias.version, namespace=alias.namespace)
            assert [(change.previous, change.version) for change in changes] == moves


def run(new_url: Callable[[Path], str], *, examples: int, steps: int) -> None:
    machine = type("OwnMachine", (RegistryMachine,), {"new_url": staticmethod(new_url)})
    run_state_machine_as_test(machine, settings=settings(max_examples=examples, stateful_step_count=steps))


@pytest.mark.parametrize("few", [1, 1000], ids=["all-are-many", "all-are-few"])
def test_the_registry_agrees_with_its_model_on_sqlite(few: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(selection, "FEW", few)  # what decides how a page is found
    run(lambda folder: sqlite_url(folder / "storage.db"), examples=15, steps=40)


@pytest.mark.engine
@pytest.mark.postgres
def test_the_registry_agrees_with_its_model_on_postgresql(postgres: Databases) -> None:
    run(lambda _: postgres.ready(), examples=15, steps=40)
