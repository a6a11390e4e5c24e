"""Who may import whom: the table of tiers as data, held against every import statement of the package.

A module imports lower tiers, and its own tier without a cycle; the sides of tier 4 do not know each other. Imports
inside functions are for third-party packages that are heavy or optional. Kappa's own modules are imported at the top,
or through the façade of their package (`kappa._facade`), whose imports count like all others. A dotted name in a string
(`"kappa.build.bundle.plan:plan_build"`) counts as an import, except in the plugin registry, whose purpose it is.
"""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Container, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

TIERS: tuple[tuple[str, ...], ...] = (
    (
        "kappa._facade",
        "kappa._files",
        "kappa._resources",
        "kappa._version",
        "kappa.choices",
        "kappa.environment",
        "kappa.errors",
        "kappa.images",
        "kappa.labels",
        "kappa.log",
        "kappa.log_format",
        "kappa.origins",
        "kappa.plugins",
        "kappa.secret_urls",
        "kappa.service_log",
        "kappa.settings",
        "kappa.settings_file",
        "kappa.tag",
        "kappa.terminal",
        "kappa.types",
        "kappa.wording",
    ),
    ("kappa.spec",),
    ("kappa.adapters", "kappa.frameworks", "kappa.inspection"),
    ("kappa.bundle", "kappa.offline", "kappa.remote", "kappa.rendering", "kappa.services"),
    ("kappa.build", "kappa.containers", "kappa.gamma", "kappa.server"),
    ("kappa.actions",),
    ("kappa.bento",),
    ("kappa.__main__", "kappa.cli", "kappa.testing"),
)
"""Units (a module, or a package with everything in it) from the foundation to the shell."""

FACADE = "kappa"
"""Re-exports what users import; it stands on tiers 0 to 6, and no module of Kappa imports it."""
FACADE_TIER = 6

SIDES_TIER = 4
"""The tier whose units do not import each other."""

COMMANDS = "kappa.cli"
VALUES_OF_SIDES: Mapping[tuple[str, str], str] = {
    (
        "kappa.cli.commands.gamma_service_start",
        "kappa.gamma.serving",
    ): "where a server listens, which the command prints",
    (
        "kappa.cli.commands.gamma_token",
        "kappa.gamma.protocols.callers",
    ): "the roles of tokens, and tokens without their secrets, which the command prints",
    ("kappa.cli.commands.tune", "kappa.server.tuning.tune"): "what was measured, which the command prints",
    ("kappa.cli.serving", "kappa.server.options"): "how the operator wants the server, which options of commands say",
}
"""What commands import of a side, though only actions call sides: modules of values, with the reason."""

REGISTRY = "kappa.plugins"
"""The one module that may name modules of any tier in strings."""

THIRD_PARTY: Mapping[str, tuple[set[str], set[str]]] = {
    "kappa.settings": ({"pydantic", "pydantic_core", "ruamel"}, set()),
    "kappa.settings_file": ({"pydantic", "ruamel"}, {"filelock"}),
    "kappa.terminal": (set(), {"rich"}),
    "kappa.spec": ({"pydantic", "pydantic_core", "ruamel"}, {"ruamel", "yaml"}),
    "kappa.adapters": ({"orjson", "pydantic"}, {"PIL", "falcon", "numpy", "pandas", "pyarrow", "tensorflow", "torch"}),
    "kappa.frameworks": (
        {"pydantic"},
        {
            *("PIL", "h5py", "keras", "spacy", "transformers"),
            *("catboost", "cloudpickle", "h2o", "joblib", "lightgbm", "mlflow", "numpy", "onnxruntime", "pandas"),
            *("polars", "pyarrow", "pyspark", "safetensors", "sklearn", "skops", "tensorflow", "torch", "xgboost"),
        },
    ),
    "kappa.inspection": (set(), {"ruamel"}),
    "kappa.offline": ({"orjson"}, set()),
    "kappa.remote": ({"orjson"}, {"httpx", "numpy", "pandas"}),
    "kappa.rendering": (set(), {"jinja2"}),
    "kappa.wording": ({"pydantic_core"}, set()),
    "kappa.services": ({"orjson", "pydantic"}, set()),
    "kappa.build": (
        {
            "filelock",
            "packaging",
            "pip",
            "piptools",
            "pydantic",
            "pydantic_core",
            "ruamel",
            "tinydb",
            "tomli",
            "tree_sitter",
            "tree_sitter_toml",
        },
        {
            *("keras", "numpy", "onnx", "onnxmltools", "onnxscript", "pandas", "ruamel", "skl2onnx", "sklearn"),
            *("tf2onnx", "uv"),
        },
    ),
    "kappa.containers": (set(), {"docker", "requests"}),
    "kappa.gamma": (
        {
            *("alembic", "falcon", "google", "grpc", "grpc_health", "grpc_reflection", "httpx", "prometheus_client"),
            *("packaging", "pydantic", "sqlalchemy", "uvicorn"),
        },
        {"alembic", "boto3", "filelock", "google", "jinja2", "obstore"},
    ),
    "kappa.server": ({"falcon", "gunicorn", "h11", "prometheus_client", "uvicorn"}, {"uvloop"}),
    "kappa.cli": ({"click", "orjson"}, {"rich", "ruamel"}),
    "kappa.testing": ({"falcon", "packaging", "pytest"}, set()),
}
"""What each unit imports of others' packages: when it is imported itself, and only inside functions."""

ROOMS: Mapping[str, tuple[str, ...]] = {
    "kappa.build": ("manifest", "packages", "code", "checks", "", "compile", "bundle"),
    "kappa.gamma": (
        *("protocols", "wire", "database", "storages", "service", "access", "transfer", "clients", "ui", "doors"),
        "",
    ),
    "kappa.server": ("batching", "tuning", "", "http", "process"),
}
"""The rooms inside large units, from the lowest; a room imports lower ones, and "" is the unit's own level."""

DOTTED_NAME = re.compile(r"kappa(\.\w+)+:\w+(\.\w+)*")


@dataclass(frozen=True)
class Import:
    """One import: ``function`` is where it stands, empty at the top of the module; ``is_name`` if it is a string."""

    importer: str
    imported: str
    line: int
    function: str = ""
    is_name: bool = False

    def __str__(self) -> str:
        where = f" in `{self.function}`" if self.function else ""
        return f"{self.importer}:{self.line}{where} imports {self.imported}"


def modules_of(package: Path) -> dict[str, str]:
    """Return the source of every module below ``package`` by dotted name."""
    sources = {}
    for path in sorted(package.rglob("*.py")):
        parts = path.relative_to(package.parent).with_suffix("").parts
        sources[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path.read_text(encoding="utf-8")
    return sources


def imports_of(sources: Mapping[str, str]) -> dict[str, list[Import]]:
    """Return what each module imports; names of Kappa are resolved to modules of ``sources``."""
    return {module: list(_imports(module, ast.parse(source), "", sources)) for module, source in sources.items()}


def _imports(module: str, node: ast.AST, function: str, known: Container[str]) -> Iterator[Import]:
    if isinstance(node, ast.Import):
        for alias in node.names:
            yield Import(module, alias.name, node.lineno, function)
    elif isinstance(node, ast.ImportFrom):
        assert node.level == 0, f"{module}:{node.lineno} is a relative import"
        origin = node.module or ""
        for alias in node.names:
            submodule = f"{origin}.{alias.name}"
            yield Import(module, submodule if submodule in known else origin, node.lineno, function)
    elif isinstance(node, ast.Constant) and isinstance(node.value, str) and DOTTED_NAME.fullmatch(node.value):
        yield Import(module, node.value.partition(":")[0], node.lineno, function, is_name=True)
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
        function = node.name
    for child in ast.iter_child_nodes(node):
        yield from _imports(module, child, function, known)


def is_ours(name: str) -> bool:
    return name.partition(".")[0] == "kappa"


def unit_of(module: str) -> str:
    """Return the unit of the table that ``module`` belongs to."""
    if module == FACADE:
        return FACADE
    return ".".join(module.split(".")[:2])


def tier_of(module: str) -> int:
    unit = unit_of(module)
    if unit == FACADE:
        return FACADE_TIER
    for number, units in enumerate(TIERS):
        if unit in units:
            return number
    raise LookupError(f"`{module}` is on no tier: add `{unit}` to the table")


def wrong_directions(imports: Mapping[str, list[Import]]) -> list[str]:
    """Say every import that goes up, sideways between sides, or into the façade."""
    found = []
    for module, statements in imports.items():
        for statement in statements:
            if not is_ours(statement.imported) or (statement.is_name and module == REGISTRY):
                continue
            own, other = tier_of(module), tier_of(statement.imported)
            if statement.imported == FACADE:
                found.append(f"{statement}, the façade")
            elif other > own:
                found.append(f"{statement}, which is above it")
            elif other == own == SIDES_TIER and unit_of(module) != unit_of(statement.imported):
                found.append(f"{statement}, which is another side")
    return found


def commands_beside_actions(imports: Mapping[str, list[Import]]) -> set[tuple[str, str]]:
    """Return which modules of commands import which of a side."""
    return {
        (module, statement.imported)
        for module, statements in imports.items()
        for statement in statements
        if unit_of(module) == COMMANDS
        and is_ours(statement.imported)
        and unit_of(statement.imported) in TIERS[SIDES_TIER]
    }


def wrong_rooms(imports: Mapping[str, list[Import]]) -> list[str]:
    """Say every import that goes from a room up to a higher one of the same unit."""
    return [
        f"{statement}, which is a higher room"
        for module, statements in imports.items()
        for statement in statements
        if (unit := unit_of(module)) in ROOMS
        and unit_of(statement.imported) == unit
        and module != unit  # the façade, which is above its rooms
        and ROOMS[unit].index(room_of(statement.imported)) > ROOMS[unit].index(room_of(module))
    ]


def room_of(module: str) -> str:
    parts = module.split(".")
    return parts[2] if len(parts) > 2 and parts[2] in ROOMS[unit_of(module)] else ""


def cycle(imports: Mapping[str, list[Import]]) -> list[str]:
    """Return the modules of one cycle of imports, those inside functions counted, or nothing."""
    graph = {
        module: {
            statement.imported for statement in statements if is_ours(statement.imported) and not statement.is_name
        }
        for module, statements in imports.items()
    }
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as exc:
        return list(exc.args[1])
    return []


@cache
def imports_of_kappa() -> Mapping[str, list[Import]]:
    return imports_of(modules_of(ROOT / "kappa"))


def test_every_module_is_on_a_tier() -> None:
    assert [module for module in imports_of_kappa() if tier_of(module) is None] == []


def test_the_table_names_no_unit_that_does_not_exist() -> None:
    assert {unit for units in TIERS for unit in units} - {unit_of(module) for module in imports_of_kappa()} == set()


def test_no_import_goes_up_or_sideways() -> None:
    assert wrong_directions(imports_of_kappa()) == []


def test_commands_reach_the_sides_through_actions_alone() -> None:
    assert commands_beside_actions(imports_of_kappa()) == set(VALUES_OF_SIDES)


@pytest.mark.parametrize("source", ["import kappa.build.project", "from kappa import gamma", "x = 'kappa.server:run'"])
def test_a_command_that_goes_round_its_actions_is_found(source: str) -> None:
    tree = imports_of({"kappa.cli.commands.list": source, "kappa.gamma": "", "kappa.build.project": ""})
    assert len(commands_beside_actions(tree)) == 1


def test_no_room_imports_a_higher_one() -> None:
    assert wrong_rooms(imports_of_kappa()) == []


def test_below_the_doors_of_the_server_nobody_knows_http() -> None:
    packages: dict[str, set[str]] = {}
    for module, statements in imports_of_kappa().items():
        if unit_of(module) == "kappa.server":
            names = {statement.imported.partition(".")[0] for statement in statements}
            packages.setdefault(room_of(module), set()).update(names - set(sys.stdlib_module_names) - {"kappa"})
    assert (packages["batching"], packages[""]) == (set(), {"prometheus_client"})


def test_a_room_that_imports_a_higher_one_is_found() -> None:
    tree = {
        "kappa.build.code.a": "import kappa.build.manifest.b",
        "kappa.build.manifest.b": "import kappa.build.code.a",
    }
    wrong = "kappa.build.manifest.b:1 imports kappa.build.code.a, which is a higher room"
    assert wrong_rooms(imports_of(tree)) == [wrong]


def test_no_modules_import_each_other_in_a_circle() -> None:
    assert cycle(imports_of_kappa()) == []


def late_imports(imports: Mapping[str, list[Import]]) -> list[str]:
    """Say every import of Kappa's own modules inside a function."""
    return [
        str(statement)
        for statements in imports.values()
        for statement in statements
        if is_ours(statement.imported) and statement.function and not statement.is_name
    ]


def test_no_module_of_kappa_is_imported_inside_a_function() -> None:
    assert late_imports(imports_of_kappa()) == []


def test_an_import_inside_a_function_is_found() -> None:
    tree = {"kappa.build": "", "kappa.build.bundle.plan": "def f():\n    from kappa.build.packages import lock"}
    assert late_imports(imports_of(tree)) == ["kappa.build.bundle.plan:2 in `f` imports kappa.build.packages"]


def test_third_party_packages_are_those_listed() -> None:
    found: dict[str, tuple[set[str], set[str]]] = {}
    for module, statements in imports_of_kappa().items():
        for statement in statements:
            package = statement.imported.partition(".")[0]
            if package not in sys.stdlib_module_names and not is_ours(package):
                found.setdefault(unit_of(module), (set(), set()))[bool(statement.function)].add(package)
    assert found == THIRD_PARTY


FINE = {
    "kappa": "from kappa.services.service import load",
    "kappa.errors": "",
    "kappa.plugins": "TABLE = {'x': 'kappa.build.bundle.plan:Plan'}",
    "kappa.services.service": "from kappa.errors import KappaError",
    "kappa.build": "",
    "kappa.build.bundle.plan": "from kappa import errors",
    "kappa.server": "",
    "kappa.server.http.app": "from kappa.services.service import load",
    "kappa.actions": "from kappa.build.bundle import plan\nfrom kappa.server.http import app",
}


def test_the_rules_accept_a_tree_that_keeps_them() -> None:
    assert wrong_directions(imports_of(FINE)) == []
    assert cycle(imports_of(FINE)) == []


@pytest.mark.parametrize(
    ("module", "source", "complaint"),
    [
        pytest.param(
            "kappa.errors",
            "import kappa.services.service",
            "kappa.errors:1 imports kappa.services.service, which is above it",
            id="upward",
        ),
        pytest.param(
            "kappa.server",
            "def f():\n    from kappa.build.bundle import plan",
            "kappa.server:2 in `f` imports kappa.build.bundle.plan, which is another side",
            id="sideways-in-a-function",
        ),
        pytest.param(
            "kappa.build.bundle.plan",
            "from kappa import load",
            "kappa.build.bundle.plan:1 imports kappa, the façade",
            id="facade",
        ),
        pytest.param(
            "kappa.services.service",
            "start = 'kappa.actions:start'",
            "kappa.services.service:1 imports kappa.actions, which is above it",
            id="dotted-name",
        ),
    ],
)
def test_the_rules_refuse_what_breaks_them(module: str, source: str, complaint: str) -> None:
    assert wrong_directions(imports_of({**FINE, module: source})) == [complaint]


@pytest.mark.parametrize("start", ["", "def f():\n    "], ids=["at the top", "in a function"])
def test_a_circle_is_found(start: str) -> None:
    tree = {
        **FINE,
        "kappa.build.packages.lock": f"{start}import kappa.build.bundle.plan",
        "kappa.build.bundle.plan": "import kappa.build.packages.lock",
    }
    assert set(cycle(imports_of(tree))) == {"kappa.build.packages.lock", "kappa.build.bundle.plan"}


def test_a_module_on_no_tier_is_refused() -> None:
    with pytest.raises(LookupError, match=r"`kappa\.utils` is on no tier"):
        tier_of("kappa.utils")
