"""What crashes a projection's own code is found, left out and kept; everything else is used."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from structlog.testing import capture_logs

from collector import caution, companion
from collector.caution import Caution, Notebook, accused
from collector.followers import STORES
from core.contracts import batch as batches
from core.contracts.codec import Event
from core.contracts.left_out import LeftOut, Notes, Stage, Try
from core.contracts.log import TICK, LogEntry, TickEntry, plain_lane
from core.runtime.clock import ScaledClock
from core.storage.records import Records, letters, projection
from core.storage.records.letters import Who
from rules.engine import Engine
from rules.judge import Judge
from rules.presence import Presences
from tests.collector.deadly import MARKER
from tests.collector.office import EDGE, NOW, SITE, reading
from tests.collector.works import Works, until

POISON = MARKER


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("records") / "template.sqlite"
    Records(f"sqlite:///{path}").open().close()
    return path


@pytest.fixture(autouse=True)
def logged() -> Iterator[list[Any]]:
    """Tracebacks of a whole engine take seconds to be drawn, and here there are many."""
    with capture_logs() as found:
        yield found


@pytest.fixture
def works(tmp_path: Path, template: Path, request: pytest.FixtureRequest) -> Iterator[Works]:
    """With records in SQLite, or as a test's own parameter says."""
    url = None
    if getattr(request, "param", "sqlite") == "postgresql":
        url = str(request.getfixturevalue("postgresql_database"))
    else:
        shutil.copy(template, tmp_path / "records.sqlite")
    works = Works(tmp_path, url)
    yield works
    works.close()


on_both = pytest.mark.parametrize(
    "works",
    ["sqlite", pytest.param("postgresql", marks=pytest.mark.postgresql)],
    indirect=True,
)


def is_poison(event: Event) -> bool:
    return getattr(event.data, "power_w", None) == POISON


@contextmanager
def rules_crash(seen: list[float] | None = None) -> Iterator[None]:
    """The rules' own code fails on the marker, after it has changed the engine's state."""
    real = Judge.event

    def event(self: Judge, subject: Any, event: Event, *rest: Any) -> None:
        real(self, subject, event, *rest)
        if is_poison(event):
            raise KeyError("a bug")
        if seen is not None:
            seen.append(event.data.power_w)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Judge, "event", event)
        yield


@contextmanager
def decoder_crashes() -> Iterator[None]:
    real = batches.decode_event

    def decode(payload: bytes) -> Event:
        event = real(payload)
        if is_poison(event):
            raise RecursionError("deep")
        return event

    def fast(payload: bytes) -> Any:
        whole = msgspec_fast(payload)
        if any(is_poison(event) for event in whole.events):
            raise StackError("deep")
        return whole

    msgspec_fast = batches._fast.decode

    class Fast:
        decode = staticmethod(fast)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(batches, "decode_event", decode)
        patch.setattr(batches, "_fast", Fast)
        yield


class StackError(Exception):
    """Not caught by the decoder, as its own RecursionError is."""


@contextmanager
def store_crashes() -> Iterator[None]:
    """The store's encoding fails on the marker, wherever it is called from."""
    from core.storage.series import days

    real = days.encode_data

    def encode(data: Any) -> bytes:
        if getattr(data, "power_w", None) == POISON:
            raise TypeError("cannot encode")
        return real(data)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(days, "encode_data", encode)
        yield


CRASHES = {"rules": rules_crash, "decoder": decoder_crashes, "store": store_crashes}


@pytest.mark.parametrize("crash", ["decoder", "store"])
def test_what_crashes_when_it_is_read_ahead_is_found_in_its_place(
    works: Works, monkeypatch: pytest.MonkeyPatch, crash: str
) -> None:
    monkeypatch.setattr("collector.feed._READ_ENTRIES", 2)
    works.ahead = frozenset({"series"})
    for power in range(10):
        works.batch(float(power))
    pos = works.batch(10.0, POISON, 11.0)
    for power in range(12, 20):
        works.batch(float(power))
    with CRASHES[crash]():
        works.settle()
        (letter,) = works.letters()
        assert letter["pos"] == pos or letter["source"].startswith("series:")
        assert works.powers() == [float(power) for power in range(20)]


@on_both
def test_an_event_that_crashes_the_rules_is_left_out_and_the_rest_of_its_batch_is_used(
    works: Works,
) -> None:
    works.batch(1.0, 2.0)
    pos = works.batch(3.0, POISON, 4.0)
    works.batch(5.0)
    seen: list[float] = []
    with rules_crash(seen):
        works.settle()
        assert seen[-3:] == [3.0, 4.0, 5.0]
        (letter,) = works.letters()
        assert (letter["pos"], letter["source"]) == (pos, "rules:meter.reading")
        assert letter["reason"] == "crashed rules: KeyError: 'a bug'"
        assert '"power_w":666.0' in letter["raw"]
        assert letter["replayable"]
        assert works.rules.engine.position == works.journal.position
        assert works.counted() == 1
        # The store has it all, so that nothing is lost by the law, and nothing doubled.
        assert works.powers() == [1.0, 2.0, 3.0, POISON, 4.0, 5.0]
        audit = works.audit()
        assert audit.exact, list(audit.problems())
        assert (audit.dead, audit.unfolded) == (0, 1)
        # Whoever folds the log anew leaves out the same.
        with works.records.session() as session:
            log_id = works.journal.epoch
            projection.save_cursor(session, f"rules-snapshot/{log_id}", 0, None)
        before = works.rules.engine.dump()
        works.settle()
        assert works.rules.engine.dump() == before
        assert len(works.letters()) == 1


def test_the_state_that_a_crash_left_half_changed_is_not_gone_on_from(works: Works) -> None:
    for power in (1.0, POISON, 2.0):
        works.batch(power)
    with rules_crash():
        works.settle()
    found = works.rules.engine.dump()
    engine = Engine()
    for entry in entries(works, leave_out={3}):
        engine.apply(entry)
    assert found == engine.dump()


def entries(works: Works, leave_out: set[int]) -> list[LogEntry]:
    """The log as the rules should fold it: the one-event batches there are emptied, not gone."""
    reader = works.journal.reader()
    try:
        raws = reader.read(0)
    finally:
        reader.close()
    from core.contracts.around import read_around

    found = []
    for raw in raws:
        marks = [LeftOut(raw.pos, 0, Stage.USE, "why")] if raw.pos in leave_out else []
        entry = read_around(raw.lane, raw.pos, raw.seq, raw.at, raw.body, marks)
        assert entry is not None
        found.append(entry)
    return found


@on_both
def test_what_crashes_the_decoder_becomes_one_letter_of_all_readers(works: Works) -> None:
    works.batch(1.0)
    pos = works.batch(2.0, POISON, 3.0)
    works.batch(4.0)
    with decoder_crashes():
        works.settle()
        (letter,) = works.letters()
        assert (letter["pos"], letter["index"]) == (pos, 1)
        assert letter["source"] == f"batch/{SITE}/{EDGE}/reading/2"
        assert letter["reason"].startswith("crashed the reading of the log: RecursionError: ")
        assert works.powers() == [1.0, 2.0, 3.0, 4.0]
        audit = works.audit()
        assert audit.exact, list(audit.problems())
        assert (audit.dead, audit.unfolded) == (1, 0)
        assert works.counted() == 1


@on_both
def test_what_crashes_the_store_is_refused_by_it_and_the_rules_have_it(works: Works) -> None:
    works.batch(1.0)
    works.batch(2.0, POISON, 3.0)
    works.append(plain_lane(SITE, "m1"), reading(at=NOW, power_w=POISON))
    works.batch(4.0)
    seen: list[float] = []
    with rules_seen(seen), store_crashes():
        works.settle()
        assert {x["source"] for x in works.letters()} == {"series:meter.reading"}
        assert len(works.letters()) == 2
        assert works.powers() == [1.0, 2.0, 3.0, 4.0]
        assert seen.count(POISON) == 2
        audit = works.audit()
        assert audit.exact, list(audit.problems())
        assert audit.dead == 2


@contextmanager
def rules_seen(seen: list[float]) -> Iterator[None]:
    real = Judge.event

    def event(self: Judge, subject: Any, event: Event, *rest: Any) -> None:
        real(self, subject, event, *rest)
        seen.append(event.data.power_w)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Judge, "event", event)
        yield


def test_what_crashes_beside_its_events_is_left_out_whole(works: Works) -> None:
    works.append(TICK, b"")
    pos = works.batch(1.0, 2.0)
    works.batch(3.0)
    real = Engine.apply

    def apply(self: Engine, entry: LogEntry) -> Any:
        made = real(self, entry)
        if entry.pos == pos:
            raise AssertionError("at its end")
        return made

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Engine, "apply", apply)
        works.settle()
    found = works.letters()
    assert [letter["source"] for letter in found] == ["rules:meter.reading"] * 2
    assert works.powers() == [1.0, 2.0, 3.0]
    assert works.audit().exact


def test_a_timer_that_crashes_is_left_out_and_the_others_of_its_tick_run(works: Works) -> None:
    works.batch(1.0)
    works.clock.ms += 3_600_000
    pos = works.append(TICK, b"", at=works.clock.ms)
    works.append(TICK, b"", at=works.clock.ms + 1000)
    real, ran = Presences.due, []

    def due(self: Presences, subject: Any, *rest: Any) -> None:
        if subject.id == "m1":
            raise ValueError("a timer's bug")
        ran.append(subject.id)
        real(self, subject, *rest)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Presences, "due", due)
        works.settle()
    (letter,) = works.letters()
    assert (letter["pos"], letter["source"]) == (pos, "rules:tick")
    assert letter["reason"] == "crashed rules: ValueError: a timer's bug"
    assert ran[-1] == "m2"


def test_a_tick_that_crashes_the_rules_holds_nothing_up(works: Works) -> None:
    pos = works.append(TICK, b"")
    works.batch(1.0)
    real = Engine._tick

    def tick(self: Engine, entry: TickEntry) -> None:
        if entry.pos == pos:
            raise ZeroDivisionError("no timer in hand")
        real(self, entry)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Engine, "_tick", tick)
        works.settle()
    (letter,) = works.letters()
    assert (letter["source"], letter["replayable"]) == ("rules:tick", False)


@pytest.mark.parametrize("where", ["rules", "decoder", "store"])
def test_an_entry_of_nothing_but_poison_is_given_up_as_a_whole(
    works: Works, where: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("collector.projector._BACKOFF_S", (0.001, 10.0))
    monkeypatch.setattr(caution, "MOST_SINGLE", 3)
    works.batch(*[POISON] * 20)
    works.batch(1.0)
    with CRASHES[where]():
        works.settle()
        assert len(works.letters()) == 20
        audit = works.audit()
        assert audit.exact, list(audit.problems())
        assert (audit.dead, audit.unfolded) == ((0, 20) if where == "rules" else (20, 0))


def test_what_was_a_passing_weakness_leaves_nothing_out(works: Works) -> None:
    works.batch(1.0)
    works.batch(2.0)
    real, faults = Judge.event, [MemoryError("now"), MemoryError("again"), MemoryError("still")]

    def event(self: Judge, *rest: Any) -> None:
        if faults:
            raise faults.pop()
        real(self, *rest)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Judge, "event", event)
        works.start()
        works.await_end()
        (failures,) = [s.failures for s in works.states() if s.name == "rules"]
    works.stop()
    assert works.letters() == []
    assert failures == 3


def test_when_everything_crashes_the_log_is_not_at_fault(
    works: Works, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(caution, "MOST_IN_A_ROW", 3)
    monkeypatch.setattr(caution, "ATTEMPTS", 1)
    for _ in range(10):
        works.append(plain_lane(SITE, "m1"), reading(power_w=1.0))
    monkeypatch.setattr(Judge, "event", lambda *_: 1 / 0)
    works.start()
    rules = next(s for s in works.followers._projectors if s.name == "rules")  # type: ignore[union-attr]
    until(lambda: rules.state().left_out == 3 and rules.state().trouble is not None, 60)
    assert rules.state().position < works.journal.position
    rules.stop()
    works.stop()
    assert len(works.letters()) == 3


def test_a_letter_of_the_rules_is_replayed_without_being_stored_twice(works: Works) -> None:
    works.batch(1.0, POISON)
    with rules_crash():
        works.settle()
    (letter,) = works.letters()
    with works.records.session() as session:
        letters.ask_replay(session, letter["id"], Who("li", NOW), NOW, reason="mended")
    from collector.ingest import Ingest
    from collector.replays import Replays

    ingest = Ingest(works.journal, works.clock, lambda *_: None)
    Replays(works.records, works.journal, works.clock, ingest).step()
    works.settle()
    (letter,) = works.letters()
    assert letter["state"] == "replayed"
    assert works.powers() == [1.0, POISON]
    assert works.audit().exact


@settings(
    max_examples=8, deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)  # fmt: skip
@given(
    layout=st.lists(
        st.lists(st.booleans(), min_size=1, max_size=5), min_size=1, max_size=6
    ),
    where=st.sampled_from(["rules", "decoder", "store"]),
)  # fmt: skip
def test_exactly_the_poison_is_left_out_wherever_it_lies(
    template: Path, layout: list[list[bool]], where: str
) -> None:
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setattr("collector.projector._BACKOFF_S", (0.001, 10.0))
        shutil.copy(template, Path(folder) / "records.sqlite")
        works = Works(Path(folder))
        number, good, bad = 0.0, [], set()
        for items in layout:
            powers = []
            for item in items:
                number += 1
                powers.append(POISON if item else number)
            pos = works.batch(*powers)
            bad |= {(pos, index) for index, item in enumerate(items) if item}
            good += [power for power in powers if power != POISON]
        with CRASHES[where]():
            works.settle()
            assert {(x["pos"], x["index"] % 1000) for x in works.letters()} == bad
            assert len(works.letters()) == len(bad)
            stored = works.powers()
            assert [power for power in stored if power != POISON] == good
            assert len(stored) == len(good) + (len(bad) if where == "rules" else 0)
            audit = works.audit()
            assert audit.exact, list(audit.problems())
        works.close()


# -- deaths -------------------------------------------------------------------------------------


@pytest.mark.crash
@on_both
def test_what_kills_the_process_each_time_is_left_out(works: Works, tmp_path: Path) -> None:
    works.batch(1.0, 2.0)
    pos = works.batch(3.0, POISON, 4.0)
    works.batch(5.0)
    works.append(TICK, b"")
    deaths = 0
    # The series store dies of it, too; each finds it for itself, whoever dies first.
    works.journal.close()
    command = [sys.executable, "-m", "tests.collector.deadly", str(tmp_path)]
    if works.records.dialect == "postgresql":
        command.append(works.settings.records_url)
    while True:
        ended = subprocess.run(command)
        if ended.returncode == 0:
            break
        assert ended.returncode == -signal.SIGKILL
        deaths += 1
        assert deaths <= 12
    works.journal.open()
    assert [(x["pos"], x["source"]) for x in works.letters()] == [
        (pos, "series:meter.reading"), (pos, "rules:meter.reading"),
    ]  # fmt: skip
    assert {x["reason"].split(": ")[1] for x in works.letters()} == {"its process ended"}
    assert works.powers() == [1.0, 2.0, 3.0, 4.0, 5.0]
    audit = works.audit()
    assert audit.exact, list(audit.problems())
    assert (audit.dead, audit.unfolded) == (1, 1)


@pytest.mark.crash
@on_both
def test_what_kills_the_companion_each_time_is_left_out(
    works: Works, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(companion, "_MODULE", "tests.collector.deadly")
    monkeypatch.setattr(companion, "_AGAIN_S", 0.01)
    works.batch(1.0, POISON, 2.0)
    works.batch(3.0)
    attended = companion.Companion(works.settings, ScaledClock(), works.journal, STORES)
    attended.start()
    try:
        until(
            lambda: {s.name: s.position for s in attended.states()}["series"]
            >= works.journal.position, 60,
        )  # fmt: skip
    finally:
        attended.stop()
    (letter,) = works.letters()
    assert letter["source"] == "series:meter.reading"
    assert works.powers() == [1.0, 2.0, 3.0]
    assert sum(state.left_out for state in attended.states()) == 1


# -- the notes ---------------------------------------------------------------------------------


def test_three_failures_and_the_same_place_twice() -> None:
    notes = Notes()
    for tried in (Try(1, 64), Try(7, 7)):
        notes = accused(notes, tried, "why")
    fine = Try(7, 7, is_fine=True, stage=Stage.USE, index=3)
    notes = accused(notes, fine, "why")
    assert (notes.tries, notes.is_guilty) == (3, False)
    elsewhere = accused(notes, Try(7, 7, is_fine=True, stage=Stage.USE, index=4), "why")
    assert not elsewhere.is_guilty
    assert accused(notes, fine, "why").is_guilty
    assert accused(notes, Try(9, 9), "why").tries == 1


def test_a_life_without_a_crash_notes_its_beginning_and_its_end_only(works: Works) -> None:
    kept = []
    real = Notebook.keep

    def keep(self: Notebook, name: str, *rest: Any) -> int:
        kept.append(name)
        return real(self, name, *rest)

    for _ in range(200):
        works.append(TICK, b"")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Notebook, "keep", keep)
        works.settle()
    assert sorted(kept) == ["media"] * 2 + ["rules"] * 2 + ["series"] * 2


def test_a_former_process_that_said_no_farewell_makes_the_next_one_careful(works: Works) -> None:
    notebook = Notebook(works.records, "log", works.clock)
    former = Caution("p", notebook, threading.Event())
    former.open(lambda _: None, 10, lambda *_: [])
    assert not former.step(0).is_noted
    heir = Caution("p", notebook, threading.Event())
    heir.open(lambda _: None, 10, lambda *_: [])
    assert heir.step(0) == (1, True, False)
    with pytest.raises(SystemExit), heir.trying(heir.step(4), 5, 5):
        raise SystemExit
    after = Caution("p", notebook, threading.Event())
    after.open(lambda _: None, 10, lambda *_: [])
    assert after.notes.suspect == Try(5, 5)
    assert after.step(4) == (1, True, True)
    for position in range(5, 11):
        with after.trying(after.step(position - 1), position, position):
            pass
    assert not after.step(10).is_noted
    after.farewell()
    assert notebook.load()["p"] == Notes()
    fresh = Caution("p", notebook, threading.Event())
    fresh.open(lambda _: None, 10, lambda *_: [])
    assert not fresh.step(0).is_noted
