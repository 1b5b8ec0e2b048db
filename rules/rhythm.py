"""How often a device is heard of which nobody has said how often it should be.

The intervals between its words are counted by length, in two generations of a week each, in
listening time: what passes while its edge is away or drains is nobody's silence. The learned
interval is the shortest of some round lengths that at most one counted interval exceeds, so that
one outage does not stretch it and a quiet night that comes again does. A device whose intervals
are much alike is known after :data:`ENOUGH` of them; one whose are not, after :data:`DAYS_MS`.
"""

from __future__ import annotations

from bisect import bisect_left

import msgspec

#: The lengths that are told apart (s).
LENGTHS_S = (
    1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 900, 1_800, 3_600, 7_200, 14_400, 28_800, 57_600,
    86_400, 172_800, 604_800,
)  # fmt: skip
ENOUGH = 20
DAYS_MS = 3 * 86_400_000
_WEEK_MS = 7 * 86_400_000
#: Intervals are alike when the longest is at most so many lengths above the usual one.
_ALIKE = 2
_LENGTHS_MS = tuple(length * 1000 for length in LENGTHS_S)


def _none() -> list[int]:
    return [0] * len(_LENGTHS_MS)


class Rhythm(msgspec.Struct):
    """The intervals of one device; all times are listening time (ms).

    ``learned_ms`` is the interval within which it is to be heard, None until that is known.
    """

    began: int
    turned: int
    fresh: list[int] = msgspec.field(default_factory=_none)
    old: list[int] = msgspec.field(default_factory=_none)
    learned_ms: int | None = None

    def heard(self, gap: int, now: int) -> bool:
        """Count an interval that ends now; return whether the learned interval has changed."""
        if now - self.turned >= _WEEK_MS:
            self.old, self.fresh, self.turned = self.fresh, _none(), now
        self.fresh[min(bisect_left(_LENGTHS_MS, gap), len(_LENGTHS_MS) - 1)] += 1
        before = self.learned_ms
        self.learned_ms = self._learn(now)
        return self.learned_ms != before

    def _learn(self, now: int) -> int | None:
        counts = [a + b for a, b in zip(self.fresh, self.old, strict=True)]
        total = sum(counts)
        if total < ENOUGH:
            return self.learned_ms  # a device that was long away keeps what was known of it
        longest = _reach(counts, total - 1)
        usual = _reach(counts, total // 2)
        if longest - usual > _ALIKE and now - self.began < DAYS_MS:
            return None
        return _LENGTHS_MS[longest]


def _reach(counts: list[int], wanted: int) -> int:
    """Return the index up to which the counts come to ``wanted``."""
    reached = 0
    for index, count in enumerate(counts):
        reached += count
        if reached >= wanted:
            return index
    return len(counts) - 1
