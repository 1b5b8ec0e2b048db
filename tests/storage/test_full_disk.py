"""Journals on a real disk that is too small."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from core.contracts.errors import JournalFullError
from core.storage.journal import Append, Journal, OnFull, Tombstone


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 24 MiB."""
    if os.geteuid() != 0:
        pytest.skip("mounting a small file system needs root")
    folder = tmp_path / "disk"
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=24m", "tmpfs", folder], check=True)
    yield folder
    subprocess.run(["umount", "-l", folder], check=True)


def note(stones: list[Tombstone]) -> Append:
    lines = [f"{s.lane},{s.first_seq},{s.last_seq},{s.events},{s.reason}" for s in stones]
    return Append("event", "\n".join(lines).encode(), 0, events=len(lines))


def test_an_outbox_goes_on_by_dropping_its_oldest_readings_and_says_so(small_disk: Path) -> None:
    journal = Journal(
        small_disk / "j.sqlite", owner="e", budget=1 << 30, on_full=OnFull.EVICT, note=note
    )
    journal.open()
    for number in range(5_000):
        lane, priority = ("event", 0) if number % 50 == 0 else ("reading", 2)
        journal.append(Append(lane, bytes(5_000), number, priority=priority)).result()
    lanes = journal.lanes()
    reader = journal.reader()
    notes = [e.body.decode() for e in reader.read_lane("event", 0, limit=9_999) if any(e.body)]
    reader.close()
    journal.close()
    stones = [line.split(",") for text in notes for line in text.splitlines()]
    declared = sum(int(stone[3]) for stone in stones)
    assert {stone[4] for stone in stones} == {"disk_full"}
    assert {stone[0] for stone in stones} == {"reading"}
    assert lanes["event"].oldest == 1
    assert lanes["reading"].entries + declared == 4_900
    assert declared < 3_500, "no more is dropped than there is need for"


def test_a_collectors_log_refuses_loses_nothing_and_takes_again_when_there_is_room(
    small_disk: Path,
) -> None:
    other = small_disk / "other"
    other.write_bytes(bytes(12 << 20))
    journal = Journal(small_disk / "j.sqlite", owner="c", budget=1 << 30, on_full=OnFull.REFUSE)
    journal.open()
    taken = 0
    while (error := journal.append(Append("a", bytes(5_000), taken)).exception()) is None:
        taken += 1
    assert isinstance(error, JournalFullError)
    other.unlink()
    journal.append(Append("a", bytes(5_000), taken)).result()
    reader = journal.reader()
    assert len(reader.read(0, limit=10_000, max_bytes=1 << 30)) == taken + 1
    reader.close()
    journal.close()
