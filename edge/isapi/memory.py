"""What a driver must still know after a restart of the edge: one small JSON file, durable."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import structlog

from core.storage.files import sync_folder, write_whole

_log = structlog.get_logger(__name__)


class Memory:
    """A file in the edge's data folder; a save is whole and durable, or did not happen."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._saved = b""

    def load(self) -> dict[str, Any]:
        """Return what was saved; a file that is missing or spoilt is as good as an empty one."""
        try:
            text = self._path.read_bytes()
            value = json.loads(text)
        except FileNotFoundError:
            return {}
        except (OSError, ValueError, RecursionError) as error:
            _log.warning("memory_unreadable", file=str(self._path), error=str(error))
            return {}
        self._saved = text
        return value if isinstance(value, dict) else {}

    def save(self, value: dict[str, Any]) -> None:
        """Replace the file, synced to the disk; raise OSError. Unchanged content costs nothing."""
        text = json.dumps(value, separators=(",", ":")).encode()
        if text == self._saved:
            return
        self._path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(self._path, text)
        sync_folder(self._path.parent)
        self._saved = text


def memory_of(data: Path, device: str) -> Memory:
    """Return the memory of the connection whose first device this is."""
    return Memory(data / "isapi" / f"{device}.json")
