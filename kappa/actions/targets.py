"""Targets of commands: a project, or a bundle of the store or of any directory."""

from __future__ import annotations

import difflib
import os
from collections.abc import Callable, Iterator, Mapping, MutableMapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property, partial
from pathlib import Path
from typing import Any

from kappa import build, gamma, services
from kappa.actions.stores import (
    bundle_store,
    default_namespace,
    is_remote,
    local_store,
    reference_of,
    with_local_hint,
)
from kappa.environment import expanded
from kappa.errors import BundleError, BundleNotFoundError, KappaError, UsageError
from kappa.gamma.storages.directories import local_storage
from kappa.log import log
from kappa.settings import read_settings
from kappa.spec.layout import MANIFEST_NAME
from kappa.spec.service import ServiceSpec
from kappa.spec.store import Query
from kappa.tag import BundleReference, Tag

__all__ = [
    "BundleTarget",
    "ProjectTarget",
    "Target",
    "api_of",
    "find_bundle",
    "names_path",
    "open_target",
    "resolve_target",
    "service_at",
    "stored_tags",
    "tags_in_store",
    "verified_bundle",
]

_OF_STORE = "gamma:"
"""What a reference may begin with, so that no path is meant."""
_COMPLETED = 200
"""How many bundles of a server are offered to complete a word."""


@dataclass(frozen=True)
class ProjectTarget:
    """A kappafile, or a directory that should have one."""

    path: Path
    text: str | None = field(default=None, repr=False)
    """The kappafile's text, where it is not written yet."""

    def __str__(self) -> str:
        return str(self.path)

    @cached_property
    def project(self) -> build.Project:
        """The project, read once; raises `ManifestError` that carries every problem found."""
        return build.read_project(self.path, text=self.text)

    @property
    def spec(self) -> ServiceSpec:
        return self.project.spec

    @property
    def version(self) -> str:
        return services.UNBUILT

    def openapi(self) -> dict[str, Any]:
        """Return its OpenAPI document, without running its code."""
        return services.openapi_document(self.spec, version=self.version)

    def source(self) -> services.ServiceSource:
        """Return it as it lies there, to be loaded."""
        return services.ServiceSource.of_project(self.project.spec, self.project.sources, root=self.project.root)


@dataclass(frozen=True)
class BundleTarget:
    """A built bundle, in the store or anywhere else."""

    directory: Path
    text: str = field(default="", compare=False)
    """The text that named it; later, that may name another bundle."""

    def __str__(self) -> str:
        return self.text or str(self.directory)

    @cached_property
    def bundle(self) -> services.Bundle:
        """The bundle, opened once; raises `BundleError`."""
        return services.open_bundle(self.directory)

    @property
    def spec(self) -> ServiceSpec:
        return self.bundle.manifest.service

    @property
    def version(self) -> str:
        return self.bundle.manifest.version

    def openapi(self) -> dict[str, Any]:
        """Return its OpenAPI document as it was built."""
        return self.bundle.openapi()

    def source(self) -> services.ServiceSource:
        """Return it to be loaded."""
        return services.ServiceSource.of_bundle(self.bundle)


Target = ProjectTarget | BundleTarget


def stored_tags(environ: Mapping[str, str] = os.environ) -> list[Tag]:
    """Return the tags of all bundles below ``$KAPPA_HOME``, sorted; quicker than a query of the database."""
    return sorted(local_storage(environ).tags())


def tags_in_store(environ: Mapping[str, str] = os.environ) -> list[str]:
    """Return the tags and aliases that can be named now, for completion: of the Gamma server that is configured, too.

    Nothing is raised: of a server that is away, or a store that cannot be read, there are none.
    """
    try:
        if not is_remote(environ):
            names = [str(tag) for tag in stored_tags(environ)]
            services = {(tag.namespace, tag.name) for tag in stored_tags(environ)}
        else:
            records = bundle_store(environ).list_bundles(Query(limit=_COMPLETED, namespace=default_namespace(environ)))
            names = [str(record.tag) for record in records]
            services = {(record.tag.namespace, record.tag.name) for record in records}
        store = bundle_store(environ)
        aliases = [alias for namespace, name in services for alias in store.aliases(name, namespace=namespace)]
    except (KappaError, OSError):
        return []
    return sorted([*names, *(str(Tag(alias.name, alias.alias, alias.namespace)) for alias in aliases)])


def _stored_bundle(
    reference: BundleReference, environ: Mapping[str, str], on_progress: Callable[[int, int], None] | None
) -> Path:
    """Return the directory of a stored bundle.

    PERF: a version names its directory; only other references need the database, which takes 0.2 s to import.
    """
    if is_remote(environ):
        try:
            return bundle_store(environ, on_progress=on_progress).find(reference)
        except BundleNotFoundError as exc:
            raise with_local_hint(exc, reference, environ) from None
    if reference.version is not None:
        storage, tag = local_storage(environ), Tag(reference.name, reference.version, reference.namespace)
        if storage.has(tag):
            return storage.path_of(tag)
    return local_store(environ).find(reference)


def resolve_target(
    text: str | Target,
    *,
    environ: Mapping[str, str] = os.environ,
    on_progress: Callable[[int, int], None] | None = None,
) -> Target:
    """Return what ``text`` names: a bundle's directory, a kappafile or its directory, or a reference to the store.

    References are ``Name``, ``Name:version``, ``Name:alias``, ``Name:latest`` and ``Name@sha256:…``, with a namespace
    before them or not. What exists as a bundle or a project in the file system wins, unless the reference is written
    ``gamma:…``; a path that begins with ``.`` is never a reference. What is a target already stays it. Raises
    `BundleNotFoundError` or `UsageError`.
    """
    if not isinstance(text, str):
        return text
    if (target := _target_at(text)) is not None:
        return target
    if not _may_be_reference(text):
        raise BundleNotFoundError(f"There is nothing at `{text}`.")
    try:
        return BundleTarget(_stored_bundle(reference_of(text, environ), environ, on_progress), text)
    except (UsageError, BundleNotFoundError) as exc:
        if _is_class(text):
            raise UsageError(f"`{text}` is a class: build it with `kappa build {text}`, and name the bundle.") from None
        if isinstance(exc, UsageError):
            if "/" in text:
                raise BundleNotFoundError(f"There is nothing at `{text}`.") from None
            raise UsageError(f"`{text}` is neither a path that exists nor the tag of a bundle: {exc}") from None
        if not (is_remote(environ) or stored_tags(environ)) and (here := service_at(Path())) is not None:
            message = f"{exc} The kappafile here is of `{here}`: after `kappa build`, write `{here}:latest`."
            raise BundleNotFoundError(message) from None
        if "/" in text and not text.startswith(_OF_STORE):
            raise BundleNotFoundError(f"There is nothing at `{text}`. {exc}") from None
        raise


def names_path(text: str) -> bool:
    """Return whether text names a bundle or a project in the file system, and not one in the store."""
    return _target_at(text) is not None or not _may_be_reference(text)


def _target_at(text: str) -> Target | None:
    """Return the bundle or the project at a path; ``None`` where there is neither."""
    if text.startswith(_OF_STORE):
        return None
    path = expanded(text)
    if path.is_file():
        return BundleTarget(path.parent, text) if path.name == MANIFEST_NAME else ProjectTarget(path)
    if path.is_dir():
        if (path / MANIFEST_NAME).is_file():
            return BundleTarget(path, text)
        is_path = any(separator in text for separator in "/\\") or text.startswith((".", "~"))
        if is_path or _has_project(path):
            return ProjectTarget(path)
    return None


def _has_project(directory: Path) -> bool:
    return any(directory.glob("kappafile.*")) or (directory / "pyproject.toml").is_file()


def _may_be_reference(text: str) -> bool:
    """Return whether text that names nothing in the file system may name a bundle of the store."""
    if text.startswith((".", "/", "~")) or "\\" in text:
        return False
    return text.partition("@")[0].count("/") <= 1


def service_at(directory: Path) -> str | None:
    """Return the name of the service whose kappafile is in a directory; ``None`` where none can be read."""
    file = next(iter(sorted(directory.glob("kappafile.[ty]*ml"))), None)
    try:
        project = build.check_kappafile(file)[0] if file is not None else None
    except (KappaError, OSError, ModuleNotFoundError):
        return None
    return project.spec.name if project is not None else None


def _is_class(text: str) -> bool:
    """Return whether text that names no bundle means `module:Class`, of a module that lies here."""
    module, colon, _ = text.partition(":")
    file = Path(*module.split("."))
    return bool(colon) and (file.with_suffix(".py").is_file() or (file / "__init__.py").is_file())


def find_bundle(
    text: str | Target,
    *,
    environ: Mapping[str, str] = os.environ,
    asked_by: str = "",
    on_progress: Callable[[int, int], None] | None = None,
) -> BundleTarget:
    """Return the bundle that ``text`` names; a project is not one. ``asked_by`` is the command that says so.

    ``on_progress`` is called with the bytes that are fetched, and those of the whole.
    """
    target = resolve_target(text, environ=environ, on_progress=on_progress)
    if isinstance(target, BundleTarget):
        return target
    if target.path.suffix not in ("", ".toml", ".yaml", ".yml") and target.path.is_file():
        _ = target.project  # which says what the file is
    if target.path.is_dir() and not _has_project(target.path):
        raise BundleNotFoundError(f"`{text}` is not a bundle: it has no `{MANIFEST_NAME}`, and no kappafile either.")
    name = service_at(target.path if target.path.is_dir() else target.path.parent)
    tag = f"{name}:latest" if name is not None else "NAME:latest"
    then = f"`{asked_by} {tag}`" if asked_by else f"name `{tag}`"
    raise UsageError(
        f"`{text}` is not a bundle but a project: build it first with `kappa build {text}`, then {then}. "
        f"Without building, `kappa serve {text}` serves it."
    )


def verified_bundle(target: BundleTarget, *, environ: Mapping[str, str] = os.environ) -> BundleTarget:
    """Compare every file of a bundle with its digest; raises `BundleError` for one that is not as it was built.

    A copy of a team's bundle in the cache of this machine that was damaged is fetched again, with a warning.
    """
    try:
        target.bundle.verify()
    except BundleError as exc:
        cache = gamma.local_cache(environ, max_size_bytes=read_settings(environ).cache.max_size_bytes)
        if target.directory.parent != cache.root or not is_remote(environ):
            raise
        log(f"{exc} It is fetched again.", kind="warning")
        cache.remove(target.directory.name.replace("-", ":"))
        target = find_bundle(str(target), environ=environ)
        target.bundle.verify()
    return target


@contextmanager
def open_target(target: Target, *, environ: MutableMapping[str, str] = os.environ) -> Iterator[services.LoadedService]:
    """Load a bundle, or a project as it lies there, and close it at the end.

    Everything runs in such threads as it has in a server, so that what works here works there.
    """
    load = partial(services.load_service, target.source(), environ=environ)
    with services.answering(load, name=target.spec.name) as service:
        yield service


def api_of(service: services.LoadedService, name: str) -> services.Inference:
    """Return one API of a service; raises `UsageError` that says which there are."""
    if name in service.apis:
        return service.apis[name]
    near = difflib.get_close_matches(name, service.apis, n=1, cutoff=0.5)
    names = ", ".join(f"`{api}`" for api in service.apis)
    hint = f"Did you mean `{near[0]}`? " if near else ""
    raise UsageError(f"`{service.name}` has no API `{name}`. {hint}It has {names}.")
