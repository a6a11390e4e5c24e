"""Run the tests of artifact types against the frameworks themselves: `python -m tests.frameworks.groups GROUP`.

`groups.toml` says which there are. What passed is recorded with the versions in `docs/reference/frameworks.json`, of
which `make generate` makes a page.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
import subprocess
import sys
from collections.abc import Iterable, Mapping
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, NamedTuple

import tomli
from packaging.requirements import Requirement

from tests.frameworks.environments import ROOT, environment, install

__all__ = ["RECORDS", "Framework", "frameworks", "main"]

RECORDS = ROOT / "docs" / "reference" / "frameworks.json"
_WITH_MARKERS = (
    "tests/frameworks",
    "tests/inspection/test_real_files.py",
    "tests/test_how_to_frameworks.py",
    "tests/test_examples.py",
)
"""Where the tests are that are marked with a framework's name."""
_VERSIONS = """\
import json, sys
from importlib.metadata import version
print(json.dumps({name: version(name) for name in sys.argv[1:]}))
"""
_HERE = "core"
"""The group whose packages are those of `.venv` itself."""


class Framework(NamedTuple):
    """A framework, as a table of `groups.toml` declares it."""

    name: str
    group: str
    type: str
    packages: tuple[str, ...] = ()
    engine: str = ""
    tests: tuple[str, ...] = ()

    @property
    def pytest_arguments(self) -> list[list[str]]:
        """The arguments of each run of pytest's that its tests need."""
        runs = [["-m", self.engine, *_WITH_MARKERS]] if self.engine else []
        return [*runs, list(self.tests)] if self.tests else runs


def frameworks() -> list[Framework]:
    """Return all frameworks that are tested, in the order of their names."""
    tables = tomli.loads(Path(__file__).with_name("groups.toml").read_text(encoding="utf-8"))
    tables.pop("absent", None)
    every = [
        Framework(name, group, table.pop("type", name), **{key: _frozen(value) for key, value in table.items()})
        for group, members in tables.items()
        for name, table in members.items()
    ]
    return sorted(every)


def _frozen(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


def packages_of(members: Iterable[Framework]) -> list[str]:
    return sorted({package for member in members for package in member.packages})


def run(member: Framework, python: str | Path) -> int | None:
    """Run the tests of a framework with an interpreter, and return how many passed; ``None`` if any did not."""
    passed = 0
    environ = {**os.environ, "KAPPA_TEST_REQUIRE": member.engine}
    for arguments in member.pytest_arguments:
        command = [str(python), "-m", "pytest", *arguments]
        done = subprocess.run(command, cwd=ROOT, env=environ, stdout=subprocess.PIPE, text=True, check=False)
        counts = dict(reversed(pair) for pair in re.findall(r"(\d+) (\w+)", done.stdout.rstrip().rpartition("\n")[2]))
        if done.returncode or "skipped" in counts:
            print(done.stdout)
            return None
        passed += int(counts["passed"])
    return passed


def versions(packages: Iterable[str], python: str | Path) -> dict[str, str]:
    """Return the versions of packages that an interpreter has, by their names."""
    names = sorted(Requirement(package).name for package in packages)
    done = subprocess.run([python, "-c", _VERSIONS, *names], capture_output=True, text=True, check=True)
    of_each: dict[str, str] = json.loads(done.stdout)
    return of_each


def record(name: str, facts: Mapping[str, Any]) -> None:
    """Write what was tested of a framework, in place of what was recorded of it before."""
    records = json.loads(RECORDS.read_text(encoding="utf-8")) if RECORDS.exists() else {}
    records[name] = facts
    RECORDS.write_text(json.dumps(records, indent=2, sort_keys=True) + "\n", encoding="utf-8")


def main(arguments: list[str] | None = None) -> int:
    every = frameworks()
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("group", choices=sorted({member.group for member in every}))
    parser.add_argument("--only", metavar="NAME", help="one framework of the group")
    parser.add_argument("--packages", action="store_true", help="print the packages of the group, and run nothing")
    parser.add_argument("--engines", action="store_true", help="print the markers of its tests, and run nothing")
    options = parser.parse_args(arguments)
    members = [member for member in every if member.group == options.group]
    packages = packages_of(members)
    if options.packages or options.engines:
        print(*(packages if options.packages else sorted({member.engine for member in members} - {""})))
        return 0
    if options.group == _HERE:
        python: str | Path = sys.executable
        install(python, packages)
    else:
        python = environment(options.group, ("--editable", ".[test]", *packages))
    failed = []
    for member in members:
        if options.only in (None, member.name):
            passed = run(member, python)
            print(f"{member.name}: {'failed' if passed is None else f'{passed} passed'}")
            if passed is None:
                failed.append(member.name)
                continue
            facts = {
                "date": datetime.now(timezone.utc).date().isoformat(),
                "group": member.group,
                "packages": versions(member.packages, python),
                "passed": passed,
                "python": platform.python_version(),
                "type": member.type,
            }
            record(member.name, facts)
    print(
        f"Failed: {', '.join(failed)}" if failed else "All passed; `make generate` writes docs/reference/frameworks.md."
    )
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
