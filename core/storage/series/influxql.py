"""Questions in InfluxQL; names and texts are quoted where they enter."""

from __future__ import annotations

from core.storage.series.lineprotocol import identifier, literal


def select(what: str, measurement: str, where: str, tail: str = "") -> str:
    """Return a question; ``what``, ``where`` and ``tail`` have their names and texts quoted."""
    return f"SELECT {what} FROM {identifier(measurement)} WHERE {where} {tail}"  # noqa: S608


def of_device(device: str, start_ns: int, end_ns: int) -> str:
    """Return the condition that a point is a device's and in ``[start_ns, end_ns)``."""
    span = f"time >= {start_ns}ns AND time < {end_ns}ns"
    return f'"device" = {literal(device)} AND {span}'
