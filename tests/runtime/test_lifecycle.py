"""How a process stops: in order, within its limit, and also while it is still starting."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from core.runtime.lifecycle import STOP_S

ROOT = Path(__file__).resolve().parent.parent.parent
SCRIPT = """
import asyncio, sys, time
from core.runtime import lifecycle, logs
from core.runtime.settings import LogSettings

logs.configure(LogSettings(), "test")
START_S, STOP_S = map(float, sys.argv[1:3])

class App:
    async def start(self):
        print("starting", flush=True)
        await asyncio.to_thread(time.sleep, START_S)
        print("started", flush=True)

    async def stop(self):
        print("stopping", flush=True)
        await asyncio.to_thread(time.sleep, STOP_S)
        print("stopped", flush=True)

lifecycle.run(App(), ready=lambda: print("ready", flush=True), stop_s=float(sys.argv[3]))
"""


@pytest.mark.parametrize(
    ("start_s", "stop_s", "at", "said", "code"),
    [
        (0.0, 0.1, "ready", ["stopping", "stopped"], 0),
        # A start in a thread comes to its end first, so that everything it opened is closed.
        (0.7, 0.1, "starting", ["started", "stopping", "stopped"], 0),
        (0.0, 60.0, "ready", ["stopping"], 1),
    ],
)
def test_sigterm_stops_in_order_and_in_time(
    start_s: float, stop_s: float, at: str, said: list[str], code: int
) -> None:
    limit = "0.3" if code else str(STOP_S)
    process = subprocess.Popen(
        [sys.executable, "-c", SCRIPT, str(start_s), str(stop_s), limit],
        cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        assert process.stdout is not None
        while process.stdout.readline().strip() != at:
            assert process.poll() is None, "it ended"
        asked = time.monotonic()
        process.send_signal(signal.SIGTERM)
        rest, errors = process.communicate(timeout=20)
        assert time.monotonic() - asked < 6
    finally:
        process.kill()
        process.wait()
    assert rest.split() == said
    assert process.returncode == code
    assert ("not stopped in time" in errors) is (code == 1)
