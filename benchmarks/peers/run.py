"""Serve the same models with Kappa and its peers, load them alike, and write what was measured into the docs.

    python benchmarks/peers/run.py --quick                 # everything once, for a second each
    python benchmarks/peers/run.py --write                 # what docs/benchmarks.md shows
    python benchmarks/peers/run.py --only kappa fastapi --models iris

Each server is installed from `requirements/` into an environment of its own, under `--environments`, where it is found
again. A round starts one server after the other, so that nobody shares the machine with anybody but the load generator;
rounds are repeated, and every other one goes backwards. What was measured is added to `--results` line by line: a run
that was interrupted goes on where it was, and `--write` alone writes the page from what is there.
"""

from __future__ import annotations

import argparse
import base64
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from urllib.error import URLError
from urllib.request import Request, urlopen

sys.path.insert(0, str(Path(__file__).parent))

import models
import report

__all__ = ["main"]

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
CONNECTIONS = (1, 16, 128, 256)
START_S = 60.0
MOST_STOLEN = 0.05
"""Of the processors' time, for a run to count at once; else the better of two does."""
REPEATS = 1
STEAL = 7
"""Where `/proc/stat` has the ticks that the hypervisor gave to others."""
PORT = 18200
REFERENCE_PORT = 18219
"""Away from `PORT`: some servers take the next ones too."""


@dataclass(frozen=True)
class Overload:
    """How a model is overloaded."""

    target_ms: float
    """Within which time an answer is good."""
    shares: Sequence[float]
    """Multiples of its saturation."""
    max_batch_size: int = models.MAX_BATCH_SIZE


OVERLOADS: Mapping[str, Overload] = {
    "overload": Overload(300.0, (0.5, 1.0, 2.0, 4.0, 10.0)),
    # with batches of 64 it is so quick that three times as much is more than one core can refuse; with four, what it
    # can do at most is less than a twelfth of what the same server answers without a function
    "forest": Overload(100.0, (0.5, 1.0, 2.0, 3.0), max_batch_size=4),
}


@dataclass(frozen=True)
class Peer:
    title: str
    path: str
    body: Callable[[str, Path], tuple[bytes, str]]
    """What a client of a model sends, and its media type."""
    has_target: bool = False
    """Whether it can be told a latency to aim at."""


def kappa_body(name: str, folder: Path) -> tuple[bytes, str]:
    value = models.request_of(name, folder)
    if name == "cnn":
        return value, "image/png"
    return json.dumps([value] if name in ("iris", "forest") else value).encode(), "application/json"


def rows_body(name: str, folder: Path) -> tuple[bytes, str]:
    value = models.request_of(name, folder)
    return (value, "image/png") if name == "cnn" else (json.dumps({"rows": [value]}).encode(), "application/json")


def encoded_body(name: str, folder: Path) -> tuple[bytes, str]:
    value = models.request_of(name, folder)
    if name == "cnn":
        return json.dumps({"image": base64.b64encode(value).decode()}).encode(), "application/json"
    return json.dumps({"rows": [value]}).encode(), "application/json"


def bentoml_body(name: str, folder: Path) -> tuple[bytes, str]:
    if name != "cnn":
        return rows_body(name, folder)
    picture, boundary = models.request_of(name, folder), "----kappa"
    head = f'--{boundary}\r\nContent-Disposition: form-data; name="images"; filename="p.png"\r\n'
    body = f"{head}Content-Type: image/png\r\n\r\n".encode() + picture + f"\r\n--{boundary}--\r\n".encode()
    return body, f"multipart/form-data; boundary={boundary}"


def oip_body(name: str, folder: Path) -> tuple[bytes, str]:
    value = models.request_of(name, folder)
    if name == "cnn":
        tensor: dict[str, Any] = {"shape": [1], "datatype": "BYTES", "data": [base64.b64encode(value).decode()]}
    else:
        row = value if isinstance(value, list) else [value]
        tensor = {"shape": [1, len(row)], "datatype": "FP64", "data": row}
    return json.dumps({"inputs": [{"name": "x", **tensor}]}).encode(), "application/json"


def mlflow_body(name: str, folder: Path) -> tuple[bytes, str]:
    value = models.request_of(name, folder)
    value = base64.b64encode(value).decode() if name == "cnn" else value
    return json.dumps({"inputs": [value]}).encode(), "application/json"


PEERS: Mapping[str, Peer] = {
    "kappa": Peer("Kappa", "/predict", kappa_body, has_target=True),
    "bentoml": Peer("BentoML", "/predict", bentoml_body, has_target=True),
    "mlserver": Peer("MLServer", "/v2/models/peer/infer", oip_body),
    "litserve": Peer("LitServe", "/predict", encoded_body),
    "ray": Peer("Ray Serve", "/predict", rows_body),
    "fastapi": Peer("FastAPI", "/predict", rows_body),
    "mlflow": Peer("MLflow", "/invocations", mlflow_body),
}


# -- environments ------------------------------------------------------------------------------------------------------


def install(peer: str, environments: Path) -> Path:
    """Make the environment of a peer if it is not there, and return its interpreter."""
    folder = environments / peer
    wanted = (HERE / "requirements" / f"{peer}.txt").read_text(encoding="utf-8")
    mark = folder / "installed.txt"
    if not (mark.is_file() and mark.read_text(encoding="utf-8") == wanted):
        print(f"Installing {PEERS[peer].title}.", file=sys.stderr)
        shutil.rmtree(folder, ignore_errors=True)
        subprocess.run([sys.executable, "-m", "venv", folder], check=True)
        own = ["--editable", str(ROOT)] if peer == "kappa" else []
        requirements = ["--requirement", str(HERE / "requirements" / f"{peer}.txt")]
        pip = [str(folder / "bin" / "python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        subprocess.run([*pip, *own, *requirements], check=True)
        mark.write_text(wanted, encoding="utf-8")
    return folder / "bin" / "python"


# -- one server --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Running:
    peer: str
    model: str
    port: int
    mark: str
    """What all of its processes have in their environment."""
    ready_s: float


@contextmanager
def serving(
    peer: str,
    model: str,
    python: Path,
    folder: Path,
    *,
    workers: int = 1,
    overload: Overload | None = None,
    port: int = PORT,
) -> Iterator[Running]:
    """Start a server, yield it when it has answered a request, and stop every process of it."""
    mark = uuid.uuid4().hex
    environ = {
        **{name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "KAPPA"))},
        **dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1"),
        "PEERS_MARK": mark,
        "PEERS_MODEL": model,
        "PEERS_FOLDER": str(folder),
        "PEERS_WORKERS": str(workers),
        "BENTOML_DO_NOT_TRACK": "True",
        "RAY_USAGE_STATS_ENABLED": "0",
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "PATH": f"{python.parent}:{os.environ['PATH']}",
    }
    if overload is not None:
        environ["PEERS_MAX_BATCH_SIZE"] = str(overload.max_batch_size)
        if PEERS[peer].has_target:
            environ["PEERS_TARGET_MS"] = str(overload.target_ms)
    command = [python, HERE / "servers" / f"{peer}_server.py", model, str(port), folder, str(workers)]
    log = folder / f"{peer}-{model}-{port}.log"
    began = time.perf_counter()
    with log.open("wb") as output:
        process = subprocess.Popen(
            command, cwd=HERE / "servers", env=environ, stdout=output, stderr=output, start_new_session=True
        )
        try:
            await_answer(peer, model, folder, port, process, log)
            yield Running(peer, model, port, mark, time.perf_counter() - began)
        finally:
            stop(process, mark)


def await_answer(peer: str, model: str, folder: Path, port: int, process: subprocess.Popen[bytes], log: Path) -> None:
    body, media_type = PEERS[peer].body(model, folder)
    url = f"http://127.0.0.1:{port}{PEERS[peer].path}"
    deadline = time.monotonic() + START_S
    while True:
        with suppress(URLError, OSError), urlopen(Request(url, body, {"Content-Type": media_type}), timeout=10):
            return
        if process.poll() is not None or time.monotonic() > deadline:
            tail = log.read_text(encoding="utf-8", errors="replace")[-2000:]
            raise ServerFailedError(f"{PEERS[peer].title} does not answer with {model}: {tail}")
        time.sleep(0.02)


class ServerFailedError(Exception):
    """A server could not be measured."""


def processes_of(mark: str) -> list[int]:
    """Return the processes that inherited ``mark``, wherever they moved."""
    found = []
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            with suppress(OSError):
                if f"PEERS_MARK={mark}".encode() in (folder / "environ").read_bytes():
                    found.append(int(folder.name))
    return found


def stop(process: subprocess.Popen[bytes], mark: str) -> None:
    process.terminate()
    with suppress(subprocess.TimeoutExpired):
        process.wait(10)
    deadline = time.monotonic() + 10
    while pids := processes_of(mark):
        for pid in pids:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL if time.monotonic() > deadline - 7 else signal.SIGTERM)
        time.sleep(0.1)
        process.poll()
        if time.monotonic() > deadline:
            break


def cpu_seconds(mark: str) -> float:
    total = 0
    for pid in processes_of(mark):
        with suppress(OSError):
            fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
            total += int(fields[11]) + int(fields[12])
    return total / os.sysconf("SC_CLK_TCK")


def memory_mib(pids: Sequence[int]) -> float:
    """Return what these processes hold together: what they share is counted once (`Pss`)."""
    total = 0
    for pid in pids:
        with suppress(OSError):
            for line in Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="ascii").splitlines():
                if line.startswith("Pss:"):
                    total += int(line.split()[1])
    return total / 1024


# -- what is measured --------------------------------------------------------------------------------------------------


def load(server: Running, folder: Path, *arguments: str, connections: int, seconds: float) -> dict[str, Any]:
    """Load a server, and again if the hypervisor gave too much of the processors to others meanwhile."""
    found = load_once(server, folder, *arguments, connections=connections, seconds=seconds)
    for _ in range(REPEATS):
        if found["stolen"] <= MOST_STOLEN:
            break
        await_calm(server, folder)
        again = load_once(server, folder, *arguments, connections=connections, seconds=seconds)
        found = min(found, again, key=lambda run: run["stolen"])
    return found


def load_once(server: Running, folder: Path, *arguments: str, connections: int, seconds: float) -> dict[str, Any]:
    body, media_type = PEERS[server.peer].body(server.model, folder)
    (folder / "body").write_bytes(body)
    address = f"127.0.0.1:{server.port}{PEERS[server.peer].path}"
    command = [sys.executable, str(ROOT / "benchmarks" / "load.py"), address, "--media-type", media_type]
    command += ["--body", f"@{folder / 'body'}", "--connections", str(connections), "--seconds", str(seconds)]
    cpu_before, times_before = cpu_seconds(server.mark), processor_times()
    found: dict[str, Any] = json.loads(
        subprocess.run([*command, *arguments], check=True, capture_output=True, text=True).stdout
    )
    good = found["statuses"].get("200", 0)
    found["cpu_us"] = 1e6 * (cpu_seconds(server.mark) - cpu_before) / good if good else None
    times = [after - before for before, after in zip(times_before, processor_times(), strict=True)]
    found["stolen"] = times[STEAL] / sum(times)
    if not good:
        found["p50_ms"] = found["p99_ms"] = None
    return found


def processor_times() -> list[int]:
    """Return the ticks of all processors by what they did (proc(5), `/proc/stat`), idle ones included."""
    return [int(ticks) for ticks in Path("/proc/stat").read_text(encoding="ascii").splitlines()[0].split()[1:9]]


class Results:
    """What was measured, a line each, by what it is."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.found: dict[str, dict[str, Any]] = {}
        if path.is_file():
            for line in path.read_text(encoding="utf-8").splitlines():
                entry = json.loads(line)
                self.found[entry["key"]] = entry

    def has(self, key: str) -> bool:
        return key in self.found

    def add(self, key: str, **values: Any) -> None:
        self.found[key] = {"key": key, **values}
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(self.found[key]) + "\n")


def measure_load(peer: str, model: str, number: int, python: Path, folder: Path, seconds: float, out: Results) -> None:
    """Start one server and ask it over each number of connections."""
    wanted = [count for count in CONNECTIONS if not out.has(f"load {number} {peer} {model} {count}")]
    if not wanted:
        return
    with serving(peer, model, python, folder) as server:
        out.add(
            f"ready {number} {peer} {model}", seconds=server.ready_s, memory_mib=memory_mib(processes_of(server.mark))
        )
        load(server, folder, connections=16, seconds=seconds)  # whatever learns or compiles has done so
        for count in wanted:
            found = load(server, folder, connections=count, seconds=seconds)
            out.add(f"load {number} {peer} {model} {count}", **found)
            say(f"{PEERS[peer].title:10} {model:10} {count:4} connections: {found['rate']:8.0f}/s", found)


def measure_overload(
    peer: str,
    model: str,
    number: int,
    pythons: Mapping[str, Path],
    folders: Mapping[str, Path],
    seconds: float,
    out: Results,
) -> None:
    """Offer one server multiples of what Kappa can do at most."""
    overload = OVERLOADS[model]
    wanted = [share for share in overload.shares if not out.has(f"overload {number} {peer} {model} {share}")]
    if not wanted:
        return
    folder = folders[peer]
    with (
        saturation_of(model, pythons["kappa"], folders["kappa"], seconds) as saturation_now,
        serving(peer, model, pythons[peer], folder, overload=overload) as server,
    ):
        load(server, folder, connections=16, seconds=seconds)
        before = saturation_now()
        for share in wanted:
            rate = share * before
            connections = min(2000, max(64, int(rate * 2)))
            arguments = ["--rate", str(rate), "--target-ms", str(overload.target_ms), "--seed", str(number)]
            found = load(server, folder, *arguments, connections=connections, seconds=3 * seconds)
            await_calm(server, folder)
            after = saturation_now()
            saturation, before = (before + after) / 2, after
            out.add(f"overload {number} {peer} {model} {share}", offered=rate, saturation=saturation, **found)
            title = f"{PEERS[peer].title:10} {model:10}"
            say(f"{title} {share:4} x {saturation:.0f}/s: {found['goodput']:8.0f}/s good", found)


def await_calm(server: Running, folder: Path) -> None:
    """Let a server finish what it still has in its queues."""
    peer = PEERS[server.peer]
    body, media_type = peer.body(server.model, folder)
    url = f"http://127.0.0.1:{server.port}{peer.path}"
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        began = time.monotonic()
        with suppress(URLError, OSError), urlopen(Request(url, body, {"Content-Type": media_type}), timeout=30):
            if time.monotonic() - began < 1:
                return
        time.sleep(0.2)


@contextmanager
def saturation_of(model: str, python: Path, folder: Path, seconds: float) -> Iterator[Callable[[], float]]:
    """Give what tells how much Kappa answers at most, by the second: of the simulated model that is known.

    Any other is asked before and after each load, since the machine is now faster and now slower: without a target, of
    a server of its own that is idle meanwhile, with the batches that an overloaded one gets.
    """
    if model == "overload":
        yield lambda: 64 / (0.05 + 0.001 * 64)
        return
    unhurried = replace(OVERLOADS[model], target_ms=1e6)
    with serving("kappa", model, python, folder, overload=unhurried, port=REFERENCE_PORT) as server:
        load(server, folder, connections=16, seconds=seconds)
        yield lambda: float(load(server, folder, connections=64, seconds=2 * seconds)["rate"])


def measure_memory(peer: str, python: Path, folder: Path, out: Results) -> None:
    """Compare one worker and two with a bare process that holds the same model and framework."""
    for model in ("iris", "forest"):
        if not out.has(f"bare {peer} {model}"):
            command = [python, HERE / "models.py", "bare", folder, model]
            with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as bare:
                assert bare.stdout is not None
                found = json.loads(bare.stdout.readline())
                out.add(f"bare {peer} {model}", call_ms=found["call_ms"], memory_mib=memory_mib([found["pid"]]))
                bare.communicate("\n")
        for workers in (1, 2):
            if not out.has(f"memory {peer} {model} {workers}"):
                with serving(peer, model, python, folder, workers=workers) as server:
                    load(server, folder, connections=16, seconds=1.0)
                    out.add(f"memory {peer} {model} {workers}", memory_mib=memory_mib(processes_of(server.mark)))


def say(text: str, found: Mapping[str, Any]) -> None:
    good = "" if found["cpu_us"] is None else f", p99 {found['p99_ms']:.1f} ms, {found['cpu_us']:.0f} µs CPU"
    print(f"{text}{good}, {found['statuses']}", file=sys.stderr)


def main(arguments: list[str]) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--environments", type=Path, default=Path(tempfile.gettempdir()) / "kappa-peers")
    parser.add_argument("--results", type=Path, help="[default: results.jsonl beside the environments]")
    parser.add_argument("--only", nargs="+", choices=PEERS, default=list(PEERS))
    parser.add_argument("--models", nargs="+", choices=models.MODELS, default=list(models.MODELS))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=4.0, help="of each load run; overload takes three times that")
    parser.add_argument("--quick", action="store_true", help="one round of one second, into results of its own")
    parser.add_argument("--write", action="store_true", help="write docs/benchmarks.md and its plots")
    options = parser.parse_args(arguments)
    if "kappa" not in options.only and OVERLOADS.keys() & options.models:
        parser.error("what Kappa can do at most is what others are overloaded by: `--only` it too, or name `--models`")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that no server outlives this
    environments = options.environments.resolve()
    environments.mkdir(parents=True, exist_ok=True)
    rounds, seconds = (1, 1.0) if options.quick else (options.rounds, options.seconds)
    name = "quick.jsonl" if options.quick else "results.jsonl"
    out = Results(options.results or environments / name)
    pythons = {peer: install(peer, environments) for peer in options.only}
    folders = {peer: environments / "models" / peer for peer in options.only}
    for peer, python in pythons.items():
        if not (folders[peer] / models.IMAGE).is_file():
            subprocess.run([python, HERE / "models.py", "prepare", folders[peer]], check=True)
    measure_all(pythons, folders, options.models, rounds=rounds, seconds=seconds, out=out)
    page = report.page(out.found, versions={peer: version_of(python, peer) for peer, python in pythons.items()})
    if options.write:
        report.write(ROOT / "docs", page, out.found)
    else:
        print(page)


def measure_all(
    pythons: Mapping[str, Path],
    folders: Mapping[str, Path],
    wanted: Sequence[str],
    *,
    rounds: int,
    seconds: float,
    out: Results,
) -> None:
    for number in range(rounds):
        order = list(pythons) if number % 2 == 0 else list(reversed(pythons))
        for model in wanted:
            for peer in order if model != "overload" else ():
                attempt(measure_load, peer, model, number, pythons[peer], folders[peer], seconds, out)
            for peer in order if model in OVERLOADS else ():
                attempt(measure_overload, peer, model, number, pythons, folders, seconds, out)
    for peer, python in pythons.items():
        attempt(measure_memory, peer, python, folders[peer], out)


def attempt(measure: Callable[..., None], *arguments: Any) -> None:
    """Measure, and say so if a server cannot be: the others still are."""
    try:
        measure(*arguments)
    except ServerFailedError as exc:
        print(f"error: {exc}", file=sys.stderr)


def version_of(python: Path, peer: str) -> str:
    distribution = {"kappa": "kappa-ml"}.get(peer, peer)
    code = f"from importlib.metadata import version; print(version({distribution!r}))"
    return subprocess.run([python, "-c", code], check=True, capture_output=True, text=True).stdout.strip()


if __name__ == "__main__":
    main(sys.argv[1:])
