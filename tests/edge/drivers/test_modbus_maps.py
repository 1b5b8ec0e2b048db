"""Register maps: what the built-in ones make of registers, and how mistakes are named."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from core.contracts.codec import make_event
from core.contracts.errors import SettingsError
from edge.drivers.modbus import maps
from edge.modbus.blocks import Image, Span
from edge.modbus.maps import build, load
from edge.modbus.meaning import DeviceMap, Reading
from edge.modbus.numbers import encode

#: What a map needs of each device.
NEEDED: dict[str, dict[str, Any]] = {
    "acrel_adl3000": {"ct": 40},
    "pulse_counter": {"per_pulse": 0.01},
}


def built_in(name: str, inputs: Any = None, **parameters: Any) -> DeviceMap:
    given = {**NEEDED.get(name, {}), **parameters}
    return load(maps.FOLDER / f"{name}.yaml", parameters=given, inputs=inputs)


def read(found: DeviceMap, table: str, registers: dict[int, int], rest: int = 0) -> Reading:
    """Read what a map plans from registers; those not given are ``rest``."""
    image = Image()
    for block in found.blocks:
        span = block.span
        assert span.table == table
        image.add(span, [registers.get(span.address + n, rest) for n in range(span.count)])
    return found.read(image)


def floats(values: dict[int, float]) -> dict[int, int]:
    return {
        address + offset: word
        for address, value in values.items()
        for offset, word in enumerate(encode("f32", value))
    }


@pytest.mark.parametrize("name", maps.names())
def test_every_built_in_map_is_sound(name: str) -> None:
    inputs = {"1": {"kind": "fire.alarm"}} if name == "io_16in" else None
    found = built_in(name, inputs)
    assert found.name == name
    assert found.blocks
    for block in found.blocks:
        assert block.span.count <= 125
    text = (maps.FOLDER / f"{name}.yaml").read_text(encoding="utf-8")
    assert text.startswith("#"), "says where it comes from, and what is not verified"


def test_acrel_adl3000() -> None:
    registers = {
        0x0001: 200_0, 0x000B: 12_34, 0x0015: 100,
        97: 2205, 98: 2210, 99: 2199, 100: 512, 101: 10, 102: 0,
        103: 500, 104: 65_526, 105: 0, 106: 490, 118: 985, 119: 5001,
    }  # fmt: skip
    data = read(built_in("acrel_adl3000", ct=40, pt=1), "holding", registers).observations
    assert data == [("meter.reading", {
        "medium": "electricity", "energy_combined_kwh": 800.0, "energy_kwh": 493.6,
        "energy_export_kwh": 40.0, "voltage_l1_v": 220.5, "voltage_l2_v": 221.0,
        "voltage_l3_v": 219.9, "current_l1_a": 204.8, "current_l2_a": 4.0, "current_l3_a": 0.0,
        "power_l1_w": 20_000.0, "power_l2_w": -400.0, "power_l3_w": 0.0, "power_w": 19_600.0,
        "power_factor": 0.985, "frequency_hz": 50.01,
    })]  # fmt: skip
    high = {0x000A: 1, 0x000B: 0}
    ((_, reading),) = read(built_in("acrel_adl3000", ct=2, pt=100), "holding", high).observations
    assert reading["energy_kwh"] == 131_072.0  # 65536 · 0.01 · 100 · 2


def test_eastron_sdm630() -> None:
    registers = floats(
        {0: 230.5, 6: 4.25, 12: 980.0, 52: 2950.5, 62: 0.97, 70: 49.98, 72: 12345.5, 74: 0.5}
    )
    ((kind, data),) = read(built_in("eastron_sdm630"), "input", registers).observations
    assert kind == "meter.reading"
    assert data["voltage_l1_v"] == 230.5
    assert data["current_l1_a"] == 4.25
    assert data["power_l1_w"] == 980.0
    assert data["power_w"] == 2950.5
    assert data["power_factor"] == pytest.approx(0.97)
    assert data["frequency_hz"] == pytest.approx(49.98)
    assert (data["energy_kwh"], data["energy_export_kwh"]) == (12345.5, 0.5)
    assert len(built_in("eastron_sdm630").blocks) <= 3


def test_chint_dtsu666() -> None:
    registers = floats(
        {
            0x2006: 2205.0,
            0x200C: 5123.0,
            0x2012: -12345.0,
            0x202A: -985.0,
            0x2044: 5000.0,
            0x401E: 432.5,
        }
    )
    ((_, data),) = read(built_in("chint_dtsu666"), "holding", registers).observations
    assert data["voltage_l1_v"] == 220.5
    assert data["current_l1_a"] == 5.123
    assert data["power_w"] == -1234.5
    assert data["power_factor"] == -0.985
    assert (data["frequency_hz"], data["energy_kwh"]) == (50.0, 432.5)


def test_a_number_out_of_bounds_costs_only_its_field() -> None:
    registers = floats({0: 230.5, 62: 1.5, 70: 1e30, 72: -5.0})
    reading = read(built_in("eastron_sdm630"), "input", registers)
    ((_, data),) = reading.observations
    assert data["voltage_l1_v"] == 230.5
    assert not {"power_factor", "frequency_hz", "energy_kwh"} & data.keys()
    assert [text.partition(":")[0] for text in reading.problems] == [
        "input register 62",
        "input register 70",
        "input register 72",
    ]


def test_pulse_counters_of_water_and_electricity() -> None:
    water = built_in("pulse_counter", per_pulse=0.01, initial=123.4)
    assert read(water, "holding", {0: 1, 1: 10}).observations == [
        ("meter.reading", {"medium": "water", "volume_m3": 778.86})
    ]
    power = built_in(
        "pulse_counter", per_pulse=0.001, medium="electricity", field="energy_kwh",
        table="input", address=6, word_order="little",
    )  # fmt: skip
    assert read(power, "input", {6: 5000, 7: 0}).observations == [
        ("meter.reading", {"medium": "electricity", "energy_kwh": 5.0})
    ]


def test_temperature_and_humidity() -> None:
    found = built_in("th_sensor")
    assert read(found, "input", {0: 0xFFCE, 1: 553}).observations == [
        ("sensor.reading", {"quantity": "temperature", "value": -5.0, "unit": "Cel"}),
        ("sensor.reading", {"quantity": "humidity", "value": 55.3, "unit": "%"}),
    ]
    assert read(found, "input", {0: 0x8000, 1: 0xFFFF}).observations == []


def test_contacts_are_what_the_device_s_entry_says() -> None:
    found = built_in(
        "io_16in",
        {"1": {"kind": "fire.alarm", "loop": "1", "point": "hall"},
         "2": {"kind": "fire.fault", "invert": True},
         "16": {"kind": "device.tamper", "part": "cover"}},
    )  # fmt: skip
    standing = read(found, "discrete", {0: 1, 1: 1, 15: 0}).standing
    assert list(standing.values()) == [("fire.alarm", {"loop": "1", "point": "hall"})]
    standing = read(found, "discrete", {0: 0, 1: 0, 15: 1}).standing
    assert [kind for kind, _ in standing.values()] == ["fire.fault", "device.tamper"]


def test_what_an_idle_board_is_asked_to_show_that_it_lives() -> None:
    assert [block.span for block in built_in("relay_8").blocks] == [Span("coil", 0, 8)]
    assert [block.span for block in built_in("io_16in").blocks] == [Span("discrete", 0, 16)]


#: A small map in the whole language.
WHOLE: dict[str, Any] = {
    "name": "own",
    "word_order": "little",
    "gap": 0,
    "reads": [{"address": 40, "count": 6}],
    "parameters": {"ratio": {"default": 2}},
    "states": {
        "meter.reading": {
            "medium": "heat",
            "heat_kwh": {"address": 0, "type": "u32", "scale": 0.1, "times": ["${ratio}"]},
            "flow_m3_h": {"address": 2, "type": "f32", "word_order": "big"},
            "valve_open": {"address": 4, "bit": 2},
        }
    },
    "events": [
        {"kind": "meter.event", "data": {"medium": "heat", "event": "battery_low"},
         "value": {"address": 4, "bit": 0}, "first": True},
        {"kind": "device.fault", "data": {"fault": "sensor"},
         "when": [3, 4], "value": {"table": "input", "address": 7}},
    ],
    "codes": [
        {"kind": "meter.event", "data": {"medium": "heat"}, "field": "event", "addresses": [40, 44],
         "names": {1: "leak", 2: "empty_pipe"}, "ignore": [9], "raw": "hex", "digits": 4},
    ],
    "sensors": [
        {"quantity": "temperature", "unit": "Cel",
         "value": {"address": 5, "enum": {0: 0.5, 1: 20}, "otherwise": -1}},
    ],
}  # fmt: skip


def image(registers: dict[tuple[str, int], int]) -> Image:
    found = Image()
    for (table, address), word in registers.items():
        found.add(Span(table, address, 1), [word])  # type: ignore[arg-type]
    return found


def test_the_whole_language() -> None:
    found = build(WHOLE, "own.yaml")
    assert Span("holding", 40, 6) in [block.span for block in found.blocks]
    words = {("holding", 0): 5, ("holding", 1): 1, ("holding", 2): 0x4048, ("holding", 3): 0,
             ("holding", 4): 0b101, ("holding", 5): 1, ("holding", 40): 2, ("holding", 44): 77,
             ("input", 7): 4}  # fmt: skip
    reading = found.read(image(words))
    assert reading.observations == [
        ("meter.reading", {"medium": "heat", "heat_kwh": 13108.2, "flow_m3_h": 3.125,
                           "valve_open": True}),
        ("sensor.reading", {"quantity": "temperature", "value": 20.0, "unit": "Cel"}),
    ]  # fmt: skip
    told = sorted(reading.standing.values(), key=str)
    assert told == [
        ("device.fault", {"fault": "sensor"}),
        ("meter.event", {"medium": "heat", "event": "battery_low"}),
        ("meter.event", {"medium": "heat", "event": "empty_pipe", "raw_code": "0002"}),
        ("meter.event", {"medium": "heat", "event": "other", "raw_code": "004D"}),
    ]
    for kind, data in [*reading.observations, *((k, {**d, "active": True}) for k, d in told)]:
        make_event(kind, device="d", at=1, seen=1, data=data)


def test_what_was_not_read_costs_only_what_needs_it() -> None:
    found = build(WHOLE, "own.yaml")
    reading = found.read(image({("holding", 4): 0, ("holding", 40): 9, ("input", 7): 1}))
    assert reading.observations == [("meter.reading", {"medium": "heat", "valve_open": False})]
    assert reading.standing == {}
    # The second code register was not read: nothing is over because of that.
    assert reading.known == {1, 2}
    assert list(reading.idle.values()) == [
        ("meter.event", {"medium": "heat", "event": "battery_low"})
    ]


BAD: list[tuple[dict[str, Any], str]] = [
    ({"wordorder": "big"}, "wordorder: unknown key; did you mean word_order"),
    (
        {"states": {"meter.readin": {}}},
        r"states.meter.readin: unknown kind; did you mean meter.reading",
    ),
    (
        {"states": {"meter.reading": {"medium": "water", "volume": {"address": 1}}}},
        r"states.meter.reading.volume: unknown field; did you mean volume_m3",
    ),
    ({"states": {"meter.reading": {"energy_kwh": {"address": 1}}}}, "fields missing: medium"),
    ({"states": {"meter.reading": {"medium": "water"}}}, "no field comes from a register"),
    (
        {"states": {"meter.reading": {"medium": "water", "volume_m3": {"adress": 1}}}},
        "adress: unknown key; did you mean address",
    ),
    (
        {
            "states": {
                "meter.reading": {"medium": "water", "volume_m3": {"address": 1, "type": "u24"}}
            }
        },
        "volume_m3: type: Input should be",
    ),
    (
        {
            "states": {
                "meter.reading": {
                    "medium": "water",
                    "volume_m3": {"address": 65_535, "type": "u32"},
                }
            }
        },
        "beyond the last register",
    ),
    (
        {
            "states": {
                "meter.reading": {"medium": "water", "volume_m3": {"address": 1, "scale": "${x}"}}
            }
        },
        r"\$\{x\}: no such parameter",
    ),
    ({"events": [{"kind": "meter.reading", "value": {"address": 1}}]}, "does not begin and end"),
    (
        {
            "events": [
                {"kind": "fire.alarm", "data": {"looop": "1"}, "value": {"address": 1, "bit": 0}}
            ]
        },
        "looop: unknown; did you mean loop",
    ),
    (
        {
            "events": [
                {
                    "kind": "meter.event",
                    "data": {"medium": "gas", "event": "leek"},
                    "value": {"address": 1, "bit": 0},
                }
            ]
        },
        "events.0.event: Input should be",
    ),
    (
        {"events": [{"kind": "fire.alarm", "value": {"address": 1, "invert": True}}]},
        "invert is for bits",
    ),
    (
        {"events": [{"kind": "fire.alarm", "value": {"table": "coil", "address": 1, "bit": 1}}]},
        "one bit",
    ),
    (
        {
            "table": "discrete",
            "events": [{"kind": "fire.alarm", "value": {"address": 1, "type": "u32"}}],
        },
        "one bit has no type",
    ),
    (
        {"events": [{"kind": "fire.alarm", "value": {"address": n, "bit": 0}} for n in (1, 2)]},
        "both tell fire.alarm with the same data",
    ),
    ({"codes": [{"kind": "meter.event", "field": "evnt", "addresses": [1]}]}, "did you mean event"),
    (
        {
            "codes": [
                {
                    "kind": "meter.event",
                    "data": {"medium": "gas"},
                    "field": "event",
                    "addresses": [1],
                    "names": {1: "boom"},
                }
            ]
        },
        r"codes.0.names.1.event: Input should be",
    ),
    (
        {
            "sensors": [
                {"quantity": "t", "unit": "Cel", "value": {"address": 1, "enum": {1: "hot"}}}
            ]
        },
        "'hot' is no number",
    ),
    ({"outputs": {1: {"address": 1, "value_on": 5}}}, "a coil takes 1 and 0"),
    ({}, "nothing to read"),
]


@pytest.mark.parametrize(("raw", "message"), BAD)
def test_a_bad_map_is_refused_by_name(raw: dict[str, Any], message: str) -> None:
    with pytest.raises(SettingsError, match=message) as error:
        build({"name": "bad", **raw}, "bad.yaml")
    assert str(error.value).startswith("bad.yaml")


def test_what_a_device_s_entry_gets_wrong_is_named_with_the_device() -> None:
    path = maps.FOLDER / "acrel_adl3000.yaml"
    with pytest.raises(SettingsError, match=r"device m1: parameters.ct: missing \(ratio"):
        load(path, where="device m1")
    with pytest.raises(SettingsError, match=r"device m1: parameters.cr: unknown; known are ct, pt"):
        load(path, parameters={"cr": 4}, where="device m1")
    with pytest.raises(SettingsError, match=r"medium: 'beer' is not one of water, gas"):
        built_in("pulse_counter", medium="beer")
    for given, message in (
        ({"17": {"kind": "fire.alarm"}}, r"inputs.17: io_16in has no such input"),
        ({"1": {"point": "x"}}, r"inputs.1.kind: missing"),
        ({"1": {"kind": "fire.alarm", "pint": "x"}}, r"inputs.1.pint: unknown; did you mean point"),
        ({"1": {"kind": "fire.smoke"}}, r"inputs.1: unknown kind"),
        ({"1": {"kind": "fire.alarm"}, "2": {"kind": "fire.alarm"}}, "tell them apart"),
    ):
        with pytest.raises(SettingsError, match=message):
            built_in("io_16in", given)


def test_a_map_is_found_by_its_name_or_as_a_file(tmp_path: Path) -> None:
    assert maps.find("eastron_sdm630", tmp_path).parent == maps.FOLDER
    own = tmp_path / "mine.yaml"
    own.write_text("name: mine\nsensors: []\n", encoding="utf-8")
    assert maps.find("mine.yaml", tmp_path) == own
    with pytest.raises(SettingsError, match="did you mean eastron_sdm630"):
        maps.find("eastron_sdm63", tmp_path)
