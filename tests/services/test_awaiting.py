"""Coroutines of a service's own code run on one event loop: the server's, or else Kappa's own."""

from __future__ import annotations

import asyncio
import json
import logging
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from kappa.actions.targets import open_target, resolve_target
from kappa.cli.main import cli
from kappa.errors import ConfigurationError, InferenceFailedError
from kappa.services.awaiting import awaited, is_awaitable
from kappa.testing import client
from kappa.types import Payload

MODULE = "awaiting_handlers"


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Return a function that writes a project with `setup`, `teardown` and one API; its module is forgotten again."""
    monkeypatch.setattr(sys, "path", list(sys.path))

    def write(code: str, *, setup: bool = True, teardown: bool = True, batch: bool = False) -> Path:
        (tmp_path / f"{MODULE}.py").write_text(code, encoding="utf-8")
        (tmp_path / "kappafile.toml").write_text(
            'kappafile = 1\n[service]\nname = "Demo"\n'
            + (f'setup = "{MODULE}:setup"\n' if setup else "")
            + (f'teardown = "{MODULE}:teardown"\n' if teardown else "")
            + f'[apis.predict]\nfunction = "{MODULE}:predict"\ninput = "json"\nbatch = {str(batch).lower()}\n',
            encoding="utf-8",
        )
        return tmp_path

    yield write
    sys.modules.pop(MODULE, None)


@contextmanager
def served(root: Path) -> Iterator[Any]:
    """Ask a project in a server's application."""
    with client(root) as asking:
        yield lambda value: asking.predict(value)


@contextmanager
def run(root: Path) -> Iterator[Any]:
    """Ask a project as `kappa run` and `kappa test` do."""
    with open_target(resolve_target(str(root))) as service:
        api = service.apis["predict"]
        yield lambda value: json.loads(api.answer_payload(Payload(json.dumps(value).encode())).body)


DOORS = pytest.mark.parametrize(("door", "thread"), [(served, "kappa-testing"), (run, "kappa-async")])
WHERE = (
    "import asyncio, functools, threading\nSEEN = []\ndef see():\n    SEEN.append(threading.current_thread().name)\n"
)
SETUP = (
    "async def setup():\n    await asyncio.sleep(0)\n    see()\n    return {'loop': asyncio.get_running_loop()}\n"
    "async def teardown(loop):\n    await asyncio.sleep(0)\n    see()\n    assert loop is asyncio.get_running_loop()\n"
)
FUNCTIONS = {
    "async def": "async def predict(x, loop):\n    return await real(x, loop)",
    "a call of one": "def predict(x, loop):\n    return real(x, loop)",
    "a decorator": (
        "def traced(f):\n    @functools.wraps(f)\n    def wrapper(*args, **more):\n        return f(*args, **more)\n"
        "    return wrapper\n@traced\nasync def predict(x, loop):\n    return await real(x, loop)"
    ),
    "a decorator that waits itself": (
        "def traced(f):\n    @functools.wraps(f)\n    def wrapper(x, loop):\n"
        "        return asyncio.run_coroutine_threadsafe(f(x, loop), loop).result()\n"
        "    return wrapper\n@traced\nasync def predict(x, loop):\n    return await real(x, loop)"
    ),
    "a partial": "async def ask(y, x, loop):\n    return await real(x, loop)\npredict = functools.partial(ask, 1)",
    "an object": (
        "class Ask:\n    async def __call__(self, x, loop):\n        return await real(x, loop)\npredict = Ask()"
    ),
    "what can be awaited": (
        "class Later:\n    def __init__(self, *args):\n        self.args = args\n"
        "    def __await__(self):\n        return real(*self.args).__await__()\n"
        "def predict(x, loop):\n    return Later(x, loop)"
    ),
}
REAL = (
    "async def real(x, loop):\n    await asyncio.sleep(0)\n    see()\n    assert loop is asyncio.get_running_loop()\n"
    "    return [v * 2 for v in x] if isinstance(x, list) else x * 2\n"
)


@DOORS
@pytest.mark.parametrize("batch", [False, True])
@pytest.mark.parametrize("function", FUNCTIONS)
def test_everything_that_is_awaited_runs_on_one_loop(
    function: str, batch: bool, door: Any, thread: str, project: Any
) -> None:
    root = project(WHERE + SETUP + REAL + FUNCTIONS[function], batch=batch)
    with door(root) as ask:
        assert [ask(1), ask(2)] == [2, 4]
        seen = sys.modules[MODULE].SEEN
    assert seen == [thread] * 4


def test_kappa_run_and_kappa_test_await_setup(project: Any) -> None:
    root = project(WHERE + SETUP + REAL + FUNCTIONS["a decorator"])
    example = '[[examples]]\nname = "one"\napi = "predict"\ninput = 3\nexpect = 6\n'
    with (root / "kappafile.toml").open("a", encoding="utf-8") as file:
        file.write(example)
    answered = CliRunner().invoke(cli, ["run", str(root), "predict", "--input", "4"])
    assert (answered.exit_code, answered.stdout) == (0, "8\n"), answered.stderr
    sys.modules.pop(MODULE)
    tested = CliRunner().invoke(cli, ["test", str(root)])
    assert tested.exit_code == 0, tested.output


@DOORS
def test_a_client_of_a_loop_that_plain_setup_makes_is_told_where_it_belongs(
    door: Any, thread: str, project: Any
) -> None:
    del thread
    code = (
        "import asyncio\ndef setup():\n    return {'loop': asyncio.get_running_loop()}\ndef predict(x, loop): return x"
    )
    with pytest.raises(InferenceFailedError) as error, door(project(code, teardown=False)):
        pass
    assert str(error.value) == (
        f"`setup` ({MODULE}:setup) failed: RuntimeError: no running event loop ({MODULE}.py:3). "
        "Make what belongs to the event loop in an `async def setup`, which is awaited there."
    )


@DOORS
def test_a_failing_async_setup_says_where(door: Any, thread: str, project: Any) -> None:
    del thread
    code = "async def setup():\n    return {}['db']\ndef predict(x): return x"
    with pytest.raises(InferenceFailedError) as error, door(project(code, teardown=False)):
        pass
    assert str(error.value) == f"`setup` ({MODULE}:setup) failed: KeyError: 'db' ({MODULE}.py:2)."


@DOORS
@pytest.mark.parametrize(("word", "kind"), [("def", "generator"), ("async def", "async_generator")])
def test_setup_that_yields_is_told(word: str, kind: str, door: Any, thread: str, project: Any) -> None:
    del thread
    code = f"{word} made():\n    yield {{}}\nsetup = made\ndef predict(x): return x"
    with pytest.raises(ConfigurationError) as error, door(project(code, teardown=False)):
        pass
    assert str(error.value) == (
        f"`setup` ({MODULE}:setup) must return a mapping of names to values, not `{kind}`. Return what it yields, and "
        "close it in `teardown`."
    )


@pytest.mark.parametrize("word", ["def", "async def"])
def test_teardown_that_yields_is_told(word: str, project: Any, caplog: pytest.LogCaptureFixture) -> None:
    code = f"{word} ending():\n    yield\nteardown = ending\ndef predict(x): return x"
    with caplog.at_level(logging.ERROR), served(project(code, setup=False)) as ask:
        assert ask(1) == 1
    assert "It is a generator, so nothing of it was run" in caplog.text


@pytest.mark.parametrize("batch", [False, True])
@pytest.mark.parametrize(
    "function",
    [
        "def f(x):\n    yield x\n",
        "async def f(x):\n    yield x\n",
        "def f(x):\n    return (y for y in [x])\n",
    ],
)
def test_a_function_that_returns_a_generator_is_a_500_whose_reason_is_logged(
    function: str, batch: bool, project: Any, caplog: pytest.LogCaptureFixture
) -> None:
    with client(project(f"{function}predict = f", setup=False, teardown=False, batch=batch)) as asking:
        assert asking.post("/predict", json=1).status_code == 500
    assert (
        "API `predict`) returned a generator. Streaming is not supported yet: return the whole result." in caplog.text
    )


def test_a_coroutine_that_ends_the_program_does_not_end_the_loop() -> None:
    async def leave() -> None:
        sys.exit(3)

    async def stay() -> str:
        return threading.current_thread().name

    with pytest.raises(InferenceFailedError, match="`SystemExit`, which ends a program"):
        awaited(leave(), None)
    assert awaited(stay(), None) == "kappa-async"


def test_what_a_loop_would_have_to_wait_for_itself_is_refused() -> None:
    async def inner() -> None: ...

    async def outer() -> None:
        with pytest.raises(InferenceFailedError, match="on the event loop, which cannot wait for it"):
            awaited(inner(), asyncio.get_running_loop())

    asyncio.run(outer())


@pytest.mark.parametrize("value", [1, [], {}, None, "text", object()])
def test_a_value_cannot_be_awaited(value: Any) -> None:
    assert not is_awaitable(value)
