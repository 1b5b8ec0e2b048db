"""What several collectors cost, and how long a site is nobody's: ``python -m bench.shared``.

Two collectors over one PostgreSQL and one InfluxDB share many small sites. One is killed; the
time is taken until the last of its sites has another owner that listens.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from bench.parts import broker, cost
from core.storage.records import Records, tenures
from tests import servers

_DEVICES = 700
"""A street's 88,000 devices over 125 sites."""
_NAME = {"zh": "名", "en": "name"}


def topology(sites: int) -> dict[str, Any]:
    """Return a street of so many sites, each with one edge."""
    nodes: list[dict[str, Any]] = [{"id": "street", "level": "street", "name": _NAME}]
    edges, devices = [], []
    for number in range(sites):
        site = f"site-{number:03}"
        place = {"parent": "street", "site_kind": "residential_estate", "name": _NAME}
        nodes.append({"id": site, "level": "site", **place})
        edges.append({"id": f"edge-{number:03}", "site": site, "name": _NAME})
        devices += [
            {"id": f"{site}-d{n}", "family": "meter", "name": _NAME, "node": site,
             "edge": f"edge-{number:03}", "expect_s": 60}
            for n in range(_DEVICES)
        ]  # fmt: skip
    return {"datum": "wgs84", "nodes": nodes, "edges": edges, "devices": devices}


@contextlib.contextmanager
def member(folder: Path, name: str, wanted: dict[str, Any]) -> Iterator[subprocess.Popen[bytes]]:
    """Run one of the collectors."""
    file = folder / f"{name}.yaml"
    mine = {"data": str(folder / name), "collector": {"name": name, "shared": True}}
    file.write_text(yaml.safe_dump(wanted | mine))
    command = [sys.executable, "-m", "estate", "collector", "--settings", str(file)]
    with (folder / f"{name}.log").open("ab") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)  # noqa: S603
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def _owned(records: Records, name: str) -> int:
    with records.reading() as session:
        return sum(site.collector == name for site in tenures.overview(session)[1])


def _await(records: Records, name: str, sites: int, log: Path) -> float:
    """Wait until a collector serves so many sites; return how long (s) it took."""
    began = time.monotonic()
    while _owned(records, name) < sites or log.read_text().count("site taken") < sites:
        if time.monotonic() - began > 300:
            raise SystemExit(f"bench: {log.read_text()[-2000:]}")
        time.sleep(0.05)
    return time.monotonic() - began


def measure(sites: int, folder: Path) -> str:
    """Return the row of one measurement."""
    (folder / "topology.json").write_text(json.dumps(topology(sites)))
    with (
        broker(folder) as (port, _),
        servers.postgres_server(folder) as postgres,
        servers.influxdb_server(folder) as influx,
    ):
        url = postgres.create_database()
        wanted = {
            "topology": str(folder / "topology.json"),
            "broker": {"port": port},
            "records": {"url": url},
            "series": {"kind": "influxdb", "influxdb": {"url": influx.url}},
        }
        records = Records(url)
        records.open()
        with member(folder, "north", wanted) as north:
            began = time.monotonic()
            _await(records, "north", sites, folder / "north.log")
            started = time.monotonic() - began
            with member(folder, "south", wanted) as south:
                time.sleep(5)
                idle = cost(north.pid)
                time.sleep(10)
                spent = cost(north.pid).cpu_s - idle.cpu_s
                north.kill()
                took = _await(records, "south", sites, folder / "south.log")
                after = cost(south.pid)
        records.close()
    return (
        f"| {sites} sites, {sites * _DEVICES:,} devices | served {started:.1f} s after the start "
        f"| {idle.peak_mib:.0f} MiB | {spent / 10:.2f} cores at rest "
        f"| all with the other {took:.1f} s after a kill | {after.peak_mib:.0f} MiB |"
    )


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="bench.shared", description=__doc__)
    parser.add_argument("sites", type=int, nargs="*", default=[1, 25, 125])
    for sites in parser.parse_args().sites:
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            folder.chmod(0o755)
            print(measure(sites, folder), flush=True)


if __name__ == "__main__":
    main()
