"""A store, or a part of it, is lost under a collector: what its log holds comes back, once."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import httpx
import pytest

from core.contracts.errors import StoreUnavailableError
from core.runtime.settings import CollectorSettings, SeriesSettings
from estate.audit import audit
from tests.servers import Server
from tests.wire.harness import Collector, SyntheticEdge, run, until

pytestmark = pytest.mark.mosquitto


@pytest.mark.parametrize("companion", [False, True])
def test_a_day_that_was_damaged_comes_back_at_the_next_start(
    mosquitto: Server, tmp_path: Path, companion: bool
) -> None:
    async def main() -> None:
        own = CollectorSettings(companion=companion)
        collector = Collector(tmp_path, mosquitto, collector=own)
        stored = await fill(collector, SyntheticEdge(tmp_path, mosquitto))
        await collector.stop()
        for path in (collector.settings.data / "series").glob("20*.sqlite"):
            path.write_bytes(b"\xa5" * 9000)
            with pytest.raises(StoreUnavailableError, match=rf"{path}.*move this one file away"):
                audit(collector.settings)
            path.rename(path.with_name(f"damaged-{path.name}"))
            with pytest.raises(StoreUnavailableError, match=rf"{path}.*start the collector"):
                audit(collector.settings)
        await collector.start()
        await collector.settle()
        assert collector.stored() >= stored
        await collector.stop()
        check(collector)

    run(main())


@pytest.mark.influxdb
def test_a_database_that_is_dropped_under_a_collector_is_filled_again(
    mosquitto: Server, tmp_path: Path, influxdb: Server, influxdb_database: str
) -> None:
    async def main() -> None:
        raw: dict[str, Any] = {"url": influxdb.url, "database": influxdb_database}
        series = SeriesSettings.model_validate({"kind": "influxdb", "influxdb": raw})
        collector = Collector(tmp_path, mosquitto, series=series)
        edge = SyntheticEdge(tmp_path, mosquitto)
        stored = await fill(collector, edge)
        await asyncio.to_thread(drop, influxdb, influxdb_database)
        await edge.start()
        await edge.emit_many(200, seed=2)
        await until(edge.drained, "the outbox is empty")
        await until(lambda: collector.stored() >= stored + 200, "all of it is stored")
        await collector.settle()
        await edge.stop()
        await collector.stop()
        check(collector)

    run(main())


async def fill(collector: Collector, edge: SyntheticEdge) -> int:
    """Have a collector store what an edge sends; return how much that is."""
    await collector.start()
    await edge.start()
    await edge.emit_many(1000)
    await until(edge.drained, "the outbox is empty")
    await edge.stop()
    await collector.settle()
    return collector.stored()


def drop(influxdb: Server, database: str) -> None:
    statement = {"q": f'DROP DATABASE "{database}"'}
    httpx.post(f"{influxdb.url}/query", data=statement).raise_for_status()


def check(collector: Collector) -> None:
    found = audit(collector.settings)
    assert found.exact, list(found.problems())
