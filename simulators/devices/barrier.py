"""A vehicle barrier with a camera that reads plates, over ISAPI.

The alert stream carries an XML ``EventNotificationAlert`` of type ANPR for each vehicle, with
its pictures as further parts; ``POST …/vehicleDetect/plates`` lists what was read after a time.
"""

from __future__ import annotations

import asyncio
import re
from collections import deque
from dataclasses import dataclass
from uuid import UUID

from core.runtime.clock import Clock
from simulators.devices import isapi
from simulators.devices.alert_peer import (
    AlertPeer,
    Handler,
    status_response,
    xml_part,
    xml_response,
)
from simulators.devices.http import Request, Response, Write
from simulators.devices.isapi import Identity
from simulators.rhythms import local
from simulators.seeds import stream

PLATES_PATH = "/ISAPI/Traffic/channels/1/vehicleDetect/plates"
GATE_PATH = "/ISAPI/Parking/channels/1/barrierGate"
_MEMORY = 2_000
_PROVINCES = "京津冀鲁苏浙粤川渝豫鄂湘"
_LETTERS = "ABCDEFGHJKLMNPQRSTUVWXYZ"


@dataclass(frozen=True, slots=True)
class PlateRecord:
    """One vehicle that the camera saw."""

    index: int
    at_ms: int
    plate: str
    listed: str
    direction: str
    vehicle_type: str
    confidence: int
    opened: bool


def resident_plate(seed: int, index: int) -> str:
    """Return an invented plate; every fifth is the longer one of a new-energy vehicle."""
    random = stream(seed, "plate", index)
    tail = "".join(random.choice("0123456789" + _LETTERS) for _ in range(5))
    green = random.choice("DF") if index % 5 == 0 else ""
    return random.choice(_PROVINCES) + random.choice(_LETTERS[:8]) + green + tail


class BarrierPeer(AlertPeer):
    """One barrier; ``allowed`` and ``blocked`` are the lists in its camera."""

    def __init__(
        self,
        clock: Clock,
        *,
        identity: Identity,
        username: str,
        password: str,
        allowed: frozenset[str] = frozenset(),
        blocked: frozenset[str] = frozenset(),
        heartbeat_s: float = 5.0,
        host: str = "127.0.0.1",
        port: int = 0,
    ) -> None:
        super().__init__(
            clock,
            identity=identity,
            username=username,
            password=password,
            heartbeat_s=heartbeat_s,
            host=host,
            port=port,
        )
        self.allowed = allowed
        self.blocked = blocked
        self.memory: deque[PlateRecord] = deque(maxlen=_MEMORY)
        self.pictures = 2
        """So many pictures come with each vehicle."""
        self.repeats = 1
        """How often each alert is sent."""
        self.searchable = True
        self.opened = 0
        """How often the barrier was opened from afar."""
        self.broken = False
        """The barrier does not obey."""
        self.drift_s = 0.0
        self._listeners: set[asyncio.Queue[bytes]] = set()
        self._index = 0

    def arrive(
        self,
        plate: str,
        *,
        direction: str = "forward",
        vehicle_type: str = "vehicle",
        confidence: int = 98,
    ) -> PlateRecord:
        """Let a vehicle come; the camera's lists decide whether the barrier opens."""
        self._index += 1
        listed = (
            "whiteList" if plate in self.allowed
            else "blackList" if plate in self.blocked else "otherList"
        )  # fmt: skip
        record = PlateRecord(
            self._index, self._now_ms(), plate, listed, direction, vehicle_type, confidence,
            listed != "blackList",
        )  # fmt: skip
        self.memory.append(record)
        parts = self._parts(record) * self.repeats
        for queue in self._listeners:
            for part in parts:
                queue.put_nowait(part)
        return record

    def heartbeat(self) -> bytes:
        """Return the heartbeat of a camera: no video loss, once more."""
        return xml_part(isapi.heartbeat_xml(self.identity, self._now_ms()))

    def handlers(self) -> dict[tuple[str, str], Handler]:
        """Return the search for plates and the barrier's switch."""
        return {("POST", PLATES_PATH): self._search, ("PUT", GATE_PATH): self._gate}

    async def feed(self, write: Write) -> None:
        """Write what arrives."""
        queue: asyncio.Queue[bytes] = asyncio.Queue()
        self._listeners.add(queue)
        try:
            await self.tell(write, queue)
        finally:
            self._listeners.discard(queue)

    def _now_ms(self) -> int:
        return self.clock.now_ms() + round(self.drift_s * 1000)

    def _parts(self, record: PlateRecord) -> list[bytes]:
        alert = isapi.alert_xml(
            self.identity, record.at_ms, "ANPR", "active", 1,
            {
                "channelName": "barrier",
                "ANPR": {
                    "country": 1, "licensePlate": record.plate, "line": 1,
                    "direction": record.direction, "confidenceLevel": record.confidence,
                    "plateType": "unknown", "plateColor": "blue",
                    "vehicleType": record.vehicle_type,
                    "barrierGateCtrlType": 0 if record.opened else 1,
                    "vehicleInfo": {"index": record.index, "color": "white"},
                    "originalLicensePlate": record.plate, "vehicleListName": record.listed,
                },
                "UUID": str(UUID(int=record.index)), "picNum": self.pictures,
            },
        )  # fmt: skip
        name = 'form-data; name="{0}"; filename="{0}"'
        pictures = [
            isapi.part(_picture(record.index, number), "image/jpeg",
                       name.format(f"picture{number}.jpg"))
            for number in range(self.pictures)
        ]  # fmt: skip
        return [
            isapi.part(alert, 'application/xml; charset="UTF-8"', name.format("anpr.xml")),
            *pictures,
        ]

    def _search(self, request: Request) -> Response:
        if not self.searchable:
            return status_response(request, 4, "Invalid Operation", "notSupport", 403)
        wanted = re.search(rb"<picTime>\s*(\d{8}T\d{6})", request.body)
        if wanted is None:
            return status_response(request, 6, "Invalid Content", "badXmlContent", 400)
        since = wanted[1].decode()
        return xml_response(
            isapi.xml("Plates", {
                "Plate": [
                    {
                        "captureTime": _capture_time(record.at_ms),
                        "plateNumber": record.plate,
                        "picName": f"{_capture_time(record.at_ms)}{record.index:04d}",
                        "country": 1, "laneNo": 1, "direction": record.direction,
                        "matchingResult": record.listed,
                    }
                    for record in self.memory
                    if _capture_time(record.at_ms)[:15] >= since
                ],
            })
        )  # fmt: skip

    def _gate(self, request: Request) -> Response:
        if b"<ctrlMode>open</ctrlMode>" not in request.body:
            return status_response(request, 6, "Invalid Content", "badXmlContent", 400)
        if self.broken:
            return status_response(request, 3, "Device Error", "deviceError")
        self.opened += 1
        return status_response(request)


def _capture_time(at_ms: int) -> str:
    return local(at_ms).strftime("%Y%m%dT%H%M%S") + f"{at_ms % 1000:03d}"


def _picture(index: int, number: int) -> bytes:
    """Return bytes that look like a JPEG to whoever does not decode them, with odd contents."""
    noise = stream(index, "picture", number).randbytes(6_000)
    return b"\xff\xd8\xff\xe0" + noise + b'{"--}\r\n--\xff\xd9'
