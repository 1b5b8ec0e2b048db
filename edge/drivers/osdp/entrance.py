"""One door with its readers, lock and inputs: what happens there gives what is told and done.

Pure: nothing is sent from here. :class:`Say` is for the journal, :class:`Drive` for the bus.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from core.contracts.vocabulary.base import Direction
from edge.drivers.osdp.access_list import LONGEST_PIN
from edge.drivers.osdp.decide import Ask, Decision, Outcome, Panel
from edge.drivers.osdp.door import Door, Tell
from edge.drivers.osdp.settings import InputSettings, LockSettings, ReaderSettings
from edge.pseudonym import Pseudonyms
from edge.wiegand import Card

#: What a keypad sends beside digits (0 to 9 in ASCII): ``*`` clears, ``#`` ends a code.
_CLEAR, _ENTER = frozenset({0x7F, 0x2A}), frozenset({0x0D, 0x23})
#: Control codes of the command OUT: off and on for good, on and off for a time.
_OFF, _ON, _PULSE_ON, _PULSE_OFF = 1, 2, 5, 6
#: With a lock that this edge does not drive an exit button opens for about so long.
_EXIT_S = 5.0


@dataclass(frozen=True, slots=True)
class Say:
    """One observation to tell."""

    kind: str
    device: str
    data: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Drive:
    """One output of the door's reader to switch; ``tenths`` of a second for pulses."""

    output: int
    control: int
    tenths: int = 0


@dataclass(frozen=True, slots=True)
class Skip:
    """Something that has no observation; ``reason`` is the name of a counter."""

    reason: str


Act = Say | Drive | Skip


@dataclass(slots=True)
class _Code:
    """A code that is being entered after its card."""

    ask: Ask
    until: int
    digits: str = ""


class Entrance:
    """A door; readers are named by their address."""

    def __init__(self, owner: ReaderSettings, panel: Panel | None, pseudonyms: Pseudonyms) -> None:
        self.device = owner.device
        self._lock = owner.lock
        self._inputs = owner.inputs
        self._area = owner.area
        self._panel = panel
        self._pseudonyms = pseudonyms
        self._codes: dict[int, _Code] = {}
        self._fire: dict[tuple[str, str], bool] = {}
        self.door = Door(
            held_open_s=owner.held_open_s,
            grace_s=owner.grace_s,
            judges=panel is not None and owner.lock is not None,
        )

    # -- cards and codes ---------------------------------------------------------------------

    def card(
        self,
        address: int,
        direction: Direction,
        card: Card,
        now: int,
        open_doors: Collection[str] = (),
    ) -> list[Act]:
        """Take a card that was presented."""
        if self._panel is None:
            return [Skip("cards_not_judged")]
        ask = Ask(
            card=self._pseudonyms.of("card", card.identifier),
            reader=f"{self.device}/{address}",
            door=self.device,
            inward=direction == "in",
            now=now,
            area=self._area,
            open_doors=open_doors,
        )
        acts: list[Act] = []
        if self._codes.pop(address, None) is not None:
            acts.append(Skip("codes_abandoned"))
        decision = self._panel.present(ask)
        if decision.outcome is Outcome.PIN:
            self._codes[address] = _Code(ask, now + self._panel.pin_timeout_ms)
            return acts
        return acts + self._follow(address, ask, decision)

    def keys(self, address: int, keys: bytes, now: int) -> list[Act]:
        """Take the keys that were pressed."""
        acts: list[Act] = []
        for key in keys:
            code = self._codes.get(address)
            if code is None:
                acts.append(Skip("keys_without_card"))
            elif key in _ENTER:
                acts += self._decide(address, now, code.digits)
            elif key in _CLEAR:
                code.digits = ""
            elif chr(key).isdecimal() and len(code.digits) < LONGEST_PIN:
                code.digits += chr(key)
            else:
                acts.append(Skip("odd_keys"))
        return acts

    def _decide(self, address: int, now: int, digits: str | None) -> list[Act]:
        code = self._codes.pop(address)
        if self._panel is None:
            return []
        ask = code.ask
        ask = Ask(ask.card, ask.reader, ask.door, ask.inward, now, ask.area, ask.open_doors)
        entered = None if digits is None else pin_pseudonym(self._pseudonyms, ask.card, digits)
        return self._follow(address, ask, self._panel.code(ask, entered))

    def _follow(self, address: int, ask: Ask, decision: Decision) -> list[Act]:
        data: dict[str, Any] = {
            "credential": "card",
            "direction": "in" if ask.inward else "out",
            "reader": str(address),
            "person": decision.person,
        }
        outcome = decision.outcome
        if outcome is Outcome.GRANTED:
            silent: list[Act] = [Say("access.duress", self.device, data)] if decision.duress else []
            return [*self._release(ask.now), *silent, Say("access.granted", self.device, data)]
        if outcome is Outcome.BLACKLISTED:
            return [Say("access.blacklisted", self.device, data)]
        return [Say("access.denied", self.device, {**data, "reason": str(outcome)})]

    # -- the lock ----------------------------------------------------------------------------

    @property
    def lock(self) -> LockSettings | None:
        """Return the lock, None where this edge drives none."""
        return self._lock

    def unlock(self, now: int) -> list[Act]:
        """Release the door because somebody who may asks for it."""
        return [
            *self._release(now),
            Say("access.granted", self.device, {"credential": "remote"}),
        ]

    def back(self) -> list[Act]:
        """Return what the reader has to be told when it comes back: its outputs may be reset."""
        return self._hold_released() if self.door.fire else []

    def _release(self, now: int) -> list[Act]:
        lock = self._lock
        if lock is None:
            return []
        self.door.release(now, lock.seconds)
        if self.door.fire:
            return []  # a pulse would end the standing release
        control = _PULSE_ON if lock.release == "on" else _PULSE_OFF
        return [Drive(lock.output, control, round(lock.seconds * 10))]

    def _hold_released(self) -> list[Act]:
        lock = self._lock
        if lock is None:
            return []
        return [Drive(lock.output, _ON if (lock.release == "on") is self.door.fire else _OFF)]

    # -- inputs and time ---------------------------------------------------------------------

    def inputs(self, report: bytes, now: int) -> list[Act]:
        """Take the states of all inputs, one byte each."""
        acts: list[Act] = []
        for setting in self._inputs:
            value = report[setting.number] if setting.number < len(report) else None
            if value in (0, 1):
                acts += self._input(setting, bool(value) is not setting.invert, now)
            else:
                acts.append(Skip("odd_inputs"))
        return acts

    def _input(self, setting: InputSettings, active: bool, now: int) -> list[Act]:  # noqa: FBT001
        door = self.door
        if setting.role == "contact":
            return self._say(door.contact(now, is_open=active))
        if setting.role == "exit_button":
            seconds = _EXIT_S if self._lock is None else self._lock.seconds
            told = self._say(door.button(now, seconds, pressed=active))
            return [*self._release(now), *told] if told else []
        if setting.role == "fire_release":
            told = self._say(door.fire_release(now, active=active))
            return [*self._hold_released(), *told] if told else []
        kind = "fire.alarm" if setting.role == "fire_alarm" else "fire.fault"
        point = setting.point or f"input-{setting.number}"
        if self._fire.get((kind, point)) is active:
            return []
        self._fire[kind, point] = active
        return [Say(kind, self.device, {"active": active, "point": point})]

    def due(self, now: int) -> list[Act]:
        """Return what follows from nothing having happened until now."""
        acts = self._say(self.door.due(now))
        for address in [a for a, code in self._codes.items() if now >= code.until]:
            acts += self._decide(address, now, None)
        return acts

    def _say(self, told: list[Tell]) -> list[Act]:
        return [Say(tell.kind, self.device, tell.data) for tell in told]


def pin_pseudonym(pseudonyms: Pseudonyms, card: str, digits: str) -> str:
    """Return what stands for a code in the access list; the same digits differ by card."""
    return pseudonyms.of("pin", f"{card}:{digits}")
