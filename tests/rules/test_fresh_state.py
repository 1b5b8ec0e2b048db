"""What an edge no longer lists has ended: faults that went while it was restarted."""

from __future__ import annotations

from tests.rules.script import Script

RULES = """
version: 1
rules:
  - id: fault
    title: {zh: 故障, en: Fault}
    advice: {zh: 检查, en: Look}
    on: elevator.fault
    type: match
    when: active
    key: [device, fault]
    colour: orange
"""

DOOR = {"fault": "door_open", "active": True, "raw_code": "03"}
LIMIT = {"fault": "run_time_limiter", "active": True, "raw_code": "06"}


def test_a_fault_that_is_not_listed_any_more_is_cleared() -> None:
    script = Script({"own.yaml": RULES})
    script.online()
    lift = "lift1"
    script.send(lift, "elevator.fault", **DOOR)
    script.send(lift, "elevator.fault", **LIMIT)
    assert len(script.standing("fault")) == 2
    script.offline()
    script.run(60)
    script.online()
    script.snapshot(lift, ("elevator.fault", script.now - 60, DOOR))
    (left,) = script.standing("fault")
    assert left.key.endswith("door_open")
    script.snapshot(lift)
    assert not script.standing("fault")


def test_an_edge_that_nobody_has_entered_still_declares_its_losses() -> None:
    script = Script({"own.yaml": RULES})
    script.online("stranger", epoch="11111111-2222")
    data = {"lane": "reading", "first_seq": 1, "last_seq": 3, "events": 30, "reason": "budget"}
    outputs = script.send("stranger", "edge.dropped", edge="stranger", **data)
    (loss,) = [output for output in outputs if type(output).__name__ == "LossOutput"]
    assert (loss.events, loss.lane) == (30, "reading")
