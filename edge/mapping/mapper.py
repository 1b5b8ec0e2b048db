"""From one message to what it says: pure, without memory."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from edge.mapping.model import Mapping as MappingFile
from edge.mapping.model import MessageRule, PathFilter, Source, Tell, Where
from edge.mapping.targets import Target, as_number, as_text
from edge.mapping.times import epoch_ms
from edge.pseudonym import Pseudonyms

#: More elements of one list than this are not read.
_MOST = 2_000
#: A time further ahead than this (ms) is the vendor's mistake.
_AHEAD_MS = 300_000


class RefusedError(Exception):
    """A message, or a part of it, cannot be used; the text says why."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One observation, or with ``standing`` all elements that stand now."""

    tell: Tell
    place: tuple[int, int]
    """Which rule of the file, and which of its tells."""
    device: str
    data: dict[str, Any]
    at: int
    key: str = ""
    once: str | None = None
    standing: dict[str, dict[str, Any]] | None = None


@dataclass(slots=True)
class Heard:
    """What one message says."""

    devices: dict[str, None] = field(default_factory=dict)
    """Who is alive, in the order of the message."""
    findings: list[Finding] = field(default_factory=list)
    refused: list[tuple[str | None, str]] = field(default_factory=list)
    """(device, reason) of each part that could not be used."""
    counts: dict[str, int] = field(default_factory=dict)
    matched: bool = False

    def count(self, name: str) -> None:
        """Count something that was skipped."""
        self.counts[name] = self.counts.get(name, 0) + 1


@dataclass(frozen=True, slots=True)
class _Scope:
    """Where paths start."""

    message: Any
    item: Any
    element: Any
    topic: tuple[str, ...]


def decode(payload: bytes, encoding: str) -> Any:
    """Return a message's JSON; raise :class:`RefusedError`."""
    try:
        return json.loads(payload.decode(encoding), parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise RefusedError(f"not JSON: {str(error)[:100] or type(error).__name__}") from None


class Mapper:
    """Reads messages by one mapping file; ``devices`` maps the vendor's ids to ours."""

    def __init__(
        self, mapping: MappingFile, devices: Mapping[str, str], pseudonyms: Pseudonyms | None
    ) -> None:
        self._mapping = mapping
        self._devices = dict(devices)
        self._pseudonyms = pseudonyms
        self._paths: dict[str, PathFilter] = {}

    def read(self, message: Any, topic: str | None, now_ms: int) -> Heard:
        """Return what a message says; raises nothing for what a device may send."""
        heard = Heard()
        levels = () if topic is None else tuple(topic.split("/"))
        for number, rule in enumerate(self._mapping.messages):
            if rule.topic is not None and (topic is None or not matches(rule.topic, topic)):
                continue
            scope = _Scope(message, message, message, levels)
            try:
                if self._holds(rule.where, scope):
                    heard.matched = True
                    self._rule(number, rule, scope, heard, now_ms)
            except (RefusedError, ValueError, OverflowError) as error:
                heard.refused.append((None, str(error)))
        # Records often come newest first; what happened first is told first.
        heard.findings.sort(key=lambda found: found.at)
        return heard

    def _rule(
        self, number: int, rule: MessageRule, outer: _Scope, heard: Heard, now_ms: int
    ) -> None:
        for item in self._items(rule.each, outer):
            scope = _Scope(outer.message, item, item, outer.topic)
            raw = self._raw(rule.device, scope)
            vendor_id = "" if raw is None or isinstance(raw, dict | list) else as_text(raw)
            device = self._devices.get(vendor_id)
            if device is None:
                heard.count("unknown_devices")
                continue
            heard.devices[device] = None
            for index, tell in enumerate(rule.tell):
                try:
                    own = tell.at if tell.list_ is None else None
                    at = self._at(own or rule.at, scope, now_ms, heard)
                    heard.findings.extend(
                        self._tell((number, index), tell, device, scope, at, heard, now_ms)
                    )
                except (RefusedError, ValueError, OverflowError) as error:
                    heard.refused.append((device, f"{tell.kind}: {error}"))

    def _tell(
        self,
        place: tuple[int, int],
        tell: Tell,
        device: str,
        outer: _Scope,
        at: int,
        heard: Heard,
        now_ms: int,
    ) -> Iterator[Finding]:
        standing: dict[str, dict[str, Any]] = {}
        for element in self._items(tell.list_, outer):
            scope = _Scope(outer.message, outer.item, element, outer.topic)
            if not self._holds(tell.where, scope):
                continue
            try:
                data = self._data(tell, scope)
                if data is None:
                    continue
                key = self._text(tell.key, scope)
                once = None if tell.once is None else self._text(tell.once, scope)
                when = at
                if tell.list_ is not None and tell.at is not None:
                    when = self._at(tell.at, scope, now_ms, heard)
            except (RefusedError, ValueError, OverflowError) as error:
                if tell.mode == "standing":
                    raise
                heard.refused.append((device, f"{tell.kind}: {error}"))
                continue
            if tell.mode == "standing":
                standing[key or json.dumps(data, sort_keys=True)] = data
            else:
                yield Finding(tell, place, device, data, when, key, once)
        if tell.mode == "standing":
            yield Finding(tell, place, device, {}, at, standing=standing)

    def _data(self, tell: Tell, scope: _Scope) -> dict[str, Any] | None:
        """Return the fields; None where there is nothing to tell."""
        data: dict[str, Any] = {}
        for name, source in tell.data.items():
            target = tell.target(name)
            value = self._value(source, target, scope)
            if value is not None:
                data[name] = value
            elif tell.required(name):
                if tell.mode == "standing" or tell.optional:
                    return None
                raise RefusedError(f"{name} is missing")
        return data

    def _value(self, source: Source, target: Target, scope: _Scope) -> Any:
        raw = self._raw(source, scope)
        if raw is None or _among(raw, source.absent):
            return None
        if target.many:
            if isinstance(raw, str) and source.split is not None:
                raw = [part for part in raw.split(source.split) if part.strip()]
            parts = raw if isinstance(raw, list) else [raw]
            return [self._one(source, target, part) for part in parts[:_MOST]]
        return self._one(source, target, raw)

    def _one(self, source: Source, target: Target, raw: Any) -> Any:
        if isinstance(raw, dict | list):
            raise RefusedError(f"{source.path}: expected one value")
        if source.time is not None:
            return target.convert(epoch_ms(raw, source.time))
        if source.pseudonym is not None:
            if self._pseudonyms is None:
                raise RefusedError("there is no key for pseudonyms")
            return self._pseudonyms.of(source.pseudonym, as_text(raw))
        if source.enum is not None:
            raw = _translate(source, raw)
        if source.scale != 1 or source.offset:
            # Decimal fractions of vendors (0.1 kWh) are not to grow digits.
            raw = round(as_number(raw) * source.scale + source.offset, 9)
        return target.convert(raw)

    def _at(self, source: Source | None, scope: _Scope, now_ms: int, heard: Heard) -> int:
        if source is None or source.time is None:
            return now_ms
        raw = self._raw(source, scope)
        if raw is None or _among(raw, source.absent):
            heard.count("times_missing")
            return now_ms
        at = epoch_ms(raw, source.time)
        if at > now_ms + _AHEAD_MS:
            heard.count("times_ahead")
            return now_ms
        return at

    def _holds(self, where: Where, scope: _Scope) -> bool:
        for path, wanted in where.items():
            found = self._search(path, scope)
            values = wanted if isinstance(wanted, list) else [wanted]
            if found is None or isinstance(found, dict | list) or not _among(found, values):
                return False
        return True

    def _items(self, path: str | None, scope: _Scope) -> list[Any]:
        if path is None:
            return [scope.element]
        found = self._search(path, scope)
        if found is None:
            return []
        return found[:_MOST] if isinstance(found, list) else [found]

    def _text(self, source: Source | None, scope: _Scope) -> str:
        if source is None:
            return ""
        raw = self._raw(source, scope)
        if raw is None or isinstance(raw, dict | list):
            raise RefusedError(f"{source.path}: there is no key")
        return as_text(raw)

    def _raw(self, source: Source, scope: _Scope) -> Any:
        if source.value is not None:
            return source.value
        if source.topic is not None:
            return scope.topic[source.topic] if source.topic < len(scope.topic) else None
        return self._search(source.path or "@", scope)

    def _search(self, path: str, scope: _Scope) -> Any:
        compiled = self._paths.get(path)
        if compiled is None:
            compiled = self._paths[path] = PathFilter(path)
        start = {"message": scope.message, "item": scope.item, "element": scope.element}
        return compiled.search(start[compiled.start])


def matches(topic_filter: str, topic: str) -> bool:
    """Tell whether a topic matches an MQTT filter (``+`` one level, ``#`` the rest)."""
    wanted, given = topic_filter.split("/"), topic.split("/")
    if wanted[-1] == "#":
        wanted.pop()
        given = given[: len(wanted)]
    return len(wanted) == len(given) and all(
        w in ("+", g) for w, g in zip(wanted, given, strict=True)
    )


def _translate(source: Source, raw: Any) -> Any:
    for name, value in (source.enum or {}).items():
        if as_text(name) == as_text(raw):
            return value
    if source.otherwise is None:
        raise RefusedError(f"{source.path}: {as_text(raw)[:60]!r} is not in the enum")
    return source.otherwise


def _among(raw: Any, values: list[Any]) -> bool:
    return not isinstance(raw, dict | list) and as_text(raw) in map(as_text, values)


def _no_constant(name: str) -> float:
    raise ValueError(f"{name} is no JSON number")
