"""The guards of `conftest.py`: what protects the developer from the tests, and the tests from a missing engine."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from kappa.environment import home_directory
from kappa.settings import read_settings

CONFTEST = Path(__file__).with_name("conftest.py")

MARKED_TEST = """
import pytest

@pytest.mark.spark
def test_needs_spark():
    pass
"""


@pytest.fixture
def session_without_spark(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> pytest.Pytester:
    """Return a session that has this conftest and one test, marked ``spark``, and no Java on its PATH."""
    pytester.makeconftest(CONFTEST.read_text(encoding="utf-8"))
    pytester.makepyfile(test_marked=MARKED_TEST)
    monkeypatch.setenv("PATH", str(pytester.path))
    monkeypatch.delenv("KAPPA_TEST_REQUIRE", raising=False)
    return pytester


def run(session: pytest.Pytester) -> pytest.RunResult:
    return session.run(sys.executable, "-m", "pytest", "-rs", "-p", "no:cacheprovider")


def test_an_absent_engine_skips_its_tests_and_says_why(session_without_spark: pytest.Pytester) -> None:
    result = run(session_without_spark)
    result.assert_outcomes(skipped=1)
    result.stdout.fnmatch_lines(["*spark: `java` is not installed*"])


def test_an_absent_engine_that_is_required_fails_its_tests(
    session_without_spark: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KAPPA_TEST_REQUIRE", "docker,spark")
    result = run(session_without_spark)
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["*KAPPA_TEST_REQUIRE names `spark`, but `java` is not installed.*"])


def test_requiring_an_unknown_engine_is_an_error(
    session_without_spark: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KAPPA_TEST_REQUIRE", "sprak")
    result = run(session_without_spark)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["*KAPPA_TEST_REQUIRE names *sprak*"])


def test_tests_run_in_a_home_that_is_not_the_developers(kappa_home: Path) -> None:
    pwd = pytest.importorskip("pwd")
    developers = Path(pwd.getpwuid(os.getuid()).pw_dir)
    assert Path.home() != developers
    assert home_directory() == kappa_home
    assert not kappa_home.is_relative_to(developers / "kappa")
    assert not kappa_home.exists()


def test_tests_do_not_see_the_developers_settings() -> None:
    assert sorted(name for name in os.environ if name.startswith("KAPPA_")) == sorted(
        {"KAPPA_HOME"} | ({"KAPPA_TEST_REQUIRE"} & os.environ.keys())
    )
    assert read_settings().default_docker_base_image is None


def test_what_one_test_leaves_in_its_store_another_does_not_find(pytester: pytest.Pytester) -> None:
    pytester.makeconftest(CONFTEST.read_text(encoding="utf-8"))
    pytester.makepyfile(
        """
        import pytest

        @pytest.mark.parametrize("round_", [1, 2])
        def test_store_is_empty(kappa_home, round_):
            assert not kappa_home.exists()
            kappa_home.mkdir()
        """
    )
    run(pytester).assert_outcomes(passed=2)
