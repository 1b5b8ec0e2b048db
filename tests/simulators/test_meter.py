"""The meter gateway over TCP: an independent client, the error replies, the register."""

import asyncio
import contextlib

import pytest
from dlt645.service.clientsvc.async_client_service import AsyncMeterClientService

from simulators.devices.dlt645 import Frame, FrameReader
from simulators.devices.meter import MeterGateway, encode_item
from simulators.devices.meter_model import Counted, MeterModel
from simulators.loads import LoadKind, LoadPlan, LoadSpec
from tests.simulators.helpers import FakeClock, at_hour

SINGLE, TRIPLE = "330101000001", "330101000002"


def _model(name, kind, limit, phases):
    return MeterModel(7, name, LoadPlan(7, name, LoadSpec(kind, limit)), phases=phases)


@contextlib.asynccontextmanager
async def gateway(clock=None, *, only=None):
    clock = clock or FakeClock(at_hour(20))
    meters = {
        SINGLE: _model("flat", LoadKind.HOUSEHOLD, 8000, 1),
        TRIPLE: _model("shop", LoadKind.SHOP, 45_000, 3),
    }
    peer = MeterGateway(clock, {only: meters[only]} if only else meters)
    await peer.start()
    try:
        yield peer, clock, meters
    finally:
        await peer.stop()


async def ask(peer, *frames, replies=None):
    """Send frames; return the frames that come back."""
    reader, writer = await asyncio.open_connection("127.0.0.1", peer.port)
    decoder, received = FrameReader(), []
    try:
        for frame in frames:
            writer.write(b"\xfe\xfe" + frame.encode())
        wanted = len(frames) if replies is None else replies
        async with asyncio.timeout(3):
            while len(received) < wanted:
                received += decoder.feed(await reader.read(4096))
    finally:
        writer.close()
    return received


def read(address, item):
    return Frame(address, 0x11, item.to_bytes(4, "little"))


def test_an_independent_client_reads_what_the_model_measures():
    async def run():
        async with gateway() as (peer, clock, meters):
            client = AsyncMeterClientService.new_tcp_client("127.0.0.1", peer.port, timeout=3)
            for address, model in meters.items():
                client.address = bytearray(reversed(bytes.fromhex(address)))
                state = model.state(clock.now_ms())
                energy = await client.read_00(0x00010000)
                assert energy.value == pytest.approx(state.energy_kwh, abs=0.006)
                for phase, volts in enumerate(state.voltage_v, 1):
                    item = await client.read_02(0x02010000 + (phase << 8))
                    assert item.value == pytest.approx(volts, abs=0.06)
                    item = await client.read_02(0x02020000 + (phase << 8))
                    assert item.value == pytest.approx(state.current_a[phase - 1], abs=0.0006)
                power = await client.read_02(0x02030000)
                assert power.value * 1000 == pytest.approx(state.power_w, abs=0.06)
                factor = await client.read_02(0x02060000)
                assert factor.value == pytest.approx(state.power_factor, abs=0.0006)
                celsius = await client.read_02(0x02800007)
                assert celsius.value == pytest.approx(state.temperature_c, abs=0.06)
                hertz = await client.read_02(0x02800002)
                assert hertz.value == pytest.approx(50, abs=0.1)
            await client.disconnect()

    asyncio.run(run())


def test_every_item_has_the_length_of_its_format():
    sizes = {
        0x00000000: 4, 0x00010000: 4, 0x00020000: 4, 0x02010100: 2, 0x02020300: 3, 0x02030000: 3,
        0x02030100: 3, 0x02060000: 2, 0x02800002: 2, 0x02800004: 3, 0x02800007: 2, 0x04000101: 4,
        0x04000102: 3, 0x04000501: 2, 0x04000507: 2, 0x0201FF00: 6, 0x0202FF00: 9, 0x0203FF00: 12,
        0x03300D00: 3, 0x03110000: 3, 0x03010000: 18, 0x03050000: 6, 0x0001FF00: 20, 0x00010300: 4,
        0x01010000: 8, 0x04000402: 6, 0x040005FF: 14,
    }  # fmt: skip

    async def run():
        async with gateway() as (peer, _, _meters):
            replies = await ask(peer, *(read(TRIPLE, item) for item in sizes))
            for (item, size), reply in zip(sizes.items(), replies, strict=True):
                assert (reply.address, reply.control) == (TRIPLE, 0x91)
                assert int.from_bytes(reply.data[:4], "little") == item
                assert len(reply.data) == 4 + size, hex(item)

    asyncio.run(run())


def test_what_a_meter_does_not_have_is_refused_by_name():
    async def run():
        async with gateway() as (peer, _, _meters):
            unknown, other_phase, write = await ask(
                peer, read(SINGLE, 0x0A0B0C0D), read(SINGLE, 0x02010200), Frame(SINGLE, 0x14, b"1")
            )
            assert unknown == other_phase == Frame(SINGLE, 0xD1, b"\x02")
            assert write == Frame(SINGLE, 0xD4, b"\x01")
            assert peer.refused == 3

    asyncio.run(run())


def test_strangers_broadcasts_and_silenced_meters_get_no_answer():
    async def run():
        async with gateway() as (peer, _, meters):
            meters[SINGLE].answers = False
            silent = (
                read("999999999999", 0x10000), read("000000000009", 0x10000),
                read(SINGLE, 0x10000), Frame(TRIPLE, 0x91, b"1234"),
            )  # fmt: skip
            replies = await ask(peer, *silent, read(TRIPLE, 0x10000), replies=1)
            assert [reply.address for reply in replies] == [TRIPLE]

    asyncio.run(run())


def test_a_lone_meter_tells_its_address():
    async def run():
        async with gateway(only=SINGLE) as (peer, _, _meters):
            (reply,) = await ask(peer, Frame("AA" * 6, 0x13))
            assert reply == Frame(SINGLE, 0x93, bytes(reversed(bytes.fromhex(SINGLE))))

    asyncio.run(run())


def test_several_who_answer_at_once_cannot_be_read_but_a_shortened_address_picks_one():
    async def run():
        async with gateway() as (peer, _, meters):
            (only,) = await ask(
                peer, Frame("AA" * 6, 0x13), read("AAAAAAAAAA02", 0x10000), replies=1
            )
            assert (only.address, only.control) == (TRIPLE, 0x91)
            meters[TRIPLE].answers = False
            (reply,) = await ask(peer, Frame("AA" * 6, 0x13))
            assert reply.address == SINGLE

    asyncio.run(run())


def test_a_long_answer_comes_in_frames_with_numbers():
    async def run():
        async with gateway() as (peer, clock, meters):
            peer.frame_bytes = 8
            block = (0x0001FF00).to_bytes(4, "little")
            first, second, third, beyond = await ask(
                peer, read(SINGLE, 0x0001FF00),
                *(Frame(SINGLE, 0x12, block + bytes((n,))) for n in (1, 2, 3)),
            )  # fmt: skip
            assert [f.control for f in (first, second, third)] == [0xB1, 0xB2, 0x92]
            assert beyond == Frame(SINGLE, 0xD2, b"\x02")
            assert (second.data[-1], third.data[-1]) == (1, 2)
            values = first.data[4:] + second.data[4:-1] + third.data[4:-1]
            assert len(values) == 20
            total, *tariffs = (int(values[at : at + 4][::-1].hex()) / 100 for at in range(0, 20, 4))
            energy = meters[SINGLE].state(clock.now_ms()).energy_kwh
            assert total == pytest.approx(energy, abs=0.006)
            assert sum(tariffs) == pytest.approx(energy, abs=0.03)

    asyncio.run(run())


def test_what_a_meter_lacks_and_where_it_is_silent():
    async def run():
        async with gateway() as (peer, _, meters):
            meters[SINGLE].faults.missing = frozenset({0x02060000})
            meters[SINGLE].faults.silent = frozenset({0x02800002})
            meters[SINGLE].faults.zero_reads = 1
            got = await ask(
                peer, read(SINGLE, 0x02060000), read(SINGLE, 0x02800002),
                read(SINGLE, 0x00010000), read(SINGLE, 0x00010000), replies=3,
            )  # fmt: skip
            assert got[0] == Frame(SINGLE, 0xD1, b"\x02")
            assert got[1].data[4:] == bytes(4)
            assert got[2].data[4:] != bytes(4)

    asyncio.run(run())


def test_events_are_counted_and_shown():
    model = _model("shop", LoadKind.SHOP, 45_000, 3)
    now = at_hour(12)
    assert set(sum(model.state(now).counts.values(), ())) == {0}
    model.happen(Counted.COVER)
    model.set_voltage_factor(0.7)
    model.faults.lost_phases = frozenset({1})
    model.set_reversed(now, frozenset({2}))
    state = model.state(now)
    model.state(now + 1)
    assert state.counts[Counted.COVER] == (1,)
    assert model.state(now).counts[Counted.UNDER_VOLTAGE] == (1, 0, 1)
    assert model.state(now).counts[Counted.VOLTAGE_LOSS] == (0, 1, 0)
    assert state.status_words[3] & 1 << 1
    assert state.status_words[4] & 1 << 0
    assert state.status_words[5] & 1 << 6
    assert state.current_a[1] == 0
    assert state.current_a[2] < 0
    assert state.power_w == pytest.approx(sum(state.phase_w))
    later = model.state(now + 3_600_000)
    assert later.export_kwh > 0
    model.set_reversed(now + 3_600_000, frozenset())
    assert model.state(now + 7_200_000).export_kwh == pytest.approx(later.export_kwh)


def test_a_register_sticks_rolls_over_and_is_replaced():
    model = _model("flat", LoadKind.HOUSEHOLD, 8000, 1)
    now = at_hour(19)
    model.stick(now)
    held = model.state(now + 600_000)
    assert held.energy_kwh == model.state(now).energy_kwh
    assert held.power_w > 0
    model.unstick(now + 600_000)
    assert model.energy_wh(now + 1_200_000) > held.energy_kwh * 1000
    model.near_capacity(now, 0.001)
    later = model.state(now + 3_600_000)
    assert later.energy_kwh > 1_000_000
    assert int(encode_item(0x00010000, later)[::-1].hex()) < 500
    before = later.number
    model.happen(Counted.COVER)
    model.replace(now, kwh=3)
    after = model.state(now)
    assert after.number != before
    assert after.energy_kwh == pytest.approx(3)
    assert after.counts[Counted.COVER] == (0,)


def test_a_clock_is_off_and_drifts():
    model = _model("flat", LoadKind.HOUSEHOLD, 8000, 1)
    now = at_hour(10)
    assert model.state(now).clock_ms == now
    model.faults.clock_offset_s = -90
    model.faults.clock_drift_ppm = 100
    assert model.state(now).clock_ms == now - 90_000
    assert model.state(now + 10_000_000).clock_ms == now + 10_000_000 - 89_000


def test_the_greatest_demand_is_of_the_day_before():
    state = _model("flat", LoadKind.HOUSEHOLD, 8000, 1).state(at_hour(10))
    assert at_hour(0) - 86_400_000 < state.demand_max_at <= at_hour(0)
    assert 500 < state.demand_max_w < 8000


def test_noise_between_frames_is_counted_and_passed_over():
    async def run():
        async with gateway() as (peer, _, _meters):
            reader, writer = await asyncio.open_connection("127.0.0.1", peer.port)
            writer.write(b"\x01\x02\x68\x99" + b"\x00" * 9 + read(SINGLE, 0x10000).encode())
            async with asyncio.timeout(3):
                assert FrameReader().feed(await reader.read(4096))
            writer.close()
            assert peer.unread_bytes == 13

    asyncio.run(run())


def test_the_register_integrates_the_power_through_overload_and_relay():
    model = _model("flat", LoadKind.HOUSEHOLD, 8000, 1)
    start = at_hour(10)
    before = model.energy_wh(start)
    model.set_overload(start, 10_400)
    overloaded = model.state(start + 60_000)
    assert overloaded.power_w == pytest.approx(10_400, rel=0.01)
    assert overloaded.status_words[3] & 1 << 5
    half_hour = start + 1_800_000
    assert model.energy_wh(half_hour) - before == pytest.approx(5_200)
    model.set_overload(half_hour, None)
    model.set_relay(half_hour, opened=True)
    opened = model.state(half_hour + 1)
    assert opened.power_w == 0
    assert opened.status_words[2] & 1 << 4
    hour = start + 3_600_000
    assert model.energy_wh(hour) == model.energy_wh(half_hour)
    model.set_relay(hour, opened=False)
    assert not model.state(hour).status_words[2]
    assert model.energy_wh(hour) - before == pytest.approx(5_200)

    again = _model("flat", LoadKind.HOUSEHOLD, 8000, 1)
    again.carry(model.offset_wh)
    assert again.energy_wh(hour + 60_000) == pytest.approx(model.energy_wh(hour + 60_000))
