"""One visit to one meter: what is due is read, what it lacks is remembered."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from core.contracts.errors import DeviceRefusedError
from edge.driver import LinkError
from edge.drivers.dlt645.clock import clock_offset_s, demand_time_ms
from edge.drivers.dlt645.items import Item, Values, counter_of, electricity
from edge.drivers.dlt645.link import Link, NoSuchDataError
from edge.drivers.dlt645.plan import Plan
from edge.drivers.dlt645.settings import Dlt645Settings, MeterSettings
from edge.meters.frames import CodecError
from edge.transport.bus import Bus, NoAnswerError

#: An identifier that a meter does not have is asked again after so long (real time): the
#: meter may have been exchanged.
_ASK_AGAIN_S = 6 * 3600
#: Some meters are silent where they should say that they lack an item; after so many times it
#: counts as missing.
_SILENCES = 3
#: No further group is begun in a visit after so many questions beyond those of each poll.
_MOST_EXTRA = 8

Count = Callable[[str], None]


@dataclass(slots=True)
class Reading:
    """What one visit found.

    ``values`` has fields of ``meter.reading`` and, with an underscore in front, what the driver
    works with (``_words``, ``_counts``, ``_number``).
    """

    values: Values = field(default_factory=dict)
    latency_ms: float | None = None
    address: str = ""


class MeterReader:
    """Reads one meter by its plan."""

    def __init__(self, settings: Dlt645Settings, meter: MeterSettings, link: Link) -> None:
        self._settings = settings
        self._meter = meter
        self._link = link
        catalogue = (
            electricity(meter.phases)
            if meter.medium == "electricity"
            else counter_of(meter.medium, int(meter.register_item, 16), meter.register_decimals)
        )
        self._plan = Plan(settings, meter, catalogue)
        self._missing: dict[int, float] = {}
        self._silent: Counter[int] = Counter()

    @property
    def missing(self) -> int:
        """Return how many identifiers the meter does not have."""
        return len(self._missing)

    def forget(self) -> None:
        """Ask for everything anew: another meter is there."""
        self._missing.clear()
        self._silent.clear()

    async def read(
        self, bus: Bus, now_ms: Callable[[], int], count: Count, budget_s: float
    ) -> Reading:
        """Read what is due; ``budget_s`` is the share (real time) that slower groups may use.

        Raises :class:`LinkError` when the meter does not answer or has nothing.
        """
        began, now = time.monotonic(), now_ms()
        visit = _Visit(self, bus, now_ms, count)
        for group in self._plan.always:
            await visit.read_group(self._plan.items(group))
        asked = visit.asked
        for group in self._plan.due(now):
            if visit.asked - asked >= _MOST_EXTRA or time.monotonic() - began > budget_s:
                break
            await visit.read_group(self._plan.items(group))
            self._plan.done(group, now)
        if not visit.reading.values:
            raise LinkError(f"meter {self._meter.address}: has none of the items", "protocol")
        return visit.reading

    def lacks(self, identifier: int) -> bool:
        """Tell whether the meter is known not to have an item."""
        asked = self._missing.get(identifier)
        return asked is not None and time.monotonic() - asked <= _ASK_AGAIN_S

    async def ask(self, bus: Bus, item: Item, reading: Reading) -> Values | None:
        """Ask for one item; None when the meter does not have it."""
        identifier = item.identifier
        tries = 1 if self._silent[identifier] else None
        try:
            answer = await self._link.read(bus, self._meter.wire_address, identifier, tries=tries)
        except NoSuchDataError:
            self._missing[identifier] = time.monotonic()
            return None
        self._missing.pop(identifier, None)
        self._silent.pop(identifier, None)
        reading.address = answer.address
        reading.latency_ms = reading.latency_ms or answer.latency_ms
        return item.decode(answer.payload)

    def silent(self, identifier: int) -> None:
        """Note that an item found no answer while others did."""
        self._silent[identifier] += 1
        if self._silent[identifier] >= _SILENCES:
            self._missing[identifier] = time.monotonic()
            del self._silent[identifier]

    def derive(self, values: Values, now: int) -> None:
        """Turn what the meter says about time into ms and seconds."""
        offset_h = self._settings.utc_offset_h
        date, clock = values.pop("_date", None), values.pop("_time", None)
        if date and clock:
            offset = clock_offset_s(date, clock, offset_h, now)
            if offset is not None:
                values["clock_offset_s"] = offset
        told = values.pop("_demand_max_at", None)
        if told and (at := demand_time_ms(told, offset_h)) is not None:
            values["demand_max_at"] = at


class _Visit:
    """The state of one visit."""

    def __init__(
        self, reader: MeterReader, bus: Bus, now_ms: Callable[[], int], count: Count
    ) -> None:
        self.reading = Reading()
        self.asked = 0
        self._reader = reader
        self._bus = bus
        self._now_ms = now_ms
        self._count = count
        self._answered = False
        self._silences = 0

    async def read_group(self, items: tuple[Item, ...]) -> None:
        values: Values = {}
        for item in items:
            _merge(values, await self._read(item))
        if str(values.get("_time", "")).startswith("0000"):
            # Midnight may have passed between the date and the time.
            _merge(values, await self._read(items[0]))
        self._reader.derive(values, self._now_ms())
        _merge(self.reading.values, values)

    async def _read(self, item: Item) -> Values:
        """Read one item, or what stands in for it; an item that is missing gives nothing."""
        if item.unless is not None and not self._reader.lacks(item.unless):
            return {}
        if not self._reader.lacks(item.identifier):
            found = await self._ask(item)
            if found is not None:
                return found
        values: Values = {}
        for other in item.instead:
            _merge(values, await self._read(other))
        return values

    async def _ask(self, item: Item) -> Values | None:
        self.asked += 1
        try:
            found = await self._reader.ask(self._bus, item, self.reading)
        except NoAnswerError:
            self._silences += 1
            # Nothing at all, or twice in a row: the meter is away. Else it lacks this item.
            if not self._answered or self._silences > 1:
                raise
            self._count("items_silent")
            self._reader.silent(item.identifier)
            return {}
        except (DeviceRefusedError, CodecError):
            # Refused or unreadable this time only; the other items are still good.
            self._count("items_refused")
            found = {}
        self._answered, self._silences = True, 0
        return found


def _merge(values: Values, more: dict[str, Any]) -> None:
    for name, value in more.items():
        if isinstance(value, dict):
            values.setdefault(name, {}).update(value)
        else:
            values[name] = value
