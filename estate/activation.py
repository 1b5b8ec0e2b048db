"""What a collector activates at its start: the topology file and the rule files."""

from __future__ import annotations

from pathlib import Path

from core.contracts import topology
from core.contracts.errors import ContractError, SettingsError
from core.contracts.log import Activation
from core.runtime.settings import Settings, read_yaml
from rules import language
from rules.builtin import builtin


def read_rules(settings: Settings) -> dict[str, str]:
    """Return the texts of the built-in and the own rule files, checked.

    Raises :class:`SettingsError` with file, line and column of every problem.
    """
    texts = dict(builtin()) if settings.rules.builtin else {}
    for path in settings.rules.files:
        try:
            texts[str(path)] = path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise SettingsError(f"rules.files: {path}: {error}") from None
    try:
        language.load(texts)
    except ContractError as error:
        raise SettingsError(str(error)) from None
    return texts


def read_activation(settings: Settings, topology_file: Path | None = None) -> Activation:
    """Return the activation of the settings; raise :class:`SettingsError` naming the field."""
    path = topology_file or settings.topology
    if path is None:
        raise SettingsError("topology: no file is named; `estate run` makes a simulated community")
    raw = read_yaml(path)
    try:
        topology.load(raw)
    except ContractError as error:
        raise SettingsError(f"{path}: {error}") from None
    return Activation(topology=raw, rules=read_rules(settings))
