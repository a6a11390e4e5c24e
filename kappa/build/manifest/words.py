"""What people call things: the words of other tools for Kappa's keys, and the nearest of several words."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping

__all__ = ["WORDS_OF_OTHERS", "nearest", "normal", "translate"]

Table = tuple[str, ...]

_ENV = {
    "apt": "env.system_packages",
    "apt_packages": "env.system_packages",
    "base_image": "env.docker_base_image",
    "build_dependencies": "env.build_packages",
    "channels": "env.conda_channels",
    "conda_env": "env.conda_env_yml_file",
    "conda_packages": "env.conda_dependencies",
    "cuda_version": "env.cuda",
    "dependencies": "env.pip_packages",
    "docker_image": "env.docker_base_image",
    "env_vars": "env.variables",
    "environment": "env.variables",
    "environment_variables": "env.variables",
    "envs": "env.variables",
    "from": "env.docker_base_image",
    "extra_index_url": "env.pip_extra_index_url",
    "extra_index_urls": "env.pip_extra_index_url",
    "image": "env.docker_base_image",
    "index_url": "env.pip_index_url",
    "infer_packages": "env.infer_pip_packages",
    "install_requires": "env.pip_packages",
    "packages": "env.pip_packages",
    "pip": "env.pip_packages",
    "pip_dependencies": "env.pip_packages",
    "post_install": "env.setup_sh",
    "python_packages": "env.pip_packages",
    "python_requirements": "env.requirements_txt_file",
    "python_version": "env.python",
    "requirements": "env.pip_packages",
    "requirements_file": "env.requirements_txt_file",
    "requirements_txt": "env.requirements_txt_file",
    "requires_python": "env.python",
    "run": "env.setup_sh",
    "secret": "env.secrets",
    "setup_script": "env.setup_sh",
    "system_dependencies": "env.system_packages",
    "trusted_host": "env.pip_trusted_host",
    "vars": "env.variables",
}

WORDS_OF_OTHERS: Mapping[Table, Mapping[str, str]] = {
    (): {
        "api": "apis.NAME",
        "artifact": "artifacts.NAME",
        "build": "bundle",
        "conda": "env",
        "description": "service.doc",
        "docker": "env",
        "endpoint": "apis.NAME",
        "endpoints": "apis.NAME",
        "example": "examples",
        "example_input": "examples",
        "external_package_dirs": "bundle.modules",
        "file": "bundle.include",
        "files": "bundle.include",
        "functions": "apis.NAME",
        "ignore": "bundle.exclude",
        "kappa_version": "requires_kappa",
        "model": "artifacts.NAME",
        "model_name": "service.name",
        "models": "artifacts.NAME",
        "predict": "apis.NAME",
        "predictor": "service.class",
        "requires": "requires_kappa",
        "resources": "serving",
        "routes": "apis.NAME",
        "runners": "artifacts.NAME",
        "samples": "examples",
        "schema_version": "kappafile",
        "server": "serving",
        "services": "service",
        "spec": "kappafile",
        "spec_version": "kappafile",
        "static": "service.web_static_content",
        "static_content": "service.web_static_content",
        "tests": "examples",
        "version": "kappafile",
        **_ENV,
    },
    ("service",): {
        "class_name": "service.class",
        "description": "service.doc",
        "docs": "service.doc",
        "on_shutdown": "service.teardown",
        "on_startup": "service.setup",
        "predictor": "service.class",
        "shutdown": "service.teardown",
        "startup": "service.setup",
        "static": "service.web_static_content",
        "static_content": "service.web_static_content",
        "tags": "service.labels",
        "title": "service.name",
    },
    ("env",): _ENV,
    ("bundle",): {
        "extra_modules": "bundle.modules",
        "files": "bundle.include",
        "ignore": "bundle.exclude",
        "includes": "bundle.include",
        "excludes": "bundle.exclude",
        "lock": "bundle.resolver",
        "packages": "bundle.modules",
        "platform": "bundle.platforms",
    },
    ("artifacts", "NAME"): {
        "artifact_type": "artifacts.NAME.type",
        "file": "artifacts.NAME.path",
        "filename": "artifacts.NAME.path",
        "flavor": "artifacts.NAME.type",
        "format": "artifacts.NAME.type",
        "framework": "artifacts.NAME.type",
        "kind": "artifacts.NAME.type",
        "location": "artifacts.NAME.path",
        "meta": "artifacts.NAME.metadata",
        "model_path": "artifacts.NAME.path",
        "uri": "artifacts.NAME.path",
    },
    ("apis", "NAME"): {
        "adapter": "apis.NAME.input",
        "api_doc": "apis.NAME.doc",
        "batch_size": "apis.NAME.max_batch_size",
        "batchable": "apis.NAME.batch",
        "batching": "apis.NAME.batch",
        "callable": "apis.NAME.function",
        "description": "apis.NAME.doc",
        "entrypoint": "apis.NAME.function",
        "handler": "apis.NAME.function",
        "input_adapter": "apis.NAME.input",
        "input_type": "apis.NAME.input",
        "latency_ms": "apis.NAME.max_latency_ms",
        "max_batch": "apis.NAME.max_batch_size",
        "max_latency": "apis.NAME.max_latency_ms",
        "mb_max_batch_size": "apis.NAME.max_batch_size",
        "mb_max_latency": "apis.NAME.max_latency_ms",
        "model": "apis.NAME.artifact",
        "output_adapter": "apis.NAME.output",
        "output_type": "apis.NAME.output",
        "path": "apis.NAME.route",
        "target": "apis.NAME.function",
        "url": "apis.NAME.route",
    },
    ("examples", "NUMBER"): {
        "atol": "examples.NUMBER.tolerance",
        "body": "examples.NUMBER.input",
        "data": "examples.NUMBER.input",
        "expected": "examples.NUMBER.expect",
        "file": "examples.NUMBER.input_file",
        "output": "examples.NUMBER.expect",
        "payload": "examples.NUMBER.input",
        "request": "examples.NUMBER.input",
        "response": "examples.NUMBER.expect",
        "result": "examples.NUMBER.expect",
    },
    ("serving",): {
        "max_body_size": "serving.max_request_size_bytes",
        "num_workers": "serving.workers",
        "queue_size": "serving.max_queue_requests",
        "threads": "serving.workers",
        "worker": "serving.workers",
    },
    ("security",): {"pickles": "security.pickle"},
}
"""By table, other tools' words and the key they mean; those of the whole document are tried in every table."""


def normal(word: str) -> str:
    """Return a word as Kappa would spell it: lower case, with ``_``."""
    return word.strip().lower().replace("-", "_").replace(" ", "_")


def translate(word: str, table: Table) -> str | None:
    """Return the key that another tool's word means, dotted from the top of the document."""
    spelled = normal(word)
    return WORDS_OF_OTHERS.get(table, {}).get(spelled) or WORDS_OF_OTHERS[()].get(spelled)


def nearest(word: str, known: Iterable[str], *, cutoff: float = 0.75) -> str | None:
    """Return the known word that was most likely meant, if any comes near."""
    by_spelling = {normal(candidate): candidate for candidate in known}
    found = difflib.get_close_matches(normal(word), by_spelling, n=1, cutoff=cutoff)
    return by_spelling[found[0]] if found else None
