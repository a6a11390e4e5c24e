"""Arrays in and out, as NumPy's."""

from __future__ import annotations

import io
from collections.abc import Iterable
from typing import Any, Literal

from kappa.adapters.arrays import ArrayInput
from kappa.adapters.json import encode_json
from kappa.adapters.json_values import json_rows
from kappa.adapters.media_types import NPY
from kappa.adapters.negotiation import preferred
from kappa.errors import InferenceFailedError
from kappa.spec.contracts import OutputAdapter
from kappa.types import Answer

__all__ = ["NdarrayInput", "NdarrayOutput"]


class NdarrayInput(ArrayInput):
    """Rows of an array, as nested JSON arrays or as the `.npy` that `numpy.save` writes; functions receive a
    `numpy.ndarray`, batch functions one with the rows of the whole batch."""

    type: Literal["ndarray"] = "ndarray"


class NdarrayOutput(OutputAdapter):
    """An array, or what makes one, as nested JSON arrays; as `.npy` for clients that accept that rather."""

    type: Literal["ndarray"] = "ndarray"

    def requires(self) -> tuple[str, ...]:
        return ("numpy",)

    def prepare(self, value: Any, *, accepts: Iterable[str] = ()) -> Any:
        return value if any(preferred(accept, _FORMS) == NPY for accept in accepts) else json_rows(value)

    def encode(self, value: Any, *, accept: str = "") -> Answer:
        if preferred(accept, _FORMS) == NPY:
            return Answer(_npy(value), NPY)
        return Answer(encode_json(value))

    def response_content(self) -> dict[str, Any]:
        return {"application/json": {"schema": {}}, NPY: {"schema": {}}}


_FORMS = ("application/json", NPY)


def _npy(value: Any) -> bytes:
    import numpy as np

    buffer = io.BytesIO()
    try:
        np.save(buffer, np.asarray(value), allow_pickle=False)
    except ValueError as exc:
        raise InferenceFailedError(f"A `{type(value).__name__}` does not make an array of one kind: {exc}.") from exc
    return buffer.getvalue()
