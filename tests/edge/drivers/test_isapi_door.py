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
from core.contracts.commands import Action
from core.contracts.errors import JournalFullError, SettingsError
from edge.driver import CommandRefusedError, LinkError
from edge.drivers.isapi_door.driver import IsapiDoorDriver
from edge.drivers.isapi_door.settings import IsapiDoorSettings
from tests.edge.isapi.support import Site

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
            if "alertStream" not in head:
                # This controller remembers nothing: what it does not say now is lost.
                length = re.search(r"content-length: (\d+)", head.lower())
                await reader.readexactly(int(length[1]) if length else 0)
                writer.write(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")
                continue
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


PANEL = {"device": "panel", "loop": "3"}
#: Source: DOMAIN section 3 and the constants of the vendor's published headers.
CODES: list[tuple[int, int, str, str, dict[str, Any]]] = [
    (5, 0x01, "access.granted", "door-1", {"credential": "card"}),
    (5, 0x26, "access.granted", "door-1", {"credential": "fingerprint"}),
    (5, 0x4B, "access.granted", "door-1", {"credential": "face"}),
    (5, 0x65, "access.granted", "door-1", {"credential": "pin"}),
    (5, 0x06, "access.denied", "door-1", {"reason": "no_permission"}),
    (5, 0x07, "access.denied", "door-1", {"reason": "wrong_time"}),
    (5, 0x08, "access.denied", "door-1", {"reason": "expired"}),
    (5, 0x09, "access.denied", "door-1", {"reason": "unknown_credential"}),
    (5, 0x0A, "access.denied", "door-1", {"reason": "anti_passback"}),
    (5, 0x0B, "access.denied", "door-1", {"reason": "interlock"}),
    (5, 0x27, "access.denied", "door-1", {"credential": "fingerprint", "reason": "no_match"}),
    (5, 0x4C, "access.denied", "door-1", {"credential": "face", "reason": "no_match"}),
    (5, 0x68, "access.denied", "door-1", {"credential": "face", "reason": "liveness"}),
    (1, 0x40C, "access.denied", "door-1", {"reason": "too_many_attempts"}),
    (5, 0x17, "access.exit_button", "door-1", {"credential": "button"}),
    (5, 0x19, "access.door", "door-1", {"open": True}),
    (5, 0x1A, "access.door", "door-1", {"open": False}),
    (5, 0x1B, "access.forced", "door-1", {}),
    (5, 0x1C, "access.held_open", "door-1", {}),
    (5, 0x85, "access.tailgate", "door-1", {}),
    (1, 0x40A, "access.duress", "door-1", {}),
    (1, 0x41C, "access.exit_button", "door-1", {"credential": "button"}),
    (5, 0x71, "access.blacklisted", "door-1", {}),
    (3, 0x400, "access.granted", "door-1", {"credential": "remote"}),
    (5, 0x34, "access.fire_release", "door-1", {"active": True}),
    (5, 0x35, "access.fire_release", "door-1", {"active": False}),
    (1, 0x404, "device.tamper", "main", {"active": True, "part": "controller"}),
    (1, 0x405, "device.tamper", "main", {"active": False, "part": "controller"}),
    (1, 0x406, "device.tamper", "main", {"active": True, "part": "reader", "reader": "1"}),
    (1, 0x407, "device.tamper", "main", {"active": False, "part": "reader", "reader": "1"}),
    (2, 0x27, "device.fault", "main", {"fault": "network", "active": True}),
    (2, 0x407, "device.fault", "main", {"fault": "network", "active": False}),
    (2, 0x401, "device.fault", "main",
     {"fault": "mains_off", "active": True, "part": "controller"}),
    (2, 0x400, "device.fault", "main",
     {"fault": "mains_off", "active": False, "part": "controller"}),
    (2, 0x405, "device.fault", "main", {"fault": "mains_off", "active": True}),
    (2, 0x406, "device.fault", "main", {"fault": "mains_off", "active": False}),
    (2, 0x409, "device.fault", "main", {"fault": "reader_offline", "active": True, "part": "1"}),
    (2, 0x40A, "device.fault", "main", {"fault": "reader_offline", "active": False, "part": "1"}),
    (5, 0x57, "device.fault", "door-1",
     {"fault": "sensor", "active": True, "part": "door_contact"}),
    (1, 0x415, "fire.fault", "panel", {"active": True, "loop": "3", "point": "input"}),
    (1, 0x416, "fire.fault", "panel", {"active": True, "loop": "3", "point": "input"}),
    (1, 0x417, "fire.fault", "panel", {"active": False, "loop": "3", "point": "input"}),
    (1, 0x418, "fire.alarm", "panel", {"active": True, "loop": "3", "point": "button"}),
    (1, 0x419, "fire.alarm", "panel", {"active": False, "loop": "3", "point": "button"}),
]  # fmt: skip


def test_codes_become_events(tmp_path: Path) -> None:
    async def scenario() -> None:
        controller, sink = Controller(), Recorder()
        server, port = await listen(controller)
        driver = driver_for(port, tmp_path, forced_grace_s=0, controller="main", fire=PANEL)
        async with Streaming(driver, sink):
            for serial, (major, minor, *_) in enumerate(CODES, 1):
                controller.event(major, minor, serial, cardReaderNo=1)
            await sink.until(lambda: len(sink.events) == len(CODES))
        for serial, (event, (major, minor, kind, device, data)) in enumerate(
            zip(sink.events, CODES, strict=True), 1
        ):
            assert event[:2] == (kind, device)
            door = {"serial": serial, "reader": "1"} if kind.startswith("access.") else {}
            told = {k: v for k, v in event[2].items() if k != "open_s"}
            assert told == data | door | {"raw_code": f"{major}/{minor}"}
            assert event[3] == 1_772_706_600_000
        assert {"door-1", "door-2", "main", "panel"} <= set(sink.reached_devices)
        server.close()

    run(scenario())


#: What is said of a line -> what that is for a supervised one, and for plain contacts.
LINES: list[tuple[str, int, list[tuple[str, bool]]]] = [
    ("supervised", 0x415, [("fire.fault", True)]),
    ("supervised", 0x416, [("fire.fault", True)]),
    ("supervised", 0x417, [("fire.fault", False)]),
    ("short", 0x415, [("fire.alarm", True)]),
    ("short", 0x416, [("fire.fault", True)]),
    ("short", 0x417, [("fire.alarm", False), ("fire.fault", False)]),
    ("open", 0x416, [("fire.alarm", True)]),
]


@pytest.mark.parametrize(("line", "minor", "expected"), LINES)
def test_a_fire_panels_contact_on_the_fire_input(
    line: str, minor: int, expected: list[tuple[str, bool]], tmp_path: Path
) -> None:
    async def scenario() -> None:
        controller, sink = Controller(), Recorder()
        server, port = await listen(controller)
        async with Streaming(driver_for(port, tmp_path, fire={**PANEL, "line": line}), sink):
            controller.event(1, minor, 1)
            await sink.until(lambda: len(sink.events) == len(expected))
        assert [(e[0], e[2]["active"]) for e in sink.events] == expected
        assert {e[1] for e in sink.events} == {"panel"}
        server.close()

    run(scenario())


def test_fire_panels_contacts_on_alarm_inputs(tmp_path: Path) -> None:
    inputs = {
        "alarm:1": {"device": "panel", "point": "A"},
        "alarm:2": {"device": "panel", "point": "B", "kind": "fire.fault", "active_on": "open"},
        "case:1": {"device": "panel-2", "point": "C", "active_on": "short"},
    }

    async def scenario() -> None:
        controller, sink = Controller(), Recorder()
        server, port = await listen(controller)
        async with Streaming(driver_for(port, tmp_path, inputs=inputs), sink):
            controller.event(1, 0x400, 1, doorNo=0, alarmInNo=1)
            controller.event(1, 0x403, 2, doorNo=0, alarmInNo=1)
            controller.event(1, 0x401, 3, doorNo=0, alarmInNo=2)
            controller.event(1, 0x402, 4, doorNo=0, alarmInNo=1)
            controller.event(1, 0x408, 5, doorNo=0, caseSensorNo=1)
            controller.event(1, 0x409, 6, doorNo=0, caseSensorNo=1)
            controller.event(1, 0x400, 7, doorNo=0, alarmInNo=9)
            await sink.until(lambda: sink.counts["unknown_inputs"] == 1)
        assert [(e[0], e[1], e[2]["point"], e[2]["active"]) for e in sink.events] == [
            ("fire.alarm", "panel", "A", True),
            ("fire.alarm", "panel", "A", False), ("fire.fault", "panel", "A", False),
            ("fire.fault", "panel", "B", True), ("fire.fault", "panel", "A", True),
            ("fire.alarm", "panel-2", "C", True),
            ("fire.alarm", "panel-2", "C", False), ("fire.fault", "panel-2", "C", False),
        ]  # fmt: skip
        server.close()

    run(scenario())


def test_a_door_is_opened_from_afar(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with Site(tmp_path) as site, site.listening() as listening:
            driver = listening.driver
            assert driver.actions == {
                "door-1": frozenset({Action.UNLOCK}), "door-2": frozenset({Action.UNLOCK})
            }  # fmt: skip
            await site.sink.until(lambda: site.sink.counts["heartbeats"])
            assert await driver.act("door-2", Action.UNLOCK, {}) == {}
            await site.sink.until(lambda: site.sink.of("access.granted", "door-2"))
            (granted,) = site.sink.of("access.granted", "door-2")
            assert (granted["credential"], granted["raw_code"]) == ("remote", "3/1024")
            await site.sink.until(lambda: site.sink.of("access.door", "door-2"))
            assert site.sink.of("access.forced") == []
            site.model.doors.pop(1)
            with pytest.raises(LinkError, match="4: invalidDoorNo"):
                await driver.act("door-1", Action.UNLOCK, {})
            for device, action, params in (
                ("door-1", Action.UNLOCK, {"for_s": 9}), ("controller", Action.UNLOCK, {}),
                ("door-1", Action.SNAPSHOT, {}),
            ):  # fmt: skip
                with pytest.raises(CommandRefusedError):
                    await driver.act(device, action, params)
            await site.peer.listener.suspend()
            with pytest.raises(LinkError):
                await driver.act("door-2", Action.UNLOCK, {})

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
    async def scenario(first: int) -> str:
        controller, sink = Controller(), Recorder()
        server, port = await listen(controller)
        async with Streaming(driver_for(port, tmp_path), sink):
            controller.event(5, 1, first, employeeNoString="10086", cardNo="3141592653")
            controller.event(5, 1, first + 1, employeeNoString="10086")
            controller.event(5, 1, first + 2, cardNo="3141592653")
            await sink.until(lambda: len(sink.events) == 3)
        people = [event[2]["person"] for event in sink.events]
        assert people[0] == people[1] != people[2]
        assert all(re.fullmatch(r"p-[0-9a-f]{24}", person) for person in people)
        told = json.dumps(sink.events, ensure_ascii=False)
        assert not any(secret in told for secret in ("10086", "3141592653", "张三"))
        key = tmp_path / "pseudonym.key"
        assert key.stat().st_mode & 0o077 == 0
        server.close()
        return str(people[0])

    assert run(scenario(1)) == run(scenario(4)), "the key is kept, so the pseudonym is stable"


def test_a_controller_without_a_search_has_its_holes_declared(tmp_path: Path) -> None:
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
        assert driver.health() == {"missed_serials": 3, "open_serials": 0, "serial_eras": 1}
        server.close()

    run(scenario())


def test_numbers_that_were_never_meant_for_us_are_no_hole(tmp_path: Path) -> None:
    async def scenario() -> None:
        controller, sink = Controller(), Recorder()
        server, port = await listen(controller)
        driver = driver_for(port, tmp_path)
        async with Streaming(driver, sink):
            controller.event(5, 1, 10, frontSerialNo=9)
            controller.event(5, 1, 14, frontSerialNo=10)
            await sink.until(lambda: len(sink.events) == 2)
        assert driver.health()["missed_serials"] == 0
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
            controller.event(5, 0x15, 2)
            controller.event(5, 1, 3, doorNo=77)
            controller.send({"eventType": "AccessControllerEvent", "AccessControllerEvent": []})
            controller.send({"eventType": "videoloss"})
            controller.outgoing.put_nowait(b"--MIME_boundary\r\nContent-Type: text/json\r\n\r\n{]")
            controller.heartbeat()
            await sink.until(lambda: sink.counts["other_events"] and sink.counts["heartbeats"])
        assert sink.events == []
        expected = (
            "unknown_codes", "codes_without_event", "unknown_doors", "malformed_events",
            "other_events", "malformed_parts",
        )  # fmt: skip
        assert {name: sink.counts[name] for name in expected} == dict.fromkeys(expected, 1)
        server.close()

    run(scenario())


def test_forced_after_a_release_is_held_back(tmp_path: Path) -> None:
    async def scenario() -> None:
        controller, sink = Controller(), Recorder()
        server, port = await listen(controller)
        async with Streaming(driver_for(port, tmp_path), sink):
            controller.event(5, 0x17, 1, 0)
            controller.event(5, 0x1B, 2, 4)  # counted: the exit button
            controller.event(5, 0x1B, 3, 10)
            controller.event(5, 0x34, 4, 20, doorNo=0)  # all doors
            controller.event(5, 0x1B, 5, 40, doorNo=2)  # counted: the fire release holds
            controller.event(5, 0x35, 6, 41, doorNo=0)
            controller.event(5, 0x1B, 7, 50, doorNo=2)
            controller.event(3, 0x402, 8, 51)  # permanently open, by hand
            controller.event(5, 0x1B, 9, 52)  # counted
            controller.event(3, 0x401, 10, 53)
            controller.event(5, 0x1B, 11, 54)
            controller.event(5, 0x01, 12, 55)
            controller.event(5, 0x1A, 13, 56)
            controller.event(5, 0x16, 14, 56)  # shut and locked: the grant is used up
            controller.event(5, 0x1B, 15, 57)
            await sink.until(lambda: len(sink.of("access.forced")) == 4)
        assert [event["serial"] for event in sink.of("access.forced")] == [3, 7, 11, 15]
        assert sink.counts["forced_after_release"] == 3
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
        return str(driver.client._auth._password.decode())

    (tmp_path / "secret").write_text("from file\n", encoding="utf-8")
    monkeypatch.setenv("DOOR_PASSWORD", "from variable")
    assert run(scenario(password_file="secret")) == "from file"
    assert run(scenario(password_env="DOOR_PASSWORD")) == "from variable"
    with pytest.raises(SettingsError, match="password_file"):
        run(scenario(password_file="missing"))
    (tmp_path / "short.key").write_bytes(b"short")
    with pytest.raises(SettingsError, match="32"):
        run(scenario(password_file="secret", pseudonym_key_file="short.key"))
