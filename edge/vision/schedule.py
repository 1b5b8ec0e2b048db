"""When a zone is watched: weekly windows in the site's local time."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

_DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_WINDOW = re.compile(
    r"(?P<days>[a-z]{3}(?:[-,][a-z]{3})*|daily)\s+"
    r"(?P<from>\d{2}:\d{2})-(?P<to>\d{2}:\d{2})"
)
_DAY = 24 * 60


class Schedule:
    """Weekly windows such as ``mon-fri 18:00-07:00``, ``daily`` for all days.

    A window that ends earlier than it begins ends on the following day; 24:00 is the day's end.
    """

    def __init__(self, windows: Sequence[str], zone: ZoneInfo) -> None:
        """Raise ValueError for a window that is not understood."""
        self._zone = zone
        self._spans = [span for window in windows for span in _spans(window)]

    def holds(self, at_ms: int) -> bool:
        """Tell whether a moment lies in one of the windows; without any it always does."""
        if not self._spans:
            return True
        local = datetime.fromtimestamp(at_ms / 1000, UTC).astimezone(self._zone)
        minute = local.weekday() * _DAY + local.hour * 60 + local.minute
        week = 7 * _DAY
        return any((minute - start) % week < length for start, length in self._spans)


def _spans(window: str) -> list[tuple[int, int]]:
    """Return (first minute of the week, length in minutes) for each day of a window."""
    match = _WINDOW.fullmatch(window.strip().lower())
    if match is None:
        raise ValueError(f"{window!r} is no window; write for example 'mon-fri 18:00-07:00'")
    start, end = _minutes(match["from"]), _minutes(match["to"])
    length = end - start if end > start else end - start + _DAY
    return [(day * _DAY + start, length) for day in _days(match["days"])]


def _days(text: str) -> list[int]:
    if text == "daily":
        return list(range(7))
    found: list[int] = []
    for part in text.split(","):
        first, _, last = part.partition("-")
        if first not in _DAYS or (last and last not in _DAYS):
            raise ValueError(f"{part!r} is no day; they are {', '.join(_DAYS)}")
        begin = _DAYS.index(first)
        count = (_DAYS.index(last) - begin) % 7 if last else 0
        found += [(begin + step) % 7 for step in range(count + 1)]
    return found


def _minutes(text: str) -> int:
    hours, minutes = (int(part) for part in text.split(":"))
    if minutes > 59 or hours * 60 + minutes > _DAY:
        raise ValueError(f"{text!r} is no time of day")
    return hours * 60 + minutes
