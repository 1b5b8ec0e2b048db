"""Log lines as a program reads them: every one an object that names its process."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
SCRIPT = """
import logging, threading
import structlog
from core.runtime import logs
from core.runtime.settings import LogSettings

logs.configure(LogSettings(json_lines=True), "edge-north")
log = structlog.get_logger()
with structlog.contextvars.bound_contextvars(request="r-1"):
    log.info("served")
thread = threading.Thread(target=lambda: log.info("on a thread"))
thread.start()
thread.join()
log.debug("left out")
logging.getLogger("a.library").warning("it %s", "broke")
logging.getLogger("a.library").info("left out")
try:
    1 / 0
except ZeroDivisionError:
    log.exception("failed")
"""


def test_every_line_is_an_object_that_names_its_process() -> None:
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT], cwd=ROOT, capture_output=True, text=True, check=True
    )
    lines = [json.loads(line) for line in (done.stdout + done.stderr).splitlines()]
    assert {line["process"] for line in lines} == {"edge-north"}
    assert all(line["timestamp"].endswith("Z") for line in lines)
    by_event = {line["event"]: line for line in lines}
    assert set(by_event) == {"served", "on a thread", "it broke", "failed"}
    assert by_event["served"]["request"] == "r-1"
    assert "request" not in by_event["on a thread"]
    assert by_event["it broke"]["level"] == "warning"
    assert "ZeroDivisionError" in by_event["failed"]["exception"]
    assert not done.stdout, "standard output is for what a person is told"


def test_a_crash_of_native_code_leaves_a_trace() -> None:
    crash = (
        "import os, signal\n"
        "from core.runtime import logs\n"
        "from core.runtime.settings import LogSettings\n"
        "logs.configure(LogSettings(json_lines=True), 'collector')\n"
        "def in_native_code():\n"
        "    os.kill(os.getpid(), signal.SIGSEGV)\n"
        "in_native_code()\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", crash], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == -signal.SIGSEGV
    assert "in in_native_code" in done.stderr
