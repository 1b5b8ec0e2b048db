"""SQLite as it is opened here: current, in WAL mode, with plain errors."""

from __future__ import annotations

from pathlib import Path

import pytest

from core.contracts.errors import StoreUnavailableError
from core.storage import sqlite


def test_the_library_is_free_of_the_wal_fault() -> None:
    assert sqlite.SQLITE_VERSION >= sqlite.OLDEST


@pytest.mark.parametrize(("synchronous", "level"), [("FULL", 2), ("NORMAL", 1)])
def test_the_pragmas_hold(tmp_path: Path, synchronous: sqlite.Synchronous, level: int) -> None:
    connection = sqlite.connect(tmp_path / "a b?#%.db", synchronous=synchronous, page_bytes=8192)
    found = {
        name: connection.execute(f"PRAGMA {name}").fetchone()[0]
        for name in ("journal_mode", "synchronous", "page_size", "foreign_keys")
    }
    connection.close()
    assert found == {
        "journal_mode": "wal", "synchronous": level, "page_size": 8192, "foreign_keys": 1,
    }  # fmt: skip
    assert [path.name for path in tmp_path.iterdir()] == ["a b?#%.db"]


def test_nothing_is_written_through_a_readonly_connection(tmp_path: Path) -> None:
    path = tmp_path / "x.db"
    writer = sqlite.connect(path)
    writer.execute("CREATE TABLE t (x)")
    reader = sqlite.connect(path, readonly=True)
    with pytest.raises(sqlite.OperationalError, match="readonly"):
        reader.execute("INSERT INTO t VALUES (1)")
    reader.close()
    writer.close()


@pytest.mark.parametrize("readonly", [False, True])
def test_errors_name_the_file(tmp_path: Path, readonly: bool) -> None:
    (tmp_path / "foreign").write_bytes(b"something else entirely " * 100)
    with pytest.raises(sqlite.DatabaseFileError, match="foreign"):
        sqlite.connect(tmp_path / "foreign", readonly=readonly)
    with pytest.raises(StoreUnavailableError, match="nowhere"):
        sqlite.connect(tmp_path / "nowhere" / "x.db", readonly=readonly)


def test_an_old_library_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite, "SQLITE_VERSION", (3, 40, 1))
    with pytest.raises(sqlite.DatabaseFileError, match="pysqlite3"):
        sqlite.connect(tmp_path / "x.db")
    assert list(tmp_path.iterdir()) == []


def test_a_transaction_is_whole_or_nothing(tmp_path: Path) -> None:
    connection = sqlite.connect(tmp_path / "x.db")
    connection.execute("CREATE TABLE t (x UNIQUE)")
    with sqlite.transaction(connection):
        connection.execute("INSERT INTO t VALUES (1)")

    def twice() -> None:
        with sqlite.transaction(connection):
            connection.execute("INSERT INTO t VALUES (2)")
            connection.execute("INSERT INTO t VALUES (1)")

    with pytest.raises(sqlite.IntegrityError):
        twice()
    assert not connection.in_transaction
    assert connection.execute("SELECT x FROM t").fetchall() == [(1,)]
    connection.close()
