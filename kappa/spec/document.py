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

from kappa.spec.contracts import AnyArtifact, ArtifactName, ArtifactPlugin, FrozenMapping, Spec
from kappa.spec.declarations import DECLARATIONS
from kappa.spec.freezing import FrozenDict
from kappa.spec.naming import AlsoCalled
from kappa.spec.project_paths import NamesPath, PathText
from kappa.spec.service import (
    ApiName,
    ApiOptions,
    ApiSpec,
    ArtifactMethod,
    EnvSpec,
    ExampleSpec,
    FilesSpec,
    FunctionTarget,
    Name,
    Reference,
    SecuritySpec,
    ServiceFacts,
    ServiceName,
    ServiceSpec,
    ServingSpec,
    batch_by_default,
    exactly_one,
    requires_key,
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


class _NameAndClass(Spec):
    name: Annotated[ServiceName | None, AlsoCalled("title"), AlsoCalled("model_name", anywhere=True)] = None
    """Names the bundle, its package and its command; the class's name if `class` is given and this is not."""
    class_: Annotated[Reference | None, AlsoCalled("class_name"), AlsoCalled("predictor", anywhere=True)] = Field(
        default=None, alias="class"
    )
    """`module:Class`: the decorators of this class declare the APIs, artifacts and environment."""


class ServiceTable(ServiceFacts, _NameAndClass):  # the fields of the last base come first
    """`[service]`: what the service is called and who declares it."""


class ArtifactTable(Spec):
    """`[artifacts.NAME]`: `type`, `path` and `metadata`, and beside them the options of that type."""

    plugin: Annotated[AnyArtifact | None, AlsoCalled("artifact_type flavor format framework kind")] = None
    """What kind of model it is: how its file is read, and with which library. The class says it, if there is one."""
    path: Annotated[PathText, NamesPath("file or folder"), AlsoCalled("file filename location model_path uri")]
    """The model's file or folder, relative to the kappafile."""
    metadata: Annotated[FrozenMapping, AlsoCalled("meta")] = Field(default_factory=FrozenDict)
    """Facts about the model, e.g. its accuracy; shown wherever the bundle is, never changed."""

    @model_validator(mode="before")
    @classmethod
    def _split(cls, table: Any) -> Any:
        if not isinstance(table, Mapping) or "plugin" in table:
            return table
        entry = {key: table[key] for key in ("path", "metadata") if key in table}
        options = {key: value for key, value in table.items() if key not in entry}
        return {**entry, "plugin": options} if set(options) - {"name"} else entry


class _Target(Spec):
    function: Annotated[Reference | None, AlsoCalled("callable entrypoint handler target")] = None
    """`module:function`, called with the input, and by parameter name with artifacts and what `setup` returned."""
    artifact: Annotated[Name | None, AlsoCalled("model")] = None
    """The artifact whose own method answers."""
    method: Name | None = None
    """The artifact's method; `predict` if not given."""


class ApiTable(ApiOptions, _Target):  # the fields of the last base come first
    """`[apis.NAME]`: exactly one of `function` and `artifact`, and how requests and answers look."""

    model_config = ConfigDict(
        json_schema_extra={
            **exactly_one("artifact", "function"),
            "allOf": [{"if": requires_key("method"), "then": requires_key("artifact")}],
        }
    )

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
        options = {key: getattr(self, key) for key in self.model_fields_set & ApiOptions.model_fields.keys()}
        default = batch_by_default(self.input, is_row_wise=self.is_row_wise(artifacts))
        batch = default if self.batch is None else self.batch
        return ApiSpec(**{**options, "name": name, "target": target, "batch": batch})


class Kappafile(Spec):
    """A service declared: what it is called, what it needs, its models, its APIs, and how it is packed and served."""

    model_config = ConfigDict(
        json_schema_extra={
            "if": {"required": ["service"], "properties": {"service": requires_key("class")}},
            "then": {
                "properties": {
                    "artifacts": {"additionalProperties": {"not": {"required": ["type"]}}},
                    "apis": {"maxProperties": 0},
                }
            },
            "else": {
                "required": ["apis"],
                "properties": {
                    "service": requires_key("name"),
                    "artifacts": {"additionalProperties": {"required": ["type"]}},
                    "apis": {"minProperties": 1},
                },
            },
        }
    )

    kappafile: Annotated[Literal[1], AlsoCalled("schema_version spec spec_version version")]
    """The version of this format; always 1 for now."""
    requires_kappa: Annotated[Versions | None, AlsoCalled("kappa_version requires")] = None
    """The versions of Kappa that understand this file, e.g. `">=0.1"`; checked before anything else."""
    service: Annotated[ServiceTable, AlsoCalled("services")]
    env: Annotated[EnvSpec, AlsoCalled("conda docker")] = EnvSpec()
    bundle: Annotated[FilesSpec, AlsoCalled("build")] = FilesSpec()
    artifacts: Annotated[dict[ArtifactName, ArtifactTable], AlsoCalled("artifact model models runners")] = Field(
        default_factory=dict
    )
    """The models, and other data made by training, by the names under which functions find them."""
    apis: Annotated[dict[ApiName, ApiTable], AlsoCalled("api endpoint endpoints functions predict routes")] = Field(
        default_factory=dict
    )
    """The endpoints, by their names."""
    examples: Annotated[tuple[ExampleSpec, ...], AlsoCalled("example example_input samples tests")] = ()
    """Golden requests: replayed by `kappa test`, and by workers before they are ready."""
    serving: Annotated[ServingSpec, AlsoCalled("resources server")] = ServingSpec()
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
        plugins = {name: table.plugin for name, table in self.artifacts.items() if table.plugin is not None}
        apis = tuple(table.to_spec(name, plugins) for name, table in self.apis.items())
        parts = {part.field: part.in_kappafile(self) for part in DECLARATIONS}
        name = self.service.name or ""
        return ServiceSpec(**{**parts, "name": name, "artifacts": tuple(plugins.values()), "apis": apis})
