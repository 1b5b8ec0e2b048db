"""MQTT topics of the wire, in one place.

Root ``estate/v1``. Up: ``{site}/{edge}/batch``, ``{site}/{edge}/status`` (retained, birth and
will), ``{site}/{device}/event`` (plain events of devices without an edge agent). Down:
``{site}/{edge}/receipt`` (retained), ``{site}/{edge}/command``, ``{site}/{edge}/reply``. Out:
``collector/status``, ``{site}/alert/{alert}``, ``{site}/colour`` (all retained).
"""

from __future__ import annotations

from dataclasses import dataclass

ROOT = "estate/v1"
COLLECTOR_STATUS = f"{ROOT}/collector/status"
ALL_BATCHES = f"{ROOT}/+/+/batch"
ALL_STATUS = f"{ROOT}/+/+/status"
ALL_EVENTS = f"{ROOT}/+/+/event"
ALL_RECEIPTS = f"{ROOT}/+/+/receipt"
ALL_COMMANDS = f"{ROOT}/+/+/command"
ALL_REPLIES = f"{ROOT}/+/+/reply"
ALL_ALERTS = f"{ROOT}/+/alert/+"
ALL_COLOURS = f"{ROOT}/+/colour"


@dataclass(frozen=True, slots=True)
class Address:
    """The two names in an up topic: the site and the edge (or, for plain events, the device)."""

    site: str
    sender: str


#: The edge that does not exist, whose name a broker's canary bears (ADR 0017).
CANARY = Address("canary", "canary")
#: Another such edge: nobody may publish for it.
CANARY_OTHER = Address("canary", "forbidden")


def of_site(pattern: str, site: str | None) -> str:
    """Return one of the patterns for all sites as it is for one of them (None: for all)."""
    return pattern if site is None else pattern.replace("+", site, 1)


def batch(site: str, edge: str) -> str:
    """Return the topic on which an edge publishes its batches."""
    return f"{ROOT}/{site}/{edge}/batch"


def status(site: str, edge: str) -> str:
    """Return the retained topic of an edge's birth and last will."""
    return f"{ROOT}/{site}/{edge}/status"


def receipt(site: str, edge: str) -> str:
    """Return the retained topic on which the collector answers an edge."""
    return f"{ROOT}/{site}/{edge}/receipt"


def command(site: str, edge: str) -> str:
    """Return the topic on which an edge takes commands."""
    return f"{ROOT}/{site}/{edge}/command"


def reply(site: str, edge: str) -> str:
    """Return the topic on which an edge answers commands."""
    return f"{ROOT}/{site}/{edge}/reply"


def plain_event(site: str, device: str) -> str:
    """Return the topic of a device without an edge agent."""
    return f"{ROOT}/{site}/{device}/event"


def alert(site: str, alert_id: str) -> str:
    """Return the retained topic of one alert."""
    return f"{ROOT}/{site}/alert/{alert_id}"


def colour(site: str) -> str:
    """Return the retained topic of a site's colours."""
    return f"{ROOT}/{site}/colour"


def address(topic: str) -> Address | None:
    """Return who sent on an up topic, or None when the topic has another shape."""
    parts = topic.split("/")
    if len(parts) != 5 or not topic.startswith(ROOT + "/"):
        return None
    return Address(parts[2], parts[3])
