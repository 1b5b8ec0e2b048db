"""What the C library keeps of memory that is free."""

from __future__ import annotations

import ctypes
import os
import sys

#: glibc's mallopt(3): number of the parameter, the variable that sets it from outside, the value.
_PARAMETERS = (
    (-1, "MALLOC_TRIM_THRESHOLD_", 256 * 1024),
    (-3, "MALLOC_MMAP_THRESHOLD_", 256 * 1024),
    (-8, "MALLOC_ARENA_MAX", 2),
)


def spare() -> None:
    """Let this process give large blocks back as soon as they are free; call it first of all.

    By itself glibc raises its thresholds with the largest block that was ever freed, up to 32 MiB,
    and gives each thread a heap of its own: what loading a street has taken for a moment then
    stays for ever. What the environment sets is left as it is, and so are other C libraries.
    """
    if not sys.platform.startswith("linux"):
        return
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:  # musl
        return
    for number, variable, value in _PARAMETERS:
        if variable not in os.environ:
            mallopt(number, value)
