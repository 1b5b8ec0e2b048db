"""What meter drivers have in common: a reading without the values that no meter can have."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from pydantic import ValidationError

from core.contracts.vocabulary.meters import MeterReading


def presentable(data: dict[str, Any], count: Callable[[str], None]) -> dict[str, Any]:
    """Return a ``meter.reading`` without the fields that break its contract, each counted.

    A power factor of 1.2 must not cost the energy beside it.
    """
    try:
        MeterReading.model_validate(data)
    except ValidationError as error:
        bad = {str(problem["loc"][0]) for problem in error.errors() if problem["loc"]}
        for _ in bad:
            count("values_refused")
        return {name: value for name, value in data.items() if name not in bad}
    return data
