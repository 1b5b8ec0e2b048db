"""How far the writer of a series store is in the log."""

from __future__ import annotations


class Progress:
    """Positions of the log: what is ``written``, what of it counts, what of that is ``durable``.

    A write that had refusals counts only when its caller comes back, with more or with nothing:
    until then it may not have recorded them, and a crash in between must bring them again.
    """

    __slots__ = ("durable", "settled", "written")

    def __init__(self) -> None:
        self.begin(0)

    def begin(self, position: int) -> None:
        """Go on from a position through which everything is durable."""
        self.written = self.settled = self.durable = position

    def wrote(self, position: int, *, refused: bool) -> None:
        """Take that everything up to a position was written, but for what was ``refused``."""
        if position > self.written:
            self.settled = position if not refused else self.written
        elif position == self.written and not refused:
            self.settled = position
        self.written = max(self.written, position)

    @property
    def is_ahead(self) -> bool:
        """Tell whether something counts that is not durable yet."""
        return self.settled > self.durable

    def keep(self) -> None:
        """Take that what counts is durable."""
        self.durable = self.settled
