"""The bridge to Home Assistant: what is announced, what is shown, and what never is."""

from __future__ import annotations

import asyncio
import json
import re
from pathlib import Path
from typing import Any

import pytest

from core.contracts.codec import make_event
from core.contracts.errors import SettingsError
from core.contracts.events import KINDS
from core.contracts.examples import EVENTS
from core.runtime.link import Link, LinkOptions, Message
from core.runtime.settings import BrokerSettings
from edge.config import from_raw
from edge.home_assistant.components import components
from tests.edge.drivers.support import run
from tests.servers import Server

from .agent import Agent
from .probe import Probes, StreamedProbe, install

#: The keys that Home Assistant documents for a device's discovery, its components and origin
#: (homeassistant/components/mqtt: schemas.py, abbreviations.py, sensor.py, binary_sensor.py).
ROOT_KEYS = {"dev", "o", "cmps", "state_topic", "avty", "avty_mode", "qos"}
DEVICE_KEYS = {"ids", "name", "mf", "mdl"}
ORIGIN_KEYS = {"name", "sw"}
SENSOR_KEYS = {"p", "name", "unique_id", "value_template", "device_class",
               "unit_of_measurement", "state_class"}  # fmt: skip
BINARY_KEYS = {"p", "name", "unique_id", "value_template", "device_class"}
SENSOR_CLASSES = {
    "energy", "power", "voltage", "current", "power_factor", "frequency", "temperature", "water",
    "gas", "volume", "volume_flow_rate", "pressure", "weight", "humidity", "illuminance", "speed",
    "sound_pressure",
}  # fmt: skip
BINARY_CLASSES = {
    "power", "opening", "moving", "door", "occupancy", "safety", "problem", "smoke", "tamper",
    "motion",
}  # fmt: skip
#: Which units go with a class (homeassistant/components/sensor/const.py).
UNITS = {
    "energy": {"kWh"}, "power": {"W", "kW"}, "voltage": {"V"}, "current": {"A"},
    "power_factor": {None}, "frequency": {"Hz"}, "temperature": {"°C"}, "water": {"m³"},
    "gas": {"m³"}, "volume": {"m³"}, "volume_flow_rate": {"m³/h"},
    "pressure": {"Pa", "hPa", "kPa"}, "weight": {"kg"}, "humidity": {"%"}, "illuminance": {"lx"},
    "speed": {"m/s"}, "sound_pressure": {"dB"},
}  # fmt: skip


def event(kind: str, **data: Any) -> Any:
    return make_event(kind, device="d1", at=1, seen=1, data=data)


@pytest.fixture
def probes(monkeypatch: pytest.MonkeyPatch) -> Probes:
    return install(monkeypatch)


class House:
    """The broker of a house as Home Assistant sees it: what is retained, by topic."""

    def __init__(self, port: int, name: str) -> None:
        self.kept: dict[str, bytes] = {}
        self.empty: list[str] = []
        self._prefix = f"ha-{name}"
        self.link = Link(BrokerSettings(port=port), LinkOptions(client_id=f"house-{name}"))
        self.link.subscribe(f"ha-{name}/#", self._take)
        self.link.subscribe(f"states-{name}/#", self._take)

    def _take(self, message: Message) -> None:
        if message.payload:
            self.kept[message.topic] = message.payload
        else:
            self.kept.pop(message.topic, None)
            self.empty.append(message.topic)

    async def __aenter__(self) -> House:
        self.link.start()
        assert await asyncio.to_thread(self.link.wait_connected, 10)
        return self

    async def __aexit__(self, *_: object) -> None:
        await asyncio.to_thread(self.link.stop)

    def config(self, edge_site: str, device: str) -> dict[str, Any] | None:
        found = self.kept.get(f"{self._prefix}/device/{edge_site}-{device}/config")
        return None if found is None else json.loads(found)

    def state(self, edge: str, device: str) -> dict[str, Any]:
        topic = f"states-{self._prefix.removeprefix('ha-')}/{edge}/{device}/state"
        return json.loads(self.kept.get(topic, b"{}"))

    def available(self, edge: str, device: str) -> bytes | None:
        topic = f"states-{self._prefix.removeprefix('ha-')}/{edge}/{device}/availability"
        return self.kept.get(topic)


def section(port: int, name: str, **more: Any) -> dict[str, Any]:
    broker = {"host": "127.0.0.1", "port": port}
    return {"broker": broker, "prefix": f"ha-{name}", "state_prefix": f"states-{name}", **more}


def check(document: dict[str, Any]) -> None:
    """Check a discovery document against the keys that Home Assistant knows."""
    assert set(document) == ROOT_KEYS
    assert set(document["dev"]) == DEVICE_KEYS
    assert document["dev"]["ids"]
    assert set(document["o"]) == ORIGIN_KEYS
    assert document["avty_mode"] == "all"
    assert all(set(entry) == {"t"} for entry in document["avty"])
    unique = [component["unique_id"] for component in document["cmps"].values()]
    assert len(unique) == len(set(unique))
    for key, component in document["cmps"].items():
        assert re.fullmatch(r"[a-z][a-z0-9_]*", key), key
        assert component["value_template"] == f"{{{{ value_json.{key} | default('') }}}}"
        if component["p"] == "sensor":
            assert set(component) <= SENSOR_KEYS
            device_class = component.get("device_class")
            if device_class is not None:
                assert device_class in SENSOR_CLASSES
                assert component.get("unit_of_measurement") in UNITS[device_class]
            assert component.get("state_class") in (None, "measurement", "total_increasing")
        else:
            assert component["p"] == "binary_sensor"
            assert set(component) <= BINARY_KEYS
            assert component.get("device_class") in BINARY_CLASSES


@pytest.mark.mosquitto
def test_devices_are_announced_shown_and_deleted(
    tmp_path: Path, mosquitto: Server, probes: Probes
) -> None:
    door = {"driver": "probe", "devices": ["door.1"], "streams": True}
    meter = {"driver": "probe", "devices": ["m1"], "period_s": 0.3}

    async def scene() -> None:
        probes.reading["m1"] = {"medium": "electricity", "energy_kwh": 12.5, "power_w": 230.0}
        a = Agent(tmp_path, drivers=[door, meter])
        name = a.edge
        ha = section(mosquitto.port, name)
        facts = {"m1": {"name": "Flat 101"}}
        a.write(drivers=[door, meter], home_assistant=ha, devices=facts)
        async with House(mosquitto.port, name) as house:
            async with a:
                shown = await a.until(lambda: house.config("s1", "m1"), "the meter is announced")
                check(shown)
                assert shown["dev"]["name"] == "Flat 101"
                assert set(shown["cmps"]) == {"energy_kwh", "power_w"}
                assert shown["cmps"]["energy_kwh"]["state_class"] == "total_increasing"
                await a.until(lambda: house.state(name, "m1").get("power_w") == 230.0)
                assert house.available(name, "m1") == b"online"
                assert house.kept[f"states-{name}/{name}/status"] == b"online"

                speaker = probes.of("door.1")[-1]
                assert isinstance(speaker, StreamedProbe)
                await speaker.say(
                    "access.granted", "door.1", person="p-0123456789", credential="card"
                )
                await speaker.say("access.duress", "door.1", person="p-0123456789")
                await speaker.say("access.door", "door.1", open=True, person="p-0123456789")
                shown = await a.until(lambda: house.config("s1", "door_1"), "the door")
                check(shown)
                assert set(shown["cmps"]) == {"door"}
                await a.until(lambda: house.state(name, "door.1") == {"door": "ON"})

                probes.dead = {"m1"}
                await a.until(lambda: house.available(name, "m1") == b"offline", "unavailable")

                topic = f"ha-{name}/device/s1-m1/config"
                house.kept.clear()
                house.link.publish(f"ha-{name}/status", b"online").result(5)
                await a.until(lambda: topic in house.kept, "announced anew")

                a.write(drivers=[door], home_assistant=ha)
                await a.app.reload()
                await a.until(lambda: house.config("s1", "m1") is None and topic in house.empty)
                assert house.state(name, "m1") == {}
                assert house.config("s1", "door_1") is not None
            await a.until(lambda: house.kept[f"states-{name}/{name}/status"] == b"offline")
            everything = b" ".join(house.kept.values())
            assert b"p-0123456789" not in everything
            assert b"duress" not in everything
            probes.dead = set()
            # What went while the edge was not running is deleted at the next start.
            a.write(drivers=[meter], home_assistant=ha)
            async with a:
                await a.until(lambda: house.config("s1", "door_1") is None, "deleted later")
                a.write(drivers=[meter])
                await a.until(lambda: house.config("s1", "m1"), "the meter again")
                await a.app.reload()
                await a.until(lambda: house.config("s1", "m1") is None, "and the bridge is gone")

    run(scene(), 60)


@pytest.mark.mosquitto
def test_a_house_that_is_not_there_hinders_nobody(tmp_path: Path, probes: Probes) -> None:
    meter = {"driver": "probe", "devices": ["m1"], "period_s": 0.2}

    async def scene() -> None:
        async with Agent(tmp_path, drivers=[meter], home_assistant=section(9, "nobody")) as a:
            await a.until(lambda: len(a.told("meter.reading")) > 3)

    run(scene(), 40)


def test_every_kind_gives_documents_that_home_assistant_takes() -> None:
    shown = 0
    for kind in KINDS:
        found = components(event(kind, **EVENTS[kind]["data"]))
        shown += bool(found)
        for one in found:
            assert one.platform in ("sensor", "binary_sensor")
            assert re.fullmatch(r"[a-z][a-z0-9_]*", one.key)
            if one.platform == "binary_sensor":
                assert one.value in ("ON", "OFF")
    assert shown >= 15


def test_values_are_what_the_fields_mean() -> None:
    def values(kind: str, **data: Any) -> dict[str, Any]:
        return {one.key: one.value for one in components(event(kind, **data))}

    status = {
        "service_mode": "normal", "moving": True, "direction": "up", "in_door_zone": False,
        "floor": -1, "door_closed": True, "occupied": False, "load_kg": 75.0,
    }  # fmt: skip
    assert values("elevator.status", **status) == {
        "floor": -1, "load_kg": 75.0, "moving": "ON", "door_closed": "OFF", "occupied": "OFF",
        "service_mode": "normal",
    }  # fmt: skip
    (fault,) = components(event("elevator.fault", fault="door_open", active=True, raw_code="3"))
    assert (fault.key, fault.value) == ("fault_door_open", "ON")
    (humid,) = components(event("sensor.reading", quantity="Humidity hall", value=51.0, unit="%"))
    assert humid.options["device_class"] == "humidity"
    (warm,) = components(event("sensor.reading", quantity="temperature", value=21.5, unit="Cel"))
    assert (warm.options["unit_of_measurement"], warm.key) == ("°C", "value_temperature")
    zones = {
        one.key
        for zone in ("消防通道", "消防登高", "fire-lane", "fire_lane")
        for one in components(event("camera.zone_occupied", zone=zone, active=True))
    }
    assert len(zones) == 4, "zones keep apart, in any writing"
    assert components(event("access.duress")) == []
    assert components(event("access.granted", person="p-1")) == []


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"prefix": "home/#"}, "prefix"),
        ({"prefix": ""}, "prefix"),
        ({"devices": ["nobody"]}, "nobody"),
        ({"broker": {"host": "10.0.0.5", "username": "ha"}}, "password_file"),
        ({"comands": True}, "comands"),
    ],
)
def test_a_section_that_cannot_work_is_refused(
    changes: dict[str, Any], why: str, tmp_path: Path, probes: Probes
) -> None:
    whole = {
        "edge": "e1", "site": "s1", "drivers": [{"driver": "probe", "devices": ["m1"]}],
        "home_assistant": {**section(1883, "x"), **changes},
    }  # fmt: skip
    with pytest.raises(SettingsError, match=why):
        from_raw(whole, "edge.yaml", tmp_path)
