"""Snapshots: JPEG files in a folder a day, ``{folder}/{yyyymmdd}/{media_id}.jpg``.

A media id is ``{yyyymmdd}-{32 hex digits}``. Nothing else is accepted, so no id can name a
path outside the folder. Beside each picture lies its header as JSON; the picture is put in
place last, so a picture that is there is whole and has its header.
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import msgspec

from core.contracts.batch import MAX_MEDIA_BYTES
from core.contracts.errors import ContractError, StoreUnavailableError
from core.storage.files import sync_folder, write_whole

_ID = re.compile(r"((?:19|20)[0-9]{2}(?:0[1-9]|1[0-2])(?:0[1-9]|[12][0-9]|3[01]))-[0-9a-f]{32}")
_DAY = re.compile(r"[0-9]{8}")
_START, _END = b"\xff\xd8\xff", b"\xff\xd9"

_decode_meta = msgspec.json.Decoder(dict[str, Any]).decode


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A stored picture and the header that it was stored with."""

    media_id: str
    jpeg: bytes
    meta: dict[str, Any]


def new_media_id(day: date) -> str:
    """Return a new media id of a (UTC) day."""
    return f"{day:%Y%m%d}-{uuid.uuid4().hex}"


class MediaStore:
    """A folder of snapshots; any number of processes may read and write it."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def put(self, media_id: str, jpeg: bytes, meta: Mapping[str, Any]) -> bool:
        """Store a picture durably; return False where it was already there.

        Raises :class:`ContractError` on a bad id, on bytes that are no JPEG or too many, and on
        an id that already names another picture; :class:`StoreUnavailableError` when the disk
        does not take it now.
        """
        path = self._path(media_id)
        check_jpeg(jpeg)
        try:
            if path.exists():
                if path.read_bytes() != jpeg:
                    raise ContractError("another picture has this id", field="media")
                return False
            new_day = not path.parent.is_dir()
            path.parent.mkdir(parents=True, exist_ok=True)
            if new_day:
                sync_folder(path.parent.parent)
            write_whole(path.with_suffix(".json"), msgspec.json.encode(dict(meta)))
            write_whole(path, jpeg)
            sync_folder(path.parent)
        except OSError as error:
            raise StoreUnavailableError(f"{path}: {error.strerror}") from error
        return True

    def get(self, media_id: str) -> Snapshot | None:
        """Return a picture; None where there is none (or none any more).

        Raises :class:`ContractError` on a bad id.
        """
        path = self._path(media_id)
        try:
            jpeg = path.read_bytes()
            meta = _decode_meta(path.with_suffix(".json").read_bytes())
        except FileNotFoundError:
            return None
        except (OSError, msgspec.DecodeError) as error:
            raise StoreUnavailableError(f"{path}: {error}") from error
        return Snapshot(media_id, jpeg, meta)

    def expire(self, before: date) -> int:
        """Remove the pictures of days before a date; return how many there were."""
        limit, removed = f"{before:%Y%m%d}", 0
        try:
            for folder in sorted(self._folder.iterdir() if self._folder.is_dir() else ()):
                if not _DAY.fullmatch(folder.name) or folder.name >= limit:
                    continue
                for file in sorted(folder.iterdir(), key=lambda file: file.suffix != ".jpg"):
                    file.unlink(missing_ok=True)
                    removed += file.suffix == ".jpg"
                folder.rmdir()
        except OSError as error:
            raise StoreUnavailableError(f"{self._folder}: {error.strerror}") from error
        return removed

    def _path(self, media_id: str) -> Path:
        match = _ID.fullmatch(media_id)
        if match is None:
            raise ContractError(
                "not a media id", field="media", remedy="expected yyyymmdd-{32 hex digits}"
            )
        return self._folder / match[1] / f"{media_id}.jpg"


def check_jpeg(jpeg: bytes) -> None:
    """Check size and the marks at both ends; raise :class:`ContractError`."""
    if len(jpeg) > MAX_MEDIA_BYTES:
        raise ContractError(
            f"{len(jpeg)} bytes", field="jpeg", remedy=f"at most {MAX_MEDIA_BYTES} are taken"
        )
    # Cameras may pad a picture with zero bytes.
    if not jpeg.startswith(_START) or not jpeg.rstrip(b"\0").endswith(_END):
        raise ContractError("not a JPEG", field="jpeg", remedy="send a whole JPEG picture")
