"""Is the camera armed: does it offer the events, are their rules at work, did one ever come?

A camera that streams and shows a clean picture can have its analytics switched off, or lost
with a firmware update; nobody notices, because nothing is what it then tells.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING

from core.contracts.errors import DeviceRefusedError
from core.storage.files import write_whole
from edge.onvif import names
from edge.onvif.client import OnvifClient
from edge.onvif.notification import topic_set
from edge.onvif.soap import addressing, attribute, child, children, local

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element

ANY = "*"
"""In place of a topic: any event that detects something."""
_OFF = frozenset({"false", "0", "off"})
_SWITCHES = frozenset({"enable", "enabled", "active", "armed"})
_MOST_CONFIGURATIONS = 8


@dataclass(frozen=True, slots=True)
class Offer:
    """What a camera says of its events; None: it does not say."""

    topics: frozenset[str] | None = None
    at_work: frozenset[str] | None = None
    """Types of the rules that are set up and not switched off (``FieldDetector``)."""
    supported: frozenset[str] = frozenset()
    """Types of rules that could be set up."""

    def arms(self, topic: str) -> bool:
        """Tell whether a topic is offered and, where it comes from a rule, the rule works."""
        if self.topics is not None and topic not in self.topics:
            return False
        head, _, rest = topic.partition("/")
        if head != "RuleEngine" or self.at_work is None:
            return True
        detector = rest.partition("/")[0]
        # Of a rule that the analytics service does not know nothing can be told.
        return detector in self.at_work or detector not in self.supported

    def unarmed(self, expect: Collection[str], detecting: Collection[str]) -> str | None:
        """Return the expected events that cannot come, None when all (or any) can.

        ``detecting`` are the topics of which one must be armed when nothing is expected.
        """
        if expect:
            missing = [topic for topic in expect if not self.arms(topic)]
            return listed(missing) if missing else None
        if self.topics is None:
            return None
        offered = sorted(set(detecting) & self.topics)
        if any(self.arms(topic) for topic in offered):
            return None
        return listed(offered) if offered else "no event that detects anything"


async def ask(client: OnvifClient) -> Offer:
    """Ask a camera what it offers; raise :class:`LinkError` when it does not answer."""
    topics = None
    if client.has(names.EVENTS):
        with contextlib.suppress(DeviceRefusedError):
            address = client.address(names.EVENTS)
            topics = topic_set(
                await client.call(
                    address,
                    names.EVENT_PROPERTIES,
                    f'<e:GetEventProperties xmlns:e="{names.EVENTS}"/>',
                    headers=addressing(address, names.EVENT_PROPERTIES),
                )
            )
    try:
        at_work, supported = await _rules(client)
    except DeviceRefusedError:
        return Offer(topics)
    return Offer(topics, at_work, supported)


async def _rules(client: OnvifClient) -> tuple[frozenset[str] | None, frozenset[str]]:
    if not client.has(names.ANALYTICS) or not client.has(names.MEDIA):
        return None, frozenset()
    profiles = await client.ask(names.MEDIA, "GetProfiles")
    tokens: dict[str, None] = {}
    for profile in children(profiles, "Profiles"):
        configuration = child(profile, "VideoAnalyticsConfiguration")
        if configuration is not None:
            tokens[attribute(configuration, "token")] = None
    at_work: set[str] = set()
    supported: set[str] = set()
    for token in list(tokens)[:_MOST_CONFIGURATIONS]:
        inner = f"<q:ConfigurationToken>{escape(token)}</q:ConfigurationToken>"
        rules = await client.ask(names.ANALYTICS, "GetRules", inner)
        at_work |= {_type(rule) for rule in children(rules, "Rule") if not _switched_off(rule)}
        with contextlib.suppress(DeviceRefusedError):
            answer = await client.ask(names.ANALYTICS, "GetSupportedRules", inner)
            supported |= _supported(answer)
    if not tokens:
        # Rules without a profile that has them analyse nothing; which types there would be
        # the service tells for no configuration. The standard's own are taken for granted.
        supported = {
            "CellMotionDetector", "FieldDetector", "LineDetector", "TamperDetector",
            "MotionRegionDetector", "LoiteringDetector", "CountAggregation",
        }  # fmt: skip
    return frozenset(at_work), frozenset(supported | at_work)


def _supported(answer: Element) -> set[str]:
    holder = child(answer, "SupportedRules")
    described = [] if holder is None else children(holder, "RuleDescription")
    return {attribute(item, "Name").rpartition(":")[2] for item in described}


def _type(rule: Element) -> str:
    return attribute(rule, "Type").rpartition(":")[2]


def _switched_off(rule: Element) -> bool:
    parameters = child(rule, "Parameters")
    return any(
        local(item.tag) == "SimpleItem"
        and attribute(item, "Name").lower() in _SWITCHES
        and attribute(item, "Value").strip().lower() in _OFF
        for item in ([] if parameters is None else parameters)
    )


def listed(topics: Iterable[str]) -> str:
    """Return topics as one text of at most 200 characters."""
    text = ", ".join(topics)
    return text if len(text) <= 200 else text[:199] + "…"


class SeenBook:
    """For how long (seconds of watching) each event has not come; kept over restarts."""

    def __init__(self, path: Path, topics: Iterable[str]) -> None:
        self._path = path
        self._unseen_s = dict.fromkeys(topics, 0.0)

    def load(self) -> None:
        """Read what is known; a file that cannot be read begins anew."""
        try:
            known = json.loads(self._path.read_text(encoding="utf-8"))["unseen_s"]
            for topic in self._unseen_s:
                value = known.get(topic, 0.0)
                if isinstance(value, int | float) and 0 <= value < 1e12:
                    self._unseen_s[topic] = float(value)
        except (OSError, ValueError, KeyError, AttributeError, TypeError, RecursionError):
            return

    def save(self) -> None:
        """Write what is known; raises OSError."""
        self._path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(self._path, json.dumps({"unseen_s": self._unseen_s}).encode())

    def watched(self, seconds: float) -> None:
        """Note that the camera was listened to for so long."""
        for topic in self._unseen_s:
            self._unseen_s[topic] += max(seconds, 0.0)

    def saw(self, topic: str) -> bool:
        """Note that an event came; tell whether that ends a long absence (a new save)."""
        was = self._unseen_s.get(topic)
        if was is None:
            return False
        self._unseen_s[topic] = 0.0
        return was > 0

    def overdue(self, limit_s: float) -> list[str]:
        """Return the events that have not come for so long."""
        return [topic for topic, unseen in self._unseen_s.items() if unseen >= limit_s]
