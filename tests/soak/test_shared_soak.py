"""Two collectors that are killed again and again, each in turn or both; ``make soak``.

``SHARED_MINUTES`` (default 5) sets the length, ``SOAK_SEED`` the kills.
"""

from __future__ import annotations

import asyncio
import os
import random
import time
from pathlib import Path

import pytest

from tests.servers import PostgresServer, Server
from tests.wire.harness import run
from tests.wire.test_shared import SITES, Shared, eventually, together

pytestmark = [pytest.mark.soak, pytest.mark.mosquitto, pytest.mark.influxdb, pytest.mark.postgresql]


def test_collectors_that_die_again_and_again_lose_and_double_nothing(
    tmp_path: Path, postgresql: PostgresServer, influxdb: Server, influxdb_database: str
) -> None:
    minutes = float(os.environ.get("SHARED_MINUTES", "5"))
    seed = int(os.environ.get("SOAK_SEED", "1"))
    chance = random.Random(seed)
    print(f"again with: SOAK_SEED={seed} SHARED_MINUTES={minutes} make soak")
    kills = 0

    async def main(shared: Shared) -> None:
        nonlocal kills
        for member in shared.members.values():
            member.start()
        for edge in shared.edges:
            await edge.start()
        loads = [asyncio.create_task(shared.load(edge)) for edge in shared.edges]
        end = time.monotonic() + minutes * 60
        while time.monotonic() < end:
            await asyncio.sleep(chance.uniform(1, 15))
            for member in chance.choice(
                [*([m] for m in shared.members.values()), list(shared.members.values())]
            ):
                member.kill()
                kills += 1
            await asyncio.sleep(chance.uniform(0, 8))
            for member in shared.members.values():
                if member.process is not None and member.process.poll() is not None:
                    member.start()
            if chance.random() < 0.3 and all(n < 11 for n in shared.forced.values()):
                await shared.alarmed([await shared.force(site) for site in SITES], 60)
        shared.busy = False
        await asyncio.gather(*loads)
        for edge in shared.edges:
            await eventually(edge.drained, f"{edge.edge} may forget everything", 120)
            await edge.stop()

    url = postgresql.create_database()
    with together(tmp_path, url, influxdb, influxdb_database) as shared:
        run(main(shared), timeout=minutes * 60 + 400)
        shared.check()
    print(f"{kills} kills, {shared.emitted:,} events")
