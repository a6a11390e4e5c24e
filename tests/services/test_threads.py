"""Which thread runs what: what is made while loading is used as it was made, and the same everywhere."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import subprocess
import sys
import textwrap
import threading
import urllib.request
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, Literal

import falcon.testing
import pytest
from click.testing import CliRunner

import kappa.testing
from kappa.cli.main import cli
from kappa.errors import InferenceFailedError
from kappa.server.http.app import create_app
from kappa.server.parent import AwaitedStart
from kappa.server.served import Served
from kappa.services.service import load_service
from kappa.services.source import ServiceSource
from kappa.services.threads import ServiceThread
from kappa.spec.contracts import ArtifactPlugin
from kappa.spec.document import ArtifactSource
from kappa.spec.service import ApiSpec, ArtifactMethod, ServiceSpec

MAKING = """
import asyncio, decimal, sqlite3, threading
from contextvars import ContextVar
from pathlib import Path

import numpy as np

import kappa

word = ContextVar("word")
module_thread = threading.get_ident()


class Held:
    def __init__(self):
        self.thread = threading.get_ident()
        self.db = sqlite3.connect(":memory:")
        self.local = threading.local()
        self.local.value = 1
        decimal.getcontext().prec = 50
        np.seterr(divide="raise")
        word.set("told")

    def close(self):
        try:
            self.db.close()
            outcome = "closed"
        except sqlite3.ProgrammingError:
            outcome = "in another thread"
        Path(__file__).with_name("closed").write_text(outcome)


def outcome(call):
    try:
        return call()
    except Exception as exc:
        return type(exc).__name__


def divided():
    return float(np.float64(1) / np.float64(0))


def found(held):
    return {
        "thread": threading.get_ident() == held.thread == module_thread,
        "sqlite": outcome(lambda: held.db.execute("select 1").fetchone()[0]),
        "local": outcome(lambda: held.local.value),
        "decimal": decimal.getcontext().prec,
        "numpy": outcome(divided),
        "context": outcome(word.get),
    }
"""
FUNCTIONS = """
def setup():
    return {"held": Held()}

def teardown(held):
    held.close()

def one(value, held):
    return found(held)

def two(value, held):
    return found(held)

async def later(value, held):
    return found(held)
"""
CLASS = """
class Service(kappa.BentoService):
    def __init__(self):
        self.held = Held()

    def one(self, value):
        return found(self.held)

    def two(self, value):
        return found(self.held)

    async def later(self, value):
        return found(self.held)
"""
WORKS = {"thread": True, "sqlite": 1, "local": 1, "decimal": 50, "numpy": "FloatingPointError", "context": "told"}
"""What a function finds in the thread that loaded the service."""
ELSEWHERE = {**WORKS, "thread": False, "sqlite": "ProgrammingError", "local": "AttributeError"}
"""What it finds in another: context variables hold there as well."""

APIS: dict[str, tuple[dict[str, dict[str, int]], dict[str, Any]]] = {
    "one": ({"one": {}}, {"one": WORKS}),
    "one-and-async": ({"one": {}, "later": {}}, {"one": WORKS, "later": ELSEWHERE}),
    "two": ({"one": {}, "two": {}}, {"one": ELSEWHERE, "two": ELSEWHERE}),
    "several-calls": ({"one": {"max_concurrency": 2}}, {"one": ELSEWHERE}),
    "async": ({"later": {}}, {"later": ELSEWHERE}),
}
"""The APIs of a service, and what the function of each finds."""
MAKERS = ["setup", "class"]

every_service = pytest.mark.parametrize(
    ("maker", "apis"), [pytest.param(maker, apis, id=f"{maker}-{apis}") for maker in MAKERS for apis in APIS]
)


@pytest.fixture
def make_project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str, str], Path]]:
    monkeypatch.setattr(sys, "path", list(sys.path))
    module = f"threads_{os.getpid()}_{tmp_path.name.replace('-', '_')}"

    def make(maker: str, apis: str) -> Path:
        options, expected = APIS[apis]
        source = MAKING + (FUNCTIONS if maker == "setup" else CLASS)
        if maker == "class":  # its decorators declare the service
            lines = []
            for line in source.splitlines():
                name = (re.findall(r"^    (?:async )?def (one|two|later)\(", line) or [""])[0]
                if name in options:
                    given = "".join(f", {key}={value}" for key, value in options[name].items())
                    example = f"    @kappa.example({name!r}, input=1, expect={expected[name]!r})"
                    lines += [example, f"    @kappa.api(input=kappa.adapters.JsonInput(){given})"]
                lines.append(line)
            source = "\n".join(lines).replace("import kappa\n", "import kappa\nimport kappa.adapters\n")
            text = f'kappafile = 1\n[service]\nclass = "{module}:Service"\n'
        else:
            text = 'kappafile = 1\n[service]\nname = "Threads"\n'
            text += f'setup = "{module}:setup"\nteardown = "{module}:teardown"\n'
            for name, keys in options.items():
                text += f'[apis.{name}]\nfunction = "{module}:{name}"\ninput = "json"\n'
                text += "".join(f"{key} = {value}\n" for key, value in keys.items())
            for name in options:
                answer = ", ".join(f"{key} = {json.dumps(value)}" for key, value in expected[name].items())
                text += f'[[examples]]\nname = "{name}"\napi = "{name}"\ninput = 1\nexpect = {{ {answer} }}\n'
        (tmp_path / f"{module}.py").write_text(source, encoding="utf-8")
        (tmp_path / "kappafile.toml").write_text(text, encoding="utf-8")
        monkeypatch.chdir(tmp_path)
        return tmp_path

    yield make
    sys.modules.pop(module, None)


def call(*arguments: str) -> Any:
    result = CliRunner().invoke(cli, list(arguments), prog_name="kappa")
    assert result.exit_code == 0, result.output
    return result.stdout


def by_test(project: Path, apis: list[str]) -> dict[str, Any]:
    return {example["api"]: example["got"] for example in json.loads(call("test", ".", "--format", "json"))}


def by_run(project: Path, apis: list[str]) -> dict[str, Any]:
    found = {}
    for api in apis:
        found[api] = json.loads(call("run", ".", api, "--input", "1"))
        for name in [name for name in sys.modules if name.startswith("threads_")]:
            del sys.modules[name]  # each command is a process of its own
    return found


def by_client(project: Path, apis: list[str]) -> dict[str, Any]:
    with kappa.testing.client(".") as client:
        return {api: client.post(f"/{api}", json=1).json for api in apis}


@pytest.mark.parametrize("way", [by_test, by_run, by_client])
@every_service
def test_what_is_made_while_loading_is_used_as_it_was_made(
    make_project: Callable[[str, str], Path], maker: str, apis: str, way: Callable[[Path, list[str]], dict[str, Any]]
) -> None:
    project = make_project(maker, apis)
    assert way(project, list(APIS[apis][0])) == APIS[apis][1]
    if maker == "setup":
        assert (project / "closed").read_text(encoding="utf-8") == "closed"  # by the thread that made it


SERVING = {
    "serve": [sys.executable, "-m", "kappa", "serve", ".", "--host", "127.0.0.1", "--port", "0"],
    "gunicorn": [sys.executable, "-c", "from kappa.server.process.launch import serve_gunicorn as serve"],
    "uvicorn": [sys.executable, "-c", "from kappa.server.process.launch import serve_uvicorn as serve"],
}
THEN = """
from kappa.actions.serving import served_project
from kappa.server.options import ServerOptions
serve([served_project(".")], ServerOptions(host="127.0.0.1", port=0))
"""


@pytest.mark.engine
@pytest.mark.skipif(sys.platform == "win32", reason="gunicorn does not run on Windows")
@pytest.mark.parametrize("server", SERVING)
@pytest.mark.parametrize(("maker", "apis"), [("setup", "one-and-async"), ("setup", "two"), ("class", "one")])
def test_the_same_is_found_in_every_server(
    make_project: Callable[[str, str], Path], maker: str, apis: str, server: str
) -> None:
    project = make_project(maker, apis)
    *command, last = SERVING[server]
    command.append(last + textwrap.dedent(THEN) if "-c" in command else last)
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, cwd=project)
    assert process.stderr is not None
    lines = []
    for line in process.stderr:
        lines.append(line)
        if "Ready" in line:
            break
    port = re.search(r"127\.0\.0\.1:(\d+)", "".join(lines))
    try:
        assert port is not None, "".join(lines)
        for _ in range(2):
            for api, expected in APIS[apis][1].items():
                request = urllib.request.Request(
                    f"http://127.0.0.1:{port[1]}/{api}", b"1", {"Content-Type": "application/json"}
                )
                with urllib.request.urlopen(request, timeout=30) as answer:
                    assert json.loads(answer.read()) == expected
    finally:
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=30)
    if maker == "setup":
        assert (project / "closed").read_text(encoding="utf-8") == "closed"


def test_a_connection_of_another_thread_comes_with_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", list(sys.path))
    module = f"threads_hint_{os.getpid()}"
    (tmp_path / f"{module}.py").write_text(
        "import sqlite3\n"
        "def setup(): return {'db': sqlite3.connect(':memory:')}\n"
        "def one(x, db): return db.execute('select 1').fetchone()[0]\n"
        "def two(x, db): return one(x, db)\n",
        encoding="utf-8",
    )
    text = f'kappafile = 1\n[service]\nname = "Db"\nsetup = "{module}:setup"\n'
    text += "".join(f'[apis.{api}]\nfunction = "{module}:{api}"\ninput = "json"\n' for api in ("one", "two"))
    text += '[[examples]]\nname = "a look-up"\napi = "one"\ninput = 1\nexpect = 1\n'
    (tmp_path / "kappafile.toml").write_text(text, encoding="utf-8")
    for command in (["test", str(tmp_path)], ["run", str(tmp_path), "two", "--input", "1"]):
        sys.modules.pop(module, None)
        result = CliRunner().invoke(cli, command, prog_name="kappa")
        assert result.exit_code == 9
        assert "each has a thread of its own: connect once per thread" in result.output
    sys.modules.pop(module, None)


@pytest.mark.parametrize("is_bound", [False, True])
def test_a_model_that_is_bound_to_its_thread_never_runs_on_the_loop(is_bound: bool) -> None:
    class Bound(ArtifactPlugin):
        type: Literal["test.bound"] = "test.bound"
        thread_bound: ClassVar[bool] = is_bound

    api = ApiSpec(name="count", target=ArtifactMethod(artifact="model", method="count"), input="json")
    spec = ServiceSpec(name="Bound", apis=(api,), artifacts=(Bound("model"),))
    sources = {"model": ArtifactSource(value=[1, 2, 1])}
    served = Served(spec, "1", partial(load_service, ServiceSource.of_project(spec, sources, root=Path.cwd())))

    async def run() -> bool:
        parent = AwaitedStart()
        app = create_app([served], parent=parent)
        async with falcon.testing.ASGIConductor(app) as conductor:
            await asyncio.wait_for(parent.outcome, 60)
            assert (await conductor.simulate_post("/count", body="1")).json == 2
            batcher = app.current.host.endpoints["Bound"]["count"].batcher
            assert batcher is not None
            state = batcher.state
        return "loop" in state.placements

    assert asyncio.run(run()) is not is_bound


def test_a_thread_that_is_held_up_does_not_hold_up_the_last_call() -> None:
    may_end = threading.Event()
    thread = ServiceThread("test")
    held_up = thread.submit(may_end.wait)
    assert thread.end_with(lambda: "closed").result(20) == "closed"
    assert not held_up.done()
    may_end.set()
    assert held_up.result(20)


def test_the_last_call_is_made_in_the_thread_and_ends_it() -> None:
    thread = ServiceThread("test")
    ident = thread.run(threading.get_ident)
    assert thread.end_with(threading.get_ident).result(20) == ident
    thread._thread.join(20)
    assert not thread._thread.is_alive()


@pytest.mark.parametrize("raised", [SystemExit(0), KeyboardInterrupt(), StopIteration()])
def test_what_would_end_a_process_or_a_loop_is_a_failure(raised: BaseException) -> None:
    def leave() -> None:
        raise raised

    thread = ServiceThread("test")
    with pytest.raises(InferenceFailedError, match=f"raised `{type(raised).__name__}`"):
        thread.run(leave)
    thread.end()


def test_a_thread_that_has_ended_makes_no_second_last_call_and_keeps_nobody_waiting() -> None:
    thread = ServiceThread("ends")
    first = thread.end_with(lambda: "closed")
    assert first.result(10) == "closed"
    assert thread.end_with(lambda: "again").result(10) == "closed"
