"""Scorer 1.2.20231114221320_430DD8, written by Kappa 0.1.0: `load()` gives the service, `cli()` is its command."""

import importlib
import sys
from pathlib import Path

__all__ = ["__version__", "cli", "load"]

__version__ = '1.2.20231114221320_430DD8'

_PACKAGE = Path(__file__).resolve().parent
_KAPPA = '0.1.0'
_WHEEL = str(_PACKAGE / "_kappa" / 'kappa_ml-0.1.0-py3-none-any.whl')


def load():
    """Return the service with its models loaded; each API is one of its methods."""
    return importlib.import_module("kappa.bundle").load(_PACKAGE)


def cli():
    """Run the command of this bundle, as `Scorer --help` describes it."""
    importlib.import_module("kappa.cli.bundle").command(_PACKAGE)()


def _line_of(version):
    """Return the part of a version within which Kappa stays compatible: 0.1 of 0.1.5, 2 of 2.3.0."""
    parts = version.split(".")
    return parts[:2] if parts[0] == "0" else parts[:1]


def _find_kappa():
    """Make `import kappa` find a Kappa of the version line that built this bundle: else the one that it carries."""
    if "kappa" in sys.modules:
        return  # the program, or another bundle, has one already; a newer Kappa reads older bundles
    try:
        found = getattr(importlib.import_module("kappa"), "__version__", "")
    except ImportError:
        sys.path.append(_WHEEL)
        return
    if _line_of(found) != _line_of(_KAPPA):
        for module in [name for name in sys.modules if name.partition(".")[0] == "kappa"]:
            del sys.modules[module]
        sys.path.insert(0, _WHEEL)


_find_kappa()
