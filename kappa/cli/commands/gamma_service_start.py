"""`kappa gamma-service-start`: the store of a team."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, get_args

import click

from kappa import actions
from kappa.cli.command import kappa_command
from kappa.cli.console import current_shell, print_result
from kappa.cli.serving import logging_as_asked
from kappa.log_format import LogFormat, LogLevel

if TYPE_CHECKING:
    from kappa.gamma.serving import Listening

__all__ = ["command"]


def _check_port(_: click.Context, __: click.Parameter, value: int) -> int:
    """Return a port; `click.IntRange` would add its limits to the page's help."""
    if not 0 <= value <= 65535:
        raise click.BadParameter(f"`{value}` is not a port: choose a number from 0 to 65535.")
    return value


_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)


@kappa_command(
    "gamma-service-start",
    examples=[
        "kappa gamma-service-start",
        "kappa gamma-service-start --db-url postgresql://kappa@db:5432/kappa --repo-base-url s3://bundles/team",
        "kappa gamma-service-start --repo-base-url s3://bundles/team --direct-transfer",
        "kappa gamma-service-start --auth --tls-cert server.pem --tls-key server.key --log-format json",
    ],
)
@click.option(
    "--db-url",
    envvar="KAPPA_GAMMA_DB_URL",
    help="Database URL following RFC-1738, and usually can include username, password, hostname, database name as well "
    "as optional keyword arguments for additional configuration",
)
@click.option(
    "--repo-base-url",
    envvar="KAPPA_GAMMA_REPO_BASE_URL",
    help="Base URL for storing saved BentoService bundle files, this can be a filesystem path(POSIX/Windows), or an S3 "
    'URL, usually starts with "s3://"',
)
@click.option(
    "--grpc-port",
    type=int,
    callback=_check_port,
    default=50051,
    envvar="KAPPA_GAMMA_GRPC_PORT",
    help="Port for Gamma server",
)
@click.option(
    "--ui-port",
    type=int,
    callback=_check_port,
    default=3000,
    envvar="KAPPA_GAMMA_UI_PORT",
    help="Port for Gamma web UI",
)
@click.option(
    "--ui/--no-ui",
    "has_ui",
    default=True,
    envvar="KAPPA_GAMMA_UI",
    help="Start Kappa GammaService without Web UI",
)
@click.option(
    "--host",
    default="0.0.0.0",  # noqa: S104 - the concepts page's
    show_default=True,
    envvar="KAPPA_GAMMA_HOST",
    help="The address that both ports listen on.",
)
@click.option(
    "--tls-cert", type=_FILE, envvar="KAPPA_GAMMA_TLS_CERT", help="Certificate (PEM): both ports then speak TLS."
)
@click.option("--tls-key", type=_FILE, envvar="KAPPA_GAMMA_TLS_KEY", help="Key (PEM) of the certificate.")
@click.option(
    "--tls-client-ca",
    type=_FILE,
    envvar="KAPPA_GAMMA_TLS_CLIENT_CA",
    help="Certificates (PEM) that sign those of clients: no others are answered.",
)
@click.option(
    "--auth",
    is_flag=True,
    envvar="KAPPA_GAMMA_AUTH",
    help="Answer only clients with a token, which `kappa gamma-token` makes.",
)
@click.option(
    "--direct-transfer",
    is_flag=True,
    envvar="KAPPA_GAMMA_DIRECT_TRANSFER",
    help="Let clients move blobs to and from the object store themselves, by URLs that it signs.",
)
@click.option(
    "--graceful-timeout",
    "graceful_timeout_s",
    type=click.FloatRange(min=0),
    default=30.0,
    show_default=True,
    metavar="SECONDS",
    envvar="KAPPA_GAMMA_GRACEFUL_TIMEOUT",
    help="How long running requests may take after SIGTERM.",
)
@click.option(
    "--log-format",
    type=click.Choice(get_args(LogFormat)),
    envvar="KAPPA_GAMMA_LOG_FORMAT",
    help="How the log is written: as text, or as one JSON object a line.  [default: text]",
)
def command(
    *,
    db_url: str | None,
    repo_base_url: str | None,
    grpc_port: int,
    ui_port: int,
    has_ui: bool,
    host: str,
    tls_cert: Path | None,
    tls_key: Path | None,
    tls_client_ca: Path | None,
    auth: bool,
    direct_transfer: bool,
    graceful_timeout_s: float,
    log_format: LogFormat | None,
) -> None:
    """Start Kappa GammaService for model management and deployment

    It keeps bundles in --repo-base-url and what is known of them in --db-url; by default, in the store of this machine.
    Each option can be set by a variable, as KAPPA_GAMMA_DB_URL. --no-ui opens no HTTP port at all.
    """
    shell = current_shell()
    log_level: LogLevel = "warning" if shell.is_quiet else "debug" if shell.is_verbose else "info"
    with logging_as_asked(log_format=log_format, log_level=log_level):
        settings = actions.server_settings()

        def show(listening: Listening) -> None:
            if not shell.is_quiet:
                print_result("\n".join(_banner(listening, is_debug=shell.is_verbose)))

        actions.start_gamma_service(
            db_url=db_url,
            repo_base_url=repo_base_url,
            host=host,
            grpc_port=grpc_port,
            ui_port=ui_port,
            has_ui=has_ui,
            tls_cert=tls_cert,
            tls_key=tls_key,
            tls_client_ca=tls_client_ca,
            auth=auth,
            direct_transfer=direct_transfer,
            graceful_timeout_s=graceful_timeout_s,
            log_format=log_format or settings.log_format,
            log_level=log_level,
            on_started=show,
        )


def _banner(listening: Listening, *, is_debug: bool) -> list[str]:
    """Return the concepts page's lines; the link to help is a command."""
    host = f"[{listening.host}]" if ":" in listening.host else listening.host
    address = f"{host}:{listening.grpc_port}"
    url = f"grpcs://{address}" if listening.is_encrypted else address
    scheme = "https" if listening.is_encrypted else "http"
    has_web = listening.web_port is not None
    return [
        "* Starting Kappa GammaService gRPC Server",
        f"* Debug mode: {'on' if is_debug else 'off'}",
        f"* Web UI: running on {scheme}://{host}:{listening.web_port}" if has_web else "* Web UI: off",
        f"* Running on {address} (Press CTRL+C to quit)",
        f"* Usage: `kappa config set gamma_service.url={url}`",
        "* Help and instructions: `kappa gamma-service-start --help`",
        *(["* Authentication: clients need a token of `kappa gamma-token create`"] if listening.has_auth else []),
        *([f"* Web server log can be found here: {listening.web_log}"] if has_web and listening.web_log else []),
    ]
