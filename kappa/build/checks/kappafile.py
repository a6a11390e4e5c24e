"""What a kappafile names must exist and fit: files, models, packages, functions, artifacts, APIs, modules.

Everything is looked up in files and syntax trees; nothing of the user's is imported or run.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import replace
from pathlib import Path, PurePosixPath

from kappa.adapters.dataframe import DataframeInput
from kappa.build.checks.compiling import check_compiled
from kappa.build.checks.environment import check_environment
from kappa.build.checks.models import check_models_read, model_file, report_truncated
from kappa.build.checks.paths import PathChecks
from kappa.build.checks.taken_names import needed_by, say_taken, taken_by
from kappa.build.code.absent import AbsentModules, direct_imports, unknown_imports
from kappa.build.code.declarations import Declaration
from kappa.build.code.injection import check_functions, references_of_plugins
from kappa.build.code.model_methods import methods_of
from kappa.build.code.model_names import dill_problem, model_of, name_problem, needs_of_file
from kappa.build.code.modules import CodeBase
from kappa.build.code.nearby import find_nearby, say_notebook
from kappa.build.code.own_adapters import read_own_adapters, types_of_plugins
from kappa.build.code.placing import place_of
from kappa.build.code.sampled_columns import columns_of_sample
from kappa.build.code.tracing import Trace, links_outside, trace
from kappa.build.code.undeclared import HowToAdd, undeclared_imports
from kappa.build.manifest.diagnostics import Severity
from kappa.build.manifest.nearby_models import type_of_model
from kappa.build.manifest.other_frameworks import advice_for_type
from kappa.build.manifest.patterns import matches_any
from kappa.build.manifest.positions import TreePath
from kappa.build.manifest.validation import Draft, deepest
from kappa.build.manifest.words import nearest
from kappa.build.packages.distributions import DistributionIndex
from kappa.build.packages.listed import Listed, listed_in
from kappa.build.packages.lock_record import LOCK_NAME, read_record
from kappa.build.packages.requirements import check_requirement
from kappa.build.packages.wheel import describe_kappa
from kappa.errors import KappaError, MisplacedError
from kappa.plugins import ARTIFACTS
from kappa.services.inference import extensions_of
from kappa.spec.contracts import ArtifactPlugin, ModelNeeds
from kappa.spec.document import ApiTable, ArtifactTable
from kappa.spec.layout import PackageLayout
from kappa.spec.service import ApiSpec, EnvSpec, batch_by_default
from kappa.wording import known_names, one_of, quoted, sentence

__all__ = ["check_references"]

_PACKAGE = PackageLayout(PurePosixPath())
_RESERVED = {
    _PACKAGE.wheels.name: "Kappa's own wheel",
    _PACKAGE.artifacts.name: "the models",
    "kappa": "Kappa itself",
}
"""What a bundle keeps beside the user's modules, by the name that no module of theirs may have."""


def check_references(
    draft: Draft,
    code: CodeBase,
    declaration: Declaration | None,
    *,
    packed: Collection[str] = (),
) -> None:
    """Report everything that a kappafile names and that is not there, or is not what it should be.

    The models of ``packed`` artifacts come from elsewhere, so their files are not looked at.
    """
    paths = PathChecks(draft, others=[("artifacts", name, "path") for name in packed])
    _check_models(draft, paths, declaration)
    check_environment(draft, paths)
    read_own_adapters(draft, code)
    check_functions(draft, code, declaration)
    _check_apis(draft, paths)
    _check_examples(draft, paths, declaration)
    paths.check_all()
    _check_modules(draft, code)
    _check_code(draft, code, declaration)
    _check_names_in_models(draft, code, declaration, packed)
    check_models_read(draft, _plugins(draft, declaration), packed)
    _check_methods(draft, code, packed)
    check_compiled(draft, code, declaration, _plugins(draft, declaration))


def _report_unknown(
    draft: Draft, code: str, kind: str, name: str, names: list[str], path: TreePath, *, otherwise: str = ""
) -> None:
    """Report a name that is not among those known, and which of them was probably meant."""
    near = nearest(name, names, cutoff=0.6)
    help_ = f"Did you mean `{near}`?" if near else otherwise or known_names(names)
    message = f"There is no {kind} {quoted(name)}."
    draft.diagnostics.add(code, message, path, help=help_, replacement=f'"{near}"' if near else None)


# -- models -----------------------------------------------------------------------------------------------


def _check_models(draft: Draft, paths: PathChecks, declaration: Declaration | None) -> None:
    diagnostics = draft.diagnostics
    plugins = _plugins(draft, declaration)
    for name in draft.names("artifacts"):
        path: TreePath = ("artifacts", name)
        file = paths.at((*path, "path"))
        plugin = plugins.get(name)
        if plugin is None:
            continue
        kind = (*path, "type") if (*path, "type") in diagnostics.positions.values else path
        if file is not None and (why := _problem_of(plugin, file)) is not None:
            _report_model(draft, name, plugin, file, why)
        if draft.get("security", "pickle") == "forbid":
            needs = needs_of_file(plugin.kept, file) if file is not None else ModelNeeds()
            if plugin.kept.runs_code(needs):
                subject = kind if plugin.is_pickle else (*path, "path")
                message = f"The artifact `{name}` is a pickle, whose loading runs code that the file chooses."
                labels = [diagnostics.label(("security", "pickle"), "forbidden here")]
                able = "compile" in type(plugin).model_fields
                help_ = 'Write `compile = "onnx"` under it: the bundle then holds no pickle.' if able else ""
                diagnostics.add(
                    "KF315", message, subject, at="value" if subject != path else "key", help=help_, labels=labels
                )


def _report_model(draft: Draft, name: str, plugin: ArtifactPlugin, file: Path, why: str) -> None:
    """Report a file that cannot be a model of its type, as one that is cut off or as one of another kind."""
    path: TreePath = ("artifacts", name)
    model = model_of(file)
    if model is not None and model.is_truncated and why == model.problem:
        report_truncated(draft, (*path, "path"), file, model)
        return
    message = f"{quoted(file.name)} is not a model of type `{plugin.type}`: {why.rstrip('.')}."
    other = type_of_model(file) or (model.artifact_type if model is not None else "")
    help_ = ""
    if other and other != plugin.type:
        writer = ARTIFACTS.load(other).written_by
        help_ = f'This file looks like one that {writer} wrote: write `type = "{other}"`.'
    elif model is not None and model.kind and plugin.type not in (model.kind, model.artifact_type):
        advice = advice_for_type(model.kind, artifact=name)
        help_ = f"This file looks like one of the kind `{model.kind}`. {advice[0] if advice else ''}".rstrip()
    kind = (*path, "type") if (*path, "type") in draft.diagnostics.positions.values else path
    label = draft.diagnostics.label(kind, "the type")
    draft.diagnostics.add("KF309", message, (*path, "path"), labels=[label], help=help_)


def _problem_of(plugin: ArtifactPlugin, path: Path) -> str | None:
    try:
        return plugin.problem_of(path)
    except (OSError, KappaError) as exc:
        return f"it cannot be read: {exc}"


# -- APIs and examples -------------------------------------------------------------------------------------------------


def _check_apis(draft: Draft, paths: PathChecks) -> None:
    routes: dict[str, TreePath] = {}
    for name in draft.names("apis"):
        path: TreePath = ("apis", name)
        _check_artifact_of(draft, path)
        _check_signature(draft, path, paths)
        _check_batch(draft, path)
        has_route = "route" in draft.document.table_at(path)
        route = draft.get(*path, "route") if has_route else name
        if isinstance(route, str):
            at = (*path, "route") if has_route else path
            other = routes.setdefault(route.strip("/"), at)
            if other != at:
                message = f"`/{route.strip('/')}` is the route of two APIs, `{other[1]}` and `{name}`."
                labels = [draft.diagnostics.label(other, "the other one")]
                draft.diagnostics.add(
                    "KF310", message, at, at="key", labels=labels, help="Give one of them another `route`."
                )


def _check_artifact_of(draft: Draft, path: TreePath) -> None:
    name, names = draft.get(*path, "artifact"), draft.names("artifacts")
    if isinstance(name, str) and name not in names and not draft.is_unsure("artifacts") and not draft.uses_class:
        otherwise = f"Declare it in {draft.document.table_name(('artifacts', name))}." if not names else ""
        _report_unknown(draft, "KF301", "artifact", name, names, (*path, "artifact"), otherwise=otherwise)


def _check_signature(draft: Draft, path: TreePath, paths: PathChecks) -> None:
    """Check the sample of a table; warn of tables without declared or sampled columns."""
    table, examples = draft.parts.get(path), draft.document.at(("examples",))
    plugin = table.input if isinstance(table, ApiTable) else None
    at = (*path, "input", "columns_from")
    if isinstance(plugin, DataframeInput) and plugin.columns_from is not None:
        if (file := paths.at(at)) is not None:
            try:
                columns_of_sample(plugin, file)
            except ValueError as exc:
                if isinstance(exc, MisplacedError):
                    at = deepest(draft.document, (*path, "input"), exc.path)
                message = sentence(f"{quoted(file.name)} cannot be the sample of a table: {exc}")
                draft.diagnostics.add("KF322", message, at)
        return
    has_example = isinstance(examples, list) and any(
        isinstance(example, Mapping) and example.get("api") == path[1] for example in examples
    )
    is_open = isinstance(plugin, DataframeInput) and plugin.columns is None and plugin.prefer_dtypes is None
    if is_open and not has_example:
        message = f"`{path[1]}` takes tables, and nothing says which columns they have."
        help_ = (
            'Write `input = { type = "dataframe", columns = { NAME = "DTYPE", … } }`, or `columns_from = '
            '"FILE"` there with some rows: otherwise no value is checked, a column of nothing but missing values has '
            "no dtype, and requests with other dtypes share no batch. An example helps the batches alone."
        )
        draft.diagnostics.add("KF318", message, (*path, "input"), severity="warning", help=help_)


def _check_examples(draft: Draft, paths: PathChecks, declaration: Declaration | None) -> None:
    names = [api.name for api in declaration.spec.apis] if declaration is not None else draft.names("apis")
    inputs = {api.name: api.input for api in declaration.spec.apis} if declaration is not None else {}
    examples = draft.document.at(("examples",))
    for index in range(len(examples) if isinstance(examples, list) else 0):
        at: TreePath = ("examples", index, "input_file")
        file = paths.at(at)
        api = draft.get("examples", index, "api")
        table = draft.parts.get(("apis", api)) if isinstance(api, str) else None
        adapter = table.input if isinstance(table, ApiTable) else inputs.get(api)
        known_extensions = extensions_of(adapter) if adapter is not None else []
        if file is not None and known_extensions and file.suffix.lower() not in known_extensions:
            message = f"{quoted(file.name)} has an extension that does not tell what it holds."
            draft.diagnostics.add(
                "KF204", message, at, help=f"Use {one_of(f'`{suffix}`' for suffix in known_extensions)}."
            )
        if isinstance(api, str) and names and api not in names and not draft.is_unsure("apis"):
            _report_unknown(draft, "KF307", "API", api, names, ("examples", index, "api"))


def _check_batch(draft: Draft, path: TreePath) -> None:
    """Warn of a model's own method whose requests could share calls, and do not."""
    table = draft.parts.get(path)
    if not isinstance(table, ApiTable) or table.batch is not False or draft.diagnostics.is_bad((*path, "batch")):
        return
    artifact = str(table.artifact)
    file = model_file(draft, artifact, draft.plugins[artifact]) if artifact in draft.plugins else None
    model = model_of(file) if file is not None else None
    if model is not None and model.rows is not None:  # it takes no more of them
        return
    if batch_by_default(draft.own_adapters.get(path) or table.input, is_row_wise=table.is_row_wise(draft.plugins)):
        message = f"`{path[1]}` answers one request at a time, though its model takes rows one by one."
        help_ = "Set it to `true`, or leave it out: under load, requests then share calls, and many more are answered."
        at = (*path, "batch")
        draft.diagnostics.add("KF325", message, at, severity="warning", help=help_, replacement="true")


# -- code --------------------------------------------------------------------------------------------------------------


def _check_modules(draft: Draft, code: CodeBase) -> None:
    for index, name in enumerate(draft.get("bundle", "modules") or ()):
        module = code.resolve(name)
        if module is None or not module.is_local:
            path: TreePath = ("bundle", "modules", index)
            nearby = find_nearby(name, code.search.root)
            otherwise = nearby.help if nearby is not None else say_notebook(name, code.search.root)
            _report_unknown(draft, "KF304", "module", name, code.top_names(), path, otherwise=otherwise)


def _check_code(draft: Draft, code: CodeBase, declaration: Declaration | None) -> None:
    """Follow the imports: code that cannot be parsed, names that the bundle needs, modules that are left out."""
    named = dict(_named_modules(draft))
    traced = trace(code, named, named=draft.get("bundle", "modules") or ())
    draft.diagnostics.extend(traced.diagnostics)
    absent = _absent(draft, code, declaration, traced)
    draft.diagnostics.extend(unknown_imports(traced, absent))
    draft.diagnostics.extend(direct_imports(traced, code, absent.listed))
    draft.diagnostics.extend(links_outside(traced, code))
    if not _infers_packages(draft, declaration):
        present = _present(draft, code, declaration, absent.listed)
        draft.diagnostics.extend(undeclared_imports(traced, code, present, _how_to_add(draft, declaration)))
    service = draft.get("service", "name") or (declaration.spec.name if declaration is not None else "")
    _check_names(draft, traced, {**_RESERVED, service: "the service itself"}, named)
    _check_service(draft, service, traced, absent.listed)
    for index, pattern in enumerate(draft.get("bundle", "exclude") or ()):
        for module in traced.modules.values():
            if matches_any(module_path := place_of(module, draft.document.file.parent.resolve()), [pattern]):
                message = f"{quoted(pattern)} leaves out `{module_path}`, which the service imports as `{module.name}`."
                draft.diagnostics.add("KF317", message, ("bundle", "exclude", index), severity="warning")


def _infers_packages(draft: Draft, declaration: Declaration | None) -> bool:
    """Return whether what code imports is packed without being named, or may come from elsewhere."""
    env = draft.parts.get(("env",), EnvSpec())
    declared = declaration.spec.env if declaration is not None else EnvSpec()
    if not isinstance(env, EnvSpec) or draft.diagnostics.is_bad(("env",)):
        return True
    return any(table.infer_pip_packages or table.setup_sh is not None for table in (env, declared))


def _how_to_add(draft: Draft, declaration: Declaration | None) -> HowToAdd:
    """Return what to write for a distribution, at the place where the packages of this service are named."""
    if declaration is not None:
        return HowToAdd(declaration.location.file.name, "@kappa.env")
    listed = draft.get("env", "requirements_txt_file")
    return HowToAdd(str(listed)) if listed else HowToAdd(draft.document.file.name, "[env]")


def _present(draft: Draft, code: CodeBase, declaration: Declaration | None, listed: Listed) -> frozenset[str]:
    """Return the distributions that a bundle gets: those asked for, and those of models, with what these need."""
    plugins = _plugins(draft, declaration)
    apis: list[ApiTable | ApiSpec] = [table for table in draft.parts.values() if isinstance(table, ApiTable)]
    apis += declaration.spec.apis if declaration is not None else ()
    kept = [plugin.kept for plugin in plugins.values() if plugin is not None]
    every = [*kept, *(plugin for api in apis for plugin in (api.input, api.output))]
    required = [text for plugin in every if plugin is not None for text in plugin.requires()]
    index = DistributionIndex()
    for name, plugin in plugins.items():
        if (file := model_file(draft, name, plugin)) is not None:
            needs = needs_of_file(plugin, file)
            modules = (module for module in needs.modules if code.package_of(module))
            required += [distribution for module in modules for distribution in index.candidates(module)]
            required += [text for text in needs.requirements if check_requirement(text) is None]
    return needed_by([*describe_kappa().runtime, *listed.names, *required])


def _check_methods(draft: Draft, code: CodeBase, packed: Collection[str]) -> None:
    """Report a model's method that its class does not have, as far as its file and the class's source tell.

    PERF: `predict` is left to the try of the bundle, because reading a library's source takes 10 to 100 ms.
    """
    for api in draft.names("apis"):
        name, method = draft.get("apis", api, "artifact"), draft.get("apis", api, "method")
        plugin = draft.plugins.get(name) if isinstance(name, str) and name not in packed else None
        file = model_file(draft, name, plugin) if plugin is not None else None
        if plugin is None or file is None or not isinstance(method, str) or method == "predict":
            continue
        made_of = needs_of_file(plugin, file).made_of
        methods = methods_of(made_of, code) if made_of else None
        if methods is not None and method not in methods:
            kind = made_of.partition(":")[2]
            near = nearest(
                method, sorted(candidate for candidate in methods if not candidate.startswith("_")), cutoff=0.6
            )
            draft.diagnostics.add(
                "KF332",
                f"{quoted(file.name)} is a `{kind}`, which has no method {quoted(method)}.",
                ("apis", api, "method"),
                help=f"Did you mean `{near}`?" if near else "",
                replacement=f'"{near}"' if near else None,
            )


def _check_names_in_models(
    draft: Draft, code: CodeBase, declaration: Declaration | None, packed: Collection[str]
) -> None:
    """Report the modules that a model's file names and that the bundle would lack."""
    absent = _absent(draft, code, declaration)
    for name, plugin in _plugins(draft, declaration).items():
        path: TreePath = ("artifacts", name, "path")
        if name in packed or (file := model_file(draft, name, plugin)) is None:
            continue
        needs = needs_of_file(plugin, file)
        dill = dill_problem(needs, file.name)
        told_of = (
            [name_problem(module, file.name, needs, code, absent) for module in needs.modules]
            if dill is None
            else [dill]
        )
        for problem in told_of:
            if problem is not None:
                severity: Severity = "error" if problem.is_sure else "warning"
                draft.diagnostics.add(problem.code, problem.message, path, help=problem.help, severity=severity)


def _plugins(draft: Draft, declaration: Declaration | None) -> dict[str, ArtifactPlugin]:
    """Return the artifacts that are declared right, by their names."""
    declared = {artifact.name: artifact for artifact in declaration.spec.artifacts} if declaration is not None else {}
    tables = {name: draft.parts.get(("artifacts", name)) for name in draft.names("artifacts")}
    written = {name: table.plugin for name, table in tables.items() if isinstance(table, ArtifactTable)}
    return {**declared, **{name: plugin for name, plugin in written.items() if plugin is not None}}


def _absent(
    draft: Draft, code: CodeBase, declaration: Declaration | None, traced: Trace | None = None
) -> AbsentModules:
    """Return the index of modules that are not here; unreadable parts of the file may name anything."""
    root, env = draft.document.file.parent, draft.parts.get(("env",), EnvSpec())
    listed = listed_in(env, root) if isinstance(env, EnvSpec) else Listed(is_open=True)
    if declaration is not None:
        listed |= listed_in(declaration.spec.env, declaration.location.file.parent)
    listed = replace(listed, is_open=listed.is_open or draft.diagnostics.is_bad(("env",)))
    return AbsentModules(code, listed, traced, record=read_record(root / LOCK_NAME, named=listed.names))


def _check_service(draft: Draft, name: str, traced: Trace, listed: Listed) -> None:
    """Report a service that is called like a distribution that it needs, or like a module of one."""
    if not isinstance(name, str) or not name:
        return
    tables = [table for table in draft.parts.values() if isinstance(table, ApiTable)]
    plugins = [
        *(plugin.kept for plugin in draft.plugins.values()),
        *(table.input for table in tables),
        *(table.output for table in tables),
    ]
    required = [text for plugin in plugins if plugin is not None for text in plugin.requires()]
    taken = taken_by(name, needed_by([*describe_kappa().runtime, *listed.names, *required]))
    imported = next((foreign for foreign in traced.foreign if foreign.partition(".")[0].lower() == name.lower()), None)
    if taken is not None or imported is not None:
        message = (
            say_taken(name, taken)
            if taken is not None
            else (f"A service cannot be called `{name}`: it imports {quoted(str(imported))}, which it would hide.")
        )
        draft.diagnostics.add("KF311", message, ("service", "name"), help="Give it another name.")


def _check_names(draft: Draft, traced: Trace, reserved: dict[str, str], named: dict[str, TreePath]) -> None:
    for top in dict.fromkeys(path.parts[0].removesuffix(".py") for path in traced.modules):
        if top in reserved:
            paths = (path for name, path in named.items() if name.partition(".")[0] == top)
            message = f"The module `{top}` has the name under which a bundle keeps {reserved[top]}."
            draft.diagnostics.add("KF311", message, next(paths, ("service", "name")), help="Rename the module.")


def _named_modules(draft: Draft) -> Iterator[tuple[str, TreePath]]:
    """Yield the modules that the file names, and where."""
    paths: list[TreePath] = [("service", key) for key in ("class", "setup", "teardown")]
    paths += [("apis", name, "function") for name in draft.names("apis")]
    paths += references_of_plugins(draft)
    paths += types_of_plugins(draft)
    for path in paths:
        if isinstance(reference := draft.get(*path), str) and ":" in reference:
            yield reference.partition(":")[0], path
    for index, name in enumerate(draft.get("bundle", "modules") or ()):
        yield name, ("bundle", "modules", index)
