"""Functions that a kappafile names: they exist, and every parameter of theirs will be filled.

An API's function receives its input first. Every further parameter is filled by name: with an artifact, with what
`setup` returned, with the task of the request, or the tasks of the batch. One that has a default may have any name.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Sequence
from itertools import takewhile
from pathlib import Path

from kappa.build.code.declarations import Declaration
from kappa.build.code.functions import (
    Definition,
    Parameter,
    find_definition,
    needs_instance,
    parameters_of,
    returned_keys,
    span_of,
    yield_of,
)
from kappa.build.code.modules import CodeBase, is_pythons_own
from kappa.build.code.own_adapters import types_of_plugins
from kappa.build.code.references import explain_missing_module
from kappa.build.manifest.diagnostics import Diagnostic, Label
from kappa.build.manifest.positions import Span, TreePath
from kappa.build.manifest.validation import Draft
from kappa.build.manifest.words import nearest
from kappa.spec.contracts import InputAdapter, Plugin
from kappa.spec.document import ApiTable
from kappa.spec.service import batch_by_default
from kappa.wording import one_of, quoted

__all__ = ["check_functions", "references_of_plugins"]


def references_of_plugins(draft: Draft) -> Iterator[TreePath]:
    """Yield where options of plugins name something in the user's code, like the model of an API's requests."""
    plugins: dict[TreePath, Plugin] = {("artifacts", name): plugin for name, plugin in draft.plugins.items()}
    for name in draft.names("apis"):
        if isinstance(table := draft.parts.get(("apis", name)), ApiTable):
            plugins["apis", name, "input"] = table.input
    for path, plugin in plugins.items():
        references = plugin.references()
        for key, value in draft.document.table_at(path).items() if references else ():
            if key != "type" and value in references:
                yield (*path, key)


def check_functions(draft: Draft, code: CodeBase, declaration: Declaration | None) -> None:
    """Report functions that do not exist, and parameters that nothing would fill."""
    checks = _Checks(draft, code, declaration)
    checks.setup()
    checks.teardown()
    for name in draft.names("apis"):
        checks.function_of(("apis", name))
    for path in (*types_of_plugins(draft), *references_of_plugins(draft)):
        checks.reference_at(path)
    if declaration is not None:
        checks.methods(declaration)


class _Checks:
    def __init__(self, draft: Draft, code: CodeBase, declaration: Declaration | None) -> None:
        self._draft, self._code, self._diagnostics = draft, code, draft.diagnostics
        self._artifacts = draft.names("artifacts")
        if declaration is not None:
            self._artifacts = [artifact.name for artifact in declaration.spec.artifacts]
        self._provided: set[str] | None = set()
        """What `setup` returns; ``None`` if only running it could tell."""

    def setup(self) -> None:
        path: TreePath = ("service", "setup")
        if self._draft.document.at(path) is None:
            self._provided = None if self._draft.is_unsure(*path) else set()
            return
        definition = self._function(path)
        self._provided = returned_keys(definition) if definition is not None else None
        for parameter in (parameters_of(definition) or ()) if definition is not None else ():
            if definition is not None and not parameter.has_default and not parameter.is_variadic:
                message = f"`setup` is called with nothing, but takes `{parameter.name}`."
                self._report(message, path, definition, parameter)
        for name in sorted((self._provided or set()) & set(self._artifacts)):
            message = f"`setup` returns `{name}`, which is also the name of an artifact."
            is_here = ("artifacts", name) in self._diagnostics.positions.keys
            labels = [self._diagnostics.label(("artifacts", name), "the artifact")] if is_here else []
            self._diagnostics.add("KF207", message, path, labels=labels, help="Rename one of them.")

    def teardown(self) -> None:
        path: TreePath = ("service", "teardown")
        definition = self._function(path)
        if definition is None or self._provided is None:
            return
        for parameter in parameters_of(definition) or ():
            if not (parameter.has_default or parameter.is_variadic or parameter.name in self._provided):
                message = f"`teardown` takes `{parameter.name}`, which `setup` does not return."
                self._report(message, path, definition, parameter)

    def reference_at(self, path: TreePath) -> None:
        """Check the class or function of the service's own code that a plugin's type or option names."""
        self._definition(path)

    def function_of(self, api: TreePath) -> None:
        """Check the function that an API's table names."""
        path = (*api, "function")
        definition = self._function(path)
        if definition is None:
            return
        batch, adapter = self._draft.get(*api, "batch"), self._draft.input_adapter(api)
        is_batched: bool | None = batch if isinstance(batch, bool) else None
        if is_batched is None and adapter is not None and not self._draft.is_unsure(*api, "batch"):
            is_batched = batch_by_default(adapter)
        table = self._draft.parts.get(api)
        inputs = table.input.part_names if isinstance(table, ApiTable) else ()
        if api in self._draft.own_adapters and (adapter is None or adapter.part_names is not InputAdapter.part_names):
            return  # only importing the adapter's class could tell how many arguments it makes
        self._parameters(definition, path, is_batched=is_batched, inputs=inputs)

    def methods(self, declaration: Declaration) -> None:
        """Check the methods that a class declares as APIs, and the functions that it names."""
        for reference in filter(None, (declaration.spec.setup, declaration.spec.teardown)):
            name, _, qualname = reference.partition(":")
            module = self._code.resolve(name)
            definition = find_definition(self._code, module, qualname) if module is not None else None
            if isinstance(definition, Definition):
                self._kind(definition, None, reference)
        for api in declaration.spec.apis:
            module_name, _, qualname = getattr(api.target, "function", "").partition(":")
            module = self._code.resolve(module_name)
            definition = find_definition(self._code, module, qualname) if module is not None else None
            if isinstance(definition, Definition):
                self._no_generator(definition, None)
                self._parameters(definition, None, is_batched=api.batch, inputs=api.input.part_names)

    # -- finding

    def _function(self, path: TreePath) -> Definition | None:
        """Find the function that the file names; report what cannot be called as one, and return nothing of it."""
        definition = self._definition(path)
        if definition is None or not self._kind(definition, path, str(self._draft.get(*path))):
            return None
        return definition

    def _kind(self, definition: Definition, path: TreePath | None, reference: str) -> bool:
        """Return whether a function can be called by itself, and returns its result; report it else."""
        if not needs_instance(definition):
            return self._no_generator(definition, path)
        owner, help_ = reference.rpartition(".")[0], "Name a plain function, or make it a `@staticmethod`."
        if path is None or path[0] == "apis":
            help_ = f'Write `class = "{owner}"` in `[service]`, with `@kappa.api` over the method, or name a function.'
        message = f"`{reference}` is a method, which needs an object of its class."
        self._report(message, path, definition, None, help_=help_, code="KF324")
        return False

    def _no_generator(self, definition: Definition, path: TreePath | None) -> bool:
        word = yield_of(definition)
        if word is None or definition.node is None:
            return True
        message, help_ = f"`{definition.node.name}` is a generator.", _HELP_OF.get(path or (), _WHOLE)
        self._report(message, path, definition, word, help_=help_, code="KF323")
        return False

    def _definition(self, path: TreePath) -> Definition | None:
        """Find what a reference in the file names; report that it is not there."""
        reference = self._draft.get(*path)
        if not isinstance(reference, str):
            return None
        name, _, qualname = reference.partition(":")
        module = self._code.resolve(name)
        if module is None and is_pythons_own(name):
            if (hidden := self._code.hidden(name)) is not None:
                message = f"`{name}` means Python's own module, which hides {quoted(hidden.name)}."
                self._diagnostics.add("KF311", message, path, help="Rename the module.")
            return None
        if module is None:
            self._report_no_module(name, qualname, path)
            return None
        definition = find_definition(self._code, module, qualname)
        if isinstance(definition, Definition):
            return definition
        near = nearest(qualname, definition.names)
        self._diagnostics.add(
            "KF305",
            f"{quoted(name)} defines no {quoted(definition.name)}.",
            path,
            help=f"Did you mean `{name}:{near}`?" if near else _defined(definition.names),
            replacement=f'"{name}:{near}"' if near else None,
        )
        return None

    def _report_no_module(self, name: str, qualname: str, path: TreePath) -> None:
        missing = explain_missing_module(self._code, name, qualname)
        replacement = f'"{missing.meant}"' if missing.meant is not None else None
        self._diagnostics.add("KF304", missing.message, path, help=missing.help, replacement=replacement)

    # -- parameters

    def _parameters(
        self, definition: Definition, path: TreePath | None, *, is_batched: bool | None, inputs: Sequence[str]
    ) -> None:
        """Check the parameters of an API's function; ``path`` is where it is named, ``None`` for a method.

        ``inputs`` are the names that the adapter's inputs have, if there are several.
        """
        parameters = parameters_of(definition)
        if parameters is None or definition.node is None:
            return
        function = definition.node.name
        count = len(inputs) or 1
        positional = list(
            takewhile(lambda parameter: parameter.is_positional and not parameter.is_variadic, parameters)
        )[:count]
        if len(positional) < count:
            message = f"`{function}` takes no input: its first parameter receives the request."
            if inputs:
                named = one_of((f"`{name}`" for name in inputs), joined_by="and")
                message = f"`{function}` needs {count} parameters for its inputs {named}."
            self._report(message, path, definition, None)
            return
        words = ["tasks"] if is_batched else ["task"] if is_batched is False else ["task", "tasks"]
        fillable = [*self._artifacts, *sorted(self._provided or ()), *words]
        for parameter in parameters[count:]:
            if parameter.is_variadic:
                message = f"`{function}` takes `{'*' if parameter.is_positional else '**'}{parameter.name}`."
                self._report(message, path, definition, parameter, help_="Name each parameter.")
            elif parameter.is_positional_only:
                message = f"`{function}` takes `{parameter.name}` before its `/`, so it cannot be filled by name."
                self._report(message, path, definition, parameter)
            elif parameter.name not in fillable and not parameter.has_default:
                self._report_unfilled(function, parameter, fillable, words, path, definition)

    def _report_unfilled(
        self,
        function: str,
        parameter: Parameter,
        fillable: Sequence[str],
        words: Sequence[str],
        path: TreePath | None,
        definition: Definition,
    ) -> None:
        if parameter.name in ("task", "tasks"):
            is_batched = words == ["tasks"]
            message = f"`{function}` takes `{parameter.name}`, but its API is {'' if is_batched else 'not '}batched."
            self._report(message, path, definition, parameter, help_=f"Call it `{words[0]}`.")
        elif self._provided is not None and not self._draft.is_unsure("artifacts"):
            near = nearest(parameter.name, fillable)
            names = one_of((f"`{word}`" for word in fillable), joined_by="and")
            help_ = (
                f"Did you mean `{near}`? Rename it there, and in the body of the function."
                if near
                else f"What it can name here: {names}."
            )
            message = f"`{function}` takes `{parameter.name}`, which is neither an artifact nor returned by `setup`."
            self._report(message, path, definition, parameter, help_=help_)

    def _report(
        self,
        message: str,
        path: TreePath | None,
        definition: Definition,
        subject: Parameter | ast.Yield | ast.YieldFrom | None,
        *,
        help_: str = "",
        code: str = "KF306",
    ) -> None:
        """Report what is wrong in a function: where the file names it, with the place beside it, or there alone."""
        file, span = definition.file or Path(), Span(1, 1, 1, 2)
        if subject is not None:
            span = span_of(subject.node if isinstance(subject, Parameter) else subject)
        elif definition.node is not None:
            span = span_of(definition.node)
        if path is None:
            self._diagnostics.append(Diagnostic(code, message, file, span, help=help_))
            return
        word = (
            "this parameter" if isinstance(subject, Parameter) else "defined here" if subject is None else "yields here"
        )
        self._diagnostics.add(code, message, path, labels=[Label(file, span, word)], help=help_)


_WHOLE = "Streaming is not supported yet: return the whole result."
_HELP_OF: dict[TreePath, str] = {
    ("service", "setup"): "Return what it makes, and close that in `teardown`.",
    ("service", "teardown"): "Write it without `yield`.",
}


def _defined(names: Sequence[str]) -> str:
    if not names:
        return ""
    return f"It defines {one_of((f'`{name}`' for name in names[:8]), joined_by='and')}."
