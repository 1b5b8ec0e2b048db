"""The sending side of one lane: what is acknowledged, what is in flight, when to go back.

Pure: times are seconds of a monotonic clock, given by the caller.
"""

from __future__ import annotations

from dataclasses import dataclass

#: Without progress for so long the lane goes back to receipt + 1; doubled up to the ceiling.
PATIENCE_S = 3.0
PATIENCE_CEILING_S = 60.0


@dataclass(slots=True)
class LaneWindow:
    """One lane's window over its seqs.

    ``acknowledged`` is the receipt, ``sent`` the highest seq sent since the last go-back;
    at most ``size`` seqs lie between them.
    """

    size: int
    acknowledged: int = 0
    sent: int = 0
    deadline: float | None = None
    patience: float = PATIENCE_S

    @property
    def room(self) -> int:
        """Return how many more batches may be sent now."""
        return self.size - (self.sent - self.acknowledged)

    def on_sent(self, seq: int, now: float) -> None:
        """Note that a batch has been handed to the link."""
        self.sent = seq
        if self.deadline is None:
            self.deadline = now + self.patience

    def on_receipt(self, seq: int, now: float) -> bool:
        """Note a receipt; tell whether it is progress."""
        if seq <= self.acknowledged:
            return False
        self.acknowledged = seq
        self.sent = max(self.sent, seq)
        self.patience = PATIENCE_S
        self.deadline = None if self.sent == seq else now + self.patience
        return True

    def go_back(self) -> None:
        """Send again from receipt + 1."""
        self.sent = self.acknowledged
        self.deadline = None

    def expire(self, now: float) -> bool:
        """Go back if there was no progress in time; tell whether it did."""
        if self.deadline is None or now < self.deadline:
            return False
        self.go_back()
        self.patience = min(self.patience * 2, PATIENCE_CEILING_S)
        return True
