"""Tells what a class declares, by importing it: run in a process of its own, ``python -m kappa.build.code.describe``.

The answer goes to a file, because the user's code may print.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from kappa.errors import KappaError
from kappa.services.declared import DeclaredService
from kappa.services.declaring import declared_spec
from kappa.services.loading import code_of_project, import_reference, loading
from kappa.spec.declarations import DECLARATIONS

__all__ = ["describe", "main"]


@loading()
def describe(reference: str, root: Path, paths: Sequence[str] = ()) -> dict[str, Any]:
    """Return the specification of a class as JSON, and which keys of its tables are set; or the problem."""
    try:
        declaring = import_reference(reference, code_of_project(root, paths))
        if not (isinstance(declaring, type) and issubclass(declaring, DeclaredService)):
            return {"problem": f"`{reference}` is not a `kappa.BentoService`."}
        spec = declared_spec(declaring)
    except KappaError as exc:
        return {"problem": str(exc)}
    tables = [part.field for part in DECLARATIONS if part.kind == "table"]
    set_keys = {table: sorted(getattr(spec, table).model_fields_set) for table in tables}
    return {"spec": spec.model_dump(mode="json", by_alias=True), "given": set_keys}


def main() -> None:
    reference, root, answer, *paths = sys.argv[1:]
    Path(answer).write_text(json.dumps(describe(reference, Path(root), paths)), encoding="utf-8")


if __name__ == "__main__":
    main()
