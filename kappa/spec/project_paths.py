"""Which keys name files of the project, so that what depends on it follows from their types.

The type of such a key carries a `NamesPath`. Where it leads is confined to the project, made relative to the project's
root where a class in a folder says it, watched by `kappa serve .` and packed by a build: by each of them for every key
that carries the mark.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Annotated, Any, Literal, NamedTuple, TypeVar, get_args

from pydantic import AfterValidator, BaseModel, Field
from pydantic.fields import FieldInfo

from kappa.spec.texts import one_line, shown

__all__ = [
    "ExcludedPattern",
    "IncludedPattern",
    "NamedPath",
    "NamesPath",
    "PathKind",
    "PathText",
    "ProjectFile",
    "is_script",
    "named_paths",
    "path_mark",
    "with_paths",
]

M = TypeVar("M", bound=BaseModel)

PathKind = Literal["file", "folder", "file or folder", "pattern", "exclusion", "folder of code"]
"""The kinds of paths. A *pattern* selects files, and an *exclusion* leaves out some of those. A *folder of code* may
lie outside of the project, which nothing else may."""
Destination = Literal["code", "examples", "image", "web_static_content"]
"""The part of a bundle that gets the files: the package, where they keep their paths; the folder of examples; the
recipe of the image; the folder of static content."""


@dataclass(frozen=True, slots=True)
class NamesPath:
    """Marks the type of a key whose text is a path or a pattern of paths, relative to what declares it."""

    kind: PathKind = "file"
    packed: Destination | None = None
    """Where a build packs what it leads to; ``None`` if the build only reads it."""
    or_script: bool = False
    """Whether the text may also be a script itself (see `is_script`)."""

    def covers(self, text: str) -> bool:
        """Return whether a text is a path."""
        return not (self.or_script and is_script(text))

    @property
    def is_confined(self) -> bool:
        """Whether it has to stay inside of the project."""
        return self.kind not in ("exclusion", "folder of code")


class NamedPath(NamedTuple):
    """A path that a specification names."""

    at: tuple[str | int, ...]
    """The fields and indices that lead to it."""
    text: str
    mark: NamesPath

    @property
    def key(self) -> str:
        """The name of the field that holds it."""
        return next(part for part in reversed(self.at) if isinstance(part, str))


_PATH = re.compile(r"[^\x00-\x1f/\\]{0,255}([/\\][^\x00-\x1f/\\]{0,255})*")


def _check_path(text: str) -> str:
    if len(text) > 4096 or not _PATH.fullmatch(text):
        raise ValueError("a path has at most 4096 characters, and each name in it at most 255")
    return text


PathText = Annotated[
    str,
    AfterValidator(one_line),
    AfterValidator(_check_path),
    Field(json_schema_extra={**shown(_PATH), "maxLength": 4096}),
]
"""Text that a file system takes as a path."""
ProjectFile = Annotated[PathText, NamesPath()]
"""A file that a build reads."""
IncludedPattern = Annotated[PathText, NamesPath("pattern", packed="code")]
ExcludedPattern = Annotated[PathText, NamesPath("exclusion")]


def is_script(text: str) -> bool:
    """Return whether a text is a script itself, and not the path of one: it has a line break or begins with `#!`."""
    return "\n" in text or text.startswith(("#!", "\ufeff#!"))


def path_mark(field: FieldInfo) -> NamesPath | None:
    """Return the mark of a field whose text, or each of whose texts, is a path."""
    metadata = (*field.metadata, *_metadata(field.annotation))
    return next((mark for mark in metadata if isinstance(mark, NamesPath)), None)


def named_paths(part: BaseModel) -> Iterator[NamedPath]:
    """Yield each path in a part of a specification, at whatever depth."""
    for name, field in type(part).model_fields.items():
        yield from _named(getattr(part, name), path_mark(field), (name,))


def _named(value: Any, mark: NamesPath | None, at: tuple[str | int, ...]) -> Iterator[NamedPath]:
    if isinstance(value, BaseModel):
        for inner in named_paths(value):
            yield inner._replace(at=(*at, *inner.at))
    elif isinstance(value, tuple):
        for index, item in enumerate(value):
            yield from _named(item, mark, (*at, index))
    elif mark is not None and isinstance(value, str) and mark.covers(value):
        yield NamedPath(at, value, mark)


def with_paths(part: M, change: Callable[[str], str]) -> M:
    """Return a part of a specification with each path in it changed, at whatever depth."""
    fields = type(part).model_fields
    values = {name: getattr(part, name) for name in fields}
    changed = {name: _changed(value, path_mark(fields[name]), change) for name, value in values.items()}
    return part.model_copy(update={name: value for name, value in changed.items() if value != values[name]})


def _changed(value: Any, mark: NamesPath | None, change: Callable[[str], str]) -> Any:
    if isinstance(value, BaseModel):
        return with_paths(value, change)
    if isinstance(value, tuple):
        return tuple(_changed(item, mark, change) for item in value)
    return change(value) if mark is not None and isinstance(value, str) and mark.covers(value) else value


def _metadata(annotation: Any) -> tuple[Any, ...]:
    """Return what `Annotated` says inside of a type, e.g. of the parts of a tuple."""
    inside = (inner for part in get_args(annotation) for inner in _metadata(part))
    return (*getattr(annotation, "__metadata__", ()), *inside)
