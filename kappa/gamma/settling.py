"""Trees decide which bundles exist: the database beside them is brought in line whenever it differs.

It differs where a process died between the two, where a bundle was copied into the store, and where the database was
deleted.
"""

from __future__ import annotations

from contextlib import suppress

from sqlalchemy import Connection

from kappa.errors import BundleError
from kappa.gamma.directories import DirectoryStorage
from kappa.gamma.queries import add_bundle, misfit_of, remove_bundle, tags_of
from kappa.gamma.records import record_of
from kappa.log import log
from kappa.spec.manifest import read_manifest
from kappa.spec.store import BundleRecord
from kappa.tag import DEFAULT_NAMESPACE, Tag

__all__ = ["Trees"]


class Trees:
    """The bundles that a directory storage holds, beside those that a database knows."""

    def __init__(self, storage: DirectoryStorage) -> None:
        self._storage = storage

    def are_known(self, connection: Connection) -> bool:
        """Return whether the database knows exactly the bundles that are there."""
        return tags_of(connection, DEFAULT_NAMESPACE) == self._storage.tags()

    def settle(self, connection: Connection) -> None:
        """Add the bundles that the database lacks, and remove those that are not there."""
        there, recorded = self._storage.tags(), tags_of(connection, DEFAULT_NAMESPACE)
        for tag in recorded - there:
            remove_bundle(connection, DEFAULT_NAMESPACE, tag)
        for tag in sorted(there - recorded, key=self._age):
            if (record := self._record_or_warning(tag)) is not None:
                add_bundle(connection, DEFAULT_NAMESPACE, record)

    def _age(self, tag: Tag) -> float:
        with suppress(OSError):
            return self._storage.path_of(tag).stat().st_ctime
        return 0.0

    def _record_or_warning(self, tag: Tag) -> BundleRecord | None:
        directory = self._storage.path_of(tag)
        try:
            record = record_of(directory, read_manifest(directory), uri=self._storage.uri_of(tag))
        except (BundleError, OSError) as exc:
            log(str(exc), kind="warning")
            return None
        if record.tag != tag:
            log(f"`{directory}` says that it is `{record.tag}`, so it is passed over.", kind="warning")
            return None
        if (column := misfit_of(record)) is not None:
            log(f"`{directory}` is passed over: its `{column}` is none that Kappa writes.", kind="warning")
            return None
        return record
