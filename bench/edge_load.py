"""One edge process with a whole estate: 200 meters, 40 lifts, 60 doors and 8 cameras.

Usage: python -m bench.edge_load [--seconds 60]. The devices are simulated peers in a process of
their own, read at their natural rates (meters once a minute, lifts once a second, cameras at five
640x360 pictures a second); broker and collector run beside them, so that the uplink works, too.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from bench.parts import broker, cost, part, process, write_settings
from core.runtime.broker import free_port
from core.runtime.clock import ScaledClock
from simulators.devices.isapi import Holder
from simulators.devices.scene import SceneKind
from simulators.installation import (
    CameraPlan,
    Community,
    ControllerPlan,
    DoorPlan,
    GatewayPlan,
    LiftPlan,
    MeterPlan,
)
from simulators.loads import LoadKind, LoadSpec
from simulators.simulation import Simulation

EDGE, SITE = "load-edge", "load"
GATEWAYS, METERS, LIFTS, CONTROLLERS, DOORS, CAMERAS = 10, 20, 40, 12, 5, 8
_WARM_UP_S = 25.0


@dataclass(frozen=True, slots=True)
class Load:
    """What the edge process cost: share of a core, peak memory, events that it committed."""

    cores: float
    peak_mib: float
    events_s: float
    online: int
    devices: int

    def row(self) -> str:
        """Return the row of the benchmark's table."""
        return (
            f"| one edge: {GATEWAYS * METERS} meters, {LIFTS} lifts, {CONTROLLERS * DOORS} doors, "
            f"{CAMERAS} cameras | {self.online} of {self.devices} devices online "
            f"| {self.events_s:.1f} events/s | {self.cores:.2f} cores "
            f"| peak {self.peak_mib:.0f} MiB | |"
        )


def community() -> Community:
    """Return the estate's plan and its topology."""
    spec = LoadSpec(LoadKind.HOUSEHOLD, 8_800)
    gateways = tuple(
        GatewayPlan(
            f"gateway-{g}",
            EDGE,
            tuple(
                MeterPlan(f"m{g}-{n}", f"{g:06d}{n:06d}", 3 if n % 4 == 0 else 1, spec)
                for n in range(METERS)
            ),
        )
        for g in range(GATEWAYS)
    )
    lifts = tuple(
        LiftPlan(f"lift-{n}", EDGE, tuple(range(1, 19)), 1.0, n % 3 == 0, 20_000 + n)
        for n in range(LIFTS)
    )
    controllers = tuple(
        ControllerPlan(
            f"controller-{c}",
            EDGE,
            tuple(DoorPlan(f"door-{c}-{n}", n + 1, 1.0) for n in range(DOORS)),
            "bench",
        )
        for c in range(CONTROLLERS)
    )
    kinds = [SceneKind.COURTYARD, SceneKind.GATE]
    cameras = tuple(
        CameraPlan(f"camera-{n}", EDGE, kinds[n % len(kinds)], f"CAM {n}") for n in range(CAMERAS)
    )
    holders = tuple(Holder(f"{n:06d}", f"P{n}", f"{n:010d}") for n in range(200))
    plan = Community(3, {}, gateways, lifts, controllers, cameras, holders, 60.0)
    return Community(
        3, _topology(plan), gateways, lifts, controllers, cameras, holders, 60.0
    )  # fmt: skip


def _topology(plan: Community) -> dict[str, object]:
    name = {"zh": "测", "en": "bench"}
    families = (
        ("meter", [m.device for g in plan.gateways for m in g.meters], 180),
        ("elevator", [lift.device for lift in plan.lifts], 60),
        ("door", [d.device for c in plan.controllers for d in c.doors], 180),
        ("camera", [camera.device for camera in plan.cameras], 180),
    )
    return {
        "datum": "wgs84",
        "nodes": [
            {"id": "street", "level": "street", "name": name},
            {"id": SITE, "level": "site", "name": name, "parent": "street",
             "site_kind": "residential_estate"},
        ],
        "edges": [{"id": EDGE, "site": SITE, "name": name}],
        "devices": [
            {"id": device, "family": family, "name": name, "node": SITE, "edge": EDGE,
             "expect_s": expect_s}
            for family, devices, expect_s in families
            for device in devices
        ],
    }  # fmt: skip


async def _serve_peers(folder: Path) -> None:
    """Run the peers until stdin ends; write the edge's file when they listen."""
    plan = community()
    simulation = Simulation(plan, ScaledClock(), broker=("127.0.0.1", 1))
    await simulation.start()
    edge = plan.edge_file(EDGE, simulation.ports())
    (folder / "edge.new").write_text(json.dumps(edge))
    (folder / "topology.json").write_text(json.dumps(plan.topology))
    (folder / "edge.new").rename(folder / "edge.yaml")
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
    await simulation.stop()


@contextlib.contextmanager
def peers(folder: Path) -> Iterator[None]:
    """Run the peers in a process of their own."""
    command = [sys.executable, "-m", "bench.edge_load", "--peers", str(folder)]
    with process(command, folder / "peers.log"):
        deadline = time.monotonic() + 60
        while not (folder / "edge.yaml").exists():
            if time.monotonic() > deadline:
                raise SystemExit(f"bench: {(folder / 'peers.log').read_text()[-2000:]}")
            time.sleep(0.1)
        yield


def measure(seconds: float, folder: Path) -> Load:
    """Run the edge for a while; return what it cost once it was warm."""
    with broker(folder) as (port, _), peers(folder):
        file = write_settings(folder, port, free_port())
        (folder / "data").mkdir()
        options = ("--settings", str(file))
        with (
            part(folder, "collector", *options, "--topology", str(folder / "topology.json")),
            part(folder, "edge", str(folder / "edge.yaml"), *options) as pid,
        ):
            time.sleep(_WARM_UP_S)
            before, began = cost(pid), time.monotonic()
            stored = _stored(file)
            time.sleep(seconds)
            after, took = cost(pid), time.monotonic() - began
            events_s = (_stored(file) - stored) / took
            online, devices = _online(file)
    return Load(
        (after.cpu_s - before.cpu_s) / took, after.peak_mib, events_s, online, devices
    )  # fmt: skip


def _stored(file: Path) -> int:
    from core.runtime import settings
    from core.storage.series import open_reader

    reader = open_reader(settings.load(file))
    try:
        return reader.count(0, 4_102_444_800_000)
    finally:
        reader.close()


def _online(file: Path) -> tuple[int, int]:
    """Return how many devices last said that they are online, and how many there are."""
    from core.runtime import settings
    from core.storage.series import open_reader

    plan = community()
    devices = [str(device["id"]) for device in plan.topology["devices"]]
    reader = open_reader(settings.load(file))
    try:
        latest = [e for e in reader.latest(devices) if e.kind == "device.health"]
    finally:
        reader.close()
    return sum(bool(event.data["online"]) for event in latest), len(devices)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="bench.edge_load", description=__doc__)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--peers", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.peers is not None:
        asyncio.run(_serve_peers(options.peers))
        return
    with tempfile.TemporaryDirectory() as name:
        print(measure(options.seconds, Path(name)).row())


if __name__ == "__main__":
    main()
