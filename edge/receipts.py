"""What an edge makes of a receipt: whether it counts, and what it says may go."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from core.contracts.batch import Receipt
from core.contracts.errors import ContractError
from core.contracts.events import Lane
from core.storage.journal import LaneBounds

_LANES = frozenset(str(lane) for lane in Lane)


@dataclass(frozen=True, slots=True)
class Answer:
    """A receipt; ``birth`` is the clock of the birth that it answers, where it says so."""

    receipt: Receipt
    birth: int | None
    retained: bool


def known_lanes(receipt: Receipt) -> Receipt:
    """Return a receipt whose lanes are all known; raise :class:`ContractError`."""
    if unknown := (set(receipt.lanes) | set(receipt.stored or {})) - _LANES:
        raise ContractError(f"unknown lanes {sorted(unknown)}", field="lanes")
    return receipt


def credible(lane: LaneBounds | None, seq: int) -> bool:
    """Tell whether a receipt can be meant for this journal.

    What is sent is noted before it goes. A receipt above that was earned by another life of
    this disk: a backup was restored, or it was cloned.
    """
    return seq == 0 or (lane is not None and seq <= lane.sent)


class Standing(Enum):
    """How the sender of a receipt stands to the one that an edge listens to."""

    SAME = "same"
    NEW = "new"
    """The site is another collector's now: everything begins again where that one stands."""
    FORMER = "former"
    """It has lost the site and does not know it yet."""


class Owner:
    """Which collector the site belongs to, told by the term in its receipts (ADR 0026)."""

    def __init__(self) -> None:
        self._term: int | None = None

    def judge(self, term: int, *, answers_us: bool) -> Standing:
        """Take the term of a receipt; ``answers_us``: it names a birth that is still open.

        Whoever answers is there, also with a lower term: its records may have been restored.
        """
        known = self._term
        if known is None or term == known:
            self._term = term
            return Standing.SAME
        if term < known and not answers_us:
            return Standing.FORMER
        self._term = term
        return Standing.NEW
