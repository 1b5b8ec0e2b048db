"""A smoke test of speed: generous, for a busy machine; ``make bench`` has the figures."""

from __future__ import annotations

import time

from core.contracts.batch import Batch
from core.contracts.codec import make_event
from core.contracts.events import Lane
from core.contracts.log import BatchEntry, TickEntry
from rules.builtin import builtin
from tests.rules.script import EPOCH, SITE, Script, at, topology

METERS = 2_000
DATA = {
    "medium": "electricity", "energy_kwh": 1.0, "voltage_l1_v": 220.0, "current_l1_a": 5.0,
    "power_w": 1100.0, "power_factor": 0.98, "relay_closed": True,
}  # fmt: skip


def test_readings_that_fire_nothing_cost_little() -> None:
    raw = topology()
    raw["devices"] = [
        {"id": f"m{i}", "family": "meter", "name": {"zh": "表", "en": "m"}, "node": "b1",
         "edge": "e1", "expect_s": 60, "limits": {"power_w": 8000}}
        for i in range(METERS)
    ]  # fmt: skip
    script = Script(builtin(), raw)
    script.online()

    def folded(turn: int) -> float:
        entries = []
        for first in range(0, METERS, 100):
            events = [
                (
                    i,
                    make_event(
                        "meter.reading",
                        device=f"m{first + i}",
                        at=at(turn),
                        seen=at(turn),
                        data=DATA,
                    ),
                )
                for i in range(100)
            ]
            seq = turn * METERS // 100 + first // 100 + 1
            batch = Batch("e1", EPOCH, Lane.READING, seq, 1, at(turn), events, [])
            entries.append(BatchEntry(1_000 + seq, at(turn), SITE, batch))
        start = time.process_time()
        for entry in entries:
            script.outputs += script.engine.apply(entry)
        return METERS / (time.process_time() - start)

    best = max(folded(turn) for turn in range(5))
    assert not script.alerts()
    assert best > 30_000, f"{best:,.0f} readings/s"


def test_a_quiet_tick_does_not_look_at_every_device() -> None:
    raw = topology()
    raw["devices"] = [
        {"id": f"m{i}", "family": "meter", "name": {"zh": "表", "en": "m"}, "node": "b1",
         "edge": "e1", "expect_s": 3600}
        for i in range(METERS)
    ]  # fmt: skip
    script = Script(builtin(), raw)
    script.online()
    engine = script.engine
    engine.apply(TickEntry(1_000, at(1)))
    start = time.process_time()
    for second in range(2, 202):
        engine.apply(TickEntry(1_000 + second, at(second)))
    assert (time.process_time() - start) / 200 < 0.001
