"""Keys of keyset paging: the sort key of a page's last row, as one opaque text."""

from __future__ import annotations

from typing import Any

from core.contracts.errors import ContractError


def encode_key(*parts: int | str) -> str:
    """Return a key; only the last part may hold a dot."""
    return ".".join(str(part) for part in parts)


def decode_key(text: str, *types: type[Any]) -> list[Any]:
    """Read a key made by :func:`encode_key`; raise :class:`ContractError` when it is none."""
    parts = text.split(".", len(types) - 1)
    try:
        values = [kind(part) for kind, part in zip(types, parts, strict=True)]
    except ValueError:
        raise ContractError("not a key of this list", field="before") from None
    if any(isinstance(value, int) and abs(value) >= 1 << 63 for value in values):
        raise ContractError("not a key of this list", field="before")
    return values
