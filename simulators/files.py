"""Files that other processes wait for: written aside, then moved into place."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import yaml


def write_text(path: Path, text: str | bytes, *, private: bool = False) -> None:
    """Write a file so that a reader sees the old text or the whole new one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_name(f".{path.name}.{os.getpid()}.part")
    mode = 0o600 if private else 0o644
    content = text.encode() if isinstance(text, str) else text
    with os.fdopen(os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode), "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    aside.replace(path)


def write_yaml(path: Path, value: Any, *, private: bool = False) -> None:
    """Write YAML, in the order of the keys given."""
    text = yaml.dump(
        value, Dumper=_DUMPER, allow_unicode=True, sort_keys=False, default_flow_style=None
    )
    write_text(path, text, private=private)


def write_json(path: Path, value: Any, *, private: bool = False) -> None:
    """Write JSON."""
    text = json.dumps(value, ensure_ascii=False, indent=2) + "\n"
    write_text(path, text, private=private)


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object of an earlier run; an unreadable one counts as none."""
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}


_DUMPER: Any = getattr(yaml, "CSafeDumper", yaml.SafeDumper)
