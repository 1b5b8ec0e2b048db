"""Reads the blocks of one device, whatever of them it has."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from core.contracts.errors import DeviceError
from edge.driver import LinkError
from edge.modbus.blocks import Block, Image
from edge.modbus.errors import NOT_THERE, NoAnswerError, RefusedError
from edge.modbus.gateway import Gateway
from edge.modbus.questions import Read

#: Registers that a device does not have are asked for again after so long (real time): it may
#: have been exchanged.
_ASK_AGAIN_S = 6 * 3600.0
#: … and after so long when it gave nothing at all.
_ALL_AGAIN_S = 15.0
#: A block that stays unanswered while others are answered is left out for so long, after so
#: many times in a row: some devices say nothing at all to an address that they do not have.
_HUSH_S = 600.0
_HUSHED_AFTER = 3


@dataclass(slots=True)
class _Part:
    block: Block
    not_before: float = 0.0
    silences: int = 0
    why: str = ""


class DeviceReader:
    """The blocks of one device, read through its gateway."""

    def __init__(
        self,
        gateway: Gateway,
        unit: int,
        blocks: Sequence[Block],
        timeout_s: float,
        count: Callable[[str], None],
        *,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._gateway = gateway
        self._unit = unit
        self._timeout_s = timeout_s
        self._count = count
        self._monotonic = monotonic
        self._parts = [_Part(block) for block in blocks]

    @property
    def missing(self) -> int:
        """Return how many blocks the device does not give at present."""
        return sum(part.not_before > self._monotonic() for part in self._parts)

    async def read(self) -> tuple[Image, float]:
        """Return what could be read, and the latency of the first answer in ms.

        A block that is refused is read value by value, and what is refused then is left out.
        Raises :class:`NoAnswerError` when the device is silent, :class:`LinkError` when the
        connection fails, :class:`RefusedError` when it refuses everything.
        """
        image = Image()
        latency_ms: float | None = None
        refusal: DeviceError | None = None
        todo = [part for part in self._parts if part.not_before <= self._monotonic()]
        while todo:
            part = todo.pop(0)
            try:
                latency = await self._read_part(part, image)
                latency_ms = latency if latency_ms is None else latency_ms
            except RefusedError as error:
                refusal = error
                todo = self._refused(part, error) + todo
            except NoAnswerError as error:
                if latency_ms is None and refusal is None:
                    raise
                refusal = error
                self._silent(part, error)
        if latency_ms is None:
            now = self._monotonic()
            for part in self._parts:
                # All of it at once is rather a device that starts than one without registers.
                part.not_before = min(part.not_before, now + _ALL_AGAIN_S)
            hidden = [part.why for part in self._parts if part.why]
            raise refusal or LinkError(
                f"{self._gateway.name} unit {self._unit}: has none of the map's registers"
                + (f" ({hidden[0]})" if hidden else ""),
                "protocol",
            )
        return image, latency_ms

    async def _read_part(self, part: _Part, image: Image) -> float:
        span = part.block.span
        question = Read(span.table, span.address, span.count)
        again = self._gateway.units.healthy(self._unit)
        try:
            words, latency = await self._gateway.ask(self._unit, question, self._timeout_s)
        except NoAnswerError:
            # One lost frame is no outage; a unit that was silent before is not asked twice.
            if not again:
                raise
            self._count("retries")
            words, latency = await self._gateway.ask(self._unit, question, self._timeout_s)
        image.add(span, words)
        part.silences, part.why = 0, ""
        return latency

    def _refused(self, part: _Part, error: RefusedError) -> list[_Part]:
        """Return what is to be read in place of a block that was refused."""
        self._count("blocks_refused")
        part.why = str(error)
        if error.exception not in NOT_THERE:
            return []  # refused this time only: busy, or a fault of the moment
        if len(part.block.parts) > 1 or part.block.parts[0] != part.block.span:
            place = self._parts.index(part)
            singles = [_Part(block) for block in part.block.split()]
            self._parts[place : place + 1] = singles
            return singles
        part.not_before = self._monotonic() + _ASK_AGAIN_S
        return []

    def _silent(self, part: _Part, error: NoAnswerError) -> None:
        self._count("blocks_silent")
        part.silences += 1
        part.why = str(error)
        if part.silences >= _HUSHED_AFTER:
            part.silences = 0
            part.not_before = self._monotonic() + _HUSH_S
