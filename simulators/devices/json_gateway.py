"""A vendor's gateway that speaks JSON: it answers, it posts, or it publishes on a broker.

The fields are those that lift platforms after GB/T 24476 exchange; the access records are those
of a lift access controller (智能梯控).
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

from core.contracts.errors import RetryableError
from core.runtime.clock import Clock
from core.runtime.link import Link, LinkOptions
from core.runtime.settings import BrokerSettings
from simulators.devices.elevator_model import CarState, ElevatorModel
from simulators.devices.faults import FaultyWriter, LineFaults
from simulators.devices.http import HttpPeer, Request, Response, Stream

_LOCAL = timezone(timedelta(hours=8))
#: So many of the last access records stand in an answer.
_RECORDS = 50
_HTTP_OK = 200
_ANSWER_S = 15.0
#: The gateway tries a message again after so long (s, real time).
_AGAIN_S = 0.3


def lift_fields(state: CarState) -> dict[str, Any]:
    """Return a car's state in the words of lift platforms after GB/T 24476."""
    return {
        "service_mode": int(state.mode),
        "car_status": int(state.moving),
        "car_direction": state.direction,
        "door_zone": 1 if state.in_door_zone else 2,
        "car_position": state.floor,
        "door_status": 1 if state.door_closed else 2,
        "passenger_status": 1 if state.occupied else 2,
        "power_status": 1 if state.power_on else 2,
        "load": state.load_kg,
        "total_running_time": state.running_h,
        "present_counter_value": state.trips,
    }


@dataclass
class JsonState:
    """What a gateway knows: lifts and sensors by the vendor's ids, and access records."""

    clock: Clock
    lifts: dict[str, ElevatorModel] = field(default_factory=dict)
    sensors: dict[str, dict[str, tuple[float, str]]] = field(default_factory=dict)
    """Sensor -> quantity -> (value, unit)."""
    controller: str = "TK-01"
    clock_drift_s: float = 0.0
    """How far the gateway's clock is ahead."""
    records: deque[dict[str, Any]] = field(default_factory=lambda: deque(maxlen=_RECORDS))
    serial: int = 0
    extra: dict[str, Any] = field(default_factory=dict)
    """Fields that replace those of every lift: a stuck or a nonsensical value."""

    def access(
        self, card: str, granted: list[int], refused: list[int], *, skip_serials: int = 0
    ) -> dict[str, Any]:
        """Let somebody use a card in a car; return the record, which is kept, too."""
        self.serial += 1 + skip_serials
        record = {
            "serial": self.serial, "controller": self.controller, "reader": "car",
            "card_no": card, "open_type": 1, "floors": ",".join(map(str, granted)),
            "refused": ",".join(map(str, refused)), "result": 0 if granted else 1,
            "time": self.local_time(),
        }  # fmt: skip
        self.records.append(record)
        return record

    def local_time(self) -> str:
        """Return the gateway's time as it writes it: local, without an offset."""
        moment = datetime.fromtimestamp(self.now_ms() / 1000, UTC).astimezone(_LOCAL)
        return moment.strftime("%Y-%m-%d %H:%M:%S")

    def now_ms(self) -> int:
        """Return the gateway's time."""
        return self.clock.now_ms() + round(self.clock_drift_s * 1000)

    def lift(self, name: str) -> dict[str, Any]:
        """Return one lift."""
        state = self.lifts[name].state(self.clock.now_ms())
        codes = [f"{code:02d}" for code in state.faults if code]
        found = {"lift_id": name, **lift_fields(state), "alarm": int(state.alarm)}
        return {**found, "fault_codes": codes, **self.extra}

    def whole(self) -> dict[str, Any]:
        """Return everything, as one message."""
        return {
            "time": self.local_time(),
            "lifts": [self.lift(name) for name in self.lifts],
            "sensors": [
                {
                    "id": name, "ts": self.now_ms() // 1000,
                    "values": [
                        {"name": quantity, "value": value, "unit": unit}
                        for quantity, (value, unit) in values.items()
                    ],
                }
                for name, values in self.sensors.items()
            ],
            "records": list(reversed(self.records)),
        }  # fmt: skip


class JsonHttpPeer:
    """Answers GET with the whole state; ``token`` is asked for where it is given."""

    def __init__(
        self, state: JsonState, *, token: str = "", host: str = "127.0.0.1", port: int = 0
    ) -> None:
        self.state = state
        self.token = token
        self.asked = 0
        self._http = HttpPeer(self._answer, host=host, port=port)

    @property
    def port(self) -> int:
        """Return the port."""
        return self._http.listener.port

    @property
    def listener(self) -> Any:
        """Return the listener: its faults, and whether it is there."""
        return self._http.listener

    async def start(self) -> None:
        """Listen."""
        await self._http.listener.start()

    async def stop(self) -> None:
        """Drop every connection and give the port back."""
        await self._http.listener.stop()

    async def _answer(self, request: Request) -> Response | Stream:
        if self.token and request.headers.get("authorization") != f"Bearer {self.token}":
            return Response(401)
        self.asked += 1
        body = json.dumps(self.state.whole(), ensure_ascii=False).encode()
        return Response(200, body, "application/json; charset=utf-8")


class _Sender(ABC):
    """Sends the state every ``period_s`` (real time), and what happens as soon as it can."""

    def __init__(self, state: JsonState, period_s: float) -> None:
        self.state = state
        self.faults = LineFaults()
        self.away = False
        """Nothing is sent, as if the gateway were without power."""
        self._period_s = period_s
        self._outbox: deque[tuple[str, dict[str, Any]]] = deque(maxlen=1_000)
        self._task: asyncio.Task[None] | None = None
        self._wake = asyncio.Event()

    @property
    def listener(self) -> _Sender:
        """Return itself: it has the faults, and can go away and come back."""
        return self

    async def suspend(self) -> None:
        """Go away."""
        self.away = True

    async def start(self) -> None:
        """Begin, or come back."""
        self.away = False
        if self._task is None:
            self._task = asyncio.create_task(self._run())

    async def stop(self) -> None:
        """End."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            self._task = None

    def happen(self, topic: str, message: dict[str, Any]) -> None:
        """Send something that happened; it is kept until it is taken."""
        self._outbox.append((topic, message))
        self._wake.set()

    async def _run(self) -> None:
        while True:
            sent = not self.away and await self._flush()
            self._wake.clear()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._period_s if sent else _AGAIN_S):
                    await self._wake.wait()

    async def _flush(self) -> bool:
        while self._outbox:
            topic, message = self._outbox[0]
            if not await self._send(topic, json.dumps(message).encode()):
                return False
            self._outbox.popleft()
        for topic, message in self._state():
            if not await self._send(topic, json.dumps(message).encode()):
                return False
        return True

    def _state(self) -> list[tuple[str, dict[str, Any]]]:
        return [("", self.state.whole())]

    @abstractmethod
    async def _send(self, topic: str, body: bytes) -> bool:
        """Send one message; tell whether it was taken."""


class JsonPushPeer(_Sender):
    """Posts to an edge, and posts again what was not answered with success."""

    def __init__(
        self,
        state: JsonState,
        *,
        port: int,
        path: str = "/",
        token: str = "",
        period_s: float = 1.0,
    ) -> None:
        super().__init__(state, period_s)
        self._port = port
        self._path = path
        self._token = token
        self.answers: deque[int] = deque(maxlen=1_000)
        """The status of each answer."""

    async def _send(self, topic: str, body: bytes) -> bool:
        try:
            async with asyncio.timeout(_ANSWER_S if not self.faults.mute else _AGAIN_S):
                status = await self._post(topic, body)
        except (OSError, TimeoutError, ValueError, asyncio.IncompleteReadError):
            return False
        self.answers.append(status)
        return status == _HTTP_OK

    async def _post(self, topic: str, body: bytes) -> int:
        reader, plain = await asyncio.open_connection("127.0.0.1", self._port)
        writer = FaultyWriter(plain, self.faults)
        target = f"{self._path.rstrip('/')}/{topic}" if topic else self._path
        head = (
            f"POST {target} HTTP/1.1\r\nHost: edge\r\nContent-Type: application/json\r\n"
            f"Authorization: Bearer {self._token}\r\nContent-Length: {len(body)}\r\n"
            "Connection: close\r\n\r\n"
        )
        try:
            writer.write(head.encode())
            writer.write(body)
            await writer.drain()
            if self.faults.truncate:
                plain.write_eof()
            line = await reader.readline()
            return int(line.split()[1]) if line else 0
        finally:
            plain.close()


class JsonMqttPeer(_Sender):
    """Publishes every lift's status, and what happens, on a broker."""

    def __init__(
        self,
        state: JsonState,
        *,
        broker_port: int,
        root: str = "",
        client_id: str = "gateway1",
        period_s: float = 1.0,
    ) -> None:
        super().__init__(state, period_s)
        self._root = f"{root}/" if root else ""
        broker = BrokerSettings(embedded=False, host="127.0.0.1", port=broker_port)
        self._link = Link(broker, LinkOptions(client_id, backoff_s=(0.2, 1.0)))
        self._linked = False
        self._told: dict[str, Mapping[str, Any]] = {}
        self._telling: dict[str, Mapping[str, Any]] = {}

    @property
    def connected(self) -> bool:
        """Tell whether the broker is there."""
        return self._link.connected

    async def start(self) -> None:
        """Connect and begin, or come back."""
        if not self._linked:
            self._linked = True
            self._link.start()
        await super().start()

    async def stop(self) -> None:
        """End and disconnect."""
        await super().stop()
        if self._linked:
            self._linked = False
            await asyncio.to_thread(self._link.stop)

    async def _flush(self) -> bool:
        sent = await super()._flush()
        if sent:
            # The end of a fault is told until the broker has taken it.
            self._told.update(self._telling)
        return sent

    def _state(self) -> list[tuple[str, dict[str, Any]]]:
        found: list[tuple[str, dict[str, Any]]] = []
        for name in self.state.lifts:
            whole, now = self.state.lift(name), self.state.now_ms()
            alarm = {"alarm": whole.pop("alarm")}
            codes = whole.pop("fault_codes")
            found.append((f"{name}/status", {"ts": now, **whole}))
            found.append((f"{name}/alarm", {"ts": now, **alarm}))
            before = self._told.get(name, {})
            faults = dict.fromkeys(codes, "01")
            for code in {**before, **faults}:
                fault = {"ts": now, "fault_code": code, "deal_status": faults.get(code, "00")}
                found.append((f"{name}/fault", {**fault, "floor": whole["car_position"]}))
            self._telling[name] = faults
        return found

    async def _send(self, topic: str, body: bytes) -> bool:
        if self.faults.delay_s:
            await asyncio.sleep(self.faults.delay_s)
        if self.faults.cut:
            self.faults.cut = False
            return False
        try:
            for piece in self.faults.apply(body):
                sent = self._link.publish(self._root + topic, piece)
                await asyncio.wait_for(asyncio.wrap_future(sent), _ANSWER_S)
        except (RetryableError, TimeoutError):
            return False
        return True
