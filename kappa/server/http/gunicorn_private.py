"""What Kappa uses of gunicorn 27 beyond its documented interface: its test names each that an upgrade moves."""

from __future__ import annotations

from collections.abc import Mapping

from gunicorn.app.base import BaseApplication
from gunicorn.arbiter import Arbiter
from gunicorn.asgi.parser import PythonProtocol
from gunicorn.asgi.protocol import _CACHED_SERVER_HEADER as CACHED_SERVER_HEADER
from gunicorn.asgi.protocol import _NO_COPY_BODY_SIZE as NO_COPY_BODY_SIZE
from gunicorn.asgi.protocol import ASGIProtocol
from gunicorn.asgi.protocol import _get_cached_date_header as get_cached_date_header
from gunicorn.workers.gasgi import ASGIWorker

__all__ = ["CACHED_SERVER_HEADER", "MEMBERS", "NO_COPY_BODY_SIZE", "get_cached_date_header"]

MEMBERS: Mapping[type, str] = {
    ASGIProtocol: "_arm_keepalive_timer _body_receiver _callback_parser _cancel_keepalive_timer _close_transport "
    "_closed _current_request _feed_callback_parser _flow_control _handle_http_request _http1_buffered "
    "_is_websocket_upgrade _keepalive _max_buffer_size _on_body _on_headers_complete _on_message_complete "
    "_pause_reading _reading_paused _request_ready _response_buffer _resume_reading _safe_write _send_body "
    "_send_error_response _send_response_start _serve_http_request _setup_callback_parser _will_close cfg "
    "connection_lost connection_made data_received req_count transport worker",
    ASGIWorker: "_get_ssl_context _quick_shutdown _serve _shutdown age alive app asgi cfg handle_exit_signal "
    "handle_quit_signal init_signals lifespan log loop notify ppid run servers sockets state worker_connections",
    PythonProtocol: "_buffer _chunk_size _finalize_headers _header_count _headers_list _limit_request_field_size "
    "_limit_request_fields _on_body _parse_chunked_body _parse_headers _parse_request_line _state feed http_version "
    "is_complete method path remaining reset",
    Arbiter: "APP_LOAD_ERROR WORKERS WORKER_BOOT_ERROR cfg halt kill_worker manage_workers murder_workers num_workers "
    "reload stop timeout",
    BaseApplication: "cfg load load_config",
}
"""The members that our subclass of each class overrides, calls or reads."""
