"""Somebody is trapped in a simulated lift, and it is concluded whatever the lift speaks."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from random import Random
from typing import Any

import pytest

from core.runtime.clock import ScaledClock
from edge.config import build, from_raw
from edge.derive.lifts import Entrapment, LiftCounters
from edge.runner import Runner
from simulators.devices.bacnet_lift import BacnetLiftPeer, SimulatedLift
from simulators.devices.elevator_model import ElevatorModel
from simulators.devices.json_gateway import JsonHttpPeer, JsonPushPeer, JsonState
from tests.edge.drivers.support import Recorder, run
from tests.edge.suite.bacnet import calm
from tests.servers import free_port

SPEED = 20.0


def bacnet(clock: ScaledClock, model: ElevatorModel) -> tuple[Any, dict[str, Any]]:
    peer = BacnetLiftPeer(clock, {1: SimulatedLift(model, lacks=frozenset({"carMode"}))})
    return peer, {"driver": "bacnet", "host": "127.0.0.1", "lifts": [{"device": "lift-1"}]}


def asked(clock: ScaledClock, model: ElevatorModel) -> tuple[Any, dict[str, Any]]:
    peer = JsonHttpPeer(JsonState(clock, lifts={"L1": model}))
    return peer, {
        "driver": "json_http", "map": "lift_http", "devices": {"L1": "lift-1"}, "period_s": 1
    }  # fmt: skip


def posted(clock: ScaledClock, model: ElevatorModel) -> tuple[Any, dict[str, Any]]:
    port = free_port()
    # A gateway whose clock is two hours behind.
    state = JsonState(clock, lifts={"L1": model}, clock_drift_s=-7_200)
    peer = JsonPushPeer(state, port=port, token="t", period_s=0.05)
    return peer, {
        "driver": "json_http", "map": "lift_http", "devices": {"L1": "lift-1"},
        "listen": {"port": port}, "password": "t",
    }  # fmt: skip


@contextlib.asynccontextmanager
async def running(
    folder: Path, make: Callable[..., tuple[Any, dict[str, Any]]]
) -> AsyncIterator[tuple[ElevatorModel, ScaledClock, Recorder]]:
    clock = ScaledClock.starting_now(SPEED)
    model = calm(clock.now_ms())
    peer, entry = make(clock, model)
    await peer.start()
    if make is bacnet:
        entry["port"] = peer.port
    elif make is asked:
        entry["url"] = f"http://127.0.0.1:{peer.port}/"
    config = from_raw({"edge": "e1", "site": "s1", "drivers": [entry]}, "test", folder)
    sink = Recorder(clock=clock)
    derivations = [LiftCounters(), Entrapment()]
    runner = Runner(
        build(config, clock, folder), sink, clock, random=Random(3), derivations=derivations
    )
    await runner.start()
    try:
        yield model, clock, sink
    finally:
        await runner.stop()
        await peer.stop()


@pytest.mark.parametrize("make", [bacnet, asked, posted])
def test_trapped_and_freed(make: Any, tmp_path: Path) -> None:
    async def scene() -> None:
        async with running(tmp_path, make) as (model, clock, sink):

            def faults() -> list[dict[str, Any]]:
                found = sink.of("elevator.fault", "lift-1")
                return [fault for fault in found if fault["fault"] == "entrapment"]

            await sink.until(lambda: sink.of("elevator.status"))
            model.trap(clock.now_ms(), code=0)
            await sink.until(faults, 15)
            assert model.trapped
            assert faults()[0]["derived"] is True
            model.free(clock.now_ms())
            await sink.until(lambda: len(faults()) == 2, 15)
            assert [fault["active"] for fault in faults()] == [True, False]
            status = sink.of("elevator.status")[-1]
            assert status["door_cycles"] >= 1
            assert status["trips"] >= 1

    run(scene(), 40)
