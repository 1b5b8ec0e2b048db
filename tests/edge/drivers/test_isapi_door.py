"""The door driver against a controller's stream with Digest authentication and every fault."""

from __future__ import annotations

import asyncio
import hashlib
import json
import re
from pathlib import Path
from typing import Any

import pytest

import edge.driver
from core.contracts.errors import JournalFullError, SettingsError
from edge.driver import LinkError
from edge.drivers.isapi_door.driver import IsapiDoorDriver
from edge.drivers.isapi_door.settings import IsapiDoorSettings

from .support import Recorder, Streaming, context, listen, run

NONCE, REALM = "c0ffee", "DS-K2604"


def md5(text: str) -> str:
    return hashlib.md5(text.encode()).hexdigest()


class Controller:
    """Speaks the alert stream; what it sends comes from a queue."""

    def __init__(self, password: str = "secret") -> None:
        self.password = password
        self.requests = 0
        self.streams = 0
        self.status: int | None = None
        self.content_type = "multipart/mixed; boundary=MIME_boundary"
        self.outgoing: asyncio.Queue[bytes | None] = asyncio.Queue()

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            self.requests += 1
            if self.status is not None:
                writer.write(f"HTTP/1.1 {self.status} No\r\nContent-Length: 0\r\n\r\n".encode())
            elif self._authentic(head):
                break
            else:
                challenge = f'Digest qop="auth", realm="{REALM}", nonce="{NONCE}"'
                writer.write(
                    "HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n"
                    f"WWW-Authenticate: {challenge}\r\n\r\n".encode()
                )
        self.streams += 1
        writer.write(f"HTTP/1.1 200 OK\r\nContent-Type: {self.content_type}\r\n\r\n".encode())
        while (data := await self.outgoing.get()) is not None:
            writer.write(data)
            await writer.drain()

    def _authentic(self, head: str) -> bool:
        method, path, _ = head.split(" ", 2)
        line = next((x for x in head.splitlines() if x.lower().startswith("authorization:")), "")
        fields = dict(re.findall(r'(\w+)="?([^",]+)"?', line))
        if "Digest" not in line:
            return False
        first = md5(f"{fields['username']}:{REALM}:{self.password}")
        second = md5(f"{method}:{path}")
        tail = f"{fields['nc']}:{fields['cnonce']}:{fields['qop']}:{second}"
        return fields["response"] == md5(f"{first}:{NONCE}:{tail}")

    def send(self, value: dict[str, Any]) -> None:
        body = json.dumps(value).encode()
        self.outgoing.put_nowait(
            b"--MIME_boundary\r\nContent-Type: application/json\r\n"
            b"Content-Length: %d\r\n\r\n%b\r\n" % (len(body), body)
        )

    def event(self, major: int, minor: int, serial: int, second: int = 0, **more: Any) -> None:
        self.send(
            {
                "eventType": "AccessControllerEvent",
                "dateTime": f"2026-03-05T18:30:{second:02d}+08:00",
                "AccessControllerEvent": {
                    "majorEventType": major, "subEventType": minor, "doorNo": 1,
                    "serialNo": serial, "name": "张三", **more,
                },
            }
        )  # fmt: skip

    def heartbeat(self) -> None:
        self.send({"eventType": "heartBeat", "eventState": "active"})


def driver_for(port: int, folder: Path, **more: object) -> IsapiDoorDriver:
    raw = {
        "driver": "isapi_door", "base_url": f"http://127.0.0.1:{port}", "username": "edge",
        "password": "secret", "doors": {"1": "door-1", "2": "door-2"}, "silence_s": 2,
    }  # fmt: skip
    return IsapiDoorDriver(IsapiDoorSettings.model_validate(raw | more), context(folder))


CODES = [
    (5, 0x01, "access.granted", {"credential": "card"}),
    (5, 0x4B, "access.granted", {"credential": "face"}),
    (5, 0x4C, "access.denied", {"credential": "face", "reason": "no_match"}),
    (5, 0x06, "access.denied", {"reason": "no_permission"}),
    (5, 0x68, "access.denied", {"credential": "face", "reason": "liveness"}),
    (5, 0x17, "access.exit_button", {"credential": "button"}),
    (5, 0x1B, "access.forced", {}),
    (1, 0x40A, "access.duress", {}),
    (5, 0x71, "access.blacklisted", {}),
    (3, 0x400, "access.granted", {"credential": "remote"}),
    (5, 0x34, "access.fire_release", {"active": True}),
    (5, 0x35, "access.fire_release", {"active": False}),
]


def test_codes_become_events(tmp_path: Path) -> None:
    async def scenario() -> None:
        controller, sink = Controller(), Recorder()
        server, port = await listen(controller)
        async with Streaming(driver_for(port, tmp_path), sink):
            for serial, (major, minor, _, _) in enumerate(CODES, 1):
                controller.event(major, minor, serial, cardReaderNo=1)
            await sink.until(lambda: len(sink.events) == len(CODES))
        for serial, (event, (major, minor, kind, data)) in enumerate(
            zip(sink.events, CODES, strict=True), 1
        ):
            assert event[:2] == (kind, "door-1")
            assert event[2] == data | {
                "serial": serial, "reader": "1", "raw_code": f"{major}/{minor}"
            }  # fmt: skip
            assert event[3] == 1_772_706_600_000
        assert "door-2" in sink.reached_devices
        server.close()

    run(scenario())


def test_door_held_open_tells_how_long(tmp_path: Path) -> None:
    async def scenario() -> None:
        controller, sink = Controller(), Recorder()
        server, port = await listen(controller)
        async with Streaming(driver_for(port, tmp_path), sink):
            controller.event(5, 0x19, 1, 5)
            controller.event(5, 0x1C, 2, 35)
            controller.event(5, 0x1A, 3, 40, doorNo=2)
            await sink.until(lambda: len(sink.events) == 3)
        assert sink.of("access.door", "door-1")[0]["open"] is True
        assert sink.of("access.held_open")[0]["open_s"] == 30
        assert sink.of("access.door", "door-2")[0]["open"] is False
        server.close()

    run(scenario())


def test_who_it_was_never_leaves(tmp_path: Path) -> None:
    async def scenario() -> None:
        controller, sink = Controller(), Recorder()
        server, port = await listen(controller)
        async with Streaming(driver_for(port, tmp_path), sink):
            controller.event(5, 1, 1, employeeNoString="10086", cardNo="3141592653")
            controller.event(5, 1, 2, employeeNoString="10086")
            controller.event(5, 1, 3, cardNo="3141592653")
            await sink.until(lambda: len(sink.events) == 3)
        people = [event[2]["person"] for event in sink.events]
        assert people[0] == people[1] != people[2]
        assert all(re.fullmatch(r"p-[0-9a-f]{24}", person) for person in people)
        told = json.dumps(sink.events, ensure_ascii=False)
        assert not any(secret in told for secret in ("10086", "3141592653", "张三"))
        key = tmp_path / "pseudonym.key"
        assert key.stat().st_mode & 0o077 == 0
        server.close()
        return people[0]

    first = run(scenario())
    assert first == run(scenario()), "the key is kept, so the pseudonym is stable"


def test_duplicates_are_dropped_and_holes_counted(tmp_path: Path) -> None:
    async def scenario() -> None:
        controller, sink = Controller(), Recorder()
        server, port = await listen(controller)
        driver = driver_for(port, tmp_path)
        async with Streaming(driver, sink):
            controller.event(5, 1, 10)
            controller.event(5, 1, 10)
            controller.event(5, 1, 14)
            controller.outgoing.put_nowait(None)  # the connection ends; the controller repeats
            await sink.until(lambda: controller.outgoing.empty())
            controller.event(5, 1, 14)
            controller.event(5, 1, 10, second=59)  # counted from anew after a reset
            await sink.until(lambda: len(sink.events) == 3)
        assert [event[2]["serial"] for event in sink.events] == [10, 14, 10]
        assert sink.counts["duplicates"] == 2
        assert driver.health()["missed_serials"] == 3
        server.close()

    run(scenario())


def test_an_event_that_was_not_committed_is_taken_again(tmp_path: Path) -> None:
    async def scenario() -> None:
        controller, sink = Controller(), Recorder()
        server, port = await listen(controller)
        sink.refuse = lambda kind: OSError("disk full")
        async with Streaming(driver_for(port, tmp_path), sink) as streaming:
            controller.event(5, 1, 10)
            await sink.until(lambda: streaming.errors)
            sink.refuse = lambda kind: None
            controller.outgoing.put_nowait(None)  # wakes the old connection
            await sink.until(lambda: controller.streams > 1)
            controller.event(5, 1, 10)
            await sink.until(lambda: len(sink.events) == 1)
        assert sink.counts["duplicates"] == 0
        server.close()

    run(scenario())


def test_a_full_journal_holds_the_stream_back(tmp_path: Path, monkeypatch: Any) -> None:
    async def scenario() -> None:
        controller, sink = Controller(), Recorder()
        server, port = await listen(controller)
        sink.refuse = lambda kind: JournalFullError("no room")
        async with Streaming(driver_for(port, tmp_path), sink) as streaming:
            controller.event(5, 1, 10)
            controller.event(5, 1, 11)
            await sink.until(lambda: sink.counts["journal_waits"] >= 3)
            sink.refuse = lambda kind: None
            await sink.until(lambda: len(sink.events) == 2)
            assert streaming.errors == []
        server.close()

    monkeypatch.setattr(edge.driver, "_JOURNAL_PAUSE_S", 0.01)
    run(scenario())


def test_unknown_codes_doors_and_shapes_are_counted(tmp_path: Path) -> None:
    async def scenario() -> None:
        controller, sink = Controller(), Recorder()
        server, port = await listen(controller)
        async with Streaming(driver_for(port, tmp_path), sink):
            controller.event(9, 0x999, 1)
            controller.event(1, 0x404, 2)
            controller.event(5, 1, 3, doorNo=77)
            controller.send({"eventType": "AccessControllerEvent", "AccessControllerEvent": []})
            controller.send({"eventType": "videoloss"})
            controller.outgoing.put_nowait(b"--MIME_boundary\r\nContent-Type: text/json\r\n\r\n{]")
            controller.heartbeat()
            await sink.until(lambda: sink.counts["heartbeats"])
        assert sink.events == []
        expected = (
            "unknown_codes", "codes_without_event", "unknown_doors", "malformed_events",
            "other_events", "malformed_parts",
        )  # fmt: skip
        assert {name: sink.counts[name] for name in expected} == dict.fromkeys(expected, 1)
        server.close()

    run(scenario())


def test_forced_after_a_release_can_be_held_back(tmp_path: Path) -> None:
    async def scenario() -> None:
        controller, sink = Controller(), Recorder()
        server, port = await listen(controller)
        async with Streaming(driver_for(port, tmp_path, forced_grace_s=5), sink):
            controller.event(5, 0x17, 1, 0)
            controller.event(5, 0x1B, 2, 4)
            controller.event(5, 0x1B, 3, 10)
            controller.event(5, 0x34, 4, 20, doorNo=0)  # all doors
            controller.event(5, 0x1B, 5, 40, doorNo=2)
            controller.event(5, 0x35, 6, 41, doorNo=0)
            controller.event(5, 0x1B, 7, 50, doorNo=2)
            await sink.until(lambda: len(sink.of("access.forced")) == 2)
        assert [event["serial"] for event in sink.of("access.forced")] == [3, 7]
        assert sink.counts["forced_after_release"] == 2
        assert len(sink.of("access.fire_release", "door-2")) == 2
        server.close()

    run(scenario())


def test_silence_is_noticed_and_heartbeats_prevent_it(tmp_path: Path) -> None:
    async def scenario() -> None:
        controller, sink = Controller(), Recorder()
        server, port = await listen(controller)
        async with Streaming(driver_for(port, tmp_path, silence_s=0.5), sink) as streaming:
            for _ in range(5):
                controller.heartbeat()
                await asyncio.sleep(0.2)
            assert streaming.errors == []
            await sink.until(lambda: streaming.errors)
            (error,) = streaming.errors[:1]
            assert isinstance(error, LinkError)
            assert "silent" in str(error)
        server.close()

    run(scenario())


def test_a_wrong_password_is_not_tried_again_and_again(tmp_path: Path) -> None:
    async def scenario() -> None:
        controller, sink = Controller("another"), Recorder()
        server, port = await listen(controller)
        async with Streaming(driver_for(port, tmp_path), sink) as streaming:
            await sink.until(lambda: len(streaming.errors) > 5)
        assert all(isinstance(e, LinkError) and e.cause == "credentials" for e in streaming.errors)
        assert controller.requests == 2  # the challenge and the one answer to it
        assert sink.reached_devices == []
        server.close()

    run(scenario())


@pytest.mark.parametrize(
    ("status", "content_type", "cause"),
    [(503, "", "protocol"), (None, "text/html", "protocol"), (403, "", "credentials")],
)
def test_other_answers(status: int | None, content_type: str, cause: str, tmp_path: Path) -> None:
    async def scenario() -> None:
        controller = Controller()
        controller.status, controller.content_type = status, content_type
        server, port = await listen(controller)
        driver = driver_for(port, tmp_path)
        await driver.start(Recorder())
        with pytest.raises(LinkError) as refused:
            await driver.run()
        assert refused.value.cause == cause
        server.close()
        await driver.stop()

    run(scenario())


def test_nobody_there(tmp_path: Path) -> None:
    async def scenario() -> None:
        server, port = await listen(Controller())
        server.close()
        await server.wait_closed()
        driver = driver_for(port, tmp_path)
        await driver.start(Recorder())
        with pytest.raises(LinkError) as refused:
            await driver.run()
        assert refused.value.cause == "network"

    run(scenario())


def test_secrets_by_file_and_variable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario(**secret: str) -> str:
        driver = driver_for(1, tmp_path, password=None, **secret)
        await driver.start(Recorder())
        return driver._password

    (tmp_path / "secret").write_text("from file\n", encoding="utf-8")
    monkeypatch.setenv("DOOR_PASSWORD", "from variable")
    assert run(scenario(password_file="secret")) == "from file"
    assert run(scenario(password_env="DOOR_PASSWORD")) == "from variable"
    with pytest.raises(SettingsError, match="password_file"):
        run(scenario(password_file="missing"))
    (tmp_path / "short.key").write_bytes(b"short")
    with pytest.raises(SettingsError, match="32"):
        run(scenario(password_file="secret", pseudonym_key_file="short.key"))
