"""A service in this process: from any source, a class, a project, a bundle, to answers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kappa._facade import lazy_names

if TYPE_CHECKING:  # what `__getattr__` below resolves, for editors and type checkers
    from kappa.services.comparison import replay_lines as replay_lines
    from kappa.services.inference import Inference as Inference
    from kappa.services.inference import extensions_of as extensions_of
    from kappa.services.sample_requests import arguments_for_run as arguments_for_run

_HOMES = {
    "Inference": "kappa.services.inference",
    "arguments_for_run": "kappa.services.sample_requests",
    "extensions_of": "kappa.services.inference",
    "replay_lines": "kappa.services.comparison",
}

__all__ = [
    "Inference",
    "arguments_for_run",
    "extensions_of",
    "replay_lines",
]

__getattr__, __dir__ = lazy_names(__name__, _HOMES)
