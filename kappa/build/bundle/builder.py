"""From a plan to a bundle on disk: lock, content, version, generated files, manifest, and one rename at the end."""

from __future__ import annotations

import json
import platform
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from pathlib import Path, PurePosixPath

from kappa._files import say_taken_place, staged_directory
from kappa._version import __version__
from kappa.build.bundle.own_types import adopt_by_class, say_needs
from kappa.build.bundle.plan import BuildPlan, PlannedArtifact
from kappa.build.bundle.writer import BundleTree, keep_model
from kappa.build.checks.setup_scripts import shell_of
from kappa.build.checks.taken_names import say_taken, taken_by
from kappa.build.code.undeclared import say_undeclared
from kappa.build.compile.compiling import CompiledFiles, compile_models
from kappa.build.packages.lock import LOCK_NAME, Lock, check_lock
from kappa.build.packages.locking import LockMode, lock_packages
from kappa.build.packages.wheel import describe_kappa, kappa_wheel
from kappa.build.stopwatch import Stopwatch
from kappa.environment import expanded
from kappa.errors import BuildError, ConfigurationError, DestinationExistsError, KappaError
from kappa.log import log
from kappa.rendering.bundle import (
    ApiRow,
    DockerfileContext,
    DockerignoreContext,
    EntrypointContext,
    ExampleRequest,
    InitScriptContext,
    ManifestInContext,
    PackageContext,
    ReadmeContext,
    SetupContext,
    render_dockerfile,
)
from kappa.rendering.templates import render
from kappa.services.bundle import open_bundle
from kappa.services.openapi import openapi_document
from kappa.services.versions import names_asked_for, say_differences, versions_here
from kappa.spec.contracts import PluginOfService, thaw
from kappa.spec.layout import BundleLayout
from kappa.spec.manifest import (
    MAX_SIZE_BYTES,
    BundleManifest,
    ResolvedArtifact,
    ResolvedEnv,
    content_digest,
)
from kappa.tag import default_version, to_pep440

__all__ = ["Build", "build_bundle", "build_time"]

Clock = Callable[[], datetime]
Check = Callable[[Path, BundleManifest, Lock], None]


def _now() -> datetime:
    return datetime.now(timezone.utc)


def build_time(environ: Mapping[str, str], *, clock: Clock = _now) -> datetime:
    """Return the moment that the bundle says it was built: ``SOURCE_DATE_EPOCH`` if it is set, else now."""
    text = environ.get("SOURCE_DATE_EPOCH")
    if not text:
        return clock()
    try:
        return datetime.fromtimestamp(int(text), timezone.utc)
    except (ValueError, OverflowError, OSError):
        raise ConfigurationError(f"`SOURCE_DATE_EPOCH` must be a number of seconds, not `{text}`.") from None


@dataclass(frozen=True, slots=True)
class Build:
    """A finished bundle: its manifest, and the lock that its packages come from."""

    manifest: BundleManifest
    lock: Lock


def build_bundle(
    plan: BuildPlan,
    destination: Path,
    *,
    environ: Mapping[str, str],
    clock: Clock = _now,
    lock_mode: LockMode = "reuse",
    is_taken: Callable[[str], bool] = lambda _: False,
    stopwatch: Stopwatch | None = None,
    check: Check | None = None,
) -> Build:
    """Build ``plan`` as the directory ``destination``, which is absent, empty, or an earlier one of the service.

    Of the versions that it may make from time and content, it makes none for which ``is_taken`` is true.

    With ``SOURCE_DATE_EPOCH`` set, the same inputs give the same bytes. ``check`` is called with the finished bundle
    before it takes its place, and may raise. A failure leaves nothing: raises `DestinationExistsError`, `LockError`,
    `ResolutionError` or another `BuildError`.
    """
    at = build_time(environ, clock=clock)
    watch = stopwatch or Stopwatch()
    destination = expanded(destination).resolve()
    for warning in plan.warnings:
        log(warning, kind="warning")
    try:
        is_replaced = _holds_bundle_of(plan.spec.name, destination)
        compiled = _compiled(plan, environ, watch)
        with watch.step("lock"):
            lock = lock_packages(
                plan.lock_inputs, committed=plan.project.root / LOCK_NAME, environ=environ, mode=lock_mode
            )
        check_lock(lock)  # also a committed one
        if differences := say_differences(versions_here(names_asked_for(lock.text), lock.versions)):
            log(differences, kind="warning")
        if (taken := taken_by(plan.spec.name, {pin.name for pin in lock.pins})) is not None:
            raise ConfigurationError(f"{say_taken(plan.spec.name, taken)} Give it another name.")
        for warning in say_undeclared(plan.imported, {pin.name for pin in lock.pins}):
            log(warning, kind="warning")
        for reference, needs in plan.needs_of_adapters.items():
            say_needs(reference, needs, lock)
        log(f"Packing {plan.spec.name}", kind="step")
        with staged_directory(destination, is_replaced=is_replaced) as staging:
            with watch.step("write"):
                manifest = _Bundle(plan, lock, at, BundleTree(staging), is_taken, compiled).write()
            if check is not None:
                with watch.step("try"):
                    check(staging, manifest, lock)
    except OSError as exc:
        path = f" (`{exc.filename}`)" if exc.filename else ""
        raise BuildError(
            f"`{destination}` could not be built: {exc.strerror or exc}{path}. Nothing was left behind."
        ) from exc
    return Build(manifest, lock)


def _holds_bundle_of(name: str, destination: Path) -> bool:
    """Return whether a bundle of the service, as it was built and nothing else, is at ``destination``.

    Raises `DestinationExistsError` for anything else that is there, but an empty folder.
    """
    if not destination.exists() or (destination.is_dir() and not any(destination.iterdir())):
        return False
    if not BundleLayout(destination).manifest.is_file():
        raise DestinationExistsError(say_taken_place(destination))
    try:
        bundle = open_bundle(destination)
        bundle.verify()
    except KappaError as exc:
        raise DestinationExistsError(f"{exc} Nothing was written: name another folder, or remove this one.") from exc
    names = {path.partition("/")[0] for path in bundle.manifest.files}
    hidden = [path.name for path in destination.iterdir() if path.name.startswith(".") and path.name not in names]
    if bundle.manifest.name != name or hidden:
        holds = f"`{hidden[0]}`" if hidden else f"a bundle of another service, `{bundle.manifest.name}`"
        raise DestinationExistsError(
            f"`{destination}` holds {holds}; nothing was written. Name another folder, or remove this one."
        )
    return True


def _compiled(plan: BuildPlan, environ: Mapping[str, str], watch: Stopwatch) -> Mapping[str, CompiledFiles]:
    planned = {artifact.plugin.name: artifact for artifact in plan.artifacts}
    if all(artifact.plugin.compiling is None for artifact in plan.artifacts):
        return {}
    with watch.step("compile"):
        return compile_models(
            plan.project,
            lambda plugin, folder: keep_model(planned[plugin.name], folder),
            code=[*plan.code.values(), *plan.includes.values()],
            environ=environ,
        )


class _Bundle:
    """One bundle in the making; each step needs those before it."""

    def __init__(
        self,
        plan: BuildPlan,
        lock: Lock,
        at: datetime,
        tree: BundleTree,
        is_taken: Callable[[str], bool],
        compiled: Mapping[str, CompiledFiles],
    ) -> None:
        self.plan, self.lock, self.at, self.tree, self.is_taken = plan, lock, at, tree, is_taken
        self.compiled = compiled
        self.spec, self.name = plan.spec, plan.spec.name
        self.layout = BundleLayout(PurePosixPath())
        self.package = self.layout.package(self.name)
        self.manifests = (self.layout.manifest, self.package.manifest)
        self.requirements = tuple(requirement.text for requirement in plan.requirements)
        self.base_image = lock.pinned_image(plan.base_image)

    def write(self) -> BundleManifest:
        artifacts = self._write_content()
        content = content_digest(self.tree.digests(), self.spec)
        version = self.plan.version or self._made_version(content)
        log("Writing the image's, the package's and the reader's files", kind="step")
        self._write_generated(version, content)
        manifest = BundleManifest(
            kappa_version=__version__,
            version=version,
            created_at=self.at.strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
            service=self.spec,
            env=ResolvedEnv(
                python_version=self.plan.lock_inputs.python,
                built_with_python=platform.python_version() if self.plan.lock_inputs.target.is_running else "",
                docker_base_image=self.base_image,
                requirements=self.requirements,
                resolver=self.lock.resolver,
                platforms=tuple(self.lock.platform.split(",")),
                unlocked=self.lock.is_unlocked,
                conda_environment=self.plan.conda_environment,
            ),
            artifacts=artifacts,
            code_paths=self.plan.code_paths,
            labels=self.plan.labels,
            content_digest=content,
            files=self.tree.digests(),
        ).sealed()
        text = manifest.to_yaml()
        if (size := len(text.encode())) > MAX_SIZE_BYTES:
            raise BuildError(
                f"The manifest of {len(manifest.files)} files would have {size} bytes, and no more than "
                f"{MAX_SIZE_BYTES} can be read: pack fewer files, e.g. folders of many small ones as one archive."
            )
        for path in self.manifests:
            self.tree.write(path, text)
        self.tree.settle(self.at)
        return manifest

    def _made_version(self, content: str) -> str:
        """Return a version made of the time and the content: of the first second from now on for which it is free."""
        at = self.at
        while self.is_taken(version := self.spec.version_of(default_version(content, at=at))):
            at += timedelta(seconds=1)
        return version

    def _write_content(self) -> tuple[ResolvedArtifact, ...]:
        """Write what the content digest covers: code, models, other files, the lock and the set-up script."""
        self.tree.copy(self.plan.content_files)
        artifacts = tuple(
            ResolvedArtifact(
                name=artifact.plugin.name,
                metadata=artifact.source.metadata or {},
                size_bytes=self.tree.pack(artifact, self.package.artifact(artifact.plugin.name), fill=self._fill),
                versions=artifact.versions,
                compiled=files.proof if (files := self.compiled.get(artifact.plugin.name)) is not None else None,
            )
            for artifact in self.plan.artifacts
        )
        self.tree.write(self.layout.lock, self.lock.text)
        if self.plan.setup_script is not None:
            self.tree.write(self.layout.setup_script, self.plan.setup_script, is_executable=True)
        if self.plan.conda_environment:
            self.tree.write(self.layout.conda_environment, self.plan.conda_environment)
        return artifacts

    def _fill(self, artifact: PlannedArtifact, directory: Path) -> None:
        """Write the model of an artifact into its folder."""
        plugin, path = artifact.plugin, artifact.source.path
        if (files := self.compiled.get(plugin.name)) is not None:
            files.pack(directory)
        elif isinstance(plugin, PluginOfService) and path is not None:
            adopt_by_class(plugin, path, directory, project=self.plan.project, lock=self.lock)
        else:
            keep_model(artifact, directory)

    def _write_generated(self, version: str, content: str) -> None:
        """Write what follows from the content, the version and the Kappa that builds."""
        kappa, wheel, name, spec = describe_kappa(), kappa_wheel(), self.name, self.spec
        self.tree.copy({self.layout.examples / path: source for path, source in self.plan.examples.items()})
        self.tree.write(self.package.wheels / wheel.name, wheel.data)
        self.tree.write(self.package.code, render(PackageContext(name, version, __version__, wheel.name)))
        self.tree.write(self.layout.python_version, f"{self.plan.lock_inputs.python}\n")
        self.tree.write(self.layout.openapi, _json(openapi_document(spec, version=version)))
        self.tree.write(self.layout.readme, render(self._readme(version)))
        script = InitScriptContext(
            system_packages=spec.env.system_packages,
            build_packages=spec.env.build_packages,
            setup_shell=shell_of(self.plan.setup_script or ""),
            brings_python=self.plan.brings_python,
        )
        self.tree.write(self.layout.init_script, render(script), is_executable=True)
        self.tree.write(self.layout.entrypoint, render(EntrypointContext()), is_executable=True)
        self.tree.write(self.layout.dockerignore, render(DockerignoreContext()))
        self.tree.write(self.layout.manifest_in, render(self._manifest_in()))
        recipe = render_dockerfile(self._dockerfile(version, content), template=self.plan.dockerfile_template)
        self.tree.write(self.layout.dockerfile, recipe)
        setup = SetupContext(
            name=name,
            package_version=to_pep440(version),
            kappa_version=__version__,
            summary=_first_line(spec.doc) or f"The prediction service {name}.",
            requires_python=kappa.requires_python,
            requirements=self.requirements,
            pins=self.lock.requirements,
            files=tuple(sorted({*self.tree.digests(), *map(str, (self.layout.setup, *self.manifests))})),
        )
        self.tree.write(self.layout.setup, render(setup))

    def _dockerfile(self, version: str, content: str) -> DockerfileContext:
        env = self.spec.env
        has_conda = bool(self.plan.conda_environment)
        return DockerfileContext(
            name=self.name,
            version=version,
            kappa_version=__version__,
            content_digest=content,
            base_image=self.base_image,
            has_system_packages=bool(env.system_packages),
            has_build_packages=bool(env.build_packages),
            has_setup_script=self.plan.setup_script is not None,
            has_conda_environment=has_conda,
            has_artifacts=bool(self.plan.artifacts),
            path="/opt/kappa/bin:/opt/conda/bin" if has_conda else "/opt/kappa/bin",
            variables=env.variables,
            labels=self.plan.labels,
        )

    def _manifest_in(self) -> ManifestInContext:
        return ManifestInContext(
            self.name,
            has_setup_script=self.plan.setup_script is not None,
            has_conda_environment=bool(self.plan.conda_environment),
            has_examples=bool(self.plan.examples),
        )

    def _readme(self, version: str) -> ReadmeContext:
        spec = self.spec
        paths = {api.name: api.path for api in spec.apis}
        requests = (
            ExampleRequest(path=paths[example.api], body=json.dumps(thaw(example.input)))
            for example in spec.examples
            if example.input_file is None
        )
        return ReadmeContext(
            name=self.name,
            version=version,
            kappa_version=__version__,
            python_version=self.plan.lock_inputs.python,
            image=f"{self.name.lower()}:{version}",
            doc=spec.doc.strip(),
            apis=tuple(ApiRow(api.path, api.input.type, api.output.type, _first_line(api.doc)) for api in spec.apis),
            request=next(requests, None),
            secrets=", ".join(f"`{name}`" for name in spec.env.secrets),
        )


def _first_line(text: str) -> str:
    return text.strip().partition("\n")[0].strip()


def _json(tree: object) -> str:
    return json.dumps(thaw(tree), indent=2, ensure_ascii=False) + "\n"
