"""Tailgating: a grant that is followed by two, and everything that only looks like it."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from core.contracts.codec import make_event
from core.contracts.errors import JournalFullError, SettingsError
from edge.config import from_raw
from edge.derive.builder import build
from edge.derive.pipeline import Pipeline
from edge.derive.settings import DeriveSettings, TailgatingSettings
from edge.derive.tailgating import Tailgating
from edge.observation import Observation
from tests.edge.drivers.support import Recorder, run

START = 1_764_000_000_000


class Door:
    """Tells a derivation what happens at a door, in seconds from the start."""

    def __init__(self, **more: Any) -> None:
        settings = TailgatingSettings.model_validate({"door": "d", "camera": "c", **more})
        self.derivation = Tailgating([settings])

    def see(self, kind: str, device: str, second: float, **data: Any) -> Observation:
        at = START + round(second * 1000)
        make_event(kind, device=device, at=at, seen=at, data=data)
        seen = Observation(kind, device, data, at)
        assert self.derivation.take(seen).observation is seen
        return seen

    def grant(self, second: float) -> None:
        self.see("access.granted", "d", second, credential="card")

    def cross(self, second: float, way: str | None = "in", line: str = "entry") -> Observation:
        data = {"active": True, "zone": line} | ({} if way is None else {"direction": way})
        return self.see("camera.line_crossed", "c", second, **data)

    def count(self, second: float, persons: int) -> None:
        self.see("camera.count", "c", second, count=persons, target="person", zone="hall")

    def told(self, until: float = 100) -> list[tuple[int, float]]:
        """Return (persons, second) of everything that is concluded by a second."""
        found = self.derivation.wake(START + round(until * 1000))
        for item in found:
            make_event(item.kind, device=item.device, at=item.at, seen=item.at, data=item.data)
        return [(item.data["persons"], (item.at - START) / 1000) for item in found]


def test_a_grant_followed_by_two_persons() -> None:
    door = Door()
    door.grant(0)
    door.cross(2)
    door.cross(3.2)
    assert door.told(14.9) == []  # the camera may still be late, another grant may come
    assert door.derivation.due() == START + 15_000
    assert door.told(15) == [(2, 3.2)]
    assert door.told() == []
    assert door.derivation.due() is None


def test_everybody_behind_one_holder_is_one_event() -> None:
    door = Door()
    door.grant(0)
    for second in (1, 2, 3, 4):
        door.cross(second)
    assert door.told() == [(4, 2)]


@pytest.mark.parametrize(
    ("grants", "crossings"),
    [
        ([0], [2]),
        ([0], []),
        ([], [1, 2, 3]),  # no grant nearby: another matter
        ([0, 1], [3, 4]),  # two people with two grants
        ([0, 5], [1, 6]),
        ([0, 3], [2, 1.5]),  # the second badges while the first walks, within the lead
        ([0, 1, 2], [7, 8.5, 9.5]),  # all in good time, though late
        ([0], [-1.5]),  # the camera's clock is a little behind
        ([0], [1, 20]),
    ],
)
def test_what_only_looks_like_it(grants: list[float], crossings: list[float]) -> None:
    door = Door()
    for second in grants:
        door.grant(second)
    for second in crossings:
        door.cross(second)
    assert door.told() == []


def test_a_stranger_between_two_residents() -> None:
    door = Door()
    door.grant(0)
    door.cross(1)
    door.cross(2)
    door.grant(7)
    door.cross(9)
    assert door.told() == [(2, 2)]


def test_who_leaves_is_no_tailgater() -> None:
    door = Door()
    door.grant(0)
    door.cross(1)
    door.cross(2, "out")
    assert door.told() == []
    silent = Door()  # a camera that does not say which way
    silent.grant(0)
    silent.see("access.exit_button", "d", 0.5, credential="button")
    silent.cross(1, None)
    silent.cross(2, None)
    assert silent.told() == []
    silent.grant(40)
    silent.cross(41, None)
    silent.cross(42, None)
    assert silent.told() == [(2, 42)]
    sly = Door()  # an exit button lets nobody in
    sly.grant(0)
    sly.see("access.exit_button", "d", 0.5, credential="button")
    sly.cross(1)
    sly.cross(2)
    assert sly.told() == [(2, 2)]


def test_late_and_unordered_camera_events_count() -> None:
    door = Door()
    door.grant(0)
    door.cross(4)
    assert door.told(10.5) == []
    door.cross(3)
    assert door.told() == [(2, 4)]


def test_other_lines_and_cameras_are_none_of_its_business() -> None:
    door = Door(line="entry")
    door.grant(0)
    door.cross(1)
    door.cross(2, line="garden")
    door.see("camera.line_crossed", "other", 2, active=True, zone="entry", direction="in")
    door.see("access.granted", "other-door", 2, credential="card")
    door.see("camera.line_crossed", "c", 3, active=False, zone="entry", direction="in")
    assert door.told() == []


def test_nothing_is_concluded_during_a_fire_release() -> None:
    door = Door()
    door.grant(0)
    door.see("access.fire_release", "d", 0.5, active=True)
    for second in (1, 2, 3):
        door.cross(second)
    assert door.told(30) == []
    door.see("access.fire_release", "d", 31, active=False)
    door.grant(40)
    door.cross(41)
    door.cross(42)
    assert door.told() == [(2, 42)]


def test_a_camera_that_counts_persons_in_a_zone() -> None:
    door = Door(zone="hall")
    door.count(-5, 1)  # the porter
    door.grant(0)
    door.count(2, 2)
    assert door.told(30) == []
    door.grant(40)
    door.count(42, 4)
    door.count(60, 2)
    assert door.told(70) == [(2, 42)]
    door.grant(80)
    door.grant(85)
    door.count(84, 3)
    door.count(87, 4)
    assert door.told(130) == []


def test_what_comes_twice_counts_once_and_two_in_one_second_twice() -> None:
    door = Door()
    door.grant(0)
    seen = door.cross(2)
    for _ in range(3):  # the journal was full: the same observation again
        door.derivation.take(Observation(seen.kind, seen.device, seen.data, seen.at))
    assert door.told(30) == []
    door.grant(40)
    door.cross(42)
    door.cross(42)
    assert door.told() == [(2, 42)]


def test_a_restart_in_between_forgets_nothing() -> None:
    door = Door()
    door.grant(0)
    door.cross(1)
    memory = json.loads(json.dumps(door.derivation.memory()))
    after = Door()
    after.derivation.remember(memory)
    after.cross(2)
    assert after.told() == [(2, 2)]
    for nonsense in (None, [], {"d": 3}, {"d": {"passes": [{"x": 1}]}}, {"e": {}}):
        fresh = Door()
        fresh.derivation.remember(nonsense)
        assert fresh.derivation.memory() == {}


moments = st.lists(st.floats(0, 60).map(lambda x: round(x, 1)), max_size=8)


@given(moments, moments)
def test_never_more_followers_than_crossings_and_none_with_a_grant_each(
    grants: list[float], crossings: list[float]
) -> None:
    door = Door()
    for second in grants:
        door.grant(second)
    for second in crossings:
        door.cross(second)
    told = door.told(1000)
    assert sum(persons - 1 for persons, _ in told) <= len(crossings)
    assert door.derivation.due() is None
    each = Door()
    for second in crossings:
        each.grant(second)
        each.cross(second)
    assert each.told(1000) == []


def test_through_the_pipeline_and_a_full_journal() -> None:
    async def scene() -> None:
        sink, now = Recorder(), START
        settings = DeriveSettings.model_validate({"tailgating": [{"door": "d", "camera": "c"}]})
        pipeline = Pipeline(sink, [Tailgating(settings.tailgating)], lambda: now)
        await pipeline.emit("access.granted", "d", {"credential": "card"}, START)
        crossing: dict[str, Any] = {"active": True, "direction": "in"}
        sink.refuse = lambda kind: JournalFullError("full")
        for _ in range(2):
            with pytest.raises(JournalFullError):
                await pipeline.emit("camera.line_crossed", "c", crossing, START + 1000)
        sink.refuse = lambda kind: None
        await pipeline.emit("camera.line_crossed", "c", crossing, START + 1000)
        await pipeline.emit("camera.line_crossed", "c", {**crossing}, START + 1500)
        now = START + 20_000
        await pipeline.wake()
        assert sink.of("access.tailgate") == [{"persons": 2, "raw_code": "derived"}]
        await asyncio.sleep(0)

    run(scene())


def test_settings(tmp_path: Path) -> None:
    entry = {
        "driver": "isapi_camera", "base_url": "http://h", "username": "u", "password": "p",
        "cameras": {"1": "c"},
    }  # fmt: skip
    door = {
        "driver": "isapi_door", "base_url": "http://g", "username": "u", "password": "p",
        "doors": {"1": "d"},
    }  # fmt: skip
    whole = {"edge": "e1", "site": "s1", "drivers": [entry, door]}
    pair = {"door": "d", "camera": "c", "line": "entry"}
    config = from_raw({**whole, "derive": {"tailgating": [pair]}}, "test", tmp_path)
    assert "tailgating" in [derivation.name for derivation in build(config)]
    with pytest.raises(SettingsError, match="nobody"):
        from_raw({**whole, "derive": {"tailgating": [{**pair, "door": "nobody"}]}}, "t", tmp_path)
    with pytest.raises(ValidationError, match="not both"):
        TailgatingSettings.model_validate({**pair, "zone": "hall"})
    with pytest.raises(ValidationError, match="same door"):
        DeriveSettings.model_validate({"tailgating": [pair, pair]})
