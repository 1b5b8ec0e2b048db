"""The door driver: one controller's events, its access points, and the release of a door."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape

from core.contracts.commands import Action
from core.contracts.errors import DeviceRefusedError
from edge.driver import CommandRefusedError, DriverContext, DriverSink, Params
from edge.drivers.onvif_door.settings import OnvifDoorSettings
from edge.drivers.onvif_door.translate import DoorTranslator
from edge.onvif import names
from edge.onvif.driver import OnvifDriver
from edge.onvif.inputs import TOPICS as INPUT_TOPICS
from edge.onvif.inputs import Inputs
from edge.onvif.notification import Notification
from edge.onvif.observation import Skipped
from edge.onvif.soap import attribute, children, text
from edge.pseudonym import Pseudonyms, read_key, read_or_make_key

_MOST_PAGES = 32


def create(settings: OnvifDoorSettings, context: DriverContext) -> OnvifDoorDriver:
    """Build the driver."""
    return OnvifDoorDriver(settings, context)


class OnvifDoorDriver(OnvifDriver):
    """Listens to one door controller."""

    def __init__(self, settings: OnvifDoorSettings, context: DriverContext) -> None:
        super().__init__("onvif_door", settings, context)
        self._doors = settings
        self._tokens = {device: token for token, device in settings.doors.items()}
        self._inputs = Inputs(settings.inputs, tuple(self._tokens))
        self._translator: DoorTranslator

    @property
    def actions(self) -> Mapping[str, frozenset[Action]]:
        """Return that each door can be released."""
        return dict.fromkeys(self._tokens, frozenset({Action.UNLOCK}))

    async def start(self, sink: DriverSink) -> None:
        """Read the secrets; raise :class:`SettingsError` when one cannot be read."""
        await super().start(sink)
        settings, context = self._doors, self._context
        key = (
            read_or_make_key(context.data / "pseudonym.key")
            if settings.pseudonym_key_file is None
            else read_key(context.base / settings.pseudonym_key_file)
        )
        self._translator = DoorTranslator(
            settings.doors, settings.access_points, Pseudonyms(key), settings.forced_grace_s
        )

    async def act(self, device: str, action: Action, params: Params) -> Params:
        """Release a door for its usual time (DoorControl ``AccessDoor``)."""
        token = self._tokens.get(device)
        if token is None or action is not Action.UNLOCK:
            raise CommandRefusedError(f"{device} cannot do {action}")
        if params:
            raise CommandRefusedError(f"unlock takes no {', '.join(sorted(params))}")
        if not self._client.has(names.DOORS):
            await self._client.connect()
        # Not sent twice: the first may have opened the door although its answer was lost.
        inner = f"<q:Token>{escape(token)}</q:Token>"
        await self._client.ask(names.DOORS, "AccessDoor", inner, again=False)
        self._translator.release(device, self._context.clock.now_ms())
        return {}

    async def _prepare(self) -> None:
        if not self._client.has(names.ACCESS):
            return
        listed: dict[str, str] = {}
        start = ""
        try:
            for _ in range(_MOST_PAGES):
                inner = f"<q:StartReference>{escape(start)}</q:StartReference>" if start else ""
                answer = await self._client.ask(names.ACCESS, "GetAccessPointInfoList", inner)
                for point in children(answer, "AccessPointInfo"):
                    listed[attribute(point, "token")] = text(point, "Entity")
                start = text(answer, "NextStartReference")
                if not start:
                    break
        except DeviceRefusedError:
            self._sink.count("without_access_points")
        self._translator.learn(listed)

    async def _take(self, notification: Notification) -> None:
        at = self._moment(notification)
        if notification.topic in INPUT_TOPICS:
            found = self._inputs.translate(notification, at)
        else:
            found = self._translator.translate(notification, at)
        if isinstance(found, Skipped):
            self._sink.count(found.reason)
            found = []
        for observation in found:
            await self._emit(observation)
        if notification.topic in INPUT_TOPICS:
            self._inputs.committed(notification)
            for observation in found:
                self._translator.follow(observation)
        else:
            self._translator.committed(notification, found, at)
