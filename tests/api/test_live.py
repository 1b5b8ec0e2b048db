"""The live push: order, resumption, reset, slow clients, the end of a session, latency."""

from __future__ import annotations

import asyncio
import json
import re
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import httpx
import pytest
import structlog.testing

from core.contracts.colours import Colour
from core.contracts.errors import StoreUnavailableError
from core.contracts.outputs import ColourOutput
from core.storage.records import changes
from dashboard_api.live.hub import PAGE, Frame, LiveHub, Reset
from tests.api.harness import NOW, Running, alert, raised


@dataclass
class Event:
    """One server-sent event."""

    id: int
    name: str
    data: Any


class Stream:
    """An open stream, read event by event."""

    def __init__(self, response: httpx.Response) -> None:
        self.lines = response.iter_lines()
        self.comments: list[str] = []

    def next(self) -> Event:
        fields: dict[str, str] = {}
        for line in self.lines:
            if line == "" and "event" in fields:
                return Event(int(fields["id"]), fields["event"], json.loads(fields["data"]))
            if line.startswith(":"):
                self.comments.append(line)
            elif line:
                key, _, value = line.partition(": ")
                fields[key] = value
        raise EOFError

    def ended(self) -> bool:
        """Read to the end, whatever comes."""
        for _ in self.lines:
            pass
        return True


@contextmanager
def follow(client: httpx.Client, since: int | None = None, **headers: str) -> Iterator[Stream]:
    params = {} if since is None else {"since": since}
    with client.stream("GET", "/api/v1/live", params=params, headers=headers) as response:
        assert response.status_code == 200, response.read()
        assert response.headers["content-type"].startswith("text/event-stream")
        assert "content-encoding" not in response.headers
        yield Stream(response)


def colours(count: int, start: int = 0, node: str = "b1") -> list[ColourOutput]:
    """So many changes of a node's coverage, each one change of the sequence."""
    return [ColourOutput(f"{node}-{n}", NOW + n, Colour.GREEN, Colour.GREEN, n, 100) for n in
            range(start, start + count)]  # fmt: skip


def test_changes_arrive_in_order_with_what_the_api_shows(run: Running) -> None:
    client = run.signed_in()
    with follow(client) as stream:
        hello = stream.next()
        assert (hello.name, hello.data) == ("hello", {"seq": 0, "time": NOW, "speed": 1.0})
        run.apply(raised(alert(1)), *colours(3))
        events = [stream.next() for _ in range(4)]
        assert [event.id for event in events] == [1, 2, 3, 4]
        assert [event.name for event in events] == ["alert", "colour", "colour", "colour"]
        assert events[0].data == run.signed_in().get("/api/v1/alerts").json()["items"][0]
        assert events[1].data["colour"] == "green"


def test_an_acknowledgement_is_pushed_to_everybody(run: Running) -> None:
    side = alert(1)
    run.apply(raised(side))
    mine, other = run.signed_in(), run.signed_in()
    with follow(other) as stream:
        stream.next()
        mine.post(f"/api/v1/alerts/{side.id}/acknowledge", json={"revision": 1})
        event = stream.next()
        assert event.data["state"] == "acknowledged"
        assert event.data["acknowledged_by"] == "admin"


@pytest.mark.parametrize("by_header", [True, False])
def test_resuming_gives_everything_missed_exactly_once(run: Running, by_header: bool) -> None:
    client = run.signed_in()
    total = PAGE + 50
    run.apply(*colours(total))
    given = {"since": 999_999, "Last-Event-ID": "20"} if by_header else {"since": 20}
    with follow(client, **given) as stream:  # type: ignore[arg-type]
        hello = stream.next()
        assert (hello.id, hello.data["seq"]) == (20, 20)
        ids = [stream.next().id for _ in range(total - 20)]
        run.apply(*colours(2, start=total))
        ids += [stream.next().id for _ in range(2)]
    assert ids == list(range(21, total + 3))


def test_the_sequence_of_an_answer_is_where_to_follow_from(run: Running) -> None:
    client = run.signed_in()
    run.apply(raised(alert(1)), wake=False)
    since = int(client.get("/api/v1/alerts").headers["X-Estate-Sequence"])
    assert since == 1
    run.apply(raised(alert(2)))
    with follow(client, since=since) as stream:
        stream.next()
        assert stream.next().data["id"] == alert(2).id


@pytest.mark.parametrize("since", [0, 10, 5_000])
def test_reset_when_what_was_missed_is_not_kept(run: Running, since: int) -> None:
    """Trimmed away (0, 10), or from records that have been restored since (5,000)."""
    client = run.signed_in()
    run.apply(*colours(30))
    with run.records.session() as session:
        changes.trim_changes(session, NOW - 1, keep=10)
    asyncio.run_coroutine_threadsafe(_forget_ring(run.app.services.hub), run.loop).result(5)
    with follow(client, since=since) as stream:
        assert stream.next().data["seq"] == 30
        reset = stream.next()
        assert (reset.name, reset.id, reset.data) == ("reset", 30, {"seq": 30})
        run.apply(*colours(1, start=30))
        assert stream.next().id == 31


async def _forget_ring(hub: LiveHub) -> None:
    """As if the process had just begun."""
    await hub.stop()
    fresh = LiveHub(hub._source)
    hub.__dict__.update(fresh.__dict__)
    await hub.start()


def test_without_wake_ups_it_looks_by_itself(run: Running) -> None:
    with follow(run.signed_in()) as stream:
        stream.next()
        run.apply(*colours(1), wake=False)
        assert stream.next().id == 1


def test_the_end_of_a_session_ends_its_streams(run: Running) -> None:
    client = run.signed_in()
    token = client.cookies["estate_session"]
    other = run.client(cookies={"estate_session": token})
    with follow(other) as stream:
        stream.next()
        began = time.monotonic()
        assert client.delete("/api/v1/session").status_code == 204
        assert stream.ended()
        assert time.monotonic() - began < 5


def test_an_expired_session_ends_its_streams(run: Running) -> None:
    with follow(run.signed_in()) as stream:
        stream.next()
        run.wall.move(hours=12, seconds=1)
        began = time.monotonic()
        assert stream.ended()
        assert time.monotonic() - began < 5


def test_stopping_the_server_ends_the_streams(run: Running) -> None:
    with follow(run.signed_in()) as stream:
        stream.next()
        began = time.monotonic()
        asyncio.run_coroutine_threadsafe(run.app.stop(), run.loop).result(10)
        assert stream.ended()
        assert time.monotonic() - began < 4


def test_bad_places_to_resume_from(run: Running) -> None:
    client = run.signed_in()
    for value in ("x", "-1", "1" * 30):
        answer = client.get("/api/v1/live", headers={"Last-Event-ID": value})
        assert answer.status_code == 422
    with follow(client, **{"Last-Event-ID": ""}) as stream:
        assert stream.next().name == "hello"


def test_a_client_that_never_reads_is_dropped_and_can_resume(
    run: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dashboard_api.live.stream.PATIENCE_S", 0.5)
    client = run.signed_in()
    hub = run.app.services.hub
    with socket.socket() as lazy:
        lazy.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
        lazy.connect(("127.0.0.1", run.app.port))
        cookie = client.cookies["estate_session"]
        lazy.sendall(
            f"GET /api/v1/live?since=0 HTTP/1.1\r\nHost: 127.0.0.1\r\n"
            f"Cookie: estate_session={cookie}\r\n\r\n".encode()
        )
        with follow(client) as stream:  # somebody else who reads is not held up
            stream.next()
            sent = 0
            deadline = time.monotonic() + 20
            while hub.dropped == 0 and time.monotonic() < deadline:
                with run.records.session() as session:
                    sent = changes.append_changes(session, _large(100), NOW)
                hub.wake()
                assert [stream.next().id for _ in range(100)][-1] == sent
        assert hub.dropped == 1
        assert hub._bytes <= 8 << 20
        _wait_until(lambda: hub.clients == 0)
        received = _rest(lazy)
    ids = re.findall(rb"\nid: (\d+)\nevent: colour\ndata: .*\n\n", received)
    last = int(ids[-1])
    assert 0 < last < sent
    with follow(client, since=last) as stream:
        assert stream.next().data["seq"] == last
        assert stream.next().id == last + 1


def _large(count: int) -> list[changes.NewChange]:
    payload = {"node": "b1", "text": "x" * 20_000}
    return [changes.NewChange("colour", "b1", payload) for _ in range(count)]


def _rest(peer: socket.socket) -> bytes:
    """Read what is left on a connection that the other side has cut."""
    peer.settimeout(5)
    received = bytearray()
    try:
        while chunk := peer.recv(1 << 20):
            received += chunk
    except ConnectionResetError:
        return bytes(received)
    return bytes(received)


def test_streams_are_bounded(run: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dashboard_api.live.endpoints.MAX_STREAMS", 1)
    client = run.signed_in()
    with follow(client) as stream:
        stream.next()
        answer = run.signed_in().get("/api/v1/live")
        assert answer.status_code == 503
        assert answer.headers["retry-after"]
    _wait_until(lambda: run.app.services.hub.clients == 0)


def test_latency_from_commit_to_push(run: Running) -> None:
    """A wake-up reaches a client in well under a tenth of a second."""
    client = run.signed_in()
    taken: list[float] = []
    with follow(client) as stream:
        stream.next()
        for number in range(60):
            run.apply(*colours(1, start=number), wake=False)
            committed = time.perf_counter()
            run.app.services.hub.wake()
            stream.next()
            taken.append(time.perf_counter() - committed)
    taken.sort()
    assert taken[len(taken) // 2] < 0.1, f"median {taken[len(taken) // 2]:.3f} s"


def _wait_until(true: Any, seconds: float = 5) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline
        threading.Event().wait(0.01)


# -- the hub by itself -------------------------------------------------------------------------


@dataclass
class Change:
    seq: int
    topic: str = "colour"
    payload: Any = None


class Source:
    """A live sequence in memory."""

    def __init__(self) -> None:
        self.changes: list[Change] = []
        self.first = 1

    def add(self, count: int, size: int = 10) -> None:
        last = self.first + len(self.changes) - 1
        self.changes += [Change(last + n + 1, payload="x" * size) for n in range(count)]

    def trim(self, keep: int) -> None:
        self.first += max(len(self.changes) - keep, 0)
        self.changes = self.changes[-keep:] if keep else []

    def bounds(self) -> tuple[int, int]:
        return self.first, self.first + len(self.changes) - 1

    def after(self, seq: int, limit: int) -> list[Change]:
        return [change for change in self.changes if change.seq > seq][:limit]


async def _all(hub: LiveHub, cursor: int, through: int) -> list[int]:
    seen: list[int] = []
    while cursor < through:
        taken = await asyncio.wait_for(hub.take(cursor), 5)
        if isinstance(taken, Reset):
            seen.append(-taken.seq)
            cursor = taken.seq
            continue
        assert len(taken) <= PAGE
        assert all(isinstance(frame, Frame) for frame in taken)
        seen += [frame.seq for frame in taken]
        cursor = taken[-1].seq
    return seen


def test_the_ring_is_bounded_by_frames_and_by_bytes() -> None:
    async def body() -> None:
        source = Source()
        hub = LiveHub(source, ring_frames=100, ring_bytes=20_000, poll_s=0.01)
        await hub.start()
        try:
            source.add(1_000)
            assert await _all(hub, 0, 1_000) == list(range(1, 1_001))
            assert len(hub._ring) <= 100
            source.add(300, size=1_000)
            assert await _all(hub, 1_000, 1_300) == list(range(1_001, 1_301))
            assert hub._bytes <= 20_000
            assert hub._bytes == sum(len(frame.body) for frame in hub._ring)
        finally:
            await hub.stop()

    asyncio.run(body())


def test_a_cursor_behind_what_is_kept_is_reset_in_the_stream() -> None:
    async def body() -> None:
        source = Source()
        hub = LiveHub(source, ring_frames=10, poll_s=0.01)
        await hub.start()
        try:
            source.add(500)
            await _all(hub, 495, 500)
            source.trim(50)
            assert await _all(hub, 3, 500) == [-500]
            assert await _all(hub, 450, 500) == list(range(451, 501))
            assert await hub.join(449) == (500, Reset(500))
            assert await hub.join(450) == (450, None)
            assert await hub.join(None) == (500, None)
            assert await hub.join(501) == (500, Reset(500))
        finally:
            await hub.stop()

    asyncio.run(body())


async def _until(true: Callable[[], bool]) -> None:
    for _ in range(1_000):
        if true():
            return
        await asyncio.sleep(0.005)
    pytest.fail("it did not come true")


def test_the_hub_survives_records_that_are_down() -> None:
    async def body() -> None:
        class Shaky(Source):
            down = True

            def bounds(self) -> tuple[int, int]:
                if self.down:
                    raise StoreUnavailableError("down")
                return super().bounds()

            def after(self, seq: int, limit: int) -> list[Change]:
                if self.down:
                    raise ZeroDivisionError("even this")
                return super().after(seq, limit)

        source = Shaky()
        source.add(5)
        hub = LiveHub(source, poll_s=0.005)
        await hub.start()
        try:
            assert hub.failing == "down"
            source.down = False
            waiting = asyncio.create_task(_all(hub, 5, 7))
            await _until(lambda: hub.seq == 5)
            source.down = True
            await _until(lambda: hub.failing is not None)
            assert hub.failing == "even this"
            source.add(2)
            source.down = False
            assert await asyncio.wait_for(waiting, 5) == [6, 7]
            await _until(lambda: hub.failing is None)
        finally:
            await hub.stop()

    with structlog.testing.capture_logs() as logged:
        asyncio.run(body())
    assert [line["log_level"] for line in logged] == ["warning", "info", "warning", "info"]


def test_stopping_lets_those_who_wait_go() -> None:
    async def body() -> None:
        hub = LiveHub(Source(), poll_s=0.01)
        await hub.start()
        waiting = asyncio.create_task(hub.take(0))
        await asyncio.sleep(0)
        await hub.stop()
        assert await asyncio.wait_for(waiting, 5) == []

    asyncio.run(body())
