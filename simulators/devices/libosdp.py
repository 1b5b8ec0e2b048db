"""libosdp's peripheral device by its C interface (``osdp.h`` of 3.2.9).

The Python binding cannot answer a request for a status: it drops the report. So the library
that the binding's module carries is called directly; nothing of the protocol is done here.
"""

from __future__ import annotations

import ctypes as c
from collections.abc import Callable, Mapping

import osdp_sys

_REPORT_BYTES = 64
_DATA_BYTES = 64
#: What a reader's memory holds until it is asked.
_MOST_EVENTS = 4
#: More than any event takes: libosdp copies a whole one.
_UNION_BYTES = 256

_Receive = c.CFUNCTYPE(c.c_int, c.c_void_p, c.POINTER(c.c_uint8), c.c_int)
_Send = c.CFUNCTYPE(c.c_int, c.c_void_p, c.POINTER(c.c_uint8), c.c_int)
_Flush = c.CFUNCTYPE(None, c.c_void_p)


class _Channel(c.Structure):
    _fields_ = (
        ("data", c.c_void_p), ("id", c.c_int), ("recv", _Receive), ("recv_pkt", c.c_void_p),
        ("send", _Send), ("flush", _Flush), ("release_pkt", c.c_void_p), ("close", c.c_void_p),
    )  # fmt: skip


class _Capability(c.Structure):
    _fields_ = (("function", c.c_uint8), ("level", c.c_uint8), ("items", c.c_uint8))


class _Identity(c.Structure):
    _fields_ = (
        ("version", c.c_int), ("model", c.c_int), ("vendor", c.c_uint32),
        ("serial", c.c_uint32), ("firmware", c.c_uint32),
    )  # fmt: skip


class _Information(c.Structure):
    _fields_ = (
        ("name", c.c_char_p), ("baud", c.c_int), ("address", c.c_int), ("flags", c.c_int),
        ("identity", _Identity), ("capabilities", c.POINTER(_Capability)),
        ("channel", _Channel), ("key", c.c_char_p),
    )  # fmt: skip


class _Report(c.Structure):
    _fields_ = (("type", c.c_int), ("entries", c.c_int), ("report", c.c_uint8 * _REPORT_BYTES))


class _Output(c.Structure):
    _fields_ = (("number", c.c_uint8), ("control", c.c_uint8), ("tenths", c.c_uint16))


class _CardRead(c.Structure):
    _fields_ = (
        ("reader", c.c_int), ("format", c.c_int), ("direction", c.c_int), ("length", c.c_int),
        ("data", c.c_uint8 * _DATA_BYTES),
    )  # fmt: skip


class _KeyPress(c.Structure):
    _fields_ = (("reader", c.c_int), ("length", c.c_int), ("data", c.c_uint8 * _DATA_BYTES))


class _Body(c.Union):
    _fields_ = (
        ("report", _Report), ("output", _Output), ("card", _CardRead), ("keys", _KeyPress),
        ("room", c.c_uint8 * _UNION_BYTES),
    )  # fmt: skip


class _Message(c.Structure):
    """A command or an event: both begin with the queue's links, a number and flags."""

    _fields_ = (
        ("next", c.c_void_p), ("previous", c.c_void_p),
        ("number", c.c_int), ("flags", c.c_uint32), ("body", _Body),
    )  # fmt: skip


_Obey = c.CFUNCTYPE(c.c_int, c.c_void_p, c.POINTER(_Message))
_Completed = c.CFUNCTYPE(None, c.c_void_p, c.c_void_p, c.c_int)


def _library() -> c.CDLL:
    library = c.CDLL(osdp_sys.__file__)
    library.osdp_pd_setup.restype = c.c_void_p
    library.osdp_pd_setup.argtypes = (c.POINTER(_Information),)
    library.osdp_pd_set_command_callback.argtypes = (c.c_void_p, _Obey, c.c_void_p)
    library.osdp_pd_set_command_callback.restype = None
    library.osdp_pd_set_event_completion_callback.argtypes = (c.c_void_p, _Completed, c.c_void_p)
    library.osdp_pd_set_event_completion_callback.restype = None
    library.osdp_pd_submit_event.argtypes = (c.c_void_p, c.POINTER(_Message))
    library.osdp_pd_refresh.argtypes = (c.c_void_p,)
    library.osdp_pd_refresh.restype = None
    library.osdp_pd_teardown.argtypes = (c.c_void_p,)
    library.osdp_pd_teardown.restype = None
    library.osdp_get_sc_status_mask.argtypes = (c.c_void_p, c.POINTER(c.c_uint8))
    library.osdp_get_sc_status_mask.restype = None
    return library


class PeripheralDevice:
    """One reader's end of the protocol, on a line that is fed and emptied by its owner.

    ``state`` returns the report of a kind (libosdp's number), ``switch`` takes (output, control
    code, tenths of a second), and ``refuses`` tells whether a command is answered with NAK.
    """

    def __init__(
        self,
        address: int,
        key: bytes | None,
        capabilities: Mapping[int, int],
        *,
        enforce: bool,
        state: Callable[[int], bytes],
        switch: Callable[[int, int, int], None],
        refuses: Callable[[int], bool],
    ) -> None:
        self.received = bytearray()
        self.written: list[bytes] = []
        self._state, self._switch, self._refuses = state, switch, refuses
        osdp_sys.set_loglevel(osdp_sys.LOG_EMERG)
        rows = [_Capability(code, 1, items) for code, items in capabilities.items() if items]
        # libosdp reads a function code of 0 as the end.
        table = (_Capability * (len(rows) + 1))(*rows, _Capability(0, 0, 0))
        # Callbacks live as long as the device does.
        self._callbacks = (_Receive(self._receive), _Send(self._send), _Flush(self._flush))
        receive, send, flush = self._callbacks
        self._obeys = _Obey(self._obey)
        information = _Information(
            name=f"reader-{address}".encode(), baud=9600, address=address,
            flags=osdp_sys.FLAG_ENFORCE_SECURE if enforce else 0,
            identity=_Identity(1, 1, 0x00A0B0, address, 0x010203), capabilities=table,
            channel=_Channel(id=1, recv=receive, send=send, flush=flush), key=key,
        )  # fmt: skip
        self._library = _library()
        self._context: int | None = self._library.osdp_pd_setup(c.byref(information))
        if self._context is None:
            raise ValueError("libosdp does not take this reader")
        # An event belongs to whoever queued it, until it is told that it is done with.
        self._queued: dict[int, _Message] = {}
        self._completes = _Completed(self._completed)
        self._library.osdp_pd_set_command_callback(self._context, self._obeys, None)
        self._library.osdp_pd_set_event_completion_callback(self._context, self._completes, None)

    def refresh(self) -> None:
        """Deal with what was received."""
        self._library.osdp_pd_refresh(self._context)

    def close(self) -> None:
        """Give everything back."""
        if self._context is not None:
            self._library.osdp_pd_teardown(self._context)
            self._context = None

    @property
    def secure(self) -> bool:
        """Tell whether a secure channel stands."""
        mask = (c.c_uint8 * 16)()
        self._library.osdp_get_sc_status_mask(self._context, mask)
        return bool(mask[0] & 1)

    def card(self, bits: int, data: bytes) -> bool:
        """Queue a card read; False where the queue is full."""
        message = _Message(number=osdp_sys.EVENT_CARDREAD)
        message.body.card.format = osdp_sys.CARD_FMT_RAW_WIEGAND
        message.body.card.length = bits
        message.body.card.data[: len(data)] = data
        return self._submit(message)

    def keys(self, data: bytes) -> bool:
        """Queue pressed keys; False where the queue is full."""
        message = _Message(number=osdp_sys.EVENT_KEYPRESS)
        message.body.keys.length = len(data)
        message.body.keys.data[: len(data)] = data
        return self._submit(message)

    def status(self, kind: int, report: bytes) -> bool:
        """Queue a status that nobody asked for; False where the queue is full."""
        message = _Message(number=osdp_sys.EVENT_STATUS)
        _fill(message.body.report, kind, report)
        return self._submit(message)

    def _submit(self, message: _Message) -> bool:
        if len(self._queued) >= _MOST_EVENTS:
            return False
        self._queued[c.addressof(message)] = message
        taken = int(self._library.osdp_pd_submit_event(self._context, c.byref(message))) == 0
        if not taken:
            del self._queued[c.addressof(message)]
        return taken

    # -- called by libosdp -------------------------------------------------------------------

    def _receive(self, _: int, buffer: c._Pointer[c.c_uint8], most: int) -> int:
        count = min(most, len(self.received))
        if count:
            c.memmove(buffer, bytes(self.received[:count]), count)
            del self.received[:count]
        return count

    def _send(self, _: int, buffer: c._Pointer[c.c_uint8], length: int) -> int:
        self.written.append(c.string_at(buffer, length))
        return length

    def _completed(self, _: int, event: int, __: int) -> None:
        self._queued.pop(event, None)

    def _flush(self, _: int) -> None:
        self.received.clear()

    def _obey(self, _: int, command: c._Pointer[_Message]) -> int:
        message = command.contents
        if self._refuses(message.number):
            return -1
        if message.number == osdp_sys.CMD_STATUS:
            kind = message.body.report.type
            _fill(message.body.report, kind, self._state(kind))
        elif message.number == osdp_sys.CMD_OUTPUT:
            output = message.body.output
            self._switch(output.number, output.control, output.tenths)
        return 0


def _fill(target: _Report, kind: int, report: bytes) -> None:
    target.type, target.entries = kind, len(report)
    target.report[: len(report)] = report
