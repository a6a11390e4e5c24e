"""What a scope selects: in SQL as in plain Python, and so that what is outside looks as if it was never there."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from fnmatch import fnmatchcase
from itertools import product
from typing import cast

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Engine

from kappa.errors import AccessDeniedError, BundleError, BundleNotFoundError
from kappa.gamma.database import selection
from kappa.gamma.database.bundle_files import add_files, readable_sources
from kappa.gamma.database.bundles import add_bundle
from kappa.gamma.database.engine import open_database, reading
from kappa.gamma.database.namespaces import select_bundles
from kappa.gamma.database.queries import names_of, services_of
from kappa.gamma.protocols.callers import Caller, Scope
from kappa.gamma.protocols.registry import BundleFile
from kappa.gamma.service.gamma_service import GammaService
from kappa.gamma.storages.opening import open_storage
from kappa.labels import Requirement, matches
from kappa.spec.store import BundleRecord, Order, Query
from kappa.tag import ALL_NAMESPACES, BundleReference, Tag
from tests.gamma.sealed import pull, push, seal

START = datetime(2026, 1, 1, tzinfo=timezone.utc)
NAMESPACES = ["default", "team-a", "team-b", "team"]
NAMES = ["Iris", "iris", "Iris_2", "IrisX2", "Wine", "W"]
PATTERNS = st.one_of(
    st.just("*/*"),
    st.builds(
        "{}/{}".format,
        st.sampled_from([*NAMESPACES, "*", "team*", "*-a", "t*m-*", "nowhere"]),
        st.sampled_from([*NAMES, "*", "Iris*", "*2", "I*s*", "Iris_*", "*_*", "Nothing", "**"]),
    ),
)
SCOPES = st.lists(PATTERNS, min_size=1, max_size=3).map(lambda patterns: Scope.checked(tuple(patterns)))
SELECTORS: list[tuple[Requirement, ...]] = [
    (),
    (Requirement("stage", "in", ("a",)),),
    (Requirement("stage", "exists"), Requirement("era", "in", ("b", "c"))),
    (Requirement("stage", "doesnotexist"),),
    (Requirement("stage", "notin", ("b",)), Requirement("era", "doesnotexist")),
]
QUERIES = st.builds(
    Query,
    namespace=st.sampled_from([*NAMESPACES, ALL_NAMESPACES]),
    name=st.one_of(st.none(), st.sampled_from(NAMES)),
    selector=st.sampled_from(SELECTORS),
    requires=st.sampled_from([None, None, "apple", "apple<1.1"]),
    order_by=st.sampled_from(["created_at", "name"]),
    ascending=st.booleans(),
    limit=st.one_of(st.none(), st.integers(1, 20)),
    offset=st.sampled_from([0, 0, 4]),
)


def records() -> list[BundleRecord]:
    """Return bundles of every name and namespace, each built at a moment of its own."""
    choose = random.Random(5)
    moments = random.Random(6).sample(range(1000), 120)
    return [
        BundleRecord(
            tag=Tag(choose.choice(NAMES), str(number), choose.choice(NAMESPACES)),
            created_at=START + timedelta(seconds=moment),
            uri=str(number),
            kappa_version="0.1.0",
            content_digest="sha256:" + "0" * 64,
            bundle_digest=f"sha256:{number:064x}",
            size_bytes=1,
            view={},
            labels={key: choose.choice("abc") for key in ("stage", "era") if choose.random() < 0.7},
            packages=(("apple", choose.choice(["1.0", "1.1"])),) if choose.random() < 0.6 else (),
        )
        for number, moment in enumerate(moments)
    ]


def is_inside(scope: Scope, tag: Tag) -> bool:
    """Evaluate a scope as its definition says, on the whole text."""
    return any(
        fnmatchcase(tag.namespace, pattern.split("/")[0]) and fnmatchcase(tag.name, pattern.split("/")[1])
        for pattern in scope.patterns
    )


def expected(query: Query, scope: Scope) -> list[Tag]:
    rows = [
        record
        for record in records()
        if is_inside(scope, record.tag)
        and query.namespace in (ALL_NAMESPACES, record.tag.namespace)
        and query.name in (None, record.tag.name)
        and matches(record.labels, query.selector)
        and (query.requires is None or any(query.requires == "apple" or pin == "1.0" for _, pin in record.packages))
    ]
    rows.sort(key=lambda record: record.created_at, reverse=query.order_by == "name" or not query.ascending)
    if query.order_by == "name":
        rows.sort(key=lambda record: record.tag.name, reverse=not query.ascending)
    end = None if query.limit is None else query.offset + query.limit
    return [record.tag for record in rows[query.offset : end]]


@pytest.fixture
def engine(database_url: str) -> Iterator[Engine]:
    engine = open_database(database_url)
    with engine.begin() as connection:
        for record in records():
            add_bundle(connection, record)
            add_files(connection, record.tag, [BundleFile("x", f"sha256:{record.tag.name}", 1)])
    yield engine
    engine.dispose()


@pytest.mark.parametrize("few", [1, 12, 1000], ids=["all-are-many", "some-are-few", "all-are-few"])
def test_a_query_of_a_scope_selects_what_a_plain_evaluation_does(
    few: int, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(selection, "FEW", few)

    @settings(max_examples=200, suppress_health_check=[HealthCheck.too_slow], deadline=None)
    @given(QUERIES, SCOPES)
    def check(query: Query, scope: Scope) -> None:
        with reading(engine) as connection:
            assert [record.tag for record in select_bundles(connection, query, scope)] == expected(query, scope)

    check()


@pytest.mark.parametrize("few", [1, 12, 1000], ids=["all-are-many", "some-are-few", "all-are-few"])
def test_each_way_through_the_indexes_keeps_to_the_scope(
    few: int, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(selection, "FEW", few)
    queries = [
        Query(namespace=namespace, selector=selector, requires=requires, order_by=cast("Order", order))
        for namespace, selector, requires, order in product(
            ["team-a", ALL_NAMESPACES], SELECTORS, [None, "apple", "apple<1.1"], ["created_at", "name"]
        )
    ]
    with reading(engine) as connection:
        for query, patterns in product(queries, [("*/Iris",), ("team*/I*_*", "default/*"), ("*/W*", "team-a/iris")]):
            scope = Scope.checked(patterns)
            assert [record.tag for record in select_bundles(connection, query, scope)] == expected(query, scope)


def test_services_of_a_scope_are_those_that_a_plain_evaluation_counts(engine: Engine) -> None:
    @settings(max_examples=100, suppress_health_check=[HealthCheck.too_slow], deadline=None)
    @given(st.sampled_from([*NAMESPACES, ALL_NAMESPACES]), SCOPES, st.sampled_from(["", "iris", "_", "x"]))
    def check(namespace: str, scope: Scope, search: str) -> None:
        tags = [record.tag for record in records() if is_inside(scope, record.tag)]
        tags = [tag for tag in tags if namespace in (ALL_NAMESPACES, tag.namespace) and search in tag.name.lower()]
        with reading(engine) as connection:
            services = services_of(connection, namespace, search=search, scope=scope)
        counted = {service.latest.tag.service: service.versions for service in services}
        assert counted == Counter(tag.service for tag in tags)

    check()


def test_names_and_blobs_of_a_scope_are_those_that_a_plain_evaluation_selects(engine: Engine) -> None:
    @settings(max_examples=100, suppress_health_check=[HealthCheck.too_slow], deadline=None)
    @given(st.sampled_from(NAMESPACES), SCOPES)
    def check(namespace: str, scope: Scope) -> None:
        inside = {record.tag.name for record in records() if record.tag.namespace == namespace}
        inside = {name for name in inside if is_inside(scope, Tag(name, "1", namespace))}
        digests = [f"sha256:{name}" for name in NAMES]
        with reading(engine) as connection:
            assert names_of(connection, namespace, scope) == sorted(inside)
            sources = readable_sources(connection, namespace, digests, scope)
        assert set(sources) == {f"sha256:{name}" for name in inside}

    check()


@settings(max_examples=200)
@given(SCOPES, st.sampled_from(NAMESPACES), st.sampled_from(NAMES))
def test_a_scope_has_a_service_as_its_definition_says(scope: Scope, namespace: str, name: str) -> None:
    assert scope.includes(namespace, name) is is_inside(scope, Tag(name, "1", namespace))
    assert not scope.is_unrestricted or is_inside(scope, Tag(name, "1", namespace))


@pytest.mark.parametrize(
    "pattern",
    ["", "*", "Iris", "team-a/", "/Iris", "team/a/b", "team-a/I[rs]", "team/Ir?s", "a/b\n", "Team/*", "a/é", "a/%"],
)
def test_what_cannot_be_a_pattern_is_refused(pattern: str) -> None:
    with pytest.raises(ValueError, match="is not a pattern of a scope: write `NAMESPACE/NAME`"):
        Scope.checked(("*/*", pattern))


def test_a_scope_has_at_least_one_pattern_and_not_too_many() -> None:
    for patterns in ((), ("a/b",) * 101):
        with pytest.raises(ValueError, match="a scope has 1 to 100 patterns"):
            Scope.checked(patterns)


# -- a registry as a caller of a scope sees it -------------------------------------------------------------------------


@pytest.fixture
def service(database_url: str, tmp_path: object) -> Iterator[GammaService]:
    service = GammaService(open_storage("memory://", environ={"KAPPA_HOME": str(tmp_path)}), database_url)
    service.open()
    yield service
    service.close()


MODEL = {"Iris/artifacts/model.bin": b"model " * 1000}


def seen(service: GammaService, *patterns: str, token_id: str = "1" * 12) -> GammaService:
    return service.seen_by(Caller(token_id, "ci", "admin", Scope.checked(patterns)))


def message(view: GammaService, text: str) -> str:
    with pytest.raises(BundleError) as caught:
        view.resolve(BundleReference.parse(text))
    return str(caught.value)


def test_the_answer_for_a_hidden_service_is_that_for_one_that_is_not_there(service: GammaService) -> None:
    for name in ("Iris", "Wine"):
        push(service, seal("1", {f"{name}/x": name.encode()}, name=name))
        service.set_alias(Tag(name, "1"), "live", operation="")
    view = seen(service, "default/Wine")
    for form in ("{}", "{}:1", "{}:live", "{}@sha256:000000"):
        hidden, absent = (message(view, form.format(name)) for name in ("Iris", "Rose"))
        assert hidden.replace("Iris", "Rose") == absent
        assert "`Wine`" in hidden
    assert message(seen(service, "team-a/*"), "Iris").startswith(
        "There is no bundle `Iris:latest`: the store is empty."
    )
    assert [str(record.tag) for record in view.list_bundles()] == ["Wine:1"]
    tag = Tag("Iris", "1")
    digest = service.files_of(tag)[0].digest
    for read in (
        lambda: view.files_of(tag),
        lambda: view.read_blob(tag, digest),
        lambda: view.download_url(tag, digest),
    ):
        with pytest.raises(BundleNotFoundError, match=r"^There is no bundle `Iris:1` in the registry\.$"):
            read()
    assert view.aliases("Iris") == view.alias_history("Iris", "live") == []


def test_a_view_changes_nothing_of_the_registry_itself(service: GammaService) -> None:
    push(service, seal("1"))
    view = seen(service, "team-a/*")
    assert view.list_bundles() == []
    assert len(service.list_bundles()) == 1
    assert (view.info().has_authentication, service.info().has_authentication) == (True, False)


def test_changing_what_is_outside_is_refused_whether_it_is_there_or_not(service: GammaService) -> None:
    push(service, seal("1"))
    view = seen(service, "team-a/*", "default/W*")
    for name in ("Iris", "Rose"):
        for change in (
            lambda tag: view.set_labels(tag, {"a": "b"}, operation=""),
            lambda tag: view.set_alias(tag, "live", operation=""),
            lambda tag: view.delete_alias(tag.name, "live", operation=""),
            lambda tag: view.delete([Tag("Wine", "1"), tag], operation=""),
        ):
            with pytest.raises(AccessDeniedError) as caught:
                change(Tag(name, "1"))
            assert f"The token `ci` may not change `default/{name}`: it is for `team-a/*, default/W*`." in str(
                caught.value
            )
    bundle = seal("2")
    with pytest.raises(AccessDeniedError, match="may not change `default/Iris`"):
        view.begin_upload(bundle.manifest, bundle.files, operation="")
    assert [str(record.tag) for record in service.list_bundles()] == ["Iris:1"]


def test_a_blob_is_there_only_through_a_bundle_of_the_scope(service: GammaService) -> None:
    first = seal("1", MODEL, name="Iris")
    push(service, first)
    second = seal("1", {"Wine/artifacts/model.bin": MODEL["Iris/artifacts/model.bin"]}, name="Wine")
    shared = {file.digest for file in first.files} & {file.digest for file in second.files}
    assert len(shared) == 4  # the model, the lock, the entry point and the empty file, which is never sent
    wide = seen(service, "default/*").begin_upload(second.manifest, second.files, operation="")
    narrow = seen(service, "default/Wine", token_id="2" * 12).begin_upload(second.manifest, second.files, operation="")
    assert not shared & wide.missing.keys()
    assert len(shared & narrow.missing.keys()) == 3
    assert set(narrow.missing.values()) == {0}
    view = seen(service, "default/Wine")
    assert push(view, second).record.tag == Tag("Wine", "1")
    assert pull(view, Tag("Wine", "1")) == second.contents


def test_a_size_by_a_hidden_bundle_is_not_told(service: GammaService) -> None:
    push(service, seal("1", MODEL, name="Iris"))
    second = seal("1", {"Wine/artifacts/model.bin": MODEL["Iris/artifacts/model.bin"]}, name="Wine")
    files = [
        BundleFile(
            file.path, file.digest, 7 if file.path.endswith("model.bin") else file.size_bytes, file.is_executable
        )
        for file in second.files
    ]
    with pytest.raises(BundleError, match="has 6000 bytes by its digest, and not 7"):
        seen(service, "default/*").begin_upload(second.manifest, files, operation="")
    assert seen(service, "default/Wine").begin_upload(second.manifest, files, operation="").session


def test_who_wrote_is_recorded(service: GammaService) -> None:
    view = seen(service, "default/*")
    push(view, seal("1"))
    assert view.set_alias(Tag("Iris", "1"), "live", operation="").changed_by == "ci"
    view.delete_alias("Iris", "live", operation="")
    view.set_alias(Tag("Iris", "1"), "live", operation="")
    view.delete([Tag("Iris", "1")], force=True, operation="")
    assert {change.changed_by for change in service.alias_history("Iris", "live")} == {"ci"}
    assert len(service.alias_history("Iris", "live")) == 4
