"""Ports: what the parts ask of storage, so that one suite can try every implementation."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, Protocol

import msgspec

from core.contracts.codec import Event

Aggregate = Literal["mean", "min", "max", "last", "sum", "count", "increase"]
Fill = Literal["none", "null", "previous", "linear"]
Value = float | int | str | bool


class Point(msgspec.Struct, frozen=True, gc=False):
    """One stored event; ``time_ns`` keeps siblings apart and makes a retry write the same point.

    ``time_ns`` = ``at`` (ms) · 10⁶ + (seq mod 1000) · 1000 + index in the batch.
    """

    time_ns: int
    site: str
    event: Event


@dataclass(frozen=True, slots=True)
class Refusal:
    """A point that a store refused for good, by its position among the points written."""

    index: int
    reason: str


@dataclass(frozen=True, slots=True)
class Sample:
    """One value of one field; ``at`` is ms, the window's start where values are aggregated."""

    at: int
    value: Value | None


@dataclass(frozen=True, slots=True)
class Query:
    """Values of one field of one device and kind in ``[start, end)`` (ms).

    Without ``every_ms``, raw values come oldest first, at most ``limit``. With it, there is one
    sample a window, aligned to the epoch, of its ``aggregate``. ``increase`` is a counter's: the
    steps from value to value added up, each counted in the window where it ends, so that windows
    add up to the whole; the first goes on from the value before the start, where there is one in
    the window (at least the hour) before it. A decrease (a new meter, a register that began again)
    counts from zero.

    ``fill`` says what stands in windows without values: ``none``: they are left out; ``null``: a
    sample without value; ``previous``: the value of the window before; ``linear``: on the line
    between the neighbours (numbers only). Before the first and, for ``linear``, after the last
    value it stays without. More windows than ``limit`` are refused.
    """

    device: str
    kind: str
    field: str
    start: int
    end: int
    every_ms: int | None = None
    aggregate: Aggregate = "mean"
    limit: int = 10_000
    fill: Fill = "none"


class Mark(NamedTuple):
    """A place between a device's events: pages of events go on from their last one's."""

    time_ns: int
    kind: str


@dataclass(frozen=True, slots=True)
class StoredEvent:
    """One event as a store gives it back; ``time_ns`` as in :class:`Point`."""

    time_ns: int
    device: str
    kind: str
    data: dict[str, Any]

    @property
    def at(self) -> int:
        """Return the device's time (ms)."""
        return self.time_ns // 1_000_000

    @property
    def mark(self) -> Mark:
        """Return the place of the event among its device's."""
        return Mark(self.time_ns, self.kind)


class StoredPoint(msgspec.Struct, frozen=True, gc=False):
    """One event with everything that a store keeps of it; ``seen`` is ms, ``ref`` the source's id.

    ``time_ns`` is what :class:`Point` says; (device, kind, time_ns) is the event's identity.
    """

    time_ns: int
    site: str
    device: str
    kind: str
    seen: int
    ref: str | None
    data: dict[str, Any]


class SeriesWriter(Protocol):
    """Write side of a series store; used by one projector.

    ``write`` must be idempotent: the same points and position again change nothing.
    It raises StoreUnavailableError when trying again may help.
    """

    def position(self) -> int:
        """Return the log position through which everything has been written (0: nothing)."""
        ...

    def rehearse(self, point: Point) -> None:
        """Do with one point what ``write`` does with many, but store nothing."""
        ...

    def write(self, points: Sequence[tuple[int, Point]], position: int) -> list[Refusal]:
        """Store points, each with its own log position, and then ``position``; return refusals."""
        ...

    def tidy(self) -> bool:
        """Take one bounded step of housekeeping; return False where none is left to do now.

        To be called when nothing waits to be written.
        """
        ...

    def sync(self) -> None:
        """Have :meth:`position` reach what has been written; raise StoreUnavailableError."""
        ...

    def close(self) -> None:
        """Release files and connections."""
        ...


class SeriesReader(Protocol):
    """Read side of a series store; may be another process than the writer's."""

    def query(self, query: Query) -> list[Sample]:
        """Return samples, oldest first; none for a field that no event has.

        Raises :class:`core.contracts.errors.QueryTooLargeError` beyond the query's limit.
        """
        ...

    def latest(self, devices: Iterable[str]) -> list[StoredEvent]:
        """Return the newest event of each kind of each device."""
        ...

    def events(
        self,
        device: str,
        start: int,
        end: int,
        *,
        kind: str | None = None,
        limit: int = 500,
        before: Mark | None = None,
    ) -> list[StoredEvent]:
        """Return a device's events in ``[start, end)``, newest first (of one time: by kind).

        ``before`` goes on after the event with that mark. Events of one mark come together, so
        that a page may hold a few more than ``limit``.
        """
        ...

    def count(self, start: int, end: int) -> int:
        """Return how many events are stored in ``[start, end)``."""
        ...

    def counts(self, start: int, end: int) -> dict[str, int]:
        """Return how many events of each kind are stored in ``[start, end)``."""
        ...

    def scan(
        self, kind: str, start: int, end: int, *, site: str | None = None, device: str | None = None
    ) -> Iterator[StoredPoint]:
        """Yield every event of a kind in ``[start, end)``, each once, in bounded memory.

        No order is promised but for a device's own events at one site, which come oldest first.
        What is stored meanwhile may be missing.
        """
        ...

    def positions(self) -> dict[str, int]:
        """Return for each log the position through which everything has been stored."""
        ...

    def close(self) -> None:
        """Release files and connections."""
        ...
