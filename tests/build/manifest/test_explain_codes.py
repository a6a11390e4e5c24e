"""The table of codes: its examples are wrong and right as they claim, and every code is in use."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from kappa.build.manifest.codes import CODES
from kappa.build.project import check_kappafile

ROOT = Path(__file__).parents[3]

BASE = {
    "": "kappafile = 1",
    "[service]": '[service]\nname = "ChurnScorer"',
    "[artifacts.model]": '[artifacts.model]\ntype = "sklearn"\npath = "model.joblib"',
    "[apis.predict]": '[apis.predict]\nfunction = "handlers:predict"\ninput = "json"',
    "[security]": '[security]\npickle = "allow"',
}
"""A correct kappafile, by its tables."""

HANDLERS = "def predict(requests):\n    return requests\n\n\ndef setup():\n    return {}\n"


def project_with(piece: str, folder: Path) -> Path:
    """Write a project whose kappafile is the correct one with some tables replaced by a piece; return the file."""
    headers = {match[0] for match in re.finditer(r"^\[.*\]$", piece, re.MULTILINE)}
    if not piece.startswith("["):
        headers.add("")
    kept = {header: text for header, text in BASE.items() if header not in headers}
    (folder / "handlers.py").write_text(HANDLERS, encoding="utf-8")
    (folder / "model.joblib").write_bytes(b"\x80\x05N.")
    (folder / "requirements.txt").write_text("xgboost>=2\n", encoding="utf-8")
    (folder / "digits.tflite").touch()
    (folder / "samples").mkdir()
    (folder / "samples" / "rows.json").write_text('[{"tenure": 3}]', encoding="utf-8")
    (folder / "lookup").mkdir()
    (folder / "lookup" / "cities.csv").write_text("city\n", encoding="utf-8")
    file = folder / "kappafile.toml"
    pieces = [kept.pop("", ""), *([piece] if "" in headers else []), *kept.values()]
    file.write_text("\n\n".join([*pieces, *([] if "" in headers else [piece])]) + "\n", encoding="utf-8")
    return file


def codes_found(file: Path) -> set[str]:
    return {diagnostic.code for diagnostic in check_kappafile(file)[1]}


SHOWN = [pytest.param(code, id=code) for code, about in CODES.items() if about.wrong]


@pytest.mark.parametrize("code", SHOWN)
def test_the_wrong_example_of_a_code_has_that_problem_alone(code: str, tmp_path: Path) -> None:
    assert codes_found(project_with(CODES[code].wrong, tmp_path)) == {code}


@pytest.mark.parametrize("code", SHOWN)
def test_the_right_example_of_a_code_has_no_problem(code: str, tmp_path: Path) -> None:
    assert codes_found(project_with(CODES[code].right, tmp_path)) == set()


def test_every_code_is_given_by_some_check_and_no_other_is() -> None:
    sources = [path for path in (ROOT / "kappa" / "build").rglob("*.py") if path.name != "codes.py"]
    used = {code for path in sources for code in re.findall(r'"(KF\d{3})"', path.read_text(encoding="utf-8"))}
    assert used == set(CODES)


@pytest.mark.parametrize("code", CODES)
def test_a_code_has_a_title_without_a_full_stop_and_an_explanation_in_sentences(code: str) -> None:
    assert CODES[code].title[0].isupper()
    assert not CODES[code].title.endswith(".")
    assert CODES[code].explanation.endswith(".")
    assert bool(CODES[code].wrong) == bool(CODES[code].right)
