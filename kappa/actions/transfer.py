"""Bundles on their way: between this machine and a Gamma server, into folders, and as single files."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path

from kappa.actions.failures import failing_writes_explained
from kappa.actions.stores import (
    bundle_store,
    default_namespace,
    is_remote,
    local_environment,
    local_store,
    reference_of,
    remote_store,
)
from kappa.actions.targets import find_bundle, names_path
from kappa.environment import expanded
from kappa.errors import DestinationExistsError, GammaUnreachableError, KappaError, UnauthenticatedError, UsageError
from kappa.gamma.protocols.registry import Garbage
from kappa.gamma.remote_store import RemoteStore
from kappa.gamma.transfer.archives import ARCHIVE_SUFFIX, read_archive, write_archive
from kappa.gamma.transfer.copying import put_copy, retrieve
from kappa.services.bundle import Bundle, open_bundle
from kappa.spec.store import Query
from kappa.tag import ALL_NAMESPACES, Tag

__all__ = [
    "Moved",
    "Push",
    "collect_garbage",
    "export_bundle",
    "import_bundle",
    "pull_bundle",
    "push_all",
    "push_bundle",
    "retrieve_bundle",
]

Progress = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class Moved:
    """A bundle that is in another place now, too."""

    tag: Tag
    digest: str
    path: Path | None = None
    """Where it is on this machine."""
    was_there: bool = False
    is_latest: bool = True
    """Whether it is what `latest` means in the store that it came to."""

    def to_tree(self) -> dict[str, object]:
        return {
            "tag": str(self.tag),
            "bundle_digest": self.digest,
            "path": None if self.path is None else str(self.path),
            "was_there": self.was_there,
            "is_latest": self.is_latest,
        }


def push_bundle(text: str, *, on_progress: Progress | None = None, environ: Mapping[str, str] = os.environ) -> Moved:
    """Send a bundle of this machine, by its tag or its folder, to the Gamma server that is configured.

    Only files that the server lacks move; what an earlier call had sent before it broke off is not sent again.
    """
    remote = remote_store(environ, on_progress=on_progress)
    bundle = find_bundle(text, environ=local_environment(environ)).bundle
    namespace = default_namespace(environ) if names_path(text) else reference_of(text, environ).namespace
    return _sent(remote, bundle, namespace)


def _sent(remote: RemoteStore, bundle: Bundle, namespace: str) -> Moved:
    commit = remote.send(bundle, namespace=namespace)
    return Moved(
        commit.record.tag,
        commit.record.bundle_digest,
        bundle.directory,
        was_there=commit.was_there,
        is_latest=commit.is_latest,
    )


@dataclass(frozen=True, slots=True)
class Push:
    """What became of one of several bundles that were to be pushed."""

    tag: Tag
    moved: Moved | None = None
    error: KappaError | None = None


def push_all(
    *,
    namespace: str = ALL_NAMESPACES,
    watching: Callable[[Tag], AbstractContextManager[Progress | None]] = lambda _: nullcontext(),
    environ: Mapping[str, str] = os.environ,
) -> Iterator[Push]:
    """Send the bundles of this machine to the Gamma server, the oldest first, each into its own namespace.

    One that cannot be sent does not keep the others from it. The last one that is yielded is the one at which the
    server stayed away or wanted another token.
    """
    remote, local = remote_store(environ), local_store(environ)
    for record in local.list_bundles(Query(namespace=namespace, ascending=True)):
        try:
            with watching(record.tag) as on_progress:
                bundle = open_bundle(local.path_of(record))
                moved = _sent(replace(remote, on_progress=on_progress), bundle, record.tag.namespace)
        except KappaError as exc:  # noqa: PERF203 - a transfer takes longer
            yield Push(record.tag, error=exc)
            if isinstance(exc, (GammaUnreachableError, UnauthenticatedError)):
                return
        else:
            yield Push(record.tag, moved)


def pull_bundle(text: str, *, on_progress: Progress | None = None, environ: Mapping[str, str] = os.environ) -> Moved:
    """Bring a bundle of the Gamma server that is configured into the store of this machine.

    Raises `DestinationExistsError` where that has the tag with other bytes.
    """
    remote = remote_store(environ, on_progress=on_progress)
    record = remote.resolve(reference_of(text, environ))
    local = local_store(environ)
    was_there = local.has(record.tag)
    with failing_writes_explained("The bundle"):
        directory = put_copy(local, remote.path_of(record), namespace=record.tag.namespace)
    return Moved(record.tag, record.bundle_digest, directory, was_there=was_there)


def retrieve_bundle(
    text: str,
    target_dir: str | os.PathLike[str] | None = None,
    *,
    on_progress: Progress | None = None,
    environ: Mapping[str, str] = os.environ,
) -> Path:
    """Copy a bundle as the folder ``target_dir``, by default its name in the current directory; return the folder.

    That must be absent or an empty folder, otherwise `DestinationExistsError`: nothing is overwritten. ``~`` in it is
    the home directory. The bundle is verified first.
    """
    bundle = find_bundle(text, environ=environ, on_progress=on_progress).bundle
    with failing_writes_explained("The bundle"):
        return retrieve(bundle, target_dir)


def export_bundle(
    text: str,
    output: Path | None = None,
    *,
    is_replaced: bool = False,
    on_progress: Progress | None = None,
    environ: Mapping[str, str] = os.environ,
) -> Path:
    """Write a bundle as one file, by default `Name-version.kappa` in the current directory; return the file."""
    bundle = find_bundle(text, environ=environ).bundle
    tag = bundle.manifest.tag
    name = f"{tag.name}-{tag.version}{ARCHIVE_SUFFIX}"
    file = Path(name) if output is None else expanded(output)
    if file.is_dir():
        raise UsageError(f"`{file}` is a folder: name the file, e.g. `{file / name}`.")
    if os.path.lexists(file) and not is_replaced:
        raise DestinationExistsError(
            f"`{file}` exists; nothing was written. Name another file, or replace this one with `--force`."
        )
    with failing_writes_explained("The archive"):
        write_archive(bundle.directory, file, is_replaced=is_replaced, on_progress=on_progress)
    return file


def import_bundle(file: Path, *, on_progress: Progress | None = None, environ: Mapping[str, str] = os.environ) -> Moved:
    """Take a bundle that `export_bundle` wrote into the store, checked before anything is written.

    Raises `UsageError` for a file that cannot be read, `BundleError` for one that is not whole, and
    `DestinationExistsError` where the store has its tag with other bytes.
    """
    file = expanded(file)
    store = bundle_store(environ)
    namespace = default_namespace(environ)
    with failing_writes_explained("The bundle"), store.staging() as staging:
        manifest = read_archive(file, staging / "bundle", on_progress=on_progress)
        tag = Tag(manifest.name, manifest.version, namespace)
        was_there = store.has(tag)
        directory = store.put(staging / "bundle", manifest, namespace=namespace)
    return Moved(tag, manifest.bundle_digest, directory, was_there=was_there)


def collect_garbage(*, grace: timedelta, dry_run: bool = True, environ: Mapping[str, str] = os.environ) -> Garbage:
    """Find, and unless ``dry_run`` remove, what no bundle and no upload needs and is older than ``grace``."""
    registry = remote_store(environ).registry if is_remote(environ) else local_store(environ).registry
    return registry.collect_garbage(grace=grace, dry_run=dry_run)
