"""A whole street, 20,000 events a second for half an hour, while its processes are killed.

``SOAK_MINUTES`` (default 30), ``SOAK_RATE`` (events/s that are offered, 20,000), ``SOAK_KILL_S``
(10; 0 for no kills) and ``SOAK_SEED`` (1, of traffic and kills) make another run of it. A machine
that does other work too may not take what is offered: ``SOAK_LEAST`` is the rate that it must
(default 0.9 of what is offered), and what was achieved is printed.
"""

from __future__ import annotations

import os
import random
import signal
import time
from collections import Counter
from pathlib import Path

import pytest

from bench.parts import children
from core.runtime.settings import Settings
from estate.street import StreetNode, StreetRun
from simulators.scale.street import Played
from tests.soak.memory import MemoryLog

pytestmark = pytest.mark.soak

#: Events/s of a whole street at the run's own pace.
_NATURAL_RATE = 3_754
VICTIMS = ("broker", "collector", "companion", "edge")
#: What the trend of a process's memory may rise by, after a third of the time to warm up.
_RISE = 0.10


class Killer:
    """Kills something every so often, and looks at everybody's memory about once a second."""

    def __init__(self, every_s: float, seed: int, minutes: float) -> None:
        self._every_s = every_s
        self._chance = random.Random(seed)
        self._next = time.monotonic() + every_s
        self._end = time.monotonic() + minutes * 60
        self.kills: Counter[str] = Counter()
        self.memory = MemoryLog()

    def __call__(self, played: Played, node: StreetNode) -> None:
        self.played = played
        pids = _pids(node)
        for name, pid in pids.items():
            self.memory.sample(name, pid)
        now = time.monotonic()
        if now > self._end:
            node.stop()
            return
        if not self._every_s or now < self._next:
            return
        self._next += self._every_s
        victim = self._chance.choice([name for name in VICTIMS if name in pids or name == "edge"])
        if victim == "edge":
            node.restart_edge(self._chance.randrange(1_000))
        else:
            os.kill(pids[victim], signal.SIGKILL)
        self.kills[victim] += 1


def _pids(node: StreetNode) -> dict[str, int]:
    found = {name: pid for name in ("broker", "collector") if (pid := node.pid(name)) is not None}
    if "collector" in found and (own := children(found["collector"])):
        found["companion"] = own[0]
    return found


def test_a_street_under_kills_is_stored_exactly_in_constant_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    minutes = float(os.environ.get("SOAK_MINUTES", "30"))
    rate = float(os.environ.get("SOAK_RATE", "20000"))
    every_s = float(os.environ.get("SOAK_KILL_S", "10"))
    seed = int(os.environ.get("SOAK_SEED", "1"))
    # The audit at the end reads the whole log.
    monkeypatch.setenv("ESTATE_COLLECTOR__JOURNAL_BYTES", str(64 << 30))
    least = float(os.environ.get("SOAK_LEAST", str(0.9 * rate)))
    speed = rate / _NATURAL_RATE
    run = StreetRun(share=1.0, seconds=round(minutes * 60 * speed), speed=speed, seed=seed)
    node = StreetNode(Settings(data=tmp_path), run, tmp_path / "street", print)
    killer = Killer(every_s, seed, minutes)
    node.watch = killer
    audit = node.play()
    memory = killer.memory
    print("\n".join(audit.lines()))
    achieved = audit.sent.total() / killer.played.real_s
    print(f"kills: {dict(killer.kills)}; {rate:,.0f}/s offered, {achieved:,.0f}/s receipted")
    print("\n".join(memory.line(name) for name in memory.names))
    assert audit.exact
    assert achieved >= least
    if every_s:
        assert killer.kills.total() >= minutes * 60 / every_s - 2
    for name in memory.names:
        assert memory.growth_mib(name) < _RISE * memory.mean_mib(name), memory.line(name)
