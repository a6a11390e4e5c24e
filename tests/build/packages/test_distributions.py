"""What is installed here: which distribution brings a module, and what a distribution needs."""

from __future__ import annotations

import os
import sys
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

from kappa.build.packages.distributions import top_modules
from kappa.build.packages.installed import with_needs


def install(folder: Path, name: str, *files: str, top_level: str = "", needs: str = "") -> None:
    """Put the metadata of a distribution into a folder; its description looks like further fields."""
    info = folder / f"{name}-1.0.dist-info"
    info.mkdir(parents=True)
    requires = f"Requires-Dist: {needs}\n" if needs else ""
    text = f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n{requires}\nName: another\n"
    (info / "METADATA").write_text(text, encoding="utf-8")
    (info / "RECORD").write_text("".join(f"{file},sha256=x,1\n" for file in files), encoding="utf-8")
    if top_level:
        (info / "top_level.txt").write_text(top_level, encoding="utf-8")


def test_modules_are_those_that_a_distribution_names_or_else_has_installed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(tmp_path, "Declared-Name", "other.py", top_level="one\n_two\n")
    install(tmp_path, "pear", "pear/__init__.py", "pear/core/deep.py", "pear/data.pyi", "lone.py", '"with,comma.py"')
    install(tmp_path, "apple", "pear/apple.py", "apple-1.0.dist-info/METADATA", "../../bin/apple")
    monkeypatch.setattr(sys, "path", [str(tmp_path)])
    found = {module: sorted(names) for module, names in top_modules().items() if module.isidentifier()}
    assert found == {
        "one": ["Declared-Name"],
        "_two": ["Declared-Name"],
        "pear": ["apple", "pear"],
        "lone": ["pear"],
    }


@pytest.mark.skipif(sys.version_info[:2] != (3, 11), reason="other versions infer less, or extension modules too")
def test_modules_are_those_that_python_itself_tells() -> None:
    expected = {module: sorted(set(names)) for module, names in packages_distributions().items()}
    assert {module: sorted(set(names)) for module, names in top_modules().items()} == expected


def test_what_is_installed_meanwhile_is_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install(tmp_path, "pear", "pear.py", needs="apple>=1")
    monkeypatch.setattr(sys, "path", [str(tmp_path)])
    assert (with_needs(["pear"]), "apple" in top_modules()) == ({"pear", "apple"}, False)
    install(tmp_path, "apple", "apple.py", needs="plum")
    os.utime(tmp_path, (1, 1))  # another time than before, however coarse the clock of the file system is
    assert (with_needs(["pear"]), "apple" in top_modules()) == ({"pear", "apple", "plum"}, True)
