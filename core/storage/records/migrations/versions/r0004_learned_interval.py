"""The interval that was learned of a device."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the column."""
    long = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
    op.add_column("presence", sa.Column("learned_ms", long, nullable=True))


def downgrade() -> None:
    """Drop the column."""
    op.drop_column("presence", "learned_ms")
