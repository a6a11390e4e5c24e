"""What the README and the pages show is true: their commands run, and print what stands below them."""

from __future__ import annotations

import contextlib
import os
import pickle
import re
import shutil
import signal
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import tomli

from kappa.build.project import read_project
from tests.eventually import eventually

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
TOURS = {
    "README": (ROOT / "README.md", "iris"),
    "tutorial": (ROOT / "docs" / "tutorial" / "five-minutes.md", "zero_code"),
}
"""Pages that lead through an example, and the folder that their reader is in."""
BLOCK = re.compile(r"^```(?P<language>\w+)\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\]\((?P<target>[^)#\s]+)(?:#[^)]*)?\)")

HANDLERS = "def setup():\n    return {'session': None}\n\n\ndef predict(rows, session):\n    return rows\n"
"""What the kappafiles of pages name beside the models."""

VARYING = {
    r"Ran on Python [\d.]+ with pandas [\d.]+, scikit-learn [\d.]+\.": "Ran on VERSIONS",
    r"\d{14}_[0-9A-F]{6}": "VERSION",
    r"\S*/kappa/repository": "HOME",
    r"\d{4}-\d\d-\d\d \d\d:\d\d": "TIME",
    r"\b\d+ seconds?\b": "AGE",
    r'"request_id":"[^"]+"': '"request_id":"ID"',
    r" {2,}": "  ",
    r"Resolving \d+ requirements": "Resolving some requirements",
}
"""What differs between two runs of one command."""


@dataclass(frozen=True)
class Shown:
    """A command with what a page shows below it."""

    command: str
    output: str


def blocks(page: Path, language: str) -> list[str]:
    text = page.read_text(encoding="utf-8")
    return [match["text"] for match in BLOCK.finditer(text) if match["language"] == language]


def shown_commands(page: Path) -> list[Shown]:
    """Return the commands of a page's `console` blocks in order; those begin with a dollar sign."""
    found = []
    for block in blocks(page, "console"):
        for part in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
            command, _, output = part.partition("\n")
            found.append(Shown(command, output))
    return found


def normalised(text: str) -> str:
    for pattern, word in VARYING.items():
        text = re.sub(pattern, word, text)
    return text.strip()


def is_cheap(shown: Shown) -> bool:
    """Return whether a command needs neither a build nor what one leaves."""
    return shown.command.startswith(("python train.py", "kappa validate", "kappa test"))


@contextlib.contextmanager
def shell(example: str, folder: Path) -> Iterator[Shell]:
    """Yield a place like that of a reader who has changed to the folder of an example."""
    project = folder / example
    shutil.copytree(ROOT / "examples" / example, project, ignore=shutil.ignore_patterns("*.joblib", "__pycache__"))
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    opened = Shell(project, port, environment, [])
    try:
        yield opened
    finally:
        for server in opened.servers:
            server.send_signal(signal.SIGTERM)
        for server in opened.servers:
            server.wait(30)


@dataclass
class Shell:
    folder: Path
    port: int
    environment: dict[str, str]
    servers: list[subprocess.Popen[bytes]]

    def run(self, command: str) -> str:
        """Run a command and return all it printed; one that ends with `&` is a server, and is waited for."""
        command = command.replace("5000", str(self.port))
        if command.endswith("&"):
            self.servers.append(subprocess.Popen(command.rstrip("& ").split(), cwd=self.folder, env=self.environment))
            self.wait_until_ready()
            return ""
        finished = subprocess.run(
            ["bash", "-c", command],
            cwd=self.folder,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        assert finished.returncode == 0, f"{command}\n{finished.stdout}"
        return finished.stdout

    def wait_until_ready(self) -> None:
        def is_ready() -> bool:
            assert self.servers[-1].poll() is None, "the server has ended"
            urllib.request.urlopen(f"http://127.0.0.1:{self.port}/readyz").close()
            return True

        eventually(is_ready)


@pytest.mark.parametrize("tour", TOURS)
def test_what_a_tour_shows_before_the_build_is_what_happens(tour: str, tmp_path: Path) -> None:
    page, example = TOURS[tour]
    cheap = [shown for shown in shown_commands(page) if is_cheap(shown)]
    assert len(cheap) >= 3
    with shell(example, tmp_path) as opened:
        for shown in cheap:
            assert normalised(opened.run(shown.command)) == normalised(shown.output)


@pytest.mark.index
@pytest.mark.engine
@pytest.mark.parametrize("tour", TOURS)
def test_what_a_tour_shows_is_what_happens(tour: str, tmp_path: Path) -> None:
    page, example = TOURS[tour]
    with shell(example, tmp_path) as opened:
        for shown in shown_commands(page):
            assert normalised(opened.run(shown.command)) == normalised(shown.output)


def test_code_of_the_readme_is_that_of_the_example() -> None:
    (code,) = blocks(ROOT / "README.md", "python")
    source = (ROOT / "examples" / "iris" / "iris_classifier.py").read_text(encoding="utf-8")
    without_head = source[source.index("import kappa") :].replace('\n__all__ = ["IrisClassifier"]\n', "")
    assert code == without_head


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_links_between_pages_lead_somewhere(page: Path) -> None:
    targets = [match["target"] for match in LINK.finditer(page.read_text(encoding="utf-8"))]
    local = [target for target in targets if not target.startswith(("http://", "https://"))]
    assert [target for target in local if not (page.parent / target).exists()] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_no_page_holds_what_a_merge_could_not_settle(page: Path) -> None:
    lines = page.read_text(encoding="utf-8").splitlines()
    assert [line for line in lines if line.startswith(("<<<<<<< ", ">>>>>>> "))] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_snippets_are_valid(page: Path) -> None:
    for code in blocks(page, "python"):
        compile(code, str(page), "exec")
    if "reference" not in page.parts:  # its pages also show what is wrong, and have tests of their own
        for text in blocks(page, "toml"):
            tomli.loads(text)


def test_whole_kappafiles_of_the_pages_have_no_problems(tmp_path: Path) -> None:
    whole = [
        text
        for page in PAGES
        if "reference" not in page.parts
        for text in blocks(page, "toml")
        if text.startswith("kappafile = 1")
    ]
    assert whole
    for number, text in enumerate(whole):
        folder = tmp_path / str(number)
        shutil.copytree(ROOT / "examples" / "iris", folder)
        (folder / "model.joblib").write_bytes(pickle.dumps("any model"))
        (folder / "digits.onnx").touch()
        (folder / "handlers.py").write_text(HANDLERS, encoding="utf-8")
        (folder / "kappafile.toml").write_text(text, encoding="utf-8")
        read_project(folder)
