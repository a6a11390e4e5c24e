"""`kappa-init.sh` lets a set-up script be written as on one's own machine: nobody is there to answer `apt-get`."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from kappa.build.checks.setup_scripts import shell_of
from kappa.rendering.bundle import InitScriptContext
from kappa.rendering.templates import render

pytestmark = [
    pytest.mark.skipif(sys.platform == "win32", reason="a script of bash"),
    pytest.mark.skipif(shutil.which("bash") is None, reason="bash is not installed"),
]

APT = """\
#!/bin/bash
echo "apt-get $*, frontend ${DEBIAN_FRONTEND:-none}, $(cat "${APT_CONFIG:-/dev/null}")" >>"$LOG"
"""
LISTS = Path("/var/lib/apt/lists")


def run(tmp_path: Path, script: str | None, *, has_lists: bool) -> list[str]:
    """Run the step for a set-up script with an `apt-get` that notes how it is called."""
    lists = tmp_path / "lists"
    lists.mkdir()
    if has_lists:
        (lists / "deb_Packages").touch()
    text = render(InitScriptContext((), (), shell_of(script or ""), brings_python=False)).replace(
        str(LISTS), str(lists)
    )
    (tmp_path / "kappa-init.sh").write_text(text, encoding="utf-8")
    if script is not None:
        (tmp_path / "setup.sh").write_text(script, encoding="utf-8")
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "apt-get").write_text(APT, encoding="utf-8")
    (tmp_path / "bin" / "apt-get").chmod(0o755)
    environ = {"PATH": f"{tmp_path / 'bin'}{os.pathsep}{os.environ['PATH']}", "LOG": str(tmp_path / "log")}
    command = ["bash", str(tmp_path / "kappa-init.sh"), "custom_setup"]
    subprocess.run(command, env=environ, check=True, capture_output=True)
    assert has_lists == (lists / "deb_Packages").exists()
    log = tmp_path / "log"
    return log.read_text(encoding="utf-8").splitlines() if log.exists() else []


ASKED = 'frontend noninteractive, APT::Get::Assume-Yes "true";'


def test_packages_are_installed_without_a_question_from_fresh_lists(tmp_path: Path) -> None:
    assert run(tmp_path, "set -e\napt-get install --no-install-recommends curl\n", has_lists=False) == [
        f"apt-get update, {ASKED}",
        f"apt-get install --no-install-recommends curl, {ASKED}",
    ]


def test_lists_that_are_there_are_taken(tmp_path: Path) -> None:
    assert run(tmp_path, "apt-get install curl\n", has_lists=True) == [f"apt-get install curl, {ASKED}"]


@pytest.mark.parametrize("script", [None, "echo adapted\n"])
def test_without_apt_nothing_is_asked_of_it(tmp_path: Path, script: str | None) -> None:
    assert run(tmp_path, script, has_lists=False) == []


@pytest.mark.parametrize(
    ("first", "shell"),
    [
        ("", "bash"),
        ("#!/bin/bash", "bash"),
        ("#!/usr/bin/env bash", "bash"),
        ("#!/bin/sh", "sh"),
        ("#!/bin/dash", "dash"),
    ],
)
def test_a_script_is_run_by_the_shell_that_it_names(tmp_path: Path, first: str, shell: str) -> None:
    if shutil.which(shell) is None:
        pytest.skip(f"{shell} is not installed")
    script = f'{first}\ntr "\\0" " " </proc/$$/cmdline >"$LOG"\n'
    assert run(tmp_path, script, has_lists=False) == [f"{shell} ./setup.sh "]


def test_a_script_has_the_options_of_its_first_line(tmp_path: Path) -> None:
    with pytest.raises(subprocess.CalledProcessError):
        run(tmp_path, "#!/bin/sh -e\nfalse\ntrue\n", has_lists=False)


def test_a_shell_that_is_not_there_is_named_with_what_to_do(tmp_path: Path) -> None:
    if shutil.which("zsh") is not None:
        pytest.skip("zsh is installed")
    with pytest.raises(subprocess.CalledProcessError) as caught:
        run(tmp_path, "#!/usr/bin/env zsh\ntrue\n", has_lists=False)
    assert caught.value.stderr == (
        b"kappa-init.sh: setup.sh is for zsh, which this image has not: name its package in system_packages.\n"
    )


def test_a_script_that_fails_fails_the_build(tmp_path: Path) -> None:
    with pytest.raises(subprocess.CalledProcessError):
        run(tmp_path, "exit 3\n", has_lists=False)
