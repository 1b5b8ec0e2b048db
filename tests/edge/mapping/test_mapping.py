"""Mapping files: what they may say, and what comes out of a vendor's JSON."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from core.contracts.codec import make_event
from core.contracts.errors import JournalFullError, SettingsError
from edge.mapping.mapper import Mapper, RefusedError, decode, matches
from edge.mapping.model import Mapping, TimeForm, builtin, load
from edge.mapping.teller import Teller
from edge.mapping.times import epoch_ms
from edge.pseudonym import Pseudonyms
from tests.edge.drivers.support import Recorder, run

KEY = Pseudonyms(b"k" * 32)
NOW = 1_772_704_800_000  # 2026-03-05 18:00 in UTC+8
LIFT = {
    "lift_id": "L1", "service_mode": 1, "car_status": 0, "car_direction": 0, "door_zone": 1,
    "car_position": 7, "door_status": 1, "passenger_status": 2, "power_status": 1, "alarm": 0,
    "load": 320, "total_running_time": 1234, "present_counter_value": 56789, "fault_codes": [],
}  # fmt: skip


def write(folder: Path, raw: Any) -> str:
    path = folder / "map.yaml"
    path.write_text(yaml.safe_dump(raw, sort_keys=False), encoding="utf-8")
    return path.name


def one_rule(data: dict[str, Any], kind: str = "sensor.reading", **more: Any) -> dict[str, Any]:
    rule = {"device": "id", "tell": [{"kind": kind, "data": data, **more}]}
    return {"name": "mine", "messages": [rule]}


READING = {"quantity": {"value": "temperature"}, "value": "v", "unit": {"value": "Cel"}}


def mapper(folder: Path, raw: Any, devices: dict[str, str] | None = None) -> Mapper:
    return Mapper(load(write(folder, raw), folder), devices or {"a": "dev-a", "b": "dev-b"}, KEY)


def found(folder: Path, data: dict[str, Any], message: Any, **more: Any) -> list[dict[str, Any]]:
    heard = mapper(folder, one_rule(data, **more)).read(message, None, NOW)
    return [finding.data for finding in heard.findings]


# -- the mappings that come with the system ------------------------------------------------------


def test_the_ones_that_come_with_the_system() -> None:
    assert list(builtin()) == ["lift_access", "lift_http", "lift_mqtt", "sensors"]
    for name in builtin():
        assert load(name, Path()).name == name


def test_a_lift_gateway() -> None:
    read = Mapper(load("lift_http", Path()), {"L1": "lift-1"}, None).read
    message = {"time": "2026-03-05 17:59:00", "lifts": [{**LIFT, "fault_codes": ["04", "43"]}]}
    heard = read(message, None, NOW)
    assert heard.refused == []
    assert list(heard.devices) == ["lift-1"]
    told = {f.tell.kind: f for f in heard.findings}
    assert told["elevator.status"].data == {
        "service_mode": "normal", "moving": False, "direction": "none", "in_door_zone": True,
        "floor": 7, "door_closed": True, "occupied": False, "power_on": True,
        "alarm_button": False, "load_kg": 320.0, "running_h": 1234.0, "trips": 56789,
    }  # fmt: skip
    assert told["elevator.fault"].standing == {
        "04": {"fault": "stopped_outside_zone", "raw_code": "04", "floor": 7}
    }
    assert {f.at for f in heard.findings} == {NOW - 60_000}
    for finding in heard.findings:
        for data in [finding.data] if finding.standing is None else []:
            make_event(finding.tell.kind, device="d", at=finding.at, seen=NOW, data=data)


def test_every_status_field_of_gb_t_24476() -> None:
    """DOMAIN.md, section 2: the numbers that implementations use."""
    read = Mapper(load("lift_http", Path()), {"L1": "lift-1"}, None).read
    table: dict[str, tuple[str, dict[Any, Any]]] = {
        "service_mode": ("service_mode", {
            0: "stopped", 1: "normal", 2: "inspection", 3: "fire_return", 4: "firefighter",
            5: "emergency_power", 6: "earthquake", 7: "unknown", 99: "unknown",
        }),
        "car_status": ("moving", {0: False, 1: True}),
        "car_direction": ("direction", {0: "none", 1: "up", 2: "down"}),
        "door_zone": ("in_door_zone", {1: True, 2: False}),
        "door_status": ("door_closed", {1: True, 2: False}),
        "passenger_status": ("occupied", {1: True, 2: False}),
        "power_status": ("power_on", {1: True, 2: False, 0: None}),
    }  # fmt: skip
    for name, (field, values) in table.items():
        for raw, expected in values.items():
            for form in (raw, str(raw)):
                heard = read({"lifts": [{**LIFT, name: form}]}, None, NOW)
                status = [f for f in heard.findings if f.tell.kind == "elevator.status"]
                assert status[0].data.get(field) == expected


def test_a_status_outside_of_the_table_is_refused_and_named() -> None:
    read = Mapper(load("lift_http", Path()), {"L1": "lift-1"}, None).read
    heard = read({"lifts": [{**LIFT, "door_status": 9}]}, None, NOW)
    assert heard.refused == [
        ("lift-1", "elevator.status: door_status: '9' is not in the enum")
    ]  # fmt: skip
    assert "elevator.status" not in {f.tell.kind for f in heard.findings}
    assert "elevator.alarm_button" in {f.tell.kind for f in heard.findings}


def test_lift_access_records_leave_with_a_pseudonym() -> None:
    read = Mapper(load("lift_access", Path()), {"TK-01": "access-1"}, KEY).read
    record = {
        "serial": 812, "controller": "TK-01", "reader": "car", "card_no": "0012345678",
        "open_type": 1, "floors": "3, 7", "refused": "-1", "result": 0,
        "time": "2026-03-05 10:00:00",
    }  # fmt: skip
    older = {**record, "serial": 811, "time": "2026-03-05 09:00:00", "floors": None}
    heard = read({"records": [record, older]}, None, NOW)
    assert heard.refused == []
    assert [f.once for f in heard.findings] == ["811", "812"]
    assert heard.findings[1].data == {
        "person": KEY.of("card", "0012345678"), "credential": "card", "granted_floors": [3, 7],
        "refused_floors": [-1], "serial": 812, "reader": "car", "raw_code": "0",
    }  # fmt: skip
    assert heard.findings[0].data["granted_floors"] == []
    assert "0012345678" not in json.dumps([f.data for f in heard.findings])
    unknown = read({"records": [{**record, "open_type": 77}, older]}, None, NOW)
    assert len(unknown.findings) == 1
    assert unknown.refused == [
        ("access-1", "elevator.access: open_type: '77' is not in the enum")
    ]  # fmt: skip


def test_mqtt_topics_name_the_lift() -> None:
    read = Mapper(load("lift_mqtt", Path()), {"L1": "lift-1"}, None).read
    status = {name: value for name, value in LIFT.items() if name not in ("alarm", "fault_codes")}
    assert list(read({"ts": NOW, **status}, "L1/status", NOW).devices) == ["lift-1"]
    fault = {"ts": NOW, "fault_code": "04", "deal_status": "01", "floor": 7}
    began = read(fault, "L1/fault", NOW).findings[0]
    ended = read({**fault, "deal_status": "00"}, "L1/fault", NOW).findings[0]
    false_alarm = read({**fault, "deal_status": "05"}, "L1/fault", NOW).findings[0]
    assert [f.data["active"] for f in (began, ended, false_alarm)] == [True, False, False]
    assert began.key == "04"
    alive = read(None, "L1/alive", NOW)
    assert (list(alive.devices), alive.findings) == (["lift-1"], [])
    assert read(status, "L9/status", NOW).counts == {"unknown_devices": 1}
    assert read(status, "L1/other", NOW).matched is False


def test_sensors() -> None:
    read = Mapper(load("sensors", Path()), {"pump": "pump-1"}, None).read
    values = [
        {"name": "temperature", "value": "23.4", "unit": "Cel"},
        {"name": "humidity", "value": "-", "unit": "%"},
        {"name": "level", "value": 0.42, "unit": "m"},
    ]
    message = {"sensors": [{"id": "pump", "ts": NOW // 1000, "values": values}]}
    heard = read(message, None, NOW)
    assert [(f.data["quantity"], f.data["value"]) for f in heard.findings] == [
        ("temperature", 23.4), ("level", 0.42),
    ]  # fmt: skip
    assert heard.refused == [("pump-1", "sensor.reading: value is missing")]


# -- conversions --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("source", "raw", "value"),
    [
        ("v", 3, 3.0),
        ("v", "3.5", 3.5),
        ("v", " 4 ", 4.0),
        ({"path": "v", "scale": 0.1}, 225, 22.5),
        ({"path": "v", "scale": 0.1}, "3", 0.3),
        ({"path": "v", "scale": 1.8, "offset": 32}, 100, 212.0),
        ({"path": "v", "enum": {"dry": 0, "wet": 1}}, "wet", 1.0),
        ({"path": "v", "enum": {0: 5}, "otherwise": 9}, "x", 9.0),
        ({"path": "v", "enum": {1: 5}}, 1.0, 5.0),
        ("deep.list[1]", None, 20.0),
        ('"中文"', None, 7.0),
        ("deep.rows[?name=='b'].x | [0]", None, 2.0),
        ({"value": 12}, None, 12.0),
    ],
)
def test_numbers(source: Any, raw: Any, value: float, tmp_path: Path) -> None:
    rows = [{"name": "a", "x": 1}, {"name": "b", "x": 2}]
    message = {"id": "a", "v": raw, "deep": {"list": [10, 20], "rows": rows}, "中文": 7}
    assert found(tmp_path, {**READING, "value": source}, message)[0]["value"] == value


@pytest.mark.parametrize(
    "raw", [None, True, "", "abc", "NaN", "inf", "1e999", [1], {"a": 1}, "9" * 400, 10**400]
)
def test_what_is_no_number_is_refused(raw: Any, tmp_path: Path) -> None:
    heard = mapper(tmp_path, one_rule(READING)).read({"id": "a", "v": raw}, None, NOW)
    assert heard.findings == []
    assert heard.refused[0][0] == "dev-a"


@pytest.mark.parametrize(
    ("raw", "value"),
    [(True, True), (0, False), ("1", True), ("off", False), ("TRUE", True), (0.0, False)],
)
def test_truths(raw: Any, value: bool, tmp_path: Path) -> None:
    data = {"active": "v"}
    got = found(tmp_path, data, {"id": "a", "v": raw}, kind="elevator.alarm_button")
    assert got == [{"active": value}]
    assert found(tmp_path, data, {"id": "a", "v": 2}, kind="elevator.alarm_button") == []


def test_where_paths_start(tmp_path: Path) -> None:
    raw = {
        "name": "mine",
        "messages": [
            {
                "where": {"type": ["report", "event"], "$.version": 2},
                "each": "units",
                "device": "id",
                "tell": [
                    {
                        "kind": "sensor.reading", "list": "channels",
                        "where": {"^.enabled": True, "kind": "t"},
                        "data": {"quantity": "kind", "value": "v", "unit": "$.unit"},
                    }
                ],
            }
        ],
    }  # fmt: skip
    channels = [{"kind": "t", "v": 1}, {"kind": "h", "v": 2}, {"kind": "t", "v": 3}]
    units = [
        {"id": "a", "enabled": True, "channels": channels},
        {"id": "b", "enabled": False, "channels": channels},
    ]
    message = {"type": "event", "version": "2", "unit": "Cel", "units": units}
    read = mapper(tmp_path, raw).read
    heard = read(message, None, NOW)
    assert [(f.device, f.data["value"]) for f in heard.findings] == [("dev-a", 1), ("dev-a", 3)]
    assert list(heard.devices) == ["dev-a", "dev-b"]
    assert read({**message, "version": 3}, None, NOW).matched is False
    assert read({"units": units}, None, NOW).matched is False


@pytest.mark.parametrize(
    ("raw", "form", "expected"),
    [
        (NOW, {"form": "epoch_ms"}, NOW),
        (str(NOW // 1000), {"form": "epoch_s"}, NOW),
        (NOW / 1000 + 0.25, {"form": "epoch_s"}, NOW + 250),
        ("2026-03-05T18:00:00+08:00", {"form": "iso"}, NOW),
        ("2026-03-05T10:00:00Z", {"form": "iso"}, NOW),
        ("2026-03-05 18:00:00", {"form": "iso", "utc_offset": "+08:00"}, NOW),
        ("20260305180000", {"form": "%Y%m%d%H%M%S", "utc_offset": "+08:00"}, NOW),
        ("05/03/26 04:30", {"form": "%d/%m/%y %H:%M", "utc_offset": "-05:30"}, NOW),
        ("2026-03-05 10:00 +0000", {"form": "%Y-%m-%d %H:%M %z"}, NOW),
    ],
)
def test_times(raw: Any, form: dict[str, str], expected: int) -> None:
    assert epoch_ms(raw, TimeForm.model_validate(form)) == expected


@pytest.mark.parametrize(
    ("raw", "form"),
    [
        ("2026-03-05 18:00:00", {"form": "iso"}),
        ("yesterday", {"form": "iso"}),
        ("31.02.2026", {"form": "%d.%m.%Y", "utc_offset": "+08:00"}),
        (-1, {"form": "epoch_s"}),
        (10**30, {"form": "epoch_ms"}),
        ("1e308", {"form": "epoch_s"}),
        ("0001-01-01T00:00:00+14:00", {"form": "iso"}),
    ],
)
def test_times_that_are_none(raw: Any, form: dict[str, str]) -> None:
    with pytest.raises(ValueError, match=r"time|format|out of range|match|Invalid"):
        epoch_ms(raw, TimeForm.model_validate(form))


def test_a_time_far_ahead_or_missing_is_replaced_and_counted(tmp_path: Path) -> None:
    at = {"path": "t", "time": {"form": "epoch_ms"}}
    read = mapper(tmp_path, one_rule(READING, at=at)).read
    ahead = read({"id": "a", "v": 1, "t": NOW + 3_600_000}, None, NOW)
    assert (ahead.findings[0].at, ahead.counts) == (NOW, {"times_ahead": 1})
    missing = read({"id": "a", "v": 1}, None, NOW)
    assert (missing.findings[0].at, missing.counts) == (NOW, {"times_missing": 1})
    past = read({"id": "a", "v": 1, "t": NOW - 5}, None, NOW)
    assert (past.findings[0].at, past.counts) == (NOW - 5, {})


# -- files that are refused -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        ([], "expected a mapping"),
        ({"name": "x", "messages": []}, "messages"),
        ({"name": "x", "mesages": []}, "did you mean messages"),
        (one_rule({**READING, "valve": "x"}), "no field valve"),
        (one_rule({"value": "v"}), "data lacks quantity, unit"),
        (one_rule({**READING, "value": "a[?"}), "cannot be read"),
        (one_rule({**READING, "value": {"path": "v", "value": 3}}), "exactly one of path"),
        (one_rule({**READING, "value": {"path": "v", "enum": {1: "hot"}}}), "is no number"),
        (one_rule({**READING, "value": {"path": "v", "scael": 2}}), "unknown key"),
        (one_rule({}, kind="device.health"), "not one that a device can tell"),
        (one_rule({}, kind="edge.dropped"), "not one that a device can tell"),
        (one_rule({}, kind="lift.status"), "not one that a device can tell"),
        (one_rule({"event": {"value": "explodes"}}, kind="meter.event"), "none of"),
        (one_rule({"person": "card"}, kind="access.granted"), "only a pseudonym may leave"),
        (one_rule({"vehicle": "plate"}, kind="vehicle.passed"), "only a pseudonym may leave"),
        (one_rule(READING, mode="standing"), "standing needs a list"),
        (one_rule(READING, mode="standing", list="x"), "fills in active"),
        (one_rule(READING, at="t"), "how the time is written"),
        (one_rule(READING, at={"path": "t", "time": {"form": "unix"}}), "give epoch_s"),
        (one_rule(READING, at={"path": "t", "time": {"form": "%H:%M"}}), "give utc_offset"),
        (one_rule(READING, list="a[?"), "cannot be read"),
        (one_rule(READING, where={"a[?": 1}), "cannot be read"),
    ],
)
def test_a_bad_file_is_refused_by_name(raw: Any, message: str, tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=message):
        load(write(tmp_path, raw), tmp_path)


def test_an_unknown_file_names_what_there_is(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="lift_http"):
        load("elevators", tmp_path)


# -- hostile messages ------------------------------------------------------------------------------

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=12,
)
KNOWN = [Mapper(load(name, Path()), {"L1": "d", "a": "d"}, KEY) for name in builtin()]


@given(json_values, st.sampled_from([None, "L1/status", "L1/fault", "L1/alarm", "x", ""]))
def test_no_message_breaks_a_mapper(message: Any, topic: str | None) -> None:
    for each in KNOWN:
        each.read(message, topic, NOW)


@given(st.sampled_from(sorted(LIFT)), json_values)
def test_no_field_breaks_a_mapper(name: str, value: Any) -> None:
    heard = KNOWN[1].read({"lifts": [{**LIFT, name: value}]}, None, NOW)
    for finding in heard.findings:
        if finding.standing is None and finding.tell.kind != "elevator.status":
            make_event(finding.tell.kind, device="d", at=finding.at, seen=NOW, data=finding.data)


@pytest.mark.parametrize(
    "payload",
    [b"", b"{", b"[" * 100_000, b"\xff\xfe", b'{"a": NaN}', b'{"a": Infinity}', b"9" * 5_000],
)
def test_what_is_no_json_is_refused(payload: bytes) -> None:
    with pytest.raises(RefusedError, match="not JSON"):
        decode(payload, "utf-8")


def test_gb18030() -> None:
    assert decode('{"名": "电梯"}'.encode("gb18030"), "gb18030") == {"名": "电梯"}


@pytest.mark.parametrize(
    ("topic_filter", "topic", "fits"),
    [
        ("+/status", "L1/status", True),
        ("+/status", "a/b/status", False),
        ("lift/#", "lift/1/x", True),
        ("lift/#", "lift", True),
        ("#", "a/b", True),
        ("a/+/c", "a/b/d", False),
    ],
)
def test_topic_filters(topic_filter: str, topic: str, fits: bool) -> None:
    assert matches(topic_filter, topic) is fits


# -- what is told --------------------------------------------------------------------------------


class Told:
    """A teller with a recorder behind it."""

    def __init__(self, mapping: Mapping, devices: dict[str, str], memory: Path | None) -> None:
        self.mapper = Mapper(mapping, devices, KEY)
        self.teller = Teller(memory)
        self.teller.restore()
        self.sink = Recorder()

    async def hear(self, message: Any, topic: str | None = None) -> None:
        heard = self.mapper.read(message, topic, NOW)
        await self.teller.tell(heard, self.sink, lambda act: act())


def test_faults_are_told_when_they_begin_and_end() -> None:
    async def scene() -> None:
        told = Told(load("lift_http", Path()), {"L1": "lift-1"}, None)
        for codes in ([], ["04"], ["04", "77"], ["77"], ["77"], []):
            await told.hear({"lifts": [{**LIFT, "fault_codes": codes}]})
        faults = [(f["raw_code"], f["active"]) for f in told.sink.of("elevator.fault")]
        assert faults == [("04", True), ("77", True), ("04", False), ("77", False)]
        assert told.sink.of("elevator.alarm_button") == [{"active": False}]
        assert len(told.sink.of("elevator.status")) == 6
        await told.hear({"lifts": [{**LIFT, "alarm": 1}]})
        assert told.sink.of("elevator.alarm_button")[1:] == [{"active": True}]

    run(scene())


def test_what_was_not_committed_is_told_again() -> None:
    async def scene() -> None:
        told = Told(load("lift_http", Path()), {"L1": "lift-1"}, None)
        told.sink.refuse = lambda kind: JournalFullError("full")
        message = {"lifts": [{**LIFT, "fault_codes": ["04"], "alarm": 1}]}
        for _ in range(2):
            with pytest.raises(JournalFullError):
                await told.hear(message)
        told.sink.refuse = lambda kind: None
        await told.hear(message)
        await told.hear(message)
        assert told.sink.of("elevator.alarm_button") == [{"active": True}]
        assert len(told.sink.of("elevator.fault")) == 1

    run(scene())


def test_a_record_is_told_once_over_restarts(tmp_path: Path) -> None:
    async def scene() -> None:
        memory = tmp_path / "records.json"
        mapping = load("lift_access", Path())

        def record(serial: int) -> dict[str, Any]:
            return {
                "serial": serial, "controller": "T", "floors": "1", "time": "2026-03-05 10:00:00",
                "open_type": 2,
            }  # fmt: skip

        told = Told(mapping, {"T": "access-1"}, memory)
        await told.hear({"records": [record(2), record(1)]})
        await told.hear({"records": [record(3), record(2), record(1)]})
        assert [e["serial"] for e in told.sink.of("elevator.access")] == [2, 1, 3]
        assert told.sink.counts["records_again"] == 2
        again = Told(mapping, {"T": "access-1"}, memory)
        await again.hear({"records": [record(4), record(3)]})
        assert [e["serial"] for e in again.sink.of("elevator.access")] == [4]
        memory.write_text("[[")
        forgot = Told(mapping, {"T": "access-1"}, memory)
        await forgot.hear({"records": [record(4)]})
        assert len(forgot.sink.of("elevator.access")) == 1

    run(scene())


def test_a_device_of_ones_own_by_a_file_alone(tmp_path: Path) -> None:
    """A flood sensor of some vendor: nothing but a mapping is written for it."""

    async def scene() -> None:
        raw = {
            "name": "flood-sensors",
            "encoding": "gb18030",
            "messages": [
                {
                    "where": {"消息": "上报"},
                    "each": "data",
                    "device": "编号",
                    "at": {"path": "时间", "time": {"form": "%Y/%m/%d %H:%M:%S",
                                                 "utc_offset": "+08:00"}},
                    "tell": [
                        {"kind": "sensor.reading", "data": {
                            "quantity": {"value": "water_level"},
                            "value": {"path": "水位", "scale": 0.01}, "unit": {"value": "m"}}},
                        {"kind": "device.fault", "mode": "change", "data": {
                            "fault": {"value": "battery_low"},
                            "active": {"path": "电池", "enum": {"低": True, "正常": False}}}},
                    ],
                }
            ],
        }  # fmt: skip
        # Chinese names are quoted, as JMESPath wants it.
        text = json.dumps(raw, ensure_ascii=False)
        for name in ("消息", "编号", "时间", "水位", "电池"):
            text = text.replace(f'"{name}"', json.dumps(f'"{name}"', ensure_ascii=False))
        (tmp_path / "flood.yaml").write_text(text, encoding="utf-8")
        mapping = load("flood.yaml", tmp_path)
        told = Told(mapping, {"F-7": "flood-7"}, None)
        item = {"编号": "F-7", "时间": "2026/03/05 17:59:59", "水位": 42, "电池": "低"}
        payload = json.dumps({"消息": "上报", "data": [item]}, ensure_ascii=False)
        await told.hear(decode(payload.encode("gb18030"), mapping.encoding))
        assert told.sink.events == [
            ("sensor.reading", "flood-7",
             {"quantity": "water_level", "value": 0.42, "unit": "m"}, NOW - 1_000),
            ("device.fault", "flood-7", {"fault": "battery_low", "active": True}, NOW - 1_000),
        ]  # fmt: skip

    run(scene())
