"""What the journal's writer is asked to do."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from core.storage.journal.model import ENTRY_OVERHEAD, Append


class Work:
    """One caller's action in a group: ``size`` are the bytes that must fit in beforehand.

    ``weight`` is what it adds to a transaction: more, where it sees itself to what fits in.
    """

    __slots__ = ("action", "size", "weight")

    def __init__(self, action: Callable[[], Any], size: int, weight: int = 0) -> None:
        self.action = action
        self.size = size
        self.weight = max(size, weight)


def size_of(appends: Sequence[Append]) -> int:
    """Return what entries take of the budget (bytes)."""
    return sum(len(append.body) + ENTRY_OVERHEAD for append in appends)
