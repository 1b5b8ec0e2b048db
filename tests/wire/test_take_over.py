"""A street grows: one collector on SQLite becomes two over PostgreSQL, under load."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import yaml
from sqlalchemy import func, select

from core.contracts import topics
from core.contracts.codec import encode, make_event
from core.contracts.log import PLAIN
from core.runtime import settings as settings_files
from core.runtime.link import Link, LinkOptions
from core.storage.records import Records
from core.storage.records.ledger_models import LedgerLine
from core.storage.records.models import AlertRow
from estate.audit import audit
from tests.servers import PostgresServer, Server
from tests.wire.harness import run
from tests.wire.test_shared import GIVEN, SITES, Member, Shared, eventually, together

pytestmark = [
    pytest.mark.mosquitto, pytest.mark.influxdb, pytest.mark.postgresql, pytest.mark.slow,
    pytest.mark.timeout(240),
]  # fmt: skip


class One(Member):
    """The one collector of all sites, with its records in its own folder."""

    def __init__(self, folder: Path, wanted: dict[str, Any]) -> None:
        super().__init__("one", folder, [], wanted)
        own = {k: v for k, v in wanted.items() if k != "records"} | {"data": str(folder / "one")}
        self.file.write_text(yaml.safe_dump(own))
        self.settings = settings_files.load(self.file)


def estate(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "estate", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def standing(records: Records) -> dict[str, tuple[str, bool]]:
    """Return each door's alert, and whether it stands."""
    with records.reading() as session:
        rows = session.scalars(select(AlertRow).where(AlertRow.rule == "door-forced"))
        return {str(row.device): (row.id, row.cleared_at is None) for row in rows}


def plain(records: Records) -> int:
    """Return how many events of devices without an edge are stored."""
    with records.reading() as session:
        lanes = LedgerLine.lane == PLAIN
        return int(session.scalar(select(func.sum(LedgerLine.stored)).where(lanes)) or 0)


async def closed(shared: Shared, device: str) -> None:
    edge = next(e for e in shared.edges if device.startswith(f"{e.site}-"))
    shared.emitted += 1
    await edge.outbox.emit("access.door", device, {"open": False})


async def speak(shared: Shared, link: Link, times: int = 3) -> None:
    """Let a device of each site that has no edge say something, the broker keeping it or not."""
    for site in SITES:
        for _ in range(times):
            now = time.time_ns() // 1_000_000
            event = make_event(
                "meter.reading", device=f"{site}-plain", at=now, seen=now,
                data={"medium": "electricity", "power_w": 5.0},
            )  # fmt: skip
            topic = topics.plain_event(site, f"{site}-plain")
            await asyncio.wrap_future(link.publish(topic, encode(event)))
            shared.emitted += 1
            await asyncio.sleep(0.002)


def test_one_collector_under_load_becomes_two(
    tmp_path: Path, postgresql: PostgresServer, influxdb: Server, influxdb_database: str
) -> None:
    url = postgresql.create_database()
    with together(tmp_path, url, influxdb, influxdb_database) as shared:
        wanted = yaml.safe_load(shared.members["north"].file.read_text())
        one = One(tmp_path, {k: v for k, v in wanted.items() if k not in ("collector", "data")})
        try:
            run(grow(shared, one), timeout=200)
        finally:
            one.kill()
        shared.check()
        assert shared.law().cut_off == 0
        for member in shared.members.values():
            member.stop()
        found = audit(settings_files.load(shared.members["south"].file))
        assert found.exact, list(found.lines())
        assert found.accounts is not None
        assert found.accounts.compared, "the store's days are those of before, too"
        assert not found.accounts.unsettled
    postgresql.drop_database(url)


async def grow(shared: Shared, one: One) -> None:
    postgres = shared.records
    link = Link(one.settings.broker, LinkOptions(client_id="plain"))
    link.start()
    one.start()
    own = one.settings.data / "records.sqlite"
    await eventually(own.exists, "the one collector has records")
    shared.records = Records(one.settings.records_url).open()
    for edge in shared.edges:
        await edge.start()
    loads = [asyncio.create_task(shared.load(edge)) for edge in shared.edges]
    forced = [await shared.force(site) for site in SITES]
    await shared.alarmed(forced, 30)
    await speak(shared, link)
    await asyncio.sleep(3)
    early = [str(one.file), "--settings", str(shared.members["north"].file)]
    refused = await asyncio.to_thread(estate, "collectors", "take-over", *early)
    assert (refused.returncode, "in use" in refused.stderr) == (2, True), refused.stderr

    # Taking over stores what it had not, and what the broker kept for it.
    await asyncio.to_thread(one.kill)
    stood = standing(shared.records)
    shared.records.close()
    shared.records = postgres
    await speak(shared, link)
    for command in (["records", "copy"], ["collectors", "take-over"]):
        done = await asyncio.to_thread(estate, *command, *early)
        assert done.returncode == 0, done.stderr
        print(done.stdout)
    assert standing(postgres) == stood
    await speak(shared, link)
    shared.members["north"].start()
    # Before the others come: a site that moves while some are not settled stores these twice.
    await eventually(lambda: plain(postgres) == 3 * 3 * len(SITES), "plain events are stored once")
    shared.members["south"].start()
    given = {site: name for name, sites in GIVEN.items() for site in sites}
    await eventually(lambda: shared.owners() == given, "each has its sites")
    await shared.alarmed([await shared.force(site) for site in SITES], 30)

    for device in forced:
        await closed(shared, device)
    over = {device: (stood[device][0], False) for device in forced}
    await eventually(
        lambda: {d: a for d, a in standing(postgres).items() if d in stood} == over,
        "what stood before clears by itself, and is the same alert",
    )
    again = await asyncio.to_thread(estate, "collectors", "take-over", *early)
    assert (again.returncode, "has taken it" in again.stderr) == (2, True), again.stderr
    one.start()
    assert one.process is not None
    assert await asyncio.to_thread(one.process.wait, 30) != 0
    assert "were left to several collectors" in one.output.read_text()
    link.stop()
    shared.busy = False
    await asyncio.gather(*loads)
    for edge in shared.edges:
        await eventually(edge.drained, f"{edge.edge} may forget everything")
        await edge.stop()
