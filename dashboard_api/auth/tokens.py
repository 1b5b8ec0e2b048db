"""Secrets of sign-in: random tokens, of which the records keep only the SHA-256."""

from __future__ import annotations

import hashlib
import hmac
import secrets
from enum import StrEnum

_BYTES = 32
#: Longer texts are no tokens of ours; they are not even hashed.
MAX_LENGTH = 128


class Origin(StrEnum):
    """How a session began; the first letter of its token, so it can be neither lost nor forged."""

    LINK = "l"
    PASSWORD = "p"  # noqa: S105 - a letter, no secret


def new_token() -> str:
    """Return 256 random bits as text that is safe in addresses and cookies."""
    return secrets.token_urlsafe(_BYTES)


def new_session_token(origin: Origin) -> str:
    """Return a token that also says how the session began."""
    return f"{origin}.{new_token()}"


def origin_of(token: str) -> Origin:
    """Return how the session of a token that has been checked began."""
    return Origin.LINK if token.startswith(f"{Origin.LINK}.") else Origin.PASSWORD


def csrf_of(token: str) -> str:
    """Return the CSRF token of a session; it says nothing about the session's own."""
    return hmac.new(token.encode(), b"estate csrf", hashlib.sha256).hexdigest()
