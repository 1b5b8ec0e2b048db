"""What a folder of exported files holds, as ``manifest.json`` in it; written last."""

from __future__ import annotations

from importlib.metadata import version
from pathlib import Path

import msgspec

from core.contracts.errors import EstateError, StoreUnavailableError
from core.storage.files import sync_folder, write_whole
from core.storage.reservoir.columns import SCHEMA_VERSION

NAME = "manifest.json"
#: The form of the manifest itself.
FORMAT = 1


class FileEntry(msgspec.Struct, frozen=True, kw_only=True):
    """One file; times are ms (UTC), ``day`` a UTC date, ``path`` relative to the manifest.

    ``positions``: for each log the position that the store had reached before the file was made,
    so that everything journalled up to there is in it.
    """

    path: str
    day: str | None
    kind: str
    site: str | None
    rows: int
    bytes: int
    sha256: str
    first_at: int | None
    last_at: int | None
    schema: int = SCHEMA_VERSION
    positions: dict[str, int] = {}
    exported_at: int = 0


class DayManifest(msgspec.Struct, frozen=True, kw_only=True):
    """All files of a folder."""

    format: int = FORMAT
    program: str = ""
    files: list[FileEntry]

    def rows(self) -> dict[str, int]:
        """Return how many rows there are of each kind."""
        found: dict[str, int] = {}
        for file in self.files:
            found[file.kind] = found.get(file.kind, 0) + file.rows
        return found


_decode = msgspec.json.Decoder(DayManifest).decode


def write_manifest(folder: Path, files: list[FileEntry]) -> DayManifest:
    """Write a folder's manifest durably; raise :class:`StoreUnavailableError`."""
    files = sorted(files, key=lambda file: file.path)
    manifest = DayManifest(program=version("smart-estate"), files=files)
    try:
        body = msgspec.json.format(msgspec.json.encode(manifest), indent=1)
        write_whole(folder / NAME, body)
        sync_folder(folder)
    except OSError as error:
        raise StoreUnavailableError(f"{folder}: {error.strerror}") from error
    return manifest


def read_manifest(folder: Path) -> DayManifest | None:
    """Return a folder's manifest; None where there is none (or none yet).

    Raises :class:`EstateError` where it is damaged or of a newer program.
    """
    path = folder / NAME
    try:
        manifest = _decode(path.read_bytes())
    except FileNotFoundError:
        return None
    except (OSError, msgspec.DecodeError) as error:
        raise EstateError(f"{path}: {error}; remove the folder, it is exported again") from None
    if manifest.format > FORMAT:
        raise EstateError(f"{path}: format {manifest.format}; this program knows {FORMAT}")
    return manifest
