"""Imports that nothing asks for are said before anything is built."""

from __future__ import annotations

import os
import pickle
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result

from kappa.actions.building import plan_of
from kappa.build.project import check_kappafile
from tests.build.projects import KAPPAFILE, write

Kappa = Callable[..., Result]
IMPORTING = "import tomli\nfrom PIL import Image\n\n\ndef predict(value):\n    return value\n"


CLASS = """\
import tomli

import kappa
from kappa.adapters import JsonInput


class Own(kappa.BentoService):
    @kappa.api(input=JsonInput())
    def predict(self, value):
        return value
"""
NOT_THERE = " not among the packages of the bundle: its service would fail at this import."


def warned(root: Path) -> list[tuple[str, int, str]]:
    found = check_kappafile(root / "kappafile.toml")[1]
    return [(one.severity, one.span.line, one.message.partition(",")[0]) for one in found if one.code == "KF343"]


def test_each_is_told_at_its_first_import(tmp_path: Path) -> None:
    write(tmp_path, {"kappafile.toml": KAPPAFILE, "handlers.py": IMPORTING + "    import tomli\n"})
    assert warned(tmp_path) == [("warning", 1, f"`tomli` is{NOT_THERE}"), ("warning", 2, "`pillow`")]
    plan = plan_of(tmp_path, environ=os.environ)
    told = [text for text in plan.to_tree()["warnings"] if "not among the packages" in text]
    assert [text.partition(",")[0] for text in told] == [
        "`handlers.py:2` imports what `pillow` brings",
        "`handlers.py:1` imports what `tomli` brings",
    ]
    assert all(text in plan.summary() for text in told)


@pytest.mark.parametrize(
    ("files", "advice"),
    [
        ({}, 'In `kappafile.toml`, under `[env]`, write `pip_packages = ["tomli"]`'),
        (
            {
                "kappafile.toml": f'{KAPPAFILE}[env]\nrequirements_txt_file = "requirements.txt"\n',
                "requirements.txt": "pillow\n",
            },
            "Write a line `tomli` into `requirements.txt`.",
        ),
        (
            {"kappafile.toml": 'kappafile = 1\n[service]\nclass = "own:Own"\n', "own.py": CLASS},
            'In `own.py`, in `@kappa.env`, write `pip_packages=["tomli"]`, or `infer_pip_packages=True`',
        ),
    ],
    ids=["kappafile", "requirements", "class"],
)
def test_the_advice_names_the_place_where_packages_are_named(
    tmp_path: Path, files: dict[str, str], advice: str
) -> None:
    write(tmp_path, {"kappafile.toml": KAPPAFILE, "handlers.py": IMPORTING, **files})
    found = [one for one in check_kappafile(tmp_path / "kappafile.toml")[1] if one.code == "KF343"]
    assert [one.help.startswith(advice) for one in found if "`tomli`" in one.message] == [True]


@pytest.mark.parametrize(
    "env",
    [
        '[env]\npip_packages = ["tomli", "Pillow>=9"]',
        "[env]\ninfer_pip_packages = true",
        '[env]\nrequirements_txt_file = "requirements.txt"',
        '[env]\nsetup_sh = "pip install tomli pillow\\n"',
    ],
    ids=["named", "inferred", "of a file", "perhaps of a script"],
)
def test_what_is_asked_for_is_not_told(tmp_path: Path, env: str) -> None:
    files = {"kappafile.toml": f"{KAPPAFILE}{env}\n", "handlers.py": IMPORTING, "requirements.txt": "tomli\npillow\n"}
    assert warned(write(tmp_path, files)) == []


@pytest.mark.parametrize(
    ("code", "kappafile"),
    [
        ("import orjson\n", KAPPAFILE),
        ("import numpy\n", KAPPAFILE.replace('"json"', '"dataframe"')),
        ("import PIL\n", KAPPAFILE.replace('"json"', '"image"')),
        ("import numpy, joblib\n", f'{KAPPAFILE}[artifacts.m]\ntype = "sklearn"\npath = "m.pkl"\n'),
        ("import tomli\n", f'{KAPPAFILE}[artifacts.m]\ntype = "pickle"\npath = "m.pkl"\n'),
        ("import json, handlers, os\n", KAPPAFILE),
        ("try:\n    import tomli\nexcept ImportError:\n    tomli = None\n", KAPPAFILE),
        ("import kappa\n", KAPPAFILE),
    ],
    ids=["Kappa's", "an adapter's", "an adapter's own", "a type's", "a model's", "Python's", "optional", "Kappa"],
)
def test_what_is_brought_by_others_is_not_told(tmp_path: Path, code: str, kappafile: str) -> None:
    write(tmp_path, {"kappafile.toml": kappafile, "handlers.py": f"{code}\n\ndef predict(value):\n    return value\n"})
    import tomli

    (tmp_path / "m.pkl").write_bytes(pickle.dumps(tomli.loads))
    assert warned(tmp_path) == []
