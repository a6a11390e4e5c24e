"""pip-compile: resolves for the interpreter and system that run it, with a hash for every file of every package.

It runs as a subprocess in an empty folder. Of the caller's pip settings (`PIP_*` variables and pip's configuration
files) it sees only those that say where packages come from and how to get there, and none of them can reach its
output: without the flags below passwords, local folders and extra indexes would stand in every lock.
"""

from __future__ import annotations

import ast
import itertools
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from importlib import metadata
from pathlib import Path

from kappa.build.lock import LockInputs, Resolution, running_platform, running_python
from kappa.errors import ResolutionError
from kappa.log import log

__all__ = ["FLAGS", "PipCompileResolver", "Runner", "explain_failure", "resolver_environment", "run_and_log"]

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

_INDEX_SETTINGS = (
    "index-url",
    "extra-index-url",
    "find-links",
    "no-index",
    "trusted-host",
    "cert",
    "client-cert",
    "proxy",
    "keyring-provider",
    "default-timeout",
    "timeout",
    "retries",
    "cache-dir",
    "no-cache-dir",
)
"""The settings of pip that say where packages come from and how to get there, by their names in its files."""

_PATH_SETTINGS = frozenset({"cert", "client-cert", "cache-dir"})

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

Runner = Callable[[Sequence[str], Path, Mapping[str, str]], tuple[int, str]]
"""Runs a command in a folder with an environment; returns its exit status and everything it printed."""


def run_and_log(command: Sequence[str], directory: Path, environ: Mapping[str, str]) -> tuple[int, str]:
    """Run a command and log each line as it comes."""
    lines: list[str] = []
    with subprocess.Popen(
        command,
        cwd=directory,
        env=dict(environ),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        encoding="utf-8",
        errors="replace",
    ) as process:
        try:
            for line in process.stdout or ():
                lines.append(line)
                log(line.rstrip(), kind="output")
        except BaseException:
            process.kill()
            raise
    return process.returncode, "".join(lines)


class PipCompileResolver:
    """Pins with `pip-compile`, for the running interpreter and system only."""

    def __init__(self, run: Runner = run_and_log) -> None:
        self.run = run

    def resolve(self, inputs: LockInputs, *, environ: Mapping[str, str]) -> Resolution:
        """Resolve ``inputs``; raises `ResolutionError` with pip's own words about the requirement at fault."""
        if (inputs.python, inputs.platform) != (running_python(), running_platform()):
            raise ResolutionError(
                f"pip-compile can pin for Python {running_python()} on {running_platform()}, which runs it, and not "
                f"for Python {inputs.python} on {inputs.platform}."
            )
        requirements = sorted(set(inputs.requirements))
        with tempfile.TemporaryDirectory(prefix="kappa-lock-") as name:
            directory = Path(name)
            lines = [*inputs.options, *(["-c constraints.txt"] if inputs.constraints else []), *requirements]
            (directory / "requirements.in").write_text("\n".join(lines) + "\n", encoding="utf-8")
            (directory / "constraints.txt").write_text("\n".join(inputs.constraints) + "\n", encoding="utf-8")
            command = [sys.executable, "-m", "kappa.build.resolvers.compile_command", *FLAGS, "--verbose"]
            command += ["--output-file", "requirements.txt", "requirements.in"]
            status, output = self.run(command, directory, resolver_environment(environ))
            if status != 0:
                raise ResolutionError(explain_failure(output, lines))
            body = (directory / "requirements.txt").read_text(encoding="utf-8")
        return Resolution(body=body, resolver=f"pip-compile {_version()}")


def resolver_environment(environ: Mapping[str, str]) -> dict[str, str]:
    """Return ``environ`` with pip's settings reduced to those of indexes and connections, wherever they were set.

    pip's configuration files are read through `pip config list` and then switched off: a `--pre` or `--only-binary`
    of this machine must not decide what a lock holds.
    """
    clean = {
        key: value
        for key, value in environ.items()
        if key in {"PIP_CONFIG_FILE", "PIP_TOOLS_CACHE_DIR"} or not key.startswith(("PIP_", "CUSTOM_COMPILE_COMMAND"))
    }
    settings = _configured_settings(clean)
    for name in _INDEX_SETTINGS:
        variable = f"PIP_{name.replace('-', '_').upper()}"
        if value := environ.get(variable) or settings.get(name):
            clean[variable] = _absolute(name, value)
    return {**clean, "PIP_CONFIG_FILE": os.devnull, "PIP_NO_INPUT": "1", "PIP_DISABLE_PIP_VERSION_CHECK": "1"}


def explain_failure(output: str, lines: Sequence[str]) -> str:
    """Say in a few lines, in pip's words, why nothing was found; ``lines`` are those of `requirements.in`."""
    said = [match["message"].strip() for match in map(_ERROR.match, output.splitlines()) if match]
    said += _cause_of_conflict(output)
    if not said:
        exceptions = [f"{match['class']}: {match['message']}" for match in _EXCEPTION.finditer(output)]
        said = exceptions[-1:] or output.strip().splitlines()[-1:]
        said += [f"That was while collecting `{name}`." for name in _COLLECTING.findall(output)[-1:]]
    text = "\n".join(dict.fromkeys(said))
    text = _INPUT_LINE.sub(lambda match: f"`{lines[int(match[1]) - 1]}`", text)
    text = _VERSIONS.sub(_few_versions, text)
    if _UNREACHABLE.search(output):
        hosts = dict.fromkeys(f"`{host}`: {what.strip()}." for host, what in _UNREACHED.findall(output))
        return (
            "The package index could not be asked. Check the network, `HTTPS_PROXY`, and the index and certificate "
            f"that `pip config list` shows.\n{chr(10).join([*hosts] or [text])}"
        )
    return f"The packages cannot be resolved. pip says:\n{text}"


def _cause_of_conflict(output: str) -> list[str]:
    """Return the lines under pip's *The conflict is caused by*."""
    _, found, rest = output.partition("The conflict is caused by:")
    block = rest.partition("\n")[2] if found else ""
    lines = [line.strip() for line in block.splitlines()]
    return [f"  {line}" for line in itertools.takewhile(bool, lines)]


def _few_versions(match: re.Match[str]) -> str:
    versions = match["versions"].split(", ")
    shown = versions if len(versions) <= 6 else ["…", *versions[-6:]]
    return f"(from versions: {', '.join(shown)})"


def _configured_settings(environ: Mapping[str, str]) -> dict[str, str]:
    """Return pip's settings from its configuration files, as `pip install` would see them."""
    command = [sys.executable, "-m", "pip", "config", "list"]
    done = subprocess.run(command, env=dict(environ), capture_output=True, text=True, encoding="utf-8", check=False)
    settings: dict[str, dict[str, str]] = {"global": {}, "install": {}}
    for line in done.stdout.splitlines():
        key, equals, value = line.partition("=")
        section, _, name = key.partition(".")
        if equals and section in settings:
            settings[section][name] = ast.literal_eval(value)
    return {**settings["global"], **settings["install"]}


def _absolute(name: str, value: str) -> str:
    """Return a setting with its paths absolute, because the resolver runs in another folder."""
    if name == "find-links":
        return " ".join(word if "://" in word else str(Path(word).expanduser().absolute()) for word in value.split())
    return str(Path(value).expanduser().absolute()) if name in _PATH_SETTINGS else value


def _version() -> str:
    return ".".join(metadata.version("pip-tools").split(".")[:2])
