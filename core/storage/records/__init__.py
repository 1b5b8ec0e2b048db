"""The records: alerts, the tree, presence, people, the live sequence; SQLite or PostgreSQL.

:class:`~core.storage.records.database.Records` opens a database; the other modules are plain
functions on one of its sessions, a module per subject.
"""

from core.storage.records.database import Records

__all__ = ["Records"]
