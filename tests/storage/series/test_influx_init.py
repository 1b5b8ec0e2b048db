"""``estate influx init``: on a real 1.x server, and on a peer that speaks 2.x and 3."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
from typer.testing import CliRunner

from core.contracts.errors import SettingsError, StoreUnavailableError
from core.runtime.settings import InfluxSettings
from core.storage.series import initialise
from estate.cli import app
from tests.servers import Server

# -- a real server of version 1 --------------------------------------------------------------


def policies(server: Server, database: str) -> list[list[Any]]:
    answer = httpx.get(
        f"{server.url}/query", params={"q": f'SHOW RETENTION POLICIES ON "{database}"'}
    ).json()
    values: list[list[Any]] = answer["results"][0]["series"][0]["values"]
    return values


@pytest.mark.influxdb
def test_a_database_is_created_once(influxdb: Server, influxdb_database: str) -> None:
    settings = InfluxSettings(url=influxdb.url, database=influxdb_database)
    assert initialise(settings, 400) == [f"database {influxdb_database}: created, kept 400 days"]
    assert initialise(settings, 400) == [
        f"database {influxdb_database}: there already",
        "retention policy autogen: 400 days already",
    ]
    assert [(row[0], row[1], row[-1]) for row in policies(influxdb, influxdb_database)] == [
        ("autogen", "9600h0m0s", True)
    ]


@pytest.mark.influxdb
def test_a_retention_grows_but_shrinks_only_when_asked(
    influxdb: Server, influxdb_database: str
) -> None:
    settings = InfluxSettings(url=influxdb.url, database=influxdb_database)
    initialise(settings, 30)
    assert initialise(settings, 60)[1] == "retention policy autogen: now 60 days"
    with pytest.raises(SettingsError, match=r"keeps 60 days.*--shorten"):
        initialise(settings, 7)
    assert policies(influxdb, influxdb_database)[0][1] == "1440h0m0s"
    assert initialise(settings, 7, shorten=True)[1] == "retention policy autogen: now 7 days"
    assert policies(influxdb, influxdb_database)[0][1] == "168h0m0s"


@pytest.mark.influxdb
def test_a_database_without_a_default_policy_gets_one(
    influxdb: Server, influxdb_database: str
) -> None:
    for statement in (
        f'CREATE DATABASE "{influxdb_database}"',
        f'DROP RETENTION POLICY "autogen" ON "{influxdb_database}"',
    ):
        httpx.post(f"{influxdb.url}/query", data={"q": statement}).raise_for_status()
    settings = InfluxSettings(url=influxdb.url, database=influxdb_database)
    assert initialise(settings, 30)[1] == "retention policy autogen: created, 30 days"
    assert policies(influxdb, influxdb_database)[0][1] == "720h0m0s"


@pytest.mark.influxdb
@pytest.mark.parametrize("version", [2, 3])
def test_a_server_of_another_version_is_guessed(influxdb: Server, version: int) -> None:
    settings = InfluxSettings.model_validate(
        {"url": influxdb.url, "version": version, "org": "street"}
    )
    with pytest.raises((StoreUnavailableError, SettingsError)) as caught:
        initialise(settings, 30)
    assert f"series.influxdb.version is {version}: the server says that it is 1." in str(
        caught.value
    )


@pytest.mark.influxdb
def test_the_command(influxdb: Server, influxdb_database: str, tmp_path: Path) -> None:
    path = tmp_path / "estate.yaml"
    path.write_text(
        f"series: {{kind: influxdb, influxdb: {{url: '{influxdb.url}', "
        f"database: '{influxdb_database}'}}}}\n"
    )
    first = CliRunner().invoke(app, ["influx", "init", "--settings", str(path)])
    assert (first.exit_code, "created, kept 400 days" in first.output) == (0, True), first.output
    again = CliRunner().invoke(app, ["influx", "init", "--settings", str(path)])
    assert "there already" in again.output
    path.write_text("series: {kind: embedded}\n")
    refused = CliRunner().invoke(app, ["influx", "init", "--settings", str(path)])
    assert refused.exit_code != 0


# -- peers ------------------------------------------------------------------------------------


@dataclass
class Peer:
    """What a server of version 2 or 3 holds, by its documented interface."""

    url: str = ""
    buckets: list[dict[str, Any]] = field(default_factory=list)
    mappings: list[dict[str, Any]] = field(default_factory=list)
    databases: dict[str, str] = field(default_factory=dict)
    tokens: set[str] = field(default_factory=set)

    def answer(self, method: str, path: str, query: dict[str, str], body: Any) -> tuple[int, Any]:
        match method, path:
            case "GET", "/api/v2/orgs":
                known = query["org"] == "street"
                return (200, {"orgs": [{"id": "0a1b"}]}) if known else (404, {"code": "not found"})
            case "GET", "/api/v2/buckets":
                found = [b for b in self.buckets if b["name"] == query["name"]]
                return 200, {"buckets": found}
            case "POST", "/api/v2/buckets":
                self.buckets.append({"id": f"b{len(self.buckets)}", **body})
                return 201, self.buckets[-1]
            case "PATCH", str() if path.startswith("/api/v2/buckets/"):
                bucket = next(b for b in self.buckets if b["id"] == path.rsplit("/", 1)[1])
                bucket |= body
                return 200, bucket
            case "GET", "/api/v2/dbrps":
                found = [m for m in self.mappings if m["database"] == query["db"]]
                virtual = {
                    "bucketID": "b0",
                    "database": query["db"],
                    "virtual": True,
                    "default": True,
                }
                return 200, {"content": found or [virtual]}
            case "POST", "/api/v2/dbrps":
                self.mappings.append({"id": f"m{len(self.mappings)}", **body})
                return 201, self.mappings[-1]
            case "POST", "/api/v3/configure/database":
                if body["db"] in self.databases:
                    return 409, {"error": "attempted to create a resource that already exists"}
                self.databases[body["db"]] = body["retention_period"]
                return 200, None
        return 404, {"message": "path not found"}


@pytest.fixture
def peer() -> Iterator[Peer]:
    class Handler(BaseHTTPRequestHandler):
        def handle_one_request(self) -> None:
            self.do_GET = self.do_POST = self.do_PATCH = self._answer  # type: ignore[attr-defined]
            super().handle_one_request()

        def _answer(self) -> None:
            raw = self.rfile.read(int(self.headers["Content-Length"] or 0))
            address = urlsplit(self.path)
            query = {name: values[0] for name, values in parse_qs(address.query).items()}
            found.tokens.add(self.headers.get("Authorization", ""))
            body = json.loads(raw) if raw else None
            status, answer = found.answer(self.command, address.path, query, body)
            content = b"" if answer is None else json.dumps(answer).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    found = Peer(f"http://127.0.0.1:{server.server_address[1]}")
    thread = Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    yield found
    server.shutdown()
    thread.join(10)
    server.server_close()


def settings_for(peer: Peer, tmp_path: Path, version: int, org: str = "street") -> InfluxSettings:
    token = tmp_path / "token"
    token.write_text("s3cret\n")
    return InfluxSettings.model_validate(
        {"url": peer.url, "version": version, "org": org, "token_file": token}
    )


def test_version_2_gets_a_bucket_and_a_mapping_once(peer: Peer, tmp_path: Path) -> None:
    settings = settings_for(peer, tmp_path, 2)
    assert initialise(settings, 400) == [
        "bucket estate: created, kept 400 days",
        "InfluxQL mapping estate/autogen: created",
    ]
    assert peer.buckets == [
        {
            "id": "b0", "name": "estate", "orgID": "0a1b",
            "retentionRules": [{"type": "expire", "everySeconds": 400 * 86_400}],
        }
    ]  # fmt: skip
    assert peer.mappings == [
        {
            "id": "m0", "bucketID": "b0", "database": "estate", "default": True, "orgID": "0a1b",
            "retention_policy": "autogen",
        }
    ]  # fmt: skip
    assert initialise(settings, 400) == [
        "bucket estate: there already, kept 400 days",
        "InfluxQL mapping estate/autogen: there already",
    ]
    assert (len(peer.buckets), len(peer.mappings)) == (1, 1)
    assert peer.tokens == {"Token s3cret"}
    with pytest.raises(SettingsError, match=r"keeps 400 days.*--shorten"):
        initialise(settings, 30)
    assert "now kept 500 days" in initialise(settings, 500)[0]
    assert peer.buckets[0]["retentionRules"][0]["everySeconds"] == 500 * 86_400


def test_version_2_names_what_stands_in_the_way(peer: Peer, tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="no organisation 'road'"):
        initialise(settings_for(peer, tmp_path, 2, org="road"), 400)
    with pytest.raises(SettingsError, match=r"series\.influxdb\.org"):
        initialise(settings_for(peer, tmp_path, 2, org=""), 400)
    initialise(settings_for(peer, tmp_path, 2), 400)
    peer.mappings[0]["bucketID"] = "another"
    with pytest.raises(SettingsError, match="mapped to another bucket"):
        initialise(settings_for(peer, tmp_path, 2), 400)


def test_version_3_gets_a_database_once(peer: Peer, tmp_path: Path) -> None:
    settings = settings_for(peer, tmp_path, 3)
    assert initialise(settings, 400) == ["database estate: created, kept 400 days"]
    assert peer.databases == {"estate": "400d"}
    assert "there already" in initialise(settings, 30)[0]
    assert peer.databases == {"estate": "400d"}
    assert peer.tokens == {"Bearer s3cret"}


@pytest.mark.parametrize("version", [1, 2, 3])
def test_a_server_that_is_not_there(tmp_path: Path, version: int) -> None:
    settings = settings_for(Peer("http://127.0.0.1:9"), tmp_path, version)
    with pytest.raises(StoreUnavailableError, match=r"127\.0\.0\.1:9"):
        initialise(settings, 400)
