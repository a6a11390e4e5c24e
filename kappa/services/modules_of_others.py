"""The modules of other distributions that Kappa imports, some of them long after a service's code was loaded.

A module of the service's own with such a name must not be found in their place, nor they in its.
"""

from __future__ import annotations

import sys
from collections.abc import Collection
from importlib.machinery import PathFinder
from pathlib import Path

__all__ = ["MODULES_OF_OTHERS", "is_needed_from_elsewhere", "is_regular", "regular_modules"]

MODULES_OF_OTHERS = frozenset(
    {
        *("PIL", "alembic", "annotated_types", "anyio", "catboost", "certifi", "charset_normalizer", "click"),
        *("cloudpickle", "dateutil", "docker", "falcon", "filelock", "fsspec", "greenlet", "gunicorn", "h11"),
        *("h2o", "httpcore", "httpx", "huggingface_hub", "idna", "jinja2", "joblib", "lightgbm", "mako"),
        *("markdown_it", "markupsafe", "mdurl", "mlflow", "mpmath", "networkx", "numpy", "onnxruntime"),
        *("orjson", "packaging", "pandas", "polars", "prometheus_client", "pyarrow", "pydantic"),
        *("pydantic_core", "pygments", "pyspark", "pytz", "regex", "requests", "rich", "ruamel", "safetensors"),
        *("scipy", "six", "sklearn", "skops", "sniffio", "sqlalchemy", "sympy", "tensorflow", "threadpoolctl"),
        *("tinydb", "tokenizers", "tomli", "torch", "tqdm", "transformers", "tree_sitter", "tree_sitter_toml"),
        *("typing_extensions", "typing_inspection", "tzdata", "urllib3", "uvicorn", "uvloop", "xgboost"),
        *("boto3", "botocore", "google", "grpc", "grpc_health", "grpc_reflection", "h5py", "jmespath", "keras"),
        *("obstore", "s3transfer", "spacy", "yaml"),
    }
)
"""Top-level names: of what Kappa imports, and of what that needs in turn."""


def is_needed_from_elsewhere(name: str, roots: Collection[Path]) -> bool:
    """Return whether Kappa may import a module of this name that lies in none of ``roots``."""
    return name in MODULES_OF_OTHERS and _is_elsewhere(name, roots)


def is_regular(name: str, roots: Collection[Path]) -> bool:
    """Return whether ``roots`` have a module of a name that is more than a folder without ``__init__.py``."""
    spec = PathFinder.find_spec(name, [str(root) for root in roots])
    return spec is not None and spec.origin is not None


def regular_modules(names: Collection[str], roots: Collection[Path]) -> frozenset[str]:
    """Leave out the folders without ``__init__.py`` that Python passes over for a module elsewhere."""
    return frozenset(name for name in names if is_regular(name, roots) or not _is_elsewhere(name, roots))


def _is_elsewhere(name: str, roots: Collection[Path]) -> bool:
    resolved_roots = {root.resolve() for root in roots}
    return (
        PathFinder.find_spec(name, [entry for entry in sys.path if Path(entry).resolve() not in resolved_roots])
        is not None
    )
