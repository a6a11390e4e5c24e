"""A bundle on its way from a folder to a registry: only the blobs that it lacks move, several at once.

What breaks off goes on where it was: within one call by asking the registry what it has, and after a killed process
because the registry keeps what it received of the same bundle.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from kappa._files import sha256_of_bytes
from kappa.errors import BundleError, GammaError, GammaUnreachableError
from kappa.gamma.protocols.registry import BundleFile, Commit, Registry
from kappa.gamma.transfer.direct import DirectRoute, direct_route
from kappa.gamma.transfer.streams import CHUNK_BYTES, Meter, Patience, Progress, in_streams, new_operation
from kappa.services.bundle import Bundle
from kappa.spec.layout import MANIFEST_NAME
from kappa.tag import DEFAULT_NAMESPACE, BundleReference

__all__ = ["files_to_send", "send_bundle"]


def files_to_send(bundle: Bundle) -> list[BundleFile]:
    """Return the files of a whole bundle as its manifest has them, the manifests among them, by path.

    Raises `BundleError` where one is missing.
    """
    try:
        digest = sha256_of_bytes(bundle.layout.manifest.read_bytes())
        manifests = dict.fromkeys((MANIFEST_NAME, f"{bundle.manifest.name}/{MANIFEST_NAME}"), digest)
        digests = {**bundle.manifest.files, **manifests}
        return [_file(bundle.directory, path, digests[path]) for path in sorted(digests)]
    except OSError as exc:
        raise BundleError(f"The bundle in `{bundle.directory}` cannot be read: {exc}.") from exc


def _file(directory: Path, path: str, digest: str) -> BundleFile:
    stat = (directory / path).stat()
    return BundleFile(path, f"sha256:{digest}", stat.st_size, is_executable=bool(stat.st_mode & 0o100))


def send_bundle(
    registry: Registry,
    bundle: Bundle,
    *,
    namespace: str = DEFAULT_NAMESPACE,
    streams: int = 4,
    on_progress: Progress | None = None,
    pause: Callable[[float], None] | None = None,
) -> Commit:
    """Send a bundle and return what the registry made of it, which compares each file that moves with its digest.

    Raises `DestinationExistsError` where its tag has other bytes, `BundleError` where a file changed meanwhile, and
    `GammaUnreachableError` where the registry stays away; a later call goes on where this one broke off.
    """
    files = files_to_send(bundle)
    text = bundle.layout.manifest.read_bytes()
    upload = registry.begin_upload(text, files, namespace=namespace, operation=new_operation())
    if upload.record is not None:
        newest = registry.resolve(BundleReference(bundle.manifest.name, namespace=namespace))
        return Commit(upload.record, is_latest=newest.tag == upload.record.tag, was_there=True)
    sources = {file.digest: (bundle.directory / file.path, file.size_bytes) for file in files}
    sent: set[str] = set()
    while True:
        meter = Meter(sum(sources[digest][1] for digest in upload.missing), on_progress)
        largest_first = sorted(upload.missing, key=lambda digest: -sources[digest][1])
        with direct_route(registry, meter) as direct:
            sender = _Sender(registry, upload.session, meter, pause or meter.pause, direct)
            calls = [partial(sender.send, digest, *sources[digest], upload.missing[digest]) for digest in largest_first]
            in_streams(calls, meter, streams=streams)
        sent |= upload.missing.keys()
        try:
            return registry.commit_upload(upload.session, operation=new_operation())
        except GammaError as exc:
            if isinstance(exc, GammaUnreachableError):
                raise
            upload = registry.upload_state(upload.session)
            if upload.missing.keys() <= sent:
                raise
            # the last bundle that had these blobs was deleted meanwhile, or the registry has lost them


@dataclass(frozen=True)
class _Sender:
    registry: Registry
    session: str
    meter: Meter
    pause: Callable[[float], None]
    direct: DirectRoute | None

    def send(self, digest: str, path: Path, size_bytes: int, there: int) -> None:
        """Send what the registry lacks of one blob, of which ``there`` bytes are there."""
        if there == 0 and self.direct is not None and self.direct.send(self.session, digest, path, size_bytes):
            there = size_bytes
        patience = Patience(self.pause)
        while there < size_bytes:
            self.meter.check()
            try:
                reached = self.registry.write_blob(self.session, digest, there, self._chunks(digest, path, there))
            except GammaUnreachableError as exc:
                patience.after(exc)
                reached = self._reached(digest, size_bytes, patience)
            if reached > there:
                patience.renew()
            there = reached
        self.meter.at(digest, size_bytes)

    def _reached(self, digest: str, size_bytes: int, patience: Patience) -> int:
        """Return how much of a blob is there after a break: nothing but the registry knows it."""
        while True:
            try:
                return self.registry.upload_state(self.session).missing.get(digest, size_bytes)
            except GammaUnreachableError as exc:  # noqa: PERF203 - a break takes seconds
                patience.after(exc)

    def _chunks(self, digest: str, path: Path, position: int) -> Iterator[bytes]:
        with path.open("rb") as file:
            file.seek(position)
            while chunk := file.read(CHUNK_BYTES):
                yield chunk
                position += len(chunk)
                self.meter.at(digest, position)
