"""`kappa init`: from a model's file to a kappafile whose example the model has answered."""

from __future__ import annotations

import json
import os
import pickle
import re
import subprocess
import sys
from collections.abc import Callable, Sequence
from io import BytesIO
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pandas as pd
import pytest
import tomli
from click.testing import CliRunner, Result
from sklearn.compose import make_column_transformer
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder

from kappa.actions import starting
from kappa.actions.asking import ask_first
from kappa.build.project import check_kappafile, read_project
from kappa.cli.main import cli
from kappa.errors import UsageError
from tests.inspection import samples

FLATS = pd.DataFrame({"area": [50.0, 60.0, 90.0, 120.0], "rooms": [2, 2, 4, 5]})
PRICES = [100.0, 120.0, 180.0, 240.0]


class OfTheScript:
    """Stands for a class of a training script."""


class Bomb:
    def __reduce__(self) -> Any:
        return os.system, ("touch run",)


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    return tmp_path


@pytest.fixture
def in_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ask models in this process: starting another one takes a second."""

    def run(arguments: Sequence[str], directory: Path, **_: Any) -> subprocess.CompletedProcess[str]:
        order, answer = map(Path, arguments[-2:])
        answer.write_text(json.dumps(ask_first(json.loads(order.read_text()))))
        return subprocess.CompletedProcess(arguments, 0, "", "")

    assert starting.first_answer.__kwdefaults__ is not None
    monkeypatch.setitem(starting.first_answer.__kwdefaults__, "run", run)


def init(*words: str, answers: str = "") -> Result:
    return CliRunner().invoke(cli, ["init", *words], input=answers)


def house() -> None:
    joblib.dump(LinearRegression().fit(FLATS, PRICES), "house.joblib")


def example() -> tuple[Any, Any]:
    """Return the request and the answer of the first example, after `kappa test` has passed."""
    result = CliRunner().invoke(cli, ["test", "--format", "json"])
    assert result.exit_code == 0, result.output
    spec = read_project(Path()).spec
    (first,) = spec.examples
    return json.loads(json.dumps(json.loads(result.stdout)[0]["got"])), json.loads(
        first.model_dump_json(include={"input"})
    )["input"]


def blocks(language: str) -> list[str]:
    """Return the blocks of the page about the command."""
    page = Path(__file__).parents[2] / "docs" / "how-to" / "begin-with-a-model.md"
    return re.findall(rf"^```{language}\n(.*?)^```$", page.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)


def files(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def test_a_model_becomes_a_service_whose_example_it_has_answered_in_a_process_of_its_own(here: Path) -> None:
    house()
    result = init("house.joblib", "--yes")
    assert result.exit_code == 0, result.output
    assert result.stdout == "Wrote `kappafile.toml`, `.gitignore`.\n"
    assert "curl localhost:5000/predict --header 'Content-Type: application/json' --data '[[1, 1]]'" in result.stderr
    assert (here / ".gitignore").read_text() == "/house.joblib\n"
    text = (here / "kappafile.toml").read_text()
    assert 'columns = [\n  "area",\n  "rooms",\n]' in text
    assert "# A `LinearRegression`, saved with scikit-learn" in text
    assert "sklearn" not in result.stdout
    got, request = example()
    assert request == [{"area": 1, "rooms": 1}]
    assert got == [pytest.approx(2.0)]
    assert not list(check_kappafile(here / "kappafile.toml")[1])


@pytest.mark.usefixtures("in_process")
def test_the_kappafile_is_the_one_of_the_page(here: Path) -> None:
    (script,), (shown,), (console,) = blocks("python"), blocks("toml"), blocks("console")
    exec(compile(script, "train.py", "exec"), {})
    assert f"$ kappa init flats.joblib --yes\n{init('flats.joblib', '--yes').stdout}" in console
    written = (here / "kappafile.toml").read_text()
    request, answer = (tomli.loads(text)["examples"][0].pop("expect") for text in (written, shown))
    assert request == [pytest.approx(answer[0])]
    assert lines(written) == lines(shown)


def lines(kappafile: str) -> list[str]:
    """Return the lines of a kappafile without what differs between machines."""
    shown = re.sub(r"scikit-learn [\d.]+", "scikit-learn VERSION", kappafile)
    return [line for line in shown.splitlines() if not line.startswith("expect")]


@pytest.mark.usefixtures("in_process")
@pytest.mark.parametrize("words", [(), ("--yaml",)], ids=["toml", "yaml"])
def test_whatever_columns_are_called_they_are_written_so_that_they_are_read(words: Sequence[str], here: Path) -> None:
    names = ['a "b"', "größe", "no", "x: y # z", "1", "{{ 7 }}", "back\\slash"]
    joblib.dump(LinearRegression().fit(pd.DataFrame(np.eye(7), columns=names), range(7)), "model.joblib")
    assert init("model.joblib", "--yes", *words).exit_code == 0
    assert files(here) == {"model.joblib", ".gitignore", "kappafile.yaml" if words else "kappafile.toml"}
    assert example()[1] == [dict.fromkeys(names, 1)]


@pytest.mark.usefixtures("in_process")
def test_a_model_without_names_takes_arrays_of_its_width() -> None:
    joblib.dump(LinearRegression().fit(FLATS.to_numpy(), PRICES), "house.joblib")
    assert init("house.joblib", "--yes").exit_code == 0
    assert 'type = "ndarray"\nshape = [2]' in Path("kappafile.toml").read_text()
    assert example()[1] == [[1.5, 1.5]]


@pytest.mark.usefixtures("in_process")
def test_texts_are_taken_where_the_model_begins_with_a_vectorizer() -> None:
    model = make_pipeline(TfidfVectorizer(), LogisticRegression()).fit(["good thing", "bad thing"], ["good", "bad"])
    joblib.dump(model, "model.joblib")
    assert init("model.joblib", "--yes").exit_code == 0
    assert 'type = "string"' in Path("kappafile.toml").read_text()
    assert example()[1] == "some text"


@pytest.mark.usefixtures("in_process")
def test_a_column_of_categories_gets_one_that_the_model_knows() -> None:
    columns = make_column_transformer((OneHotEncoder(), ["city"]), remainder="passthrough")
    flats = FLATS.assign(city=["Ulm", "Bonn", "Ulm", "Bonn"])
    joblib.dump(make_pipeline(columns, LinearRegression()).fit(flats, PRICES), "house.joblib")
    assert init("house.joblib", "--yes").exit_code == 0
    assert example()[1] == [{"area": 1, "rooms": 1, "city": "Bonn"}]


@pytest.mark.usefixtures("in_process")
def test_a_long_request_has_a_file_of_its_own(here: Path) -> None:
    joblib.dump(LinearRegression().fit(np.eye(100), range(100)), "model.joblib")
    result = init("model.joblib", "--yes")
    assert result.stdout == "Wrote `samples/predict.json`, `kappafile.toml`, `.gitignore`.\n"
    assert "--data @samples/predict.json" in result.stderr
    assert json.loads((here / "samples/predict.json").read_text()) == [[1.5] * 100]
    example()


@pytest.mark.usefixtures("in_process")
def test_a_sample_beside_the_model_gives_the_dtypes_and_the_first_request() -> None:
    house()
    Path("sample.csv").write_text("rooms,price,area\n2,100,50.5\n")
    assert init("house.joblib", "--yes").exit_code == 0
    text = Path("kappafile.toml").read_text()
    assert '[apis.predict.input.columns]\narea = { dtype = "float64", nullable = false }' in text
    assert "price" not in text
    assert example()[1] is None
    assert 'input_file = "sample.csv"' in text


@pytest.mark.usefixtures("in_process")
def test_a_sample_that_is_a_request_is_what_curl_sends() -> None:
    joblib.dump(LinearRegression().fit(FLATS.to_numpy(), PRICES), "house.joblib")
    Path("a row.json").write_text("[[50, 2]]")
    result = init("house.joblib", "--yes", "--sample", "a row.json")
    assert "--header 'Content-Type: application/json' --data '@a row.json'\n" in result.stderr
    assert 'input_file = "a row.json"' in Path("kappafile.toml").read_text()


def test_a_sample_that_lacks_a_column_is_refused() -> None:
    house()
    Path("rows.csv").write_text("area\n50\n")
    result = init("house.joblib", "--sample", "rows.csv")
    assert (result.exit_code, result.stderr) == (
        2,
        "error: `rows.csv` lacks columns that the model was fitted with: `rooms`.\n",
    )


def test_without_a_terminal_nothing_is_loaded_unless_it_is_allowed(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    house()
    monkeypatch.setattr("kappa.actions.first_answer", None)
    assert init("house.joblib").exit_code == 0
    assert "[[examples]]" not in (here / "kappafile.toml").read_text()
    assert not [problem for problem in check_kappafile(here / "kappafile.toml")[1] if problem.is_error]


@pytest.fixture
def on_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kappa.cli.commands.init.is_terminal", lambda: True)


QUESTIONS = [
    "Model's file or folder [house.joblib]: ",
    "Artifact type [sklearn]: ",
    "Input adapter [dataframe]: ",
    "Name of the API [predict]: ",
    "Name of the service [House]: ",
    "Load the model, and call it once for the first example? [Y/n]: ",
]


@pytest.mark.usefixtures("in_process", "on_terminal")
def test_on_a_terminal_questions_offer_what_is_there() -> None:
    house()
    result = init(answers="\n\n\nprice\nFlats\n\n")
    assert result.exit_code == 0, result.output
    assert [question for question in QUESTIONS if question not in result.stderr] == []
    spec = read_project(Path()).spec
    assert (spec.name, [api.name for api in spec.apis]) == ("Flats", ["price"])
    example()


@pytest.mark.usefixtures("in_process", "on_terminal")
def test_what_an_option_says_is_not_asked() -> None:
    joblib.dump(LinearRegression().fit(FLATS.to_numpy(), PRICES), "house.joblib")
    result = init("--type", "sklearn", "--input", "ndarray", "--api", "price", "--name", "Flats", answers="\n\n")
    assert result.exit_code == 0, result.output
    assert [question for question in QUESTIONS if question in result.stderr] == [QUESTIONS[0], QUESTIONS[-1]]
    assert 'type = "ndarray"' in Path("kappafile.toml").read_text()


@pytest.mark.usefixtures("in_process", "on_terminal")
def test_a_question_is_asked_again_until_its_answer_can_be_meant() -> None:
    house()
    answers = "absent.joblib\nhouse.joblib\nsklern\nsklearn\nndarry\nndarray\n2nd\nprice\nFlats\nn\n"
    result = init(answers=answers)
    assert result.exit_code == 0, result.output
    assert "Error: there is no file or folder `absent.joblib`." in result.stderr
    assert "There is no artifact type `sklern`. Did you mean `sklearn`?" in result.stderr
    assert "There is no input adapter `ndarry`. Did you mean `ndarray`?" in result.stderr
    assert "`2nd` is not a name" in result.stderr
    assert 'type = "ndarray"' in Path("kappafile.toml").read_text()


@pytest.mark.usefixtures("on_terminal")
def test_weights_alone_ask_for_their_function_too() -> None:
    Path("net.safetensors").write_bytes(samples.safetensors())
    Path("nets.py").write_text("def make(): ...\n")
    result = init("--no-example", answers="\n\nnets:make\n\n\nNet\n")
    assert result.exit_code == 0, result.output
    assert "Function of yours that makes their module (MODULE:FUNCTION): " in result.stderr
    assert 'factory = "nets:make"' in Path("kappafile.toml").read_text()


@pytest.mark.usefixtures("on_terminal")
def test_a_file_of_no_known_format_is_asked_for_its_type_without_a_default() -> None:
    Path("model.bin").write_bytes(b"Once upon a time")
    result = init("--no-example", answers="model.bin\n\nfile\n\n\nStory\n")
    assert "Artifact type: " in result.stderr
    assert result.exit_code in (0, 3), result.output


@pytest.mark.usefixtures("on_terminal")
def test_nothing_is_asked_where_a_kappafile_is_there(here: Path) -> None:
    house()
    (here / "kappafile.toml").write_text("x")
    result = init(answers="\n")
    assert (result.exit_code, result.stderr) == (
        2,
        "error: `kappafile.toml` is there already, and `kappa init` overwrites nothing.\n",
    )


def test_without_a_terminal_the_options_are_named() -> None:
    result = init()
    assert result.exit_code == 2
    for word in ("kappa init MODEL_FILE", "--type", "--input", "--api", "--method", "--name"):
        assert f"`{word}`" in result.stderr


@pytest.mark.usefixtures("on_terminal")
def test_questions_that_are_left_write_nothing(here: Path) -> None:
    house()
    result = init(answers="\nsklearn\n")
    assert result.exit_code != 0
    assert files(here) == {"house.joblib"}


def test_a_no_keeps_the_model_from_being_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    house()
    monkeypatch.setattr("kappa.cli.commands.init.is_terminal", lambda: True)
    monkeypatch.setattr("kappa.actions.first_answer", None)
    assert init("house.joblib", answers="\nn\n").exit_code == 0
    assert not read_project(Path()).spec.examples


def test_loading_what_no_list_has_is_not_the_default(monkeypatch: pytest.MonkeyPatch) -> None:
    Path("own.py").write_text("class Model:\n    def predict(self, value):\n        return value\n")
    Path("model.pkl").write_bytes(b"\x80\x02cown\nModel\n)\x81.")
    monkeypatch.setattr("kappa.cli.commands.init.is_terminal", lambda: True)
    result = init("model.pkl", answers="\n\n")
    assert result.exit_code == 0, result.output
    assert "Loading the model may run code: no list has `own:Model`." in result.stderr
    assert "for the first example? [y/N]:" in result.stderr
    assert not read_project(Path()).spec.examples


def test_json_says_what_was_written(in_process: None) -> None:
    house()
    result = init("house.joblib", "--yes", "--format", "json", "--name", "Flats", "--api", "price")
    tree = json.loads(result.stdout)
    assert tree.pop("example") == {
        "input": [{"area": 1, "rooms": 1}],
        "expect": [pytest.approx(2.0)],
        "tolerance": 2e-05,
    }
    assert tree == {
        "written": ["kappafile.toml", ".gitignore"],
        "service": "Flats",
        "artifact_type": "sklearn",
        "model": "house.joblib",
        "api": "price",
        "method": "predict",
        "input": "dataframe",
    }


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("kappafile.toml", "x"),
        ("kappafile.yaml", "x"),
        ("pyproject.toml", "[tool.kappa]\n"),
        ("samples/predict.json", "x"),
    ],
)
def test_nothing_is_overwritten(name: str, text: str, here: Path) -> None:
    joblib.dump(LinearRegression().fit(np.eye(100), range(100)), "model.joblib")
    (here / name).parent.mkdir(exist_ok=True)
    (here / name).write_text(text)
    before = files(here)
    result = init("model.joblib", "--yes")
    assert (result.exit_code, result.stderr) == (
        2,
        f"error: `{name}` is there already, and `kappa init` overwrites nothing.\n",
    )
    assert (files(here), (here / name).read_text()) == (before, text)


def test_a_kappafile_that_has_come_meanwhile_stays(here: Path) -> None:
    house()
    start = starting.plan_start(Path("house.joblib"), here)
    (here / "kappafile.toml").write_text("x")
    with pytest.raises(UsageError, match="could not be written: File exists"):
        starting.write_start(start)
    assert (here / "kappafile.toml").read_text() == "x"


@pytest.mark.parametrize(
    ("before", "after"),
    [("*.log", "*.log\n/house.joblib\n"), ("/house.joblib\n*.log\n", "/house.joblib\n*.log\n")],
    ids=["appended", "there already"],
)
def test_the_lines_of_gitignore_stay(before: str, after: str, here: Path) -> None:
    house()
    (here / ".gitignore").write_text(before)
    assert init("house.joblib").exit_code == 0
    assert (here / ".gitignore").read_text() == after


def npy() -> bytes:
    file = BytesIO()
    np.save(file, np.arange(3.0))
    return file.getvalue()


def of_main() -> bytes:
    return b"\x80\x02c__main__\nModel\n)\x81."


def truncated() -> bytes:
    return pickle.dumps(LinearRegression().fit(FLATS, PRICES))[:-40]


MODELS: dict[str, tuple[Callable[[], bytes], int, Sequence[str]]] = {
    "of a script": (of_main, 3, ["`Model` of the script or notebook", "Move `Model`"]),
    "cut off": (truncated, 3, ["`model.pkl`", "it ends too soon", "Copy it again, or save the model again."]),
    "of an unknown module": (lambda: b"\x80\x02cnobodys_module\nModel\n)\x81.", 3, ["`nobodys_module`"]),
    "dangerous": (lambda: pickle.dumps(Bomb()), 3, [f"`{os.system.__module__}:system`", "Do not load it."]),
    "text": (
        lambda: b"Once upon a time",
        3,
        ["`model.pkl` is not a model of type `pickle`: it does not begin"],
    ),
    "without the method": (lambda: pickle.dumps({"a": 1}), 9, ["`dict`", "no method `predict`", "`--method`"]),
}


@pytest.mark.usefixtures("in_process")
@pytest.mark.parametrize("kind", MODELS)
def test_a_model_that_cannot_be_served_is_refused_and_nothing_is_written(kind: str, here: Path) -> None:
    make, code, words = MODELS[kind]
    (here / "model.pkl").write_bytes(make())
    result = init("model.pkl", "--yes")
    assert result.exit_code == code, result.output
    assert [word for word in words if word not in result.stderr] == []
    assert files(here) == {"model.pkl"}


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ((), "There is no model's file here: name one, `kappa init MODEL_FILE`."),
        (("absent.pkl",), "There is no file or folder `absent.pkl`."),
        (("house.joblib", "--type", "sklern"), "There is no artifact type `sklern`. Did you mean `sklearn`?"),
        (("house.joblib", "--input", "datafram"), "There is no input adapter `datafram`. Did you mean `dataframe`?"),
        (
            ("house.joblib", "--type", "xgboost"),
            "`house.joblib` is not a model of type `xgboost`: it does not begin",
        ),
        (("house.joblib", "--name", "My House"), "My House"),
    ],
    ids=["nothing", "absent", "type", "input", "wrong type", "name"],
)
def test_what_is_misspelt_is_told(words: Sequence[str], message: str, here: Path) -> None:
    if words and words[0] != "absent.pkl":
        house()
    before = files(here)
    result = init(*words)
    assert result.exit_code in (2, 3)
    assert message in result.stderr
    assert files(here) == before


def test_of_a_long_message_the_first_and_the_last_line_are_shown(in_process: None) -> None:
    message = "one.\\n\\n  two\\n  three.\\n"
    code = f"class Model:\n    def predict(self, value):\n        raise ValueError('{message}')\n"
    Path("failing_model_of_init.py").write_text(code)
    Path("model.pkl").write_bytes(b"\x80\x02cfailing_model_of_init\nModel\n)\x81.")
    result = init("model.pkl", "--yes")
    assert "`model.pkl` does not answer a first request: ValueError: one … three. Nothing was written" in result.stderr


def test_a_file_of_no_format_asks_for_its_type(here: Path) -> None:
    (here / "model.bin").write_bytes(b"Once upon a time")
    result = init("model.bin")
    message = (
        "`model.bin` has no artifact type. It has the format of no model that is known. See `kappa explain artifacts`"
    )
    assert (result.exit_code, result.stderr) == (3, f"error: {message}, and name one with `--type`.\n")


@pytest.mark.parametrize(
    ("name", "data", "message"),
    [
        (
            "a.npy",
            npy(),
            'no artifact type. It is a model of the format `numpy`. Write `type = "numpy"` for it; a function',
        ),
        ("a.npy", npy()[:-1], "`a.npy` is not a whole model: it ends too soon. Save the model again,"),
        ("a.weights.h5", b"\x89HDF\r\n\x1a\n" + bytes(99), 'Save the model itself, `model.save("model.keras")`'),
    ],
    ids=["array", "part of an array", "weights"],
)
def test_what_answers_no_request_is_refused_with_what_to_do(name: str, data: bytes, message: str, here: Path) -> None:
    (here / name).write_bytes(data)
    result = init(name)
    assert (result.exit_code, files(here)) == (3, {name})
    assert message in result.stderr


@pytest.mark.parametrize(
    ("name", "data"),
    [("net.safetensors", samples.safetensors()), ("net.pt", samples.torch(samples.STATE_DICT))],
    ids=["safetensors", "state dict"],
)
def test_weights_alone_ask_for_the_function_that_makes_their_module(name: str, data: bytes, here: Path) -> None:
    (here / name).write_bytes(data)
    result = init(name)
    message = (
        f"`{name}` holds weights alone: name the function of yours that makes their module, `--factory nets:make`."
    )
    assert (result.exit_code, result.stderr) == (3, f"error: {message}\n")


def test_a_function_that_makes_modules_is_none_of_other_types() -> None:
    house()
    result = init("house.joblib", "--factory", "nets:make")
    assert (result.exit_code, result.stderr) == (2, "error: The artifact type `sklearn` has no option `factory`.\n")


def test_a_model_elsewhere_leads_to_its_folder(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    house()
    (here / "below").mkdir()
    monkeypatch.chdir(here / "below")
    result = init("../house.joblib")
    assert result.exit_code == 2
    assert f"run `kappa init` in `{here}`" in result.stderr


@pytest.mark.usefixtures("in_process")
def test_a_model_of_the_projects_own_code_is_asked_with_it() -> None:
    Path("own_model_of_init.py").write_text("class Model:\n    def predict(self, value):\n        return [value]\n")
    Path("model.pkl").write_bytes(b"\x80\x02cown_model_of_init\nModel\n)\x81.")
    assert init("model.pkl", "--yes").exit_code == 0
    assert example() == ([{"key": 1}], {"key": 1})
