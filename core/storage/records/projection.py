"""Writing what the rule engine says, idempotently, in the caller's transaction.

A list of outputs is folded to what it leaves behind, compared with what is stored, and only
the difference is written and told to the live sequence. So the same outputs again, or again
from any earlier point of the log, leave the same rows; and a burst costs one change a row.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import Any

from sqlalchemy import delete, select
from sqlalchemy.orm import InstrumentedAttribute, Session

from core.contracts.outputs import (
    AlertOutput,
    ColourOutput,
    EdgeOutput,
    LossOutput,
    Output,
    PresenceOutput,
    TopologyOutput,
    UnknownOutput,
)
from core.storage.records import changes, quarantine, sums
from core.storage.records.alert_projection import apply_alerts
from core.storage.records.base import Base
from core.storage.records.changes import NewChange, Topic
from core.storage.records.models import (
    ColourChange,
    CursorRow,
    DeclaredLoss,
    DeviceRow,
    EdgeRow,
    EdgeState,
    NodeColour,
    NodeRow,
    PresenceRow,
)
from core.storage.records.sql import chunks, table, upsert
from core.storage.records.tree import replace_topology

_Row = dict[str, Any]


def apply(
    session: Session,
    outputs: Sequence[Output],
    now_ms: int,
    *,
    log: str = "",
    site: str | None = None,
) -> None:
    """Store outputs in their order; what changed is told to the live sequence at ``now_ms``.

    The same again changes nothing, but that unknown senders are counted again: the caller keeps
    its cursor in the same transaction.

    An alert's revision at or below the stored one changes nothing, and no column that
    operators write is touched. A topology replaces the tree as a whole; colours, presence and
    edge states stay where their ids stay. ``log`` is the identity of the log that the losses'
    positions refer to, where there has been more than one. Where the outputs are of one ``site``'s
    rules only, what they say of nodes above it is added to what others say.
    """
    if not outputs:
        return
    changes.lock(session)
    told: list[NewChange] = []
    for segment in _segments(outputs):
        told += _apply_segment(session, segment, now_ms, log, site)
    if told:
        changes.append_changes(session, told, now_ms)


def rules_cursor(log: str) -> str:
    """Return the name under which the rules' outputs of a log are stored up to a position."""
    return f"rules/{log}"


def snapshot_cursor(log: str) -> str:
    """Return the name under which the rules' state of a log is kept."""
    return f"rules-snapshot/{log}"


def cursor(session: Session, projector: str) -> tuple[int, bytes | None]:
    """Return how far a projector has come (0: nothing yet), and its engine's snapshot there."""
    row = session.execute(
        select(CursorRow.position, CursorRow.snapshot).where(CursorRow.projector == projector)
    ).one_or_none()
    return (0, None) if row is None else (row.position, row.snapshot)


def save_cursor(session: Session, projector: str, position: int, snapshot: bytes | None) -> None:
    """Note how far a projector has come, with its engine's snapshot at that very position."""
    upsert(
        session,
        CursorRow,
        [{"projector": projector, "position": position, "snapshot": snapshot}],
    )


def _segments(outputs: Sequence[Output]) -> Iterator[list[Output]]:
    """Cut before every topology, because what follows refers to that one's nodes."""
    segment: list[Output] = []
    for output in outputs:
        if isinstance(output, TopologyOutput) and segment:
            yield segment
            segment = []
        segment.append(output)
    yield segment


def _apply_segment(
    session: Session, outputs: list[Output], now_ms: int, log: str, site: str | None
) -> list[NewChange]:
    told: list[NewChange] = []
    alerts: list[AlertOutput] = []
    colours: dict[str, _Row] = {}
    history: dict[tuple[str, int], _Row] = {}
    presence: dict[str, list[PresenceOutput]] = {}
    edges: dict[str, list[EdgeOutput]] = {}
    losses: dict[tuple[str, int, int], _Row] = {}
    unknown: list[UnknownOutput] = []
    for output in outputs:
        if isinstance(output, AlertOutput):
            alerts.append(output)
        elif isinstance(output, ColourOutput):
            colours[output.node] = history[output.node, output.at] = asdict(output)
        elif isinstance(output, PresenceOutput):
            presence.setdefault(output.device, []).append(output)
        elif isinstance(output, EdgeOutput):
            edges.setdefault(output.edge, []).append(output)
        elif isinstance(output, LossOutput):
            name = output.log or log
            losses[name, output.pos, output.index] = asdict(output) | {"log": name}
        elif isinstance(output, UnknownOutput):
            unknown.append(output)
        else:
            told += _apply_topology(session, output)
    told += apply_alerts(session, alerts, now_ms)
    if site is not None and colours:
        above = sums.above(session, site)
        colours = {node: row for node, row in colours.items() if node not in above}
        history = {key: row for key, row in history.items() if key[0] not in above}
        if site in colours:
            added = sums.add_up(session, colours[site], above)
            colours |= added
            history |= {(node, row["at"]): row for node, row in added.items()}
    upsert(session, ColourChange, list(history.values()))
    told += _store(session, NodeColour, "colour", colours, _stored(session, NodeColour, colours))
    said = _stored(session, PresenceRow, presence)
    told += _store(session, PresenceRow, "presence", _fold_presence(presence, said), said)
    known = _stored(session, EdgeState, edges)
    told += _store(session, EdgeState, "edge", _fold_edges(edges, known), known)
    upsert(session, DeclaredLoss, list(losses.values()))
    quarantine.tally(session, unknown)
    return told


def _apply_topology(session: Session, output: TopologyOutput) -> list[NewChange]:
    replaced = replace_topology(session, output.topology, output.at)
    here: tuple[tuple[InstrumentedAttribute[str], InstrumentedAttribute[str]], ...] = (
        (NodeColour.node, NodeRow.id),
        (PresenceRow.device, DeviceRow.id),
        (EdgeState.edge, EdgeRow.id),
    )
    for owner, known in here:
        session.execute(
            delete(owner.class_).where(owner.not_in(select(known))),
            execution_options={"synchronize_session": False},
        )
    quarantine.forget_known(session)
    return [NewChange("topology", "topology", {"at": output.at})] if replaced else []


def _store(
    session: Session,
    model: type[Base],
    topic: Topic,
    wanted: dict[str, _Row],
    stored: dict[str, _Row],
) -> list[NewChange]:
    """Write the rows that differ from the stored ones; return their changes."""
    fresh = {key: row for key, row in wanted.items() if stored.get(key) != row}
    upsert(session, model, list(fresh.values()))
    return [NewChange(topic, key, row) for key, row in fresh.items()]


def _stored(session: Session, model: type[Base], ids: Any) -> dict[str, _Row]:
    target = table(model)
    (key,) = target.primary_key.columns
    found: dict[str, _Row] = {}
    for some in chunks(ids):
        for row in session.execute(select(target).where(key.in_(some))).mappings():
            found[row[key]] = dict(row)
    return found


def _fold_presence(
    outputs: dict[str, list[PresenceOutput]], stored: dict[str, _Row]
) -> dict[str, _Row]:
    """Return each device's row; ``at`` is when its presence last became what it is.

    Another cause or another learned interval is no other presence.
    """
    folded: dict[str, _Row] = {}
    for device, steps in outputs.items():
        row = stored.get(device, {})
        for step in steps:
            is_same = row.get("presence") == step.presence
            row = asdict(step) | ({"at": row["at"]} if is_same else {})
        folded[device] = row
    return folded


def _fold_edges(outputs: dict[str, list[EdgeOutput]], stored: dict[str, _Row]) -> dict[str, _Row]:
    """Return each edge's row; ``since`` is when (online, epoch) last became what it is."""
    folded: dict[str, _Row] = {}
    for edge, steps in outputs.items():
        row = stored.get(edge)
        for step in steps:
            same = row is not None and (row["online"], row["epoch"]) == (step.online, step.epoch)
            since = row["since"] if same and row is not None else step.at
            backlog = step.backlog
            if backlog is None and same and row is not None:
                backlog = row["backlog"]
            row = asdict(step) | {"since": since, "backlog": 0 if step.drained else backlog}
        if row is not None:
            folded[edge] = row
    return folded
