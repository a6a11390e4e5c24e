"""Whatever a value holds, it is the same after it was a message, and after it was JSON."""

from __future__ import annotations

from datetime import datetime, timezone
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kappa.errors import UsageError
from kappa.gamma.protocols.registry import BundleFile, Commit, Garbage, RegistryInfo, Upload
from kappa.gamma.wire import failures
from kappa.gamma.wire.http_api import from_json, selector_text, to_json
from kappa.gamma.wire.proto import conversion, messages
from kappa.labels import Requirement, parse_selector
from kappa.spec.store import Alias, AliasChange, BundleRecord, Query
from kappa.tag import BundleReference, Tag

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
NAMES = st.from_regex(r"[A-Za-z][A-Za-z0-9_]{0,9}X", fullmatch=True)
VERSIONS = st.from_regex(r"[0-9][A-Za-z0-9_.-]{0,9}", fullmatch=True)
NAMESPACES = st.from_regex(r"[a-z0-9]([a-z0-9-]{0,9}[a-z0-9])?", fullmatch=True)
DIGESTS = st.from_regex(r"sha256:[0-9a-f]{64}", fullmatch=True)
LABELS = st.from_regex(r"[A-Za-z0-9]([A-Za-z0-9_.-]{0,9}[A-Za-z0-9])?", fullmatch=True)
KEYS = LABELS.filter(lambda text: text.lower() not in ("in", "notin", "exists", "doesnotexist"))
SIZES = st.integers(0, 2**63 - 1)
TIMES = st.datetimes(datetime(1970, 1, 1), datetime(9999, 1, 1), timezones=st.just(timezone.utc))  # noqa: DTZ001
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(allow_nan=False, allow_infinity=False) | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=8,
)
TAGS = st.builds(Tag, NAMES, VERSIONS, NAMESPACES)
RECORDS = st.builds(
    BundleRecord,
    tag=TAGS,
    created_at=TIMES,
    uri=TEXT,
    kappa_version=TEXT,
    content_digest=DIGESTS,
    bundle_digest=DIGESTS,
    size_bytes=SIZES,
    view=st.dictionaries(TEXT, JSON, max_size=3),
    labels=st.dictionaries(LABELS, LABELS, max_size=3),
    packages=st.lists(st.tuples(TEXT, TEXT), max_size=3).map(tuple),
    registered_at=st.none() | TIMES,
    aliases=st.lists(VERSIONS, max_size=3).map(tuple),
)
REQUIREMENTS = st.one_of(
    st.builds(Requirement, KEYS, st.sampled_from(["in", "notin"]), st.lists(LABELS, min_size=1, max_size=3).map(tuple)),
    st.builds(Requirement, KEYS, st.sampled_from(["exists", "doesnotexist"])),
)
QUERIES = st.builds(
    Query,
    name=st.none() | NAMES,
    version=st.none() | VERSIONS,
    digest=st.none() | DIGESTS,
    selector=st.lists(REQUIREMENTS, max_size=3).map(tuple),
    limit=st.none() | SIZES,
    offset=SIZES,
    order_by=st.sampled_from(["created_at", "name"]),
    ascending=st.booleans(),
    namespace=NAMESPACES,
    requires=st.none() | st.just("pillow<11.1"),
)
CHANGES = st.builds(AliasChange, NAMES, VERSIONS, st.none() | VERSIONS, st.none() | VERSIONS, TIMES, TEXT, NAMESPACES)
VALUES: dict[str, tuple[Any, Any, Any, Any]] = {
    "bundle": (RECORDS, BundleRecord, conversion.bundle_message, conversion.bundle_of),
    "file": (
        st.builds(BundleFile, TEXT, DIGESTS, SIZES, st.booleans()),
        BundleFile,
        conversion.file_message,
        conversion.file_of,
    ),
    "tag": (TAGS, Tag, conversion.tag_message, conversion.tag_of),
    "query": (QUERIES, Query, conversion.query_message, conversion.query_of),
    "alias": (
        st.builds(Alias, NAMES, VERSIONS, VERSIONS, TIMES, NAMESPACES),
        Alias,
        conversion.alias_message,
        conversion.alias_of,
    ),
    "change": (CHANGES, AliasChange, conversion.change_message, conversion.change_of),
    "upload": (
        st.builds(
            Upload, VERSIONS, st.dictionaries(DIGESTS, SIZES, max_size=3), st.none() | TIMES, st.none() | RECORDS
        ),
        Upload,
        conversion.upload_message,
        conversion.upload_of,
    ),
    "commit": (
        st.builds(Commit, RECORDS, st.booleans(), st.booleans()),
        Commit,
        conversion.commit_message,
        conversion.commit_of,
    ),
    "garbage": (
        st.builds(Garbage, SIZES, SIZES, SIZES, st.booleans()),
        Garbage,
        conversion.garbage_message,
        conversion.garbage_of,
    ),
    "info": (
        st.builds(RegistryInfo, TEXT, st.booleans(), st.booleans()),
        RegistryInfo,
        conversion.info_message,
        conversion.info_of,
    ),
}


@pytest.mark.parametrize("name", VALUES)
def test_a_value_is_the_same_after_it_was_a_message_and_after_it_was_json(name: str) -> None:
    strategy, kind, to_message, of_message = VALUES[name]

    @given(strategy)
    def is_the_same(value: Any) -> None:
        message = to_message(value)
        assert of_message(type(message).FromString(message.SerializeToString())) == value
        assert from_json(kind, to_json(kind, value)) == value

    is_the_same()


@given(st.lists(REQUIREMENTS, min_size=1, max_size=4))
def test_a_selector_is_the_same_after_it_was_text(selector: list[Requirement]) -> None:
    assert parse_selector(selector_text(selector)) == tuple(selector)


@pytest.mark.parametrize(
    "reference",
    [
        BundleReference("Iris"),
        BundleReference("Iris", version="1"),
        BundleReference("Iris", digest="sha256:" + "a" * 64, namespace="growth"),
    ],
)
def test_a_reference_is_the_same_after_it_was_a_message(reference: BundleReference) -> None:
    assert conversion.reference_of(conversion.reference_message(reference)) == reference


def test_a_reference_has_a_version_or_a_digest() -> None:
    with pytest.raises(UsageError, match="not both"):
        conversion.reference_of(messages.Reference(name="Iris", version="1", digest="sha256:" + "a" * 64))


def test_items_are_sent_in_portions_of_bounded_size() -> None:
    files = [messages.File(path="x" * 100) for _ in range(1000)]
    portions = list(conversion.in_portions(files, list, size=10_000))
    assert [item for portion in portions for item in portion] == files
    assert max(sum(item.ByteSize() for item in portion) for portion in portions) < 10_200
    assert list(conversion.in_portions([], list)) == []


def test_an_unknown_class_of_a_failure_is_one_of_gamma() -> None:
    assert repr(failures.error_of("FutureError", "No.")) == "GammaError('No.')"
    assert repr(failures.error_of("optional_import", "No.")) == "GammaError('No.')"
