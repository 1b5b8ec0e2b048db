"""The data reservoir: what is exported is what was stored, and others' tools open it."""

from __future__ import annotations

import csv
from contextlib import closing
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
import pandas as pd
import polars as pl
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from core.contracts.codec import encode, make_event
from core.contracts.errors import EstateError, StoreUnavailableError
from core.contracts.events import KINDS
from core.contracts.examples import EVENTS
from core.contracts.outputs import UnknownOutput
from core.contracts.ports import Point, StoredPoint
from core.runtime.settings import Settings
from core.storage.records import Records, projection
from core.storage.reservoir import (
    columns_of,
    export_day,
    manifest,
    missing_days,
    read_manifest,
    stale_kinds,
)
from core.storage.reservoir.columns import ENVELOPE, row_of
from core.storage.reservoir.csv_file import safe_text
from core.storage.reservoir.days import exported_days
from core.storage.reservoir.tables import Table, sha256_of
from core.storage.series import open_reader, open_writer
from estate.cli import app
from tests.storage.series.support import BASE, DAY, HOUR, StandingClock
from worker.jobs import Tools, reservoir

TODAY = datetime.fromtimestamp(BASE / 1000, UTC).date()


class Log:
    """A series store that is written as a collector does: each entry at its own position."""

    def __init__(self, folder: Path) -> None:
        self.settings = Settings.model_validate(
            {"data": folder, "reservoir": {"export": True, "look_back_days": 3}}
        )
        self.position = 0

    def write(self, *points: Point) -> None:
        self.position += 1
        writer = open_writer(self.settings, log="log", clock=StandingClock())
        assert writer.write([(self.position, point) for point in points], self.position) == []
        writer.close()


def point(
    kind: str, device: str, at: int, data: dict[str, Any], *, site: str = "jinxiu", nth: int = 0,
    id: str | None = None,
) -> Point:  # fmt: skip
    event = make_event(kind, device=device, at=at, seen=at + 40, data=data, id=id)
    return Point(at * 1_000_000 + nth, site, event)


def meter(device: str, at: int, power_w: float, **more: Any) -> Point:
    data = {"medium": "electricity", "power_w": power_w}
    return point("meter.reading", device, at, data, **more)


@pytest.fixture
def log(tmp_path: Path) -> Log:
    log = Log(tmp_path / "data")
    log.write(
        *(meter(f"m{n % 3}", BASE + n * 1000, n / 4, nth=n, id=f"r{n}") for n in range(12)),
        meter("m9", BASE + 5, -1.5, site="yuhu"),
        point("elevator.access", "lift-1", BASE + HOUR, {
            "granted_floors": [-1, 3], "refused_floors": [], "serial": 2**53 - 1,
        }),
        point("elevator.fault", "lift-1", BASE + HOUR, {
            "fault": "entrapment", "active": True, "raw_code": "=1+1", "floor": 4,
        }),
        meter("m1", BASE + DAY, 7.0),
    )  # fmt: skip
    return log


def export(log: Log, day: date = TODAY, now: int = 5) -> manifest.DayManifest:
    reader = open_reader(log.settings)
    try:
        return export_day(reader, log.settings.reservoir_folder, day, now)
    finally:
        reader.close()


def test_a_day_is_a_file_for_each_kind_and_site_with_a_manifest(log: Log) -> None:
    told = export(log)
    folder = log.settings.reservoir_folder / TODAY.isoformat()
    assert [(f.path, f.rows, f.kind, f.site) for f in told.files] == [
        ("elevator.access/jinxiu.parquet", 1, "elevator.access", "jinxiu"),
        ("elevator.fault/jinxiu.parquet", 1, "elevator.fault", "jinxiu"),
        ("meter.reading/jinxiu.parquet", 12, "meter.reading", "jinxiu"),
        ("meter.reading/yuhu.parquet", 1, "meter.reading", "yuhu"),
    ]
    assert read_manifest(folder) == told
    meters = told.files[2]
    assert (meters.first_at, meters.last_at) == (BASE, BASE + 11_000)
    assert (meters.positions, meters.day, meters.exported_at) == ({"log": 1}, str(TODAY), 5)
    for file in told.files:
        path = folder / file.path
        assert (path.stat().st_size, sha256_of(path)) == (file.bytes, file.sha256)
        assert pq.read_schema(path).metadata[b"estate.kind"].decode() == file.kind
    assert not list(log.settings.reservoir_folder.glob(".*"))


def test_pandas_polars_and_duckdb_open_the_files_with_their_types(log: Log) -> None:
    export(log)
    folder = log.settings.reservoir_folder
    every = str(folder / "*" / "meter.reading" / "*.parquet")
    first = datetime.fromtimestamp(BASE / 1000, UTC)

    polars = pl.read_parquet(every).sort("at", "device")
    assert polars.schema["at"] == pl.Datetime("ms", "UTC")
    assert (polars.schema["power_w"], polars.schema["nth"]) == (pl.Float64, pl.Int64)
    assert polars.height == 13
    assert polars["at"][0] == first
    assert set(polars["site"]) == {"jinxiu", "yuhu"}

    with duckdb.connect() as db:
        db.execute("SET TimeZone = 'UTC'")
        total, at, types = db.execute(
            'SELECT sum(power_w), min("at"), any_value(typeof("at")) FROM read_parquet(?)', [every]
        ).fetchall()[0]
        assert total == pytest.approx(sum(n / 4 for n in range(12)) - 1.5)
        assert types == "TIMESTAMP WITH TIME ZONE"
        assert at.astimezone(UTC) == first
        access = str(folder / "*" / "elevator.access" / "*.parquet")
        floors = "SELECT granted_floors::JSON -> '$[1]', serial FROM read_parquet(?)"
        assert db.execute(floors, [access]).fetchall() == [("3", 2**53 - 1)]

    pandas = pd.read_parquet(folder / TODAY.isoformat() / "elevator.fault" / "jinxiu.parquet")
    assert str(pandas["at"].dtype) == "datetime64[ms, UTC]"
    row = pandas.iloc[0]
    assert (row["fault"], bool(row["active"]), row["floor"]) == ("entrapment", True, 4)
    assert row["seen"] - row["at"] == timedelta(milliseconds=40)
    assert pd.isna(row["derived"])


def test_only_what_late_data_changed_is_exported_again(log: Log) -> None:
    first = export(log)
    reader = open_reader(log.settings)
    assert stale_kinds(reader, log.settings.reservoir_folder, TODAY) == []
    log.write(
        meter("m1", BASE + 2 * HOUR, 9.0, site="yuhu"), meter("m7", BASE + 3, 1.0, site="new")
    )
    assert stale_kinds(reader, log.settings.reservoir_folder, TODAY) == ["meter.reading"]
    reader.close()
    second = export(log, now=6)
    assert [f for f in second.files if f.kind != "meter.reading"] == first.files[:2]
    fresh = {f.site: f for f in second.files if f.kind == "meter.reading"}
    assert {site: f.rows for site, f in fresh.items()} == {"jinxiu": 12, "new": 1, "yuhu": 2}
    assert fresh["jinxiu"].sha256 == first.files[2].sha256, "the same rows give the same file"
    assert {f.exported_at for f in fresh.values()} == {6}
    assert {f.positions["log"] for f in fresh.values()} == {2}


class Forgetful:
    """A store that counts more than it gives, as one does whose day is being expired."""

    def counts(self, start: int, end: int) -> dict[str, int]:
        return {"meter.reading": 50}

    def positions(self) -> dict[str, int]:
        return {}

    def scan(self, kind: str, start: int, end: int) -> list[StoredPoint]:
        return [StoredPoint(start * 1_000_000, "jinxiu", "m1", kind, start, None, {})]


def test_a_day_that_vanishes_under_way_leaves_the_export_as_it_was(log: Log) -> None:
    before = export(log)
    folder = log.settings.reservoir_folder
    with pytest.raises(StoreUnavailableError, match="1 of 50"):
        export_day(Forgetful(), folder, TODAY, 7)  # type: ignore[arg-type]  # what is asked of it
    assert read_manifest(folder / TODAY.isoformat()) == before
    assert sha256_of(folder / TODAY.isoformat() / before.files[2].path) == before.files[2].sha256
    assert not list(folder.glob(".*"))


def test_the_job_exports_what_is_over_and_forgets_what_is_old(log: Log) -> None:
    records = Records(log.settings.records_url).open()
    run = reservoir.job(Tools(log.settings, records)).run
    after = BASE + 2 * DAY + HOUR
    assert run(BASE + DAY + HOUR - 1) == "0 days exported, 0 rows", "an hour may still bring some"
    assert run(BASE + DAY + HOUR) == "1 days exported, 15 rows"
    (log.settings.reservoir_folder / ".2026-01-01.draft" / "meter.reading").mkdir(parents=True)
    assert run(after) == "1 days exported, 1 rows"
    assert not list(log.settings.reservoir_folder.glob(".*")), "what was cut off is gone"
    log.write(meter("m1", BASE + 1, 1.0))
    assert run(after) == "1 days exported, 14 rows"
    assert run(after) == "0 days exported, 0 rows"
    short = log.settings.reservoir.model_copy(update={"retention_days": 1})
    kept = log.settings.model_copy(update={"reservoir": short})
    told = reservoir.job(Tools(kept, records)).run(after)
    assert told.endswith("1 days removed")
    off = log.settings.model_copy(update={"reservoir": Settings().reservoir})
    assert reservoir.job(Tools(off, records)).run(after).startswith("off")
    records.close()


def test_days_from_before_it_was_switched_on_follow_the_oldest_first(log: Log) -> None:
    """However old they are: ``look_back_days`` is about late data only."""
    for back in (300, 40, 39, 4):
        log.write(meter("m1", BASE - back * DAY, float(back)))
    records = Records(log.settings.records_url).open()
    tools = Tools(log.settings, records)
    now = BASE + 2 * DAY + HOUR
    days = [TODAY + timedelta(days=back) for back in (-300, -40, -39, -4, 0, 1)]
    told, found = [], []
    for _ in range(2):
        told.append(reservoir.job(tools, patience_s=-1.0).run(now))
        found.append(exported_days(log.settings.reservoir_folder))
    assert told[0] == "2 days exported, 16 rows, older days follow"
    assert found == [days[4:]] * 2, "without patience only the last days"
    assert reservoir.job(tools).run(now) == "4 days exported, 4 rows"
    assert exported_days(log.settings.reservoir_folder) == days
    assert reservoir.job(tools).run(now) == "0 days exported, 0 rows"
    log.write(meter("m1", BASE - 40 * DAY + 1, 1.0), meter("m1", BASE - 200 * DAY, 2.0))
    assert reservoir.job(tools).run(now) == "1 days exported, 1 rows", "exported already, and late"
    records.close()


def test_of_the_missing_days_the_oldest_comes_first_and_few_questions_are_asked(log: Log) -> None:
    class Counting:
        asked = 0

        def count(self, start: int, end: int) -> int:
            self.asked += 1
            return sum(start <= BASE - back * DAY < end for back in (300, 39, 40))

    store, folder = Counting(), log.settings.reservoir_folder
    first = TODAY - timedelta(days=400)
    missing = missing_days(store, folder, first, TODAY)  # type: ignore[arg-type]
    assert next(missing) == TODAY - timedelta(days=300)
    assert store.asked < 20
    assert list(missing) == [TODAY - timedelta(days=back) for back in (40, 39)]
    assert store.asked < 50


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_every_kind_has_columns_that_its_events_fit(kind: str, tmp_path: Path) -> None:
    columns = columns_of(kind)
    names = [column.name for column in columns]
    assert len(set(names)) == len(names), "a field must not be named as the envelope is"
    data = EVENTS[kind]["data"]
    stored = StoredPoint(BASE * 1_000_000, "jinxiu", "d1", kind, BASE, None, data)
    table = Table(tmp_path / "one.parquet", kind, "parquet")
    table.add(stored)
    assert table.finish("one.parquet", None, None).rows == 1
    back = pq.read_table(tmp_path / "one.parquet").to_pylist()[0]
    for column in columns[len(ENVELOPE) :]:
        expected = data.get(column.name)
        if column.type == "json" and expected is not None:
            expected = encode(expected).decode()
        assert back[column.name] == expected


def test_a_kind_of_another_vocabulary_keeps_its_data_whole() -> None:
    columns = columns_of("robot.moved")
    moved = StoredPoint(7_000_003, "s", "d", "robot.moved", 9, None, {"x": 1})
    assert row_of(columns, moved) == [7, 3, "s", "d", "robot.moved", 9, None, '{"x":1}']
    with pytest.raises(EstateError, match="no kind"):
        columns_of("../robot.moved")


def estate_export(log: Log, tmp_path: Path, *arguments: str) -> Any:
    file = tmp_path / "settings.yaml"
    file.write_text(f"data: {log.settings.data}\n")
    return CliRunner().invoke(app, ["export", "--settings", str(file), *arguments])


def test_a_range_is_exported_as_csv_that_a_spreadsheet_may_open(log: Log, tmp_path: Path) -> None:
    out = tmp_path / "out"
    span = ("--from", TODAY.isoformat(), "--to", f"{TODAY}T02:00+00:00", "--out", str(out))
    done = estate_export(log, tmp_path, *span, "--format", "csv", "--excel")
    assert done.exit_code == 0, done.output
    assert sorted(path.name for path in out.iterdir()) == [
        "elevator.access.csv", "elevator.fault.csv", "manifest.json", "meter.reading.csv",
    ]  # fmt: skip
    raw = (out / "elevator.fault.csv").read_bytes()
    assert raw.startswith(b"\xef\xbb\xbfat,nth,site")
    (fault,) = csv.DictReader(raw.decode("utf-8-sig").splitlines())
    assert fault["raw_code"] == "'=1+1"
    assert fault["at"] == f"{TODAY}T01:00:00.000Z"
    assert (fault["active"], fault["derived"]) == ("true", "")
    rows = list(csv.DictReader((out / "meter.reading.csv").read_text("utf-8-sig").splitlines()))
    assert len(rows) == 13
    assert "-1.5" in {row["power_w"] for row in rows}, "our own numbers are no formulas"
    again = estate_export(log, tmp_path, *span)
    assert again.exit_code == 2
    assert "--out" in again.output


def test_a_range_may_be_narrowed(log: Log, tmp_path: Path) -> None:
    out = tmp_path / "out"
    span = ("--from", TODAY.isoformat(), "--to", str(TODAY + timedelta(days=9)), "--out", str(out))
    done = estate_export(
        log, tmp_path, *span, "--kind", "meter.reading", "--device", "m1", "--device", "m9",
        "--site", "jinxiu",
    )  # fmt: skip
    assert done.exit_code == 0, done.output
    frame = pl.read_parquet(out / "meter.reading.parquet")
    assert (frame.height, set(frame["device"])) == (5, {"m1"})
    wrong = estate_export(log, tmp_path, *span, "--kind", "meter.readings")
    assert "did you mean meter.reading?" in wrong.output


def test_what_cannot_be_exported_is_refused_and_nothing_is_written(
    log: Log, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    span = ("--from", TODAY.isoformat(), "--to", str(TODAY + timedelta(days=9)), "--out", str(out))
    silent = estate_export(log, tmp_path, *span, "--kind", "fire.alarm")
    assert (silent.exit_code, "nothing is written" in silent.output) == (1, True)
    early = ("--from", "1999-01-01", "--to", "2000-01-01", "--out", str(out))
    assert estate_export(log, tmp_path, *early).exit_code == 1
    unasked = estate_export(log, tmp_path, *span, "--excel")
    assert (unasked.exit_code, "--format csv" in unasked.output) == (2, True)
    turned = estate_export(log, tmp_path, *span[:2], "--to", "1999-01-01", "--out", str(out))
    assert (turned.exit_code, "later than --from" in turned.output) == (2, True)

    with closing(Records(log.settings.records_url).open()) as records, records.session() as session:
        heard = [
            UnknownOutput(name, BASE, "jinxiu", None, False, point(
                "sensor.reading", name, BASE, {"quantity": "level", "value": 1.0, "unit": "m"}
            ).event)
            for name in ("pump-1", "pump-2")
        ]  # fmt: skip
        projection.apply(session, heard, BASE)
    for names, hint in (
        (("--site", "jinxiv"), "--site: 'jinxiv' is unknown; did you mean jinxiu?"),
        (("--device", "pump1"), "--device: 'pump1' is unknown; did you mean pump-1?"),
    ):
        wrong = estate_export(log, tmp_path, *span, *names)
        assert (wrong.exit_code, hint in wrong.output) == (2, True), wrong.output
    assert not out.exists()
    known = estate_export(log, tmp_path, *span, "--device", "m1", "--device", "pump-1")
    assert known.exit_code == 0, "m1 has left the topology, and what it said is there"

    elsewhere = Log(tmp_path / "elsewhere")
    nothing = estate_export(elsewhere, tmp_path, *span[:4], "--out", str(tmp_path / "other"))
    assert nothing.exit_code == 2
    assert "nothing of a collector's; name the settings file" in nothing.output
    assert not elsewhere.settings.data.exists()


@given(st.text(max_size=20))
def test_no_text_becomes_a_formula(text: str) -> None:
    safe = safe_text(text)
    assert not safe.lstrip(" \n").startswith(("=", "+", "-", "@", "\t", "\r"))
    assert safe in (text, f"'{text}")
