"""What `[env]` of a kappafile names must exist and fit: packages, indexes, requirements, conda, the set-up script."""

from __future__ import annotations

import re
from pathlib import Path

from kappa.build.checks.paths import PathChecks
from kappa.build.checks.published import published_secrets
from kappa.build.checks.setup_scripts import NO_SHELL_HELP, interpreter_problem, script_text
from kappa.build.manifest.diagnostics import Diagnostic
from kappa.build.manifest.positions import Span, TreePath
from kappa.build.manifest.texts import decoded
from kappa.build.manifest.validation import Draft
from kappa.build.packages.conda import conda_environment
from kappa.build.packages.cuda import CUDA_RELEASES
from kappa.build.packages.pyproject import read_dependencies
from kappa.build.packages.requirements import check_location, check_requirement, read_requirements_file
from kappa.build.packages.targets import Target
from kappa.rendering.bundle import dockerfile_problem
from kappa.spec.platforms import running_python
from kappa.spec.project_paths import is_script
from kappa.spec.service import EnvSpec
from kappa.wording import quoted, sentence

__all__ = ["check_environment"]

_PLACED = re.compile(r"(?P<file>.+):(?P<line>\d+): (?P<text>.+)")
_PARTS = ("pyproject_extras", "pyproject_groups")
_REPLACED = ("pip_packages", "pyproject", *_PARTS, "pip_index_url", "pip_extra_index_url", "pip_trusted_host")
"""Keys that a requirements file overrides."""


def check_environment(draft: Draft, paths: PathChecks) -> None:
    """Report everything that `[env]` names and that is not there, or is not what it should be."""
    if (requirements := paths.at(("env", "requirements_txt_file"))) is not None:
        _check_requirements_file(draft, requirements)
    _check_setup_script(draft, paths)
    _check_dockerfile_template(draft, paths)
    _check_packages(draft)
    _check_indexes(draft)
    _check_pyproject(draft, paths)
    _check_conda(draft, paths)
    _check_replaced(draft)
    _check_secrets(draft)


def _check_dockerfile_template(draft: Draft, paths: PathChecks) -> None:
    path: TreePath = ("env", "dockerfile_template")
    if (file := paths.at(path)) is None:
        return
    try:
        problem = dockerfile_problem(decoded(file.read_bytes()))
    except (OSError, ValueError) as exc:
        problem = f"it cannot be read: {exc.strerror if isinstance(exc, OSError) else exc}"
    if problem is not None:
        message = f"{quoted(draft.get(*path))} is not a template of a Dockerfile: {problem}."
        draft.diagnostics.add("KF331", message, path)


def _check_setup_script(draft: Draft, paths: PathChecks) -> None:
    path: TreePath = ("env", "setup_sh")
    text = draft.get(*path)
    if not isinstance(text, str) or (not is_script(text) and paths.at(path) is None):
        return
    try:
        problem = interpreter_problem(text, script_text(text, draft.document.file.parent))
    except (OSError, ValueError) as exc:
        reason = exc.strerror if isinstance(exc, OSError) else exc
        draft.diagnostics.add("KF329", f"{quoted(text)} cannot be read: {reason}.", path)
        return
    if problem is not None:
        draft.diagnostics.add("KF329", sentence(f"no shell can run this script: {problem}"), path, help=NO_SHELL_HELP)


def _check_packages(draft: Draft) -> None:
    packages = draft.get("env", "pip_packages") or ()
    for index, requirement in enumerate(packages):
        path: TreePath = ("env", "pip_packages", index)
        if requirement.strip().startswith("-"):
            message = f"{quoted(requirement)} is an option of pip, not a package."
            help_ = "Put options into a file, and name it in `requirements_txt_file`."
            draft.diagnostics.add("KF316", message, path, help=help_)
        elif (problem := check_requirement(requirement)) is not None:
            draft.diagnostics.add("KF316", sentence(problem), path)


def _check_requirements_file(draft: Draft, file: Path) -> None:
    root, path = draft.document.file.parent, ("env", "requirements_txt_file")
    for problem in read_requirements_file(file, root=root).problems:
        if (match := _PLACED.fullmatch(problem)) is None:
            draft.diagnostics.add("KF316", sentence(problem), path)
            continue
        line = int(match["line"])
        span = Span(line, 1, line, 2)
        label = draft.diagnostics.label(path, "named here")
        draft.diagnostics.append(
            Diagnostic("KF316", sentence(match["text"]), root / match["file"], span, labels=(label,))
        )


def _check_indexes(draft: Draft) -> None:
    places: list[TreePath] = [("env", "pip_index_url")]
    extra = draft.get("env", "pip_extra_index_url") or ()
    places += [("env", "pip_extra_index_url", index) for index in range(len(extra))]
    for path in places:
        url = draft.get(*path)
        if isinstance(url, str) and (problem := check_location(url)) is not None:
            message, _, help_ = f"This index {problem}".partition(": ")
            draft.diagnostics.add("KF319", sentence(message), path, help=sentence(help_) if help_ else "")


def _check_pyproject(draft: Draft, paths: PathChecks) -> None:
    path: TreePath = ("env", "pyproject")
    for key in _PARTS:
        if draft.get("env", key) and draft.get(*path) is None:
            message = f"`{key}` has no effect without `pyproject`, whose parts it names."
            draft.diagnostics.add("KF208", message, ("env", key), at="key", severity="warning")
    if (file := paths.at(path)) is None:
        return
    python = draft.get("env", "python")
    target = Target.of(python if isinstance(python, str) else running_python(), ())
    extras, groups = (draft.get("env", key) or () for key in _PARTS)
    urls = [draft.get("env", "pip_index_url"), *(draft.get("env", "pip_extra_index_url") or ())]
    urls += [release.index_url for name, release in CUDA_RELEASES.items() if name == draft.get("env", "cuda")]
    indexes = [str(url) for url in urls if url is not None]
    read = read_dependencies(file, target, shown=str(draft.get(*path)), groups=groups, extras=extras, indexes=indexes)
    for problem in read.problems:
        draft.diagnostics.add("KF316", sentence(problem), path)
    for warning in read.warnings:
        draft.diagnostics.add("KF320", sentence(warning), path, severity="warning")
    for setting in read.unread:
        draft.diagnostics.add("KF208", sentence(setting), path, severity="warning")


def _check_conda(draft: Draft, paths: PathChecks) -> None:
    file: TreePath = ("env", "conda_env_yml_file")
    is_there = draft.get(*file) is None or paths.at(file) is not None
    env = draft.parts.get(("env",))
    if not is_there or not isinstance(env, EnvSpec):
        return
    if not (env.conda_dependencies or env.conda_env_yml_file):
        return
    root, python = draft.document.file.parent, env.python or running_python()
    made = conda_environment("x", env.model_copy(update={"conda_override_channels": False}), python=python, root=root)
    for problem in made.problems:
        at = file if env.conda_env_yml_file is not None else ("env", "conda_dependencies")
        draft.diagnostics.add("KF321", sentence(problem), at)


def _check_secrets(draft: Draft) -> None:
    if isinstance(env := draft.parts.get(("env",)), EnvSpec):
        metadata = {name: draft.get("artifacts", name, "metadata") for name in draft.names("artifacts")}
        for secret in published_secrets(env, metadata, root=draft.document.file.parent):
            draft.diagnostics.add("KF330", sentence(secret.message), secret.path, help=sentence(secret.help))


def _check_replaced(draft: Draft) -> None:
    replacing: TreePath = ("env", "requirements_txt_file")
    if draft.get(*replacing) is None:
        return
    for key in _REPLACED:
        if draft.get("env", key):
            message = f"`{key}` has no effect beside `requirements_txt_file`, which replaces every other source."
            labels = [draft.diagnostics.label(replacing, "replaces it")]
            draft.diagnostics.add("KF208", message, ("env", key), at="key", severity="warning", labels=labels)
