"""Keyed pseudonyms: who a person is stays on the edge, that it is the same one may be seen.

A pseudonym is HMAC-SHA256 with a key that never leaves the edge, cut to 96 bits: it cannot be
turned back by trying all card numbers, and it is stable for as long as the key is.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import secrets
from pathlib import Path

from core.contracts.errors import SettingsError

_KEY_BYTES = 32
_HEX_DIGITS = 24


class Pseudonyms:
    """Makes pseudonyms with one key."""

    def __init__(self, key: bytes) -> None:
        if len(key) < _KEY_BYTES:
            raise SettingsError(
                f"the pseudonym key has {len(key)} bytes; give {_KEY_BYTES} or more"
            )
        self._key = key

    def of(self, space: str, identifier: str) -> str:
        """Return the pseudonym of an identifier within a space (``employee``, ``card``)."""
        message = f"{space}\0{identifier}".encode()
        return "p-" + hmac.new(self._key, message, hashlib.sha256).hexdigest()[:_HEX_DIGITS]


def read_key(path: Path) -> bytes:
    """Read a key; raise :class:`SettingsError` when it cannot be read."""
    try:
        return path.read_bytes()
    except OSError as error:
        raise SettingsError(f"pseudonym key {path}: {error.strerror}") from None


def read_or_make_key(path: Path) -> bytes:
    """Read the edge's own key, or make it (readable by its owner only) at the first start."""
    if path.exists():
        return read_key(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    key = secrets.token_bytes(_KEY_BYTES)
    # Written whole under another name first: a crash must not leave half a key.
    draft = path.with_name(f"{path.name}.{secrets.token_hex(4)}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(key)
        file.flush()
        os.fsync(file.fileno())
    try:
        # A link does not replace a key that another process made meanwhile.
        os.link(draft, path)
    except FileExistsError:
        return read_key(path)
    finally:
        draft.unlink()
    return key
