"""Checks of compiled artifacts: something proves them, and the code asks for nothing that they do not have."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping

from kappa.build.code.declarations import Declaration
from kappa.build.code.functions import Definition, find_definition
from kappa.build.code.modules import CodeBase
from kappa.build.manifest.diagnostics import Diagnostic
from kappa.build.manifest.positions import Span, TreePath
from kappa.build.manifest.validation import Draft
from kappa.frameworks.compiled import CompilableArtifact
from kappa.spec.contracts import ArtifactPlugin
from kappa.spec.service import FunctionTarget
from kappa.wording import listed

__all__ = ["check_compiled"]


def check_compiled(
    draft: Draft, code: CodeBase, declaration: Declaration | None, plugins: Mapping[str, ArtifactPlugin]
) -> None:
    """Report artifacts that nothing would prove, looser tolerances, and attributes that compiled models have not."""
    compiled = {
        name: plugin
        for name, plugin in plugins.items()
        if isinstance(plugin, CompilableArtifact) and plugin.compiling is not None
    }
    for name, plugin in compiled.items():
        _check_proof(draft, declaration, name, plugin)
    if compiled:
        _check_methods(draft, compiled)
        for function in dict.fromkeys(_functions(draft, declaration)):
            _check_function(draft, code, function, compiled)


def _check_proof(draft: Draft, declaration: Declaration | None, name: str, plugin: ArtifactPlugin) -> None:
    options, path = plugin.compiling, _declared_at(draft, name)
    has_examples = bool(draft.document.at(("examples",))) or (declaration is not None and declaration.spec.examples)
    if options.samples is None and not has_examples and not draft.is_unsure("examples"):
        message = (
            f"`{name}` is compiled, and there is neither an example nor a file of `samples` that both models answer."
        )
        help_ = (
            'Add an example, or write `compile = { to = "onnx", samples = "rows.csv" }`; `samples = "none"` lets rows '
            "that are drawn be enough."
        )
        draft.diagnostics.add("KF352", message, path, at="key", help=help_)
    if options.is_looser:
        message = (
            f"The answers of `{name}` may differ by `rtol = {options.rtol:g}` and `atol = {options.atol:g}` once it is "
            "compiled, which is more than by default."
        )
        draft.diagnostics.add("KF354", message, path, at="key", severity="warning")


def _declared_at(draft: Draft, name: str) -> TreePath:
    path: TreePath = ("artifacts", name)
    return (*path, "compile") if draft.document.at((*path, "compile")) is not None else path


def _check_methods(draft: Draft, compiled: Mapping[str, CompilableArtifact]) -> None:
    for api in draft.names("apis"):
        name, method = draft.get("apis", api, "artifact"), draft.get("apis", api, "method")
        methods = compiled[name].compiled_methods if name in compiled else ()
        if isinstance(method, str) and methods and method not in methods:
            draft.diagnostics.add(
                "KF353",
                f"A compiled model has no method `{method}`.",
                ("apis", api, "method"),
                help=f"It has {listed(methods)}, as far as the model has them.",
                labels=[draft.diagnostics.label(_declared_at(draft, name), "compiled here")],
            )


def _functions(draft: Draft, declaration: Declaration | None) -> Iterator[str]:
    """Yield the functions and methods that answer APIs, as ``module:qualname``."""
    for api in declaration.spec.apis if declaration is not None else ():
        if isinstance(api.target, FunctionTarget):
            yield api.target.function
    for name in draft.names("apis"):
        if isinstance(function := draft.get("apis", name, "function"), str):
            yield function


def _check_function(draft: Draft, code: CodeBase, reference: str, compiled: Mapping[str, CompilableArtifact]) -> None:
    """Report attributes of a compiled model that a function reads and that it has not."""
    module_name, _, qualname = reference.partition(":")
    module = code.resolve(module_name)
    definition = find_definition(code, module, qualname) if module is not None else None
    if not isinstance(definition, Definition) or definition.node is None or definition.file is None:
        return
    for node in ast.walk(definition.node):
        name = _artifact_of(node.value) if isinstance(node, ast.Attribute) else None
        plugin = compiled.get(name or "")
        offered = (*plugin.compiled_methods, *plugin.compiled_attributes) if plugin is not None else ()
        if isinstance(node, ast.Attribute) and offered and node.attr not in offered:
            end = node.end_col_offset or node.col_offset
            span = Span(node.lineno, node.col_offset + 1, node.end_lineno or node.lineno, end + 1)
            draft.diagnostics.append(
                Diagnostic(
                    "KF353",
                    f"`{name}` is compiled, and a compiled model has no `{node.attr}`.",
                    definition.file,
                    span,
                    help=f"It has {listed(offered)}. Leave `compile` out to keep the model as it is.",
                    labels=(draft.diagnostics.label(_declared_at(draft, str(name)), "compiled here"),),
                )
            )


def _artifact_of(node: ast.expr) -> str | None:
    """Return the artifact that an expression means: a parameter of its name, or `self.artifacts.NAME`."""
    if isinstance(node, ast.Name):
        return node.id
    is_of_self = isinstance(node, ast.Attribute) and isinstance(node.value, ast.Attribute)
    if isinstance(node, ast.Attribute) and is_of_self and node.value.attr == "artifacts":  # type: ignore[attr-defined]
        return node.attr
    return None
