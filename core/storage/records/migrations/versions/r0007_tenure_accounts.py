"""Accounts of logs that end with a tenure."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

LONG = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
TEXT = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")
JSON = sa.JSON().with_variant(JSONB(), "postgresql")


def upgrade() -> None:
    """Add the table; logs that were begun before have no accounts."""
    op.create_table(
        "ledger_tenure",
        sa.Column("log", TEXT, nullable=False),
        sa.Column("site", TEXT, nullable=False),
        sa.Column("midway", sa.Boolean(), nullable=False),
        sa.Column("settled", LONG, nullable=False),
        sa.Column("kept_at", LONG, nullable=False),
        sa.Column("waiting", JSON, nullable=False),
        sa.Column("ended_at", LONG, nullable=True),
        sa.Column("is_cut", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("log", name="pk_ledger_tenure"),
    )


def downgrade() -> None:
    """Drop the table."""
    op.drop_table("ledger_tenure")
