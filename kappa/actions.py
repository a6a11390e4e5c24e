"""What users ask for, each a plain function that joins the sides: building, storing, serving, running, testing.

Commands, notebooks and tests call these; nothing here prints or reads arguments. The sides are imported inside the
functions that need them, because a bundle runs where the packages of the build side are not installed.
"""

from __future__ import annotations

import difflib
import os
import time
from collections.abc import Callable, Iterator, Mapping, MutableMapping
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import orjson

from kappa.bundle import Bundle, load_bundle, open_bundle
from kappa.comparison import differences
from kappa.errors import (
    BuildError,
    BundleError,
    BundleNotFoundError,
    ConfigurationError,
    InferenceFailedError,
    KappaError,
    UsageError,
)
from kappa.gamma.storage import DirectoryStorage
from kappa.inference import Inference, example_payload
from kappa.log import log
from kappa.service import LoadedService, load_declared
from kappa.settings import home_directory
from kappa.spec.manifest import MANIFEST_NAME, BundleManifest, read_manifest
from kappa.spec.models import ExampleSpec, ServiceSpec
from kappa.tag import BundleReference
from kappa.types import Answer, Payload

if TYPE_CHECKING:
    from kappa.build.plan import BuildPlan
    from kappa.build.project import Project
    from kappa.server.host import Served
    from kappa.server.options import ServerOptions

__all__ = [
    "Built",
    "BundleTarget",
    "Examples",
    "ProjectTarget",
    "Replay",
    "Target",
    "api_of",
    "build_and_store",
    "examples_of",
    "find_bundle",
    "local_store",
    "open_target",
    "plan_of",
    "project_files",
    "read_target_project",
    "replay_examples",
    "resolve_target",
    "serve_bundle",
    "serve_project",
    "served_project",
    "served_target",
    "spec_of",
    "stored_manifests",
]

_REMOTE_TIMEOUT_S = 60.0


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


def local_store(environ: Mapping[str, str] = os.environ) -> DirectoryStorage:
    """Return the store of bundles below ``$KAPPA_HOME``."""
    return DirectoryStorage(home_directory(environ) / "repository")


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
    return BundleTarget(local_store(environ).find(reference))


def find_bundle(text: str, *, environ: Mapping[str, str] = os.environ) -> Bundle:
    """Open the bundle that ``text`` names; a project is not one."""
    target = resolve_target(text, environ=environ)
    if isinstance(target, ProjectTarget):
        raise UsageError(f"`{text}` is not a bundle but a project: build it first with `kappa build {text}`.")
    return open_bundle(target.directory)


def stored_manifests(store: DirectoryStorage, name: str | None = None) -> list[BundleManifest]:
    """Return the manifests of all bundles in the store, or of one service's, newest first; broken ones are skipped."""
    return [manifest for tag in store.tags(name) if (manifest := _manifest_or_warning(store.path_of(tag))) is not None]


def _manifest_or_warning(directory: Path) -> BundleManifest | None:
    try:
        return read_manifest(directory)
    except BundleError as exc:
        log(str(exc), kind="warning")
        return None


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


# -- building ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Built:
    """A finished bundle and where it is."""

    directory: Path
    manifest: BundleManifest


def plan_of(
    path: Path,
    *,
    version: str | None = None,
    labels: Mapping[str, str] | None = None,
    environ: Mapping[str, str] = os.environ,
) -> BuildPlan:
    """Decide everything about the bundle of a project, and write nothing."""
    from kappa.build.plan import plan_build
    from kappa.build.project import read_project

    return plan_build(read_project(path), version=version, labels=labels or {}, environ=environ)


def build_and_store(
    path: Path,
    *,
    version: str | None = None,
    labels: Mapping[str, str] | None = None,
    output: Path | None = None,
    environ: Mapping[str, str] = os.environ,
) -> Built:
    """Build the bundle of a project: into the store, or as the directory ``output``, which must be absent or empty.

    A failure leaves nothing behind. In the store, a bundle of the same tag and the same bytes stays as it is; one of
    other bytes is a `DestinationExistsError`.
    """
    from kappa.build.builder import build_bundle

    plan = plan_of(path, version=version, labels=labels, environ=environ)
    with _failing_writes_explained():
        if output is not None:
            manifest = build_bundle(plan, output, environ=environ)
            return Built(output.resolve(), manifest)
        store = local_store(environ)
        with store.staging() as staging:
            manifest = build_bundle(plan, staging / "bundle", environ=environ)
            return Built(store.put(staging / "bundle"), manifest)


@contextmanager
def _failing_writes_explained() -> Iterator[None]:
    try:
        yield
    except OSError as exc:
        place = f" (`{exc.filename}`)" if exc.filename else ""
        raise BuildError(
            f"The bundle could not be written: {exc.strerror or exc}{place}. Nothing was left behind."
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
    directory: Path,
    options: ServerOptions,
    *,
    server: Literal["gunicorn", "uvicorn"] = "gunicorn",
    environ: MutableMapping[str, str] = os.environ,
) -> None:
    """Verify a bundle and serve it until asked to stop; raises `KappaError` when it cannot be started."""
    from kappa.server.launch import serve_gunicorn, serve_uvicorn

    open_bundle(directory).verify()
    serve = serve_gunicorn if server == "gunicorn" else serve_uvicorn
    serve([served_target(BundleTarget(directory))], options, environ=environ)


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
        problems = [f"{type(exc).__name__}: {exc}"]
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
