"""Series stores: every event by device, kind and time; embedded or in InfluxDB."""

from __future__ import annotations

from core.contracts.ports import SeriesReader, SeriesWriter
from core.runtime.clock import Clock
from core.runtime.settings import Settings
from core.storage.series.backup import BackedUp, backup
from core.storage.series.embedded import EmbeddedWriter, expire
from core.storage.series.embedded_reader import EmbeddedReader
from core.storage.series.influx import InfluxReader, InfluxWriter
from core.storage.series.influx_init import initialise

__all__ = [
    "BackedUp",
    "EmbeddedReader",
    "EmbeddedWriter",
    "InfluxReader",
    "InfluxWriter",
    "backup",
    "expire",
    "initialise",
    "open_reader",
    "open_writer",
]


def open_writer(
    settings: Settings, *, log: str = "log", clock: Clock | None = None
) -> SeriesWriter:
    """Open the series store that the settings name, for writing.

    ``log`` identifies the log whose positions are stored (the journal's identity): a new journal
    starts at position 1 again, and must not be taken for the old one. Raises
    :class:`core.contracts.errors.StoreUnavailableError` when trying again may help,
    :class:`core.contracts.errors.SettingsError` and
    :class:`core.storage.sqlite.DatabaseFileError` when not.
    """
    days = settings.series.retention_days
    if settings.series.kind == "influxdb":
        influx = InfluxWriter(settings.series.influxdb, log=log, retention_days=days, clock=clock)
        influx.open()
        return influx
    embedded = EmbeddedWriter(settings.data / "series", log=log, retention_days=days, clock=clock)
    embedded.open()
    return embedded


def open_reader(settings: Settings) -> SeriesReader:
    """Open the series store that the settings name, for reading, from any thread."""
    if settings.series.kind == "influxdb":
        reader = InfluxReader(settings.series.influxdb)
        reader.open()
        return reader
    return EmbeddedReader(settings.data / "series")
