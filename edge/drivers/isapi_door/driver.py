"""The door driver: a controller's events without a hole, and its doors' locks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from core.contracts.commands import Action
from edge.driver import CommandRefusedError, DriverContext, DriverSink, Params
from edge.drivers.isapi_door.settings import IsapiDoorSettings
from edge.drivers.isapi_door.translate import Translator
from edge.isapi.access import AccessDriver, Skipped
from edge.isapi.access_event import AccessEvent
from edge.isapi.client import judge
from edge.observation import Observation

_OPEN = "<RemoteControlDoor><cmd>open</cmd></RemoteControlDoor>"
_UNLOCK = frozenset({Action.UNLOCK})


def create(settings: IsapiDoorSettings, context: DriverContext) -> IsapiDoorDriver:
    """Build the driver."""
    return IsapiDoorDriver(settings, context)


class IsapiDoorDriver(AccessDriver):
    """Listens to one door controller, and opens its doors."""

    def __init__(self, settings: IsapiDoorSettings, context: DriverContext) -> None:
        self._settings = settings
        self._numbers = {device: number for number, device in settings.doors.items()}
        super().__init__(
            "isapi_door",
            settings,
            context,
            settings.device_ids(),
            settings.controller or next(iter(settings.doors.values())),
        )
        self._translator: Translator | None = None

    @property
    def gateway(self) -> str | None:
        """Return the controller's address, where more than one device hangs on it."""
        return self.client.address if len(self.devices) > 1 else None

    @property
    def actions(self) -> Mapping[str, frozenset[Action]]:
        """Return that each door can be opened."""
        return dict.fromkeys(self._numbers, _UNLOCK)

    async def start(self, sink: DriverSink) -> None:
        """Read the secrets; raise :class:`SettingsError` when one cannot be read."""
        await super().start(sink)
        self._translator = Translator(self._settings, self.pseudonyms())

    async def act(self, device: str, action: Action, params: Params) -> Params:
        """Open a door for its usual time; raise :class:`DeviceError` when it is not done."""
        if action is not Action.UNLOCK or device not in self._numbers:
            raise CommandRefusedError(f"{device} cannot do {action}")
        if params:
            raise CommandRefusedError("a door opens for its own time: unlock takes no parameters")
        path = f"/ISAPI/AccessControl/RemoteControl/door/{self._numbers[device]}"
        judge(await self.client.request("PUT", path, _OPEN))
        return {}

    def translate(self, event: AccessEvent, now: int) -> Sequence[Observation] | Skipped:
        """Return what an event says."""
        if self._translator is None:
            return Skipped("before_start")
        return self._translator.translate(event, now)

    def follow(self, event: AccessEvent, observations: Sequence[Observation]) -> None:
        """Remember what an event changes for later ones."""
        if self._translator is not None:
            self._translator.follow(event, observations)
