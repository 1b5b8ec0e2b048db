"""The driver of lift controllers: which floors a credential opened, and which it was refused."""

from __future__ import annotations

from collections.abc import Sequence

from edge.driver import DriverContext, DriverSink
from edge.drivers.isapi_elevator.settings import IsapiElevatorSettings
from edge.drivers.isapi_elevator.translate import Translator
from edge.isapi.access import AccessDriver, Skipped
from edge.isapi.access_event import AccessEvent
from edge.observation import Observation


def create(settings: IsapiElevatorSettings, context: DriverContext) -> IsapiElevatorDriver:
    """Build the driver."""
    return IsapiElevatorDriver(settings, context)


class IsapiElevatorDriver(AccessDriver):
    """Listens to one lift controller."""

    def __init__(self, settings: IsapiElevatorSettings, context: DriverContext) -> None:
        self._settings = settings
        super().__init__("isapi_elevator", settings, context, (settings.device,), settings.device)
        self._translator: Translator | None = None

    async def start(self, sink: DriverSink) -> None:
        """Read the secrets; raise :class:`SettingsError` when one cannot be read."""
        await super().start(sink)
        self._translator = Translator(self._settings, self.pseudonyms())

    def translate(self, event: AccessEvent, now: int) -> Sequence[Observation] | Skipped:
        """Return what an event says."""
        if self._translator is None:
            return Skipped("before_start")
        return self._translator.translate(event, now)

    def follow(self, event: AccessEvent, observations: Sequence[Observation]) -> None:
        """Count what the settings do not know, and grants that name no floor."""
        for found in observations if self._translator is not None else ():
            if found.kind != "elevator.access" or self._translator is None:
                continue
            if unknown := self._translator.nameless(event):
                self._sink.count("unknown_floors", unknown)
            if not found.data["granted_floors"] and not found.data["refused_floors"]:
                self._sink.count("access_without_floors")
