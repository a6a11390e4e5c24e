"""uv: resolves for any Python version and for several systems at once, without running on them.

For one system uv gets its platform and the lock has no more markers than the requirements need. For several it resolves
universally, limited to them; its markers are then reduced to those that tell these systems apart.

uv reads no configuration of its own here but the settings of indexes, which it is given in its environment.
"""

from __future__ import annotations

import re
import subprocess
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from shutil import which

from kappa.build.packages.lock import LockInputs, Resolution
from kappa.build.packages.resolvers.indexes import uv_environment
from kappa.build.packages.resolvers.process import Runner, failure, pass_on_warnings, run_and_log, say_unreachable
from kappa.build.packages.targets import Target, holds_on, marker_for
from kappa.errors import MissingDependencyError
from kappa.spec.pins import Pin, pins_of, unite

__all__ = ["FLAGS", "UvResolver", "find_uv", "reduced"]

FLAGS = (
    "--generate-hashes",
    "--no-header",
    "--no-python-downloads",
    "--index-strategy=unsafe-best-match",  # pip asks all indexes too; and it is pip that installs what is locked
)

_UNREACHABLE = re.compile(
    r"error sending request|dns error|Connection refused|tcp connect error|client error \(Connect\)|Failed to fetch"
    r"|network connectivity is disabled|operation timed out"
)


def find_uv() -> str:
    """Return the path of the command `uv`: that of the package `uv`, or one on the PATH."""
    try:
        from uv import find_uv_bin
    except ImportError:
        if (path := which("uv")) is None:
            raise MissingDependencyError("uv", needed_for="the resolver `uv`") from None
        return path
    return str(find_uv_bin())


class UvResolver:
    """Pins with `uv pip compile`."""

    def __init__(self, run: Runner = run_and_log, *, command: str | None = None) -> None:
        self.run = run
        self.command = command or find_uv()

    def resolve(self, inputs: LockInputs, *, environ: Mapping[str, str], preferred: str = "") -> Resolution:
        """Resolve ``inputs`` for their target; raises `ResolutionError` with uv's own words."""
        target = inputs.target
        requirements = sorted(set(inputs.requirements))
        constraints = [constraint.partition(" --hash=")[0] for constraint in inputs.constraints]
        with tempfile.TemporaryDirectory(prefix="kappa-lock-") as name:
            directory = Path(name)
            _write(directory / "requirements.in", requirements)
            _write(directory / "constraints.txt", constraints)
            _write(directory / "pyproject.toml", _limits(target))
            if preferred:
                (directory / "requirements.txt").write_text(preferred, encoding="utf-8")
            command = [self.command, "pip", "compile", "requirements.in", "--constraints", "constraints.txt"]
            command += ["--output-file", "requirements.txt", "--python-version", target.python, *FLAGS]
            command += [*_platform_words(target), *_option_words(inputs.options)]
            isolated = {"XDG_CONFIG_HOME": name, "XDG_CONFIG_DIRS": name, "APPDATA": name}
            settings = _with_indexes(uv_environment(environ), inputs.options)
            status, output = self.run(command, directory, {**settings, **isolated})
            if status != 0:
                raise failure(_explain(output))
            pass_on_warnings(output, "uv")
            body = (directory / "requirements.txt").read_text(encoding="utf-8")
        return Resolution(body=reduced(body, target), resolver=f"uv {_version(self.command)}")


def reduced(body: str, target: Target) -> str:
    """Return a universal body with the markers that tell the target's systems apart, and no others.

    A pin that no system needs is left out; one that all need has no marker.
    """
    kept = []
    for pin in pins_of(body):
        if not pin.marker:
            kept.append(pin)
            continue
        held = [holds_on(pin.marker, target.python, system) for system in target.systems]
        if all(flag is True for flag in held):
            kept.append(replace(pin, requirement=_without_marker(pin)))
        elif None in held:
            kept.append(pin)
        elif any(held):
            needing = [system for system, holds in zip(target.systems, held, strict=True) if holds]
            kept.append(replace(pin, requirement=f"{_without_marker(pin)} ; {marker_for(needing)}"))
    return unite(kept)


def _without_marker(pin: Pin) -> str:
    return pin.requirement.removesuffix(pin.marker).rstrip(" ;")


def _platform_words(target: Target) -> list[str]:
    if len(target.systems) == 1:
        (system,) = target.systems
        return ["--no-config", "--python-platform", system.triple] if system.triple else ["--no-config"]
    return ["--universal"]


def _with_indexes(environ: Mapping[str, str], options: Sequence[str]) -> dict[str, str]:
    """Return an environment with the indexes that a service names: its main one instead, its others before those."""
    by_option: dict[str, list[str]] = {}
    for option, _, value in (text.partition(" ") for text in options):
        by_option.setdefault(option, []).append(value)
    settings = dict(environ)
    if "--index-url" in by_option:
        settings["UV_DEFAULT_INDEX"] = by_option["--index-url"][-1]
    for option, variable, separator in (
        ("--extra-index-url", "UV_INDEX", " "),
        ("--trusted-host", "UV_INSECURE_HOST", " "),
        ("--find-links", "UV_FIND_LINKS", ","),
    ):
        values = [*by_option.get(option, ()), *settings.get(variable, "").split(separator)]
        if any(values):
            settings[variable] = separator.join(filter(None, values))
    return {**settings, "UV_NO_INDEX": "1"} if "--no-index" in by_option else settings


def _option_words(options: Sequence[str]) -> Iterator[str]:
    """Yield uv's names for the other options of a requirements file."""
    for option, _, value in (text.partition(" ") for text in options):
        if option == "--pre":
            yield "--prerelease=allow"
        elif option in ("--no-binary", "--only-binary"):
            yield from (f"{option}={name}" for name in value.replace(",", " ").split())


def _limits(target: Target) -> Sequence[str]:
    """Return the lines of a `pyproject.toml` that limit a universal resolution to a target."""
    major, minor = map(int, target.python.split("."))
    python = f"python_full_version >= '{target.python}' and python_full_version < '{major}.{minor + 1}'"
    environments = ", ".join(f'"{python} and {system.marker}"' for system in target.systems)
    return ["[tool.uv]", f"environments = [{environments}]"]


def _write(path: Path, lines: Sequence[str]) -> None:
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")


def _explain(output: str) -> str:
    """Say in uv's words why nothing was found."""
    lines = [line.rstrip() for line in output.splitlines() if line.strip() and not line.startswith("warning:")]
    message = "\n".join(line.removeprefix("error: ") for line in lines) or "it said nothing"
    if _UNREACHABLE.search(output):
        return say_unreachable(message)
    return f"The packages cannot be resolved. uv says:\n{message}"


def _version(command: str) -> str:
    done = subprocess.run([command, "--version"], capture_output=True, text=True, encoding="utf-8", check=False)
    words = done.stdout.split()
    return ".".join(words[1].split(".")[:2]) if len(words) > 1 else "unknown"
