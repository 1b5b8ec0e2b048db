"""The compiled decoder and the models accept, refuse and read exactly the same."""

from __future__ import annotations

import math
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from core.contracts.codec import (
    EVENT_STRUCTS,
    FIELDS,
    data_dict,
    decode_event,
    encode,
    event_from,
    make_event,
    whole,
)
from core.contracts.errors import ContractError
from core.contracts.events import EVENT_ADAPTER, EVENT_MODELS, KINDS
from tests.contracts.strategies import nearly_valid, to_json, valid_event

ALL_KINDS = st.sampled_from(sorted(KINDS))
SLOW_DRAWS = settings(
    max_examples=700, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True
)
GOOD = {
    "at": 1_790_000_000_000,
    "seen": 1_790_000_000_100,
    "device": "m1",
    "kind": "meter.reading",
    "data": {"medium": "electricity", "energy_kwh": 1.5},
}


def by_models(payload: bytes) -> dict[str, Any] | None:
    """Return what the pydantic models read, or None where they refuse."""
    try:
        return EVENT_ADAPTER.validate_json(payload).model_dump()
    except ValidationError:
        return None


def by_decoder(payload: bytes) -> dict[str, Any] | None:
    """Return what the compiled decoder reads, or None where it refuses."""
    try:
        event = decode_event(payload)
    except ContractError:
        return None
    data = msgspec.structs.asdict(event.data)
    if event.kind == "device.snapshot":
        data["states"] = [msgspec.structs.asdict(state) for state in data["states"]]
    whole_event = {"at": event.at, "seen": event.seen, "device": event.device, "id": event.id}
    return {**whole_event, "kind": event.kind, "data": data}


def same(one: Any, other: Any) -> bool:
    """Compare values and their types (1 is not True, and not 1.0)."""
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(same, one, other))
    return type(one) is type(other) and one == other


@SLOW_DRAWS
@given(ALL_KINDS.flatmap(valid_event))
def test_what_the_models_allow_is_decoded_and_survives_the_way(event: dict[str, Any]) -> None:
    payload = to_json(event).encode()
    read = by_models(payload)
    assert read is not None
    assert same(by_decoder(payload), read)
    again = by_decoder(encode(decode_event(payload)))
    assert same(again, read)


@SLOW_DRAWS
@given(ALL_KINDS.flatmap(nearly_valid))
def test_both_refuse_the_same(event: dict[str, Any]) -> None:
    payload = to_json(event).encode()
    models, decoder = by_models(payload), by_decoder(payload)
    assert same(decoder, models), f"models: {models}\ndecoder: {decoder}"


ANY_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
)


@settings(max_examples=400, deadline=None, derandomize=True)
@given(st.binary(max_size=60) | ANY_JSON.map(lambda value: to_json(value).encode()))
def test_nothing_but_a_contract_error_comes_out(payload: bytes) -> None:
    with pytest.raises(ContractError):
        decode_event(payload)


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_every_kind_has_its_fields_in_both(kind: str) -> None:
    struct, model = EVENT_STRUCTS[kind], EVENT_MODELS[kind]
    assert {*struct.__struct_fields__, "kind"} == set(model.model_fields)
    assert FIELDS[kind] == tuple(KINDS[kind].data.model_fields)
    assert model.__doc__
    assert struct.kind == kind  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("change", "field", "says"),
    [
        ({"kind": "meter.readin"}, "kind", "known are access.granted"),
        ({"kind": 5}, "kind", "unknown kind 5"),
        ({"at": -1}, "at", "greater than or equal to 0"),
        ({"at": 1.0}, "at", "valid integer"),
        ({"at": True}, "at", "valid integer"),
        ({"device": "a b"}, "device", "pattern"),
        ({"device": "m1\n"}, "device", "pattern"),
        ({"site": "x"}, "site", "known: at, seen, device, id"),
        ({"data": {"medium": "gas", "energie": 1}}, "data.energie", "known: medium,"),
        ({"data": {"energy_kwh": 1}}, "data.medium", "missing"),
        ({"data": {"medium": "steam"}}, "data.medium", "'electricity', 'water'"),
        ({"data": {"medium": "gas", "volume_m3": "1"}}, "data.volume_m3", "valid number (got '1')"),
        ({"data": {"medium": "gas", "volume_m3": -1}}, "data.volume_m3", "greater than or equal"),
        ({"data": None}, "data", "valid dictionary"),
        ({"id": "x" * 65}, "id", "at most 64"),
    ],
)  # fmt: skip
def test_a_refusal_names_the_field_and_what_would_be_accepted(
    change: dict[str, Any], field: str, says: str
) -> None:
    with pytest.raises(ContractError) as caught:
        decode_event(to_json({**GOOD, **change}).encode())
    assert caught.value.field == field
    assert says in str(caught.value)
    with pytest.raises(ContractError) as again:
        event_from({**GOOD, **change})
    assert str(again.value) == str(caught.value)


@pytest.mark.parametrize("number", ["1e400", "1" + "0" * 5000, "-1" + "0" * 5000])
def test_a_number_out_of_range_is_named(number: str) -> None:
    text = to_json(GOOD).replace("1.5", number)
    with pytest.raises(ContractError) as caught:
        decode_event(text.encode())
    assert caught.value.field == "data.energy_kwh"
    assert "out of range" in str(caught.value)


def test_values_made_in_this_process_are_checked_too() -> None:
    good = {"quantity": "level", "value": 1.5, "unit": "m"}
    event = make_event("sensor.reading", device="s1", at=1, seen=2, data=good)
    assert data_dict(event) == good
    for bad in (math.nan, math.inf, 10**5000, "1", True, None):
        with pytest.raises(ContractError) as caught:
            make_event("sensor.reading", device="s1", at=1, seen=2, data={**good, "value": bad})
        assert caught.value.field == "data.value"


def test_data_dict_leaves_out_what_the_device_did_not_give() -> None:
    event = decode_event(to_json({**GOOD, "data": {"medium": "gas", "volume_m3": None}}).encode())
    assert data_dict(event) == {"medium": "gas"}
    assert b"null" not in encode(event)


def test_nesting_is_refused_quickly_and_by_name() -> None:
    for payload in (
        b"[" * 200_000,
        b'{"kind":' * 50_000,
        to_json(GOOD).encode()[:-1] + b"[" * 9999,
    ):
        with pytest.raises(ContractError) as caught:
            decode_event(payload)
        assert "nested" in str(caught.value) or "not readable" in str(caught.value)


def test_a_repeated_kind_is_refused_the_same_way_everywhere() -> None:
    text = '{"kind":"fire.alarm",' + to_json(GOOD)[1:]
    with pytest.raises(ContractError):
        decode_event(text.encode())


def test_pattern_ends_are_translated() -> None:
    assert whole("^a$") == r"^a\Z"
    assert whole("^a") == "^a"
