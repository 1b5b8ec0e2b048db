"""A town under random kills for as long as one likes; ``make soak``.

``SOAK_MINUTES`` (default 10) sets the length, ``SOAK_SEED`` the kills.
"""

from __future__ import annotations

import os
import random
import time
from pathlib import Path

import pytest

from bench.parts import own_mib
from tests.e2e.town import town, until

pytestmark = pytest.mark.soak

EDGES = ("jinxiu-gate", "jinxiu-north", "jinxiu-south", "yunqi-tower")
#: Beyond what a collector of this size needs at all (MiB).
MOST_MEMORY = 600


def test_random_kills_lose_and_double_nothing_and_memory_stays(tmp_path: Path) -> None:
    minutes = float(os.environ.get("SOAK_MINUTES", "10"))
    seed = int(os.environ.get("SOAK_SEED", "1"))
    chance = random.Random(seed)
    print(f"again with: SOAK_SEED={seed} SOAK_MINUTES={minutes} make soak")
    parts = ["broker", "collector", "api", "worker", *(f"edge {edge}" for edge in EDGES)]
    with town(tmp_path, "--speed", "10") as started:
        until(started.online, "every edge is online", 90)
        end = time.monotonic() + minutes * 60
        kills = 0
        while time.monotonic() < end:
            started.await_time(started.now() + chance.randrange(20_000, 120_000))
            started.kill(chance.choice(parts))
            kills += 1
            assert own_mib(started.processes()["collector"]["pid"]) < MOST_MEMORY
        until(started.online, "every edge is back", 120)
        alerts = started.alerts()
        once = {(a["rule"], a["key"], a["began_at"]) for a in alerts}
        assert len(once) == len(alerts), "no alert twice"
        started.stop()
        assert started.audit() > 1_000
    print(f"{kills} kills")
