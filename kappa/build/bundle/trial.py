"""The try of a bundle: before it takes its place, its code is imported and its models are loaded once, from a copy.

This is done in a fresh process, in an empty working directory, where nothing of the project is left but what the bundle
holds (see `trial_run`). A file or module that is missing there would be missing wherever the bundle is served. What has
been tried is remembered by its content, the interpreter and the packages that are installed.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path, PurePosixPath
from typing import Any

from packaging.utils import canonicalize_name

from kappa import _version
from kappa._files import sha256_of_bytes, write_atomically
from kappa.build.bundle.plan import BuildPlan
from kappa.build.bundle.sources import project_search
from kappa.build.code.child import (
    KAPPA_FOLDER,
    SECRET_PLACEHOLDER,
    Runner,
    run_program,
    send_order,
    start_appended,
    variables_for,
)
from kappa.build.code.modules import CodeBase, Module
from kappa.build.manifest.diagnostics import Diagnostic, render_text
from kappa.build.manifest.positions import Span
from kappa.build.packages.distributions import DistributionIndex
from kappa.build.packages.installed import installed_version
from kappa.build.packages.lock import Lock
from kappa.environment import home_directory
from kappa.errors import BuildError, ManifestError, printable
from kappa.log import log
from kappa.spec.layout import PackageLayout
from kappa.spec.manifest import BundleManifest
from kappa.spec.platforms import running_python
from kappa.wording import one_of, sentence

__all__ = ["TIME_LIMIT_S", "try_bundle"]

TIME_LIMIT_S = 600.0
_COPIED_BYTES = 128 * 1024 * 1024
"""How much is copied in all where the file system cannot share data between files; larger files are then linked."""
_SMALL_BYTES = 8 * 1024 * 1024
"""Files that are smaller are copied in any case."""
_FICLONE = 0x40049409
"""Linux's request that two files share their data until one is written to (`ioctl_ficlone(2)`): Btrfs, XFS."""


def try_bundle(
    plan: BuildPlan,
    bundle: Path,
    manifest: BundleManifest,
    lock: Lock,
    *,
    environ: Mapping[str, str],
    run: Runner = run_program,
) -> None:
    """Load the bundle at ``bundle``, which is not in its place yet; raises `ManifestError` for what is missing in it.

    What only this machine may lack is a warning, or a reason not to try, which is logged.
    """
    if reasons := [*_reasons_not_to(plan)]:
        log(f"The bundle was not tried, because {'; '.join(reasons)}.")
        return
    memory = home_directory(environ) / "tried" / _key(manifest)
    if memory.is_file():
        return
    log("Trying the bundle", kind="step")
    outcome = _outcome(plan, bundle, manifest, environ, run)
    if outcome["kind"] == "attribute":  # a package has its modules as attributes, once something imports them
        outcome["kind"] = "failed" if _module_here(outcome["subject"], plan) is None else "module"
    kind = outcome["kind"]
    absent = outcome["subject"] if kind == "absent" else ""
    if absent or (kind in ("module", "version") and (absent := _pinned(outcome["subject"], plan, lock))):
        log(f"The bundle was not tried, because `{absent}` is not installed here.")
    elif kind == "fine":
        with suppress(OSError):  # a home that cannot be written to
            write_atomically(memory, b"")
    elif (text := _warning(outcome)) is not None:
        log(text, kind="warning")
    else:
        problem = _problem(outcome, plan)
        raise ManifestError(render_text([problem]), diagnostics=[problem])


def _reasons_not_to(plan: BuildPlan) -> Iterator[str]:
    """Yield the reasons why a try here would prove nothing."""
    if plan.spec.security.pickle == "forbid":
        yield '`pickle = "forbid"` forbids to load what may be one'
    if plan.lock_inputs.python != running_python():
        yield f"it is for Python {plan.lock_inputs.python}, and this is {running_python()}"
    for name, version in plan.needed.items():
        if (installed := installed_version(name)) is None:
            yield f"`{name}` is not installed here"
        elif version and version != installed:
            yield f"its model was made with {name} {version}, and {installed} is installed here"


def _key(manifest: BundleManifest) -> str:
    """Return the digest of everything that a try depends on."""
    scheme = sysconfig.get_paths()
    places = [entry for key in ("purelib", "platlib") for entry in Path(scheme[key]).iterdir()]
    installed = sorted({entry.name for entry in places if entry.suffix in (".dist-info", ".egg-info")})
    interpreter = (_version.__version__, sys.executable, sys.version)
    return sha256_of_bytes(
        "\n".join([manifest.content_digest, *manifest.code_paths, *interpreter, *installed]).encode()
    )


# -- in a process of its own -------------------------------------------------------------------------------------------


def _outcome(
    plan: BuildPlan, bundle: Path, manifest: BundleManifest, environ: Mapping[str, str], run: Runner
) -> dict[str, Any]:
    """Run `kappa.build.bundle.trial_run` and return its outcome."""
    search, staged = project_search(plan.project), bundle / plan.spec.name
    with tempfile.TemporaryDirectory(prefix="kappa-try-") as name:
        folder = Path(name).resolve()
        package, empty = folder / "bundle" / plan.spec.name, folder / "empty"
        _copy(staged, package)
        copied, kept = _state(package), _state(staged)
        empty.mkdir()
        order = {
            "package": str(package),
            "spec": plan.spec.model_dump(mode="json", by_alias=True),
            "paths": manifest.code_paths,
            "digest": manifest.bundle_digest,
            "kappa": str(KAPPA_FOLDER),
            "project": str(plan.project.root),
            "outside": [str(folder) for folder in (*search.local, *search.fallback)],
        }
        program, variables = start_appended("kappa.build.bundle.trial_run"), _environment(plan, environ)
        try:
            reply = send_order(program, order, empty, run=run, environ=variables, timeout_s=TIME_LIMIT_S)
        except subprocess.TimeoutExpired:
            return {"kind": "failed", "message": f"it had not ended after {TIME_LIMIT_S:.0f} seconds", "file": ""}
        finally:
            _check_unchanged(package, copied, staged, kept)
        if reply.answer is None:
            ended = f"the process ended with {reply.exit_code} while it was loaded"
            return {"kind": "failed", "message": ended, "file": ""}
        outcome: dict[str, Any] = reply.answer
        subject = outcome["subject"]
        if outcome["kind"] == "file" and Path(subject).is_relative_to(package):
            outcome["subject"], outcome["is_inside"] = Path(subject).relative_to(package).as_posix(), True
        outcome["message"] = outcome["message"].replace(f"{package}{os.sep}", "")
        return outcome


def _environment(plan: BuildPlan, environ: Mapping[str, str]) -> dict[str, str]:
    """Return the variables that the service finds, without those that say where to import from."""
    kept = {name: value for name, value in environ.items() if name not in ("PYTHONPATH", "PYTHONSTARTUP")}
    return variables_for(plan.spec.env, kept)


def _copy(source: Path, target: Path) -> None:
    """Copy a package without Kappa's wheel.

    Where the file system can, files share their data with those of the bundle until they are written to; else what is
    too large for a copy is linked.
    """
    copied = 0

    def copy(path: str, target: str) -> None:
        nonlocal copied
        if _clone(path, target):
            return
        size = Path(path).stat().st_size
        if size >= _SMALL_BYTES and copied + size > _COPIED_BYTES:
            with suppress(OSError):
                Path(target).hardlink_to(path)
                return
        copied += size
        shutil.copy2(path, target)

    shutil.copytree(
        source, target, copy_function=copy, ignore=shutil.ignore_patterns(PackageLayout(source).wheels.name)
    )


def _clone(path: str, destination: str) -> bool:
    if sys.platform != "linux":
        return False
    import fcntl  # there is none on Windows

    with Path(path).open("rb") as source, Path(destination).open("wb") as target:
        try:
            fcntl.ioctl(target.fileno(), _FICLONE, source.fileno())
        except OSError:
            return False
    return True


def _state(folder: Path) -> dict[str, tuple[int, int]]:
    """Return the size and times of each file below a folder, which change when it is written to."""
    files = ((path, path.stat()) for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): (stat.st_size, stat.st_mtime_ns) for path, stat in files}


def _check_unchanged(copy: Path, copied: Mapping[str, Any], staged: Path, kept: Mapping[str, Any]) -> None:
    """Say which files the service's own code changes; raises `BuildError` if it has changed the bundle itself."""
    if spoilt := _changed(kept, _state(staged)):
        raise BuildError(
            f"Loading the service has changed {spoilt}, which would be another file than the bundle's digest says. "
            "Have its code write somewhere else, or build with `--no-try`."
        )
    if changed := _changed(copied, _state(copy)):
        log(
            f"Loading the service changes {changed}. In an image it may not, and elsewhere the bundle is then not as "
            "it was built: have its code write somewhere else.",
            kind="warning",
        )


def _changed(before: Mapping[str, Any], after: Mapping[str, Any]) -> str:
    names = [f"`{printable(path)}`" for path, state in sorted(before.items()) if after.get(path) != state]
    return one_of(names, joined_by="and") if names else ""


# -- what came of it ---------------------------------------------------------------------------------------------------


def _module_here(name: str, plan: BuildPlan) -> Module | None:
    return CodeBase(project_search(plan.project)).resolve(name)


def _pinned(module: str, plan: BuildPlan, lock: Lock) -> str:
    """Return the distribution of a module that the bundle has, and this machine has not; empty if there is none."""
    top = module.partition(".")[0]
    local = _module_here(top, plan)
    if local is not None and local.is_local:
        return ""
    pins = {pin.name for pin in lock.pins}
    names = (DistributionIndex().brings(module) or "", top)
    return next((name for name in names if canonicalize_name(name) in pins), "")


def _warning(outcome: Mapping[str, Any]) -> str | None:
    """Return the warning for a problem of this machine alone; ``None`` for a problem wherever it is served."""
    where = f" ({outcome['file']}:{outcome['line']})" if outcome["file"] else ""
    if outcome["kind"] == "file" and SECRET_PLACEHOLDER in outcome["subject"]:
        secret = outcome["subject"].partition(SECRET_PLACEHOLDER)[2].partition("/")[0]
        return (
            f"The bundle was not tried to the end: it wants the secret `{secret}`{where}, which a build does not have."
        )
    words = {
        "command": f"`{outcome.get('subject')}` is run{where} and is not installed here",
        "network": f"the network is wanted{where}, and could not be reached: {outcome['message']}",
        "failed": f"{outcome['message']}{where}",
    }
    if outcome["kind"] not in words:
        return None
    return f"The bundle was not tried to the end: {words[outcome['kind']]}."


def _problem(outcome: Mapping[str, Any], plan: BuildPlan) -> Diagnostic:
    """Return the problem, at the line that causes it."""
    source = plan.code.get(PurePosixPath(outcome["file"])) if outcome["file"] else None
    file = source or plan.project.file or next(iter(plan.code.values()), plan.project.root)
    span = _line(file, outcome["line"]) if source is not None else Span(1, 1, 1, 2)
    message, help_ = _words(outcome, plan)
    if outcome["doing"]:
        message = f"{outcome['doing']} cannot be loaded from the bundle. {message}"
    return Diagnostic("KF328", message, file, span, help=help_)


def _line(file: Path, number: int) -> Span:
    """Return where the text of a line is."""
    line = file.read_text(encoding="utf-8", errors="replace").splitlines()[number - 1].rstrip()
    return Span(number, len(line) - len(line.lstrip()) + 1, number, len(line) + 1)


def _words(outcome: Mapping[str, Any], plan: BuildPlan) -> tuple[str, str]:
    subject, root = outcome["subject"], plan.project.root
    shown = f"`{printable(subject)}`"
    if outcome["kind"] == "module":
        if _module_here(subject, plan) is not None:
            return f"The bundle has no module {shown}.", f'Name it in `modules`: `modules = ["{subject}"]`.'
        return f"There is no module {shown}, neither in the bundle nor here.", "Correct the name, or add its package."
    if outcome["kind"] == "version":
        return (
            f"The version of {shown} is asked for, which is not installed where the bundle is.",
            "Write it down in the code, or catch `importlib.metadata.PackageNotFoundError`.",
        )
    if outcome["kind"] != "file":
        return sentence(outcome["message"]), ""
    if outcome.get("is_inside"):
        is_there = (root / subject).exists()
        help_ = f'Add it: `include = ["{subject}"]`.' if is_there else "The project has no such file either."
        return f"The bundle has no file {shown}.", help_
    if not Path(subject).is_absolute():
        help_ = f'Write `Path(__file__).parent / "{Path(subject).name}"`'
        more = f', and add it: `include = ["{subject}"]`.' if (root / subject).exists() else "."
        return f"{shown} is looked for in the folder that the process is started in.", help_ + more
    if Path(subject).is_relative_to(root):
        path = Path(subject).relative_to(root).as_posix()
        help_ = f'Find it from `Path(__file__)`, and add it: `include = ["{path}"]`.'
        return f"{shown} is a path of this machine.", help_
    return f"There is no file {shown}, which lies outside of the bundle.", "Put it into the project, and include it."
