"""What a kappafile names is looked up where it would be at run time, and nothing else is said against it."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from kappa.build.manifest.diagnostics import Diagnostic
from kappa.build.project import check_kappafile, read_project
from kappa.errors import ManifestError
from kappa.log import listening

BASE = """\
kappafile = 1
[service]
name = "Service"
{service}
[artifacts.model]
type = "json"
path = "model.json"
[apis.predict]
function = "{function}"
input = "{input}"
{api}
"""


def write(root: Path, files: Mapping[str, str]) -> None:
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text, encoding="utf-8")


def check(
    root: Path,
    files: Mapping[str, str],
    *,
    service: str = "",
    function: str = "handlers:predict",
    adapter: str = "json",
    api: str = "",
    more: str = "",
) -> list[Diagnostic]:
    text = BASE.format(service=service, function=function, input=adapter, api=api) + more
    write(root, {"model.json": "{}", **files, "kappafile.toml": text})
    return list(check_kappafile(root / "kappafile.toml")[1])


def said(found: list[Diagnostic]) -> list[tuple[str, str]]:
    return [(problem.code, problem.message) for problem in found]


# -- functions and their parameters ------------------------------------------------------------------------------------

FITTING = {
    "the input alone": "def predict(value): ...",
    "an artifact": "def predict(value, model): ...",
    "the task": "def predict(value, task): ...",
    "anything with a default": "def predict(value, limit=3, *, verbose=False): ...",
    "keywords": "def predict(value, /, *, model, task): ...",
    "a function from another module": "from inner import predict",
    "a function under another name": "from inner import real as predict",
    "a function through a package": "from pkg import predict",
    "a function behind a star": "from inner import *",
    "a function in a branch": "try:\n    import fast\nexcept ImportError:\n    def predict(value): ...",
    "a decorated function": "@traced\ndef predict(anything, goes): ...",
    "a value that is assigned": "predict = make()",
    "a name that a loop binds": "for predict in functions: ...",
    "a module that makes its names": "def __getattr__(name): ...",
    "a function of an installed package": "from joblib import hash as predict",
    "a function of the standard library": "from operator import neg as predict",
    "a class": "class predict:\n    def __init__(self, value): ...",
    "a star of an unknown module": "try:\n    from surely_not_there import *\nexcept ImportError: ...",
}
INNER = {
    "inner.py": "def predict(value, model): ...\ndef real(value): ...\n",
    "pkg/__init__.py": "from .deep import predict\n",
    "pkg/deep.py": "def predict(value): ...\n",
}


@pytest.mark.parametrize("name", FITTING)
def test_a_function_that_can_be_called_has_no_problem(name: str, tmp_path: Path) -> None:
    found = check(tmp_path, {**INNER, "handlers.py": FITTING[name]})
    assert [problem for problem in found if problem.is_error] == []


UNFILLED = {
    "no parameter": ("def predict(): ...", "`predict` takes no input: its first parameter receives the request."),
    "keywords alone": (
        "def predict(*, value): ...",
        "`predict` takes no input: its first parameter receives the request.",
    ),
    "variadic": ("def predict(value, *rest): ...", "`predict` takes `*rest`."),
    "keywords of any name": ("def predict(value, **rest): ...", "`predict` takes `**rest`."),
    "the tasks of no batch": ("def predict(value, tasks): ...", "`predict` takes `tasks`, but its API is not batched."),
    "position alone": (
        "def predict(value, model, /): ...",
        "`predict` takes `model` before its `/`, so it cannot be filled by name.",
    ),
    "an unknown name": (
        "def predict(value, database): ...",
        "`predict` takes `database`, which is neither an artifact nor returned by `setup`.",
    ),
    "an unknown name, further away": (
        "from inner import other as predict",
        "`other` takes `thing`, which is neither an artifact nor returned by `setup`.",
    ),
}


@pytest.mark.parametrize("name", UNFILLED)
def test_a_parameter_that_nothing_fills_is_an_error(name: str, tmp_path: Path) -> None:
    text, message = UNFILLED[name]
    found = check(tmp_path, {"handlers.py": text, "inner.py": "\n\ndef other(value, thing): ...\n"})
    assert said(found) == [("KF306", message)]


def test_the_parameter_is_shown_where_it_stands(tmp_path: Path) -> None:
    (problem,) = check(tmp_path, {"handlers.py": "from inner import f as predict", "inner.py": "\ndef f(v, w): ...\n"})
    (label,) = problem.labels
    assert (problem.file, problem.path) == (tmp_path / "kappafile.toml", "/apis/predict/function")
    assert (label.file, label.span.line, label.span.column) == (tmp_path / "inner.py", 2, 10)


@pytest.mark.parametrize(
    ("adapter", "api", "word"),
    [("json", "", "task"), ("json", "batch = true", "tasks"), ("dataframe", "", "tasks")],
)
def test_the_word_for_the_task_follows_the_batch(adapter: str, api: str, word: str, tmp_path: Path) -> None:
    for parameter in ("task", "tasks"):
        found = check(tmp_path, {"handlers.py": f"def predict(v, {parameter}): ..."}, adapter=adapter, api=api)
        assert any(problem.code == "KF306" for problem in found) == (parameter != word)


SETUPS = {
    "a dict": ("def up():\n    return {'db': 1, 'cache': 2}", {"db", "cache"}),
    "one of two dicts": ("def up():\n    if x:\n        return {'db': 1}\n    return {'cache': 2}", {"db", "cache"}),
    "a dict, awaited": ("async def up():\n    return {'db': 1, 'cache': 2}", {"db", "cache"}),
    "nothing": ("def up():\n    def inner():\n        return {'db': 1}\n", set()),
    "nothing, said": ("def up():\n    return None", set()),
    "computed": ("def up():\n    return connect()", None),
    "unpacked": ("def up():\n    return {**a, 'db': 1}", None),
    "decorated": ("@cached\ndef up():\n    return {}", None),
    "assigned": ("up = make()", None),
}


@pytest.mark.parametrize("name", SETUPS)
def test_what_setup_returns_can_be_named(name: str, tmp_path: Path) -> None:
    text, keys = SETUPS[name]
    for parameter in ("db", "cache", "else_"):
        files = {"handlers.py": f"{text}\ndef predict(value, {parameter}): ..."}
        found = check(tmp_path, files, service='setup = "handlers:up"')
        assert bool(found) == (keys is not None and parameter not in keys)


def test_setup_that_takes_something_or_returns_an_artifacts_name_is_an_error(tmp_path: Path) -> None:
    text = "def up(path):\n    return {'model': 1}\ndef predict(v): ..."
    assert said(check(tmp_path, {"handlers.py": text}, service='setup = "handlers:up"')) == [
        ("KF207", "`setup` returns `model`, which is also the name of an artifact."),
        ("KF306", "`setup` is called with nothing, but takes `path`."),
    ]


def test_teardown_takes_what_setup_returns(tmp_path: Path) -> None:
    text = "def up():\n    return {'db': 1}\ndef down(db, cache, x=1, **rest): ...\ndef predict(v): ..."
    service = 'setup = "handlers:up"\nteardown = "handlers:down"'
    assert said(check(tmp_path, {"handlers.py": text}, service=service)) == [
        ("KF306", "`teardown` takes `cache`, which `setup` does not return.")
    ]


GENERATORS = {
    "a generator": "def f(v=0):\n    yield v",
    "from another": "def f(v=0):\n    if v:\n        x = yield from v",
    "asynchronous": "async def f(v=0):\n    for one in v:\n        yield one",
    "in an expression": "def f(v=0):\n    return [(yield v)]",
    "by its decorator static": "class A:\n    @staticmethod\n    def f(v=0): yield v\nf = 1",
}
NO_GENERATORS = {
    "plain": "def f(v=0):\n    return [x for x in v]",
    "asynchronous": "async def f(v=0):\n    return v",
    "one inside": "def f(v=0):\n    def inner():\n        yield v\n    return list(inner())",
    "one in a class inside": "def f(v=0):\n    class A:\n        def g(self): yield 1\n    return v",
    "a lambda inside": "def f(v=0):\n    g = lambda: (yield)\n    return v",
    "a generator expression": "def f(v=0):\n    return sum(x for x in v)",
    "made something else of": "@contextmanager\ndef f(v=0):\n    yield v",
}


@pytest.mark.parametrize("used", ["function", "setup", "teardown"])
@pytest.mark.parametrize("name", [*GENERATORS, *(f"no {name}" for name in NO_GENERATORS)])
def test_a_generator_is_told_wherever_it_is_named(name: str, used: str, tmp_path: Path) -> None:
    text = GENERATORS.get(name) or NO_GENERATORS[name.removeprefix("no ")]
    reference = "handlers:A.f" if "class A:\n    @static" in text else "handlers:f"
    files = {"handlers.py": f"{text}\ndef predict(value): ...\n"}
    if used == "function":
        found = check(tmp_path, files, function=reference)
    else:
        found = check(tmp_path, files, service=f'{used} = "{reference}"')
    assert said(found) == ([("KF323", "`f` is a generator.")] if name in GENERATORS else [])


def test_a_generator_is_told_as_a_method_and_as_setup_of_a_class(tmp_path: Path) -> None:
    text = (
        "import kappa\nfrom kappa.adapters import JsonInput\ndef up():\n    yield {}\n"
        "@kappa.setup('service:up')\nclass Service(kappa.BentoService):\n"
        "    @kappa.api(input=JsonInput())\n    async def words(self, text):\n        yield text\n"
    )
    write(tmp_path, {"service.py": text, "kappafile.toml": 'kappafile = 1\n[service]\nclass = "service:Service"\n'})
    found = list(check_kappafile(tmp_path / "kappafile.toml")[1])
    assert [(one.code, one.message, one.span.line) for one in found] == [
        ("KF323", "`up` is a generator.", 4),
        ("KF323", "`words` is a generator.", 9),
    ]


METHODS = {
    "a method": "class A:\n    def f(self, v=0): ...",
    "of a class inside": "class O:\n    class A:\n        def f(self, v=0): ...",
    "asynchronous": "class A:\n    async def f(self, v=0): ...",
    "inherited": "class Base:\n    def f(self, v=0): ...\nclass A(Base): ...",
    "inherited from elsewhere": "from inner import Base\nclass A(Base): ...",
}
NO_METHODS = {
    "static": "class A:\n    @staticmethod\n    def f(v=0): ...",
    "of the class": "class A:\n    @classmethod\n    def f(cls, v=0): ...",
    "of an object": "class B:\n    def f(self, v=0): ...\nA = B()",
    "made something else of": "class A:\n    @traced\n    def f(v=0): ...",
    "of nobody knows what": "class A(Base, Other): ...",
    "of a circle": "class A(B): ...\nclass B(A): ...",
}


@pytest.mark.parametrize("used", ["function", "setup", "teardown"])
@pytest.mark.parametrize("name", [*METHODS, *NO_METHODS])
def test_a_method_without_an_object_is_told_wherever_it_is_named(name: str, used: str, tmp_path: Path) -> None:
    owner = "handlers:O.A" if "class O" in METHODS.get(name, "") else "handlers:A"
    files = {
        "handlers.py": f"{METHODS.get(name) or NO_METHODS[name]}\ndef predict(value): ...\n",
        "inner.py": "class Base:\n    def f(self, v=0): ...\n",
    }
    if used == "function":
        found = check(tmp_path, files, function=f"{owner}.f")
    else:
        found = check(tmp_path, files, service=f'{used} = "{owner}.f"')
    told = [("KF324", f"`{owner}.f` is a method, which needs an object of its class.")]
    assert said(found) == (told if name in METHODS else [])
    if name in METHODS and used == "function":
        assert f'Write `class = "{owner}"` in `[service]`' in found[0].help


def test_methods_of_a_class_are_checked_at_their_place(tmp_path: Path) -> None:
    text = (
        "import kappa\nfrom kappa.adapters import JsonInput\n"
        "class Service(kappa.BentoService):\n"
        "    @kappa.api(input=JsonInput())\n    def good(self, value, task): ...\n"
        "    @kappa.api(input=JsonInput(), batch=True)\n    def bad(self, values, task): ...\n"
    )
    write(tmp_path, {"service.py": text, "kappafile.toml": 'kappafile = 1\n[service]\nclass = "service:Service"\n'})
    (problem,) = check_kappafile(tmp_path / "kappafile.toml")[1]
    assert problem.message == "`bad` takes `task`, but its API is batched."
    assert (problem.file, problem.span.line, problem.span.column) == (tmp_path / "service.py", 7, 27)


@pytest.mark.parametrize("function", ["operator:neg", "joblib:hash", "joblib.hashing:hash", "handlers:Scorer.score"])
def test_functions_of_others_and_of_classes_are_found(function: str, tmp_path: Path) -> None:
    files = {"handlers.py": "class Scorer:\n    @staticmethod\n    def score(value): ..."}
    assert check(tmp_path, files, function=function) == []


def test_a_missing_function_of_an_installed_package_is_an_error_too(tmp_path: Path) -> None:
    assert said(check(tmp_path, {}, function="joblib.numpy_pickle:dumb")) == [
        ("KF305", "`joblib.numpy_pickle` defines no `dumb`.")
    ]


# -- nothing is said that follows from another mistake -----------------------------------------------------------------


@pytest.mark.parametrize(
    ("old", "new", "count"),
    [
        pytest.param("[artifacts.model]", "[artifact.model]", 1, id="misspelled table of artifacts"),
        pytest.param("[artifacts.model]", "[artifacts.model", 1, id="broken header"),
        pytest.param('setup = "handlers:up"', 'setup = "handlers:upp"', 1, id="missing setup"),
        pytest.param('setup = "handlers:up"', "setup = 3", 1, id="setup of the wrong kind"),
        pytest.param('setup = "handlers:up"', 'stup = "handlers:up"', 1, id="misspelled setup"),
        pytest.param("batch = true", 'batch = "yes"', 1, id="batch of the wrong kind"),
        pytest.param('input = "json"', 'inptu = "json"', 1, id="misspelled input"),
        pytest.param('input = "json"', 'input = "jsonn"', 1, id="unknown input"),
    ],
)
def test_one_mistake_is_one_problem(old: str, new: str, count: int, tmp_path: Path) -> None:
    files = {"handlers.py": "def up():\n    return {'db': 1}\ndef predict(values, model, db, tasks): ...\n"}
    check(tmp_path, files, service='setup = "handlers:up"', api="batch = true")
    text = (tmp_path / "kappafile.toml").read_text()
    assert text.count(old) == 1
    (tmp_path / "kappafile.toml").write_text(text.replace(old, new))
    assert len(check_kappafile(tmp_path / "kappafile.toml")[1]) == count


# -- paths -------------------------------------------------------------------------------------------------------------

HANDLERS = {"handlers.py": "def predict(value): ..."}


@pytest.mark.parametrize("kind", ["file", "folder"])
def test_a_link_that_leads_out_of_the_project_is_an_error(kind: str, tmp_path: Path) -> None:
    root, outside = tmp_path / "project", tmp_path / "outside"
    write(root, HANDLERS)
    write(outside, {"model.json": "{}"})
    if kind == "file":
        (root / "linked.json").symlink_to(outside / "model.json")
        path = "linked.json"
    else:
        (root / "linked").symlink_to(outside)
        path = "linked/model.json"
    more = f'[artifacts.other]\ntype = "json"\npath = "{path}"\n'
    assert said(check(root, HANDLERS, more=more)) == [("KF303", f"`{path}` is a link that leads out of the project.")]


def test_a_link_inside_the_project_is_followed(tmp_path: Path) -> None:
    write(tmp_path, {"models/real.json": "{}"})
    (tmp_path / "linked.json").symlink_to(tmp_path / "models" / "real.json")
    assert check(tmp_path, HANDLERS, more='[artifacts.other]\ntype = "json"\npath = "linked.json"\n') == []


def test_the_project_itself_may_be_behind_a_link(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    assert check(tmp_path / "link", HANDLERS) == []


def test_a_loop_of_links_is_a_problem_and_no_crash(tmp_path: Path) -> None:
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    (problem,) = check(tmp_path, HANDLERS, more='[artifacts.other]\ntype = "json"\npath = "loop"\n')
    assert problem.code == "KF302"


SPECIAL = {
    "an artifact": '[artifacts.other]\ntype = "pickle"\npath = "pipe"',
    "included": '[bundle]\ninclude = ["pi*"]',
    "included by name": '[bundle]\ninclude = ["pipe"]',
    "a set-up script": '[env]\nsetup_sh = "pipe"',
    "requirements": '[env]\nrequirements_txt_file = "pipe"',
    "a conda environment": '[env]\nconda_env_yml_file = "pipe"',
    "a template": '[env]\ndockerfile_template = "pipe"',
    "a request": '[[examples]]\nname = "one"\napi = "predict"\ninput_file = "pipe"',
}


@pytest.mark.skipif(sys.platform == "win32", reason="named pipes are those of POSIX")
@pytest.mark.parametrize("name", SPECIAL)
def test_a_special_file_is_never_opened(name: str, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    ((code, message),) = said(check(tmp_path, {"handlers.py": "def predict(value): ...\n"}, more=SPECIAL[name]))
    assert (code, "is a named pipe" in message) == ("KF302", True), message


def test_a_pattern_may_not_bring_what_lies_outside(tmp_path: Path) -> None:
    root = tmp_path / "project"
    write(tmp_path, {"secret.txt": "", "project/data/a.txt": ""})
    (root / "data" / "b.txt").symlink_to(tmp_path / "secret.txt")
    (problem,) = check(root, HANDLERS, more='[bundle]\ninclude = ["data/*.txt"]\n')
    assert said([problem]) == [("KF303", "`data/*.txt` matches `data/b.txt`, a link that leads out of the project.")]


def test_warnings_do_not_fail_a_build(tmp_path: Path) -> None:
    (problem,) = check(tmp_path, HANDLERS, more='[bundle]\ninclude = ["nothing/*.txt"]\n')
    assert problem.severity == "warning"
    assert read_project(tmp_path).spec.name == "Service"


def test_the_message_of_the_error_is_the_whole_rendering(tmp_path: Path) -> None:
    check(tmp_path, HANDLERS, function="handlers:predit", api="max_batch_size = 0")
    with pytest.raises(ManifestError) as caught:
        read_project(tmp_path)
    assert [problem.code for problem in caught.value.diagnostics] == ["KF305", "KF204"]
    assert str(caught.value).endswith("Found 2 errors.")
    assert str(caught.value).count("kappafile.toml:") == 2


@pytest.mark.parametrize("name", ["_kappa", "artifacts", "Service"])
def test_a_module_with_a_name_that_the_bundle_needs_is_an_error(name: str, tmp_path: Path) -> None:
    found = check(tmp_path, {f"{name}.py": "def predict(value): ..."}, function=f"{name}:predict")
    assert [problem.code for problem in found] == ["KF311"]


def test_problems_of_a_requirements_file_are_shown_at_their_line(tmp_path: Path) -> None:
    files = {**HANDLERS, "requirements.txt": "numpy\n\n-e ../lib\nredis >> 2\n"}
    found = check(tmp_path, files, more='[env]\nrequirements_txt_file = "requirements.txt"\n')
    assert [(d.code, d.file.name, d.span.line) for d in found] == [
        ("KF316", "requirements.txt", 3),
        ("KF316", "requirements.txt", 4),
    ]
    assert {label.span.line for problem in found for label in problem.labels} == {13}


def test_a_table_without_a_signature_is_advice_of_validation_alone(tmp_path: Path) -> None:
    (problem,) = check(tmp_path, HANDLERS, adapter="dataframe")
    assert (problem.code, problem.severity, problem.path) == ("KF318", "warning", "/apis/predict/input")
    lines: list[str] = []
    with listening(lambda message, _: lines.append(message)):
        read_project(tmp_path)
    assert lines == []
    example = '[[examples]]\nname = "one"\napi = "predict"\ninput = [{ a = 1 }]\n'
    assert check(tmp_path, HANDLERS, adapter="dataframe", more=example) == []
    declared = 'input = { type = "dataframe", columns = { a = "int64" } }'
    check(tmp_path, HANDLERS, adapter="dataframe")
    file = tmp_path / "kappafile.toml"
    file.write_text(file.read_text().replace('input = "dataframe"', declared))
    assert list(check_kappafile(file)[1]) == []


def test_a_module_that_pythons_own_hides_is_said_to_be_hidden(tmp_path: Path) -> None:
    files = {"random.py": "def predict(value): ...", "handlers.py": "import random\ndef predict(value): ..."}
    assert said(check(tmp_path, files)) == [("KF311", "This imports Python's own `random`, which hides `random.py`.")]
    found = check(tmp_path, files, function="random:predict")
    assert said(found) == [("KF311", "`random` means Python's own module, which hides `random.py`.")]
    assert found[0].is_error


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        pytest.param("name: Service", "name:", [("KF203", "`service` has no `name`.")], id="name"),
        pytest.param(
            "function: handlers:predict",
            "function:",
            [("KF203", "`apis.predict` has neither `function` nor `artifact`.")],
            id="function",
        ),
        pytest.param(
            "input: json",
            "input: {type: acme.parquet, columns: 3}",
            [("KF205", "There is no input adapter `acme.parquet`.")],
            id="an unknown plugin with options",
        ),
    ],
)
def test_a_key_that_is_empty_is_missing_and_one_that_is_wrong_is_not(
    old: str, new: str, expected: list[tuple[str, str]], tmp_path: Path
) -> None:
    text = (
        "kappafile: 1\nservice:\n  name: Service\napis:\n  predict:\n    function: handlers:predict\n    input: json\n"
    )
    write(tmp_path, {**HANDLERS, "kappafile.yaml": text.replace(old, new)})
    assert said(list(check_kappafile(tmp_path / "kappafile.yaml")[1])) == expected


def test_a_path_longer_than_any_file_system_takes_is_a_problem_and_no_crash(tmp_path: Path) -> None:
    files = {"handlers.py": "def predict(value): ..."}
    (found,) = check(tmp_path, files, more=f'[env]\nsetup_sh = "echo {"a" * 5000}"\n')
    assert (found.code, found.message.endswith("is not a path: File name too long.")) == ("KF302", True)
