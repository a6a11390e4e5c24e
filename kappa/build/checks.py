"""What a kappafile names must exist and fit: files, modules, functions, parameters, artifacts, APIs.

Everything is looked up in files and syntax trees; nothing of the user's is imported or run.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any, Literal

from kappa.build.classes import Declaration
from kappa.build.diagnostics import Diagnostic, Label, one_of, quoted, sentence
from kappa.build.functions import (
    Definition,
    Parameter,
    find_definition,
    parameters_of,
    returned_keys,
    span_of,
)
from kappa.build.modules import CodeBase, Module
from kappa.build.patterns import matches_any, matching_files
from kappa.build.positions import TreePath
from kappa.build.requirements import check_requirement
from kappa.build.tracing import trace
from kappa.build.validation import Draft
from kappa.build.words import nearest
from kappa.errors import KappaError
from kappa.inference import MEDIA_TYPES
from kappa.plugins import INPUT_ADAPTERS, RESOLVERS
from kappa.spec.contracts import ArtifactPlugin
from kappa.spec.document import ArtifactTable
from kappa.spec.models import ServiceSpec

__all__ = ["check_references"]

_RESERVED_MODULES = {"_kappa": "Kappa's own wheel", "artifacts": "the models", "kappa": "Kappa itself"}
"""What a bundle keeps beside the user's modules."""


def check_references(
    draft: Draft, code: CodeBase, declaration: Declaration | None, *, allow_outside: bool = False
) -> None:
    """Report everything that a kappafile names and that is not there, or is not what it should be."""
    checks = _Checks(draft, code, declaration, allow_outside=allow_outside)
    checks.files()
    checks.models()
    checks.packages()
    checks.functions()
    checks.apis()
    checks.examples()
    checks.code()


class _Checks:
    def __init__(self, draft: Draft, code: CodeBase, declaration: Declaration | None, *, allow_outside: bool) -> None:
        self._draft, self._code, self._declaration = draft, code, declaration
        self._document, self._found = draft.document, draft.found
        self._root = draft.document.file.parent
        self._allow_outside = allow_outside
        self._spec: ServiceSpec | None = declaration.spec if declaration is not None else None

    # -- files

    def files(self) -> None:
        draft = self._draft
        self._path(("service", "web_static_content"), "folder")
        self._path(("env", "requirements_txt_file"), "file")
        script = draft.get("env", "setup_sh")
        if isinstance(script, str) and "\n" not in script and not script.startswith("#!"):
            self._path(("env", "setup_sh"), "file")
        for index in range(len(self._examples())):
            path = self._path(("examples", index, "input_file"), "file")
            if path is not None and path.suffix.lower() not in MEDIA_TYPES:
                known = one_of(f"`{suffix}`" for suffix in MEDIA_TYPES)
                message = f"{quoted(path.name)} has an extension that does not tell what it holds."
                self._found.add("KF204", message, ("examples", index, "input_file"), help=f"Use {known}.")
        for index, pattern in enumerate(draft.get("bundle", "include") or ()):
            self._pattern(pattern, ("bundle", "include", index))

    def _path(self, path: TreePath, kind: Literal["file", "folder", "any"]) -> Path | None:
        """Check a path in the file; return it if it may be used."""
        text = self._draft.get(*path)
        if not isinstance(text, str) or (place := self._inside(text, path)) is None:
            return None
        if not place.exists():
            near = nearest(place.name, self._siblings(place), cutoff=0.7)
            replacement = str(PurePosixPath(text).with_name(near)) if near else None
            help_ = f"Did you mean `{replacement}`?" if near else f"Paths are relative to `{self._root.name}/`."
            if "\\" in text:
                help_ = "Write `/` between folders."
            message = f"There is no {'file or folder' if kind == 'any' else kind} {quoted(text)}."
            self._found.add("KF302", message, path, help=help_, replacement=f'"{replacement}"' if replacement else None)
            return None
        if (kind == "file" and not place.is_file()) or (kind == "folder" and not place.is_dir()):
            is_now = "folder" if place.is_dir() else "file"
            self._found.add("KF302", f"{quoted(text)} is a {is_now}; `{path[-1]}` names a {kind}.", path)
            return None
        return place

    def _inside(self, text: str, path: TreePath) -> Path | None:
        """Return the place that a path names, unless it leaves the project; links are followed."""
        if text.startswith("~"):
            message = f"{quoted(text)} begins with `~`, which means nothing here."
            self._found.add("KF303", message, path, help="Put the file into the project, and name it from there.")
            return None
        try:
            place = (self._root / text).resolve()
        except (OSError, ValueError, RuntimeError) as exc:
            self._found.add("KF302", f"{quoted(text)} is not a path: {exc}.", path)
            return None
        if not self._allow_outside and not place.is_relative_to(self._root.resolve()):
            is_link = not Path(text).is_absolute() and ".." not in Path(text).parts
            what = "is a link that leads out of" if is_link else "is outside of"
            message = f"{quoted(text)} {what} the project `{self._root.name}/`."
            help_ = "Move it into the project, or allow it with `--allow-outside`."
            self._found.add("KF303", message, path, help=help_)
            return None
        return self._root / text

    def _siblings(self, place: Path) -> Sequence[str]:
        try:
            return [path.name for path in place.parent.iterdir()]
        except OSError:
            return []

    def _pattern(self, pattern: str, path: TreePath) -> None:
        if Path(pattern).is_absolute() or ".." in PurePosixPath(pattern).parts or pattern.startswith("~"):
            message = f"{quoted(pattern)} leaves the project."
            self._found.add("KF303", message, path, help="Patterns are relative to the project and stay inside it.")
            return
        matched = list(matching_files(self._root, pattern))
        if not matched:
            message = f"{quoted(pattern)} matches no file."
            self._found.add("KF313", message, path, severity="warning")
        for file in matched:
            if not self._allow_outside and not (self._root / file).resolve().is_relative_to(self._root.resolve()):
                message = f"{quoted(pattern)} matches {quoted(str(file))}, a link that leads out of the project."
                self._found.add("KF303", message, path, help="Exclude it, or allow it with `--allow-outside`.")
                return

    # -- models and packages

    def models(self) -> None:
        policy = self._draft.get("security", "pickle") or (self._spec.security.pickle if self._spec else "warn")
        for name in self._draft.names("artifacts"):
            path: TreePath = ("artifacts", name)
            plugin = self._plugin(name)
            place = self._path((*path, "path"), "any")
            if plugin is None:
                continue
            if place is not None and (why := _sniffed(plugin, place)) is not None:
                message = f"{quoted(place.name)} is not a model of type `{plugin.type}`: {why}."
                labels = [self._found.label((*path, "type"), "the type")] if self._document.at((*path, "type")) else []
                self._found.add("KF309", message, (*path, "path"), labels=labels)
            if plugin.is_pickle and policy != "allow":
                self._pickle(plugin, path, policy)

    def _plugin(self, name: str) -> ArtifactPlugin | None:
        table = self._draft.parts.get(("artifacts", name))
        if isinstance(table, ArtifactTable) and table.plugin is not None:
            return table.plugin
        return next((plugin for plugin in (self._spec.artifacts if self._spec else ()) if plugin.name == name), None)

    def _pickle(self, plugin: ArtifactPlugin, path: TreePath, policy: str) -> None:
        at = (*path, "type") if self._document.at((*path, "type")) is not None else path
        key: Literal["key", "value"] = "value" if len(at) > len(path) else "key"
        message = f"The artifact `{plugin.name}` is a pickle, whose loading runs code that the file chooses."
        if policy == "forbid":
            labels = [self._found.label(("security", "pickle"), "forbidden here")]
            self._found.add("KF315", message, at, at=key, labels=labels)

    def packages(self) -> None:
        draft = self._draft
        packages = draft.get("env", "pip_packages") or ()
        for index, requirement in enumerate(packages):
            path: TreePath = ("env", "pip_packages", index)
            if requirement.strip().startswith("-"):
                message = f"{quoted(requirement)} is an option of pip, not a package."
                help_ = "Put options into a file, and name it in `requirements_txt_file`."
                self._found.add("KF316", message, path, help=help_)
            elif (problem := check_requirement(requirement)) is not None:
                self._found.add("KF316", sentence(problem), path)
        if packages and draft.get("env", "requirements_txt_file") is not None:
            message = "`pip_packages` has no effect beside `requirements_txt_file`, which replaces every other source."
            labels = [self._found.label(("env", "requirements_txt_file"), "replaces it")]
            self._found.add("KF208", message, ("env", "pip_packages"), at="key", severity="warning", labels=labels)
        resolver = draft.get("bundle", "resolver")
        if isinstance(resolver, str) and resolver not in RESOLVERS.names():
            near = nearest(resolver, RESOLVERS.names(), cutoff=0.6)
            known = one_of((f"`{name}`" for name in RESOLVERS.names()), joined_by="and")
            help_ = f"Did you mean `{near}`?" if near else f"Known: {known}."
            message = f"There is no resolver {quoted(resolver)}."
            replacement = f'"{near}"' if near else None
            self._found.add("KF205", message, ("bundle", "resolver"), help=help_, replacement=replacement)

    # -- functions

    def functions(self) -> None:
        """Check `setup` and `teardown`, and what they promise each other."""
        self._setup_keys: set[str] | None = set()
        setup = self._defined(("service", "setup"))
        if self._document.at(("service", "setup")) is not None:
            self._setup_keys = returned_keys(setup) if setup is not None else None
        if setup is not None and (parameters := parameters_of(setup)) is not None:
            for parameter in parameters:
                if not parameter.has_default and not parameter.is_variadic:
                    message = f"`setup` is called with nothing, but takes `{parameter.name}`."
                    self._parameter(message, ("service", "setup"), setup, parameter)
        if both := sorted((self._setup_keys or set()) & set(self._artifact_names())):
            message = f"`setup` returns `{both[0]}`, which is also the name of an artifact."
            labels = [self._found.label(("artifacts", both[0]), "the artifact")] if not self._spec else []
            self._found.add("KF207", message, ("service", "setup"), labels=labels)
        teardown = self._defined(("service", "teardown"))
        if teardown is None or self._setup_keys is None or (parameters := parameters_of(teardown)) is None:
            return
        for parameter in parameters:
            is_filled = parameter.has_default or parameter.is_variadic or parameter.name in self._setup_keys
            if not is_filled:
                message = f"`teardown` takes `{parameter.name}`, which `setup` does not return."
                self._parameter(message, ("service", "teardown"), teardown, parameter)

    def _defined(self, path: TreePath) -> Definition | None:
        """Find what a reference in the file names, or report that it is not there."""
        reference = self._draft.get(*path)
        if not isinstance(reference, str) or ":" not in reference:
            return None
        name, _, qualname = reference.partition(":")
        module = self._code.resolve(name)
        if module is None:
            self._no_module(name, qualname, path)
            return None
        found = find_definition(self._code, module, qualname)
        if isinstance(found, Definition):
            return found
        near = nearest(qualname, found.known)
        help_ = f"Did you mean `{name}:{near}`?" if near else ""
        message = f"`{name}` defines no {quoted(found.name)}."
        self._found.add("KF305", message, path, help=help_, replacement=f'"{name}:{near}"' if near else None)
        return None

    def _no_module(self, name: str, qualname: str, path: TreePath) -> None:
        top, _, rest = name.partition(".")
        near = nearest(top, self._code.top_names(), cutoff=0.6) if self._code.resolve(top) is None else None
        full = f"{near}{'.' + rest if rest else ''}"
        help_ = (
            f"Did you mean `{full}:{qualname}`?" if near else f"Expected `{name.replace('.', '/')}.py` beside the file."
        )
        message = f"There is no module {quoted(name)}."
        self._found.add("KF304", message, path, help=help_, replacement=f'"{full}:{qualname}"' if near else None)

    def _parameter(
        self, message: str, path: TreePath | None, definition: Definition, parameter: Parameter, *, help_: str = ""
    ) -> None:
        file = definition.file or Path()
        span = span_of(parameter.node)
        if path is None:
            self._found.append(Diagnostic("KF306", message, file, span, help=help_))
        else:
            labels = [Label(file, span, "this parameter")]
            self._found.add("KF306", message, path, labels=labels, help=help_)

    # -- APIs

    def apis(self) -> None:
        routes: dict[str, TreePath] = {}
        for name in self._draft.names("apis"):
            path: TreePath = ("apis", name)
            table = self._document.table_at(path)
            definition = self._defined((*path, "function"))
            if definition is not None:
                self._injection(definition, (*path, "function"), is_batched=self._is_batched(path))
            self._artifact(path)
            self._batch(path)
            route = self._draft.get(*path, "route") if "route" in table else name
            if isinstance(route, str):
                self._route(route.strip("/"), path, routes)
        for api in self._spec.apis if self._spec is not None else ():
            function = getattr(api.target, "function", "")
            module = self._code.resolve(function.partition(":")[0])
            found = find_definition(self._code, module, function.partition(":")[2]) if module is not None else None
            if isinstance(found, Definition):
                self._injection(found, None, is_batched=api.batch)

    def _is_batched(self, path: TreePath) -> bool | None:
        """Return whether an API is batched, if that is certain."""
        batch = self._draft.get(*path, "batch")
        if isinstance(batch, bool):
            return batch
        adapter = self._adapter(path)
        return not adapter.supports_single if adapter is not None and not self._found.is_bad((*path, "batch")) else None

    def _adapter(self, path: TreePath) -> Any:
        """Return the class of an API's input adapter, if it is named right."""
        value = self._draft.get(*path, "input")
        name = value.get("type") if isinstance(value, Mapping) else value
        if not isinstance(name, str):
            return None
        try:
            return INPUT_ADAPTERS.load(name)
        except (KappaError, ImportError):
            return None

    def _batch(self, path: TreePath) -> None:
        adapter, batch = self._adapter(path), self._draft.get(*path, "batch")
        if adapter is None or self._found.is_bad((*path, "batch")):
            return
        labels = [self._found.label((*path, "input"), "its input")]
        if batch is True and not adapter.supports_batch:
            message = "This input cannot be batched."
            self._found.add("KF308", message, (*path, "batch"), labels=labels, replacement="false")
        elif batch is False and not adapter.supports_single:
            message = "This input always brings rows, which are batched."
            self._found.add("KF308", message, (*path, "batch"), labels=labels, replacement="true")

    def _artifact(self, path: TreePath) -> None:
        name = self._draft.get(*path, "artifact")
        names = self._artifact_names()
        if not isinstance(name, str) or name in names or not self._document.is_whole:
            return
        near = nearest(name, names)
        declared = one_of((f"`{known}`" for known in names), joined_by="and")
        help_ = f"Did you mean `{near}`?" if near else f"Declared: {declared}." if names else ""
        help_ = help_ or f"Declare it in {self._document.table_name(('artifacts', name))}."
        message = f"There is no artifact {quoted(name)}."
        replacement = f'"{near}"' if near else None
        self._found.add("KF301", message, (*path, "artifact"), help=help_, replacement=replacement)

    def _route(self, route: str, path: TreePath, routes: dict[str, TreePath]) -> None:
        first = routes.setdefault(route, path)
        if first == path:
            return
        at: TreePath = (*path, "route") if "route" in self._document.table_at(path) else path
        other: TreePath = (*first, "route") if "route" in self._document.table_at(first) else first
        message = f"`/{route}` is the route of two APIs, `{first[-1]}` and `{path[-1]}`."
        labels = [self._found.label(other, "the other one")]
        self._found.add("KF310", message, at, at="key", labels=labels, help="Give one of them another `route`.")

    def _injection(self, definition: Definition, path: TreePath | None, *, is_batched: bool | None) -> None:
        """Check that every parameter of an API's function will be filled."""
        parameters = parameters_of(definition)
        if parameters is None or definition.node is None:
            return
        name = definition.node.name
        if not parameters or not parameters[0].is_positional or parameters[0].is_variadic:
            message = f"`{name}` takes no input: its first parameter receives the request."
            if path is not None:
                labels = [Label(definition.file or Path(), span_of(definition.node), "defined here")]
                self._found.add("KF306", message, path, labels=labels)
            else:
                self._found.append(Diagnostic("KF306", message, definition.file or Path(), span_of(definition.node)))
            return
        words = ["tasks"] if is_batched else ["task"] if is_batched is False else ["task", "tasks"]
        known = [*self._artifact_names(), *sorted(self._setup_keys or ()), *words]
        for parameter in parameters[1:]:
            if parameter.is_variadic:
                message = f"`{name}` takes `{'*' if parameter.is_positional else '**'}{parameter.name}`."
                self._parameter(message, path, definition, parameter, help_="Name each parameter.")
            elif parameter.is_positional_only:
                message = f"`{parameter.name}` of `{name}` cannot be given by name, because it stands before `/`."
                self._parameter(message, path, definition, parameter)
            elif parameter.name in known or parameter.has_default:
                continue
            elif parameter.name in ("task", "tasks"):
                message = f"`{name}` takes `{parameter.name}`, but its API is {'' if is_batched else 'not '}batched."
                self._parameter(message, path, definition, parameter, help_=f"Call it `{words[0]}`.")
            elif self._setup_keys is not None and self._document.is_whole:
                near = nearest(parameter.name, known)
                names = one_of((f"`{word}`" for word in known), joined_by="and")
                help_ = f"Did you mean `{near}`?" if near else f"What can be named here: {names}."
                message = f"`{name}` takes `{parameter.name}`, which is neither an artifact nor returned by `setup`."
                self._parameter(message, path, definition, parameter, help_=help_)

    def _artifact_names(self) -> list[str]:
        if self._spec is not None:
            return [artifact.name for artifact in self._spec.artifacts]
        return self._draft.names("artifacts")

    # -- examples

    def _examples(self) -> list[Any]:
        examples = self._document.tree.get("examples")
        return examples if isinstance(examples, list) else []

    def examples(self) -> None:
        names = [api.name for api in self._spec.apis] if self._spec is not None else self._draft.names("apis")
        is_known = bool(names) and self._document.is_whole and (self._spec is not None or not self._draft.uses_class)
        for index in range(len(self._examples())):
            api = self._draft.get("examples", index, "api")
            if not is_known or not isinstance(api, str) or api in names:
                continue
            near = nearest(api, names)
            declared = one_of((f"`{name}`" for name in names), joined_by="and")
            help_ = f"Did you mean `{near}`?" if near else f"Declared: {declared}."
            message = f"There is no API {quoted(api)}."
            replacement = f'"{near}"' if near else None
            self._found.add("KF307", message, ("examples", index, "api"), help=help_, replacement=replacement)

    # -- code

    def code(self) -> None:
        """Follow the imports: code that cannot be parsed, names that the bundle needs, what is left out."""
        draft = self._draft
        for index, name in enumerate(draft.get("bundle", "modules") or ()):
            module = self._code.resolve(name)
            if module is None or not module.is_local:
                near = nearest(name, self._code.top_names())
                help_ = f"Did you mean `{near}`?" if near else "Name modules of the project, e.g. `plugins.eu`."
                self._found.add(
                    "KF304",
                    f"The project has no module {quoted(name)}.",
                    ("bundle", "modules", index),
                    help=help_,
                    replacement=f'"{near}"' if near else None,
                )
        found = trace(self._code, [name for name, _ in self._named_modules()])
        self._found.extend(found.diagnostics)
        service = draft.get("service", "name") or (self._spec.name if self._spec is not None else None)
        reserved = {**_RESERVED_MODULES, **({service: "the service itself"} if isinstance(service, str) else {})}
        named = dict(self._named_modules())
        clashing = {place.parts[0].removesuffix(".py"): module for place, module in found.modules.items()}
        for top in clashing.keys() & reserved.keys():
            path = next((path for name, path in named.items() if name.partition(".")[0] == top), ("service", "name"))
            message = f"The module `{top}` has the name under which a bundle keeps {reserved[top]}."
            self._found.add("KF311", message, path, help="Rename the module.")
        patterns = draft.get("bundle", "exclude") or ()
        for place, module in found.modules.items():
            self._excluded(place, module, patterns)

    def _excluded(self, place: PurePosixPath, module: Module, patterns: Sequence[str]) -> None:
        for index, pattern in enumerate(patterns):
            if matches_any(place, [pattern]):
                message = f"{quoted(pattern)} leaves out `{place}`, which the service imports as `{module.name}`."
                self._found.add("KF317", message, ("bundle", "exclude", index), severity="warning")

    def _named_modules(self) -> Iterator[tuple[str, TreePath]]:
        paths: list[TreePath] = [("service", key) for key in ("class", "setup", "teardown")]
        paths += [("apis", name, "function") for name in self._draft.names("apis")]
        for path in paths:
            if isinstance(reference := self._draft.get(*path), str):
                yield reference.partition(":")[0], path
        for index, name in enumerate(self._draft.get("bundle", "modules") or ()):
            yield name, ("bundle", "modules", index)


def _sniffed(plugin: ArtifactPlugin, place: Path) -> str | None:
    try:
        return plugin.sniff(place)
    except (OSError, KappaError) as exc:
        return f"it cannot be read: {exc}"
