"""The first kappafile of a model that has none: what to write, with the files that lie there filled in."""

from __future__ import annotations

import json
import re
from contextlib import suppress
from functools import cache
from itertools import islice
from pathlib import Path, PurePosixPath

from kappa._files import is_ignored
from kappa.build.manifest.other_frameworks import framework_of_file
from kappa.plugins import ARTIFACTS
from kappa.spec.contracts import ArtifactPlugin

__all__ = ["find_model", "sketch_for", "type_of_model"]

_SAMPLES = ("sample.csv", "sample.parquet", "samples.csv", "samples.parquet")
_MOST_FILES = 10_000
"""How many files of a folder are looked at: it may be a home directory."""

_LINES = """\
kappafile = 1

[service]
name = {name}

[artifacts.model]
type = "{type}"
path = {path}

[apis.predict]
input = {input}
artifact = "model"
"""


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


def sketch_for(model: Path | None, directory: Path, *, artifact_type: str | None = None) -> str:
    """Return what a new kappafile in ``directory`` holds: nine lines that name a model's file and, if there is one, a
    sample of its input. Its ``artifact_type`` is that of the file's extension unless another is known."""
    path = "model.joblib"
    if model is not None:
        path = (model.relative_to(directory) if model.is_relative_to(directory) else Path(model.name)).as_posix()
    folders = dict.fromkeys(["", f"{PurePosixPath(path).parent}/".removeprefix("./")])
    samples = (f"{folder}{name}" for folder in folders for name in _SAMPLES)
    sample = next((name for name in samples if (directory / name).is_file()), None)
    return _LINES.format(
        name=json.dumps(_service_name(model)),
        type=artifact_type or (type_of_model(model) if model is not None else None) or "sklearn",
        path=json.dumps(path, ensure_ascii=False),
        input=f'{{ type = "dataframe", columns_from = "{sample}" }}' if sample else '"dataframe"',
    )


def _service_name(model: Path | None) -> str:
    words = re.findall(r"[A-Za-z0-9]+", model.stem) if model is not None else []
    name = "".join(word[:1].upper() + word[1:] for word in words)
    return name if name[:1].isalpha() else f"My{name or 'Service'}"
