"""An edge's configuration file: what is taken, and how a mistake is named."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from core.contracts.errors import SettingsError
from core.runtime.clock import ScaledClock
from edge.config import build, load

GOOD: dict[str, Any] = {
    "edge": "jinxiu-b1",
    "site": "jinxiu",
    "drivers": [
        {
            "driver": "dlt645", "host": "127.0.0.1", "port": 9000, "period_s": 60, "timeout_s": 3,
            "meters": [{"device": "m-1", "address": "000012345678", "phases": 3}],
            "report": {"meter.reading": {"period_s": 900, "deadbands": {"power_w": 50}}},
        },
        {
            "driver": "elevator_modbus", "host": "127.0.0.1", "port": 5020, "unit": 1,
            "period_s": 1, "map": "default", "device": "lift-1",
        },
        {
            "driver": "isapi_door", "base_url": "http://127.0.0.1:8080", "username": "admin",
            "password_file": "door.secret", "doors": {"1": "door-1"},
        },
        {
            "driver": "camera", "url": "http://127.0.0.1:8081/stream", "device": "cam-1", "fps": 5,
            "zones": [
                {
                    "name": "lane", "kind": "fire_lane", "dwell_s": 20,
                    "polygon": [[0.1, 0.5], [0.9, 0.5], [0.9, 0.9]],
                }
            ],
            "tamper": True,
        },
    ],
}  # fmt: skip


def write(folder: Path, raw: Any) -> Path:
    path = folder / "edge.yaml"
    path.write_text(yaml.safe_dump(raw), encoding="utf-8")
    return path


def test_every_driver_is_built_without_opening_anything(tmp_path: Path) -> None:
    config = load(write(tmp_path, GOOD))
    assert config.device_ids() == ("m-1", "lift-1", "door-1", "cam-1")
    drivers = build(config, ScaledClock(), tmp_path / "data")
    assert [driver.devices for driver in drivers] == [
        ("m-1",),
        ("lift-1",),
        ("door-1",),
        ("cam-1",),
    ]
    assert not (tmp_path / "data").exists()
    rules = drivers[0].reports
    assert rules["meter.reading"].period_s == 900
    assert drivers[1].reports["elevator.status"].deadbands == {"load_kg": 50}


def changed(index: int | None, **changes: Any) -> dict[str, Any]:
    if index is None:
        return GOOD | changes
    drivers = list(GOOD["drivers"])
    drivers[index] = drivers[index] | changes
    return GOOD | {"drivers": drivers}


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (changed(None, driver=[]), "did you mean drivers"),
        (changed(None, edge="a b"), "edge"),
        ([], "expected a mapping"),
        (changed(0, driver="dlt64"), "driver: unknown driver 'dlt64'; did you mean dlt645"),
        (changed(0, hosts="x"), "drivers.0: hosts: unknown key; did you mean host"),
        (changed(0, meters=[{"device": "m", "address": "12"}]), "meters.0.address"),
        (
            changed(0, meters=[{"device": "m", "adress": "000012345678"}]),
            r"meters.0.adress: unknown key; did you mean address",
        ),
        (
            changed(0, meters=[{"device": d, "address": "000012345678"} for d in ("m", "n")]),
            "stands twice on one bus",
        ),
        (changed(0, report={"meter.readings": {}}), "unknown kind"),
        (changed(0, report={"meter.reading": {"deadbands": {"power": 1}}}), "has no field power"),
        (changed(1, device="m-1"), "the device m-1 stands twice"),
        (changed(2, password="x"), "exactly one of"),
        (changed(2, base_url="http://admin:12345@10.0.0.1"), "base_url"),
        (changed(3, url="rtsp://admin:12345@10.0.0.1/1"), "no credentials in the url"),
        (changed(3, username="admin"), "username and exactly one of"),
        (
            changed(3, zones=[{"name": "z", "kind": "motion", "polygon": [[0, 0], [2, 0]]}]),
            "polygon",
        ),
        (changed(3, zones=[{"name": "z", "kind": "fire_line", "polygon": []}]), "fire_lane"),
    ],
)  # fmt: skip
def test_mistakes_are_named(raw: Any, message: str, tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=message):
        load(write(tmp_path, raw))


def test_a_missing_register_map_is_named(tmp_path: Path) -> None:
    config = load(write(tmp_path, changed(1, map="vendor.yaml")))
    with pytest.raises(SettingsError, match=r"vendor\.yaml"):
        build(config, ScaledClock(), tmp_path)
