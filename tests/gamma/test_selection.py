"""Queries of sixty bundles against a plain Python evaluation, whichever way the statement takes through the indexes."""

from __future__ import annotations

import random
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from packaging.specifiers import SpecifierSet
from sqlalchemy import Engine, text

from kappa.gamma.database import selection
from kappa.gamma.database.bundles import add_bundle
from kappa.gamma.database.engine import open_database, reading
from kappa.gamma.database.queries import find_bundles
from kappa.labels import Requirement, matches, parse_selector
from kappa.spec.store import BundleRecord, Query
from kappa.tag import Tag

KEYS = ["team", "stage", "era", "everywhere"]
VALUES = ["a", "b", "c"]
START = datetime(2026, 1, 1, tzinfo=timezone.utc)

REQUIREMENTS = st.one_of(
    st.builds(
        Requirement,
        st.sampled_from(KEYS),
        st.sampled_from(["in", "notin"]),
        st.lists(st.sampled_from(VALUES), min_size=1, max_size=2, unique=True).map(tuple),
    ),
    st.builds(Requirement, st.sampled_from([*KEYS, "nowhere"]), st.sampled_from(["exists", "doesnotexist"])),
)
QUERIES = st.builds(
    Query,
    name=st.one_of(st.none(), st.sampled_from(["Iris", "Wine"])),
    selector=st.lists(REQUIREMENTS, max_size=3).map(tuple),
    requires=st.one_of(st.none(), st.sampled_from(["pillow", "pillow<1.1", "pillow>=1.1", "numpy==2.0", "numpy>3"])),
    order_by=st.sampled_from(["created_at", "name"]),
    ascending=st.booleans(),
    limit=st.one_of(st.none(), st.integers(1, 12)),
    offset=st.sampled_from([0, 0, 3, 40]),
)


def records() -> Iterator[BundleRecord]:
    """Yield bundles of two services, several built at one moment and some with two versions of a distribution."""
    choose = random.Random(1)
    for number in range(60):
        own = {key: choose.choice(VALUES) for key in KEYS[:2] if choose.random() < 0.7} | {"everywhere": "a"}
        locked = [(name, choose.choice(["1.0", "1.1", "2.0"])) for name in ("pillow", "numpy") if choose.random() < 0.6]
        if choose.random() < 0.3:
            locked.append(("pillow", "1.2"))
        yield BundleRecord(
            tag=Tag(choose.choice(["Iris", "Iris", "Wine"]), str(number)),
            created_at=START + timedelta(seconds=choose.randrange(20)),
            uri=str(number),
            kappa_version="0.1.0",
            content_digest="sha256:" + "0" * 64,
            bundle_digest=f"sha256:{number:064x}",
            size_bytes=1,
            view={},
            labels={**own, "era": "b"} if number < 15 else own,
            packages=tuple(sorted(set(locked))),
        )


def expected(query: Query) -> list[Tag]:
    """Evaluate a query in Python."""
    rows = [
        (record.created_at, number, record.tag)
        for number, record in enumerate(records())
        if query.name in (None, record.tag.name)
        and matches(record.labels, query.selector)
        and (query.requires is None or is_affected(record, query.requires))
    ]
    if query.order_by == "created_at":
        rows.sort(reverse=not query.ascending)
    else:
        rows.sort(reverse=True)
        rows.sort(key=lambda row: row[2].name, reverse=not query.ascending)
    end = None if query.limit is None else query.offset + query.limit
    return [tag for _, _, tag in rows[query.offset : end]]


def is_affected(record: BundleRecord, requires: str) -> bool:
    name = requires.rstrip("<>=.0123456789")
    specifier = SpecifierSet(requires.removeprefix(name))
    return any(name == locked and specifier.contains(version) for locked, version in record.packages)


@pytest.fixture
def engine(database_url: str) -> Iterator[Engine]:
    """Return a database that holds them."""
    engine = open_database(database_url)
    with engine.begin() as connection:
        for record in records():
            add_bundle(connection, record)
    yield engine
    engine.dispose()


@pytest.mark.parametrize("few", [1, 12, 1000], ids=["all-are-many", "some-are-few", "all-are-few"])
def test_a_query_selects_what_a_plain_evaluation_does(
    few: int, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(selection, "FEW", few)  # so that each way is taken with sixty rows

    @settings(max_examples=250, suppress_health_check=[HealthCheck.too_slow], deadline=None)
    @given(QUERIES)
    def check(query: Query) -> None:
        with reading(engine) as connection:
            assert [record.tag for record in find_bundles(connection, query)] == expected(query)

    check()


@pytest.mark.parametrize(
    ("selector", "requires"),
    [
        ("everywhere DoesNotExist", None),
        ("everywhere=a, stage DoesNotExist", None),
        ("team=a, stage=b", None),
        ("team NotIn (a), everywhere=a", None),
        ("everywhere=a", "pillow<1.1"),
        ("stage DoesNotExist", "pillow<1.1"),
    ],
)
def test_conditions_that_many_rows_meet_are_merged_in_the_order_of_their_indexes(
    selector: str, requires: str | None, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(selection, "FEW", 1)
    query = Query(selector=parse_selector(selector), requires=requires, limit=5)
    with reading(engine) as connection:
        if engine.dialect.name == "postgresql":  # sixty rows are cheaper to sort than to read in order
            connection.execute(
                text("SELECT set_config('enable_seqscan', 'off', true), set_config('enable_sort', 'off', true)")
            )
        statement = selection.selection(connection, query)
        assert statement is not None
        words = str(statement.compile(engine, compile_kwargs={"literal_binds": True}))
        explain = "EXPLAIN QUERY PLAN" if engine.dialect.name == "sqlite" else "EXPLAIN"
        plan = "\n".join(str(row[-1]) for row in connection.exec_driver_sql(f"{explain} {words}"))
    assert "MERGE" in plan if engine.dialect.name == "sqlite" else "Merge" in plan, plan
    assert "TEMP B-TREE" not in plan, plan
    assert "Sort" not in plan, plan
