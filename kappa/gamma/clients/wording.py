"""What users are told of a server that does not answer."""

from __future__ import annotations

import re

from kappa.errors import GammaUnreachableError
from kappa.gamma.clients.addresses import Address

__all__ = ["unreachable"]

_ATTEMPT = re.compile(
    r"failed to connect to all addresses; last error: [A-Z_]+: \S+: (?:Failed to connect to remote host: )?"
    r"|\[Errno -?\d+\] "
)
"""What gRPC and the system write before the reason that a connection failed for."""


def unreachable(address: Address, reason: str) -> GammaUnreachableError:
    """Return the failure of a server that does not answer, for a reason."""
    text = _ATTEMPT.sub("", reason.strip(), count=1).rstrip(".") or "the connection broke"
    encrypted = "certificate" in text.lower() or "ssl" in text.lower()
    advice = (
        "Name the file of the certificates that signed the server's in `gamma_service.tls_ca`"
        if encrypted
        else "See that `kappa gamma-service-start` runs there, correct the address with `kappa config set "
        "gamma_service.url=HOST:PORT`"
    )
    return GammaUnreachableError(
        f"The Gamma server `{address}` does not answer: {text}. {advice}, or use the store of this machine with "
        "`--local`."
    )
