"""The condition of each device of a driver, as ``device.health`` states it."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Any

from edge.driver import Cause, DeviceCondition

#: The error rate is over so many last attempts.
_WINDOW = 50


@dataclass(slots=True)
class _Record:
    condition: DeviceCondition
    failures: int = 0
    recent: deque[bool] = field(default_factory=lambda: deque(maxlen=_WINDOW))


class Conditions:
    """Derives online and offline from single successes and failures.

    A device is online with the first success and offline after ``patience`` failures in a row.
    """

    def __init__(self, devices: Iterable[str], patience: int) -> None:
        self._records = {device: _Record(DeviceCondition(online=None)) for device in devices}
        self._patience = patience

    def all(self) -> dict[str, DeviceCondition]:
        """Return the condition of every device."""
        return {device: record.condition for device, record in self._records.items()}

    def of(self, device: str) -> DeviceCondition:
        """Return the condition of one device."""
        return self._records[device].condition

    def reached(self, device: str, at: int, latency_ms: float | None) -> dict[str, Any]:
        """Note a success and return the ``device.health`` data that states it."""
        record = self._records[device]
        record.failures = 0
        record.recent.append(True)
        record.condition = replace(
            record.condition,
            latency_ms=None if latency_ms is None else round(latency_ms, 1),
            error_rate=_rate(record.recent),
            last_contact=at,
        )
        return _health(record.condition, online=True)

    def failures(self) -> list[int]:
        """Return for each device how many attempts in a row have failed last."""
        return [record.failures for record in self._records.values()]

    def failed(self, device: str, cause: Cause | None, error: str) -> None:
        """Note a failure."""
        record = self._records[device]
        record.failures += 1
        record.recent.append(False)
        record.condition = replace(
            record.condition,
            cause=cause,
            error=error[:200],
            latency_ms=None,
            error_rate=_rate(record.recent),
        )

    def lost(self, device: str) -> dict[str, Any] | None:
        """Return the ``device.health`` data of a device that counts as offline, else None."""
        record = self._records[device]
        if record.failures < self._patience:
            return None
        return _health(record.condition, online=False)

    def settle(self, device: str, *, online: bool, at: int) -> None:
        """Take over the state after it was reported."""
        record = self._records[device]
        if record.condition.online is not online:
            record.condition = replace(record.condition, online=online, since=at)
        if online:
            record.condition = replace(record.condition, cause=None, error=None)


def _rate(recent: deque[bool]) -> float:
    return round(1 - sum(recent) / len(recent), 3)


def _health(condition: DeviceCondition, *, online: bool) -> dict[str, Any]:
    data: dict[str, Any] = {"online": online, "error_rate": condition.error_rate}
    if condition.last_contact is not None:
        data["last_contact"] = condition.last_contact
    if online and condition.latency_ms is not None:
        data["latency_ms"] = condition.latency_ms
    if not online:
        data["error"] = condition.error
        if condition.cause is not None:
            data["cause"] = condition.cause
    return data
