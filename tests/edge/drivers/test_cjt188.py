"""CJ/T 188: published frames, odd bytes, and the driver against meters on a real socket."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from core.contracts.errors import DeviceRefusedError
from edge.driver import LinkError
from edge.drivers.cjt188.codec import (
    Decoder,
    Frame,
    MeterData,
    address_request,
    battery_low,
    decode_current,
    encode,
    medium_of,
    read_request,
    valve_of,
)
from edge.drivers.cjt188.driver import Cjt188Driver
from edge.drivers.cjt188.settings import Cjt188Settings
from edge.meters.frames import CodecError
from simulators.devices.cjt188 import FlowMeterGateway
from simulators.devices.cjt188 import Frame as SimulatedFrame
from simulators.devices.cjt188 import FrameReader as SimulatedReader
from simulators.devices.water_meter import COLD_WATER, GAS, HEAT, LEAK, MAGNET, FlowMeterModel

from .support import FakeClock, Recorder, context, listen, run

ADDRESS = "78330011223344"
#: Published, among others, at hftangyu.com/563.html; the checksum of the answer is printed there
#: as 08, which its own bytes do not give, and elsewhere as 13.
QUESTION = "68 10 44 33 22 11 00 33 78 01 03 1F 90 00 80 16"
ANSWER = (
    "68 10 44 33 22 11 00 33 78 81 16 1F 90 00 00 77 66 55 2C 00 77 66 55 2C"
    "31 01 22 11 05 15 20 21 84 13 16"
)


def test_a_published_question_and_its_answer() -> None:
    assert read_request(0x10, ADDRESS, "low", 0) == b"\xfe" * 4 + bytes.fromhex(QUESTION)
    (frame,) = Decoder().feed(b"\xfe" * 3 + bytes.fromhex(ANSWER))
    assert (frame.kind, frame.address, frame.control) == (0x10, ADDRESS, 0x81)
    assert encode(frame, wake=0) == bytes.fromhex(ANSWER)
    data = decode_current("water", frame.data[3:], 8)
    assert data.volume_m3 == 556677.0
    assert data.clock is not None
    assert data.clock.astimezone(UTC) == datetime(2015, 5, 11, 14, 1, 31, tzinfo=UTC)
    assert data.status == 0x8421
    # Two makers, two ways to count the bits of the same byte.
    assert (valve_of(0x21, "low"), battery_low(0x21, "low")) == ("closed", False)
    assert (valve_of(0x21, "high"), battery_low(0x21, "high")) == ("open", True)


def test_published_address_frames() -> None:
    asked = "68 AA AA AA AA AA AA AA AA 03 03 81 0A 00 49 16"
    assert address_request("high") == b"\xfe" * 4 + bytes.fromhex(asked)
    (reply,) = Decoder().feed(bytes.fromhex("68 10 12 00 00 00 00 00 00 83 03 81 0A 00 9B 16"))
    assert (reply.address, reply.is_reply, reply.function) == ("00000000000012", True, 3)


def test_the_other_order_of_an_identifier() -> None:
    (frame,) = Decoder().feed(read_request(0x10, ADDRESS, "high", 9))
    assert frame.data == bytes.fromhex("901F09")


def heat(units: str = "05 05 17 35 2C") -> bytes:
    day, now, power, flow, volume = units.split()
    return bytes.fromhex(
        f"00000100{day} 78563412{now} 50010000{power} 34120000{flow} 00500000{volume}"
        "405200 054100 123400 31012211051520 0400"
    )


def test_a_heat_meter_says_more() -> None:
    data = decode_current("heat", heat(), 8)
    assert data.heat_kwh == 123456.78
    assert data.power_w == 1500
    assert data.flow_m3_h == 0.1234
    assert data.volume_m3 == 50
    assert (data.supply_c, data.return_c) == (52.4, 41.05)
    assert battery_low(data.status, "low")


@pytest.mark.parametrize(
    ("unit", "kwh"), [("08", 123456.78e3), ("11", 123456.78e3 / 3.6), ("02", 123.45678)]
)
def test_units_become_ours(unit: str, kwh: float) -> None:
    data = decode_current("heat", heat(f"05 {unit} 17 32 29"), 8)
    assert data.heat_kwh == pytest.approx(kwh, rel=1e-6)
    assert data.flow_m3_h == pytest.approx(0.0001234)
    assert data.volume_m3 == 0.05


def test_what_is_not_there_and_what_is_wrong() -> None:
    blank = bytes.fromhex("FFFFFFFF2C 000000002C FFFFFFFFFFFFFF 0000")
    assert decode_current("gas", blank, 8) == MeterData()
    with pytest.raises(CodecError, match="unit 05"):
        decode_current("water", bytes.fromhex("0000000005 000000002C 31012211051520 0000"), 8)
    with pytest.raises(CodecError, match="not BCD"):
        decode_current("water", bytes.fromhex("0A0000002C 000000002C 31012211051520 0000"), 8)
    with pytest.raises(CodecError, match="43"):
        decode_current("heat", blank, 8)
    with pytest.raises(CodecError):
        encode(Frame(0x10, "12", 1))
    with pytest.raises(CodecError):
        encode(Frame(0x10, ADDRESS, 1, bytes(201)))


@pytest.mark.parametrize(
    ("kind", "medium"), [(0x10, "water"), (0x19, "water"), (0x21, "heat"), (0x30, "gas"),
                         (0x1A, None), (0x40, None)],
)  # fmt: skip
def test_types_say_the_medium(kind: int, medium: str | None) -> None:
    assert medium_of(kind) == medium


frames = st.builds(
    Frame,
    kind=st.integers(0, 255),
    address=st.text("0123456789", min_size=14, max_size=14),
    control=st.integers(0, 255),
    data=st.binary(max_size=60),
)


@settings(deadline=None)
@given(st.lists(frames, min_size=1, max_size=4), st.integers(1, 30))
def test_frames_survive_any_cutting_and_both_sides_agree(sent: list[Frame], size: int) -> None:
    stream = b"".join(encode(frame, wake=index % 5) for index, frame in enumerate(sent))
    decoder, other = Decoder(), SimulatedReader()
    got, seen = [], []
    for at in range(0, len(stream), size):
        got += decoder.feed(stream[at : at + size])
        seen += other.feed(stream[at : at + size])
    assert got == sent
    assert decoder.skipped == other.skipped == 0
    assert seen == [SimulatedFrame(f.kind, f.address, f.control, f.data) for f in sent]
    assert [frame.encode() for frame in seen] == [encode(frame, wake=0) for frame in sent]


class Scene:
    def __init__(self, folder: Path, model: FlowMeterModel, more: dict[str, Any]) -> None:
        self.clock = FakeClock()
        self.model = model
        self.peer = FlowMeterGateway(
            self.clock, {ADDRESS: model}, high_byte_first=more.get("identifier_order") == "high"
        )
        self.sink = Recorder(clock=self.clock)
        self.folder, self.more = folder, more
        self.driver: Cjt188Driver

    async def begin(self) -> None:
        raw = {
            "driver": "cjt188", "host": "127.0.0.1", "port": self.peer.port, "timeout_s": 1,
            "meters": [{
                "device": "m", "address": ADDRESS, "type": f"{self.model.kind:02X}",
                "status_events": {8: "leak", 11: "magnetic_tamper"},
            }],
        }  # fmt: skip
        settings = Cjt188Settings.model_validate(raw | self.more)
        self.driver = Cjt188Driver(settings, context(self.folder, self.clock))
        await self.driver.start(self.sink)

    @property
    def events(self) -> list[tuple[str, bool]]:
        return [(e["event"], e["active"]) for e in self.sink.of("meter.event", "m")]


@asynccontextmanager
async def scene(folder: Path, kind: int = COLD_WATER, **more: Any) -> AsyncIterator[Scene]:
    stage = Scene(folder, FlowMeterModel(7, "m", kind=kind), more)
    await stage.peer.start()
    await stage.begin()
    try:
        yield stage
    finally:
        await stage.driver.stop()
        await stage.peer.stop()


@pytest.mark.parametrize("kind", [COLD_WATER, HEAT, GAS])
@pytest.mark.parametrize("order", ["low", "high"])
def test_meters_of_each_kind_are_read(kind: int, order: str, tmp_path: Path) -> None:
    async def scenario() -> None:
        async with scene(tmp_path, kind, identifier_order=order) as stage:
            stage.model.clock_offset_s = 30
            await stage.driver.poll()
            (reading,) = stage.sink.of("meter.reading")
            state = stage.model.state(stage.clock.now)
            assert reading["medium"] == medium_of(kind)
            assert reading["volume_m3"] == pytest.approx(state.volume_m3, abs=0.006)
            assert reading["clock_offset_s"] == pytest.approx(30, abs=1)
            assert reading["valve_open"] is True
            if kind == HEAT:
                assert reading["heat_kwh"] == pytest.approx(state.heat_kwh, abs=0.006)
                assert reading["flow_m3_h"] == pytest.approx(state.flow_m3_h, abs=0.0001)
                assert reading["power_w"] == pytest.approx(state.power_w, abs=6)
                assert reading["temperature_c"] == pytest.approx(state.supply_c, abs=0.006)
            assert stage.events == [("valve_closed", False)]

    run(scenario())


def test_valve_battery_leak_and_magnet_are_told_once(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with scene(tmp_path) as stage:
            model = stage.model
            await stage.driver.poll()
            model.set_valve(stage.clock.now, opened=False)
            model.battery_low = True
            model.flags = LEAK | MAGNET
            await stage.driver.poll()
            await stage.driver.poll()
            began = {"battery_low", "leak", "magnetic_tamper", "valve_closed"}
            assert set(stage.events[1:]) == {(event, True) for event in began}
            assert stage.sink.of("meter.reading")[-1]["valve_open"] is False
            assert stage.sink.of("meter.event")[-1]["raw_code"] == "ST 0905"
            model.set_valve(stage.clock.now, opened=True)
            model.battery_low, model.flags, model.valve_fault = False, 0, True
            await stage.driver.poll()
            assert set(stage.events[5:]) == {
                *((event, False) for event in began), ("other", True)
            }  # fmt: skip
            assert "valve_open" not in stage.sink.of("meter.reading")[-1]
            model.valve_fault, model.clock_offset_s = False, -7_200
            await stage.driver.poll()
            assert stage.events[-2:] == [("other", False), ("clock_wrong", True)]

    run(scenario())


def test_answers_that_are_not_to_the_question(tmp_path: Path) -> None:
    async def scenario() -> None:
        model, clock = FlowMeterModel(7, "m"), FakeClock()
        peer = FlowMeterGateway(clock, {ADDRESS: model})
        alone = FlowMeterGateway(clock, {"78330000000001": model})
        asked: list[Frame] = []

        async def odd(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            decoder = Decoder()
            while chunk := await reader.read(100):
                for frame in decoder.feed(chunk):
                    asked.append(frame)
                    question = SimulatedFrame(frame.kind, frame.address, 1, frame.data)
                    other = SimulatedFrame(frame.kind, "78330000000001", 1, frame.data)
                    late = SimulatedFrame(frame.kind, frame.address, 1, frame.data[:2] + b"\x77")
                    writer.write(
                        chunk + alone.reply(other) + peer.reply(late) + b"\x68\x10"
                        + peer.reply(question)
                    )  # fmt: skip

        server, port = await listen(odd)
        raw = {
            "driver": "cjt188", "host": "127.0.0.1", "port": port, "timeout_s": 1,
            "meters": [{"device": "m", "address": ADDRESS}],
        }  # fmt: skip
        driver = Cjt188Driver(Cjt188Settings.model_validate(raw), context(tmp_path, clock))
        sink = Recorder(clock=clock)
        await driver.start(sink)
        await driver.poll()
        await driver.poll()
        assert len(sink.of("meter.reading")) == 2
        assert [frame.data[2] for frame in asked] == [1, 2]
        assert driver.health()["unmatched_frames"] == 6  # the echo, another's, an old one; twice
        await driver.stop()
        server.close()

    run(scenario())


def test_a_refusal_and_nonsense_are_the_meters_fault(tmp_path: Path) -> None:
    async def scenario() -> None:
        # It wants 90 1F and is asked 1F 90.
        async with scene(tmp_path) as stage:
            stage.peer._turn = -1
            with pytest.raises(LinkError):
                await stage.driver.poll()
            ((device, error),) = stage.sink.failures
            assert (device, type(error)) == ("m", DeviceRefusedError)
        async with scene(tmp_path) as stage:
            stage.model.kind = HEAT
            stage.peer._meters = {ADDRESS: stage.model}
            stage.driver._meters["m"].settings = stage.driver._meters["m"].settings.model_copy(
                update={"type": "20", "medium": "water"}
            )
            with pytest.raises(LinkError):
                await stage.driver.poll()
            ((_, error),) = stage.sink.failures
            assert isinstance(error, LinkError)
            assert error.cause == "protocol"

    run(scenario())


@pytest.mark.parametrize(
    "more",
    [
        {"meters": [{"device": "m", "address": "12"}]},
        {"meters": [{"device": "m", "address": ADDRESS, "type": "44"}]},
        {"meters": [{"device": "m", "address": ADDRESS}, {"device": "n", "address": ADDRESS}]},
        {"meters": [{"device": "m", "address": ADDRESS, "status_events": {16: "leak"}}]},
    ],
)
def test_settings_are_checked(more: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Cjt188Settings.model_validate({"driver": "cjt188", "host": "h", "port": 1} | more)


def test_the_simulated_register_never_falls_but_by_a_scenario() -> None:
    model, start = FlowMeterModel(3, "w"), 1_795_600_000_000
    values = [model.volume_m3(start + n * 600_000) for n in range(400)]
    assert values == sorted(values)
    assert values[-1] - values[0] == pytest.approx(0.45 * 400 / 144, rel=0.3)
    model.set_leak(start, 1.0)
    assert model.volume_m3(start + 3_600_000) == pytest.approx(values[0] + 1)
    model.set_leak(start + 3_600_000, None)
    assert model.volume_m3(start + 7_200_000) >= values[0] + 1
    model.set_register(start, 5)
    assert model.volume_m3(start) == pytest.approx(5)
