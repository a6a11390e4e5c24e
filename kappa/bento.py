"""`BentoService`, the base of services declared in Python: a class is declared, its instances hold models."""

from __future__ import annotations

import os
import secrets
from collections.abc import Mapping
from datetime import datetime, timezone
from typing import Any, TypeVar

from kappa.errors import ConfigurationError, UsageError
from kappa.services.declaring import declared_artifacts, declared_spec
from kappa.services.loading import end_script
from kappa.services.packed import Artifact, Artifacts, Model, frozen_metadata
from kappa.spec.service import ApiSpec, EnvSpec, ServiceSpec
from kappa.tag import check_version, default_version

__all__ = ["BentoService"]

Service = TypeVar("Service", bound="BentoService")


class BentoService:
    """The base of a prediction service declared in Python: subclass it, decorate it, pack it, save it.

    >>> service = IrisClassifier().pack("model", classifier)  # doctest: +SKIP
    >>> service.predict([[5.1, 3.5, 1.4, 0.2]])               # the method itself, no server  # doctest: +SKIP
    >>> path = service.save()                                 # doctest: +SKIP
    """

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        for name, member in vars(cls).items():
            if name in _MEMBERS and hasattr(member, "__kappa_api__"):
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
        declared = [artifact.name for artifact in declared_artifacts(type(self))]
        if name not in declared:
            known = ", ".join(f"`{known}`" for known in declared) or "none"
            raise ConfigurationError(f"`{type(self).__name__}` declares no artifact `{name}`; declared are {known}.")
        if not (metadata is None or isinstance(metadata, Mapping)):
            raise ConfigurationError(f"The metadata of `{name}` must be a mapping, not `{type(metadata).__name__}`.")
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
            known = ", ".join(f"`{api.name}`" for api in self._spec.apis)
            raise UsageError(f"`{self.name}` has no API `{api_name}`; it has {known}.") from None

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
        known: str | None = self.__dict__.get("_version")
        return self.set_version() if known is None else known

    @property
    def tag(self) -> str:
        """``name:version``."""
        return f"{self.name}:{self.version}"

    def set_version(self, version: str | None = None) -> str:
        """Decide the version of the next `save`: ``version``, or what `versioneer` makes. Returns it.

        With `@kappa.ver(1, 2)` it becomes ``1.2.<version>``.
        """
        given = self.versioneer() if version is None else version
        try:
            made = check_version(self._spec.version_of(given))
        except ValueError as exc:
            raise UsageError(f"{exc}.") from None
        self.__dict__.update(_version=made, _next_version=given)
        return made

    def versioneer(self) -> str:
        """Make a version: the UTC time and six random hex digits. Override it to name versions in another way."""
        return default_version(secrets.token_hex(3), at=datetime.now(timezone.utc))

    # -- what is done with it

    def save(self, *, version: str | None = None, labels: Mapping[str, str] | None = None, no_try: bool = False) -> str:
        """Build a bundle, put it into the store, and return its path.

        Without ``version``, it is the one that `set_version` decided, or is made from the time and the content. The
        packages are resolved once: as long as the requirements stay the same, the same lock is used. Unless ``no_try``,
        the code is imported and the models are loaded once in a fresh process, from the bundle alone.
        """
        return self._save(None, version, labels, no_try=no_try)

    def save_to_dir(
        self,
        path: str | os.PathLike[str],
        *,
        version: str | None = None,
        labels: Mapping[str, str] | None = None,
        no_try: bool = False,
    ) -> str:
        """Build a bundle as the folder ``path``, in place of an earlier one, without the store; returns the path."""
        return self._save(path, version, labels, no_try=no_try)

    def _save(
        self,
        output: str | os.PathLike[str] | None,
        version: str | None,
        labels: Mapping[str, str] | None,
        *,
        no_try: bool,
    ) -> str:
        from kappa.actions.building import save_service

        if not (labels is None or isinstance(labels, Mapping)):
            raise UsageError(f"`labels` must be a mapping of text to text, not `{type(labels).__name__}`.")
        end_script(f"save `{type(self).__name__}`")
        if version is None and type(self).versioneer is not BentoService.versioneer:
            self.set_version(self.__dict__.get("_next_version"))
        decided: str | None = self.__dict__.get("_next_version") if version is None else version
        built = save_service(self, version=decided, labels=labels, output=output, no_try=no_try)
        self.__dict__["_version"] = built.manifest.version
        self.__dict__.pop("_next_version", None)  # the next one has a version of its own
        return str(built.directory)

    def containerize(self, tag: str | None = None, *, push: bool = False) -> str:
        """Save a bundle, make an image of it with Docker or podman, and return the image's name.

        Without ``tag``, that is the name of the service in small letters with the version.
        """
        from kappa.actions.images import containerize

        return containerize(self.save(), tags=[tag] if tag is not None else (), push=push).tags[0]

    def start_dev_server(self, port: int | None = None) -> str:
        """Serve this instance at 127.0.0.1 in the background, and return the URL once it answers.

        Without ``port``, it is 5000 or the next that is free. Calling it again serves what is packed now.
        """
        from kappa.actions.dev_server import start_dev_server

        end_script(f"serve `{type(self).__name__}`")
        self.stop_dev_server()
        self.__dict__["_dev_server"] = server = start_dev_server(self, port=port)
        return server.url

    def stop_dev_server(self) -> None:
        """Stop what `start_dev_server` started; does nothing if nothing runs."""
        if (server := self.__dict__.pop("_dev_server", None)) is not None:
            server.stop()


_MEMBERS = frozenset(name for name in vars(BentoService) if not name.startswith("_"))
