"""Bringing a database to the newest schema, from the revisions inside this package."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import Connection, Engine, inspect, text

from core.contracts.errors import SettingsError

if TYPE_CHECKING:
    from alembic.config import Config

#: The newest revision in ``migrations/versions``.
HEAD = "0008"

#: The key of PostgreSQL's advisory lock around a migration ("estate" in ASCII).
_LOCK = 0x657374617465


def upgrade(engine: Engine, reader: Engine) -> None:
    """Migrate to the newest revision in one transaction; only look where it is the newest.

    Of several processes one migrates while the others wait for its lock: PostgreSQL's advisory
    lock, or SQLite's write lock, with which every writing transaction begins.

    Raises:
        SettingsError: the database has a revision that this version does not know.
    """
    with reader.connect() as connection, connection.begin():
        if current(connection) == HEAD:
            return
    with engine.connect() as connection, connection.begin():
        if connection.dialect.name == "postgresql":
            connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _LOCK})
        upgrade_to(connection, "head")


def upgrade_to(connection: Connection, revision: str) -> None:
    """Migrate to a revision in the caller's transaction; raise :class:`SettingsError` as above."""
    # Alembic takes a quarter of a second to import, and most starts do not need it.
    from alembic import command
    from alembic.util.exc import CommandError

    config = configuration()
    config.attributes["connection"] = connection
    try:
        command.upgrade(config, revision)
    except CommandError as error:
        raise SettingsError(
            f"the records' schema ({current(connection) or revision}) is not one of this "
            f"version's; run the version that wrote it, or a newer one: {error}"
        ) from error


def check(reader: Engine) -> None:
    """Raise :class:`SettingsError` where a database has not the newest revision."""
    with reader.connect() as connection, connection.begin():
        found = current(connection)
    if found != HEAD:
        raise SettingsError(
            f"the records' schema is {found or 'not there'}, this version's is {HEAD}; "
            "starting any part migrates an older one, a newer one needs its own version"
        )


def configuration() -> Config:
    """Return Alembic's configuration for the package's revisions; no file is needed."""
    from alembic.config import Config

    config = Config()
    folder = Path(__file__).with_name("migrations")
    config.set_main_option("script_location", str(folder).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    return config


def current(connection: Connection) -> str | None:
    """Return the revision of a database (None: it is empty)."""
    if not inspect(connection).has_table("alembic_version"):
        return None
    return connection.execute(text("SELECT version_num FROM alembic_version")).scalar()
