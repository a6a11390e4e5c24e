"""Code that is loaded from its source."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from kappa.services import source_code


def test_a_folder_is_taken_while_other_threads_import(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    is_covered = source_code._is_covered
    inside, outside = str(tmp_path / "inside"), str(tmp_path.parent / "outside")
    monkeypatch.setattr(sys, "path_importer_cache", {inside: None, outside: None})
    monkeypatch.setattr(sys, "path_hooks", list(sys.path_hooks))
    monkeypatch.setattr(source_code, "_folders", set())

    def covered(entry: str) -> bool:
        sys.path_importer_cache[f"{entry}.of-another-thread"] = None
        return is_covered(entry)

    monkeypatch.setattr(source_code, "_is_covered", covered)
    source_code.import_from_source(tmp_path)
    assert inside not in sys.path_importer_cache
    assert outside in sys.path_importer_cache
