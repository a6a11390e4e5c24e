from __future__ import annotations

import errno
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner

from kappa.cli.command import LazyGroup, kappa_command
from kappa.cli.console import print_note, print_result
from kappa.errors import KappaError, UsageError
from kappa.log import log


def group_of(function: Callable[[], Any]) -> LazyGroup:
    command = kappa_command("act", examples=[])(function)
    return LazyGroup("kappa", sections={"Commands": {"act": "Act."}}, load=lambda _: command)


def call(function: Callable[[], Any], *arguments: str) -> tuple[int, str, str]:
    result = CliRunner().invoke(group_of(function), ["act", *arguments], prog_name="kappa")
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result.exit_code, result.stdout, result.stderr


def raising(exc: BaseException) -> Callable[[], None]:
    def act() -> None:
        raise exc

    return act


def subclasses(cls: type[KappaError]) -> list[type[KappaError]]:
    return [cls, *(below for subclass in cls.__subclasses__() for below in subclasses(subclass))]


@pytest.mark.parametrize("cls", [c for c in subclasses(KappaError) if c.__init__ is Exception.__init__])
def test_every_failure_has_its_exit_code_and_its_message_on_stderr(cls: type[KappaError]) -> None:
    assert call(raising(cls("The thing failed."))) == (cls.exit_code, "", "error: The thing failed.\n")


def test_an_interrupt_exits_with_130() -> None:
    assert call(raising(KeyboardInterrupt()))[0] == 130


def test_what_a_command_returns_is_the_exit_code() -> None:
    assert call(lambda: 9)[0] == 9
    assert call(lambda: None)[0] == 0


def test_an_unexpected_error_exits_with_70_and_names_a_log_with_the_traceback(kappa_home: Path) -> None:
    code, stdout, stderr = call(raising(ZeroDivisionError("division by zero")))
    (log_file,) = (kappa_home / "logs").iterdir()
    assert (code, stdout) == (70, "")
    assert stderr == (
        "error: unexpected ZeroDivisionError: division by zero. This is a defect of Kappa. "
        f"`{log_file}` says where it comes from.\n"
    )
    text = log_file.read_text(encoding="utf-8")
    assert re.match(r"kappa-ml \S+, Python 3\.\S+, .*Z\n\nTraceback", text)
    assert "ZeroDivisionError: division by zero" in text


def test_without_a_writable_home_an_unexpected_error_says_how_to_see_more(kappa_home: Path) -> None:
    kappa_home.parent.mkdir(exist_ok=True)
    kappa_home.write_text("a file where the folder should be", encoding="utf-8")
    code, _, stderr = call(raising(OSError(errno.EIO, "Input/output error")))
    assert code == 70
    assert stderr == (
        "error: unexpected OSError: [Errno 5] Input/output error. This is a defect of Kappa. "
        "Run again with `--verbose` to see where it comes from.\n"
    )


def test_verbose_shows_the_traceback_of_an_expected_failure_too() -> None:
    _, _, stderr = call(raising(UsageError("No.")), "--verbose")
    assert stderr.startswith("Traceback (most recent call last):\n")
    assert stderr.endswith("error: No.\n")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        pytest.param(["akt"], "There is no command `akt`. Did you mean `act`? Run `kappa --help`.", id="near-command"),
        pytest.param(["xyz"], "There is no command `xyz`. Run `kappa --help`.", id="unknown-command"),
        pytest.param(
            ["act", "more"], "Got unexpected extra argument (more). Run `kappa act --help`.", id="extra-argument"
        ),
    ],
)
def test_a_wrong_call_exits_with_2_and_names_the_help(arguments: list[str], message: str) -> None:
    result = CliRunner().invoke(group_of(lambda: None), arguments, prog_name="kappa")
    assert result.exit_code == 2
    assert result.stdout == ""
    assert result.stderr == f"error: {message}\n"


def narrate() -> None:
    log("Locking packages", kind="step")
    log("asking the index", kind="detail")
    log("Collecting falcon", kind="output")
    log("`x` is not pinned.", kind="warning")
    print_note("Done.")
    print_result("the result")


@pytest.mark.parametrize(
    ("arguments", "stderr"),
    [
        ([], "Locking packages\nwarning: `x` is not pinned.\nDone.\n"),
        (["-q"], ""),
        (
            ["--verbose"],
            "Locking packages\n  asking the index\n  Collecting falcon\nwarning: `x` is not pinned.\nDone.\n",
        ),
    ],
    ids=["plain", "quiet", "verbose"],
)
def test_results_go_to_stdout_and_all_else_to_stderr(arguments: list[str], stderr: str) -> None:
    assert call(narrate, *arguments) == (0, "the result\n", stderr)


@pytest.mark.parametrize(
    ("environ", "is_coloured"),
    [
        ({"FORCE_COLOR": "1"}, True),
        ({"FORCE_COLOR": "1", "NO_COLOR": "1"}, False),
        ({}, False),
    ],
    ids=["forced", "refused", "no-terminal"],
)
def test_colour_follows_the_environment(
    environ: dict[str, str], is_coloured: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("FORCE_COLOR", "NO_COLOR"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    stderr = call(raising(UsageError("No.")))[2]
    assert stderr == ("\x1b[31m\x1b[1merror:\x1b[0m No.\n" if is_coloured else "error: No.\n")


TERMINAL = """
import os, pty, sys
pid, terminal = pty.fork()
if pid == 0:
    os.environ.update(TERM="xterm", COLUMNS="80")
    os.environ.pop("NO_COLOR", None)
    import click
    from kappa.cli.command import LazyGroup, kappa_command
    from kappa.cli.console import print_result
    from kappa.errors import BuildError
    from kappa.log import log

    def act():
        log("Locking packages", kind="step")
        log("`x` is not [pinned].", kind="warning")
        log("Writing the bundle", kind="step")
        raise BuildError("The disk is full.")

    command = kappa_command("act", examples=[], is_live=True)(act)
    LazyGroup("kappa", sections={"": {"act": ""}}, load=lambda _: command).main(["act"], "kappa")
output = b""
while True:
    try:
        if not (chunk := os.read(terminal, 4096)):
            break
    except OSError:
        break
    output += chunk
sys.stdout.buffer.write(output)
sys.exit(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
"""


@pytest.mark.skipif(sys.platform == "win32", reason="there are no pseudo terminals")
def test_a_terminal_shows_finished_and_failed_steps(tmp_path: Path) -> None:
    script = tmp_path / "terminal.py"
    script.write_text(TERMINAL, encoding="utf-8")
    finished = subprocess.run([sys.executable, script], capture_output=True, text=True, check=False)
    text = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", finished.stdout)
    lines = [re.sub(r" \d+\.\d s$", "", line) for line in re.split(r"[\r\n]+", text)]
    kept = [line for line in lines if line and not re.match("[⠀-⣿]", line)]
    assert finished.returncode == 5, finished.stdout + finished.stderr
    assert kept == [
        "warning: `x` is not [pinned].",
        "✓ Locking packages",
        "✗ Writing the bundle",
        "error: The disk is full.",
    ]


def test_a_reader_that_leaves_early_is_no_error(tmp_path: Path) -> None:
    script = "from kappa.cli.main import main; import sys; sys.argv = ['kappa', 'completion', 'bash']; main()"
    command = f'"{sys.executable}" -c "{script}" | true'
    finished = subprocess.run(["/bin/sh", "-c", command], capture_output=True, text=True, check=False)
    assert finished.stderr == ""


def test_click_exceptions_other_than_usage_keep_their_message() -> None:
    assert call(raising(click.ClickException("Something of click's."))) == (1, "", "error: Something of click's.\n")
