"""From a project to a lock, and to a bundle in the store."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kappa import build
from kappa.choices import ALL_MODELS
from kappa.containers.choosing import choose_engine
from kappa.environment import expanded, home_directory
from kappa.errors import DestinationExistsError, GammaError, GammaUnreachableError, UsageError
from kappa.gamma.transfer.copying import put_copy
from kappa.log import listening, log, to_logging
from kappa.settings import read_settings
from kappa.spec.manifest import BundleManifest
from kappa.spec.store import Store
from kappa.tag import BundleReference, Tag
from kappa.terminal import Progress, showing_bytes
from kappa.wording import listed

if TYPE_CHECKING:
    from kappa.services.declared import DeclaredService

from kappa.actions.failures import failing_writes_explained
from kappa.actions.stores import bundle_store, default_namespace, gamma_url, is_remote, local_store

__all__ = [
    "Built",
    "build_project",
    "check_project_lock",
    "lock_project",
    "past_builds",
    "plan_of",
    "project_to_build",
    "save_service",
]

_ATTEMPTS = 20
"""How often a build is begun again because another process has just taken its version."""
_CLASS = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_][\w.]*", re.ASCII)


@dataclass(frozen=True, slots=True)
class Built:
    """A finished bundle and where it is."""

    directory: Path
    manifest: BundleManifest


def project_to_build(
    target: str | Path, *, models: Mapping[str, Path] | None = None, compiled: Collection[str] = ()
) -> build.Project:
    """Read the project that a user names: a kappafile, its directory, or a class as ``module:Class``.

    ``models`` says where models lie, by the names of artifacts: those of a class, or others than a kappafile names.
    Those of the artifacts ``compiled`` are compiled, too; `ALL_MODELS` among them means each that can be.
    Raises `ConfigurationError`, or `ManifestError` that carries every problem found.
    """
    if _CLASS.fullmatch(str(target)) and not Path(target).exists():
        project = build.read_class_project(str(target), Path.cwd(), models=models)
    else:
        project = build.read_project(Path(target), models=models)
    return _with_compiled(project, compiled) if compiled else project


def _with_compiled(project: build.Project, names: Collection[str]) -> build.Project:
    declared = {artifact.name: artifact for artifact in project.spec.artifacts}
    able = [name for name, artifact in declared.items() if "compile" in type(artifact).model_fields]
    for name in names:
        if name not in (*able, ALL_MODELS):
            why = f"is of the type `{declared[name].type}`" if name in declared else "is not declared"
            named = f"Those that can be compiled are {listed(able)}." if able else "No artifact can be compiled."
            raise UsageError(f"`--compile {name}`: the artifact `{name}` {why}. {named}")
    if not able:
        raise UsageError(f"`--compile`: `{project.spec.name}` has no artifact that can be compiled.")
    chosen = able if ALL_MODELS in names else names
    artifacts = tuple(
        artifact.with_options(compile="onnx") if name in chosen and artifact.compiling is None else artifact
        for name, artifact in declared.items()
    )
    return replace(project, spec=project.spec.model_copy(update={"artifacts": artifacts}))


def plan_of(
    path: Path | build.Project,
    *,
    version: str | None = None,
    labels: Mapping[str, str] | None = None,
    resolver: str | None = None,
    upgrade: bool = False,
    packages: Collection[str] = (),
    imports_code: bool = True,
    environ: Mapping[str, str] = os.environ,
) -> build.BuildPlan:
    """Decide everything about the bundle of a project, and write nothing."""
    project = path if isinstance(path, build.Project) else build.read_project(path)
    return build.plan_build(
        project,
        version=version,
        labels=labels or {},
        environ=environ,
        resolver=resolver,
        upgrade=upgrade,
        packages=packages,
        imports_code=imports_code,
    )


def lock_project(
    path: Path | build.Project,
    *,
    upgrade: bool = False,
    packages: Collection[str] = (),
    resolver: str | None = None,
    pin_base_image: bool = False,
    environ: Mapping[str, str] = os.environ,
) -> tuple[Path, build.Relock]:
    """Bring the committed lock of a project up to date; return its path and what changed.

    With ``pin_base_image``, an engine is asked for the digest that the base image has in its registry now.
    """
    plan = plan_of(path, resolver=resolver, upgrade=upgrade, packages=packages, imports_code=False, environ=environ)
    committed = plan.project.root / build.LOCK_NAME
    image = ""
    if pin_base_image:
        image = choose_engine("auto", environ=environ).registry.pin(plan.base_image)
    with failing_writes_explained("The lock"):
        done = build.relock(
            plan.lock_inputs, committed, environ=environ, upgrade=upgrade, packages=packages, base_image=image
        )
    return committed, done


def past_builds(
    *, name: str | None = None, limit: int, environ: Mapping[str, str] = os.environ
) -> list[dict[str, Any]]:
    """Return the builds in this machine's ledger, the newest first; of one service if it is named."""
    return build.read_builds(home_directory(environ), name=name, limit=limit)


def check_project_lock(
    path: Path | build.Project, *, resolver: str | None = None, environ: Mapping[str, str] = os.environ
) -> build.Lock:
    """Return the committed lock of a project if it is up to date; raises `LockError` that says why it is not."""
    plan = plan_of(path, resolver=resolver, imports_code=False, environ=environ)
    return build.check_committed(plan.lock_inputs, plan.project.root / build.LOCK_NAME)


def build_project(
    read: Callable[[], build.Project],
    *,
    version: str | None = None,
    labels: Mapping[str, str] | None = None,
    output: Path | None = None,
    resolver: str | None = None,
    lock_mode: build.LockMode = "reuse",
    no_try: bool = False,
    on_progress: Progress | None = None,
    environ: Mapping[str, str] = os.environ,
) -> Built:
    """Build the bundle of the project that ``read`` returns: into the store, or as the directory ``output``.

    Unless ``no_try``, its code is imported and its models are loaded once, from the bundle alone, before it is kept.
    ``output`` must be absent, empty, or an earlier bundle of the service, which is replaced. A failure leaves nothing
    behind. In the store, a bundle of the same tag and the same bytes stays as it is; one of other bytes is a
    `DestinationExistsError`. What happened, and how long it took, goes to the ledger of builds.
    """
    with build.recording(home_directory(environ)) as record:
        with record.step("plan"):
            plan = plan_of(
                read(),
                version=version,
                labels=labels,
                resolver=resolver,
                upgrade=lock_mode == "upgrade",
                environ=environ,
            )
            record.planned(plan)
        if lock_mode == "upgrade":
            lock_mode = _upgrade(plan, environ)
        build_into = partial(
            build.build_bundle,
            plan,
            environ=environ,
            lock_mode=lock_mode,
            stopwatch=record.stopwatch,
            check=None if no_try else partial(build.try_bundle, plan, environ=environ),
        )
        with failing_writes_explained("The bundle"):
            if output is not None:
                made = build_into(output)
                directory = expanded(output).resolve()
            else:
                made, directory = _into_store(plan, build_into, record, environ, on_progress)
        record.built(made, directory)
        return Built(directory, made.manifest)


def _into_store(
    plan: build.BuildPlan,
    build_into: Callable[..., build.Build],
    record: build.BuildRecord,
    environ: Mapping[str, str],
    on_progress: Progress | None,
) -> tuple[build.Build, Path]:
    """Build a bundle in the store; versions that Kappa makes never collide with one that is there.

    With ``SOURCE_DATE_EPOCH`` they do: the same inputs make the same bundle.
    """
    store, namespace = bundle_store(environ, on_progress=on_progress), default_namespace(environ)
    is_free = plan.version is None and not environ.get("SOURCE_DATE_EPOCH")

    def is_taken(version: str) -> bool:
        return is_free and _has(store, Tag(plan.spec.name, version, namespace), environ)

    for attempts_left in reversed(range(_ATTEMPTS)):
        with store.staging() as staging:
            made = build_into(staging / "bundle", is_taken=is_taken)
            try:
                with record.step("store"):
                    directory = _put(store, staging / "bundle", made.manifest, namespace, environ)
                    return made, directory
            except DestinationExistsError:
                if not (is_free and attempts_left):
                    raise  # else another process was faster, with a bundle of the same content in the same second
    raise AssertionError("the last attempt returns or raises")


def _has(store: Store, tag: Tag, environ: Mapping[str, str]) -> bool:
    try:
        return store.has(tag)
    except GammaUnreachableError:  # then the bundle is kept here
        return local_store(environ).has(tag)


def _put(store: Store, staged: Path, manifest: BundleManifest, namespace: str, environ: Mapping[str, str]) -> Path:
    """Put a bundle into the store; where that is on a server that is away, into this machine's.

    Then that is a warning or a `GammaError`, as `gamma_service.on_unreachable` says.
    """
    tag = Tag(manifest.name, manifest.version, namespace)
    try:
        if is_remote(environ):
            log(f"Pushing `{tag}` to `{gamma_url(environ)}`", kind="step")
        directory = store.put(staged, manifest, namespace=namespace)
    except GammaUnreachableError as exc:
        directory = put_copy(local_store(environ), staged, namespace=namespace)
        message = (
            f"{exc} The bundle is kept in the store of this machine, in `{directory}`: `kappa push {tag}` sends it "
            "when the server is back."
        )
        if read_settings(environ).gamma_service.on_unreachable == "fail":
            raise GammaError(message) from exc
        log(message, kind="warning")
        return directory
    _warn_of_newer(store, tag)
    return directory


def _warn_of_newer(store: Store, tag: Tag) -> None:
    """Warn if another bundle stays the latest, because a clock was ahead, or `SOURCE_DATE_EPOCH` is behind."""
    newest = store.resolve(BundleReference(tag.name, namespace=tag.namespace))
    if newest.tag != tag:
        log(
            f"`{tag.name}:latest` stays `{newest.tag}`, which says that it was built later, at "
            f"{newest.created_at:%Y-%m-%d %H:%M} UTC.",
            kind="warning",
        )


def _upgrade(plan: build.BuildPlan, environ: Mapping[str, str]) -> build.LockMode:
    """Upgrade the committed lock, which the build then takes; without one, the build itself takes the newest."""
    committed = plan.project.root / build.LOCK_NAME
    if not committed.is_file():
        return "upgrade"
    build.relock(plan.lock_inputs, committed, environ=environ, upgrade=True)
    return "reuse"


def save_service(
    service: DeclaredService,
    *,
    version: str | None = None,
    labels: Mapping[str, str] | None = None,
    output: str | os.PathLike[str] | None = None,
    no_try: bool = False,
    environ: Mapping[str, str] = os.environ,
) -> Built:
    """Build the bundle of an instance with its packed models, as `build_project` does; what it says is logged.

    On a terminal, a bar shows how far the push to a Gamma server is.
    """
    directory = None if output is None else expanded(output)
    with listening(to_logging), showing_bytes(f"Pushing {type(service).__name__}") as watch:
        project = build.project_of(service)
        with build.standing_for_its_file(type(service)):
            return build_project(
                lambda: project,
                version=version,
                labels=labels,
                output=directory,
                no_try=no_try,
                on_progress=watch,
                environ=environ,
            )
