"""The meter's clock: digits on the wire, seconds of deviation in a reading."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

_CENTURY = "20"


def clock_offset_s(date: str, clock: str, utc_offset_h: float, now: int) -> float | None:
    """Return by how much (s) a meter's clock is ahead of ``now`` (ms).

    ``date`` is YYMMDD and ``clock`` hhmmss, local time. None where they are no moment.
    """
    told = _moment(f"{_CENTURY}{date}{clock}", "%Y%m%d%H%M%S", utc_offset_h)
    return None if told is None else round((told - now) / 1000, 1)


def demand_time_ms(digits: str, utc_offset_h: float) -> int | None:
    """Return the moment (ms) of YYMMDDhhmm; None where there is none (all zeros)."""
    return _moment(f"{_CENTURY}{digits}", "%Y%m%d%H%M", utc_offset_h)


def _moment(digits: str, form: str, utc_offset_h: float) -> int | None:
    if not digits.isdecimal():
        return None
    try:
        naive = datetime.strptime(digits, form)  # noqa: DTZ007 (the zone is a setting)
        told = naive.replace(tzinfo=timezone(timedelta(hours=utc_offset_h)))
    except ValueError:
        return None
    return round(told.timestamp() * 1000)
