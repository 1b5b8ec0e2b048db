"""``make bench``: prints the figures and keeps them with the commit in docs/benchmarks.md."""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import tempfile
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from bench import edge_load, outage, store_down, throughput
from bench.latency import Latency, measure
from bench.parts import broker, part, write_settings, write_topology
from bench.throughput import await_log
from bench.wire import SITE
from core.runtime import settings
from core.runtime.broker import free_port
from core.storage.records import Records
from dashboard_api.auth.service import issue_sign_in_link

_ROOT = Path(__file__).resolve().parent.parent


def main() -> None:
    """Measure, print, keep."""
    parser = argparse.ArgumentParser(prog="bench", description=__doc__)
    parser.add_argument("--events", type=int, default=400_000, help="events in batches of 100")
    parser.add_argument("--singles", type=int, default=40_000, help="events one by one")
    parser.add_argument("--seconds", type=float, default=20, help="of the latency run")
    parser.add_argument("--days", type=float, default=0.5, help="of the outage that is drained")
    parser.add_argument(
        "--share", type=float, default=1, help="of a street whose store is down for an hour"
    )
    parser.add_argument("--keep", action="store_true", help="add a row to docs/benchmarks.md")
    options = parser.parse_args()
    lines = []
    for row in _rows(options):
        print(row, flush=True)
        lines.append(row)
    if options.keep:
        _keep(lines)


def _rows(options: argparse.Namespace) -> Iterator[str]:
    """Yield the rows, each when it is measured."""
    yield from throughput.rows(100, options.events)
    yield from throughput.rows(1, options.singles)
    for rate in (1_000, 10_000):
        latency = _latency(options.seconds, rate)
        yield (
            f"| latency | {latency.rate:,.0f} events/s offered | p50 {latency.p50_ms:.0f} ms "
            f"| p99 {latency.p99_ms:.0f} ms | {latency.count} alerts | |"
        )
    with tempfile.TemporaryDirectory() as name:
        yield edge_load.measure(options.seconds * 2, Path(name)).row()
    with tempfile.TemporaryDirectory() as name:
        yield outage.measure(options.days, Path(name)).row(options.days)
    with tempfile.TemporaryDirectory() as name:
        yield store_down.measure(options.share, 1, Path(name)).row()


def _latency(seconds: float, rate: int) -> Latency:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_topology(folder, ["bench-0"], SITE)
        _add_doors(folder, int(seconds * 10))
        (folder / "data").mkdir()  # two parts at once want it
        with broker(folder) as (port, _):
            api_port = free_port()
            file = write_settings(folder, port, api_port)
            with (
                part(folder, "collector", "--settings", str(file)),
                part(folder, "api", "--settings", str(file)),
            ):
                await_log(folder / "collector.log", "runs")
                await_log(folder / "api.log", "listens")
                records = Records(settings.load(file).records_url)
                records.open()
                token = issue_sign_in_link(records)
                records.close()
                url = f"http://127.0.0.1:{api_port}"
                return measure(port, "bench-0", url, token, seconds, rate)


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
