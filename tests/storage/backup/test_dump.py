"""PostgreSQL's records as a dump: every row comes back, into an empty database only."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import MetaData, select

from core.contracts.colours import Colour
from core.contracts.errors import SettingsError
from core.contracts.outputs import ColourOutput, LossOutput
from core.runtime.settings import Settings
from core.storage import backup
from core.storage.journal import Append, Journal, OnFull
from core.storage.records import Records, accounts, changes, dump, projection, refusals
from tests.servers import PostgresServer

pytestmark = pytest.mark.postgresql
NOW = 1_790_000_000_000


@pytest.fixture
def target(postgresql: PostgresServer) -> Iterator[str]:
    url = postgresql.create_database()
    yield url
    postgresql.drop_database(url)


@pytest.fixture
def filled(postgresql_database: str) -> str:
    return fill(postgresql_database)


def fill(url: str) -> str:
    """Write something of every kind into the records at an address, and return it."""
    records = Records(url).open()
    with records.session() as session:
        accounts.create_user(session, "li", "admin", NOW)
        accounts.create_user(session, "王", "viewer", NOW)
        projection.apply(
            session,
            [ColourOutput(f"b{n}", NOW, Colour.GREEN, Colour.GREEN, 1, 1) for n in range(2_500)]
            + [LossOutput(1, 0, NOW, "s", "e", "x", "reading", 1, 2, None, "hole")],
            NOW,
        )
        letter = refusals.DeadLetter(1, 0, NOW, "lane", "why \x00", raw=bytes(range(256)))
        refusals.add_dead_letters(session, [letter], NOW)
        projection.save_cursor(session, "rules/log", 7, b"\x00state")
    records.close()
    return url


def rows(url: str) -> dict[str, list[Any]]:
    """Return every row of every table."""
    records = Records(url).open()
    with records.reading() as session:
        connection = session.connection()
        metadata = MetaData()
        metadata.reflect(connection)
        found = {
            table.name: sorted(map(repr, connection.execute(select(table)).all()))
            for table in metadata.sorted_tables
        }
    records.close()
    return found


def dumped(url: str, path: Path) -> tuple[str, dict[str, int]]:
    records = Records(url).open()
    try:
        return dump.dump(records, path)
    finally:
        records.close()


def test_every_row_comes_back(filled: str, target: str, tmp_path: Path) -> None:
    file = tmp_path / "records.jsonl.gz"
    revision, cursors = dumped(filled, file)
    assert cursors == {"rules/log": 7}
    dump.load(target, file, revision, replace=False)
    before = rows(filled)
    assert rows(target) == before
    assert len(before["colour_change"]) == 2_500
    assert len(before["change"]) > 0
    records = Records(target).open()
    with records.session() as session:
        assert accounts.create_user(session, "zhao", "viewer", NOW).id == 3, "numbers go on"
        assert changes.append_change(session, "process", "p", {}, NOW) > len(before["change"])
    records.close()


def test_rows_are_lost_only_when_that_was_said(filled: str, target: str, tmp_path: Path) -> None:
    file = tmp_path / "records.jsonl.gz"
    revision, _ = dumped(filled, file)
    records = Records(target).open()
    with records.session() as session:
        accounts.create_user(session, "other", "viewer", NOW)
    records.close()
    before = rows(target)
    with pytest.raises(SettingsError, match="--replace"):
        dump.load(target, file, revision, replace=False)
    with pytest.raises(SettingsError, match="a newer one"):
        dump.load(target, file, "9999", replace=True)
    assert rows(target) == before, "what fails changes nothing"
    dump.load(target, file, revision, replace=True)
    assert rows(target) == rows(filled)


def test_a_backup_holds_the_dump_and_a_restore_fills_an_empty_database(
    filled: str, target: str, tmp_path: Path
) -> None:
    settings = Settings.model_validate({"data": tmp_path / "data", "records": {"url": filled}})
    settings.data.mkdir()
    path = settings.data / "collector.sqlite"
    log = Journal(path, owner="collector", budget=1 << 30, on_full=OnFull.REFUSE)
    log.open()
    log.append(Append("batch/s/edge-1/x/reading", b"r", NOW), Append("tick", b"", NOW)).result()
    records = Records(filled).open()
    with records.session() as session:
        projection.save_cursor(session, f"rules/{log.epoch}", 3, None)
    with pytest.raises(backup.BackupError, match="rules stands at 3"):
        backup.take(settings, None, tmp_path / "ahead", NOW, backup.Wishes())
    with records.session() as session:
        projection.save_cursor(session, f"rules/{log.epoch}", 2, None)
    made = backup.take(settings, None, tmp_path / "backup", NOW, backup.Wishes())
    assert (made.records, made.position) == ("postgresql", 2)
    before = rows(filled)
    log.close()

    elsewhere = {"data": tmp_path / "new", "records": {"url": target}}
    restored = backup.restore(tmp_path / "backup", Settings.model_validate(elsewhere), NOW)
    assert restored.declared == 1
    after = rows(target)
    changed = {name for name in before if before[name] != after[name]}
    assert changed == {"change", "counter", "declared_loss"}
    assert len(after["declared_loss"]) == len(before["declared_loss"]) + 1
    with pytest.raises(SettingsError, match="--replace"):
        backup.restore(
            tmp_path / "backup",
            Settings.model_validate(elsewhere | {"data": tmp_path / "third"}),
            NOW,
        )
    assert not (tmp_path / "third").exists()
    records.close()
