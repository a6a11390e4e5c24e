"""Where the bytes of bundles are kept: folders of trees, and object stores."""

from __future__ import annotations

__all__: list[str] = []
