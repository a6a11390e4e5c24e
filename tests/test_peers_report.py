"""The page of `make bench-peers`, from results that were made up."""

from __future__ import annotations

import runpy
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from xml.etree import ElementTree as ET

import pytest

PEERS = Path(__file__).parents[1] / "benchmarks" / "peers"


@pytest.fixture
def report() -> Any:
    return SimpleNamespace(**runpy.run_path(str(PEERS / "report.py")))


def results() -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = {}
    for number in range(2):
        for peer, rate in (("kappa", 9000.0), ("bentoml", 600.0)):
            found[f"ready {number} {peer} iris"] = {"seconds": 1.5, "memory_mib": 200.4}
            for count in (1, 16):
                entry = {"rate": rate + number, "p99_ms": 2.25, "cpu_us": 90.0}
                found[f"load {number} {peer} iris {count}"] = entry
            for share, goodput in ((1.0, rate / 20), (2.0, rate / 30)):
                overload = {"goodput": goodput, "saturation": 450.0, "p99_ms": 250.0, "cpu_us": None}
                found[f"overload {number} {peer} overload {share}"] = overload
    found["bare kappa iris"] = {"memory_mib": 140.0, "call_ms": 0.1}
    found["memory kappa iris 1"] = {"memory_mib": 190.0}
    found["memory kappa iris 2"] = {"memory_mib": 300.0}
    return found


def test_the_page_holds_medians_and_ratios_of_the_same_rounds(report: Any) -> None:
    page = report.page(results(), versions={"kappa": "0.1.0", "bentoml": "1.4.39"})
    assert "Kappa 0.1.0, BentoML 1.4.39." in page
    assert "| Kappa | 9,000 |  | 2.2 | 90 | 9,000 |  | 2.2 | 90 |" in page
    assert "| BentoML | 600 | 15.0x | 2.2 | 90 | 600 | 15.0x | 2.2 | 90 |" in page
    assert "| Kappa | 1.00 | 0.67 | 250 | 250 |" in page
    assert "| Kappa | 140 | 50 | 110 |  |  |  |" in page
    assert page.index("## Under overload") < page.index("## Start") < page.index("## Throughput")
    assert "minutes at saturation" not in page


def test_a_soak_is_shown_when_there_was_one(report: Any) -> None:
    soak = {"minutes": 30.0, "connections": 128, "requests": 18_000_000, "errors": 0, "rate": 10_000.0}
    page = report.page({**results(), "soak": {**soak, "memory_mib": [180.0, 181.5]}}, versions={})
    assert "18,000,000 requests, 0 errors, 10,000 a second" in page
    assert "180.0 MiB, at the end 181.5 MiB" in page


def test_the_plots_are_written_beside_the_page(report: Any, tmp_path: Path) -> None:
    found = results()
    report.write(tmp_path, report.page(found, versions={}), found)
    assert (tmp_path / "benchmarks.md").is_file()
    for name in ("overload", "throughput", "latency"):
        assert ET.parse(tmp_path / "benchmarks" / f"{name}.svg").getroot().get("width")
