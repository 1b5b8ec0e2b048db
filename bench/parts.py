"""The processes that a measurement runs, and what they cost."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from core.runtime.broker import free_port

_MOSQUITTO = """\
listener {port} 127.0.0.1
allow_anonymous true
persistence false
max_queued_messages 0
max_inflight_messages 0
"""


@dataclass(frozen=True, slots=True)
class Cost:
    """CPU seconds and peak resident memory (MiB) of a process since its start."""

    cpu_s: float
    peak_mib: float


def cost(pid: int) -> Cost:
    """Read what a process has cost so far from /proc."""
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    ticks = int(fields[11]) + int(fields[12])
    status = Path(f"/proc/{pid}/status").read_text()
    peak = next(line for line in status.splitlines() if line.startswith("VmHWM"))
    return Cost(ticks / os.sysconf("SC_CLK_TCK"), int(peak.split()[1]) / 1024)


@contextlib.contextmanager
def broker(folder: Path) -> Iterator[tuple[int, int]]:
    """Run mosquitto; yield its port and process id."""
    program = shutil.which("mosquitto") or shutil.which("mosquitto", path="/usr/sbin")
    if program is None:
        raise SystemExit("bench: mosquitto is needed (Debian: apt-get install mosquitto)")
    port = free_port()
    config = folder / "mosquitto.conf"
    config.write_text(_MOSQUITTO.format(port=port))
    with process([program, "-c", str(config)], folder / "mosquitto.log") as started:
        time.sleep(0.3)
        yield port, started.pid


@contextlib.contextmanager
def part(folder: Path, name: str, *arguments: str) -> Iterator[int]:
    """Run one part by the ``estate`` command; yield its process id."""
    command = [sys.executable, "-m", "estate", name, *arguments]
    with process(command, folder / f"{name}.log") as started:
        yield started.pid


@contextlib.contextmanager
def process(command: list[str], log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Run a command with its output in a file; stop it afterwards. Its stdin stays open."""
    with log.open("ab") as output:
        started = subprocess.Popen(  # noqa: S603
            command, stdin=subprocess.PIPE, stdout=output, stderr=output
        )
    try:
        yield started
    finally:
        started.terminate()
        try:
            started.wait(10)
        except subprocess.TimeoutExpired:
            started.kill()
            started.wait()


def write_settings(folder: Path, broker_port: int, api_port: int) -> Path:
    """Write settings with a data folder of their own."""
    path = folder / "settings.yaml"
    settings = {
        "data": str(folder / "data"),
        "broker": {"embedded": False, "port": broker_port},
        "api": {"port": api_port},
        "topology": str(folder / "topology.yaml"),
    }
    path.write_text(json.dumps(settings))
    return path


def write_topology(folder: Path, edges: list[str], site: str) -> None:
    """Write a site with fifty meters and ten doors an edge."""
    name = {"zh": "测", "en": "bench"}
    devices = [_device(f"{e}-m{n}", "meter", e, site) for e in edges for n in range(50)]
    devices += [_device(f"{e}-door{n}", "door", e, site) for e in edges for n in range(10)]
    nodes = [
        {"id": "street", "level": "street", "name": name},
        {
            "id": site, "level": "site", "name": name, "parent": "street",
            "site_kind": "residential_estate",
        },
    ]  # fmt: skip
    topology = {
        "datum": "wgs84",
        "nodes": nodes,
        "edges": [{"id": edge, "site": site, "name": name} for edge in edges],
        "devices": devices,
    }
    (folder / "topology.yaml").write_text(json.dumps(topology))


def _device(id: str, family: str, edge: str, site: str) -> dict[str, object]:
    return {
        "id": id,
        "family": family,
        "name": {"zh": "测", "en": "bench"},
        "node": site,
        "edge": edge,
        "expect_s": 3600,
        "limits": {"power_w": 8800},
    }
