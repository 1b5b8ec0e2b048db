"""What the doctor finds in files and records, and at a broker; each finding has its remedy."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from core.contracts import topics
from core.contracts.batch import CollectorStatus
from core.contracts.codec import encode, make_event
from core.contracts.log import TICK, control_lane
from core.contracts.outputs import EdgeOutput
from core.contracts.ports import Point
from core.runtime.clock import ScaledClock
from core.runtime.settings import BrokerSettings, Settings
from core.storage.journal import Append, Journal, OnFull
from core.storage.records import Records, processes, projection, refusals
from core.storage.records.letters import Replayed, mark_replayed
from core.storage.series import EmbeddedWriter
from edge.outbox import open_journal
from estate.doctor import Finding, examine, flow
from rules.engine import Engine
from tests.servers import Server, binary, mosquitto_server

HOUR = 3_600_000
DAY = 24 * HOUR
CLOCK = ScaledClock()


@pytest.fixture(autouse=True)
def _no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    """What stands still in a test stands still from one look to the next."""
    monkeypatch.setattr(flow, "_AGAIN_S", 0.01)


class Installation:
    """A data folder as the parts leave it."""

    def __init__(self, folder: Path, **sections: Any) -> None:
        raw = {"data": folder / "data", "broker": {"port": 1}, "api": {"port": 1}, **sections}
        self.settings = Settings.model_validate(raw)
        self.settings.data.mkdir(mode=0o700)

    @contextmanager
    def journal(self) -> Iterator[Journal]:
        """The collector's log, held by this process as a collector holds it."""
        budget = self.settings.collector.journal_bytes
        path = self.settings.data / "collector.sqlite"
        journal = Journal(path, owner="c", budget=budget, on_full=OnFull.REFUSE)
        journal.open()
        path.chmod(0o600)
        try:
            yield journal
        finally:
            journal.close()

    @contextmanager
    def records(self) -> Iterator[Records]:
        records = Records(self.settings.records_url).open()
        (self.settings.data / "records.sqlite").chmod(0o600)
        try:
            yield records
        finally:
            records.close()

    def found(self, part: str) -> list[Finding]:
        return [finding for finding in examine(self.settings) if finding.part == part]

    def bad(self, part: str) -> Finding:
        """Return the one finding of a part, which has to be bad and to name a remedy."""
        (finding,) = self.found(part)
        assert not finding.ok, finding.text
        assert finding.remedy
        return finding

    def well(self, part: str) -> str:
        (finding,) = self.found(part)
        assert finding.ok, finding
        return finding.text


@pytest.fixture
def place(tmp_path: Path) -> Installation:
    return Installation(tmp_path)


def tick(journal: Journal, at: int) -> None:
    journal.append(Append(TICK, b"", at, events=0)).result()


def test_where_nothing_is_everything_is_told_and_nothing_made(tmp_path: Path) -> None:
    settings = Settings(
        data=tmp_path / "nothing",
        broker=BrokerSettings(port=1),
        api=Settings().api.model_copy(update={"port": 1}),
    )
    findings = examine(settings)
    bad = {finding.part for finding in findings if not finding.ok}
    assert bad >= {"data folder", "broker", "collector", "journal", "records", "console", "edges"}
    assert all(finding.remedy for finding in findings if not finding.ok)
    assert not list(tmp_path.iterdir())


def test_a_collector_that_ticks_one_that_does_not_and_none(place: Installation) -> None:
    with place.journal() as journal:
        tick(journal, CLOCK.now_ms())
        assert "ticks" in place.well("collector")
    assert "does not run" in place.bad("collector").text
    with place.journal() as journal:
        since = CLOCK.now_ms() - 3 * HOUR
        tick(journal, since)
        finding = place.bad("collector")
        assert "no tick for 3 h" in finding.text
        assert finding.since == since


def test_a_projection_that_is_behind_is_named_with_entries_and_time(place: Installation) -> None:
    with place.journal() as journal:
        for age in (600, 300, 0):
            tick(journal, CLOCK.now_ms() - age * 1000)
        journal.advance("rules", 3).result()
        journal.advance("series", 1).result()
        finding = place.bad("projections")
        assert finding.text == "series is 2 entries and 5 min behind"
        assert finding.since is not None
        journal.advance("series", 3).result()
        assert "at most 0 entries" in place.well("projections")


def test_a_log_that_is_nearly_full_names_who_holds_it_back(tmp_path: Path) -> None:
    place = Installation(tmp_path, collector={"journal_bytes": 2 << 20})
    with place.journal() as journal:
        journal.advance("media", 9).result()
        journal.advance("series", 0).result()
        assert place.well("journal")
        for _ in range(18):
            journal.append(Append("plain/s/d", b"x" * 100_000, 1)).result()
        finding = place.bad("journal")
    assert "of its 2 MiB are used" in finding.text
    assert finding.remedy.startswith("series ")


def test_edges_that_are_away_with_what_waits_and_clocks_that_are_wrong(
    place: Installation,
) -> None:
    since = CLOCK.now_ms() - 2 * HOUR
    away = EdgeOutput("north", "s1", since, online=False, drained=False, epoch="e")
    there = EdgeOutput("south", "s1", since, online=True, drained=True, epoch="e")
    stuck = EdgeOutput("west", "s1", since, online=True, drained=False, epoch="e")
    with place.records() as records, records.session() as session:
        projection.apply(session, [away, there, stuck], since)
    folder = place.settings.data / "edges" / "north"
    outbox = open_journal(folder / "outbox.sqlite", "north", 1 << 30, CLOCK)
    for _ in range(3):
        outbox.append(Append("event", b"{}", since)).result()
    with place.journal() as journal:
        for skew in (0.0, 95.0):
            event = make_event(
                "edge.clock", device="north", at=since, seen=since, data={"skew_s": skew}
            )
            journal.append(Append(control_lane("s1", "north"), encode(event), since)).result()
        first, second = place.found("edges")
        assert first.text == "north is offline for 2 h; 3 batches wait in its outbox"
        assert first.since == since
        assert second.text.startswith("west is online, but")
        assert place.bad("clocks").text == "north was +95 s from the collector's clock"
    outbox.close()


def test_refused_and_unknown_things_are_told_with_the_reason(place: Installation) -> None:
    now = CLOCK.now_ms()
    engine = Engine()
    engine.unknown["ghost"] = 3
    # The second is of a device that takes it to be 1970.
    letters = [
        refusals.DeadLetter(n, 0, at, "batch/s1/north/event/7", "not a number", "data.open_s")
        for n, at in enumerate((now, 86_400_000))
    ]
    with place.journal() as journal, place.records() as records:
        with records.session() as session:
            refusals.add_dead_letters(session, letters[:1], now - 5 * HOUR)
        assert place.well("dead letters") == "none in the last hour, 1 in all"
        assert place.well("unknown devices")
        with records.session() as session:
            refusals.add_dead_letters(session, letters, now - 60_000)
            cursor = f"rules-snapshot/{journal.epoch}"
            projection.save_cursor(session, cursor, 1, engine.dump())
            processes.record_job(session, "media retention", now, now, ok=False, message="EIO")
        finding = place.bad("dead letters")
        assert finding.text == (
            "1 in the last hour; the last from batch/s1/north/event/7: data.open_s: not a number"
        )
        assert finding.since == now - 60_000
        with records.session() as session:
            told = [Replayed(letters[1].id, now, "li", "log-9")]
            assert mark_replayed(session, told, now) == 1
        assert place.well("dead letters") == "none in the last hour, 1 in all"
        assert "ghost" in place.bad("unknown devices").text
        assert any("media retention: failed (1 of 1): EIO" in f.text for f in place.found("worker"))


def test_a_damaged_log_is_named_once_with_what_can_be_done(place: Installation) -> None:
    with place.journal() as journal:
        for age in range(400):
            journal.append(Append("plain/s/d", b"x" * 900, CLOCK.now_ms() - age)).result()
            tick(journal, CLOCK.now_ms())
    path = place.settings.data / "collector.sqlite"
    content = path.read_bytes()
    path.write_bytes(content[: 3 * 4096] + b"\xa5" * (len(content) - 3 * 4096))
    with place.records():
        findings = examine(place.settings)
    finding = next(finding for finding in findings if finding.part == "journal")
    assert not finding.ok
    assert finding.text.startswith(f"{path}: the journal is damaged (")
    assert "docs/backup.md" in finding.remedy
    assert "move it away" in finding.remedy
    rest = [each for each in findings if each.part != "journal"]
    assert not [each for each in rest if "is damaged" in each.text]
    assert "depends on the journal" in {each.text for each in rest if each.part == "projections"}
    path.write_bytes(b"not a database at all" * 4096)
    assert "the journal is damaged" in place.bad("journal").text


def test_an_outbox_that_is_damaged_hides_no_other(place: Installation) -> None:
    for name in ("north", "south"):
        folder = place.settings.data / "edges" / name
        folder.mkdir(parents=True)
        (folder / "outbox.sqlite").write_bytes(b"not a database at all" * 4096)
    first, second = place.found("outboxes")
    assert "north" in first.text
    assert "south" in second.text
    assert "possible loss" in first.remedy


@pytest.mark.parametrize("url", ["nonsense", "postgresql://estate:secret@127.0.0.1:1/estate"])
def test_records_that_cannot_be_opened_are_told_once(tmp_path: Path, url: str) -> None:
    place = Installation(tmp_path, records={"url": url})
    bad = {each.part: each for each in examine(place.settings) if not each.ok}
    assert "depends on" not in bad["records"].text
    assert bad["records"].remedy
    for part in ("processes", "edges", "dead letters", "worker"):
        assert bad[part].text == "depends on the records"
        assert bad[part].remedy == "see records"
    assert not [each for each in bad.values() if "\n" in each.text or "secret" in each.text]


def test_a_part_that_no_supervisor_started_has_its_log_elsewhere(place: Installation) -> None:
    with place.journal() as journal:
        tick(journal, CLOCK.now_ms() - 3 * HOUR)
        assert "journalctl -u estate-collector" in place.bad("collector").remedy
        log = place.settings.data / "logs" / "collector.log"
        log.parent.mkdir()
        log.touch()
        assert str(log) in place.bad("collector").remedy


def test_a_shared_collector_alone_on_its_machine_is_well(tmp_path: Path) -> None:
    place = Installation(tmp_path, collector={"shared": True})
    with place.records():
        assert "one by one" in place.well("processes")


def test_records_are_not_migrated_by_looking(place: Installation) -> None:
    assert "no records yet" in place.bad("records").text
    path = place.settings.data / "records.sqlite"
    path.touch(0o600)
    assert "schema is not there" in place.bad("records").text
    assert path.stat().st_size == 0
    with place.records():
        assert "of this version" in place.well("records")


def test_a_damaged_day_of_the_series_is_named_and_no_more_than_it_given_up(
    place: Installation,
) -> None:
    folder = place.settings.data / "series"
    now = CLOCK.now_ms()
    today, yesterday = (datetime.fromtimestamp(ms / 1000, UTC).date() for ms in (now, now - DAY))
    writer = EmbeddedWriter(folder)
    writer.open()
    for pos in range(1, 400):
        at = now - pos if pos % 2 else now - DAY
        data = {"medium": "water", "energy_kwh": float(pos)}
        event = make_event("meter.reading", device=f"m{pos}", at=at, seen=at, data=data)
        writer.write([(pos, Point(at * 1_000_000 + pos, "s", event))], pos)
    writer.close()
    assert place.well("series")
    path = folder / f"{today}.sqlite"
    content = path.read_bytes()
    path.write_bytes(content[:4096] + b"\xa5" * (len(content) - 4096))
    finding = place.bad("series")
    assert finding.text.startswith(f"embedded: {path}: is damaged (")
    assert "move this one file away" in finding.remedy
    path.unlink()
    (folder / f"{yesterday}.sqlite").unlink()
    finding = place.bad("series")
    assert str(path) in finding.text
    assert str(yesterday) in finding.text, "although nothing of the last hour is in it"
    assert "restart the collector" in finding.remedy


@pytest.mark.influxdb
def test_a_database_that_is_gone_is_named(tmp_path: Path, influxdb: Server) -> None:
    influx = {"url": influxdb.url, "database": f"estate_{tmp_path.name}"}
    place = Installation(tmp_path, series={"kind": "influxdb", "influxdb": influx})
    finding = place.bad("series")
    assert f"no database {influx['database']}" in finding.text
    assert "collector" in finding.remedy


def test_parts_that_were_started_one_by_one_have_no_supervisor(place: Installation) -> None:
    with place.records():
        assert "`estate run`" in place.bad("processes").remedy
        with place.journal():
            assert "one by one" in place.well("processes")


def test_secrets_that_others_can_read(tmp_path: Path) -> None:
    secret = tmp_path / "password"
    secret.write_text("x")
    secret.chmod(0o640)
    place = Installation(tmp_path, broker={"port": 1, "username": "c", "password_file": secret})
    finding = place.bad("secrets")
    assert finding.text == f"{secret} has mode 0640"
    assert finding.remedy == f"chmod go= {secret}"
    secret.chmod(0o600)
    assert place.well("secrets")


def certificate(path: Path, days: float) -> Path:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=100))
        .not_valid_after(now + timedelta(days=days))
        .sign(key, hashes.SHA256())
    )
    path.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    return path


@pytest.mark.parametrize(("days", "word"), [(29, "expires on"), (-1, "expired on"), (31, "")])
def test_certificates_are_renewed_in_time(tmp_path: Path, days: float, word: str) -> None:
    file = certificate(tmp_path / "ca.pem", days)
    place = Installation(tmp_path, broker={"port": 1, "ca_file": file})
    if word:
        text = place.bad("certificates").text
        assert text.startswith("broker.ca_file")
        assert word in text
    else:
        assert place.well("certificates").startswith("valid until")
    file.write_text("no certificate")
    assert "broker.ca_file" in place.bad("certificates").text


@pytest.mark.mosquitto
def test_the_broker_is_tried_as_a_part_would(tmp_path: Path) -> None:
    access = tmp_path / "acl"
    access.write_text("topic readwrite $SYS/#\nuser collector\ntopic readwrite estate/v1/#\n")
    access.chmod(0o644)
    tmp_path.chmod(0o755)
    with mosquitto_server(tmp_path, f"acl_file {access}") as server:
        place = Installation(tmp_path, broker=broker(server))

        def seen_by(**more: Any) -> None:
            chosen = BrokerSettings(port=server.port, **more)
            place.settings = place.settings.model_copy(update={"broker": chosen})

        assert place.well("broker").endswith("lets us in and listen")
        with place.journal():
            seen_by(username="collector")
            assert "is online" in place.bad("broker").text, "it has not said so"
            publish(server, CollectorStatus(online=True, instance="i", clock=1))
            assert place.well("broker")
            seen_by()
            assert "access list" in place.bad("broker").remedy, "the list hides it"
            seen_by(username="collector")
            publish(server, CollectorStatus(online=False, instance="i", clock=1))
            assert "is online" in place.bad("broker").text
        seen_by(ca_file=certificate(tmp_path / "ca.pem", 90))
        assert place.bad("broker").text.startswith(f"127.0.0.1:{server.port}: ")


def publish(server: Server, status: CollectorStatus) -> None:
    command = [binary("mosquitto_pub"), "-V", "5", "-q", "1", "-r", "-u", "collector"]
    topic = ["-p", str(server.port), "-t", topics.COLLECTOR_STATUS, "-m", encode(status).decode()]
    subprocess.run([*command, *topic], check=True, timeout=10)


@pytest.mark.mosquitto
def test_a_broker_that_refuses_a_password_says_so(tmp_path: Path) -> None:
    empty = tmp_path / "nobody"
    empty.touch(0o644)
    tmp_path.chmod(0o755)
    conf = f"password_file {empty}\nallow_anonymous false"
    with mosquitto_server(tmp_path, conf) as server:
        finding = Installation(tmp_path, broker=broker(server)).bad("broker")
    assert "refused: Not authorized" in finding.text
    assert "broker.password_file" in finding.remedy


def broker(server: Server) -> dict[str, Any]:
    return {"port": server.port}
