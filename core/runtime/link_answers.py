"""The broker's answers to what was published, by packet id, for whoever waits for them."""

from __future__ import annotations

import threading
from concurrent.futures import Future

from core.contracts.errors import RetryableError

#: From here on a reason code is a refusal (MQTT 5, 2.4).
_REFUSALS = 0x80


class LinkDownError(RetryableError):
    """There is no connection now; nothing was sent."""


class NotDeliveredError(RetryableError):
    """The broker refused a message; ``code`` is its MQTT 5 reason."""

    def __init__(self, code: int) -> None:
        self.code = code
        super().__init__(f"the broker refused the message (0x{code:02x})")


class Answers:
    """Futures that wait for the answers of one connection at a time; callable from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._waiting: dict[int, Future[int]] = {}
        self._early: dict[int, int] = {}

    def expect(self, packet: int, future: Future[int]) -> bool:
        """Have a future get the answer to a packet, now if it has come; tell whether it waits."""
        with self._lock:
            code = self._early.pop(packet, None)
            if code is None:
                self._waiting[packet] = future
        if code is not None:
            _settle(future, code)
        return code is None

    def take(self, packet: int, code: int) -> None:
        """Take the answer to a packet: its reason code."""
        with self._lock:
            future = self._waiting.pop(packet, None)
            if future is None:
                self._early[packet] = code
        if future is not None:
            _settle(future, code)

    def fail(self) -> None:
        """Let all that wait know that no answer will come."""
        with self._lock:
            futures, self._waiting = list(self._waiting.values()), {}
            self._early.clear()
        for future in futures:
            if not future.done():
                future.set_exception(LinkDownError("the connection broke before the answer"))


def _settle(future: Future[int], code: int) -> None:
    if code >= _REFUSALS:
        future.set_exception(NotDeliveredError(code))
    else:
        future.set_result(code)
