"""The wire format of gRPC: `registry.proto`, what is generated from it, and how values become messages."""

from __future__ import annotations

__all__: list[str] = []
