"""The base of every specification, and the contracts of the three families of plugins.

A plugin class is its own configuration: a frozen model whose fields are the options a user writes and whose methods
are the behaviour. ``DataframeInput(orient="split")`` in Python and ``{ type = "dataframe", orient = "split" }`` in a
kappafile are the same object.
"""

from __future__ import annotations

import ast
import inspect
import shutil
import sys
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from contextlib import suppress
from functools import cache, partial
from itertools import pairwise
from pathlib import Path
from textwrap import dedent
from types import MappingProxyType
from typing import Annotated, Any, ClassVar, Literal, NamedTuple, TypeVar

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    GetJsonSchemaHandler,
    PrivateAttr,
    SerializeAsAny,
    SerializerFunctionWrapHandler,
    ValidationError,
    model_serializer,
    model_validator,
)
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema

from kappa._files import copy_folder, entries_of, walk_files
from kappa.errors import BundleError, ConfigurationError, MissingDependencyError, PluginNotFoundError, printable
from kappa.plugins import ARTIFACTS, INPUT_ADAPTERS, OUTPUT_ADAPTERS, PluginRegistry
from kappa.spec.freezing import FrozenMapping, FrozenValue, freeze, thaw
from kappa.tag import IDENTIFIER, check_identifier
from kappa.types import Answer, Payload
from kappa.wording import explained

__all__ = [
    "ISOLATED",
    "AnyArtifact",
    "AnyInput",
    "AnyOutput",
    "ArtifactName",
    "ArtifactPlugin",
    "FrozenMapping",
    "FrozenValue",
    "InputAdapter",
    "ModelNeeds",
    "Name",
    "OutputAdapter",
    "Plugin",
    "PluginOfService",
    "Spec",
    "artifact_of",
    "field_docs",
    "freeze",
    "input_of",
    "model_files",
    "module_of",
    "plain_module",
    "thaw",
]

Name = Annotated[str, AfterValidator(check_identifier), Field(json_schema_extra={"pattern": f"^{IDENTIFIER.pattern}$"})]

ISOLATED = "_kappa_bundle_"
"""The prefix of the package below which isolated modules of a service are imported."""


@cache
def field_docs(model: type[BaseModel]) -> Mapping[str, str]:
    """Return the docstring under each field of a model, inherited ones included, by the key that a user writes.

    Read from the source on first use. PERF: pydantic's `use_attribute_docstrings` reads it whenever a class is made,
    which cost every command 40 ms.
    """
    docs: dict[str, str] = {}
    for owner in reversed(model.__mro__):
        if issubclass(owner, BaseModel) and owner is not BaseModel:
            (definition,) = ast.parse(dedent(inspect.getsource(owner))).body
            body = definition.body if isinstance(definition, ast.ClassDef) else []
            for field, text in pairwise(body):
                if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name):
                    docs.pop(field.target.id, None)
                    if isinstance(text, ast.Expr) and isinstance(text.value, ast.Constant):
                        docs[field.target.id] = inspect.cleandoc(str(text.value.value))
    fields = model.model_fields.items()
    return MappingProxyType({field.alias or name: docs[name] for name, field in fields if name in docs})


class Spec(BaseModel):
    """A frozen value that knows exactly its own keys; the docstring under a field is its documentation everywhere."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        populate_by_name=True,
        protected_namespaces=(),
    )

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        """Describe each property by the docstring under its field."""
        made = handler(schema)
        properties = handler.resolve_ref_schema(made).get("properties", {})
        for key, text in field_docs(cls).items():
            if key in properties:
                properties[key].setdefault("description", text)
        return made


P = TypeVar("P", bound="Plugin")


class Plugin(Spec):
    """A plugin's options; subclasses fix ``type`` to a literal, the name under which it is registered."""

    type: str

    registry: ClassVar[PluginRegistry]
    """Where the plugins of its family are found by their ``type``."""

    @classmethod
    def own_reference(cls) -> str | None:
        """Return ``module:qualname`` of a class that is not registered: the service's own code brings it."""
        return None if _is_registered(cls) else f"{module_of(cls)}:{cls.__qualname__}"

    @property
    def reference(self) -> str | None:
        """Where its class is, if the service's own code brings it."""
        return self.own_reference()

    @property
    def class_name(self) -> str:
        """The name of its class."""
        return type(self).__name__

    def resolved(self: P, load: Callable[[str], Any]) -> P:  # noqa: ARG002 - only for those of the service's own code
        """Return the plugin itself in place of one that stands for it; ``load`` imports the service's own code."""
        return self

    @model_validator(mode="before")
    @classmethod
    def _known_by_its_reference(cls, options: Any) -> Any:
        """Take what `_serialized` wrote."""
        if isinstance(options, Mapping) and ":" in str(options.get("type")) and options["type"] == cls.own_reference():
            return {**options, "type": cls.model_fields["type"].default}
        return options

    @model_serializer(mode="wrap")
    def _serialized(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Name a class of the service's own code by where it is: no table says what its ``type`` is there."""
        tree: dict[str, Any] = handler(self)
        if "type" in tree and (reference := self.reference) is not None:
            tree["type"] = reference
        return tree

    def requires(self) -> tuple[str, ...]:
        """Name the distributions that it needs at run time, as requirements (PEP 508) without versions."""
        return ()

    def references(self) -> tuple[str, ...]:
        """Name what is needed of the service's own code, as ``module:qualname``: a bundle carries these modules."""
        return ()

    def with_options(self: P, **options: Any) -> P:
        """Return this plugin with other options."""
        current = {name: getattr(self, name) for name in self.model_fields_set} | options
        return type(self).model_validate({**current, "type": self.type})

    @property
    def config(self) -> dict[str, Any]:
        """All options, without ``type``, as clients see them."""
        return self.model_dump(mode="json", by_alias=True, exclude={"type"})

    @property
    def options(self) -> dict[str, Any]:
        """The options that differ from their defaults, without ``type``; for views and messages."""
        return self.model_dump(mode="json", by_alias=True, exclude_defaults=True, exclude={"type"})


@cache
def _is_registered(plugin: type[Plugin]) -> bool:
    name = plugin.model_fields["type"].default
    with suppress(PluginNotFoundError, MissingDependencyError):
        return isinstance(name, str) and plugin.registry.load(name) is plugin
    return False


def plain_module(name: str) -> str:
    """Return the own name of a module that may be isolated (see `kappa.services.loading`)."""
    return name.partition(".")[2] if name.startswith(ISOLATED) else name


def module_of(defined: type) -> str:
    """Return the name of a class's module; a script's is what it is called when it is imported."""
    if defined.__module__ != "__main__":
        return plain_module(defined.__module__)
    main = sys.modules["__main__"]
    if (spec := getattr(main, "__spec__", None)) is not None:
        return str(spec.name)
    return Path(getattr(main, "__file__", None) or "__main__").stem


class InputAdapter(Plugin):
    """Turns payloads into the arguments of a function, one batch at a time.

    `decode` runs once per request and yields the adapter's own batchable *form*; a malformed request fails there and
    never meets another. `merge` runs once per batch, in the thread that runs the function, over forms of one group.
    """

    registry = INPUT_ADAPTERS

    http_input_example: FrozenValue = None
    """A request body, as a value, that the OpenAPI document shows."""
    request_schema: FrozenMapping | None = None
    """The request body in the OpenAPI document, in place of the adapter's own description: the JSON Schema of a JSON
    body, or schemas by media type as in `{"text/csv": {"schema": {…}}}`."""

    supports_batch: ClassVar[bool] = True
    """Whether ``batch = true`` is possible."""
    supports_single: ClassVar[bool] = True
    """Whether ``batch = false`` is possible."""
    copies: ClassVar[bool] = False
    """Whether `merge` and `single` copy all that a function could change: then no function can change a form, and a
    server need not keep the body of a request to decode it again for another run."""

    @classmethod
    def brings_rows(cls) -> bool:
        """Return whether a request is a list of rows, and not one item: batched or not, functions get such a list."""
        return cls.rows_of is not InputAdapter.rows_of

    @classmethod
    def merges_any(cls) -> bool:
        """Return whether all forms are of one group, and one item each."""
        return cls.group_of is InputAdapter.group_of and not cls.brings_rows()

    @property
    def part_names(self) -> tuple[str, ...]:
        """The names of the form's parts that an adapter of several inputs takes; empty for one that takes a body.

        With names, requests are `multipart/form-data`, and `merge` and `single` return one argument per name.
        """
        return ()

    def described(self, load: Callable[[str], Any]) -> InputAdapter:  # noqa: ARG002 - few refer to code
        """Return this adapter with what its `references` tell of requests, e.g. `request_schema`."""
        return self

    def for_features(self, names: tuple[str, ...]) -> InputAdapter:  # noqa: ARG002 - few have columns
        """Return this adapter for a model that was fitted with columns of these names, if nothing else is declared."""
        return self

    def without_frames(self) -> InputAdapter:
        """Return this adapter for a model that takes what has `columns`, `to_numpy` and columns by name as well as a
        frame of pandas', and faster."""
        return self

    def decoder(self, load: Callable[[str], Any]) -> Callable[[Payload], Any]:  # noqa: ARG002 - few refer to code
        """Return `decode`, or what does its work once ``load`` has imported the `references`.

        Called once, when a service is loaded: what is slow to import, or may be absent, is imported here.
        """
        return self.decode

    def decode(self, payload: Payload) -> Any:
        """Return the form of one request; raises `BadInputError` for what does not fit.

        A body of one uploaded file arrives as that file; adapters with `part_names` get the whole form.
        """
        raise NotImplementedError

    def group_of(self, form: Any) -> Hashable:  # noqa: ARG002 - the default has one group
        """Return a key such that forms of equal keys may be merged without touching each other."""
        return None

    def rows_of(self, form: Any) -> int | None:  # noqa: ARG002 - the default form is one item
        """Return how many rows a form holds, or ``None`` where a request is one item and not a list of rows.

        With rows, a request's share of the function's result is a slice of that length; with ``None``, one element.
        """
        return None

    def nbytes_of(self, form: Any) -> int:  # noqa: ARG002 - the default form is no larger than its body
        """Return about how many bytes of memory a form holds beside its payload, in time that rows do not add to.

        What waits in a queue is bounded by it.
        """
        return 0

    def nbytes_from(self, payload: Payload) -> int:  # noqa: ARG002 - most forms tell themselves
        """Return about how many bytes of memory the form of a payload holds that `nbytes_of` cannot tell from it, in no
        more time than one look over the bytes takes."""
        return 0

    def merge(self, forms: Sequence[Any]) -> Any:
        """Build the argument for a batch function from the forms of one group, in request order."""
        return list(forms)

    def single(self, form: Any) -> Any:
        """Build the argument for a function that takes one request at a time."""
        return form

    def sample_body(self) -> Any:
        """Return a request body as a JSON value, to begin with; ``None`` for an adapter of files."""
        return None

    def request_content(self) -> dict[str, Any]:
        """Return the OpenAPI 3.1 *content* map of the request body, by media type; the preferred one first."""
        raise NotImplementedError

    def documented_content(self) -> dict[str, Any]:
        """Return `request_content` with the user's own schema and example in it."""
        content = self.request_content()
        if self.request_schema is not None:
            schema = thaw(self.request_schema)
            is_content = bool(schema) and all("/" in key for key in schema)
            content = schema if is_content else {"application/json": {"schema": schema}}
        if self.http_input_example is not None:
            media_type = "application/json" if "application/json" in content else next(iter(content))
            content = {**content, media_type: {**content[media_type], "example": thaw(self.http_input_example)}}
        return content


class OutputAdapter(Plugin):
    """Turns what a function returned for one request into an answer."""

    registry = OUTPUT_ADAPTERS

    def prepare(self, value: Any, *, accepts: Iterable[str] = ()) -> Any:  # noqa: ARG002 - mostly nothing to win
        """Return what a batch function returned, unsplit, in a form whose parts `encode` to the same bytes faster.

        The rows stay in their order, and several outputs by name a mapping of as many rows each.
        ``accepts`` are the `Accept` headers of the batch's requests.
        """
        return value

    def encode(self, value: Any, *, accept: str = "") -> Answer:
        """Encode ``value``; ``accept`` is the request's header. Raises `InferenceFailedError` for what it cannot."""
        raise NotImplementedError

    def response_content(self) -> dict[str, Any]:
        """Return the OpenAPI 3.1 *content* map of the answer."""
        raise NotImplementedError


def _check_artifact_name(name: str) -> str:
    if name in _TAKEN_NAMES:
        raise ValueError(f"`{name}` cannot name an artifact: functions know something else by this name")
    return name


_TAKEN_NAMES = frozenset({"get", "items", "keys", "task", "tasks", "values"})
"""Names that already have a meaning in `self.artifacts.<name>` or as a parameter."""

ArtifactName = Annotated[
    Name,
    AfterValidator(_check_artifact_name),
    Field(json_schema_extra={"not": {"enum": sorted(_TAKEN_NAMES)}}),
]


class ModelNeeds(NamedTuple):
    """The packages that a model needs, read without loading it."""

    modules: tuple[str, ...] = ()
    """Dotted names of modules that loading it imports."""
    versions: Mapping[str, str] = MappingProxyType({})
    """By the name of a distribution, the version that the model was made with."""
    later: tuple[str, ...] = ()
    """Dotted names of modules that functions in it import when they are called."""
    of_main: tuple[str, ...] = ()
    """Names of classes and functions that it takes from `__main__`, the script that made it."""
    made_of: str = ""
    """The class of the model itself, as `module:Class`; empty if that is not told."""
    is_pickle: bool = False
    """Whether loading it runs code that the file chooses, for a type of which that holds for some files alone."""
    requirements: tuple[str, ...] = ()
    """The model's own list of distributions, as requirements (PEP 508)."""


_INSIDE = "artifacts/model"
"""How deep a model's folder lies in a bundle: which names are ignored depends on it."""


def model_files(path: Path) -> list[Path]:
    """Return the files that a bundle takes of a model's file or folder."""
    return [path / inside for inside in walk_files(path, inside=_INSIDE)] if path.is_dir() else [path]


class ArtifactPlugin(Plugin):
    """How one kind of model is kept on disk. The model itself and its metadata live in the service, not here."""

    registry = ARTIFACTS

    name: ArtifactName = Field(kw_only=False)  # for type checkers: users pass it by position
    """The name under which functions find the model."""

    filename: ClassVar[str]
    """The name of the model's file or folder inside its directory of a bundle."""
    takes: ClassVar[Literal["file", "folder", "file or folder"]] = "file"
    """Whether the user's model is a file or a folder."""
    extensions: ClassVar[frozenset[str]] = frozenset()
    """The extensions of its files, in lower case; `claims` decides about such files."""
    written_by: ClassVar[str] = ""
    """The function that writes them, for messages."""
    is_pickle: ClassVar[bool] = False
    """Whether loading its files always runs code that they choose; the manifest's ``security.pickle`` decides about
    those, and about the others of which `ModelNeeds` says so."""
    needed_modules: ClassVar[tuple[str, ...]] = ()
    """Dotted names of the modules that loading any of its models imports; where these differ from model to model,
    `needs_of_file` and `needs_of_model` name them."""
    thread_bound: ClassVar[bool] = False
    """Whether a server must call the model in its API's thread, and never on the event loop."""
    preload_safe: ClassVar[bool] = False
    """Whether every model of the type, loaded in a process that then forks, answers in the children as before: it has
    no threads, no locks and no devices. `ArtifactSuite` tests it. Kappa's own servers load models after the fork."""
    system_packages: ClassVar[tuple[str, ...]] = ()
    """The Debian packages that it needs in an image, beside `requires`; in one with conda, `conda_packages` instead."""
    conda_packages: ClassVar[tuple[str, ...]] = ()
    """The same of conda's, for a service that takes packages from there."""

    takes_frames_alone: ClassVar[bool] = True
    """Whether the model needs frames to be those of pandas (see `InputAdapter.without_frames`)."""
    row_methods: ClassVar[frozenset[str]] = frozenset()
    """The model's own methods for which the rows of their argument do not depend on each other: an API that such a
    method answers is batched unless it says otherwise."""

    @property
    def compiling(self) -> Any:
        """How a build compiles the model (`kappa.spec.compiling.CompileOptions`); ``None`` if it does not."""
        return None

    @property
    def kept(self) -> ArtifactPlugin:
        """What keeps the model inside of a bundle: this plugin, unless a build compiles the model."""
        return self

    def __init__(self, name: str | None = None, /, **options: Any) -> None:
        named = {} if name is None else {"name": name}  # validation passes it by keyword, users by position
        super().__init__(**named, **options)

    def check(self, model: Any) -> None:
        """Raise `ConfigurationError` for an object that it cannot keep; called when one is packed."""

    def save(self, model: Any, directory: Path) -> None:
        """Write ``model`` into ``directory``, which exists and is empty."""
        raise NotImplementedError

    def load(self, directory: Path) -> Any:
        """Read the model back from a directory that `save` or `adopt` filled."""
        raise NotImplementedError

    def caller(self, model: Any, method: str, *, is_batch: bool) -> Callable[..., Any]:  # noqa: ARG002 - few care
        """Return what answers an API that names this ``method`` of the model: it is given what the input adapter makes.

        Called once, when a service is loaded: what depends on the model is decided here. ``is_batch`` says whether it
        is given the inputs of several requests, and returns one result for each. Raises `BundleError` if the model has
        no such method.
        """
        called = getattr(model, method, None)
        if not callable(called):
            kind = type(model).__name__
            raise BundleError(f"The artifact `{self.name}` is a `{kind}`, which has no method `{method}`.")
        return called  # type: ignore[no-any-return]

    def for_outputs(self, called: Callable[..., Any], names: tuple[str, ...]) -> Callable[..., Any]:  # noqa: ARG002 - few can
        """Return what answers with the outputs of these ``names`` alone; ``called`` is what `caller` returned.

        Others are left out of an answer anyway: this spares computing them. Raises `BundleError` for one that the model
        does not have.
        """
        return called

    def outputs_of_file(self, path: Path) -> tuple[str, ...]:  # noqa: ARG002 - most return a single value
        """Return the names of the outputs of `predict`, as far as a model's file or folder tells; nothing is run."""
        return ()

    def feature_names_of(self, model: Any) -> tuple[str, ...]:
        """Return the names of the columns that the model was fitted with, in their order; none if it knows none.

        The attribute is scikit-learn's, and that of every estimator with its interface.
        """
        return tuple(map(str, getattr(model, "feature_names_in_", ())))

    def first_row(self, model: Any) -> Mapping[str, Any] | Sequence[Any] | None:
        """Return a row to call the model with first: by the columns that it was fitted with, as many values as it takes
        if these have no names, or ``None`` if it does not know.

        ``n_features_in_`` is scikit-learn's, as above.
        """
        if names := self.feature_names_of(model):
            return dict.fromkeys(names, 1)
        count = getattr(model, "n_features_in_", None)
        return [1.5] * count if isinstance(count, int) else None

    def adopt(self, path: Path, directory: Path, *, link: bool = False) -> None:
        """Put a file or folder that the user made into ``directory`` as `load` expects it; ``link`` where possible."""
        target = directory / self.filename_of(path)
        if link:
            with suppress(OSError):  # Windows asks for a privilege
                target.symlink_to(path.resolve(), target_is_directory=path.is_dir())
                return
        if path.is_dir():
            copy_folder(path, target, inside=_INSIDE)
        else:
            shutil.copyfile(path, target)

    def filename_of(self, path: Path) -> str:  # noqa: ARG002 - most types have one format
        """Return what a file or folder of the user's is called inside a bundle: its format decides where `load` goes by
        that."""
        return self.filename

    def input_for(self, path: Path) -> str:  # noqa: ARG002 - most formats name nothing
        """Return the type of the input adapter that a first kappafile gives a model whose file does not say what it
        takes."""
        return "json"

    def needs_of_file(self, path: Path) -> ModelNeeds:  # noqa: ARG002 - most formats name nothing
        """Return what a model's file or folder names of the packages it needs; nothing of it is run."""
        return ModelNeeds(self.needed_modules)

    def needs_of_model(self, model: Any) -> ModelNeeds:  # noqa: ARG002
        """Return the same for a model that is packed from Python."""
        return ModelNeeds(self.needed_modules)

    def runs_code(self, needs: ModelNeeds) -> bool:
        """Return whether loading a model of these ``needs`` runs code that its file chooses."""
        return self.is_pickle or needs.is_pickle

    def problem_of(self, path: Path) -> str | None:
        """Return why ``path``, a file or folder of the user's, cannot be such a model; ``None`` if it may be one."""
        if not path.is_dir():
            return "it is a file, and such a model is a folder" if self.takes == "folder" else self.sniff(path)
        if self.takes == "file":
            return "it is a folder"
        strange = [(inside, why) for inside, why in entries_of(path, inside=_INSIDE) if why]
        if strange:
            inside, why = strange[0]
            return f"`{printable(inside.as_posix())}` in it is {why}"
        return self.sniff(path)

    def claims(self, path: Path) -> bool:
        """Return whether a file that is named like one of its models is of this type, where several would take it."""
        return self.problem_of(path) is None

    def sniff(self, path: Path) -> str | None:  # noqa: ARG002 - some formats have no signature
        """Return why ``path``, which is what the type ``takes``, cannot be such a model, or ``None``.

        It is judged by its first bytes, or by the names of its files, alone.
        """
        return None


class PluginOfService(Plugin):
    """Stands for a plugin whose class the service's own code brings, until that is imported (see `Plugin.resolved`)."""

    _content: Mapping[str, Any] | None = PrivateAttr(default=None)
    _requirements: tuple[str, ...] = PrivateAttr(default=())

    def described_by(self, *, content: Mapping[str, Any], requirements: Sequence[str]) -> PluginOfService:
        """Return this one with what its class says: the OpenAPI content, and the distributions that it needs."""
        described = self.model_copy()
        described._content = content  # noqa: SLF001 - of this class
        described._requirements = tuple(requirements)  # noqa: SLF001
        return described

    @property
    def requirements(self) -> tuple[str, ...]:
        """The distributions that its class needs; empty before `described_by`."""
        return self._requirements

    @property
    def reference(self) -> str:
        return self.type

    @property
    def class_name(self) -> str:
        return self.type.rpartition(":")[2]

    def resolved(self, load: Callable[[str], Any]) -> Any:
        plugin = load(self.type)
        family: type[Plugin] = next(
            base for base in (InputAdapter, OutputAdapter, ArtifactPlugin) if isinstance(self, base)
        )
        if not (isinstance(plugin, type) and issubclass(plugin, family)):
            raise BundleError(f"`{self.type}` is not a class of the family `{family.__name__}`.")
        options = self.model_dump(by_alias=True, exclude={"type"}, exclude_defaults=True)
        try:
            return plugin.model_validate({**options, "type": plugin.model_fields["type"].default})
        except ValidationError as exc:
            (problem, *_) = exc.errors()
            option = ".".join(str(part) for part in problem["loc"])
            if problem["type"] == "extra_forbidden":
                raise BundleError(f"`{self.type}` has no option `{option}`.") from None
            raise BundleError(f"`{self.type}`: {explained(problem, f'`{option}`')}") from None


class _InputOfService(PluginOfService, InputAdapter):
    model_config = ConfigDict(extra="allow")

    def request_content(self) -> dict[str, Any]:
        return dict(self._content or {"*/*": {}})


class _OutputOfService(PluginOfService, OutputAdapter):
    model_config = ConfigDict(extra="allow")

    def response_content(self) -> dict[str, Any]:
        return dict(self._content or {"*/*": {}})


class _ArtifactOfService(PluginOfService, ArtifactPlugin):
    model_config = ConfigDict(extra="allow")
    filename = ""
    takes = "file or folder"

    def adopt(self, path: Path, directory: Path, *, link: bool = False) -> None:  # noqa: ARG002 - says why not
        raise ConfigurationError(
            f"The artifact `{self.name}` is of the service's own type `{self.type}`, which only its own code can pack."
        )


_OF_SERVICE: tuple[type[Plugin], ...] = (_InputOfService, _OutputOfService, _ArtifactOfService)


def _plugin_of(registry: PluginRegistry, family: type[Plugin], value: Any) -> Any:
    """Read ``"name"`` or ``{"type": "name", …}`` into the registered class; instances pass through."""
    if isinstance(value, Plugin):
        return value
    if isinstance(value, type) and issubclass(value, Plugin):
        raise ValueError(f"an instance is needed: write `{value.__name__}()`")  # noqa: TRY004 - pydantic wants it
    options = {"type": value} if isinstance(value, str) else value
    if not isinstance(options, Mapping) or not isinstance(options.get("type"), str):
        raise ValueError(f'expected the name of an {registry.kind}, or a table with `type = "…"`')  # noqa: TRY004
    if ":" in options["type"]:
        (standing,) = (base for base in _OF_SERVICE if issubclass(base, family))
        return standing.model_validate(dict(options))
    try:
        plugin = registry.load(options["type"])
    except PluginNotFoundError as exc:
        raise ValueError(str(exc)) from None
    if not (isinstance(plugin, type) and issubclass(plugin, family)):
        raise ValueError(f"`{options['type']}` is not an {registry.kind}: it must be a `{family.__name__}`")  # noqa: TRY004
    return plugin.model_validate(dict(options))


def input_of(options: Any) -> InputAdapter:
    """Return the input adapter that a name or a table means; raises `ValueError`."""
    adapter: InputAdapter = _plugin_of(INPUT_ADAPTERS, InputAdapter, options)
    return adapter


def artifact_of(options: Any) -> ArtifactPlugin:
    """Return the artifact that a table means; raises `ValueError`."""
    artifact: ArtifactPlugin = _plugin_of(ARTIFACTS, ArtifactPlugin, options)
    return artifact


AnyInput = Annotated[SerializeAsAny[InputAdapter], BeforeValidator(input_of)]
AnyOutput = Annotated[
    SerializeAsAny[OutputAdapter], BeforeValidator(partial(_plugin_of, OUTPUT_ADAPTERS, OutputAdapter))
]
AnyArtifact = Annotated[SerializeAsAny[ArtifactPlugin], BeforeValidator(artifact_of)]
