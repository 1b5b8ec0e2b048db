"""Presence: whether a device is heard within its expected interval, and if not, why.

A device is late after one interval (and a grace of a fifth), offline after three. Time in
which its edge is away or still drains a backlog does not count: silence is counted from the
later of the last word and the moment from which the edge was listened to again. While the
edge is away, its devices are offline with the edge as cause, or with the broker where the
collector has lost that; when the edge returns they are unknown until they are heard. Any live
event is a word, a backlog's is not. A device without a configured interval is online from its
first word until its edge or its health says otherwise, or until its interval has been learned
(:mod:`rules.rhythm`) and passes.
"""

from __future__ import annotations

from typing import Any

from core.contracts.outputs import Cause, Output, Presence, PresenceOutput
from rules.colours import Colours
from rules.rhythm import Rhythm
from rules.subjects import NEVER, Subject
from rules.timers import Timers, What

GRACE = 0.2
OFFLINE_AFTER = 3
_GATEWAY_CAUSES = frozenset({"gateway", "bus", "network"})
_AWAY_CAUSES = frozenset({Cause.EDGE, Cause.BROKER})


class Presences:
    """The fold over what is heard; a change goes to ``outputs`` and to the colours."""

    def __init__(self, timers: Timers, colours: Colours) -> None:
        self._timers = timers
        self._colours = colours

    def heard(self, subject: Subject, at: int, outputs: list[Output]) -> None:
        """A device that was not online has been heard (``heard_at`` and ``heard_q`` are set)."""
        if subject.unwell:
            subject.unwell, subject.well_q = False, subject.heard_q
        self._set(subject, Presence.ONLINE, None, at, outputs)
        self.watch(subject)

    def unwell(self, subject: Subject, data: Any, at: int, outputs: list[Output]) -> None:
        """The edge says that it cannot reach a device."""
        behind = data.root is not None or data.cause in _GATEWAY_CAUSES
        cause = Cause.GATEWAY if behind else Cause.DEVICE
        subject.unwell = True
        subject.wake_q = NEVER
        self._set(subject, Presence.OFFLINE, cause, at, outputs)

    def edge_away(self, subject: Subject, cause: Cause, at: int, outputs: list[Output]) -> None:
        """The edge of a device is not heard: itself, or what lies between, is the ``cause``."""
        subject.wake_q = NEVER
        self._set(subject, Presence.OFFLINE, cause, at, outputs)

    def edge_back(self, subject: Subject, at: int, outputs: list[Output]) -> None:
        """The edge of a device returned: whether the device did, nobody knows yet.

        If it is still out of reach, the edge's fresh state says so again.
        """
        subject.unwell = False
        if subject.cause in _AWAY_CAUSES:
            self._set(subject, Presence.UNKNOWN, None, at, outputs)

    def listen(self, subject: Subject, now_q: int, at: int, outputs: list[Output]) -> None:
        """Learn from a word of a device without a configured interval, before it is noted.

        Several words at one moment are one; nothing is learned from the time before its edge
        was listened to (again), nor from the first word.
        """
        if subject.rhythm is None:
            subject.rhythm = Rhythm(now_q, now_q)
            return
        gap = now_q - subject.heard_q
        edge = subject.edge
        if gap <= 0 or subject.unwell:
            return
        if edge is not None and (not edge.listening or subject.heard_q < edge.listening_q):
            return
        if subject.rhythm.heard(gap, now_q):
            outputs.append(self._output(subject, at))
            subject.wake_q = NEVER
            self.watch(subject)

    def watch(self, subject: Subject) -> None:
        """Set the timer for a device's next word, if it is to be expected now."""
        deadline = self._deadline(subject)
        if deadline < subject.wake_q:
            subject.wake_q = deadline
            self._timers.push(deadline, What.PRESENCE, "", subject.id)

    def _deadline(self, subject: Subject) -> int:
        """Return when (listening time) silence changes a device's presence."""
        expect = subject.interval_ms
        if expect is None or not subject.running or subject.presence is Presence.OFFLINE:
            return NEVER
        if subject.edge is None and subject.heard_at is None:
            return NEVER  # nobody said that this device exists already
        if subject.presence is Presence.LATE:
            return _silent_from(subject) + OFFLINE_AFTER * expect
        return _silent_from(subject) + round(expect * (1 + GRACE))

    def due(self, subject: Subject, timer_at: int, at: int, outputs: list[Output]) -> None:
        """A presence timer of a device came due at ``timer_at`` (listening time)."""
        if timer_at != subject.wake_q:
            return
        subject.wake_q = NEVER
        if self._deadline(subject) == timer_at:
            if subject.presence is Presence.LATE:
                self._set(subject, Presence.OFFLINE, Cause.DEVICE, at, outputs)
            else:
                self._set(subject, Presence.LATE, Cause.DEVICE, at, outputs)
        self.watch(subject)

    def expect(
        self, subject: Subject, before: Subject, now_q: int, at: int, outputs: list[Output]
    ) -> None:
        """Judge a device's silence by another configured interval than the one ``before``.

        A longer one may find that it is not late, or not offline yet. By a shorter one its timer
        is due at once.
        """
        told = len(outputs)
        fell_silent = subject.presence is Presence.LATE or subject.cause is Cause.DEVICE
        if fell_silent and subject.running and not subject.unwell:
            presence = _by_silence(subject, now_q)
            cause = Cause.DEVICE if presence in (Presence.LATE, Presence.OFFLINE) else None
            self._set(subject, presence, cause, at, outputs)
        if len(outputs) == told and _learned_ms(subject) != _learned_ms(before):
            outputs.append(self._output(subject, at))

    def _set(
        self,
        subject: Subject,
        presence: Presence,
        cause: Cause | None,
        at: int,
        outputs: list[Output],
    ) -> None:
        if subject.is_edge or (subject.presence is presence and subject.cause is cause):
            return
        if (subject.presence is Presence.ONLINE) != (presence is Presence.ONLINE):
            self._colours.hear(subject.node, 1 if presence is Presence.ONLINE else -1)
        subject.presence = presence
        subject.cause = cause
        outputs.append(self._output(subject, at))

    @staticmethod
    def _output(subject: Subject, at: int) -> PresenceOutput:
        return PresenceOutput(
            subject.id, at, subject.presence, subject.heard_at, subject.cause, _learned_ms(subject)
        )


def _learned_ms(subject: Subject) -> int | None:
    """Return the interval that was learned, where none is configured."""
    return None if subject.expect_ms is not None else subject.interval_ms


def _silent_from(subject: Subject) -> int:
    """Return when (listening time) a device's silence began: its last word, its edge's return."""
    if subject.edge is None:
        return subject.heard_q
    return max(subject.heard_q, subject.edge.listening_q)


def _by_silence(subject: Subject, now_q: int) -> Presence:
    """Return what the silence up to now makes of a device whose silence is counted."""
    expect = subject.interval_ms
    silence = now_q - _silent_from(subject)
    if expect is not None and silence >= OFFLINE_AFTER * expect:
        return Presence.OFFLINE
    if expect is not None and silence >= round(expect * (1 + GRACE)):
        return Presence.LATE
    edge = subject.edge
    if subject.heard_at is None or (edge is not None and subject.heard_q < edge.back_q):
        return Presence.UNKNOWN
    return Presence.ONLINE
