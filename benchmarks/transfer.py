"""Pushing and pulling a bundle beside a plain copy of its files, and beside MLflow's registry.

    python benchmarks/transfer.py [--megabytes 1000] [--rounds 3] [--minutes 7] [--mlflow ENVIRONMENT] [--write]

A bundle of two models, half of the size each, goes to a Gamma server over gRPC and comes back. The server keeps it in
a folder (beside `cp -r`) and in a bucket of an S3 server (beside a copy of the same files to the same S3 server, four
at once, in parts of 8 MiB). A second version has one of the two models again. MLflow logs, registers and downloads the
same folder: by itself into a folder and the bucket, which is its fastest way, and through its own server. Every step
runs in a process of its own, which says how long it took without the start of Python. Each file that moves is compared
with its digest, by the server or by the client that pulls it, and what is pushed into a folder is on the disk when the
push ends; neither the plain copy nor MLflow does that. Before each process starts, all that was written earlier is on
the disk, and a file of 2 GiB was written and removed: the first use of a page of memory is slow in a virtual machine,
and would be counted for whichever step comes to it. "Direct" is with `--direct-transfer`. Memory is the peak of the
client's process and, in that step, of the server's. The S3 server is moto's, in Python: it bounds all rates, those of
the plain copy too.

`--mlflow` is an environment with `mlflow` and `boto3`, made from the index where it is not there; `-` leaves it out.
`--write` renders the page in the docs. Runs on Linux.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import random
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from statistics import median
from typing import Any
from urllib.error import URLError
from urllib.request import Request, urlopen

from kappa._files import sha256_of_file, walk_files
from kappa.spec.manifest import BundleManifest, ResolvedEnv
from kappa.spec.service import ApiSpec, FunctionTarget, ServiceSpec

__all__ = ["main"]

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "benchmarks" / "transfer.md"
ENVIRONMENT = Path(tempfile.gettempdir()) / "kappa-benchmark-mlflow"
GOAL = 1.3
USED_BYTES = 2 << 30
CREDENTIALS = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_REGION": "us-east-1"}


@dataclass(frozen=True)
class Figure:
    """What one step took."""

    step: str
    seconds: float
    beside: str = ""
    """The step of the plain copy that it is compared with."""
    client_bytes: int | None = None
    """The peak memory of the client's process."""
    server_bytes: int | None = None
    moved_bytes: int | None = None


def make_bundle(directory: Path, version: str, megabytes: int, *, shared: int, own: int) -> Path:
    """Write a bundle of two models, drawn from these seeds; return its folder."""
    models = {"shared": shared, "own": own}
    for name, seed in models.items():
        folder = directory / "Bench" / "artifacts" / name
        folder.mkdir(parents=True)
        chance = random.Random(seed)
        with (folder / "model.bin").open("wb") as file:
            for _ in range(megabytes // 2):
                file.write(chance.randbytes(1 << 20))
    (directory / "Bench" / "__init__.py").write_text(f"version = {version!r}\n")
    (directory / "requirements.txt").write_text("apple==1.0\n")
    manifest = BundleManifest(
        kappa_version="0.1.0",
        version=version,
        created_at="2026-01-01T00:00:00Z",
        service=ServiceSpec(
            name="Bench",
            apis=(ApiSpec(name="predict", target=FunctionTarget(function="handlers:predict"), input="json"),),
        ),
        env=ResolvedEnv(python_version="3.11", docker_base_image="x", requirements=(), resolver="none"),
        content_digest="sha256:" + "0" * 64,
        files={path.as_posix(): sha256_of_file(directory / path) for path in walk_files(directory)},
    ).sealed()
    for path in (directory / "kappa.yml", directory / "Bench" / "kappa.yml"):
        path.write_text(manifest.to_yaml(), encoding="utf-8")
    return directory


# -- the processes -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Server:
    """A process that answers at a URL."""

    url: str
    process: int

    def reset_peak(self) -> None:
        Path(f"/proc/{self.process}/clear_refs").write_text("5")  # proc(5): the peak is what it has now

    def peak_bytes(self) -> int:
        match = re.search(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{self.process}/status").read_text())
        assert match is not None
        return int(match[1]) * 1024


@contextmanager
def gamma_server(folder: Path, storage: str, environ: Mapping[str, str], *options: str) -> Iterator[Server]:
    """Run `kappa gamma-service-start` at a free port, with a new database."""
    command = [sys.executable, "-m", "kappa", "gamma-service-start", "--host", "127.0.0.1", "--no-ui"]
    command += ["--grpc-port", "0", "--db-url", f"sqlite:///{folder}/gamma.db", "--repo-base-url", storage, *options]
    with (folder / "gamma.log").open("w") as log:
        process = subprocess.Popen(command, env=environ, stdout=subprocess.PIPE, stderr=log, text=True)
    assert process.stdout is not None
    try:
        banner = ""
        while (match := re.search(r"Running on (\S+) ", banner)) is None:
            line = process.stdout.readline()
            if not line:
                raise SystemExit(f"The Gamma server did not start:\n{(folder / 'gamma.log').read_text()}")
            banner += line
        threading.Thread(target=process.stdout.read, daemon=True).start()
        yield Server(match[1], process.pid)
    finally:
        process.kill()
        process.wait()
        for path in folder.glob("gamma.db*"):
            path.unlink()


@contextmanager
def mlflow_server(python: Path, folder: Path, artifacts: str, environ: Mapping[str, str]) -> Iterator[str]:
    """Run `mlflow server`, through which artifacts go to where it keeps them; yield its URL."""
    port = free_port()
    command = [str(python), "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    command += ["--backend-store-uri", f"sqlite:///{folder}/mlflow-server.db", "--artifacts-destination", artifacts]
    with (folder / "mlflow-server.log").open("w") as log:
        process = subprocess.Popen(command, env=environ, stdout=log, stderr=log, start_new_session=True)
    try:
        url = f"http://127.0.0.1:{port}"
        wait_for(f"{url}/health", process, folder / "mlflow-server.log")
        yield url
    finally:
        os.killpg(process.pid, 9)
        process.wait()


def settle() -> None:
    """Let a step pay for itself alone: not for what was written earlier, nor for pages that the machine has to get."""
    os.sync()
    piece = random.randbytes(1 << 20)
    with tempfile.TemporaryFile(buffering=0) as file:  # pages of files are taken from where those of files were freed
        for _ in range(USED_BYTES // len(piece)):
            file.write(piece)


def step(name: str, *arguments: object, environ: Mapping[str, str], server: Server | None = None) -> dict[str, Any]:
    """Run a step of `transfer_steps.py`; return what it says, with the peak of a server meanwhile."""
    settle()
    if server is not None:
        server.reset_peak()
    script = Path(__file__).with_name("transfer_steps.py")
    result = last_line([sys.executable, str(script), name, *map(str, arguments)], environ)
    return {**result, "server_bytes": None if server is None else server.peak_bytes()}


def last_line(command: Sequence[str], environ: Mapping[str, str]) -> dict[str, Any]:
    done = subprocess.run(command, env=dict(environ), capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"`{' '.join(command)}` failed:\n{done.stderr}")
    result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return result


def figure(name: str, result: Mapping[str, Any], *, beside: str = "") -> Figure:
    return Figure(
        name, result["seconds"], beside, result["peak_bytes"], result["server_bytes"], result.get("moved_bytes")
    )


def copy(name: str, source: Path, target: Path) -> Figure:
    settle()
    began = time.perf_counter()
    subprocess.run(["cp", "-r", str(source), str(target)], check=True)
    return Figure(name, time.perf_counter() - began)


def mlflow(
    name: str, python: Path, source: Path, folder: Path, uri: str, artifacts: str, environ: Mapping[str, str]
) -> Iterator[Figure]:
    target = folder / "mlflow-copy"
    target.mkdir()
    script = Path(__file__).with_name("transfer_mlflow.py")
    settle()
    result = last_line([str(python), str(script), str(source), str(target), uri, artifacts], environ)
    shutil.rmtree(target)
    yield Figure(f"{name}: log and register", result["push_s"], client_bytes=result["peak_bytes"])
    yield Figure(f"{name}: download", result["pull_s"], client_bytes=result["peak_bytes"])


def mlflow_python(environment: Path) -> Path:
    """Return the Python of an environment with MLflow, made where it is not there."""
    python = environment / "bin" / "python"
    if not (environment / "ready").exists():
        subprocess.run([sys.executable, "-m", "venv", "--clear", str(environment)], check=True)
        subprocess.run([str(python), "-m", "pip", "install", "--quiet", "mlflow", "boto3"], check=True)
        (environment / "ready").touch()
    return python


def version_of_mlflow(python: Path) -> str:
    code = "from importlib.metadata import version; print(version('mlflow'))"
    return subprocess.run([str(python), "-c", code], capture_output=True, text=True, check=True).stdout.strip()


@contextmanager
def s3_server(folder: Path) -> Iterator[str]:
    """Run moto's server; yield its endpoint."""
    port = free_port()
    with (folder / "moto.log").open("w") as log:
        command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
        server = subprocess.Popen(command, stdout=log, stderr=log)
    endpoint = f"http://127.0.0.1:{port}"
    try:
        wait_for(f"{endpoint}/moto-api/", server, folder / "moto.log")
        yield endpoint
    finally:
        server.kill()
        server.wait()


def make_bucket(endpoint: str, bucket: str) -> None:
    credential = "Credential=test/20260101/us-east-1/s3/aws4_request"
    headers = {"Authorization": f"AWS4-HMAC-SHA256 {credential}, SignedHeaders=host, Signature=0"}
    urlopen(Request(f"{endpoint}/{bucket}", method="PUT", headers=headers), timeout=30).close()


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def wait_for(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    """Wait until a URL answers; ends this process where the server has ended."""
    while not answers(url):
        if process.poll() is not None:
            raise SystemExit(log.read_text())
        time.sleep(0.1)


def answers(url: str) -> bool:
    try:
        urlopen(url, timeout=5).close()
    except (URLError, OSError):
        return False
    return True


# -- a round -----------------------------------------------------------------------------------------------------------


def measure(first: Path, second: Path, folder: Path, python: Path | None) -> Iterator[Figure]:
    """Do everything once, on storages that are empty."""
    environ = {**os.environ, "KAPPA_HOME": str(folder / "home"), "MLFLOW_DISABLE_TELEMETRY": "true"}
    yield from in_folder(first, second, folder, python, environ)
    for name in ("copy", "copy-back", "pulled", "trees", "mlruns"):
        shutil.rmtree(folder / name, ignore_errors=True)
    with s3_server(folder) as endpoint:
        environ |= {**CREDENTIALS, "AWS_ENDPOINT_URL": endpoint, "MLFLOW_S3_ENDPOINT_URL": endpoint}
        make_bucket(endpoint, "bench")
        yield from in_bucket(first, second, folder, python, environ)


def in_folder(
    first: Path, second: Path, folder: Path, python: Path | None, environ: Mapping[str, str]
) -> Iterator[Figure]:
    yield copy("`cp -r`, there", first, folder / "copy")
    with gamma_server(folder, str(folder / "trees"), environ) as server:
        yield figure(
            "folder: push", step("push", first, server.url, environ=environ, server=server), beside="`cp -r`, there"
        )
        yield figure(
            "folder: push of the second version", step("push", second, server.url, environ=environ, server=server)
        )
        yield copy("`cp -r`, back", folder / "copy", folder / "copy-back")
        yield figure(
            "folder: pull",
            step("pull", folder / "pulled", server.url, "1", environ=environ, server=server),
            beside="`cp -r`, back",
        )
    if python is not None:
        uri, artifacts = f"sqlite:///{folder}/mlflow.db", str(folder / "mlruns")
        yield from mlflow("folder, MLflow alone", python, first, folder, uri, artifacts, environ)


def in_bucket(
    first: Path, second: Path, folder: Path, python: Path | None, environ: Mapping[str, str]
) -> Iterator[Figure]:
    there, back = "plain copy to S3", "plain copy from S3"
    yield figure(there, step("put", first, "bench", "plain", environ=environ))
    yield figure(back, step("get", folder / "plain", "bench", "plain", environ=environ))
    shutil.rmtree(folder / "plain")
    for title, options in WAYS.items():
        with (
            gamma_server(folder, f"s3://bench/{title.replace(', ', '-')}", environ, *options) as server,
            ExitStack() as stack,
        ):
            stack.callback(shutil.rmtree, folder / "pulled", ignore_errors=True)
            for name, bundle, beside in (("push", first, there), ("push of the second version", second, "")):
                result = step("push", bundle, server.url, environ=environ, server=server)
                yield figure(f"{title}: {name}", result, beside=beside)
            result = step("pull", folder / "pulled", server.url, "1", environ=environ, server=server)
            yield figure(f"{title}: pull", result, beside=back)
    if python is not None:
        uri = f"sqlite:///{folder}/mlflow-s3.db"
        yield from mlflow("S3, MLflow alone", python, first, folder, uri, "s3://bench/mlflow", environ)
        with mlflow_server(python, folder, "s3://bench/mlflow-server", environ) as url:
            yield from mlflow("S3, MLflow's server", python, first, folder, url, "-", environ)


WAYS: Mapping[str, Sequence[str]] = {"S3": (), "S3, direct": ("--direct-transfer",)}
"""How blobs move, with the options of the server."""


# -- the page ----------------------------------------------------------------------------------------------------------


def rows_of(rounds: Sequence[Sequence[Figure]]) -> Iterator[str]:
    """Yield a row for each step: medians of seconds, the largest peaks."""
    seconds = {same[0].step: median(figure.seconds for figure in same) for same in zip(*rounds, strict=True)}
    for same in zip(*rounds, strict=True):
        figure = same[0]
        ratio = f"{seconds[figure.step] / seconds[figure.beside]:.2f}" if figure.beside else ""
        peaks = [megabytes(max(sizes) if all(sizes) else None) for sizes in zip(*map(_peaks, same), strict=True)]
        cells = [figure.step, f"{seconds[figure.step]:.2f}", ratio, *peaks, megabytes(figure.moved_bytes)]
        yield f"| {' | '.join(cells)} |"


def _peaks(figure: Figure) -> tuple[int, int]:
    return figure.client_bytes or 0, figure.server_bytes or 0


def megabytes(size_bytes: int | None) -> str:
    return "" if size_bytes is None else f"{size_bytes / 1e6:,.0f}"


def page_of(rounds: Sequence[Sequence[Figure]], size_megabytes: int, python: Path | None) -> str:
    command = ["git", "describe", "--always", "--dirty", "--abbrev=12"]
    commit = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT).stdout.strip()
    title, _, rest = (__doc__ or "").partition("\n\n")
    details = rest.partition("\n\n")[2].partition("\n\n`--mlflow`")[0]
    peer = "" if python is None else f", MLflow {version_of_mlflow(python)}"
    machine = f"{os.cpu_count()} processors, Python {platform.python_version()}{peer}"
    return f"""# Transfers beside a plain copy

Written by `python benchmarks/transfer.py --write`; do not edit.

{title} {size_megabytes} MB, medians of {len(rounds)} rounds; the goal is {GOAL} times the plain copy.

{details}

Commit {commit}, {datetime.now(timezone.utc):%Y-%m-%d}, {machine}.

| step | s | times the plain copy | client, peak MB | server, peak MB | MB moved |
|---|---:|---:|---:|---:|---:|
{chr(10).join(rows_of(rounds))}
"""


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n\n")[0])
    parser.add_argument("--megabytes", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--minutes", type=float, default=7.0, help="no further round begins that would end later")
    parser.add_argument("--mlflow", default=str(ENVIRONMENT), help="an environment with MLflow; `-` leaves it out")
    parser.add_argument("--folder", type=Path, help="where the files are; by default below the temporary folder")
    parser.add_argument("--write", action="store_true")
    options = parser.parse_args(arguments)
    python = None if options.mlflow == "-" else mlflow_python(Path(options.mlflow))
    rounds: list[list[Figure]] = []
    with tempfile.TemporaryDirectory(dir=options.folder) as name:
        folder = Path(name)
        first = make_bundle(folder / "first", "1", options.megabytes, shared=1, own=2)
        second = make_bundle(folder / "second", "2", options.megabytes, shared=1, own=3)
        began = time.monotonic()
        for number in range(options.rounds):
            passed_s = time.monotonic() - began
            if number and passed_s * (number + 1) / number > 60 * options.minutes:
                break
            (folder / str(number)).mkdir()
            rounds.append([])
            for result in measure(first, second, folder / str(number), python):
                print(f"{result.step}: {result.seconds:.2f} s", file=sys.stderr, flush=True)
                rounds[-1].append(result)
            shutil.rmtree(folder / str(number))
        text = page_of(rounds, options.megabytes, python)
    if options.write:
        PAGE.write_text(text, encoding="utf-8")
    print(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
