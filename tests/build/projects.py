"""Small projects, written where a test wants them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

__all__ = ["INFERRING", "KAPPAFILE", "PREDICT", "write"]

KAPPAFILE = (
    'kappafile = 1\n[service]\nname = "Service"\n[apis.predict]\nfunction = "handlers:predict"\ninput = "json"\n'
)
INFERRING = f"{KAPPAFILE}[env]\ninfer_pip_packages = true\n"
"""The same, with the packages that its code imports."""
PREDICT = "def predict(value):\n    return value\n"


def write(root: Path, files: Mapping[str, str]) -> Path:
    """Write files below a folder, and return that."""
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return root
