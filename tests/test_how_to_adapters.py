"""The how-tos about adapters are true: their files make a project, whose commands print what stands there."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner

import kappa.testing
from kappa.cli.main import cli

HOW_TO = Path(__file__).parents[1] / "docs" / "how-to"
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)

Run = Callable[..., "subprocess.CompletedProcess[str]"]


def make_project(page: str, folder: Path, *, head: str = 'kappafile = 1\n[service]\nname = "HowTo"\n') -> None:
    """Write the files of a page: Python under the names in their first lines, one after the other, and a kappafile."""
    tables = [head]
    for language, text in BLOCK.findall((HOW_TO / page).read_text(encoding="utf-8")):
        if language == "python":
            name = text.partition("\n")[0].removeprefix("# ")
            with (folder / name).open("a", encoding="utf-8") as file:
                file.write(text + "\n\n")
        elif language == "toml" and text.startswith("[apis"):
            tables.append(text)
    (folder / "kappafile.toml").write_text("\n".join(tables), encoding="utf-8")


def run(*arguments: str, folder: Path) -> subprocess.CompletedProcess[str]:
    environ = {**os.environ, "PYTHONPATH": str(folder), "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    return subprocess.run(arguments, cwd=folder, env=environ, capture_output=True, text=True, check=False)


def test_inputs_are_validated_as_the_page_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_project("validate-inputs.md", tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    for language, text in BLOCK.findall((HOW_TO / "validate-inputs.md").read_text(encoding="utf-8")):
        for shown in re.split(r"^\$ ", text, flags=re.MULTILINE)[1:] if language == "console" else ():
            command, _, expected = shown.partition("\n")
            done = CliRunner().invoke(cli, shlex.split(command)[1:], prog_name="kappa")
            assert done.stdout + done.stderr == expected, command
    sys.modules.pop("checks")


def test_answers_are_what_the_page_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    apis = "".join(
        f'[apis.{name}]\nfunction = "answers:{name}"\ninput = "json"\nbatch = {str(name == "lengths").lower()}\n'
        for name in ("reserve", "lengths", "describe")
    )
    make_project("control-the-answer.md", tmp_path, head=f'kappafile = 1\n[service]\nname = "HowTo"\n{apis}')
    monkeypatch.setattr(sys, "path", list(sys.path))
    with kappa.testing.client(tmp_path) as client:
        reserved = client.post("/reserve", json={"item": "tea", "count": 2})
        assert (reserved.status_code, reserved.json) == (201, {"item": "tea", "reserved": 2})
        assert reserved.headers["location"] == "/orders/tea"
        refused = client.post("/reserve", json={"item": "tea", "count": 101})
        assert (refused.status_code, refused.json["error"]) == (409, "We do not have that many.")
        assert client.post("/lengths", json="four").json == 4
        assert client.post("/lengths", json=4).status_code == 422
        page = client.post("/describe", json=5, headers={"Accept": "text/html"})
        assert (page.headers["content-type"], page.text) == ("text/html; charset=utf-8", "<p>5</p>")
        assert client.post("/describe", json=5).json == {"value": 5}
        report = client.post("/report", json=[1, 2])
        assert (report.headers["content-type"], report.text) == ("text/csv", "1\n2\n")
        assert report.headers["content-disposition"] == "attachment; filename*=UTF-8''report.csv"
    sys.modules.pop("answers")


@pytest.fixture
def acme(tmp_path: Path) -> Path:
    """Make the project of `write-an-adapter.md`, and what `pip install` would leave of its distribution."""
    make_project("write-an-adapter.md", tmp_path)
    (tmp_path / "handlers.py").write_text("def lengths(lines):\n    return [len(line) for line in lines]\n")
    page = (HOW_TO / "write-an-adapter.md").read_text(encoding="utf-8")
    declared = re.findall(r'\[project\.entry-points\."(.*?)"\]\n"(.*?)" = "(.*?)"', page)
    info = tmp_path / "acme_kappa-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: acme-kappa\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(
        "".join(f"[{group}]\n{name} = {target}\n" for group, name, target in declared)
    )
    return tmp_path


def test_the_adapter_of_the_page_passes_its_tests(acme: Path) -> None:
    done = run(sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "test_acme_kappa.py", folder=acme)
    assert done.returncode == 0, done.stdout
    assert re.search(r"^\d+ passed", done.stdout, re.MULTILINE)


def test_a_kappafile_uses_the_adapter_of_the_page(acme: Path) -> None:
    done = run("kappa", "run", ".", "lengths", "--input", "one\nthree", folder=acme)
    assert (done.stdout, done.stderr) == ("3\n5\n\n", "")
    assert run("kappa", "run", ".", "sizes", "--input", "one\nthree", folder=acme).stdout == done.stdout
    assert run("kappa", "validate", folder=acme).returncode == 0
    kappafile = acme / "kappafile.toml"
    kappafile.write_text(kappafile.read_text().replace('"acme.lines", most', '"acme.lines", mst'))
    done = run("kappa", "validate", folder=acme)
    assert "`mst` is not a key of `[apis.lengths.input]`" in done.stdout + done.stderr
    schema = json.loads(run("kappa", "schema", "kappafile", folder=acme).stdout)
    assert "most" in schema["$defs"]["input.acme.lines"]["properties"]
