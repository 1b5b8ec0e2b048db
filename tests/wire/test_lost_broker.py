"""The collector loses a real broker: who is blamed for it, and who is not when it is back."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pytest
from sqlalchemy import text

from core.contracts.log import Activation
from core.runtime.link import LinkOptions
from core.storage.records.devices import list_devices
from rules.builtin import builtin
from tests.servers import Server, mosquitto_server
from tests.wire.harness import SITE, Collector, SyntheticEdge, run, topology, until

pytestmark = pytest.mark.mosquitto

Said = tuple[str, str | None]
EDGES = ("e-one", "e-two")


class Site:
    """A collector, two edges, and a device behind each; the built-in rules."""

    def __init__(self, folder: Path, broker: Server) -> None:
        self.broker = broker
        self.collector = Collector(folder, broker)
        raw = topology(EDGES[0], "m-one")
        other = topology(EDGES[1], "m-two")
        raw["edges"] += other["edges"]
        raw["devices"] += other["devices"]
        self.collector.activation = Activation(topology=raw, rules=dict(builtin()))
        self.edges = [SyntheticEdge(folder, broker, edge) for edge in EDGES]

    async def start(self) -> None:
        await self.collector.start()
        for edge in self.edges:
            await edge.start()
        await until(lambda: all(edge.uplink.heard for edge in self.edges), "heard")
        await self.speak(*self.edges)
        await until(lambda: self.presences() == {("online", None)}, "all are online")

    async def speak(self, *edges: SyntheticEdge) -> None:
        for edge in edges:
            device = {"e-one": "m-one", "e-two": "m-two"}[edge.edge]
            await edge.outbox.emit("meter.reading", device, {"medium": "electricity"})

    async def stop(self) -> None:
        for edge in self.edges:
            await edge.stop()
        await self.collector.stop()

    def of(self, device: str) -> Said:
        with self.collector.app.records.reading() as session:
            (found,) = (d for d in list_devices(session).items if d["id"] == device)
        return found["presence"], found["cause"]

    def presences(self) -> set[Said]:
        return {self.of("m-one"), self.of("m-two")}

    def colour(self) -> str:
        with self.collector.app.records.reading() as session:
            asked = text("SELECT colour FROM node_colour WHERE node = :node")
            return str(session.execute(asked, {"node": SITE}).scalar_one())

    def rules_told(self) -> set[str]:
        with self.collector.app.records.reading() as session:
            return set(session.execute(text("SELECT rule FROM alert")).scalars())


def test_a_frozen_broker_is_to_blame_and_nobody_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hasty = partial(LinkOptions, keepalive_s=1, backoff_s=(0.1, 0.5))
    monkeypatch.setattr("collector.station.LinkOptions", hasty)

    async def main() -> None:
        with mosquitto_server(tmp_path) as broker:
            site = Site(tmp_path, broker)
            await site.start()
            broker.freeze()
            await until(lambda: site.presences() == {("offline", "broker")}, "the silence is told")
            await until(lambda: site.colour() == "grey", "nothing is known: grey")
            broker.thaw()
            await until(lambda: site.presences() == {("unknown", None)}, "the edges are back")
            await site.speak(*site.edges)
            await until(lambda: site.presences() == {("online", None)}, "and heard")
            assert not site.rules_told() & {"edge-offline", "device-silent"}
            await site.stop()

    run(main())


def test_an_edge_that_does_not_follow_a_killed_broker_is_to_blame_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def main() -> None:
        with mosquitto_server(tmp_path) as broker:
            site = Site(tmp_path, broker)
            await site.start()
            one, two = site.edges
            broker.kill()
            await until(lambda: site.presences() == {("offline", "broker")}, "the loss is told")
            await two.stop()
            monkeypatch.setattr("collector.edges.RETURN_S", 3.0)
            broker.start()
            await until(lambda: site.of("m-two") == ("offline", "edge"), "it had its time")
            await until(lambda: site.of("m-one")[0] == "unknown", "the other has followed")
            await site.speak(one)
            await until(lambda: site.of("m-one") == ("online", None), "and is heard")
            site.edges.remove(two)
            await site.stop()

    run(main())
