"""The kappafile as the user writes it: the shape of TOML, YAML and `[tool.kappa]` alike.

What the user wrote (`Kappafile`) is not what Kappa works with (`ServiceSpec` and the artifacts' sources): `to_spec`
turns the one into the other.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field, model_validator

from kappa.spec.contracts import AnyArtifact, AnyInput, AnyOutput, ArtifactName, ArtifactPlugin, FrozenMapping, Spec
from kappa.spec.freezing import FrozenDict
from kappa.spec.service import (
    ApiName,
    ApiSpec,
    ArtifactMethod,
    EnvSpec,
    ExampleSpec,
    FilesSpec,
    FunctionTarget,
    Labels,
    Name,
    ProjectPath,
    Reference,
    Route,
    SecuritySpec,
    ServiceName,
    ServiceSpec,
    ServingSpec,
    VersionPrefix,
    batch_by_default,
    exactly_one,
    given,
)

__all__ = ["ApiTable", "ArtifactSource", "ArtifactTable", "Kappafile", "ServiceTable"]


Versions = Annotated[
    str,
    Field(json_schema_extra={"pattern": r"^( *(~=|===?|!=|<=?|>=?) *v?[0-9][0-9A-Za-z.*+!_-]* *(,|$))*$"}),
]
"""A range of versions (PEP 440), checked before everything else."""


@dataclass(frozen=True, slots=True)
class ArtifactSource:
    """Where an artifact's model comes from at build time: a file the user made, or an object packed from Python."""

    path: Path | None = None
    value: Any = None
    metadata: Mapping[str, Any] | None = None


class ServiceTable(Spec):
    """`[service]`: what the service is called and who declares it."""

    name: ServiceName | None = None
    """Names the bundle, its package and its command; the class's name if `class` is given and this is not."""
    class_: Reference | None = Field(default=None, alias="class")
    """`module:Class`: the decorators of this class declare the APIs, artifacts and environment."""
    ver: VersionPrefix | None = None
    """What its versions begin with: `1.2.<version>` for `{ major = 1, minor = 2 }`."""
    doc: str = ""
    """What the service does; the README of the bundle."""
    labels: Labels = Field(default_factory=FrozenDict)
    """Key/value pairs that identify the bundle."""
    web_static_content: ProjectPath | None = None
    """A folder hosted at the service's root."""
    setup: Reference | None = None
    """`module:function`, called once per worker before it is ready; the mapping it returns is injected by name."""
    teardown: Reference | None = None
    """`module:function`, called with what `setup` returned, as keywords, when a worker stops."""


class ArtifactTable(Spec):
    """`[artifacts.NAME]`: `type`, `path` and `metadata`, and beside them the options of that type."""

    plugin: AnyArtifact | None = None
    """What kind of model it is: how its file is read, and with which library. The class says it, if there is one."""
    path: ProjectPath
    """The model's file or folder, relative to the kappafile."""
    metadata: FrozenMapping = Field(default_factory=FrozenDict)
    """Facts about the model, e.g. its accuracy; shown wherever the bundle is, never changed."""

    @model_validator(mode="before")
    @classmethod
    def _split(cls, table: Any) -> Any:
        if not isinstance(table, Mapping) or "plugin" in table:
            return table
        own = {key: table[key] for key in ("path", "metadata") if key in table}
        options = {key: value for key, value in table.items() if key not in own}
        return {**own, "plugin": options} if set(options) - {"name"} else own


class ApiTable(Spec):
    """`[apis.NAME]`: exactly one of `function` and `artifact`, and how requests and answers look."""

    model_config = ConfigDict(
        json_schema_extra={
            **exactly_one("artifact", "function"),
            "allOf": [{"if": given("method"), "then": given("artifact")}],
        }
    )

    function: Reference | None = None
    """`module:function`, called with the input, and by parameter name with artifacts and what `setup` returned."""
    artifact: Name | None = None
    """The artifact whose own method answers."""
    method: Name | None = None
    """The artifact's method; `predict` if not given."""
    input: AnyInput
    """How requests become arguments: the adapter's name, or a table with `type` and its options."""
    output: AnyOutput = Field(default="default", validate_default=True)
    """How return values become answers; `default` goes by the type of each value."""
    batch: bool | None = None
    """Whether the function takes a batch of rows or requests. If not given, it does where the input adapter takes
    nothing else, and where the adapter brings rows and a model's own method answers that takes them one by one."""
    route: Route | None = None
    """The URL path; the API's name if not given."""
    max_batch_size: Annotated[int, Field(ge=1, le=1_000_000)] = 1000
    """The most items that one batch holds: rows of frames, tensors and arrays; else requests."""
    max_latency_ms: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = None
    """A target under load, in milliseconds; requests predicted to miss it are refused. An idle server never refuses."""
    max_concurrency: Annotated[int, Field(ge=1, le=1024)] | None = None
    """How many calls may run at once in a worker: 1 if not given, 16 for an `async def` that takes one request. For
    functions that wait for something else, or models that let go of Python's lock while they compute."""
    run_timeout: Annotated[float, Field(ge=0.1, le=86_400)] = 60.0
    """How many seconds a call may take; then its requests are answered with 504, and the worker is replaced."""
    isolate_failures: bool | None = None
    """Whether a failed batch is run again in parts, to find the request at fault: that one fails, and the others get
    their answers. It is if not given. With `false`, for functions whose effects must not be repeated, all requests of
    a failed batch fail."""
    doc: str = ""
    """What the endpoint does."""

    @model_validator(mode="after")
    def _one_target(self) -> ApiTable:
        if (self.function is None) == (self.artifact is None):
            raise ValueError("an API has either `function` or `artifact`")
        if self.method is not None and self.artifact is None:
            raise ValueError("`method` goes with `artifact`")
        return self

    def is_row_wise(self, artifacts: Mapping[str, ArtifactPlugin]) -> bool:
        """Return whether a model's own method answers that takes rows one by one."""
        plugin = artifacts.get(self.artifact or "")
        return plugin is not None and (self.method or "predict") in plugin.row_methods

    def to_spec(self, name: str, artifacts: Mapping[str, ArtifactPlugin]) -> ApiSpec:
        target: FunctionTarget | ArtifactMethod
        if self.function is not None:
            target = FunctionTarget(function=self.function)
        else:
            target = ArtifactMethod(artifact=self.artifact or "", method=self.method or "predict")
        own = {"function", "artifact", "method", "batch"}
        given = {key: getattr(self, key) for key in self.model_fields_set - own}
        default = batch_by_default(self.input, is_row_wise=self.is_row_wise(artifacts))
        batch = default if self.batch is None else self.batch
        return ApiSpec(name=name, target=target, batch=batch, **given)


class Kappafile(Spec):
    """A service declared: what it is called, what it needs, its models, its APIs, and how it is packed and served."""

    model_config = ConfigDict(
        json_schema_extra={
            "if": {"required": ["service"], "properties": {"service": given("class")}},
            "then": {
                "properties": {
                    "artifacts": {"additionalProperties": {"not": {"required": ["type"]}}},
                    "apis": {"maxProperties": 0},
                }
            },
            "else": {
                "required": ["apis"],
                "properties": {
                    "service": given("name"),
                    "artifacts": {"additionalProperties": {"required": ["type"]}},
                    "apis": {"minProperties": 1},
                },
            },
        }
    )

    kappafile: Literal[1]
    """The version of this format; always 1 for now."""
    requires_kappa: Versions | None = None
    """The versions of Kappa that understand this file, e.g. `">=0.1"`; checked before anything else."""
    service: ServiceTable
    env: EnvSpec = EnvSpec()
    bundle: FilesSpec = FilesSpec()
    artifacts: dict[ArtifactName, ArtifactTable] = Field(default_factory=dict)
    """The models, and other data made by training, by the names under which functions find them."""
    apis: dict[ApiName, ApiTable] = Field(default_factory=dict)
    """The endpoints, by their names."""
    examples: tuple[ExampleSpec, ...] = ()
    """Golden requests: replayed by `kappa test`, and by workers before they are ready."""
    serving: ServingSpec = ServingSpec()
    security: SecuritySpec = SecuritySpec()

    @model_validator(mode="before")
    @classmethod
    def _name_artifacts(cls, document: Any) -> Any:
        """Tell each artifact its own name: the key of its table."""
        if not isinstance(document, Mapping) or not isinstance(document.get("artifacts"), Mapping):
            return document
        named = {
            name: {"name": name, **table} if isinstance(table, Mapping) and "name" not in table else table
            for name, table in document["artifacts"].items()
        }
        return {**document, "artifacts": named}

    def to_spec(self) -> ServiceSpec:
        """Return the service that this file declares alone; a file with `class` is completed by `build.classes`."""
        service = self.service
        plugins = {name: table.plugin for name, table in self.artifacts.items() if table.plugin is not None}
        return ServiceSpec(
            name=service.name or "",
            ver=service.ver,
            doc=service.doc,
            env=self.env,
            artifacts=tuple(plugins.values()),
            apis=tuple(table.to_spec(name, plugins) for name, table in self.apis.items()),
            setup=service.setup,
            teardown=service.teardown,
            web_static_content=service.web_static_content,
            examples=self.examples,
            files=self.bundle,
            serving=self.serving,
            security=self.security,
            labels=service.labels,
        )
