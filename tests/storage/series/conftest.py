"""Each series store behind one face, so that one suite tries them all."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from core.contracts.ports import SeriesReader, SeriesWriter
from core.runtime.settings import Settings
from core.storage.series import open_reader, open_writer
from tests.storage.series.support import StandingClock


@dataclass
class Store:
    """One store and its settings; writers and readers are closed at the end of the test."""

    name: str
    settings: Settings
    clock: StandingClock = field(default_factory=StandingClock)
    opened: list[Any] = field(default_factory=list)

    def writer(self, log: str = "log") -> SeriesWriter:
        writer = open_writer(self.settings, log=log, clock=self.clock)
        self.opened.append(writer)
        return writer

    def reader(self) -> SeriesReader:
        reader = open_reader(self.settings)
        self.opened.append(reader)
        return reader


@pytest.fixture(
    params=["embedded", pytest.param("influxdb", marks=pytest.mark.influxdb)],
)
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    series: dict[str, Any] = {"retention_days": 30}
    if request.param == "influxdb":
        server = request.getfixturevalue("influxdb")
        database = request.getfixturevalue("influxdb_database")
        series |= {"kind": "influxdb", "influxdb": {"url": server.url, "database": database}}
    store = Store(request.param, Settings.model_validate({"data": tmp_path, "series": series}))
    yield store
    for opened in store.opened:
        opened.close()
