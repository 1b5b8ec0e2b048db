"""Asking the series store: bounded questions, and threads of its own.

A store that hangs holds back at most its own few threads, so that alerts and health go on.
"""

from __future__ import annotations

import threading
import typing
from collections.abc import Callable
from typing import Any, TypeVar

import anyio
import anyio.to_thread
from pydantic import BaseModel

from core.contracts.codec import FIELDS
from core.contracts.errors import EstateError, QueryTooLargeError, StoreUnavailableError
from core.contracts.events import KINDS
from core.contracts.ports import SeriesReader
from dashboard_api.problems import invalid
from dashboard_api.series.schemas import AggregateName, FillName

T = TypeVar("T")
#: A year by the hour has 8,784.
MAX_POINTS = 10_000
#: Points of a chart, when nobody says how fine it should be.
CHART_POINTS = 1_000
_AT_ONCE = 8
_S = 1_000
_STEPS_S = (
    1,
    2,
    5,
    10,
    15,
    30,
    60,
    120,
    300,
    600,
    900,
    1_800,
    3_600,
    7_200,
    10_800,
    21_600,
    43_200,
)
_DAY_S = 86_400


class SeriesService:
    """Runs questions on a reader that is opened when it is first needed."""

    def __init__(self, open_reader: Callable[[], SeriesReader]) -> None:
        self._open = open_reader
        self._reader: SeriesReader | None = None
        self._lock = threading.Lock()
        self._limiter = anyio.CapacityLimiter(_AT_ONCE)
        self.failing: str | None = None
        """Why the last question was not answered; None while the store answers."""
        self.asked = 0
        """Questions since the start."""

    async def run(self, ask: Callable[[SeriesReader], T]) -> T:
        """Ask in a thread; raise StoreUnavailableError when the store does not answer."""
        return await anyio.to_thread.run_sync(self._run, ask, limiter=self._limiter)

    def close(self) -> None:
        """Release the reader."""
        with self._lock:
            if self._reader is not None:
                self._reader.close()
                self._reader = None

    def _run(self, ask: Callable[[SeriesReader], T]) -> T:
        self.asked += 1
        try:
            answer = ask(self._opened())
        except QueryTooLargeError as error:  # the store answers; the question was the client's
            self.failing = None
            raise invalid("every_ms", str(error)) from None
        except EstateError as error:  # settings or a file that cannot be used are no answer too
            self.failing = str(error)
            raise StoreUnavailableError(str(error)) from error
        self.failing = None
        return answer

    def _opened(self) -> SeriesReader:
        with self._lock:
            if self._reader is None:
                self._reader = self._open()
            return self._reader


def step_for(span_ms: int) -> int:
    """Return the shortest plain window (ms) that gives at most 1,000 points over a span."""
    wanted = span_ms / CHART_POINTS / _S
    for step in _STEPS_S:
        if step >= wanted:
            return step * _S
    days = -(-wanted // _DAY_S)
    return int(days) * _DAY_S * _S


def check_points(span_ms: int, every_ms: int) -> None:
    """Refuse what could have more than :data:`MAX_POINTS` answers, and say what would do."""
    points = -(-span_ms // every_ms)
    if points > MAX_POINTS:
        raise invalid(
            "every_ms",
            f"that would be {points} points, and {MAX_POINTS} is the most; ask for a shorter "
            f"time, or for every_ms of at least {-(-span_ms // MAX_POINTS)}",
        )


def check_field(kind: str, field: str) -> None:
    """Refuse a field that the kind does not have or that is not one value."""
    names = [name for name in FIELDS[kind] if _is_scalar(kind, name)]
    if field not in names:
        known = ", ".join(names) or "none"
        raise invalid("field", f"{kind} has no such field to draw; known are {known}")


def aggregate_for(kind: str, field: str, asked: AggregateName | None) -> AggregateName:
    """Return the aggregate; texts and yes/no have no mean, so they show their last value."""
    if _is_number(kind, field):
        return asked or AggregateName.MEAN
    if asked in (None, AggregateName.LAST, AggregateName.COUNT):
        return asked or AggregateName.LAST
    raise invalid("aggregate", f"{field} is not a number: use last or count")


def check_fill(kind: str, field: str, fill: FillName, every_ms: int) -> None:
    """Refuse to fill what has no windows, or to draw lines between what is no number."""
    if fill is not FillName.NONE and not every_ms:
        raise invalid("fill", "values as they came have no gaps to fill: leave fill out")
    if fill is FillName.LINEAR and not _is_number(kind, field):
        raise invalid("fill", f"{field} is not a number: use previous or null")


def _leaves(annotation: Any) -> set[Any]:
    args = typing.get_args(annotation)
    if typing.get_origin(annotation) is typing.Literal:
        return {type(arg) for arg in args}
    if typing.get_origin(annotation) in (list, dict):
        return {list}
    if not args:
        return {annotation}
    if typing.get_origin(annotation) is typing.Annotated:
        return _leaves(args[0])
    return set().union(*(_leaves(arg) for arg in args))


def _types(kind: str, field: str) -> set[Any]:
    model: type[BaseModel] = KINDS[kind].data
    return _leaves(model.model_fields[field].annotation) - {type(None)}


def _is_scalar(kind: str, field: str) -> bool:
    return _types(kind, field) <= {int, float, str, bool}


def _is_number(kind: str, field: str) -> bool:
    return _types(kind, field) <= {int, float}
