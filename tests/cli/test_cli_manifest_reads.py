"""`kappa.yml` is parsed once in a process, whatever the process does with the bundle: the parser manages 0.1 MB/s."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from ruamel.yaml import YAML

from kappa.cli.bundle import command as bundle_command
from tests.eventually import eventually

Kappa = Callable[..., Result]

SERVE = """
import os, sys
from ruamel.yaml import YAML

log, *arguments = sys.argv[1:]
load = YAML.load

def counted(self, stream):
    with open(log, "a") as file:
        file.write(f"{os.getpid()} ")
    return load(self, stream)

YAML.load = counted
sys.argv[1:] = arguments
from kappa.cli.main import main
main()
"""
"""Runs `kappa` with a file that takes the id of the process for each text of YAML that is parsed."""


@pytest.fixture
def parses(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return the growing list of the texts of YAML that are parsed in this process."""
    texts: list[str] = []
    load = YAML.load

    def counted(self: YAML, stream: str) -> Any:
        texts.append(stream)
        return load(self, stream)

    monkeypatch.setattr(YAML, "load", counted)
    return texts


@pytest.mark.parametrize(
    "arguments",
    [
        ["run", "Scaler:latest", "scale", "--input", "2"],
        ["test", "Scaler:latest"],
        ["open-api-spec", "Scaler:latest"],
        ["info", "Scaler:latest"],
        ["verify", "Scaler:1.0"],
    ],
    ids=lambda arguments: arguments[0],
)
def test_a_command_parses_a_manifest_once(kappa: Kappa, bundle: Path, parses: list[str], arguments: list[str]) -> None:
    kappa("list")  # until then the store's database knows nothing of a bundle that was put there by hand
    parses.clear()
    assert kappa(*arguments).exit_code == 0
    assert len(parses) == 1


def test_what_the_store_knows_is_shown_without_the_manifest(kappa: Kappa, bundle: Path, parses: list[str]) -> None:
    kappa("list")
    parses.clear()
    assert kappa("get", "Scaler:1.0").exit_code == 0
    assert parses == []


def test_the_own_command_of_a_bundle_parses_its_manifest_once(bundle: Path, parses: list[str]) -> None:
    group = bundle_command(bundle / "Scaler")
    result = CliRunner().invoke(group, ["run", "scale", "--input", "2"])
    assert (result.stdout, len(parses)) == ("21\n", 1)


def test_a_build_parses_no_manifest(kappa: Kappa, lockable: Path, parses: list[str], tmp_path: Path) -> None:
    assert kappa("build").exit_code == 0
    assert kappa("build", "--output", tmp_path / "bundle").exit_code == 0
    assert parses == []


@pytest.mark.engine
@pytest.mark.skipif(sys.platform == "win32", reason="gunicorn does not run on Windows")
def test_a_server_parses_a_manifest_once_and_once_more_in_each_process_that_reloads(
    bundle: Path, make_bundle: Callable[..., Path], tmp_path: Path
) -> None:
    def counts() -> list[int]:
        return sorted(Counter((tmp_path / "parses").read_text().split()).values())

    arguments = ["serve-gunicorn", str(bundle), "--host", "127.0.0.1", "--port", "0", "--workers", "2"]
    server = subprocess.Popen(
        [sys.executable, "-c", SERVE, str(tmp_path / "parses"), *arguments], stderr=subprocess.PIPE
    )
    assert server.stderr is not None
    os.set_blocking(server.stderr.fileno(), False)
    said: list[bytes] = []

    def says(word: bytes, *, times: int = 1) -> bool:
        assert server.poll() is None, b"".join(said)
        said.append(server.stderr.read() or b"")  # type: ignore[union-attr]
        return b"".join(said).count(word) >= times

    try:
        eventually(lambda: says(b"Ready", times=2))
        assert counts() == [1]
        server.send_signal(signal.SIGHUP)
        eventually(lambda: says(b"Reloaded"))
        assert counts() == [1, 1, 2]
        server.terminate()
        assert server.wait(60) == 0
    finally:
        server.kill()
        server.wait()
        server.stderr.close()
