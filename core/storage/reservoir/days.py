"""Exporting a day: a file for each kind and site, each replaced whole, the manifest last.

Stores only ever gain events (a replay changes nothing), so a day of which the store now counts
more than its manifest has had late data, and what counts no more is complete. A day of which the
store counts less has begun to expire there, and its files stay as they are.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path

import msgspec

from core.contracts.errors import StoreUnavailableError
from core.contracts.ports import SeriesReader
from core.storage.files import sync_folder
from core.storage.reservoir.manifest import (
    NAME,
    DayManifest,
    FileEntry,
    read_manifest,
    write_manifest,
)
from core.storage.reservoir.tables import Table

DAY_MS = 86_400_000
#: Rows in memory over all files of a kind.
MOST_ROWS = 200_000
_LOOK_EVERY = 1_000


def stale_kinds(reader: SeriesReader, folder: Path, day: date) -> list[str]:
    """Return the kinds of which a day's export has less than the store."""
    manifest = read_manifest(folder / day.isoformat())
    exported = manifest.rows() if manifest is not None else {}
    stored = reader.counts(*_span(day))
    return sorted(kind for kind, count in stored.items() if count > exported.get(kind, 0))


def missing_days(reader: SeriesReader, folder: Path, first: date, end: date) -> Iterator[date]:
    """Yield the days in ``[first, end)`` that the store has and no export has yet, oldest first.

    The store is asked for whole runs of such days, and only where there is something for parts.
    """
    done = {day for day in exported_days(folder) if (folder / day.isoformat() / NAME).exists()}
    for day in sorted(day for day in done if first <= day < end):
        yield from _filled(reader, first, day)
        first = day + timedelta(days=1)
    yield from _filled(reader, first, end)


def _filled(reader: SeriesReader, first: date, end: date) -> Iterator[date]:
    """Yield the days in ``[first, end)`` of which the store has something."""
    length = (end - first).days
    if length <= 0 or not reader.count(_span(first)[0], _span(end)[0]):
        return
    if length == 1:
        yield first
        return
    middle = first + timedelta(days=length // 2)
    yield from _filled(reader, first, middle)
    yield from _filled(reader, middle, end)


def export_day(
    reader: SeriesReader, folder: Path, day: date, now_ms: int, kinds: Iterable[str] | None = None
) -> DayManifest:
    """Export some kinds of a day, by default those that have changed; return its manifest.

    Raises :class:`StoreUnavailableError` when the same call may succeed later; whatever was
    there then still is, but for whole files that are newer than the manifest says.
    """
    chosen = stale_kinds(reader, folder, day) if kinds is None else sorted(set(kinds))
    target = folder / day.isoformat()
    old = read_manifest(target)
    kept = [file for file in old.files if file.kind not in chosen] if old is not None else []
    draft = folder / f".{day.isoformat()}.draft"
    try:
        shutil.rmtree(draft, ignore_errors=True)
        draft.mkdir(parents=True)
        fresh = [file for kind in chosen for file in _export_kind(reader, draft, day, kind, now_ms)]
        _put_in_place(draft, target, fresh)
        manifest = write_manifest(target, kept + fresh)
        if old is not None:
            _remove({file.path for file in old.files} - {f.path for f in manifest.files}, target)
        sync_folder(folder)
    except OSError as error:
        raise StoreUnavailableError(f"{target}: {error.strerror}") from error
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    return manifest


def expire(folder: Path, before: date) -> list[date]:
    """Remove the days before a date, and what an export left that was cut off; return the days."""
    removed = []
    try:
        for draft in folder.glob(".*.draft"):
            shutil.rmtree(draft)
        for day in exported_days(folder):
            if day < before:
                # Without its manifest a day is none, so that a crash leaves no half one.
                (folder / day.isoformat() / NAME).unlink(missing_ok=True)
                shutil.rmtree(folder / day.isoformat())
                removed.append(day)
    except OSError as error:
        raise StoreUnavailableError(f"{folder}: {error.strerror}") from error
    return removed


def exported_days(folder: Path) -> list[date]:
    """Return the days that have a folder, oldest first."""
    found = []
    for entry in folder.iterdir() if folder.is_dir() else ():
        try:
            found.append(date.fromisoformat(entry.name))
        except ValueError:
            continue  # something else that lies there
    return sorted(found)


def _export_kind(
    reader: SeriesReader, draft: Path, day: date, kind: str, now_ms: int
) -> list[FileEntry]:
    start, end = _span(day)
    positions = reader.positions()
    expected = reader.counts(start, end).get(kind, 0)
    tables: dict[str, Table] = {}
    with ExitStack() as unfinished:
        for number, point in enumerate(reader.scan(kind, start, end)):
            table = tables.get(point.site)
            if table is None:
                table = Table(draft / _name(kind, point.site), kind, "parquet")
                tables[point.site] = table
                unfinished.callback(table.abandon)
            table.add(point)
            if number % _LOOK_EVERY == 0:
                _bound(tables.values())
        unfinished.pop_all()
    entries = []
    for site, table in tables.items():
        entry = table.finish(_name(kind, site), site, day.isoformat())
        entries.append(msgspec.structs.replace(entry, positions=positions, exported_at=now_ms))
    rows = sum(entry.rows for entry in entries)
    if rows < expected:
        raise StoreUnavailableError(
            f"{day} {kind}: {rows} of {expected} events were read; is the day being expired?"
        )
    return entries


def _bound(tables: Iterable[Table]) -> None:
    """Write the fullest table while too much is held."""
    held = list(tables)
    while sum(table.waiting for table in held) >= MOST_ROWS:
        max(held, key=lambda table: table.waiting).flush()


def _name(kind: str, site: str) -> str:
    return f"{kind}/{site}.parquet"


def _put_in_place(draft: Path, target: Path, files: list[FileEntry]) -> None:
    for file in files:
        path = target / file.path
        path.parent.mkdir(parents=True, exist_ok=True)
        (draft / file.path).replace(path)
    for folder in {(target / file.path).parent for file in files}:
        sync_folder(folder)
    target.mkdir(parents=True, exist_ok=True)


def _remove(names: set[str], target: Path) -> None:
    for name in names:
        (target / name).unlink(missing_ok=True)


def _span(day: date) -> tuple[int, int]:
    start = int(datetime.combine(day, time(), UTC).timestamp()) * 1000
    return start, start + DAY_MS
