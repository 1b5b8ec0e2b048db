"""Taking a backup while everything runs.

The order is what makes the parts agree without stopping anything (ADR 0022):

1. the edges' outboxes: whatever leaves them from now on is in the journal's copy;
2. the series store, its manifest before its days (files may be ahead of it, never behind);
3. the records, after the series, so that what the series store refused is among the dead letters;
4. the snapshots, which the records' cursor says are there;
5. the collector's journal, last: no cursor taken before can be ahead of it.
"""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Literal

from core.contracts.errors import SettingsError
from core.runtime.settings import InfluxSettings, Settings
from core.storage import sqlite
from core.storage.backup import agreement, configuration
from core.storage.backup.copier import Copier
from core.storage.backup.manifest import BackupError, BackupManifest, write_manifest
from core.storage.files import sync_folder
from core.storage.records import Records, dump
from core.storage.series import BackedUp, backup
from core.storage.series.manifest import NAME as SERIES_MANIFEST

#: Parts of the data folder that have their own place in the order.
_ORDERED = frozenset({"edges", "series", "media", "records.sqlite", "collector.sqlite"})
#: What each start writes anew.
_MADE_ANEW = frozenset({"simulation", "logs", "broker.toml"})
DUMP = "records.jsonl.gz"


@dataclass(frozen=True, slots=True)
class Wishes:
    """What a backup shall hold beside what it must."""

    keys: bool = True
    """Keys and passwords, too."""
    reservoir: bool = False
    """The exported Parquet files, too: they are large, and any tool can copy them."""


def take(
    settings: Settings, settings_file: Path | None, target: Path, now_ms: int, wishes: Wishes
) -> BackupManifest:
    """Back up an installation into a new folder; return what is in it.

    Nothing is called a backup before it is whole: until then its name ends in ``.partial``.

    Raises:
        BackupError: the target is taken, or the parts do not fit together.
        StoreUnavailableError: a store does not answer.
    """
    if not settings.data.is_dir():
        raise BackupError(f"data: {settings.data} is not there; name the settings file")
    if target.exists():
        raise BackupError(f"{target}: is there already; name a new folder")
    if target.resolve().is_relative_to(settings.data.resolve()):
        raise BackupError(f"{target}: lies in the data folder; a backup belongs elsewhere")
    draft = target.with_name(f"{target.name}.partial")
    try:
        shutil.rmtree(draft, ignore_errors=True)
        draft.mkdir(parents=True, mode=0o700)
        manifest = _Taking(settings, settings_file, draft, wishes).run(now_ms)
        write_manifest(draft, manifest)
        os.rename(draft, target)  # noqa: PTH104 - a folder's name, at once
        sync_folder(target.parent)
    except OSError as error:
        raise BackupError(f"{target}: {error}") from error
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    return manifest


class _Taking:
    """One backup under way."""

    def __init__(
        self, settings: Settings, settings_file: Path | None, folder: Path, wishes: Wishes
    ) -> None:
        self._settings = settings
        self._file = settings_file
        self._folder = folder
        self._data = settings.data.resolve()
        self._copier = Copier(folder, with_keys=wishes.keys)
        self._wishes = wishes
        self._has_journal = (self._data / "collector.sqlite").is_file()
        self._cursors: dict[str, int] = {}
        self._series = BackedUp((), {}, {})
        self._schema: str | None = None

    def run(self, now_ms: int) -> BackupManifest:
        self._edges()
        self._others()
        configuration.save(self._copier, self._settings, self._file)
        by_hand = self._save_series()
        records = self._records()
        self._copier.tree(self._data / "media", "data/media", "media")
        log = self._journal()
        return BackupManifest(
            program=version("smart-estate"),
            made_at=now_ms,
            log=log.log if log is not None else None,
            position=log.position if log is not None else None,
            records=records,
            schema=self._schema,
            series=self._settings.series.kind,
            settings=self._file.name if self._file is not None else None,
            files=self._copier.files,
            left_out=self._copier.left_out,
            by_hand=by_hand,
        )

    def _edges(self) -> None:
        """Add what the edges of this machine keep.

        An outbox can only be restored beside the journal that it sends to: by itself it would
        send a second time, in a new epoch, what was receipted since.
        """
        root = self._data / "edges"
        self._copier.tree(root, "data/edges", "edges")
        if self._has_journal:
            return
        for file in [f for f in self._copier.files if f.path.endswith("/outbox.sqlite")]:
            (self._folder / file.path).unlink()
            self._copier.files.remove(file)
            self._copier.leave_out(
                file.path, "an outbox without its collector's journal would send things twice"
            )

    def _others(self) -> None:
        """Add whatever else lies in the data folder."""
        reservoir = self._settings.reservoir_folder.resolve()
        if reservoir.is_dir() and not reservoir.is_relative_to(self._data):
            self._copier.leave_out(str(reservoir), "outside the data folder: copy it with any tool")
        for path in sorted(self._data.iterdir()):
            if path.name in _ORDERED or path.name.startswith(
                ("records.sqlite", "collector.sqlite")
            ):
                continue
            if path.name in _MADE_ANEW:
                self._copier.leave_out(path.name, "written anew on each start")
            elif path == reservoir and not self._wishes.reservoir:
                self._copier.leave_out(
                    str(path), "exported files: copy them with any tool, or say --with-reservoir"
                )
            elif path.is_dir():
                self._copier.tree(path, f"data/{path.name}", "other")
            elif path.is_file() and not path.name.endswith((".lock", ".tmp", "-wal", "-shm")):
                self._copier.file(path, f"data/{path.name}", "other")

    def _save_series(self) -> list[str]:
        if self._settings.series.kind == "influxdb":
            self._copier.leave_out("series", "InfluxDB has tools of its own: see by_hand")
            return influx_commands(self._settings.series.influxdb)
        root = self._data / "series"
        if (root / SERIES_MANIFEST).is_file():
            self._series = backup(root, self._copy_series)
        return []

    def _copy_series(self, name: str) -> Path:
        self._copier.file(self._data / "series" / name, f"data/series/{name}", "series")
        return self._folder / "data/series" / name

    def _records(self) -> Literal["sqlite", "postgresql", "none"]:
        url = self._settings.records_url
        file = self._data / "records.sqlite"
        if self._settings.records.url is None and not file.is_file():
            return "none"
        records = Records(url)
        if records.dialect == "postgresql":
            records.open()
            try:
                self._schema, self._cursors = dump.dump(records, self._folder / DUMP)
            finally:
                records.close()
            self._copier.adopt(DUMP, "records")
            return "postgresql"
        if self._settings.records.url is not None:
            raise SettingsError(
                "records.url: a SQLite file at a place of its own is not backed up; leave "
                "records.url out, so that it lies in the data folder"
            )
        self._copier.file(file, "data/records.sqlite", "records")
        db = sqlite.connect(self._folder / "data" / "records.sqlite", readonly=True)
        try:
            self._cursors = dict(db.execute("SELECT projector, position FROM cursor").fetchall())
            (self._schema,) = db.execute("SELECT version_num FROM alembic_version").fetchone()
        finally:
            db.close()
        return "sqlite"

    def _journal(self) -> agreement.LogState | None:
        if not self._has_journal:
            return None
        self._copier.file(self._data / "collector.sqlite", agreement.JOURNAL, "journal")
        state = agreement.log_state(self._folder / agreement.JOURNAL)
        cursors = agreement.projection_cursors(self._cursors, state.log)
        if self._settings.series.kind == "embedded":
            cursors["series"] = self._series.durable.get(state.log, 0)
            cursors["series' days"] = self._series.reached.get(state.log, cursors["series"])
        agreement.check(state, cursors)
        return state


def influx_commands(influx: InfluxSettings) -> list[str]:
    """Return how InfluxDB's own tools back its data up; run them before ``estate backup``."""
    if influx.version == 1:
        return [
            f"influxd backup -portable -db {influx.database} -host SERVER:8088 FOLDER",
            f"influxd restore -portable -db {influx.database} -host SERVER:8088 FOLDER",
        ]
    if influx.version == 2:
        where = f"--host {influx.url} --org {influx.org or 'ORG'} --token TOKEN"
        return [
            f"influx backup {where} --bucket {influx.database} FOLDER",
            f"influx restore {where} --bucket {influx.database} FOLDER",
        ]
    return [
        "InfluxDB 3: copy the object store that --object-store names, with the server stopped",
        "InfluxDB 3: put the object store's copy back, then start the server",
    ]
