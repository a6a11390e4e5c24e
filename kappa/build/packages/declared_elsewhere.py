"""Where a project says what it depends on, if `[project] dependencies` does not, and what to do about each."""

from __future__ import annotations

import configparser
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

__all__ = ["say_elsewhere"]

_MOVE = "move what the service needs to `[project] dependencies`"
_TABLES = {
    "tool.poetry.dependencies": (
        "Poetry's",
        f"{_MOVE}, or run `poetry export --output requirements.txt` and name that in `requirements_txt_file`",
    ),
    "tool.poetry.group": ("Poetry's groups", f"{_MOVE}, or to `[dependency-groups]`"),
    "tool.flit.metadata.requires": ("Flit's", _MOVE),
    "tool.pdm.dev-dependencies": ("PDM's groups", "move them to `[dependency-groups]`, and name one in `{groups}`"),
    "tool.uv.dev-dependencies": ("uv's", "move them to `[dependency-groups]`, and name one in `{groups}`"),
    "tool.rye.dev-dependencies": ("Rye's", "move them to `[dependency-groups]`, and name one in `{groups}`"),
    "tool.hatch.envs": ("those of Hatch's environments", _MOVE),
    "tool.pixi.dependencies": ("Pixi's", f"{_MOVE}; packages of conda go to `conda_dependencies`"),
    "tool.pixi.pypi-dependencies": ("Pixi's", _MOVE),
    "tool.pixi.feature": ("those of Pixi's features", _MOVE),
    "dependency-groups": ("groups ({names})", "name those that the service needs in `{groups}`"),
    "project.optional-dependencies": ("extras ({names})", "name those that the service needs in `{extras}`"),
}
"""Dotted tables of a `pyproject.toml`: whose dependencies they hold, and the way out."""
_FILES = {
    "Pipfile": "run `pipenv requirements > requirements.txt`, and name that in `requirements_txt_file`",
    "requirements.in": "name the file that was compiled from it in `requirements_txt_file`",
    "requirements.txt": "name it in `requirements_txt_file`, instead of `pyproject`",
    "environment.yml": "name it in `conda_env_yml_file`",
    "environment.yaml": "name it in `conda_env_yml_file`",
}
_KEYS = {"groups": "pyproject_groups", "extras": "pyproject_extras"}


def say_elsewhere(tree: Mapping[str, Any], folder: Path, *, shown: str) -> str:
    """Return where a `pyproject.toml` without `[project] dependencies` has them, and what to do."""
    findings = [*_tables(tree), *_files(folder)]
    if not findings:
        findings = ["nothing here says what it needs: write `dependencies = []` in `[project]` if that is nothing"]
    missing = f"`{shown}` has no `[project] dependencies`"
    if len(findings) == 1:
        return f"{missing}: {findings[0]}."
    return f"{missing}. What is there: {'; '.join(findings)}."


def _tables(tree: Mapping[str, Any]) -> Iterator[str]:
    for path, (contents, way_out) in _TABLES.items():
        table: Any = tree
        for key in path.split("."):
            table = table.get(key) if isinstance(table, Mapping) else None
        if path == "tool.poetry.dependencies" and isinstance(table, Mapping):
            table = [name for name in table if name != "python"]
        if table:
            names = ", ".join(f"`{name}`" for name in table)
            yield f"`[{path}]` holds {contents.format(names=names)}: {way_out.format(**_KEYS)}"


def _files(folder: Path) -> Iterator[str]:
    config = configparser.ConfigParser(interpolation=None, strict=False)
    try:
        config.read(folder / "setup.cfg", encoding="utf-8")
    except (configparser.Error, UnicodeDecodeError):
        pass
    else:
        if config.has_option("options", "install_requires"):
            yield f"`setup.cfg` has `install_requires`: {_MOVE}"
    if (folder / "setup.py").is_file():
        yield f"only running `setup.py` could tell what it says: {_MOVE}"
    for name, way_out in _FILES.items():
        if (folder / name).is_file():
            yield f"`{name}` lies beside it: {way_out}"
