"""An edge away and back: what its backlog means. Times are seconds of a script."""

from __future__ import annotations

from typing import Any

from tests.rules.lifts import rules
from tests.rules.script import EPOCH, Script, at, raised, rule

FREE = {
    "service_mode": "normal", "moving": False, "direction": "none", "in_door_zone": True,
    "floor": 1, "door_closed": True, "occupied": False,
}  # fmt: skip
TRAPPED = FREE | {"occupied": True, "in_door_zone": False, "floor": 7}


def lifts() -> Script:
    script = Script(rules())
    script.online()
    for lift in ("lift1", "lift2"):
        script.send(lift, "elevator.status", **FREE)
    script.run(60)
    for lift in ("lift1", "lift2"):
        script.send(lift, "elevator.status", **FREE)
    return script


def backlog_of_ten_minutes(script: Script) -> list[Any]:
    """Lift 1 traps somebody at 120 s and frees them at 240 s; lift 2 from 300 s on."""
    seen: list[Any] = []
    for t in range(70, 660, 10):
        one = TRAPPED if 120 <= t < 240 else FREE
        two = TRAPPED if t >= 300 else FREE
        seen.append([("lift1", "elevator.status", t, one), ("lift2", "elevator.status", t, two)])
    return seen


def test_trapped_and_freed_is_history_trapped_and_still_inside_rings() -> None:
    script = lifts()
    script.offline()
    script.run(660)
    assert not script.alerts("trapped")
    late = backlog_of_ten_minutes(script)
    script.online(through={"state": script.seq("state") + len(late)})

    # The fresh state comes first and rings at once, with the time it says.
    script.snapshot("lift1", ("elevator.status", 240, FREE))
    now = script.snapshot("lift2", ("elevator.status", 310, TRAPPED))
    (ringing,) = raised(now)
    assert ringing.rule == "trapped"
    assert (ringing.device, ringing.colour) == ("lift2", "red")
    assert (ringing.began_at, ringing.noticed_at) == (at(310), at(660))

    for events in late:
        assert not raised(script.batch(events))
    assert script.edge().drained
    assert script.said("trapped") == [
        ("raised", "red"), ("history", "red"), ("corrected", "red"),
    ]  # fmt: skip
    by_device = {a.device: a for a in script.alerts("trapped")}
    first, second = by_device["lift1"], by_device["lift2"]
    assert first.late
    assert first.attention == 0
    assert (first.began_at, first.cleared_at) == (at(120), at(240))
    assert second.id == ringing.id
    assert (second.began_at, second.attention, second.revision) == (at(300), 1, 2)
    assert not second.late

    script.run(700)
    script.send("lift2", "elevator.status", **FREE)
    assert not script.standing("trapped")


def test_without_a_snapshot_what_still_stands_rings_at_the_backlogs_end() -> None:
    script = lifts()
    script.offline()
    script.run(660)
    late = backlog_of_ten_minutes(script)
    script.online(through={"state": script.seq("state") + len(late)})
    for events in late[:-1]:
        assert not raised(script.batch(events))
    (ringing,) = raised(script.batch(late[-1]))
    assert (ringing.device, ringing.began_at, ringing.late) == ("lift2", at(300), False)
    assert ringing.raised_at == at(330)
    assert [a.late for a in script.alerts("trapped")] in ([True, False], [False, True])


def test_what_stood_before_and_ended_in_the_backlog_is_cleared_at_its_true_time() -> None:
    script = lifts()
    script.send("lift1", "elevator.status", **TRAPPED)
    script.run(100)
    script.send("lift1", "elevator.status", **TRAPPED)
    (before,) = script.standing("trapped")
    script.offline()
    script.run(400)
    script.online(through={"state": script.seq("state") + 2})
    script.batch([("lift1", "elevator.status", 150, FREE)])
    script.batch([("lift1", "elevator.status", 390, FREE)])
    (after,) = script.alerts("trapped")
    assert after.id == before.id
    assert after.cleared_at == at(150)


def test_ended_and_begun_again_is_cleared_and_a_new_one_raised() -> None:
    script = lifts()
    script.send("lift1", "elevator.status", **TRAPPED)
    script.run(100)
    (before,) = script.standing("trapped")
    script.offline()
    script.run(400)
    script.online(through={"state": script.seq("state") + 3})
    script.snapshot("lift1", ("elevator.status", 200, TRAPPED))
    assert [a.id for a in script.standing("trapped")] == [before.id]
    script.batch([("lift1", "elevator.status", 150, FREE)])
    script.batch([("lift1", "elevator.status", 200, TRAPPED)])
    script.batch([("lift1", "elevator.status", 390, TRAPPED)])
    old, new = script.alerts("trapped")
    assert (old.id, old.cleared_at) == (before.id, at(150))
    assert (new.began_at, new.cleared_at, new.late) == (at(200), None, False)


def test_cleared_by_the_snapshot_is_corrected_by_the_backlog() -> None:
    script = lifts()
    script.send("lift1", "elevator.status", **TRAPPED)
    script.run(100)
    script.offline()
    script.run(400)
    script.online(through={"state": script.seq("state") + 3})
    script.snapshot("lift1", ("elevator.status", 300, FREE))
    (cleared,) = script.alerts("trapped")
    assert cleared.cleared_at == at(300)
    script.batch([("lift1", "elevator.status", 150, FREE)])
    script.batch([("lift1", "elevator.status", 200, TRAPPED)])
    script.batch([("lift1", "elevator.status", 300, FREE)])
    assert script.said("trapped") == [
        ("raised", "red"), ("cleared", "red"), ("corrected", "red"), ("history", "red"),
    ]  # fmt: skip
    first, second = script.alerts("trapped")
    assert first.cleared_at == at(150)
    assert (second.late, second.began_at, second.cleared_at) == (True, at(200), at(300))


def test_a_backlog_that_ends_true_and_a_snapshot_that_says_false_is_history() -> None:
    script = lifts()
    script.offline()
    script.run(400)
    script.online(through={"state": script.seq("state") + 2})
    script.snapshot("lift1", ("elevator.status", 399, FREE))
    script.batch([("lift1", "elevator.status", 200, TRAPPED)])
    script.batch([("lift1", "elevator.status", 390, TRAPPED)])
    (only,) = script.alerts("trapped")
    assert (only.late, only.began_at, only.cleared_at) == (True, at(200), at(399))


def test_the_event_lane_merges_before_the_slower_lanes_have_drained() -> None:
    script = Script(rules())
    script.online()
    script.offline()
    script.run(600)
    script.online(through={"event": 2, "state": 50})
    script.batch([("door1", "access.forced", 100, {})])
    outputs = script.batch([("door2", "access.duress", 590, {})])
    assert [(a.rule, a.began_at) for a in raised(outputs)] == [
        ("door-forced", at(100)), ("door-duress", at(590)),
    ]  # fmt: skip
    assert not script.edge().drained


def test_timers_stand_still_while_the_edge_is_away() -> None:
    script = Script(rules())
    script.online()
    script.send("cam1", "camera.tamper", active=True, cause="covered")
    script.run(5)
    script.offline()
    script.run(600)
    assert not script.alerts("camera-tamper")
    assert script.engine.explain("camera-tamper", "cam1")["why"] == "edge_away"
    script.online()  # an empty outbox: drained at once
    assert script.edge().drained
    script.run(604)
    assert not script.alerts("camera-tamper")
    script.run(606)
    (alert,) = script.standing("camera-tamper")
    assert alert.began_at == at(0)


def test_an_offline_edge_is_one_root_alert() -> None:
    script = Script(rules())
    script.online()
    for device in ("lift1", "door1", "meter1", "cam1"):
        script.snapshot(device)
    script.run(3)
    script.offline()
    script.run(700)
    assert [a.rule for a in script.standing()] == ["edge-offline"]
    assert script.said("edge-offline") == [("raised", "yellow"), ("worsened", "orange")]
    (root,) = script.standing()
    assert (root.key, root.node, root.device) == ("e1", "jinxiu", None)
    script.online()
    assert not script.standing("edge-offline")


def test_an_outage_shorter_than_its_for_is_nothing() -> None:
    script = Script(rules())
    script.online()
    script.offline()
    script.run(10)
    script.online()
    script.run(60)
    assert not script.alerts("edge-offline")


def test_a_momentary_event_before_the_outage_clears_in_its_own_time() -> None:
    script = Script(rule("on: access.forced\ncolour: orange\nclear: {after: 5m}"))
    script.online()
    script.send("door1", "access.forced")
    script.offline()
    script.run(600)
    script.online(through={"event": script.seq("event") + 2})
    script.batch([("door1", "access.forced", 200, {})])
    script.batch([("door2", "access.exit_button", 550, {})])
    (alert,) = script.alerts()
    assert alert.cleared_at == at(500)


def test_a_second_outage_while_draining_loses_and_doubles_nothing() -> None:
    script = lifts()
    script.offline()
    script.run(660)
    late = backlog_of_ten_minutes(script)
    last = script.seq("state") + len(late)
    script.online(through={"state": last})
    for events in late[:20]:
        script.batch(events)
    script.offline()
    script.run(700)
    script.online(through={"state": last})
    for events in late[20:]:
        script.batch(events)
    assert script.edge().drained
    alerts = {a.device: a for a in script.alerts("trapped")}
    assert len(script.alerts("trapped")) == 2
    assert (alerts["lift1"].began_at, alerts["lift1"].cleared_at) == (at(120), at(240))
    assert (alerts["lift2"].began_at, alerts["lift2"].cleared_at) == (at(300), None)


def test_repeated_batches_change_nothing() -> None:
    script = lifts()
    script.send("lift1", "elevator.status", **TRAPPED)
    seq = script.seq("state")
    before = len(script.outputs)
    script.batch([("lift1", "elevator.status", script.now, FREE)], seq=seq)
    assert script.outputs[before:] == []
    assert script.engine.counters["duplicate_batches"] == 1
    assert script.engine.apply(script.entries[-1]) == []


def test_a_hole_ends_a_lanes_backlog_and_is_declared() -> None:
    script = Script(rules())
    script.online(through={"state": 5})
    assert not script.edge().drained
    script.control("edge.hole", {"epoch": EPOCH, "lane": "state", "first_seq": 1, "last_seq": 5})
    assert script.edge().drained
    (loss,) = script.losses()
    assert (loss.lane, loss.first_seq, loss.last_seq, loss.events) == ("state", 1, 5, None)
