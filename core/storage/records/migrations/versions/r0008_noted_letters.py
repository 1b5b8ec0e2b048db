"""When a dead letter was noted: its event's own time may be of 1970, or of 2036."""

from __future__ import annotations

import time

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

LONG = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
TABLE = "dead_letter"
BY_EVENT, BY_NOTE = "ix_dead_letter_at_pos_index", "ix_dead_letter_noted_at_pos_index"


def upgrade() -> None:
    """Add the column; of older letters nothing better is known than the event's time, up to now."""
    op.add_column(TABLE, sa.Column("noted_at", LONG, server_default="0", nullable=False))
    op.execute(
        sa.text(
            "UPDATE dead_letter SET noted_at = CASE WHEN at > :now THEN :now ELSE at END"
        ).bindparams(sa.bindparam("now", time.time_ns() // 1_000_000, type_=LONG))
    )
    op.drop_index(BY_EVENT, table_name=TABLE)
    op.create_index(BY_NOTE, TABLE, ["noted_at", "pos", "index"])


def downgrade() -> None:
    """Take it back."""
    op.drop_index(BY_NOTE, table_name=TABLE)
    op.create_index(BY_EVENT, TABLE, ["at", "pos", "index"])
    op.drop_column(TABLE, "noted_at")
