"""Kappa's kind of click command and group: lazy, with examples, quiet and verbose everywhere, one error boundary."""

from __future__ import annotations

import difflib
import keyword
import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib import import_module
from typing import Any

import click

from kappa.cli.boundary import asks_for_json, exit_code_of
from kappa.cli.console import Shell, narrating
from kappa.tag import check_namespace

__all__ = [
    "EXAMPLE_TAG",
    "KappaArgument",
    "KappaCommand",
    "LazyGroup",
    "kappa_command",
    "load_command",
    "named_namespace",
]

EXAMPLE_TAG = "IrisClassifier:latest"
"""The bundle of all examples; a bundle's own command leaves it out of its help."""


class KappaArgument(click.Argument):
    """An argument that must be given; ``meaning`` says what it is, and how one is found, where it is missing."""

    def __init__(self, *args: Any, meaning: Callable[[click.Context], str], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.meaning = meaning


class KappaCommand(click.Command):
    """A command with `--quiet`, `--verbose` and examples in its help; what it returns is the exit code.

    Each takes `--local` and `--namespace` as well; the help of those shows it that work on the bundles of a store.
    """

    def __init__(
        self,
        *args: Any,
        examples: Sequence[str] = (),
        is_live: bool = False,
        uses_store: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(*args, **kwargs)
        self.params += [*_store_options(hidden=not uses_store), *_common_options()]
        self.examples = tuple(examples)
        self.is_live = is_live
        self.fixed: Mapping[str, Any] = {}
        """Parameters that the user cannot name, because a bundle's own command has given them."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        try:
            return super().parse_args(ctx, args)
        except click.MissingParameter as exc:
            if not isinstance(exc.param, KappaArgument):
                raise
            message = f"Missing argument `{exc.param.human_readable_name}`: {exc.param.meaning(ctx)}"
            raise click.UsageError(message, ctx) from None

    def invoke(self, ctx: click.Context) -> Any:
        with _environment(ctx.meta.get(_OVERRIDES, {})), narrating(ctx.ensure_object(Shell), live=self.is_live):
            return super().invoke(ctx)

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        if self.examples:
            with formatter.section("Examples"):
                for example in self.examples:
                    formatter.write(f"{'':{formatter.current_indent}}{example}\n")


class LazyGroup(click.Group):
    """A group that knows its commands by name and one line of help, and imports one only when it is called.

    ``sections`` maps a heading of the help to the commands under it; ``load`` brings the command of a name.
    """

    def __init__(
        self,
        name: str,
        *,
        sections: Mapping[str, Mapping[str, str]],
        load: Callable[[str], click.Command] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(name, **kwargs)
        self.sections = sections
        self.load = load or load_command

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if not args and not ctx.resilient_parsing:  # which click 8.2 and later take for an error
            click.echo(ctx.get_help())
            ctx.exit()
        if args[:1] == ["help"]:  # what every tool understands, also `help COMMAND`
            args = [*args[1:], "--help"]
        return super().parse_args(ctx, ["--version"] if args == ["version"] else args)

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        return [name for commands in self.sections.values() for name in commands]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        return self.load(cmd_name) if cmd_name in self.list_commands(ctx) else None

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        name = args[0]
        if not name.startswith("-") and name not in self.list_commands(ctx):
            near = difflib.get_close_matches(name, self.list_commands(ctx), n=1)
            hint = f" Did you mean `{near[0]}`?" if near else ""
            raise click.UsageError(f"There is no command `{name}`.{hint}", ctx)
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        width = max(len(name) for commands in self.sections.values() for name in commands)
        for heading, commands in self.sections.items():
            with formatter.section(heading):
                formatter.write_dl([(name.ljust(width), text) for name, text in commands.items()])

    def main(  # type: ignore[override]  # click overloads it by `standalone_mode`, which only adds noise here
        self,
        args: Sequence[str] | None = None,
        prog_name: str | None = None,
        *,
        standalone_mode: bool = True,
        **extra: Any,
    ) -> Any:
        """Run, and exit with the code that `kappa.errors` gives to what happened."""
        if not standalone_mode:
            return super().main(args, prog_name, standalone_mode=False, **extra)
        shell = extra.setdefault("obj", Shell())
        shell.is_json = asks_for_json(sys.argv[1:] if args is None else args)
        run = super().main
        sys.exit(exit_code_of(lambda: run(args, prog_name, standalone_mode=False, **extra), shell))


def load_command(name: str) -> click.Command:
    """Import the command ``name`` of `kappa.cli.commands`."""
    module_name = f"{name}_" if keyword.iskeyword(name) else name.replace("-", "_")
    module = import_module(f"kappa.cli.commands.{module_name}")
    command: click.Command = module.command
    return command


def kappa_command(
    name: str,
    *,
    examples: Sequence[str],
    is_live: bool = False,
    uses_store: bool = False,
    cls: type[KappaCommand] = KappaCommand,
) -> Callable[[Any], KappaCommand]:
    """Make a function the command ``name``; its docstring is the help.

    ``is_live`` allows a spinner while it runs; ``uses_store`` shows the options that say which store is meant.
    """
    return click.command(name, cls=cls, examples=examples, is_live=is_live, uses_store=uses_store)


def _common_options() -> list[click.Option]:
    def remember(attribute: str) -> Callable[[click.Context, click.Parameter, bool], None]:
        def callback(ctx: click.Context, _: click.Parameter, value: bool) -> None:
            if value:
                setattr(ctx.ensure_object(Shell), attribute, value)

        return callback

    return [
        click.Option(
            ["-q", "--quiet"],
            is_flag=True,
            expose_value=False,
            callback=remember("is_quiet"),
            help="Hide all warnings and info logs",
        ),
        click.Option(
            ["--verbose", "--debug", "verbose"],
            is_flag=True,
            expose_value=False,
            callback=remember("is_verbose"),
            help="Show debug logs when running the command",
        ),
    ]


def _store_options(*, hidden: bool) -> list[click.Option]:
    return [
        click.Option(
            ["--local"],
            is_flag=True,
            expose_value=False,
            hidden=hidden,
            callback=_setting_of("url", lambda value: "" if value else None),
            help="Use the store of this machine, whatever server is configured.",
        ),
        click.Option(
            ["--namespace"],
            metavar="NAMESPACE",
            expose_value=False,
            hidden=hidden,
            callback=_setting_of("namespace", _checked_namespace),
            help="The namespace of names without one.  [default: `default`, or as configured]",
        ),
    ]


def _checked_namespace(namespace: str | None) -> str | None:
    try:
        return None if namespace is None else check_namespace(namespace)
    except ValueError as exc:
        raise click.BadParameter(f"{exc}.", param_hint="'--namespace'") from None


def _setting_of(
    key: str, text_of: Callable[[Any], str | None]
) -> Callable[[click.Context, click.Parameter, Any], None]:
    """Return a callback that lets an option override a setting of `gamma_service` for as long as the command runs."""

    def callback(ctx: click.Context, _: click.Parameter, value: Any) -> None:
        if not ctx.resilient_parsing and (text := text_of(value)) is not None:
            overrides = ctx.meta.setdefault(_OVERRIDES, {})
            overrides[f"KAPPA_GAMMA_SERVICE__{key.upper()}"] = text

    return callback


def named_namespace(ctx: click.Context) -> str | None:
    """Return what `--namespace` of a command says; ``None`` where it is not there."""
    overrides: Mapping[str, str] = ctx.meta.get(_OVERRIDES, {})
    return overrides.get("KAPPA_GAMMA_SERVICE__NAMESPACE")


_OVERRIDES = "kappa.cli.command.overrides"


@contextmanager
def _environment(overrides: Mapping[str, str]) -> Iterator[None]:
    """Set environment variables until the block ends: processes that the command starts see them, too."""
    before = {name: os.environ.get(name) for name in overrides}
    os.environ.update(overrides)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
