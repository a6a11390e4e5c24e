"""What both ends of gRPC agree on beside `registry.proto`."""

from __future__ import annotations

__all__ = ["ERROR_KEY", "MESSAGE_BYTES", "METADATA_BYTES"]

ERROR_KEY = "kappa-error"
"""The trailing metadata that names the class of a failure."""
MESSAGE_BYTES = 32 * 1024 * 1024
"""The largest message: an upload of 100,000 files begins with about 15 MiB; blobs move in smaller ones."""
METADATA_BYTES = 64 * 1024
"""The most metadata, in which messages of failures are sent."""
