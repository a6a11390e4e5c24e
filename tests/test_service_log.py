"""What a service logs while its own code sets up logging, each case in a process of its own."""

from __future__ import annotations

import logging
import re
import signal
import subprocess
import sys
import urllib.error
import urllib.request
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from kappa import service_log

SETUPS = {
    "nothing": "",
    "dictConfig": """
logging.config.dictConfig({"version": 1, "handlers": {"h": {"class": "logging.StreamHandler", "formatter": "f"}},
    "formatters": {"f": {"format": "mine %(message)s"}}, "root": {"level": "INFO", "handlers": ["h"]}})""",
    "dictConfig-that-keeps": """
logging.config.dictConfig({"version": 1, "handlers": {"h": {"class": "logging.StreamHandler", "formatter": "f"}},
    "disable_existing_loggers": False,
    "formatters": {"f": {"format": "mine %(message)s"}}, "root": {"level": "INFO", "handlers": ["h"]}})""",
    "fileConfig": """
logging.config.fileConfig(io.StringIO('''
[loggers]
keys=root
[handlers]
keys=h
[formatters]
keys=f
[logger_root]
level=INFO
handlers=h
[handler_h]
class=StreamHandler
args=(sys.stderr,)
formatter=f
[formatter_f]
format=mine %(message)s
'''))""",
    "basicConfig-of-nothing": "logging.basicConfig()",
    "basicConfig": 'logging.basicConfig(format="mine %(message)s")',
    "basicConfig-by-force": 'logging.basicConfig(force=True, level=logging.INFO, format="mine %(message)s")',
    "root-handler": """
handler = logging.StreamHandler()
handler.setFormatter(logging.Formatter("mine %(message)s"))
logging.getLogger().addHandler(handler)""",
    "disable": "logging.disable(logging.CRITICAL)",
    "root-level": "logging.getLogger().setLevel(logging.CRITICAL)",
    "all-levels": """
for name in list(logging.root.manager.loggerDict):
    logging.getLogger(name).setLevel(logging.CRITICAL)""",
    "all-disabled": """
for logger in list(logging.root.manager.loggerDict.values()):
    logger.disabled = True""",
    "taken-over": """
logging.basicConfig(force=True, level=logging.INFO, format="mine %(message)s")
for name in list(logging.root.manager.loggerDict):
    logging.getLogger(name).handlers = []
    logging.getLogger(name).propagate = True""",
    "own-handler-of-kappa": """
logging.getLogger("kappa").addHandler(logging.StreamHandler())""",
    "dictConfig-of-kappa": """
logging.config.dictConfig({"version": 1, "handlers": {"h": {"class": "logging.StreamHandler", "formatter": "f"}},
    "formatters": {"f": {"format": "mine %(message)s"}}, "root": {"level": "INFO", "handlers": ["h"]},
    "loggers": {"kappa": {"handlers": ["h"], "level": "INFO"}}})""",
    "captureWarnings": "logging.captureWarnings(True)",
}
"""What user code does about logging."""

_KAPPAS = ("nothing", "basicConfig-of-nothing", "captureWarnings", "own-handler-of-kappa", "all-levels", "all-disabled")
USERS_LINE = {
    **dict.fromkeys(SETUPS, "mine"),
    **dict.fromkeys(_KAPPAS, " INFO "),
    **dict.fromkeys(["disable", "root-level"], None),
}
"""What stands before a line that the function logs with `logging.info`; ``None`` where it asked for no such lines."""

CODE = """
import io, logging, logging.config, sys, warnings

BEFORE

def setup():
    IN_SETUP

def fail(value):
    IN_FUNCTION
    logging.info("a line of the user's")
    logging.getLogger("users").info("a line of a logger of the user's")
    logging.getLogger("urllib3").debug("noise")
    for _ in range(20):
        with warnings.catch_warnings():
            warnings.simplefilter("default")
            warnings.warn("X has feature names", UserWarning, stacklevel=1)
    raise RuntimeError("it broke")

def unencodable(value):
    return object()
"""
KAPPAFILE = """
kappafile = 1
[service]
name = "Logs"
setup = "logs_handlers:setup"
[apis.fail]
function = "logs_handlers:fail"
input = "json"
[apis.unencodable]
function = "logs_handlers:unencodable"
input = "json"
[[examples]]
name = "a failure"
api = "fail"
input = 1
"""
ASKING = """
import asyncio, logging, os, sys, traceback
import falcon.testing
from kappa.actions.serving import served_project
from kappa.server.http.app import create_app
from kappa.server.parent import AwaitedStart
from kappa.service_log import logging_to_stderr

async def main():
    parent = AwaitedStart()
    app = create_app([served_project(".")], parent=parent, examples_of=lambda _: "skip")
    async with falcon.testing.ASGIConductor(app) as conductor:
        await parent.outcome
        for path in ("/fail", "/fail", "/unencodable"):
            await conductor.simulate_post(path, body="1", headers={"X-Request-Id": f"id-of-{path[1:]}"})

def ask(folder):
    sys.path[0] = ""
    os.chdir(folder)
    with open("stderr", "w") as file:
        os.dup2(file.fileno(), 2)
    with logging_to_stderr():
        asyncio.run(main())

print(flush=True)
for line in sys.stdin:
    if (child := os.fork()) == 0:
        status = 1
        try:
            ask(line.rstrip("\\n"))
            status = 0
        except BaseException:
            traceback.print_exc()
        finally:
            logging.shutdown()
            sys.stderr.flush()
            os._exit(status)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""
"""Asks the projects whose folders are told, each in a fork of a process that has everything imported."""


def project(folder: Path, code: str, moment: str) -> Path:
    text = CODE
    for place in ("BEFORE", "IN_SETUP", "IN_FUNCTION"):
        inside = code if place == moment else ""
        indent = "" if place == "BEFORE" else "    "
        text = text.replace(place, f"\n{indent}".join(line for line in inside.split("\n")) or "pass")
    (folder / "logs_handlers.py").write_text(text, encoding="utf-8")
    (folder / "kappafile.toml").write_text(KAPPAFILE, encoding="utf-8")
    return folder


def check(log: str, setup: str, *, failures: int) -> None:
    """Check that the log says of each failure why, once."""
    assert log.count("RuntimeError: it broke\n") == failures, log
    assert log.count("Traceback (most recent call last)") >= failures, log
    assert len(re.findall(r"X has feature names \(", log)) <= 1, log
    assert "noise" not in log
    lines = [line for line in log.splitlines() if "a line of the user's" in line]
    expected = USERS_LINE[setup]
    assert len(lines) == (0 if expected is None else failures), log
    assert all(str(expected) in line for line in lines), log


@pytest.fixture(scope="module")
def ask() -> Iterator[Callable[[Path], tuple[int, str]]]:
    """Return a function that asks the project in a folder, in a process of its own, and returns its status and log."""
    with subprocess.Popen(
        [sys.executable, "-c", ASKING], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        folders, statuses = process.stdin, process.stdout
        assert folders is not None
        assert statuses is not None
        statuses.readline()

        def ask_in(folder: Path) -> tuple[int, str]:
            print(folder, file=folders, flush=True)
            return int(statuses.readline()), (folder / "stderr").read_text(encoding="utf-8")

        yield ask_in
        folders.close()


@pytest.mark.skipif(sys.platform == "win32", reason="Windows does not fork")
@pytest.mark.parametrize("moment", ["BEFORE", "IN_SETUP", "IN_FUNCTION"])
@pytest.mark.parametrize("setup", SETUPS)
def test_the_log_says_why_once_whatever_the_code_sets_up(
    ask: Callable[[Path], tuple[int, str]], tmp_path: Path, setup: str, moment: str
) -> None:
    if setup in ("own-handler-of-kappa", "root-handler") and moment == "IN_FUNCTION":
        pytest.skip("it adds another handler in every call")
    project(tmp_path, SETUPS[setup], moment)
    status, log = ask(tmp_path)
    assert status == 0, log
    check(log, setup, failures=2)
    if moment != "IN_FUNCTION":  # there the second call disables what the first one has used
        told = log.count("a line of a logger of the user's")
        assert told == (0 if USERS_LINE[setup] is None else 2), log
    assert log.count("`Logs.fail` failed to answer id-of-fail") == 2
    assert log.count("The answer of `unencodable` to id-of-unencodable cannot be encoded") == 1
    if setup in ("nothing", "dictConfig", "basicConfig-by-force"):
        assert log.count("UserWarning: X has feature names") == 1


COMMANDS = {
    "test": (["test", "--verbose"], 9),
    "run": (["run", ".", "fail", "--input", "1", "--verbose"], 9),
}


@pytest.mark.parametrize("setup", ["nothing", "dictConfig", "basicConfig-by-force", "disable"])
@pytest.mark.parametrize("command", COMMANDS)
def test_commands_say_why_once_too(tmp_path: Path, setup: str, command: str) -> None:
    arguments, code = COMMANDS[command]
    project(tmp_path, SETUPS[setup], "BEFORE")
    finished = subprocess.run(
        [sys.executable, "-m", "kappa", *arguments],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert finished.returncode == code, finished.stderr
    assert finished.stderr.count('    raise RuntimeError("it broke")\nRuntimeError: it broke\n') == 1, finished.stderr
    assert finished.stderr.count("UserWarning: X has feature names") == 1
    line = {"nothing": "info: ", "disable": None}.get(setup, "mine ")
    assert finished.stderr.count("a line of the user's") == (line is not None)
    assert line is None or f"{line}a line of the user's\n" in finished.stderr
    assert "noise" not in finished.stderr


def test_commands_that_are_quiet_show_no_lines_that_are_only_told(tmp_path: Path) -> None:
    project(tmp_path, "", "BEFORE")
    command = [sys.executable, "-m", "kappa", "run", ".", "fail", "--input", "1", "--quiet"]
    finished = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False)
    assert "a line of the user's" not in finished.stderr
    assert "warning: UserWarning: X has feature names" in finished.stderr


SERVING = {
    "serve": [sys.executable, "-m", "kappa", "serve", ".", "--examples", "skip", "--host", "127.0.0.1", "--port", "0"],
    "gunicorn": [sys.executable, "-c", "from kappa.server.process.launch import serve_gunicorn as serve"],
    "uvicorn": [sys.executable, "-c", "from kappa.server.process.launch import serve_uvicorn as serve"],
}
THEN = """
from kappa.actions.serving import served_project
from kappa.server.options import ServerOptions
serve([served_project(".")], ServerOptions(host="127.0.0.1", port=0, access_log=True, examples="skip"))
"""


@pytest.mark.engine
@pytest.mark.skipif(sys.platform == "win32", reason="gunicorn does not run on Windows")
@pytest.mark.parametrize("setup", ["nothing", "dictConfig", "basicConfig-by-force", "disable"])
@pytest.mark.parametrize("server", SERVING)
def test_every_server_says_why_once(tmp_path: Path, server: str, setup: str) -> None:
    project(tmp_path, SETUPS[setup], "BEFORE")
    *command, last = SERVING[server]
    command.append(last + THEN if "-c" in command else last)
    process = subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, cwd=tmp_path, errors="replace"
    )
    assert process.stderr is not None
    lines = []
    try:
        for line in process.stderr:
            lines.append(line)
            if "Ready" in line:
                break
        found = re.search(r"127\.0\.0\.1:(\d+)", "".join(lines))
        assert found is not None, "".join(lines)
        for number in range(2):
            headers = {"Content-Type": "application/json", "X-Request-Id": f"id-{number}"}
            request = urllib.request.Request(f"http://127.0.0.1:{found[1]}/fail", b"1", headers)
            with pytest.raises(urllib.error.HTTPError) as caught:
                urllib.request.urlopen(request, timeout=30)
            caught.value.close()
    finally:
        process.send_signal(signal.SIGTERM)
        _, rest = process.communicate(timeout=30)
    log = "".join(lines) + rest
    check(log, setup, failures=2)
    assert [log.count(f"`Logs.fail` failed to answer id-{number}") for number in range(2)] == [1, 1]


def test_every_logger_of_kappa_is_known() -> None:
    source = Path(service_log.__file__).parent
    names = {
        name
        for path in source.rglob("*.py")
        for name in re.findall(r'getLogger\("(kappa[.\w]*)"\)', path.read_text(encoding="utf-8"))
    }
    assert names <= set(service_log._KAPPA)


def test_everything_is_as_before_afterwards() -> None:
    def state() -> list[object]:
        loggers = [logging.getLogger(name) for name in ("kappa", "kappa.server", "py.warnings", "gunicorn.error")]
        return [
            *((type(logger), logger.level, logger.propagate, logger.handlers) for logger in loggers),
            *(logging.root.level, logging.lastResort, warnings.showwarning, service_log._handler),
        ]

    before = state()
    with service_log.logging_to(logging.NullHandler(), level=logging.INFO):
        assert state() != before
    assert state() == before
