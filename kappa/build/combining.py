"""A class and a kappafile that declare a service together: each key in one of the two, never in both."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from kappa.build.code.declarations import Declaration, Location
from kappa.build.manifest.diagnostics import Label
from kappa.build.manifest.positions import TreePath
from kappa.build.manifest.validation import Draft
from kappa.build.manifest.words import nearest
from kappa.spec.declarations import DECLARATIONS, Part
from kappa.spec.document import Kappafile
from kappa.spec.project_paths import with_paths
from kappa.spec.service import ServiceSpec
from kappa.wording import quoted

__all__ = ["check_shared_keys", "combine"]

_OWN_KEYS = ("path", "metadata")
"""A kappafile's table of an artifact that a class declares."""


def check_shared_keys(draft: Draft, declaration: Declaration) -> None:
    """Report keys that the class already sets, and artifacts that it does not have."""
    document, spec = draft.document, declaration.spec
    for part in DECLARATIONS:
        *table, last = part.key
        if part.kind == "table":
            declared_keys = getattr(spec, part.field).model_fields_set
            paths = [(*part.key, key) for key in document.table_at(part.key) if key in declared_keys]
        else:
            is_said = part.kind == "key" and last in document.table_at(tuple(table)) and _is_said(spec, part)
            paths = [part.key] if is_said else []
        for path in paths:
            _report(draft, declaration, path)
    for name in draft.names("apis"):
        _report(draft, declaration, ("apis", name))
    declared = [artifact.name for artifact in spec.artifacts]
    for name in draft.names("artifacts"):
        if name not in declared:
            near = nearest(name, declared)
            message = f"The class declares no artifact {quoted(name)}."
            label = Label(declaration.location.file, declaration.location.span, "the class")
            help_ = f"Did you mean `{near}`?" if near else "Declare it with `@kappa.artifacts`."
            draft.diagnostics.add(
                "KF301", message, ("artifacts", name), at="key", help=help_, replacement=near, labels=[label]
            )
            continue
        for key in document.table_at(("artifacts", name)):
            if key not in _OWN_KEYS:
                _report(draft, declaration, ("artifacts", name, key), place_of=("artifacts", name, "type"))


def _is_said(spec: ServiceSpec, part: Part) -> bool:
    """Return whether a class says one key itself; its name is that of the service anyway."""
    field = ServiceSpec.model_fields[part.field]
    name = (spec.service_class or "").rpartition(":")[2].rpartition(".")[2]
    default = name if part.field == "name" else field.get_default(call_default_factory=True)
    return bool(getattr(spec, part.field) != default)


def _report(draft: Draft, declaration: Declaration, path: TreePath, *, place_of: TreePath | None = None) -> None:
    location: Location = declaration.places.get(place_of or path, declaration.location)
    message = f"`{path[-1]}` is set here and by the class."
    if path[0] == "apis":
        message = "A service that a class declares has no APIs here."
    draft.diagnostics.add(
        "KF401",
        message,
        path,
        at="key",
        labels=[Label(location.file, location.span, "set by the class")],
        help="Say it in one place: remove it here or there.",
    )


def combine(kappafile: Kappafile | None, declaration: Declaration, root: Path) -> ServiceSpec:
    """Return the service that both declare; the class's paths, relative to its module, become relative to ``root``."""
    spec = declaration.spec
    folder = declaration.location.file.parent
    if folder != root:
        spec = with_paths(spec, lambda path: Path(os.path.relpath(folder / path, root)).as_posix())
    values: dict[str, Any] = {name: getattr(spec, name) for name in ServiceSpec.model_fields}
    if kappafile is None:
        return ServiceSpec.model_validate(values)
    for part in DECLARATIONS:
        written, declared = part.in_kappafile(kappafile), values[part.field]
        if part.kind == "table":
            values[part.field] = type(written).model_validate({**_set_fields(declared), **_set_fields(written)})
        elif part.kind == "list":
            values[part.field] = (*declared, *written)
        elif part.kind == "key" and part.key[-1] in kappafile.service.model_fields_set and written is not None:
            values[part.field] = written
    return ServiceSpec.model_validate(values)


def _set_fields(table: Any) -> Mapping[str, Any]:
    return {key: getattr(table, key) for key in table.model_fields_set}
