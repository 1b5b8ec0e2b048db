"""The first schema."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

LONG = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
TEXT = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")
JSON = sa.JSON().with_variant(JSONB(), "postgresql")
SEEN = "(late OR (acknowledged_at IS NOT NULL AND acknowledged_revision >= attention))"
UNSEEN = f"CASE WHEN {SEEN} THEN 0 ELSE 1 END"
OPEN = f"CASE WHEN cleared_at IS NOT NULL AND {SEEN} THEN 0 ELSE 1 END"


TABLES = (
    "alert",
    "alert_step",
    "node",
    "device",
    "edge",
    "group_",
    "topology_meta",
    "node_colour",
    "colour_change",
    "presence",
    "edge_state",
    "dead_letter",
    "declared_loss",
    "change",
    "counter",
    "cursor",
    "process",
    "job",
    "user",
    "session",
    "sign_in_link",
    "sign_in_attempt",
    "audit",
)


def upgrade() -> None:
    """Create every table."""
    _alerts()
    _tree()
    _present()
    _log()
    _system()
    _accounts()


def downgrade() -> None:
    """Drop every table."""
    for name in reversed(TABLES):
        op.drop_table(name)


def _alerts() -> None:
    op.create_table(
        "alert",
        sa.Column("id", TEXT, nullable=False),
        sa.Column("rule", TEXT, nullable=False),
        sa.Column("key", TEXT, nullable=False),
        sa.Column("site", TEXT, nullable=False),
        sa.Column("node", TEXT, nullable=False),
        sa.Column("device", TEXT, nullable=True),
        sa.Column("colour", TEXT, nullable=False),
        sa.Column("rank", sa.Integer(), nullable=False),
        sa.Column("began_at", LONG, nullable=False),
        sa.Column("raised_at", LONG, nullable=False),
        sa.Column("noticed_at", LONG, nullable=False),
        sa.Column("worsened_at", LONG, nullable=True),
        sa.Column("cleared_at", LONG, nullable=True),
        sa.Column("late", sa.Boolean(), nullable=False),
        sa.Column("revision", sa.Integer(), nullable=False),
        sa.Column("attention", sa.Integer(), nullable=False),
        sa.Column("title_zh", TEXT, nullable=False),
        sa.Column("title_en", TEXT, nullable=False),
        sa.Column("advice_zh", TEXT, nullable=False),
        sa.Column("advice_en", TEXT, nullable=False),
        sa.Column("reason", JSON, nullable=False),
        sa.Column("path", JSON, nullable=False),
        sa.Column("acknowledged_at", LONG, nullable=True),
        sa.Column("acknowledged_by", TEXT, nullable=True),
        sa.Column("acknowledged_revision", sa.Integer(), server_default="0", nullable=False),
        sa.Column("shelved_until", LONG, nullable=True),
        sa.Column("suppressed", sa.Boolean(), server_default=sa.false(), nullable=False),
        sa.Column("out_of_service", sa.Boolean(), server_default=sa.false(), nullable=False),
        sa.Column("resolved_at", LONG, nullable=True),
        sa.Column("is_unseen", sa.Integer(), sa.Computed(UNSEEN, persisted=True), nullable=False),
        sa.Column("is_open", sa.Integer(), sa.Computed(OPEN, persisted=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_alert"),
    )
    op.create_index("ix_alert_device_noticed_at", "alert", ["device", "noticed_at", "id"])
    op.create_index("ix_alert_node_noticed_at", "alert", ["node", "noticed_at", "id"])
    op.create_index("ix_alert_noticed_at_id", "alert", ["noticed_at", "id"])
    op.create_index("ix_alert_open_noticed_at", "alert", ["is_open", "noticed_at", "id"])
    op.create_index("ix_alert_open_rank", "alert", ["is_open", "rank", "noticed_at", "id"])
    op.create_index(
        "ix_alert_standing_noticed_at",
        "alert",
        ["noticed_at", "id"],
        sqlite_where=sa.text("cleared_at IS NULL"),
        postgresql_where=sa.text("cleared_at IS NULL"),
    )
    op.create_index("ix_alert_unseen_noticed_at", "alert", ["is_unseen", "noticed_at", "id"])
    op.create_table(
        "alert_step",
        sa.Column("id", TEXT, nullable=False),
        sa.Column("alert_id", TEXT, nullable=False),
        sa.Column("at", LONG, nullable=False),
        sa.Column("kind", TEXT, nullable=False),
        sa.Column("revision", sa.Integer(), nullable=False),
        sa.Column("by", TEXT, nullable=True),
        sa.Column("text", TEXT, nullable=True),
        sa.Column("detail", JSON, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_alert_step"),
    )
    op.create_index("ix_alert_step_alert_id_at", "alert_step", ["alert_id", "at"])


def _tree() -> None:
    op.create_table(
        "node",
        sa.Column("id", TEXT, nullable=False),
        sa.Column("level", TEXT, nullable=False),
        sa.Column("parent", TEXT, nullable=True),
        sa.Column("site", TEXT, nullable=True),
        sa.Column("name_zh", TEXT, nullable=False),
        sa.Column("name_en", TEXT, nullable=False),
        sa.Column("site_kind", TEXT, nullable=True),
        sa.Column("geometry", JSON, nullable=True),
        sa.Column("occupants", LONG, nullable=True),
        sa.Column("number", LONG, nullable=True),
        sa.Column("lineage", TEXT, nullable=False),
        sa.Column("entry", sa.Integer(), nullable=False),
        sa.Column("last", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_node"),
    )
    op.create_index("ix_node_entry", "node", ["entry"])
    op.create_table(
        "device",
        sa.Column("id", TEXT, nullable=False),
        sa.Column("family", TEXT, nullable=False),
        sa.Column("name_zh", TEXT, nullable=False),
        sa.Column("name_en", TEXT, nullable=False),
        sa.Column("node", TEXT, nullable=False),
        sa.Column("site", TEXT, nullable=True),
        sa.Column("edge", TEXT, nullable=True),
        sa.Column("expect_s", sa.Double(), nullable=True),
        sa.Column("position", JSON, nullable=True),
        sa.Column("model", TEXT, nullable=False),
        sa.Column("limits", JSON, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_device"),
    )
    op.create_index("ix_device_edge", "device", ["edge"])
    op.create_index("ix_device_node_id", "device", ["node", "id"])
    op.create_table(
        "edge",
        sa.Column("id", TEXT, nullable=False),
        sa.Column("site", TEXT, nullable=False),
        sa.Column("name_zh", TEXT, nullable=False),
        sa.Column("name_en", TEXT, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_edge"),
    )
    op.create_table(
        "group_",
        sa.Column("id", TEXT, nullable=False),
        sa.Column("name_zh", TEXT, nullable=False),
        sa.Column("name_en", TEXT, nullable=False),
        sa.Column("members", JSON, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_group_"),
    )
    op.create_table(
        "topology_meta",
        sa.Column("id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("at", LONG, nullable=False),
        sa.Column("digest", TEXT, nullable=False),
        sa.Column("datum", TEXT, nullable=False),
        sa.Column("coverage_minimum", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_topology_meta"),
    )


def _present() -> None:
    op.create_table(
        "node_colour",
        sa.Column("node", TEXT, nullable=False),
        sa.Column("at", LONG, nullable=False),
        sa.Column("colour", TEXT, nullable=False),
        sa.Column("alert_colour", TEXT, nullable=False),
        sa.Column("heard", sa.Integer(), nullable=False),
        sa.Column("total", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("node", name="pk_node_colour"),
    )
    op.create_table(
        "colour_change",
        sa.Column("node", TEXT, nullable=False),
        sa.Column("at", LONG, nullable=False),
        sa.Column("colour", TEXT, nullable=False),
        sa.Column("alert_colour", TEXT, nullable=False),
        sa.Column("heard", sa.Integer(), nullable=False),
        sa.Column("total", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("node", "at", name="pk_colour_change"),
    )
    op.create_index("ix_colour_change_at", "colour_change", ["at"])
    op.create_table(
        "presence",
        sa.Column("device", TEXT, nullable=False),
        sa.Column("at", LONG, nullable=False),
        sa.Column("presence", TEXT, nullable=False),
        sa.Column("last_heard", LONG, nullable=True),
        sa.Column("cause", TEXT, nullable=True),
        sa.PrimaryKeyConstraint("device", name="pk_presence"),
    )
    op.create_index("ix_presence_presence", "presence", ["presence"])
    op.create_table(
        "edge_state",
        sa.Column("edge", TEXT, nullable=False),
        sa.Column("site", TEXT, nullable=False),
        sa.Column("at", LONG, nullable=False),
        sa.Column("online", sa.Boolean(), nullable=False),
        sa.Column("drained", sa.Boolean(), nullable=False),
        sa.Column("epoch", TEXT, nullable=False),
        sa.Column("since", LONG, nullable=False),
        sa.Column("backlog", LONG, nullable=True),
        sa.PrimaryKeyConstraint("edge", name="pk_edge_state"),
    )


def _log() -> None:
    op.create_table(
        "dead_letter",
        sa.Column("id", TEXT, nullable=False),
        sa.Column("log", TEXT, nullable=False),
        sa.Column("pos", LONG, nullable=False),
        sa.Column("index", sa.Integer(), nullable=False),
        sa.Column("at", LONG, nullable=False),
        sa.Column("site", TEXT, nullable=True),
        sa.Column("source", TEXT, nullable=False),
        sa.Column("reason", TEXT, nullable=False),
        sa.Column("field", TEXT, nullable=False),
        sa.Column("raw", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_dead_letter"),
    )
    op.create_index("ix_dead_letter_at_pos_index", "dead_letter", ["at", "pos", "index"])
    op.create_table(
        "declared_loss",
        sa.Column("log", TEXT, nullable=False),
        sa.Column("pos", LONG, autoincrement=False, nullable=False),
        sa.Column("index", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("at", LONG, nullable=False),
        sa.Column("site", TEXT, nullable=False),
        sa.Column("edge", TEXT, nullable=False),
        sa.Column("epoch", TEXT, nullable=False),
        sa.Column("lane", TEXT, nullable=False),
        sa.Column("first_seq", LONG, nullable=False),
        sa.Column("last_seq", LONG, nullable=False),
        sa.Column("events", LONG, nullable=True),
        sa.Column("reason", TEXT, nullable=False),
        sa.PrimaryKeyConstraint("log", "pos", "index", name="pk_declared_loss"),
    )
    op.create_index("ix_declared_loss_at_pos_index", "declared_loss", ["at", "pos", "index"])
    op.create_index("ix_declared_loss_edge", "declared_loss", ["edge"])
    op.create_table(
        "change",
        sa.Column("seq", LONG, autoincrement=False, nullable=False),
        sa.Column("at", LONG, nullable=False),
        sa.Column("topic", TEXT, nullable=False),
        sa.Column("ref", TEXT, nullable=False),
        sa.Column("payload", JSON, nullable=False),
        sa.PrimaryKeyConstraint("seq", name="pk_change"),
    )
    op.create_index("ix_change_at", "change", ["at"])
    op.create_table(
        "counter",
        sa.Column("name", TEXT, nullable=False),
        sa.Column("value", LONG, nullable=False),
        sa.PrimaryKeyConstraint("name", name="pk_counter"),
    )
    op.create_table(
        "cursor",
        sa.Column("projector", TEXT, nullable=False),
        sa.Column("position", LONG, nullable=False),
        sa.Column("snapshot", sa.LargeBinary(), nullable=True),
        sa.PrimaryKeyConstraint("projector", name="pk_cursor"),
    )


def _system() -> None:
    op.create_table(
        "process",
        sa.Column("name", TEXT, nullable=False),
        sa.Column("state", TEXT, nullable=False),
        sa.Column("pid", sa.Integer(), nullable=True),
        sa.Column("restarts", sa.Integer(), nullable=False),
        sa.Column("since", LONG, nullable=False),
        sa.Column("message", TEXT, nullable=False),
        sa.PrimaryKeyConstraint("name", name="pk_process"),
    )
    op.create_table(
        "job",
        sa.Column("name", TEXT, nullable=False),
        sa.Column("started_at", LONG, nullable=False),
        sa.Column("finished_at", LONG, nullable=False),
        sa.Column("ok", sa.Boolean(), nullable=False),
        sa.Column("message", TEXT, nullable=False),
        sa.Column("runs", LONG, nullable=False),
        sa.Column("failures", LONG, nullable=False),
        sa.PrimaryKeyConstraint("name", name="pk_job"),
    )


def _accounts() -> None:
    op.create_table(
        "user",
        sa.Column("id", LONG, autoincrement=True, nullable=False),
        sa.Column("name", TEXT, nullable=False),
        sa.Column("role", TEXT, nullable=False),
        sa.Column("password_hash", TEXT, nullable=True),
        sa.Column("created_at", LONG, nullable=False),
        sa.Column("disabled_at", LONG, nullable=True),
        sa.PrimaryKeyConstraint("id", name="pk_user"),
        sa.UniqueConstraint("name", name="uq_user_name"),
    )
    op.create_table(
        "session",
        sa.Column("token_hash", TEXT, nullable=False),
        sa.Column("user_id", LONG, nullable=False),
        sa.Column("created_at", LONG, nullable=False),
        sa.Column("expires_at", LONG, nullable=False),
        sa.Column("address", TEXT, nullable=False),
        sa.ForeignKeyConstraint(
            ["user_id"], ["user.id"], name="fk_session_user_id", ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("token_hash", name="pk_session"),
    )
    op.create_index("ix_session_expires_at", "session", ["expires_at"])
    op.create_index("ix_session_user_id", "session", ["user_id"])
    op.create_table(
        "sign_in_link",
        sa.Column("token_hash", TEXT, nullable=False),
        sa.Column("user_id", LONG, nullable=False),
        sa.Column("created_at", LONG, nullable=False),
        sa.Column("expires_at", LONG, nullable=False),
        sa.Column("used_at", LONG, nullable=True),
        sa.ForeignKeyConstraint(
            ["user_id"], ["user.id"], name="fk_sign_in_link_user_id", ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("token_hash", name="pk_sign_in_link"),
    )
    op.create_index("ix_sign_in_link_expires_at", "sign_in_link", ["expires_at"])
    op.create_index("ix_sign_in_link_user_id", "sign_in_link", ["user_id"])
    op.create_table(
        "sign_in_attempt",
        sa.Column("id", LONG, autoincrement=True, nullable=False),
        sa.Column("at", LONG, nullable=False),
        sa.Column("name", TEXT, nullable=False),
        sa.Column("address", TEXT, nullable=False),
        sa.Column("success", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_sign_in_attempt"),
    )
    op.create_index("ix_sign_in_attempt_address_at", "sign_in_attempt", ["address", "at"])
    op.create_index("ix_sign_in_attempt_at", "sign_in_attempt", ["at"])
    op.create_index("ix_sign_in_attempt_name_at", "sign_in_attempt", ["name", "at"])
    op.create_table(
        "audit",
        sa.Column("id", LONG, autoincrement=True, nullable=False),
        sa.Column("at", LONG, nullable=False),
        sa.Column("user", TEXT, nullable=True),
        sa.Column("action", TEXT, nullable=False),
        sa.Column("target", TEXT, nullable=False),
        sa.Column("address", TEXT, nullable=False),
        sa.Column("detail", JSON, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_audit"),
    )
    op.create_index("ix_audit_at", "audit", ["at"])
    op.create_index("ix_audit_target_id", "audit", ["target", "id"])
