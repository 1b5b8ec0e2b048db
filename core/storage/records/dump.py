"""A logical dump of the records: every row of every table as JSON lines, gzipped.

It needs no tools of the database's version, is one snapshot, and holds nothing of the server's
own. The tables are read from the database itself, so that none can be forgotten.
"""

from __future__ import annotations

import base64
import gzip
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
from sqlalchemy import JSON, Connection, LargeBinary, MetaData, Table, func, insert, select, text
from sqlalchemy.dialects.postgresql import JSONB

from core.contracts.errors import SettingsError
from core.storage.records import migrate
from core.storage.records.database import Records, translated, unopened_engine

_AT_ONCE = 1_000
_VERSION = "alembic_version"


def dump(records: Records, path: Path) -> tuple[str, dict[str, int]]:
    """Write all rows; return the schema's revision and the projections' cursors in that state.

    Raises :class:`core.contracts.errors.StoreUnavailableError`.
    """
    with records.reading() as session, gzip.open(path, "wb", compresslevel=3) as out:
        connection = session.connection()
        revision = migrate.current(connection)
        if revision is None:
            raise SettingsError("records.url: the database has no schema of this program's")
        for table in _tables(connection):
            columns = _columns(table)
            out.write(_line({"table": str(table.name), "columns": columns}))
            shape = [_written(table.c[name].type) for name in columns]
            found = connection.execution_options(yield_per=_AT_ONCE).execute(
                select(*(table.c[name] for name in columns))
            )
            for row in found:
                out.write(_line([w(v) for w, v in zip(shape, row, strict=True)]))
        rows = connection.execute(text("SELECT projector, position FROM cursor"))
        return revision, {row.projector: row.position for row in rows}


def load(url: str, path: Path, revision: str, *, replace: bool) -> None:
    """Fill a database from a dump, in one transaction; then it has the dump's revision.

    Raises:
        SettingsError: the database holds rows and ``replace`` was not given, or the revision is
            a newer program's.
        StoreUnavailableError: the database does not answer.
    """
    engine = unopened_engine(url)
    try:
        with translated(), engine.begin() as connection:
            present = _tables(connection)
            if not replace and any(_has_rows(connection, table) for table in present):
                raise SettingsError(
                    "records.url: the database holds records already; name an empty one, or "
                    "say --replace to lose them"
                )
            for table in reversed(present):
                table.drop(connection)
            connection.execute(text(f"DROP TABLE IF EXISTS {_VERSION}"))
            migrate.upgrade_to(connection, revision)
            _fill(connection, path)
    finally:
        engine.dispose()


def copy(source: Records, url: str, *, draft: Path) -> dict[str, int]:
    """Copy all rows of a database into an empty one of PostgreSQL, in one transaction.

    They lie in the file ``draft`` meanwhile. Returns how many each table has; raises as
    :func:`load` does.
    """
    try:
        revision, _ = dump(source, draft)
        load(url, draft, revision, replace=False)
    finally:
        draft.unlink(missing_ok=True)
    with source.reading() as session:
        return _counts(session.connection())


def _fill(connection: Connection, path: Path) -> None:
    tables = {table.name: table for table in _tables(connection)}
    with gzip.open(path, "rb") as source:
        table: Table | None = None
        names: list[str] = []
        for is_head, group in _groups(source):
            if is_head:
                table, names = tables[group[0]["table"]], group[0]["columns"]
                continue
            assert table is not None  # noqa: S101 - a dump begins with a head
            shape = [_read(table.c[name].type) for name in names]
            connection.execute(
                insert(table),
                [{n: r(v) for n, r, v in zip(names, shape, row, strict=True)} for row in group],
            )
    for table in tables.values():
        _continue_counting(connection, table)


def _groups(source: Any) -> Iterator[tuple[bool, list[Any]]]:
    """Yield a table's head, then its rows in portions."""
    rows: list[Any] = []
    for line in source:
        item = msgspec.json.decode(line)
        if isinstance(item, dict) or len(rows) >= _AT_ONCE:
            if rows:
                yield False, rows
            rows = []
        if isinstance(item, dict):
            yield True, [item]
        else:
            rows.append(item)
    if rows:
        yield False, rows


def _tables(connection: Connection) -> list[Table]:
    """Return the tables as the database has them, those that others refer to first."""
    metadata = MetaData()
    metadata.reflect(connection)
    for table in metadata.sorted_tables:
        for column in table.c:
            if isinstance(column.type, JSONB):
                column.type = JSONB(none_as_null=True)
    return [table for table in metadata.sorted_tables if table.name != _VERSION]


def _columns(table: Table) -> list[str]:
    return [str(column.name) for column in table.c if column.computed is None]


def _counts(connection: Connection) -> dict[str, int]:
    return {
        str(table.name): connection.scalar(select(func.count()).select_from(table)) or 0
        for table in _tables(connection)
    }


def _has_rows(connection: Connection, table: Table) -> bool:
    return connection.execute(select(table).limit(1)).first() is not None


def _continue_counting(connection: Connection, table: Table) -> None:
    """Let a table's own numbers go on above those that were filled in."""
    for column in table.primary_key.columns:
        sequence = connection.scalar(
            select(func.pg_get_serial_sequence(f'"{table.name}"', column.name))
        )
        if sequence is not None:
            highest = connection.scalar(select(func.max(column)))
            connection.execute(select(func.setval(sequence, highest or 1, highest is not None)))


def _line(item: Any) -> bytes:
    return msgspec.json.encode(item) + b"\n"


def _same(value: Any) -> Any:
    return value


def _base64(value: bytes | None) -> str | None:
    return None if value is None else base64.b64encode(value).decode()


def _bytes(value: str | None) -> bytes | None:
    return None if value is None else base64.b64decode(value)


def _written(type_: Any) -> Callable[[Any], Any]:
    return _base64 if isinstance(type_, LargeBinary) else _same


def _read(type_: Any) -> Callable[[Any], Any]:
    return _bytes if isinstance(type_, LargeBinary) and not isinstance(type_, JSON) else _same
