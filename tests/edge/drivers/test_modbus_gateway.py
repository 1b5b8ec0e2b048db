"""One connection for many: shares of a dead unit, causes, late answers, lost connections."""

from __future__ import annotations

import asyncio
import logging
import time
from pathlib import Path
from random import Random
from typing import Any

import pytest

from core.contracts.errors import SettingsError
from edge.driver import LinkError
from edge.modbus.errors import NoAnswerError, RefusedError
from edge.modbus.gateway import Gateway, acquire
from edge.modbus.questions import Identify, Read, Write
from edge.modbus.settings import Endpoint, ModbusSerialSettings
from edge.modbus.units import Units
from edge.shared import Shared
from simulators.devices.modbus import Framing, ModbusPeer, Registers, crc
from simulators.devices.modbus_serial import SerialModbusPeer

from .support import listen, run

ONE = Read("holding", 0, 1)


def banks(*units: int) -> dict[int, Registers]:
    return {
        unit: Registers(
            {"holding": {address: 100 * unit + address for address in range(10)},
             "coil": dict.fromkeys(range(8), 0)},
            writable=frozenset({"coil", "holding"}),
            identification={0: "Acme", 1: f"M-{unit}", 2: "1.0"},
        )
        for unit in units
    }  # fmt: skip


def gateway_of(peer: ModbusPeer, framing: Framing = "tcp") -> Gateway:
    return Gateway(Endpoint(framing, host="127.0.0.1", port=peer.port))


@pytest.mark.parametrize("framing", ["tcp", "rtu"])
def test_reads_writes_refusals_and_identification(framing: Framing) -> None:
    async def scenario() -> None:
        peer = ModbusPeer(banks(1, 7), framing=framing)
        await peer.start()
        gateway = gateway_of(peer, framing)
        words, latency = await gateway.ask(7, Read("holding", 2, 3), 1)
        assert words == [702, 703, 704]
        assert latency > 0
        assert (await gateway.ask(7, Write("coil", 3, 1), 1))[0] == [1]
        assert (await gateway.ask(7, Read("coil", 0, 5), 1))[0] == [0, 0, 0, 1, 0]
        assert (await gateway.ask(7, Write("holding", 2, 9), 1))[0] == [9]
        assert (await gateway.ask(1, Identify(), 1))[0] == {0: "Acme", 1: "M-1", 2: "1.0"}
        with pytest.raises(RefusedError, match=r"unit 1, holding 9 \(3\): .*02") as refused:
            await gateway.ask(1, Read("holding", 9, 3), 1)
        assert (refused.value.exception, refused.value.code) == (2, "02")
        assert peer.listener.connections == 1
        await gateway.close()
        assert (await gateway.ask(1, ONE, 1))[0] == [100], "a closed gateway opens again"
        await gateway.close()
        await peer.stop()

    run(scenario())


@pytest.mark.parametrize("framing", ["tcp", "rtu"])
def test_a_late_answer_is_not_taken_for_the_next_one(framing: Framing) -> None:
    async def scenario() -> None:
        peer = ModbusPeer(banks(1, 2), framing=framing)
        await peer.start()
        gateway = gateway_of(peer, framing)
        await gateway.ask(1, ONE, 1)
        peer.units[1].faults.delay_s = 0.3
        with pytest.raises(NoAnswerError):
            await gateway.ask(1, Read("holding", 1, 1), 0.2)
        peer.units[1].faults.delay_s = 0
        # Unit 1's answer to its register 1 comes in while unit 2 is asked.
        assert (await gateway.ask(2, ONE, 1))[0] == [200]
        assert (await gateway.ask(1, Read("holding", 2, 2), 1))[0] == [102, 103]
        await gateway.close()
        await peer.stop()

    run(scenario())


def test_who_is_silent_is_told_from_what_is_behind_a_gateway(tmp_path: Path) -> None:
    async def scenario() -> None:
        peer = ModbusPeer(banks(1, 2, 3))
        await peer.start()
        gateway = gateway_of(peer)
        peer.units[1].faults.silent = True
        peer.units[2].faults.unreached = 0x0B
        peer.units[3].faults.answers_as = 9
        causes = {}
        for unit in (1, 2, 3):
            with pytest.raises(NoAnswerError) as error:
                await gateway.ask(unit, ONE, 0.2)
            causes[unit] = (error.value.cause, str(error.value))
        assert causes[1][0] == "device"
        assert causes[1][1].endswith("no answer")
        assert causes[2][0] == "device"
        assert "gateway target does not respond" in causes[2][1]
        assert causes[3][0] == "protocol"
        assert "unit 9 answers instead of unit 3" in causes[3][1]
        await peer.suspend()
        with pytest.raises(LinkError) as refused:
            await gateway.ask(1, ONE, 0.5)
        assert (type(refused.value), refused.value.cause) == (LinkError, "gateway")
        began = time.monotonic()
        with pytest.raises(LinkError):
            await gateway.ask(2, ONE, 0.5)
        assert time.monotonic() - began < 0.2, "a refusal just now is not tried again"
        await peer.stop()
        serial = Gateway(Endpoint("rtu", serial=ModbusSerialSettings(port=str(tmp_path / "ttyX"))))
        with pytest.raises(LinkError, match="could not open port") as missing:
            await serial.ask(1, ONE, 0.5)
        assert missing.value.cause == "gateway"

    run(scenario())


def test_a_name_that_does_not_resolve_is_the_network_s_fault() -> None:
    async def scenario() -> None:
        gateway = Gateway(Endpoint("tcp", host="no-such-host.invalid", port=502))
        with pytest.raises(LinkError) as error:
            await gateway.ask(1, ONE, 2)
        assert error.value.cause == "network"

    run(scenario())


def test_a_connection_that_is_lost_or_half_open_is_made_anew() -> None:
    async def scenario() -> None:
        peer = ModbusPeer(banks(1))
        await peer.start()
        gateway = gateway_of(peer)
        await gateway.ask(1, ONE, 1)
        began = time.monotonic()
        peer.listener.faults.cut = True
        with pytest.raises(LinkError) as cut:
            await gateway.ask(1, ONE, 5)
        assert cut.value.cause == "gateway"
        assert time.monotonic() - began < 1, "a reset is noticed without waiting for an answer"
        assert (await gateway.ask(1, ONE, 1))[0] == [100]
        peer.listener.faults.mute = True
        for _ in range(2):
            with pytest.raises(NoAnswerError):
                await gateway.ask(1, ONE, 0.2)
        peer.listener.faults.clear()
        before = peer.listener.connections
        assert (await gateway.ask(1, ONE, 1))[0] == [100]
        assert peer.listener.connections == before + 1
        await gateway.close()
        await peer.stop()

    run(scenario())


@pytest.mark.parametrize("answer", [b"HTTP/1.1 400 Bad Request\r\n\r\n", b"\0" * 40, b"\xff" * 300])
def test_something_that_is_no_modbus(answer: bytes, caplog: pytest.LogCaptureFixture) -> None:
    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while await reader.read(64):
            writer.write(answer)

    async def scenario() -> None:
        server, port = await listen(handle)
        for framing in ("tcp", "rtu"):
            gateway = Gateway(Endpoint(framing, host="127.0.0.1", port=port))  # type: ignore[arg-type]
            with pytest.raises(NoAnswerError) as error:
                await gateway.ask(1, ONE, 0.3)
            assert error.value.cause == "protocol"
            await gateway.close()
        server.close()

    with caplog.at_level(logging.DEBUG):
        run(scenario())
    assert not [record for record in caplog.records if record.name.startswith("pymodbus")]
    assert "data_received() call failed" not in caplog.text


def test_an_answer_that_the_library_cannot_decode_breaks_nothing() -> None:
    """A frame with the right head and a function that no Modbus knows."""

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while request := await reader.read(64):
            frame = request[:1] + b"\x83"
            writer.write(frame + crc(frame))  # an exception without its code
            await asyncio.sleep(0)

    async def scenario() -> None:
        server, port = await listen(handle)
        gateway = Gateway(Endpoint("rtu", host="127.0.0.1", port=port))
        for _ in range(3):
            with pytest.raises(LinkError):
                await gateway.ask(1, ONE, 0.2)
        await gateway.close()
        server.close()

    run(scenario())


def test_a_cancelled_question_leaves_the_line_free() -> None:
    async def scenario() -> None:
        peer = ModbusPeer(banks(1, 2))
        await peer.start()
        gateway = gateway_of(peer)
        peer.units[1].faults.silent = True
        asking = asyncio.create_task(gateway.ask(1, ONE, 30))
        await asyncio.sleep(0.1)
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking
        assert (await gateway.ask(2, ONE, 1))[0] == [200]
        await gateway.close()
        await peer.stop()

    run(scenario())


def test_a_serial_line_with_noise_and_an_adapter_that_is_unplugged(tmp_path: Path) -> None:
    async def scenario() -> None:
        peer = SerialModbusPeer(banks(1, 2), tmp_path / "tty")
        await peer.start()
        gateway = Gateway(Endpoint("rtu", serial=ModbusSerialSettings(port=str(peer.path))))
        assert (await gateway.ask(1, Read("holding", 0, 10), 1))[0] == list(range(100, 110))
        peer.listener.faults.noise = b"\xfe\x01\x83\0"
        assert (await gateway.ask(2, ONE, 1))[0] == [200], "noise before a frame costs nothing"
        peer.listener.faults.clear()
        peer.units[1].faults.spoil_crc = True
        with pytest.raises(NoAnswerError, match="bytes that are no answer") as spoilt:
            await gateway.ask(1, ONE, 0.3)
        assert spoilt.value.cause == "protocol"
        peer.units[1].faults.spoil_crc = False
        await peer.stop()
        with pytest.raises(LinkError) as unplugged:
            await gateway.ask(1, ONE, 0.5)
        assert unplugged.value.cause == "gateway"
        await peer.start()
        await asyncio.sleep(0.6)  # a refusal just now is remembered for half a second
        assert (await gateway.ask(1, ONE, 1))[0] == [100]
        await gateway.close()
        await peer.stop()

    run(scenario())


class Ticks:
    """Time that a test moves."""

    def __init__(self) -> None:
        self.now = 1_000.0

    def __call__(self) -> float:
        return self.now


def test_silent_units_cost_the_others_a_bounded_share() -> None:
    ticks, dead, timeout = Ticks(), range(2, 40), 2.0
    units = Units(ticks, Random(1))
    units.answered(1)
    began, lost, asked = ticks.now, 0.0, dict.fromkeys(dead, 0)
    while ticks.now - began < 3600:
        for unit in (1, *dead):
            if not units.due(unit):
                continue
            if unit == 1:
                units.answered(1)
                ticks.now += 0.05
                continue
            ticks.now += timeout
            units.silent(unit, timeout)
            lost += timeout
            asked[unit] += 1
        ticks.now += 1.0
    # Nothing is known of a unit before it is asked twice; after that the share holds.
    first_rounds = 2 * timeout * len(dead)
    assert lost - first_rounds <= (3600 - first_rounds) / 3
    assert min(asked.values()) >= 10, "and none of them is forgotten"


def test_a_unit_that_is_back_is_asked_as_ever() -> None:
    ticks = Ticks()
    units = Units(ticks, Random(1))
    for unit in (1, 2):
        units.answered(unit)
    for _ in range(20):
        units.silent(2, 1.0)
        assert not units.due(2)
    ticks.now += 75
    assert units.due(2), "not much longer than a minute"
    units.answered(2)
    assert units.due(2)
    assert units.healthy(2)


def test_two_entries_share_a_gateway_and_must_agree_on_it() -> None:
    async def scenario() -> None:
        shared = Shared()
        endpoint = Endpoint("tcp", host="10.0.0.1", port=502)
        first, second = acquire(shared, endpoint), acquire(shared, endpoint)
        assert first is second
        with pytest.raises(SettingsError, match=r"10.0.0.1:502: two entries name it"):
            acquire(shared, Endpoint("rtu", host="10.0.0.1", port=502))
        fast: dict[str, Any] = {"port": "/dev/ttyS1", "baud": 19200}
        acquire(shared, Endpoint("rtu", serial=ModbusSerialSettings(**fast)))
        with pytest.raises(SettingsError, match="/dev/ttyS1"):
            acquire(shared, Endpoint("rtu", serial=ModbusSerialSettings(port="/dev/ttyS1")))

    run(scenario())
