"""A collector does not listen on a broker that lets edges speak for each other."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path

import pytest

from collector.app import CollectorApp
from core.runtime.canary import ExposedBrokerError, examine, is_wanted
from core.runtime.settings import BrokerSettings
from tests.broker.harness import TWO_EDGES, Secured, secured
from tests.servers import HOST
from tests.wire.harness import CLOCK, Collector, run, until

pytestmark = pytest.mark.mosquitto

#: What somebody may have taken out of the configuration.
NO_LIST = ("acl_file", "#acl_file")
NO_CERTIFICATE = ("require_certificate true\nuse_identity_as_username true", "")


class Started(Collector):
    """A collector with the settings that the command writes, and what it reports when it fails."""

    def __init__(self, folder: Path, broker: Secured, **changes: object) -> None:
        super().__init__(folder, broker.server, "gw-7")
        house = broker.settings("parts/collector").model_copy(update=changes)
        self.settings = self.settings.model_copy(update={"broker": house})
        self.failures: list[BaseException] = []
        self.failed = threading.Event()

    async def start(self) -> None:
        self.app = CollectorApp(
            self.settings, CLOCK, activation=self.activation, on_failure=self._note
        )
        await self.app.start()

    def _note(self, error: BaseException) -> None:
        self.failures.append(error)
        self.failed.set()


def test_a_broker_without_access_list_is_refused(tmp_path: Path) -> None:
    async def main() -> None:
        with secured(tmp_path, *TWO_EDGES, edit=NO_LIST) as broker:
            collector = Started(tmp_path, broker)
            with pytest.raises(ExposedBrokerError, match=r"estate broker-config.*broker\.canary"):
                await collector.start()
            assert collector.failures == [], "it is told once"
            careless = Started(tmp_path, broker, canary=False)
            await careless.start()
            await until(lambda: careless.app.connected, "it was told to listen all the same")
            await careless.stop()

    run(main())


def test_an_edge_that_could_speak_for_all_is_found(tmp_path: Path) -> None:
    with secured(tmp_path, *TWO_EDGES) as broker:
        collector = broker.settings("parts/collector")
        examine(collector, "collector")  # as it was written, it is in order
        wide = "user canary:canary\ntopic write estate/v1/+/+/batch\n"
        acl = broker.folder / "broker" / "acl"
        acl.write_text(acl.read_text().replace("user canary:canary\n", wide))
        broker.server.stop()
        broker.server.start()
        with pytest.raises(ExposedBrokerError, match="canary_cert_file"):
            examine(collector, "collector")


def test_a_broker_that_takes_names_without_certificates_is_refused(tmp_path: Path) -> None:
    with secured(tmp_path, *TWO_EDGES) as broker:
        conf = broker.folder / "broker" / "mosquitto.conf"
        field, house = conf.read_text().split("# Collector, API", 1)
        field = field.replace(*NO_CERTIFICATE).replace("use_username_as_clientid true\n", "")
        field = field.replace("allow_anonymous false", "allow_anonymous true")
        conf.write_text(f"{field}# Collector, API{house}")
        broker.server.stop()
        broker.server.start()
        with pytest.raises(ExposedBrokerError, match="who has no certificate"):
            examine(broker.settings("parts/collector"), "collector")


def test_a_broker_that_is_away_is_tried_when_it_is_there(tmp_path: Path) -> None:
    async def main() -> None:
        with secured(tmp_path, *TWO_EDGES, edit=NO_LIST) as broker:
            broker.server.stop()
            collector = Started(tmp_path, broker)
            await asyncio.wait_for(collector.start(), 20)
            assert not collector.app.connected
            broker.server.start()
            assert await asyncio.to_thread(collector.failed.wait, 20)
            assert isinstance(collector.failures[0], ExposedBrokerError)
            assert not collector.app.connected, "it has not listened for a moment"
            await collector.stop()

    run(main())


def test_brokers_for_one_machine_are_not_tried() -> None:
    assert not is_wanted(BrokerSettings())
    assert not is_wanted(BrokerSettings(embedded=False, host=HOST))
    assert not is_wanted(BrokerSettings(embedded=False, host="broker.lan"))
    pair = {"ca_file": Path("ca"), "cert_file": Path("cert"), "key_file": Path("key")}
    assert is_wanted(BrokerSettings.model_validate({"embedded": False, **pair}))
