"""Lift access: which floors a credential opened in the car, and which it was refused."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from core.runtime.clock import ScaledClock
from edge.drivers.isapi_elevator.driver import IsapiElevatorDriver
from edge.drivers.isapi_elevator.settings import IsapiElevatorSettings
from simulators.devices.isapi import Code, Holder, Identity, RawCode
from simulators.devices.lift_controller import LiftController

from .support import Recorder, Streaming, context, run

HOLDERS = [Holder(str(n), f"人{n}", f"10{n}") for n in range(1, 5)]
RIGHTS = {"1": [3, 2], "2": [4], "3": []}
FLOORS = {"1": -1, "2": 1, "3": 2, "4": 3}


@asynccontextmanager
async def lift(
    folder: Path, *, granted_field: str = "floorNoList", **more: Any
) -> AsyncIterator[tuple[LiftController, Recorder]]:
    clock = ScaledClock()
    peer = LiftController(
        clock, floors=4, rights=RIGHTS, holders=HOLDERS, granted_field=granted_field,
        identity=Identity("lift", "192.0.2.8", "02:00:5e:10:00:08"),
        username="edge", password="secret", heartbeat_s=0.2,
    )  # fmt: skip
    await peer.start()
    raw = {
        "driver": "isapi_elevator", "base_url": f"http://127.0.0.1:{peer.port}",
        "username": "edge", "password": "secret", "device": "lift-1", "floors": FLOORS,
        "silence_s": 2, "request_timeout_s": 1, **more,
    }  # fmt: skip
    driver = IsapiElevatorDriver(IsapiElevatorSettings.model_validate(raw), context(folder, clock))
    sink = Recorder()
    async with Streaming(driver, sink):
        await sink.until(lambda: sink.counts["heartbeats"])
        yield peer, sink
    await peer.stop()


def floors(sink: Recorder) -> list[tuple[list[int], list[int]]]:
    return [(e["granted_floors"], e["refused_floors"]) for e in sink.of("elevator.access")]


@pytest.mark.parametrize("field", ["floorNoList", "floorList", "liftFloors"])
def test_floors_that_were_opened_and_refused(field: str, tmp_path: Path) -> None:
    async def scenario() -> None:
        own = {"granted_fields": [field]} if field == "liftFloors" else {}
        async with lift(tmp_path, granted_field=field, **own) as (peer, sink):
            peer.present("1")  # two floors by face
            peer.present("2", by_face=False)  # one floor by card
            peer.present("3")  # no right at all
            peer.press("2", 3)  # a floor that is not theirs
            peer.model.record(0, Code.INVALID)  # an unknown card opens nothing
            await sink.until(lambda: len(floors(sink)) == 5)
            assert floors(sink) == [
                ([1, 2], []), ([3], []), ([], [-1, 1, 2, 3]), ([], [2]), ([], [-1, 1, 2, 3]),
            ]  # fmt: skip
            events = sink.of("elevator.access")
            assert [e.get("credential") for e in events] == ["face", "card", None, None, None]
            assert events[0]["person"] != events[1]["person"] == events[3]["person"]
            assert "人" not in str(sink.events)

    run(scenario())


def test_floors_as_text_calls_from_outside_and_what_is_not_known(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with lift(tmp_path, refused_fields=["refusedFloors"]) as (peer, sink):
            record = peer.model.record
            record(0, Code.CARD_OK, HOLDERS[0], floorNoList="2, 4", refusedFloors=[3])
            record(3, RawCode(3, 0x418))  # a resident calls the lift
            record(9, Code.CARD_OK, HOLDERS[0])  # a relay that nobody configured
            record(0, Code.CARD_OK, HOLDERS[0])  # a grant that names no floor
            record(0, RawCode(5, 0x5F))
            record(0, RawCode(7, 7))
            await sink.until(lambda: sink.counts["unknown_codes"])
            assert floors(sink) == [([1, 3], [2]), ([2], []), ([], []), ([], [])]
            assert sink.of("elevator.access")[1]["credential"] == "remote"
            assert sink.counts["unknown_floors"] == 1
            assert sink.counts["access_without_floors"] == 2
            assert sink.counts["codes_without_event"] == 1

    run(scenario())


def test_the_controllers_own_troubles(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with lift(tmp_path) as (peer, sink):
            for code in (Code.CONTROLLER_TAMPER, Code.MAINS_OFF, Code.FIRE_BUTTON):
                peer.model.record(0, code)
            await sink.until(lambda: len(sink.events) == 3)
            assert [e[:2] for e in sink.events] == [
                ("device.tamper", "lift-1"), ("device.fault", "lift-1"), ("fire.alarm", "lift-1")
            ]  # fmt: skip

    run(scenario())


def test_an_outage_leaves_no_hole(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with lift(tmp_path) as (peer, sink):
            peer.present("1")
            await sink.until(lambda: len(floors(sink)) == 1)
            await peer.peer.listener.suspend()
            for _ in range(35):
                peer.present("2")
            await peer.peer.listener.start()
            peer.present("1")
            await sink.until(lambda: len(floors(sink)) == 37)
            serials = [e["serial"] for e in sink.of("elevator.access")]
            assert serials == list(range(serials[0], serials[0] + 37))

    run(scenario())
