"""OSDP readers on one RS-485 line: behind a converter on TCP, or behind a serial port (a pty).

The protocol is spoken by libosdp's peripheral device, one for each reader; here are the door
around it (cards, keys, contacts, outputs) and the line, with its faults. Everything runs on the
event loop: a reader speaks only when it is spoken to.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import deque
from collections.abc import Callable, Iterable
from pathlib import Path

import osdp_sys

from core.contracts.errors import ContractError
from simulators.devices.libosdp import PeripheralDevice
from simulators.devices.listener import Listener
from simulators.devices.peer import SerialPeer, SocketPeer

_IDLE_S = 0.05
_CHUNK = 1024
#: libosdp's peripheral device holds so few events that the rest waits here.
_MOST_EVENTS = 200
_OFF, _ON, _OFF_TIMED, _ON_TIMED, _PULSE_ON, _PULSE_OFF = range(1, 7)


class OsdpReader:
    """One reader with its door: ``inputs`` contacts and ``outputs`` relays.

    ``key`` is the secure channel's (16 bytes); ``enforce`` refuses everything outside of it.
    Without a key the reader is in install mode: it takes the well-known default key, and then
    whatever key it is given.
    """

    def __init__(
        self,
        address: int,
        *,
        key: bytes | None = None,
        enforce: bool = False,
        inputs: int = 4,
        outputs: int = 2,
    ) -> None:
        if not 0 <= address <= 126:
            raise ContractError(f"{address} is no OSDP address", remedy="0 to 126")
        self.address = address
        self.powered = True
        """Without power it neither listens nor remembers."""
        self.refuses: set[int] = set()
        """Commands (libosdp's numbers) that it answers with NAK."""
        self.boots = 0
        self.lost_events = 0
        """Events that it could not keep until it was asked."""
        self._key = key
        self._enforce = enforce
        self._inputs = bytearray(inputs)
        self._outputs = bytearray(outputs)
        self._pulses: dict[int, float] = {}
        self._tamper = self._mains_off = False
        self._events: deque[Callable[[PeripheralDevice], bool]] = deque()
        self._device = self._boot()

    # -- what happens at the door ------------------------------------------------------------

    def present(self, bits: int, data: bytes) -> None:
        """Hold a card before it (see :mod:`simulators.devices.wiegand`)."""
        self._push(lambda device: device.card(bits, data))

    def press(self, keys: str) -> None:
        """Press keys: digits, ``*`` and ``#``."""
        codes = {"*": 0x7F, "#": 0x0D}
        data = bytes(codes.get(key, ord(key)) for key in keys)
        self._push(lambda device: device.keys(data))

    def set_input(self, number: int, *, active: bool) -> None:
        """Close or open a contact."""
        self._inputs[number] = active
        self._report(osdp_sys.STATUS_REPORT_INPUT)

    def set_tamper(self, *, active: bool) -> None:
        """Take it off the wall, or put it back."""
        self._tamper = active
        self._report(osdp_sys.STATUS_REPORT_LOCAL)

    def set_mains_off(self, *, active: bool) -> None:
        """Take its supply away (it runs on its battery), or give it back."""
        self._mains_off = active
        self._report(osdp_sys.STATUS_REPORT_LOCAL)

    def output(self, number: int) -> bool:
        """Tell whether an output is on now."""
        until = self._pulses.get(number)
        if until is not None and time.monotonic() < until:
            return not self._outputs[number]
        return bool(self._outputs[number])

    # -- its life ----------------------------------------------------------------------------

    def reboot(self) -> None:
        """Switch it off and on: sessions, outputs and what nobody asked for are gone."""
        self._events.clear()
        self._pulses.clear()
        self._outputs = bytearray(len(self._outputs))
        self._device.close()
        self._device = self._boot()

    def rekey(self, key: bytes | None) -> None:
        """Give it another key (or none: install mode), as somebody with a laptop would."""
        self._key = key
        self._device.close()
        self._device = self._boot()

    @property
    def secure(self) -> bool:
        """Tell whether its secure channel stands."""
        return self._device.secure

    def _boot(self) -> PeripheralDevice:
        self.boots += 1
        has = {
            osdp_sys.CAP_CONTACT_STATUS_MONITORING: len(self._inputs),
            osdp_sys.CAP_OUTPUT_CONTROL: len(self._outputs),
        }
        return PeripheralDevice(
            self.address, self._key, has, enforce=self._enforce, state=self._state,
            switch=self._switch, refuses=self.refuses.__contains__,
        )  # fmt: skip

    # -- the talk ----------------------------------------------------------------------------

    def hear(self, data: bytes) -> list[bytes]:
        """Take bytes from the line and return what it answers."""
        if not self.powered:
            return []
        device = self._device
        device.received += data
        while self._events and self._events[0](device):
            self._events.popleft()
        device.refresh()
        written, device.written = device.written, []
        return written

    def _push(self, event: Callable[[PeripheralDevice], bool]) -> None:
        if not self.powered or len(self._events) >= _MOST_EVENTS:
            self.lost_events += 1
            return
        self._events.append(event)

    def _report(self, kind: int) -> None:
        report = self._state(kind)
        self._push(lambda device: device.status(kind, report))

    def _state(self, kind: int) -> bytes:
        if kind == osdp_sys.STATUS_REPORT_LOCAL:
            return bytes((self._tamper, self._mains_off))
        if kind == osdp_sys.STATUS_REPORT_INPUT:
            return bytes(self._inputs)
        if kind == osdp_sys.STATUS_REPORT_OUTPUT:
            return bytes(self.output(number) for number in range(len(self._outputs)))
        return bytes((self._tamper,))

    def _switch(self, number: int, control: int, tenths: int) -> None:
        self._pulses.pop(number, None)
        if control in (_OFF, _OFF_TIMED):
            self._outputs[number] = 0
        elif control in (_ON, _ON_TIMED):
            self._outputs[number] = 1
        elif control in (_PULSE_ON, _PULSE_OFF) and self._outputs[number] == (
            control == _PULSE_OFF
        ):
            self._pulses[number] = time.monotonic() + tenths / 10


class OsdpLine:
    """The readers of one RS-485 line, and what is sent on it."""

    def __init__(self, readers: Iterable[OsdpReader]) -> None:
        self.readers = {reader.address: reader for reader in readers}
        self.traffic: deque[bytes] = deque(maxlen=20_000)
        """What went over the line in both directions, packet by packet, before its faults."""

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer on one connection until it ends."""
        while True:
            chunk = b""
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_IDLE_S):
                    chunk = await reader.read(_CHUNK)
                    if not chunk:
                        return
            if chunk:
                self.traffic.append(chunk)
            for device in list(self.readers.values()):
                for packet in device.hear(chunk):
                    self.traffic.append(packet)
                    writer.write(packet)
            await writer.drain()


class OsdpConverter(OsdpLine, SocketPeer):
    """An RS-485 converter on TCP with its readers."""

    def __init__(
        self, readers: Iterable[OsdpReader], *, host: str = "127.0.0.1", port: int = 0
    ) -> None:
        OsdpLine.__init__(self, readers)
        SocketPeer.__init__(self, Listener(self.serve, host=host, port=port))


class OsdpSerialPort(OsdpLine, SerialPeer):
    """A serial port with its readers: a pty behind a link at ``path``."""

    def __init__(self, readers: Iterable[OsdpReader], path: Path) -> None:
        OsdpLine.__init__(self, readers)
        SerialPeer.__init__(self, self.serve, path)
