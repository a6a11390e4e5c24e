"""pip-compile: resolves for the interpreter and system that run it, with a hash for every file of every package.

It runs as a subprocess in an empty folder. Of the caller's pip settings (`PIP_*` variables and pip's configuration
files) it sees only those that say where packages come from and how to get there, and none of them can reach its
output: without the flags below passwords, local folders and extra indexes would stand in every lock.
"""

from __future__ import annotations

import itertools
import re
import sys
import tempfile
from collections.abc import Mapping, Sequence
from importlib import metadata
from pathlib import Path

from kappa.build.packages.lock import LockInputs, Resolution
from kappa.build.packages.resolvers.indexes import pip_environment
from kappa.build.packages.resolvers.process import Runner, failure, pass_on_warnings, run_and_log, say_unreachable
from kappa.errors import ResolutionError
from kappa.spec.platforms import running_platform, running_python

__all__ = ["FLAGS", "PipCompileResolver", "explain_failure"]

FLAGS = (
    "--no-config",
    "--generate-hashes",
    "--allow-unsafe",
    "--strip-extras",
    "--no-header",
    "--no-emit-options",
    "--no-emit-index-url",
    "--no-emit-trusted-host",
    "--no-emit-find-links",
)

_ERROR = re.compile(r"\s*ERROR: (?P<message>.+)")
_INPUT_LINE = re.compile(r"-r requirements\.in \(line (\d+)\)")
_VERSIONS = re.compile(r"\(from versions: (?P<versions>[^)]+)\)")
_UNREACHABLE = re.compile(
    r"connection broken by|NewConnectionError|NameResolutionError|ConnectTimeoutError|ProxyError|SSLError"
    r"|ConnectionFailedError|Could not fetch URL"
)
_UNREACHED = re.compile(r"host='([^']+)', port=\d+\): (Failed to [^(\"\[\n]+)")
_COLLECTING = re.compile(r"Collecting (\S+)")
_EXCEPTION = re.compile(r"^[a-z_][\w.]*\.(?P<class>[A-Z]\w*): (?P<message>.+)", re.MULTILINE)


class PipCompileResolver:
    """Pins with `pip-compile`, for the running interpreter and system only."""

    def __init__(self, run: Runner = run_and_log) -> None:
        self.run = run

    def resolve(self, inputs: LockInputs, *, environ: Mapping[str, str], preferred: str = "") -> Resolution:
        """Resolve ``inputs``; raises `ResolutionError` with pip's own words about the requirement at fault."""
        if not inputs.target.is_running:
            raise ResolutionError(
                f"pip-compile can pin for Python {running_python()} on {running_platform()}, which runs it, and not "
                f"for Python {inputs.python} on {inputs.platform}."
            )
        requirements = sorted(set(inputs.requirements))
        with tempfile.TemporaryDirectory(prefix="kappa-lock-") as name:
            directory = Path(name)
            lines = [*inputs.options, *(["-c constraints.txt"] if inputs.constraints else []), *requirements]
            (directory / "requirements.in").write_text("\n".join(lines) + "\n", encoding="utf-8")
            constraints = [constraint.partition(" --hash=")[0] for constraint in inputs.constraints]
            (directory / "constraints.txt").write_text("\n".join(constraints) + "\n", encoding="utf-8")
            if preferred:
                (directory / "requirements.txt").write_text(preferred, encoding="utf-8")
            command = [sys.executable, "-m", "kappa.build.packages.resolvers.compile_command", *FLAGS, "--verbose"]
            command += ["--output-file", "requirements.txt", "requirements.in"]
            status, output = self.run(command, directory, pip_environment(environ))
            if status != 0:
                raise failure(explain_failure(output, lines))
            pass_on_warnings(output, "pip")
            body = (directory / "requirements.txt").read_text(encoding="utf-8")
        return Resolution(body=body, resolver=f"pip-compile {_version()}")


def explain_failure(output: str, lines: Sequence[str]) -> str:
    """Say in a few lines, in pip's words, why nothing was found; ``lines`` are those of `requirements.in`."""
    sentences = [match["message"].strip() for match in map(_ERROR.match, output.splitlines()) if match]
    sentences += _cause_of_conflict(output)
    if not sentences:
        exceptions = [f"{match['class']}: {match['message']}" for match in _EXCEPTION.finditer(output)]
        sentences = exceptions[-1:] or output.strip().splitlines()[-1:]
        sentences += [f"That was while collecting `{name}`." for name in _COLLECTING.findall(output)[-1:]]
    text = "\n".join(dict.fromkeys(sentences))
    text = _INPUT_LINE.sub(lambda match: f"`{lines[int(match[1]) - 1]}`", text)
    text = _VERSIONS.sub(_few_versions, text)
    if _UNREACHABLE.search(output):
        hosts = dict.fromkeys(f"`{host}`: {reason.strip()}." for host, reason in _UNREACHED.findall(output))
        return say_unreachable("\n".join([*hosts] or [text]))
    return f"The packages cannot be resolved. pip says:\n{text}"


def _cause_of_conflict(output: str) -> list[str]:
    """Return the lines under pip's *The conflict is caused by*."""
    _, cause, rest = output.partition("The conflict is caused by:")
    block = rest.partition("\n")[2] if cause else ""
    lines = [line.strip() for line in block.splitlines()]
    return [f"  {line}" for line in itertools.takewhile(bool, lines)]


def _few_versions(match: re.Match[str]) -> str:
    versions = match["versions"].split(", ")
    shown = versions if len(versions) <= 6 else ["…", *versions[-6:]]
    return f"(from versions: {', '.join(shown)})"


def _version() -> str:
    return ".".join(metadata.version("pip-tools").split(".")[:2])
