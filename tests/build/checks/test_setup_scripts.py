"""Set-up scripts are those of shells; any other is refused where it is named, and read in one way everywhere."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path

import pytest

from kappa.build.bundle.builder import build_bundle
from kappa.build.bundle.plan import BuildPlan, plan_build
from kappa.build.checks.setup_scripts import shell_of
from kappa.build.project import check_kappafile, read_project
from kappa.errors import ConfigurationError, ManifestError
from tests.build.projects import KAPPAFILE, PREDICT, write

MARK = "\ufeff"
OWN = f'{KAPPAFILE}[bundle]\nresolver = "installed"\n'


def project(root: Path, setup_sh: str, *, file: bytes | None = None) -> Path:
    write(root, {"kappafile.toml": f"{OWN}[env]\nsetup_sh = {json.dumps(setup_sh)}\n", "handlers.py": PREDICT})
    if file is not None:
        (root / setup_sh).write_bytes(file)
    return root / "kappafile.toml"


def planned(file: Path) -> BuildPlan:
    return plan_build(read_project(file), version=None, labels={}, environ=os.environ)


SHELLS = {
    "echo hello": ("bash",),
    "": ("bash",),
    "#!": ("bash",),
    "# no interpreter\n#!/usr/bin/python3": ("bash",),
    "#!/bin/bash": ("bash",),
    "#! /bin/sh -e": ("sh", "-e"),
    "#!/bin/sh -e -u\nfalse": ("sh", "-e", "-u"),
    "#!/usr/local/bin/zsh": ("zsh",),
    "#!/usr/bin/env bash": ("bash",),
    "#!/usr/bin/env -S bash -eu": ("bash", "-eu"),
    '#!/usr/bin/env -S "bash -e"': ("bash", "-e"),
    "#!/usr/bin/env -i LANG=C ksh": ("ksh",),
}


@pytest.mark.parametrize("script", SHELLS)
def test_the_first_line_names_the_shell_and_its_options(script: str) -> None:
    assert shell_of(script) == SHELLS[script]


REFUSED = {
    "python": (b"#!/usr/bin/env python3\nimport nltk\n", "setup", "`python3`"),
    "python with an option": (b"#!/usr/bin/python3 -u\nimport nltk\n", "setup.sh", "`python3`"),
    "python by env's options": (b"#!/usr/bin/env -S python3 -u\nimport nltk\n", "setup.sh", "`python3`"),
    "python, marked as UTF-8": (b"\xef\xbb\xbf#!/usr/bin/env python3\r\nimport nltk\r\n", "setup.sh", "`python3`"),
    "perl": (b"#!/usr/bin/perl\n", "setup", "`perl`"),
    "fish": (b"#!/usr/bin/fish\n", "setup.sh", "`fish`"),
    "a name of Python's": (b"import nltk\n", "setup.py", "a script of Python"),
    "no text": (b"\x7fELF\x02\xff", "setup", "not UTF-8 text"),
    "UTF-16": ("#!/bin/sh\n".encode("utf-16"), "setup.sh", "PowerShell"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_no_shell_can_run_is_refused_where_it_is_named(name: str, tmp_path: Path) -> None:
    data, path, words = REFUSED[name]
    file = project(tmp_path, path, file=data)
    (problem,) = check_kappafile(file)[1]
    assert (problem.code, problem.span.line, words in problem.message) == ("KF329", 10, True), problem
    with pytest.raises(ManifestError, match="KF329"):
        read_project(file)


def test_text_that_no_shell_can_run_is_refused_with_the_way_out(tmp_path: Path) -> None:
    (problem,) = check_kappafile(project(tmp_path, "#!/usr/bin/env python3\nimport nltk\n"))[1]
    assert (problem.code, "`dockerfile_template`" in problem.help) == ("KF329", True)


def test_a_class_is_told_the_same(tmp_path: Path) -> None:
    declared = (
        "import kappa\nfrom kappa.adapters import JsonInput\n\n\n"
        "@kappa.env(setup_sh='#!/usr/bin/env python3')\n@kappa.files(resolver='installed')\n"
        "class Service(kappa.BentoService):\n"
        "    @kappa.api(input=JsonInput())\n    def predict(self, value):\n        return value\n"
    )
    write(
        tmp_path,
        {
            "declared_scripts.py": declared,
            "kappafile.toml": 'kappafile = 1\n[service]\nclass = "declared_scripts:Service"\n',
        },
    )
    with pytest.raises(
        ConfigurationError, match="No shell can run the script of `setup_sh`: it asks to be run by `python3`"
    ):
        planned(tmp_path / "kappafile.toml")


SCRIPT = "set -e\necho ready\n"
WRITTEN = {
    "plain": SCRIPT,
    "of Windows": SCRIPT.replace("\n", "\r\n"),
    "marked": MARK + SCRIPT,
    "marked, of Windows": MARK + SCRIPT.replace("\n", "\r\n"),
    "unended": SCRIPT.rstrip(),
}


@pytest.mark.parametrize("is_file", [True, False], ids=["file", "text"])
@pytest.mark.parametrize("name", WRITTEN)
def test_every_way_to_write_a_script_is_the_same_script(name: str, is_file: bool, tmp_path: Path) -> None:
    text = WRITTEN[name]
    file = project(tmp_path, "my.sh", file=text.encode()) if is_file else project(tmp_path, text)
    assert planned(file).setup_script == SCRIPT


def test_a_bundle_runs_its_script_by_the_shell_that_it_names(tmp_path: Path) -> None:
    plan = planned(project(tmp_path / "project", "#!/bin/sh -eu\necho ready\n"))
    build_bundle(plan, tmp_path / "bundle", environ=os.environ)
    assert "\n    sh -eu ./setup.sh\n" in (tmp_path / "bundle" / "kappa-init.sh").read_text(encoding="utf-8")


def test_a_template_that_is_marked_as_utf8_is_a_template(tmp_path: Path) -> None:
    write(
        tmp_path,
        {
            "kappafile.toml": f'{OWN}[env]\ndockerfile_template = "own.j2"\n',
            "handlers.py": PREDICT,
            "own.j2": f'{MARK}{{% extends "Dockerfile.j2" %}}\n',
        },
    )
    assert planned(tmp_path / "kappafile.toml").dockerfile_template == '{% extends "Dockerfile.j2" %}\n'


def test_what_the_how_to_adds_to_the_dockerfile_runs_after_everything_is_in_place(tmp_path: Path) -> None:
    text = (Path(__file__).parents[3] / "docs" / "how-to" / "containerize.md").read_text(encoding="utf-8")
    own = [block for block in re.findall(r"```jinja\n(.*?)```", text, re.DOTALL) if "download.py" in block]
    write(
        tmp_path / "project",
        {
            "kappafile.toml": f'{OWN}include = ["download.py"]\n[env]\ndockerfile_template = "own.j2"\n',
            "handlers.py": PREDICT,
            "download.py": "",
            "own.j2": own[0],
        },
    )
    build_bundle(planned(tmp_path / "project" / "kappafile.toml"), tmp_path / "bundle", environ=os.environ)
    lines = (tmp_path / "bundle" / "Dockerfile").read_text(encoding="utf-8").splitlines()
    run = lines.index("RUN python3 Service/download.py")
    assert not any(line.startswith(("COPY", "FROM")) for line in lines[run:])
    assert (lines[run - 1], lines[run + 1]) == ("USER root", "USER ${KAPPA_UID}:${KAPPA_GID}")
    assert (tmp_path / "bundle" / "Service" / "download.py").is_file()
