"""Each detector on rendered scenes: it fires on its case and not on the near miss."""

from __future__ import annotations

from typing import Any

import cv2
import pytest

from edge.drivers.camera.analyser import Analyser
from edge.vision.detection import Box, Detection
from edge.vision.frame import from_jpeg
from simulators.devices.scene import LAYOUTS, Figure, Scene, SceneKind

from .film import FPS, MIDNIGHT, NOON, Cinema, line_of, settings, zone_of

COURTYARD, GATE, DOOR, LOBBY, LIFT_CAR = SceneKind
DAY_AND_NIGHT = pytest.mark.parametrize("at", [NOON, MIDNIGHT], ids=["noon", "midnight"])


def cinema(kind: SceneKind, *zones: dict[str, Any], at: int = NOON, **more: Any) -> Cinema:
    """Return a cinema after its warm-up, everything quiet."""
    film = Cinema(kind, settings(*zones, **more), at=at).play(4)
    film.events = []
    return film


# -- lines ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "people", "at"),
    [(GATE, 1, NOON), (GATE, 2, MIDNIGHT), (COURTYARD, 3, NOON), (DOOR, 1, NOON), (DOOR, 2, NOON),
     (DOOR, 3, NOON), (LOBBY, 1, NOON), (LIFT_CAR, 1, NOON)],
)  # fmt: skip
def test_everybody_who_crosses_a_line_is_told_once_with_the_direction(
    kind: SceneKind, people: int, at: int
) -> None:
    seconds = 7 if LAYOUTS[kind].indoors else 16
    film = cinema(kind, lines=[line_of(kind)], at=at)
    film.scene.enter(film.now, people, seconds=seconds)
    film.play(seconds + 4)
    assert film.told("camera.line_crossed") == ["in"] * people
    film.events = []
    film.scene.leave(film.now, people, seconds=seconds)
    film.play(seconds + 4)
    assert film.told("camera.line_crossed") == ["out"] * people


def test_who_walks_along_a_line_or_past_its_end_or_is_a_cat_does_not_cross_it() -> None:
    film = cinema(GATE, lines=[line_of(GATE)])
    now = film.now
    film.scene.send(Figure.PERSON, ((-0.05, 0.55), (0.30, 0.55), (0.32, 1.2)), now, 12)
    film.scene.send(Figure.CAT, ((0.15, 1.05), (0.16, 0.3)), now, 10)
    film.play(14)
    assert film.told("camera.line_crossed") == []


def test_the_other_hand_and_the_schedule_of_a_line() -> None:
    left = line_of(DOOR, inwards="left")
    film = cinema(DOOR, lines=[left])
    film.scene.enter(film.now)
    assert film.play(9).told("camera.line_crossed") == ["out"]
    asleep = cinema(DOOR, lines=[line_of(DOOR, schedule=["daily 22:00-06:00"])])
    asleep.scene.enter(asleep.now)
    assert asleep.play(9).told("camera.line_crossed") == []


# -- zones ---------------------------------------------------------------------------------------


@DAY_AND_NIGHT
def test_an_intruder_and_who_only_passes_by(at: int) -> None:
    film = cinema(COURTYARD, zone_of(COURTYARD, "intrusion"), at=at)
    for y in (0.47, 0.98):
        film.scene.send(Figure.PERSON, ((-0.05, y), (1.05, y)), film.now, 12)
    film.scene.send(Figure.CAT, ((0.0, 0.65), (1.0, 0.65)), film.now, 8)
    film.play(14)
    assert film.told("camera.intrusion") == [False], "passers-by and a cat"
    film.scene.send(Figure.PERSON, ((-0.05, 0.7), (0.5, 0.75), (1.05, 0.6)), film.now, 10)
    film.play(16)
    assert film.told("camera.intrusion") == [False, True, False]


def test_rain_and_lamps_are_nobody() -> None:
    kinds = ("intrusion", "motion", "fire_lane", "left_object")
    film = cinema(COURTYARD, *(zone_of(COURTYARD, kind, dwell_s=2) for kind in kinds))
    film.scene.rain = True
    film.play(8)
    film.scene.rain = False
    for lamp in (True, False):
        film.scene.lamp = lamp
        film.play(6)
    assert [data for _, data in film.events if data["active"]] == []


def test_a_schedule_arms_a_zone_on_the_sites_clock() -> None:
    zone = zone_of(COURTYARD, "intrusion", schedule=["mon-fri 18:00-07:00"])
    by_day, by_night = cinema(COURTYARD, zone), cinema(COURTYARD, zone, at=MIDNIGHT)
    for film in (by_day, by_night):
        film.scene.send(Figure.PERSON, ((-0.05, 0.7), (1.05, 0.7)), film.now, 10)
        film.play(12)
    assert True not in by_day.told("camera.intrusion")
    assert True in by_night.told("camera.intrusion")


@DAY_AND_NIGHT
@pytest.mark.parametrize("kind", [COURTYARD, GATE])
def test_a_car_in_the_fire_lane_and_one_beside_it(kind: SceneKind, at: int) -> None:
    film = cinema(kind, zone_of(kind, "fire_lane", dwell_s=6), at=at)
    if kind is GATE:
        film.scene.send(Figure.CAR, ((0.40, 0.2), (0.42, 0.8)), film.now, 6, stays=True)
        film.play(16)
        assert True not in film.told("camera.zone_occupied"), "parked outside of the lane"
    film.scene.blocked_since_ms = film.now
    film.play(14)
    assert film.told("camera.zone_occupied")[-1:] == [True]
    film.scene.blocked_since_ms = None
    film.play(9)
    assert film.told("camera.zone_occupied")[-2:] == [True, False]


def test_a_bag_that_is_left_and_one_that_is_carried_through() -> None:
    film = cinema(LOBBY, zone_of(LOBBY, "left_object", dwell_s=6))
    film.scene.send(Figure.CARRIER, LAYOUTS[LOBBY].entry, film.now, 8)
    film.play(11)
    assert True not in film.told("camera.left_object")
    bag = film.scene.leave_bag(film.now)
    put_down = film.now + 6_500
    film.play(13)
    assert True not in film.told("camera.left_object"), "its owner has just gone"
    film.play(8)
    assert film.told("camera.left_object")[-1:] == [True]
    assert film.now - put_down >= 6_000
    film.scene.take_away(bag, film.now)
    film.play(13)
    assert film.told("camera.left_object")[-2:] == [True, False]


def test_a_bag_beside_its_owner_is_not_left() -> None:
    film = cinema(LOBBY, zone_of(LOBBY, "left_object", dwell_s=6))
    film.scene.leave_bag(film.now)
    film.play(7)
    # The detector sees the owner, who stands quite still.
    film.words = [Detection("person", 0.9, Box(0.64, 0.4, 0.72, 0.78))]
    film.play(16)
    assert True not in film.told("camera.left_object")
    film.words = []
    film.play(9)
    assert film.told("camera.left_object")[-1:] == [True]


def test_whatever_moves_is_counted_without_a_detector() -> None:
    film = cinema(LOBBY, zone_of(LOBBY, "count"), period_s=5)
    film.scene.send(Figure.PERSON, ((-0.1, 0.80), (1.1, 0.80)), film.now, 9)
    film.scene.send(Figure.PERSON, ((1.1, 0.95), (-0.1, 0.95)), film.now + 500, 9)
    film.play(13)
    counts = film.told("camera.count")
    assert max(counts) == 2
    assert counts[-1] == 0
    assert {data["target"] for _, data in film.events} == {"other"}
    film.events = []
    film.play(10.4)
    assert film.told("camera.count") == [0, 0], "and again each period"


def test_nothing_that_happens_in_a_lift_car_is_tampering() -> None:
    film = cinema(LIFT_CAR)
    bike = film.scene.bring_e_bike(film.now)
    film.play(12)
    film.scene.take_away(bike, film.now)
    film.play(8)
    assert film.told("camera.tamper") == []


# -- the detector's words ------------------------------------------------------------------------

E_BIKE = {"kind": "onnx", "file": "x.onnx", "classes": {0: "person", 1: "e_bike"}}


def test_an_e_bike_in_a_lift_car_begins_and_ends_with_what_the_detector_says() -> None:
    zone = zone_of(LIFT_CAR, "object", target="e_bike", dwell_s=1, clear_s=3)
    film = cinema(LIFT_CAR, zone, detector=E_BIKE)
    inside = Box(0.35, 0.5, 0.65, 0.95)
    film.words = [Detection("person", 0.9, inside), Detection("e_bike", 0.8, Box(0, 0, 0.1, 0.2))]
    film.play(4)
    assert True not in film.told("camera.object"), "a person, and an e-bike outside of the car"
    film.words = [Detection("e_bike", 0.8, inside)]
    film.play(0.4)
    film.words = None
    film.play(20)
    assert film.analyser.held, "the detector has to look again"
    assert True not in film.told("camera.object"), "one look is none"
    film.words = [Detection("e_bike", 0.8, inside), Detection("e_bike", 0.6, inside)]
    film.play(3)
    told = [data for kind, data in film.events if kind == "camera.object" and data["active"]]
    assert [(d["target"], d["count"], d["score"]) for d in told] == [("e_bike", 2, 0.8)]
    film.words = []
    film.play(2)
    assert film.told("camera.object")[-1] is True, "not yet clear"
    film.play(3)
    assert film.told("camera.object")[-1] is False
    assert not film.analyser.held


def test_persons_are_counted_and_intruders_named_by_a_detector() -> None:
    film = cinema(
        DOOR, zone_of(DOOR, "count"), zone_of(DOOR, "intrusion", target="person"),
        detector={"kind": "person"},
    )  # fmt: skip
    film.scene.send(Figure.CAT, ((-0.1, 0.8), (1.1, 0.8)), film.now, 5)
    film.words = []
    film.play(6)
    assert film.told("camera.intrusion") == [False]
    here, there = Box(0.4, 0.4, 0.5, 0.8), Box(0.55, 0.4, 0.65, 0.85)
    film.words = [Detection("person", 0.9, here), Detection("person", 0.7, there)]
    film.play(3)
    assert film.told("camera.count")[-1] == 2
    assert film.told("camera.intrusion") == [False, True]


# -- how much is looked at -----------------------------------------------------------------------


def test_each_picture_counts_only_while_something_happens() -> None:
    film = cinema(GATE, zone_of(GATE, "fire_lane", dwell_s=6), lines=[line_of(GATE)])
    film.busy_frames = 0
    film.play(20)
    assert film.busy_frames == 0
    film.scene.enter(film.now, seconds=10)
    film.play(4)
    assert film.analyser.busy
    film.play(14)
    assert not film.analyser.busy
    film.scene.blocked_since_ms = film.now
    film.play(4)
    assert film.analyser.busy
    film.play(20)
    assert film.told("camera.zone_occupied")[-1] is True
    assert not film.analyser.busy, "what has come to stand is known"


def test_a_burnt_in_clock_does_not_keep_a_camera_awake() -> None:
    analyser, view = Analyser(settings()), Scene(3, "clock", GATE, "CLOCK", rhythm_scale=0)

    def busy(first: int, seconds: int) -> int:
        count = 0
        for step in range(first * FPS, (first + seconds) * FPS):
            now = NOON + step * 1000 // FPS
            good, coded = cv2.imencode(".jpg", view.render(now), [cv2.IMWRITE_JPEG_QUALITY, 72])
            frame = from_jpeg(coded.tobytes())
            assert good
            assert frame is not None
            analyser.update(frame.small, now, 1 / FPS)
            count += analyser.busy
        return count

    assert busy(0, 40) > 0
    assert busy(40, 20) == 0
    view.enter(NOON + 60_000, seconds=10)
    assert busy(60, 10) > 5 * FPS


def test_people_are_found_at_two_pictures_a_second_too() -> None:
    film = Cinema(GATE, settings(lines=[line_of(GATE)]))
    film.play(4, fps=2)
    film.scene.enter(film.now, seconds=16)
    film.play(18, fps=2)
    assert film.told("camera.line_crossed") == ["in"]
