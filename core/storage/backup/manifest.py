"""What a backup holds: ``manifest.json`` in its folder, written last."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import msgspec

from core.contracts.errors import EstateError
from core.storage.files import sync_folder, write_whole

NAME = "manifest.json"
#: Rises when an older program could not restore what a newer one has written.
FORMAT = 1

Part = Literal["edges", "series", "records", "media", "journal", "configuration", "other"]


class BackupError(EstateError):
    """A backup that cannot be made, trusted or restored; the message says what to do."""


class SavedFile(msgspec.Struct, frozen=True, kw_only=True):
    """One file; ``path`` is relative to the backup's folder.

    ``secret``: a key or password, without which data cannot be read or matched any more.
    """

    path: str
    part: Part
    bytes: int
    sha256: str
    secret: bool = False


class LeftOut(msgspec.Struct, frozen=True):
    """Something that is not in the backup, and why."""

    what: str
    why: str


class BackupManifest(msgspec.Struct, frozen=True, kw_only=True):
    """A whole backup; ``made_at`` is ms (UTC).

    ``log`` is the identity of the collector's journal and ``position`` its last entry; both are
    None in the backup of a machine that has no collector. ``schema`` is the records' revision.
    ``by_hand`` are commands for what has its own tools.
    """

    format: int = FORMAT
    program: str
    made_at: int
    log: str | None
    position: int | None
    records: Literal["sqlite", "postgresql", "none"]
    schema: str | None
    series: Literal["embedded", "influxdb"]
    settings: str | None
    files: list[SavedFile]
    left_out: list[LeftOut]
    by_hand: list[str]


_decode_head = msgspec.json.Decoder(dict[str, object]).decode
_decode_manifest = msgspec.json.Decoder(BackupManifest).decode


def write_manifest(folder: Path, manifest: BackupManifest) -> None:
    """Write a backup's manifest durably; raise OSError."""
    write_whole(folder / NAME, msgspec.json.format(msgspec.json.encode(manifest), indent=1))
    sync_folder(folder)


def read_manifest(folder: Path) -> BackupManifest:
    """Read a backup's manifest; raise :class:`BackupError`."""
    path = folder / NAME
    try:
        raw = path.read_bytes()
        head = _decode_head(raw)
        if not isinstance(found := head.get("format"), int) or found > FORMAT:
            raise BackupError(
                f"{path}: format {found}; this program reads up to {FORMAT}: "
                "restore with the version that made it, or a newer one"
            )
        return _decode_manifest(raw)
    except FileNotFoundError:
        raise BackupError(f"{folder}: no backup (it has no {NAME}), or not a whole one") from None
    except OSError as error:
        raise BackupError(f"{path}: {error.strerror}") from None
    except msgspec.DecodeError as error:
        raise BackupError(f"{path}: damaged ({error}); take another backup") from None
