"""What `kappa validate` holds against a compiled artifact: nothing of the model is loaded."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import joblib
import pytest
from sklearn.linear_model import LinearRegression

from kappa.build.project import check_kappafile

EXAMPLE = '[[examples]]\nname = "one"\napi = "price"\ninput = [[1.0]]\n'
OWN_METHOD = 'artifact = "model"'


def problems(
    folder: Path,
    compiled: str,
    *,
    target: str = OWN_METHOD,
    more: str = EXAMPLE,
    code: str = "",
    pickle: str = "allow",
) -> list[tuple[Any, ...]]:
    joblib.dump(LinearRegression().fit([[1.0], [2.0]], [1.0, 2.0]), folder / "model.joblib")
    (folder / "handlers.py").write_text(code, encoding="utf-8")
    (folder / "kappafile.toml").write_text(
        'kappafile = 1\n[service]\nname = "Service"\n'
        f'[artifacts.model]\ntype = "sklearn"\npath = "model.joblib"\ncompile = {compiled}\n'
        f'[apis.price]\n{target}\ninput = "ndarray"\n[security]\npickle = "{pickle}"\n{more}',
        encoding="utf-8",
    )
    reported = check_kappafile(folder / "kappafile.toml")[1]
    return [(problem.code, problem.file.name, problem.span.line, problem.message) for problem in reported]


def test_an_example_or_samples_are_enough(tmp_path: Path) -> None:
    (tmp_path / "rows.csv").write_text("a\n1\n", encoding="utf-8")
    assert problems(tmp_path, '"onnx"') == []
    for samples in ("rows.csv", "none"):
        assert problems(tmp_path, f'{{ to = "onnx", samples = "{samples}" }}', more="") == []


def test_a_compiled_model_is_no_pickle_in_the_bundle(tmp_path: Path) -> None:
    assert problems(tmp_path, '"onnx"', pickle="forbid") == []


def test_without_either_nothing_would_prove_it(tmp_path: Path) -> None:
    ((code, _, line, message),) = problems(tmp_path, '"onnx"', more="")
    assert (code, line) == ("KF352", 7)
    assert message.startswith("`model` is compiled, and there is neither an example nor a file of `samples`")


def test_a_file_of_samples_must_be_there(tmp_path: Path) -> None:
    ((code, _, line, message),) = problems(tmp_path, '{ samples = "absent.csv" }')
    assert (code, line) == ("KF302", 7)
    assert "`absent.csv`" in message


def test_a_looser_tolerance_is_said(tmp_path: Path) -> None:
    ((code, _, line, message),) = problems(tmp_path, "{ rtol = 0.01 }")
    assert (code, line) == ("KF354", 7)
    assert "`rtol = 0.01` and `atol = 1e-05`" in message
    assert problems(tmp_path, "{ rtol = 1e-6, atol = 0 }") == []


@pytest.mark.parametrize("wrong", ['"tflite"', "true", "{ to = 'tvm' }", "{ rtol = -1 }", "{ sample = 'rows.csv' }"])
def test_another_value_is_an_error_where_it_stands(tmp_path: Path, wrong: str) -> None:
    reported = problems(tmp_path, wrong)
    assert {line for _, _, line, _ in reported} == {7}


def test_an_api_that_calls_what_is_not_compiled_is_an_error_where_it_names_it(tmp_path: Path) -> None:
    (problem,) = problems(tmp_path, '"onnx"', target='artifact = "model"\nmethod = "score"')
    assert problem == ("KF353", "kappafile.toml", 10, "A compiled model has no method `score`.")


def test_code_that_reads_what_a_compiled_model_has_not_is_an_error_at_its_line(tmp_path: Path) -> None:
    code = "def price(rows, model):\n    model.classes_\n    return model.predict(rows) + model.intercept_\n"
    (problem,) = problems(tmp_path, '"onnx"', target='function = "handlers:price"', code=code)
    assert problem == ("KF353", "handlers.py", 3, "`model` is compiled, and a compiled model has no `intercept_`.")


def test_a_method_that_reads_it_of_its_artifacts_is_an_error_at_its_line(tmp_path: Path) -> None:
    (tmp_path / "priced.py").write_text(
        "import kappa\nfrom kappa.adapters import NdarrayInput\n"
        "from kappa.frameworks.sklearn import SklearnModelArtifact\n"
        '@kappa.artifacts([SklearnModelArtifact("model", compile="onnx")])\n'
        "class Priced(kappa.BentoService):\n"
        "    @kappa.api(input=NdarrayInput(), batch=True)\n"
        "    def price(self, rows):\n"
        "        return self.artifacts.model.coef_\n",
        encoding="utf-8",
    )
    joblib.dump(LinearRegression().fit([[1.0], [2.0]], [1.0, 2.0]), tmp_path / "model.joblib")
    (tmp_path / "kappafile.toml").write_text(
        f'kappafile = 1\n[service]\nclass = "priced:Priced"\n[artifacts.model]\npath = "model.joblib"\n{EXAMPLE}'
        '[security]\npickle = "allow"\n',
        encoding="utf-8",
    )
    reported = [problem for problem in check_kappafile(tmp_path / "kappafile.toml")[1] if problem.is_error]
    assert [(problem.code, problem.file.name, problem.span.line) for problem in reported] == [("KF353", "priced.py", 8)]
