"""Migrations: from nothing to the newest schema, at once from several sides, without drift."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import inspect, text

from core.contracts.errors import SettingsError, StoreUnavailableError
from core.storage.records import (
    Records,
    account_models,
    ledger_models,
    migrate,
    models,
    tenure_models,
)
from core.storage.records.base import Base

MODELS = (models, account_models, ledger_models, tenure_models)


def test_an_empty_database_is_migrated_to_what_the_models_say(empty_url: str) -> None:
    records = Records(empty_url).open()
    with records.session() as session:
        connection = session.connection()
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, Base.metadata) == []
        newest = ScriptDirectory.from_config(migrate.configuration()).get_current_head()
        assert migrate.current(connection) == migrate.HEAD == newest
    records.close()


def test_opening_again_changes_nothing(empty_url: str) -> None:
    Records(empty_url).open().close()
    records = Records(empty_url).open()
    with records.reading() as session:
        assert session.execute(text("SELECT count(*) FROM alert")).scalar() == 0
    records.close()


def test_several_open_an_empty_database_at_once(empty_url: str) -> None:
    with ThreadPoolExecutor(6) as pool:
        opened = list(pool.map(lambda _: Records(empty_url).open(), range(6)))
    with opened[0].reading() as session:
        names = set(inspect(session.connection()).get_table_names())
    assert set(Base.metadata.tables) <= names
    for records in opened:
        records.close()


def test_the_first_revision_can_be_taken_back(empty_url: str) -> None:
    records = Records(empty_url).open()
    with records.session() as session:
        config = migrate.configuration()
        config.attributes["connection"] = session.connection()
        command.downgrade(config, "base")
        session.execute(text("SELECT 1"))
    with records.reading() as session:
        assert set(inspect(session.connection()).get_table_names()) == {"alembic_version"}
    records.close()


def test_a_schema_of_a_newer_version_is_refused(empty_url: str) -> None:
    records = Records(empty_url).open()
    with records.session() as session:
        session.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    records.close()
    with pytest.raises(SettingsError, match="9999"):
        Records(empty_url).open()


def test_a_reading_transaction_cannot_write(records: Records) -> None:
    with pytest.raises(Exception, match=r"read.?only"), records.reading() as session:
        session.execute(text("DELETE FROM alert"))


def test_what_fails_is_rolled_back(records: Records) -> None:
    with pytest.raises(ZeroDivisionError), records.session() as session:  # noqa: PT012
        session.add(models.Counter(name="n", value=1))
        session.flush()
        raise ZeroDivisionError
    with records.reading() as session:
        assert session.get(models.Counter, "n") is None


@pytest.mark.parametrize("bad", ["sqlite://", "sqlite:///:memory:", "mysql://host/name"])
def test_other_addresses_are_refused(bad: str) -> None:
    with pytest.raises(SettingsError, match=r"records\.url"):
        Records(bad)


def test_a_server_that_is_not_there_can_be_tried_again() -> None:
    with pytest.raises(StoreUnavailableError):
        Records("postgresql://postgres@127.0.0.1:1/nothing").open()
