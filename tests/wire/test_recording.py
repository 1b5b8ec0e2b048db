"""Recordings: what a broker passed on comes back as it was, and, made new, into a collector."""

from __future__ import annotations

import asyncio
import gzip
import threading
from pathlib import Path

import msgspec
import pytest

from core.contracts import topics
from core.contracts.batch import decode_batch, decode_envelope, envelope, seal
from core.contracts.errors import EstateError
from core.contracts.events import Lane
from core.runtime.link import Link, LinkOptions, Message
from core.runtime.settings import BrokerSettings
from simulators.recording.record import Recording
from simulators.recording.replay import Afresh, Replay
from simulators.recording.tape import Recorded, TapeError, TapeWriter, read
from tests.servers import Server, mosquitto_server
from tests.wire.harness import CLOCK, Collector, SyntheticEdge, run, until

pytestmark = pytest.mark.mosquitto

MESSAGES = [
    Recorded(0, "any/thing", b'{"a": 1}'),
    Recorded(5, "any/picture", b"\xff\xd8\x00\x01", properties=(("media", "m1"), ("seq", "4"))),
    Recorded(9, "any/empty", b""),
    Recorded(12, "any/text", "楼道".encode()),
]


class Taping:
    """A recording in a thread, stopped when it has enough."""

    def __init__(self, broker: BrokerSettings, path: Path, topic_filter: str = "#") -> None:
        self.recording = Recording(broker, path, CLOCK, topic_filter=topic_filter)
        self.thread = threading.Thread(target=self.recording.run)
        self.thread.start()

    def stop(self) -> None:
        self.recording.stop()
        self.thread.join(10)
        assert not self.thread.is_alive()


def test_a_tape_gives_back_what_it_was_given(tmp_path: Path) -> None:
    path = tmp_path / "a.tape.gz"
    with TapeWriter(path, 1) as tape:
        for message in MESSAGES:
            tape.add(message)
    assert list(read(path)) == MESSAGES
    with pytest.raises(TapeError, match="exists"):
        TapeWriter(path, 1)


def test_a_tape_that_was_cut_off_ends_where_it_was_cut(tmp_path: Path) -> None:
    path = tmp_path / "a.tape.gz"
    with TapeWriter(path, 1) as tape:
        for message in MESSAGES * 200:
            tape.add(message)
            tape.flush()
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) * 2 // 3])
    found = list(read(path))
    assert 100 < len(found) < 800
    assert found == (MESSAGES * 200)[: len(found)]


def test_a_file_that_is_none_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x.gz").write_bytes(gzip.compress(b'{"format": "other"}\n'))
    (tmp_path / "y.gz").write_bytes(b"no gzip at all")
    for name in ("x.gz", "y.gz", "missing.gz"):
        with pytest.raises(TapeError):
            list(read(tmp_path / name))


def test_a_brokers_traffic_comes_back_with_its_pauses(mosquitto: Server, tmp_path: Path) -> None:
    broker = BrokerSettings(port=mosquitto.port)
    path, again = tmp_path / "a.tape.gz", tmp_path / "b.tape.gz"
    with TapeWriter(path, 1) as tape:
        for message in MESSAGES:
            tape.add(Recorded(message.t * 20, "rec/" + message.topic, message.payload,
                              message.retained, message.properties))  # fmt: skip

    async def main() -> None:
        heard: list[Message] = []
        link = Link(broker, LinkOptions("listens"))
        link.subscribe("rec/#", heard.append)
        link.start()
        await until(lambda: link.connected, "the listener listens")
        taping = Taping(broker, again, "rec/#")
        probe = Link(broker, LinkOptions("probes"))
        probe.start()
        # The first message that both hear says that the recording has begun.
        while not taping.recording.seen or not heard:
            await asyncio.sleep(0.05)
            probe.publish("rec/probe", b"")
        heard.clear()
        await asyncio.to_thread(Replay(broker, path, CLOCK).run)
        await until(lambda: len([m for m in heard if m.topic != "rec/probe"]) == 4, "all four")
        await asyncio.sleep(0.2)
        await asyncio.to_thread(taping.stop)
        for each in (link, probe):
            await asyncio.to_thread(each.stop)

    run(main())
    found = [m for m in read(again) if m.topic != "rec/probe"]
    assert [(m.topic, m.payload, m.properties) for m in found] == [
        ("rec/" + m.topic, m.payload, m.properties) for m in MESSAGES
    ]
    assert 150 < found[-1].t - found[0].t < 2_000


def test_recorded_batches_made_new_are_stored_by_a_collector(tmp_path: Path) -> None:
    """A recording that begins in the middle, replayed beside another collector's past."""
    path = tmp_path / "edge.tape.gz"

    async def main(first: Server, second: Server) -> None:
        collector, edge = Collector(tmp_path / "1", first), SyntheticEdge(tmp_path, first)
        await collector.start()
        await edge.start()
        await edge.emit_many(400)
        await until(edge.drained, "what was before the recording is over")
        taping = Taping(BrokerSettings(port=first.port), path, "estate/v1/#")
        await until(lambda: taping.recording.seen > 0, "it records")
        await asyncio.sleep(0.5)
        await edge.emit_many(600, seed=2)
        await until(edge.drained, "all is receipted")
        await asyncio.sleep(0.3)
        await asyncio.to_thread(taping.stop)
        await edge.stop()
        await collector.stop()

        other = Collector(tmp_path / "2", second)
        await other.start()
        for count in (1, 2):
            replay = Replay(BrokerSettings(port=second.port), path, CLOCK, speed=None, afresh=True)
            published = await asyncio.to_thread(replay.run)
            assert published > 10
            assert replay.left_out > 0, "receipts and statuses of the recorded collector"
            await until(
                lambda n=count: sum(other.logged("meter.reading", "device.health",
                                                 "access.granted").values()) == 600 * n,
                f"replay {count} is logged",
            )  # fmt: skip
        await other.settle()
        await other.stop()

    (tmp_path / "1").mkdir()
    (tmp_path / "2").mkdir()
    with mosquitto_server(tmp_path / "1") as first, mosquitto_server(tmp_path / "2") as second:
        run(main(first, second), 90)


def payload_of(message: Recorded | None) -> bytes:
    assert message is not None
    return message.payload


def test_afresh_renames_epochs_counts_from_one_and_moves_all_times() -> None:
    payload = (
        b'{"edge":"e1","epoch":"epoch-before","lane":"event","seq":41,"oldest":39,'
        b'"sealed_at":1000,"events":[{"kind":"access.door","device":"d","at":900,"seen":950,'
        b'"data":{"open":true}}]}'
    )
    afresh = Afresh(500_000)
    topic = topics.batch("s", "e1")
    batch = decode_batch(payload_of(afresh.remake(Recorded(0, topic, payload))))
    assert (batch.seq, batch.oldest, batch.sealed_at) == (1, 1, 500_000)
    assert batch.epoch != "epoch-before"
    assert (batch.events[0][1].at, batch.events[0][1].seen) == (499_900, 499_950)
    later = payload.replace(b'"seq":41', b'"seq":42').replace(b'"oldest":39', b'"oldest":42')
    follows = decode_batch(payload_of(afresh.remake(Recorded(0, topic, later))))
    assert (follows.epoch, follows.seq, follows.oldest) == (batch.epoch, 2, 2)
    birth = b'{"online":true,"edge":"e1","epoch":"epoch-before","clock":2000,"lanes":{"event":'
    birth += b'{"oldest":39,"last":41}}}'
    status = msgspec.json.decode(
        payload_of(afresh.remake(Recorded(0, topics.status("s", "e1"), birth)))
    )
    assert status["epoch"] == batch.epoch
    assert status["clock"] == 501_000
    garbage = Recorded(0, topic, b"no json")
    assert afresh.remake(garbage) == garbage, "what cannot be read is passed on as it is"


def test_what_lies_before_the_recordings_first_batch_is_left_out() -> None:
    body = seal([b'{"kind":"access.granted","device":"d","at":1,"seen":1,"data":{}}'], 1)
    afresh = Afresh(1_767_225_600_000)

    def remade(seq: int) -> int | None:
        payload = envelope("e", "epoch-0001", Lane.EVENT, seq, 40, body)
        made = afresh.remake(Recorded(0, topics.batch("s", "e"), payload))
        return None if made is None else decode_envelope(made.payload).seq

    assert [remade(seq) for seq in (50, 51, 45, 50)] == [1, 2, None, 1]


def test_a_message_longer_than_a_line_may_be_is_told(tmp_path: Path) -> None:
    path = tmp_path / "long.tape.gz"
    with TapeWriter(path, 1) as tape:
        tape.add(Recorded(0, "t", b"\x00" * (6 << 20)))
        tape.add(MESSAGES[0])
    with pytest.raises(TapeError, match="longer"):
        list(read(path))


def test_a_broker_that_is_not_there_is_told(tmp_path: Path) -> None:
    path = tmp_path / "a.tape.gz"
    with TapeWriter(path, 1) as tape:
        tape.add(MESSAGES[0])
    with pytest.raises(EstateError, match="broker"):
        Replay(BrokerSettings(port=1), path, CLOCK, patience_s=0.3).run()
