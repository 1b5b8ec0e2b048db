"""Time series over the wire."""

from __future__ import annotations

from enum import StrEnum

from dashboard_api.schemas import Schema, example


class AggregateName(StrEnum):
    """How the values of one window become one."""

    MEAN = "mean"
    MIN = "min"
    MAX = "max"
    LAST = "last"
    SUM = "sum"
    COUNT = "count"
    INCREASE = "increase"


class FillName(StrEnum):
    """What stands in windows without values."""

    NONE = "none"
    NULL = "null"
    PREVIOUS = "previous"
    LINEAR = "linear"


class Series(Schema):
    """Values of one field of one device, oldest first."""

    model_config = example(
        {
            "device": "jinxiu-b1-meter",
            "kind": "meter.reading",
            "field": "power_w",
            "start": 1_763_000_000_000,
            "end": 1_763_003_600_000,
            "every_ms": 5000,
            "aggregate": "mean",
            "fill": "none",
            "samples": [[1_763_000_000_000, 5123.4], [1_763_000_005_000, 5130.0]],
        }
    )

    device: str
    kind: str
    field: str
    start: int
    end: int
    every_ms: int
    """Length (ms) of the windows, which are aligned to the epoch; 0: values as they came."""
    aggregate: AggregateName
    fill: FillName
    samples: list[tuple[int, float | int | str | bool | None]]
    """``[at, value]``; ``at`` is the window's start."""
