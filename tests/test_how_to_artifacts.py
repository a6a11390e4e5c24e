"""The how-to about artifact types is true: its files make a project, whose commands print what stands there."""

from __future__ import annotations

import re
import shlex
import sys
from pathlib import Path

import numpy as np
import pytest

from kappa.testing.artifacts import ArtifactSuite
from tests.test_how_to_adapters import BLOCK, HOW_TO, run

PAGE = (HOW_TO / "write-an-artifact.md").read_text(encoding="utf-8")
HEAD = 'kappafile = 1\n[service]\nname = "HowTo"\n'
SUITE = [name for name in vars(ArtifactSuite) if name.startswith("test_")]


@pytest.fixture
def acme(tmp_path: Path) -> Path:
    """Make the project of the page, and what `pip install` would leave of its distribution."""
    texts = BLOCK.findall(PAGE)
    for language, text in texts:
        if language == "python":
            with (tmp_path / text.partition("\n")[0].removeprefix("# ")).open("a", encoding="utf-8") as file:
                file.write(text + "\n\n")
    kappafile = next(text for language, text in texts if language == "toml" and text.startswith("[artifacts"))
    (tmp_path / "kappafile.toml").write_text(HEAD + kappafile, encoding="utf-8")
    np.savez(tmp_path / "vectors.npz", iris=np.array([0.5, 1.0]))
    info = tmp_path / "acme_words-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: acme-words\nVersion: 1.0\n")
    declared = PAGE.partition("[project.entry-points.")[2].partition("```")[0]
    (info / "entry_points.txt").write_text("[kappa.artifacts]\n" + declared.partition("\n")[2].replace('"', ""))
    return tmp_path


def test_the_types_of_the_page_pass_the_suite(acme: Path) -> None:
    done = run(sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "test_acme_words.py", folder=acme)
    assert re.search(rf"^{2 * len(SUITE) + 2 * PLUGIN_TESTS} passed", done.stdout, re.MULTILINE), done.stdout


PLUGIN_TESTS = len([name for name in dir(ArtifactSuite) if name.startswith("test_")]) - len(SUITE)
"""The tests that the suite shares with those of other plugins."""


@pytest.mark.parametrize("kind", ["acme_words:VectorsArtifact", "acme.vectors"], ids=["project", "distribution"])
def test_a_kappafile_uses_the_type_as_the_page_shows(kind: str, acme: Path) -> None:
    kappafile = acme / "kappafile.toml"
    kappafile.write_text(kappafile.read_text().replace("acme_words:VectorsArtifact", kind))
    command, answer = dict(BLOCK.findall(PAGE))["console"].strip().removeprefix("$ ").split("\n")
    done = run(*shlex.split(command), folder=acme)
    assert (done.stdout.strip(), done.stderr) == (answer, "")
    assert run("kappa", "validate", folder=acme).returncode == 0


def test_an_installed_type_can_be_begun_with(acme: Path) -> None:
    (acme / "kappafile.toml").unlink()
    done = run("kappa", "init", "vectors.npz", "--type", "acme.vectors", folder=acme)
    assert done.returncode == 0, done.stderr
    assert 'type = "acme.vectors"\npath = "vectors.npz"' in (acme / "kappafile.toml").read_text()


def test_the_first_type_takes_fifteen_lines() -> None:
    text = next(text for language, text in BLOCK.findall(PAGE) if language == "python")
    body = text.partition("class VectorsArtifact")[2].partition("\n\n\n")[0].partition('"""\n')[2]
    assert len([line for line in body.splitlines() if line]) <= 15
