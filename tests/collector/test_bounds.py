"""What comes again and again, or under ever new names, does not grow the collector."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from collector import repeats, streams
from collector.ingest import Ingest
from core.contracts.batch import EdgeStatus, Receipt, envelope, seal
from core.contracts.codec import encode
from core.contracts.events import Lane
from core.runtime.link import Message
from core.storage.journal import Journal, OnFull
from estate.audit import Audit
from tests.collector.office import EDGE, NOW, SITE, FakeClock, Office, batch, reading


class Gate:
    """An ingest over a journal, and the receipts that it gave."""

    def __init__(self, folder: Path) -> None:
        self.clock = FakeClock()
        self.journal = Journal(
            folder / "log.sqlite", owner="c", budget=1 << 30, on_full=OnFull.REFUSE
        )
        self.journal.open()
        self.receipts: list[Receipt] = []
        self.start()

    def start(self) -> None:
        self.ingest = Ingest(
            self.journal, self.clock, lambda _site, _edge, r, _: self.receipts.append(r),
            known=frozenset({EDGE}),
        )  # fmt: skip
        self.ingest.start()

    def settle(self) -> None:
        """Let it decide on all that has arrived; what the journal answered comes after it."""
        self.ingest.stop()
        counts = self.ingest.counts
        self.start()
        self.ingest.counts.update(counts)

    def arrives(self, payload: bytes, edge: str = EDGE, part: str = "batch") -> None:
        topic = f"estate/v1/{SITE}/{edge}/{part}"
        message = Message(topic, payload, retained=False, properties=[], ack=lambda: None)
        ways = {
            "batch": self.ingest.on_batch,
            "status": self.ingest.on_status,
            "event": self.ingest.on_plain,
        }
        ways[part](message)
        self.settle()

    def close(self) -> None:
        self.ingest.stop()
        self.journal.close()


@pytest.fixture
def gate(tmp_path: Path) -> Iterator[Gate]:
    gate = Gate(tmp_path)
    yield gate
    gate.close()


def of_epoch(epoch: str, edge: str = EDGE, seq: int = 1) -> bytes:
    return envelope(edge, epoch, Lane.READING, seq, seq, seal([reading()], NOW))


def test_the_same_unreadable_bytes_are_one_letter(gate: Gate) -> None:
    for _ in range(3):
        gate.arrives(b"{not json")
    assert gate.journal.last_seqs() == {"unreadable": 1}
    assert gate.ingest.counts["unreadable"] == 1
    assert gate.ingest.counts["unreadable_again"] == 2  # also of a new process
    gate.arrives(b"{not json", edge="edge-2")
    gate.arrives(b"{not json either")
    assert gate.journal.last_seqs() == {"unreadable": 3}


def test_the_memory_of_what_was_refused_is_bounded(
    gate: Gate, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(repeats, "_MOST", 2)
    monkeypatch.setattr(repeats, "_RESTORED", 2)
    for text in (b"{1", b"{2", b"{3", b"{1"):
        gate.arrives(text)
    assert gate.journal.last_seqs() == {"unreadable": 4}


def test_a_batch_that_its_edge_has_damaged_does_not_hold_up_its_lane(tmp_path: Path) -> None:
    office = Office(tmp_path)
    damaged = batch(reading(), seq=1).replace(b'"kind":', b'"kind\xff', 1)
    office.batch(damaged)
    assert not any("batch" in lane for lane in office.journal.last_seqs())
    office.batch(damaged)  # no receipt, so it came again
    office.batch(batch(reading(at=NOW + 1), seq=2))
    lane = f"batch/{SITE}/{EDGE}"
    assert [last for name, last in office.journal.last_seqs().items() if lane in name] == [2]
    office.fold()
    assert office.stored() == 1
    assert {letter["source"].partition("/")[0] for letter in office.letters()} == {
        "estate", "batch",
    }  # fmt: skip
    from core.storage.series import open_reader
    from estate.audit import audit_of

    reader = open_reader(office.settings)
    audit: Audit = audit_of(tmp_path / "collector.sqlite", [], reader, office.records)
    reader.close()
    assert audit.exact, list(audit.problems())
    office.close()


def test_an_abandoned_epoch_is_forgotten_when_the_log_has_nothing_of_it(
    gate: Gate, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(streams, "MOST_EPOCHS", 2)
    for number in (1, 2, 3):
        gate.arrives(of_epoch(f"epoch-000{number}"))
    lanes = [name.split("/")[3] for name in gate.journal.last_seqs()]
    assert lanes == ["epoch-0001", "epoch-0002"]
    assert gate.ingest.counts["beyond_bound"] == 1
    assert not any(receipt.epoch == "epoch-0003" for receipt in gate.receipts)
    gate.journal.advance("reader", gate.journal.position).result()
    gate.journal.retain(NOW + 1).result()
    gate.arrives(of_epoch("epoch-0003"))
    lanes = [name.split("/")[3] for name in gate.journal.last_seqs()]
    assert lanes == ["epoch-0002", "epoch-0003"]
    # What is still remembered is answered as ever, though the log has nothing of it.
    gate.arrives(of_epoch("epoch-0002"))
    assert gate.receipts[-1] == Receipt(EDGE, "epoch-0002", {"reading": 1})


def test_strangers_beyond_the_bound_are_refused_and_counted(
    gate: Gate, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(streams, "MOST_STRANGERS", 2)
    for name in ("s-1", "s-2", "s-3", "s-1"):
        gate.arrives(of_epoch("epoch-0001", name), name)
    status = EdgeStatus(online=True, edge="s-4", epoch="epoch-0001", clock=NOW)
    gate.arrives(encode(status), "s-4", "status")
    assert gate.ingest.counts["beyond_bound"] == 2
    gate.arrives(of_epoch("epoch-0001"))  # the topology names it
    senders = [name.split("/")[2] for name in gate.journal.last_seqs()]
    assert senders == ["s-1", "s-2", EDGE]


def test_strangers_that_only_say_that_they_are_there_are_bounded_too(
    gate: Gate, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(streams, "MOST_STRANGERS", 2)
    for name in ("s-1", "s-2", "s-3"):
        status = EdgeStatus(online=True, edge=name, epoch="epoch-0001", clock=NOW)
        gate.arrives(encode(status), name, "status")
    assert sorted(gate.journal.last_seqs()) == [f"control/{SITE}/s-{n}" for n in (1, 2)]
    assert gate.ingest.counts["beyond_bound"] == 1


def test_devices_without_an_edge_beyond_the_bound_become_letters(
    gate: Gate, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(streams, "MOST_PLAIN", 1)
    for name in ("m1", "m2", "m1"):
        gate.arrives(reading(name), name, "event")
    assert gate.journal.last_seqs() == {f"plain/{SITE}/m1": 2, "unreadable": 1}


def test_a_lane_that_holds_something_is_not_forgotten(gate: Gate) -> None:
    gate.arrives(of_epoch("epoch-0001"))
    (name,) = gate.journal.last_seqs()
    assert not gate.journal.forget(name, "no such lane").result()
    assert gate.journal.last_seqs() == {name: 1}
