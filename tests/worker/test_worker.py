"""The worker: its jobs do what they say, note how it went, and fail alone."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pytest

from core.contracts.codec import make_event
from core.contracts.colours import Colour
from core.contracts.outputs import ColourOutput
from core.contracts.ports import Point
from core.runtime.clock import ScaledClock
from core.runtime.settings import Settings
from core.storage.media import MediaStore, new_media_id
from core.storage.records import (
    Records,
    accounts,
    changes,
    conservation,
    counters,
    devices,
    ledger,
    processes,
    refusals,
)
from core.storage.records.projection import apply
from core.storage.series import open_reader, open_writer
from worker import health
from worker.app import WorkerApp, real_interval
from worker.jobs import Job, Tools, all_jobs, colour_history, dead_letters, live_sequence
from worker.jobs.job import DAY_MS
from worker.runner import Runner

NOW = 1_790_000_000_000
JPEG = b"\xff\xd8\xff\xe0 picture \xff\xd9"


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(data=tmp_path)


@pytest.fixture
def tools(settings: Settings) -> Iterator[Tools]:
    records = Records(settings.records_url).open()
    yield Tools(settings, records, wall_ms=lambda: NOW)
    records.close()


class StillClock:
    """A clock that shows what it was set to."""

    def __init__(self, now: int = NOW) -> None:
        self.now = now

    def now_ms(self) -> int:
        return self.now


def job_named(tools: Tools, name: str) -> Job:
    return next(job for job in all_jobs(tools) if job.name == name)


def outcomes(records: Records) -> dict[str, dict[str, Any]]:
    with records.reading() as session:
        return {outcome["name"]: outcome for outcome in processes.list_jobs(session)}


def noted_all(settings: Settings, names: set[str]) -> dict[str, dict[str, Any]]:
    """Wait until so many jobs are noted, for 20 s at most; return what is noted."""
    records = Records(settings.records_url).open()
    deadline = time.monotonic() + 20
    while (noted := outcomes(records)).keys() != names and time.monotonic() < deadline:
        time.sleep(0.05)
    records.close()
    return noted


def day(ms: int) -> date:
    return datetime.fromtimestamp(ms / 1000, UTC).date()


def test_the_live_sequence_keeps_seven_days_and_so_many_rows(tools: Tools) -> None:
    with tools.records.session() as session:
        for age in (8, 7.1, 6.9, 1, 0):
            changes.append_change(session, "process", "p", {}, NOW - int(age * DAY_MS))
    assert live_sequence.job(tools).run(NOW) == "2 changes removed"
    assert live_sequence.job(tools, keep_rows=1).run(NOW) == "2 changes removed"
    with tools.records.reading() as session:
        assert (changes.first_seq(session), changes.last_seq(session)) == (5, 5)


def test_the_series_lose_the_days_past_their_retention(tools: Tools) -> None:
    job = job_named(tools, "series retention")
    assert job.run(NOW) == "there is no series store yet"
    writer = open_writer(tools.settings)
    for number, age in enumerate((3, 1, 0)):
        at = NOW - age * DAY_MS
        event = make_event(
            "sensor.reading", device="s-1", at=at, seen=at,
            data={"quantity": "temperature", "value": 21.0, "unit": "Cel"},
        )  # fmt: skip
        writer.write([(number + 1, Point(at * 1_000_000, "jinxiu", event))], number + 1)
    writer.close()
    short = tools.settings.model_copy(
        update={"series": tools.settings.series.model_copy(update={"retention_days": 2})}
    )
    assert job_named(Tools(short, tools.records), "series retention").run(NOW) == "1 days retired"
    reader = open_reader(short)
    assert reader.count(0, NOW + 1) == 2
    reader.close()


def test_influxdb_keeps_its_own_retention(tools: Tools) -> None:
    influx = tools.settings.model_copy(
        update={"series": tools.settings.series.model_copy(update={"kind": "influxdb"})}
    )
    job = job_named(Tools(influx, tools.records), "series retention")
    assert job.run(NOW) == "influxdb keeps its own retention"


def test_snapshots_go_after_their_days(tools: Tools) -> None:
    store = MediaStore(tools.settings.data / "media")
    old, new = (new_media_id(day(NOW - age * DAY_MS)) for age in (31, 30))
    for media_id in (old, new):
        store.put(media_id, JPEG, {"device": "camera-1"})
    assert job_named(tools, "media retention").run(NOW) == "1 snapshots removed"
    assert store.get(old) is None
    assert store.get(new) is not None


def test_colours_of_the_past_go_after_the_series_retention(tools: Tools) -> None:
    ages = (500, 450, 399, 1)
    with tools.records.session() as session:
        apply(
            session,
            [
                ColourOutput("b1", NOW - age * DAY_MS, Colour.GREEN, Colour.GREEN, 1, 1)
                for age in ages
            ],
            NOW,
        )
    assert colour_history.job(tools).run(NOW) == "1 colours removed"
    with tools.records.reading() as session:
        left = devices.colour_history(session, "b1", NOW - 400 * DAY_MS, NOW)
    assert [(NOW - step["at"]) // DAY_MS for step in left] == [450, 399, 1]


def test_dead_letters_keep_within_their_cap_and_what_goes_is_counted(tools: Tools) -> None:
    with tools.records.session() as session:
        letters = [refusals.DeadLetter(n, 0, NOW, "lane", "why") for n in range(5)]
        refusals.add_dead_letters(session, letters, NOW)
    assert dead_letters.job(tools, keep=2).run(NOW) == "3 dead letters removed"
    with tools.records.reading() as session:
        assert counters.read_all(session)[counters.DEAD_LETTERS_TRIMMED] == 3


def test_expired_sessions_and_links_and_old_attempts_go(tools: Tools) -> None:
    with tools.records.session() as session:
        user = accounts.create_user(session, "li", "admin", NOW).id
        accounts.create_session(session, "t", user, NOW - 2, NOW - 1)
        accounts.create_link(session, "l", user, NOW - 2, NOW - 1)
        accounts.record_attempt(session, NOW - 200 * DAY_MS, "li", "a", success=False)
        accounts.record_attempt(session, NOW - 180 * DAY_MS, "li", "a", success=False)
    # The run's clock may be years ahead of the machine's, by which people sign in.
    done = job_named(tools, "accounts").run(NOW + 900 * DAY_MS)
    assert done == "1 sessions removed, 1 links removed, 1 attempts removed"


def test_a_job_that_fails_is_noted_and_succeeds_again(tools: Tools) -> None:
    runner = Runner(tools.records, StillClock())  # type: ignore[arg-type]  # it only tells time
    answers: list[Callable[[], str]] = [lambda: "first", lambda: str(1 // 0), lambda: "third"]
    job = Job("flaky", 60, lambda _: answers.pop(0)())
    assert [runner.run(job) for _ in range(2)] == [True, False]
    noted = outcomes(tools.records)["flaky"]
    assert (noted["ok"], noted["runs"], noted["failures"]) == (False, 2, 1)
    assert "division" in noted["message"]
    assert runner.run(job)
    noted = outcomes(tools.records)["flaky"]
    assert (noted["ok"], noted["message"], noted["runs"]) == (True, "third", 3)


def test_a_job_survives_records_that_are_gone(tools: Tools) -> None:
    runner = Runner(tools.records, StillClock())  # type: ignore[arg-type]  # it only tells time
    tools.records.close()
    assert runner.run(Job("any", 60, lambda _: "done"))
    assert not runner.run(live_sequence.job(tools))


def test_health_tells_what_has_not_run_failed_or_is_overdue(tools: Tools) -> None:
    def found(now: int = NOW) -> dict[str, health.Fact]:
        return {fact.name: fact for fact in health.facts(tools.settings, tools.records, now)}

    assert found()["media retention"].message == "has not run yet"
    runner = Runner(tools.records, StillClock())  # type: ignore[arg-type]  # it only tells time
    for job in all_jobs(tools):
        assert runner.run(job)
    assert all(fact.ok for fact in found().values())
    overdue = found(NOW + 4 * 3_600_000)
    assert not overdue["media retention"].ok
    assert overdue["colour history"].ok
    with tools.records.session() as session:
        processes.record_job(session, "accounts", NOW, NOW, ok=False, message="disk full")
    assert "disk full" in found()["accounts"].message


@pytest.mark.parametrize(("speed", "expected"), [(1.0, 3600.0), (60.0, 60.0), (1e6, 1.0)])
def test_a_scaled_clock_divides_the_intervals(speed: float, expected: float) -> None:
    job = Job("hourly", 3600, lambda _: "")
    assert real_interval(job, ScaledClock(speed=speed)) == expected


def test_the_worker_runs_every_job_on_the_runs_time_and_stops(settings: Settings) -> None:
    clock = ScaledClock.starting_now(speed=100.0, at_ms=NOW)

    async def scenario() -> dict[str, dict[str, Any]]:
        app = WorkerApp(settings, clock)
        await app.start()
        names = {job.name for job in app.jobs}
        noted = await asyncio.to_thread(noted_all, settings, names)
        await app.stop()
        await app.stop()
        assert noted.keys() == names
        return noted

    noted = asyncio.run(scenario())
    assert all(outcome["ok"] for outcome in noted.values())
    assert all(NOW <= outcome["started_at"] < NOW + 30 * 60_000 for outcome in noted.values())


def test_a_worker_that_cannot_start_releases_everything(tmp_path: Path) -> None:
    (tmp_path / "records.sqlite").write_bytes(b"this is not a database" * 100)
    app = WorkerApp(Settings(data=tmp_path), ScaledClock())
    with pytest.raises(Exception, match="not a database"):
        asyncio.run(app.start())


def test_days_that_are_over_are_compared_with_the_store(tools: Tools) -> None:
    yesterday = NOW // DAY_MS - 1
    at = yesterday * DAY_MS + 1_000
    event = make_event("meter.reading", device="m", at=at, seen=at, data={"medium": "electricity"})
    writer = open_writer(tools.settings)
    writer.write([(1, Point(at * 1_000_000, "s", event))], 1)
    writer.close()
    with tools.records.session() as session:
        for day in (yesterday, yesterday + 1, yesterday - tools.settings.series.retention_days):
            ledger.add_stored(session, {(day, "meter.reading"): 1})
    job = job_named(tools, "conservation")
    assert job.run(NOW) == "1 days compared with the series store, 0 joined"
    assert job.run(NOW) == "0 days compared with the series store, 0 joined"
    with tools.records.session() as session:
        assert conservation.law(session, at, NOW).differences == []
        ledger.add_stored(session, {(yesterday, "meter.reading"): 1})  # late, and lost
    job.run(NOW)
    with tools.records.reading() as session:
        (lost,) = conservation.law(session, at, NOW).differences
    assert (lost.day, lost.stored, lost.found) == (yesterday, 2, 1)
