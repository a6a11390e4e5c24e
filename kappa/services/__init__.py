"""A service in this process: from any source, a class, a project, a bundle, to answers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kappa._facade import lazy_names

if TYPE_CHECKING:  # what `__getattr__` below resolves, for editors and type checkers
    from kappa.services.bundle import Bundle as Bundle
    from kappa.services.bundle import open_bundle as open_bundle
    from kappa.services.comparison import replay_lines as replay_lines
    from kappa.services.inference import Inference as Inference
    from kappa.services.inference import extensions_of as extensions_of
    from kappa.services.openapi import openapi_document as openapi_document
    from kappa.services.sample_requests import arguments_for_run as arguments_for_run
    from kappa.services.service import LoadedService as LoadedService
    from kappa.services.service import answering as answering
    from kappa.services.service import load_service as load_service
    from kappa.services.source import UNBUILT as UNBUILT
    from kappa.services.source import ServiceSource as ServiceSource

_HOMES = {
    "Bundle": "kappa.services.bundle",
    "Inference": "kappa.services.inference",
    "LoadedService": "kappa.services.service",
    "ServiceSource": "kappa.services.source",
    "UNBUILT": "kappa.services.source",
    "answering": "kappa.services.service",
    "arguments_for_run": "kappa.services.sample_requests",
    "extensions_of": "kappa.services.inference",
    "load_service": "kappa.services.service",
    "open_bundle": "kappa.services.bundle",
    "openapi_document": "kappa.services.openapi",
    "replay_lines": "kappa.services.comparison",
}

__all__ = [
    "UNBUILT",
    "Bundle",
    "Inference",
    "LoadedService",
    "ServiceSource",
    "answering",
    "arguments_for_run",
    "extensions_of",
    "load_service",
    "open_bundle",
    "openapi_document",
    "replay_lines",
]

__getattr__, __dir__ = lazy_names(__name__, _HOMES)
