"""What a collector takes over from another: its rules go on in a log that begins anew."""

from __future__ import annotations

import pytest

from rules.builtin import builtin
from rules.engine import Engine
from rules.handover import inherit
from rules.snapshot import SnapshotError
from tests.rules.script import EPOCH, Script, raised, rule


def taken_over(script: Script) -> Script:
    """Return a script whose log begins anew, with the state that the other led to."""
    after = Script(dict(builtin()))
    after.engine = Engine.load(inherit(script.engine.dump()).snapshot)
    after.entries, after.outputs = [], []
    after.now = script.now + 5
    after._seqs = dict(script._seqs)
    after.activate(dict(builtin()))
    return after


def test_an_alert_goes_on_and_is_the_same() -> None:
    script = Script(dict(builtin()))
    script.online()
    script.send("fire1", "fire.alarm", active=True)
    (alert,) = script.standing("fire-alarm")
    script.run(3)

    after = taken_over(script)
    assert inherit(script.engine.dump()).online == {"e1": EPOCH}
    after.offline()
    after.online()
    seq = script.seq("event")
    again = after.batch([("fire1", "fire.alarm", 0, {"active": True})], seq=seq)
    assert not raised(again), "it was folded by the other"
    after.send("fire1", "fire.alarm", active=False)
    (cleared,) = after.alerts("fire-alarm")
    assert cleared.id == alert.id
    assert cleared.cleared_at is not None
    assert cleared.revision > alert.revision


def test_what_the_other_had_not_folded_is_told_now() -> None:
    script = Script(dict(builtin()))
    script.online()
    script.send("door1", "device.health", online=True)
    after = taken_over(script)
    after.offline()
    after.online(through={"event": 1})
    after.send("fire1", "fire.alarm", active=True)
    assert after.standing("fire-alarm")


def test_a_position_of_another_log_names_another_alert() -> None:
    """Positions begin anew with each log; who falls silent today is not who did last year."""

    def opened(later: float) -> str:
        script = Script(rule("on: sensor.reading\nwhen: value > 3\ncolour: yellow"))
        script.now = later
        script.plain("plain1", "sensor.reading", quantity="t", value=4.0, unit="Cel")
        (alert,) = script.standing()
        return alert.id

    assert opened(0) != opened(60)
    assert opened(60) == opened(60)


def test_bytes_that_are_no_state_are_refused() -> None:
    with pytest.raises(SnapshotError):
        inherit(b"nothing")
