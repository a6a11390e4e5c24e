"""The manifest of a bundle, `kappa.yml`. Everything after a build reads only this."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Callable, Mapping
from pathlib import Path, PurePath, PurePosixPath
from typing import Annotated, Any

from pydantic import AfterValidator, Field, ValidationError
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError
from ruamel.yaml.representer import SafeRepresenter

from kappa._files import digest_of_lines, strangeness
from kappa.errors import BundleError
from kappa.spec.compiling import CompileProof
from kappa.spec.contracts import FrozenMapping, Spec
from kappa.spec.freezing import FrozenDict
from kappa.spec.layout import MANIFEST_NAME, BundleLayout
from kappa.spec.service import Labels, ServiceSpec
from kappa.tag import Tag

__all__ = [
    "MAX_SIZE_BYTES",
    "SCHEMA_VERSION",
    "BundleManifest",
    "ResolvedArtifact",
    "ResolvedEnv",
    "bundle_digest",
    "canonical_json",
    "content_digest",
    "load_yaml",
    "manifest_of",
    "parse_tree",
    "read_manifest",
    "read_tree",
]

SCHEMA_VERSION = 1
_UNSAFE_TEXT = re.compile("[\r\x85\u2028\u2029\ufeff]")
MAX_SIZE_BYTES = 1 << 20  # the YAML parser reads 0.1 MB/s: a larger one is an attack or a mistake


def _check_inside(path: str) -> str:
    if PurePosixPath(path).is_absolute() or ".." in PurePosixPath(path).parts:
        raise ValueError(f"`{path}` leads out of the package")
    return path


class ResolvedEnv(Spec):
    """The environment as resolved: what an image or an installation needs."""

    python_version: str
    """Major and minor, e.g. `3.11`."""
    built_with_python: str = ""
    """The version of the Python that built it, e.g. `3.11.7`, where that is the same one."""
    docker_base_image: str
    """The image that the Dockerfile starts from."""
    requirements: tuple[str, ...]
    """The direct requirements, sorted: the user's, the plugins' and Kappa's run-time ones."""
    lock: str = BundleLayout(PurePosixPath()).lock.name
    """The hash-pinned lock inside the bundle."""
    resolver: str
    """The resolver of the lock, with its version."""
    platforms: tuple[str, ...] = ()
    """The systems that the lock is for, e.g. `linux_x86_64`; the building one if none is named."""
    unlocked: bool = False
    """Whether the pins have no hashes: they are the versions that were installed where it was built."""
    conda_environment: str = ""
    """The text of `environment.yml`; empty without conda packages."""


class ResolvedArtifact(Spec):
    """One artifact of the service, as built."""

    name: str
    metadata: FrozenMapping = Field(default_factory=FrozenDict)
    size_bytes: int
    """Of all its files together."""
    versions: FrozenMapping = Field(default_factory=FrozenDict)
    """By distribution, the version that the model was saved with, as far as its file says it; of one that was packed
    from Python, the installed version."""
    compiled: CompileProof | None = None
    """What proves that the model answers as the one that it was compiled from; nothing for one that was not."""


class BundleManifest(Spec):
    """One bundle: the service, its environment as resolved, and the digest of every file."""

    schema_version: int = SCHEMA_VERSION
    kappa_version: str
    """The version of Kappa that built it and whose wheel it carries."""
    version: str
    created_at: str
    """UTC, RFC 3339 with `Z` and microseconds."""
    service: ServiceSpec
    env: ResolvedEnv
    artifacts: tuple[ResolvedArtifact, ...] = ()
    code_paths: tuple[Annotated[str, AfterValidator(_check_inside)], ...] = ()
    """The folders of the package that modules are imported from beside the package itself, e.g. `src`."""
    labels: Labels = Field(default_factory=FrozenDict)
    """The service's labels and those given to the build."""
    content_digest: str
    """The digest of the content: code, models, lock and declaration."""
    files: FrozenMapping
    """The sha256 of every file but the two manifests, by POSIX path inside the bundle."""
    bundle_digest: str = ""
    """The digest in `Name@sha256:…`: of every file, and of this manifest without this key."""

    @property
    def name(self) -> str:
        return self.service.name

    @property
    def tag(self) -> Tag:
        return Tag(self.service.name, self.version)

    def to_tree(self) -> dict[str, Any]:
        """Return plain dicts and lists, in the order of the fields: what `kappa.yml` holds."""
        tree: dict[str, Any] = self.model_dump(mode="json", by_alias=True)
        for artifact in tree["artifacts"]:
            if artifact["compiled"] is None:
                del artifact["compiled"]
        tree["service"] = self.service.model_dump(mode="json", by_alias=True, exclude_none=True)
        return tree

    def to_yaml(self) -> str:
        buffer = io.StringIO()
        yaml = YAML(typ="safe", pure=True)
        yaml.Representer = _Representer
        yaml.default_flow_style = False
        yaml.sort_base_mapping_type_on_output = False  # type: ignore[assignment]
        yaml.width = 120
        yaml.dump(self.to_tree(), buffer)
        return buffer.getvalue()

    def sealed(self) -> BundleManifest:
        """Return this manifest with its own digest in it."""
        return self.model_copy(update={"bundle_digest": bundle_digest(self.to_tree())})


class _Representer(SafeRepresenter):
    """Quotes text with characters that YAML would read back as other ones."""

    def represent_str(self, data: str) -> Any:
        style = '"' if _UNSAFE_TEXT.search(data) else None
        return self.represent_scalar("tag:yaml.org,2002:str", data, style=style)


_Representer.add_representer(str, _Representer.represent_str)


def content_digest(files: Mapping[str, str], service: ServiceSpec) -> str:
    """Return the digest of what a service is: its content files (sha256 by path) and its declaration.

    The declaration without what only names it: its labels, and the beginning of its versions.
    """
    return digest_of_lines(
        files, then=canonical_json(service.model_dump(mode="json", by_alias=True, exclude={"labels", "ver"}))
    )


def bundle_digest(tree: Mapping[str, Any]) -> str:
    """Return what `bundle_digest` must be for a manifest as `to_tree` or `read_tree` gives it.

    It covers the tree as written: a later Kappa, whose models have further fields, finds the same digest.
    """
    rest = {key: value for key, value in tree.items() if key != "bundle_digest"}
    return digest_of_lines(tree["files"], then=canonical_json(rest))


def canonical_json(tree: Any) -> bytes:
    """Encode without blanks and in ASCII; keys keep their order, which means something: columns are a mapping."""
    return json.dumps(tree, separators=(",", ":")).encode()


def load_yaml(text: str) -> Any:
    """Return the values in a YAML text, by YAML 1.2; raises `YAMLError`, `ValueError` and `RecursionError`."""
    return YAML(typ="safe", pure=True).load(text)


def read_manifest(directory: Path, *, load: Callable[[str], Any] = load_yaml) -> BundleManifest:
    """Read ``<directory>/kappa.yml``; raises `BundleError` for one that is missing, too large, newer or broken.

    ``load`` reads its text; `load_quickly` is for those who read many.
    """
    return manifest_of(read_tree(directory, load=load), directory)


def manifest_of(tree: Mapping[str, Any], directory: PurePath) -> BundleManifest:
    """Return the manifest that `read_tree` found in ``directory``; raises `BundleError` for one that is broken."""
    try:
        return BundleManifest.model_validate(tree)
    except ValidationError as exc:
        first = exc.errors()[0]
        where = ".".join(map(str, first["loc"]))
        message = f"`{directory / MANIFEST_NAME}` is not a valid manifest: `{where}`: {first['msg']}."
        raise BundleError(message) from exc


def read_tree(directory: Path, *, load: Callable[[str], Any] = load_yaml) -> dict[str, Any]:
    """Read ``<directory>/kappa.yml`` as plain dicts and lists: what was written, whatever later versions add to it.

    Raises `BundleError` for a file that is missing, too large, newer, or no manifest at all.
    """
    path = directory / MANIFEST_NAME
    try:
        if strange := strangeness(path):
            raise BundleError(f"`{path}` is {strange}; a bundle's manifest is a plain file.")
        if (size := path.stat().st_size) > MAX_SIZE_BYTES:
            raise _too_large(path, size)
        data = path.read_bytes()
    except FileNotFoundError:
        raise BundleError(f"`{directory}` is not a bundle: it has no `{MANIFEST_NAME}`.") from None
    except OSError as exc:
        raise BundleError(f"`{path}` cannot be read: {exc}") from exc
    return parse_tree(data, path, load=load)


def parse_tree(data: bytes, path: PurePath, *, load: Callable[[str], Any] = load_yaml) -> dict[str, Any]:
    """Do the same with the content of a `kappa.yml`; ``path`` is what messages call it."""
    if len(data) > MAX_SIZE_BYTES:
        raise _too_large(path, len(data))
    try:
        tree = load(data.decode("utf-8"))
    except (ValueError, RecursionError, YAMLError) as exc:
        raise BundleError(f"`{path}` cannot be read: {exc}") from exc
    version = tree.get("schema_version") if isinstance(tree, dict) else None
    if not isinstance(tree, dict) or not isinstance(version, int):
        raise BundleError(f"`{path}` is not a bundle's manifest: it has no `schema_version`.")
    if version > SCHEMA_VERSION:
        raise BundleError(
            f"`{path}` has the schema version {version}; this Kappa reads up to {SCHEMA_VERSION}. "
            f"Upgrade to Kappa {tree.get('kappa_version', 'of that version')} or newer."
        )
    if _has_aliases(tree, set()):
        raise BundleError(f"`{path}` is not a bundle's manifest: it refers to parts of itself.")
    return tree


def _too_large(path: PurePath, size_bytes: int) -> BundleError:
    return BundleError(f"`{path}` has {size_bytes} bytes; a manifest over {MAX_SIZE_BYTES} bytes is refused.")


def _has_aliases(tree: Any, seen: set[int]) -> bool:
    """Return whether a part stands in two places: a few nested YAML aliases unfold to billions of values."""
    if not isinstance(tree, dict | list):
        return False
    if id(tree) in seen:
        return True
    seen.add(id(tree))
    return any(_has_aliases(part, seen) for part in (tree.values() if isinstance(tree, dict) else tree))
