"""The access list: which card may pass which door, and when. It names nobody.

Cards, persons and codes stand in it as keyed pseudonyms, which ``python -m
edge.drivers.osdp.enrol`` makes with the edge's key; without the key neither a card nor a code
can be had back from it.
"""

from __future__ import annotations

from datetime import date, time
from pathlib import Path
from typing import Annotated, Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import Field, field_validator, model_validator

from core.contracts.vocabulary.base import Name, Pseudonym
from core.runtime.settings import parse, read_yaml
from edge.drivers.settings import DeviceId, Section

Day = Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"]
DAYS: tuple[Day, ...] = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_Group = Annotated[list[DeviceId], Field(min_length=2)]
#: A code is kept as the pseudonym of card and digits; shorter ones can be guessed at the door.
SHORTEST_PIN, LONGEST_PIN = 4, 12


class Window(Section):
    """Hours of some days, local time; one that ends before it begins runs over midnight."""

    days: Annotated[tuple[Day, ...], Field(min_length=1)] = DAYS
    begin: time = time(0)
    end: time = time(0)
    """The same as ``begin``: the whole day."""

    @field_validator("begin", "end", mode="before")
    @classmethod
    def _quoted(cls, value: object) -> object:
        # YAML 1.1 reads 07:00 without quotation marks as the number 420.
        if isinstance(value, int | float):
            raise ValueError('write the time in quotation marks: "07:00"')  # noqa: TRY004
        return value


class Card(Section):
    """One card and what it opens."""

    card: Pseudonym
    person: Pseudonym | None = None
    """What the events name; none: the card's own pseudonym."""
    doors: Annotated[list[DeviceId], Field(max_length=10_000)] | Literal["all"]
    """Doors by the device id of the reader that has the lock."""
    schedule: Name | None = None
    """None: at any time."""
    valid_from: date | None = None
    valid_until: date | None = None
    """The last day on which it opens anything."""
    blacklisted: bool = False
    pin: Pseudonym | None = None
    """After the card this code is to be entered, ended by ``#``."""
    duress_pin: Pseudonym | None = None
    """This code opens as well, and tells silently that its owner is being forced."""

    @model_validator(mode="after")
    def _fits(self) -> Card:
        if self.duress_pin is not None and self.pin is None:
            raise ValueError("duress_pin needs pin")
        if self.duress_pin is not None and self.duress_pin == self.pin:
            raise ValueError("duress_pin and pin are the same")
        return self


class AntiPassback(Section):
    """Who is in an area does not come in again before going out."""

    areas: Annotated[list[Name], Field(min_length=1)]
    forget_h: Annotated[float, Field(gt=0, le=168)] = 12
    """Whoever came in longer ago counts as out."""


class Attempts(Section):
    """After so many unknown cards and wrong codes in a row the reader takes no card for a while."""

    limit: Annotated[int, Field(ge=2, le=100)] = 5
    window_s: Annotated[float, Field(ge=1, le=3600)] = 60
    lock_s: Annotated[float, Field(ge=1, le=3600)] = 60


class AccessList(Section):
    """The whole list."""

    timezone: str = "Asia/Shanghai"
    schedules: Annotated[
        dict[Name, Annotated[list[Window], Field(min_length=1)]], Field(default_factory=dict)
    ]
    cards: Annotated[list[Card], Field(max_length=100_000)]
    anti_passback: AntiPassback | None = None
    interlock: tuple[_Group, ...] = ()
    """Groups of doors of which only one may be open: sluices."""
    attempts: Attempts = Attempts()
    pin_timeout_s: Annotated[float, Field(ge=1, le=120)] = 15

    @field_validator("timezone")
    @classmethod
    def _known_zone(cls, name: str) -> str:
        try:
            ZoneInfo(name)
        except (ZoneInfoNotFoundError, ValueError, OSError):
            raise ValueError(f"unknown time zone {name}") from None
        return name

    @model_validator(mode="after")
    def _fits(self) -> AccessList:
        seen: set[str] = set()
        for index, card in enumerate(self.cards):
            if card.card in seen:
                raise ValueError(f"cards.{index}: the card stands twice")
            seen.add(card.card)
            if card.schedule is not None and card.schedule not in self.schedules:
                raise ValueError(f"cards.{index}: unknown schedule {card.schedule}")
        return self


class AccessFile:
    """The file of an access list, which is read again when it changes."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._seen: tuple[int, int] | None = None

    def load(self) -> AccessList:
        """Read it; raise :class:`SettingsError` that names each bad key."""
        self._seen = self._stamp()
        return parse(AccessList, read_yaml(self._path), str(self._path))

    def changed(self) -> AccessList | None:
        """Read it if it is another one than the last time; raise :class:`SettingsError`."""
        return None if self._stamp() == self._seen else self.load()

    def _stamp(self) -> tuple[int, int] | None:
        try:
            found = self._path.stat()
        except OSError:
            return None
        return found.st_mtime_ns, found.st_size
