"""The register maps that come with the driver, one YAML file each."""

from __future__ import annotations

import difflib
from pathlib import Path

from core.contracts.errors import SettingsError

FOLDER = Path(__file__).parent


def names() -> list[str]:
    """Return the names of the maps that come with the driver."""
    return sorted(path.stem for path in FOLDER.glob("*.yaml"))


def find(name: str, base: Path) -> Path:
    """Return the file of a map: one of ours by its name, else a path from ``base``.

    Raises :class:`SettingsError` that names the nearest map.
    """
    if name in names():
        return FOLDER / f"{name}.yaml"
    path = base / name
    if path.is_file():
        return path
    near = difflib.get_close_matches(name, names(), 1)
    hint = f"did you mean {near[0]}?" if near else f"built in are {', '.join(names())}"
    raise SettingsError(f"map {name}: no such map and no file {path}; {hint}")
