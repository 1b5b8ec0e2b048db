"""``make bench``: prints the figures and keeps them with the commit in docs/benchmarks.md."""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
import uuid
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from bench import edge_load, outage
from bench.latency import Latency, measure
from bench.parts import Cost, broker, cost, part, write_settings, write_topology
from bench.wire import SITE, BenchEdge, Generator, prepare
from core.runtime import settings
from core.runtime.broker import free_port
from core.storage.records import Records
from core.storage.series import open_reader
from dashboard_api.auth.service import issue_sign_in_link

_EDGES = 4
_ROOT = Path(__file__).resolve().parent.parent
_FOREVER = 4_102_444_800_000


@dataclass(frozen=True, slots=True)
class Throughput:
    """One run: events/s until the last receipt, until all is stored, and the collector's cost."""

    events: int
    receipts: float
    stored: float
    collector: Cost
    broker: Cost


def main() -> None:
    """Measure, print, keep."""
    parser = argparse.ArgumentParser(prog="bench", description=__doc__)
    parser.add_argument("--events", type=int, default=400_000, help="events in batches of 100")
    parser.add_argument("--singles", type=int, default=40_000, help="events one by one")
    parser.add_argument("--seconds", type=float, default=20, help="of the latency run")
    parser.add_argument("--days", type=float, default=0.5, help="of the outage that is drained")
    parser.add_argument("--keep", action="store_true", help="add a row to docs/benchmarks.md")
    options = parser.parse_args()
    lines = []
    for size, events in ((100, options.events), (1, options.singles)):
        floor = _floor(size, events)
        whole = _whole(size, events)
        lines.append(_row(size, floor, whole))
        print(lines[-1], flush=True)
    latency = _latency(options.seconds)
    lines.append(
        f"| latency | {latency.rate:,.0f} events/s offered | p50 {latency.p50_ms:.0f} ms "
        f"| p99 {latency.p99_ms:.0f} ms | {latency.count} alerts | |"
    )
    print(lines[-1], flush=True)
    with tempfile.TemporaryDirectory() as name:
        lines.append(edge_load.measure(options.seconds * 2, Path(name)).row())
    print(lines[-1], flush=True)
    with tempfile.TemporaryDirectory() as name:
        lines.append(outage.measure(options.days, Path(name)).row(options.days))
    print(lines[-1], flush=True)
    if options.keep:
        _keep(lines)


def _row(size: int, floor: float, whole: Throughput) -> str:
    return (
        f"| batches of {size} | floor {floor:,.0f}/s | receipts {whole.receipts:,.0f}/s "
        f"| stored, rules done {whole.stored:,.0f}/s ({whole.stored / floor:.2f} × floor) "
        f"| collector {whole.collector.cpu_s:.1f} s CPU, {whole.collector.peak_mib:.0f} MiB "
        f"| broker {whole.broker.cpu_s:.1f} s CPU |"
    )


def _prepared(size: int, events: int) -> tuple[list[BenchEdge], int, int]:
    """Return the edges, how many events they hold, and a time (ms) after all of these."""
    limit = time.time_ns() // 1_000_000
    batches = events // size // _EDGES
    edges = [
        prepare(f"bench-{n}", str(uuid.uuid4()), batches, size, limit - events)
        for n in range(_EDGES)
    ]
    return edges, batches * size * _EDGES, limit


def _floor(size: int, events: int) -> float:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        edges, expected, _ = _prepared(size, events)
        with broker(folder) as (port, _):
            command = [sys.executable, "-m", "bench.floor", str(port), str(expected)]
            process = subprocess.Popen(  # noqa: S603
                [*command, str(folder / "floor.sqlite")], stdout=subprocess.PIPE, text=True
            )
            assert process.stdout is not None  # noqa: S101
            process.stdout.readline()
            generator = Generator(port, edges)
            generator.connect()
            generator.flood()
            seconds = float(process.stdout.readline())
            process.wait(10)
            generator.close()
        return expected / seconds


def _whole(size: int, events: int) -> Throughput:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        edges, expected, limit = _prepared(size, events)
        write_topology(folder, [edge.name for edge in edges], SITE)
        with broker(folder) as (port, broker_pid):
            file = write_settings(folder, port, free_port())
            with part(folder, "collector", "--settings", str(file)) as pid:
                _await_log(folder / "collector.log", "runs")
                generator = Generator(port, edges)
                generator.connect()
                began = time.monotonic()
                receipts = generator.run(300)
                stored = _await_stored(file, expected, limit, began)
                result = Throughput(
                    expected, expected / receipts, expected / stored, cost(pid), cost(broker_pid)
                )
                generator.close()
        return result


def _await_log(path: Path, word: str) -> None:
    deadline = time.monotonic() + 30
    while word not in path.read_text(errors="replace"):
        if time.monotonic() > deadline:
            raise SystemExit(f"bench: not started:\n{path.read_text(errors='replace')[-2000:]}")
        time.sleep(0.05)


def _await_stored(file: Path, expected: int, limit: int, began: float) -> float:
    """Wait until the store holds exactly what was sent and the rules have folded it."""
    loaded = settings.load(file)
    reader = open_reader(loaded)
    deadline = time.monotonic() + 300
    try:
        while (count := reader.count(0, limit)) < expected:
            if time.monotonic() > deadline:
                raise SystemExit(f"bench: {count} of {expected} events are stored")
            time.sleep(0.1)
        if count != expected:
            raise SystemExit(f"bench: {count} stored, {expected} sent")
    finally:
        reader.close()
    return time.monotonic() - began


def _latency(seconds: float) -> Latency:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_topology(folder, ["bench-0"], SITE)
        _add_doors(folder, int(seconds * 10))
        with broker(folder) as (port, _):
            api_port = free_port()
            file = write_settings(folder, port, api_port)
            with (
                part(folder, "collector", "--settings", str(file)),
                part(folder, "api", "--settings", str(file)),
            ):
                _await_log(folder / "collector.log", "runs")
                _await_log(folder / "api.log", "listens")
                records = Records(settings.load(file).records_url)
                records.open()
                token = issue_sign_in_link(records)
                records.close()
                url = f"http://127.0.0.1:{api_port}"
                return measure(port, "bench-0", url, token, seconds)


def _add_doors(folder: Path, count: int) -> None:
    path = folder / "topology.yaml"
    topology = json.loads(path.read_text())
    name = {"zh": "门", "en": "door"}
    topology["devices"] = [d for d in topology["devices"] if d["family"] != "door"]
    topology["devices"] += [
        {
            "id": f"bench-0-door{number}", "family": "door", "name": name, "node": SITE,
            "edge": "bench-0", "expect_s": 3600,
        }
        for number in range(count)
    ]  # fmt: skip
    path.write_text(json.dumps(topology))


def _keep(lines: list[str]) -> None:
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"],  # noqa: S607
        capture_output=True, text=True, check=False, cwd=_ROOT,
    ).stdout.strip()  # fmt: skip
    path = _ROOT / "docs" / "benchmarks.md"
    when = datetime.now(UTC).strftime("%Y-%m-%d")
    cores = len(os.sched_getaffinity(0))
    text = [
        "",
        f"## {when}, commit {commit}",
        "",
        f"{cores} cores, Python {platform.python_version()}; broker and generator on them too.",
        "",
        "| | | | | | |",
        "|---|---|---|---|---|---|",
        *lines,
        "",
    ]
    with path.open("a", encoding="utf-8") as file:
        file.write("\n".join(text))


if __name__ == "__main__":
    main()
