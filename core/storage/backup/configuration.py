"""The configuration files of an installation: the settings file, and whatever files it names.

Those of the settings' own folder are kept under ``configuration/``, others under
``configuration/outside/`` with their whole path.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from core.contracts.errors import SettingsError
from core.runtime.settings import Settings, read_yaml
from core.storage.backup.copier import Copier

FOLDER = "configuration"
OUTSIDE = "outside"
#: What is named in a configuration and larger is not configuration (a video, a model).
_MOST_BYTES = 16 << 20
_SECRETS = {
    "password_file": True, "token_file": True, "key_file": True, "tls_key": True,
    "ca_file": False, "cert_file": False, "tls_cert": False,
}  # fmt: skip


def save(copier: Copier, settings: Settings, file: Path | None) -> None:
    """Add the settings file and every file that it, or an edge's file, names."""
    base = (file.resolve().parent if file is not None else Path.cwd()).resolve()
    named = dict(_settings_files(settings))
    for edge in settings.edges:
        for path in _files_in_yaml(edge):
            named.setdefault(path, None)
    if file is not None:
        named.setdefault(file.resolve(), None)
    taken: set[str] = set()
    data = settings.data.resolve()
    for path, secret in named.items():
        if path.is_relative_to(data):
            continue  # it comes with the data folder
        if not path.is_file():
            copier.leave_out(str(path), "named in the configuration, but not there")
        elif path.stat().st_size > _MOST_BYTES:
            copier.leave_out(str(path), "named in the configuration, but too large for one")
        elif (name := _name(path, base)) not in taken:
            taken.add(name)
            copier.file(path, name, "configuration", secret=secret)


def _name(path: Path, base: Path) -> str:
    if path.is_relative_to(base):
        return f"{FOLDER}/{path.relative_to(base).as_posix()}"
    return f"{FOLDER}/{OUTSIDE}/{path.relative_to(path.anchor).as_posix()}"


def _settings_files(model: BaseModel) -> Iterator[tuple[Path, bool | None]]:
    """Yield (file, is it a secret: None where its name tells) of a settings tree."""
    for name in type(model).model_fields:
        if name in ("data", "folder"):
            continue
        value = getattr(model, name)
        if isinstance(value, BaseModel):
            yield from _settings_files(value)
        for path in value if isinstance(value, list) else [value]:
            if isinstance(path, Path):
                yield path.resolve(), _SECRETS.get(name)


def _files_in_yaml(file: Path) -> Iterator[Path]:
    """Yield the files that an edge's file names, wherever it does so."""
    try:
        raw = read_yaml(file)
    except SettingsError:
        return  # it is saved as it is; whoever reads it will say what is wrong
    base = file.resolve().parent
    for text in _texts(raw):
        if 0 < len(text) < 1024 and "\0" not in text and (base / text).is_file():
            yield (base / text).resolve()


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for inner in value.values():
            yield from _texts(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _texts(inner)
