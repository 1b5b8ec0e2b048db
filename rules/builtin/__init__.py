"""The rules that come with the system, in both languages, with advice on what to do."""

from __future__ import annotations

from importlib.resources import files


def builtin() -> dict[str, str]:
    """Return the built-in rule files: name to YAML text, in the order of the names."""
    folder = files(__name__)
    names = sorted(item.name for item in folder.iterdir() if item.name.endswith(".yaml"))
    return {f"builtin/{name}": (folder / name).read_text(encoding="utf-8") for name in names}
