"""Durations as people write them: ``90``, ``30s``, ``2m30s``, ``1h``, ``500ms``."""

from __future__ import annotations

import re
from typing import Annotated, Any

from pydantic import BeforeValidator, Field

_UNITS_S = {"ms": 0.001, "s": 1, "m": 60, "h": 3600, "d": 86_400}
_PART = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d)")
_WHOLE = re.compile(rf"(?:{_PART.pattern})+")


def seconds(value: Any) -> Any:
    """Return a duration in seconds; raise ValueError for a text that is none."""
    if not isinstance(value, str):
        return value
    text = value.replace(" ", "").lower()
    if not _WHOLE.fullmatch(text):
        raise ValueError(f"{value!r} is not a duration; write 30s, 2m30s, 1h or 500ms")
    return sum(float(number) * _UNITS_S[unit] for number, unit in _PART.findall(text))


#: A duration in seconds, from 0 to a week.
Duration = Annotated[float, BeforeValidator(seconds), Field(ge=0, le=604_800)]
