"""A folder without a kappafile: the message says where there is one, or which command writes it."""

from __future__ import annotations

import pickle
import re
import shlex
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from kappa.build.manifest.diagnostics import render_text
from kappa.build.manifest.kappafile import find_kappafile
from kappa.build.manifest.nearby_models import sample_beside, service_name_for, type_of_model
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
def test_a_model_that_is_there_has_a_type_and_a_name_for_its_service(
    name: str, data: bytes, kind: str, service: str, tmp_path: Path
) -> None:
    (tmp_path / "a.txt").write_text("no model", encoding="utf-8")
    (tmp_path / "settings.json").write_text("{}", encoding="utf-8")
    (tmp_path / name).write_bytes(data)
    assert refusal(tmp_path).endswith(f"`kappa init {shlex.quote(name)}` writes one for the model that is there.")
    assert (type_of_model(tmp_path / name), service_name_for(tmp_path / name)) == (kind, service)


@pytest.mark.parametrize("folder", ["models", "models/2026-11-30"])
def test_a_model_in_a_folder_is_named_by_its_path_and_its_sample_is_beside_it(folder: str, tmp_path: Path) -> None:
    for name in (folder, ".cache", "__pycache__"):
        (tmp_path / name).mkdir(parents=True)
        (tmp_path / name / "house.joblib").write_bytes(pickle.dumps([1]))
    assert f"`kappa init {folder}/house.joblib`" in refusal(tmp_path)
    assert sample_beside(f"{folder}/house.joblib", tmp_path) is None
    (tmp_path / folder / "sample.csv").write_text(SAMPLE, encoding="utf-8")
    assert sample_beside(f"{folder}/house.joblib", tmp_path) == f"{folder}/sample.csv"


def test_a_model_at_the_top_comes_before_those_in_folders(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    for name in ("a/b.joblib", "c.joblib"):
        (tmp_path / name).write_bytes(pickle.dumps([1]))
    assert "`kappa init c.joblib`" in refusal(tmp_path)


def test_without_a_model_the_command_names_none(tmp_path: Path) -> None:
    assert refusal(tmp_path).endswith("`kappa init MODEL_FILE` writes one for a model.")


@pytest.mark.parametrize(("name", "framework"), [("net.tflite", "LiteRT"), ("m.pmml", "PMML"), ("m.TFLITE", "LiteRT")])
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
    "tflite": "LiteRT",
    "TFLite": "LiteRT",
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
    assert "`artifact = " not in (advice_for_type("tflite", artifact="model") or ("",))[0]


def test_another_word_for_a_type_is_told(write_artifact: Callable[[str], str]) -> None:
    assert 'Write `type = "lightgbm"` for what LightGBM\'s `save_model` wrote.' in write_artifact("lgbm")
    assert 'Write `type = "file"` for what any program wrote.' in write_artifact("folder")
    assert 'Write `type = "tensorflow"` for what `tf.saved_model.save` wrote.' in write_artifact("tf")


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
