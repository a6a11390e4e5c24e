"""The declaration of a `BentoService` class, read from its source.

The class is rebuilt without its code: an empty class of the same name whose methods do nothing, to which Kappa's own
decorators are applied with the arguments found in the source. So it gives the same specification as the class itself,
while nothing of the user's runs. That works as long as the arguments are written out: literals, lists, dicts, constants
of the module, and calls of Kappa's own adapters and artifacts. Anything else is *opaque*: only importing the class
could tell, which `describe` does in a process of its own.
"""

from __future__ import annotations

import ast
import json
import sys
import tempfile
from collections.abc import Callable, Sequence
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from kappa.build.code.child import Runner, run_program
from kappa.build.code.declarations import ClassProblem, Declaration, Location, Opaque
from kappa.build.code.functions import Definition, NotDefined, find_definition, span_of
from kappa.build.code.modules import CodeBase, Module
from kappa.build.manifest.positions import Span, TreePath
from kappa.errors import ConfigurationError, KappaError
from kappa.log import log
from kappa.services.declared import DeclaredService
from kappa.services.declaring import DECORATORS, declared_spec
from kappa.spec.contracts import Plugin, Spec
from kappa.spec.declarations import DECLARATIONS, Part, arguments_of
from kappa.spec.service import ServiceSpec
from kappa.wording import explained

__all__ = ["Values", "import_class", "read_class"]


def read_class(code: CodeBase, module: Module, qualname: str) -> Declaration | Opaque | ClassProblem:
    """Read the declaration of a class of ``module`` from its source."""
    definition = find_definition(code, module, qualname)
    if isinstance(definition, NotDefined):
        return ClassProblem(f"`{module.name}` has no class `{qualname}`.", names=definition.names)
    node, file = definition.node, definition.file
    if file is None or node is None:
        return Opaque(f"`{qualname}` is not defined by a `class` statement", Location(file or Path(), Span(1, 1, 1, 2)))
    location = Location(file, span_of(node))
    if not isinstance(node, ast.ClassDef):
        return ClassProblem(f"`{qualname}` is a function, not a class.", location)
    rebuilding = _Rebuilding(code)
    try:
        rebuilt = rebuilding.rebuild(definition, f"{module.name}:{qualname}")
        if not issubclass(rebuilt, DeclaredService):
            return ClassProblem(f"`{qualname}` is not a `kappa.BentoService`.", location)
        return Declaration(declared_spec(rebuilt), location, rebuilding.places)
    except _OpaqueError as exc:
        return Opaque(exc.why, Location(exc.file, _span(exc.node)))
    except _DeclarationError as exc:
        return ClassProblem(exc.message, Location(exc.file, _span(exc.node)), is_there=True)
    except ConfigurationError as exc:
        return ClassProblem(str(exc), location, is_there=True)


class _OpaqueError(Exception):
    def __init__(self, why: str, node: ast.expr | ast.stmt, file: Path) -> None:
        super().__init__(why)
        self.why, self.node, self.file = why, node, file


class _DeclarationError(Exception):
    def __init__(self, message: str, node: ast.expr, file: Path) -> None:
        super().__init__(message)
        self.message, self.node, self.file = message, node, file


class _Rebuilding:
    """Rebuilds one class and those it inherits from."""

    def __init__(self, code: CodeBase) -> None:
        self._code = code
        self.places: dict[TreePath, Location] = {}
        self._open: set[ast.ClassDef] = set()

    def rebuild(self, definition: Definition, reference: str) -> type:
        node, module = definition.node, definition.module
        if not isinstance(node, ast.ClassDef) or module.file is None:
            raise _OpaqueError("a base class cannot be found", ast.Pass(lineno=1, col_offset=0), module.file or Path())
        values = Values(self._code, module)
        if node.keywords or node in self._open:
            raise _OpaqueError("the class has arguments", node, module.file)
        self._open.add(node)
        bases = tuple(dict.fromkeys(self._base(base, values) for base in node.bases)) or (object,)
        self._open.discard(node)
        owner, _, qualname = reference.partition(":")
        namespace = {"__module__": owner, "__qualname__": qualname, "__doc__": ast.get_docstring(node, clean=False)}
        for statement in node.body:
            if isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef):
                namespace[statement.name] = self._method(statement, values)
            elif values.mentions_decorator(statement):
                raise _OpaqueError("an API is declared otherwise than by a decorator", statement, module.file)
        if namespace["__doc__"] is not None and isinstance(node.body[0], ast.Expr):
            self.places["service", "doc"] = Location(module.file, _span(node.body[0]))
        try:
            rebuilt = type(qualname.rpartition(".")[2], bases, namespace)
        except TypeError:
            raise _OpaqueError("its base classes are unusual", node, module.file) from None
        for decorator in reversed(node.decorator_list):
            rebuilt = self._apply(decorator, rebuilt, values)
        return rebuilt

    def _base(self, base: ast.expr, values: Values) -> type:
        ours = values.object_of(base)
        if isinstance(ours, type) and issubclass(ours, DeclaredService):
            return ours
        if (definition := values.definition_of(base)) is None:
            raise _OpaqueError(f"the base class `{ast.unparse(base)}` cannot be read", base, values.file)
        name = ast.unparse(base).rpartition(".")[2]
        return self.rebuild(definition, f"{definition.module.name}:{name}")

    def _method(self, node: ast.FunctionDef | ast.AsyncFunctionDef, values: Values) -> Any:
        def method() -> None:
            """Stand for a method of the user's."""

        method.__name__ = node.name
        method.__doc__ = ast.get_docstring(node, clean=False)
        is_ours = [_part_of(values.object_of(_called(decorator))) is not None for decorator in node.decorator_list]
        if any(is_ours) and not all(is_ours):
            raise _OpaqueError(f"`{node.name}` has decorators that are not Kappa's", node, values.file)
        if any(is_ours):
            self.places["apis", node.name] = Location(values.file, span_of(node))
            for decorator in reversed(node.decorator_list):
                self._apply(decorator, method, values)
        return method

    def _apply(self, decorator: ast.expr, decorated: Any, values: Values) -> Any:
        function = values.object_of(_called(decorator))
        if (part := _part_of(function)) is None:
            raise _OpaqueError(f"`@{ast.unparse(_called(decorator))}` is not Kappa's", decorator, values.file)
        if not isinstance(decorator, ast.Call):
            message = f"`@{ast.unparse(decorator)}` needs its arguments: write `@{ast.unparse(decorator)}(…)`."
            raise _DeclarationError(message, decorator, values.file)
        self._note_places(part, decorator, values)
        return values.call(function, decorator)(decorated)

    def _note_places(self, part: Part, call: ast.Call, values: Values) -> None:
        if part.kind == "table":
            arguments = arguments_of(part)
            for keyword in call.keywords:
                if keyword.arg is not None:
                    key = arguments.get(keyword.arg, keyword.arg)
                    self.places[(*part.key, key)] = Location(values.file, _keyword_span(keyword))
        elif part.field == "artifacts":
            for item in getattr(_argument(call), "elts", ()):
                name = _argument(item) if isinstance(item, ast.Call) else None
                if isinstance(name, ast.Constant) and isinstance(name.value, str):
                    self.places["artifacts", name.value, "type"] = Location(values.file, _span(item))
        elif part.kind == "key":
            self.places[part.key] = Location(values.file, _span(call))


def _part_of(value: Any) -> Part | None:
    """Return the part of a service that a decorator declares; ``None`` for anything else."""
    return next((part for part in DECLARATIONS for name in part.decorators if DECORATORS[name] is value), None)


class Values:
    """The values of expressions in one module, as far as they are written out."""

    def __init__(self, code: CodeBase, module: Module) -> None:
        tree = code.tree(module)
        self._code, self._module = code, module
        self.file = module.file or Path()
        self._body = tree.body if isinstance(tree, ast.Module) else []
        self._names = _kappa_names(self._body)

    def object_of(self, node: ast.expr) -> Any:
        """Return the object of Kappa's that a name stands for; ``None`` for any other."""
        dotted = _dotted(node)
        top, _, rest = dotted.partition(".")
        if top not in self._names:
            return None
        return _load(f"{self._names[top]}.{rest}" if rest else self._names[top])

    def definition_of(self, node: ast.expr) -> Definition | None:
        dotted = _dotted(node)
        definition = find_definition(self._code, self._module, dotted) if dotted else None
        return definition if isinstance(definition, Definition) and isinstance(definition.node, ast.ClassDef) else None

    def mentions_decorator(self, statement: ast.stmt) -> bool:
        return any(
            isinstance(node, ast.Name | ast.Attribute) and _part_of(self.object_of(node)) is not None
            for node in ast.walk(statement)
        )

    def call(self, function: Callable[..., Any], node: ast.Call) -> Any:
        """Call something of Kappa's with arguments that are written out."""
        arguments = [self.value(argument) for argument in node.args]
        keywords: dict[str, Any] = {}
        for keyword in node.keywords:
            if keyword.arg is None:
                raise _OpaqueError("arguments are unpacked", node, self.file)
            keywords[keyword.arg] = self._named_class(keyword) or self.value(keyword.value)
        try:
            return function(*arguments, **keywords)
        except ValidationError as exc:
            problem = exc.errors()[0]
            option = ".".join(str(part) for part in problem["loc"]) or ast.unparse(node.func)
            message = explained(problem, f"`{option}`")
        except TypeError as exc:
            message = f"`{ast.unparse(node.func)}` is not called right: {exc}."
        except KappaError as exc:
            message = str(exc)
        raise _DeclarationError(message, node, self.file)

    def _named_class(self, keyword: ast.keyword) -> str | None:
        """Return where the class is defined that an adapter's `schema` names, as the adapter itself would say it."""
        definition = self.definition_of(keyword.value) if keyword.arg == "schema" else None
        if definition is None or not isinstance(definition.node, ast.ClassDef):
            return None
        return f"{definition.module.name}:{definition.node.name}"

    def value(self, node: ast.expr) -> Any:
        if isinstance(node, ast.Constant):
            return node.value
        if isinstance(node, ast.List | ast.Tuple):
            items = [self.value(item) for item in node.elts]
            return items if isinstance(node, ast.List) else tuple(items)
        if isinstance(node, ast.Dict) and None not in node.keys:
            keys = [self.value(key) for key in node.keys if key is not None]
            return dict(zip(keys, [self.value(value) for value in node.values], strict=True))
        if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
            value = self.value(node.operand)
            if isinstance(value, int | float):
                return -value
        if isinstance(node, ast.Call):
            plugin = self.object_of(node.func)
            if isinstance(plugin, type) and issubclass(plugin, Plugin):
                return self.call(plugin, node)
        if isinstance(node, ast.Name) and (constant := self._constant(node.id)) is not None:
            return self.value(constant)
        raise _OpaqueError(f"`{_shortened(ast.unparse(node))}` is not written out", node, self.file)

    def _constant(self, name: str) -> ast.expr | None:
        """Return what a name is set to, if the module does so once and at its top."""
        values = [
            statement.value
            for statement in self._body
            if isinstance(statement, ast.Assign | ast.AnnAssign)
            for target in (statement.targets if isinstance(statement, ast.Assign) else [statement.target])
            if isinstance(target, ast.Name) and target.id == name
        ]
        stores = sum(
            isinstance(node, ast.Name) and node.id == name and isinstance(node.ctx, ast.Store)
            for statement in self._body
            for node in ast.walk(statement)
        )
        value = values[0] if len(values) == 1 and stores == 1 else None
        mentions_itself = value is not None and any(
            isinstance(node, ast.Name) and node.id == name for node in ast.walk(value)
        )
        return None if mentions_itself else value


def _kappa_names(body: Sequence[ast.stmt]) -> dict[str, str]:
    """Return what the names that a module imports from Kappa stand for, as dotted names."""
    names: dict[str, str] = {}
    for statement in body:
        if isinstance(statement, ast.Import):
            for alias in statement.names:
                if alias.name.partition(".")[0] == "kappa":
                    names[alias.asname or "kappa"] = alias.name if alias.asname else "kappa"
        elif isinstance(statement, ast.ImportFrom) and not statement.level:
            origin = statement.module or ""
            if origin.partition(".")[0] == "kappa":
                names.update({alias.asname or alias.name: f"{origin}.{alias.name}" for alias in statement.names})
    return names


def _load(dotted: str) -> Any:
    """Return an object of Kappa's by its dotted name, importing only modules of Kappa's."""
    owner, _, name = dotted.rpartition(".")
    try:
        return import_module(dotted) if not owner else getattr(_load(owner), name)
    except AttributeError:
        with suppress(ImportError):
            return import_module(dotted)
    except (ImportError, KappaError):
        pass
    return None


def _dotted(node: ast.expr) -> str:
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute) and (owner := _dotted(node.value)):
        return f"{owner}.{node.attr}"
    return ""


def _called(decorator: ast.expr) -> ast.expr:
    return decorator.func if isinstance(decorator, ast.Call) else decorator


def _argument(call: ast.Call) -> ast.expr | None:
    """Return the first argument, by position or by keyword."""
    if call.args:
        return call.args[0]
    return call.keywords[0].value if call.keywords else None


def _span(node: ast.expr | ast.stmt) -> Span:
    is_one_line = node.end_lineno == node.lineno and node.end_col_offset is not None
    end = (node.end_col_offset or 0) if is_one_line else node.col_offset + 1
    return Span(node.lineno, node.col_offset + 1, node.lineno, end + 1)


def _keyword_span(keyword: ast.keyword) -> Span:
    return Span(
        keyword.lineno, keyword.col_offset + 1, keyword.lineno, keyword.col_offset + 1 + len(keyword.arg or "**")
    )


def _shortened(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= 40 else f"{line[:37]}…"


# -- importing ---------------------------------------------------------------------------------------------------------


def import_class(
    reference: str, root: Path, opaque: Opaque, *, paths: Sequence[str] = (), run: Runner = run_program
) -> Declaration | ClassProblem:
    """Import a class in a process of its own and return what it declares; says so, because the user's code runs."""
    log(f"Importing `{reference}` to see what it declares, because {opaque.why}.", kind="step")
    with tempfile.TemporaryDirectory(prefix="kappa-") as folder:
        answer = Path(folder, "declaration.json")
        done = run([sys.executable, "-m", "kappa.build.code.describe", reference, str(root), str(answer), *paths], root)
        for line in (done.stdout + done.stderr).splitlines():
            log(line, kind="output")
        if not answer.is_file():
            last = next((line for line in reversed(done.stderr.splitlines()) if line.strip()), "it said nothing")
            return ClassProblem(f"Importing `{reference}` failed: {last}.", opaque.location)
        description = json.loads(answer.read_text(encoding="utf-8"))
    if "problem" in description:
        return ClassProblem(description["problem"], opaque.location)
    try:
        spec = ServiceSpec.model_validate(description["spec"])
    except (ValidationError, KappaError) as exc:
        return ClassProblem(f"`{reference}` declares what Kappa cannot read back: {exc}", opaque.location)
    tables = {name: _only(getattr(spec, name), keys) for name, keys in description["given"].items()}
    return Declaration(spec.model_copy(update=tables), opaque.location)


def _only(table: Spec, keys: Sequence[str]) -> Spec:
    """Return a table in which only some keys count as given."""
    return type(table).model_validate({key: getattr(table, key) for key in keys})
