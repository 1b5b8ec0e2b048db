"""Telling whoever started this process that it is not only there but works (``sd_notify``).

A process that hangs, or that somebody has stopped, does not die: only its silence tells. systemd
(``WatchdogSec``) and :mod:`estate.supervisor` listen on the datagram socket that ``NOTIFY_SOCKET``
names, and start anew who was heard and falls silent.
"""

from __future__ import annotations

import os
import socket

#: Where a process says that it works: a path, or with ``@`` first a name of Linux's own.
NOTIFY_SOCKET = "NOTIFY_SOCKET"
#: Seconds between two words.
BEAT_S = 5.0
BEAT = b"WATCHDOG=1"


class Watchdog:
    """The side of the process that is watched; without ``NOTIFY_SOCKET`` it says nothing."""

    def __init__(self) -> None:
        name = os.environ.get(NOTIFY_SOCKET, "")
        self._address = "\0" + name[1:] if name.startswith("@") else name

    def beat(self) -> None:
        """Say that this process works; nobody has to hear it."""
        if not self._address:
            return
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as sender:
            try:
                sender.sendto(BEAT, self._address)
            except OSError:
                return  # he who watches has ended, or has not listened for long: it is his to act
