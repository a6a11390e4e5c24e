"""Pushing and pulling a bundle beside a plain copy of its files, and beside MLflow's registry.

    python benchmarks/transfer.py [--megabytes 1000] [--rounds 3] [--mlflow ENVIRONMENT] [--write]

A bundle of two models, half of the size each, goes to a registry whose storage is a folder (beside `cp -r`), and to one
whose storage is an S3 server (beside a copy of the same files to the same server, four at once, by the same client
library). A second version has one of the two models again. Every step runs in a process of its own, which says how long
it took without the start of Python, and its peak memory. The registry is in that process, as it is in a server.

`--mlflow` is an environment with `mlflow` and `boto3`; where the folder is not there, it is made from the index. The S3
server is moto's, in Python: it bounds all rates, those of the plain copy too. `--write` renders the page in the docs.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import random
import resource
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import datetime, timezone
from pathlib import Path
from statistics import median
from typing import Any
from urllib.error import URLError
from urllib.request import Request, urlopen
from uuid import uuid4

from kappa._files import sha256_of_file, walk_files
from kappa.gamma.protocols.registry import BundleFile
from kappa.gamma.service.gamma_service import GammaService
from kappa.gamma.storages.opening import open_storage
from kappa.spec.manifest import BundleManifest, ResolvedEnv, read_manifest
from kappa.spec.service import ApiSpec, FunctionTarget, ServiceSpec
from kappa.tag import Tag

__all__ = ["main"]

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "benchmarks" / "transfer.md"
CHUNK_BYTES = 1 << 20
AT_ONCE = 4
GOAL = 1.3

MLFLOW = """\
import json, os, resource, shutil, sys, time
import mlflow
folder, target, uri, artifacts = sys.argv[1:]
mlflow.set_tracking_uri(uri)
client = mlflow.MlflowClient()
if client.get_experiment_by_name("bench") is None:
    client.create_experiment("bench", artifact_location=artifacts)
mlflow.set_experiment("bench")
began = time.perf_counter()
with mlflow.start_run() as run:
    mlflow.log_artifacts(folder, "bundle")
name = "bench"
try:
    client.create_registered_model(name)
except mlflow.exceptions.MlflowException:
    pass
version = client.create_model_version(name, f"{run.info.artifact_uri}/bundle", run.info.run_id)
pushed = time.perf_counter() - began
began = time.perf_counter()
mlflow.artifacts.download_artifacts(artifact_uri=f"models:/{name}/{version.version}", dst_path=target)
pulled = time.perf_counter() - began
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
print(json.dumps({"push_s": pushed, "pull_s": pulled, "peak_bytes": peak}))
"""


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


# -- the steps, each in a process of its own ---------------------------------------------------------------------------


def push(source: Path, url: str, database: str) -> dict[str, Any]:
    """Upload a bundle; its digests are those of its manifest, as in `kappa push`."""
    manifest = read_manifest(source)
    text = (source / "kappa.yml").read_bytes()
    names = ("kappa.yml", "Bench/kappa.yml")
    digests = {**manifest.files, **dict.fromkeys(names, sha256_of_file(source / "kappa.yml"))}
    files = [
        BundleFile(path, f"sha256:{digest}", (source / path).stat().st_size) for path, digest in sorted(digests.items())
    ]
    paths = {file.digest: source / file.path for file in files}
    registry = GammaService(open_storage(url), database)
    registry.open()
    began = time.perf_counter()
    upload = registry.begin_upload(text, files, operation=uuid4().hex)
    with ThreadPoolExecutor(AT_ONCE) as pool:
        for done in [
            pool.submit(registry.write_blob, upload.session, digest, 0, chunks_of(paths[digest]))
            for digest in upload.missing
        ]:
            done.result()
    registry.commit_upload(upload.session, operation=uuid4().hex)
    moved = sum(paths[digest].stat().st_size for digest in upload.missing)
    return {"seconds": time.perf_counter() - began, "moved_bytes": moved}


def pull(target: Path, url: str, database: str, version: str) -> dict[str, Any]:
    """Download a bundle, and compare each file with its digest."""
    import hashlib

    registry, tag = GammaService(open_storage(url), database), Tag("Bench", version)
    registry.open()
    began = time.perf_counter()

    def fetch(file: BundleFile) -> None:
        (target / file.path).parent.mkdir(parents=True, exist_ok=True)
        digest = hashlib.sha256()
        with (target / file.path).open("wb") as copy:
            for chunk in registry.read_blob(tag, file.digest):
                digest.update(chunk)
                copy.write(chunk)
        assert digest.hexdigest() == file.digest.removeprefix("sha256:")

    with ThreadPoolExecutor(AT_ONCE) as pool:
        list(pool.map(fetch, registry.files_of(tag)))
    return {"seconds": time.perf_counter() - began}


def chunks_of(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        while chunk := file.read(CHUNK_BYTES):
            yield chunk


def put(source: Path, bucket: str, prefix: str) -> dict[str, Any]:
    """Copy a folder to S3, four files at once."""
    import obstore

    store, began = plain_store(bucket), time.perf_counter()

    def send(path: Path) -> None:
        obstore.put(store, f"{prefix}/{path.as_posix()}", source / path, chunk_size=8 << 20, max_concurrency=4)

    with ThreadPoolExecutor(AT_ONCE) as pool:
        list(pool.map(send, walk_files(source)))
    return {"seconds": time.perf_counter() - began}


def get(target: Path, bucket: str, prefix: str) -> dict[str, Any]:
    """Copy a folder back from S3, four files at once."""
    import obstore

    store, began = plain_store(bucket), time.perf_counter()
    keys = [entry["path"] for page in obstore.list(store, prefix) for entry in page]

    def fetch(key: str) -> None:
        path = target / Path(key).relative_to(prefix)
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("wb") as file:
            for chunk in obstore.get(store, key).stream(min_chunk_size=CHUNK_BYTES):
                file.write(chunk)

    with ThreadPoolExecutor(AT_ONCE) as pool:
        list(pool.map(fetch, keys))
    return {"seconds": time.perf_counter() - began}


def plain_store(bucket: str) -> Any:
    from obstore.store import S3Store

    options: Any = {"allow_http": True, "timeout": "1h"}
    return S3Store(bucket, endpoint=os.environ["AWS_ENDPOINT_URL"], client_options=options)


STEPS: Mapping[str, Callable[..., dict[str, Any]]] = {
    "push": lambda source, *rest: push(Path(source), *rest),
    "pull": lambda target, *rest: pull(Path(target), *rest),
    "put": lambda source, *rest: put(Path(source), *rest),
    "get": lambda target, *rest: get(Path(target), *rest),
}


def step(name: str, *arguments: object, environ: Mapping[str, str]) -> dict[str, Any]:
    """Run a step in a process of its own; return what it says, with its peak memory."""
    command = [sys.executable, __file__, "--step", name, *map(str, arguments)]
    done = subprocess.run(command, env=dict(environ), capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"`{' '.join(command)}` failed:\n{done.stderr}")
    result: dict[str, Any] = json.loads(done.stdout)
    return result


def timed(command: Sequence[str]) -> dict[str, Any]:
    began = time.perf_counter()
    subprocess.run(command, check=True)
    return {"seconds": time.perf_counter() - began}


# -- what they run against ---------------------------------------------------------------------------------------------


@contextmanager
def s3_server(folder: Path) -> Iterator[str]:
    """Run moto's server; yield its endpoint."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with (folder / "moto.log").open("w") as log:
        command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
        server = subprocess.Popen(command, stdout=log, stderr=log)
    endpoint = f"http://127.0.0.1:{port}"
    try:
        while True:
            try:
                urlopen(f"{endpoint}/moto-api/", timeout=5).close()
                break
            except (URLError, OSError):
                if server.poll() is not None:
                    raise SystemExit((folder / "moto.log").read_text()) from None
                time.sleep(0.1)
        yield endpoint
    finally:
        server.kill()
        server.wait()


def make_bucket(endpoint: str, bucket: str) -> None:
    credential = "Credential=test/20260101/us-east-1/s3/aws4_request"
    headers = {"Authorization": f"AWS4-HMAC-SHA256 {credential}, SignedHeaders=host, Signature=0"}
    urlopen(Request(f"{endpoint}/{bucket}", method="PUT", headers=headers), timeout=30).close()


def mlflow_python(environment: Path) -> Path:
    """Return the Python of an environment with MLflow, made where it is not there."""
    python = environment / "bin" / "python"
    if not python.exists():
        subprocess.run([sys.executable, "-m", "venv", str(environment)], check=True)
        subprocess.run([str(python), "-m", "pip", "install", "--quiet", "mlflow", "boto3"], check=True)
    return python


def mlflow(python: Path, source: Path, folder: Path, artifacts: str, environ: Mapping[str, str]) -> dict[str, Any]:
    target = folder / "mlflow-copy"
    target.mkdir()
    command = [str(python), "-c", MLFLOW, str(source), str(target), f"sqlite:///{folder}/mlflow.db", artifacts]
    done = subprocess.run(command, env=dict(environ), capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"MLflow failed:\n{done.stderr}")
    shutil.rmtree(target)
    result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return result


# -- a round -----------------------------------------------------------------------------------------------------------

Figures = dict[str, dict[str, Any]]


def measure(first: Path, second: Path, folder: Path, python: Path | None) -> Figures:
    """Do everything once, on storages that are empty."""
    figures: Figures = {}
    environ = {**os.environ, "KAPPA_HOME": str(folder / "home")}
    url, database = str(folder / "trees"), f"sqlite:///{folder}/directory.db"
    figures["cp -r, there"] = timed(["cp", "-r", str(first), str(folder / "copy")])
    figures["folder: push"] = step("push", first, url, database, environ=environ)
    figures["folder: push of the second version"] = step("push", second, url, database, environ=environ)
    figures["cp -r, back"] = timed(["cp", "-r", str(folder / "copy"), str(folder / "copy-back")])
    figures["folder: pull"] = step("pull", folder / "pulled", url, database, "1", environ=environ)
    if python is not None:
        figures["folder: MLflow"] = mlflow(python, first, folder, str(folder / "mlruns"), environ)
        (folder / "mlflow.db").unlink()
    for name in ("copy", "copy-back", "pulled", "trees", "mlruns"):
        shutil.rmtree(folder / name, ignore_errors=True)
    with s3_server(folder) as endpoint:
        credentials = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_REGION": "us-east-1"}
        environ |= {**credentials, "AWS_ENDPOINT_URL": endpoint, "MLFLOW_S3_ENDPOINT_URL": endpoint}
        make_bucket(endpoint, "bench")
        url, database = "s3://bench/kappa", f"sqlite:///{folder}/s3.db"
        figures["plain copy to S3"] = step("put", first, "bench", "plain", environ=environ)
        figures["plain copy from S3"] = step("get", folder / "plain", "bench", "plain", environ=environ)
        figures["S3: push"] = step("push", first, url, database, environ=environ)
        figures["S3: push of the second version"] = step("push", second, url, database, environ=environ)
        figures["S3: pull"] = step("pull", folder / "pulled", url, database, "1", environ=environ)
        if python is not None:
            figures["S3: MLflow"] = mlflow(python, first, folder, "s3://bench/mlflow", environ)
    return figures


def rows_of(rounds: Sequence[Figures]) -> list[tuple[str, float, float, str, str]]:
    """Return of each step: its name, median seconds, ratio to the plain copy, memory, and what it moved."""
    plain = {
        "folder: push": "cp -r, there",
        "folder: pull": "cp -r, back",
        "S3: push": "plain copy to S3",
        "S3: pull": "plain copy from S3",
    }
    seconds: dict[str, float] = {}
    rows = []
    for name, figure in rounds[0].items():
        parts = {"push": "push_s", "pull": "pull_s"} if "push_s" in figure else {"": "seconds"}
        for part, key in parts.items():
            title = f"{name} {part}".strip()
            seconds[title] = median(figures[name][key] for figures in rounds)
            peak = max(figures[name].get("peak_bytes", 0) for figures in rounds)
            moved = figure.get("moved_bytes")
            base = plain.get(title) or plain.get(title.replace("MLflow ", ""))
            ratio = seconds[title] / seconds[base] if base else 0.0
            megabytes = f"{peak / 1e6:,.0f}" if peak else ""
            rows.append((title, seconds[title], ratio, megabytes, f"{moved / 1e6:,.0f}" if moved is not None else ""))
    return rows


def page_of(rows: Sequence[tuple[str, float, float, str, str]], megabytes: int, rounds: int) -> str:
    command = ["git", "describe", "--always", "--dirty", "--abbrev=12"]
    commit = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT).stdout.strip()
    lines = [
        f"| {name} | {seconds:.2f} | {f'{ratio:.2f}' if ratio else ''} | {peak} | {moved} |"
        for name, seconds, ratio, peak, moved in rows
    ]
    introduction = (__doc__ or "").partition("\n\n    python")[0]
    details = (__doc__ or "").partition("--write]\n\n")[2].partition("\n\n`--mlflow`")[0]
    return f"""# Transfers beside a plain copy

Written by `python benchmarks/transfer.py --write`; do not edit.

{introduction} {megabytes} MB, medians of {rounds} rounds; the goal is {GOAL} times the plain copy.

{details}

Commit {commit}, {datetime.now(timezone.utc):%Y-%m-%d}, {os.cpu_count()} processors, Python {platform.python_version()}.

| step | s | times the plain copy | peak MB | MB moved |
|---|---:|---:|---:|---:|
{chr(10).join(lines)}
"""


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n\n")[0])
    parser.add_argument("--megabytes", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--mlflow", type=Path)
    parser.add_argument("--folder", type=Path, help="where the files are; by default below the temporary folder")
    parser.add_argument("--write", action="store_true")
    parser.add_argument("--step", nargs="+", help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.step is not None:
        name, *rest = options.step
        result = STEPS[name](*rest)
        print(json.dumps({**result, "peak_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024}))
        return 0
    python = mlflow_python(options.mlflow) if options.mlflow is not None else None
    with tempfile.TemporaryDirectory(dir=options.folder) as name:
        folder = Path(name)
        first = make_bundle(folder / "first", "1", options.megabytes, shared=1, own=2)
        second = make_bundle(folder / "second", "2", options.megabytes, shared=1, own=3)
        rounds = []
        for number in range(options.rounds):
            (folder / str(number)).mkdir()
            rounds.append(measure(first, second, folder / str(number), python))
            shutil.rmtree(folder / str(number))
    rows = rows_of(rounds)
    text = page_of(rows, options.megabytes, options.rounds)
    if options.write:
        PAGE.write_text(text, encoding="utf-8")
    print(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
