"""Who may use a Gamma server that was started with `--auth`: tokens at its doors, roles and scopes behind them."""

from __future__ import annotations

__all__: list[str] = []
