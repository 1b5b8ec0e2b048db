"""The small world of one edge, as the rule engine wants it: a site, an edge, its devices."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from core.contracts.errors import ContractError, SettingsError
from core.contracts.log import Activation
from core.contracts.topology import DeviceFamily
from edge.config import EdgeConfig
from edge.local_rules.settings import LocalRulesSettings
from rules import language
from rules.builtin import builtin

#: What a device is, by the first part of the kinds that only such devices send.
_BY_KIND = {
    "access": DeviceFamily.DOOR,
    "vehicle": DeviceFamily.BARRIER,
    "elevator": DeviceFamily.ELEVATOR,
    "meter": DeviceFamily.METER,
    "camera": DeviceFamily.CAMERA,
    "fire": DeviceFamily.FIRE_PANEL,
    "sensor": DeviceFamily.SENSOR,
}
#: What a driver's devices are, by a part of its name.
_BY_DRIVER = {
    "elevator": DeviceFamily.ELEVATOR,
    "lift": DeviceFamily.ELEVATOR,
    "door": DeviceFamily.DOOR,
    "osdp": DeviceFamily.DOOR,
    "wiegand": DeviceFamily.DOOR,
    "access": DeviceFamily.DOOR,
    "barrier": DeviceFamily.BARRIER,
    "camera": DeviceFamily.CAMERA,
    "gb28181": DeviceFamily.CAMERA,
    "meter": DeviceFamily.METER,
    "dlt645": DeviceFamily.METER,
    "cjt188": DeviceFamily.METER,
    "dlms": DeviceFamily.METER,
    "fire": DeviceFamily.FIRE_PANEL,
}


def family_of_kind(kind: str) -> DeviceFamily | None:
    """Return what a device must be that sends a kind, None where anything can."""
    return _BY_KIND.get(kind.partition(".")[0])


def families(config: EdgeConfig) -> dict[str, DeviceFamily]:
    """Return what is known of the devices' families from the edge's file."""
    found: dict[str, DeviceFamily] = {}
    for entry in config.drivers:
        guess = next((f for part, f in _BY_DRIVER.items() if part in entry.driver), None)
        if guess is not None:
            found |= dict.fromkeys(entry.device_ids(), guess)
    for device, facts in config.devices.items():
        if facts.family is not None:
            found[device] = facts.family
    return found


def topology(config: EdgeConfig, known: dict[str, DeviceFamily]) -> dict[str, Any]:
    """Return the topology of one edge; a device of which nothing is known is a sensor."""

    def both(text: str) -> dict[str, str]:
        return {"zh": text, "en": text}

    devices = []
    for device in config.device_ids():
        facts = config.devices.get(device)
        entry: dict[str, Any] = {
            "id": device,
            "family": known.get(device, DeviceFamily.SENSOR).value,
            "name": both((facts and facts.name) or device),
            "node": f"site-{config.site}"[:64],
            "edge": config.edge,
        }
        if facts is not None:
            entry["limits"] = dict(facts.limits)
            entry |= {} if facts.expect_s is None else {"expect_s": facts.expect_s}
        devices.append(entry)
    # Nodes, edges and devices share one space of ids, and a site may be called as its edge.
    site = f"site-{config.site}"[:64]
    return {
        "datum": "wgs84",
        "nodes": [
            {"id": "street-of-the-edge", "level": "street", "name": both(config.site)},
            {
                "id": site, "level": "site", "parent": "street-of-the-edge",
                "name": both(config.site), "site_kind": "residential_estate",
            },
        ],
        "edges": [{"id": config.edge, "site": site, "name": both(config.edge)}],
        "devices": devices,
    }  # fmt: skip


def texts(settings: LocalRulesSettings | None, base: Path) -> dict[str, str]:
    """Return the rule files that an edge works; raise :class:`SettingsError` with each fault."""
    if settings is None:
        return {}
    found = _chosen(settings.builtin)
    for file in settings.files:
        path = base / file
        try:
            found[str(path)] = path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise SettingsError(f"local_rules.files: {path}: {error}") from None
    try:
        ruleset = language.load(found)
    except ContractError as error:
        raise SettingsError(f"local_rules: {error}") from None
    known = ruleset.by_id()
    whens = [part.when for part in settings.outputs] + [part.when for part in settings.notices]
    named = {rule for when in whens for rule in when.rules}
    if strange := sorted(named - set(known)):
        raise SettingsError(f"local_rules: when.rules names {strange[0]}, but no rule here")
    return found


def activation(
    config: EdgeConfig, known: dict[str, DeviceFamily], rules: dict[str, str]
) -> Activation:
    """Return what the engine takes over."""
    return Activation(topology=topology(config, known), rules=rules)


def _chosen(wanted: list[str]) -> dict[str, str]:
    """Return the built-in rule files cut down to the rules that are wanted."""
    found: dict[str, str] = {}
    left = set(wanted)
    for name, text in builtin().items() if wanted else ():
        # The nodes as they are: YAML would make a truth value of the key `on`.
        root: Any = yaml.compose(text, Loader=yaml.CSafeLoader)
        rules = next(value for key, value in root.value if key.value == "rules")
        kept = [rule for rule in rules.value if _id(rule) in left]
        if kept:
            left -= {_id(rule) for rule in kept}
            rules.value = kept
            found[name] = yaml.serialize(root, allow_unicode=True)
    if left:
        raise SettingsError(f"local_rules.builtin: there is no built-in rule {min(left)}")
    return found


def _id(rule: Any) -> str:
    return next(str(value.value) for key, value in rule.value if key.value == "id")
