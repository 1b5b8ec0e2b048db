"""The engine's whole state as bytes, and back.

Timers are not stored: each follows from a cell, a presence or a silence. Nor are the last
events of each device, which only :func:`rules.explain.explain` reads.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

import msgspec

from core.contracts.errors import ContractError
from core.contracts.outputs import Cause, Presence
from core.contracts.packing import pack
from rules.activation import build_kept, take_over
from rules.cells import Cell
from rules.colours import Published
from rules.edges import EdgeState, Late
from rules.plan import Plan
from rules.rhythm import Rhythm
from rules.shadows import Shadow
from rules.subjects import subjects_of
from rules.timers import What

if TYPE_CHECKING:
    from rules.engine import Engine

VERSION = 6
#: As the present one, but for the activation, which is not packed.
_UNPACKED = 5


class SnapshotError(ContractError, ValueError):
    """A snapshot that this program cannot use: fold the log from its beginning instead."""


class _Edge(msgspec.Struct, array_like=True):
    id: str
    site: str
    known: bool
    online: bool
    epoch: str
    born_at: int
    back_q: int
    listening_q: int
    backlog: int
    pending: dict[str, int]
    seen: dict[str, dict[str, int]]
    shadows: list[tuple[str, str, Shadow]]
    kept: list[Late]
    told_to: int
    known_to: int
    away_by: Cause = Cause.EDGE


class State(msgspec.Struct):
    """An engine's state as it is packed; ``activation`` is packed once more."""

    version: int
    position: int
    at: int
    activation: bytes
    problem: str
    counters: dict[str, int]
    unknown: dict[str, int]
    clock: tuple[int | None, int, int, int]
    subjects: list[tuple[str, int, int | None, int, Presence, Cause | None, bool, int]]
    rhythms: dict[str, Rhythm]
    edges: list[_Edge]
    cells: dict[str, list[Cell]]
    heard: dict[str, dict[str, tuple[int, int]]]
    published: list[Published]


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(State)


def dump(engine: Engine) -> bytes:
    """Return an engine's state."""
    rules = engine.plan.rules.items()
    timers = engine.timers
    state = State(
        version=VERSION,
        position=engine.position,
        at=engine.at,
        activation=engine.activation,
        problem=engine.problem,
        counters=engine.counters,
        unknown=engine.unknown,
        clock=(timers.last_tick, timers.step, timers.skipped, timers.latest),
        subjects=[
            (s.id, s.now, s.heard_at, s.heard_q, s.presence, s.cause, s.unwell, s.well_q)
            for s in engine.subjects.values()
            if s.now or s.heard_at is not None or s.presence is not Presence.UNKNOWN
        ],
        rhythms={s.id: s.rhythm for s in engine.subjects.values() if s.rhythm is not None},
        edges=[_edge(edge) for edge in engine.edges.values()],
        cells={rule_id: list(active.cells.values()) for rule_id, active in rules if active.cells},
        heard={rule_id: active.heard for rule_id, active in rules if active.heard},
        published=engine.colours.published(),
    )
    return write(state)


def _edge(edge: EdgeState) -> _Edge:
    shadows = [(rule_id, key, shadow) for (rule_id, key), shadow in edge.shadows.items()]
    return _Edge(
        edge.id, edge.site, edge.known, edge.online, edge.epoch, edge.born_at, edge.back_q,
        edge.listening_q, edge.backlog, edge.pending, edge.seen, shadows,
        list(edge.kept), edge.told_to, edge.known_to, edge.away_by,
    )  # fmt: skip


def write(state: State) -> bytes:
    """Return a state as bytes."""
    return _encoder.encode(state)


def read(blob: bytes) -> State:
    """Return the state in some bytes; raise :class:`SnapshotError` when they cannot be used."""
    try:
        state = _decoder.decode(blob)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise SnapshotError(f"not a snapshot of the rule engine: {error}") from None
    if state.version == _UNPACKED:
        state.activation = pack(state.activation) if state.activation else b""
    elif state.version != VERSION:
        raise SnapshotError(
            f"a snapshot of version {state.version}", remedy="fold the log from its beginning"
        )
    return state


def restore(engine: Engine, blob: bytes) -> None:
    """Fill a new engine; raise :class:`SnapshotError` when the bytes cannot be used."""
    state = read(blob)
    engine.position, engine.at = state.position, state.at
    engine.problem, engine.activation = state.problem, state.activation
    engine.counters, engine.unknown = state.counters, state.unknown
    timers = engine.timers
    timers.last_tick, timers.step, timers.skipped, timers.latest = state.clock
    for stored in state.edges:
        engine.edges[stored.id] = EdgeState(
            stored.id, stored.site, stored.known, stored.online, stored.epoch, stored.born_at,
            stored.back_q, stored.listening_q, stored.backlog, stored.pending, stored.seen,
            {(rule_id, key): shadow for rule_id, key, shadow in stored.shadows},
            deque(stored.kept), stored.told_to, stored.known_to, stored.away_by,
        )  # fmt: skip
    engine.install(engine.plan, engine.colours)
    engine.live.noticed = state.at
    engine.live.now_q = timers.latest
    if not state.activation:
        return
    try:
        _restore_world(engine, state)
    except (ContractError, LookupError, msgspec.MsgspecError) as error:
        raise SnapshotError(f"a snapshot that contradicts itself: {error}") from None


def _restore_world(engine: Engine, state: State) -> None:
    topology, rules = build_kept(state.activation)
    subjects = subjects_of(topology)
    for subject_id, now, heard_at, heard_q, presence, cause, unwell, well_q in state.subjects:
        subject = subjects[subject_id]
        subject.now, subject.heard_at, subject.heard_q = now, heard_at, heard_q
        subject.presence, subject.cause = presence, cause
        subject.unwell, subject.well_q = unwell, well_q
    for subject_id, rhythm in state.rhythms.items():
        subjects[subject_id].rhythm = rhythm
    plan = Plan(rules)
    for rule_id, cells in state.cells.items():
        plan.rules[rule_id].cells = {cell.key: cell for cell in cells}
    for rule_id, heard in state.heard.items():
        plan.rules[rule_id].heard = heard
    take_over(engine, topology, plan, subjects)
    engine.colours.restore(state.published)
    due = [
        (active.rule.id, cell) for active in plan.rules.values() for cell in active.cells.values()
    ]
    for rule_id, cell in due:
        if (subject_ := subjects.get(cell.subject)) is not None:
            subject_.keep((rule_id, cell.key), cell)
            if cell.due is not None:
                subject_.next_due = min(subject_.next_due, cell.due)
                engine.timers.push(cell.due_q, What.CELL, rule_id, cell.key)
    for subject in subjects.values():
        engine.presence.watch(subject)
        engine.silence.watch_all(subject)
    engine.colours.flush(state.at)
