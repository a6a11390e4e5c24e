"""Any Python object, kept as cloudpickle writes it: with the code of what no module has."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any, ClassVar, Literal

from kappa.errors import optional_import
from kappa.frameworks.pickled import PickledArtifact
from kappa.inspection.pickles import needs_of_object
from kappa.spec.contracts import ModelNeeds

__all__ = ["CloudpickleArtifact"]


class CloudpickleArtifact(PickledArtifact):
    """Any object that `cloudpickle` writes: functions and classes of a script or a notebook come with their code.

    It runs on the Python version alone that wrote it.
    """

    filename: ClassVar[str] = "object.pkl"
    written_by: ClassVar[str] = "`cloudpickle.dump`"

    type: Literal["cloudpickle"] = "cloudpickle"

    def requires(self) -> tuple[str, ...]:
        return ("cloudpickle",)

    def save(self, model: Any, directory: Path) -> None:
        with (directory / self.filename).open("wb") as file:
            _cloudpickle().dump(model, file, protocol=5)

    def load(self, directory: Path) -> Any:
        _cloudpickle()
        with (directory / self.filename).open("rb") as file:
            return pickle.load(file)  # noqa: S301 - the manifest's `security.pickle` has decided

    def needs_of_model(self, model: Any) -> ModelNeeds:
        return needs_of_object(model, dumps=_cloudpickle().dumps)


def _cloudpickle() -> Any:
    with optional_import("cloudpickle", needed_for="the artifact type `cloudpickle`"):
        import cloudpickle
    return cloudpickle
