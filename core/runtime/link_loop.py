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
from typing import Any

from paho.mqtt import client as paho

#: So often keepalive is looked at (s).
_MISC_S = 1.0


def run(client: paho.Client) -> str:
    """Serve a client whose ``connect`` was called, until its connection ends; return why."""
    woken, waker = socket.socketpair()
    with woken, waker:
        woken.setblocking(False)  # noqa: FBT003  (its own signature)
        waker.setblocking(False)  # noqa: FBT003

        def wake(_client: paho.Client, _data: Any, _socket: Any) -> None:
            with contextlib.suppress(OSError):  # it is awake already, or its connection has ended
                waker.send(b"\0")

        client.on_socket_register_write = wake
        try:
            return paho.error_string(_serve(client, woken))
        finally:
            client.on_socket_register_write = _nobody_listens


def _nobody_listens(_client: paho.Client, _data: Any, _socket: Any) -> None:
    """Take what a late publisher says: its message fails with the connection."""


def _serve(client: paho.Client, woken: socket.socket) -> int:
    misc_at = time.monotonic() + _MISC_S
    while (wire := client.socket()) is not None:
        # Decrypted bytes do not make a socket readable.
        waiting = getattr(wire, "pending", int)()
        poller = select.poll()  # unlike select() it takes any number of open files
        try:
            poller.register(woken, select.POLLIN)
            poller.register(wire, select.POLLIN | (select.POLLOUT if client.want_write() else 0))
            ready = dict(poller.poll(0 if waiting else _MISC_S * 1000))
            events = ready.get(wire.fileno(), 0)
        except (OSError, ValueError):  # closed under our hands
            return int(paho.MQTT_ERR_CONN_LOST)
        if woken.fileno() in ready:
            with contextlib.suppress(BlockingIOError):
                woken.recv(4096)
        code = paho.MQTT_ERR_SUCCESS
        if waiting or events & ~select.POLLOUT:
            code = client.loop_read()
        if code == paho.MQTT_ERR_SUCCESS and (events & select.POLLOUT or client.want_write()):
            code = client.loop_write()
        if code == paho.MQTT_ERR_SUCCESS and time.monotonic() >= misc_at:
            misc_at = time.monotonic() + _MISC_S
            code = client.loop_misc()
        if code != paho.MQTT_ERR_SUCCESS:
            return int(code)
    return int(paho.MQTT_ERR_SUCCESS)
