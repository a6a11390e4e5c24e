"""Thirty mistakes of a first hour, committed for real: each answer says what is wrong, where, and what to do next.

`UPDATE_GOLDEN=1` rewrites `tests/golden/mistakes.json`, of which `docs/generate.py` makes `docs/reference/mistakes.md`.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from click.testing import CliRunner

import kappa.testing
from kappa.cli.main import cli

GOLDEN = Path(__file__).parent / "golden" / "mistakes.json"
SERVICE = """\
kappafile = 1

[service]
name = "HousePrice"

[artifacts.model]
type = "sklearn"
path = "house.joblib"

[apis.predict]
input = { type = "dataframe", columns = { area = "float64", rooms = "int64", new = "bool" } }
artifact = "model"
"""
CODE = """\
kappafile = 1

[service]
name = "HousePrice"

[artifacts.model]
type = "json"
path = "factor.json"

[apis.predict]
function = "handlers:predict"
input = "json"
"""
HANDLERS = "def predict(rows, model):\n    return rows\n"
TRAIN = """\
import joblib
import pandas as pd
from sklearn.linear_model import LinearRegression

rows = pd.DataFrame({"area": [80.0, 100.0, 120.0], "rooms": [2, 3, 5], "new": [True, False, True]})
joblib.dump(LinearRegression().fit(rows, [300.0, 350.0, 480.0]), "house.joblib")
"""
NOTEBOOK = """\
import kappa
from kappa.adapters import JsonInput

class House(kappa.BentoService):
    @kappa.api(input=JsonInput())
    def predict(self, value):
        return value

House().save()
"""
EXAMPLE = """
[[examples]]
name = "a house"
api = "predict"
input = [{ area = 80.5, rooms = 3, new = true }]
"""
TWO_WAYS = ("delete it from `sample.csv`", "add it to the example")
MISSING = b"\x80\x04\x95\x1b\x00\x00\x00\x00\x00\x00\x00\x8c\x08features\x94\x8c\x09DateParts\x94\x93\x94."
OF_MAIN = b"\x80\x04\x95\x17\x00\x00\x00\x00\x00\x00\x00\x8c\x08__main__\x94\x8c\x05Model\x94\x93\x94."


@dataclass(frozen=True)
class Mistake:
    """A mistake: what is changed in a project that works, what is asked then, and what the answer must hold."""

    number: int
    title: str
    asked: str
    """A command, or a request: `POST /predict BODY`."""
    says: Sequence[str]
    """What is wrong, where, and what to do next."""
    files: Mapping[str, str | bytes | None] = field(default_factory=dict)
    """Contents by path; nothing for a file that is removed."""
    note: str = ""
    """What the page says below the answer."""


def of_file(old: str, new: str, service: str = SERVICE) -> dict[str, str]:
    assert old in service
    return {"kappafile.toml": service.replace(old, new)}


def in_code(handlers: str = HANDLERS, old: str = "", new: str = "") -> dict[str, str]:
    return {"handlers.py": handlers, **of_file(old, new, CODE)}


MISTAKES = [
    Mistake(
        1,
        "A wrong path of the model",
        "kappa validate",
        ["There is no file or folder `hosue.joblib`", "kappafile.toml:8", "Did you mean `house.joblib`?"],
        of_file("house.joblib", "hosue.joblib"),
    ),
    Mistake(
        2,
        "A type that is misspelt",
        "kappa validate",
        ["There is no artifact type `xgbost`", "kappafile.toml:7", "Did you mean `xgboost`?"],
        of_file('"sklearn"', '"xgbost"'),
    ),
    Mistake(
        2,
        "The type `joblib`",
        "kappa validate",
        ["There is no artifact type `joblib`", "kappafile.toml:7", 'Write `type = "sklearn"`'],
        of_file('"sklearn"', '"joblib"'),
    ),
    Mistake(
        2,
        "The type of a framework that has none yet",
        "kappa validate",
        [
            "There is no artifact type `tflite`",
            "kappafile.toml:7",
            "`kappa explain KF205` prints",
            'in place of `[artifacts.model]` and of `artifact = "model"` in `[apis.predict]`',
        ],
        of_file('"sklearn"', '"tflite"'),
    ),
    Mistake(
        3,
        "A joblib file as `xgboost`",
        "kappa validate",
        [
            "`house.joblib` is not a model of type `xgboost`",
            "kappafile.toml:8",
            "looks like one that `joblib.dump` wrote",
        ],
        of_file('"sklearn"', '"xgboost"'),
    ),
    Mistake(
        4,
        "A model with a class of `__main__`",
        "kappa validate",
        ["`house.joblib` needs `Model`", "kappafile.toml:8", "write `from features import Model` in the script"],
        {"house.joblib": OF_MAIN},
    ),
    Mistake(
        5,
        "A model that needs an own module which is not there",
        "kappa validate",
        ["There is no module `features`", "kappafile.toml:8", "put `features.py` beside the kappafile"],
        {"house.joblib": MISSING},
    ),
    Mistake(
        6,
        "A class that is defined in a notebook",
        "python - < notebook",
        [
            "made of files",
            "House",
            "Begin the cell with `%%writefile",
            "the imports and helpers",
            "session without cells",
        ],
    ),
    Mistake(
        8,
        "A package that is not installed",
        "kappa validate",
        ["There is no module `acme_scores`", "handlers.py:1", 'under `[env]`, write `pip_packages = ["THAT-NAME"]`'],
        in_code(f"import acme_scores\n\n\n{HANDLERS}"),
    ),
    Mistake(
        9,
        "A package that nothing declares",
        "kappa validate",
        ["`numpy` is not among the packages", "handlers.py:1", 'under `[env]`, write `pip_packages = ["numpy"]`'],
        in_code(f"import numpy\n\n\n{HANDLERS}"),
    ),
    Mistake(
        10,
        "A wrong name of a column",
        'POST /predict [{"Area": 80, "rooms": 3, "new": true}]',
        ["Missing columns: `area`", "The request has `Area`", "rename `Area` to `area`"],
    ),
    Mistake(
        11,
        "One object in place of a list",
        'POST /predict {"area": 80, "rooms": 3, "new": true}',
        ["The body is one object", "an array of rows is wanted", "put the object in brackets, `[{…}]`"],
    ),
    Mistake(
        12,
        "A bool as text",
        'POST /predict [{"area": 60, "rooms": 2, "new": false}, {"area": 80, "rooms": 3, "new": "yes"}]',
        ["in row 1", "must be `bool`", "`new`", "Send `true` or `false`, without quotes"],
    ),
    Mistake(
        12,
        "A number as text",
        'POST /predict [{"area": 60, "rooms": 2, "new": false}, {"area": "80", "rooms": 3, "new": true}]',
        ["in row 1", "must be `float64`", "`area`", "Send `80`, without quotes"],
    ),
    Mistake(
        13,
        "The column that is predicted, in the sample",
        "kappa test",
        [
            "Missing columns: `price`",
            "predict: a house",
            "kappafile.toml:11",
            "delete it from `sample.csv`",
            "add it to the example",
        ],
        {
            "sample.csv": "area,rooms,new,price\n80.5,3,true,300\n120.5,5,false,480\n",
            "kappafile.toml": re.sub(r"columns = \{.*?\}", 'columns_from = "sample.csv"', SERVICE) + EXAMPLE,
        },
    ),
    Mistake(
        14,
        "GET",
        "GET /predict",
        ["`GET` is not allowed", "`/predict`", "e.g. `curl http", "[[1.5, 1, true]]"],
    ),
    Mistake(14, "PUT", "PUT /predict []", ["`PUT` is not allowed", "`/predict`", "use POST"]),
    Mistake(15, "A wrong route", "POST /predictions []", ["nothing at", "`/predictions`", "POST goes to `/predict`"]),
    Mistake(
        16,
        "A wrong port",
        "kappa test http://127.0.0.1:PORT",
        ["Nothing listens", "http://127.0.0.1:PORT", "start it with `kappa serve . --port PORT`"],
        {"kappafile.toml": SERVICE + EXAMPLE},
    ),
    Mistake(17, "A port that is taken", "kappa serve . --port PORT", ["already in use", "Port PORT", "`--port OTHER`"]),
    Mistake(
        18,
        "A folder without a kappafile",
        "kappa serve .",
        ["There is no kappafile", "house`", "`kappa init house.joblib` writes one"],
        {"kappafile.toml": None},
    ),
    Mistake(
        19,
        "A bundle that is not there",
        "kappa run HousePrices:latest predict --input []",
        [
            "There is no bundle `HousePrices:latest`",
            "the store",
            "Run `kappa build`",
            "after `kappa build`, write `HousePrice:latest`",
        ],
    ),
    Mistake(
        20,
        "A project where a bundle is served",
        "kappa serve-gunicorn .",
        ["not a bundle but a project", "`.`", "`kappa build .`, then `kappa serve-gunicorn HousePrice:latest`"],
    ),
    Mistake(
        21,
        "Two kappafiles",
        "kappa validate",
        ["more than one kappafile", "`kappafile.toml` and `kappafile.yaml`", "kappa validate kappafile.toml"],
        {"kappafile.yaml": "kappafile: 1\n"},
    ),
    Mistake(
        22,
        "`batch` in quotes, `python` without",
        "kappa validate",
        ["`batch` must be", "kappafile.toml:13", "Write `true`, without quotes", "Put it in quotes"],
        of_file('artifact = "model"', 'artifact = "model"\nbatch = "true"\n\n[env]\npython = 3.11'),
    ),
    Mistake(
        23,
        "A colon in TOML",
        "kappa validate",
        ["TOML joins a key and its value with `=`", "kappafile.toml:4", 'Write `name = "HousePrice"`'],
        of_file("name =", "name:"),
    ),
    Mistake(
        23,
        "YAML in a file called `.toml`",
        "kappa validate",
        ["This is YAML", "kappafile.toml:1:1", "rename the file to `kappafile.yaml`"],
        {"kappafile.toml": "kappafile: 1\nservice:\n  name: HousePrice\n"},
    ),
    Mistake(24, "A command that is misspelt", "kappa biuld", ["no command `biuld`", "Did you mean `build`?"]),
    Mistake(24, "An option that is misspelt", "kappa build --dry-rnu", ["--dry-rnu", "Did you mean '--dry-run'?"]),
    Mistake(
        25,
        "A function that is misspelt",
        "kappa validate",
        ["`predcit`", "kappafile.toml:11", "Did you mean"],
        in_code(old=":predict", new=":predcit"),
    ),
    Mistake(
        25,
        "A parameter that is misspelt",
        "kappa validate",
        ["`modell`", "handlers.py:1:19", "1 | def predict(rows, modell)", "`model`? Rename it there"],
        in_code(HANDLERS.replace("model", "modell")),
    ),
    Mistake(
        26,
        "`handlers.py:predict`",
        "kappa validate",
        ["handlers.py", "kappafile.toml:11", "Did you mean `handlers:predict`?"],
        in_code(old="handlers:predict", new="handlers.py:predict"),
    ),
    Mistake(
        27,
        "A wrong number of results",
        "kappa run . predict --input 1",
        [
            "was given 1 input and returned 2 results",
            "`predict` (`handlers.py:1`, API `predict`)",
            "return a list, an array or a frame with one result for each input",
        ],
        in_code("def predict(rows, model):\n    return [1, 2]\n", 'input = "json"', 'input = "json"\nbatch = true'),
        "`null` is what stdout has for an input that failed, as `kappa run --help` says.",
    ),
    Mistake(
        28,
        "Secrets that are not set",
        "kappa run . predict --input 1",
        ["`API_TOKEN`", "`DB_PASSWORD`", "`export API_TOKEN=… DB_PASSWORD=…`"],
        in_code(old="[artifacts", new='[env]\nsecrets = ["API_TOKEN", "DB_PASSWORD"]\n\n[artifacts'),
    ),
    Mistake(
        29,
        "No argument",
        "kappa serve-gunicorn",
        ["Missing argument `TARGET`", "a bundle", "`kappa build`, then", "gunicorn HousePrice:latest`"],
    ),
    Mistake(
        29,
        "No API",
        "kappa run .",
        ["Missing argument `API`", "`.` has `predict`", "`kappa run . predict --input '[{"],
    ),
    Mistake(
        30,
        "A model outside of the project",
        "kappa validate",
        ["outside of the project", "kappafile.toml:8", 'into the project, and write `path = "house.joblib"`'],
        {**of_file("house.joblib", "../house.joblib"), "../house.joblib": OF_MAIN},
    ),
]
"""Number 7, a script without `__main__`, needs a build: `tests/build/bundle/test_saving.py` holds it."""


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("trained")
    subprocess.run([sys.executable, "-c", TRAIN], cwd=folder, check=True)
    return folder / "house.joblib"


@pytest.fixture
def house(trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Make a project that works, and go there."""
    root = tmp_path / "house"
    root.mkdir()
    shutil.copy(trained, root)
    (root / "kappafile.toml").write_text(SERVICE, encoding="utf-8")
    (root / "factor.json").write_text("2", encoding="utf-8")
    monkeypatch.chdir(root)
    here, others = str(Path(__file__).parents[1]), str(trained.parents[1])  # no user has these among their folders
    kept = [path for path in sys.path if "lib" in path or (path and not path.startswith((here, others)))]
    monkeypatch.setattr(sys, "path", kept)
    yield root
    sys.modules.pop("handlers", None)


def answer_to(asked: str, root: Path) -> str:
    """Return what is said to who asks, with what differs from run to run under names of its own."""
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        port = holder.getsockname()[1]
        if "serve" in asked:
            holder.listen()
        elif "PORT" in asked:
            holder.close()
        text = _asked(asked.replace("PORT", str(port)), root)
    holder_of = re.compile(r"process \d+.*?(?=\. Stop that)", re.DOTALL)  # its command line is how pytest was called
    text = text.replace(str(port), "PORT").replace(str(port + 1), "OTHER")
    text = holder_of.sub("process PID", text)
    text = text.replace("falconframework.org", "localhost:5000")  # whom the test client asks
    text = re.sub(r"\[Errno \d+\] ", "", text)
    text = re.sub(r'"request_id":"[^"]*"', '"request_id":"ID"', text.replace(str(root.parent), "/home/ada"))
    text = re.sub(r"Ran on Python .*\n", "", text.replace(os.environ["KAPPA_HOME"], "/home/ada/kappa"))
    return text.replace(sys.prefix, "/home/ada/venv").rstrip("\n")


def _asked(asked: str, root: Path) -> str:
    method, _, rest = asked.partition(" ")
    if method == "python":
        done = subprocess.run(
            [sys.executable, "-"], cwd=root, input=NOTEBOOK, capture_output=True, text=True, check=False
        )
        return done.stderr.splitlines()[-1]
    if method != "kappa":
        path, _, body = rest.partition(" ")
        with kappa.testing.client(root) as client:
            return client.request(method, path, body=body, headers={"Content-Type": "application/json"}).text
    words = [word.strip("'") for word in rest.split(" ")]
    if words[0] == "serve" and "--port" in words:
        done = subprocess.run(
            [sys.executable, "-m", "kappa", *words], cwd=root, capture_output=True, text=True, timeout=60, check=False
        )
        return done.stdout + done.stderr
    return CliRunner().invoke(cli, words, prog_name="kappa").output


@pytest.mark.parametrize("mistake", MISTAKES, ids=[f"{one.number}-{one.title}" for one in MISTAKES])
def test_an_answer_says_what_where_and_what_next(mistake: Mistake, house: Path) -> None:
    for path, content in mistake.files.items():
        file = house / path
        if content is None:
            file.unlink()
        elif isinstance(content, bytes):
            file.write_bytes(content)
        else:
            file.write_text(content, encoding="utf-8")
    answer = answer_to(mistake.asked, house)
    record = {"number": mistake.number, "mistake": mistake.title, "asked": mistake.asked, "answer": answer}
    if mistake.note:
        record["note"] = mistake.note
    if os.environ.get("UPDATE_GOLDEN"):
        _keep(record)
    assert [text for text in mistake.says if text not in answer] == [], answer
    assert record in json.loads(GOLDEN.read_text(encoding="utf-8")), answer


def _keep(record: Mapping[str, object]) -> None:
    """Put an answer in the place of the one before; run with `UPDATE_GOLDEN=1` and without xdist."""
    kept = {one["mistake"]: one for one in json.loads(GOLDEN.read_text("utf-8"))} if GOLDEN.exists() else {}
    kept[record["mistake"]] = record
    titles = [one.title for one in MISTAKES]
    ordered = [kept[title] for title in titles if title in kept]
    GOLDEN.write_text(json.dumps(ordered, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
