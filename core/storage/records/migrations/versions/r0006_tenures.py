"""Several collectors: who lives, and which sites are whose."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

LONG = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
TEXT = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")
JSON = sa.JSON().with_variant(JSONB(), "postgresql")


def upgrade() -> None:
    """Make the tables."""
    op.create_table(
        "collector",
        sa.Column("name", TEXT, nullable=False),
        sa.Column("instance", TEXT, nullable=False),
        sa.Column("lease_until", LONG, nullable=False),
        sa.PrimaryKeyConstraint("name", name="pk_collector"),
    )
    op.create_table(
        "tenure",
        sa.Column("site", TEXT, nullable=False),
        sa.Column("collector", TEXT, nullable=True),
        sa.Column("wanted", TEXT, nullable=True),
        sa.Column("term", LONG, nullable=False),
        sa.Column("log", TEXT, nullable=False),
        sa.Column("since", LONG, nullable=False),
        sa.Column("lanes", JSON, nullable=False),
        sa.PrimaryKeyConstraint("site", name="pk_tenure"),
    )


def downgrade() -> None:
    """Drop them."""
    op.drop_table("tenure")
    op.drop_table("collector")
