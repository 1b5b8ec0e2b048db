"""What both dialects have and SQLAlchemy's core leaves to each: upserts in bulk."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, TypeVar, cast

from sqlalchemy import ColumnElement, Executable, Table
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session

from core.storage.records.base import Base

T = TypeVar("T")
#: The most ids in one IN list; well below every driver's bound on parameters.
CHUNK = 500


def table(model: type[Base]) -> Table:
    """Return the table of a model."""
    return cast("Table", model.__table__)


def upsert_statement(session: Session, model: type[Base]) -> postgresql.Insert:
    """Return an INSERT that knows ON CONFLICT, in the session's dialect.

    SQLite's and PostgreSQL's inserts have the same methods; the latter's type stands for both.
    """
    if session.get_bind().dialect.name == "sqlite":
        return cast("postgresql.Insert", sqlite.insert(table(model)))
    return postgresql.insert(table(model))


def upsert(
    session: Session,
    model: type[Base],
    rows: Sequence[dict[str, Any]],
    *,
    update: Iterable[str] | None = None,
    where: Any = None,
) -> None:
    """Insert rows, or update those whose primary key is there.

    ``update`` names the columns to overwrite (default: all that the rows give but the key; an
    empty list: leave what is there). ``where`` builds a condition from (target, excluded).
    """
    if not rows:
        return
    target = table(model)
    keys = [column.name for column in target.primary_key.columns]
    names = [name for name in rows[0] if name not in keys] if update is None else list(update)
    statement = upsert_statement(session, model)
    if not names:
        statement = statement.on_conflict_do_nothing(index_elements=keys)
    else:
        condition: ColumnElement[bool] | None = (
            where(target.c, statement.excluded) if where is not None else None
        )
        statement = statement.on_conflict_do_update(
            index_elements=keys,
            set_={name: statement.excluded[name] for name in names},
            where=condition,
        )
    execute_many(session, statement, rows)


def execute_many(session: Session, statement: Executable, rows: Sequence[dict[str, Any]]) -> None:
    """Run one statement for many rows, past the unit of work."""
    if rows:
        session.connection().execute(statement, rows)


def chunks(items: Iterable[T], size: int = CHUNK) -> Iterator[list[T]]:
    """Yield lists of at most ``size`` items."""
    batch: list[T] = []
    for item in items:
        batch.append(item)
        if len(batch) == size:
            yield batch
            batch = []
    if batch:
        yield batch
