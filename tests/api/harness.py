"""A real API on a real port, in a thread of its own, over real records and an embedded series."""

from __future__ import annotations

import asyncio
import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
from argon2 import PasswordHasher

from core.contracts.alerts import RuleSide, alert_id
from core.contracts.codec import make_event
from core.contracts.colours import Colour
from core.contracts.outputs import (
    AlertOutput,
    Cause,
    ColourOutput,
    EdgeOutput,
    LossOutput,
    Output,
    Presence,
    PresenceOutput,
    StepKind,
    TopologyOutput,
)
from core.contracts.ports import Point
from core.contracts.topology import Topology
from core.contracts.topology import load as load_topology
from core.runtime.settings import ApiSettings, BrokerSettings, RecordsSettings, Settings
from core.storage.records import Records, projection
from core.storage.series import open_writer
from dashboard_api.app import ApiApp
from dashboard_api.auth.passwords import Passwords
from dashboard_api.auth.service import issue_sign_in_link

NOW = 1_763_000_000_000
PASSWORD = "plenty of lanterns"
CSRF = "X-Estate-CSRF"


@dataclass
class FakeClock:
    """A clock that stands still until it is moved."""

    ms: int = NOW

    def now_ms(self) -> int:
        return self.ms

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(0)

    def wait(self, event: threading.Event, seconds: float) -> bool:
        return event.is_set()

    def move(self, *, seconds: float = 0, minutes: float = 0, hours: float = 0) -> None:
        self.ms += int(1000 * (seconds + 60 * minutes + 3600 * hours))


def cheap_passwords() -> Passwords:
    """argon2id all the same, with parameters for tests."""
    return Passwords(PasswordHasher(time_cost=1, memory_cost=8, parallelism=1))


@dataclass
class Running:
    """A started API."""

    app: ApiApp
    loop: asyncio.AbstractEventLoop
    settings: Settings
    clock: FakeClock
    wall: FakeClock
    clients: list[httpx.Client] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.app.port}"

    @property
    def records(self) -> Records:
        return self.app.services.records

    def client(self, **options: Any) -> httpx.Client:
        """A browser of its own: cookies are not shared."""
        # Without verify=False each client would load the system's certificates, for nothing.
        client = httpx.Client(base_url=self.url, timeout=20, verify=False, **options)
        self.clients.append(client)
        return client

    def link(self) -> str:
        return issue_sign_in_link(self.records, self.wall.now_ms())

    def signed_in(self, **options: Any) -> httpx.Client:
        """A browser that the administrator signed in with a link; it sends the CSRF token."""
        client = self.client(**options)
        assert client.get("/sign-in", params={"token": self.link()}).status_code == 303
        client.headers[CSRF] = client.get("/api/v1/session").json()["csrf"]
        return client

    def apply(self, *outputs: Output, wake: bool = True) -> None:
        """What the rules said reaches the records."""
        with self.records.session() as session:
            projection.apply(session, list(outputs), self.clock.now_ms())
        if wake:
            self.app.services.hub.wake()


@contextmanager
def running(
    folder: Path,
    *,
    template: Path | None = None,
    api: ApiSettings | None = None,
    broker: BrokerSettings | None = None,
    records: RecordsSettings | None = None,
    **options: Any,
) -> Iterator[Running]:
    """Start an API on a free port and stop it at the end."""
    settings = Settings(
        data=folder,
        api=api or ApiSettings(port=0),
        broker=broker or BrokerSettings(),
        records=records or RecordsSettings(),
    )
    if template is not None:
        shutil.copy(template, folder / "records.sqlite")
    clock, wall = FakeClock(), FakeClock()
    options.setdefault("mqtt", False)
    app = ApiApp(settings, clock, wall=wall, passwords=cheap_passwords(), **options)
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="api-under-test")
    thread.start()
    run = Running(app, loop, settings, clock, wall)
    try:
        asyncio.run_coroutine_threadsafe(app.start(), loop).result(20)
        try:
            yield run
        finally:
            for client in run.clients:
                client.close()
            asyncio.run_coroutine_threadsafe(app.stop(), loop).result(20)
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)
        loop.close()


# -- a small estate --------------------------------------------------------------------------


def name(text: str) -> dict[str, str]:
    return {"zh": text, "en": text}


def small_topology() -> Topology:
    """A street with one site of two buildings, an edge, a lift, a meter and three doors."""
    node = {"name": name("x")}
    return load_topology(
        {
            "datum": "wgs84",
            "nodes": [
                {**node, "id": "street", "level": "street"},
                {**node, "id": "west", "level": "community", "parent": "street"},
                {**node, "id": "grid", "level": "grid", "parent": "west"},
                {
                    **node,
                    "id": "jinxiu",
                    "level": "site",
                    "parent": "grid",
                    "site_kind": "residential_estate",
                },
                {
                    **node,
                    "id": "b1",
                    "level": "building",
                    "parent": "jinxiu",
                    "geometry": {
                        "outline": [[120.0, 30.0], [120.001, 30.0], [120.001, 30.001]],
                        "height_m": 54,
                    },
                },
                {**node, "id": "b2", "level": "building", "parent": "jinxiu"},
            ],
            "edges": [{"id": "jinxiu-b1", "site": "jinxiu", "name": name("edge")}],
            "devices": [
                _device("lift-1", "elevator", "b1"),
                _device("meter-1", "meter", "b1"),
                *(_device(f"door-{number}", "door", "b2") for number in (1, 2, 3)),
            ],
            "groups": [{"id": "towers", "name": name("towers"), "members": ["b1"]}],
        }
    )


def _device(id: str, family: str, node: str) -> dict[str, Any]:
    return {
        "id": id,
        "family": family,
        "name": {"zh": f"设备{id}", "en": f"Device {id}"},
        "node": node,
        "edge": "jinxiu-b1",
        "expect_s": 10,
    }


def alert(number: int = 1, *, colour: Colour = Colour.RED, **changes: Any) -> RuleSide:
    """An alert of the lift in building 1."""
    values: dict[str, Any] = {
        "id": alert_id("test.rule", f"key-{number}", str(number)),
        "rule": "test.rule",
        "key": f"key-{number}",
        "site": "jinxiu",
        "node": "b1",
        "device": "lift-1",
        "colour": colour,
        "began_at": NOW - 5_000,
        "raised_at": NOW - 3_000 + number,
        "noticed_at": NOW - 2_000 + number,
        "revision": 1,
        "attention": 1,
        "title_en": "Trapped",
        "title_zh": "困人",
        "reason": {"condition": "occupied"},
    }
    return RuleSide(**values | changes)


def raised(side: RuleSide, step: StepKind = StepKind.RAISED) -> AlertOutput:
    return AlertOutput(side, step, side.raised_at)


def populate(run: Running) -> None:
    """A topology with colours, presence, an edge, alerts, a loss, and stored readings."""
    at = NOW - 60_000
    run.apply(
        TopologyOutput(at, small_topology()),
        ColourOutput("b1", at, Colour.GREEN, Colour.GREEN, 2, 2),
        ColourOutput("b1", at + 30_000, Colour.RED, Colour.RED, 2, 2),
        PresenceOutput("lift-1", at, Presence.ONLINE, at, None),
        PresenceOutput("door-1", at, Presence.OFFLINE, None, Cause.DEVICE),
        EdgeOutput("jinxiu-b1", "jinxiu", at, online=True, drained=True, epoch="epoch-0001"),
        LossOutput(7, 0, at, "jinxiu", "jinxiu-b1", "epoch-0001", "reading", 1, 5, 50, "budget"),
        raised(alert(1)),
        raised(alert(2, colour=Colour.YELLOW, node="b2", device="door-1")),
        raised(alert(3, colour=Colour.BLUE, cleared_at=NOW - 100)),
    )
    readings = [
        make_event(
            "meter.reading",
            device="meter-1",
            at=NOW - 100_000 + 1_000 * number,
            seen=NOW,
            data={"medium": "electricity", "power_w": float(number), "relay_closed": True},
        )
        for number in range(100)
    ]
    pressed = make_event(
        "elevator.alarm_button", device="lift-1", at=NOW - 10_000, seen=NOW, data={"active": True}
    )
    writer = open_writer(run.settings)
    points = [Point(e.at * 1_000_000, "jinxiu", e) for e in [*readings, pressed]]
    writer.write(list(enumerate(points, 1)), len(points))
    writer.close()
