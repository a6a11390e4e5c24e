"""Every artifact type is tested with its framework, and the page shows what passed."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from kappa.plugins import ARTIFACTS
from tests.conftest import ENGINES
from tests.frameworks.environments import ROOT
from tests.frameworks.groups import RECORDS, Framework, frameworks, run


def test_every_type_is_tested_with_its_framework() -> None:
    assert {framework.type for framework in frameworks()} == set(ARTIFACTS.builtins)


def test_every_type_is_held_to_the_suite() -> None:
    sources = "".join(path.read_text(encoding="utf-8") for path in Path(__file__).parent.glob("test_*.py"))
    classes = {path.partition(":")[2] for path in ARTIFACTS.builtins.values()}
    assert {name for name in classes if f" artifact = {name}(" not in sources} == set()


def test_every_framework_has_a_record_of_its_last_run() -> None:
    recorded = {
        (name, facts["group"], facts["type"], *facts["packages"])
        for name, facts in json.loads(RECORDS.read_text()).items()
    }
    assert recorded == {
        (one.name, one.group, one.type, *sorted(Requirement(package).name for package in one.packages))
        for one in frameworks()
    }, "run `make test-frameworks GROUP=…`"


def test_the_tests_of_every_framework_exist() -> None:
    for framework in frameworks():
        assert framework.pytest_arguments
        assert framework.engine in {"", *ENGINES}
        for test in framework.tests:
            assert (ROOT / test.partition("::")[0]).is_file(), test


@pytest.mark.parametrize(
    ("body", "passed"), [("pass", 2), ("assert False", None), ("import pytest; pytest.skip('absent')", None)]
)
def test_a_framework_whose_tests_fail_or_skip_is_not_recorded(tmp_path: Path, body: str, passed: int | None) -> None:
    (tmp_path / "test_one.py").write_text(f"def test_a(): pass\ndef test_b(): {body}\n", encoding="utf-8")
    framework = Framework("acme", "core", "pickle", tests=(str(tmp_path / "test_one.py"),))
    assert run(framework, sys.executable) == passed
