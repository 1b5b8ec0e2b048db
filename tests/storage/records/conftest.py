"""The same suite on SQLite and on PostgreSQL, each test in an empty, migrated database."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from core.storage.records import Records
from tests.servers import PostgresServer
from tests.storage.records.samples import wipe

BACKENDS = ["sqlite", pytest.param("postgresql", marks=pytest.mark.postgresql)]


@pytest.fixture(scope="session")
def sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A migrated, empty SQLite file to copy."""
    path = tmp_path_factory.mktemp("records") / "template.sqlite"
    Records(f"sqlite:///{path}").open().close()
    return path


@pytest.fixture(scope="session")
def postgresql_shared(postgresql: PostgresServer) -> str:
    """A migrated PostgreSQL database, emptied for each test (a new one takes half a second)."""
    url = postgresql.create_database()
    Records(url).open().close()
    return url


@pytest.fixture(params=BACKENDS)
def backend(request: pytest.FixtureRequest) -> str:
    """The database's kind."""
    return str(request.param)


@pytest.fixture
def empty_url(backend: str, request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The address of a database without a schema."""
    if backend == "sqlite":
        return f"sqlite:///{tmp_path / 'empty.sqlite'}"
    return str(request.getfixturevalue("postgresql_database"))


@pytest.fixture
def url(backend: str, request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The address of a migrated, empty database."""
    if backend == "sqlite":
        path = tmp_path / "records.sqlite"
        shutil.copy(request.getfixturevalue("sqlite_template"), path)
        return f"sqlite:///{path}"
    shared = str(request.getfixturevalue("postgresql_shared"))
    records = Records(shared).open()
    with records.session() as session:
        wipe(session)
    records.close()
    return shared


@pytest.fixture
def open_records(url: str) -> Iterator[Callable[[], Records]]:
    """Open the test's database as one more process would."""
    opened: list[Records] = []

    def one_more() -> Records:
        opened.append(Records(url).open())
        return opened[-1]

    yield one_more
    for records in opened:
        records.close()


@pytest.fixture
def records(open_records: Callable[[], Records]) -> Records:
    """The test's records, open."""
    return open_records()
