"""Which bytes answer a question: late, foreign, noisy and cut-off answers are told apart."""

from __future__ import annotations

import asyncio
from typing import Any, Literal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pymodbus.client import AsyncModbusTcpClient

from edge.modbus.turns import Turns
from edge.modbus.wire import AnswerFilter, question
from simulators.devices.modbus import crc

from .support import listen, run


def tcp(tid: int, unit: int, pdu: bytes) -> bytes:
    head = tid.to_bytes(2, "big") + b"\0\0" + (len(pdu) + 1).to_bytes(2, "big")
    return head + bytes((unit,)) + pdu


def rtu(unit: int, pdu: bytes) -> bytes:
    frame = bytes((unit,)) + pdu
    return frame + crc(frame)


READ_TWO = bytes.fromhex("03 00 10 00 02")
TWO = bytes.fromhex("03 04 00 01 00 02")


def asked(framing: Literal["tcp", "rtu"], packet: bytes) -> AnswerFilter:
    found = AnswerFilter(framing)
    found.ask(packet)
    return found


def test_the_rtu_check_sum_of_the_standard() -> None:
    # A frame that is printed in many manuals: 01 03 00 00 00 0A C5 CD.
    assert crc(bytes.fromhex("01 03 00 00 00 0A")) == bytes.fromhex("C5 CD")


def test_what_answers_which_request() -> None:
    assert question("tcp", tcp(7, 3, READ_TWO)).pdu_size == 6
    assert question("rtu", rtu(3, bytes.fromhex("01 00 00 00 09"))).pdu_size == 4
    assert question("rtu", rtu(3, bytes.fromhex("05 00 00 FF 00"))).pdu_size == 5
    assert question("tcp", tcp(7, 3, bytes.fromhex("2B 0E 01 00"))).pdu_size is None


def test_tcp_answers_are_matched_by_id_unit_function_and_length() -> None:
    good = tcp(7, 3, TWO)
    line = asked("tcp", tcp(7, 3, READ_TWO))
    assert line.pick(tcp(6, 3, TWO)[:5]) == b""
    assert line.pick(tcp(6, 3, TWO) + good) == good
    assert line.late == 1
    assert line.pick(good) == b"", "nothing is asked any more"
    exception = tcp(7, 3, b"\x83\x02")
    assert asked("tcp", tcp(7, 3, READ_TWO)).pick(exception) == exception
    for wrong in (
        tcp(7, 4, TWO), tcp(7, 3, b"\x04" + TWO[1:]), tcp(7, 3, b"\x03\x02\0\1"), b"HTTP/1.1 400",
    ):  # fmt: skip
        line = asked("tcp", tcp(7, 3, READ_TWO))
        assert line.pick(wrong) == b""
        assert line.spoilt


def test_rtu_answers_are_found_in_noise_and_only_with_a_right_check_sum() -> None:
    good = rtu(3, TWO)
    line = asked("rtu", rtu(3, READ_TWO))
    assert line.pick(good[:-1]) == b""
    assert line.pick(b"\xfe\x03\x83" + good + b"\0") == good
    spoilt = good[:-2] + bytes((good[-2] ^ 1, good[-1]))
    other = rtu(4, TWO)
    short = rtu(3, b"\x03\x02\0\1")
    line = asked("rtu", rtu(3, READ_TWO))
    assert line.pick(spoilt + other + short) == b""
    assert line.pick(spoilt + other + short + good) == good
    exception = rtu(3, b"\x83\x0b")
    assert asked("rtu", rtu(3, READ_TWO)).pick(b"\0" + exception) == exception


def test_an_identification_says_its_own_length() -> None:
    body = bytes.fromhex("2B 0E 01 01 00 00 02 00 03 41 42 43 01 02 44 45")
    frame = rtu(9, body)
    line = asked("rtu", rtu(9, bytes.fromhex("2B 0E 01 00")))
    for size in range(len(frame)):
        assert line.pick(frame[:size]) == b""
    assert line.pick(frame) == frame


@given(st.binary(max_size=60), st.sampled_from(["tcp", "rtu"]))
def test_garbage_never_answers(garbage: bytes, framing: Any) -> None:
    packet = (tcp if framing == "tcp" else lambda _, *rest: rtu(*rest))(7, 3, READ_TWO)
    frame = asked(framing, packet).pick(garbage)
    assert frame == b"" or (framing == "tcp" and frame in garbage)


@settings(max_examples=60)
@given(st.binary(max_size=12), st.binary(max_size=12))
def test_a_true_rtu_answer_is_found_whatever_is_around_it(before: bytes, after: bytes) -> None:
    good = rtu(3, TWO)
    assert asked("rtu", rtu(3, READ_TWO)).pick(before + good + after) == good


def test_what_the_library_alone_would_take_for_an_answer() -> None:
    """The reason for the filter: with RTU frames a late answer passes for the next one."""

    async def scenario() -> None:
        async def late(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            while await reader.read(64):
                writer.write(rtu(3, b"\x03\x02\0\7"))  # one register, whatever was asked

        server, port = await listen(late)
        client = AsyncModbusTcpClient("127.0.0.1", port=port, framer="rtu", retries=0, timeout=1)  # type: ignore[arg-type]
        await client.connect()
        answer = await client.read_holding_registers(0, count=2, device_id=3)
        assert answer.registers == [7]
        client.close()
        server.close()

    run(scenario())


def test_turns_go_round_the_units_and_commands_go_first() -> None:
    async def scenario() -> None:
        turns, order = Turns(), []

        async def use(name: str, unit: int, *, urgent: bool = False) -> None:
            async with turns.turn(unit, urgent=urgent):
                order.append(name)
                await asyncio.sleep(0)

        async with turns.turn(9):
            tasks = [
                asyncio.create_task(use(name, unit))
                for name, unit in (("a1", 1), ("a2", 1), ("a3", 1), ("b1", 2), ("c1", 3), ("b2", 2))
            ]
            gone = asyncio.create_task(use("gone", 2))
            await asyncio.sleep(0)
            gone.cancel()
            tasks.append(asyncio.create_task(use("command", 1, urgent=True)))
            await asyncio.sleep(0)
        await asyncio.gather(*tasks)
        assert order == ["command", "a1", "b1", "c1", "a2", "b2", "a3"]
        async with turns.turn(1):
            pass

    run(scenario())


def test_a_turn_that_is_given_to_somebody_who_left_goes_on() -> None:
    async def scenario() -> None:
        turns = Turns()

        async def use(unit: int) -> None:
            async with turns.turn(unit):
                await asyncio.sleep(0)

        async with turns.turn(1):
            first, second = asyncio.create_task(use(2)), asyncio.create_task(use(3))
            await asyncio.sleep(0)
        first.cancel()  # its turn has just been given to it
        await asyncio.gather(first, return_exceptions=True)
        await asyncio.wait_for(second, 1)

    run(scenario())


@pytest.mark.parametrize("framing", ["tcp", "rtu"])
def test_a_filter_without_a_question_gives_nothing(framing: Any) -> None:
    assert AnswerFilter(framing).pick(rtu(3, TWO)) == b""
