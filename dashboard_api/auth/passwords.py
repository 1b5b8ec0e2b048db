"""Passwords: argon2id, with the same work for names that exist and names that do not."""

from __future__ import annotations

import threading

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

MIN_LENGTH = 10
MAX_LENGTH = 256


class Passwords:
    """Hashes and checks passwords; each takes 64 MiB for a moment (RFC 9106, second choice)."""

    def __init__(self, hasher: PasswordHasher | None = None) -> None:
        self._hasher = hasher or PasswordHasher()
        self._nobody: str | None = None
        self._nobody_lock = threading.Lock()

    def hash(self, password: str) -> str:
        """Return the argon2id hash in its usual text form."""
        return self._hasher.hash(password)

    def matches(self, password: str, stored: str | None) -> bool:
        """Tell whether ``password`` is the one; does the same work where nothing is stored."""
        nobody = self._hash_of_nobody()  # made once, whoever asks first
        expected = nobody if stored is None else stored
        try:
            self._hasher.verify(expected, password)
        except (VerificationError, InvalidHashError):
            return False
        return stored is not None

    def is_outdated(self, stored: str) -> bool:
        """Tell whether a hash was made with other parameters than today's."""
        return self._hasher.check_needs_rehash(stored)

    def _hash_of_nobody(self) -> str:
        with self._nobody_lock:
            if self._nobody is None:
                self._nobody = self.hash("nobody has this password")
            return self._nobody


def weakness(password: str, name: str) -> str | None:
    """Say what is wrong with a new password, or None."""
    if len(password) < MIN_LENGTH:
        return f"use at least {MIN_LENGTH} characters"
    if not password.casefold().replace(name.casefold(), "").strip():
        return "it must not be your name"
    if len(set(password)) < 4:
        return "use more than three different characters"
    return None
