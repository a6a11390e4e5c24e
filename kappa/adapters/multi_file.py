"""Forms of several files."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field

from kappa.adapters.file import file_of
from kappa.adapters.media_types import shown_type
from kappa.adapters.multipart import FORM, form_content, parts_of
from kappa.errors import BadInputError
from kappa.spec.contracts import InputAdapter, Name
from kappa.types import FileLike, Payload

__all__ = ["InputNames", "MultiFileInput", "arguments_of", "form_of"]


def _distinct(names: tuple[str, ...]) -> tuple[str, ...]:
    if len(set(names)) < len(names):
        raise ValueError("an input is named twice")
    return names


InputNames = Annotated[
    tuple[Name, ...], AfterValidator(_distinct), Field(min_length=1, json_schema_extra={"uniqueItems": True})
]


def form_of(
    payload: Payload, readers: Mapping[str, Callable[[Payload], Any]], *, optional: Collection[str] = ()
) -> tuple[Any, ...]:
    """Read the parts of a form by their names; ``None`` for an ``optional`` one that is absent or empty.

    Raises `BadInputError` for a part that is missing or there twice; what a reader refuses is refused with the part's
    name before its reason.
    """
    if payload.media_type != FORM:
        media_type = payload.media_type
        start = f"{shown_type(payload, media_type)} is not taken here; send" if media_type else "Send"
        fields = " ".join(f"-F {name}=@FILE" for name in readers)
        raise BadInputError(f"{start} `{FORM}`, as `curl {fields}` does.", http_status=415)
    parts: dict[str, Payload] = {}
    for name, part in parts_of(payload):
        if name in readers and part.data:
            if name in parts:
                raise BadInputError(f"The form has two parts called `{name}`.")
            parts[name] = part
    if missing := [f"`{name}`" for name in readers if name not in parts and name not in optional]:
        raise BadInputError(f"The form lacks {', '.join(missing)}.")
    return tuple([_read(name, parts.get(name), read) for name, read in readers.items()])


def _read(name: str, part: Payload | None, read: Callable[[Payload], Any]) -> Any:
    try:
        return None if part is None else read(part)
    except BadInputError as exc:
        raise BadInputError(f"`{name}`: {exc}", http_status=exc.http_status) from None


def arguments_of(forms: Sequence[tuple[Any, ...]]) -> tuple[list[Any], ...]:
    """Return one list per name from the forms of a batch."""
    return tuple(map(list, zip(*forms, strict=True)))


class MultiFileInput(InputAdapter):
    """A form of several files; functions receive one `kappa.types.FileLike` per name, batch functions one list of them
    per name."""

    copies = True

    type: Literal["multi_file"] = "multi_file"
    input_names: InputNames
    """The names of the form's files, in the order of the function's parameters."""
    allow_none: bool = False
    """Whether files may be absent; functions receive `None` for these."""

    @property
    def part_names(self) -> tuple[str, ...]:
        return self.input_names

    def decode(self, payload: Payload) -> tuple[Payload | None, ...]:
        optional = self.input_names if self.allow_none else ()
        return form_of(payload, dict.fromkeys(self.input_names, _as_it_is), optional=optional)

    def nbytes_of(self, form: tuple[Payload | None, ...]) -> int:
        return sum(len(part.data) for part in form if part is not None)

    def merge(self, forms: Sequence[tuple[Payload | None, ...]]) -> tuple[list[FileLike | None], ...]:
        return arguments_of([self.single(form) for form in forms])

    def single(self, form: tuple[Payload | None, ...]) -> tuple[FileLike | None, ...]:
        return tuple(None if part is None else file_of(part) for part in form)

    def request_content(self) -> dict[str, Any]:
        return form_content((), optional=self.input_names) if self.allow_none else form_content(self.input_names)


def _as_it_is(payload: Payload) -> Payload:
    return payload
