"""What can go wrong between a question and its answer."""

from __future__ import annotations

from core.contracts.errors import DeviceRefusedError
from edge.driver import LinkError

#: Exceptions by which a device says that it does not have what was asked.
NOT_THERE = frozenset({1, 2, 3})
#: Exceptions by which a gateway says that it does not reach the unit behind it.
BEHIND_GATEWAY = frozenset({0x0A, 0x0B})

_TEXTS = {
    1: "illegal function", 2: "illegal address", 3: "illegal value", 4: "device failure",
    5: "acknowledged, not done yet", 6: "busy", 7: "negative acknowledge", 8: "parity error",
    0x0A: "gateway path unavailable", 0x0B: "gateway target does not respond",
}  # fmt: skip


class NoAnswerError(LinkError):
    """A unit did not answer, or its gateway says that it does not."""


class RefusedError(DeviceRefusedError):
    """A unit answered with a Modbus exception."""

    def __init__(self, where: str, exception: int) -> None:
        self.exception = exception
        super().__init__(f"{where}: {exception_text(exception)}", f"{exception:02X}")


def exception_text(code: int) -> str:
    """Return a Modbus exception in words."""
    return f"Modbus exception {code:02X} ({_TEXTS.get(code, 'unknown')})"
