"""Fixtures that every folder of tests may use."""

from __future__ import annotations

import uuid
from collections.abc import Iterator

import httpx
import pytest

from tests import servers


@pytest.fixture(scope="session")
def mosquitto(tmp_path_factory: pytest.TempPathFactory) -> Iterator[servers.Server]:
    """One mosquitto for the session: use client ids and topics of your own."""
    with servers.mosquitto_server(tmp_path_factory.mktemp("mosquitto")) as server:
        yield server


@pytest.fixture(scope="session")
def influxdb(tmp_path_factory: pytest.TempPathFactory) -> Iterator[servers.Server]:
    """One InfluxDB 1.x for the session."""
    with servers.influxdb_server(tmp_path_factory.mktemp("influxdb")) as server:
        yield server


@pytest.fixture
def influxdb_database(influxdb: servers.Server) -> Iterator[str]:
    """A database's name that nobody else uses; not created yet, dropped afterwards."""
    name = f"estate_{uuid.uuid4().hex[:12]}"
    yield name
    httpx.post(f"{influxdb.url}/query", data={"q": f'DROP DATABASE "{name}"'}, timeout=10)


@pytest.fixture(scope="session")
def victoria(tmp_path_factory: pytest.TempPathFactory) -> Iterator[servers.Server]:
    """One VictoriaMetrics for the session: use device ids of your own."""
    with servers.victoria_server(tmp_path_factory.mktemp("victoria")) as server:
        yield server


@pytest.fixture(scope="session")
def postgresql(tmp_path_factory: pytest.TempPathFactory) -> Iterator[servers.PostgresServer]:
    """One PostgreSQL for the session."""
    with servers.postgres_server(tmp_path_factory.mktemp("postgresql")) as server:
        yield server


@pytest.fixture
def postgresql_database(postgresql: servers.PostgresServer) -> Iterator[str]:
    """The SQLAlchemy address of an empty database of the test's own."""
    url = postgresql.create_database()
    yield url
    postgresql.drop_database(url)
