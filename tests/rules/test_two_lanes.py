"""Events in two lanes: `urgent` goes first, and what waited in `event` is older (ADR 0015)."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.contracts.events import Lane
from rules import judge
from rules.builtin import builtin
from rules.engine import Engine
from tests.rules.script import Script, at, rule

DAY = 100_000


def estate(rules: dict[str, str] | None = None) -> Script:
    """An edge that was heard once and is away."""
    script = Script(rules or builtin())
    script.online()
    script.offline()
    return script


# -- the order of two backlogs -------------------------------------------------------------------


def forced_and_two_cuts() -> Script:
    """In `event` wait day-old door events, in `urgent` a door forced before the second cut."""
    script = estate()
    script.run(DAY, step=1000)
    script.online(through={"urgent": 1, "event": 2})
    script.urgent("door1", "access.forced", DAY - 10)
    return script


def test_what_stands_at_the_end_of_both_backlogs_alarms() -> None:
    script = forced_and_two_cuts()
    assert not script.alerts("door-forced")
    script.send("door1", "access.door", 5_000, open=True)
    script.send("door1", "access.door", 5_010, open=False)
    assert script.edge().drained
    (alert,) = script.standing("door-forced")
    assert (alert.began_at, alert.attention) == (at(DAY - 10), 1)


def test_what_is_kept_back_comes_among_what_was_before_and_after_it() -> None:
    script = estate()
    script.run(DAY, step=1000)
    script.online(through={"urgent": 1, "event": 2})
    script.urgent("door1", "access.forced", 5_005)
    script.send("door1", "access.door", 5_000, open=False)
    script.send("door1", "access.door", 5_010, open=False)
    (alert,) = script.alerts("door-forced")
    assert (alert.late, alert.began_at, alert.cleared_at) == (True, at(5_005), at(5_010))


def test_what_is_kept_back_outlasts_a_third_cut() -> None:
    script = forced_and_two_cuts()
    script.send("door1", "access.door", 5_000, open=True)
    script.offline()
    script.run(DAY + 60)
    script.online(through={"urgent": 1, "event": 2})
    assert not script.alerts("door-forced")
    script.send("door1", "access.door", 5_010, open=False)
    (alert,) = script.standing("door-forced")
    assert alert.began_at == at(DAY - 10)


@pytest.mark.parametrize("epoch", ["0d7e6c9e-epoch-1", "0d7e6c9e-epoch-2"])
def test_what_is_kept_back_counts_when_nothing_older_comes_any_more(epoch: str) -> None:
    script = forced_and_two_cuts()
    script.offline()
    script.run(DAY + 60)
    script.online(epoch=epoch)
    (alert,) = script.standing("door-forced")
    assert alert.began_at == at(DAY - 10)


def test_a_hole_ends_the_waiting() -> None:
    script = forced_and_two_cuts()
    data = {"epoch": "0d7e6c9e-epoch-1", "lane": "event", "first_seq": 1, "last_seq": 2}
    script.control("edge.hole", data)
    assert script.standing("door-forced")


def test_only_so_much_is_kept_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(judge, "MOST_KEPT", 2)
    script = estate()
    script.run(DAY, step=1000)
    script.online(through={"urgent": 4, "event": 1})
    for second in range(4):
        script.urgent("door1", "access.duress", DAY - 10 + second)
    assert len(script.engine.edges["e1"].kept) == 2
    script.send("door2", "access.granted", 5_000)
    (alert,) = script.standing("door-duress")
    assert alert.began_at == at(DAY - 10)
    assert not script.engine.edges["e1"].kept


def test_what_is_kept_back_survives_a_restart() -> None:
    script = forced_and_two_cuts()
    blob = script.engine.dump()
    restarted = Engine.load(blob)
    assert restarted.dump() == blob
    script.engine = restarted
    script.send("door1", "access.door", 5_000, open=True)
    script.send("door1", "access.door", 5_010, open=False)
    assert script.standing("door-forced")


def test_rules_that_go_while_something_is_kept_back_are_not_missed() -> None:
    script = forced_and_two_cuts()
    script.activate({})
    script.send("door1", "access.door", 5_000, open=True)
    script.send("door1", "access.door", 5_010, open=False)
    assert script.edge().drained
    assert not script.alerts("door-forced")


# -- what began and ended live before the backlog had come ---------------------------------------


def fire(script: Script, t: float, *, active: bool, late: bool = False) -> None:
    """Tell of the fire panel's point, now or from the backlog."""
    script.run(max(t, script.now))
    tell = script.send if late else script.urgent
    tell("fire1", "fire.alarm", t, active=active, point="p1")


def fires(script: Script) -> list[tuple[float, float | None, bool]]:
    """Return (began, cleared, late) of each fire alarm."""
    return sorted(
        (
            (a.began_at - at(0)) / 1000,
            None if a.cleared_at is None else (a.cleared_at - at(0)) / 1000,
            a.late,
        )
        for a in script.alerts("fire-alarm")
    )


def test_ended_and_begun_again_live_before_the_backlog_comes_are_two() -> None:
    script = estate()
    script.run(600)
    script.online(through={"event": 1})
    fire(script, 610, active=False)
    fire(script, 620, active=True)
    fire(script, 300, active=True, late=True)
    assert fires(script) == [(300, 610, True), (620, None, False)]


def test_a_new_alarm_is_not_swallowed_by_one_that_had_ended_in_the_backlog() -> None:
    script = Script(builtin())
    script.online()
    fire(script, 0, active=True)
    script.offline()
    script.run(600)
    script.online(through={"event": 1})
    fire(script, 610, active=True)
    fire(script, 650, active=False)
    fire(script, 100, active=False, late=True)
    assert fires(script) == [(0, 100, False), (610, 650, True)]
    assert script.said("fire-alarm")[-2:] == [("corrected", "red"), ("history", "red")]


def test_a_new_alarm_that_stands_began_with_its_first_event() -> None:
    script = Script(builtin())
    script.online()
    fire(script, 0, active=True)
    script.offline()
    script.run(600)
    script.online(through={"event": 1})
    fire(script, 610, active=True)
    fire(script, 650, active=True)
    fire(script, 100, active=False, late=True)
    assert fires(script) == [(0, 100, False), (610, None, False)]


def test_what_was_raised_and_cleared_live_is_not_told_twice() -> None:
    script = estate()
    script.run(600)
    script.online(through={"event": 1})
    burning = {"kind": "fire.alarm", "since": at(590), "data": {"active": True, "point": "p1"}}
    script.urgent("fire1", "device.snapshot", states=[burning])
    fire(script, 610, active=False)
    fire(script, 620, active=True)
    fire(script, 300, active=True, late=True)
    assert fires(script) == [(300, 610, False), (620, None, False)]


def test_one_door_that_shuts_does_not_end_what_another_holds() -> None:
    doors = rule("on: access.door\ntype: match\nwhen: open\nkey: building\ncolour: blue")
    script = estate(doors)
    script.run(600)
    script.online(through={"event": 1})
    script.urgent("door1", "access.door", 600, open=True)
    script.urgent("door2", "access.door", 601, open=True)
    script.urgent("door1", "access.door", 602, open=False)
    script.send("door1", "access.door", 500, open=True)
    (alert,) = script.standing()
    assert alert.began_at == at(500)


# -- counts across the two lanes -----------------------------------------------------------------

COUNT = "on: access.denied\ntype: count\ncount: 3\nwindow: 10m\ncolour: yellow\n"
REASON = {"reason": "no_permission"}


def doors(clear: str, *, through: int, when: str = "") -> Script:
    """An edge that is back after ten minutes with a backlog of refusals."""
    script = estate(rule(COUNT + clear + when))
    script.run(600)
    script.online(through={"event": through})
    return script


def test_a_count_goes_over_the_border_of_a_backlog() -> None:
    script = doors("clear: {after: 1h}", through=2)
    script.urgent("door1", "access.denied", 600, **REASON)
    script.send("door1", "access.denied", 590, **REASON)
    script.send("door1", "access.denied", 595, **REASON)
    (alert,) = script.standing()
    assert (alert.began_at, alert.raised_at, alert.attention) == (at(590), at(600), 1)


def test_two_in_the_same_millisecond_are_two() -> None:
    script = doors("clear: {after: 1h}", through=1)
    script.urgent("door1", "access.denied", 600, **REASON)
    script.send("door1", "access.denied", 600, **REASON)
    assert not script.alerts()
    script.urgent("door1", "access.denied", 601, **REASON)
    assert script.standing()


def test_what_both_sides_started_with_counts_once() -> None:
    script = Script(rule(COUNT + "clear: {after: 1h}"))
    script.online()
    script.urgent("door1", "access.denied", 0, **REASON)
    script.offline()
    script.run(300)
    script.online(through={"event": 1})
    script.urgent("door1", "access.denied", 300, **REASON)
    script.send("door2", "access.denied", 100, **REASON)
    assert not script.alerts()
    script.urgent("door1", "access.denied", 301, **REASON)
    (alert,) = script.standing()
    assert alert.began_at == at(0)


def test_a_count_that_was_cleared_live_begins_anew() -> None:
    script = doors("clear: {on: access.granted}", through=2)
    script.urgent("door1", "access.granted", 601)
    script.send("door1", "access.denied", 590, **REASON)
    script.send("door1", "access.denied", 595, **REASON)
    script.urgent("door1", "access.denied", 605, **REASON)
    assert not script.alerts()


def test_a_count_that_was_reached_and_cleared_live_is_history() -> None:
    script = doors("clear: {on: access.granted}", through=2)
    script.urgent("door1", "access.denied", 600, **REASON)
    script.urgent("door1", "access.granted", 601)
    script.urgent("door1", "access.denied", 605, **REASON)
    script.send("door1", "access.denied", 590, **REASON)
    script.send("door1", "access.denied", 595, **REASON)
    (alert,) = script.alerts()
    assert (alert.late, alert.began_at, alert.cleared_at) == (True, at(590), at(601))
    script.urgent("door1", "access.denied", 606, **REASON)
    script.urgent("door1", "access.denied", 607, **REASON)
    (again,) = script.standing()
    assert again.began_at == at(605)


def test_what_a_count_does_not_count_does_not_end_it() -> None:
    when = '\nwhen: reason == "no_permission"'
    script = doors("clear: {after: 1h}", through=2, when=when)
    script.urgent("door1", "access.denied", 600, **REASON)
    script.urgent("door1", "access.denied", 601, reason="expired")
    script.send("door1", "access.denied", 590, **REASON)
    script.send("door1", "access.denied", 595, **REASON)
    assert script.standing()


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.integers(0, 1700), min_size=1, max_size=12).map(sorted),
    st.data(),
)
def test_a_count_is_the_same_in_whatever_lanes_it_came(
    times: list[int], data: st.DataObject
) -> None:
    """Some refusals came before the cut, some waited, some came before those that waited."""
    before, waited = sorted(data.draw(st.integers(0, len(times))) for _ in range(2))
    plain, split = (Script(rule(COUNT + "clear: {after: 1h}")) for _ in range(2))
    for script in (plain, split):
        script.online()
        script.now = 1700
    for t in times:
        plain.urgent("door1", "access.denied", t, **REASON)
    for t in times[:before]:
        split.urgent("door1", "access.denied", t, **REASON)
    split.offline()
    split.online(through={"event": waited - before})
    for t in times[waited:]:
        split.urgent("door1", "access.denied", t, **REASON)
    for t in times[before:waited]:
        split.send("door1", "access.denied", t, **REASON)
    assert [a.began_at for a in split.standing()] == [a.began_at for a in plain.standing()]


# -- timers while other lanes still drain --------------------------------------------------------


def test_a_sustained_rule_waits_only_for_the_lanes_that_it_listens_to() -> None:
    script = estate()
    script.run(600)
    script.online(through={"reading": 1000})
    script.urgent("cam1", "camera.tamper", active=True, cause="covered")
    assert script.engine.explain("camera-tamper", "cam1")["why"] == "not_long_enough"
    script.run(660)
    (alert,) = script.standing("camera-tamper")
    assert alert.began_at == at(600)


@pytest.mark.parametrize("lane", ["urgent", "event"])
def test_and_it_does_wait_for_those(lane: str) -> None:
    script = estate()
    script.run(600)
    script.online(through={lane: 1000})
    script.batch([("cam1", "camera.tamper", 600, {"active": True, "cause": "covered"})],
                 seq=1001, lane=Lane.URGENT)  # fmt: skip
    if lane == "event":
        assert script.engine.explain("camera-tamper", "cam1")["why"] == "edge_draining"
    script.run(660)
    assert bool(script.standing("camera-tamper")) is (lane == "urgent")


def test_what_was_pending_before_the_outage_goes_on_where_it_stood() -> None:
    tamper = "on: camera.tamper\ntype: sustained\nfor: 60s\nwhen: active\ncolour: orange"
    script = Script(rule(tamper))
    script.online()
    script.urgent("cam1", "camera.tamper", active=True, cause="covered")
    script.run(20)
    script.offline()
    script.run(600)
    script.online(through={"reading": 1000})
    script.run(639)
    assert not script.standing()
    script.run(641)
    assert script.standing()


def test_what_its_own_lanes_have_told_runs_on_while_readings_drain() -> None:
    tamper = "on: camera.tamper\ntype: sustained\nfor: 60s\nwhen: active\ncolour: orange"
    script = estate(rule(tamper))
    script.run(600)
    script.online(through={"event": 1, "reading": 1000})
    script.send("cam1", "camera.tamper", 580, active=True, cause="covered")
    script.run(639)
    assert not script.standing()
    script.run(641)
    (alert,) = script.standing()
    assert alert.began_at == at(580)


def test_a_drained_lane_does_not_start_running_timers_again() -> None:
    tamper = "on: camera.tamper\ntype: sustained\nfor: 60s\nwhen: active\ncolour: orange"
    script = Script(rule(tamper))
    script.online()
    script.urgent("cam1", "camera.tamper", active=True, cause="covered")
    script.run(20)
    script.offline()
    script.run(600)
    script.online(through={"reading": 1, "state": 1})
    script.run(620)
    script.send("meter1", "meter.reading", 30, medium="electricity")
    script.run(630)
    assert not script.standing()
    script.run(641)
    assert script.standing()


def test_silence_waits_for_every_lane() -> None:
    silent = (
        "on: camera.tamper\ntype: absent\nfamilies: camera\nwithin: 60s\ncolour: yellow\n"
        "grades: [{colour: red, after: 5m}]"
    )
    script = Script(rule(silent))
    script.online()
    script.urgent("cam1", "camera.tamper", active=False, cause="covered")
    script.run(70)
    assert script.said() == [("raised", "yellow")]
    script.offline()
    script.run(600)
    script.online(through={"reading": 1})
    script.run(1200)
    assert script.said() == [("raised", "yellow")]
    script.send("meter1", "meter.reading", 580, medium="electricity")
    script.run(1500)
    assert script.said()[-1] == ("worsened", "red")


# -- a backlog that is older than what was told live between two cuts ----------------------------


def told_between_two_cuts() -> Script:
    """A door is forced and told live while day-old door events wait; then the edge is cut again."""
    script = estate()
    script.run(DAY, step=1000)
    script.online(through={"event": 2})
    script.urgent("door1", "access.forced")
    script.offline()
    script.run(DAY + 60)
    script.online(through={"event": 2})
    return script


def test_an_old_end_does_not_clear_what_was_raised_live() -> None:
    script = told_between_two_cuts()
    script.send("door1", "access.door", 5_000, open=True)
    script.send("door1", "access.door", 5_010, open=False)
    assert script.edge().drained
    (alert,) = script.standing("door-forced")
    assert alert.began_at == at(DAY)


def test_what_began_and_ended_before_that_is_history() -> None:
    script = told_between_two_cuts()
    script.send("door1", "access.forced", 5_000)
    script.send("door1", "access.door", 5_010, open=False)
    assert [(a.late, a.began_at, a.cleared_at) for a in script.alerts("door-forced")] == [
        (False, at(DAY), None), (True, at(5_000), at(5_010)),
    ]  # fmt: skip


def test_a_newer_end_from_the_backlog_does_clear_it() -> None:
    script = estate()
    script.run(DAY, step=1000)
    script.online(through={"event": 2})
    script.urgent("door1", "access.forced")
    script.offline()
    script.run(DAY + 60)
    script.online(through={"urgent": 2, "event": 2})
    script.urgent("door1", "access.door", DAY + 30, open=False)
    script.send("door1", "access.forced", 5_000)
    script.send("door1", "access.door", 5_010, open=False)
    assert [(a.late, a.cleared_at) for a in script.alerts("door-forced")] == [
        (False, at(DAY + 30)), (True, at(5_010)),
    ]  # fmt: skip
