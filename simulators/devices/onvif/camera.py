"""A camera (profiles S and M): rules, states of its picture, inputs, snapshots."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from html import escape

from core.runtime.clock import Clock
from simulators.devices.http import Request, Response
from simulators.devices.onvif.events import Topic
from simulators.devices.onvif.peer import OnvifDevice
from simulators.devices.onvif.soap import Call, SoapFaultError

_RULE_ITEMS = ("VideoSourceConfigurationToken", "VideoAnalyticsConfigurationToken", "Rule")
MOTION_ALARM = "tns1:VideoSource/MotionAlarm"
CELL_MOTION = "tns1:RuleEngine/CellMotionDetector/Motion"
FIELD = "tns1:RuleEngine/FieldDetector/ObjectsInside"
LINE = "tns1:RuleEngine/LineDetector/Crossed"
TAMPER = "tns1:RuleEngine/TamperDetector/Tamper"
PEOPLE = "tns1:RuleEngine/MyRuleDetector/PeopleDetect"
VEHICLE = "tns1:RuleEngine/MyRuleDetector/VehicleDetect"
COUNTER = "tns1:RuleEngine/CountAggregation/Counter"
BLURRY = "tns1:VideoSource/ImageTooBlurry/ImagingService"
DARK = "tns1:VideoSource/ImageTooDark/ImagingService"
BRIGHT = "tns1:VideoSource/ImageTooBright/ImagingService"
SCENE = "tns1:VideoSource/GlobalSceneChange/ImagingService"
STORAGE = "tns1:Device/HardwareFailure/StorageFailure"
INPUT = "tns1:Device/Trigger/DigitalInput"

TOPICS = (
    Topic(MOTION_ALARM, ("Source",), ("State",)),
    Topic(CELL_MOTION, _RULE_ITEMS, ("IsMotion",)),
    Topic(FIELD, _RULE_ITEMS, ("IsInside",)),
    Topic(LINE, _RULE_ITEMS, ("ObjectId",), is_property=False),
    Topic(TAMPER, _RULE_ITEMS, ("IsTamper",)),
    Topic(PEOPLE, ("Source",), ("State",)),
    Topic(VEHICLE, ("Source",), ("State",)),
    Topic(COUNTER, _RULE_ITEMS, ("Count",)),
    *(Topic(path, ("Source",), ("State",)) for path in (BLURRY, DARK, BRIGHT, SCENE)),
    Topic(STORAGE, ("Token",), ("Failed",)),
    Topic(INPUT, ("InputToken",), ("LogicalState",)),
)
_SOURCE = "VideoSource_1"
_ANALYTICS = "VideoAnalytics_1"


@dataclass
class Rule:
    """One rule of the analytics engine; its type says which topic it tells."""

    name: str
    type: str
    """``tt:FieldDetector``, ``tt:LineDetector``, ``tt:CellMotionDetector`` …"""
    parameters: dict[str, str] = field(default_factory=dict)


class OnvifCamera(OnvifDevice):
    """A camera; what a scenario makes it see goes through the methods below."""

    model = "SIM-CAM"
    profiles = ("Streaming", "M")

    def __init__(
        self,
        clock: Clock,
        name: str,
        *,
        rules: tuple[Rule, ...] = (
            Rule("MyMotion", "tt:CellMotionDetector"),
            Rule("Yard", "tt:FieldDetector"),
            Rule("Fence", "tt:LineDetector"),
            Rule("MyTamper", "tt:TamperDetector"),
        ),
        topics: tuple[Topic, ...] = TOPICS,
        picture: Callable[[], bytes] = lambda: b"",
        username: str = "edge",
        password: str = "secret",  # noqa: S107 (a simulated device's)
        sign_in: str = "both",
        port: int = 0,
    ) -> None:
        super().__init__(
            clock, name, username=username, password=password, sign_in=sign_in, topics=topics,
            port=port,
        )  # fmt: skip
        self.rules = list(rules)
        self.analytics_in_profile = True
        """False: the profile has no analytics configuration, so no rule is at work."""
        self.picture = picture
        """Makes the JPEG of a snapshot."""
        self.add("trt", "media_service", {
            "GetProfiles": self._profiles, "GetSnapshotUri": self._snapshot_uri,
        })  # fmt: skip
        self.add("tan", "analytics_service", {
            "GetRules": self._rules, "GetSupportedRules": self._supported_rules,
        })  # fmt: skip
        self._prepare()

    def _prepare(self) -> None:
        """Lay down the states that hold before anybody asks: nothing is the matter."""
        rules = {
            "CellMotionDetector": (CELL_MOTION, "IsMotion"),
            "FieldDetector": (FIELD, "IsInside"),
            "TamperDetector": (TAMPER, "IsTamper"),
        }
        for rule in self.rules:
            topic, item = rules.get(rule.type.rpartition(":")[2], ("", ""))
            if topic in self.board.topics:
                self.board.prepare(topic, self._of(rule.name), {item: "false"})
        for topic in (MOTION_ALARM, BLURRY, DARK, BRIGHT, SCENE, PEOPLE, VEHICLE):
            if topic in self.board.topics:
                self.board.prepare(topic, {"Source": _SOURCE}, {"State": "false"})
        if STORAGE in self.board.topics:
            self.board.prepare(STORAGE, {"Token": "SD_1"}, {"Failed": "false"})

    @staticmethod
    def _of(rule: str) -> dict[str, str]:
        return dict(zip(_RULE_ITEMS, (_SOURCE, _ANALYTICS, rule), strict=True))

    # -- what a scenario does ----------------------------------------------------------------

    def move(self, *, active: bool, rule: str = "MyMotion") -> None:
        """Something moves, or no longer."""
        self.board.set(CELL_MOTION, self._of(rule), {"IsMotion": _word(active)})

    def alarm_motion(self, *, active: bool) -> None:
        """The same by the topic that has no rule."""
        self.board.set(MOTION_ALARM, {"Source": _SOURCE}, {"State": _word(active)})

    def intrude(self, *, active: bool, rule: str = "Yard") -> None:
        """Something is inside a field."""
        self.board.set(FIELD, self._of(rule), {"IsInside": _word(active)})

    def cross(self, rule: str = "Fence", object_id: str = "1") -> None:
        """Something crosses a line; that has no state."""
        self.board.happen(LINE, self._of(rule), {"ObjectId": object_id})

    def see(self, topic: str, *, active: bool) -> None:
        """Set a state of the whole picture (PEOPLE, DARK, SCENE …)."""
        self.board.set(topic, {"Source": _SOURCE}, {"State": _word(active)})

    def tamper(self, *, active: bool) -> None:
        """The lens is tampered with."""
        self.board.set(TAMPER, self._of("MyTamper"), {"IsTamper": _word(active)})

    def count(self, number: int, rule: str = "Gate") -> None:
        """The counter stands at a number."""
        self.board.set(COUNTER, self._of(rule), {"Count": str(number)})

    def fail_storage(self, *, active: bool) -> None:
        """The memory card fails."""
        self.board.set(STORAGE, {"Token": "SD_1"}, {"Failed": _word(active)})

    def switch_input(self, token: str, *, active: bool) -> None:
        """A contact at a digital input closes or opens."""
        self.board.set(INPUT, {"InputToken": token}, {"LogicalState": _word(active)})

    # -- the wire ----------------------------------------------------------------------------

    def _picture(self, request: Request) -> Response:
        if request.path != "/onvif/snapshot":
            return Response(404)
        return Response(200, self.picture(), "image/jpeg")

    def _profiles(self, _: Call) -> str:
        analytics = (
            f'<tt:VideoAnalyticsConfiguration token="{_ANALYTICS}"><tt:Name>Analytics</tt:Name>'
            "<tt:UseCount>1</tt:UseCount><tt:AnalyticsEngineConfiguration/>"
            "<tt:RuleEngineConfiguration/></tt:VideoAnalyticsConfiguration>"
        )
        return (
            '<trt:GetProfilesResponse><trt:Profiles token="Profile_1" fixed="true">'
            f"<tt:Name>Main</tt:Name>{analytics if self.analytics_in_profile else ''}"
            "</trt:Profiles></trt:GetProfilesResponse>"
        )

    def _snapshot_uri(self, call: Call) -> str:
        if call.text("ProfileToken") != "Profile_1":
            raise SoapFaultError("ter:NoProfile", "no such profile")
        return (
            "<trt:GetSnapshotUriResponse><trt:MediaUri>"
            f"<tt:Uri>{self.url('snapshot')}</tt:Uri>"
            "<tt:InvalidAfterConnect>false</tt:InvalidAfterConnect>"
            "<tt:InvalidAfterReboot>false</tt:InvalidAfterReboot><tt:Timeout>PT0S</tt:Timeout>"
            "</trt:MediaUri></trt:GetSnapshotUriResponse>"
        )

    def _rules(self, call: Call) -> str:
        if call.text("ConfigurationToken") != _ANALYTICS:
            raise SoapFaultError("ter:NoConfig", "no such configuration")
        found = "".join(
            f'<tan:Rule Name="{escape(rule.name)}" Type="{rule.type}"><tt:Parameters>'
            + "".join(
                f'<tt:SimpleItem Name="{escape(name)}" Value="{escape(value)}"/>'
                for name, value in rule.parameters.items()
            )
            + "</tt:Parameters></tan:Rule>"
            for rule in self.rules
        )
        return f"<tan:GetRulesResponse>{found}</tan:GetRulesResponse>"

    def _supported_rules(self, _: Call) -> str:
        types = ("CellMotionDetector", "FieldDetector", "LineDetector", "TamperDetector")
        found = "".join(
            f'<tt:RuleDescription Name="tt:{name}"><tt:Parameters/></tt:RuleDescription>'
            for name in types
        )
        return (
            "<tan:GetSupportedRulesResponse><tan:SupportedRules>"
            f"{found}</tan:SupportedRules></tan:GetSupportedRulesResponse>"
        )


def _word(active: bool) -> str:  # noqa: FBT001 (a value on its way to the wire)
    return "true" if active else "false"
