"""The accounts of the conservation law."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

LONG = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
TEXT = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")
COUNTS = (
    "hours", "first_seq", "last_seq", "batches", "events", "rejects", "stored", "dead", "last_pos",
)  # fmt: skip


def upgrade() -> None:
    """Add the tables; what came before has no accounts."""
    op.create_table(
        "ledger_log",
        sa.Column("log", TEXT, nullable=False),
        sa.Column("began_at", LONG, nullable=False),
        sa.Column("begin", LONG, nullable=False),
        sa.PrimaryKeyConstraint("log", name="pk_ledger_log"),
    )
    op.create_table(
        "ledger_line",
        sa.Column("start", LONG, autoincrement=False, nullable=False),
        *(
            sa.Column(name, TEXT, nullable=False)
            for name in ("log", "site", "edge", "epoch", "lane")
        ),
        *(sa.Column(name, LONG, nullable=False) for name in COUNTS),
        sa.PrimaryKeyConstraint(
            "start", "log", "site", "edge", "epoch", "lane", name="pk_ledger_line"
        ),
    )
    op.create_index("ix_ledger_line_edge_epoch", "ledger_line", ["edge", "epoch", "start"])
    op.create_table(
        "ledger_day",
        sa.Column("day", LONG, autoincrement=False, nullable=False),
        sa.Column("kind", TEXT, nullable=False),
        sa.Column("stored", LONG, nullable=False),
        sa.Column("found", LONG, nullable=True),
        sa.Column("found_of", LONG, nullable=True),
        sa.Column("found_at", LONG, nullable=True),
        sa.PrimaryKeyConstraint("day", "kind", name="pk_ledger_day"),
    )


def downgrade() -> None:
    """Drop the tables."""
    op.drop_table("ledger_day")
    op.drop_index("ix_ledger_line_edge_epoch", table_name="ledger_line")
    op.drop_table("ledger_line")
    op.drop_table("ledger_log")
