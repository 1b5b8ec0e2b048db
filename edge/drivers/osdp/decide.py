"""Who may pass: a card, a door and a moment give a decision with its reason.

Pure but for what it remembers: refusals at each reader, and who is in which area. It needs no
network; that is the point of deciding at the door.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from zoneinfo import ZoneInfo

from edge.drivers.osdp.access_list import DAYS, AccessList, Card, Window


class Outcome(StrEnum):
    """What a decision is; the refusals are the reasons of ``access.denied``."""

    GRANTED = "granted"
    PIN = "pin"
    """The code is wanted before anything is decided."""
    BLACKLISTED = "blacklisted"
    TOO_MANY_ATTEMPTS = "too_many_attempts"
    UNKNOWN_CREDENTIAL = "unknown_credential"
    EXPIRED = "expired"
    NO_PERMISSION = "no_permission"
    WRONG_TIME = "wrong_time"
    INTERLOCK = "interlock"
    ANTI_PASSBACK = "anti_passback"
    NO_MATCH = "no_match"


#: What somebody meets who tries cards or codes; a known card at the wrong door is no attempt.
_GUESSES = frozenset({Outcome.UNKNOWN_CREDENTIAL, Outcome.NO_MATCH})


@dataclass(frozen=True, slots=True)
class Ask:
    """A card (by pseudonym) at a reader of a door; ``now`` is ms of the run's clock."""

    card: str
    reader: str
    door: str
    inward: bool
    now: int
    area: str | None = None
    open_doors: Collection[str] = ()


@dataclass(frozen=True, slots=True)
class Decision:
    """An outcome; ``person`` is the card's own pseudonym where the list names nobody else."""

    outcome: Outcome
    person: str
    duress: bool = False


class Panel:
    """Decides by one access list at a time."""

    def __init__(self, access: AccessList) -> None:
        self._refusals: dict[str, deque[int]] = {}
        self._locked_until: dict[str, int] = {}
        self._inside: dict[tuple[str, str], int] = {}
        self.use(access)

    def use(self, access: AccessList) -> None:
        """Take another list; what is remembered stays."""
        self._access = access
        self._zone = ZoneInfo(access.timezone)
        self._cards = {card.card: card for card in access.cards}

    @property
    def pin_timeout_ms(self) -> int:
        """Return how long (ms) a code is waited for after its card."""
        return round(self._access.pin_timeout_s * 1000)

    def present(self, ask: Ask) -> Decision:
        """Decide about a card, or ask for its code."""
        return self._remember(ask, self._judge(ask))

    def code(self, ask: Ask, code: str | None) -> Decision:
        """Decide about a card whose code was asked for; None: it did not come in time.

        ``code`` is the pseudonym of card and digits. The card is judged again: minutes can
        matter at the end of a schedule.
        """
        decision = self._judge(ask)
        if decision.outcome is Outcome.PIN:
            card = self._cards[ask.card]
            if code is not None and code == card.duress_pin:
                decision = Decision(Outcome.GRANTED, decision.person, duress=True)
            elif code is not None and code == card.pin:
                decision = Decision(Outcome.GRANTED, decision.person)
            else:
                decision = Decision(Outcome.NO_MATCH, decision.person)
        return self._remember(ask, decision)

    def _judge(self, ask: Ask) -> Decision:
        card = self._cards.get(ask.card)
        person = ask.card if card is None else card.person or card.card
        if ask.now < self._locked_until.get(ask.reader, 0):
            return Decision(Outcome.TOO_MANY_ATTEMPTS, person)
        if card is None:
            return Decision(Outcome.UNKNOWN_CREDENTIAL, person)
        refusal = self._refusal(card, ask)
        if refusal is not None:
            return Decision(refusal, person)
        return Decision(Outcome.GRANTED if card.pin is None else Outcome.PIN, person)

    def _refusal(self, card: Card, ask: Ask) -> Outcome | None:
        local = datetime.fromtimestamp(ask.now / 1000, self._zone)
        today = local.date()
        if card.blacklisted:
            return Outcome.BLACKLISTED
        if (card.valid_from is not None and today < card.valid_from) or (
            card.valid_until is not None and today > card.valid_until
        ):
            return Outcome.EXPIRED
        if card.doors != "all" and ask.door not in card.doors:
            return Outcome.NO_PERMISSION
        if card.schedule is not None and not within(self._access.schedules[card.schedule], local):
            return Outcome.WRONG_TIME
        if self._interlocked(ask):
            return Outcome.INTERLOCK
        if ask.inward and self._is_inside(card, ask):
            return Outcome.ANTI_PASSBACK
        return None

    def _interlocked(self, ask: Ask) -> bool:
        others = {
            door
            for group in self._access.interlock
            if ask.door in group
            for door in group
            if door != ask.door
        }
        return any(door in others for door in ask.open_doors)

    def _is_inside(self, card: Card, ask: Ask) -> bool:
        rule = self._access.anti_passback
        if rule is None or ask.area is None or ask.area not in rule.areas:
            return False
        came = self._inside.get((ask.area, card.person or card.card))
        return came is not None and ask.now - came < rule.forget_h * 3_600_000

    def _remember(self, ask: Ask, decision: Decision) -> Decision:
        outcome, person = decision.outcome, decision.person
        if outcome is Outcome.GRANTED:
            self._refusals.pop(ask.reader, None)
            if ask.area is not None:
                if ask.inward:
                    self._inside[ask.area, person] = ask.now
                else:
                    self._inside.pop((ask.area, person), None)
        elif outcome in _GUESSES:
            self._count_refusal(ask)
        return decision

    def _count_refusal(self, ask: Ask) -> None:
        rule = self._access.attempts
        refusals = self._refusals.setdefault(ask.reader, deque())
        refusals.append(ask.now)
        while ask.now - refusals[0] > rule.window_s * 1000:
            refusals.popleft()
        if len(refusals) >= rule.limit:
            self._locked_until[ask.reader] = ask.now + round(rule.lock_s * 1000)
            refusals.clear()


def within(windows: Iterable[Window], local: datetime) -> bool:
    """Tell whether a local moment lies in one of the windows."""
    today, yesterday = DAYS[local.weekday()], DAYS[local.weekday() - 1]
    clock = local.time()
    for window in windows:
        if window.begin < window.end:
            if today in window.days and window.begin <= clock < window.end:
                return True
            continue
        # Over midnight: the evening of a day that is named, and the morning after it.
        whole_day = window.begin == window.end
        if today in window.days and (clock >= window.begin or whole_day):
            return True
        if not whole_day and yesterday in window.days and clock < window.end:
            return True
    return False
