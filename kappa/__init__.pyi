"""The types of what `kappa` offers, written by `make generate` from the models of `kappa.spec`; a test compares."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal, Protocol, TypeVar

from kappa import adapters as adapters
from kappa import errors as errors
from kappa import frameworks as frameworks
from kappa import testing as testing
from kappa import types as types
from kappa.actions.loading import load as load
from kappa.bento import BentoService as BentoService
from kappa.remote.client import async_client as async_client
from kappa.remote.client import client as client
from kappa.spec.contracts import ArtifactPlugin, InputAdapter, OutputAdapter

_Decorated = TypeVar("_Decorated")

class _Decorator(Protocol):
    def __call__(self, decorated: _Decorated, /) -> _Decorated: ...

__all__: list[str]
__version__: str

def name(text: str) -> _Decorator:
    """Declare `name` in `[service]` of a kappafile. Names the bundle, its package and its command; the class's
    name if `class` is given and this is not.
    """

def ver(major: int, minor: int) -> _Decorator:
    """Declare `ver` in `[service]` of a kappafile. What its versions begin with: `1.2.<version>` for `{ major = 1,
    minor = 2 }`.
    """

def label(labels: Mapping[str, Any] | None = ..., /, **more: str) -> _Decorator:
    """Declare `labels` in `[service]` of a kappafile. Key/value pairs that identify the bundle.

    As keywords, `@kappa.label(team="growth")`, or as a mapping, `@kappa.label({"cicd-status": "success"})`.
    """

def web_static_content(path: str) -> _Decorator:
    """Declare `web_static_content` in `[service]` of a kappafile. A folder hosted at the service's root."""

def setup(reference: str) -> _Decorator:
    """Declare `setup` in `[service]` of a kappafile. `module:function`, called once per worker before it is ready;
    the mapping it returns is injected by name.
    """

def teardown(reference: str) -> _Decorator:
    """Declare `teardown` in `[service]` of a kappafile. `module:function`, called with what `setup` returned, as
    keywords, when a worker stops.
    """

def env(
    *,
    python: str | None = ...,
    pip_packages: Sequence[str] = ...,
    infer_pip_packages: bool = ...,
    requirements_txt_file: str | None = ...,
    pyproject: str | None = ...,
    pyproject_extras: Sequence[str] = ...,
    pyproject_groups: Sequence[str] = ...,
    pip_index_url: str | None = ...,
    pip_extra_index_url: Sequence[str] = ...,
    pip_trusted_host: Sequence[str] = ...,
    conda_channels: Sequence[str] = ...,
    conda_dependencies: Sequence[str] = ...,
    conda_override_channels: bool = ...,
    conda_env_yml_file: str | None = ...,
    system_packages: Sequence[str] = ...,
    build_packages: Sequence[str] = ...,
    setup_sh: str | None = ...,
    docker_base_image: str | None = ...,
    cuda: Literal["11.8", "12.1", "12.4", "12.6", "12.8", "12.9", "13.0"] | None = ...,
    dockerfile_template: str | None = ...,
    variables: Mapping[str, Any] = ...,
    secrets: Sequence[str] = ...,
    pip_dependencies: Sequence[str] = ...,
    auto_pip_dependencies: bool = ...,
    conda_overwrite_channels: bool = ...,
) -> _Decorator:
    """Declare `[env]` of a kappafile. What the service needs to run: the arguments of `@kappa.env`."""

def files(
    *,
    include: Sequence[str] = ...,
    exclude: Sequence[str] = ...,
    modules: Sequence[str] = ...,
    paths: Sequence[str] = ...,
    platforms: Sequence[Literal["linux/amd64", "linux/arm64", "macos/amd64", "macos/arm64", "windows/amd64"]] = ...,
    resolver: str = ...,
) -> _Decorator:
    """Declare `[bundle]` of a kappafile. How the service is packed: the kappafile's `[bundle]`, the arguments of
    `@kappa.files`.
    """

def artifacts(declared: ArtifactPlugin | Sequence[ArtifactPlugin]) -> _Decorator:
    """Declare `[artifacts.NAME]` of a kappafile.

    The models of the service, e.g. `[SklearnModelArtifact("model")]`; `artifact` and `artifacts` are the same.
    """

def artifact(declared: ArtifactPlugin | Sequence[ArtifactPlugin]) -> _Decorator:
    """Declare `[artifacts.NAME]` of a kappafile.

    The models of the service, e.g. `[SklearnModelArtifact("model")]`; `artifact` and `artifacts` are the same.
    """

def api(
    *,
    input: InputAdapter,
    output: OutputAdapter | None = ...,
    batch: bool | None = ...,
    outputs: Sequence[str] = ...,
    route: str | None = ...,
    max_batch_size: int = ...,
    max_latency_ms: float | None = ...,
    max_concurrency: int | None = ...,
    run_timeout: float = ...,
    isolate_failures: bool | None = ...,
    api_doc: str | None = ...,
    api_name: str | None = ...,
    mb_max_batch_size: int = ...,
    mb_max_latency: float | None = ...,
) -> _Decorator:
    """Declare `[apis.NAME]` of a kappafile.

    The method itself stays as it is and can be called directly, also without the `task` or `tasks` that it
    takes.

    Without `batch`, it takes batches where the input takes nothing else. Without `api_name` and `api_doc`, its
    name and its docstring are those of the endpoint.
    """

def example(
    name: str,
    *,
    api: str | None = ...,
    input: Any = ...,
    input_file: str | None = ...,
    expect: Any = ...,
    tolerance: float = ...,
) -> _Decorator:
    """Declare `[[examples]]` of a kappafile. Golden requests: replayed by `kappa test`, and by workers before they
    are ready.

    May be repeated. On a method that is an API, `api` is this one.
    """

def serving(
    *,
    workers: int | Literal["auto"] = ...,
    max_request_size_bytes: int = ...,
    max_decoded_bytes: int | None = ...,
    max_queue_requests: int = ...,
    examples: Literal["gate", "warn", "skip"] | None = ...,
    batch_placement: Literal["auto", "no-pause", "thread"] | None = ...,
    cors_origins: Sequence[str] | None = ...,
) -> _Decorator:
    """Declare `[serving]` of a kappafile. Defaults of the server: flag, then environment, then this, then
    `config.yml`.
    """

def security(*, pickle: Literal["allow", "warn", "forbid"] = ...) -> _Decorator:
    """Declare `[security]` of a kappafile. What a bundle may contain."""
