"""The ONVIF device on the wire: device and event services, sign-in, and what goes wrong."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from html import escape

from core.runtime.clock import Clock
from simulators.devices.http import DigestSignIn, HttpPeer, Request, Response
from simulators.devices.onvif.events import EventBoard, PullPoint, Topic
from simulators.devices.onvif.soap import (
    NAMESPACES,
    Call,
    SoapFaultError,
    TokenSignIn,
    answer,
    fault,
    read,
    utc,
)
from simulators.devices.peer import SocketPeer

_LONGEST_PULL_S = 60.0
_MESSAGES = 100
Operation = Callable[[Call], str]


@dataclass
class OnvifFaults:
    """What is wrong with a device, to be set while it runs."""

    clock_offset_ms: int = 0
    """Its clock minus the run's."""
    wrong_host: str = ""
    """Addresses in its answers name this host."""
    oversize: int = 0
    """Answers are padded by so many bytes."""
    broken_xml: bool = False
    """Answers break off in the middle of an element."""
    entity_bomb: bool = False
    """Answers define entities that grow without bounds."""
    deaf: bool = False
    """Subscriptions live and are answered, but nothing is delivered any more."""
    no_renewal: bool = False
    no_synchronisation: bool = False
    no_services: bool = False
    """It knows GetCapabilities only, as devices of before GetServices."""
    quick: bool = False
    """Pulls are answered at once, whatever time-out was asked."""
    misread_durations: bool = False
    """It takes a relative termination time for one that is over already."""


class OnvifDevice(SocketPeer):
    """One device. A camera or a door controller adds its operations and topics."""

    model = "SIM-1"
    profiles: tuple[str, ...] = ()

    def __init__(
        self,
        clock: Clock,
        name: str,
        *,
        username: str = "edge",
        password: str = "secret",  # noqa: S107 (a simulated device's)
        sign_in: str = "both",
        topics: tuple[Topic, ...] = (),
        host: str = "127.0.0.1",
        port: int = 0,
    ) -> None:
        """``sign_in``: ``token`` (WS-Security), ``digest`` (HTTP), or ``both``."""
        super().__init__(HttpPeer(self._answer, host=host, port=port).listener)
        self.name = name
        self.faults = OnvifFaults()
        self.board = EventBoard(self.now_ms, topics)
        self.calls: list[str] = []
        """The operations that were called, in order."""
        self._clock = clock
        self._host = host
        self._sign_in = sign_in
        self._token = TokenSignIn(username, password)
        self._digest = DigestSignIn("ONVIF", username, password)
        self._operations: dict[tuple[str, str], Operation] = {
            (NAMESPACES["tds"], "GetSystemDateAndTime"): self._date_and_time,
            (NAMESPACES["tds"], "GetDeviceInformation"): self._information,
            (NAMESPACES["tds"], "GetServices"): self._services,
            (NAMESPACES["tds"], "GetCapabilities"): self._capabilities,
            (NAMESPACES["tev"], "GetEventProperties"): self._event_properties,
            (NAMESPACES["tev"], "CreatePullPointSubscription"): self._subscribe,
            (NAMESPACES["tev"], "SetSynchronizationPoint"): self._synchronise,
            (NAMESPACES["wsnt"], "Renew"): self._renew,
            (NAMESPACES["wsnt"], "Unsubscribe"): self._unsubscribe,
        }
        #: Prefix of a service -> its path; what GetServices lists.
        self.services: dict[str, str] = {"tds": "device_service", "tev": "event_service"}

    # -- life --------------------------------------------------------------------------------

    async def reboot(self) -> None:
        """Drop every connection and forget every subscription."""
        self.board.forget()
        await self.listener.drop()

    def now_ms(self) -> int:
        """Return what the device's clock shows."""
        return self._clock.now_ms() + self.faults.clock_offset_ms

    def add(self, prefix: str, path: str, operations: dict[str, Operation]) -> None:
        """Add a service with its operations."""
        self.services[prefix] = path
        for name, operation in operations.items():
            self._operations[NAMESPACES[prefix], name] = operation

    @property
    def refused(self) -> int:
        """Return how many sign-ins were refused."""
        return self._token.refused + self._digest.refused

    # -- requests ----------------------------------------------------------------------------

    async def _answer(self, request: Request) -> Response:
        if request.method == "GET":
            return self._digest.check(request) or self._picture(request)
        try:
            call = read(request.body, request.path)
            self.calls.append(call.operation)
            if call.operation != "GetSystemDateAndTime":
                challenge = self._check(request, call)
                if challenge is not None:
                    return challenge
            return self._spoil(await self._do(call))
        except SoapFaultError as error:
            return self._spoil(fault(error))

    def _check(self, request: Request, call: Call) -> Response | None:
        if self._sign_in == "digest" or (self._sign_in == "both" and not call.signed):
            return self._digest.check(request)
        self._token.check(call, self.now_ms())
        return None

    async def _do(self, call: Call) -> Response:
        if call.operation == "PullMessages":
            body = await self._pull(call)
        else:
            operation = self._operations.get((call.namespace, call.operation))
            if operation is None:
                raise SoapFaultError("ter:ActionNotSupported", "Action Not Implemented")
            body = operation(call)
        action = call.header("Action")
        return answer(body, action.replace("Request", "Response"), call.header("MessageID"))

    def _spoil(self, response: Response) -> Response:
        faults, body = self.faults, response.body
        if faults.entity_bomb:
            lines = ['<!DOCTYPE b [<!ENTITY a0 "ha">']
            lines += [f'<!ENTITY a{n} "{f"&a{n - 1};" * 10}">' for n in range(1, 10)]
            body = ("".join(lines) + "]><b>&a9;</b>").encode()
        if faults.broken_xml:
            body = body[: len(body) // 2]
        if faults.oversize:
            body += b"<!--" + b"x" * faults.oversize + b"-->"
        return Response(response.status, body, response.content_type, response.headers)

    def _picture(self, request: Request) -> Response:  # noqa: ARG002 (a camera has some)
        return Response(404)

    # -- the device service ------------------------------------------------------------------

    def _date_and_time(self, _: Call) -> str:
        moment = datetime.fromtimestamp(self.now_ms() / 1000, UTC)
        return (
            "<tds:GetSystemDateAndTimeResponse><tds:SystemDateAndTime>"
            "<tt:DateTimeType>Manual</tt:DateTimeType>"
            "<tt:DaylightSavings>false</tt:DaylightSavings>"
            "<tt:TimeZone><tt:TZ>CST-8</tt:TZ></tt:TimeZone><tt:UTCDateTime>"
            f"<tt:Time><tt:Hour>{moment.hour}</tt:Hour><tt:Minute>{moment.minute}</tt:Minute>"
            f"<tt:Second>{moment.second}</tt:Second></tt:Time>"
            f"<tt:Date><tt:Year>{moment.year}</tt:Year><tt:Month>{moment.month}</tt:Month>"
            f"<tt:Day>{moment.day}</tt:Day></tt:Date></tt:UTCDateTime>"
            "</tds:SystemDateAndTime></tds:GetSystemDateAndTimeResponse>"
        )

    def _information(self, _: Call) -> str:
        return (
            "<tds:GetDeviceInformationResponse><tds:Manufacturer>Estate</tds:Manufacturer>"
            f"<tds:Model>{self.model}</tds:Model><tds:FirmwareVersion>1.0</tds:FirmwareVersion>"
            f"<tds:SerialNumber>{escape(self.name)}</tds:SerialNumber>"
            "<tds:HardwareId>1</tds:HardwareId></tds:GetDeviceInformationResponse>"
        )

    def _services(self, _: Call) -> str:
        if self.faults.no_services:
            raise SoapFaultError("ter:ActionNotSupported", "Action Not Implemented")
        found = "".join(
            f"<tds:Service><tds:Namespace>{NAMESPACES[prefix]}</tds:Namespace>"
            f"<tds:XAddr>{self.url(path)}</tds:XAddr>"
            "<tds:Version><tt:Major>2</tt:Major><tt:Minor>60</tt:Minor></tds:Version></tds:Service>"
            for prefix, path in self.services.items()
        )
        return f"<tds:GetServicesResponse>{found}</tds:GetServicesResponse>"

    def _capabilities(self, _: Call) -> str:
        def address(prefix: str) -> str:
            return f"<tt:XAddr>{self.url(self.services[prefix])}</tt:XAddr>"

        parts = ""
        if "tan" in self.services:
            parts += (
                f"<tt:Analytics>{address('tan')}<tt:RuleSupport>true</tt:RuleSupport>"
                "<tt:AnalyticsModuleSupport>false</tt:AnalyticsModuleSupport></tt:Analytics>"
            )
        parts += (
            f"<tt:Events>{address('tev')}"
            "<tt:WSSubscriptionPolicySupport>false</tt:WSSubscriptionPolicySupport>"
            "<tt:WSPullPointSupport>true</tt:WSPullPointSupport>"
            "<tt:WSPausableSubscriptionManagerInterfaceSupport>false"
            "</tt:WSPausableSubscriptionManagerInterfaceSupport></tt:Events>"
        )
        if "trt" in self.services:
            parts += f"<tt:Media>{address('trt')}<tt:StreamingCapabilities/></tt:Media>"
        return (
            "<tds:GetCapabilitiesResponse><tds:Capabilities>"
            f"{parts}</tds:Capabilities></tds:GetCapabilitiesResponse>"
        )

    def url(self, path: str) -> str:
        """Return an address of this device as it tells it."""
        host = self.faults.wrong_host or f"{self._host}:{self.port}"
        return f"http://{host}/onvif/{path}"

    # -- the event service -------------------------------------------------------------------

    def _event_properties(self, _: Call) -> str:
        return (
            "<tev:GetEventPropertiesResponse>"
            "<tev:TopicNamespaceLocation>http://www.onvif.org/onvif/ver10/topics/topicns.xml"
            "</tev:TopicNamespaceLocation><wsnt:FixedTopicSet>true</wsnt:FixedTopicSet>"
            f"<wstop:TopicSet>{self.board.topic_set()}</wstop:TopicSet>"
            "<wsnt:TopicExpressionDialect>"
            "http://docs.oasis-open.org/wsn/t-1/TopicExpression/Concrete"
            "</wsnt:TopicExpressionDialect><tev:MessageContentFilterDialect>"
            "http://www.onvif.org/ver10/tev/messageContentFilter/ItemFilter"
            "</tev:MessageContentFilterDialect><tev:MessageContentSchemaLocation>"
            "http://www.onvif.org/onvif/ver10/schema/onvif.xsd"
            "</tev:MessageContentSchemaLocation></tev:GetEventPropertiesResponse>"
        )

    def _subscribe(self, call: Call) -> str:
        lifetime_s = self._until(call.text("InitialTerminationTime") or "PT60S")
        point = self.board.subscribe(max(lifetime_s, 1.0))
        if point is None:
            raise SoapFaultError("ter:InvalidArgVal", "no pull point left", status=500)
        address = self.url(f"subscription/{point.number}")
        return (
            "<tev:CreatePullPointSubscriptionResponse><tev:SubscriptionReference>"
            f"<wsa:Address>{address}</wsa:Address></tev:SubscriptionReference>"
            f"{self._times(lifetime_s, 'wsnt')}</tev:CreatePullPointSubscriptionResponse>"
        )

    async def _pull(self, call: Call) -> str:
        point = self._point(call)
        wait_s = 0.0 if self.faults.quick else duration_s(call.text("Timeout"))
        limit = min(int(call.text("MessageLimit") or _MESSAGES), _MESSAGES)
        if self.faults.deaf:
            await asyncio.sleep(wait_s)
            point.queue.clear()
            found = []
        else:
            found = await point.take(limit, min(wait_s, _LONGEST_PULL_S))
        return (
            f"<tev:PullMessagesResponse>{self._times(point.ends - time.monotonic(), 'tev')}"
            f"{''.join(message.to_xml() for message in found)}</tev:PullMessagesResponse>"
        )

    def _renew(self, call: Call) -> str:
        point = self._point(call)
        if self.faults.no_renewal:
            raise SoapFaultError("ter:ActionNotSupported", "Action Not Implemented")
        lifetime_s = self._until(call.text("TerminationTime"))
        point.ends = time.monotonic() + max(lifetime_s, 1.0)
        times = self._times(lifetime_s, "wsnt")
        # Here the schema wants the end before the present.
        current, end = times[: times.index("<wsnt:T")], times[times.index("<wsnt:T") :]
        return f"<wsnt:RenewResponse>{end}{current}</wsnt:RenewResponse>"

    def _synchronise(self, call: Call) -> str:
        if self.faults.no_synchronisation:
            raise SoapFaultError("ter:ActionNotSupported", "Action Not Implemented")
        self.board.synchronise(self._point(call))
        return "<tev:SetSynchronizationPointResponse/>"

    def _unsubscribe(self, call: Call) -> str:
        self.board.unsubscribe(self._point(call).number)
        return "<wsnt:UnsubscribeResponse/>"

    def _point(self, call: Call) -> PullPoint:
        number = call.path.rpartition("/")[2]
        point = self.board.point(int(number)) if number.isdecimal() else None
        if point is None:
            raise SoapFaultError("ter:InvalidArgVal", "the subscription does not exist")
        return point

    def _until(self, text: str) -> float:
        """Return the seconds until a relative or absolute termination time."""
        if text.startswith("P"):
            return -1.0 if self.faults.misread_durations else duration_s(text)
        try:
            moment = datetime.fromisoformat(text)
        except ValueError:
            raise SoapFaultError("ter:InvalidArgVal", "termination time") from None
        return moment.timestamp() - self.now_ms() / 1000

    def _times(self, left_s: float, prefix: str) -> str:
        now = self.now_ms()
        return (
            f"<{prefix}:CurrentTime>{utc(now)}</{prefix}:CurrentTime>"
            f"<{prefix}:TerminationTime>{utc(now + round(left_s * 1000))}"
            f"</{prefix}:TerminationTime>"
        )


_DURATION = re.compile(r"P(?:(\d+)D)?(?:T(?:(\d+)H)?(?:(\d+)M)?(?:(\d+(?:\.\d+)?)S)?)?")


def duration_s(text: str) -> float:
    """Return the seconds of an xs:duration; raise :class:`SoapFaultError`."""
    match = _DURATION.fullmatch(text)
    if match is None:
        raise SoapFaultError("ter:InvalidArgVal", "duration")
    days, hours, minutes, seconds = (float(part or 0) for part in match.groups())
    return days * 86_400 + hours * 3600 + minutes * 60 + seconds
