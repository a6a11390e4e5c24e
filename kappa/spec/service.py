"""The declaration of a service: one `ServiceSpec`, equal whether it came from a kappafile or from decorators."""

from __future__ import annotations

import keyword
import re
from collections.abc import Sequence
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, ConfigDict, Field, model_validator

from kappa.choices import BatchPlacement, ExamplesUse
from kappa.labels import LABEL, check_label
from kappa.origins import ORIGIN, check_origin
from kappa.spec.contracts import AnyArtifact, AnyInput, AnyOutput, FrozenMapping, FrozenValue, InputAdapter, Name, Spec
from kappa.spec.freezing import FrozenDict
from kappa.spec.naming import AlsoCalled, Argument
from kappa.spec.platforms import Platform
from kappa.spec.project_paths import ExcludedPattern, IncludedPattern, NamesPath, PathText, ProjectFile
from kappa.spec.texts import Line, one_line, shown
from kappa.tag import IDENTIFIER, check_identifier, check_name
from kappa.types import DecodingLimits

__all__ = [
    "REFERENCE",
    "RESERVED_NAMES",
    "ApiName",
    "ApiOptions",
    "ApiSpec",
    "ArtifactMethod",
    "CudaVersion",
    "EnvSpec",
    "ExampleSpec",
    "FilesSpec",
    "FunctionTarget",
    "Labels",
    "Name",
    "Origin",
    "PythonVersion",
    "Reference",
    "Route",
    "SecuritySpec",
    "ServiceFacts",
    "ServiceName",
    "ServiceSpec",
    "ServingSpec",
    "Variables",
    "VersionPrefix",
    "batch_by_default",
    "exactly_one",
    "requires_key",
]

RESERVED_NAMES = frozenset(
    {
        "index",
        "docs",
        "docs.json",
        "healthz",
        "readyz",
        "metrics",
        "metadata",
        "feedback",
        "static_content",
        "v2",
        "admin",
    }
)
"""Names and first route segments that belong to the server."""

_ENVIRONMENT_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*", re.ASCII)
_PYTHON = re.compile(r"3\.[1-9][0-9]")
_OLD_PYTHON = re.compile(r"(2|3)\.[0-9]")
_ROUTE = re.compile(r"[A-Za-z0-9_.~-]+(/[A-Za-z0-9_.~-]+)*", re.ASCII)
_DOTTED = r"[A-Za-z_]\w{0,254}(\.[A-Za-z_]\w{0,254})*"
REFERENCE = re.compile(rf"{_DOTTED}:{_DOTTED}", re.ASCII)


def _check_reference(text: str) -> str:
    if not REFERENCE.fullmatch(text):
        meant = _reference_meant(text)
        hint = f"did you mean `{meant}`?" if meant is not None else "write `module:function`, e.g. `handlers:predict`"
        text = text if len(text) <= 255 else f"{text[:60]}…"
        raise ValueError(f"`{text}` does not name anything: {hint}")
    return text


def _reference_meant(text: str) -> str | None:
    """Return the reference that a path, a dotted name or a call probably means, e.g. `./handlers.py:predict`."""
    spelled = text.strip().removesuffix("()").replace("::", ":").replace("\\", "/").removeprefix("./")
    if ":" not in spelled:
        head, dot, last = spelled.rpartition(".")
        spelled = f"{head}:{last}" if dot and last != "py" else ":".join(spelled.rsplit("/", 1))
    module, _, name = spelled.partition(":")
    meant = f"{module.removesuffix('.py').replace('/', '.')}:{name}"
    return meant if REFERENCE.fullmatch(meant) else None


def _check_api_name(text: str) -> str:
    if text in RESERVED_NAMES:
        raise ValueError(f"`{text}` is one of the server's own routes: choose another name")
    return check_identifier(text)


def _check_route(text: str) -> str:
    route = text.removeprefix("/")
    if not _ROUTE.fullmatch(route) or {".", ".."} & set(route.split("/")):
        raise ValueError(f"`{text}` is not a route: use path segments of letters, digits, `-`, `_`, `.` and `~`")
    if route.split("/")[0] in RESERVED_NAMES:
        raise ValueError(f"`/{route.split('/')[0]}` is one of the server's own routes: choose another one")
    return route


def _check_outputs(names: tuple[str, ...]) -> tuple[str, ...]:
    if twice := [name for name in names if names.count(name) > 1]:
        raise ValueError(f"`{twice[0]}` is named twice")
    return names


def _check_python(text: str) -> str:
    if _OLD_PYTHON.fullmatch(text):
        raise ValueError(f"Python {text} is too old: Kappa, which every bundle carries, needs 3.10 or newer")
    if not _PYTHON.fullmatch(text):
        raise ValueError(f'`{text}` is not a Python version: write major and minor as text, e.g. "3.11"')
    return text


def _check_variables(variables: Any) -> Any:
    for name, value in variables.items():
        if not _ENVIRONMENT_NAME.fullmatch(name):
            raise ValueError(f"`{name}` cannot name an environment variable")
        if not isinstance(value, str):
            raise ValueError(f"`{name}` must be text")  # noqa: TRY004 - pydantic turns ValueError into a diagnostic
        one_line(value)
    return variables


def _check_labels(labels: Any) -> Any:
    for key, value in labels.items():
        check_label(key, part="key")
        if not isinstance(value, str):
            raise ValueError(f"the label `{key}` must be text")  # noqa: TRY004
        check_label(value)
    return labels


def requires_key(key: str) -> dict[str, Any]:
    """Return the JSON Schema of a table that has a key; YAML's null is a key that is not given."""
    return {"required": [key], "properties": {key: {"not": {"type": "null"}}}}


def exactly_one(key: str, other: str) -> dict[str, Any]:
    """Return what a table's JSON Schema adds when it needs one of two keys."""
    return {"if": requires_key(key), "then": {"not": requires_key(other)}, "else": requires_key(other)}


_NO_PACKAGE = f"({'|'.join(keyword.kwlist)}|[Kk][Aa][Pp][Pp][Aa])"
_NO_ROUTE = rf"^/?({'|'.join(re.escape(name) for name in sorted(RESERVED_NAMES))})(/|$)|(^|/)\.\.?(/|$)"

Reference = Annotated[str, AfterValidator(_check_reference), Field(json_schema_extra=shown(REFERENCE))]
ServiceName = Annotated[
    str,
    AfterValidator(check_name),
    Field(json_schema_extra={**shown(IDENTIFIER), "maxLength": 128, "not": {"type": "string", **shown(_NO_PACKAGE)}}),
]
ApiName = Annotated[
    str,
    AfterValidator(_check_api_name),
    Field(json_schema_extra={**shown(IDENTIFIER), "not": {"enum": sorted(RESERVED_NAMES)}}),
]
OutputName = Annotated[str, Field(min_length=1)]
Route = Annotated[
    str,
    AfterValidator(_check_route),
    Field(json_schema_extra={**shown(rf"/?{_ROUTE.pattern}"), "not": {"type": "string", "pattern": _NO_ROUTE}}),
]
CudaVersion = Literal["11.8", "12.1", "12.4", "12.6", "12.8", "12.9", "13.0"]
Origin = Annotated[str, AfterValidator(check_origin), Field(json_schema_extra=shown(ORIGIN))]
PythonVersion = Annotated[str, AfterValidator(_check_python), Field(json_schema_extra=shown(_PYTHON))]
Variables = Annotated[
    FrozenMapping,
    AfterValidator(_check_variables),
    Field(
        json_schema_extra={
            "propertyNames": shown(_ENVIRONMENT_NAME),
            "additionalProperties": {"type": "string", **shown(r"[^\x00-\x1f]*")},
        }
    ),
]
Labels = Annotated[
    FrozenMapping,
    AfterValidator(_check_labels),
    Field(
        json_schema_extra={
            "propertyNames": shown(LABEL),
            "additionalProperties": {"type": "string", **shown(LABEL)},
        }
    ),
]


class FunctionTarget(Spec):
    """An API answered by a function, or by a method of the service's class."""

    function: Reference
    """`module:function`; for a class, `module:Class.method`."""


class ArtifactMethod(Spec):
    """An API answered by a model's own method, with no code at all."""

    artifact: Name
    """The artifact whose method is called."""
    method: Name = "predict"
    """The method's name."""


def batch_by_default(adapter: InputAdapter | type[InputAdapter], *, is_row_wise: bool = False) -> bool:
    """Return the default of `batch`: on where the adapter takes nothing else, or where rows are all that the adapter
    brings and ``is_row_wise`` says that what answers takes them one by one anyway."""
    return not adapter.supports_single or (is_row_wise and adapter.supports_batch and adapter.brings_rows())


class ApiOptions(Spec):
    """How an endpoint takes requests and answers them: what `[apis.NAME]` and `@kappa.api` say alike."""

    input: Annotated[AnyInput, AlsoCalled("adapter input_adapter input_type")]
    """How requests become arguments: the adapter's name, or a table with `type` and its options. `module:Class` names
    an adapter of your own code."""
    output: Annotated[AnyOutput, AlsoCalled("output_adapter output_type")] = Field(
        default="default", validate_default=True
    )
    """How return values become answers; `default` goes by the type of each value."""
    batch: Annotated[bool | None, AlsoCalled("batchable batching")] = None
    """Whether the function takes a batch of rows or requests, which must not depend on each other. If not given, it
    does where the input adapter takes nothing else, and where the adapter brings rows and a model's own method answers
    that takes them one by one."""
    outputs: Annotated[tuple[OutputName, ...], AfterValidator(_check_outputs), AlsoCalled("output_names")] = ()
    """The outputs that are answered, of those that the function or the model's method returns by name; all if not
    given."""
    route: Annotated[Route | None, AlsoCalled("path url")] = None
    """The URL path; the API's name if not given."""
    max_batch_size: Annotated[
        int, Field(ge=1, le=1_000_000), AlsoCalled("batch_size max_batch", former="mb_max_batch_size")
    ] = 1000
    """The most items that one batch holds: rows of frames, tensors and arrays; else requests."""
    max_latency_ms: Annotated[
        Annotated[float, Field(gt=0, allow_inf_nan=False)] | None,
        AlsoCalled("latency_ms max_latency", former="mb_max_latency"),
    ] = None
    """A target under load, in milliseconds; requests predicted to miss it are refused. An idle server never refuses."""
    max_concurrency: Annotated[int, Field(ge=1, le=1024)] | None = None
    """How many calls may run at once in a worker: 1 if not given, 16 for an `async def` that takes one request. For
    functions that wait for something else, or models that release the GIL while they compute."""
    run_timeout: Annotated[float, Field(ge=0.1, le=86_400)] = 60.0
    """How many seconds a call may take; then its requests are answered with 504, and the worker is replaced."""
    isolate_failures: bool | None = None
    """Whether a failed batch is run again in parts, to find the request at fault: that one fails, and the others get
    their answers. It is if not given. With `false`, for functions whose effects must not be repeated, all requests of
    a failed batch fail."""
    doc: Annotated[str, Argument("api_doc"), AlsoCalled("api_doc description")] = ""
    """What the endpoint does, for the reference and the OpenAPI document."""


class _NamedTarget(Spec):
    name: Annotated[ApiName, Argument("api_name")]
    """Names the endpoint on the command line, in the client and, unless `route` is given, in the URL."""
    target: FunctionTarget | ArtifactMethod
    """The function or method."""


class ApiSpec(ApiOptions, _NamedTarget):  # the fields of the last base come first
    """One endpoint."""

    batch: bool = False
    """Whether the function takes a batch: rows must not depend on each other."""

    @property
    def path(self) -> str:
        """The URL path below the service's root, without a leading slash."""
        return self.route or self.name

    @model_validator(mode="after")
    def _adapter_fits(self) -> ApiSpec:
        if self.batch and not self.input.supports_batch:
            raise ValueError(f"the input `{self.input.type}` cannot be batched: set `batch = false`")
        if not self.batch and not self.input.supports_single:
            raise ValueError(f"the input `{self.input.type}` always brings rows: set `batch = true`")
        if self.isolate_failures and not self.batch:
            raise ValueError("`isolate_failures` is about batches: set `batch = true`")
        return self


class EnvSpec(Spec):
    """What the service needs to run: the arguments of `@kappa.env`."""

    model_config = ConfigDict(
        json_schema_extra={
            "if": {"required": ["conda_override_channels"], "properties": {"conda_override_channels": {"const": True}}},
            "then": {
                "required": ["conda_channels"],
                "properties": {"conda_channels": {"type": "array", "minItems": 1}},
            },
        }
    )

    python: Annotated[PythonVersion | None, AlsoCalled("python_version requires_python", anywhere=True)] = None
    """The Python version as text, e.g. `"3.11"`; the building interpreter's if not given. The base image follows."""
    pip_packages: Annotated[
        tuple[Line, ...],
        AlsoCalled(
            "dependencies install_requires packages pip python_packages requirements",
            former="pip_dependencies",
            anywhere=True,
        ),
    ] = ()
    """Requirements (PEP 508), added to what is inferred; these win."""
    infer_pip_packages: Annotated[bool, AlsoCalled("infer_packages", former="auto_pip_dependencies", anywhere=True)] = (
        False
    )
    """Add the distributions that the bundled code imports, at their installed versions."""
    requirements_txt_file: Annotated[
        ProjectFile | None, AlsoCalled("python_requirements requirements_file requirements_txt", anywhere=True)
    ] = None
    """A requirements file; it replaces every other source of packages."""
    pyproject: ProjectFile | None = None
    """A `pyproject.toml` whose dependencies are taken, at the versions of an up-to-date `uv.lock` or `pylock.toml`."""
    pyproject_extras: tuple[Line, ...] = ()
    """Extras of `pyproject` whose dependencies are taken too (`[project.optional-dependencies]`)."""
    pyproject_groups: tuple[Line, ...] = ()
    """Dependency groups of `pyproject` that are taken too (`[dependency-groups]`, PEP 735)."""
    pip_index_url: Annotated[Line | None, AlsoCalled("index_url", anywhere=True)] = None
    """The package index, instead of PyPI; without a password, which belongs into the environment of the build."""
    pip_extra_index_url: Annotated[tuple[Line, ...], AlsoCalled("extra_index_url extra_index_urls", anywhere=True)] = ()
    """Further package indexes."""
    pip_trusted_host: Annotated[tuple[Line, ...], AlsoCalled("trusted_host", anywhere=True)] = ()
    """Hosts of indexes that have no valid certificate."""
    conda_channels: Annotated[tuple[Line, ...], AlsoCalled("channels", anywhere=True)] = ()
    """Where conda packages come from, before conda's own channels; instead of those of `conda_env_yml_file`."""
    conda_dependencies: Annotated[tuple[Line, ...], AlsoCalled("conda_packages", anywhere=True)] = ()
    """Conda packages that the image installs; they come before those of `conda_env_yml_file`."""
    conda_override_channels: Annotated[bool, AlsoCalled(former="conda_overwrite_channels")] = False
    """Take conda packages from `conda_channels` alone, not from conda's own default channels."""
    conda_env_yml_file: Annotated[ProjectFile | None, AlsoCalled("conda_env", anywhere=True)] = None
    """A conda environment file to start from."""
    system_packages: Annotated[tuple[Line, ...], AlsoCalled("apt apt_packages system_dependencies", anywhere=True)] = ()
    """Debian packages that the image installs."""
    build_packages: Annotated[tuple[Line, ...], AlsoCalled("build_dependencies", anywhere=True)] = ()
    """Debian packages that are there only while packages are compiled, e.g. `libpq-dev`; the image has none of them."""
    setup_sh: Annotated[
        str | None,
        NamesPath(packed="image", or_script=True),
        AlsoCalled("post_install run setup_script", anywhere=True),
    ] = None
    """A script that the image runs while it is built, before the service's packages are there: text if it has a line
    break or starts with `#!`, else a path. A shell runs it: the one that its first line names, or bash."""
    docker_base_image: Annotated[Line | None, AlsoCalled("base_image docker_image from image", anywhere=True)] = None
    """The image to start from; it needs bash and the right Python."""
    cuda: Annotated[CudaVersion | None, AlsoCalled("cuda_version", anywhere=True)] = None
    """The CUDA version as text, e.g. `"12.4"`: chooses the base image and where GPU builds of packages come from."""
    dockerfile_template: Annotated[PathText | None, NamesPath(packed="image")] = None
    """A Jinja template of your own that extends `Dockerfile.j2`, whose blocks it may add to or replace."""
    variables: Annotated[
        Variables, AlsoCalled("env_vars environment environment_variables envs vars", anywhere=True)
    ] = Field(default_factory=FrozenDict)
    """Environment variables set before the service's code is imported; the real environment wins."""
    secrets: Annotated[tuple[Name, ...], AlsoCalled("secret", anywhere=True)] = ()
    """Names of environment variables that must be set when the service starts; never their values."""


class FilesSpec(Spec):
    """How the service is packed: the kappafile's `[bundle]`, the arguments of `@kappa.files`."""

    include: Annotated[
        tuple[IncludedPattern, ...], AlsoCalled("includes"), AlsoCalled("file files", anywhere=True)
    ] = ()
    """Glob patterns of files to pack beside the code, relative to the project."""
    exclude: Annotated[tuple[ExcludedPattern, ...], AlsoCalled("excludes"), AlsoCalled("ignore", anywhere=True)] = ()
    """Glob patterns of files to leave out, code included."""
    modules: Annotated[
        tuple[PathText, ...], AlsoCalled("extra_modules packages"), AlsoCalled("external_package_dirs", anywhere=True)
    ] = ()
    """Local modules that no import statement shows."""
    paths: tuple[Annotated[PathText, NamesPath("folder of code")], ...] = ()
    """Further folders of your own code, which may lie outside of the project: packages, or folders of modules."""
    platforms: Annotated[tuple[Platform, ...], AlsoCalled("platform")] = ()
    """The systems that packages are pinned for; the building one if not given. Others than that need `uv`."""
    resolver: Annotated[Line, AlsoCalled("lock")] = "pip-compile"
    """What pins the packages: `pip-compile`, `uv`, or `installed` (what is installed here, without hashes)."""


class ExampleSpec(Spec):
    """A golden request: replayed by `kappa test`, and by workers before they are ready."""

    model_config = ConfigDict(json_schema_extra=exactly_one("input", "input_file"))

    name: Line
    """Says what the example shows."""
    api: Name
    """The API it calls."""
    input: Annotated[FrozenValue, AlsoCalled("body data payload request")] = None
    """The request body as a value, sent as JSON."""
    input_file: Annotated[PathText | None, NamesPath(packed="examples"), AlsoCalled("file")] = None
    """A file with the request body; its extension tells the media type."""
    expect: Annotated[FrozenValue, AlsoCalled("expected output response result")] = None
    """The answer as a value; not compared if not given."""
    tolerance: Annotated[float, Field(ge=0, allow_inf_nan=False), AlsoCalled("atol")] = 0.0
    """How far numbers in the answer may be from those expected, absolutely."""

    @model_validator(mode="after")
    def _one_input(self) -> ExampleSpec:
        if (self.input is None) == (self.input_file is None):
            raise ValueError("an example has either `input` or `input_file`")
        return self


_UNFOLDING = 8
"""How many times as large as the largest body a form may be, if nothing is given."""


class ServingSpec(Spec):
    """Defaults of the server: flag, then environment, then this, then `config.yml`."""

    workers: Annotated[
        Annotated[int, Field(ge=1, le=1024)] | Literal["auto"], AlsoCalled("num_workers threads worker")
    ] = 1
    """Processes, each with its own copy of the models; `auto` is as many as processors and memory allow."""
    max_request_size_bytes: Annotated[int, Field(ge=1), AlsoCalled("max_body_size")] = 20 * 1024 * 1024
    """Larger bodies are refused with 413."""
    max_decoded_bytes: Annotated[int, Field(ge=1)] | None = None
    """What the form that a body is decoded to may take in memory; more is refused with 413. Eight times
    `max_request_size_bytes` if not given."""
    max_queue_requests: Annotated[int, Field(ge=1), AlsoCalled("queue_size")] = 10_000
    """Requests that may wait per API and worker; more are refused with 503."""
    examples: ExamplesUse | None = None
    """Whether a version must answer its examples as they expect before it is served: `gate`, which is meant if nothing
    is given; `warn` only says what differs, and `skip` sends none."""
    batch_placement: BatchPlacement | None = None
    """Where batches run: `auto`, which is meant if nothing is given, learns whether a function runs best in its thread,
    on the event loop, or in its thread while the event loop is paused; `no-pause` never pauses it; `thread` always
    takes the thread."""
    cors_origins: tuple[Origin, ...] | None = None
    """The web pages of other sites that may ask in a browser (CORS), e.g. `https://app.example.com`; `*` means all.
    None may if not given."""

    @property
    def decoding_limits(self) -> DecodingLimits:
        """The limits of a decoded body."""
        return DecodingLimits(max_bytes=self.max_decoded_bytes or _UNFOLDING * self.max_request_size_bytes)


class SecuritySpec(Spec):
    """What a bundle may contain."""

    pickle: Annotated[Literal["allow", "warn", "forbid"], AlsoCalled("pickles")] = "warn"
    """Whether artifacts may be pickles, whose loading runs code that the file chooses."""


class VersionPrefix(Spec):
    """The numbers that a service's versions begin with: the arguments of `@kappa.ver`."""

    major: Annotated[int, Field(ge=0)]
    """Raised when clients have to change."""
    minor: Annotated[int, Field(ge=0)]
    """Raised when clients may use something new."""

    def __str__(self) -> str:
        return f"{self.major}.{self.minor}"


class ServiceFacts(Spec):
    """The facts of a service that `[service]` and the decorators of a class declare alike."""

    ver: VersionPrefix | None = None
    """What its versions begin with: `1.2.<version>` for `{ major = 1, minor = 2 }`."""
    doc: Annotated[str, AlsoCalled("docs"), AlsoCalled("description", anywhere=True)] = ""
    """What the service does; the README of the bundle."""
    labels: Annotated[Labels, AlsoCalled("tags")] = Field(default_factory=FrozenDict)
    """Key/value pairs that identify the bundle."""
    web_static_content: Annotated[
        PathText | None,
        NamesPath("folder", packed="web_static_content"),
        Argument("path"),
        AlsoCalled("static static_content", anywhere=True),
    ] = None
    """A folder hosted at the service's root."""
    setup: Annotated[Reference | None, Argument("reference"), AlsoCalled("on_startup startup")] = None
    """`module:function`, called once per worker before it is ready; the mapping it returns is injected by name."""
    teardown: Annotated[Reference | None, Argument("reference"), AlsoCalled("on_shutdown shutdown")] = None
    """`module:function`, called with what `setup` returned, as keywords, when a worker stops."""


class _Named(Spec):
    name: Annotated[ServiceName, Argument("text")]
    """Names the bundle, its package and its command."""
    service_class: Reference | None = None
    """`module:Class` when a `BentoService` class declares the service."""


class ServiceSpec(ServiceFacts, _Named):  # the fields of the last base come first
    """A service as declared, before anything is resolved. It says nothing of where the model files are."""

    env: EnvSpec = EnvSpec()
    artifacts: Annotated[tuple[AnyArtifact, ...], Argument("declared")] = ()
    apis: Annotated[tuple[ApiSpec, ...], Field(min_length=1)]
    examples: tuple[ExampleSpec, ...] = ()
    files: FilesSpec = FilesSpec()
    serving: ServingSpec = ServingSpec()
    security: SecuritySpec = SecuritySpec()

    def as_kept(self) -> ServiceSpec:
        """Return the service with what keeps its models inside of a bundle (see `ArtifactPlugin.kept`)."""
        return self.model_copy(update={"artifacts": tuple(artifact.kept for artifact in self.artifacts)})

    @model_validator(mode="after")
    def _consistent(self) -> ServiceSpec:
        artifacts = [artifact.name for artifact in self.artifacts]
        apis = {api.name for api in self.apis}
        paths: dict[str, str] = {}
        problems: list[str] = []
        problems += [f"two artifacts are called `{name}`" for name in _repeated(artifacts)]
        problems += [f"two APIs are called `{name}`" for name in _repeated([api.name for api in self.apis])]
        for api in self.apis:
            if isinstance(api.target, ArtifactMethod) and api.target.artifact not in artifacts:
                problems.append(
                    f"the API `{api.name}` calls the artifact `{api.target.artifact}`, which is not declared"
                )
            if (other := paths.setdefault(api.path, api.name)) != api.name:
                problems.append(f"the APIs `{other}` and `{api.name}` have the same route `/{api.path}`")
        problems += [
            f"the example `{e.name}` calls the API `{e.api}`, which is not declared"
            for e in self.examples
            if e.api not in apis
        ]
        if problems:
            raise ValueError("; ".join(problems))
        return self

    def version_of(self, version: str) -> str:
        """Return a version as bundles of this service have it: with `ver` before it, if that is declared."""
        return version if self.ver is None else f"{self.ver}.{version}"

    def api(self, name: str) -> ApiSpec:
        """Return the API of that name; `KeyError` if there is none."""
        for api in self.apis:
            if api.name == name:
                return api
        raise KeyError(name)


def _repeated(names: Sequence[str]) -> list[str]:
    return [name for name in dict.fromkeys(names) if names.count(name) > 1]
