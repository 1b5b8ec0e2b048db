"""What has been freed is given back to the system."""

from __future__ import annotations

import ctypes
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent.parent
#: Large blocks, each with a small one behind it that stays, after one block was larger still.
SCRIPT = """
import ctypes
from core.runtime import memory

def own_kib():
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("RssAnon"))

memory.spare()
malloc, free = ctypes.CDLL(None).malloc, ctypes.CDLL(None).free
malloc.restype, malloc.argtypes = ctypes.c_void_p, [ctypes.c_size_t]
free.argtypes = [ctypes.c_void_p]
free(malloc(24 << 20))
before = own_kib()
blocks = []
for _ in range(40):
    blocks.append(malloc(1 << 20))
    ctypes.memset(blocks[-1], 1, 1 << 20)
    ctypes.memset(malloc(64), 1, 64)
held = own_kib()
for block in blocks:
    free(block)
print(held - before, own_kib() - before)
"""


@pytest.mark.skipif(
    not sys.platform.startswith("linux") or not hasattr(ctypes.CDLL(None), "mallopt"),
    reason="glibc only",
)
def test_large_blocks_go_back_at_once_though_small_ones_stay() -> None:
    ran = subprocess.run(
        [sys.executable, "-c", SCRIPT], cwd=ROOT, capture_output=True, text=True, check=True
    )
    held, left = map(int, ran.stdout.split())
    assert held > 35_000
    assert left < 2_000
