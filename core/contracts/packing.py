"""A topology packed: it says the same again and again, and is kept for long and read seldom."""

from __future__ import annotations

import zlib
from typing import Any

import msgspec

from core.contracts.codec import encode
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


def pack_json(value: Any) -> bytes:
    """Return a value packed as JSON."""
    return pack(encode(value))


def unpack_json(kept: bytes) -> Any:
    """Return a new copy of what :func:`pack_json` was given."""
    return msgspec.json.decode(unpack(kept))
