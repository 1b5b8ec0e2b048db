"""The one journal: an append-only durable log of encoded entries (ADR 0002).

The edge's outbox and the collector's log are both a :class:`Journal`.
"""

from core.storage.journal.journal import Journal
from core.storage.journal.model import (
    Answer,
    Append,
    Entry,
    Growth,
    LaneBounds,
    LaneInfo,
    OnFull,
    Placed,
    Tombstone,
    least_budget,
)
from core.storage.journal.port import FollowedLog, Log, LogReader
from core.storage.journal.reader import JournalReader

__all__ = [
    "Answer",
    "Append",
    "Entry",
    "FollowedLog",
    "Growth",
    "Journal",
    "JournalReader",
    "LaneBounds",
    "LaneInfo",
    "Log",
    "LogReader",
    "OnFull",
    "Placed",
    "Tombstone",
    "least_budget",
]
