"""Run by Alembic inside the transaction that :mod:`core.storage.records.migrate` holds."""

from __future__ import annotations

from alembic import context

from core.storage.records import account_models, ledger_models, models, tenure_models
from core.storage.records.base import Base

#: Importing a module of models puts its tables into the metadata.
MODELS = (models, account_models, ledger_models, tenure_models)

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=Base.metadata,
    transaction_per_migration=False,
    render_as_batch=True,
)
with context.begin_transaction():
    context.run_migrations()
