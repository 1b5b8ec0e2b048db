"""Opening the records: engine, migrations, and the two kinds of transaction.

SQLite runs through ``pysqlite3`` with a write-ahead log and ``synchronous=FULL``; a writing
transaction takes the write lock when it begins (``BEGIN IMMEDIATE``), because one that reads
first and writes later cannot wait for another writer. On both databases a reading transaction
sees one snapshot, so a list and the number of the live sequence beside it agree.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pysqlite3.dbapi2
from sqlalchemy import URL, Connection, Engine, create_engine, event, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, OperationalError
from sqlalchemy.orm import Session

from core.contracts.errors import SettingsError, StoreUnavailableError
from core.storage import sqlite
from core.storage.records import migrate
from core.storage.records.base import dump_json

_READING = "estate_reading"
_RIGHT = "write it like postgresql://estate@db.example:5432/estate, or leave it out for SQLite"
_BUSY_S = 20.0
#: PostgreSQL's classes of error after which the same call may succeed: connection lost,
#: transaction rolled back (deadlock, serialisation), out of resources, operator intervention.
_RETRYABLE = ("08", "40", "53", "55P03", "57")


class Records:
    """The records at one SQLAlchemy address (``sqlite:///…`` or ``postgresql://…``).

    Nothing is opened before :meth:`open`. Safe to use from several threads.
    """

    def __init__(self, url: str) -> None:
        self._url = _normalise(url)
        self._engine: Engine | None = None
        self._reader: Engine | None = None

    @property
    def dialect(self) -> str:
        """Return ``sqlite`` or ``postgresql``."""
        return self._url.get_backend_name()

    def open(self, *, migrating: bool = True) -> Records:
        """Connect and migrate to the newest schema; several processes may do so at once.

        Without ``migrating`` nothing is made or changed, and another schema is refused.

        Raises:
            StoreUnavailableError: the database does not answer.
            SettingsError: the address is of another database, or its schema is a newer one.
        """
        if (
            not migrating
            and self.dialect == "sqlite"
            and not Path(str(self._url.database)).exists()
        ):
            raise StoreUnavailableError(f"{self._url.database}: there are no records yet")
        if self.dialect == "sqlite":
            engine = _sqlite_engine(self._url, readonly=not migrating)
        else:
            engine = _pg_engine(self._url)
        options: dict[str, Any] = {_READING: True}
        if self.dialect == "postgresql":
            options |= {"isolation_level": "REPEATABLE READ", "postgresql_readonly": True}
        reader = engine.execution_options(**options)
        try:
            with translated():
                if migrating:
                    migrate.upgrade(engine, reader)
                else:
                    migrate.check(reader)
        except BaseException:
            engine.dispose()
            raise
        self._engine, self._reader = engine, reader
        return self

    @property
    def path(self) -> Path | None:
        """Return the file that they are in, None of a database server."""
        return Path(str(self._url.database)) if self.dialect == "sqlite" else None

    def close(self) -> None:
        """Release every connection."""
        if self._engine is not None:
            self._engine.dispose()
        self._engine = self._reader = None

    @contextmanager
    def session(self) -> Iterator[Session]:
        """Give a writing transaction: committed at the end of the block, rolled back on error.

        Raises:
            StoreUnavailableError: the database does not answer or could not take the write now.
        """
        with (
            translated(),
            Session(_opened(self._engine), expire_on_commit=False) as session,
            session.begin(),
        ):
            yield session

    @contextmanager
    def reading(self) -> Iterator[Session]:
        """Give a reading transaction: one snapshot, and no writing.

        Raises:
            StoreUnavailableError: the database does not answer.
        """
        with (
            translated(),
            Session(_opened(self._reader), expire_on_commit=False) as session,
            session.begin(),
        ):
            yield session


def _opened(engine: Engine | None) -> Engine:
    if engine is None:
        raise RuntimeError("the records are not open")
    return engine


def _normalise(url: str) -> URL:
    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError):
        # What was set is not shown: there may be a password in it.
        raise SettingsError(f"records.url: is no address of a database; {_RIGHT}") from None
    backend = parsed.get_backend_name()
    if backend == "sqlite":
        if not parsed.database or parsed.database == ":memory:":
            raise SettingsError("records.url: SQLite needs a file that its processes can share")
        return parsed.set(drivername="sqlite")
    if backend == "postgresql":
        return parsed.set(drivername="postgresql+psycopg")
    raise SettingsError(f"records.url: {backend} is unknown; {_RIGHT}")


def unopened_engine(url: str) -> Engine:
    """Return an engine of a PostgreSQL database, whatever its schema is."""
    parsed = _normalise(url)
    if parsed.get_backend_name() != "postgresql":
        raise SettingsError("records.url: this backup's records are of a PostgreSQL database")
    return _pg_engine(parsed)


def _sqlite_engine(url: URL, *, readonly: bool) -> Engine:
    path = Path(str(url.database))
    engine = create_engine(
        url,
        module=pysqlite3.dbapi2,
        creator=lambda: sqlite.connect(path, readonly=readonly, busy_s=_BUSY_S),
        json_serializer=dump_json,
        json_deserializer=json.loads,
        pool_size=8,
        max_overflow=32,
    )

    @event.listens_for(engine, "begin")
    def _begun(connection: Connection) -> None:
        reading = connection.get_execution_options().get(_READING, False)
        connection.exec_driver_sql(f"PRAGMA query_only={'ON' if reading else 'OFF'}")
        connection.exec_driver_sql("BEGIN" if reading else "BEGIN IMMEDIATE")

    return engine


def _pg_engine(url: URL) -> Engine:
    return create_engine(
        url,
        pool_size=8,
        max_overflow=16,
        pool_pre_ping=True,
        json_serializer=dump_json,
        json_deserializer=json.loads,
        connect_args={"connect_timeout": 10, "application_name": "estate"},
    )


@contextmanager
def translated() -> Iterator[None]:
    """Turn a database's failure that trying again may mend into StoreUnavailableError."""
    try:
        yield
    except DBAPIError as error:
        code = getattr(error.orig, "sqlstate", None)
        retryable = (
            code.startswith(_RETRYABLE) if code is not None else isinstance(error, OperationalError)
        )
        if not retryable and not error.connection_invalidated:
            raise
        why = " ".join(str(error.orig).split())  # PostgreSQL's is of several lines
        raise StoreUnavailableError(f"the records cannot be used now: {why}") from error
