"""Which derivations an edge's file asks for."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from core.contracts.errors import SettingsError
from edge.config import from_raw
from edge.derive.builder import build
from edge.derive.derivation import Observation

TRAPPED = {
    "service_mode": "normal", "moving": False, "direction": "none", "in_door_zone": False,
    "floor": 3, "door_closed": True, "occupied": True,
}  # fmt: skip


def config(**derive: Any) -> Any:
    raw = {"edge": "e1", "site": "s1", "drivers": [], "derive": derive}
    return from_raw(raw, "test", Path())


@pytest.mark.parametrize(("after_s", "expected"), [(30, 30_000), (90, 90_000)])
def test_the_time_to_an_entrapment_is_the_files(after_s: int, expected: int) -> None:
    (entrapment,) = [
        d for d in build(config(entrapment={"after_s": after_s})) if d.name == "lift_entrapment"
    ]
    found: list[Observation] = []
    for at in range(0, 100_000, 1000):
        found += entrapment.take(Observation("elevator.status", "l1", TRAPPED, at)).follows
        found += entrapment.wake(at)
        if found:
            break
    assert found[0].data["fault"] == "entrapment"
    assert at == expected


def test_it_can_be_left_to_the_lift() -> None:
    names = [derivation.name for derivation in build(config(entrapment={"enabled": False}))]
    assert "lift_entrapment" not in names
    assert names


def test_an_impossible_time_is_refused_by_name() -> None:
    with pytest.raises(SettingsError, match="after_s"):
        config(entrapment={"after_s": 1})
