"""A companion, or a collector's projections over a folder, that a marker in an event kills.

Usage: ``python -m tests.collector.deadly FOLDER [RECORDS]`` folds the log there to its end, into
the records at an address where one is given. With a number in place of the folder it is a
companion's process (see collector/companion_process.py).
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from typing import Any

from collector import companion_process
from core.contracts.codec import Event
from core.storage.series import days
from rules.judge import Judge

MARKER = 666.0


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)
    signal.pause()


def arm() -> None:
    fold, encode = Judge.event, days.encode_data

    def event(self: Judge, subject: Any, event: Event, *rest: Any) -> None:
        if getattr(event.data, "power_w", None) == MARKER:
            die()
        fold(self, subject, event, *rest)

    def encode_data(data: Any) -> bytes:
        if getattr(data, "power_w", None) == MARKER:
            die()
        return encode(data)

    Judge.event = event  # type: ignore[method-assign]
    days.encode_data = encode_data


if __name__ == "__main__":
    arm()
    if sys.argv[1].isdigit():
        companion_process.main(int(sys.argv[1]))
    else:
        from tests.collector.works import Works

        works = Works(Path(sys.argv[1]), *sys.argv[2:])
        works.settle()
        works.close()
