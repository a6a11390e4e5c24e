"""A folder without a kappafile: the message says where there is one, or holds the one to write."""

from __future__ import annotations

import pickle
import re
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from kappa.build.manifest.diagnostics import render_text
from kappa.build.manifest.kappafile import find_kappafile
from kappa.build.manifest.other_frameworks import advice_for_type, framework_of_file
from kappa.build.project import check_kappafile
from kappa.errors import ConfigurationError
from kappa.plugins import ARTIFACTS

UBJSON = b"{L\0\0\0\0\0\0\0\x07learner{}}"
SAMPLE = "area,rooms\n80.5,3\n120,4\n"


def refusal(folder: Path) -> str:
    with pytest.raises(ConfigurationError) as refused:
        find_kappafile(folder)
    return str(refused.value)


def lines_of(message: str) -> list[str]:
    """Return the kappafile in a message, without its empty lines."""
    return [line for line in message.partition("\n\n")[2].splitlines() if line]


@pytest.mark.parametrize(
    ("name", "data", "kind", "service"),
    [
        ("house.joblib", pickle.dumps(Counter()), "sklearn", "House"),
        ("house-prices_v2.pkl", pickle.dumps(Counter()), "pickle", "HousePricesV2"),
        ("2024.pickle", pickle.dumps([1]), "pickle", "My2024"),
        ("booster.ubj", UBJSON, "xgboost", "Booster"),
        ("booster.json", b'{"learner":{}}', "xgboost", "Booster"),
        ("größe.joblib", pickle.dumps([1]), "sklearn", "GrE"),
    ],
)
def test_nine_lines_make_a_kappafile_of_the_model_that_is_there(
    name: str, data: bytes, kind: str, service: str, tmp_path: Path
) -> None:
    (tmp_path / "a.txt").write_text("no model", encoding="utf-8")
    (tmp_path / "settings.json").write_text("{}", encoding="utf-8")
    (tmp_path / name).write_bytes(data)
    message = refusal(tmp_path)
    lines = lines_of(message)
    assert f"For `{name}`, which is there, write this as `kappafile.toml`:" in message
    assert len(lines) == 9
    assert [f'name = "{service}"', f'type = "{kind}"', f'path = "{name}"'] == [lines[n] for n in (2, 4, 5)]
    file = tmp_path / "kappafile.toml"
    file.write_text(message.partition("\n\n")[2], encoding="utf-8")
    problems = [problem for problem in check_kappafile(file)[1] if problem.severity == "error"]
    assert not problems, render_text(problems)


def test_a_sample_beside_the_model_tells_the_columns(tmp_path: Path) -> None:
    (tmp_path / "house.joblib").write_bytes(pickle.dumps([1]))
    (tmp_path / "sample.csv").write_text(SAMPLE, encoding="utf-8")
    message = refusal(tmp_path)
    assert 'input = { type = "dataframe", columns_from = "sample.csv" }' in lines_of(message)
    file = tmp_path / "kappafile.toml"
    file.write_text(message.partition("\n\n")[2], encoding="utf-8")
    assert not list(check_kappafile(file)[1])


@pytest.mark.parametrize("folder", ["models", "models/2026-11-30"])
def test_a_model_in_a_folder_is_named_by_its_path(folder: str, tmp_path: Path) -> None:
    for name in (folder, ".cache", "__pycache__"):
        (tmp_path / name).mkdir(parents=True)
        (tmp_path / name / "house.joblib").write_bytes(pickle.dumps([1]))
    (tmp_path / folder / "sample.csv").write_text(SAMPLE, encoding="utf-8")
    message = refusal(tmp_path)
    assert f"For `{folder}/house.joblib`, which is there, write this as `kappafile.toml`:" in message
    assert f'path = "{folder}/house.joblib"' in lines_of(message)
    file = tmp_path / "kappafile.toml"
    file.write_text(message.partition("\n\n")[2], encoding="utf-8")
    assert not list(check_kappafile(file)[1])


def test_a_model_at_the_top_comes_before_those_in_folders(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    for name in ("a/b.joblib", "c.joblib"):
        (tmp_path / name).write_bytes(pickle.dumps([1]))
    assert 'path = "c.joblib"' in lines_of(refusal(tmp_path))


def test_without_a_model_the_lines_name_one_to_be_made(tmp_path: Path) -> None:
    message = refusal(tmp_path)
    assert "For a model that `joblib.dump` wrote, write this as `kappafile.toml`:" in message
    assert 'path = "model.joblib"' in lines_of(message)


@pytest.mark.parametrize(("name", "framework"), [("net.pt", "PyTorch"), ("m.keras", "Keras"), ("m.PTH", "PyTorch")])
def test_a_model_without_a_type_is_led_to_the_way_that_works(name: str, framework: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(b"PK\3\4")
    assert refusal(tmp_path).endswith(
        f"There is `{name}`, a model of {framework}, for which there is no artifact type yet; `kappa explain KF205` "
        "shows the lines to write."
    )


@pytest.mark.parametrize("folder", ["models", "services/house", "a/b"], ids=["above", "beside", "two above"])
def test_the_kappafile_around_is_named_in_place_of_a_new_one(folder: str, tmp_path: Path) -> None:
    here = tmp_path / folder
    here.mkdir(parents=True)
    (here / "house.joblib").write_bytes(pickle.dumps([1]))
    place = tmp_path / "kappafile.yaml" if folder != "services/house" else here / "below" / "kappafile.yaml"
    place.parent.mkdir(exist_ok=True)
    place.touch()
    assert refusal(here).endswith(f"There is one at `{place}`: go there, or name it.")


TYPES = {
    "pytorch": "PyTorch",
    "PyTorch": "PyTorch",
    "keras_model": "Keras",
    "keras": "Keras",
    "tensorflow": "TensorFlow",
    "transformers": "Transformers",
    "mlflow": "MLflow",
    "sentence-transformers": "Sentence Transformers",
}


@pytest.mark.parametrize("kind", TYPES)
def test_a_type_of_a_framework_that_is_not_there_yet_names_the_way_that_works(
    kind: str, write_artifact: Callable[[str], str]
) -> None:
    text = write_artifact(kind)
    assert f"There is no artifact type `{kind}`." in text
    assert (
        f"There is no type for {TYPES[kind]} yet. Load it in code of yours: `kappa explain KF205` prints the lines of "
        "the kappafile and of `handlers.py` to copy; write them in place of `[artifacts.model]` and of "
        '`artifact = "model"` in `[apis.predict]`.'
    ) in text


def test_an_artifact_that_answers_no_api_by_itself_leaves_the_apis_as_they_are() -> None:
    assert "`artifact = " not in (advice_for_type("keras", artifact="model") or ("",))[0]


def test_another_word_for_a_type_is_told(write_artifact: Callable[[str], str]) -> None:
    assert 'Write `type = "lightgbm"` for what LightGBM\'s `save_model` wrote.' in write_artifact("lgbm")
    assert 'Write `type = "file"` for what any program wrote.' in write_artifact("folder")


@pytest.mark.parametrize("kind", ["joblib", "scikit-learn"])
def test_what_joblib_writes_is_declared_as_sklearn(kind: str, write_artifact: Callable[[str], str]) -> None:
    assert re.search(r'Write `type = "sklearn"` for .*`joblib.dump` wrote\.', write_artifact(kind))


@pytest.fixture
def write_artifact(tmp_path: Path) -> Callable[[str], str]:
    """Return a function that says what is wrong with an artifact of a type."""

    def write(kind: str) -> str:
        (tmp_path / "model.bin").write_bytes(b"\x80\x05N.")
        file = tmp_path / "kappafile.toml"
        file.write_text(
            'kappafile = 1\n[service]\nname = "A"\n[artifacts.model]\n'
            f'type = "{kind}"\npath = "model.bin"\n[apis.predict]\nartifact = "model"\ninput = "dataframe"\n',
            encoding="utf-8",
        )
        return render_text([one for one in check_kappafile(file)[1] if one.code == "KF205"])

    return write


@pytest.mark.parametrize("kind", ARTIFACTS.builtins)
def test_a_framework_with_a_type_is_not_among_those_without(kind: str) -> None:
    assert advice_for_type(kind, artifact="model") is None
    assert {framework_of_file(Path(f"model{end}")) for end in ARTIFACTS.load(kind).extensions} <= {None}
