"""Answers of several frames: lost, wrongly numbered, refused and endless ones; what is kept."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from core.contracts.errors import DeviceRefusedError
from edge.driver import LinkError
from edge.drivers.dlt645.codec import MORE, READ, READ_NEXT, Decoder, Frame, encode
from edge.drivers.dlt645.link import Answer, Link
from edge.drivers.dlt645.memory import Memory, Remembered
from edge.meters.frames import ERROR, REPLY
from edge.transport.bus import Bus, NoAnswerError
from edge.transport.line import TcpLine

from .support import listen, run

ADDRESS = "000012345678"
BLOCK = 0x0001FF00
DI = BLOCK.to_bytes(4, "little")


class Script:
    """A meter whose answer has as many frames as there are pieces; some are lost at first."""

    def __init__(self, *pieces: bytes, lose: tuple[int, ...] = (), refuse: int = -1) -> None:
        self.pieces = pieces
        self.lose = set(lose)
        self.refuse = refuse
        self.endless = False
        self.stray = b""
        self.asked: list[int] = []

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        decoder = Decoder()
        while chunk := await reader.read(256):
            for request in decoder.feed(chunk):
                number = request.data[4] if request.function == READ_NEXT else 0
                self.asked.append(number)
                if number in self.lose:
                    self.lose.discard(number)
                else:
                    writer.write(self.stray + self.reply(request, number))

    def reply(self, request: Frame, number: int) -> bytes:
        control = request.control | REPLY
        if number == self.refuse:
            return encode(Frame(ADDRESS, control | ERROR, b"\x01"))
        if self.endless or number + 1 < len(self.pieces):
            control |= MORE
        piece = self.pieces[0 if self.endless else number]
        tail = bytes((number,)) if number else b""
        return encode(Frame(ADDRESS, control, DI + piece + tail))


async def read(script: Script, timeout_s: float = 0.3) -> Answer:
    server, port = await listen(script)
    bus = Bus(TcpLine("127.0.0.1", port))
    try:
        async with bus.turn("m", 1):
            return await Link(timeout_s).read(bus, ADDRESS, BLOCK)
    finally:
        await bus.close()
        server.close()


def test_an_answer_of_three_frames() -> None:
    async def scenario() -> None:
        script = Script(b"one", b"two", b"three")
        answer = await read(script)
        assert answer.payload == b"onetwothree"
        assert answer.address == ADDRESS
        assert script.asked == [0, 1, 2]

    run(scenario())


def test_a_lost_frame_is_asked_for_again_by_its_number() -> None:
    async def scenario() -> None:
        script = Script(b"one", b"two", b"three", lose=(1, 2))
        assert (await read(script)).payload == b"onetwothree"
        assert script.asked == [0, 1, 1, 2, 2]

    run(scenario())


def test_a_frame_with_another_number_or_the_first_once_more_is_none() -> None:
    async def scenario() -> None:
        script = Script(b"one", b"two", b"three")
        script.stray = encode(
            Frame(ADDRESS, READ_NEXT | REPLY, DI + b"odd" + bytes((9,)))
        ) + encode(Frame("000000000001", READ | REPLY, DI + b"odd"))
        assert (await read(script)).payload == b"onetwothree"

    run(scenario())


def test_frames_that_are_refused_or_never_end() -> None:
    async def scenario() -> None:
        with pytest.raises(DeviceRefusedError):
            await read(Script(b"one", b"two", refuse=1))
        endless = Script(b"x")
        endless.endless = True
        with pytest.raises(LinkError, match="never ends") as told:
            await read(endless, 2)
        assert told.value.cause == "protocol"
        assert len(endless.asked) == 256
        with pytest.raises(NoAnswerError):
            await read(_silent(), 0.1)

    run(scenario())


def _silent() -> Script:
    script = Script(b"one")
    script.reply = lambda request, number: b""  # type: ignore[method-assign]
    return script


def test_what_is_remembered_of_a_meter_survives_and_nonsense_does_not_hurt(
    tmp_path: Path,
) -> None:
    memory = Memory(tmp_path, "gateway:1")
    assert memory.load() == {}
    known = Remembered({0x03300D00: [3], 0x03020000: [1, 2, 3]}, {"number": "0815"})
    memory.save("m", known)
    assert Memory(tmp_path, "gateway:1").load() == {"m": known}
    assert Memory(tmp_path, "gateway:2").load() == {}
    (file,) = tmp_path.glob("dlt645-*.json")
    for nonsense in ("", "[]", "{]", '{"m": 3}', '{"m": {"counts": {"x": 1}}}', "[" * 99_999):
        file.write_text(nonsense)
        assert Memory(tmp_path, "gateway:1").load() == {}
