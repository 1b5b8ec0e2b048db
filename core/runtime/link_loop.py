"""The network loop of one connection: one thread reads and writes, others only wake it.

paho's own ``loop_forever`` lets whoever publishes write to the socket itself, beside the thread
that reads, and without a lock: the records of a TLS connection and the halves of packets that
were sent in parts then mix, and the broker closes the connection as malformed.
"""

from __future__ import annotations

import contextlib
import select
import socket
import time
from collections.abc import Callable
from typing import Any

from paho.mqtt import client as paho
from paho.mqtt.enums import MQTTErrorCode

from core.runtime.link_wire import Arrival, MalformedError, Wire

#: So often keepalive is looked at (s).
_MISC_S = 1.0


class Client(paho.Client):
    """A client that gets its messages in bulk: ``take`` is called with them and the wire."""

    take: Callable[[Wire, list[Arrival]], None]

    def _create_socket(self) -> Wire:  # paho has no other way to give it a socket
        made: Any = super()._create_socket()
        # Receipts and answers are small: each would wait for the network's answer to the last.
        made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return Wire(made, self.take)


def run(client: Client) -> str:
    """Serve a client whose ``connect`` was called, until its connection ends; return why."""
    wire = client.socket()
    if not isinstance(wire, Wire):
        return paho.error_string(paho.MQTT_ERR_NO_CONN)
    woken, waker = socket.socketpair()
    with woken, waker:
        woken.setblocking(False)  # noqa: FBT003  (its own signature)
        waker.setblocking(False)  # noqa: FBT003

        bell = _Bell(waker, woken)
        client.on_socket_register_write = bell.ring
        wire.wake = bell.ring
        try:
            return paho.error_string(_serve(client, wire, bell))
        except MalformedError as error:
            return str(error)
        finally:
            client.on_socket_register_write = _nobody_listens
            wire.wake = _nobody_listens
            wire.close()


class _Bell:
    """Wakes the loop: rung any number of times, it is heard once."""

    def __init__(self, waker: socket.socket, woken: socket.socket) -> None:
        self._waker = waker
        self._woken = woken
        self._rung = False

    def ring(self, *_: Any) -> None:
        """Wake the loop; from any thread."""
        if not self._rung:
            self._rung = True
            with contextlib.suppress(OSError):  # its connection has ended
                self._waker.send(b"\0")

    def fileno(self) -> int:
        """Return what becomes readable when it is rung."""
        return self._woken.fileno()

    def hear(self) -> None:
        """Take that it was rung, before looking at why."""
        with contextlib.suppress(BlockingIOError):
            self._woken.recv(16)
        self._rung = False


def _nobody_listens(*_: Any) -> None:
    """Take what a late publisher says: its message fails with the connection."""


def _serve(client: Client, wire: Wire, bell: _Bell) -> int:
    misc_at = time.monotonic() + _MISC_S
    while client.socket() is not None:
        # Decrypted bytes do not make a socket readable.
        waiting = wire.pending()
        poller = select.poll()  # unlike select() it takes any number of open files
        writes = client.want_write() or wire.owes
        try:
            poller.register(bell, select.POLLIN)
            poller.register(wire, select.POLLIN | (select.POLLOUT if writes else 0))
            ready = dict(poller.poll(0 if waiting else _MISC_S * 1000))
            events = ready.get(wire.fileno(), 0)
        except (OSError, ValueError):  # closed under our hands
            return int(paho.MQTT_ERR_CONN_LOST)
        if bell.fileno() in ready:
            bell.hear()
        code = paho.MQTT_ERR_SUCCESS
        if waiting or events & ~select.POLLOUT:
            code = _read(client, wire)
        if code == paho.MQTT_ERR_SUCCESS:
            code = _write(client, wire, ready=bool(events & select.POLLOUT))
        if code == paho.MQTT_ERR_SUCCESS and time.monotonic() >= misc_at:
            misc_at = time.monotonic() + _MISC_S
            code = client.loop_misc()
        if code != paho.MQTT_ERR_SUCCESS:
            return int(code)
    return int(paho.MQTT_ERR_SUCCESS)


def _read(client: Client, wire: Wire) -> MQTTErrorCode:
    try:
        wire.fetch()
    except OSError:
        return paho.MQTT_ERR_CONN_LOST
    code = paho.MQTT_ERR_SUCCESS
    while code == paho.MQTT_ERR_SUCCESS and wire.receive():
        code = client.loop_read()
    return code


def _write(client: Client, wire: Wire, *, ready: bool) -> MQTTErrorCode:
    try:
        wire.flush()
    except OSError:
        return paho.MQTT_ERR_CONN_LOST
    if ready or client.want_write():
        return client.loop_write()
    return paho.MQTT_ERR_SUCCESS
