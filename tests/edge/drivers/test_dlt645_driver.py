"""The meter driver against real sockets: an independent server, and a peer with every fault."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from dlt645.aio import AsyncMeterServerService

from core.contracts.errors import DeviceRefusedError
from edge.driver import LinkError
from edge.drivers.dlt645.codec import READ, Decoder, Frame, encode
from edge.drivers.dlt645.driver import Dlt645Driver
from edge.drivers.dlt645.settings import Dlt645Settings
from edge.meters.frames import ERROR, REPLY
from simulators.devices.dlt645 import bcd

from .support import Recorder, context, listen, run

A, B = "000012345678", "000012345679"
ENERGY, STATUS = 0x00010000, 0x04000503
SINGLE = {
    ENERGY: bcd(1234567, 0, 4),
    0x02010100: bcd(2205, 0, 2),
    0x02020100: bcd(5123, 0, 3),
    0x02030000: bcd(-12345, 0, 3, signed=True),
    0x02060000: bcd(985, 0, 2),
    0x02800002: bcd(5001, 0, 2),
    STATUS: b"\x00\x00",
}


class Meters:
    """A scripted bus: what each meter has, and what goes wrong next."""

    def __init__(self) -> None:
        self.items: dict[str, dict[int, bytes]] = {A: dict(SINGLE)}
        self.asked: list[tuple[str, int]] = []
        self.before = b""
        self.silent: set[str] = set()
        self.lose_next = 0
        self.late_s = 0.0
        self.hang_up = False
        self.refuse_with: int | None = None
        self.connections = 0

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        decoder = Decoder()
        while chunk := await reader.read(256):
            for request in decoder.feed(chunk):
                reply = self.reply(request)
                if self.hang_up:
                    return
                if reply is None:
                    continue
                if self.late_s:
                    asyncio.get_running_loop().call_later(self.late_s, writer.write, reply)
                else:
                    writer.write(self.before + reply)

    def reply(self, request: Frame) -> bytes | None:
        identifier = int.from_bytes(request.data, "little")
        self.asked.append((request.address, identifier))
        if request.address in self.silent or request.address not in self.items:
            return None
        if self.lose_next:
            self.lose_next -= 1
            return None
        value = self.items[request.address].get(identifier)
        if self.refuse_with is not None:
            data = bytes([self.refuse_with])
            return encode(Frame(request.address, READ | REPLY | ERROR, data))
        if value is None:
            return encode(Frame(request.address, READ | REPLY | ERROR, b"\x02"))
        return encode(Frame(request.address, READ | REPLY, request.data + value))


#: What is not read at each poll; most tests look at the polls alone.
SLOW = (
    "status_rest", "covers", "tariffs", "power_phases", "demand", "temperature", "demand_max",
    "clock", "counters", "number",
)  # fmt: skip


def settings(port: int, **more: object) -> Dlt645Settings:
    raw: dict[str, object] = {
        "driver": "dlt645", "host": "127.0.0.1", "port": port, "timeout_s": 2,
        "items": dict.fromkeys(SLOW, "never"),
        "meters": [{"device": "m-a", "address": A}],
    }  # fmt: skip
    return Dlt645Settings.model_validate(raw | more)


async def driver_for(port: int, folder: Path, **more: object) -> tuple[Dlt645Driver, Recorder]:
    driver, sink = Dlt645Driver(settings(port, **more), context(folder)), Recorder()
    await driver.start(sink)
    return driver, sink


READING = {
    "medium": "electricity", "energy_kwh": 12345.67, "voltage_l1_v": 220.5, "current_l1_a": 5.123,
    "power_w": -1234.5, "power_factor": 0.985, "frequency_hz": 50.01, "relay_closed": True,
}  # fmt: skip


def test_reads_an_independent_implementation(tmp_path: Path) -> None:
    async def scenario() -> None:
        service = AsyncMeterServerService.new_tcp_server("127.0.0.1", 0)
        # That library takes addresses as they go over the wire, low byte first.
        service.set_address(bytes.fromhex(A)[::-1])
        service.set_00(ENERGY, 12345.67)
        for identifier, value in (
            (0x02010100, 220.5), (0x02020100, 5.123), (0x02030000, -1.2345),
            (0x02060000, 0.985), (0x02800002, 50.01),
        ):  # fmt: skip
            assert service.set_02(identifier, value)
        assert await service.start()
        driver, sink = await driver_for(service.server.port, tmp_path)
        try:
            await driver.poll()
        finally:
            await driver.stop()
            await service.stop()
        (reading,) = sink.of("meter.reading", "m-a")
        assert {**READING, **reading} == {**reading, **READING}

    run(scenario())


def test_reads_a_meter_and_its_relay(tmp_path: Path) -> None:
    async def scenario() -> None:
        meters = Meters()
        server, port = await listen(meters)
        driver, sink = await driver_for(port, tmp_path)
        await driver.poll()
        meters.items[A][STATUS] = b"\x50\x00"
        await driver.poll()
        await driver.poll()
        assert sink.of("meter.reading")[0] == READING
        assert sink.of("meter.reading")[2] == {**READING, "relay_closed": False}
        relay = {"medium": "electricity", "event": "relay_opened"}
        assert sink.of("meter.event") == [
            {**relay, "active": False}, {**relay, "active": True, "raw_code": "04000503.4"},
        ]  # fmt: skip
        assert sink.reached_devices == ["m-a"] * 3
        assert meters.connections == 1
        await driver.stop()
        server.close()

    run(scenario())


def test_garbage_and_foreign_frames_before_the_reply(tmp_path: Path) -> None:
    async def scenario() -> None:
        meters = Meters()
        meters.before = (
            b"\x00\x68\xfe\x68noise"
            + encode(Frame(B, READ | REPLY, ENERGY.to_bytes(4, "little") + bytes(4)))
            + encode(Frame(A, READ | REPLY, (0x02800007).to_bytes(4, "little") + bytes(2)))
        )
        server, port = await listen(meters)
        driver, sink = await driver_for(port, tmp_path)
        await driver.poll()
        assert sink.of("meter.reading") == [READING]
        # The block of all status words is asked for, too, and refused.
        assert driver.health()["unmatched_frames"] == 2 * (len(SINGLE) + 1)
        assert driver.health()["skipped_bytes"] > 0
        await driver.stop()
        server.close()

    run(scenario())


def test_missing_items_are_skipped_and_remembered(tmp_path: Path) -> None:
    async def scenario() -> None:
        meters = Meters()
        del meters.items[A][ENERGY], meters.items[A][0x02800002]
        meters.items[A][0x00000000] = bcd(99, 0, 4)
        server, port = await listen(meters)
        driver, sink = await driver_for(port, tmp_path)
        await driver.poll()
        first = len(meters.asked)
        await driver.poll()
        readings = sink.of("meter.reading")
        assert readings[0]["energy_kwh"] == 0.99
        assert "frequency_hz" not in readings[0]
        assert readings[0] == readings[1]
        assert len(meters.asked) - first == first - 3
        assert driver.health()["missing_items"] == 3
        await driver.stop()
        server.close()

    run(scenario())


def test_three_phases_in_blocks_or_one_by_one(tmp_path: Path) -> None:
    async def scenario() -> None:
        meters = Meters()
        meters.items[A][0x0201FF00] = bcd(2201, 0, 2) + bcd(2202, 0, 2) + b"\xff\xff"
        for phase in (1, 2, 3):
            meters.items[A][0x02020000 | phase << 8] = bcd(-phase, 0, 3, signed=True)
        server, port = await listen(meters)
        meter = {"device": "m-a", "address": A, "phases": 3}
        driver, sink = await driver_for(port, tmp_path, meters=[meter])
        await driver.poll()
        (reading,) = sink.of("meter.reading")
        assert (reading["voltage_l1_v"], reading["voltage_l2_v"]) == (220.1, 220.2)
        assert "voltage_l3_v" not in reading
        assert [reading[f"current_l{n}_a"] for n in (1, 2, 3)] == [-0.001, -0.002, -0.003]
        await driver.stop()
        server.close()

    run(scenario())


def test_a_dead_meter_does_not_stop_the_others(tmp_path: Path) -> None:
    async def scenario() -> None:
        meters = Meters()
        meters.items[B] = dict(SINGLE)
        meters.silent = {A}
        server, port = await listen(meters)
        both = [{"device": "m-a", "address": A}, {"device": "m-b", "address": B}]
        driver, sink = await driver_for(port, tmp_path, meters=both, timeout_s=0.25)
        for _ in range(3):
            await driver.poll()
        assert len(sink.of("meter.reading", "m-b")) == 3
        assert {device for device, _ in sink.failures} == {"m-a"}
        assert all(isinstance(e, LinkError) and e.cause == "device" for _, e in sink.failures)
        await driver.stop()
        server.close()

    run(scenario())


def test_one_lost_answer_is_asked_again(tmp_path: Path) -> None:
    async def scenario() -> None:
        meters = Meters()
        meters.lose_next = 1
        server, port = await listen(meters)
        driver, sink = await driver_for(port, tmp_path, timeout_s=0.25)
        await driver.poll()
        assert sink.of("meter.reading") == [READING]
        assert driver.health()["retries"] == 1
        await driver.stop()
        server.close()

    run(scenario())


def test_a_late_answer_is_never_taken_for_another_question(tmp_path: Path) -> None:
    async def scenario() -> None:
        meters = Meters()
        meters.late_s = 0.35  # each answer comes when the next question has been asked
        server, port = await listen(meters)
        driver, sink = await driver_for(port, tmp_path, timeout_s=0.25)
        with pytest.raises(LinkError):
            await driver.poll()
        meters.late_s = 0
        await asyncio.sleep(0.4)
        await driver.poll()
        assert sink.of("meter.reading") == [READING]
        await driver.stop()
        server.close()

    run(scenario())


def test_other_error_replies_and_a_bad_value_cost_only_their_item(tmp_path: Path) -> None:
    async def scenario() -> None:
        meters = Meters()
        meters.items[A][0x02800002] = b"\x1f\x50"
        server, port = await listen(meters)
        driver, sink = await driver_for(port, tmp_path)
        await driver.poll()
        assert "frequency_hz" not in sink.of("meter.reading")[0]
        assert sink.counts["items_refused"] == 1
        meters.refuse_with = 0x04
        with pytest.raises(LinkError, match="none of the items"):
            await driver.poll()
        await driver.stop()
        server.close()

    run(scenario())


def test_a_gateway_that_is_away_or_hangs_up(tmp_path: Path) -> None:
    async def scenario() -> None:
        meters = Meters()
        server, port = await listen(meters)
        driver, _ = await driver_for(port, tmp_path)
        await driver.poll()
        meters.hang_up = True
        with pytest.raises(LinkError) as lost:
            await driver.poll()
        assert lost.value.cause == "gateway"
        server.close()
        with pytest.raises(LinkError) as refused:
            await driver.poll()
        assert refused.value.cause == "gateway"
        await driver.stop()

    run(scenario())


def test_a_half_open_socket_is_given_up(tmp_path: Path) -> None:
    async def scenario() -> None:
        meters = Meters()
        meters.silent = {A}
        server, port = await listen(meters)
        driver, sink = await driver_for(port, tmp_path, timeout_s=0.25)
        with pytest.raises(LinkError):
            await driver.poll()
        meters.silent.clear()
        await driver.poll()
        assert meters.connections == 2
        assert len(sink.of("meter.reading")) == 1
        assert not isinstance(sink.failures[0][1], DeviceRefusedError)
        await driver.stop()
        server.close()

    run(scenario())
