"""The embedded store alone: torn crashes, retention, other processes, damage."""

from __future__ import annotations

import itertools
import shutil
import threading
from collections.abc import Iterator
from datetime import UTC, date, datetime
from pathlib import Path

import pytest

from core.contracts.errors import StoreLostError, StoreUnavailableError
from core.contracts.ports import Point, Query
from core.storage import sqlite
from core.storage.series import EmbeddedReader, EmbeddedWriter, expire
from core.storage.series.manifest import Manifest
from core.storage.series.sealing import SealingPlan
from tests.storage.series.support import BASE, DAY, StandingClock, entry, lift, meter

EVER = (0, 4_000_000_000_000)
Log = list[tuple[int, Point]]


def day(offset: int) -> date:
    return datetime.fromtimestamp((BASE + offset * DAY) / 1000, UTC).date()


@pytest.fixture
def writers() -> Iterator[list[EmbeddedWriter]]:
    opened: list[EmbeddedWriter] = []
    yield opened
    for writer in opened:
        writer.close()


def open_writer(
    folder: Path, writers: list[EmbeddedWriter], *, sync_s: float = 1.0, sealing: bool = False
) -> EmbeddedWriter:
    """``sealing``: with every write a step of it, a few rows at a time."""
    plan = SealingPlan(rows=3, events=40, fan=3, overdue_rows=0) if sealing else None
    writer = EmbeddedWriter(folder, clock=StandingClock(), sync_s=sync_s, plan=plan)
    writer.open()
    writers.append(writer)
    return writer


def values(folder: Path, device: str = "m1") -> list[float]:
    reader = EmbeddedReader(folder)
    try:
        found = reader.query(Query(device, "meter.reading", "power_w", *EVER))
        return [float(sample.value or 0) for sample in found]
    finally:
        reader.close()


def test_a_file_a_day(tmp_path: Path, writers: list[EmbeddedWriter]) -> None:
    writer = open_writer(tmp_path, writers)
    writer.write(entry(1, meter("m1", BASE + DAY - 1, 1.0), meter("m1", BASE + DAY, 2.0)), 1)
    writer.close()
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted(
        [f"{day(0)}.sqlite", f"{day(1)}.sqlite", "manifest.sqlite"]
    )


def test_the_position_moves_only_after_a_sync(
    tmp_path: Path, writers: list[EmbeddedWriter]
) -> None:
    writer = open_writer(tmp_path, writers, sync_s=3600)
    writer.write(entry(5, meter("m1", BASE, 1.0)), 5)
    assert writer.position() == 0
    assert values(tmp_path) == [1.0], "readers need not wait for it"
    writer.sync()
    assert writer.position() == 5
    eager = open_writer(tmp_path / "eager", writers, sync_s=0)
    eager.write(entry(5, meter("m1", BASE, 1.0)), 5)
    assert eager.position() == 5


def steps() -> list[tuple[Log, int]]:
    """Two writes, to two and to three files."""
    days = [
        [(0, 1), (0, 2), (1, 3), (1, 4)],
        [(0, 5), (1, 6), (2, 7), (0, 8)],
    ]
    found, position = [], 0
    for write in days:
        log: Log = []
        for offset, value in write:
            position += 1
            log += entry(position, meter("m1", BASE + offset * DAY + value, float(value)))
        found.append((log, position))
    return found


def states(tmp_path: Path) -> list[Path]:
    """Return the store's folder as it was at the beginning and after each write."""
    live, found = tmp_path / "live", []
    writer = EmbeddedWriter(live, clock=StandingClock(), sync_s=0)
    writer.open()
    for number, (log, position) in enumerate([([], 0), *steps()]):
        writer.write(log, position)
        found.append(tmp_path / f"state{number}")
        shutil.copytree(live, found[-1])
    writer.close()
    return found


def day_names(folder: Path) -> set[str]:
    return {path.name.removesuffix("-wal").removesuffix("-shm")
            for path in folder.iterdir() if path.name[0] == "2"}  # fmt: skip


def test_any_mix_of_old_and_new_files_is_made_whole(tmp_path: Path) -> None:
    """A crash leaves each file at some commit of its own, none behind the manifest's."""
    saved = states(tmp_path)
    log: Log = list(itertools.chain(*(part for part, _ in steps())))
    whole = sorted(item.event.data.power_w for _, item in log)
    names = sorted(day_names(saved[-1]))
    tried = 0
    for manifest in range(len(saved)):
        choices = [range(manifest, len(saved)) for _ in names]
        for choice in itertools.product(*choices):
            torn = tmp_path / f"torn{tried}"
            torn.mkdir()
            for name, state in [*zip(names, choice, strict=True), ("manifest.sqlite", manifest)]:
                for suffix in ("", "-wal"):
                    source = saved[state] / f"{name}{suffix}"
                    if source.exists():
                        shutil.copy(source, torn)
            writer = EmbeddedWriter(torn, clock=StandingClock())
            writer.open()
            assert writer.position() == [0, 4, 8][manifest]
            rest = [item for item in log if item[0] > writer.position()]
            for start in range(0, len(rest), 2):
                part = rest[start : start + 2]
                writer.write(part, part[-1][0])
            writer.close()
            assert sorted(values(torn)) == whole
            shutil.rmtree(torn)
            tried += 1
    assert tried == 3**3 + 2**3 + 1


def test_a_write_that_failed_in_its_second_file_is_completed(
    tmp_path: Path, writers: list[EmbeddedWriter]
) -> None:
    writer = open_writer(tmp_path, writers)
    writer.write(entry(1, meter("m1", BASE, 1.0)), 1)
    blocked = tmp_path / f"{day(1)}.sqlite"
    blocked.mkdir()
    batch = [*entry(2, meter("m1", BASE + 1, 2.0)), *entry(3, meter("m1", BASE + DAY, 3.0))]
    for _ in range(2):
        with pytest.raises(StoreUnavailableError):
            writer.write(batch, 3)
    blocked.rmdir()
    assert writer.write(batch, 3) == []
    assert values(tmp_path) == [1.0, 2.0, 3.0]


def test_a_new_series_of_a_failed_write_is_not_remembered(
    tmp_path: Path, writers: list[EmbeddedWriter]
) -> None:
    writer = open_writer(tmp_path, writers)
    writer.write(entry(1, meter("m1", BASE, 1.0)), 1)
    other = sqlite.connect(tmp_path / f"{day(0)}.sqlite")
    other.execute("CREATE TRIGGER full BEFORE INSERT ON hot BEGIN SELECT RAISE(ABORT, 'full'); END")
    with pytest.raises(StoreUnavailableError, match="full"):
        writer.write(entry(2, meter("m2", BASE, 2.0)), 2)
    other.execute("DROP TRIGGER full")
    other.close()
    writer.write(entry(2, meter("m2", BASE, 2.0)), 2)
    assert values(tmp_path, "m2") == [2.0]


def test_expired_days_are_gone_at_once_and_unlinked_after_a_grace(
    tmp_path: Path, writers: list[EmbeddedWriter]
) -> None:
    writer, reader = open_writer(tmp_path, writers), EmbeddedReader(tmp_path)
    for number in range(3):
        writer.write(entry(number + 1, meter("m1", BASE + number * DAY, float(number))), number + 1)
    assert reader.count(*EVER) == 3
    assert writer.expire(day(2)) == [day(0), day(1)]
    assert reader.count(*EVER) == 1
    assert [event.data["power_w"] for event in reader.latest(["m1"])] == [2.0]
    assert len(list(tmp_path.glob("2*.sqlite"))) == 3, "queries under way may still read them"
    assert writer.expire(day(2), grace_s=0) == []
    assert [path.name for path in tmp_path.glob("2*") if path.suffix == ".sqlite"] == [
        f"{day(2)}.sqlite"
    ]
    late = entry(4, meter("m1", BASE, 9.0), meter("m1", BASE + 2 * DAY + 1, 3.0))
    refusals = writer.write(late, 4)
    assert [refusal.index for refusal in refusals] == [0]
    assert str(day(2)) in refusals[0].reason
    assert values(tmp_path) == [2.0, 3.0]
    reader.close()


def test_a_replay_of_what_was_stored_and_expired_is_not_refused(
    tmp_path: Path, writers: list[EmbeddedWriter]
) -> None:
    writer = open_writer(tmp_path, writers)
    batch = entry(1, meter("m1", BASE, 1.0))
    writer.write(batch, 1)
    writer.expire(day(1))
    assert writer.write(batch, 1) == []


def test_a_writer_notices_what_another_process_expired(
    tmp_path: Path, writers: list[EmbeddedWriter]
) -> None:
    writer = open_writer(tmp_path, writers)
    writer.write(entry(1, meter("m1", BASE, 1.0), meter("m1", BASE + DAY, 2.0)), 1)
    assert expire(tmp_path, day(1), grace_s=0) == [day(0)]
    assert not (tmp_path / f"{day(0)}.sqlite").exists()
    refusals = writer.write(
        entry(2, meter("m1", BASE + 1, 3.0), meter("m1", BASE + DAY + 1, 4.0)), 2
    )
    assert [refusal.index for refusal in refusals] == [0]
    writer.sync()
    assert values(tmp_path) == [2.0, 4.0]


def test_many_days_need_few_open_files(tmp_path: Path, writers: list[EmbeddedWriter]) -> None:
    writer = open_writer(tmp_path, writers)
    for round_ in range(2):
        points = [meter("m1", BASE - n * DAY + round_, float(n)) for n in range(20)]
        writer.write(entry(round_ + 1, *points), round_ + 1)
    assert len(list(Path("/proc/self/fd").iterdir())) < 100
    writer.sync()
    reader = EmbeddedReader(tmp_path)
    assert reader.count(*EVER) == 40
    assert len(reader.events("m1", *EVER)) == 40
    reader.close()


def test_readers_in_threads_see_whole_batches_while_a_writer_writes(
    tmp_path: Path, writers: list[EmbeddedWriter]
) -> None:
    writer, reader = open_writer(tmp_path, writers, sealing=True), EmbeddedReader(tmp_path)
    done, wrong = threading.Event(), []

    def look() -> None:
        seen = 0
        while not done.is_set():
            found = reader.query(Query("m1", "meter.reading", "power_w", *EVER))
            if len(found) % 10 or len(found) < seen:
                wrong.append(len(found))
            seen = len(found)

    threads = [threading.Thread(target=look) for _ in range(3)]
    for thread in threads:
        thread.start()
    for n in range(1, 101):
        at = BASE + (n % 2) * DAY + n * 100
        writer.write(entry(n, *(meter("m1", at + k, 1.0) for k in range(10))), n)
    done.set()
    for thread in threads:
        thread.join(20)
    assert wrong == []
    assert reader.count(*EVER) == 1000
    assert writer.tidy(), "there is sealing under way"
    reader.close()


def test_siblings_of_one_mark_share_a_page(tmp_path: Path, writers: list[EmbeddedWriter]) -> None:
    writer = open_writer(tmp_path, writers)
    points = [meter("m1", BASE + n // 4, float(n)) for n in range(12)]
    writer.write(entry(1, *points), 1)
    reader = EmbeddedReader(tmp_path)
    for _ in range(2):  # hot, then sealed
        sizes, before = [], None
        while page := reader.events("m1", *EVER, limit=3, before=before):
            sizes.append(len(page))
            before = page[-1].mark
        assert sizes == [4, 4, 4]
        while writer.tidy():
            pass
    reader.close()


def test_a_reader_of_nothing_waits_for_a_store_to_appear(
    tmp_path: Path, writers: list[EmbeddedWriter]
) -> None:
    reader = EmbeddedReader(tmp_path / "series")
    assert reader.count(*EVER) == 0
    assert not (tmp_path / "series").exists(), "a reader makes nothing"
    writer = open_writer(tmp_path / "series", writers)
    writer.write(entry(1, lift("l1", BASE, 1, moving=True)), 1)
    assert reader.count(*EVER) == 1
    writer.close()
    assert [event.device for event in reader.latest(["l1"])] == ["l1"], "a closed store is read too"
    reader.close()


@pytest.mark.parametrize("name", ["manifest.sqlite", f"{day(0)}.sqlite"])
def test_a_damaged_file_is_named(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"not a database at all " * 500)
    writer = EmbeddedWriter(tmp_path, clock=StandingClock())

    def use() -> None:
        writer.open()
        writer.write(entry(1, meter("m1", BASE, 1.0)), 1)

    with pytest.raises(sqlite.DatabaseFileError, match=name):
        use()
    writer.close()


def test_a_newer_format_is_left_alone(tmp_path: Path, writers: list[EmbeddedWriter]) -> None:
    open_writer(tmp_path, writers).close()
    connection = sqlite.connect(tmp_path / "manifest.sqlite")
    connection.execute("PRAGMA user_version=99")
    connection.close()
    with pytest.raises(sqlite.DatabaseFileError, match="format 99"):
        EmbeddedWriter(tmp_path, clock=StandingClock()).open()


def damage(path: Path) -> None:
    """Write nonsense over a third of a file's pages, not the first."""
    content = bytearray(path.read_bytes())
    for page in range(4096, len(content), 4096 * 3):
        content[page : page + 4096] = b"\xa5" * 4096
    path.write_bytes(bytes(content))


def three_days() -> Log:
    return [
        (pos, meter(f"m{pos}", BASE + offset * DAY + pos, float(pos)))
        for offset in range(3)
        for pos in range(offset * 100 + 1, offset * 100 + 101)
    ]


def fill(writer: EmbeddedWriter, log: Log, after: int = 0) -> None:
    for _, group in itertools.groupby(log, key=lambda item: (item[0] - 1) // 20):
        some = list(group)
        if some[-1][0] > after:
            writer.write(some, some[-1][0])


def test_a_damaged_day_costs_what_the_log_no_longer_holds_and_nothing_else(
    tmp_path: Path, writers: list[EmbeddedWriter]
) -> None:
    log = three_days()
    writer = open_writer(tmp_path, writers)
    fill(writer, log)
    writer.close()
    reader = EmbeddedReader(tmp_path)
    assert reader.count(*EVER) == 300
    path = tmp_path / f"{day(1)}.sqlite"
    damage(path)
    with pytest.raises(StoreUnavailableError, match=rf"{path}: is damaged .*move this one file"):
        EmbeddedReader(tmp_path).count(*EVER)
    path.rename(tmp_path / "away")
    with pytest.raises(StoreUnavailableError, match=rf"{path}: is listed, and gone.*collector"):
        EmbeddedReader(tmp_path).count(*EVER)

    writer = open_writer(tmp_path, writers)
    assert writer.position() == 0
    assert EmbeddedReader(tmp_path).count(*EVER) == 200, "the others are as they were"
    fill(writer, [item for item in log if item[0] > 140])  # what the log has kept
    writer.sync()
    assert writer.position() == 300
    assert reader.count(*EVER) == 260, "a reader of before reads the new file"
    assert sorted(reader.counts(BASE + DAY, BASE + 2 * DAY).values()) == [60]
    reader.close()


def test_a_file_that_goes_under_a_writer_has_it_opened_again(
    tmp_path: Path, writers: list[EmbeddedWriter]
) -> None:
    log = three_days()
    writer = open_writer(tmp_path, writers)
    fill(writer, log)
    writer.sync()
    for offset in range(3, 15):  # so that the first day's file is not open any more
        writer.write(entry(301 + offset, meter("m1", BASE - offset * DAY, 1.0)), 301 + offset)
    (tmp_path / f"{day(0)}.sqlite").unlink()
    with pytest.raises(StoreLostError, match=f"{day(0)}"):
        writer.write(entry(400, meter("m1", BASE + 5000, 1.0)), 400)
    writer.close()
    again = open_writer(tmp_path, writers)
    fill(again, log)
    again.write(entry(400, meter("m1", BASE + 5000, 1.0)), 400)
    assert EmbeddedReader(tmp_path).count(BASE, BASE + DAY) == 101


def test_a_replay_that_is_cut_otherwise_adds_what_is_missing_only(
    tmp_path: Path, writers: list[EmbeddedWriter]
) -> None:
    log = [(pos, meter("m1", BASE + pos, float(pos))) for pos in range(1, 41)]
    writer = open_writer(tmp_path, writers)
    writer.write(log[:20], 20)
    writer.close()
    manifest = Manifest(tmp_path, readonly=False)
    manifest.open()
    manifest.rewind("log")
    manifest.close()
    writer = open_writer(tmp_path, writers)
    assert writer.position() == 0
    for first, last in ((0, 7), (7, 15), (15, 33), (33, 40)):
        writer.write(log[first:last], last)
    assert values(tmp_path) == [float(pos) for pos in range(1, 41)]
    assert EmbeddedReader(tmp_path).count(*EVER) == 40
