"""Names, versions and tags; the mapping of versions to PEP 440 is one to one."""

from __future__ import annotations

import datetime as dt
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from packaging.version import Version

from kappa.errors import UsageError
from kappa.tag import (
    BundleReference,
    Tag,
    check_identifier,
    check_name,
    check_version,
    default_version,
    from_pep440,
    to_pep440,
)

CONFUSABLE = re.split(
    r"\s+",
    """
    1 1.0 1.0.0 01 1.0a1 1.0A1 1.0-1 1.0.post1 1.0.dev0 v1 1_0 1.0rc1 1.0c1 0.1 20240102030405 20240102030405.1
    20240102030405.01 20240102030405.16777215 20240102030405.16777216 20240102030405_000001 20240102030405_00000A
    20240102030405_00000a 00000000000000_000001 00240102030405_000001 1.2.20240102030405_000001 1.2.20240102030405.1
    01.2.20240102030405_000001 2.20240102030405_000001 1.2.3.20240102030405_000001 1.2.20240102030405.16777216
""".strip(),
)

versions = (
    st.from_regex(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,20}", fullmatch=True)
    | st.from_regex(r"([0-9]{1,2}\.[0-9]\.)?[0-9]{14}_[0-9A-F]{6}", fullmatch=True)
    | st.from_regex(r"([0-9]{1,2}\.[0-9]\.)?[0-9]{14}\.[0-9]{1,8}", fullmatch=True)
    | st.from_regex(
        r"(0|[1-9][0-9]?)(\.(0|[1-9][0-9]?)){0,3}((a|b|rc)[0-9])?(\.post[0-9])?(\.dev[0-9])?", fullmatch=True
    )
    | st.sampled_from(CONFUSABLE)
).filter(lambda version: version.lower() != "latest")


@given(versions)
def test_a_version_comes_back_from_pep_440_also_after_pip_normalised_it(version: str) -> None:
    mapped = to_pep440(check_version(version))
    assert str(Version(mapped)) == mapped
    assert from_pep440(mapped) == version


@given(versions, versions)
def test_different_versions_stay_different(one: str, other: str) -> None:
    assert (to_pep440(one) == to_pep440(other)) == (one == other)


def test_confusable_versions_stay_different() -> None:
    assert len({to_pep440(version) for version in CONFUSABLE}) == len(CONFUSABLE)


@pytest.mark.parametrize(
    ("version", "expected"),
    [
        ("20240102030405_00000A", "20240102030405.10"),
        ("20240102030405_FFFFFF", "20240102030405.16777215"),
        ("1.2.20240102030405_00000A", "1.2.20240102030405.10"),
        ("0.10.20240102030405_FFFFFF", "0.10.20240102030405.16777215"),
        ("1.2.3", "1.2.3"),
        ("1.0rc1", "1.0rc1"),
        ("v1", "0+kappa.7631"),
        ("20240102030405.10", f"0+kappa.{b'20240102030405.10'.hex()}"),
        ("1.2.20240102030405.10", f"0+kappa.{b'1.2.20240102030405.10'.hex()}"),
    ],
)
def test_the_mapping_is_part_of_the_format(version: str, expected: str) -> None:
    assert to_pep440(version) == expected
    assert from_pep440(expected) == version


def test_the_default_version_is_the_utc_time_and_six_digits_of_the_digest() -> None:
    at = dt.datetime(2024, 1, 2, 4, 4, 5, tzinfo=dt.timezone(dt.timedelta(hours=1)))
    assert default_version("sha256:abcdef0123", at=at) == "20240102030405_ABCDEF"


@pytest.mark.parametrize(
    ("version", "message"),
    [
        ("", "`` is not a version"),
        ("-1", "`-1` is not a version"),
        ("1\n", "`1\n` is not a version"),
        ("a" * 129, "is not a version"),
        ("1/2", "`1/2` is not a version"),
        ("ü", "`ü` is not a version"),
        ("٣", "`٣` is not a version"),
        ("latest", "`latest` is reserved"),
        ("LaTest", "`latest` is reserved"),
    ],
)
def test_what_is_no_version(version: str, message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        check_version(version)


@pytest.mark.parametrize(
    "name", ["", "1a", "_a", "a-b", "a.b", "a b", "ä", "a\n", "a" * 129, "class", "None", "kappa", "Kappa"]
)
def test_what_cannot_name_a_service(name: str) -> None:
    with pytest.raises(ValueError, match="cannot name a service"):
        check_name(name)


@pytest.mark.parametrize("name", ["", "_a", "a-b", "ä", "a\n", "../a"])
def test_what_is_no_name(name: str) -> None:
    with pytest.raises(ValueError, match="is not a name"):
        check_identifier(name)


def test_a_tag_reads_what_it_writes() -> None:
    assert Tag.parse("Iris:1.0") == Tag("Iris", "1.0")
    assert str(Tag.parse("Iris:20240102030405_00000A")) == "Iris:20240102030405_00000A"


@pytest.mark.parametrize("text", ["Iris", "Iris:", ":1", "Iris:latest", "Iris:1:2"])
def test_what_is_no_tag(text: str) -> None:
    with pytest.raises(ValueError, match="`"):
        Tag.parse(text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Iris", BundleReference("Iris")),
        ("Iris:latest", BundleReference("Iris")),
        ("Iris:LATEST", BundleReference("Iris")),
        ("Iris:1.0", BundleReference("Iris", version="1.0")),
        ("Iris@sha256:abcdef", BundleReference("Iris", digest="sha256:abcdef")),
    ],
)
def test_a_reference_to_a_bundle(text: str, expected: BundleReference) -> None:
    assert BundleReference.parse(text) == expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "my model",
            "`my model` cannot name a service: use up to 128 letters, digits and `_`, beginning with a letter.",
        ),
        ("Iris:", "`Iris:` ends where a version is wanted: write `Iris:latest` for the newest."),
        ("", "`` has no name of a service: write `Name`, `Name:version` or `namespace/Name:version`."),
        (":1", "`:1` has no name of a service: write `Name`, `Name:version` or `namespace/Name:version`."),
        ("team/", "`team/` has no name of a service: write `Name`, `Name:version` or `namespace/Name:version`."),
        (
            "./iris",
            (
                "`./iris` is a path, where the name of a bundle is wanted: write `Name`, `Name:version` or "
                "`namespace/Name:version`."
            ),
        ),
        ("Iris@md5:1", "`md5:1` is not a digest: expected `sha256:` and 6 to 64 hex digits."),
        (
            "Iris:1@sha256:abcdef",
            "`Iris:1` cannot name a service: use up to 128 letters, digits and `_`, beginning with a letter.",
        ),
    ],
)
def test_what_refers_to_no_bundle(text: str, message: str) -> None:
    with pytest.raises(UsageError) as error:
        BundleReference.parse(text)
    assert str(error.value) == message
