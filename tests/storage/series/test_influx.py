"""InfluxDB alone: what is refused, what is tried again, and both ways of writing."""

from __future__ import annotations

import gzip
import json
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from core.contracts.codec import data_dict, decode_event, encode
from core.contracts.errors import SettingsError, StoreLostError, StoreUnavailableError
from core.contracts.events import KINDS
from core.contracts.ports import Point, Query
from core.runtime.settings import InfluxSettings
from core.storage.series import InfluxReader, InfluxWriter, influx_http
from core.storage.series.lineprotocol import line_of, value_of
from tests import servers
from tests.contracts.strategies import valid_event
from tests.storage.series.support import BASE, StandingClock, entry, lift, meter, point

EVER = (0, 4_000_000_000_000)
Answer = tuple[int, object]


def open_writer(
    settings: InfluxSettings, *, resume: bool = True, sync_s: float = 0
) -> InfluxWriter:
    writer = InfluxWriter(settings, clock=StandingClock(), sync_s=sync_s)
    writer.open(resume=resume)
    return writer


def open_reader(settings: InfluxSettings) -> InfluxReader:
    reader = InfluxReader(settings)
    reader.open()
    return reader


# -- the lines -------------------------------------------------------------------------------


def test_a_line_is_kind_device_and_site() -> None:
    item = meter("b1-m.7", BASE, 230.0, nth=5007, relay_closed=False)
    assert line_of(item) == (
        'meter.reading,device=b1-m.7,site=jinxiu medium="electricity",power_w=230.0,'
        f"relay_closed=false,seen={BASE + 40}i {BASE * 1_000_000 + 5007}"
    )


def test_texts_cannot_end_their_quotes() -> None:
    data = {"person": 'a" or\\', "reader": "x\\"}
    item = point("access.granted", "d1", BASE, data, id="1,2 3")
    assert line_of(item).startswith(
        'access.granted,device=d1,site=jinxiu person="a\\" or\\\\",reader="x\\\\",ref="1,2 3",seen='
    )


def test_whole_numbers_are_floats_and_come_back_whole() -> None:
    item = lift("l1", BASE, -2, moving=True, load_kg=75)
    line = line_of(item)
    assert "floor=-2.0," in line
    assert "load_kg=75.0," in line
    assert value_of("elevator.status", "floor", -2.0) == -2
    assert type(value_of("elevator.status", "floor", -2.0)) is int
    assert type(value_of("elevator.status", "load_kg", 75)) is float


def plainly(item: Point) -> str:
    """Write a line the plain way: each value by what it is."""

    def written(value: object) -> str:
        if isinstance(value, bool):
            return "true" if value else "false"
        if isinstance(value, int | float):
            return repr(float(value))
        text = value if isinstance(value, str) else encode(value).decode()
        return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'

    event = item.event
    values = data_dict(event) | ({} if event.id is None else {"ref": event.id})
    fields = "".join(f"{name}={written(value)}," for name, value in values.items())
    return (
        f"{event.kind},device={event.device},site={item.site} {fields}seen={event.seen}i "
        f"{item.time_ns}"
    )


@hypothesis_settings(max_examples=600, deadline=None, derandomize=True)
@given(st.sampled_from(sorted(KINDS)).flatmap(valid_event), st.integers(0, 999_999))
def test_a_kinds_own_function_writes_what_its_values_are(raw: dict[str, Any], nth: int) -> None:
    event = decode_event(encode(raw))
    item = Point(event.at * 1_000_000 + nth, "jinxiu", event)
    assert line_of(item) == plainly(item)


# -- a real server of version 1 --------------------------------------------------------------


@pytest.mark.influxdb
def test_a_point_of_another_type_is_refused_with_the_reason(
    influxdb: servers.Server, influxdb_database: str
) -> None:
    settings = InfluxSettings(url=influxdb.url, database=influxdb_database)
    writer, reader = open_writer(settings), open_reader(settings)
    httpx.post(
        f"{influxdb.url}/write",
        params={"db": influxdb_database},
        content=f'meter.reading,device=x,site=y flow_m3_h="a text" {BASE * 1_000_000}',
    ).raise_for_status()
    points = [meter("m1", BASE + n, float(n)) for n in range(100)]
    for bad in (0, 41, 99):
        points[bad] = meter("m1", BASE + bad, float(bad), flow_m3_h=1.5)
    refusals = writer.write(entry(1, *points), 1)
    assert [refusal.index for refusal in refusals] == [0, 41, 99]
    assert all("field type conflict" in r.reason and "flow_m3_h" in r.reason for r in refusals)
    assert len(reader.events("m1", *EVER)) == 97
    writer.close()
    reader.close()


@pytest.mark.influxdb
def test_what_is_beyond_the_databases_own_retention_is_refused(
    influxdb: servers.Server, influxdb_database: str
) -> None:
    httpx.post(
        f"{influxdb.url}/query",
        data={"q": f'CREATE DATABASE "{influxdb_database}" WITH DURATION 7d'},
    ).raise_for_status()
    writer = open_writer(InfluxSettings(url=influxdb.url, database=influxdb_database))
    old = meter("m1", BASE - 20 * 86_400_000, 1.0)
    refusals = writer.write(entry(1, meter("m1", BASE, 1.0), old), 1)
    assert [(refusal.index, "retention" in refusal.reason) for refusal in refusals] == [(1, True)]
    writer.close()


@pytest.mark.influxdb
def test_a_server_that_comes_back_has_lost_nothing(tmp_path: Path) -> None:
    with servers.influxdb_server(tmp_path) as server:
        settings = InfluxSettings(url=server.url)
        writer, reader = open_writer(settings), open_reader(settings)
        writer.write(entry(1, meter("m1", BASE, 1.0)), 1)
        server.kill()
        for _ in range(2):
            with pytest.raises(StoreUnavailableError):
                writer.write(entry(2, meter("m1", BASE + 1, 2.0)), 2)
            with pytest.raises(StoreUnavailableError):
                reader.count(*EVER)
        assert writer.position() == 1
        with pytest.raises(StoreUnavailableError):
            open_writer(settings)
        server.start()
        assert writer.write(entry(2, meter("m1", BASE + 1, 2.0)), 2) == []
        assert (writer.position(), reader.count(*EVER)) == (2, 2)
        writer.close()
        reader.close()


@pytest.mark.influxdb
def test_a_database_that_is_dropped_is_made_anew_and_begins_at_nothing(
    influxdb: servers.Server, influxdb_database: str
) -> None:
    settings = InfluxSettings(url=influxdb.url, database=influxdb_database)
    writer = open_writer(settings, sync_s=3600)
    writer.write(entry(1, meter("m1", BASE, 1.0)), 1)
    writer.sync()
    writer.write(entry(2, meter("m1", BASE + 1, 2.0)), 2)
    drop = f'DROP DATABASE "{influxdb_database}"'
    httpx.post(f"{influxdb.url}/query", data={"q": drop}).raise_for_status()
    with pytest.raises(StoreLostError, match=f"database not found.*{influxdb_database}"):
        writer.write(entry(3, meter("m1", BASE + 2, 3.0)), 3)
    assert writer.position() == 0
    again = open_writer(settings)
    writer.close()
    assert again.position() == 0
    assert open_writer(settings).position() == 0, "the former one's end has told of nothing"
    assert again.write(entry(1, meter("m1", BASE, 1.0)), 1) == []
    assert again.position() == 1
    again.close()


@pytest.mark.influxdb
def test_a_frozen_server_is_given_up_in_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(influx_http, "TIMEOUT_S", 0.5)
    with servers.influxdb_server(tmp_path) as server:
        writer = open_writer(InfluxSettings(url=server.url))
        server.freeze()
        with pytest.raises(StoreUnavailableError):
            writer.write(entry(1, meter("m1", BASE, 1.0)), 1)
        server.thaw()
        writer.close()


@pytest.mark.influxdb
def test_a_wrong_password_stops_the_writer_and_refuses_nothing(tmp_path: Path) -> None:
    right, wrong = tmp_path / "right", tmp_path / "wrong"
    right.write_text("correct horse\n")
    wrong.write_text("guess")
    with servers.influxdb_server(tmp_path, auth=True) as server:
        statement = "CREATE USER admin WITH PASSWORD 'correct horse' WITH ALL PRIVILEGES"
        httpx.post(f"{server.url}/query", data={"q": statement}).raise_for_status()
        settings = InfluxSettings(url=server.url, username="admin", password_file=right)
        writer = open_writer(settings)
        assert writer.write(entry(1, meter("m1", BASE, 1.0)), 1) == []
        writer.close()
        with pytest.raises(StoreUnavailableError, match="401"):
            open_writer(settings.model_copy(update={"password_file": wrong}))
    missing = settings.model_copy(update={"password_file": tmp_path / "none"})
    with pytest.raises(SettingsError, match="password_file"):
        open_writer(missing)


# -- a real server for /api/v2/write ---------------------------------------------------------


@pytest.mark.victoria
@pytest.mark.parametrize("write", ["v1", "v2"])
def test_both_ways_of_writing_store_the_same(victoria: servers.Server, write: str) -> None:
    device = f"meter-{write}"
    settings = InfluxSettings.model_validate(
        {"url": victoria.url, "version": 2, "org": "street", "database": "estate", "write": write}
    )
    writer = open_writer(settings, resume=False)
    points = [meter(device, BASE + n * 1000, n / 4, relay_closed=n % 2 == 0) for n in range(500)]
    for _ in range(2):
        assert writer.write(entry(1, *points), 1) == []
    assert writer.position() == 1
    writer.close()
    httpx.get(f"{victoria.url}/internal/force_flush").raise_for_status()
    answer = httpx.get(
        f"{victoria.url}/api/v1/export",
        params={
            "match[]": f'{{device="{device}"}}', "start": BASE / 1000, "end": BASE / 1000 + 86_400,
            "reduce_mem_usage": "0",
        },
    )  # fmt: skip
    found = {
        row["metric"]["__name__"]: dict(zip(row["timestamps"], row["values"], strict=True))
        for row in map(json.loads, answer.text.splitlines())
    }
    assert found["meter.reading_power_w"] == {BASE + n * 1000: n / 4 for n in range(500)}
    assert found["meter.reading_relay_closed"] == {
        BASE + n * 1000: float(n % 2 == 0) for n in range(500)
    }
    assert {"device": device, "site": "jinxiu"}.items() <= json.loads(answer.text.splitlines()[0])[
        "metric"
    ].items()


@pytest.mark.victoria
def test_a_server_without_influxql_says_so(victoria: servers.Server) -> None:
    settings = InfluxSettings(url=victoria.url, version=2, org="street")
    with pytest.raises(StoreUnavailableError, match="InfluxQL"):
        open_writer(settings)


# -- what an answer means, on a server that says what it is told ------------------------------


@dataclass
class Scripted:
    """An HTTP server whose writes are answered by a function of their lines."""

    url: str
    answer: Callable[[list[str]], Answer] = lambda _: (204, "")
    buckets: list[dict[str, object]] = field(default_factory=list)
    seen: list[tuple[str, dict[str, list[str]], str, list[str]]] = field(default_factory=list)
    encodings: set[str] = field(default_factory=set)


@pytest.fixture
def scripted() -> Iterator[Scripted]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            path = urlsplit(self.path).path
            if path == "/api/v2/buckets":
                self._say(200, {"buckets": script.buckets})
            elif path == "/api/v2/orgs":
                self._say(200, {"orgs": [{"id": "0a1b", "name": "street"}]})
            else:
                self._say(200, {"results": [{}]})

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"] or 0))
            script.encodings.add(self.headers.get("Content-Encoding") or "identity")
            if self.headers.get("Content-Encoding") == "gzip":
                body = gzip.decompress(body)
            address = urlsplit(self.path)
            if address.path == "/api/v2/buckets":
                script.buckets.append(json.loads(body))
                self._say(201, script.buckets[-1])
                return
            lines = body.decode().split("\n")
            token = self.headers.get("Authorization", "")
            script.seen.append((address.path, parse_qs(address.query), token, lines))
            self._say(*script.answer(lines))

        def _say(self, status: int, body: object) -> None:
            content = b"" if status == 204 else json.dumps(body).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    script = Scripted(f"http://127.0.0.1:{server.server_port}")
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    yield script
    server.shutdown()
    server.server_close()
    thread.join(5)


@pytest.fixture(params=["v1", "v2"])
def scripted_writer(
    request: pytest.FixtureRequest, scripted: Scripted, tmp_path: Path
) -> Iterator[InfluxWriter]:
    (tmp_path / "token").write_text("secret-token\n")
    settings = InfluxSettings.model_validate(
        {
            "url": scripted.url + "/", "version": 2, "org": "street", "database": "bucket",
            "token_file": tmp_path / "token", "write": request.param,
        }
    )  # fmt: skip
    writer = open_writer(settings, sync_s=3600)
    yield writer
    scripted.answer = lambda _: (204, "")
    writer.close()


@pytest.mark.parametrize("status", [401, 403, 404, 408, 429, 500, 502, 503, 504])
def test_what_is_not_the_points_fault_is_tried_again(
    scripted: Scripted, scripted_writer: InfluxWriter, status: int
) -> None:
    scripted.answer = lambda _: (status, {"message": "come back later"})
    with pytest.raises(StoreUnavailableError, match=rf"{status} .*come back later"):
        scripted_writer.write(entry(1, meter("m1", BASE, 1.0)), 1)
    assert len(scripted.seen) == 1, "trying again is the projector's, at its pace"


@pytest.mark.parametrize(
    "answer",
    [
        {"error": 'database not found: "bucket"'},
        {"code": "not found", "message": 'bucket "bucket" not found'},
    ],
)
def test_a_database_that_is_gone_is_more_than_unavailable(
    scripted: Scripted, scripted_writer: InfluxWriter, answer: dict[str, str]
) -> None:
    scripted_writer.write(entry(1, meter("m1", BASE, 1.0)), 1)
    scripted.answer = lambda _: (404, answer)
    with pytest.raises(StoreLostError, match="not found"):
        scripted_writer.sync()
    told = len(scripted.seen)
    scripted_writer.sync()
    assert len(scripted.seen) == told, "a cursor of what is gone is not written"


@pytest.mark.parametrize("status", [400, 413, 422])
def test_what_is_the_points_fault_is_found_by_halves(
    scripted: Scripted, scripted_writer: InfluxWriter, status: int
) -> None:
    def answer(lines: list[str]) -> Answer:
        bad = any("power_w=13.0" in line for line in lines)
        return (status, {"message": "unlucky"}) if bad else (204, "")

    scripted.answer = answer
    points = [meter("m1", BASE + n, float(n)) for n in range(300)]
    refusals = scripted_writer.write(entry(1, *points), 1)
    assert [(refusal.index, refusal.reason) for refusal in refusals] == [(13, "unlucky")]
    taken = {line for *_, lines in scripted.seen if answer(lines)[0] == 204 for line in lines}
    assert len(taken) == 299
    assert len(scripted.seen) < 25


def test_a_limit_of_the_database_is_not_the_points_fault(
    scripted: Scripted, scripted_writer: InfluxWriter
) -> None:
    scripted.answer = lambda _: (
        400, {"error": "partial write: max-values-per-tag limit exceeded dropped=1"},
    )  # fmt: skip
    with pytest.raises(StoreUnavailableError, match="max-values-per-tag"):
        scripted_writer.write(entry(1, meter("m1", BASE, 1.0)), 1)


def test_requests_are_bounded_and_carry_bucket_org_and_token(
    scripted: Scripted, scripted_writer: InfluxWriter
) -> None:
    points = [meter("m1", BASE + n, float(n)) for n in range(22_000)]
    scripted_writer.write(entry(1, *points), 1)
    sizes = [len(lines) for *_, lines in scripted.seen]  # two are under way at once
    assert (sorted(sizes), sum(sizes)) == ([3_665, *[3_667] * 5], 22_000)
    path, query, token, _ = scripted.seen[0]
    assert token == "Token secret-token"
    assert query["precision"] == ["ns"]
    if path == "/api/v2/write":
        assert (query["org"], query["bucket"]) == (["street"], ["bucket"])
    else:
        assert (path, query["db"]) == ("/write", ["bucket"])
    assert {line for *_, lines in scripted.seen for line in lines} == set(map(line_of, points))


@pytest.mark.parametrize("write", ["v1", "v2"])
@pytest.mark.parametrize("is_near", [True, False])
def test_only_what_leaves_the_machine_is_compressed(
    scripted: Scripted, monkeypatch: pytest.MonkeyPatch, write: str, is_near: bool
) -> None:
    if not is_near:  # the server of this test cannot be anywhere else
        monkeypatch.setattr(influx_http, "is_loopback", lambda _: False)
    settings = InfluxSettings.model_validate({"url": scripted.url, "version": 2, "write": write})
    writer = open_writer(settings)
    scripted.encodings.clear()
    points = [meter("m1", BASE + n, float(n)) for n in range(500)]
    assert writer.write(entry(1, *points), 1) == []
    assert "gzip" not in scripted.encodings if is_near else "gzip" in scripted.encodings
    assert set(map(line_of, points)) <= {line for *_, lines in scripted.seen for line in lines}
    writer.close()


def test_a_cursor_follows_its_points(scripted: Scripted, scripted_writer: InfluxWriter) -> None:
    scripted_writer.write(entry(7, meter("m1", BASE, 1.0)), 7)
    assert scripted_writer.position() == 0
    scripted_writer.sync()
    assert scripted_writer.position() == 7
    last = scripted.seen[-1][3]
    assert len(last) == 1
    assert last[0].startswith("estate_cursor,log=log position=7i ")


def test_a_missing_bucket_is_made_once(scripted: Scripted) -> None:
    settings = InfluxSettings(url=scripted.url, version=2, org="street", database="bucket")
    for _ in range(2):
        writer = InfluxWriter(settings, retention_days=30, clock=StandingClock())
        writer.open()
        writer.close()
    assert scripted.buckets == [
        {
            "name": "bucket", "orgID": "0a1b",
            "retentionRules": [{"type": "expire", "everySeconds": 30 * 86_400}],
        }
    ]  # fmt: skip


@pytest.mark.influxdb
def test_many_truths_are_read_in_pages(influxdb: servers.Server, influxdb_database: str) -> None:
    settings = InfluxSettings(url=influxdb.url, database=influxdb_database)
    writer, reader = open_writer(settings), open_reader(settings)
    total = 20_500
    points = [meter("m1", BASE + n, 1.0, relay_closed=n % 4 == 0) for n in range(total)]
    writer.write(entry(1, *points), 1)
    query = Query(
        "m1", "meter.reading", "relay_closed", *EVER, every_ms=86_400_000, aggregate="sum"
    )
    assert [sample.value for sample in reader.query(query)] == [total / 4]
    writer.close()
    reader.close()
