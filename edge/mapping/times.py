"""Times as vendors write them."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

from edge.mapping.model import TimeForm
from edge.mapping.targets import as_number

_LATEST_MS = 4_102_444_800_000


def epoch_ms(raw: object, form: TimeForm) -> int:
    """Return a time in ms since the Unix epoch; raise ValueError."""
    found = _read(raw, form)
    if not 0 <= found <= _LATEST_MS:
        raise ValueError(f"the time {str(raw)[:60]!r} is out of range")
    return found


def _read(raw: object, form: TimeForm) -> int:
    if form.form == "epoch_s":
        return _whole(as_number(raw) * 1000)
    if form.form == "epoch_ms":
        return _whole(as_number(raw))
    text = str(raw).strip()
    try:
        moment = (
            datetime.fromisoformat(text)
            if form.form == "iso"
            else datetime.strptime(text, form.form)  # noqa: DTZ007 (the offset is set below)
        )
        if moment.tzinfo is None:
            if form.utc_offset is None:
                raise ValueError(f"the time {text[:60]!r} has no offset: give utc_offset")
            moment = moment.replace(tzinfo=_offset(form.utc_offset))
        return round(moment.timestamp() * 1000)
    except OverflowError:
        raise ValueError(f"the time {text[:60]!r} is out of range") from None


def _whole(milliseconds: float) -> int:
    try:
        return round(milliseconds)
    except OverflowError:
        raise ValueError("the time is out of range") from None


def _offset(text: str) -> timezone:
    sign = -1 if text[0] == "-" else 1
    return timezone(sign * timedelta(hours=int(text[1:3]), minutes=int(text[4:6])))
