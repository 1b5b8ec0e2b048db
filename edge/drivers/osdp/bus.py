"""One OSDP bus: libosdp's control panel on a thread of its own.

A reader's answer is due within 200 ms, so the talk does not share a thread with anything. The
thread owns the line and libosdp's context; what readers tell goes to the event loop, and
commands come from there. What libosdp 3.2.9 leaves to its user is done here: it asks a reader
that went offline again only after 300 s (:meth:`Bus._tend` does it sooner), it does not say
which command an outcome belongs to (they are given one at a time), a refused status request
takes the reader offline (a request that was refused is not repeated), and its Python binding
loses a reference to every event (:func:`_let_go`).
"""

from __future__ import annotations

import asyncio
import ctypes
import sys
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Sequence
from typing import Any, Final

import osdp_sys

from edge.drivers.osdp.frames import Code, Packet, PacketReader
from edge.drivers.osdp.line import Line
from edge.drivers.osdp.station import RETRY_S, Ended, News, Online, Request, Station, Talk, Told

#: Between two turns; libosdp wants one at least every 50 ms.
_TURN_S = 0.01
#: Longest pause before a lost reader is asked anew.
_RETRY_LIMIT_S = 30.0
#: A reader that stays for so long starts again with the first pause.
_SETTLED_S = 10.0
#: Longest time from a command's hand-over to its outcome (libosdp repeats it eight times).
_COMMAND_S = 15.0
_COMMAND_NOTE, _CHANNEL_NOTE, _STATUS_NOTE = 0, 1, 2
_STATUS_CODES: Final = {
    osdp_sys.STATUS_REPORT_LOCAL: Code.LSTAT,
    osdp_sys.STATUS_REPORT_INPUT: Code.ISTAT,
}


#: Takes the index of a reader (-1: the bus) and what is new; called on the event loop.
Listener = Callable[[int, News], None]


class _Channel:
    """A reader's view of the shared line, as libosdp wants it; equal ids share one line.

    Nothing here raises: an exception in a callback would surface anywhere in libosdp's binding.
    """

    def __init__(self, station: Talk, bus: Bus) -> None:
        self.id = 1
        self._station = station
        self._bus: Bus | None = bus

    def read(self, most: int) -> bytes:
        return b"" if self._bus is None else self._bus.take(most)

    def write(self, data: bytes) -> int:
        return 0 if self._bus is None else self._bus.send(self._station, data)

    def flush(self) -> None:
        if self._bus is not None:
            self._bus.forget()

    def detach(self) -> None:
        # libosdp's binding never gives its reference to a channel back.
        self._bus = None


class Bus:
    """Talks with the readers of one line until it is closed or the line is gone."""

    def __init__(
        self,
        open_line: Callable[[], Line],
        stations: Sequence[Station],
        listener: Listener,
        hold: Callable[[], bool] = lambda: False,
    ) -> None:
        """Take what is needed; nothing is opened.

        While ``hold`` is true the readers are not asked, and keep what they have to tell.
        """
        self._open_line = open_line
        self._stations = [Talk(index, station) for index, station in enumerate(stations)]
        self._listener = listener
        self._hold = hold
        self._orders: deque[tuple[int, Request]] = deque()
        self._closing = threading.Event()
        self._raw: deque[tuple[int, dict[str, Any]]] = deque()
        self._received = bytearray()
        self._packets = PacketReader()
        self._line: Line | None = None
        self._broken: OSError | None = None
        self.counts: Counter[str] = Counter()
        """What was odd on the line, by name; only grows."""
        self.held = False

    def start(self) -> None:
        """Begin; must be called on the event loop that is to hear of it."""
        self._loop = asyncio.get_running_loop()
        self._ended = asyncio.Event()
        threading.Thread(target=self._work, name="osdp-bus", daemon=True).start()

    async def close(self) -> None:
        """Stop; returns when the line is closed, and within a second whatever it does."""
        self._closing.set()
        try:
            async with asyncio.timeout(1):
                await self._ended.wait()
        except TimeoutError:
            self.counts["left_behind"] += 1

    def heard(self, index: int) -> float:
        """Return when (monotonic) a reader last answered with a whole packet; 0: never."""
        return self._stations[index].heard_at

    def latency_ms(self, index: int) -> float | None:
        """Return how long a reader's last answer took."""
        return self._stations[index].latency_ms

    def submit(
        self, index: int, command: dict[str, Any], done: Callable[[bool], None] | None = None
    ) -> None:
        """Ask a reader to do something; ``done`` hears on the event loop whether it did."""
        self._orders.append((index, Request(command, done and self._on_loop(done))))

    def ask_status(self, index: int, kind: int) -> None:
        """Ask a reader for one of its status reports, unless it refused that once."""
        if _STATUS_CODES[kind] not in self._stations[index].refused:
            command = {
                "command": osdp_sys.CMD_STATUS, "type": kind,
                "report": b"\0",  # asked for by the binding, not sent
            }  # fmt: skip
            self.submit(index, command)

    # -- the thread --------------------------------------------------------------------------

    def _work(self) -> None:
        error: Exception = ConnectionError("closed")
        channels: list[_Channel] = []
        try:
            self._line = self._open_line()
            channels = [_Channel(station, self) for station in self._stations]
            panel = self._panel(channels)
            while not self._closing.is_set():
                self._turn(panel, self._line)
        except Exception as raised:  # noqa: BLE001 (a thread's error belongs to its owner)
            error = raised
        finally:
            for channel in channels:
                channel.detach()
            if self._line is not None:
                self._line.close()
            for station in self._stations:
                station.drop()
            self._tell(-1, Ended(error))
            self._call(self._ended.set)

    def _panel(self, channels: list[_Channel]) -> Any:
        # What libosdp says goes to the console; faults are told by the driver instead.
        osdp_sys.set_loglevel(osdp_sys.LOG_EMERG)
        known = [
            {
                "name": f"pd-{station.station.address}", "address": station.station.address,
                "flags": _flags(station.station), "scbk": station.station.key,
                "channel": channel,
                # About readers that are simulated, not about those that are asked:
                "version": 0, "model": 0, "vendor_code": 0, "serial_number": 0,
                "firmware_version": 0,
            }
            for station, channel in zip(self._stations, channels, strict=True)
        ]  # fmt: skip
        panel = osdp_sys.ControlPanel(known)
        panel.set_event_callback(self._keep)
        return panel

    def _turn(self, panel: Any, line: Line) -> None:
        line.wait(_TURN_S)
        self._receive(line.read())
        self.held = self._hold()
        if self.held:
            time.sleep(_TURN_S)
            return
        while self._orders:
            index, request = self._orders.popleft()
            self._stations[index].waiting.append(request)
        now = time.monotonic()
        for station in self._stations:
            self._tend(panel, station, now)
        panel.refresh()
        if self._broken is not None:
            raise self._broken
        while self._raw:
            index, event = self._raw.popleft()
            copy = dict(event)
            _let_go(event)
            del event
            self._judge(self._stations[index], copy)

    def _tend(self, panel: Any, station: Talk, now: float) -> None:
        """Give a reader its next command, or ask a lost one anew."""
        index = station.index
        if station.retry_at is not None and now >= station.retry_at:
            # Switched off and on again libosdp begins from the reader's identity.
            if panel.is_pd_enabled(index):
                station.switched_off = True
                panel.disable_pd(index)
            elif panel.enable_pd(index):
                station.retry_at, station.switched_off = None, False
        if station.online and now - station.since > _SETTLED_S:
            station.pause_s = RETRY_S
        current = station.current
        if current is not None and now - current.given > _COMMAND_S:
            self.counts["commands_without_outcome"] += 1
            self._outcome(station, well=False)
        if station.current is None and station.waiting:
            request = station.waiting.popleft()
            station.current = request
            request.given = now
            if not station.online or not panel.submit_command(index, request.command):
                self._outcome(station, well=False)

    def _keep(self, index: int, event: dict[str, Any]) -> int:
        self._raw.append((index, event))
        return 0

    def _judge(self, station: Talk, event: dict[str, Any]) -> None:
        if event["event"] != osdp_sys.EVENT_NOTIFICATION:
            if station.station.key is not None and not station.secure:
                # Never believed: with a key set everything comes over the secure channel.
                self.counts["insecure_events"] += 1
                return
            self._tell(station.index, Told(event))
        elif event["type"] == _COMMAND_NOTE:
            self._outcome(station, well=bool(event["arg1"]))
        elif event["type"] == _CHANNEL_NOTE:
            station.secure = bool(event["arg0"]) and not event["arg1"]
        elif event["type"] == _STATUS_NOTE and not station.switched_off:
            self._went(station, online=bool(event["arg0"]))

    def _went(self, station: Talk, *, online: bool) -> None:
        now = time.monotonic()
        if online and station.station.key is not None and not station.secure:
            # In install mode libosdp would go on in clear.
            online = False
        if online:
            station.retry_at = None
            if not station.online:
                station.online, station.since = True, now
                self._tell(station.index, Online(online=True))
            return
        if station.retry_at is None:
            station.retry_at = now + station.pause_s
            station.pause_s = min(station.pause_s * 2, _RETRY_LIMIT_S)
        handshake = station.asked in (Code.CHLNG, Code.SCRYPT, Code.KEYSET)
        answered = station.heard_at >= station.asked_at
        why = "it answers without a right secure channel" if handshake else "no right answer"
        if answered and station.answer == Code.NAK:
            why = f"it refused the command {station.asked or 0:02X}h"
            if station.asked in (Code.LSTAT, Code.ISTAT):
                # The request that is never made again, however often the reader comes back.
                station.refused.add(station.asked)
                self.counts["status_refused"] += 1
        elif answered and station.asked == Code.CAP and station.station.key is not None:
            why, handshake = "it has no secure channel", True
        station.online = station.secure = False
        station.drop()
        self._tell(station.index, Online(online=False, why=why, credentials=handshake and answered))

    def _outcome(self, station: Talk, *, well: bool) -> None:
        request, station.current = station.current, None
        if request is not None and request.done is not None:
            request.done(well)

    # -- the line, as the channels see it ----------------------------------------------------

    def _receive(self, data: bytes) -> None:
        if not data:
            return
        self._received += data
        skipped = self._packets.skipped
        for packet in self._packets.feed(data):
            self._note(packet)
        if self._packets.skipped > skipped:
            self.counts["unread_bytes"] += self._packets.skipped - skipped

    def _note(self, packet: Packet) -> None:
        if not packet.reply:
            self.counts["echoes"] += 1
            return
        for station in self._stations:
            if station.station.address == packet.address:
                station.heard_at = time.monotonic()
                station.latency_ms = (station.heard_at - station.asked_at) * 1000
                station.answer = packet.code
                if packet.code == Code.NAK:
                    self.counts["refused_commands"] += 1
                return
        self.counts["strangers"] += 1

    def take(self, most: int) -> bytes:
        """Return bytes that were received."""
        data = bytes(self._received[:most])
        del self._received[:most]
        return data

    def send(self, station: Talk, data: bytes) -> int:
        """Send one command; what came before it belongs to no answer."""
        if self._received:
            self.counts["late_bytes"] += len(self._received)
        self.forget()
        sent = PacketReader().feed(data)
        station.asked = sent[0].code if sent else None
        station.asked_at = time.monotonic()
        try:
            return self._line.write(data) if self._line is not None else 0
        except OSError as error:
            self._broken = error
            return 0

    def forget(self) -> None:
        """Drop what was received."""
        self._received.clear()
        self._packets.clear()

    # -- towards the event loop --------------------------------------------------------------

    def _tell(self, index: int, news: News) -> None:
        self._call(lambda: self._listener(index, news))

    def _on_loop(self, done: Callable[[bool], None]) -> Callable[[bool], None]:
        return lambda well: self._call(lambda: done(well))

    def _call(self, act: Callable[[], None]) -> None:
        try:
            self._loop.call_soon_threadsafe(act)
        except RuntimeError:
            # The loop is closed: nobody is left to hear.
            self._closing.set()


def _flags(station: Station) -> int:
    flags: int = osdp_sys.FLAG_ENABLE_NOTIFICATION
    if station.key is not None and not station.install:
        flags |= osdp_sys.FLAG_ENFORCE_SECURE
    return flags


def _let_go(event: dict[str, Any]) -> None:
    """Give back the reference to an event that libosdp 3.2.9's binding forgets.

    Counted are the caller's name, this one's and the count's own; one more is the lost one.
    A binding that gives it back shows three, and nothing is done.
    """
    if sys.getrefcount(event) > 3:
        ctypes.pythonapi.Py_DecRef(ctypes.py_object(event))
