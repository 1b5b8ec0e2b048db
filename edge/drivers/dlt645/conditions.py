"""From status words and event counters to what stands at a meter and what happened to it.

A status word says what is so now; a counter says that it was so since it was last read. So a
cover that was opened and shut between two reads is told as begun when its counter is found
risen, and as ended when the counter is next found unchanged. What a status word has told
already is not told again when its counter follows.

Bits: annex C of DL/T 645-2007, as described by public implementations; word 7 is unverified.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from edge.drivers.dlt645.items import COUNTERS

#: Words 4 to 6, one a phase: bit -> event.
_PHASE_BITS: Mapping[int, str] = {
    0: "phase_loss", 1: "undervoltage", 2: "overvoltage", 3: "current_loss", 4: "overcurrent",
    5: "overload", 6: "reverse_power", 7: "phase_loss",
}  # fmt: skip
#: (word, bit) -> event.
_BITS: Mapping[tuple[int, int], str] = {
    (1, 2): "clock_battery_low", (1, 3): "battery_low", (1, 4): "reverse_power",
    (2, 0): "reverse_power", (2, 1): "reverse_power", (2, 2): "reverse_power",
    (3, 3): "programming_allowed", (3, 4): "relay_opened", (3, 7): "pre_trip_alarm",
    (7, 5): "power_off",
}  # fmt: skip
_SUPPLY_WORD, _SUPPLY_SHIFT = 3, 1
#: Bits 1-2 of word 3: 0 main supply.
_SUPPLIES = {1: "auxiliary_supply", 2: "power_off"}
#: What a gateway's words mean for a water, gas or heat meter.
_VALVE_BITS: Mapping[tuple[int, int], str] = {
    (1, 2): "clock_battery_low", (1, 3): "battery_low", (3, 4): "valve_closed",
}  # fmt: skip

#: Told once at the start, whether it stands or not: the state of the supply.
ALWAYS_TOLD = frozenset({"relay_opened", "valve_closed"})


def standing_in(words: Mapping[int, int], medium: str = "electricity") -> dict[str, str]:
    """Return what stands according to status words (number -> bits): event -> where it is."""
    found: dict[str, str] = {}
    bits = _BITS if medium == "electricity" else _VALVE_BITS
    for (number, bit), event in bits.items():
        if words.get(number, 0) >> bit & 1:
            found.setdefault(event, f"{0x04000500 + number:08X}.{bit}")
    if medium != "electricity":
        return found
    supply = _SUPPLIES.get(words.get(_SUPPLY_WORD, 0) >> _SUPPLY_SHIFT & 3)
    if supply:
        found.setdefault(supply, f"{0x04000500 + _SUPPLY_WORD:08X}.{_SUPPLY_SHIFT}")
    for number in (4, 5, 6):
        for bit, event in _PHASE_BITS.items():
            if words.get(number, 0) >> bit & 1:
                found.setdefault(event, f"L{number - 3}")
    return found


def known_in(words: Iterable[int], medium: str = "electricity") -> set[str]:
    """Return the events whose state these status words tell."""
    numbers = set(words)
    bits = _BITS if medium == "electricity" else _VALVE_BITS
    known = {event for (number, _), event in bits.items() if number in numbers}
    if medium == "electricity":
        if _SUPPLY_WORD in numbers:
            known |= set(_SUPPLIES.values())
        if numbers & {4, 5, 6}:
            known |= set(_PHASE_BITS.values())
    return known


@dataclass(frozen=True, slots=True)
class Transition:
    """Something that began or ended at a meter."""

    event: str
    active: bool
    raw_code: str | None = None


@dataclass(slots=True)
class Conditions:
    """What is known to stand at one meter; a transition counts once it is :meth:`told`."""

    medium: str = "electricity"
    counts: dict[int, list[int]] = field(default_factory=dict)
    """Event counters as last read; kept over a restart of the edge."""
    _words: dict[int, int] = field(default_factory=dict)
    _risen: dict[str, str] = field(default_factory=dict)
    """Events that a counter told and no status word shows -> the counter."""
    _extra: dict[str, bool] = field(default_factory=dict)
    _told: dict[str, bool] = field(default_factory=dict)
    _begun: dict[str, int] = field(default_factory=dict)
    """How often each event was told as begun since its counter was last read."""

    def see_words(self, words: Mapping[int, int]) -> None:
        """Take status words."""
        self._words.update(words)

    def see_condition(self, event: str, *, stands: bool) -> None:
        """Take a condition that the driver finds itself (a clock that is wrong)."""
        self._extra[event] = stands

    def see_counts(self, counts: Mapping[int, list[int]]) -> None:
        """Take counters, one list of counts (by phase, or one) for each identifier."""
        grouped: dict[str, list[int]] = {}
        for identifier in counts:
            grouped.setdefault(COUNTERS[identifier], []).append(identifier)
        for event, identifiers in grouped.items():
            rises = {
                identifier: _rise(self.counts.get(identifier), counts[identifier])
                for identifier in identifiers
            }
            source = max(rises, key=lambda identifier: rises[identifier])
            if rises[source] > self._begun.pop(event, 0):
                self._risen[event] = f"{source:08X}+{rises[source]}"
            elif self._told.get(event):
                # Not before it was told: the journal may have been full meanwhile.
                self._risen.pop(event, None)
        self.counts.update({identifier: list(found) for identifier, found in counts.items()})

    def forget_counts(self) -> None:
        """Begin anew with the counters: another meter is there."""
        self.counts.clear()
        self._begun.clear()
        self._risen.clear()

    def transitions(self) -> list[Transition]:
        """Return what is to be told, ends before beginnings."""
        shown = standing_in(self._words, self.medium)
        stands = {**self._risen, **shown}
        stands.update({event: "" for event, so in self._extra.items() if so})
        first = known_in(self._words, self.medium) & ALWAYS_TOLD
        due = [
            Transition(event, active=event in stands, raw_code=stands.get(event) or None)
            for event in sorted(stands.keys() | self._told.keys() | first)
            if self._told.get(event) is not (event in stands)
            and (event in stands or event in self._told or event in first)
        ]
        return sorted(due, key=lambda transition: transition.active)

    def told(self, transition: Transition) -> None:
        """Note that a transition is committed."""
        self._told[transition.event] = transition.active
        if transition.active and transition.event not in self._risen:
            self._begun[transition.event] = self._begun.get(transition.event, 0) + 1


def _rise(before: list[int] | None, after: list[int]) -> int:
    """Return by how much a counter rose, on the phase where it rose most."""
    if before is None or len(before) != len(after):
        return 0
    return max((now - then for then, now in zip(before, after, strict=True)), default=0)
