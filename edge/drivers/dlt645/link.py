"""Questions to meters: replies matched strictly, answers of several frames put together."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from core.contracts.errors import DeviceRefusedError
from edge.driver import LinkError
from edge.drivers.dlt645.codec import (
    NO_DATA,
    READ,
    READ_NEXT,
    Decoder,
    Frame,
    error_text,
    matches,
    next_request,
    read_request,
)
from edge.meters.exchange import Exchange
from edge.transport.bus import Bus

#: An answer has at most so many frames: the sequence number has one byte.
_MOST_FRAMES = 255
_IDENTIFIER = 4


class NoSuchDataError(DeviceRefusedError):
    """The meter does not have the data identifier that was asked."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What a meter said: the value's bytes, who it was, and the ms that the first frame took."""

    payload: bytes
    address: str
    latency_ms: float


class Link:
    """Asks meters over a bus whose turn the caller holds."""

    def __init__(self, timeout_s: float) -> None:
        """``timeout_s`` (real time) is for one frame."""
        self._exchange = Exchange(Decoder(), timeout_s)

    def health(self) -> Mapping[str, int]:
        """Return the counters of the exchange."""
        return self._exchange.health()

    async def read(
        self, bus: Bus, address: str, identifier: int, *, tries: int | None = None
    ) -> Answer:
        """Read one identifier, with all frames of its answer.

        ``address`` may be :data:`ANY_ADDRESS` where there is one meter only. Raises
        :class:`NoSuchDataError`, :class:`DeviceRefusedError` (an error reply),
        :class:`NoAnswerError` and :class:`LinkError` (line lost, frames that do not follow).
        """
        frame, latency_ms = await self._ask(bus, _Asked(address, identifier), tries)
        who = frame.address
        payload = bytearray(frame.data[_IDENTIFIER:])
        sequence = 0
        while frame.has_more:
            sequence += 1
            if sequence > _MOST_FRAMES:
                raise LinkError(f"meter {address}: {identifier:08X} never ends", "protocol")
            frame, _ = await self._ask(bus, _Asked(who, identifier, sequence), tries)
            payload += frame.data[_IDENTIFIER:-1]
        return Answer(bytes(payload), who, latency_ms)

    async def _ask(self, bus: Bus, asked: _Asked, tries: int | None) -> tuple[Frame, float]:
        frame, latency_ms = await self._exchange.ask(bus, lambda: asked, tries)
        if frame.is_error:
            code = frame.data[0] if frame.data else 0
            kind = NoSuchDataError if code & NO_DATA else DeviceRefusedError
            raise kind(f"{asked}: {error_text(code)}", f"{code:02X}")
        return frame, latency_ms


@dataclass(frozen=True, slots=True)
class _Asked:
    """One question, and what answers it."""

    address: str
    identifier: int
    sequence: int = 0
    """The number of a following frame; 0 is the first, which carries none."""

    def __str__(self) -> str:
        return f"meter {self.address}: {self.identifier:08X}"

    def encode(self) -> bytes:
        if self.sequence:
            return next_request(self.address, self.identifier, self.sequence)
        return read_request(self.address, self.identifier)

    def answered_by(self, frame: Frame) -> bool:
        function = READ_NEXT if self.sequence else READ
        if not frame.is_reply or frame.function != function:
            return False
        if not matches(self.address, frame.address):
            return False
        if frame.is_error:
            return True
        if frame.data[:_IDENTIFIER] != self.identifier.to_bytes(_IDENTIFIER, "little"):
            return False
        return not self.sequence or frame.data[_IDENTIFIER:][-1:] == bytes((self.sequence,))
