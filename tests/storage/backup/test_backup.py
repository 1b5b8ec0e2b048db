"""What a backup holds, what is trusted, and what a restore refuses."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner, Result

from core.contracts.codec import make_event
from core.contracts.log import batch_lane, plain_lane
from core.contracts.ports import Point
from core.runtime.settings import InfluxSettings, Settings
from core.storage import backup, sqlite
from core.storage.backup import agreement
from core.storage.backup.take import influx_commands
from core.storage.journal import Append, Journal, OnFull
from core.storage.media import MediaStore
from core.storage.records import Records, accounts, changes, projection, refusals
from core.storage.series import open_reader, open_writer
from estate.cli import app
from tests.storage.series.support import BASE, StandingClock

JPEG = b"\xff\xd8\xff\xe0 picture \xff\xd9"
MEDIA = "20261121-" + "0" * 32


def open_journal(path: Path, owner: str) -> Journal:
    path.parent.mkdir(parents=True, exist_ok=True)
    journal = Journal(path, owner=owner, budget=1 << 30, on_full=OnFull.REFUSE)
    journal.open()
    return journal


def fill_outbox(path: Path) -> str:
    """Journal five readings, of which two were sent; return the epoch."""
    journal = open_journal(path, "edge-1")
    for number in range(5):
        journal.append(Append("reading", f"r{number}".encode(), BASE, priority=3)).result()
    journal.note_sent("reading", 2).result()
    journal.close()
    return journal.epoch


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """An installation with something in every part of it; return its settings file."""
    folder = tmp_path / "home"
    data = folder / "data"
    outside = tmp_path / "etc"
    for path in (data / "logs", data / "simulation", data / "authority", folder / "edges", outside):
        path.mkdir(parents=True)
    (data / "logs" / "api.log").write_text("log")
    (data / "authority" / "ca.key").write_text("the authority's key")
    (data / "authority" / "ca.crt").write_text("its certificate")
    (data / "estate.lock").touch()
    (data / "reservoir" / "2026-11-20").mkdir(parents=True)
    (data / "reservoir" / "2026-11-20" / "manifest.json").write_text("{}")
    (outside / "token").write_text("secret")
    (folder / "rules.yaml").write_text("version: 1\nrules: []\n")
    (folder / "ca.pem").write_text("a certificate, and no secret")
    (folder / "map.yaml").write_text("registers: []\n")
    edge = {
        "edge": "edge-1",
        "site": "jinxiu",
        "drivers": [{"driver": "modbus", "map": "../map.yaml"}],
    }
    (folder / "edges" / "edge-1.yaml").write_text(yaml.safe_dump(edge))
    settings_file = folder / "estate.yaml"
    settings_file.write_text(
        yaml.safe_dump(
            {
                "edges": ["edges/edge-1.yaml"],
                "rules": {"files": ["rules.yaml"]},
                "broker": {
                    "password_file": str(outside / "token"),
                    "ca_file": "ca.pem",
                    "cert_file": "ca.pem",
                    "key_file": "gone.key",
                },
            }
        )
    )
    settings = Settings(data=data)
    epoch = fill_outbox(data / "edges" / "edge-1" / "outbox.sqlite")
    (data / "edges" / "edge-1" / "pseudonym.key").write_bytes(b"k" * 32)
    (data / "edges" / "edge-1" / "outbox.ballast").write_bytes(b"\0" * 100)

    log = open_journal(data / "collector.sqlite", "collector")
    for number in range(3):
        body = f"r{number}".encode()
        log.append(Append(batch_lane("jinxiu", "edge-1", epoch, "reading"), body, BASE)).result()
    log.append(Append(plain_lane("jinxiu", "lamp-1"), b"{}", BASE)).result()
    log.advance("rules", 4).result()

    writer = open_writer(settings, log=log.epoch, clock=StandingClock())
    event = make_event("meter.reading", device="m1", at=BASE, seen=BASE, data={"medium": "water"})
    writer.write([(3, Point(BASE * 1_000_000, "jinxiu", event))], 3)
    writer.close()
    records = Records(settings.records_url).open()
    with records.session() as session:
        user = accounts.create_user(session, "li", "admin", BASE).id
        accounts.create_session(session, "t", user, BASE, BASE * 2)
        projection.save_cursor(session, f"rules/{log.epoch}", 4, b"state")
        projection.save_cursor(session, f"media/{log.epoch}", 2, None)
    records.close()
    log.close()
    MediaStore(data / "media").put(MEDIA, JPEG, {"device": "camera-1"})
    return settings_file


def estate(*arguments: str | Path) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def made(home: Path, *options: str) -> Path:
    target = home.parent.parent / "backups" / "first"
    done = estate("backup", target, "--settings", home, *options)
    assert done.exit_code == 0, done.output
    return target


def test_everything_is_in_it_and_nobody_else_may_read_it(home: Path) -> None:
    folder = made(home)
    manifest = backup.verify(folder)
    assert {file.path for file in manifest.files} == {
        "configuration/ca.pem",
        "configuration/edges/edge-1.yaml",
        "configuration/estate.yaml",
        "configuration/map.yaml",
        f"configuration/outside{home.parent.parent / 'etc' / 'token'}",
        "configuration/rules.yaml",
        "data/authority/ca.crt",
        "data/authority/ca.key",
        "data/collector.sqlite",
        "data/edges/edge-1/outbox.sqlite",
        "data/edges/edge-1/pseudonym.key",
        f"data/media/20261121/{MEDIA}.jpg",
        f"data/media/20261121/{MEDIA}.json",
        "data/records.sqlite",
        f"data/series/{next((home.parent / 'data' / 'series').glob('20*.sqlite')).name}",
        "data/series/manifest.sqlite",
    }
    secrets = {Path(file.path).name for file in manifest.files if file.secret}
    assert secrets == {"ca.key", "pseudonym.key", "token"}
    assert {Path(item.what).name for item in manifest.left_out} == {
        "logs", "simulation", "gone.key", "reservoir",
    }  # fmt: skip
    assert (manifest.position, manifest.records, manifest.series) == (4, "sqlite", "embedded")
    for path in [folder, *folder.rglob("*")]:
        assert path.stat().st_mode & 0o077 == 0, path
    assert not list(folder.parent.glob("*.partial"))


def test_no_part_is_taken_before_what_it_follows(home: Path) -> None:
    taken = backup.verify(made(home)).files
    order = list(dict.fromkeys(file.part for file in taken))
    assert order == ["edges", "other", "configuration", "series", "records", "media", "journal"]
    files = [Path(file.path).name for file in taken]
    assert files.index("pseudonym.key") < files.index("outbox.sqlite"), "memories come before it"
    assert files[files.index("manifest.sqlite") + 1].startswith("20"), "its days come after it"


def test_exported_files_come_along_when_asked_for(home: Path) -> None:
    files = {file.path for file in backup.verify(made(home, "--with-reservoir")).files}
    assert "data/reservoir/2026-11-20/manifest.json" in files


def test_keys_can_be_left_out_and_that_is_said(home: Path) -> None:
    manifest = backup.verify(made(home, "--without-keys"))
    assert [file.path for file in manifest.files if file.secret] == []
    names = {Path(item.what).name for item in manifest.left_out}
    assert {"ca.key", "pseudonym.key", "token"} <= names


def test_a_restore_on_a_bare_machine_gives_everything_back(home: Path, tmp_path: Path) -> None:
    folder = made(home)
    shutil.rmtree(home.parent)
    target = tmp_path / "new"
    done = estate("restore", folder, "--configuration", target)
    assert done.exit_code == 0, done.output
    assert "2 edges or devices" in done.output
    data = target / "data"
    assert (target / "map.yaml").read_text() == "registers: []\n"
    assert (data / "edges" / "edge-1" / "pseudonym.key").read_bytes() == b"k" * 32
    assert MediaStore(data / "media").get(MEDIA) is not None
    settings = Settings(data=data)
    reader = open_reader(settings)
    assert reader.count(0, BASE * 2) == 1
    reader.close()

    log = open_journal(data / "collector.sqlite", "collector")
    later = log.append(Append("tick", b"", BASE)).result()[0]
    assert later.pos > 10**12, "no position is given twice"
    assert set(log.cursors().values()) == {0}, (
        "nothing is trimmed before it is known what is needed"
    )
    log.close()
    outbox = open_journal(data / "edges" / "edge-1" / "outbox.sqlite", "edge-1")
    reader_ = outbox.reader()
    assert [entry.body for entry in reader_.read_lane("reading", 0)] == [b"r3", b"r4"]
    reader_.close()
    assert (outbox.bounds()["reading"].sent, outbox.bounds()["reading"].last) == (3, 5)
    outbox.close()

    records = Records(settings.records_url).open()
    with records.reading() as session:
        found = refusals.list_losses(session).items
        assert {(x["edge"], x["lane"], x["reason"], x["events"]) for x in found} == {
            ("edge-1", "", "restored", None), ("lamp-1", "plain", "restored", None),
        }  # fmt: skip
        assert projection.cursor(session, f"rules/{log.epoch}") == (4, b"state")
        assert accounts.find_user(session, "li") is not None
        assert changes.first_seq(session) > 10**12, "every client loads anew"
    with records.session() as session:
        assert accounts.remove_expired(session, BASE * 4, 0)["sessions"] == 0, "all are ended"
    records.close()


def test_what_is_there_is_not_overwritten_unless_told_so(home: Path) -> None:
    folder = made(home)
    refused = estate("restore", folder, "--settings", home)
    assert refused.exit_code == 2
    assert "--replace" in refused.output
    (home.parent / "data" / "mark").write_text("here before")
    log = open_journal(home.parent / "data" / "collector.sqlite", "collector")
    busy = estate("restore", folder, "--settings", home, "--replace")
    assert "in use" in busy.output
    log.close()
    assert (home.parent / "data" / "mark").exists()
    done = estate("restore", folder, "--settings", home, "--replace")
    assert done.exit_code == 0, done.output
    (former,) = home.parent.glob("data.before-*")
    assert (former / "mark").read_text() == "here before"
    assert not (home.parent / "data" / "mark").exists()


def test_a_target_is_new_and_outside_the_data(home: Path) -> None:
    folder = made(home)
    again = estate("backup", folder, "--settings", home)
    assert again.exit_code == 2
    assert "new folder" in again.output
    inside = estate("backup", home.parent / "data" / "b", "--settings", home)
    assert "elsewhere" in inside.output


def damage(path: Path, change: Callable[[dict[str, Any]], None]) -> None:
    manifest = json.loads((path / "manifest.json").read_text())
    change(manifest)
    (path / "manifest.json").write_text(json.dumps(manifest))


@pytest.mark.parametrize(
    ("hurt", "said"),
    [
        (lambda f: (f / "data" / "records.sqlite").unlink(), "records.sqlite: missing"),
        (lambda f: (f / "data" / "authority" / "ca.crt").write_text("x"), "ca.crt: changed"),
        (lambda f: (f / "data" / "more").write_text("x"), "more: not in the manifest"),
        (lambda f: (f / "manifest.json").unlink(), "not a whole one"),
        (lambda f: (f / "manifest.json").write_text("{"), "damaged"),
        (lambda f: damage(f, lambda m: m.update(format=2)), "a newer one"),
        (lambda f: damage(f, lambda m: m.update(position=99)), "another journal"),
        (lambda f: damage(f, lambda m: m["files"][0].update(path="../x")), "leads out"),
    ],
)
def test_what_cannot_be_trusted_is_not_restored(
    home: Path, hurt: Callable[[Path], None], said: str
) -> None:
    folder = made(home)
    assert estate("backup", folder, "--verify").exit_code == 0
    hurt(folder)
    for arguments in (("backup", folder, "--verify"), ("restore", folder, "--settings", home)):
        done = estate(*arguments)
        assert done.exit_code == 2
        assert said in done.output.replace("\n", " ")


def test_settings_that_do_not_fit_are_refused(home: Path, tmp_path: Path) -> None:
    folder = made(home)
    for wrong in ({"series": {"kind": "influxdb"}}, {"records": {"url": "postgresql://x/y"}}):
        settings = Settings.model_validate({"data": tmp_path / "new", **wrong})
        with pytest.raises(backup.BackupError, match="as it was"):
            backup.restore(folder, settings, BASE)
    assert not (tmp_path / "new").exists()


def test_an_edges_machine_keeps_no_outbox(home: Path) -> None:
    (home.parent / "data" / "collector.sqlite").unlink()
    manifest = backup.verify(made(home))
    assert not any(file.path.endswith("outbox.sqlite") for file in manifest.files)
    assert any("twice" in item.why for item in manifest.left_out)
    assert manifest.log is None


@given(st.integers(0, 20), st.integers(1, 20), st.integers(0, 22))
def test_parts_agree_where_the_journal_reaches_from_the_cursor_on(
    position: int, oldest: int, cursor: int
) -> None:
    state = agreement.LogState("log", position, min(oldest, position + 1))
    needed = set(range(cursor + 1, position + 1))
    kept = set(range(state.oldest, position + 1))
    if cursor <= position and needed <= kept:
        agreement.check(state, {"rules": cursor})
    else:
        with pytest.raises(backup.BackupError, match="take it again"):
            agreement.check(state, {"rules": cursor})


def test_a_database_in_use_is_copied_as_one_state(tmp_path: Path) -> None:
    db = sqlite.connect(tmp_path / "a.sqlite")
    db.execute("CREATE TABLE t (n)")
    db.execute("INSERT INTO t VALUES (1)")
    db.execute("BEGIN IMMEDIATE")
    db.execute("INSERT INTO t VALUES (2)")
    sqlite.copy(tmp_path / "a.sqlite", tmp_path / "b.sqlite")
    db.execute("COMMIT")
    db.close()
    copy = sqlite.connect(tmp_path / "b.sqlite", readonly=True)
    assert copy.execute("SELECT n FROM t").fetchall() == [(1,)]
    copy.close()
    assert [p.name for p in tmp_path.glob("b*")] == ["b.sqlite"], "one file, and nothing beside it"


@pytest.mark.parametrize(
    ("version", "tool"), [(1, "influxd backup"), (2, "influx backup"), (3, "object store")]
)
def test_influxdb_is_backed_up_by_its_own_tools(version: int, tool: str) -> None:
    told = influx_commands(InfluxSettings(version=version, database="estate"))
    assert tool in told[0]
    assert len(told) == 2
