"""The parts of a service's declaration: one table, from which both front ends and the decorators are read.

A *key* is a field of one model. A *part* is what is declared as a whole: a table of a kappafile, or a key of
`[service]`. The table says which key of a kappafile and which decorators declare each part, and which field of
`ServiceSpec` holds it; the arguments of a decorator are the fields of the part's model.
"""

from __future__ import annotations

import inspect
import types
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic.fields import FieldInfo

from kappa.spec.contracts import Plugin, Spec
from kappa.spec.naming import Argument, former_names, mark_of
from kappa.spec.service import ApiOptions, ApiSpec, ServiceFacts, ServiceSpec

__all__ = ["DECLARATIONS", "Part", "arguments_of", "fields_of_part", "model_of", "signature_of"]

PartKind = Literal["key", "table", "list", "members"]
"""How a kappafile completes a class: a *key* is set by one of the two, a *table* has keys of both, a *list* has items
of both. *Members* are declared by one of the two alone."""


@dataclass(frozen=True, slots=True)
class Part:
    """One part of a service."""

    key: tuple[str, ...]
    """Where it is in a kappafile."""
    field: str
    """The field of `ServiceSpec` that holds it."""
    decorators: tuple[str, ...]
    """The names of what declares it on a class; none for what the docstring says."""
    kind: PartKind
    of_method: frozenset[str] = frozenset()
    """The fields that a decorator need not be given, because the decorated method tells them."""

    @property
    def mark(self) -> str:
        """The attribute of a class or a method that holds what a decorator declares."""
        return f"__kappa_{self.field}__"

    @property
    def title(self) -> str:
        """Its name in a kappafile."""
        *tables, key = self.key
        forms = {"table": f"`[{key}]`", "list": f"`[[{key}]]`", "members": f"`[{key}.NAME]`"}
        return forms.get(self.kind) or f"`{key}` in `[{'.'.join(tables)}]`"

    def in_kappafile(self, kappafile: Any) -> Any:
        """Return what a kappafile says of it."""
        value = kappafile
        for key in self.key:
            value = getattr(value, key)
        return value


_DECORATORS: Mapping[str, tuple[str, ...]] = {"doc": (), "labels": ("label",)}
"""Those of the keys of `[service]` that are not called like the key."""

DECLARATIONS: tuple[Part, ...] = (
    *(Part(("service", key), key, _DECORATORS.get(key, (key,)), "key") for key in ("name", *ServiceFacts.model_fields)),
    Part(("env",), "env", ("env",), "table"),
    Part(("bundle",), "files", ("files",), "table"),
    Part(("artifacts",), "artifacts", ("artifacts", "artifact"), "members"),
    Part(("apis",), "apis", ("api",), "members", of_method=frozenset({"name", "doc"})),
    Part(("examples",), "examples", ("example",), "list", of_method=frozenset({"api"})),
    Part(("serving",), "serving", ("serving",), "table"),
    Part(("security",), "security", ("security",), "table"),
)


def model_of(part: Part) -> type[Spec] | None:
    """Return the model whose fields are the arguments of a part's decorator; ``None`` for one that takes a value."""
    kinds = _leaves(ServiceSpec.model_fields[part.field].annotation)
    return next((kind for kind in kinds if issubclass(kind, Spec) and not issubclass(kind, Plugin)), None)


def fields_of_part(part: Part) -> dict[str, FieldInfo]:
    """Return the fields that a part's decorator takes."""
    model = model_of(part)
    if model is ApiSpec:
        return {**ApiOptions.model_fields, "name": ApiSpec.model_fields["name"]}
    return dict(model.model_fields) if model is not None else {}


def arguments_of(part: Part) -> dict[str, str]:
    """Return the arguments of a part's decorator, each with the field that it gives; former names come last."""
    fields = fields_of_part(part)
    present = {_argument(name, field): name for name, field in fields.items()}
    return present | {former: name for name, field in fields.items() for former in former_names(field)}


def _argument(name: str, field: FieldInfo) -> str:
    mark = mark_of(Argument, field)
    return mark.name if mark is not None else name


def signature_of(part: Part) -> inspect.Signature:
    """Return how a part's decorator is called; annotations are texts, as a stub has them."""
    fields = fields_of_part(part)
    if not fields:
        return _signature_of_value(part)
    parameters = []
    for argument, name in arguments_of(part).items():
        field, text = fields[name], _text_of(fields[name].annotation)
        is_required = field.is_required() and name not in part.of_method
        default: Any = inspect.Parameter.empty
        if not is_required:
            default = None if field.is_required() else field.get_default(call_default_factory=True)
            if name in part.of_method or issubclass(next(iter(_leaves(field.annotation)), object), Plugin):
                default = None
            text = text if default is not None or text.endswith("None") or text == "Any" else f"{text} | None"
        is_positional = is_required and part.kind in ("key", "list")
        kind = inspect.Parameter.POSITIONAL_OR_KEYWORD if is_positional else inspect.Parameter.KEYWORD_ONLY
        parameters.append(inspect.Parameter(argument, kind, default=default, annotation=text))
    return inspect.Signature(parameters)


def _signature_of_value(part: Part) -> inspect.Signature:
    """Return how the decorator of a part is called that is one value: labels, text, or artifacts."""
    field = ServiceSpec.model_fields[part.field]
    text, argument = _text_of(field.annotation).removesuffix(" | None"), _argument(part.field, field)
    if text.startswith("Mapping"):
        positional = inspect.Parameter.POSITIONAL_ONLY
        parameter = inspect.Parameter(argument, positional, default=None, annotation=f"{text} | None")
        more = inspect.Parameter("more", inspect.Parameter.VAR_KEYWORD, annotation="str")
        return inspect.Signature([parameter, more])
    if part.kind == "members":
        text = f"{text.removeprefix('Sequence[').removesuffix(']')} | {text}"
    return inspect.Signature([inspect.Parameter(argument, inspect.Parameter.POSITIONAL_OR_KEYWORD, annotation=text)])


def _text_of(annotation: Any) -> str:
    """Return a type as a caller gives it: without what validation adds, any sequence for a tuple."""
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return _text_of(arguments[0])
    if origin in (Union, types.UnionType):
        return " | ".join(dict.fromkeys(map(_text_of, arguments)))
    if origin is tuple:
        return f"Sequence[{_text_of(arguments[0])}]"
    if origin is Literal:
        return f"Literal[{', '.join(map(_quoted, arguments))}]"
    if origin is not None and issubclass(origin, Mapping):
        return f"Mapping[{', '.join(map(_text_of, arguments))}]"
    return "None" if annotation is type(None) else "Any" if annotation is Any else str(annotation.__name__)


def _quoted(word: Any) -> str:
    return f'"{word}"' if isinstance(word, str) else repr(word)


def _leaves(annotation: Any) -> Iterator[type]:
    """Yield the classes in an annotation."""
    if isinstance(annotation, type) and get_origin(annotation) is None:
        yield annotation
    for part in get_args(annotation):
        yield from _leaves(part)
