"""A door controller over HTTP with httpx's own Digest client."""

import asyncio
import contextlib
import json

import httpx
import pytest

from core.contracts.errors import ContractError
from simulators.devices.door import SEARCH_PATH, STREAM_PATH, DoorPeer
from simulators.devices.door_model import Door, DoorController
from simulators.devices.isapi import Code, Holder, Identity
from simulators.rhythms import RESIDENTIAL, Arrivals
from tests.simulators.helpers import FakeClock, at_hour, until

NOBODY = RESIDENTIAL.scaled(0)
HOLDERS = [Holder("10001", "张三", "3020100111"), Holder("10002", "李四", "3020100112")]


@contextlib.asynccontextmanager
async def controller(rhythm=NOBODY, *, seed=1, replay=3, heartbeat_s=30.0):
    clock = FakeClock(at_hour(8))
    doors = [Door(number, Arrivals(seed, f"d{number}", rhythm)) for number in (1, 2)]
    model = DoorController(seed, "controller", clock, doors, HOLDERS)
    identity = Identity("controller", "192.0.2.10", "02:00:5e:10:00:01")
    peer = DoorPeer(
        clock, model, identity=identity, username="edge", password="secret",
        replay=replay, heartbeat_s=heartbeat_s,
    )  # fmt: skip
    await peer.start()
    auth = httpx.DigestAuth("edge", "secret")
    url = f"http://127.0.0.1:{peer.port}"
    try:
        async with httpx.AsyncClient(base_url=url, auth=auth, timeout=5) as client:
            yield peer, model, clock, client
    finally:
        await peer.stop()


class Parts:
    """Takes a multipart stream apart by its boundary and lengths."""

    def __init__(self, response):
        kind = response.headers["content-type"]
        assert kind.startswith("multipart/mixed")
        self._mark = b"--" + kind.split("boundary=")[1].encode() + b"\r\n"
        self._chunks = response.aiter_raw()
        self._buffer = b""

    async def next(self, event_type="AccessControllerEvent"):
        while True:
            part = await self._next()
            if part["eventType"] == event_type:
                return part

    async def _next(self):
        async with asyncio.timeout(3):
            while (found := self._take()) is None:
                self._buffer += await anext(self._chunks)
        return found

    def _take(self):
        head, gap, rest = self._buffer.partition(b"\r\n\r\n")
        if not gap:
            return None
        assert head.startswith(self._mark)
        lines = dict(line.split(b": ", 1) for line in head[len(self._mark) :].split(b"\r\n"))
        size = int(lines[b"Content-Length"])
        if len(rest) < size + 2:
            return None
        self._buffer = rest[size + 2 :]
        return json.loads(rest[:size])


async def codes(parts, count):
    events = [(await parts.next())["AccessControllerEvent"] for _ in range(count)]
    return [(event["majorEventType"], event["subEventType"]) for event in events]


def test_the_stream_tells_what_happens_at_the_doors():
    async def run():
        async with controller() as (peer, model, clock, client):
            async with client.stream("GET", STREAM_PATH) as response:
                parts = Parts(response)
                beat = await parts.next("heartBeat")
                assert beat["dateTime"] == "2026-11-25T08:00:00+08:00"
                await model.force(2)
                assert await codes(parts, 2) == [(5, 0x1B), (5, 0x19)]
                await model.close(2)
                assert await codes(parts, 2) == [(5, 0x1A), (5, 0x16)]
                await model.hold(1)
                face = await parts.next()
                event = face["AccessControllerEvent"]
                assert (event["doorNo"], event["subEventType"]) == (1, 75)
                assert event["employeeNoString"] in ("10001", "10002")
                assert await codes(parts, 2) == [(5, 0x15), (5, 0x19)]
                await clock.advance(29)
                assert model.memory[-1].code is Code.DOOR_OPENED
                await clock.advance(1.5)
                held = await parts.next()
                assert held["AccessControllerEvent"]["subEventType"] == 28
                assert held["dateTime"].startswith("2026-11-25T08:00:30")
                with pytest.raises(ContractError):
                    await model.force(1)
                await model.report(1, Code.DURESS)
                assert await codes(parts, 1) == [(1, 0x40A)]
                await model.deny(2, Code.FACE_FAILED, times=3)
                await clock.advance(5)
                assert await codes(parts, 3) == [(5, 0x4C)] * 3
            await until(lambda: peer.listener.clients == 0)

    asyncio.run(run())


def test_serials_rise_and_the_last_events_come_again_after_a_reconnect():
    async def run():
        async with controller(replay=2) as (_, model, _clock, client):
            async with client.stream("GET", STREAM_PATH) as response:
                parts = Parts(response)
                await parts.next("heartBeat")
                await model.force(1)
                await model.close(1)
                first = [
                    (await parts.next())["AccessControllerEvent"]["serialNo"] for _ in range(4)
                ]
            assert first == list(range(first[0], first[0] + 4))
            async with client.stream("GET", STREAM_PATH) as response:
                parts = Parts(response)
                again = [
                    (await parts.next())["AccessControllerEvent"]["serialNo"] for _ in range(2)
                ]
                assert again == first[-2:]
        async with controller() as (_, later, _clock, _client):
            assert later.record(1, Code.EXIT_BUTTON).serial >= first[0]

    asyncio.run(run())


def test_heartbeats_keep_coming():
    async def run():
        async with (
            controller(heartbeat_s=0.05) as (_, _model, _clock, client),
            client.stream("GET", STREAM_PATH) as response,
        ):
            parts = Parts(response)
            for _ in range(3):
                assert (await parts.next("heartBeat"))["eventState"] == "active"

    asyncio.run(run())


def test_people_come_in_the_morning_and_the_seed_repeats_them():
    async def run(seed):
        async with controller(RESIDENTIAL, seed=seed) as (_, model, clock, _client):
            await clock.advance(3600)
            return [(r.at_ms, r.door, r.code, r.holder) for r in model.memory]

    once, again, other = (asyncio.run(run(seed)) for seed in (1, 1, 2))
    assert once == again != other
    found = [code for _, _, code, _ in once]
    assert found.count(Code.DOOR_OPENED) == pytest.approx(found.count(Code.DOOR_CLOSED), abs=2)
    assert found.count(Code.FACE_OK) > found.count(Code.CARD_OK) > 0
    assert found.count(Code.EXIT_BUTTON) > 3


def test_a_search_pages_through_the_memory():
    async def run():
        async with controller() as (_, model, clock, client):
            for _ in range(5):
                model.record(1, Code.CARD_OK, HOLDERS[0])
                await clock.advance(60)

            async def search(position, minor=0, **more):
                condition = {
                    "searchID": "1", "searchResultPosition": position, "maxResults": 2,
                    "major": 5, "minor": minor, **more,
                }  # fmt: skip
                answer = await client.post(
                    SEARCH_PATH, params={"format": "json"}, json={"AcsEventCond": condition}
                )
                assert answer.status_code == 200
                return answer.json()["AcsEvent"]

            page = await search(0)
            assert (page["responseStatusStrg"], page["totalMatches"]) == ("MORE", 5)
            assert page["InfoList"][0]["cardNo"] == HOLDERS[0].card
            assert (await search(4))["responseStatusStrg"] == "OK"
            assert (await search(0, minor=0x4B))["responseStatusStrg"] == "NO MATCH"
            late = await search(0, startTime="2026-11-25T08:03:00+08:00")
            assert late["totalMatches"] == 2
            for bad in (b"", b"[]", b'{"AcsEventCond": {"searchID": 1}}', b"[" * 60_000):
                assert (await client.post(SEARCH_PATH, content=bad)).status_code == 400

    asyncio.run(run())


def test_only_the_right_credentials_open_anything():
    async def run():
        async with controller() as (peer, _, _clock, client):
            assert (await client.get("/ISAPI/none")).status_code == 404
            assert (await client.post(STREAM_PATH)).status_code == 405
            wrong = httpx.DigestAuth("edge", "guess")
            assert (await client.post(SEARCH_PATH, auth=wrong)).status_code == 401
            assert (await client.post(SEARCH_PATH, auth=None)).status_code == 401
            assert peer.sign_in.refused == 1
            basic = httpx.BasicAuth("edge", "secret")
            assert (await client.get(STREAM_PATH, auth=basic)).status_code == 401

    asyncio.run(run())


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (b"NONSENSE\r\n\r\n", b"400"),
        (b"GET / HTTP/9\r\n\r\n", b"400"),
        (b"GET / HTTP/1.1\r\nContent-Length: x\r\n\r\n", b"400"),
        (b"POST / HTTP/1.1\r\nContent-Length: 99999999\r\n\r\n", b"413"),
        (b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n", b"400"),
        (b"GET / HTTP/1.1\r\nX: " + b"a" * 70_000 + b"\r\n\r\n", b"413"),
    ],
)
def test_bad_requests_are_answered_and_closed(sent, status):
    async def run():
        async with controller() as (peer, _, _clock, _client):
            reader, writer = await asyncio.open_connection("127.0.0.1", peer.port)
            writer.write(sent)
            async with asyncio.timeout(3):
                with contextlib.suppress(ConnectionError):
                    assert (await reader.readline()).split()[1] == status
            writer.close()

    asyncio.run(run())


def test_doors_are_opened_from_afar_and_say_why_not():
    async def run():
        async with controller() as (_, model, clock, client):

            async def open_door(
                number, body="<RemoteControlDoor><cmd>open</cmd></RemoteControlDoor>"
            ):
                path = f"/ISAPI/AccessControl/RemoteControl/door/{number}"
                return await client.put(path, content=body)

            assert "<statusCode>1</statusCode>" in (await open_door(1)).text
            await clock.advance(10)
            assert [record.code for record in model.memory] == [
                Code.REMOTE_OPEN, Code.UNLOCKED, Code.DOOR_OPENED, Code.DOOR_CLOSED, Code.LOCKED
            ]  # fmt: skip
            assert "<statusCode>4</statusCode>" in (await open_door(9)).text
            assert (await open_door(1, "<x/>")).status_code == 400

    asyncio.run(run())


def test_who_presses_the_button_while_another_shuts_the_door_can_still_leave():
    async def run():
        async with controller() as (_, model, clock, _client):
            model.admit(1)
            await model.hold(1)
            await clock.advance(4)
            await model.report(1, Code.EXIT_BUTTON)
            await model.close(1)
            model.memory.clear()
            await clock.advance(4.9)
            assert not model.memory  # the button's time has not run out
            await clock.advance(0.2)
            assert [record.code for record in model.memory] == [Code.LOCKED]

    asyncio.run(run())


def test_a_lock_that_was_released_for_nothing_locks_again():
    async def run():
        async with controller() as (_, model, clock, _client):
            model.admit(1)
            await clock.advance(3)
            model.admit(1, 1)  # another one, whose time begins anew
            await clock.advance(20)
            assert [record.code for record in model.memory] == [
                Code.CARD_OK, Code.UNLOCKED, Code.FACE_OK, Code.UNLOCKED, Code.LOCKED
            ]  # fmt: skip

    asyncio.run(run())


def test_what_goes_wrong_with_numbers_memory_and_clock():
    async def run():
        async with controller(replay=0) as (_, model, _clock, client):
            async with client.stream("GET", STREAM_PATH) as response:
                parts = Parts(response)
                await parts.next("heartBeat")
                model.drift_s = -3600
                model.unheard = 2
                first = model.record(1, Code.CARD_OK)
                model.record(1, Code.CARD_OK)
                model.skip_serials(5)
                model.record(1, Code.CARD_OK)
                heard = await parts.next()
                assert heard["AccessControllerEvent"]["serialNo"] == first.serial + 7
                assert heard["dateTime"].startswith("2026-11-25T07:00:00")
            model.forget(keep=1)
            assert [record.serial for record in model.memory] == [first.serial + 7]
            model.reset_serials()
            assert model.record(1, Code.CARD_OK).serial == 1

    asyncio.run(run())
