"""Trees decide which bundles exist: the database beside them is brought in line where it differs.

It differs where a process died between the two, where a bundle was copied into the store, and where the database was
deleted. The labels and aliases of a bundle whose tree went away are kept: it may be on a disk that comes back.

PERF: the database holds in which state each service's folder was when both agreed. So a query reads the time of change
of each folder, and only those that have another one are read (with 2,000 services, some milliseconds).
"""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from itertools import compress
from threading import Lock

from sqlalchemy import Connection, delete, insert, select

from kappa.errors import BundleError, KappaError
from kappa.gamma.database.bundles import (
    add_bundles,
    check_free,
    free_version,
    lock_service,
    misfit_of,
    remove_bundle,
    taken_tags,
)
from kappa.gamma.database.engine import insert_unless_there
from kappa.gamma.database.queries import versions_of
from kappa.gamma.database.tables import folders
from kappa.gamma.service.records import record_of
from kappa.gamma.storages.directories import DirectoryStorage
from kappa.log import log
from kappa.spec.manifest import read_manifest
from kappa.spec.quick_manifest import load_quickly
from kappa.spec.store import BundleRecord
from kappa.tag import Tag

__all__ = ["Service", "Trees"]

Service = tuple[str, str]
"""Namespace and name."""

_MANY = 16
"""So many folders are worth a write to remember that they agree."""
_ADDED_AT_ONCE = 100
"""So many bundles are read, then added by the same statements."""


class Trees:
    """The bundles that a directory storage holds, beside those that a database knows."""

    def __init__(self, storage: DirectoryStorage) -> None:
        self._storage = storage
        self._states: dict[Service, str] = {}
        """Of each folder, its state when trees and rows agreed."""
        self._is_complete = False
        """Whether those of all services were read."""
        self._unwritten: set[Service] = set()
        """Those that the database does not have yet."""
        self._guard = Lock()

    def unsettled(self, connection: Connection, service: Service | None = None) -> list[Service]:
        """Return the services, or whether the one, of which the database does not know exactly what is there."""
        self._read(connection, service)
        candidates = {service} if service is not None else self._storage.services() | self._remembered()
        return [candidate for candidate in candidates if not self._agrees(connection, candidate)]

    def has_much_to_write(self) -> bool:
        """Return whether many folders were seen to agree since that was last written down."""
        return len(self._unwritten) >= _MANY

    def settle(self, connection: Connection, services: Iterable[Service]) -> None:
        """Add the bundles that the database lacks, and remove those that are not there."""
        absent: list[Tag] = []
        for namespace, name in sorted(services):
            lock_service(connection, namespace, name)
            recorded = versions_of(connection, namespace, name)
            there, _ = self._storage.versions_of(namespace, name)
            for version in sorted(recorded - there):
                remove_bundle(connection, Tag(name, version, namespace), is_kept=True)
            absent += [Tag(name, version, namespace) for version in there - recorded]
            self.begin(connection, (namespace, name))
        absent.sort(key=lambda tag: (self._age(tag), tag))
        for start in range(0, len(absent), _ADDED_AT_ONCE):
            self._add(connection, absent[start : start + _ADDED_AT_ONCE])
        for service in services:
            self._agrees(connection, service)
        self.write(connection)

    def begin(self, connection: Connection, service: Service) -> None:
        """Note that a service has a folder which changes, so that it is looked for as long as it has rows."""
        row = {"namespace": service[0], "name": service[1], "state": ""}
        connection.execute(insert_unless_there(connection, folders), [row])
        with self._guard:
            self._states.setdefault(service, "")

    def write(self, connection: Connection) -> None:
        """Write down which folders were seen to agree."""
        with self._guard:
            states = {service: self._states.get(service) for service in sorted(self._unwritten)}
            self._unwritten.clear()
        for (namespace, name), state in states.items():
            connection.execute(delete(folders).where(folders.c.namespace == namespace, folders.c.name == name))
            if state is not None:
                connection.execute(insert(folders).values(namespace=namespace, name=name, state=state))

    def _remembered(self) -> set[Service]:
        with self._guard:
            return set(self._states)

    def _read(self, connection: Connection, service: Service | None) -> None:
        """Read the states of all folders, or of one, unless they were read."""
        if self._is_complete or (service is not None and service in self._states):
            return
        statement = select(folders.c.namespace, folders.c.name, folders.c.state)
        if service is not None:
            statement = statement.where(folders.c.namespace == service[0], folders.c.name == service[1])
        rows = connection.execute(statement).all()
        with self._guard:
            for row in rows:
                self._states.setdefault((row.namespace, row.name), row.state)
        self._is_complete = self._is_complete or service is None

    def _agrees(self, connection: Connection, service: Service) -> bool:
        """Return whether the database has exactly the bundles of a service's folder; remember it where it has."""
        remembered = self._states.get(service)
        if remembered and remembered == self._storage.state_of(*service):
            return True
        there, state = self._storage.versions_of(*service)
        if there != versions_of(connection, *service):
            return False
        if not there:
            self._forget(service)
        elif state:
            self._note(service, state)
        return True

    def _note(self, service: Service, state: str) -> None:
        with self._guard:
            if self._states.get(service) != state:
                self._states[service] = state
                self._unwritten.add(service)

    def _forget(self, service: Service) -> None:
        with self._guard:
            if self._states.pop(service, None) is not None:
                self._unwritten.add(service)

    def _age(self, tag: Tag) -> float:
        with suppress(OSError):
            return self._storage.path_of(tag).stat().st_ctime
        return 0.0

    def _add(self, connection: Connection, tags: Iterable[Tag]) -> None:
        records = [record for tag in tags if (record := self._record_or_warning(tag)) is not None]
        taken = taken_tags(connection, [record.tag for record in records])
        are_new = (record.tag not in taken or self._frees(connection, record) for record in records)
        add_bundles(connection, list(compress(records, are_new)))

    def _frees(self, connection: Connection, record: BundleRecord) -> bool:
        """Free the version of a deleted bundle; warn and return ``False`` where the version is an alias."""
        free_version(connection, record.tag)
        try:
            check_free(connection, record.tag, record.bundle_digest)
        except KappaError as exc:
            log(f"`{self._storage.path_of(record.tag)}` is passed over: {exc}", kind="warning")
            return False
        return True

    def _record_or_warning(self, tag: Tag) -> BundleRecord | None:
        directory = self._storage.path_of(tag)
        try:
            manifest = read_manifest(directory, load=load_quickly)
            record = record_of(directory, manifest, uri=self._storage.uri_of(tag), namespace=tag.namespace)
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
