"""``estate records copy``: from SQLite into PostgreSQL."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, Phase, given, settings
from sqlalchemy import select
from typer.testing import CliRunner, Result

from core.contracts.outputs import Output
from core.storage.locks import FileLock
from core.storage.records import Records, accounts, projection
from core.storage.records.base import Base
from core.storage.records.sql import table
from estate.cli import app
from tests.storage.backup.test_dump import NOW, fill
from tests.storage.records.samples import outputs, wipe

#: Each example opens two databases.
NO_SHRINKING = [Phase.explicit, Phase.reuse, Phase.generate]
pytestmark = pytest.mark.postgresql


class Move:
    """A folder with SQLite's records, and an empty database."""

    def __init__(self, folder: Path, url: str) -> None:
        self.data = folder / "data"
        self.data.mkdir(exist_ok=True)
        self.source = f"sqlite:///{self.data / 'records.sqlite'}"
        self.target = url
        self.former, self.settings = folder / "one.yaml", folder / "north.yaml"
        self.former.write_text(yaml.safe_dump({"data": str(self.data)}))
        self.settings.write_text(
            yaml.safe_dump({"data": str(folder / "north"), "records": {"url": url}})
        )

    def copy(self) -> Result:
        arguments = ["records", "copy", str(self.former), "--settings", str(self.settings)]
        return CliRunner().invoke(app, arguments)


def content(url: str) -> dict[str, dict[tuple[Any, ...], dict[str, Any]]]:
    """Return every table's rows by their keys."""
    records = Records(url).open()
    found = {}
    with records.reading() as session:
        for mapper in Base.registry.mappers:
            target = table(mapper.class_)
            keys = [column.name for column in target.primary_key.columns]
            rows = [dict(row) for row in session.execute(select(target)).mappings()]
            found[target.name] = {tuple(row[key] for key in keys): number(row) for row in rows}
    records.close()
    return found


def number(value: Any) -> Any:
    """Return numbers as one kind: PostgreSQL's JSON has 1e23 without its exponent."""
    if isinstance(value, dict):
        return {name: number(item) for name, item in value.items()}
    if isinstance(value, list):
        return [number(item) for item in value]
    return float(value) if isinstance(value, int) else value


@pytest.fixture
def move(tmp_path: Path, postgresql_database: str) -> Move:
    return Move(tmp_path, postgresql_database)


def test_every_row_is_there_and_numbers_go_on(move: Move) -> None:
    fill(move.source)
    done = move.copy()
    assert done.exit_code == 0, done.output
    assert "rows of" in done.output
    assert content(move.target) == content(move.source)
    assert sorted(path.name for path in move.data.iterdir() if "records" not in path.name) == [
        "estate.lock"
    ]
    records = Records(move.target).open()
    with records.session() as session:
        accounts.create_user(session, "zhao", "viewer", NOW)
    records.close()

    again = move.copy()
    assert (again.exit_code, "holds records already" in again.output) == (2, True)


@settings(
    max_examples=5,
    deadline=None,
    phases=NO_SHRINKING,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(said=outputs())
def test_whatever_the_rules_have_said_is_copied(move: Move, said: list[Output]) -> None:
    Path(move.source.removeprefix("sqlite:///")).unlink(missing_ok=True)
    records = Records(move.source).open()
    with records.session() as session:
        projection.apply(session, said, NOW)
    records.close()
    emptied(move.target)
    assert move.copy().exit_code == 0
    copied, was = content(move.target), content(move.source)
    assert {name: rows for name, rows in copied.items() if rows != was[name]} == {}


def emptied(url: str) -> None:
    records = Records(url).open()
    with records.session() as session:
        wipe(session)
    records.close()


def test_what_runs_or_is_the_same_is_refused(move: Move) -> None:
    missing = move.copy()
    assert (missing.exit_code, "no records yet" in missing.output) == (2, True)
    fill(move.source)
    with_lock = FileLock(move.data / "estate")
    with_lock.acquire()
    busy = move.copy()
    with_lock.release()
    assert (busy.exit_code, "in use" in busy.output) == (2, True)
    same = CliRunner().invoke(
        app, ["records", "copy", str(move.former), "--settings", str(move.former)]
    )
    assert (same.exit_code, "same records" in same.output) == (2, True)
