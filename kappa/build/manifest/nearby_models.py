"""Models that have no kappafile yet: the files that lie there, their types, and the command that begins with one."""

from __future__ import annotations

import re
import shlex
from contextlib import suppress
from functools import cache
from itertools import islice
from pathlib import Path, PurePosixPath

from kappa._files import is_ignored
from kappa.build.manifest.other_frameworks import framework_of_file
from kappa.plugins import ARTIFACTS
from kappa.spec.contracts import ArtifactPlugin

__all__ = ["command_for", "find_model", "sample_beside", "service_name_for", "type_of_model"]

_SAMPLES = ("sample.csv", "sample.parquet", "samples.csv", "samples.parquet")
_MOST_FILES = 10_000
"""How many files of a folder are looked at: it may be a home directory."""


def find_model(directory: Path) -> Path | None:
    """Return a model's file in a folder, or in one below: one with a type of Kappa's, else one of another framework."""
    for pattern in ("*", "*/*", "*/*/*"):
        try:
            paths = islice(directory.glob(pattern), _MOST_FILES)
            files = sorted(path for path in paths if _may_be_model(path, directory))
        except OSError:
            return None
        with_type = (path for path in files if type_of_model(path) is not None)
        if model := next(with_type, None) or next((path for path in files if framework_of_file(path)), None):
            return model
    return None


def _may_be_model(path: Path, directory: Path) -> bool:
    inside = path.relative_to(directory)
    return not (any(part.startswith(".") for part in inside.parts) or is_ignored(inside)) and path.is_file()


def type_of_model(file: Path) -> str | None:
    """Return the artifact type of a model's file, by its extension and what is in it; ``None`` if it has none."""
    suffix = file.suffix.lower()
    for plugin in _plugins():
        with suppress(OSError):
            if suffix in plugin.extensions and plugin.claims(file):
                return plugin.type
    return None


@cache
def _plugins() -> tuple[ArtifactPlugin, ...]:
    return tuple(ARTIFACTS.load(name)(name="model") for name in ARTIFACTS.builtins)


def command_for(model: str) -> str:
    """Return the command that writes the first kappafile of a model."""
    return f"`kappa init {shlex.quote(model)}`"


def sample_beside(model: str, directory: Path) -> str | None:
    """Return the path of a sample of rows in a folder, or beside the ``model`` in it, if there is one."""
    folders = dict.fromkeys(["", f"{PurePosixPath(model).parent}/".removeprefix("./")])
    samples = (f"{folder}{name}" for folder in folders for name in _SAMPLES)
    return next((name for name in samples if (directory / name).is_file()), None)


def service_name_for(model: Path) -> str:
    """Return a name for the service of a model, made of that of its file."""
    words = re.findall(r"[A-Za-z0-9]+", model.stem)
    name = "".join(word[:1].upper() + word[1:] for word in words)
    return name if name[:1].isalpha() else f"My{name or 'Service'}"
