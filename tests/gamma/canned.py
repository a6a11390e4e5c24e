"""A registry of prepared answers, which remembers what it was asked: the doors and clients are all that is tested."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from typing import Any

from kappa.gamma.protocols.registry import BundleFile, Commit, Garbage, RegistryInfo, SignedUrl, Upload
from kappa.spec.store import Alias, AliasChange, BundleRecord, Query, ServiceRecord
from kappa.tag import DEFAULT_NAMESPACE, BundleReference, Tag

DIGEST = "sha256:" + "ab" * 32
OTHER_DIGEST = "sha256:" + "cd" * 32
TIME = datetime(2026, 11, 30, 20, 15, 1, 234567, tzinfo=timezone.utc)
TAG = Tag("Iris", "20261130201501_AB12CD", "growth")
RECORD = BundleRecord(
    tag=TAG,
    created_at=TIME,
    uri="Iris/1",
    kappa_version="0.1.0",
    content_digest=DIGEST,
    bundle_digest=OTHER_DIGEST,
    size_bytes=2**40,
    view={"name": "Iris", "apis": [{"limit": 1, "share": 0.5, "batch": True}], "ü": None},
    labels={"team": "growth"},
    packages=(("numpy", "2.0"), ("pandas", "3.1")),
    registered_at=TIME + timedelta(days=1),
    aliases=("production", "tried"),
)
CHANGE = AliasChange("Iris", "production", None, "2", TIME, "ada", "growth")
CONTENT = bytes(range(256)) * 12_000  # three messages


@dataclass
class CannedRegistry:
    """Answers each operation with one value, or fails it with ``failure``."""

    location: str = "canned"
    asked: list[tuple[str, tuple[Any, ...]]] = field(default_factory=list)
    failure: Exception | None = None
    on_chunk: Callable[[bytes], None] = lambda _: None

    def _note(self, name: str, *arguments: Any) -> None:
        self.asked.append((name, arguments))
        if self.failure is not None:
            raise self.failure

    def info(self) -> RegistryInfo:
        if self.failure is not None and isinstance(self.failure, ZeroDivisionError):
            raise self.failure
        return RegistryInfo("0.1.0", has_authentication=False, direct_transfer=True)

    def resolve(self, reference: BundleReference) -> BundleRecord:
        self._note("resolve", reference)
        return RECORD

    def list_bundles(self, query: Query = Query()) -> list[BundleRecord]:  # noqa: B008 - frozen
        if query != Query(limit=1):  # the probe of the readiness
            self._note("list_bundles", query)
        return [RECORD] * 3

    def list_services(
        self, search: str = "", *, namespace: str = DEFAULT_NAMESPACE, limit: int | None = None, offset: int = 0
    ) -> list[ServiceRecord]:
        self._note("list_services", search, namespace, limit, offset)
        return [ServiceRecord(RECORD, 3), ServiceRecord(RECORD, 2**33)]

    def files_of(self, tag: Tag) -> tuple[BundleFile, ...]:
        self._note("files_of", tag)
        return (BundleFile("kappa.yml", DIGEST, len(CONTENT)), BundleFile("x/run.sh", OTHER_DIGEST, 0, True))

    def read_blob(self, tag: Tag, digest: str, *, offset: int = 0) -> Iterator[bytes]:
        self._note("read_blob", tag, digest, offset)
        return iter([CONTENT[offset:]])

    def download_url(self, tag: Tag, digest: str) -> SignedUrl:
        self._note("download_url", tag, digest)
        return SignedUrl()

    def set_labels(self, tag: Tag, changes: Mapping[str, str | None], *, operation: str) -> BundleRecord:
        self._note("set_labels", tag, dict(changes), operation)
        return RECORD

    def aliases(self, name: str, *, namespace: str = DEFAULT_NAMESPACE) -> list[Alias]:
        self._note("aliases", name, namespace)
        return [Alias("Iris", "production", "2", TIME, "growth")]

    def set_alias(self, tag: Tag, alias: str, *, expect: str | None = None, operation: str) -> AliasChange:
        self._note("set_alias", tag, alias, expect, operation)
        return CHANGE

    def delete_alias(
        self, name: str, alias: str, *, namespace: str = DEFAULT_NAMESPACE, expect: str | None = None, operation: str
    ) -> AliasChange:
        self._note("delete_alias", name, alias, namespace, expect, operation)
        return CHANGE

    def alias_history(self, name: str, alias: str, *, namespace: str = DEFAULT_NAMESPACE) -> list[AliasChange]:
        self._note("alias_history", name, alias, namespace)
        return [CHANGE, CHANGE]

    def begin_upload(
        self, manifest: bytes, files: Sequence[BundleFile], *, namespace: str = DEFAULT_NAMESPACE, operation: str
    ) -> Upload:
        self._note("begin_upload", manifest, tuple(files), namespace, operation)
        return Upload("session-1", {DIGEST: 0, OTHER_DIGEST: 2**33}, TIME, RECORD)

    def write_blob(self, session: str, digest: str, offset: int, chunks: Iterable[bytes]) -> int:
        self._note("write_blob", session, digest, offset)
        size = offset
        for chunk in chunks:
            self.on_chunk(chunk)
            size += len(chunk)
        return size

    def upload_url(self, session: str, digest: str) -> SignedUrl:
        self._note("upload_url", session, digest)
        return SignedUrl("https://store.test/incoming?signature=1")

    def take_blob(self, session: str, digest: str) -> int:
        self._note("take_blob", session, digest)
        return 2**33

    def upload_state(self, session: str) -> Upload:
        self._note("upload_state", session)
        return Upload("session-1", {})

    def commit_upload(self, session: str, *, operation: str) -> Commit:
        self._note("commit_upload", session, operation)
        return Commit(RECORD, is_latest=True, was_there=True)

    def abort_upload(self, session: str) -> None:
        self._note("abort_upload", session)

    def delete(self, tags: Sequence[Tag], *, force: bool = False, operation: str) -> list[Tag]:
        self._note("delete", tuple(tags), force, operation)
        return list(tags)

    def collect_garbage(self, *, grace: timedelta, dry_run: bool = True) -> Garbage:
        self._note("collect_garbage", grace, dry_run)
        return Garbage(3, 2**35, 1, is_removed=not dry_run)

    def close(self) -> None: ...
