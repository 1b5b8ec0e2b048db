"""Verifying a backup: every file is there as it was written, and the databases are whole."""

from __future__ import annotations

from pathlib import Path

from core.storage import sqlite
from core.storage.backup import agreement
from core.storage.backup.copier import sha256_of
from core.storage.backup.manifest import NAME, BackupError, BackupManifest, read_manifest

_SHOWN = 20


def verify(folder: Path) -> BackupManifest:
    """Check a backup and return its manifest; raise :class:`BackupError` with what is wrong."""
    manifest = read_manifest(folder)
    wrong: list[str] = []
    for file in manifest.files:
        path = folder / file.path
        if not path.resolve().is_relative_to(folder.resolve()):
            wrong.append(f"{file.path}: leads out of the backup")
        elif not path.is_file():
            wrong.append(f"{file.path}: missing")
        elif path.stat().st_size != file.bytes or sha256_of(path) != file.sha256:
            wrong.append(f"{file.path}: changed since it was written")
        elif sqlite.is_database(path) and (finding := _damage(path)) is not None:
            wrong.append(f"{file.path}: {finding}")
    listed = {file.path for file in manifest.files} | {NAME}
    there = {p.relative_to(folder).as_posix() for p in folder.rglob("*") if not p.is_dir()}
    wrong += [f"{name}: not in the manifest" for name in sorted(there - listed)]
    if not wrong and manifest.log is not None:
        state = agreement.log_state(folder / agreement.JOURNAL)
        if (state.log, state.position) != (manifest.log, manifest.position):
            wrong.append(f"{agreement.JOURNAL}: is another journal than the manifest says")
    if wrong:
        more = f"\n… and {len(wrong) - _SHOWN} more" if len(wrong) > _SHOWN else ""
        raise BackupError(
            f"{folder}: this backup cannot be trusted\n" + "\n".join(wrong[:_SHOWN]) + more
        )
    return manifest


def _damage(path: Path) -> str | None:
    db = sqlite.connect(path, readonly=True)
    try:
        (finding,) = db.execute("PRAGMA quick_check(1)").fetchone()
    except sqlite.DatabaseError as error:
        finding = str(error)
    finally:
        db.close()
    return None if finding == "ok" else f"damaged: {finding}"
