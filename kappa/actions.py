"""What users ask for, each a plain function that joins the sides: building, storing, serving, running, testing.

Commands, notebooks and tests call these; nothing here prints or reads arguments. The sides are imported inside the
functions that need them, because a bundle runs where the packages of the build side are not installed.
"""

from __future__ import annotations

import difflib
import os
import platform as platform_module
import re
import signal
import time
from collections.abc import Callable, Collection, Iterator, Mapping, MutableMapping, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import orjson

from kappa._version import __version__
from kappa.bundle import Bundle, load_bundle, open_bundle
from kappa.comparison import differences
from kappa.errors import (
    BuildError,
    BundleError,
    BundleNotFoundError,
    ConfigurationError,
    ContainerError,
    ExampleFailedError,
    InferenceFailedError,
    KappaError,
    MissingDependencyError,
    UsageError,
    said,
)
from kappa.gamma.storage import DirectoryStorage
from kappa.inference import Inference, example_payload
from kappa.labels import parse_selector
from kappa.log import listening, log, to_logging
from kappa.service import LoadedService, load_declared
from kappa.settings import home_directory
from kappa.spec.manifest import MANIFEST_NAME, BundleManifest
from kappa.spec.models import ExampleSpec, ServiceSpec
from kappa.spec.views import bundle_view, metadata_view
from kappa.tag import BundleReference, Tag
from kappa.types import Answer, Payload

if TYPE_CHECKING:
    from kappa.bento import BentoService
    from kappa.build.lock import Lock
    from kappa.build.locking import LockMode, Relock
    from kappa.build.plan import BuildPlan
    from kappa.build.project import Project
    from kappa.containers.engine import Builder, Engine
    from kappa.containers.images import ImageFacts
    from kappa.containers.request import Secret
    from kappa.gamma.repository import BundleRecord
    from kappa.gamma.service import GammaService
    from kappa.server.host import Served
    from kappa.server.options import ServerOptions
    from kappa.server.tuning.tune import Tuning

__all__ = [
    "Built",
    "BundleTarget",
    "Containerized",
    "Examples",
    "ProjectTarget",
    "Replay",
    "StoredBundle",
    "Target",
    "Verified",
    "api_of",
    "build_and_store",
    "build_project",
    "bundle_record",
    "bundles_to_delete",
    "check_project_lock",
    "compose_file",
    "containerize",
    "delete_bundles",
    "examples_of",
    "find_bundle",
    "github_workflow",
    "list_bundles",
    "local_store",
    "lock_project",
    "open_target",
    "plan_of",
    "project_files",
    "project_to_build",
    "read_target_project",
    "reload_server",
    "replay_examples",
    "resolve_target",
    "save_service",
    "serve_bundle",
    "serve_project",
    "served_project",
    "served_target",
    "spec_of",
    "stored_tags",
    "tune_bundle",
    "tuning_charts",
    "verify_bundles",
]

_REMOTE_TIMEOUT_S = 60.0
_START_UP_S = 300.0
"""How long a container may load its models."""
_CLASS = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_][\w.]*", re.ASCII)
_RELOAD_POLL_S = 0.05
_USUAL_TARGET_MS = 100.0
_PLATFORM_NAMES = {"linux/amd64": "linux_x86_64", "linux/arm64": "linux_aarch64"}
"""The platforms of images, and what locks call them."""


# -- what a user names -------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class ProjectTarget:
    """A kappafile, or a directory that should have one."""

    path: Path


@dataclass(frozen=True, slots=True)
class BundleTarget:
    """A built bundle, in the store or anywhere else."""

    directory: Path


Target = ProjectTarget | BundleTarget


def local_store(environ: Mapping[str, str] = os.environ) -> GammaService:
    """Return the registry of the bundles below ``$KAPPA_HOME``."""
    try:
        from kappa.gamma.service import local_service
    except ModuleNotFoundError as exc:
        raise MissingDependencyError("kappa-ml", needed_for="finding bundles by their names") from exc
    return local_service(environ)


def stored_tags(environ: Mapping[str, str] = os.environ) -> list[Tag]:
    """Return the tags of all bundles below ``$KAPPA_HOME``, sorted; quicker than asking the registry."""
    return sorted(_local_storage(environ).tags())


def _local_storage(environ: Mapping[str, str]) -> DirectoryStorage:
    return DirectoryStorage(home_directory(environ) / "repository")


def _stored_bundle(reference: BundleReference, environ: Mapping[str, str]) -> Path:
    """Return the directory of a stored bundle.

    PERF: a version tells its place; only for the rest is the database asked, which takes 0.2 s to load.
    """
    if reference.version is not None:
        storage, tag = _local_storage(environ), Tag(reference.name, reference.version)
        if storage.has(tag):
            return storage.path_of(tag)
    return local_store(environ).find(reference)


def resolve_target(text: str, *, environ: Mapping[str, str] = os.environ) -> Target:
    """Return what ``text`` names: a bundle's directory, a kappafile or its directory, or a reference to the store.

    References are ``Name``, ``Name:version``, ``Name:latest`` and ``Name@sha256:…``. What exists as a bundle or a
    project in the file system wins. Raises `BundleNotFoundError` or `UsageError`.
    """
    path = Path(text).expanduser()
    if path.is_file():
        return BundleTarget(path.parent) if path.name == MANIFEST_NAME else ProjectTarget(path)
    is_word = not any(separator in text for separator in "/\\") and not text.startswith((".", "~"))
    if path.is_dir():
        if (path / MANIFEST_NAME).is_file():
            return BundleTarget(path)
        if not is_word or any(path.glob("kappafile.*")) or (path / "pyproject.toml").is_file():
            return ProjectTarget(path)
    if not is_word:
        raise BundleNotFoundError(f"There is nothing at `{text}`.")
    try:
        reference = BundleReference.parse(text)
    except UsageError as exc:
        raise UsageError(f"`{text}` is neither a path that exists nor the tag of a bundle: {exc}") from None
    return BundleTarget(_stored_bundle(reference, environ))


def find_bundle(text: str, *, environ: Mapping[str, str] = os.environ) -> Bundle:
    """Open the bundle that ``text`` names; a project is not one."""
    target = resolve_target(text, environ=environ)
    if isinstance(target, ProjectTarget):
        raise UsageError(f"`{text}` is not a bundle but a project: build it first with `kappa build {text}`.")
    return open_bundle(target.directory)


def read_target_project(target: ProjectTarget) -> Project:
    """Read a project's kappafile; raises `ManifestError` that carries every problem found."""
    from kappa.build.project import read_project

    return read_project(target.path)


def spec_of(target: Target) -> tuple[ServiceSpec, str]:
    """Return the service that a target declares, and its version."""
    if isinstance(target, ProjectTarget):
        return read_target_project(target).spec, "project"
    manifest = open_bundle(target.directory).manifest
    return manifest.service, manifest.version


@contextmanager
def open_target(target: Target, *, environ: MutableMapping[str, str] = os.environ) -> Iterator[LoadedService]:
    """Load a bundle, or a project as it lies there, and close it at the end."""
    if isinstance(target, BundleTarget):
        service = load_bundle(target.directory, environ=environ)
    else:
        project = read_target_project(target)
        service = load_declared(project.spec, project.sources, root=project.root, environ=environ)
    with closing(service):
        yield service


def api_of(service: LoadedService, name: str) -> Inference:
    """Return one API of a service; raises `UsageError` that says which there are."""
    if name in service.apis:
        return service.apis[name]
    near = difflib.get_close_matches(name, service.apis, n=1, cutoff=0.5)
    known = ", ".join(f"`{known}`" for known in service.apis)
    hint = f"Did you mean `{near[0]}`? " if near else ""
    raise UsageError(f"`{service.name}` has no API `{name}`. {hint}It has {known}.")


# -- the store ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class StoredBundle:
    """What the registry knows of a bundle, and where it is."""

    record: BundleRecord
    directory: Path

    @property
    def view(self) -> dict[str, Any]:
        """The whole record, as `kappa get` prints it."""
        return bundle_view(self.record.view, uri=str(self.directory))


def list_bundles(
    *,
    name: str | None = None,
    selector: str | None = None,
    limit: int | None = None,
    offset: int = 0,
    order_by: Literal["created_at", "name"] = "created_at",
    ascending: bool = False,
    environ: Mapping[str, str] = os.environ,
) -> list[StoredBundle]:
    """List the bundles of the store, or of one service, that a label selector chooses.

    Raises `UsageError` for a selector that cannot be read, `BundleNotFoundError` for a name that has no bundle at all.
    """
    requirements = parse_selector(selector) if selector is not None else ()
    store = local_store(environ)
    found = store.list_bundles(
        name=name, selector=requirements, limit=limit, offset=offset, order_by=order_by, ascending=ascending
    )
    if not found and name is not None:
        store.find(BundleReference.parse(name))
    return [StoredBundle(record, store.path_of(record)) for record in found]


def bundle_record(text: str, *, environ: Mapping[str, str] = os.environ) -> dict[str, Any]:
    """Return the whole record of one bundle, wherever it is."""
    bundle = find_bundle(text, environ=environ)
    return bundle_view(metadata_view(bundle.manifest), uri=str(bundle.directory))


def bundles_to_delete(
    targets: Sequence[str], *, selector: str | None, everything: bool, environ: Mapping[str, str] = os.environ
) -> list[StoredBundle]:
    """Return the stored bundles that a user names for deletion; nothing is deleted.

    A target is one bundle; a name alone means all its versions, and only together with ``selector`` or ``everything``.
    Raises `UsageError` or `BundleNotFoundError`.
    """
    chosen = selector is not None or everything
    if not targets:
        return list_bundles(selector=selector, environ=environ) if chosen else []
    found: dict[Tag, StoredBundle] = {}
    for target in targets:
        reference = BundleReference.parse(target)
        if target == reference.name:
            if not chosen:
                raise UsageError(
                    f"`{target}` names every version of a service: say `{target} --all` for all of them, "
                    f"`{target}:latest` for the newest, or name a version."
                )
            named = list_bundles(name=reference.name, selector=selector, environ=environ)
        else:
            place = local_store(environ).find(reference)
            named = [one for one in list_bundles(name=reference.name, environ=environ) if one.directory == place]
        found.update({one.record.tag: one for one in named})
    return list(found.values())


def delete_bundles(tags: Sequence[Tag], *, environ: Mapping[str, str] = os.environ) -> list[Tag]:
    """Delete bundles from the store and return those that were there."""
    with _failing_writes_explained("The store"):
        return local_store(environ).delete(tags)


@dataclass(frozen=True, slots=True)
class Verified:
    """What a comparison of a bundle's files with its digests found."""

    name: str
    directory: Path | None
    files: int = 0
    digest: str = ""
    problem: str | None = None

    def to_tree(self) -> dict[str, Any]:
        return {
            "bundle": self.name,
            "path": str(self.directory) if self.directory is not None else None,
            "files": self.files,
            "bundle_digest": self.digest or None,
            "ok": self.problem is None,
            "problem": self.problem,
        }


def verify_bundles(
    targets: Sequence[str], *, everything: bool = False, environ: Mapping[str, str] = os.environ
) -> Iterator[Verified]:
    """Compare every file of bundles with its digest; with ``everything``, of all that the store holds too."""
    stored = [str(tag) for tag in stored_tags(environ)] if everything else []
    for target in [*targets, *stored]:
        yield _verified(target, environ)


def _verified(target: str, environ: Mapping[str, str]) -> Verified:
    directory = None
    try:
        bundle = find_bundle(target, environ=environ)
        directory = bundle.directory
        bundle.verify()
        if target.partition("@")[2] and not bundle.manifest.bundle_digest.startswith(target.partition("@")[2]):
            raise BundleError(f"The bundle in `{directory}` is not `{target}`: its digest is another one.")
    except BundleError as exc:
        return Verified(target, directory, problem=str(exc))
    manifest = bundle.manifest
    return Verified(str(manifest.tag), directory, len(manifest.files), manifest.bundle_digest)


# -- building ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Built:
    """A finished bundle and where it is."""

    directory: Path
    manifest: BundleManifest


def project_to_build(target: str | Path, *, models: Mapping[str, Path] | None = None) -> Project:
    """Read the project that a user names: a kappafile, its directory, or a class as ``module:Class``.

    ``models`` says where the models of a class lie. Raises `ConfigurationError`, or `ManifestError` that carries every
    problem found.
    """
    from kappa.build.class_project import read_class_project
    from kappa.build.project import read_project

    if _CLASS.fullmatch(str(target)) and not Path(target).exists():
        return read_class_project(str(target), Path.cwd(), models=models)
    if models:
        raise UsageError("`--artifact` says where the models of a class lie; a kappafile says it in `[artifacts]`.")
    return read_project(Path(target))


def plan_of(
    path: Path | Project,
    *,
    version: str | None = None,
    labels: Mapping[str, str] | None = None,
    resolver: str | None = None,
    environ: Mapping[str, str] = os.environ,
) -> BuildPlan:
    """Decide everything about the bundle of a project, and write nothing."""
    from kappa.build.plan import plan_build
    from kappa.build.project import Project, read_project

    project = path if isinstance(path, Project) else read_project(path)
    return plan_build(project, version=version, labels=labels or {}, environ=environ, resolver=resolver)


def lock_project(
    path: Path,
    *,
    upgrade: bool = False,
    packages: Collection[str] = (),
    resolver: str | None = None,
    pin_base_image: bool = False,
    environ: Mapping[str, str] = os.environ,
) -> tuple[Path, Relock]:
    """Bring the committed lock of a project up to date; return its path and what changed.

    With ``pin_base_image``, an engine is asked for the digest that the base image has in its registry now.
    """
    from kappa.build.lock import LOCK_NAME
    from kappa.build.locking import relock

    plan = plan_of(path, resolver=resolver, environ=environ)
    committed = plan.project.root / LOCK_NAME
    image = ""
    if pin_base_image:
        from kappa.containers.engine import choose_engine

        image = choose_engine("auto", environ=environ).pin(plan.base_image)
    with _failing_writes_explained("The lock"):
        done = relock(
            plan.lock_inputs, committed, environ=environ, upgrade=upgrade, packages=packages, base_image=image
        )
    return committed, done


def check_project_lock(path: Path, *, resolver: str | None = None, environ: Mapping[str, str] = os.environ) -> Lock:
    """Return the committed lock of a project if it is up to date; raises `LockError` that says why it is not."""
    from kappa.build.lock import LOCK_NAME
    from kappa.build.locking import check_committed

    plan = plan_of(path, resolver=resolver, environ=environ)
    return check_committed(plan.lock_inputs, plan.project.root / LOCK_NAME)


def build_and_store(
    path: Path,
    *,
    version: str | None = None,
    labels: Mapping[str, str] | None = None,
    output: Path | None = None,
    resolver: str | None = None,
    lock_mode: LockMode = "reuse",
    environ: Mapping[str, str] = os.environ,
) -> Built:
    """Build the bundle of the project at ``path``; see `build_project`."""
    return build_project(
        lambda: read_target_project(ProjectTarget(path)),
        version=version,
        labels=labels,
        output=output,
        resolver=resolver,
        lock_mode=lock_mode,
        environ=environ,
    )


def build_project(
    read: Callable[[], Project],
    *,
    version: str | None = None,
    labels: Mapping[str, str] | None = None,
    output: Path | None = None,
    resolver: str | None = None,
    lock_mode: LockMode = "reuse",
    environ: Mapping[str, str] = os.environ,
) -> Built:
    """Build the bundle of the project that ``read`` returns: into the store, or as the directory ``output``.

    ``output`` must be absent or empty. A failure leaves nothing behind. In the store, a bundle of the same tag and the
    same bytes stays as it is; one of other bytes is a `DestinationExistsError`. What happened, and how long it took,
    goes to the ledger of builds.
    """
    from kappa.build.builder import build_bundle
    from kappa.build.ledger import recording
    from kappa.build.plan import plan_build

    with recording(home_directory(environ)) as record:
        with record.step("plan"):
            plan = plan_build(read(), version=version, labels=labels or {}, environ=environ, resolver=resolver)
            record.planned(plan)
        if lock_mode == "upgrade":
            lock_mode = _upgrade(plan, environ)
        with _failing_writes_explained("The bundle"):
            if output is not None:
                build = build_bundle(plan, output, environ=environ, lock_mode=lock_mode, stopwatch=record.stopwatch)
                directory = output.expanduser().resolve()
            else:
                store = local_store(environ)
                with store.staging() as staging:
                    build = build_bundle(
                        plan, staging / "bundle", environ=environ, lock_mode=lock_mode, stopwatch=record.stopwatch
                    )
                    with record.step("store"):
                        directory = store.put(staging / "bundle")
        record.built(build, directory)
        return Built(directory, build.manifest)


def _upgrade(plan: BuildPlan, environ: Mapping[str, str]) -> LockMode:
    """Upgrade the committed lock, which the build then takes; without one, the build itself takes the newest."""
    from kappa.build.lock import LOCK_NAME
    from kappa.build.locking import relock

    committed = plan.project.root / LOCK_NAME
    if not committed.is_file():
        return "upgrade"
    relock(plan.lock_inputs, committed, environ=environ, upgrade=True)
    return "reuse"


def save_service(
    service: BentoService,
    *,
    version: str | None = None,
    labels: Mapping[str, str] | None = None,
    output: str | os.PathLike[str] | None = None,
    environ: Mapping[str, str] = os.environ,
) -> Built:
    """Build the bundle of an instance with its packed models, as `build_and_store` does; what it says is logged."""
    from kappa.build.class_project import project_of, standing_for_its_file

    directory = None if output is None else Path(output).expanduser()
    with listening(to_logging):
        project = project_of(service)
        with standing_for_its_file(type(service)):
            return build_project(lambda: project, version=version, labels=labels, output=directory, environ=environ)


@contextmanager
def _failing_writes_explained(what: str) -> Iterator[None]:
    try:
        yield
    except OSError as exc:
        place = f" (`{exc.filename}`)" if exc.filename else ""
        raise BuildError(
            f"{what} could not be written: {exc.strerror or exc}{place}. Nothing was left behind."
        ) from exc


# -- serving -----------------------------------------------------------------------------------------------------------


def served_target(target: Target) -> Served:
    """Describe a bundle or a project to a server, which loads it in each of its processes."""
    from kappa.server.host import served_bundle

    if isinstance(target, BundleTarget):
        return served_bundle(target.directory)
    return served_project(str(target.path))


def served_project(path: str) -> Served:
    """Describe a project as it is now; what the development server calls in each of its processes."""
    from kappa.server.host import Served

    project = read_target_project(ProjectTarget(Path(path)))
    return Served(project.spec, "project", partial(load_declared, project.spec, project.sources, root=project.root))


def serve_bundle(
    target: str,
    options: ServerOptions,
    *,
    server: Literal["gunicorn", "uvicorn"] = "gunicorn",
    environ: MutableMapping[str, str] = os.environ,
) -> None:
    """Verify the bundle that ``target`` names and serve it until asked to stop, and what it names then after a reload.

    Raises `KappaError` when it cannot be started.
    """
    from kappa.server.launch import serve_gunicorn, serve_uvicorn

    def find() -> list[Path]:
        bundle = find_bundle(target, environ=environ)
        bundle.verify()
        return [bundle.directory]

    services = [served_target(BundleTarget(directory)) for directory in find()]
    serve = serve_gunicorn if server == "gunicorn" else serve_uvicorn
    serve(services, options, find=find, environ=environ)


def reload_server(port: int | None, *, timeout_s: float) -> tuple[str, ...]:
    """Have a server on this machine serve the newest version of what it serves, and return it as `Name:version`.

    Raises `UsageError` if it is not clear which server is meant, `InferenceFailedError` if it stays with the old one.
    """
    from kappa.server.running import read_announcement, running_servers

    servers = [found for found in running_servers() if port in (None, found[1].port)]
    if len(servers) != 1:
        where = "" if port is None else f" on port {port}"
        if not servers:
            raise UsageError(f"No server that could reload was found{where}: `kappa serve-gunicorn` starts one.")
        known = "; ".join(f"{', '.join(known.services)} on port {known.port}" for _, known in servers)
        raise UsageError(f"Several servers run here: {known}. Say which one with `--port`.")
    folder, before = servers[0]
    os.kill(before.pid, signal.SIGHUP)
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        time.sleep(_RELOAD_POLL_S)
        try:
            now = read_announcement(folder)
        except OSError:
            raise InferenceFailedError("The server ended before it had reloaded.") from None
        if now.state == "failed" and now.reloads > before.reloads:
            raise InferenceFailedError(f"The server stays with {', '.join(now.services)}: {now.message}")
        if now.state == "done" and now.reloads > before.reloads:
            return now.services
    raise InferenceFailedError(
        f"The server has not reloaded within {timeout_s:g} seconds; its log says how it goes on."
    )


def tune_bundle(target: str, api_name: str | None, *, target_ms: float | None, seconds: float) -> Tuning:
    """Measure an API of a bundle with its first example, simulate it, and recommend settings.

    Raises `UsageError` if it is not clear which API, `ConfigurationError` without an example for it.
    """
    from kappa.server.allowance import read_allowance
    from kappa.server.tuning.tune import tune

    bundle = find_bundle(target)
    service = bundle.manifest.service
    example = _example_to_tune_with(service, api_name)
    api = service.api(example.api)
    return tune(
        str(bundle.directory),
        f"/{api.path}",
        example_payload(example, bundle.directory / "examples"),
        api=api.name,
        max_batch_size=api.max_batch_size if api.batch else 1,
        target_ms=target_ms or api.max_latency_ms or _USUAL_TARGET_MS,
        seconds=seconds,
        cores=read_allowance().cores,
        say=log,
    )


def _example_to_tune_with(service: ServiceSpec, api_name: str | None) -> ExampleSpec:
    if api_name is not None and api_name not in {api.name for api in service.apis}:
        known = ", ".join(f"`{api.name}`" for api in service.apis)
        raise UsageError(f"`{service.name}` has no API `{api_name}`. It has {known}.")
    examples = {example.api: example for example in reversed(service.examples) if api_name in (None, example.api)}
    if not examples:
        whose = f"the API `{api_name}`" if api_name else f"`{service.name}`"
        raise ConfigurationError(
            f"There is no example for {whose} to measure with: add `[[examples]]` to the kappafile and build it again."
        )
    if len(examples) > 1:
        known = ", ".join(f"`{name}`" for name in sorted(examples))
        raise UsageError(f"`{service.name}` has examples for {known}: say with `--api` which one to tune.")
    return next(iter(examples.values()))


def tuning_charts(tuning: Tuning) -> str:
    """Draw what was found out as SVG."""
    from kappa.server.tuning.tune import charts_of

    return charts_of(tuning)


def serve_project(target: ProjectTarget, options: ServerOptions) -> None:
    """Serve a project without building it until interrupted, starting anew after each edit."""
    from kappa.server.dev import Loader, serve_dev

    path = target.path.resolve()
    serve_dev(Loader("kappa.actions:served_project", str(path)), options, watched=lambda: project_files(path))


def project_files(path: Path) -> list[Path]:
    """Return the files that a project is made of, as far as its kappafile and its imports tell without running them."""
    from kappa.build.sources import collect_code

    project = read_target_project(ProjectTarget(path))
    files = [project.file] if project.file is not None else []
    with suppress(KappaError):  # code with a mistake in it is still watched as far as it is known
        files += collect_code(project).files.values()
    for source in (source.path for source in project.sources.values() if source.path is not None):
        files += source.rglob("*") if source.is_dir() else [source]
    files += [project.root / example.input_file for example in project.spec.examples if example.input_file is not None]
    return files


# -- images ------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Containerized:
    """An image of a bundle, and where it is."""

    manifest: BundleManifest
    builder: str
    tags: tuple[str, ...]
    image: ImageFacts
    pushed: Mapping[str, str]
    """The digest of each tag in its registry, for those that were pushed."""

    def to_tree(self) -> dict[str, Any]:
        return {
            "bundle": str(self.manifest.tag),
            "bundle_digest": self.manifest.bundle_digest,
            "builder": self.builder,
            "tags": list(self.tags),
            "image_id": self.image.id,
            "size_bytes": self.image.size_bytes,
            "pushed": [{"tag": tag, "digest": digest} for tag, digest in self.pushed.items()],
        }


def containerize(
    target: str,
    *,
    tags: Sequence[str] = (),
    push: bool = False,
    build_arguments: Mapping[str, str | None] | None = None,
    secrets: Sequence[Secret] = (),
    platforms: Sequence[str] = (),
    builder: Builder = "auto",
    no_cache: bool = False,
    pull: bool = False,
    allow_unlocked: bool = False,
    test: bool = False,
    environ: Mapping[str, str] = os.environ,
) -> Containerized:
    """Make an image of a bundle, under every one of ``tags`` or the bundle's own, and push it if asked to.

    With ``test`` the image is run, and the bundle's examples are replayed, before anything is pushed. Raises
    `UsageError` for what cannot be meant, `BundleError` for a bundle that is not what it says, `ExampleFailedError` for
    an image that answers otherwise, and `ContainerError`, after which nothing is left running.
    """
    from kappa.containers.engine import choose_engine
    from kappa.containers.images import check_image, default_image
    from kappa.containers.request import ImageRequest, lent_proxies, lent_secrets

    bundle = find_bundle(target, environ=environ)
    manifest = bundle.manifest
    try:
        names = tuple(dict.fromkeys(map(check_image, tags))) or (default_image(manifest.tag),)
    except ValueError as exc:
        raise UsageError(f"{exc}.") from None
    arguments = {**lent_proxies(environ), **(build_arguments or {})}
    if missing := [key for key, value in arguments.items() if value is None and key not in environ]:
        raise UsageError(f"`--build-arg {missing[0]}` takes the value of a variable that is not set.")
    if manifest.env.unlocked and not allow_unlocked:
        raise UsageError(
            f"The packages of `{manifest.tag}` have no hashes, so an image of it promises nothing: build it where an "
            "index can be asked, or allow it with `--allow-unlocked`."
        )
    platforms = _platforms(manifest, platforms)
    bundle.verify()
    if test:
        _check_testable(manifest, platforms, environ)
    engine = choose_engine(builder, environ=environ)
    request = ImageRequest(
        directory=bundle.directory,
        base_image=manifest.env.docker_base_image,
        tags=names,
        build_arguments={**arguments, **({"KAPPA_ALLOW_UNLOCKED": "1"} if manifest.env.unlocked else {})},
        secrets=tuple(secrets),
        lent=lent_secrets(environ),
        labels={"kappa.bundle.digest": manifest.bundle_digest},
        platforms=tuple(platforms),
        no_cache=no_cache,
        pull=pull,
        push=push and len(platforms) > 1,
    )
    log(f"Building {names[0]} with {engine.title}", kind="step")
    image = engine.build(request)
    if test:
        _test_image(engine, names[0], bundle, environ)
    pushed: dict[str, str] = {}
    for name in names if push and not request.push else ():
        log(f"Pushing {name}", kind="step")
        pushed[name] = engine.push(name)
    return Containerized(manifest, engine.title, names, image, pushed)


def _check_testable(manifest: BundleManifest, platforms: Sequence[str], environ: Mapping[str, str]) -> None:
    if not manifest.service.examples:
        raise ConfigurationError(f"`{manifest.name}` has no `[[examples]]`, so there is nothing to test.")
    if missing := [name for name in manifest.service.env.secrets if name not in environ]:
        raise UsageError(
            f"`--test` runs the service, which needs {', '.join(f'`{name}`' for name in missing)}: set them."
        )
    if len(platforms) > 1:
        raise UsageError("`--test` runs one image: name one platform.")


def _test_image(engine: Engine, image: str, bundle: Bundle, environ: Mapping[str, str]) -> None:
    """Run an image and replay the examples of its bundle; raises `ContainerError` or `ExampleFailedError`."""
    log(f"Testing {image}", kind="step")
    variables = {name: environ[name] for name in bundle.manifest.service.env.secrets if name in environ}
    target = BundleTarget(bundle.directory)
    with engine.run(image, variables=variables) as running:
        deadline = time.monotonic() + _START_UP_S
        while not _answers(f"{running.url}/readyz"):
            if running.has_ended() or time.monotonic() > deadline:
                last = "\n".join(f"  {line}" for line in running.logs().splitlines()[-12:])
                raise ContainerError(f"`{image}` does not become ready. It says:\n{last}")
            time.sleep(0.1)
        replays = list(replay_examples(running.url, examples_of(target)))
    failed = [f"`{one.example.name}`: {problem}" for one in replays for problem in one.problems]
    if failed:
        told = "\n".join(f"- {line}" for line in failed)
        raise ExampleFailedError(f"`{image}` does not answer as the examples expect, and was not pushed:\n{told}")


def _answers(url: str) -> bool:
    """Return whether a server answers with 200; a container that just began has no port yet."""
    from urllib.request import urlopen

    with suppress(OSError, ValueError), urlopen(url, timeout=5) as response:  # noqa: S310 - the engine's own address
        return bool(response.status == 200)
    return False


def compose_file(target: Target) -> str:
    """Return a Compose file that runs the image of a bundle, or the newest one of a project."""
    from kappa.build.deployables import ComposeContext
    from kappa.build.render import render
    from kappa.containers.images import default_image

    spec, version = spec_of(target)
    tag = Tag(spec.name, version if isinstance(target, BundleTarget) else "latest")
    return render(
        ComposeContext(
            name=spec.name,
            service=default_image(tag).partition(":")[0],
            kappa_version=__version__,
            image=default_image(tag),
            secrets=spec.env.secrets,
            has_gpu=spec.env.cuda is not None,
        )
    )


def github_workflow(target: ProjectTarget) -> str:
    """Return a workflow of GitHub's that validates, builds and tests a project, and makes its image."""
    from kappa.build.deployables import WorkflowContext
    from kappa.build.lock import LOCK_NAME
    from kappa.build.render import render
    from kappa.build.targets import running_python
    from kappa.containers.images import default_image

    project = read_target_project(target)
    file = project.file if project.file is not None else target.path
    return render(
        WorkflowContext(
            name=project.spec.name,
            service=default_image(Tag(project.spec.name, "latest")).partition(":")[0],
            kappa_version=__version__,
            python_version=project.spec.env.python or running_python(),
            kappafile=_inside_repository(file.resolve()),
            has_lock=(project.root / LOCK_NAME).is_file(),
        )
    )


def _inside_repository(path: Path) -> str:
    """Return a path as the steps of a workflow name it: from the top of the repository, if it is in one."""
    top = next((folder for folder in path.parents if (folder / ".git").exists()), path.parent)
    return path.relative_to(top).as_posix()


def _platforms(manifest: BundleManifest, asked: Sequence[str]) -> Sequence[str]:
    """Return the platforms to build for: those asked for if the packages are pinned for them, else one that is.

    Nothing is named where the packages are pinned for this machine's own.
    """
    locked = manifest.env.platforms
    for platform in asked:
        system = _PLATFORM_NAMES.get(platform)
        if system is None:
            raise UsageError(f"`--platform {platform}` is not one: write `{'` or `'.join(_PLATFORM_NAMES)}`.")
        if locked and system not in locked:
            raise UsageError(
                f"The packages of `{manifest.tag}` are pinned for {', '.join(locked)}, not for `{platform}`: name it "
                "in `platforms` of `[bundle]`, and build again."
            )
    if asked or not locked:
        return asked
    possible = [name for name, system in _PLATFORM_NAMES.items() if system in locked]
    if not possible:
        raise UsageError(
            f"The packages of `{manifest.tag}` are pinned for {', '.join(locked)}, and an image runs Linux: name "
            "`linux/amd64` in `platforms` of `[bundle]`, and build again."
        )
    is_native = any(_PLATFORM_NAMES[name].endswith(f"_{platform_module.machine().lower()}") for name in possible)
    return () if is_native else possible[:1]


# -- testing -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Examples:
    """The examples of a service, and the directory of their files."""

    spec: ServiceSpec
    directory: Path | None


@dataclass(frozen=True, slots=True)
class Replay:
    """One example that was sent again; ``problems`` is empty when the answer is what it should be."""

    example: ExampleSpec
    problems: tuple[str, ...]
    got: Any
    """The answer as a value; text if it is not JSON, ``None`` if there is none."""
    duration_ms: float


def examples_of(target: Target) -> Examples:
    """Return the examples of a project or bundle without loading it."""
    if isinstance(target, ProjectTarget):
        project = read_target_project(target)
        return Examples(project.spec, project.root)
    bundle = open_bundle(target.directory)
    return Examples(bundle.manifest.service, None if bundle.is_installed else bundle.directory / "examples")


def replay_examples(
    target: Target | str, examples: Examples, *, environ: MutableMapping[str, str] = os.environ
) -> Iterator[Replay]:
    """Send every example to a project or bundle, loaded in this process, or to the server at a URL.

    Raises `ConfigurationError` if there is no example, because a test of nothing must not pass.
    """
    if not examples.spec.examples:
        raise ConfigurationError(f"`{examples.spec.name}` has no `[[examples]]`, so there is nothing to test.")
    if isinstance(target, str):
        for example in examples.spec.examples:
            route = f"{target.rstrip('/')}/{examples.spec.api(example.api).path}"
            yield _replay(example, examples.directory, partial(_post, route))
        return
    with open_target(target, environ=environ) as service:
        for example in examples.spec.examples:
            yield _replay(example, examples.directory, service.apis[example.api].answer_payload)


def _replay(example: ExampleSpec, directory: Path | None, ask: Callable[[Payload], Answer]) -> Replay:
    began = time.perf_counter()
    got: Any = None
    try:
        if directory is None and example.input_file is not None:
            raise InferenceFailedError(f"Its file `{example.input_file}` does not come with an installed bundle.")
        answer = ask(example_payload(example, directory or Path()))
        got = _value_of(answer)
        problems = list(_problems_of(example, answer, got))
    except KappaError as exc:
        problems = [str(exc)]
    except Exception as exc:  # noqa: BLE001 - the user's function may raise anything
        problems = [said(exc)]
    return Replay(example, tuple(problems), got, (time.perf_counter() - began) * 1000)


def _problems_of(example: ExampleSpec, answer: Answer, got: Any) -> Iterator[str]:
    if answer.http_status >= 400:
        message = got.get("error", got) if isinstance(got, dict) else got
        yield f"the answer has the status {answer.http_status}: {message}"
    elif example.expect is not None:
        yield from differences(example.expect, got, tolerance=example.tolerance)


def _value_of(answer: Answer) -> Any:
    try:
        return orjson.loads(answer.body)
    except ValueError:
        return answer.body.decode(errors="replace")


def _post(url: str, payload: Payload) -> Answer:
    """Send a payload to a server and return its answer, whatever its status."""
    from urllib.error import HTTPError, URLError  # PERF: 38 of the 410 ms that importing this took
    from urllib.request import Request, urlopen

    request = Request(url, payload.data, {"Content-Type": payload.media_type}, method="POST")  # noqa: S310 - see below
    try:
        with urlopen(request, timeout=_REMOTE_TIMEOUT_S) as response:  # noqa: S310 - `kappa test` checks the scheme
            return Answer(response.read(), response.headers.get_content_type(), response.status)
    except HTTPError as exc:
        with exc:
            return Answer(exc.read(), exc.headers.get_content_type(), exc.code)
    except (URLError, OSError) as exc:
        reason = exc.reason if isinstance(exc, URLError) else exc
        raise InferenceFailedError(f"The server at `{url}` does not answer: {reason}.") from exc
