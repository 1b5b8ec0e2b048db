"""Vehicle barriers: plates become pseudonyms, lists become reasons, an outage leaves no hole."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.contracts.commands import Action
from core.runtime.clock import ScaledClock
from edge.driver import CommandRefusedError, LinkError
from edge.drivers.isapi_barrier.book import ReadingBook
from edge.drivers.isapi_barrier.driver import IsapiBarrierDriver
from edge.drivers.isapi_barrier.plates import PlateReader
from edge.drivers.isapi_barrier.settings import IsapiBarrierSettings
from edge.pseudonym import Pseudonyms
from simulators.devices.barrier import BarrierPeer
from simulators.devices.isapi import Identity

from .support import Recorder, Streaming, context, run

RESIDENT, NEIGHBOUR, THIEF = "京A12345", "沪AD12345", "粤B88888"
START = 1_772_706_600_000


def settings(port: int = 1, **more: Any) -> IsapiBarrierSettings:
    return IsapiBarrierSettings.model_validate(
        {
            "driver": "isapi_barrier", "base_url": f"http://127.0.0.1:{port}", "username": "edge",
            "password": "secret", "device": "gate", "silence_s": 2, "request_timeout_s": 1, **more,
        }
    )  # fmt: skip


class Gate:
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.clock = ScaledClock()
        self.peer = BarrierPeer(
            self.clock, identity=Identity("gate", "192.0.2.7", "02:00:5e:10:00:07"),
            username="edge", password="secret", heartbeat_s=0.2,
            allowed=frozenset({RESIDENT, NEIGHBOUR}), blocked=frozenset({THIEF}),
        )  # fmt: skip
        self.sink = Recorder()

    def listening(self, **more: Any) -> Streaming:
        driver = IsapiBarrierDriver(
            settings(self.peer.port, **more), context(self.folder, self.clock)
        )
        return Streaming(driver, self.sink)

    @property
    def vehicles(self) -> list[str | None]:
        return [e[2].get("vehicle") for e in self.sink.events if e[0].startswith("vehicle.")]


@asynccontextmanager
async def gate(folder: Path) -> AsyncIterator[Gate]:
    found = Gate(folder)
    await found.peer.start()
    yield found
    await found.peer.stop()


def test_vehicles_pass_or_are_refused(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with gate(tmp_path) as g, g.listening(others="unknown"):
            await g.sink.until(lambda: g.sink.counts["heartbeats"])
            g.peer.arrive(RESIDENT)
            g.peer.arrive(NEIGHBOUR, direction="reverse", vehicle_type="SUVMPV")
            g.peer.arrive(THIEF, vehicle_type="truck")
            g.peer.arrive("苏E00001", vehicle_type="somethingNew")
            g.peer.arrive("unknown", vehicle_type="unknown")
            await asyncio.sleep(2)  # without a plate, two in one second are the same
            g.peer.arrive("川A77777", confidence=20)
            await g.sink.until(lambda: len(g.vehicles) == 6)
            told = [
                (e[0], {k: v for k, v in e[2].items() if k != "vehicle"}) for e in g.sink.events
            ]
            assert told == [
                ("vehicle.passed",
                 {"direction": "in", "vehicle_class": "car", "raw_code": "whiteList"}),
                ("vehicle.passed",
                 {"direction": "out", "vehicle_class": "car", "raw_code": "whiteList"}),
                ("vehicle.denied",
                 {"direction": "in", "vehicle_class": "truck", "raw_code": "blackList",
                  "reason": "blacklisted"}),
                ("vehicle.denied",
                 {"direction": "in", "vehicle_class": "other", "raw_code": "otherList",
                  "reason": "unknown"}),
                ("vehicle.denied",
                 {"direction": "in", "raw_code": "otherList", "reason": "unknown"}),
                ("vehicle.denied",
                 {"direction": "in", "vehicle_class": "car", "raw_code": "otherList",
                  "reason": "unknown"}),
            ]  # fmt: skip
            assert [vehicle is None for vehicle in g.vehicles] == [False] * 4 + [True, True]
            assert g.sink.counts["unsure_plates"] == 1
            assert g.sink.counts["other_parts"] == 12, "pictures are passed over"
            assert g.sink.pictures == []

    run(scenario())


def test_plates_never_leave_nor_stay(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with gate(tmp_path) as g, g.listening():
            g.peer.arrive(RESIDENT)
            await g.sink.until(lambda: g.vehicles)
            assert re.fullmatch(r"p-[0-9a-f]{24}", str(g.vehicles[0]))
            assert "12345" not in str(g.sink.events)

    run(scenario())
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert len(files) >= 2
    assert RESIDENT.encode() not in b"".join(path.read_bytes() for path in files)


def test_an_outage_leaves_no_hole_also_across_a_restart(tmp_path: Path) -> None:
    async def scenario() -> None:
        plates = [f"京A{n:05d}" for n in range(40)]
        async with gate(tmp_path) as g:
            async with g.listening():
                await g.sink.until(lambda: g.sink.counts["heartbeats"])
                g.peer.arrive(plates[0])
                await g.sink.until(lambda: len(g.vehicles) == 1)
                await g.peer.listener.suspend()
                for plate in plates[1:20]:
                    g.peer.arrive(plate)
                await g.peer.listener.start()
                await g.sink.until(lambda: len(g.vehicles) == 20)
            for plate in plates[20:39]:
                g.peer.arrive(plate)
            async with g.listening():
                await g.sink.until(lambda: len(g.vehicles) == 39)
                g.peer.repeats = 3
                g.peer.arrive(plates[39])
                await g.sink.until(lambda: g.sink.counts["duplicates"] == 2)
            names = Pseudonyms((tmp_path / "pseudonym.key").read_bytes())
            assert g.vehicles == [names.of("plate", plate) for plate in plates]

    run(scenario(), 30)


def test_a_camera_without_a_search_goes_on_live(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with gate(tmp_path) as g:
            g.peer.searchable = False
            g.peer.arrive(THIEF)
            async with g.listening():
                await g.sink.until(lambda: g.sink.counts["backfill_failed"])
                g.peer.arrive(RESIDENT)
                await g.sink.until(lambda: g.vehicles)
                assert len(g.vehicles) == 1

    run(scenario())


def test_the_barrier_is_opened_from_afar(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with gate(tmp_path) as g, g.listening() as listening:
            driver = listening.driver
            assert driver.actions == {"gate": frozenset({Action.UNLOCK})}
            assert await driver.act("gate", Action.UNLOCK, {}) == {}
            assert g.peer.opened == 1
            g.peer.broken = True
            with pytest.raises(LinkError, match="deviceError"):
                await driver.act("gate", Action.UNLOCK, {})
            with pytest.raises(CommandRefusedError):
                await driver.act("gate", Action.UNLOCK, {"for_s": 3})

    run(scenario())


def reader(**more: Any) -> PlateReader:
    return PlateReader(settings(**more), Pseudonyms(b"k" * 32))


def alert(**anpr: Any) -> dict[str, Any]:
    return {
        "eventType": "ANPR", "dateTime": "2026-03-05T18:30:00.250+08:00",
        "ANPR": {"licensePlate": RESIDENT, "direction": "forward", "confidenceLevel": "98", **anpr},
    }  # fmt: skip


@pytest.mark.parametrize(
    ("more", "anpr", "expected"),
    [
        ({}, {"vehicleListName": "temporaryList"}, None),
        ({}, {"listType": "blackList"}, "blacklisted"),
        ({"lists": {"Expired List": "expired"}}, {"vehicleListName": "expiredlist"}, "expired"),
        ({"others": "full"}, {}, "full"),
        ({}, {"barrierGateCtrlType": "1"}, None),  # the list decides
        ({"decision": "gate"}, {"barrierGateCtrlType": "1"}, "unknown"),
        ({"decision": "gate"},
         {"barrierGateCtrlType": "1", "vehicleListName": "blackList"}, "blacklisted"),
        ({"decision": "gate", "others": "unknown"}, {"barrierGateCtrlType": "0"}, None),
    ],
)  # fmt: skip
def test_who_decides(more: dict[str, Any], anpr: dict[str, Any], expected: str | None) -> None:
    reading = reader(**more).from_alert(alert(**anpr), 480, 0)
    assert reading is not None
    assert reading.kind == ("vehicle.passed" if expected is None else "vehicle.denied")
    assert reading.data.get("reason") == expected
    assert reading.at == START + 250


def test_one_plate_however_it_is_written() -> None:
    r = reader()
    one = r.pseudonym("京A·12345")
    assert one == r.pseudonym(" 京a 12345") == r.pseudonym("京Ａ12345") != r.pseudonym("京A12346")
    assert [r.pseudonym(plate) for plate in (None, "", "unknown", "无车牌")] == [None] * 4
    assert r.from_alert({"ANPR": "x"}, 480, 0) is None
    police = r.from_alert(alert(plateType="emergency"), 480, 0)
    assert police is not None
    assert police.data["vehicle_class"] == "emergency"


def test_what_a_search_lists() -> None:
    entry = {"captureTime": "20260305T183000250", "plateNumber": RESIDENT, "direction": "reverse",
             "matchingResult": "whiteList"}  # fmt: skip
    reading = reader(forward="out").from_search(entry, 480)
    assert reading is not None
    assert (reading.at, reading.data["direction"]) == (START + 250, "in")
    assert reader().from_search({**entry, "captureTime": "x"}, 480) is None
    assert reader().from_search("x", 480) is None


vehicles = st.one_of(st.none(), st.sampled_from(["p-1", "p-2"]))


@given(st.lists(st.tuples(vehicles, st.integers(0, 20_000)), max_size=20))
def test_a_reading_that_was_noted_is_known_and_a_later_one_is_not(
    readings: list[tuple[str | None, int]],
) -> None:
    book = ReadingBook()
    for vehicle, at in readings:
        book.note(vehicle, at)
    again = ReadingBook()
    again.restore(book.dump())
    assert all(again.known(vehicle, at) for vehicle, at in readings)
    assert not again.known("p-1", 30_000)
    assert not again.known("p-3", 10_000)
    assert again.latest == max((at for _, at in readings), default=None)
    for nonsense in (None, [], {"recent": 3}, {"recent": [["x"]], "latest": 1}):
        again.restore(nonsense)
    assert again.dump() == book.dump()
