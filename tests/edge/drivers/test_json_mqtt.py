"""The MQTT JSON driver against mosquitto, with a plain client as the gateway."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import paho.mqtt.publish as publish
import pytest

from core.contracts.errors import JournalFullError, SettingsError
from core.runtime.settings import parse
from edge.driver import LinkError
from edge.drivers.json_mqtt.driver import JsonMqttDriver, create
from edge.drivers.json_mqtt.settings import JsonMqttSettings
from tests.servers import Server, mosquitto_server

from .support import Recorder, Streaming, context, run

pytestmark = pytest.mark.mosquitto
TS = 1_772_704_800_000
STATUS = {
    "ts": TS, "service_mode": 1, "car_status": 0, "car_direction": 0, "door_zone": 1,
    "car_position": 7, "door_status": 1, "passenger_status": 2,
}  # fmt: skip


def entry(port: int, **more: Any) -> JsonMqttSettings:
    raw = {
        "driver": "json_mqtt", "broker": {"host": "127.0.0.1", "port": port}, "root": "vendor/b1",
        "map": "lift_mqtt", "devices": {"L1": "lift-1", "L2": "lift-2"}, "timeout_s": 3,
        "silence_s": 60, **more,
    }  # fmt: skip
    return parse(JsonMqttSettings, raw, "test")


async def say(server: Server, topic: str, message: Any, **more: Any) -> None:
    payload = message if isinstance(message, bytes) else json.dumps(message).encode()
    await asyncio.to_thread(
        publish.single, f"vendor/b1/{topic}", payload, port=server.port, hostname="127.0.0.1",
        **{"qos": 1, **more},
    )  # fmt: skip


async def up(streaming: Streaming, server: Server, lift: str = "L1") -> None:
    """Wait until the driver hears the broker."""
    sink = streaming.sink
    before = len(sink.reached_devices)
    async with asyncio.timeout(15):
        while len(sink.reached_devices) == before:
            await say(server, f"{lift}/alive", b"1", qos=0)
            await asyncio.sleep(0.05)


def test_reads_what_is_published(tmp_path: Path) -> None:
    async def scene(server: Server) -> None:
        driver, sink = create(entry(server.port), context(tmp_path)), Recorder()
        await say(server, "L2/alarm", {"ts": TS, "alarm": 0}, retain=True)
        async with Streaming(driver, sink) as streaming:
            await up(streaming, server)
            await say(server, "L1/status", STATUS)
            await say(server, "L1/fault", {"ts": TS, "fault_code": "04", "deal_status": "01"})
            await say(server, "L1/fault", {"ts": TS, "fault_code": "04", "deal_status": "02"})
            await say(server, "L1/fault", {"ts": TS, "fault_code": "04", "deal_status": "00"})
            for bad in (b"\xff", b"{", b"[1]", b"[" * 50_000):
                await say(server, "L1/status", bad)
            await say(server, "L9/status", STATUS)
            await say(server, "L1/status", {**STATUS, "car_position": 8})
            await sink.until(lambda: len(sink.of("elevator.status")) == 2)
            faults = [(f["fault"], f["active"]) for f in sink.of("elevator.fault")]
            assert faults == [("stopped_outside_zone", True), ("stopped_outside_zone", False)]
            assert {e[3] for e in sink.events} == {TS}
            assert sink.counts["messages_not_json"] == 3
            assert sink.counts["unknown_devices"] == 1
            # A retained message says how it was, not that the lift is alive.
            assert sink.of("elevator.alarm_button", "lift-2") == [{"active": False}]
            assert "lift-2" not in sink.reached_devices

    with mosquitto_server(tmp_path) as server:
        run(scene(server), 60)


def test_what_was_not_committed_comes_again_after_a_restart(tmp_path: Path) -> None:
    async def scene(server: Server) -> None:
        sink = Recorder()
        first = create(entry(server.port), context(tmp_path))
        async with Streaming(first, sink) as streaming:
            await up(streaming, server)
            sink.refuse = lambda kind: JournalFullError("full")
            await say(server, "L1/alarm", {"ts": TS, "alarm": 1})
            await sink.until(lambda: sink.counts["journal_waits"])
        assert sink.of("elevator.alarm_button") == []
        # What is published while the edge is away is kept by the broker, too.
        await say(server, "L2/alarm", {"ts": TS, "alarm": 1})
        sink.refuse = lambda kind: None
        second = create(entry(server.port), context(tmp_path))
        async with Streaming(second, sink):
            await sink.until(lambda: len(sink.of("elevator.alarm_button")) == 2)
            await asyncio.sleep(0.3)
            assert len(sink.of("elevator.alarm_button")) == 2

    with mosquitto_server(tmp_path) as server:
        run(scene(server), 60)


def test_a_broker_that_dies_and_comes_back(tmp_path: Path) -> None:
    async def scene(server: Server) -> None:
        driver, sink = create(entry(server.port, timeout_s=1), context(tmp_path)), Recorder()
        async with Streaming(driver, sink) as streaming:
            await up(streaming, server)
            await asyncio.to_thread(server.kill)
            await sink.until(lambda: streaming.errors)
            lost = streaming.errors[0]
            assert isinstance(lost, LinkError)
            assert lost.cause == "network"
            await asyncio.to_thread(server.start)
            await up(streaming, server)

    with mosquitto_server(tmp_path) as server:
        run(scene(server), 60)


def test_credentials_are_needed_where_the_broker_wants_them(tmp_path: Path) -> None:
    async def outcome(server: Server, file: str) -> str:
        broker = {
            "host": "127.0.0.1", "port": server.port, "username": "edge", "password_file": file,
        }  # fmt: skip
        settings = entry(server.port, broker=broker, timeout_s=1.5, silence_s=0.5)
        driver, sink = create(settings, context(tmp_path)), Recorder()
        async with Streaming(driver, sink) as streaming:
            await sink.until(lambda: sink.failures or streaming.errors)
        return str(sink.failures[0][1] if sink.failures else streaming.errors[0])

    async def scene(server: Server) -> None:
        (tmp_path / "secret").write_text("right\n")
        (tmp_path / "wrong").write_text("wrong\n")
        # Connected, and nobody says anything.
        assert await outcome(server, "secret") == "nothing for 0.5 s"
        assert await outcome(server, "wrong") == "no connection to the broker"

    import subprocess

    passwords = tmp_path / "passwords"
    tool = ["mosquitto_passwd", "-b", "-c", str(passwords), "edge", "right"]
    try:
        subprocess.run(tool, check=True, capture_output=True, timeout=20)
    except FileNotFoundError:
        pytest.skip("mosquitto_passwd is not installed")
    passwords.chmod(0o644)
    with mosquitto_server(tmp_path, f"password_file {passwords}\n") as server:
        server.stop()
        conf = tmp_path / f"mosquitto-{server.port}.conf"
        conf.write_text(conf.read_text().replace("allow_anonymous true", "allow_anonymous false"))
        server.start()
        run(scene(server), 40)


def test_the_session_has_a_name_of_its_own(tmp_path: Path) -> None:
    one = create(entry(1883), context(tmp_path))
    other = create(entry(1883, root="vendor/b2"), context(tmp_path))
    assert one._client_id != other._client_id
    assert one._client_id == create(entry(1883), context(tmp_path))._client_id
    assert len(one._client_id) <= 23
    assert one._client_id.isalnum()


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"broker": {"host": "b", "username": "u"}}, "username and password_file together"),
        ({"broker": {"host": "b", "cert_file": "c"}}, "cert_file and key_file together"),
        ({"root": "a/#"}, "root"),
        ({"root": "a/"}, "root"),
        ({"devices": {}}, "devices"),
        ({"brokr": {}}, "did you mean broker"),
    ],
)
def test_bad_settings_are_refused_by_name(more: dict[str, Any], message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        entry(1883, **more)


def test_a_map_without_topics_needs_them_in_the_settings(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="give at least one"):
        create(entry(1883, map="lift_http"), context(tmp_path))
    driver = create(entry(1883, map="lift_http", topics=["all"]), context(tmp_path))
    assert isinstance(driver, JsonMqttDriver)
    assert driver._filters == ["vendor/b1/all"]
