"""Dead letters that can be replayed; unknown senders and their adoption."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

LONG = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
TEXT = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")
JSON = sa.JSON().with_variant(JSONB(), "postgresql")

LETTER: dict[str, Any] = {
    "origin": JSON,
    "asked_at": LONG,
    "asked_by": TEXT,
    "why": TEXT,
    "mended": sa.LargeBinary(),
    "problem": TEXT,
    "replayed_at": LONG,
    "replayed_by": TEXT,
    "replayed_as": TEXT,
    "discarded_at": LONG,
    "discarded_by": TEXT,
}


def upgrade() -> None:
    """Add the columns and the tables."""
    for name, kind in LETTER.items():
        op.add_column("dead_letter", sa.Column(name, kind, nullable=True))
    op.create_index(
        "ix_dead_letter_asked",
        "dead_letter",
        ["asked_at", "id"],
        sqlite_where=sa.text("asked_at IS NOT NULL"),
        postgresql_where=sa.text("asked_at IS NOT NULL"),
    )
    op.create_table(
        "unknown_sender",
        sa.Column("id", TEXT, nullable=False),
        sa.Column("is_edge", sa.Boolean(), nullable=False),
        sa.Column("site", TEXT, nullable=False),
        sa.Column("edge", TEXT, nullable=True),
        sa.Column("source", TEXT, nullable=False),
        sa.Column("first_seen", LONG, nullable=False),
        sa.Column("last_seen", LONG, nullable=False),
        sa.Column("events", LONG, nullable=False),
        sa.Column("kinds", JSON, nullable=False),
        sa.Column("sample", JSON, nullable=True),
        sa.PrimaryKeyConstraint("id", name="pk_unknown_sender"),
    )
    op.create_table(
        "adoption",
        sa.Column("id", TEXT, nullable=False),
        sa.Column("is_edge", sa.Boolean(), nullable=False),
        sa.Column("body", JSON, nullable=False),
        sa.Column("at", LONG, nullable=False),
        sa.Column("by", TEXT, nullable=False),
        sa.Column("reason", TEXT, nullable=False),
        sa.Column("superseded_at", LONG, nullable=True),
        sa.Column("problem", TEXT, nullable=True),
        sa.PrimaryKeyConstraint("id", name="pk_adoption"),
    )


def downgrade() -> None:
    """Take them back."""
    op.drop_table("adoption")
    op.drop_table("unknown_sender")
    op.drop_index("ix_dead_letter_asked", table_name="dead_letter")
    for name in reversed(LETTER):
        op.drop_column("dead_letter", name)
