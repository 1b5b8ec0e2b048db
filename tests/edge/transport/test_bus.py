"""Turns on a shared bus are fair, and a line that fails says so and is opened anew."""

from __future__ import annotations

import asyncio
from collections import Counter
from pathlib import Path
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from edge.driver import LinkError
from edge.shared import Shared
from edge.transport.bus import Bus, NoAnswerError, Turns
from edge.transport.line import SerialLine, TcpLine, line_of
from edge.transport.rounds import Rounds
from edge.transport.settings import ChannelSettings, MeterSerialSettings
from simulators.devices.serial_port import SerialPort
from tests.edge.drivers.support import Recorder, context, listen, run


class Watch:
    """A monotonic clock that the test moves."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@given(st.lists(st.floats(0.1, 5), min_size=2, max_size=6), st.integers(0, 999))
@settings(max_examples=40, deadline=None)
def test_nobody_waits_for_ever_and_the_quick_come_no_less_often(
    costs: list[float], seed: int
) -> None:
    async def scenario() -> None:
        watch, came, random = Watch(), Counter[str](), Random(seed)
        turns = Turns(watch)
        names = [f"d{n}" for n in range(len(costs))]
        turns.join(names)
        longest = 0.0

        async def keen(name: str, cost: float) -> None:
            nonlocal longest
            while watch.now < 200:
                asked = watch.now
                async with turns.turn(name):
                    longest = max(longest, watch.now - asked)
                    watch.now += cost * random.uniform(0.9, 1.1)
                    came[name] += 1
                    await asyncio.sleep(0)

        await asyncio.gather(*map(keen, names, costs))
        assert longest <= 3.3 * len(costs) * max(costs)
        for name, cost in zip(names, costs, strict=True):
            slower = [n for n, c in zip(names, costs, strict=True) if c > 1.3 * cost]
            assert all(came[name] >= came[other] - 1 for other in slower)

    run(scenario(), 30)


def test_a_newcomer_and_one_who_was_away_do_not_take_the_bus_for_themselves() -> None:
    async def scenario() -> None:
        watch = Watch()
        turns = Turns(watch)
        turns.join(["old", "away"])
        for _ in range(10):
            async with turns.turn("old"):
                watch.now += 10
        turns.join(["new"])
        order: list[str] = []

        async def take(name: str) -> None:
            async with turns.turn(name):
                order.append(name)
                watch.now += 10
                await asyncio.sleep(0)

        async with turns.turn("old"):
            tasks = [asyncio.create_task(take(n)) for n in ("away", "old", "away", "new", "old")]
            await asyncio.sleep(0)
            watch.now += 10
        await asyncio.gather(*tasks)
        assert order == ["away", "new", "old", "away", "old"]
        assert turns.members == {"old", "away", "new"}

    run(scenario())


def test_a_turn_that_is_given_up_blocks_nobody() -> None:
    async def scenario() -> None:
        turns = Turns()
        turns.join(["a", "b", "c"])
        got: list[str] = []

        async def take(name: str) -> None:
            async with turns.turn(name):
                got.append(name)

        async with turns.turn("a"):
            waiting = asyncio.create_task(take("b"))
            other = asyncio.create_task(take("c"))
            await asyncio.sleep(0)
            waiting.cancel()
        await asyncio.gather(waiting, other, return_exceptions=True)
        # Cancelled at the very moment at which it was its turn.
        async with turns.turn("a"):
            granted = asyncio.create_task(take("b"))
            await asyncio.sleep(0)
        granted.cancel()
        await asyncio.gather(granted, return_exceptions=True)
        async with asyncio.timeout(1):
            await take("c")
        assert got == ["c", "c"]

    run(scenario())


async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while chunk := await reader.read(100):
        if chunk == b"bye":
            return
        if chunk != b"?":
            writer.write(chunk.upper())


def whole(chunk: bytes) -> bytes | None:
    return chunk or None


def test_questions_answers_and_a_line_that_is_lost() -> None:
    async def scenario() -> None:
        server, port = await listen(echo)
        bus = Bus(TcpLine("127.0.0.1", port))
        stale: list[bytes] = []
        async with bus.turn("d", 1):
            answer, latency_ms = await bus.ask(b"abc", whole, 1, stale.append)
            assert answer == b"ABC"
            assert 0 < latency_ms < 1000
            with pytest.raises(NoAnswerError):
                await bus.ask(b"?", whole, 0.05, stale.append)
            assert await bus.gather(b"def", 0.1) == b"DEF"
            with pytest.raises(LinkError) as lost:
                await bus.ask(b"bye", whole, 1, stale.append)
            assert lost.value.cause == "gateway"
        async with bus.turn("d", 1):
            assert (await bus.ask(b"x", whole, 1, stale.append))[0] == b"X"
        assert bus.opened == 2
        server.close()
        await bus.close()
        with pytest.raises(LinkError) as refused:
            async with bus.turn("d", 1):
                pytest.fail("opened")
        assert refused.value.cause == "gateway"

    run(scenario())


def test_what_comes_late_is_not_taken_for_the_next_answer() -> None:
    async def slow(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while chunk := await reader.read(100):
            if chunk == b"a":
                await asyncio.sleep(0.15)
            writer.write(chunk.upper())

    async def scenario() -> None:
        server, port = await listen(slow)
        bus = Bus(TcpLine("127.0.0.1", port))
        stale: list[bytes] = []
        async with bus.turn("d", 1):
            with pytest.raises(NoAnswerError):
                await bus.ask(b"a", whole, 0.05, stale.append)
            await asyncio.sleep(0.2)
            assert (await bus.ask(b"b", whole, 1, stale.append))[0] == b"B"
        assert stale == [b"A"]
        await bus.close()
        server.close()

    run(scenario())


def test_a_serial_port_is_opened_lost_and_found_again(tmp_path: Path) -> None:
    async def scenario() -> None:
        port = SerialPort(echo, tmp_path / "tty")
        settings = MeterSerialSettings(port=str(port.path), parity="none", gap_s=0.05)
        bus = Bus(SerialLine(settings))
        with pytest.raises(LinkError) as absent:
            async with bus.turn("d", 1):
                pytest.fail("opened")
        assert absent.value.cause == "bus"
        await port.start()
        loop = asyncio.get_running_loop()
        async with bus.turn("d", 1):
            await bus.ask(b"abc", whole, 1, lambda _: None)
            began = loop.time()
            await bus.ask(b"abc", whole, 1, lambda _: None)
            assert loop.time() - began >= 0.045  # the silence that the line needs
        await port.drop()
        with pytest.raises(LinkError):
            async with bus.turn("d", 1):
                await bus.ask(b"abc", whole, 0.5, lambda _: None)
        async with bus.turn("d", 1):
            assert (await bus.ask(b"abc", whole, 1, lambda _: None))[0] == b"ABC"
        await bus.close()
        await port.stop()

    run(scenario())


def test_a_port_that_is_none_is_an_error_of_the_bus(tmp_path: Path) -> None:
    async def scenario() -> None:
        (tmp_path / "tty").write_text("no terminal")
        bus = Bus(SerialLine(MeterSerialSettings(port=str(tmp_path / "tty"))))
        with pytest.raises(LinkError) as refused:
            async with bus.turn("d", 1):
                pytest.fail("opened")
        assert refused.value.cause == "bus"

    run(scenario())


@pytest.mark.parametrize(
    "raw",
    [
        {}, {"host": "h"}, {"port": 1}, {"host": "h", "port": 1, "serial": {"port": "p"}},
        {"serial": {"port": "p", "parity": "X"}}, {"serial": {"port": "p", "baudd": 9600}},
    ],
)  # fmt: skip
def test_a_channel_is_one_thing(raw: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        ChannelSettings.model_validate(raw)


def test_channels_have_names() -> None:
    tcp = ChannelSettings(host="h", port=5)
    port = ChannelSettings(serial=MeterSerialSettings(port="/dev/ttyS1"))
    assert (tcp.channel, port.channel) == ("h:5", "/dev/ttyS1")
    assert (line_of(tcp).cause, line_of(port).cause) == ("gateway", "bus")


def test_drivers_with_the_same_channel_share_one_connection(tmp_path: Path) -> None:
    async def scenario() -> None:
        connections: list[int] = []

        async def one(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            connections.append(1)
            await echo(reader, writer)

        server, port = await listen(one)
        channel = ChannelSettings(host="127.0.0.1", port=port)
        here = context(tmp_path)
        assert isinstance(here.shared, Shared)
        rounds = [Rounds(channel, here, [name], timeout_s=1, budget_s=0.3) for name in ("a", "b")]
        order: list[str] = []

        async def visit(bus: Bus, device: str):
            assert (await bus.ask(device.encode(), whole, 0.2, lambda _: None))[0] == (
                device.upper().encode()
            )

            async def tell() -> None:
                order.append(device)

            return tell

        sink = Recorder()
        await asyncio.gather(*(r.run(visit, sink) for r in rounds for _ in range(3)))
        assert sorted(order) == ["a"] * 3 + ["b"] * 3
        assert len(connections) == 1
        assert [r.gateway for r in rounds] == [f"127.0.0.1:{port}"] * 2
        await rounds[0].stop()
        await rounds[1].run(visit, sink)
        assert rounds[1].gateway is None
        assert len(connections) == 1
        await rounds[1].stop()
        await rounds[1].stop()
        server.close()

    run(scenario())


def test_a_port_that_two_want_in_two_ways_is_not_shared(tmp_path: Path) -> None:
    here = context(tmp_path)
    rounds = [
        Rounds(
            ChannelSettings(serial=MeterSerialSettings(port="/dev/ttyS9", baud=baud)), here, [name],
            timeout_s=1, budget_s=1,
        )
        for name, baud in (("a", 2400), ("b", 2400), ("c", 9600))
    ]  # fmt: skip
    assert rounds[0].bus is rounds[1].bus
    assert rounds[0].bus is not rounds[2].bus


def test_a_visit_that_takes_too_long_is_ended_and_costs_the_others_nothing(tmp_path: Path) -> None:
    async def scenario() -> None:
        server, port = await listen(echo)
        channel = ChannelSettings(host="127.0.0.1", port=port)
        rounds = Rounds(channel, context(tmp_path), ["a", "b"], timeout_s=1, budget_s=0.1)
        told: list[str] = []

        async def visit(bus: Bus, device: str):
            while device == "a":
                await bus.ask(b"x", whole, 1, lambda _: None)

            async def tell() -> None:
                told.append(device)

            return tell

        sink = Recorder()
        for _ in range(4):
            await rounds.run(visit, sink)
        assert told == ["b"] * 4
        # After the first failure it is asked once more at once, and then less and less often.
        assert 1 <= len(sink.failures) <= 3
        assert {device for device, _ in sink.failures} == {"a"}
        await rounds.stop()
        server.close()

    run(scenario())
