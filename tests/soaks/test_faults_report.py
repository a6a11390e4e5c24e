"""What `make soak-faults` makes of the results of its tests."""

from __future__ import annotations

from tests.soaks.faults import Figures, add, report_of

RESULTS = """<testsuites><testsuite>
<testcase name="test_a_full_disk_loses_nothing[file]"><properties>
<property name="the disk was full" value="1" /><property name="bundles compared" value="2" />
</properties></testcase>
<testcase name="test_a_clock_loses_nothing[file-0]">{outcome}</testcase>
</testsuite></testsuites>"""


def test_rounds_are_added_up_and_what_did_not_run_is_a_failure() -> None:
    figures: dict[str, Figures] = {}
    for outcome in ("<failure />", "<skipped />", "<error />", ""):
        add(RESULTS.format(outcome=outcome), figures)
    page = report_of(figures, seeds=range(1, 5), elapsed_s=9.0)
    assert "seeds 1 to 4, 9 s" in page
    assert "| a full disk loses nothing: `file` | 4 | 0 | the disk was full 4, bundles compared 8 |" in page
    assert "| a clock loses nothing: `file-0` | 4 | 3 |  |" in page
    assert "did not hold: 3. Bundles compared at the end: 8." in page
