"""Compiles the models of a build: each is converted and proven in a process of its own, or taken from an earlier one.

What was compiled is kept by its digest: of the model, of all that proves it, and of the packages that did it.
"""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any, NoReturn

from kappa import _version
from kappa._files import digest_of_lines, sha256_of_file, staged_directory
from kappa.build.code.child import Runner, run_program, send_order, start_appended, variables_for
from kappa.build.compile.cache import mark_used, remove_least_recent
from kappa.build.manifest.diagnostics import Diagnostic, render_text
from kappa.build.manifest.kappafile import read_kappafile
from kappa.build.manifest.positions import Span
from kappa.build.project import Project
from kappa.environment import home_directory
from kappa.errors import BuildError, DestinationExistsError, ManifestError
from kappa.frameworks.compiled import CompiledArtifact
from kappa.log import log
from kappa.spec.compiling import NO_SAMPLES, CompileProof
from kappa.spec.contracts import ArtifactPlugin, model_files
from kappa.spec.manifest import canonical_json

__all__ = ["TIME_LIMIT_S", "CompiledFiles", "compile_models"]

TIME_LIMIT_S = 1800.0
_PROOF = "proof.json"
_CODES = {"unconvertible": "KF350", "differs": "KF351", "unproven": "KF352", "samples": "KF352", "attribute": "KF353"}
_HELP = {
    "KF350": "Leave `compile` out to serve the model as it is, or replace that step.",
    "KF351": "Leave `compile` out; where only numbers differ by too much, set a larger `rtol` or `atol`.",
    "KF352": 'Add an example, or name a file with rows: `compile = { to = "onnx", samples = "rows.csv" }`.',
    "KF353": "Leave `compile` out, or use the compiled methods alone.",
}

Keep = Callable[[ArtifactPlugin, Path], None]
"""Puts a model as it was declared into a folder, which is there and empty."""


@dataclass(frozen=True, slots=True)
class CompiledFiles:
    """A model that was compiled, in a folder of its own, and what proves it."""

    directory: Path
    proof: CompileProof

    def pack(self, directory: Path) -> None:
        """Copy the compiled model into a folder of a bundle."""
        for path in self.directory.iterdir():
            if path.name != _PROOF:
                shutil.copyfile(path, directory / path.name)


def compile_models(
    project: Project,
    keep: Keep,
    *,
    code: Collection[Path],
    environ: Mapping[str, str],
    run: Runner = run_program,
) -> dict[str, CompiledFiles]:
    """Compile the models of a project that say so; return them by the names of artifacts.

    ``code`` are the files of the service's code. Raises `ManifestError` for a model that cannot be converted, that
    answers otherwise then, or that nothing proves, and `BuildError` for what fails on the way.
    """
    wanted = [plugin for plugin in project.spec.artifacts if plugin.compiling is not None]
    compiled, cache = {}, home_directory(environ) / "compiled"
    with tempfile.TemporaryDirectory(prefix="kappa-compile-") as name:
        models = Path(name).resolve()
        for plugin in project.spec.artifacts:
            (models / plugin.name).mkdir()
            keep(plugin, models / plugin.name)
        for plugin in wanted:
            digests = _digests(models / plugin.name)
            folder = cache / _key(plugin, project, models, code)
            if not all((folder / file).is_file() for file in (_PROOF, *CompiledArtifact.files)):
                shutil.rmtree(folder, ignore_errors=True)
                log(f"Compiling `{plugin.name}` to ONNX, and asking both models the same rows", kind="step")
                size = sum(path.stat().st_size for path in model_files(models / plugin.name))
                source = {"source_digest": digest_of_lines(digests), "source_bytes": size}
                with suppress(DestinationExistsError), staged_directory(folder) as staging:  # another build was faster
                    proof = _proof(plugin, project, models, staging, environ, run)
                    (staging / _PROOF).write_text(json.dumps({**proof, **source}), encoding="utf-8")
            mark_used(folder)
            compiled[plugin.name] = CompiledFiles(
                folder, CompileProof.model_validate_json((folder / _PROOF).read_bytes())
            )
    with suppress(OSError):
        remove_least_recent(cache)
    return compiled


def _digests(folder: Path) -> dict[str, str]:
    return {path.relative_to(folder).as_posix(): sha256_of_file(path) for path in model_files(folder)}


def _key(plugin: ArtifactPlugin, project: Project, models: Path, code: Collection[Path]) -> str:
    """Return the digest of everything that a compiled model and its proof depend on."""
    root = project.root
    named = [root / example.input_file for example in project.spec.examples if example.input_file is not None]
    if plugin.compiling.samples not in (None, NO_SAMPLES):
        named.append(root / plugin.compiling.samples)
    files = {path.as_posix(): sha256_of_file(path) for path in sorted({*named, *code}) if path.is_file()}
    installed = sorted(f"{package.name} {package.version}" for package in metadata.distributions())
    facts = {
        "artifact": plugin.name,
        "models": {artifact.name: _digests(models / artifact.name) for artifact in project.spec.artifacts},
        "spec": project.spec.model_dump(mode="json", by_alias=True),
        "interpreter": [_version.__version__, sys.version],
        "installed": installed,
    }
    return digest_of_lines(files, then=canonical_json(facts)).rpartition(":")[2]


def _proof(
    plugin: ArtifactPlugin, project: Project, models: Path, output: Path, environ: Mapping[str, str], run: Runner
) -> dict[str, Any]:
    """Compile one model into the folder ``output``; return what proves it."""
    order = {
        "artifact": plugin.name,
        "spec": project.spec.model_dump(mode="json", by_alias=True),
        "root": str(project.root),
        "models": str(models),
        "output": str(output),
    }
    program, variables = start_appended("kappa.build.compile.compiler"), variables_for(project.spec.env, environ)
    try:
        reply = send_order(program, order, project.root, run=run, environ=variables, timeout_s=TIME_LIMIT_S)
    except subprocess.TimeoutExpired:
        raise BuildError(f"Compiling `{plugin.name}` had not ended after {TIME_LIMIT_S:.0f} seconds.") from None
    if reply.answer is None:
        raise BuildError(f"Compiling `{plugin.name}` failed: its process {_ending_of(reply.exit_code)}.")
    outcome = reply.answer
    if "problem" in outcome:
        _refuse(plugin, project, outcome)
    for text in outcome["warnings"]:
        log(f"An example could not be asked when `{plugin.name}` was compiled: {text}", kind="warning")
    for text in outcome.get("notes", ()):
        log(f"`{plugin.name}` is compiled: {text}.", kind="warning")
    proof: dict[str, Any] = outcome["proof"]
    return proof


def _ending_of(code: int) -> str:
    if code >= 0:
        return f"ended with exit code {code} and without an answer; what it printed is above"
    name = signal.Signals(-code).name
    return f"was ended by {name}{', as it is when memory runs out' if name == 'SIGKILL' else ''}"


def _refuse(plugin: ArtifactPlugin, project: Project, outcome: Mapping[str, str]) -> NoReturn:
    code, message = _CODES.get(outcome["problem"]), outcome["message"]
    if code is None:
        raise BuildError(f"The artifact `{plugin.name}` cannot be compiled: {message}")
    problem = Diagnostic(
        code,
        f"The artifact `{plugin.name}` cannot be compiled: {message}",
        project.file or project.root,
        _place_of(plugin, project),
        help=_HELP[code],
    )
    raise ManifestError(render_text([problem]), diagnostics=[problem])


def _place_of(plugin: ArtifactPlugin, project: Project) -> Span:
    """Return where `compile` stands in the kappafile, or else the artifact."""
    if project.file is not None:
        document, diagnostics = read_kappafile(project.file)
        if document is not None:
            for path in (("artifacts", plugin.name, "compile"), ("artifacts", plugin.name)):
                if document.at(path) is not None:
                    return diagnostics.positions.of_key(path)
    return Span(1, 1, 1, 2)
