"""Generated files are committed, and are what the code says today."""

from __future__ import annotations

import runpy
from pathlib import Path

ROOT = Path(__file__).parents[1]


def test_reference_pages_are_what_the_code_says() -> None:
    pages: dict[Path, str] = runpy.run_path(str(ROOT / "docs" / "generate.py"))["pages"]()
    stale = [
        path.relative_to(ROOT).as_posix()
        for path, text in pages.items()
        if not path.is_file() or path.read_text(encoding="utf-8") != text
    ]
    assert stale == [], "run `make generate`"
