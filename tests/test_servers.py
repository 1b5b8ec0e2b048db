"""The servers that other tests rely on: they answer, and they can be killed and come back."""

from __future__ import annotations

import socket
from pathlib import Path

import httpx
import psycopg
import pytest

from tests import servers


@pytest.mark.mosquitto
def test_mosquitto_comes_back_on_its_port(tmp_path: Path) -> None:
    with servers.mosquitto_server(tmp_path, "max_inflight_messages 50") as server:
        server.kill()
        with pytest.raises(OSError):
            socket.create_connection((server.host, server.port), 1).close()
        server.start()
        socket.create_connection((server.host, server.port), 1).close()


@pytest.mark.influxdb
def test_influxdb_answers(influxdb: servers.Server) -> None:
    answer = httpx.get(f"{influxdb.url}/query", params={"q": "SHOW DATABASES"})
    assert answer.headers["X-Influxdb-Version"].startswith("1.")


@pytest.mark.victoria
def test_victoria_takes_both_ways_of_writing(victoria: servers.Server) -> None:
    for path in ("/write", "/api/v2/write"):
        assert httpx.post(f"{victoria.url}{path}", content="m,a=b f=1").status_code == 204


@pytest.mark.postgresql
def test_postgresql_gives_an_empty_database(postgresql_database: str) -> None:
    url = postgresql_database.replace("+psycopg", "")
    with psycopg.connect(url) as connection:
        tables = connection.execute(
            "SELECT count(*) FROM information_schema.tables WHERE table_schema = 'public'"
        ).fetchone()
    assert tables == (0,)
