"""Contacts and measuring points on analog, binary and multi-state objects."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from edge.driver import LinkError
from edge.drivers.bacnet.link import Unread
from edge.drivers.bacnet.settings import ContactSection, PointSection

PROPERTIES = ("present-value", "status-flags", "reliability")
#: BACnetReliability, as far as it names what is wrong with a line.
_RELIABILITY = {
    1: "no-sensor", 2: "over-range", 3: "under-range", 4: "open-loop", 5: "shorted-loop",
    6: "no-output", 7: "unreliable-other", 8: "process-error", 9: "multi-state-fault",
    10: "configuration-error", 12: "communication-failure", 13: "member-fault",
}  # fmt: skip
_FAULT_FLAG = 1


@dataclass(frozen=True, slots=True)
class Value:
    """A present value; ``trouble`` says in BACnet's word why it is not to be trusted."""

    value: float
    trouble: str | None


def decode(name: str, values: Mapping[str, Any]) -> Value:
    """Return an object's present value; raise :class:`LinkError`."""
    value = values.get("present-value")
    if isinstance(value, Unread) or value is None:
        why = value.why if isinstance(value, Unread) else "it has no present-value"
        raise LinkError(f"{name}: {why}", "protocol")
    trouble = _trouble(values)
    if not isinstance(value, int | float) or not math.isfinite(value):
        if trouble is None:
            raise LinkError(f"{name}: {value!r} is no number", "protocol")
        value = 0.0
    return Value(float(value), trouble)


def contact_active(value: Value, contact: ContactSection) -> bool:
    """Tell whether a contact signals."""
    return (value.value != 0) is not contact.inverted


def reading(value: Value, point: PointSection) -> dict[str, Any]:
    """Return the data of ``sensor.reading``."""
    number = value.value * point.scale + point.offset
    return {"quantity": point.quantity, "value": number, "unit": point.unit}


def _trouble(values: Mapping[str, Any]) -> str | None:
    reliability = values.get("reliability")
    if isinstance(reliability, int) and reliability != 0:
        return _RELIABILITY.get(reliability, f"reliability-{reliability}")
    flags = values.get("status-flags")
    if isinstance(flags, list) and len(flags) > _FAULT_FLAG and flags[_FAULT_FLAG]:
        return "fault"
    return None
