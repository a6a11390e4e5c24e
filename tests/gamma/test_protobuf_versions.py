"""The wire code runs with each version of protobuf, and beside packages that bring generated code of their own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
NEEDED = ("falcon", "h11", "httpx", "prometheus-client", "pydantic", "ruamel.yaml", "uvicorn")
GRPC = ("grpcio", "grpcio-health-checking", "grpcio-reflection")
EXCHANGE = """
import sys
{first}
from kappa.tag import BundleReference
from tests.gamma.canned import CONTENT, DIGEST, RECORD, TAG, CannedRegistry
from tests.gamma.servers import serving

with serving(CannedRegistry()) as served, served.client("grpc") as client:
    assert client.resolve(BundleReference("Iris")) == RECORD
    assert b"".join(client.read_blob(TAG, DIGEST)) == CONTENT
    assert client.write_blob("session-1", DIGEST, 0, [CONTENT]) == len(CONTENT)
{last}
import google.protobuf
print(google.protobuf.__version__)
"""
FOREIGN = "import tritonclient.grpc, tritonclient.grpc.service_pb2"


@pytest.mark.index
@pytest.mark.engine
@pytest.mark.parametrize(
    ("requirements", "version", "first", "last"),
    [
        pytest.param(["protobuf>=5.26,<6"], "5.", "", "", id="5"),
        pytest.param(["protobuf>=6,<7"], "6.", "", "", id="6"),
        pytest.param(["protobuf"], "", "", "", id="newest"),
        pytest.param(["tritonclient[grpc]"], "", FOREIGN, "", id="triton-first"),
        pytest.param(["tritonclient[grpc]"], "", "", FOREIGN, id="triton-last"),
    ],
)
def test_an_exchange_with_a_version_of_protobuf(
    tmp_path: Path, requirements: list[str], version: str, first: str, last: str
) -> None:
    python = tmp_path / "venv" / "bin" / "python"
    uv = [sys.executable, "-m", "uv", "--no-progress", "--no-config"]
    subprocess.run([*uv, "venv", "--python", sys.executable, tmp_path / "venv"], check=True, capture_output=True)
    install: list[str | Path] = [*uv, "pip", "install", "--python", python, *GRPC, *NEEDED, *requirements]
    done = subprocess.run(install, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    code = EXCHANGE.format(first=first, last=last)
    environ = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run([python, "-c", code], env=environ, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(version)
