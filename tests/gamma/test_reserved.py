"""Tags that stay reserved for deleted bundles, and are freed in the database of a server that runs."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from kappa.errors import ConfigurationError, DestinationExistsError, GammaError
from kappa.gamma.database.engine import sqlite_url
from kappa.gamma.reserved import forget_reserved
from kappa.gamma.service.gamma_service import GammaService
from kappa.gamma.storages.opening import open_storage
from kappa.tag import Tag
from tests.gamma.sealed import Bundle, push, seal

FIRST, OTHER = seal("1"), seal("1", {"Iris/artifacts/model.bin": b"other bytes"})


@pytest.fixture
def server(database_url: str, tmp_path: Path) -> Iterator[GammaService]:
    service = GammaService(open_storage("memory://", environ={"KAPPA_HOME": str(tmp_path)}), database_url)
    service.open()
    yield service
    service.close()


def deleted(server: GammaService, bundle: Bundle) -> Tag:
    tag = push(server, bundle).record.tag
    server.delete([tag], operation="")
    return tag


def test_a_freed_tag_takes_other_bytes_while_the_server_runs(server: GammaService, database_url: str) -> None:
    tag = deleted(server, FIRST)
    with pytest.raises(DestinationExistsError, match="stays reserved"):
        push(server, OTHER)
    assert forget_reserved(database_url, [tag, Tag("Iris", "2")]) == [tag]
    assert forget_reserved(database_url, [tag]) == []
    assert push(server, OTHER).record.bundle_digest != push(server, seal("2")).record.bundle_digest


def test_no_tag_is_freed_where_a_bundle_still_has_one(server: GammaService, database_url: str) -> None:
    tag, present = deleted(server, FIRST), push(server, seal("2")).record.tag
    with pytest.raises(GammaError, match=r"No tag was freed: `Iris:2` is still there\. Delete it first"):
        forget_reserved(database_url, [tag, present])
    with pytest.raises(DestinationExistsError):
        push(server, OTHER)


def test_tags_of_other_namespaces_stay_reserved(server: GammaService, database_url: str) -> None:
    tag = push(server, FIRST, namespace="team-b").record.tag
    server.delete([tag], operation="")
    assert forget_reserved(database_url, [Tag("Iris", "1")]) == []
    assert forget_reserved(database_url, [tag]) == [tag]


def test_a_database_of_another_version_stays_as_it_is(tmp_path: Path) -> None:
    older = tmp_path / "older.db"
    older.write_bytes((Path(__file__).parent / "databases" / "0001.db").read_bytes())
    before = older.read_bytes()
    with pytest.raises(GammaError, match=r"is at the revision `0001`.*use the Kappa that the server runs with"):
        forget_reserved(sqlite_url(older), [Tag("Iris", "1")])
    assert older.read_bytes() == before


def test_what_is_not_the_database_of_a_server_is_refused_and_not_made_one(tmp_path: Path) -> None:
    absent, foreign = tmp_path / "absent.db", tmp_path / "foreign.db"
    with pytest.raises(GammaError, match="There is no database"):
        forget_reserved(sqlite_url(absent), [Tag("Iris", "1")])
    assert not absent.exists()
    with closing(sqlite3.connect(foreign)) as connection:
        connection.execute("CREATE TABLE notes (text)")
    with pytest.raises(GammaError, match="is not one of a Gamma server"):
        forget_reserved(sqlite_url(foreign), [Tag("Iris", "1")])
    with pytest.raises(ConfigurationError, match="is of a database that Kappa does not know"):
        forget_reserved("mysql://db/kappa", [Tag("Iris", "1")])
