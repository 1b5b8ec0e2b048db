"""What the driver remembers of its meters over a restart: event counters and meter numbers."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import structlog

from core.storage.files import write_whole

_log = structlog.get_logger(__name__)


@dataclass(slots=True)
class Remembered:
    """What was last known of one meter."""

    counts: dict[int, list[int]] = field(default_factory=dict)
    identity: dict[str, str] = field(default_factory=dict)
    """``number`` and, where it is not configured, ``address``."""


class Memory:
    """A small file in the edge's data folder; a file that cannot be read is as good as none."""

    def __init__(self, folder: Path, channel: str) -> None:
        """Take the folder and what tells this driver from others; nothing is opened."""
        digest = hashlib.sha256(channel.encode()).hexdigest()[:12]
        self._path = folder / f"dlt645-{digest}.json"
        self._saved: dict[str, Any] = {}

    def load(self) -> dict[str, Remembered]:
        """Return what is remembered, by device."""
        try:
            raw = json.loads(self._path.read_text(encoding="utf-8"))
            self._saved = raw if isinstance(raw, dict) else {}
            return {device: _parse(known) for device, known in self._saved.items()}
        except FileNotFoundError:
            return {}
        except (OSError, ValueError, TypeError, AttributeError, RecursionError) as error:
            _log.warning("meters_forgotten", file=str(self._path), error=str(error))
            return {}

    def save(self, device: str, known: Remembered) -> None:
        """Write what is known of a device, if it has changed; raise OSError."""
        counts = {f"{identifier:08X}": list(found) for identifier, found in known.counts.items()}
        entry = {"counts": counts, "identity": dict(known.identity)}
        if self._saved.get(device) == entry:
            return
        fresh = {**self._saved, device: entry}
        write_whole(self._path, json.dumps(fresh).encode(), synced=False)
        self._saved = fresh


def _parse(raw: dict[str, Any]) -> Remembered:
    counts = {
        int(identifier, 16): [int(count) for count in found]
        for identifier, found in raw.get("counts", {}).items()
    }
    identity = {str(name): str(value) for name, value in raw.get("identity", {}).items()}
    return Remembered(counts, identity)
