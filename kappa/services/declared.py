"""`DeclaredService`, a service declared in Python: its class is decorated, its instances hold models."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from datetime import datetime, timezone
from typing import Any, TypeVar

from kappa.errors import ConfigurationError, UsageError
from kappa.services.declaring import API_MARK, declared_artifacts, declared_spec
from kappa.services.packed import Artifact, Artifacts, Model, frozen_metadata
from kappa.spec.service import ApiSpec, EnvSpec, ServiceSpec
from kappa.tag import check_version, default_version

__all__ = ["DeclaredService"]

Service = TypeVar("Service", bound="DeclaredService")


class DeclaredService:
    """A service declared in Python, with its models; `kappa.BentoService` adds what can be done with it."""

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        ours = [base for base in cls.__mro__ if base.__module__.partition(".")[0] == "kappa"]
        for name, member in vars(cls).items():
            if hasattr(member, API_MARK) and any(name in vars(base) for base in ours):
                raise ConfigurationError(
                    f"`{cls.__name__}.{name}` cannot be an API: every service has a `{name}` already. "
                    f'Rename the method; `api_name="{name}"` keeps the endpoint\'s name.'
                )

    # -- models

    @property
    def artifacts(self) -> Artifacts:
        """The packed or loaded models: ``artifacts.model`` is a model, ``artifacts["model"].metadata`` its metadata."""
        return self.__dict__.setdefault("_artifacts", Artifacts())  # type: ignore[no-any-return]

    @property
    def artifact(self) -> Artifacts:
        """The same as `artifacts`."""
        return self.artifacts

    def pack(self: Service, name: str, model: Model, *, metadata: Mapping[str, Any] | None = None) -> Service:
        """Give the declared artifact ``name`` its model; returns the service, so that calls can be chained."""
        declared = {artifact.name: artifact for artifact in declared_artifacts(type(self))}
        if name not in declared:
            names = ", ".join(f"`{declared_name}`" for declared_name in declared) or "none"
            raise ConfigurationError(f"`{type(self).__name__}` declares no artifact `{name}`; declared are {names}.")
        if not (metadata is None or isinstance(metadata, Mapping)):
            raise ConfigurationError(f"The metadata of `{name}` must be a mapping, not `{type(metadata).__name__}`.")
        declared[name].check(model)
        packed = Artifact(model, frozen_metadata(name, metadata))
        self.__dict__["_artifacts"] = Artifacts({**self.artifacts, name: packed})
        return self

    # -- what it is

    @property
    def name(self) -> str:
        """The service's name: that of the class, unless declared otherwise."""
        return self._spec.name

    @property
    def env(self) -> EnvSpec:
        """What it needs to run, as declared."""
        return self._spec.env

    @property
    def inference_apis(self) -> list[ApiSpec]:
        """Its APIs, in the order in which they are declared."""
        return list(self._spec.apis)

    def get_inference_api(self, api_name: str | None = None) -> ApiSpec:
        """Return the API of a name, or the first one; raises `UsageError` that says which there are."""
        if api_name is None:
            return self._spec.apis[0]
        try:
            return self._spec.api(api_name)
        except KeyError:
            names = ", ".join(f"`{api.name}`" for api in self._spec.apis)
            raise UsageError(f"`{self.name}` has no API `{api_name}`; it has {names}.") from None

    @property
    def _spec(self) -> ServiceSpec:
        loaded: ServiceSpec | None = self.__dict__.get("_loaded_spec")
        return declared_spec(type(self)) if loaded is None else loaded

    @property
    def is_loaded(self) -> bool:
        """Whether it came from a bundle, or is what a server answers with, rather than from its class."""
        return "_loaded_spec" in self.__dict__

    # -- versions

    @property
    def version(self) -> str:
        """The version of the bundle that it was loaded from or last saved as; else what the next `save` will use."""
        version: str | None = self.__dict__.get("_version")
        return self.set_version() if version is None else version

    @property
    def tag(self) -> str:
        """``name:version``."""
        return f"{self.name}:{self.version}"

    def set_version(self, version: str | None = None) -> str:
        """Decide the version of the next `save`: ``version``, or what `versioneer` makes. Returns it.

        With `@kappa.ver(1, 2)` it becomes ``1.2.<version>``.
        """
        next_version = self.versioneer() if version is None else version
        try:
            made = check_version(self._spec.version_of(next_version))
        except ValueError as exc:
            raise UsageError(f"{exc}.") from None
        self.__dict__.update(_version=made, _next_version=next_version)
        return made

    def versioneer(self) -> str:
        """Make a version: the UTC time and six random hex digits. Override it to name versions in another way."""
        return default_version(secrets.token_hex(3), at=datetime.now(timezone.utc))
