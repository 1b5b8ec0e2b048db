"""Exporting a range: one file for each kind, with all sites in it, and a manifest."""

from __future__ import annotations

import shutil
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from core.contracts.errors import SettingsError, StoreUnavailableError
from core.contracts.ports import SeriesReader
from core.storage.files import sync_folder
from core.storage.reservoir.manifest import DayManifest, FileEntry, write_manifest
from core.storage.reservoir.tables import Format, Table


@dataclass(frozen=True, slots=True)
class Wanted:
    """What to export: ``[start, end)`` in ms, and of it some kinds, sites and devices (all)."""

    start: int
    end: int
    kinds: tuple[str, ...] = ()
    sites: tuple[str, ...] = ()
    devices: tuple[str, ...] = ()
    format: Format = "parquet"
    excel: bool = field(default=False, kw_only=True)
    """CSV begins with the byte order mark that Excel needs to see UTF-8."""


def export_range(reader: SeriesReader, wanted: Wanted, out: Path, now_ms: int) -> DayManifest:
    """Write ``{out}/{kind}.parquet`` (or ``.csv``) and ``{out}/manifest.json``.

    A kind without events gives no file, and where no kind has any, nothing at all is written.
    Raises :class:`SettingsError` where ``out`` holds something already,
    :class:`StoreUnavailableError` when the same call may succeed later.
    """
    if wanted.end <= wanted.start:
        raise SettingsError("--to: must be later than --from")
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise SettingsError(f"--out: {out} holds something already; name a new folder")
    draft = out.with_name(f".{out.name}.draft")
    try:
        shutil.rmtree(draft, ignore_errors=True)
        draft.mkdir(parents=True)
        kinds = wanted.kinds or tuple(sorted(reader.counts(wanted.start, wanted.end)))
        made = [_export_kind(reader, wanted, kind, draft, now_ms) for kind in kinds]
        files = [file for file in made if file is not None]
        if not files:
            return DayManifest(files=[])
        manifest = write_manifest(draft, files)
        if out.is_dir():
            out.rmdir()
        draft.rename(out)
        sync_folder(out.parent)
    except OSError as error:
        raise StoreUnavailableError(f"{out}: {error.strerror}") from error
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    return manifest


def _export_kind(
    reader: SeriesReader, wanted: Wanted, kind: str, draft: Path, now_ms: int
) -> FileEntry | None:
    positions = reader.positions()
    name = f"{kind}.{wanted.format}"
    table: Table | None = None
    try:
        for site in wanted.sites or (None,):
            for device in wanted.devices or (None,):
                scanned = reader.scan(kind, wanted.start, wanted.end, site=site, device=device)
                for point in scanned:
                    if table is None:
                        table = Table(draft / name, kind, wanted.format, excel=wanted.excel)
                    table.add(point)
    except BaseException:
        if table is not None:
            table.abandon()
        raise
    if table is None:
        return None
    entry = table.finish(name, wanted.sites[0] if len(wanted.sites) == 1 else None, None)
    return msgspec.structs.replace(entry, positions=positions, exported_at=now_ms)
