"""The fixtures for pytest, used as somebody's tests would."""

from __future__ import annotations

import subprocess
import sys

import pytest

PROJECT = """\
kappafile = 1
[service]
name = "Doubler"
[apis.double]
function = "doubler_of_fixtures:double"
input = "json"
"""
SOURCE = "def double(value):\n    return 2 * value\n"
CLASS = """\
import kappa
from kappa.adapters import JsonInput
from kappa.frameworks.json import JSONArtifact

@kappa.artifacts([JSONArtifact("factor")])
class Tripler(kappa.BentoService):
    @kappa.api(input=JsonInput())
    def times(self, value):
        return value * self.artifacts.factor
"""


def test_the_project_at_the_root_is_asked(pytester: pytest.Pytester) -> None:
    pytester.makefile(".toml", kappafile=PROJECT)
    pytester.makepyfile(doubler_of_fixtures=SOURCE)
    pytester.makepyfile(
        "def test_one(kappa_client):\n    assert kappa_client.double(4) == 8\n"
        "def test_two(kappa_client):\n    assert kappa_client.post('/double', json=1).json == 2\n"
    )
    pytester.runpytest_subprocess("-p", "no:cacheprovider").assert_outcomes(passed=2)


def test_another_target_may_be_an_instance(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(tripler_of_fixtures=CLASS)
    pytester.makeconftest(
        "import pytest\nfrom tripler_of_fixtures import Tripler\n"
        "@pytest.fixture(scope='session')\ndef kappa_target():\n    return Tripler().pack('factor', 3)\n"
    )
    pytester.makepyfile("def test_it(kappa_client):\n    assert kappa_client.times(4) == 12\n")
    pytester.runpytest_subprocess("-p", "no:cacheprovider").assert_outcomes(passed=1)


def test_a_root_without_a_kappafile_is_said(pytester: pytest.Pytester) -> None:
    pytester.makepyfile("def test_it(kappa_client):\n    pass\n")
    result = pytester.runpytest_subprocess("-p", "no:cacheprovider")
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["*ConfigurationError: There is no kappafile in*"])


def test_what_pytest_reads_everywhere_is_light() -> None:
    check = "import sys, kappa.testing.fixtures; print(sorted({'falcon', 'pydantic', 'orjson'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", check], capture_output=True, text=True, check=True).stdout == "[]\n"
