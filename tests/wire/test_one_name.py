"""Of two collectors with one name the second is refused before the broker could prefer it."""

from __future__ import annotations

from pathlib import Path

import pytest

from collector.shared_app import SharedCollectorApp
from core.contracts.errors import InUseError
from core.contracts.log import Activation
from core.runtime.settings import BrokerSettings, CollectorSettings, RecordsSettings, Settings
from tests.servers import Server
from tests.wire.harness import CLOCK, run, topology, until

pytestmark = pytest.mark.mosquitto


def collector(folder: Path, broker: Server, name: str) -> SharedCollectorApp:
    """Over the same records; nobody looks at the series store, which is not there."""
    settings = Settings(
        data=folder / name,
        broker=BrokerSettings(port=broker.port),
        records=RecordsSettings(url=f"sqlite:///{folder / 'records.sqlite'}"),
        collector=CollectorSettings(shared=True, name="north", lease_s=2),
    )
    return SharedCollectorApp(
        settings, CLOCK, activation=Activation(topology=topology("edge-1"), rules={})
    )


def test_the_lease_decides_before_the_broker_does(mosquitto: Server, tmp_path: Path) -> None:
    async def main() -> None:
        first, second = (collector(tmp_path, mosquitto, name) for name in ("one", "two"))
        await first.start()
        await until(lambda: first.connected, "the first is connected")
        before = mosquitto.log.count("already connected")
        with pytest.raises(InUseError, match="lives already"):
            await second.start()
        assert mosquitto.log.count("already connected") == before, "the first was thrown out"
        assert first.connected
        await first.stop()
        third = collector(tmp_path, mosquitto, "two")
        await third.start()
        await third.stop()

    run(main())
