"""What the generated access list allows and forbids, on a real mosquitto with TLS."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Iterator
from pathlib import Path

import pytest

from core.contracts import topics
from core.runtime.settings import BrokerSettings
from estate.doctor import examine
from tests.broker.harness import (
    NOT_AUTHORIZED,
    TWO_EDGES,
    Client,
    Secured,
    broker_config,
    secured,
)
from tests.servers import HOST
from tests.wire.harness import SITE, Collector, SyntheticEdge, run, until

pytestmark = pytest.mark.mosquitto

EDGE, OTHER, DEVICE = (SITE, "gw-7"), (SITE, "gw-8"), (SITE, "meter-9")
TOPICS = {
    "own batch": topics.batch(*EDGE),
    "own status": topics.status(*EDGE),
    "own reply": topics.reply(*EDGE),
    "own receipt": topics.receipt(*EDGE),
    "own command": topics.command(*EDGE),
    "own event": topics.plain_event(*EDGE),
    "other's batch": topics.batch(*OTHER),
    "other's status": topics.status(*OTHER),
    "other's receipt": topics.receipt(*OTHER),
    "other's command": topics.command(*OTHER),
    "a device's event": topics.plain_event(*DEVICE),
    "other site's batch": topics.batch("other-site", "gw-7"),
    "collector": topics.COLLECTOR_STATUS,
    "alert": topics.alert(SITE, "a-1"),
    "colour": topics.colour(SITE),
    "elsewhere": "elsewhere",
}
BATCHES = {"own batch", "other's batch", "other site's batch"}
STATUS = {"own status", "other's status"}
EVENTS = {"own event", "a device's event"}
REPLIES = {"own reply"}
RECEIPTS = {"own receipt", "other's receipt"}
COMMANDS = {"own command", "other's command"}
#: For each folder: what it may publish, and what it may hear. Nothing else.
MAY = {
    "edges/gw-7": (
        {"own batch", "own status", "own reply"},
        {"own receipt", "own command", "collector"},
    ),
    "devices/meter-9": ({"a device's event"}, set[str]()),
    "parts/collector": (
        RECEIPTS | {"collector", "alert", "colour"},
        BATCHES | STATUS | EVENTS | {"collector"},
    ),
    "parts/api": (COMMANDS, REPLIES | {"alert", "colour", "collector"}),
    "parts/operator": (COMMANDS, REPLIES | {"collector"}),
    "observers/cockpit": (set[str](), {"alert", "colour", "collector"}),
    "simulators/street": (BATCHES | STATUS | EVENTS, RECEIPTS | {"collector"}),
}


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Secured]:
    tmp = tmp_path_factory.mktemp("secured")
    with secured(tmp, *TWO_EDGES, "--observer", "cockpit", "--simulator", "street") as running:
        yield running


@pytest.mark.parametrize("place", MAY)
def test_whoever_publishes_can_only_speak_as_itself(broker: Secured, place: str) -> None:
    with broker.client(place) as client:
        refused = {name: client.refusal(topic) for name, topic in TOPICS.items()}
    taken = {name for name, code in refused.items() if code is None}
    assert taken == MAY[place][0]
    assert {code for code in refused.values() if code is not None} == {NOT_AUTHORIZED}


@pytest.mark.parametrize("place", MAY)
def test_whoever_subscribes_to_everything_hears_only_its_own(broker: Secured, place: str) -> None:
    said: set[str] = set()
    with broker.client(place, "listens", hears="#") as listener:
        for writer, (writes, _) in MAY.items():
            if writer != place:
                with broker.client(writer, "says") as client:
                    for name in writes - said:
                        assert client.refusal(TOPICS[name]) is None
                said |= writes
        # Its answer comes behind whatever the broker had for the listener.
        assert listener.refusal("elsewhere") == NOT_AUTHORIZED
        heard = {message.topic for message in listener.heard}
    assert heard == {TOPICS[name] for name in MAY[place][1] & said}


@pytest.mark.parametrize("place", ["parts/collector", "parts/api", "parts/operator"])
def test_the_doctor_sees_the_collector_with_each_parts_settings(
    broker: Secured, tmp_path: Path, place: str
) -> None:
    async def main() -> None:
        collector = Collector(tmp_path, broker.server, "gw-7")
        own = collector.settings.model_copy(update={"broker": broker.settings("parts/collector")})
        collector.settings = own
        await collector.start()
        try:
            await until(lambda: collector.app.connected, "the collector is connected")
            seen = own.model_copy(update={"broker": broker.settings(place)})
            findings = await asyncio.to_thread(examine, seen)
            (finding,) = [finding for finding in findings if finding.part == "broker"]
            assert finding.ok, (finding.text, finding.remedy)
        finally:
            await collector.stop()

    run(main())


def test_no_client_id_throws_another_out(broker: Secured) -> None:
    with (
        Client(broker.settings("edges/gw-7"), f"edge:{SITE}:gw-7") as edge,
        Client(broker.settings("parts/collector"), "collector") as collector,
    ):
        assert edge.link.wait_connected(5)
        assert collector.link.wait_connected(5)
        for wanted in (f"edge:{SITE}:gw-7", "gw-7", "collector", "part:collector"):
            with broker.client("edges/gw-8", wanted) as thief:
                assert thief.refusal(topics.batch(*EDGE)) == NOT_AUTHORIZED
        assert edge.refusal(topics.batch(*EDGE)) is None
        assert collector.refusal(topics.COLLECTOR_STATUS) is None
        assert (edge.link.connections, collector.link.connections) == (1, 1)


def test_a_certificate_of_the_field_is_not_taken_at_the_houses_port(broker: Secured) -> None:
    house = broker.settings("parts/collector")
    thief = broker.settings("edges/gw-8").model_copy(update={"port": house.port})
    with Client(thief, "collector") as client:
        assert client.is_turned_away()


def test_a_last_will_cannot_speak_for_another(broker: Secured) -> None:
    with broker.client("parts/collector", "hears", hears=topics.ALL_STATUS) as hears:
        dies = Client(broker.settings("edges/gw-8"), will=topics.status(*EDGE))
        with dies, broker.client("edges/gw-8"):  # the same name: the first one is thrown out
            assert dies.link.wait_connected(5)
        with broker.client("edges/gw-7") as edge:
            assert edge.refusal(topics.status(*EDGE), b"the end") is None
        run(until(lambda: any(m.payload == b"the end" for m in hears.heard), "the end"))
        assert b"a will" not in {message.payload for message in hears.heard}


def test_without_tls_nobody_is_let_in(broker: Secured) -> None:
    for place in ("edges/gw-7", "parts/collector"):
        port = broker.settings(place).port
        with Client(BrokerSettings(embedded=False, host=HOST, port=port)) as client:
            assert client.is_turned_away()


def test_without_or_with_a_foreign_certificate_nobody_is_let_in(
    broker: Secured, tmp_path: Path
) -> None:
    broker_config(tmp_path / "forged", "--host", HOST, *TWO_EDGES)
    for place in ("edges/gw-7", "parts/collector"):
        own = broker.settings(place)
        bare = own.model_copy(update={"cert_file": None, "key_file": None})
        forged = tmp_path / "forged" / place
        pair = {"cert_file": forged / "cert.pem", "key_file": forged / "key.pem"}
        for broken in (bare, own.model_copy(update=pair)):
            with Client(broken) as client:
                assert client.is_turned_away()


def test_an_edge_does_not_speak_to_a_broker_that_is_not_ours(
    broker: Secured, tmp_path: Path
) -> None:
    broker_config(tmp_path / "foreign", "--host", HOST, *TWO_EDGES)
    ca = tmp_path / "foreign" / "edges" / "gw-7" / "ca.pem"
    own = broker.settings("edges/gw-7")
    with Client(own.model_copy(update={"ca_file": ca})) as client:
        assert client.is_turned_away()
    with Client(own.model_copy(update={"host": "localhost"})) as client:
        assert client.is_turned_away(), "the certificate is for another host"


def test_what_is_longer_than_the_wire_allows_is_not_taken(broker: Secured) -> None:
    with broker.client("parts/collector", "hears", hears=topics.ALL_BATCHES) as hears:
        with broker.client("edges/gw-7") as edge:
            sent = edge.link.publish(topics.batch(*EDGE), bytes((1 << 20) + 1))
            assert sent.exception(5) is not None
        with broker.client("edges/gw-8") as other:
            assert other.refusal(topics.batch(*OTHER), b"the end") is None
        run(until(lambda: bool(hears.heard), "the end"))
        assert [message.payload for message in hears.heard] == [b"the end"]


def test_an_edge_and_a_collector_work_and_nothing_foreign_is_stored(
    broker: Secured, tmp_path: Path
) -> None:
    async def main() -> None:
        collector = Collector(tmp_path, broker.server, "gw-7")
        house = broker.settings("parts/collector")
        assert house.canary
        collector.settings = collector.settings.model_copy(update={"broker": house})
        edge = SyntheticEdge(tmp_path, broker.server, "gw-7")
        edge.broker = broker.settings("edges/gw-7")
        await collector.start()
        await edge.start()
        await edge.emit_many(300)
        await until(edge.drained, "everything is receipted")
        assert sum(collector.logged("meter.reading", "device.health", "access.granted").values()) \
            == 300  # fmt: skip
        with broker.client("devices/meter-9") as device:
            body = b'{"kind": "meter.reading", "id": "plain", "data": {"medium": "water"}}'
            assert device.refusal(topics.plain_event(*DEVICE), body) is None
            await until(
                lambda: ("meter.reading", "plain") in collector.logged(), "the plain event is kept"
            )
            reader = collector.app.journal.reader()
            before = reader.last_position()
            for topic in TOPICS.values():
                if topic != topics.plain_event(*DEVICE):
                    assert device.refusal(topic, body) == NOT_AUTHORIZED
        await edge.emit_many(10)
        await until(edge.drained, "the edge goes on")
        families = {entry.lane.split("/")[0] for entry in reader.read(before)}
        reader.close()
        assert collector.logged("edge.offline") == {}, "what was refused to one cut nobody else off"
        assert families <= {"batch", "control", "tick"}, "nothing foreign, not even as unreadable"
        assert collector.app.counts().ingest.get("unreadable", 0) == 0
        await edge.stop()
        await collector.stop()

    run(main())


def test_who_is_revoked_loses_its_rights_at_once_and_stays_out(tmp_path: Path) -> None:
    async def main() -> None:
        with secured(tmp_path, *TWO_EDGES) as broker, broker.client("edges/gw-7") as kept:
            with broker.client("edges/gw-8") as lost:
                assert lost.refusal(topics.batch(*OTHER)) is None
                broker.reconfigure("--revoke", "gw-8")
                await until(
                    lambda: (
                        not lost.link.connected
                        or lost.refusal(topics.batch(*OTHER)) == NOT_AUTHORIZED
                    ),
                    "a connection that stands has no rights any more",
                )
            with Client(broker.settings("edges/gw-8")) as lost:
                assert await asyncio.to_thread(lost.is_turned_away)
            assert kept.refusal(topics.batch(*EDGE)) is None
            assert kept.link.connections == 1
            stolen = tmp_path / "stolen.pem", tmp_path / "stolen.key"
            for name, target in zip(("cert.pem", "key.pem"), stolen, strict=True):
                (broker.folder / "edges" / "gw-8" / name).rename(target)
            broker.reconfigure("--renew", "gw-8", "--renew", "broker")
            address = HOST, broker.settings("edges/gw-8").port
            new = (broker.folder / "broker" / "server.pem").read_text()
            await until(
                lambda: ssl.get_server_certificate(address).split() == new.split(),
                "the broker shows its new certificate",
            )
            with Client(broker.settings("edges/gw-8")) as back:
                await until(lambda: back.link.connected, "a new certificate is taken")
                await until(
                    lambda: back.refusal(topics.batch(*OTHER)) is None, "it has its rights again"
                )
            old = broker.settings("edges/gw-8").model_copy(
                update={"cert_file": stolen[0], "key_file": stolen[1]}
            )
            with Client(old) as thief:
                assert await asyncio.to_thread(thief.is_turned_away)

    run(main())
