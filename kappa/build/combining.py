"""A class and a kappafile that declare a service together: each key in one of the two, never in both."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from kappa.build.code.declarations import Declaration, Place
from kappa.build.manifest.diagnostics import Label
from kappa.build.manifest.positions import TreePath
from kappa.build.manifest.validation import Draft
from kappa.build.manifest.words import nearest
from kappa.spec.document import Kappafile
from kappa.spec.project_paths import with_paths
from kappa.spec.service import ServiceSpec
from kappa.wording import quoted

__all__ = ["check_shared_keys", "combine"]

_TABLES = {"env": "env", "bundle": "files", "serving": "serving", "security": "security"}
"""Tables of a kappafile, and the fields of a service that they are."""
_SERVICE_KEYS = ("doc", "web_static_content", "setup", "teardown", "labels", "ver")
_OWN_KEYS = ("path", "metadata")
"""What a kappafile says of an artifact that a class declares."""


def check_shared_keys(draft: Draft, declaration: Declaration) -> None:
    """Report what the class has said already, and artifacts that it does not have."""
    document, spec = draft.document, declaration.spec
    for table, name in _TABLES.items():
        for key in document.table_at((table,)):
            if key in getattr(spec, name).model_fields_set:
                _report(draft, declaration, (table, key))
    for key in document.table_at(("service",)):
        if key in _SERVICE_KEYS and getattr(spec, key) != ServiceSpec.model_fields[key].get_default(
            call_default_factory=True
        ):
            _report(draft, declaration, ("service", key))
    if "name" in document.table_at(("service",)) and spec.name != _class_name(spec):
        _report(draft, declaration, ("service", "name"))
    for name in draft.names("apis"):
        _report(draft, declaration, ("apis", name))
    declared = [artifact.name for artifact in spec.artifacts]
    for name in draft.names("artifacts"):
        if name not in declared:
            near = nearest(name, declared)
            message = f"The class declares no artifact {quoted(name)}."
            label = Label(declaration.place.file, declaration.place.span, "the class")
            help_ = f"Did you mean `{near}`?" if near else "Declare it with `@kappa.artifacts`."
            draft.found.add(
                "KF301", message, ("artifacts", name), at="key", help=help_, replacement=near, labels=[label]
            )
            continue
        for key in document.table_at(("artifacts", name)):
            if key not in _OWN_KEYS:
                _report(draft, declaration, ("artifacts", name, key), place_of=("artifacts", name, "type"))


def _class_name(spec: ServiceSpec) -> str:
    return (spec.service_class or "").rpartition(":")[2].rpartition(".")[2]


def _report(draft: Draft, declaration: Declaration, path: TreePath, *, place_of: TreePath | None = None) -> None:
    place: Place = declaration.places.get(place_of or path, declaration.place)
    message = f"`{path[-1]}` is set here and by the class."
    if path[0] == "apis":
        message = "A service that a class declares has no APIs here."
    draft.found.add(
        "KF401",
        message,
        path,
        at="key",
        labels=[Label(place.file, place.span, "set by the class")],
        help="Say it in one place: remove it here or there.",
    )


def combine(kappafile: Kappafile | None, declaration: Declaration, root: Path) -> ServiceSpec:
    """Return the service that both declare; the class's paths, relative to its module, become relative to ``root``."""
    spec = declaration.spec
    folder = declaration.place.file.parent
    if folder != root:
        spec = with_paths(spec, lambda path: Path(os.path.relpath(folder / path, root)).as_posix())
    values: dict[str, Any] = {name: getattr(spec, name) for name in ServiceSpec.model_fields}
    if kappafile is None:
        return ServiceSpec.model_validate(values)
    values["name"] = kappafile.service.name or spec.name
    values["examples"] = (*values["examples"], *kappafile.examples)
    for key in _SERVICE_KEYS:
        if key in kappafile.service.model_fields_set:
            values[key] = getattr(kappafile.service, key)
    for table, name in _TABLES.items():
        given, said = values[name], getattr(kappafile, table)
        both = {**_given(given), **_given(said)}
        values[name] = type(said).model_validate(both)
    return ServiceSpec.model_validate(values)


def _given(table: Any) -> Mapping[str, Any]:
    return {key: getattr(table, key) for key in table.model_fields_set}
