"""The whole path once, with a real model, a real build, a real server and real requests: what `make demo` runs.

Trains `examples/iris`, builds it into a store of its own below `.demo/`, serves the bundle with gunicorn on a free
port, asks it over HTTP, sends a burst to show batching, and stops it. Exits with 0 only if every step went right.
"""

from __future__ import annotations

import http.client
import json
import os
import re
import shlex
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

__all__ = ["main"]

ROOT = Path(__file__).resolve().parents[1]
IRIS = ROOT / "examples" / "iris"
DEMO = ROOT / ".demo"
SPECIES = ("setosa", "versicolor", "virginica")
FLOWER = [5.1, 3.5, 1.4, 0.2]
CLIENTS, REQUESTS_EACH = 32, 25
READY_WITHIN_S = 60
STOPPED_WITHIN_S = 30


class DemoFailedError(Exception):
    """A step did not go as it should."""


def main() -> int:
    started = time.monotonic()
    os.environ["KAPPA_HOME"] = str(DEMO / "kappa")
    DEMO.mkdir(exist_ok=True)
    try:
        step("Train a model on 150 flowers")
        run(sys.executable, "train.py")
        step("Build a bundle: the code, the model, and every package pinned by hash")
        bundle = Path(run(*kappa("build"))[-1])
        step("Serve it")
        port = free_port()
        with serving(bundle, port):
            step("Ask it over HTTP")
            species = predict(port, FLOWER)
            step(f"Let {CLIENTS} clients ask at the same time")
            burst(port)
    except (DemoFailedError, OSError) as exc:
        print(f"\nThe demo failed: {exc}", file=sys.stderr)
        return 1
    say(f"\nDone in {time.monotonic() - started:.0f} s; the bundle stays in {bundle.relative_to(ROOT)}.")
    say(f"The server's answer: a flower with the measurements {FLOWER} is an iris {SPECIES[species]}.")
    return 0


def step(text: str) -> None:
    print(f"\n== {text}", flush=True)


def say(text: str) -> None:
    print(text, flush=True)


def kappa(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "kappa", *arguments]


def shown(command: list[str]) -> str:
    return shlex.join(command).replace(shlex.join(kappa()), "kappa").replace(shlex.quote(sys.executable), "python")


def run(*command: str) -> list[str]:
    """Run a command in the example's folder, show it and its output, and return the lines it printed."""
    say(f"$ {shown(list(command))}")
    finished = subprocess.run(command, cwd=IRIS, stdout=subprocess.PIPE, text=True, check=False)
    print(finished.stdout, end="", flush=True)
    if finished.returncode != 0:
        raise DemoFailedError(f"`{shown(list(command))}` exited with {finished.returncode}.")
    return finished.stdout.splitlines()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@contextmanager
def serving(bundle: Path, port: int) -> Iterator[None]:
    """Serve the bundle until the block ends; the server must then stop by itself, without an error."""
    command = kappa("serve-gunicorn", str(bundle), "--host", "127.0.0.1", "--port", str(port))
    log = DEMO / "server.log"
    say(f"$ {shown(command)}")
    with log.open("w", encoding="utf-8") as output:
        server = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT)
    try:
        wait_until_ready(server, port)
        say(f"It is ready on http://127.0.0.1:{port}; it logs to {log.relative_to(ROOT)}.")
        yield
        server.terminate()
        code = server.wait(STOPPED_WITHIN_S)
        if code != 0:
            raise DemoFailedError(f"the server exited with {code} when it was asked to stop.")
    except (DemoFailedError, OSError, subprocess.TimeoutExpired):
        print(log.read_text(encoding="utf-8")[-4000:], file=sys.stderr)
        raise
    finally:
        if server.poll() is None:
            server.kill()
            server.wait()


def wait_until_ready(server: subprocess.Popen[bytes], port: int) -> None:
    deadline = time.monotonic() + READY_WITHIN_S
    while time.monotonic() < deadline:
        if server.poll() is not None:
            raise DemoFailedError(f"the server exited with {server.returncode} before it was ready.")
        try:
            if ask(port, "GET", "/readyz")[0] == 200:
                return
        except OSError:
            pass  # it does not listen yet
        time.sleep(0.1)
    raise DemoFailedError(f"the server was not ready within {READY_WITHIN_S} s.")


def ask(port: int, method: str, path: str, body: str = "") -> tuple[int, str]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        connection.request(method, path, body or None, {"Content-Type": "application/json"} if body else {})
        response = connection.getresponse()
        return response.status, response.read().decode()
    finally:
        connection.close()


def predict(port: int, flower: list[float]) -> int:
    """Send one request, show it and its answer, and return the predicted class."""
    body = json.dumps([flower])
    url = f"http://127.0.0.1:{port}/predict"
    say(f"$ curl {url} --header 'Content-Type: application/json' --data '{body}'")
    status, answer = ask(port, "POST", "/predict", body)
    say(answer)
    if status != 200:
        raise DemoFailedError(f"`{url}` answered {status}.")
    (species,) = json.loads(answer)
    return int(species)


def burst(port: int) -> None:
    """Send requests from many clients at once, check every answer, and say how they were batched."""
    before = batches(port)
    failures: list[str] = []
    clients = [threading.Thread(target=client, args=(port, failures)) for _ in range(CLIENTS)]
    started = time.monotonic()
    for each in clients:
        each.start()
    for each in clients:
        each.join()
    seconds = time.monotonic() - started
    if failures:
        raise DemoFailedError(f"{len(failures)} requests of the burst failed, the first with: {failures[0]}.")
    after = batches(port)
    count, requests = after[0] - before[0], after[1] - before[1]
    if requests != CLIENTS * REQUESTS_EACH:
        raise DemoFailedError(f"/metrics counts {requests:.0f} requests of {CLIENTS * REQUESTS_EACH}.")
    say(
        f"{requests:.0f} requests were answered in {seconds:.1f} s by {count:.0f} calls of the model: "
        f"{requests / count:.1f} requests per batch, as /metrics tells."
    )


def client(port: int, failures: list[str]) -> None:
    body = json.dumps([FLOWER])
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    try:
        for _ in range(REQUESTS_EACH):
            connection.request("POST", "/predict", body, {"Content-Type": "application/json"})
            response = connection.getresponse()
            answer = response.read().decode()
            if response.status != 200 or json.loads(answer) != [0]:
                failures.append(f"{response.status} {answer}")
    except (OSError, http.client.HTTPException, ValueError) as exc:
        failures.append(f"{type(exc).__name__}: {exc}")
    finally:
        connection.close()


def batches(port: int) -> tuple[float, float]:
    """Return how many batches the server has run so far, and how many requests were in them."""
    text = ask(port, "GET", "/metrics")[1]
    return tuple(  # type: ignore[return-value]
        sum(float(value) for value in re.findall(rf"^kappa_batch_requests_{word}{{[^}}]*}} (\S+)$", text, re.MULTILINE))
        for word in ("count", "sum")
    )


if __name__ == "__main__":
    sys.exit(main())
