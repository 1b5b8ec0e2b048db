"""What an ONVIF device tells: properties with a state, messages without, and its pull points."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from html import escape

from simulators.devices.onvif.soap import utc

_DIALECT = "http://www.onvif.org/ver10/tev/topicExpression/ConcreteSet"
_QUEUE = 1000


@dataclass(frozen=True, slots=True)
class Topic:
    """One topic of the device's topic set: names of its items, and whether it has a state."""

    path: str
    """With prefixes: ``tns1:RuleEngine/CellMotionDetector/Motion``."""
    source: tuple[str, ...]
    data: tuple[str, ...]
    is_property: bool = True


@dataclass(frozen=True, slots=True)
class Message:
    """One notification as it is put on the wire."""

    topic: str
    source: tuple[tuple[str, str], ...]
    data: tuple[tuple[str, str], ...]
    operation: str | None
    at_ms: int

    def to_xml(self) -> str:
        """Return the NotificationMessage."""
        operation = "" if self.operation is None else f' PropertyOperation="{self.operation}"'
        return (
            f'<wsnt:NotificationMessage><wsnt:Topic Dialect="{_DIALECT}">{self.topic}</wsnt:Topic>'
            f'<wsnt:Message><tt:Message UtcTime="{utc(self.at_ms)}"{operation}>'
            f"<tt:Source>{_items(self.source)}</tt:Source>"
            f"<tt:Data>{_items(self.data)}</tt:Data>"
            "</tt:Message></wsnt:Message></wsnt:NotificationMessage>"
        )


def _items(items: Iterable[tuple[str, str]]) -> str:
    return "".join(
        f'<tt:SimpleItem Name="{escape(name)}" Value="{escape(value)}"/>' for name, value in items
    )


@dataclass(eq=False)
class PullPoint:
    """One subscription; its life is real time, what it shows of it the device's clock."""

    number: int
    ends: float
    queue: deque[Message] = field(default_factory=lambda: deque(maxlen=_QUEUE))
    news: asyncio.Event = field(default_factory=asyncio.Event)

    def put(self, message: Message) -> None:
        """Queue a message; the oldest gives way."""
        self.queue.append(message)
        self.news.set()

    async def take(self, limit: int, wait_s: float) -> list[Message]:
        """Return up to ``limit`` messages, waiting for the first."""
        if not self.queue:
            self.news.clear()
            try:
                async with asyncio.timeout(wait_s):
                    await self.news.wait()
            except TimeoutError:
                return []
        return [self.queue.popleft() for _ in range(min(limit, len(self.queue)))]


class EventBoard:
    """The states of a device and everybody who listens to them."""

    def __init__(self, now_ms: Callable[[], int], topics: Iterable[Topic] = ()) -> None:
        self._now_ms = now_ms
        self.topics = {topic.path: topic for topic in topics}
        self._states: dict[tuple[str, tuple[tuple[str, str], ...]], Message] = {}
        self._points: dict[int, PullPoint] = {}
        self._number = 0
        self.most_points = 8
        """Devices have few; beyond, a subscription is refused."""

    def set(self, topic: str, source: Mapping[str, str], data: Mapping[str, str]) -> None:
        """Set a property's state; everybody who listens hears of a change."""
        key = (topic, tuple(source.items()))
        before = self._states.get(key)
        message = Message(*key, tuple(data.items()), "Changed", self._now_ms())
        if before is None or before.data != message.data:
            self._states[key] = message
            self._tell(message)

    def prepare(self, topic: str, source: Mapping[str, str], data: Mapping[str, str]) -> None:
        """Set a property's state without telling: it was so before anybody listened."""
        key = (topic, tuple(source.items()))
        self._states[key] = Message(*key, tuple(data.items()), "Changed", self._now_ms())

    def remove(self, topic: str, source: Mapping[str, str], *, silently: bool = False) -> None:
        """Take a property away (its rule was deleted)."""
        message = self._states.pop((topic, tuple(source.items())), None)
        if message is not None and not silently:
            self._tell(
                Message(message.topic, message.source, message.data, "Deleted", self._now_ms())
            )

    def happen(self, topic: str, source: Mapping[str, str], data: Mapping[str, str]) -> None:
        """Tell something that has no state."""
        self._tell(Message(topic, tuple(source.items()), tuple(data.items()), None, self._now_ms()))

    def repeat(self, message: Message) -> None:
        """Tell a message as it is (again)."""
        self._tell(message)

    def _tell(self, message: Message) -> None:
        for point in self._points.values():
            point.put(message)

    # -- subscriptions -----------------------------------------------------------------------

    def subscribe(self, lifetime_s: float) -> PullPoint | None:
        """Make a pull point; None when there are too many."""
        self._expire()
        if len(self._points) >= self.most_points:
            return None
        self._number += 1
        point = PullPoint(self._number, time.monotonic() + lifetime_s)
        self._points[point.number] = point
        self.synchronise(point)
        return point

    def point(self, number: int) -> PullPoint | None:
        """Return a pull point that still lives."""
        self._expire()
        return self._points.get(number)

    def unsubscribe(self, number: int) -> None:
        """End a pull point."""
        self._points.pop(number, None)

    def synchronise(self, point: PullPoint) -> None:
        """Tell one listener every state as it stands."""
        for message in self._states.values():
            point.put(
                Message(message.topic, message.source, message.data, "Initialized", message.at_ms)
            )

    def forget(self) -> None:
        """Lose every subscription, as by a restart; the states stay."""
        self._points.clear()

    @property
    def points(self) -> int:
        """Return the number of living pull points."""
        self._expire()
        return len(self._points)

    def _expire(self) -> None:
        now = time.monotonic()
        self._points = {n: point for n, point in self._points.items() if point.ends > now}

    def topic_set(self) -> str:
        """Return the topic set as XML, a tree of elements marked as topics."""
        root: dict[str, dict[str, object]] = {}
        for topic in self.topics.values():
            node: dict[str, object] = root  # type: ignore[assignment]
            for part in topic.path.split("/"):
                node = node.setdefault(part, {})  # type: ignore[assignment]
            node[""] = topic
        return _tree(root)  # type: ignore[arg-type]


def _tree(node: dict[str, object]) -> str:
    parts: list[str] = []
    for name, below in node.items():
        if isinstance(below, Topic):
            continue
        assert isinstance(below, dict)  # noqa: S101 (the only other thing in the tree)
        topic = below.get("")
        mark = ' wstop:topic="true"' if isinstance(topic, Topic) else ""
        inner = _description(topic) if isinstance(topic, Topic) else ""
        parts.append(f"<{name}{mark}>{inner}{_tree(below)}</{name}>")
    return "".join(parts)


def _description(topic: Topic) -> str:
    def items(names: tuple[str, ...]) -> str:
        return "".join(
            f'<tt:SimpleItemDescription Name="{name}" Type="xs:string"/>' for name in names
        )

    return (
        f'<tt:MessageDescription IsProperty="{str(topic.is_property).lower()}">'
        f"<tt:Source>{items(topic.source)}</tt:Source><tt:Data>{items(topic.data)}</tt:Data>"
        "</tt:MessageDescription>"
    )
