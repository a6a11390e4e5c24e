"""Which keys name files of the project, so that what depends on it follows from their types."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar, get_args

from pydantic import BaseModel

__all__ = ["NamesPath", "is_script", "with_paths"]

M = TypeVar("M", bound=BaseModel)


@dataclass(frozen=True, slots=True)
class NamesPath:
    """Marks the type of a key whose text is a path or a pattern of paths, relative to what declares it."""

    or_script: bool = False
    """Whether the text may also be a script itself (see `is_script`)."""

    def covers(self, text: str) -> bool:
        """Return whether a text is a path."""
        return not (self.or_script and is_script(text))


def is_script(text: str) -> bool:
    """Return whether a text is a script itself, and not the path of one: it has a line break or begins with `#!`."""
    return "\n" in text or text.startswith(("#!", "\ufeff#!"))


def with_paths(part: M, change: Callable[[str], str]) -> M:
    """Return a part of a specification with each path in it changed, at whatever depth."""
    values = {name: getattr(part, name) for name in type(part).model_fields}
    changed = {name: _changed(value, _marker(type(part), name), change) for name, value in values.items()}
    return part.model_copy(update={name: value for name, value in changed.items() if value != values[name]})


def _changed(value: Any, marker: NamesPath | None, change: Callable[[str], str]) -> Any:
    if isinstance(value, BaseModel):
        return with_paths(value, change)
    if isinstance(value, tuple):
        return tuple(_changed(one, marker, change) for one in value)
    return change(value) if marker is not None and isinstance(value, str) and marker.covers(value) else value


def _marker(model: type[BaseModel], name: str) -> NamesPath | None:
    field = model.model_fields[name]
    return next((one for one in (*field.metadata, *_metadata(field.annotation)) if isinstance(one, NamesPath)), None)


def _metadata(annotation: Any) -> tuple[Any, ...]:
    """Return what `Annotated` says inside of a type, e.g. of the parts of a tuple."""
    inside = (found for part in get_args(annotation) for found in _metadata(part))
    return (*getattr(annotation, "__metadata__", ()), *inside)
