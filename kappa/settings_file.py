"""`config.yml` as a document: single settings written and removed, comments and everything else kept.

A *key* is ``section.name``, or ``name`` alone for the few settings outside of sections.
"""

from __future__ import annotations

import difflib
import io
import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import ValidationError
from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap

from kappa._files import write_atomically
from kappa.errors import ConfigurationError, UsageError
from kappa.secret_urls import masked
from kappa.settings import load_settings, read_settings, setting_fields, setting_keys, settings_path
from kappa.wording import explained, listed

__all__ = [
    "Setting",
    "change_settings",
    "reset_settings",
    "setting_in_effect",
    "setting_keys",
    "settings_in_effect",
    "settings_in_file",
]

Origin = Literal["environment", "file", "default"]


@dataclass(frozen=True, slots=True)
class Setting:
    """One setting, its value as YAML and JSON have it, and where it comes from."""

    key: str
    value: Any
    origin: Origin

    @property
    def text(self) -> str:
        """The value as one line of text, as an environment variable would have it."""
        if self.value is None:
            return ""
        if isinstance(self.value, bool):
            return str(self.value).lower()
        return ",".join(map(str, self.value)) if isinstance(self.value, list) else str(self.value)

    @property
    def shown(self) -> str:
        """The value as one line of text, without secrets."""
        return masked(self.text)

    @property
    def safe_value(self) -> Any:
        """The value without secrets."""
        return masked(self.value) if isinstance(self.value, str) else self.value


def settings_in_effect(environ: Mapping[str, str] = os.environ) -> list[Setting]:
    """Return every setting: from the environment, else from the file, else its default."""
    values = _flat(read_settings(environ).model_dump(mode="json"))
    in_file = _flat(_read(settings_path(environ)))
    return [Setting(key, values[key], _origin(key, in_file, environ)) for key in setting_keys()]


def setting_in_effect(key: str, *, environ: Mapping[str, str] = os.environ) -> Setting:
    """Return one setting; raises `UsageError` for a key that there is not."""
    _checked(key)
    return next(setting for setting in settings_in_effect(environ) if setting.key == key)


def settings_in_file(environ: Mapping[str, str] = os.environ) -> list[Setting]:
    """Return what the file says, in its order; raises `ConfigurationError` for one that cannot be read."""
    return [Setting(key, value, "file") for key, value in _flat(_plain(settings_path(environ))).items()]


def change_settings(changes: Mapping[str, str | None], *, environ: Mapping[str, str] = os.environ) -> Path:
    """Set settings in the file, and remove those whose value is ``None``; return the file.

    Values are text as in an environment variable. Raises `UsageError` for a key that there is not, and
    `ConfigurationError` for a value that does not fit or a file that cannot be read; then nothing is changed.
    """
    values = {key: None if text is None else _value_of(key, text) for key, text in changes.items()}
    path = settings_path(environ)
    with _alone(path):
        document = _read(path)
        for key, value in values.items():
            _change(document, key if value is None and key in _flat(document) else _checked(key), value)
        _write(path, document)
    return path


def reset_settings(*, environ: Mapping[str, str] = os.environ) -> tuple[Path, Path | None]:
    """Put the file aside, so that every setting is its default; return it, and where what it held is now."""
    path = settings_path(environ)
    aside = path.with_name(f"{path.name}.bak")
    with _alone(path):
        try:
            os.replace(path, aside)  # noqa: PTH105 - one step, which replaces an earlier one
        except FileNotFoundError:
            return path, None
        except OSError as exc:
            raise ConfigurationError(f"`{path}` cannot be changed: {exc.strerror}.") from exc
    return path, aside


def _checked(key: str) -> str:
    keys = setting_keys()
    if key in keys:
        return key
    near = difflib.get_close_matches(key, keys, n=1, cutoff=0.5) or [
        candidate for candidate in keys if candidate.rpartition(".")[2] == key
    ]
    hint = f"Did you mean `{near[0]}`?" if near else f"There are {listed(keys)}."
    raise UsageError(f"There is no setting `{key}`. {hint}")


def _value_of(key: str, text: str) -> Any:
    """Return what the file says for a setting whose value is given as text."""
    model = dict(setting_fields())[_checked(key)]
    name = key.rpartition(".")[2]
    try:
        return model.model_validate({name: text}).model_dump(mode="json")[name]
    except ValidationError as exc:
        raise ConfigurationError(" ".join(explained(error, f"`{key}`") for error in exc.errors())) from None


def _change(document: CommentedMap, key: str, value: Any) -> None:
    section, _, name = key.rpartition(".")
    if section and not isinstance(document.get(section), dict):
        document[section] = CommentedMap()
    table = document[section] if section else document
    if value is not None:
        table[name] = value
    else:
        table.pop(name, None)
        if section and not table:
            del document[section]


def _flat(tree: Mapping[str, Any]) -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, value in tree.items():
        if isinstance(value, Mapping):
            flat.update({f"{name}.{key}": inner for key, inner in value.items()})
        elif value is not None or name in setting_keys():  # not a section with nothing in it
            flat[name] = value
    return flat


def _origin(key: str, in_file: Iterable[str], environ: Mapping[str, str]) -> Origin:
    variable = f"KAPPA_{key.replace('.', '__')}".upper()
    return "environment" if variable in environ else "file" if key in in_file else "default"


def _plain(path: Path) -> dict[str, Any]:
    """Return what the file holds as plain values."""
    return (load_settings(path, YAML(typ="safe", pure=True)) if path.exists() else None) or {}


def _read(path: Path) -> CommentedMap:
    document = load_settings(path, _yaml()) if path.exists() else None
    return CommentedMap() if document is None else document


def _write(path: Path, document: CommentedMap) -> None:
    text = io.StringIO()
    if document:
        _yaml().dump(document, text)
    try:
        write_atomically(path, text.getvalue().encode())
    except OSError as exc:
        raise ConfigurationError(f"`{path}` cannot be written: {exc.strerror}.") from exc


def _yaml() -> YAML:
    yaml = YAML(typ="rt", pure=True)
    yaml.width = 4096  # a long value stays in its line
    yaml.preserve_quotes = True
    return yaml


@contextmanager
def _alone(path: Path) -> Iterator[None]:
    """Keep other processes from changing the file at the same time, so that no change is lost."""
    from filelock import FileLock

    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        lock = FileLock(path.with_name(f".{path.name}.lock"))
        lock.acquire()
    except OSError as exc:
        raise ConfigurationError(f"`{path}` cannot be changed: {exc.strerror}.") from exc
    try:
        yield
    finally:
        lock.release()
