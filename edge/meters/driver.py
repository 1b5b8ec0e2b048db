"""The part of a driver that goes round the meters of one bus."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from typing import Any

from edge.driver import DriverContext, PollingDriver, ReportRule
from edge.drivers.settings import report_rules
from edge.meters.settings import MeterBusSettings
from edge.transport.bus import Bus
from edge.transport.rounds import Rounds, Tell


class MeterBusDriver(PollingDriver):
    """Visits the meters one after the other; how one is read is the subclass's business."""

    def __init__(
        self, kind: str, settings: MeterBusSettings[Any], context: DriverContext, share_s: float
    ) -> None:
        """``share_s`` is one meter's share of the bus in a round (real time)."""
        self._rounds = Rounds(
            settings, context, settings.device_ids(),
            timeout_s=settings.timeout_s, budget_s=share_s,
        )  # fmt: skip
        super().__init__(
            f"{kind} {settings.channel}",
            settings.device_ids(),
            period_s=settings.period_s,
            poll_timeout_s=self._rounds.longest_s,
        )
        self._reports = report_rules(settings, {})

    @property
    def gateway(self) -> str | None:
        """Return the channel's name when it carries more than one meter."""
        return self._rounds.gateway

    @property
    def reports(self) -> Mapping[str, ReportRule]:
        """Return the report rules; readings are reported each time unless told otherwise."""
        return self._reports

    async def stop(self) -> None:
        """Give the bus back."""
        await self._rounds.stop()

    async def poll(self) -> None:
        """Read every meter that is due; a meter that is dead does not stop the others."""
        await self._rounds.run(self._visit, self._sink)

    @abstractmethod
    async def _visit(self, bus: Bus, device: str) -> Tell:
        """Read one meter, whose turn it is; what is returned tells it, after the turn."""
