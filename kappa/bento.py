"""`BentoService`, the base of services declared in Python, with what can be done with an instance: saved, served."""

from __future__ import annotations

import os
from collections.abc import Mapping

from kappa import actions
from kappa.errors import UsageError
from kappa.services.declared import DeclaredService
from kappa.services.loading import end_script

__all__ = ["BentoService"]


class BentoService(DeclaredService):
    """The base of a prediction service declared in Python: subclass it, decorate it, pack it, save it.

    >>> service = IrisClassifier().pack("model", classifier)  # doctest: +SKIP
    >>> service.predict([[5.1, 3.5, 1.4, 0.2]])               # the method itself, no server  # doctest: +SKIP
    >>> path = service.save()                                 # doctest: +SKIP
    """

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
        if not (labels is None or isinstance(labels, Mapping)):
            raise UsageError(f"`labels` must be a mapping of text to text, not `{type(labels).__name__}`.")
        end_script(f"save `{type(self).__name__}`")
        if version is None and type(self).versioneer is not BentoService.versioneer:
            self.set_version(self.__dict__.get("_next_version"))
        decided: str | None = self.__dict__.get("_next_version") if version is None else version
        built = actions.save_service(self, version=decided, labels=labels, output=output, no_try=no_try)
        self.__dict__["_version"] = built.manifest.version
        self.__dict__.pop("_next_version", None)  # the next one has a version of its own
        return str(built.directory)

    def containerize(self, tag: str | None = None, *, push: bool = False) -> str:
        """Save a bundle, make an image of it with Docker or podman, and return the image's name.

        Without ``tag``, that is the name of the service in small letters with the version.
        """
        return actions.containerize(self.save(), tags=[tag] if tag is not None else (), push=push).tags[0]

    def start_dev_server(self, port: int | None = None) -> str:
        """Serve this instance at 127.0.0.1 in the background, and return the URL once it answers.

        Without ``port``, it is 5000 or the next that is free. Calling it again serves what is packed now.
        """
        end_script(f"serve `{type(self).__name__}`")
        self.stop_dev_server()
        self.__dict__["_dev_server"] = server = actions.start_dev_server(self, port=port)
        return server.url

    def stop_dev_server(self) -> None:
        """Stop what `start_dev_server` started; does nothing if nothing runs."""
        if (server := self.__dict__.pop("_dev_server", None)) is not None:
            server.stop()
