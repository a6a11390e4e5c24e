"""A bundle as clients see it: the record of `kappa get NAME:VERSION`, and of the server's `/metadata`."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from kappa.spec.conda import environment_text
from kappa.spec.contracts import thaw
from kappa.spec.manifest import BundleManifest
from kappa.spec.service import ApiSpec, ServiceSpec

__all__ = ["bundle_view", "metadata_view", "service_view"]

_DOCS = "BentoService API"
"""The description of an API that has none of its own."""


def bundle_view(metadata: Mapping[str, Any], *, uri: str, uri_type: str = "LOCAL") -> dict[str, Any]:
    """Return the whole record of a bundle kept at ``uri``, of which ``metadata`` is the `metadata_view`."""
    return {
        "name": metadata["name"],
        "version": metadata["version"],
        "uri": {"type": uri_type, "uri": uri},
        "bentoServiceMetadata": dict(metadata),
    }


def metadata_view(manifest: BundleManifest) -> dict[str, Any]:
    """Return what a service says of itself, wherever it is kept or served; plain values, numbers stay numbers."""
    env = manifest.env
    return {
        "name": manifest.name,
        "version": manifest.version,
        "createdAt": manifest.created_at,
        "env": {
            "condaEnv": env.conda_environment or _environment_without_packages(manifest.name, env.python_version),
            "pipDependencies": "\n".join(env.requirements),
            "pythonVersion": env.built_with_python or env.python_version,
            "dockerBaseImage": env.docker_base_image,
            "setupSh": manifest.service.env.setup_sh,
            "systemPackages": list(manifest.service.env.system_packages),
            "resolver": env.resolver,
            "unlocked": env.unlocked,
        },
        **service_view(
            manifest.service,
            metadata={artifact.name: artifact.metadata for artifact in manifest.artifacts},
            labels=manifest.labels,
        ),
    }


@lru_cache(maxsize=64)
def _environment_without_packages(name: str, python_version: str) -> str:
    """Return the conda environment of a service; PERF: writing it takes 1 ms, and a store has many of one service."""
    return environment_text(name, python=python_version)


def service_view(
    spec: ServiceSpec, *, metadata: Mapping[str, Mapping[str, Any]], labels: Mapping[str, str]
) -> dict[str, Any]:
    """Return what is known of a service before it is built; ``metadata`` is that of its artifacts, by name."""
    return {
        "artifacts": [
            {
                "name": artifact.name,
                "artifactType": artifact.class_name,
                "metadata": thaw(metadata.get(artifact.name, {})),
            }
            for artifact in spec.artifacts
        ],
        "apis": [_api_view(api) for api in spec.apis],
        "labels": thaw(labels),
    }


def _api_view(api: ApiSpec) -> dict[str, Any]:
    return {
        "name": api.name,
        "InputType": api.input.class_name,
        "outputType": api.output.class_name,
        "docs": api.doc or _DOCS,
        "inputConfig": api.input.config,
        "outputConfig": api.output.config,
        "batch": api.batch,
        "route": api.path,
        "maxBatchSize": api.max_batch_size,
        "maxLatencyMs": api.max_latency_ms,
    }
