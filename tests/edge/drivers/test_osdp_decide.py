"""Who may pass, and what a door's contact means: tables, and rules that hold for any sequence."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.contracts.errors import SettingsError
from edge.drivers.osdp import enrol
from edge.drivers.osdp.access_list import AccessFile, AccessList
from edge.drivers.osdp.decide import Ask, Outcome, Panel
from edge.drivers.osdp.door import Door
from edge.drivers.osdp.entrance import Drive, Entrance, Say, Skip, pin_pseudonym
from edge.drivers.osdp.settings import ReaderSettings
from edge.pseudonym import Pseudonyms
from edge.wiegand import Card

#: A Thursday, 10:00 in Shanghai.
NOW = round(datetime(2026, 3, 5, 2, 0, tzinfo=UTC).timestamp() * 1000)
HOUR = 3_600_000
PSEUDONYMS = Pseudonyms(b"k" * 32)
CARD = Card(26, 4567, 123)
ME = PSEUDONYMS.of("card", CARD.identifier)


def access(card: dict[str, Any] | None = None, **more: Any) -> AccessList:
    entry = {"card": ME, "doors": "all", **(card or {})}
    return AccessList.model_validate({"cards": [entry], **more})


def ask(**changes: Any) -> Ask:
    base: dict[str, Any] = {
        "card": ME, "reader": "d1/1", "door": "d1", "inward": True, "now": NOW, "area": "hall",
    }  # fmt: skip
    return Ask(**{**base, **changes})


OFFICE = {"schedules": {"office": [{"days": ["thu"], "begin": "08:00", "end": "18:00"}]}}
NIGHT = {"schedules": {"office": [{"days": ["wed"], "begin": "22:00", "end": "06:00"}]}}


@pytest.mark.parametrize(
    ("card", "more", "changes", "outcome"),
    [
        ({}, {}, {}, Outcome.GRANTED),
        ({}, {}, {"card": "p-other"}, Outcome.UNKNOWN_CREDENTIAL),
        ({"doors": ["d1"]}, {}, {}, Outcome.GRANTED),
        ({"doors": ["d2"]}, {}, {}, Outcome.NO_PERMISSION),
        ({"blacklisted": True}, {}, {}, Outcome.BLACKLISTED),
        ({"valid_until": "2026-03-04"}, {}, {}, Outcome.EXPIRED),
        ({"valid_until": "2026-03-05"}, {}, {}, Outcome.GRANTED),
        ({"valid_from": "2026-03-06"}, {}, {}, Outcome.EXPIRED),
        ({"schedule": "office"}, OFFICE, {}, Outcome.GRANTED),
        ({"schedule": "office"}, OFFICE, {"now": NOW + 8 * HOUR}, Outcome.WRONG_TIME),
        ({"schedule": "office"}, OFFICE, {"now": NOW + 24 * HOUR}, Outcome.WRONG_TIME),
        ({"schedule": "office"}, NIGHT, {"now": NOW - 5 * HOUR}, Outcome.GRANTED),
        ({"schedule": "office"}, NIGHT, {"now": NOW - 4 * HOUR}, Outcome.WRONG_TIME),
        ({"schedule": "office"}, NIGHT, {"now": NOW - 11 * HOUR}, Outcome.GRANTED),
        ({"schedule": "office"}, NIGHT, {"now": NOW + 13 * HOUR}, Outcome.WRONG_TIME),
        ({}, {"interlock": [["d1", "d2"]]}, {"open_doors": ["d2"]}, Outcome.INTERLOCK),
        ({}, {"interlock": [["d1", "d2"]]}, {"open_doors": ["d1"]}, Outcome.GRANTED),
        ({"pin": "p-1"}, {}, {}, Outcome.PIN),
    ],
)
def test_one_card_at_one_door(
    card: dict[str, Any], more: dict[str, Any], changes: dict[str, Any], outcome: Outcome
) -> None:
    assert Panel(access(card, **more)).present(ask(**changes)).outcome is outcome


def test_whoever_is_inside_does_not_come_in_again() -> None:
    panel = Panel(access(anti_passback={"areas": ["hall"], "forget_h": 2}))
    assert panel.present(ask()).outcome is Outcome.GRANTED
    assert panel.present(ask(now=NOW + 1)).outcome is Outcome.ANTI_PASSBACK
    assert panel.present(ask(now=NOW + 1, area="garage")).outcome is Outcome.GRANTED
    assert panel.present(ask(now=NOW + 2, inward=False)).outcome is Outcome.GRANTED
    assert panel.present(ask(now=NOW + 3)).outcome is Outcome.GRANTED
    assert panel.present(ask(now=NOW + 3 + 2 * HOUR)).outcome is Outcome.GRANTED


def test_too_many_refusals_lock_the_reader_and_no_other() -> None:
    panel = Panel(access(attempts={"limit": 3, "window_s": 10, "lock_s": 30}))
    for second in (0, 11, 12, 13):  # the first is too long ago to count
        refused = panel.present(ask(card="p-x", now=NOW + second * 1000))
        assert refused.outcome is Outcome.UNKNOWN_CREDENTIAL
    assert panel.present(ask(now=NOW + 14_000)).outcome is Outcome.TOO_MANY_ATTEMPTS
    assert panel.present(ask(now=NOW + 14_000, reader="d2/2")).outcome is Outcome.GRANTED
    assert panel.present(ask(now=NOW + 43_000)).outcome is Outcome.GRANTED


def test_codes() -> None:
    panel = Panel(access({"pin": "p-right", "duress_pin": "p-duress"}))
    assert panel.code(ask(), "p-right").outcome is Outcome.GRANTED
    forced = panel.code(ask(), "p-duress")
    assert (forced.outcome, forced.duress) == (Outcome.GRANTED, True)
    assert panel.code(ask(), "p-wrong").outcome is Outcome.NO_MATCH
    assert panel.code(ask(), None).outcome is Outcome.NO_MATCH


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 7_200_000)), max_size=30))
def test_nobody_is_inside_twice(steps: list[tuple[bool, int]]) -> None:
    panel = Panel(access(anti_passback={"areas": ["hall"], "forget_h": 1}))
    now, came = NOW, None
    for inward, later in steps:
        now += later
        granted = panel.present(ask(inward=inward, now=now)).outcome is Outcome.GRANTED
        if inward:
            assert granted is (came is None or now - came >= HOUR)
            came = now if granted else came
        else:
            assert granted
            came = None


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("cards: [{card: p-1, doors: all, schedule: night}]", "unknown schedule night"),
        ("cards: [{card: p-1, doors: all}, {card: p-1, doors: all}]", "stands twice"),
        ("cards: [{card: p-1, doors: all, duress_pin: p-2}]", "duress_pin needs pin"),
        ("cards: []\nschedules: {a: [{begin: 07:00, end: 18:00}]}", "quotation marks"),
        ("cards: []\ntimezone: Mars/Olympus", "unknown time zone"),
        ("cards: []\ninterlok: []", "did you mean interlock"),
    ],
)
def test_a_list_with_a_mistake_is_refused(text: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "cards.yaml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(SettingsError, match=message):
        AccessFile(path).load()


def test_a_list_is_read_again_only_when_it_changes(tmp_path: Path) -> None:
    path = tmp_path / "cards.yaml"
    path.write_text("cards: []", encoding="utf-8")
    file = AccessFile(path)
    assert file.load().cards == []
    assert file.changed() is None
    path.write_text("cards: [{card: p-1, doors: all}]", encoding="utf-8")
    found = file.changed()
    assert found is not None
    assert [card.card for card in found.cards] == ["p-1"]


def test_enrolment_prints_what_the_driver_will_see(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    key = tmp_path / "pseudonym.key"
    key.write_bytes(b"k" * 32)
    assert enrol.main([str(key), "card", "26", "123", "4567"]) == 0
    assert capsys.readouterr().out == f"card: {ME}\n"
    monkeypatch.setattr("getpass.getpass", lambda _: "4711")
    assert enrol.main([str(key), "pin", ME]) == 0
    assert capsys.readouterr().out == f"pin: {pin_pseudonym(PSEUDONYMS, ME, '4711')}\n"
    assert enrol.main([str(key), "card", "26", "256", "1"]) == 2


# -- doors -----------------------------------------------------------------------------------


def kinds(told: list[Any]) -> list[str]:
    return [tell.kind for tell in told]


def door(*, judges: bool = True) -> Door:
    found = Door(held_open_s=30, grace_s=2, judges=judges)
    found.contact(NOW, is_open=False)
    return found


@pytest.mark.parametrize(
    ("before", "after_ms", "forced"),
    [
        ("nothing", 0, True),
        ("grant", 6_999, False),
        ("grant", 7_001, True),
        ("button", 6_999, False),
        ("button", 7_001, True),
        ("fire", 600_000, False),
        ("fire over", 1_999, False),
        ("fire over", 2_001, True),
    ],
)
def test_forced_is_an_opening_without_a_release(before: str, after_ms: int, forced: bool) -> None:
    it = door()
    if before == "grant":
        it.release(NOW, 5)
    elif before == "button":
        assert kinds(it.button(NOW, 5, pressed=True)) == ["access.exit_button"]
    elif before.startswith("fire"):
        assert kinds(it.fire_release(NOW, active=True)) == ["access.fire_release"]
        if before == "fire over":
            it.fire_release(NOW, active=False)
    told = kinds(it.contact(NOW + after_ms, is_open=True))
    assert told == ["access.door", "access.forced"] if forced else ["access.door"]


def test_a_door_whose_lock_is_not_ours_is_never_forced() -> None:
    assert kinds(door(judges=False).contact(NOW, is_open=True)) == ["access.door"]


def test_a_door_that_stands_open_at_the_start_was_not_forced() -> None:
    it = Door(held_open_s=30, grace_s=2, judges=True)
    assert kinds(it.contact(NOW, is_open=True)) == ["access.door"]
    assert kinds(it.due(NOW + 30_000)) == ["access.held_open"]


def test_held_open_is_told_once_an_opening_and_not_during_a_fire() -> None:
    it = door()
    it.release(NOW, 5)
    it.contact(NOW, is_open=True)
    assert it.due(NOW + 29_999) == []
    told = it.due(NOW + 30_000)
    assert [(tell.kind, tell.data) for tell in told] == [("access.held_open", {"open_s": 30.0})]
    assert it.due(NOW + 90_000) == []
    it.fire_release(NOW + 90_000, active=True)
    assert it.due(NOW + 900_000) == []
    it.fire_release(NOW + 900_000, active=False)
    assert it.due(NOW + 929_999) == []
    assert kinds(it.due(NOW + 930_000)) == ["access.held_open"]


@given(
    st.lists(
        st.tuples(st.sampled_from(["open", "close", "grant", "wait"]), st.integers(0, 60_000)),
        max_size=40,
    )
)
def test_states_alternate_and_forced_means_unreleased(steps: list[tuple[str, int]]) -> None:
    it, now, until, is_open = door(), NOW, 0, False
    for step, later in steps:
        now += later
        if step == "grant":
            it.release(now, 5)
            until = now + 7_000
        elif step == "wait":
            assert set(kinds(it.due(now))) <= ({"access.held_open"} if is_open else set())
        else:
            wanted = step == "open"
            told = kinds(it.contact(now, is_open=wanted))
            assert ("access.door" in told) is (wanted is not is_open)
            assert ("access.forced" in told) is (wanted and not is_open and now > until)
            is_open = wanted


# -- an entrance: everything together ---------------------------------------------------------


def entrance(panel: Panel | None = None, **changes: Any) -> Entrance:
    settings: dict[str, Any] = {
        "device": "d1", "address": 1, "area": "hall", "lock": {"output": 1, "seconds": 5},
        "inputs": [
            {"number": 0, "role": "contact"},
            {"number": 1, "role": "exit_button"},
            {"number": 2, "role": "fire_release", "invert": True},
            {"number": 2, "role": "fire_alarm", "invert": True, "point": "panel"},
        ],
    }  # fmt: skip
    return Entrance(
        ReaderSettings.model_validate({**settings, **changes}),
        Panel(access()) if panel is None else panel,
        PSEUDONYMS,
    )


REST = bytes((0, 0, 1))


def test_a_grant_drives_the_lock_before_it_is_told() -> None:
    acts = entrance().card(1, "in", CARD, NOW)
    assert acts == [
        Drive(1, 5, 50),
        Say(
            "access.granted",
            "d1",
            {"credential": "card", "direction": "in", "reader": "1", "person": ME},
        ),
    ]
    magnet = entrance(lock={"output": 0, "seconds": 3, "release": "off"})
    assert magnet.card(1, "in", CARD, NOW)[0] == Drive(0, 6, 30)


def test_without_a_list_nothing_is_granted() -> None:
    settings = ReaderSettings.model_validate({"device": "d1", "address": 1, "lock": {}})
    bare = Entrance(settings, None, PSEUDONYMS)
    assert bare.card(1, "in", CARD, NOW) == [Skip("cards_not_judged")]


def test_a_code_opens_silently_tells_of_duress_and_runs_out() -> None:
    codes = {
        "pin": pin_pseudonym(PSEUDONYMS, ME, "1234"),
        "duress_pin": pin_pseudonym(PSEUDONYMS, ME, "4321"),
    }
    it = entrance(Panel(access(codes)))

    def told(acts: list[Any]) -> list[str]:
        return [act.kind for act in acts if isinstance(act, Say)]

    assert it.keys(1, b"1", NOW) == [Skip("keys_without_card")]
    assert it.card(1, "in", CARD, NOW) == []
    assert it.keys(1, b"99\x7f12", NOW) == []
    assert told(it.keys(1, b"34\x0d", NOW)) == ["access.granted"]
    assert it.card(1, "in", CARD, NOW) == []
    acts = it.keys(1, b"4321#", NOW)
    assert isinstance(acts[0], Drive)
    assert told(acts) == ["access.duress", "access.granted"]
    assert it.card(1, "in", CARD, NOW) == []
    assert it.due(NOW + 14_999) == []
    expired = it.due(NOW + 15_000)
    assert [act.data["reason"] for act in expired if isinstance(act, Say)] == ["no_match"]
    assert it.due(NOW + 16_000) == []


def test_inputs_become_what_they_are_wired_to() -> None:
    it = entrance()
    assert [act.kind for act in it.inputs(REST, NOW) if isinstance(act, Say)] == [
        "access.door", "access.fire_release", "fire.alarm",
    ]  # fmt: skip
    assert it.inputs(REST, NOW) == []
    assert it.inputs(bytes((0, 1, 1)), NOW) == [
        Drive(1, 5, 50),
        Say("access.exit_button", "d1", {"credential": "button"}),
    ]
    assert it.inputs(bytes((1, 1, 1)), NOW + 1) == [Say("access.door", "d1", {"open": True})]
    assert it.inputs(bytes((1, 0, 0)), NOW + 2) == [
        Drive(1, 2),
        Say("access.fire_release", "d1", {"active": True}),
        Say("fire.alarm", "d1", {"active": True, "point": "panel"}),
    ]
    assert it.back() == [Drive(1, 2)]
    # A pulse would end the standing release.
    assert not [act for act in it.card(1, "in", CARD, NOW + 3) if isinstance(act, Drive)]
    assert it.inputs(bytes((1, 0, 1)), NOW + 4)[0] == Drive(1, 1)
    assert it.inputs(b"\x01", NOW + 5) == [Skip("odd_inputs")] * 3


def test_time_zones_are_those_of_the_list() -> None:
    late = {"schedules": {"s": [{"begin": "00:00", "end": "03:00"}]}, "timezone": "UTC"}
    panel = Panel(access({"schedule": "s"}, **late))
    assert panel.present(ask()).outcome is Outcome.GRANTED
    later = round((datetime(2026, 3, 5, 3, tzinfo=UTC) + timedelta(0)).timestamp() * 1000)
    assert panel.present(ask(now=later)).outcome is Outcome.WRONG_TIME
