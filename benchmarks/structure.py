"""The structure of the code in numbers, beside those of an earlier commit; `--write` puts the table into the docs."""

from __future__ import annotations

import argparse
import ast
import statistics
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "benchmarks" / "structure.md"
HEAD = """# The structure of the code

Written by `python benchmarks/structure.py --write`; do not edit.

Counted from the syntax trees of `kappa/` and `tests/`. A cycle of imports counts imports inside functions too. An
attribute of a class is a name that its methods assign on `self`, or a slot.

"""


@dataclass(frozen=True)
class Tree:
    """The modules of a checkout, by dotted name."""

    sources: Mapping[str, str]
    modules: Mapping[str, ast.Module]
    tests: Mapping[str, ast.Module]
    test_lines: int

    @classmethod
    def of(cls, root: Path) -> Tree:
        files = sorted((root / "kappa").rglob("*.py"))
        sources = {_dotted(path, root): path.read_text(encoding="utf-8") for path in files}
        paths = [path for path in (root / "tests").rglob("*.py") if "manifests" not in path.parts]  # broken on purpose
        tests = {str(path): path.read_text(encoding="utf-8") for path in paths}
        return cls(
            sources,
            {name: ast.parse(text) for name, text in sources.items()},
            {name: ast.parse(text) for name, text in tests.items()},
            sum(text.count("\n") for text in tests.values()),
        )


def _dotted(path: Path, root: Path) -> str:
    parts = path.relative_to(root).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports_of(tree: Tree) -> dict[str, set[str]]:
    """Return which modules of Kappa each one imports, wherever in it."""
    graph: dict[str, set[str]] = {name: set() for name in tree.modules}
    for name, module in tree.modules.items():
        for node in ast.walk(module):
            if isinstance(node, ast.Import):
                graph[name] |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module:
                whole = {f"{node.module}.{alias.name}" for alias in node.names}
                graph[name] |= {each if each in tree.modules else node.module for each in whole}
    return {name: (targets & tree.modules.keys()) - {name} for name, targets in graph.items()}


def cycles(graph: Mapping[str, set[str]]) -> list[set[str]]:
    """Return the strongly connected components of more than one module (Tarjan, 1972)."""
    index: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    components: list[set[str]] = []

    def visit(name: str) -> None:
        index[name] = low[name] = len(index)
        stack.append(name)
        for target in graph[name]:
            if target not in index:
                visit(target)
                low[name] = min(low[name], low[target])
            elif target in stack:
                low[name] = min(low[name], index[target])
        if low[name] == index[name]:
            component = set(stack[stack.index(name) :])
            del stack[stack.index(name) :]
            if len(component) > 1:
                components.append(component)

    sys.setrecursionlimit(10_000)
    for name in graph:
        if name not in index:
            visit(name)
    return components


def functions(tree: Tree) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    for module in tree.modules.values():
        for node in ast.walk(module):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                yield node


def imports_in_functions(tree: Tree) -> int:
    """Return how many imports of Kappa's own modules stand inside functions."""
    nodes = {node for function in functions(tree) for node in ast.walk(function)}
    return sum(any(name.partition(".")[0] == "kappa" for name in _imported(node)) for node in nodes)


def _imported(node: ast.AST) -> list[str]:
    if isinstance(node, ast.ImportFrom):
        return [node.module or ""]
    return [alias.name for alias in node.names] if isinstance(node, ast.Import) else []


def attributes(tree: Tree) -> dict[str, int]:
    """Return how many attributes each class has."""
    counts: dict[str, int] = {}
    for module in tree.modules.values():
        for node in ast.walk(module):
            if isinstance(node, ast.ClassDef):
                counts[node.name] = max(counts.get(node.name, 0), len(_attributes(node)))
    return counts


def _attributes(node: ast.ClassDef) -> set[str]:
    names = {
        inner.attr
        for inner in ast.walk(node)
        if isinstance(inner, ast.Attribute) and isinstance(inner.ctx, ast.Store)
        if isinstance(inner.value, ast.Name) and inner.value.id == "self"
    }
    for statement in node.body:
        if isinstance(statement, ast.Assign) and any(
            getattr(name, "id", "") == "__slots__" for name in statement.targets
        ):
            names |= set(ast.literal_eval(statement.value))
    return names


def files_per_folder(tree: Tree) -> Counter[str]:
    return Counter(name.rpartition(".")[0] for name in tree.modules)


def _most(counts: Mapping[str, int]) -> str:
    name = max(counts, key=lambda key: (counts[key], key))
    return f"{counts[name]:,} (`{name}`)"


def _function_lengths(tree: Tree) -> str:
    lengths = sorted((node.end_lineno or node.lineno) - node.lineno + 1 for node in functions(tree))
    return f"{statistics.median(lengths):.0f} / {lengths[len(lengths) * 9 // 10]} / {lengths[-1]}"


def _cycles(tree: Tree) -> str:
    sizes = sorted((len(each) for each in cycles(imports_of(tree))), reverse=True)
    return f"{len(sizes)}" + (f" (of {', '.join(map(str, sizes))} modules)" if sizes else "")


def _lines(tree: Tree) -> dict[str, int]:
    return {name: text.count("\n") for name, text in tree.sources.items()}


def _tests(tree: Tree) -> int:
    return sum(
        isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith("test_")
        for module in tree.tests.values()
        for node in ast.walk(module)
    )


NUMBERS: Mapping[str, Callable[[Tree], str]] = {
    "modules": lambda tree: f"{len(tree.modules)}",
    "lines": lambda tree: f"{sum(_lines(tree).values()):,}",
    "cycles of imports": _cycles,
    "imports of own modules inside functions": lambda tree: f"{imports_in_functions(tree)}",
    "attributes of the largest class": lambda tree: _most(attributes(tree)),
    "lines of the longest module": lambda tree: _most(_lines(tree)),
    "lines of a function: median / 90 % / longest": _function_lengths,
    "files of the fullest folder": lambda tree: _most(files_per_folder(tree)),
    "test functions": lambda tree: f"{_tests(tree):,}",
    "lines of tests per line": lambda tree: f"{tree.test_lines / sum(_lines(tree).values()):.2f}",
}


def checkout(commit: str, folder: Path) -> Tree:
    archive = subprocess.run(["git", "archive", commit, "kappa", "tests"], cwd=ROOT, check=True, capture_output=True)
    subprocess.run(["tar", "-x", "-C", folder], input=archive.stdout, check=True)
    return Tree.of(folder)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--base", default="8acf5ab", help="the commit beside which the numbers stand")
    parser.add_argument("--write", action="store_true", help=f"write {PAGE.relative_to(ROOT)}")
    options = parser.parse_args()
    now = Tree.of(ROOT)
    with tempfile.TemporaryDirectory() as folder:
        base = checkout(options.base, Path(folder))
    table = [f"| | {options.base} | now |", "|---|---:|---:|"]
    table += [f"| {name} | {count(base)} | {count(now)} |" for name, count in NUMBERS.items()]
    text = "\n".join(table) + "\n"
    print(text, end="")
    if options.write:
        commit = subprocess.run(
            ["git", "describe", "--always", "--dirty"], cwd=ROOT, check=True, capture_output=True, text=True
        )
        made = f"\n{datetime.now(timezone.utc):%Y-%m-%d}, commit {commit.stdout.strip()}.\n"
        PAGE.write_text(HEAD + text + made, encoding="utf-8")


if __name__ == "__main__":
    main()
