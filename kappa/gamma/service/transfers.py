"""Bundles moved between a client and the registry, blob by blob.

What an upload has is said by rows and by the storage together: a blob counts once its row says so, which happens after
its bytes were compared with its digest. A bundle's rows are added in one transaction, which holds the lock that the
garbage collector takes, and in which each blob is looked up once more. So a process may be killed anywhere: what was
acknowledged is there, and what is visible is complete.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import timedelta

from sqlalchemy import Connection, Engine, text

from kappa.errors import BundleError, BundleNotFoundError, GammaError
from kappa.gamma.database.bundle_files import add_files, file_of, files_of, readable_sources, touch_blobs
from kappa.gamma.database.bundles import add_bundle, check_free, misfit_of
from kappa.gamma.database.engine import failing_explained, hold, reading
from kappa.gamma.database.operations import answer_of, keep_answer
from kappa.gamma.database.queries import bundle_of, latest_of
from kappa.gamma.database.uploads import (
    BegunUpload,
    UploadedBlob,
    add_upload,
    blobs_of,
    end_upload,
    live_upload,
    mark_committed,
    mark_lost,
    mark_whole,
    remove_upload,
    renew,
    session_of,
)
from kappa.gamma.protocols.callers import ANYBODY, Caller
from kappa.gamma.protocols.registry import BundleFile, Commit, Garbage, SignedUrl, Upload
from kappa.gamma.protocols.storage import Blob, BlobsLostError, BlobSource, BundleStorage, PendingBundle
from kappa.gamma.service.contents import manifest_digest, read_contents
from kappa.gamma.service.garbage import collect_garbage
from kappa.gamma.service.records import record_of_contents
from kappa.spec.manifest import BundleManifest
from kappa.spec.store import BundleRecord
from kappa.tag import DEFAULT_NAMESPACE, Tag

__all__ = ["Transfers", "lock_blobs"]

_RENEWED_EVERY_S = 600.0
_MAX_LOCK_BYTES = 16 << 20
"""A larger lock of packages is not read into the database."""


def lock_blobs(connection: Connection) -> None:
    """Keep others from committing bundles and from collecting garbage until this transaction ends.

    An SQLite file has one writer at a time anyway. Waits up to a minute, then a `DatabaseError`.
    """
    if connection.dialect.name == "postgresql":
        connection.execute(text("SET LOCAL lock_timeout = '60s'"))
    hold(connection, "blobs")


class Transfers:
    """The uploads and downloads of one registry: the part of a `Registry` that moves files.

    ``engine`` returns its database, opened. Where trees decide which bundles exist, the caller settles them before, and
    ``on_publish`` is called in the transaction that adds one, before its tree is there.
    """

    def __init__(
        self,
        storage: BundleStorage,
        engine: Callable[[], Engine],
        *,
        on_publish: Callable[[Connection, Tag], None] = lambda _, __: None,
        caller: Caller = ANYBODY,
    ) -> None:
        self._storage = storage
        self._open_engine = engine
        self._on_publish = on_publish
        self._caller = caller

    def seen_by(self, caller: Caller) -> Transfers:
        """Return the same for a caller, as `GammaService.seen_by` does."""
        return Transfers(self._storage, self._open_engine, on_publish=self._on_publish, caller=caller)

    # -- reading

    def files_of(self, tag: Tag) -> tuple[BundleFile, ...]:
        """Return the files of a bundle by path; raises `BundleNotFoundError`."""
        with self._reading() as connection:
            record = self._record(connection, tag)
            files = files_of(connection, tag)
        return files or self._storage.files_of(record.uri)

    def read_blob(self, tag: Tag, digest: str, *, offset: int = 0) -> Iterator[bytes]:
        """Return the content of a file of a bundle from ``offset`` on, in chunks; raises at the call."""
        record, file = self._file(tag, digest)
        if not 0 <= offset <= file.size_bytes:
            raise BundleError(
                f"`{file.path}` of `{tag}` has {file.size_bytes} bytes: it cannot be read from {offset} on."
            )
        return self._storage.read(record.uri, file, offset=offset)

    def download_url(self, tag: Tag, digest: str) -> SignedUrl:
        """Return where the object store itself has a file of a bundle; raises `BundleNotFoundError`."""
        _, file = self._file(tag, digest)
        direct = self._storage.direct
        return SignedUrl() if direct is None else SignedUrl(direct.download_url(Blob(digest, file.size_bytes)))

    def _file(self, tag: Tag, digest: str) -> tuple[BundleRecord, BundleFile]:
        with self._reading() as connection:
            record = self._record(connection, tag)
            file = file_of(connection, tag, digest)
            is_listed = file is not None or bool(files_of(connection, tag))
        if not is_listed:
            file = next((file for file in self._storage.files_of(record.uri) if file.digest == digest), None)
        if file is None:
            raise BundleNotFoundError(f"`{tag}` has no file with the digest `{digest}`.")
        return record, file

    # -- uploads

    def begin_upload(
        self, manifest: bytes, files: Sequence[BundleFile], *, namespace: str = DEFAULT_NAMESPACE, operation: str
    ) -> Upload:
        """Begin to upload a bundle, or go on with the upload of the same one that is alive.

        ``operation`` changes nothing: a repeat finds what the first call began.
        """
        del operation
        tag, parsed = read_contents(manifest, files, namespace=namespace)
        self._caller.check_scope(tag.namespace, tag.name)
        self._check_writable()
        with self._writing() as connection:
            present = bundle_of(connection, tag)
            if present is not None and present.bundle_digest == parsed.bundle_digest:
                # an upload is left where its process died between the tree and the rows: the collector takes its blobs
                if (session := self._session_of(connection, tag, parsed.bundle_digest, manifest)) is not None:
                    mark_committed(connection, session)
                return Upload("", {}, record=present)
            check_free(connection, tag, parsed.bundle_digest)
            session = self._session_of(connection, tag, parsed.bundle_digest, manifest)
            if session is None:
                self._check_sizes(connection, tag, files)
                session = add_upload(
                    connection,
                    tag,
                    bundle_digest=parsed.bundle_digest,
                    manifest=manifest,
                    files=files,
                    token_id=self._caller.token_id,
                )
            else:
                renew(connection, session)
            upload = self._live(connection, session)
            if self._storage.shares_blobs:
                touch_blobs(connection, upload.blobs.values())
        return self.upload_state(session)

    def write_blob(self, session: str, digest: str, offset: int, chunks: Iterable[bytes]) -> int:
        """Append to a blob of an upload from ``offset`` on; return how many bytes of it are there now."""
        upload, uploaded = self._uploaded(session, digest)
        if uploaded.is_whole:
            return uploaded.blob.size_bytes
        if upload.needs_renewal:
            with self._writing() as connection:
                renew(connection, session)
        received = self._storage.receive(session, uploaded.blob, offset, self._renewing(session, chunks))
        if received == uploaded.blob.size_bytes:
            self._mark_whole(session, [digest])
        return received

    def upload_url(self, session: str, digest: str) -> SignedUrl:
        """Return where a client can write a blob of an upload into the object store itself."""
        _, uploaded = self._uploaded(session, digest)
        direct = self._storage.direct
        if direct is None or uploaded.is_whole:
            return SignedUrl()
        with self._writing() as connection:
            renew(connection, session)
        return SignedUrl(direct.upload_url(session, uploaded.blob))

    def take_blob(self, session: str, digest: str) -> int:
        """Take a blob that a client wrote into the object store itself; return how many bytes of it are there now."""
        _, uploaded = self._uploaded(session, digest)
        if not uploaded.is_whole:
            if self._storage.direct is None:
                raise BundleError("This registry takes blobs through its server alone: write this one to it.")
            self._storage.direct.take(session, uploaded.blob)
            self._mark_whole(session, [digest])
        return uploaded.blob.size_bytes

    def _uploaded(self, session: str, digest: str) -> tuple[BegunUpload, UploadedBlob]:
        with self._reading() as connection:
            upload = self._live(connection, session)
            uploaded = next(iter(blobs_of(connection, session, digest)), None)
        if uploaded is None:
            raise BundleError(f"The bundle `{upload.tag}` of this upload has no file with the digest `{digest}`.")
        return upload, uploaded

    def upload_state(self, session: str) -> Upload:
        """Return what an upload still lacks; raises `GammaError` for one that was given up.

        A blob that arrived and has no row, because the server was killed between the two, gets it now: its client has
        no bytes left to send that would.
        """
        with self._reading() as connection:
            upload = self._live(connection, session)
        self._finish_blobs(upload)
        with self._reading() as connection:
            missing = self._missing(connection, upload)
        received = {item.blob.digest: self._storage.received(session, item.blob) for item in missing}
        return Upload(session, received, expires_at=upload.expires_at)

    def commit_upload(self, session: str, *, operation: str) -> Commit:
        """Make the bundle of a complete upload visible; a repeat gets the first answer."""
        request = ("commit_upload", session, *self._caller.mark)
        with self._writing() as connection:
            if (answer := answer_of(connection, operation, request, Commit)) is not None:
                return answer
            upload = self._live(connection, session)
            renew(connection, session)
            if upload.is_committed:
                return _commit(connection, self._record(connection, upload.tag), was_there=True)
        try:
            commit = self._publish_complete(upload, operation, request)
        except BlobsLostError as exc:
            with self._writing() as connection:
                if self._live(connection, session).is_committed:  # meanwhile, and its blobs are used
                    return _commit(connection, self._record(connection, upload.tag), was_there=True)
                mark_lost(connection, session, exc.digests)
            raise
        except OSError as exc:
            raise GammaError(
                f"`{self._storage.location}` cannot take `{upload.tag}`: {exc.strerror}. Commit it again once it can."
            ) from exc
        with suppress(GammaError):  # the bundle is there; `collect_garbage` finds what is left
            self._storage.discard(session)
        return commit

    def abort_upload(self, session: str) -> None:
        """Give an upload up; one that is gone is no error."""
        with self._writing() as connection:
            if not end_upload(connection, session, token_id=self._caller.token_id):
                return
        self._storage.discard(session)
        with self._writing() as connection:
            remove_upload(connection, session)

    def collect_garbage(self, *, grace: timedelta, dry_run: bool = True) -> Garbage:
        """Find, and unless ``dry_run`` remove, what no bundle and no live upload needs and is older than ``grace``."""
        self._caller.check_unrestricted()
        if not dry_run:
            self._check_writable()
        with failing_explained():
            return collect_garbage(self._storage, self._open_engine(), lock_blobs, grace=grace, dry_run=dry_run)

    # -- the steps

    def _finish_blobs(self, upload: BegunUpload) -> None:
        """Take what needs no client: the manifest, empty files, and blobs that are whole and were not noted as such."""
        with self._reading() as connection:
            missing = self._missing(connection, upload)
        manifest = manifest_digest(upload.manifest)
        contents = {item.blob.digest: upload.manifest for item in missing if item.blob.digest == manifest}
        whole = [item.blob.digest for item in missing if self._is_finished(upload, item, contents)]
        if whole:
            self._mark_whole(upload.session, whole)

    def _is_finished(self, upload: BegunUpload, item: UploadedBlob, contents: Mapping[str, bytes]) -> bool:
        received = self._storage.received(upload.session, item.blob)
        rest = contents.get(item.blob.digest, b"")[received:]
        if received + len(rest) != item.blob.size_bytes:
            return False
        try:
            return self._storage.receive(upload.session, item.blob, received, [rest]) == item.blob.size_bytes
        except BundleError:
            if received == 0:
                raise
            return False  # it is sent again
        except GammaError:
            if self._storage.received(upload.session, item.blob) == received:
                raise
            return False  # another call takes it now

    def _missing(self, connection: Connection, upload: BegunUpload) -> list[UploadedBlob]:
        """Return the blobs that neither this upload nor a bundle has that its client may read."""
        waiting = [item for item in blobs_of(connection, upload.session) if not item.is_whole]
        sources = self._sources(connection, upload.tag, [item.blob.digest for item in waiting])
        return [item for item in waiting if item.is_lost or item.blob.digest not in sources]

    def _publish_complete(self, upload: BegunUpload, operation: str, request: tuple[str, ...]) -> Commit:
        """Publish an upload that lacks nothing; raises `GammaError` for one that does.

        A bundle from which a blob was to be taken may be deleted meanwhile: then another one that has it is.
        """
        sources = self._sources_of(upload)
        while True:
            try:
                return self._publish(upload, sources, operation, request)
            except BlobsLostError as exc:  # noqa: PERF203 - seldom
                with self._storage.exclusive():  # after the deletion, which moves a tree away before its rows
                    before, sources = sources, self._sources_of(upload)
                if all(sources.get(digest) == before.get(digest) for digest in exc.digests):
                    raise

    def _sources_of(self, upload: BegunUpload) -> dict[str, BlobSource]:
        """Return the files of bundles that have blobs of a complete upload; raises `GammaError` if it lacks some."""
        with self._reading() as connection:
            if missing := self._missing(connection, upload):
                raise GammaError(
                    f"The upload of `{upload.tag}` lacks {len(missing)} of its {len(upload.blobs)} blobs, e.g. "
                    f"`{missing[0].blob.digest}`. Write them, then commit it again."
                )
            sources = self._sources(connection, upload.tag, list(upload.blobs))
        return {digest: source for digest, (source, _) in sources.items()}

    def _publish(
        self, upload: BegunUpload, sources: Mapping[str, BlobSource], operation: str, request: tuple[str, ...]
    ) -> Commit:
        _, manifest = read_contents(upload.manifest, upload.files, namespace=upload.tag.namespace)
        with (
            self._storage.pending(upload.session, upload.tag, upload.files, sources) as pending,
            self._storage.exclusive(),
            self._writing() as connection,
        ):
            lock_blobs(connection)
            if (answer := answer_of(connection, operation, request, Commit)) is not None:
                return answer
            self._live(connection, upload.session)
            present = bundle_of(connection, upload.tag)
            was_there = present is not None and present.bundle_digest == upload.bundle_digest
            record = record_of_contents(
                manifest, upload.tag, upload.files, lock=_lock_text(pending, manifest, upload), uri=pending.uri
            )
            if (column := misfit_of(record)) is not None:
                raise BundleError(f"`{upload.tag}` cannot be registered: its `{column}` is none that Kappa writes.")
            record = add_bundle(connection, record, created_by=self._caller.name)
            if not was_there:
                add_files(connection, upload.tag, upload.files)
                self._on_publish(connection, upload.tag)
                pending.publish()
            mark_committed(connection, upload.session)
            commit = _commit(connection, record, was_there=was_there)
            keep_answer(connection, operation, request, commit, Commit)
            return commit

    def _renewing(self, session: str, chunks: Iterable[bytes]) -> Iterator[bytes]:
        """Yield chunks, and keep their upload alive however long that takes."""
        renewed = time.monotonic()
        for chunk in chunks:
            yield chunk
            if time.monotonic() - renewed > _RENEWED_EVERY_S:
                with self._writing() as connection:
                    renew(connection, session)
                renewed = time.monotonic()

    def _mark_whole(self, session: str, digests: Sequence[str]) -> None:
        with self._writing() as connection:
            mark_whole(connection, session, digests)
            renew(connection, session)

    def _check_sizes(self, connection: Connection, tag: Tag, files: Sequence[BundleFile]) -> None:
        sources = self._sources(connection, tag, [file.digest for file in files])
        for file in files:
            if file.digest in sources and (size_bytes := sources[file.digest][1]) != file.size_bytes:
                raise BundleError(
                    f"`{file.path}` of `{tag}` has {size_bytes} bytes by its digest, and not {file.size_bytes}."
                )

    # -- what the caller may see

    def _record(self, connection: Connection, tag: Tag) -> BundleRecord:
        is_visible = self._caller.scope.includes(tag.namespace, tag.name)
        if not is_visible or (record := bundle_of(connection, tag)) is None:
            raise BundleNotFoundError(f"There is no bundle `{tag}` in the registry.")
        return record

    def _sources(
        self, connection: Connection, tag: Tag, digests: Sequence[str]
    ) -> Mapping[str, tuple[BlobSource, int]]:
        return readable_sources(connection, tag.namespace, digests, self._caller.scope)

    def _live(self, connection: Connection, session: str) -> BegunUpload:
        return live_upload(connection, session, token_id=self._caller.token_id)

    def _session_of(self, connection: Connection, tag: Tag, bundle_digest: str, manifest: bytes) -> str | None:
        return session_of(connection, tag, bundle_digest, manifest, token_id=self._caller.token_id)

    # -- the database

    def _check_writable(self) -> None:
        if why := self._storage.why_read_only:
            raise GammaError(f"The store `{self._storage.location}` cannot be changed: {why}.")

    @contextmanager
    def _reading(self) -> Iterator[Connection]:
        with failing_explained(), reading(self._open_engine()) as connection:
            yield connection

    @contextmanager
    def _writing(self) -> Iterator[Connection]:
        with failing_explained(), self._open_engine().begin() as connection:
            yield connection


def _commit(connection: Connection, record: BundleRecord, *, was_there: bool) -> Commit:
    latest = latest_of(connection, record.tag.namespace, record.tag.name)
    return Commit(record, is_latest=latest is not None and latest.tag == record.tag, was_there=was_there)


def _lock_text(pending: PendingBundle, manifest: BundleManifest, upload: BegunUpload) -> str:
    """Return the lock of a bundle's packages; empty for one that cannot be read, which `kappa verify` reports."""
    file = next((file for file in upload.files if file.path == manifest.env.lock), None)
    if file is None or file.size_bytes > _MAX_LOCK_BYTES:
        return ""
    return pending.content_of(file).decode("utf-8", errors="replace")
