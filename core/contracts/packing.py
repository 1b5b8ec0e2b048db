"""A topology packed: it says the same again and again, and is kept for long and read seldom."""

from __future__ import annotations

import zlib

from core.contracts.errors import ContractError

#: With the least effort a twelfth is left of a street's 13 MiB.
_EFFORT = 1


def pack(body: bytes) -> bytes:
    """Return bytes that :func:`unpack` gives back as they were."""
    return zlib.compress(body, _EFFORT)


def unpack(kept: bytes) -> bytes:
    """Return what was packed; raise :class:`ContractError` where nothing was."""
    try:
        return zlib.decompress(kept)
    except zlib.error as error:
        raise ContractError(f"nothing that was packed: {error}") from None
