"""A door controller's ISAPI endpoint: alert stream, the search in its memory, remote control.

``GET /ISAPI/Event/notification/alertStream`` is a multipart stream without end;
``POST /ISAPI/AccessControl/AcsEvent?format=json`` searches what the controller remembers;
``PUT /ISAPI/AccessControl/RemoteControl/door/<n>`` opens a door. All ask for HTTP Digest.
"""

from __future__ import annotations

import asyncio
import json
import re
from datetime import datetime
from typing import Any

from core.contracts.errors import ContractError
from core.runtime.clock import Clock
from simulators.devices import isapi
from simulators.devices.alert_peer import AlertPeer, Handler, status_response
from simulators.devices.door_model import DoorController
from simulators.devices.http import Request, Response, Write
from simulators.devices.isapi import STREAM_PATH, AccessRecord, Identity

__all__ = ["SEARCH_PATH", "STREAM_PATH", "DoorPeer"]

SEARCH_PATH = "/ISAPI/AccessControl/AcsEvent"
CONTROL_PATH = "/ISAPI/AccessControl/RemoteControl/door/"
_MAXIMUM_RESULTS = 30


class DoorPeer(AlertPeer):
    """One door controller on one HTTP port.

    ``replay`` is how many of its last events the controller sends once more when a client
    comes back, as some firmware does; ``heartbeat_s`` is real time.
    """

    def __init__(
        self,
        clock: Clock,
        controller: DoorController,
        *,
        identity: Identity,
        username: str,
        password: str,
        replay: int = 3,
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
        self.device_type = "ACS"
        self.controller = controller
        self.replay = replay
        self.repeats = 1
        """How often each event is sent."""
        self.says_current = False
        """Newer firmware marks what it tells once more by ``currentEvent`` false."""
        self.searchable = True
        """Some controllers answer a search with "not supported"."""
        self.search_status: int | None = None
        """Answer every search with this HTTP status."""
        self.searches = 0
        self.page = _MAXIMUM_RESULTS
        self._heard_before = False

    async def start(self) -> None:
        """Listen, and let people come and go."""
        await super().start()
        self.controller.start()

    async def stop(self) -> None:
        """Drop every connection and stop the doors."""
        await super().stop()
        await self.controller.stop()

    async def reboot(self, seconds: float) -> None:
        """Lose power for so long (real time); numbers and memory are kept."""
        await self.listener.suspend()
        self.controller.restart()
        await asyncio.sleep(seconds)
        await self.listener.start()

    def heartbeat(self) -> bytes:
        """Return a heartbeat with the controller's own time."""
        return isapi.part(isapi.heartbeat_json(self.identity, self.controller.now_ms()))

    def handlers(self) -> dict[tuple[str, str], Handler]:
        """Return the search."""
        return {("POST", SEARCH_PATH): self._search}

    def prefix_handlers(self) -> dict[tuple[str, str], Handler]:
        """Return the remote control of each door."""
        return {("PUT", CONTROL_PATH): self._control}

    async def feed(self, write: Write) -> None:
        """Write the last events again, then what happens."""
        records = self.controller.listen()
        queue: asyncio.Queue[bytes] = asyncio.Queue(1)
        again = list(self.controller.memory)[-self.replay :] if self.replay else []
        first = tuple(self._part(r, fresh=False) for r in again) if self._heard_before else ()
        self._heard_before = True
        passing = asyncio.ensure_future(self._pass_on(records, queue))
        try:
            await self.tell(write, queue, first=first)
        finally:
            passing.cancel()
            self.controller.unlisten(records)

    async def _pass_on(
        self, records: asyncio.Queue[AccessRecord], queue: asyncio.Queue[bytes]
    ) -> None:
        while True:
            record = await records.get()
            for _ in range(self.repeats):
                await queue.put(self._part(record, fresh=True))

    def _part(self, record: AccessRecord, *, fresh: bool) -> bytes:
        current = fresh if self.says_current else None
        return isapi.part(isapi.event_json(self.identity, record, current=current))

    def _control(self, request: Request) -> Response:
        number = request.path.removeprefix(CONTROL_PATH)
        wanted = re.search(rb"<cmd>\s*(\w+)\s*</cmd>", request.body)
        if wanted is None or wanted[1] != b"open":
            return status_response(request, 6, "Invalid Content", "badXmlContent", 400)
        try:
            self.controller.remote_open(int(number))
        except (ContractError, ValueError):
            return status_response(request, 4, "Invalid Operation", "invalidDoorNo")
        return status_response(request)

    def _search(self, request: Request) -> Response:
        self.searches += 1
        if not self.searchable:
            return status_response(request, 4, "Invalid Operation", "notSupport", 403)
        if self.search_status is not None:
            return Response(self.search_status)
        try:
            condition = _condition(request.body)
        except (ValueError, TypeError, KeyError, RecursionError):
            body = {"statusCode": 6, "statusString": "Invalid Content"}
            return Response(400, json.dumps(body).encode(), "application/json")
        found = [record for record in self.controller.memory if _matches(record, condition)]
        start = condition["position"]
        page = found[start : start + min(condition["maximum"], self.page)]
        more = start + len(page) < len(found)
        answer = {
            "AcsEvent": {
                "searchID": condition["id"],
                "responseStatusStrg": "MORE" if more else "OK" if page else "NO MATCH",
                "numOfMatches": len(page),
                "totalMatches": len(found),
                "InfoList": [isapi.search_entry(record) for record in page],
            }
        }
        body_text = json.dumps(answer, ensure_ascii=False)
        return Response(200, body_text.encode(), "application/json")


def _condition(body: bytes) -> dict[str, Any]:
    """Read an ``AcsEventCond``; raise ValueError, TypeError or KeyError on a bad one."""
    raw = json.loads(body)["AcsEventCond"]
    return {
        "id": str(raw["searchID"]),
        "position": max(int(raw["searchResultPosition"]), 0),
        "maximum": min(max(int(raw["maxResults"]), 1), _MAXIMUM_RESULTS),
        "major": int(raw["major"]),
        "minor": int(raw["minor"]),
        "start": _moment_ms(raw.get("startTime")),
        "end": _moment_ms(raw.get("endTime")),
    }


def _moment_ms(text: str | None) -> int | None:
    return None if text is None else round(datetime.fromisoformat(text).timestamp() * 1000)


def _matches(record: AccessRecord, condition: dict[str, Any]) -> bool:
    """Tell whether a record meets a condition; major or minor 0 means any."""
    return (
        condition["major"] in (0, record.code.major)
        and condition["minor"] in (0, record.code.minor)
        and (condition["start"] is None or record.at_ms >= condition["start"])
        and (condition["end"] is None or record.at_ms < condition["end"] + 1000)
    )
