"""A door controller's ISAPI endpoint: the alert stream and the search in its memory.

``GET /ISAPI/Event/notification/alertStream`` is a multipart stream without end;
``POST /ISAPI/AccessControl/AcsEvent?format=json`` searches what the controller remembers.
Both ask for HTTP Digest.
"""

from __future__ import annotations

import asyncio
import json
import time
from datetime import datetime
from typing import Any

from core.runtime.clock import Clock
from simulators.devices import isapi
from simulators.devices.door_model import DoorController
from simulators.devices.http import DigestSignIn, HttpPeer, Request, Response, Stream, Write
from simulators.devices.isapi import AccessRecord, Identity
from simulators.devices.listener import Listener

STREAM_PATH = "/ISAPI/Event/notification/alertStream"
SEARCH_PATH = "/ISAPI/AccessControl/AcsEvent"
_MAXIMUM_RESULTS = 30


class DoorPeer:
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
        self.controller = controller
        self.sign_in = DigestSignIn(identity.name, username, password)
        self._clock = clock
        self._identity = identity
        self._replay = replay
        self._heartbeat_s = heartbeat_s
        self._heard_before = False
        self._http = HttpPeer(self._answer, host=host, port=port)

    @property
    def port(self) -> int:
        """Return the port that the controller listens on."""
        return self._http.listener.port

    @property
    def listener(self) -> Listener:
        """Return the socket, which a scenario may close for a while."""
        return self._http.listener

    async def start(self) -> None:
        """Listen, and let people come and go."""
        await self._http.listener.start()
        self.controller.start()

    async def stop(self) -> None:
        """Drop every connection and stop the doors."""
        await self._http.listener.stop()
        await self.controller.stop()

    async def _answer(self, request: Request) -> Response | Stream:
        if refusal := self.sign_in.check(request):
            return refusal
        if request.path == STREAM_PATH:
            if request.method != "GET":
                return Response(405)
            kind = f"multipart/mixed; boundary={isapi.BOUNDARY}"
            return Stream(kind, self._feed)
        if request.path == SEARCH_PATH:
            return self._search(request) if request.method == "POST" else Response(405)
        return Response(404)

    async def _feed(self, write: Write) -> None:
        queue = self.controller.listen()
        try:
            again = list(self.controller.memory)[-self._replay :] if self._replay else []
            if self._heard_before:
                for record in again:
                    await write(isapi.part(isapi.event_json(self._identity, record)))
            self._heard_before = True
            await write(self._heartbeat())
            due = time.monotonic() + self._heartbeat_s
            while True:
                try:
                    async with asyncio.timeout(max(due - time.monotonic(), 0.01)):
                        record = await queue.get()
                except TimeoutError:
                    due = time.monotonic() + self._heartbeat_s
                    await write(self._heartbeat())
                else:
                    await write(isapi.part(isapi.event_json(self._identity, record)))
        finally:
            self.controller.unlisten(queue)

    def _heartbeat(self) -> bytes:
        return isapi.part(isapi.heartbeat_json(self._identity, self._clock.now_ms()))

    def _search(self, request: Request) -> Response:
        try:
            condition = _condition(request.body)
        except (ValueError, TypeError, KeyError, RecursionError):
            body = {"statusCode": 6, "statusString": "Invalid Content"}
            return Response(400, json.dumps(body).encode(), "application/json")
        found = [record for record in self.controller.memory if _matches(record, condition)]
        start = condition["position"]
        page = found[start : start + condition["maximum"]]
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
