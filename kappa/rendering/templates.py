"""Templates, filled in from contexts: a context holds everything that its template may use.

Whatever a user wrote reaches a template's text only through a quoting filter of the language it stands in: `shquote`,
`pystr`, `dockerquote`, `mdcell`, `toml`, `tomlkey`, `yaml`. Names, versions and requirements are checked values
that need none.
"""

from __future__ import annotations

import json
import re
import shlex
from dataclasses import dataclass, fields
from functools import cache
from typing import Any, ClassVar

from kappa._resources import resource
from kappa.errors import ConfigurationError, exception_text
from kappa.wording import one_of

__all__ = [
    "Context",
    "dockerquote",
    "extension_problem",
    "mdcell",
    "render",
    "render_extension",
    "toml_value",
]


@dataclass(frozen=True, slots=True)
class Context:
    """The variables of one template; ``template`` is its path below `templates/`."""

    template: ClassVar[str]


def render(context: Context) -> str:
    """Render the template of ``context``; a name that the context lacks is an error, never an empty text."""
    text: str = _environment().get_template(context.template).render(_values(context))
    return text


def render_extension(context: Context, template: str, *, shown: str) -> str:
    """Render a user's ``template``, which may extend that of ``context``.

    Raises `ConfigurationError` for one that cannot be rendered; ``shown`` is what it is the template of.
    """
    import jinja2

    try:
        return str(_environment().from_string(template).render(_values(context)))
    except jinja2.TemplateError as exc:
        raise ConfigurationError(f"The template of {shown} cannot be rendered: {_message(exc)}.") from exc
    except Exception as exc:  # what the user's expressions raise
        raise ConfigurationError(f"The template of {shown} cannot be rendered: {exception_text(exc)}.") from exc


def extension_problem(context: type[Context], template: str) -> str | None:
    """Return why a text cannot be a user's template that may extend that of a context, as far as its syntax tells.

    A block that the extended template does not have would be rendered nowhere.
    """
    import jinja2
    from jinja2 import nodes

    try:
        tree = _environment().parse(template)
    except jinja2.TemplateSyntaxError as exc:
        return _message(exc)
    extended = context.template.rpartition("/")[2]
    parent = next((node.template for node in tree.body if isinstance(node, nodes.Extends)), None)
    if not isinstance(parent, nodes.Const) or parent.value != extended:
        return None
    blocks = set(_environment().get_template(context.template).blocks)
    for block in tree.body:
        if isinstance(block, nodes.Block) and block.name not in blocks:
            names = one_of(f"`{name}`" for name in sorted(blocks))
            return f"line {block.lineno}: there is no block `{block.name}` in `{extended}`, which has {names}"
    return None


def _values(context: Context) -> dict[str, Any]:
    return {field.name: getattr(context, field.name) for field in fields(context)}


def _message(exc: Any) -> str:
    line = getattr(exc, "lineno", None)
    return f"{f'line {line}: ' if line else ''}{str(exc.message).rstrip('.')}"


def dockerquote(text: str) -> str:
    """Quote one line of text as a value of `ENV` or `LABEL`: nothing in it is expanded or ends it."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("$", "\\$")
    return f'"{escaped}"'


def mdcell(text: str) -> str:
    """Make text fit into one cell of a Markdown table."""
    return " ".join(text.split()).replace("\\", "\\\\").replace("|", "\\|")


def toml_value(value: Any) -> str:
    """Return a JSON value without nulls as TOML writes it, in one line."""
    if isinstance(value, dict):
        return f"{{ {', '.join(f'{_toml_key(key)} = {toml_value(item)}' for key, item in value.items())} }}"
    if isinstance(value, list):
        return f"[{', '.join(map(toml_value, value))}]"
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")


def _toml_key(key: str) -> str:
    """Return a key as TOML writes it."""
    return key if _BARE.fullmatch(key) else toml_value(key)


def _yaml_value(value: Any) -> str:
    """Return a JSON value as YAML writes it, in one line."""
    return json.dumps(value, ensure_ascii=False)


_BARE = re.compile(r"[A-Za-z0-9_-]+", re.ASCII)
"""Keys of TOML that need no quotes."""


@cache
def _environment() -> Any:
    import jinja2
    from jinja2.sandbox import SandboxedEnvironment

    def load(name: str) -> str | None:
        path = f"bundle/{name}" if name == "Dockerfile.j2" else name
        try:
            return resource("templates", *path.split("/")).read_text(encoding="utf-8")
        except FileNotFoundError:
            return None

    environment = SandboxedEnvironment(
        loader=jinja2.FunctionLoader(load),
        undefined=jinja2.StrictUndefined,
        autoescape=jinja2.select_autoescape(("html.j2",)),
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters.update(
        shquote=shlex.quote,
        pystr=repr,
        dockerquote=dockerquote,
        mdcell=mdcell,
        toml=toml_value,
        tomlkey=_toml_key,
        yaml=_yaml_value,
    )
    return environment
