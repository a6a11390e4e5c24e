"""The registry: bundles kept in a store and known to a database, behind one set of operations.

Commands call it in their own process, on the store of this machine; the Gamma server offers the same operations to
others. In a store of plain trees the trees are the truth: the database says what is known of them, and is brought in
line whenever it differs, be it that a process died between the two, that somebody copied a bundle into the store, or
that the database was deleted.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext, suppress
from datetime import datetime
from functools import cached_property
from pathlib import Path

from filelock import FileLock
from sqlalchemy import Engine
from sqlalchemy.exc import DatabaseError

from kappa.environment import home_directory
from kappa.errors import BundleError, BundleNotFoundError, GammaError
from kappa.gamma.database import explained, open_copy, open_database, reading, sqlite_url
from kappa.gamma.queries import (
    BundleRecord,
    Order,
    Query,
    add_bundle,
    find_bundles,
    names_of,
    remove_bundle,
    tags_of,
)
from kappa.gamma.storage import DirectoryStorage
from kappa.labels import Requirement
from kappa.log import log
from kappa.spec.manifest import BundleManifest, read_manifest
from kappa.spec.pins import pins_of
from kappa.spec.views import metadata_view
from kappa.tag import BundleReference, Tag

__all__ = ["NAMESPACE", "GammaService", "local_service"]

NAMESPACE = "default"
"""Where bundles are unless somebody says otherwise."""

_SHOWN = 5


def local_service(environ: Mapping[str, str]) -> GammaService:
    """Return the registry of this machine, below ``$KAPPA_HOME``; nothing is read or made before it is used."""
    home = home_directory(environ)
    return GammaService(DirectoryStorage(home / "repository"), sqlite_url(home / "storage.db"))


class GammaService:
    """The bundles of one namespace; may be used by several processes at once."""

    def __init__(self, storage: DirectoryStorage, database_url: str, *, namespace: str = NAMESPACE) -> None:
        self.storage = storage
        self.namespace = namespace
        self._database_url = database_url

    # -- reading

    def find(self, reference: BundleReference) -> Path:
        """Return the directory that ``reference`` means; raises `BundleNotFoundError` that says what there is."""
        found = self.list_bundles(name=reference.name, version=reference.version, digest=reference.digest, limit=2)
        asked = (
            f"{reference.name}@{reference.digest}"
            if reference.digest
            else f"{reference.name}:{reference.version or 'latest'}"
        )
        if not found:
            raise BundleNotFoundError(self._absence(asked, reference.name))
        if reference.digest is not None and len({record.bundle_digest for record in found}) > 1:
            tags = [record.tag for record in found]
            raise BundleError(f"`{asked}` is short for more than one bundle: {_enumerate(tags)}. Give more digits.")
        return self.path_of(found[0])

    def list_bundles(
        self,
        *,
        name: str | None = None,
        version: str | None = None,
        digest: str | None = None,
        selector: tuple[Requirement, ...] = (),
        limit: int | None = None,
        offset: int = 0,
        order_by: Order = "created_at",
        ascending: bool = False,
    ) -> list[BundleRecord]:
        """Return what is known of bundles, the newest first: of those that fit everything that is given.

        ``digest`` is the beginning of a bundle digest, with ``sha256:``.
        """
        if not self.storage.root.is_dir():
            return []
        self._settle()
        query = Query(self.namespace, name, version, digest, selector, limit, offset, order_by, ascending)
        with self._failing_explained(), reading(self._engine) as connection:
            return find_bundles(connection, query)

    def path_of(self, record: BundleRecord) -> Path:
        """Return the directory of a bundle."""
        return self.storage.root / record.uri

    def tags(self, name: str | None = None) -> list[Tag]:
        """Return the tags of all bundles, or of one service's, newest first."""
        return [record.tag for record in self.list_bundles(name=name)]

    # -- writing

    @contextmanager
    def staging(self) -> Iterator[Path]:
        """Yield an empty directory to build in; what is left there is removed."""
        with self.storage.staging() as staging:
            yield staging

    def put(self, staged: Path, manifest: BundleManifest) -> Path:
        """Take the complete bundle ``staged``, whose manifest is given, into the store and return where it is.

        A bundle of the same tag stays as it is: fine if it has the same bytes, `DestinationExistsError` if not.
        """
        engine = self._engine
        with self._exclusive(), self._failing_explained():
            place = self.storage.put(staged, manifest)
            record = _record_of(place, self.storage.root, manifest)
            with engine.begin() as connection:
                add_bundle(connection, self.namespace, record)
        return place

    def delete(self, tags: Sequence[Tag]) -> list[Tag]:
        """Delete bundles and return those that were there."""
        engine = self._engine
        trash: dict[Tag, Path] = {}
        try:
            with self._exclusive(), self._failing_explained():
                for tag in tags:
                    taken = self.storage.take_away(tag)
                    if taken is not None:
                        trash[tag] = taken
                    with engine.begin() as connection:
                        remove_bundle(connection, self.namespace, tag)
        finally:
            for left in trash.values():
                self.storage.discard(left)
        return list(trash)

    # -- the database beside the trees

    @cached_property
    def _engine(self) -> Engine:
        if self._why_read_only:
            return open_copy(self._database_url)
        with self._exclusive():
            return open_database(self._database_url)

    @cached_property
    def _why_read_only(self) -> str:
        """Why the store can be read here and not changed; empty if it can be changed."""
        try:
            self.storage.root.mkdir(parents=True, exist_ok=True)
            with self._lock():
                return ""
        except OSError as exc:
            return str(exc.strerror)

    @contextmanager
    def _exclusive(self) -> Iterator[None]:
        """Keep other processes from changing the store; the lock of a killed process is free again."""
        if self._why_read_only:
            raise GammaError(f"The store `{self.storage.root}` cannot be changed: {self._why_read_only}.")
        with self._lock():
            yield

    def _lock(self) -> FileLock:
        return FileLock(self.storage.root.with_name(f".{self.storage.root.name}.lock"))

    @contextmanager
    def _failing_explained(self) -> Iterator[None]:
        try:
            yield
        except DatabaseError as exc:
            raise explained(exc, "The registry's database") from exc

    def _settle(self) -> None:
        """Bring the database in line with the trees, if it is not."""
        engine = self._engine
        with self._failing_explained():
            with reading(engine) as connection:
                if tags_of(connection, self.namespace) == self.storage.tags():
                    return
            with nullcontext() if self._why_read_only else self._exclusive():
                there = self.storage.tags()
                with engine.begin() as connection:
                    known = tags_of(connection, self.namespace)
                    for tag in known - there:
                        remove_bundle(connection, self.namespace, tag)
                    for tag in sorted(there - known, key=self._age):
                        if (record := self._record_or_warning(tag)) is not None:
                            add_bundle(connection, self.namespace, record)

    def _age(self, tag: Tag) -> float:
        with suppress(OSError):
            return self.storage.path_of(tag).stat().st_ctime
        return 0.0

    def _record_or_warning(self, tag: Tag) -> BundleRecord | None:
        place = self.storage.path_of(tag)
        try:
            record = _record_of(place, self.storage.root, read_manifest(place))
        except (BundleError, OSError) as exc:
            log(str(exc), kind="warning")
            return None
        if record.tag != tag:
            log(f"`{place}` says that it is `{record.tag}`, so it is passed over.", kind="warning")
            return None
        return record

    def _absence(self, asked: str, name: str) -> str:
        if not self.storage.root.is_dir() or not (names := self._names()):
            return (
                f"There is no bundle `{asked}`: the store `{self.storage.root}` is empty. "
                "Run `kappa build` in the folder of the kappafile, and give the tag that it prints."
            )
        if name in names:
            versions = self.tags(name)
            return f"There is no bundle `{asked}` in the store. Of `{name}` it holds {_enumerate(versions)}."
        if near := difflib.get_close_matches(name, names, n=1, cutoff=0.5):
            return f"There is no bundle `{asked}` in the store. Did you mean `{near[0]}`?"
        return f"There is no bundle `{asked}` in the store. It holds {_enumerate(names)}."

    def _names(self) -> list[str]:
        self._settle()
        with self._failing_explained(), reading(self._engine) as connection:
            return names_of(connection, self.namespace)


def _record_of(place: Path, root: Path, manifest: BundleManifest) -> BundleRecord:
    """Return what the registry knows of the bundle in a directory below ``root``."""
    lock = place / manifest.env.lock
    try:
        pins = tuple((pin.name, pin.version) for pin in pins_of(lock.read_text(encoding="utf-8")))
    except (OSError, UnicodeDecodeError):
        pins = ()  # what `kappa verify` says; a bundle without its lock can still be found and deleted
    return BundleRecord(
        tag=manifest.tag,
        created_at=_moment(manifest),
        uri=place.relative_to(root).as_posix(),
        kappa_version=manifest.kappa_version,
        content_digest=manifest.content_digest,
        bundle_digest=manifest.bundle_digest,
        size_bytes=sum(path.stat().st_size for path in place.rglob("*") if path.is_file()),
        view=metadata_view(manifest),
        labels=dict(manifest.labels),
        packages=pins,
    )


def _moment(manifest: BundleManifest) -> datetime:
    return datetime.fromisoformat(manifest.created_at.replace("Z", "+00:00"))


def _enumerate(items: Sequence[Tag] | Sequence[str]) -> str:
    shown = ", ".join(f"`{item}`" for item in items[:_SHOWN])
    return f"{shown} and {len(items) - _SHOWN} more" if len(items) > _SHOWN else shown
