"""The collector's memory while its series store is down for an hour of a whole street.

Usage: python -m bench.store_down [--share 1] [--hours 1]. The hour's events are sent as fast as
they go; InfluxDB is looked for where nobody listens. Main process and companion are counted.
"""

from __future__ import annotations

import argparse
import tempfile
import threading
import time
from dataclasses import dataclass
from pathlib import Path

import msgspec

from bench.parts import broker, children, cost, own_mib, part, write_settings
from bench.throughput import await_log
from core.runtime.broker import free_port
from core.runtime.clock import ScaledClock
from core.runtime.settings import BrokerSettings
from simulators.scale.plan import StreetPlan
from simulators.scale.street import Street

_SAMPLE_S = 0.5
#: A collector that uses less than so much of a core has loaded its topology.
_IDLE = 0.1


@dataclass(frozen=True, slots=True)
class Down:
    """What the collector came to: resident memory of its own (MiB), at most and at the end."""

    devices: int
    events: int
    seconds: float
    peak_mib: float
    last_mib: float
    start_mib: float
    """Before the first event, the topology loaded."""
    loading_mib: float
    """At most while it started: the topology is read, checked, and stored for the console."""

    def row(self) -> str:
        """Return the row of the benchmark's table."""
        return (
            f"| series store down | {self.devices:,} devices, {self.events:,} events in "
            f"{self.seconds:.0f} s ({self.events / self.seconds:,.0f}/s), all receipted "
            f"| collector and companion: before {self.start_mib:.0f} MiB "
            f"(loading at most {self.loading_mib:.0f}) "
            f"| at the end {self.last_mib:.0f} MiB | at most {self.peak_mib:.0f} MiB | |"
        )


def measure(share: float, hours: float, folder: Path) -> Down:
    """Send the events of so many hours; raises EstateError where receipts do not come."""
    plan = StreetPlan(share)
    file_of_topology = folder / "topology.json"
    file_of_topology.write_bytes(msgspec.json.encode(plan.topology()))
    with broker(folder) as (port, _):
        nowhere = f"http://127.0.0.1:{free_port()}"
        file = write_settings(folder, port, free_port(), nowhere)
        options = ("--settings", str(file), "--topology", str(file_of_topology))
        with part(folder, "collector", *options) as pid:
            loading = _Sampler(pid)
            await_log(folder / "collector.log", "runs")
            _await_idle(pid)
            loading.stop()
            start = _memory(pid)
            sampler = _Sampler(pid)
            street = Street(plan, BrokerSettings(port=port), ScaledClock())
            played = street.play(round(hours * 3600), flat_out=True)
            time.sleep(5)
            last = _memory(pid)
            sampler.stop()
    return Down(
        plan.devices, played.events, played.real_s, max(sampler.peak, last), last, start,
        loading.peak,
    )  # fmt: skip


def _await_idle(pid: int) -> None:
    used = cost(pid).cpu_s
    while True:
        time.sleep(2)
        before, used = used, cost(pid).cpu_s
        if used - before < 2 * _IDLE:
            return


class _Sampler:
    def __init__(self, pid: int) -> None:
        self.peak = 0.0
        self._pid = pid
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self._stopping.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stopping.wait(_SAMPLE_S):
            self.peak = max(self.peak, _memory(self._pid))


def _memory(pid: int) -> float:
    return sum(own_mib(each) for each in (pid, *children(pid)))


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="bench.store_down", description=__doc__)
    parser.add_argument("--share", type=float, default=1)
    parser.add_argument("--hours", type=float, default=1)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        print(measure(options.share, options.hours, Path(name)).row())


if __name__ == "__main__":
    main()
