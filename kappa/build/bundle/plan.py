"""The plan of a build, made before anything is written: `kappa build --dry-run` prints it.

Every direct requirement is listed with the reason why it is there, and every file with its place in the bundle. All
that is wrong is found here and reported at once, so a build that starts to resolve and write has good inputs.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath
from typing import Any

from packaging.utils import canonicalize_name

from kappa._files import is_ignored, strangeness
from kappa.build.bundle.direct_packages import (
    Evidence,
    Packages,
    PlannedRequirement,
    UsersWord,
    choose_packages,
    users_word,
)
from kappa.build.bundle.model_files import inspect_models, needs_of, versions_at_save
from kappa.build.bundle.sources import Code, collect_code, project_search
from kappa.build.checks.credentials import credential_in
from kappa.build.checks.including import Finding, check_pattern, check_selection, unusable_name
from kappa.build.checks.published import published_secrets
from kappa.build.checks.setup_scripts import NO_SHELL_HELP, interpreter_problem, script_text
from kappa.build.checks.taken_names import needed_by, say_taken, taken_by
from kappa.build.code.modules import CodeBase
from kappa.build.code.sampled_columns import with_schemas
from kappa.build.code.undeclared import say_undeclared
from kappa.build.manifest.patterns import match, matches_any, normal
from kappa.build.manifest.texts import decoded
from kappa.build.packages.conda import conda_environment, uses_conda
from kappa.build.packages.cuda import CUDA_RELEASES
from kappa.build.packages.lock import LOCK_NAME, UNHASHED, Lock, LockInputs
from kappa.build.packages.lock_record import LockRecord
from kappa.build.packages.locking import read_lock
from kappa.build.packages.requirements import name_of
from kappa.build.packages.targets import Target
from kappa.build.project import Project
from kappa.errors import ConfigurationError, PluginNotFoundError, UsageError, printable
from kappa.labels import check_label
from kappa.plugins import RESOLVERS
from kappa.rendering.bundle import dockerfile_problem
from kappa.settings import read_settings
from kappa.spec.contracts import ArtifactPlugin, Plugin, PluginOfService, thaw
from kappa.spec.document import ArtifactSource
from kappa.spec.layout import BundleLayout, PackageLayout
from kappa.spec.platforms import running_platform, running_python
from kappa.spec.project_paths import Destination, NamedPath, named_paths
from kappa.spec.service import ServiceSpec
from kappa.tag import check_version

__all__ = ["BuildPlan", "PlannedArtifact", "plan_build"]

Files = Mapping[PurePosixPath, Path]
"""Where each file goes, and where it is now."""

_IMAGE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:/@-]*")
PACKAGE = PackageLayout(PurePosixPath())
"""Where things are in the service's package: the paths of code and includes are relative to it."""
_OWN_FOLDERS = frozenset({"build", "dist", "kappa", "wheels", BundleLayout(PurePosixPath()).examples.name})
"""Names that a folder of the bundle already has, or that a package of that name would hide."""


@dataclass(frozen=True, slots=True)
class PlannedArtifact:
    """A model to pack: how it is kept, and where it comes from."""

    plugin: ArtifactPlugin
    source: ArtifactSource
    versions: Mapping[str, str] = field(default_factory=dict)
    """The versions that it was saved with, by distribution."""


@dataclass(frozen=True, slots=True)
class BuildPlan:
    """Everything decided, nothing written."""

    project: Project
    version: str | None
    """``None`` for one made from the time and the content."""
    labels: Mapping[str, str]
    code: Files
    includes: Files
    static_content: Files
    examples: Files
    setup_script: str | None
    conda_environment: str
    """The text of `environment.yml`; empty for a service without conda packages."""
    dockerfile_template: str
    """The user's own template of the Dockerfile; empty without one."""
    artifacts: tuple[PlannedArtifact, ...]
    requirements: tuple[PlannedRequirement, ...]
    lock_inputs: LockInputs
    """The input of the resolver, with the Python version and the systems."""
    base_image: str
    brings_python: bool
    """Whether the image gets its Python from `kappa-init.sh`, because the base image has none."""
    imported: Mapping[str, str]
    """The distributions that the code imports, to where it does."""
    needed: Mapping[str, str]
    """The distributions that code and models import, to the versions that models were made with; else empty texts."""
    code_paths: tuple[str, ...]
    """The folders of the package that modules are imported from, beside the package itself."""
    warnings: tuple[str, ...]

    @property
    def spec(self) -> ServiceSpec:
        return self.project.spec

    @property
    def needs_of_adapters(self) -> Mapping[str, tuple[str, ...]]:
        """The requirements of each adapter in the service's own code, by its `module:Class`."""
        adapters: Iterator[Plugin] = (adapter for api in self.spec.apis for adapter in (api.input, api.output))
        return {adapter.type: adapter.requirements for adapter in adapters if isinstance(adapter, PluginOfService)}

    @property
    def content_files(self) -> Files:
        """The files that are packed as they are, by their path in the bundle."""
        package = {**self.code, **self.includes, **self.static_content}
        return {PurePosixPath(self.spec.name) / path: source for path, source in sorted(package.items())}

    def to_tree(self) -> dict[str, Any]:
        """Return the plan as plain values, for JSON."""
        return {
            "name": self.spec.name,
            "version": self.version,
            "python": self.lock_inputs.python,
            "platforms": self.lock_inputs.platform.split(","),
            "docker_base_image": self.base_image,
            "resolver": self.lock_inputs.resolver,
            "requirements": [
                {"requirement": requirement.text, "why": requirement.why} for requirement in self.requirements
            ],
            "constraints": [_without_hashes(text) for text in self.lock_inputs.constraints],
            "options": list(self.lock_inputs.options),
            "system_packages": list(self.spec.env.system_packages),
            "build_packages": list(self.spec.env.build_packages),
            "conda_environment": self.conda_environment or None,
            "code": [str(path) for path in self.code],
            "include": [str(path) for path in self.includes],
            "web_static_content": [str(path) for path in self.static_content],
            "artifacts": [
                {"name": artifact.plugin.name, "type": artifact.plugin.type, "path": self._shown(artifact.source.path)}
                for artifact in self.artifacts
            ],
            "examples": [str(path) for path in self.examples],
            "labels": dict(self.labels),
            "warnings": [*self.warnings, *self._undeclared()],
        }

    def summary(self) -> str:
        """Return the plan as text for people."""
        inputs = self.lock_inputs
        lines = [
            f"{self.spec.name} ({self.version or 'version made from the time and the content'})",
            f"  Python {inputs.python} on {inputs.platform.replace(',', ', ')}, packages pinned by {inputs.resolver}",
            f"  Image from {self.base_image}",
            *_section("Requirements", [(requirement.text, requirement.why) for requirement in self.requirements]),
            *_section("Constraints", [(_without_hashes(text), "") for text in inputs.constraints]),
            *_section("Options", [(text, "") for text in inputs.options]),
            *_section("System packages", [(text, "") for text in self.spec.env.system_packages]),
            *_section("Build packages", [(text, "") for text in self.spec.env.build_packages]),
            *_section("Conda environment", [(line, "") for line in self.conda_environment.splitlines()]),
            *_section("Code", [(str(path), "") for path in self.code]),
            *_section("Included files", [(str(path), "") for path in self.includes]),
            *_section("Static content", [(str(path), "") for path in self.static_content]),
            *_section(
                "Artifacts",
                [
                    (
                        artifact.plugin.name,
                        f"{artifact.plugin.type}, {self._shown(artifact.source.path) or 'packed from Python'}",
                    )
                    for artifact in self.artifacts
                ],
            ),
            *_section("Files of examples", [(str(path), "") for path in self.examples]),
            *_section("Labels", [(key, value) for key, value in sorted(self.labels.items())]),
            *_section("Warnings", [(warning, "") for warning in (*self.warnings, *self._undeclared())]),
        ]
        return "\n".join(lines)

    def _undeclared(self) -> Iterator[str]:
        """Warn of imports that no requirement brings; only the lock tells for sure."""
        return say_undeclared(self.imported, needed_by(requirement.text for requirement in self.requirements))

    def _shown(self, path: Path | None) -> str | None:
        if path is None:
            return None
        return path.relative_to(self.project.root).as_posix() if path.is_relative_to(self.project.root) else str(path)


def plan_build(
    project: Project,
    *,
    version: str | None,
    labels: Mapping[str, str],
    environ: Mapping[str, str],
    resolver: str | None = None,
    upgrade: bool = False,
    packages: Collection[str] = (),
    imports_code: bool = True,
) -> BuildPlan:
    """Decide how a project becomes a bundle; raises `ConfigurationError` that lists everything wrong.

    ``resolver`` pins the packages instead of the one that the project names. What the committed lock records is taken
    over whatever is installed here, but for ``packages``, and for everything with ``upgrade``. Unless it
    ``imports_code``, classes of the user's are not asked what requests look like: no lock depends on it.
    """
    project = replace(project, spec=_with_packages_of_types(project.spec))
    if imports_code:
        project = replace(project, spec=with_schemas(project.spec, project.root))
    if version is not None:
        version = project.spec.version_of(version)
        try:
            check_version(version)
        except ValueError as exc:
            raise UsageError(f"{exc}.") from None
    committed = None if upgrade else read_lock(project.root / LOCK_NAME)
    planner = _Planner(project, committed)
    resolver = resolver or project.spec.files.resolver
    target = planner.target()
    users = users_word(project, target)
    record = LockRecord(
        committed.input_lines if committed is not None else (),
        named=users.names,
        without=[canonicalize_name(name) for name in packages],
    )
    base = CodeBase(project_search(project))
    models = inspect_models(project, base, record)
    code = collect_code(project, base, modules=models.modules, record=record)
    evidence = Evidence(code.imported, models, record, committed.versions if committed is not None else {})
    chosen = choose_packages(project, users, evidence, target)
    inputs = _lock_inputs(users, chosen, target, resolver)
    if committed is not None and committed.inputs != inputs.digest and not _can_pin(resolver, target):
        # A lock of another system that does not fit is of no use here
        target = planner.target(anew=True)
        users = users_word(project, target)
        chosen = choose_packages(project, users, evidence, target)
        inputs = _lock_inputs(users, chosen, target, resolver)
    is_locked = committed is not None and committed.inputs == inputs.digest
    planner.check_resolver(resolver, target, is_locked=is_locked)
    planner.problems += [*models.problems, *users.problems]
    planner.warn_of_frameworks(code.distributions)
    warnings = (*models.warnings, *users.warnings, *chosen.warnings)
    planner.warnings += [warning for warning in warnings if not any(warning in line for line in project.warned_of)]
    files = planner.code_and_includes(code)
    brought_by_models = [name_of(brought.distribution) for brought in models.brought if brought.distribution]
    plan = BuildPlan(
        project=project,
        version=version,
        labels=planner.labels(labels),
        code=files.code,
        includes=files.includes,
        static_content={
            PACKAGE.static_content / path: file for path, file in planner.named_files("web_static_content").items()
        },
        examples=planner.named_files("examples"),
        setup_script=planner.setup_script(),
        conda_environment=planner.conda_environment(target.python),
        dockerfile_template=planner.dockerfile_template(),
        artifacts=planner.artifacts(),
        requirements=chosen.requirements,
        lock_inputs=inputs,
        base_image=planner.base_image(target, environ),
        brings_python=project.spec.env.cuda is not None and project.spec.env.docker_base_image is None,
        imported=code.distributions,
        needed={
            **{canonicalize_name(name): "" for name in (*code.distributions, *brought_by_models)},
            **models.versions,
        },
        code_paths=tuple(path.as_posix() for path in code.placement.paths),
        warnings=tuple(planner.warnings),
    )
    planner.check_name(plan)
    planner.check_confined()
    planner.check_published()
    planner.check_own_plugins()
    if planner.problems:
        raise ConfigurationError(_say_all(project, tuple(dict.fromkeys(planner.problems))))
    return plan


def _with_packages_of_types(spec: ServiceSpec) -> ServiceSpec:
    """Add what artifact types need in an image, and pip does not have, to the packages that the user names."""
    is_conda = uses_conda(spec.env)
    key = "conda_dependencies" if is_conda else "system_packages"
    named: tuple[str, ...] = getattr(spec.env, key)
    wanted = [
        name for plugin in spec.artifacts for name in (plugin.conda_packages if is_conda else plugin.system_packages)
    ]
    added = [name for name in dict.fromkeys(wanted) if not any(re.match(rf"(.*::)?{name}\b", text) for text in named)]
    return spec.model_copy(update={"env": spec.env.model_copy(update={key: (*named, *added)})}) if added else spec


def _lock_inputs(users: UsersWord, chosen: Packages, target: Target, resolver: str) -> LockInputs:
    return LockInputs(
        requirements=chosen.inputs,
        constraints=users.constraints,
        options=users.options,
        python=target.python,
        platform=target.platform,
        resolver=resolver,
        input_lines=chosen.input_lines,
    )


def _can_pin(resolver: str, target: Target) -> bool:
    """Return whether a resolver can pin for a target from here; those of others know themselves."""
    return target.is_running or resolver not in ("pip-compile", UNHASHED)


@dataclass(frozen=True, slots=True)
class _PackageFiles:
    code: Files
    includes: Files


@dataclass(slots=True)
class _Planner:
    """Decides one part after the other and collects what is wrong on the way."""

    project: Project
    committed: Lock | None
    problems: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)

    @property
    def spec(self) -> ServiceSpec:
        return self.project.spec

    # -- files

    def code_and_includes(self, code: Code) -> _PackageFiles:
        includes = self._includes(code)
        artifacts = (PACKAGE.artifact(artifact.name) for artifact in self.spec.artifacts)
        reserved = {PACKAGE.code, PACKAGE.manifest, PACKAGE.wheels, PACKAGE.static_content, *artifacts}
        for path in (*code.files, *includes):
            if reserved & {path, *path.parents}:
                self.problems.append(f"`{path}` cannot be packed: the bundle has a file or folder of that name itself.")
        return _PackageFiles(_without_ignored(code.files), _without_ignored(includes))

    def _includes(self, code: Code) -> dict[PurePosixPath, Path]:
        """Return what is packed beside the code: what the project names, and what its libraries bring."""
        exclude = self.spec.files.exclude
        named = self.named_files("code")
        data = {path: file for path, file in code.placement.data.items() if not matches_any(path, exclude)}
        for path, file in [*data.items()]:
            wrong_name = unusable_name(path)
            if why := f"has a name that {wrong_name}" if wrong_name else credential_in(path, file):
                self.warnings.append(f"`{printable(str(path))}` is left out of what a library brings: it {why}.")
                del data[path]
        moved = {target: file for path, file in named.items() for target in code.placement.mirrored(path)}
        return {path: file for path, file in sorted({**data, **moved, **named}.items()) if path not in code.files}

    def _take_up(self, findings: Iterable[Finding]) -> None:
        """Collect the problems of the selected files, unless the kappafile's own checks reported them."""
        is_said = self.project.file is not None and self.spec.service_class is None
        for finding in findings:
            text = f"{finding.message} {finding.help}".rstrip()
            if finding.is_error:
                self.problems.append(text)
            elif not is_said:
                self.warnings.append(text)

    def named_files(self, destination: Destination) -> Files:
        """Return the files that keys name for one part of the bundle, by their place in it."""
        files: dict[PurePosixPath, Path] = {}
        for path in named_paths(self.spec):
            if path.mark.packed == destination:
                files |= self._files_of_folder(path) if path.mark.kind == "folder" else self._files_of(path)
        return dict(sorted(files.items()))

    def _files_of(self, path: NamedPath) -> Files:
        """Return the files that a pattern selects, or the one that a path leads to, by their path in the project."""
        root, files = self.project.root, self.spec.files
        if path.mark.kind == "pattern":
            matches = match(root, path.text)
            self._take_up(check_pattern(root, path.text, matches, include=files.include, exclude=files.exclude))
            return {file: root / file for file in matches.files if not matches_any(file, files.exclude)}
        file = PurePosixPath(Path(path.text).as_posix())
        if not (root / file).is_file():
            self.problems.append(f"`{path.key}` names `{printable(path.text)}`, which is not a file.")
        if why := unusable_name(file):
            self.problems.append(f"`{path.key}` names `{printable(path.text)}`, whose name {why}: rename it.")
        return {file: root / file}

    def _files_of_folder(self, path: NamedPath) -> Files:
        """Return the files of a folder, by their path in it."""
        root, files, folder = self.project.root, self.spec.files, path.text
        if not (root / folder).is_dir():
            self.problems.append(f"`{path.key}` names `{folder}`, which is not a folder.")
            return {}
        matches = match(root, folder)
        selected = [file for file in matches.files if not matches_any(file, files.exclude)]
        self._take_up(check_selection(root, folder, selected, include=files.include))
        self.warnings += [
            f"`{printable(str(file))}` is {word}, and is left out of `{path.key}`."
            for file, word in matches.passed_over.items()
        ]
        start = PurePosixPath(normal(folder))
        return {file.relative_to(start): root / file for file in selected}

    def setup_script(self) -> str | None:
        text = self.spec.env.setup_sh
        if text is None:
            return None
        try:
            script = script_text(text, self.project.root)
        except (OSError, ValueError) as exc:
            reason = exc.strerror if isinstance(exc, OSError) else exc
            self.problems.append(f"`setup_sh` names `{text}`, which cannot be read: {reason}.")
            return None
        if (problem := interpreter_problem(text, script)) is not None:
            self.problems.append(f"No shell can run the script of `setup_sh`: {problem}. {NO_SHELL_HELP}")
        return script

    def dockerfile_template(self) -> str:
        name = self.spec.env.dockerfile_template
        if name is None:
            return ""
        path = self.project.root / name
        try:
            text = decoded(path.read_bytes())
        except (OSError, ValueError) as exc:
            reason = exc.strerror if isinstance(exc, OSError) else exc
            self.problems.append(f"`dockerfile_template` names `{name}`, which cannot be read: {reason}.")
            return ""
        if (problem := dockerfile_problem(text)) is not None:
            self.problems.append(f"`{name}` is not a template of a Dockerfile: {problem}.")
        return text

    def artifacts(self) -> tuple[PlannedArtifact, ...]:
        planned = []
        pickles = []
        for plugin in self.spec.artifacts:
            source = self.project.sources.get(plugin.name)
            if source is None or (source.path is None and source.value is None):
                self.problems.append(
                    f"The artifact `{plugin.name}` has no model: name its file in `path`, or by "
                    f"`--artifact {plugin.name}=PATH`, or pack it."
                )
                continue
            if source.path is not None and (reason := _unusable(plugin, source.path)):
                self.problems.append(f"The artifact `{plugin.name}` cannot be `{source.path}`: {reason}.")
            if not _is_plain(source.metadata or {}):
                self.problems.append(f"The metadata of the artifact `{plugin.name}` holds more than text and numbers.")
            kept = plugin.kept
            planned.append(PlannedArtifact(plugin, source, versions_at_save(kept, source)))
            if kept.runs_code(needs_of(kept, source)):
                pickles.append(f"`{plugin.name}`")
        declared = {plugin.name for plugin in self.spec.artifacts}
        self.problems += [
            f"There is a model for the artifact `{name}`, which the service does not declare."
            for name in sorted(set(self.project.sources) - declared)
        ]
        if pickles and self.spec.security.pickle != "allow":
            named = f"{'The artifacts' if len(pickles) > 1 else 'The artifact'} {', '.join(pickles)}"
            if self.spec.security.pickle == "forbid":
                self.problems.append(f"{named} would be packed as a pickle, which `pickle` in `[security]` forbids.")
            else:
                self.warnings.append(
                    f"{named} is kept as a pickle, which can run any code when it is loaded. Build only from models "
                    'you trust; `pickle = "allow"` in `[security]` silences this.'
                )
        return tuple(planned)

    def warn_of_frameworks(self, imported: Mapping[str, str]) -> None:
        """Name the libraries of compiled models that the bundle has all the same, because the code imports them."""
        for plugin in self.spec.artifacts:
            for text in plugin.requires() if plugin.compiling is not None else ():
                if (where := imported.get(text)) is not None:
                    self.warnings.append(
                        f"`{plugin.name}` is compiled and needs no `{text}`, but the code imports it ({where}), so "
                        "the bundle has it all the same."
                    )

    # -- environment

    def target(self, *, anew: bool = False) -> Target:
        """Return the target of the pins: the declared one, else the committed lock's, else this interpreter and system.

        With ``anew``, the lock does not count.
        """
        env, files = self.spec.env, self.spec.files
        recorded = self.committed.target if self.committed is not None and not anew else None
        declared = Target.of(env.python or (recorded.python if recorded else running_python()), files.platforms)
        return replace(declared, systems=recorded.systems) if recorded and not files.platforms else declared

    def check_resolver(self, resolver: str, target: Target, *, is_locked: bool) -> None:
        try:
            RESOLVERS.load(resolver)
        except PluginNotFoundError as exc:
            self.problems.append(str(exc))
        if not is_locked and not _can_pin(resolver, target):
            self.problems.append(
                f"The service wants packages for Python {target.python} on {target.platform.replace(',', ' and ')}, "
                f"and {resolver} can pin them only for what runs it, which is Python {running_python()} on "
                f'{running_platform()} here: build there, or set `resolver = "uv"` in `[bundle]`.'
            )

    def conda_environment(self, python: str) -> str:
        made = conda_environment(self.spec.name, self.spec.env, python=python, root=self.project.root)
        self.problems += made.problems
        return made.text

    def base_image(self, target: Target, environ: Mapping[str, str]) -> str:
        image = self.spec.env.docker_base_image or self._cuda_image(target.python)
        image = image or read_settings(environ).default_docker_base_image
        image = image or ("mambaorg/micromamba" if uses_conda(self.spec.env) else f"python:{target.python}-slim")
        if not _IMAGE.fullmatch(image):
            self.problems.append(f"`{image}` does not name an image: write it as `docker pull` takes it.")
        if all(system.sys_platform != "linux" for system in target.systems):
            self.warnings.append(
                f"The packages are pinned for {target.platform}, and an image runs Linux, where a package may need "
                "others. Build on Linux what is meant for an image, or name `platforms` in `[bundle]`."
            )
        return image

    def _cuda_image(self, python: str) -> str | None:
        env = self.spec.env
        if env.cuda is None:
            return None
        if uses_conda(env):
            self.problems.append(
                "`cuda` chooses an image that has no conda: name one that has both in `docker_base_image`."
            )
        return CUDA_RELEASES[env.cuda].image(python)

    def labels(self, extra: Mapping[str, str]) -> Mapping[str, str]:
        try:
            for key, value in extra.items():
                check_label(key, part="key")
                check_label(value)
        except ValueError as exc:
            self.problems.append(f"{exc}.")
        return {**self.spec.labels, **extra}

    # -- checks

    def check_name(self, plan: BuildPlan) -> None:
        name = self.spec.name
        if name.lower() in _OWN_FOLDERS or name in sys.stdlib_module_names:
            self.problems.append(f"A service cannot be called `{name}`: its package would hide another one.")
        elif (taken := taken_by(name, needed_by(requirement.text for requirement in plan.requirements))) is not None:
            self.problems.append(f"{say_taken(name, taken)} Give it another name.")
        folders = (PurePosixPath(), *map(PurePosixPath, plan.code_paths))
        if any({folder / f"{name}.py", folder / name / "__init__.py"} & plan.code.keys() for folder in folders):
            self.problems.append(
                f"The service and the module `{name}` have the same name, which is also the name of the bundle's "
                "package: rename one of them."
            )

    def check_published(self) -> None:
        metadata = {name: source.metadata for name, source in self.project.sources.items()}
        secrets = published_secrets(self.spec.env, metadata, root=self.project.root)
        self.problems += [f"{secret.message}: {secret.help}." for secret in secrets]

    def check_own_plugins(self) -> None:
        apis = (plugin for api in self.spec.apis for plugin in (api.input, api.output))
        for reference in {plugin.reference for plugin in (*self.spec.artifacts, *apis)} - {None}:
            if "<locals>" in (reference or ""):
                self.problems.append(
                    f"`{reference}` is defined inside of a function, from where no server could import it: define it "
                    "at the top level of a module."
                )

    def check_confined(self) -> None:
        """Check that what keys name lies inside of the project."""
        root = self.project.root.resolve()
        places = {path.text: (root / path.text).resolve() for path in self.project.paths if path.mark.is_confined}
        self.problems += [
            f"`{path}` lies outside the project `{root}`." for path in places.values() if not path.is_relative_to(root)
        ]


def _without_ignored(files: Files) -> Files:
    """Leave out files that no digest of a bundle covers; paths are those inside the package."""
    return {
        path: source
        for path, source in files.items()
        if not is_ignored(Path("package", path)) and path.suffix != ".pyc"
    }


def _unusable(plugin: ArtifactPlugin, path: Path) -> str | None:
    if not path.exists():
        return "there is no such file"
    if strange := strangeness(path.resolve()):
        return f"it is {strange}"
    try:
        return plugin.problem_of(path)
    except OSError as exc:
        return f"it cannot be read ({exc.strerror})"


def _is_plain(metadata: Mapping[str, Any]) -> bool:
    try:
        json.dumps(thaw(metadata))
    except (TypeError, ValueError):
        return False
    return True


def _without_hashes(constraint: str) -> str:
    return constraint.partition(" --hash=")[0]


def _section(title: str, rows: list[tuple[str, str]]) -> list[str]:
    if not rows:
        return []
    width = max(len(first) for first, _ in rows)
    return [f"{title} ({len(rows)})", *(f"  {first:<{width}}  {second}".rstrip() for first, second in rows)]


def _say_all(project: Project, problems: tuple[str, ...]) -> str:
    subject = f"`{project.file}`" if project.file is not None else f"`{project.spec.name}`"
    if len(problems) == 1:
        return f"{subject} cannot be built: {problems[0]}"
    return "\n".join(
        [f"{subject} cannot be built; {len(problems)} things are wrong:", *(f"- {problem}" for problem in problems)]
    )
