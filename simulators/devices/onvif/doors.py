"""A door controller (profiles A and C): doors, access points, who is let in and who is not."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from html import escape

from core.contracts.errors import ContractError
from core.runtime.clock import Clock
from simulators.devices.onvif.events import Topic
from simulators.devices.onvif.peer import OnvifDevice
from simulators.devices.onvif.soap import Call, SoapFaultError

_STATES = {
    "DoorPhysicalState": "Closed",
    "LockPhysicalState": "Locked",
    "DoorAlarm": "Normal",
    "DoorTamper": "NotInTamper",
    "DoorFault": "NotInFault",
    "DoorMode": "Locked",
}
_CREDENTIAL = ("CredentialToken", "CredentialHolderName")
TOPICS = (
    *(Topic(f"tns1:Door/State/{name}", ("DoorToken",), ("State",)) for name in _STATES),
    *(
        Topic(f"tns1:AccessControl/{what}/Credential", ("AccessPointToken",), _CREDENTIAL,
              is_property=False)
        for what in ("AccessGranted", "AccessTaken", "AccessNotTaken")
    ),
    *(
        Topic(f"tns1:AccessControl/{what}/Anonymous", ("AccessPointToken",), (),
              is_property=False)
        for what in ("AccessGranted", "AccessTaken", "AccessNotTaken")
    ),
    Topic("tns1:AccessControl/Denied/Credential", ("AccessPointToken",),
          (*_CREDENTIAL, "Reason"), is_property=False),
    Topic("tns1:AccessControl/Denied/Anonymous", ("AccessPointToken",), ("Reason",),
          is_property=False),
    Topic("tns1:AccessControl/Denied/CredentialNotFound/Card", ("AccessPointToken",), ("Card",),
          is_property=False),
    Topic("tns1:AccessControl/Duress", ("AccessPointToken",), ("Reason",), is_property=False),
    Topic("tns1:Device/Trigger/DigitalInput", ("InputToken",), ("LogicalState",)),
)  # fmt: skip


@dataclass
class AccessPoint:
    """A reader, and the door that it opens."""

    token: str
    door: str


@dataclass
class _Door:
    token: str
    states: dict[str, str] = field(default_factory=lambda: dict(_STATES))


class OnvifDoors(OnvifDevice):
    """A door controller; what a scenario makes happen goes through the methods below."""

    model = "SIM-PACS"
    profiles = ("A", "C")

    def __init__(
        self,
        clock: Clock,
        name: str,
        doors: Iterable[str],
        *,
        access_points: Iterable[AccessPoint] = (),
        username: str = "edge",
        password: str = "secret",  # noqa: S107 (a simulated device's)
        sign_in: str = "both",
        port: int = 0,
    ) -> None:
        """Without ``access_points`` each door has one, ``AP-`` and its token."""
        super().__init__(
            clock, name, username=username, password=password, sign_in=sign_in, topics=TOPICS,
            port=port,
        )  # fmt: skip
        self.doors = {token: _Door(token) for token in doors}
        self.access_points = list(access_points) or [
            AccessPoint(f"AP-{token}", token) for token in self.doors
        ]
        self.unlocked: list[str] = []
        """Doors that a command released, in order."""
        self.add("tdc", "door_service", {
            "GetDoorInfoList": self._door_list, "GetDoorState": self._door_state,
            "AccessDoor": self._access_door,
        })  # fmt: skip
        self.add("tac", "access_service", {"GetAccessPointInfoList": self._access_point_list})
        for door in self.doors.values():
            for state, value in door.states.items():
                self.board.prepare(
                    f"tns1:Door/State/{state}", {"DoorToken": door.token}, {"State": value}
                )

    # -- what a scenario does ----------------------------------------------------------------

    def open(self, door: str) -> None:
        """Open a door's leaf."""
        self.set_state(door, "DoorPhysicalState", "Open")

    def close(self, door: str) -> None:
        """Close it; an alarm of the door is over with that."""
        self.set_state(door, "DoorPhysicalState", "Closed")
        self.set_state(door, "DoorAlarm", "Normal")
        self.set_state(door, "DoorMode", "Locked")
        self.set_state(door, "LockPhysicalState", "Locked")

    def force(self, door: str) -> None:
        """Break a door open."""
        self.open(door)
        self.set_state(door, "DoorAlarm", "DoorForcedOpen")

    def hold(self, door: str) -> None:
        """Complain that a door stands open for too long."""
        self.open(door)
        self.set_state(door, "DoorAlarm", "DoorOpenTooLong")

    def set_state(self, door: str, state: str, value: str) -> None:
        """Set one of a door's states (``DoorTamper`` to ``TamperDetected`` …)."""
        try:
            self.doors[door].states[state] = value
        except KeyError:
            raise ContractError(f"{self.name} has no door {door}", field="door") from None
        self.board.set(f"tns1:Door/State/{state}", {"DoorToken": door}, {"State": value})

    def grant(self, access_point: str, credential: str = "", holder: str = "") -> None:
        """Let somebody in; without a credential it is anonymous (an exit button)."""
        self._access("AccessGranted", access_point, credential, holder)
        self.set_state(self._door_of(access_point), "DoorMode", "Accessed")

    def take(self, access_point: str, credential: str = "", holder: str = "") -> None:
        """The one who was let in goes through."""
        self._access("AccessTaken", access_point, credential, holder)

    def deny(self, access_point: str, credential: str, reason: str, holder: str = "") -> None:
        """Refuse somebody."""
        data = {"CredentialToken": credential, "CredentialHolderName": holder, "Reason": reason}
        self._happen("Denied/Credential", access_point, data)

    def deny_unknown(self, access_point: str, card: str) -> None:
        """Refuse a card that nobody knows."""
        self._happen("Denied/CredentialNotFound/Card", access_point, {"Card": card})

    def duress(self, access_point: str) -> None:
        """Somebody uses the duress code."""
        self._happen("Duress", access_point, {"Reason": ""})

    def switch_input(self, token: str, *, active: bool) -> None:
        """A contact at a digital input closes or opens."""
        state = {"LogicalState": "true" if active else "false"}
        self.board.set("tns1:Device/Trigger/DigitalInput", {"InputToken": token}, state)

    def _access(self, what: str, access_point: str, credential: str, holder: str) -> None:
        data = {"CredentialToken": credential, "CredentialHolderName": holder} if credential else {}
        self._happen(f"{what}/{'Credential' if credential else 'Anonymous'}", access_point, data)

    def _happen(self, what: str, access_point: str, data: dict[str, str]) -> None:
        self.board.happen(f"tns1:AccessControl/{what}", {"AccessPointToken": access_point}, data)

    def _door_of(self, access_point: str) -> str:
        for point in self.access_points:
            if point.token == access_point:
                return point.door
        raise ContractError(f"{self.name} has no access point {access_point}", field="reader")

    # -- the wire ----------------------------------------------------------------------------

    def _door_list(self, _: Call) -> str:
        found = "".join(
            f'<tdc:DoorInfo token="{escape(door)}"><tdc:Name>{escape(door)}</tdc:Name>'
            '<tdc:Capabilities Access="true" DoorMonitor="true" Alarm="true" Tamper="true"/>'
            "</tdc:DoorInfo>"
            for door in self.doors
        )
        return f"<tdc:GetDoorInfoListResponse>{found}</tdc:GetDoorInfoListResponse>"

    def _door_state(self, call: Call) -> str:
        states = self._door(call).states
        return (
            "<tdc:GetDoorStateResponse><tdc:DoorState>"
            f"<tdc:DoorPhysicalState>{states['DoorPhysicalState']}</tdc:DoorPhysicalState>"
            f"<tdc:LockPhysicalState>{states['LockPhysicalState']}</tdc:LockPhysicalState>"
            f"<tdc:Alarm>{states['DoorAlarm']}</tdc:Alarm>"
            f"<tdc:DoorMode>{states['DoorMode']}</tdc:DoorMode>"
            "</tdc:DoorState></tdc:GetDoorStateResponse>"
        )

    def _access_door(self, call: Call) -> str:
        door = self._door(call)
        self.unlocked.append(door.token)
        self.set_state(door.token, "DoorMode", "Accessed")
        self.set_state(door.token, "LockPhysicalState", "Unlocked")
        return "<tdc:AccessDoorResponse/>"

    def _door(self, call: Call) -> _Door:
        door = self.doors.get(call.text("Token"))
        if door is None:
            raise SoapFaultError("ter:NotFound", "no such door")
        return door

    def _access_point_list(self, _: Call) -> str:
        found = "".join(
            f'<tac:AccessPointInfo token="{escape(point.token)}">'
            f"<tac:Name>{escape(point.token)}</tac:Name>"
            f"<tac:EntityType>tdc:Door</tac:EntityType><tac:Entity>{escape(point.door)}</tac:Entity>"
            '<tac:Capabilities DisableAccessPoint="false"/></tac:AccessPointInfo>'
            for point in self.access_points
        )
        return f"<tac:GetAccessPointInfoListResponse>{found}</tac:GetAccessPointInfoListResponse>"
