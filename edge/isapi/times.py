"""Times as ISAPI devices write them: extended and basic ISO 8601, with odd offsets or none."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone

#: ``2026-03-05T18:30:00+08:00``, ``…-5:00``, ``20250415T000000-500``, ``20240428T130000000``.
_PATTERN = re.compile(
    r"(\d{4})-?(\d\d)-?(\d\d)[T ](\d\d):?(\d\d):?(\d\d)(?:[.,]?(\d{1,9}))?\s*"
    r"(Z|[+-]\d{1,2}:?\d\d)?",
    re.ASCII,
)


@dataclass(frozen=True, slots=True)
class Moment:
    """A device's time: ms since the Unix epoch, and the offset (minutes) that it was told with."""

    at: int
    offset_min: int | None


def parse(text: object, default_offset_min: int | None = None) -> Moment | None:
    """Return the moment, None where it cannot be read or has no offset and none is given."""
    if not isinstance(text, str) or len(text) > 64:
        return None
    match = _PATTERN.fullmatch(text.strip())
    if match is None:
        return None
    *parts, fraction, zone = match.groups()
    told = _offset(zone)
    offset = default_offset_min if told is None else told
    if offset is None or abs(offset) > 24 * 60:
        return None
    try:
        year, month, day, hour, minute, second = (int(part) for part in parts)
        moment = datetime(year, month, day, hour, minute, second, tzinfo=UTC)
    except ValueError:
        return None
    if not 1970 < moment.year < 2100:
        return None
    milliseconds = int((fraction or "0").ljust(3, "0")[:3])
    return Moment(int(moment.timestamp() - offset * 60) * 1000 + milliseconds, told)


def extended(at: int, offset_min: int) -> str:
    """Return ``2026-03-05T18:30:00+08:00`` of a time in ms, as searches want it."""
    return _local(at, offset_min).isoformat(timespec="seconds")


def basic(at: int, offset_min: int, pattern: str) -> str:
    """Return a time in ms in the device's own local time, by a ``strftime`` pattern."""
    return _local(at, offset_min).strftime(pattern)


def _local(at: int, offset_min: int) -> datetime:
    return datetime.fromtimestamp(at // 1000, timezone(timedelta(minutes=offset_min)))


def _offset(zone: str | None) -> int | None:
    if zone is None:
        return None
    if zone == "Z":
        return 0
    digits = zone[1:].replace(":", "")
    minutes = int(digits[:-2]) * 60 + int(digits[-2:])
    return -minutes if zone[0] == "-" else minutes
