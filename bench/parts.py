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
from typing import Any

import httpx

from core.runtime.broker import free_port

_MOSQUITTO = """\
listener {port} 127.0.0.1
allow_anonymous true
persistence false
max_queued_messages 0
max_inflight_messages 0
set_tcp_nodelay true
"""


#: What an InfluxDB 1.x is told, beside its port and folder.
_INFLUXDB = """\
reporting-disabled = true
bind-address = "127.0.0.1:0"
[meta]
dir = "{folder}/meta"
[data]
dir = "{folder}/data"
wal-dir = "{folder}/wal"
query-log-enabled = false
[monitor]
store-enabled = false
[http]
bind-address = "127.0.0.1:{port}"
log-enabled = false
[logging]
level = "warn"
"""


@dataclass(frozen=True, slots=True)
class Cost:
    """CPU seconds and peak resident memory (MiB) of processes since their start."""

    cpu_s: float
    peak_mib: float

    def __add__(self, other: Cost) -> Cost:
        return Cost(self.cpu_s + other.cpu_s, self.peak_mib + other.peak_mib)


def children(pid: int) -> list[int]:
    """Return the ids of a process's children."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            parent = int(path.read_text().rpartition(")")[2].split()[1])
        except (OSError, ValueError):
            continue  # it has ended meanwhile
        if parent == pid:
            found.append(int(path.parent.name))
    return found


def cost(pid: int) -> Cost:
    """Read what a process and its children (a collector's companion) have cost so far."""
    total = _cost(pid)
    for child in children(pid):
        with contextlib.suppress(OSError):  # it has ended meanwhile
            total += _cost(child)
    return total


def _cost(pid: int) -> Cost:
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    ticks = int(fields[11]) + int(fields[12])
    status = Path(f"/proc/{pid}/status").read_text()
    peak = next(line for line in status.splitlines() if line.startswith("VmHWM"))
    return Cost(ticks / os.sysconf("SC_CLK_TCK"), int(peak.split()[1]) / 1024)


def own_mib(pid: int) -> float:
    """Return the resident memory (MiB) that is a process's own; files it has mapped are not.

    A process that has ended has none.
    """
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return 0.0
    line = next((line for line in status.splitlines() if line.startswith("RssAnon")), "RssAnon: 0")
    return int(line.split()[1]) / 1024


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
def influxdb(folder: Path) -> Iterator[str | None]:
    """Run InfluxDB 1.x; yield its address, or None where it is not installed."""
    program = shutil.which("influxd")
    if program is None:
        yield None
        return
    port = free_port()
    config = folder / "influxdb.conf"
    config.write_text(_INFLUXDB.format(folder=folder / "influxdb", port=port))
    url = f"http://127.0.0.1:{port}"
    with process([program, "-config", str(config)], folder / "influxdb.log"):
        deadline = time.monotonic() + 30
        while not _answers(url):
            if time.monotonic() > deadline:
                raise SystemExit("bench: InfluxDB does not answer")
            time.sleep(0.1)
        yield url


def _answers(url: str) -> bool:
    try:
        return httpx.get(f"{url}/ping", timeout=2).is_success
    except httpx.HTTPError:
        return False


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


def write_settings(
    folder: Path, broker_port: int, api_port: int, influxdb: str | None = None
) -> Path:
    """Write settings with a data folder of their own, and the embedded store or an InfluxDB."""
    path = folder / "settings.yaml"
    settings: dict[str, Any] = {
        "data": str(folder / "data"),
        "broker": {"embedded": False, "port": broker_port},
        "api": {"port": api_port},
        "topology": str(folder / "topology.yaml"),
    }
    if influxdb is not None:
        settings["series"] = {"kind": "influxdb", "influxdb": {"url": influxdb}}
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
