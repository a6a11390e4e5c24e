"""The script that runs the tests in a row: what it reads from a run, and what it writes."""

from __future__ import annotations

from pathlib import Path

from tests.repeat import Run, busy_ones, keep_run, kept_runs, report_of, run_of

REPORT = """\
<testsuites><testsuite>
  <testcase classname="tests.test_tag" name="test_right"/>
  <testcase classname="tests.test_tag" name="test_left_out"><skipped message="docker"/></testcase>
  <testcase classname="tests.test_tag" name="test_wrong"><failure message="assert 1 == 2"/></testcase>
  <testcase classname="tests.test_tag" name="test_not_begun"><error message="fixture"/></testcase>
</testsuite></testsuites>
"""


def test_a_run_is_what_its_report_tells() -> None:
    failed = ("tests.test_tag::test_wrong", "tests.test_tag::test_not_begun")
    assert run_of(REPORT, is_busy=True, seconds=2.0, exit_status=2) == Run(True, 2.0, 1, 1, failed, 2)


def test_a_run_that_never_got_so_far_has_not_held() -> None:
    assert not run_of("", is_busy=False, seconds=0.1, exit_status=2).has_held
    assert run_of("<testsuites/>", is_busy=False, seconds=0.1, exit_status=0).has_held


def test_busy_runs_are_spread_evenly() -> None:
    assert busy_ones(4, 2) == [False, True, False, True]
    assert sum(busy_ones(50, 10)) == 10
    assert busy_ones(3, 0) == [False] * 3


def test_a_row_goes_on_after_the_runs_of_its_commit_that_were_kept(tmp_path: Path) -> None:
    log = tmp_path / "runs.jsonl"
    assert kept_runs(log, commit="abc") == []
    runs = [Run(False, 300.4, 9000, 60, (), 0), Run(True, 700.0, 8999, 60, ("tests.test_tag::test_wrong",), 2)]
    for run, commit in ((runs[0], "abc"), (runs[1], "older"), (runs[1], "abc")):
        keep_run(log, run, commit=commit)
    assert kept_runs(log, commit="abc") == runs


def test_failures_are_counted_by_name() -> None:
    runs = [Run(False, 300.4, 9000, 60, (), 0), Run(True, 700.0, 8999, 60, ("tests.test_tag::test_wrong",), 2)]
    text = report_of(runs, commit="abc", date="2026-11-30")
    assert "1 of 2 runs without a\nfailure, 1 of them beside a busy machine." in text
    assert "- `tests.test_tag::test_wrong`: 1 of 2\n" in text
    assert "| 2 | yes | 8,999 | 60 | 1 | 2 | 700 |\n" in text
    assert "## Failures\n\nNone.\n" in report_of(runs[:1], commit="abc", date="2026-11-30")
