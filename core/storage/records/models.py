"""The tables that the projections write; times are ms since the Unix epoch (UTC).

Rows of the rule side refer to nodes and devices by id without a foreign key: history outlives
a topology. People's accounts are in :mod:`core.storage.records.account_models`, the tables that
several collectors share in :mod:`core.storage.records.tenure_models`.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import Boolean, Computed, Index, Integer, LargeBinary, false, text
from sqlalchemy.orm import Mapped, mapped_column

from core.storage.records.base import Base, CleanJson, CleanText, Long

_ACKNOWLEDGED = "(late OR (acknowledged_at IS NOT NULL AND acknowledged_revision >= attention))"
_UNSEEN_SQL = f"CASE WHEN {_ACKNOWLEDGED} THEN 0 ELSE 1 END"
_OPEN_SQL = f"CASE WHEN cleared_at IS NOT NULL AND {_ACKNOWLEDGED} THEN 0 ELSE 1 END"


class NodeRow(Base):
    """One node of the tree that holds now.

    ``lineage`` is the ids from the street down to the node, joined by "/"; the subtree of a
    node is the rows whose ``entry`` lies in [its ``entry``, its ``last``].
    """

    __tablename__ = "node"

    id: Mapped[str] = mapped_column(CleanText, primary_key=True)
    level: Mapped[str] = mapped_column(CleanText)
    parent: Mapped[str | None] = mapped_column(CleanText)
    site: Mapped[str | None] = mapped_column(CleanText)
    name_zh: Mapped[str] = mapped_column(CleanText)
    name_en: Mapped[str] = mapped_column(CleanText)
    site_kind: Mapped[str | None] = mapped_column(CleanText)
    geometry: Mapped[Any] = mapped_column(CleanJson, nullable=True)
    occupants: Mapped[int | None] = mapped_column(Long)
    number: Mapped[int | None] = mapped_column(Long)
    lineage: Mapped[str] = mapped_column(CleanText)
    entry: Mapped[int] = mapped_column(Integer, index=True)
    last: Mapped[int] = mapped_column(Integer)


class DeviceRow(Base):
    """One device of the topology that holds now."""

    __tablename__ = "device"
    __table_args__ = (Index("ix_device_node_id", "node", "id"),)

    id: Mapped[str] = mapped_column(CleanText, primary_key=True)
    family: Mapped[str] = mapped_column(CleanText)
    name_zh: Mapped[str] = mapped_column(CleanText)
    name_en: Mapped[str] = mapped_column(CleanText)
    node: Mapped[str] = mapped_column(CleanText)
    site: Mapped[str | None] = mapped_column(CleanText)
    edge: Mapped[str | None] = mapped_column(CleanText, index=True)
    expect_s: Mapped[float | None]
    position: Mapped[Any] = mapped_column(CleanJson, nullable=True)
    model: Mapped[str] = mapped_column(CleanText)
    limits: Mapped[dict[str, float]] = mapped_column(CleanJson)


class EdgeRow(Base):
    """One edge agent of the topology that holds now."""

    __tablename__ = "edge"

    id: Mapped[str] = mapped_column(CleanText, primary_key=True)
    site: Mapped[str] = mapped_column(CleanText)
    name_zh: Mapped[str] = mapped_column(CleanText)
    name_en: Mapped[str] = mapped_column(CleanText)


class GroupRow(Base):
    """A group across the tree; ``members`` are node ids."""

    __tablename__ = "group_"

    id: Mapped[str] = mapped_column(CleanText, primary_key=True)
    name_zh: Mapped[str] = mapped_column(CleanText)
    name_en: Mapped[str] = mapped_column(CleanText)
    members: Mapped[list[str]] = mapped_column(CleanJson)


class TopologyMeta(Base):
    """What holds for the whole topology; one row, ``id`` 1."""

    __tablename__ = "topology_meta"

    id: Mapped[int] = mapped_column(Integer, primary_key=True, autoincrement=False)
    at: Mapped[int] = mapped_column(Long)
    digest: Mapped[str] = mapped_column(CleanText)
    datum: Mapped[str] = mapped_column(CleanText)
    coverage_minimum: Mapped[float]


class AlertRow(Base):
    """An alert: what the rules know of it, then what people decided about it.

    No state is stored; ``is_open`` and ``is_unseen`` are computed by the database from the
    other columns, for the indices that the lists need. ``is_unseen``: nobody has acknowledged
    the revision that last asked for attention. ``is_open``: it stands, or is unseen. ``path``
    is where it was when its last revision was written, so that history outlives a topology.
    """

    __tablename__ = "alert"
    __table_args__ = (
        Index("ix_alert_noticed_at_id", "noticed_at", "id"),
        Index("ix_alert_open_noticed_at", "is_open", "noticed_at", "id"),
        Index("ix_alert_open_rank", "is_open", "rank", "noticed_at", "id"),
        Index("ix_alert_unseen_noticed_at", "is_unseen", "noticed_at", "id"),
        Index("ix_alert_node_noticed_at", "node", "noticed_at", "id"),
        Index("ix_alert_device_noticed_at", "device", "noticed_at", "id"),
        Index(
            "ix_alert_standing_noticed_at",
            "noticed_at",
            "id",
            sqlite_where=text("cleared_at IS NULL"),
            postgresql_where=text("cleared_at IS NULL"),
        ),
    )

    id: Mapped[str] = mapped_column(CleanText, primary_key=True)
    rule: Mapped[str] = mapped_column(CleanText)
    key: Mapped[str] = mapped_column(CleanText)
    site: Mapped[str] = mapped_column(CleanText)
    node: Mapped[str] = mapped_column(CleanText)
    device: Mapped[str | None] = mapped_column(CleanText)
    colour: Mapped[str] = mapped_column(CleanText)
    rank: Mapped[int] = mapped_column(Integer)
    began_at: Mapped[int] = mapped_column(Long)
    raised_at: Mapped[int] = mapped_column(Long)
    noticed_at: Mapped[int] = mapped_column(Long)
    worsened_at: Mapped[int | None] = mapped_column(Long)
    cleared_at: Mapped[int | None] = mapped_column(Long)
    late: Mapped[bool] = mapped_column(Boolean)
    revision: Mapped[int] = mapped_column(Integer)
    attention: Mapped[int] = mapped_column(Integer)
    title_zh: Mapped[str] = mapped_column(CleanText)
    title_en: Mapped[str] = mapped_column(CleanText)
    advice_zh: Mapped[str] = mapped_column(CleanText)
    advice_en: Mapped[str] = mapped_column(CleanText)
    reason: Mapped[dict[str, Any]] = mapped_column(CleanJson)
    path: Mapped[list[dict[str, Any]]] = mapped_column(CleanJson)

    acknowledged_at: Mapped[int | None] = mapped_column(Long)
    acknowledged_by: Mapped[str | None] = mapped_column(CleanText)
    acknowledged_revision: Mapped[int] = mapped_column(Integer, server_default="0")
    shelved_until: Mapped[int | None] = mapped_column(Long)
    suppressed: Mapped[bool] = mapped_column(Boolean, server_default=false())
    out_of_service: Mapped[bool] = mapped_column(Boolean, server_default=false())
    resolved_at: Mapped[int | None] = mapped_column(Long)

    is_unseen: Mapped[int] = mapped_column(Integer, Computed(_UNSEEN_SQL, persisted=True))
    is_open: Mapped[int] = mapped_column(Integer, Computed(_OPEN_SQL, persisted=True))


class AlertStep(Base):
    """One step of an alert's timeline.

    A step of the rule side has the id ``{alert}/{revision}/{kind}``; an operator's has
    ``{alert}/step/{number}`` and ``by``, the user's name.
    """

    __tablename__ = "alert_step"
    __table_args__ = (Index("ix_alert_step_alert_id_at", "alert_id", "at"),)

    id: Mapped[str] = mapped_column(CleanText, primary_key=True)
    alert_id: Mapped[str] = mapped_column(CleanText)
    at: Mapped[int] = mapped_column(Long)
    kind: Mapped[str] = mapped_column(CleanText)
    revision: Mapped[int] = mapped_column(Integer)
    by: Mapped[str | None] = mapped_column(CleanText)
    text: Mapped[str | None] = mapped_column(CleanText)
    detail: Mapped[dict[str, Any]] = mapped_column(CleanJson)


class NodeColour(Base):
    """A node's colour and coverage now."""

    __tablename__ = "node_colour"

    node: Mapped[str] = mapped_column(CleanText, primary_key=True)
    at: Mapped[int] = mapped_column(Long)
    colour: Mapped[str] = mapped_column(CleanText)
    alert_colour: Mapped[str] = mapped_column(CleanText)
    heard: Mapped[int] = mapped_column(Integer)
    total: Mapped[int] = mapped_column(Integer)


class ColourChange(Base):
    """A node's colour and coverage from ``at`` on: the past of :class:`NodeColour`."""

    __tablename__ = "colour_change"

    node: Mapped[str] = mapped_column(CleanText, primary_key=True)
    at: Mapped[int] = mapped_column(Long, primary_key=True, index=True)
    colour: Mapped[str] = mapped_column(CleanText)
    alert_colour: Mapped[str] = mapped_column(CleanText)
    heard: Mapped[int] = mapped_column(Integer)
    total: Mapped[int] = mapped_column(Integer)


class PresenceRow(Base):
    """A device's presence now; ``at`` is when it began.

    ``last_heard`` is as of the last change: while the device is online, it is heard later.
    """

    __tablename__ = "presence"

    device: Mapped[str] = mapped_column(CleanText, primary_key=True)
    at: Mapped[int] = mapped_column(Long)
    presence: Mapped[str] = mapped_column(CleanText, index=True)
    last_heard: Mapped[int | None] = mapped_column(Long)
    cause: Mapped[str | None] = mapped_column(CleanText)
    learned_ms: Mapped[int | None] = mapped_column(Long)


class EdgeState(Base):
    """An edge now; ``since`` is when it came online or went offline, or began its epoch."""

    __tablename__ = "edge_state"

    edge: Mapped[str] = mapped_column(CleanText, primary_key=True)
    site: Mapped[str] = mapped_column(CleanText)
    at: Mapped[int] = mapped_column(Long)
    online: Mapped[bool] = mapped_column(Boolean)
    drained: Mapped[bool] = mapped_column(Boolean)
    epoch: Mapped[str] = mapped_column(CleanText)
    since: Mapped[int] = mapped_column(Long)
    backlog: Mapped[int | None] = mapped_column(Long)


class DeadLetterRow(Base):
    """Something that was refused, with the reason; ``raw`` is its first 64 KiB.

    ``source`` is the lane or topic on which it came. Positions are those of one log; a new
    journal counts from 1 again, so ``log`` tells them apart. ``origin`` is what a replay needs
    to know (:class:`core.contracts.letters.Origin`). ``at`` is the event's own time, which may be
    of any year, ``noted_at`` when the letter was stored.

    No state is stored: ``asked_at`` is when somebody asked for a replay that is not carried out
    yet, ``problem`` why the last one was not, ``replayed_as`` the position in the log.
    """

    __tablename__ = "dead_letter"
    __table_args__ = (
        Index("ix_dead_letter_noted_at_pos_index", "noted_at", "pos", "index"),
        Index(
            "ix_dead_letter_asked",
            "asked_at",
            "id",
            sqlite_where=text("asked_at IS NOT NULL"),
            postgresql_where=text("asked_at IS NOT NULL"),
        ),
    )

    id: Mapped[str] = mapped_column(CleanText, primary_key=True)
    log: Mapped[str] = mapped_column(CleanText)
    pos: Mapped[int] = mapped_column(Long)
    index: Mapped[int] = mapped_column(Integer)
    at: Mapped[int] = mapped_column(Long)
    noted_at: Mapped[int] = mapped_column(Long, server_default="0")
    site: Mapped[str | None] = mapped_column(CleanText)
    source: Mapped[str] = mapped_column(CleanText)
    reason: Mapped[str] = mapped_column(CleanText)
    field: Mapped[str] = mapped_column(CleanText)
    raw: Mapped[bytes] = mapped_column(LargeBinary)
    origin: Mapped[Any] = mapped_column(CleanJson, nullable=True)
    asked_at: Mapped[int | None] = mapped_column(Long)
    asked_by: Mapped[str | None] = mapped_column(CleanText)
    why: Mapped[str | None] = mapped_column(CleanText)
    mended: Mapped[bytes | None] = mapped_column(LargeBinary)
    problem: Mapped[str | None] = mapped_column(CleanText)
    replayed_at: Mapped[int | None] = mapped_column(Long)
    replayed_by: Mapped[str | None] = mapped_column(CleanText)
    replayed_as: Mapped[str | None] = mapped_column(CleanText)
    discarded_at: Mapped[int | None] = mapped_column(Long)
    discarded_by: Mapped[str | None] = mapped_column(CleanText)


class UnknownSender(Base):
    """A device or an edge that speaks and that the topology does not name.

    ``edge`` is who brought its last event (None: it came on ``source`` by itself), ``kinds`` how
    many events of each kind there were, ``sample`` its last event.
    """

    __tablename__ = "unknown_sender"

    id: Mapped[str] = mapped_column(CleanText, primary_key=True)
    is_edge: Mapped[bool] = mapped_column(Boolean)
    site: Mapped[str] = mapped_column(CleanText)
    edge: Mapped[str | None] = mapped_column(CleanText)
    source: Mapped[str] = mapped_column(CleanText)
    first_seen: Mapped[int] = mapped_column(Long)
    last_seen: Mapped[int] = mapped_column(Long)
    events: Mapped[int] = mapped_column(Long)
    kinds: Mapped[dict[str, int]] = mapped_column(CleanJson)
    sample: Mapped[Any] = mapped_column(CleanJson, nullable=True)


class Adoption(Base):
    """A device or an edge that somebody has added to what the topology file names.

    ``body`` is its entry as it would stand in the file. ``superseded_at``: a newer file names it
    itself, and the file wins. ``problem``: why it does not hold now.
    """

    __tablename__ = "adoption"

    id: Mapped[str] = mapped_column(CleanText, primary_key=True)
    is_edge: Mapped[bool] = mapped_column(Boolean)
    body: Mapped[dict[str, Any]] = mapped_column(CleanJson)
    at: Mapped[int] = mapped_column(Long)
    by: Mapped[str] = mapped_column(CleanText)
    reason: Mapped[str] = mapped_column(CleanText)
    superseded_at: Mapped[int | None] = mapped_column(Long)
    problem: Mapped[str | None] = mapped_column(CleanText)


class DeclaredLoss(Base):
    """A loss that was declared; ``events`` is None where nobody knows how many."""

    __tablename__ = "declared_loss"
    __table_args__ = (Index("ix_declared_loss_at_pos_index", "at", "pos", "index"),)

    log: Mapped[str] = mapped_column(CleanText, primary_key=True)
    pos: Mapped[int] = mapped_column(Long, primary_key=True, autoincrement=False)
    index: Mapped[int] = mapped_column(Integer, primary_key=True, autoincrement=False)
    at: Mapped[int] = mapped_column(Long)
    site: Mapped[str] = mapped_column(CleanText)
    edge: Mapped[str] = mapped_column(CleanText, index=True)
    epoch: Mapped[str] = mapped_column(CleanText)
    lane: Mapped[str] = mapped_column(CleanText)
    first_seq: Mapped[int] = mapped_column(Long)
    last_seq: Mapped[int] = mapped_column(Long)
    events: Mapped[int | None] = mapped_column(Long)
    reason: Mapped[str] = mapped_column(CleanText)


class Change(Base):
    """One entry of the live sequence; ``seq`` becomes visible without gaps, in order."""

    __tablename__ = "change"

    seq: Mapped[int] = mapped_column(Long, primary_key=True, autoincrement=False)
    at: Mapped[int] = mapped_column(Long, index=True)
    topic: Mapped[str] = mapped_column(CleanText)
    ref: Mapped[str] = mapped_column(CleanText)
    payload: Mapped[dict[str, Any]] = mapped_column(CleanJson)


class Counter(Base):
    """A number that only grows; ``change`` is the last number of the live sequence."""

    __tablename__ = "counter"

    name: Mapped[str] = mapped_column(CleanText, primary_key=True)
    value: Mapped[int] = mapped_column(Long)


class CursorRow(Base):
    """How far a projector has come in the collector's log, and its engine's snapshot."""

    __tablename__ = "cursor"

    projector: Mapped[str] = mapped_column(CleanText, primary_key=True)
    position: Mapped[int] = mapped_column(Long)
    snapshot: Mapped[bytes | None] = mapped_column(LargeBinary)


class ProcessRow(Base):
    """A supervised process now."""

    __tablename__ = "process"

    name: Mapped[str] = mapped_column(CleanText, primary_key=True)
    state: Mapped[str] = mapped_column(CleanText)
    pid: Mapped[int | None] = mapped_column(Integer)
    restarts: Mapped[int] = mapped_column(Integer)
    since: Mapped[int] = mapped_column(Long)
    message: Mapped[str] = mapped_column(CleanText)


class JobRow(Base):
    """What became of a worker's job the last time it ran."""

    __tablename__ = "job"

    name: Mapped[str] = mapped_column(CleanText, primary_key=True)
    started_at: Mapped[int] = mapped_column(Long)
    finished_at: Mapped[int] = mapped_column(Long)
    ok: Mapped[bool] = mapped_column(Boolean)
    message: Mapped[str] = mapped_column(CleanText)
    runs: Mapped[int] = mapped_column(Long)
    failures: Mapped[int] = mapped_column(Long)
