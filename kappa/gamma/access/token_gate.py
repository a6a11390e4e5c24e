"""The gate of a server with `--auth`: it lets in who shows a valid token."""

from __future__ import annotations

from contextlib import suppress

from kappa.errors import GammaError, UnauthenticatedError
from kappa.gamma.access.failed_logins import FailedLogins
from kappa.gamma.access.gate import Admitted
from kappa.gamma.access.roles import guarded
from kappa.gamma.access.tokens import TokenText, is_right
from kappa.gamma.protocols.callers import Caller
from kappa.gamma.service.gamma_service import GammaService

__all__ = ["TokenGate"]

_WANTED = (
    "This Gamma server wants a token: set the variable `KAPPA_GAMMA_TOKEN`, or name a file with it by "
    "`kappa config set gamma_service.token_file=PATH`. Who runs the server makes one with `kappa gamma-token create`."
)
_WRONG = (
    "The token is not one of this Gamma server. Ask who runs it for another: `kappa gamma-token list` shows them all."
)


class TokenGate:
    """Lets in who shows a valid token; it keeps nothing but failures, so that a revoked token is refused at once."""

    is_open = False

    def __init__(self, registry: GammaService, *, failed_logins: FailedLogins | None = None) -> None:
        self._registry = registry
        self._failed_logins = failed_logins or FailedLogins()

    def admit(self, authorization: str | None, address: str) -> Admitted:
        scheme, _, text = (authorization or "").strip().partition(" ")
        if scheme.lower() != "bearer":
            raise UnauthenticatedError(_WANTED)
        try:
            caller = self._caller_of(text.strip())
        except UnauthenticatedError:
            self._failed_logins.note(address)
            raise
        return Admitted(guarded(self._registry.seen_by(caller), caller), caller)

    def _caller_of(self, text: str) -> Caller:
        """Return who shows a token; what is wrong with it is for those alone who have its secret."""
        shown = TokenText.parse(text)
        if shown is None:
            raise UnauthenticatedError(_WRONG)
        stored = self._registry.tokens.stored(shown.id)
        if stored is None:
            is_right(shown.secret)
            raise UnauthenticatedError(_WRONG)
        if not is_right(shown.secret, salt=stored.salt, secret_hash=stored.secret_hash):
            raise UnauthenticatedError(_WRONG)
        token = stored.token
        if token.revoked_at is not None:
            raise UnauthenticatedError(
                f"The token `{token.name}` was revoked. Ask who runs the Gamma server for another."
            )
        if token.expires_at is not None and token.expires_at <= stored.moment:
            raise UnauthenticatedError(
                f"The token `{token.name}` expired at {token.expires_at:%Y-%m-%d %H:%M} UTC. Ask who runs the Gamma "
                "server for another."
            )
        if stored.needs_note:
            with suppress(GammaError):  # as on a full disk, which keeps nobody from reading
                self._registry.tokens.note_use(token.id)
        return token.caller
