"""A real API over real records of the simulated community, and browsers that look at it."""

from __future__ import annotations

import asyncio
import math
import shutil
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import cv2
import numpy as np
from argon2 import PasswordHasher
from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Page, Request

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
from core.runtime.clock import ScaledClock
from core.runtime.settings import ApiSettings, Settings
from core.storage.media import new_media_id
from core.storage.records import Records, processes, projection, refusals
from core.storage.series import open_writer
from dashboard_api.app import ApiApp
from dashboard_api.auth.passwords import Passwords
from dashboard_api.auth.service import issue_sign_in_link
from simulators.community import generate

METER = "jinxiu-b1-u1-1002-meter"
LIFT = "jinxiu-b1-u1-lift-1"
CHROMIUM = "/usr/bin/chromium"
_QUIET = [
    "--no-sandbox",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-dev-shm-usage",
]
#: WebGL in software: the real map, at the price of a processor.
WITH_WEBGL = [*_QUIET, "--use-angle=swiftshader", "--enable-unsafe-swiftshader"]
#: No WebGL: the flat plan stands in for the map.
WITHOUT_WEBGL = [*_QUIET, "--disable-3d-apis"]


@dataclass
class Site:
    """An API and what the rules and the supervisor may tell it."""

    loop: asyncio.AbstractEventLoop
    settings: Settings
    clock: ScaledClock
    topology: Topology
    started: ApiApp | None = None
    skipped_s: float = 0.0
    """How much longer the API has been waiting than it has."""

    @property
    def app(self) -> ApiApp:
        assert self.started is not None, "the API is stopped"
        return self.started

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.settings.api.port}"

    def start(self) -> None:
        """Start the API; after the first time on the port that it had."""
        cheap = Passwords(PasswordHasher(time_cost=1, memory_cost=8, parallelism=1))
        app = ApiApp(
            self.settings, self.clock, mqtt=False, passwords=cheap, monotonic=self._monotonic
        )
        asyncio.run_coroutine_threadsafe(app.start(), self.loop).result(20)
        self.started = app
        self.settings.api.port = app.port

    def _monotonic(self) -> float:
        return time.monotonic() + self.skipped_s

    def stop(self) -> None:
        """Stop the API, if it runs."""
        if self.started is not None:
            asyncio.run_coroutine_threadsafe(self.started.stop(), self.loop).result(20)
            self.started = None

    @property
    def records(self) -> Records:
        return self.app.services.records

    def link(self) -> str:
        """Return the address of a fresh one-time sign-in link."""
        token = issue_sign_in_link(self.records, self.clock.now_ms())
        return f"{self.url}/sign-in?token={token}"

    def say(self, *outputs: Output) -> None:
        """What the rules said reaches the records."""
        with self.records.session() as session:
            projection.apply(session, list(outputs), self.clock.now_ms())
        self.app.services.hub.wake()

    def process(self, name: str, state: str, restarts: int, message: str = "") -> None:
        """What the supervisor saw reaches the records."""
        with self.records.session() as session:
            now = self.clock.now_ms()
            processes.set_process(session, name, state, 4711, restarts, now, message)
        self.app.services.hub.wake()

    def alert(self, key: str, colour: Colour, title: tuple[str, str], **changes: Any) -> RuleSide:
        """Return an alert of the lift in building 1 that has just been raised."""
        now = self.clock.now_ms()
        values: dict[str, Any] = {
            "id": alert_id("test", key, "opening"),
            "rule": "lift-entrapment",
            "key": key,
            "site": "jinxiu",
            "node": "jinxiu-b1-u1",
            "device": LIFT,
            "colour": colour,
            "began_at": now - 130_000,
            "raised_at": now - 10_000,
            "noticed_at": now - 9_000,
            "revision": 1,
            "attention": 1,
            "title_zh": title[0],
            "title_en": title[1],
            "advice_zh": "立即与轿厢通话安抚；通知维保单位，三十分钟内到场；不要强行扒门。",
            "advice_en": "Speak to the car at once; call the maintainer, who is to be there within "
            "30 minutes; nobody is to force the doors.",
            "reason": {
                "type": "sustained",
                "condition": "occupied and not moving and not door_closed",
                "kind": "elevator.status",
                "values": {"floor": 7, "occupied": True, "moving": False, "load_kg": 142.0},
                "event": {"device": LIFT, "at": now - 130_000},
                "for_ms": 120_000,
                "zh": "电梯状态；轿厢有人且停梯；已持续2分钟",
                "en": "elevator.status; occupied and not moving; held for 2 min",
            },
        }
        return RuleSide(**values | changes)


def raised(side: RuleSide, step: StepKind = StepKind.RAISED) -> AlertOutput:
    """Return the rules' word that an alert was raised, or changed."""
    return AlertOutput(side, step, side.raised_at, {"colour": side.colour.value})


@contextmanager
def serving(folder: Path, *, template: Path | None = None, speed: float = 1.0) -> Iterator[Site]:
    """Start the API over the simulated community, all of it heard and green."""
    settings = Settings(data=folder, api=ApiSettings(port=0))
    if template is not None:
        shutil.copy(template, folder / "records.sqlite")
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="api-under-test")
    thread.start()
    topology = load_topology(generate(7).topology)
    site = Site(loop, settings, ScaledClock.starting_now(speed), topology)
    try:
        site.start()
        try:
            site.say(*_all_is_well(site))
            yield site
        finally:
            site.stop()
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)
        loop.close()


def _all_is_well(site: Site) -> list[Output]:
    at = site.clock.now_ms() - 60_000
    topology = site.topology
    total: dict[str, int] = {}
    for device in topology.devices:
        for node in topology.ancestors(device.node):
            total[node.id] = total.get(node.id, 0) + 1
    said: list[Output] = [
        TopologyOutput(at, topology),
        *(
            EdgeOutput(edge.id, edge.site, at, online=True, drained=True, epoch="epoch-1")
            for edge in topology.edges
        ),
        *(
            PresenceOutput(device.id, at + 50_000, Presence.ONLINE, at + 50_000, None)
            for device in topology.devices
        ),
    ]
    for node in topology.nodes:
        count = total.get(node.id, 0)
        colour = Colour.GREEN if count else Colour.GREY
        said.append(ColourOutput(node.id, at, colour, Colour.GREEN, count, count))
    return said


def trouble(site: Site) -> None:
    """Let much go wrong at once: every colour, lateness, an absent edge, refusals, losses."""
    now = site.clock.now_ms()
    snapshot = _snapshot(site)
    alerts = [
        site.alert("a", Colour.RED, ("电梯困人：1号楼1单元", "Trapped in lift 1, building 1")),
        site.alert(
            "b", Colour.ORANGE, ("消防通道被占用：南大门", "Fire lane blocked: main gate"),
            rule="fire-lane-blocked", node="jinxiu", device="jinxiu-gate-camera",
            began_at=now - 600_000, raised_at=now - 540_000,
            reason={
                "type": "sustained", "condition": "active", "kind": "camera.zone_occupied",
                "values": {"active": True, "dwell_s": 62.0, "score": 0.41, "snapshot": snapshot},
                "for_ms": 60_000, "zh": "区域被占用；已持续1分钟", "en": "occupied for 1 min",
            },
        ),
        site.alert(
            "c", Colour.YELLOW, ("门长时间未关：3号楼", "Door held open: building 3, unit 1"),
            rule="door-held-open", node="jinxiu-b3-u1", device=None,
            began_at=now - 400_000, raised_at=now - 300_000,
        ),
        site.alert(
            "d", Colour.BLUE, ("电表用电过载：1002室", "Overload at flat 1002"),
            rule="meter-overload", node="jinxiu-b1-u1-f10", device=METER,
            began_at=now - 4_000_000, raised_at=now - 3_900_000, cleared_at=now - 60_000,
        ),
        site.alert(
            "e", Colour.YELLOW, ("边缘节点失联", "Edge away"), rule="edge-away",
            node="jinxiu", device=None, began_at=now - 200_000, raised_at=now - 190_000,
        ),
    ]  # fmt: skip
    away = [d.id for d in site.topology.devices if d.edge == "jinxiu-north"]
    site.say(
        *(raised(alert) for alert in alerts),
        *(PresenceOutput(i, now, Presence.OFFLINE, now - 90_000, Cause.EDGE) for i in away),
        *_coloured(site, now, away),
        EdgeOutput("jinxiu-north", "jinxiu", now, online=False, drained=False, epoch="epoch-1"),
        LossOutput(
            9, 0, now, "jinxiu", "jinxiu-gate", "epoch-0", "reading", 12, 40, 2_900, "budget"
        ),
    )
    letter = refusals.DeadLetter(
        9, 0, now, "plain/jinxiu/probe", "data.value: expected a number", "data.value",
        b'{"kind":"sensor.reading","data":{"value":"warm <b>or</b> not"}}', "jinxiu",
    )  # fmt: skip
    with site.records.session() as session:
        refusals.add_dead_letters(session, [letter], now)
        for name in ("broker", "collector", "worker", "api", "edge jinxiu-gate", "simulator"):
            processes.set_process(session, name, "running", 4000, 0, now - 90_000)
        processes.set_process(session, "edge jinxiu-south", "running", 4010, 2, now - 5_000)
    site.app.services.hub.wake()


def _coloured(site: Site, now: int, away: list[str]) -> list[Output]:
    tree = site.topology
    worst: dict[str, Colour] = {}
    places = (
        ("jinxiu-b1-u1", Colour.RED), ("jinxiu", Colour.ORANGE), ("jinxiu-b3-u1", Colour.YELLOW),
    )  # fmt: skip
    for place, colour in places:
        for node in tree.ancestors(place):
            if colour.rank > worst.get(node.id, Colour.GREEN).rank:
                worst[node.id] = colour
    worst["jinxiu-b1-u1-f7"] = Colour.RED
    heard: dict[str, list[int]] = {}
    for device in tree.devices:
        for node in tree.ancestors(device.node):
            count = heard.setdefault(node.id, [0, 0])
            count[0] += device.id not in away
            count[1] += 1
    said: list[Output] = []
    for node in tree.nodes:
        here, total = heard.get(node.id, [0, 0])
        colour = worst.get(node.id, Colour.GREEN)
        known = total > 0 and here / total >= tree.coverage_minimum
        shown = colour if known or (not total and colour.rank > 0) else Colour.GREY
        said.append(ColourOutput(node.id, now, shown, colour, here, total))
    return said


def _snapshot(site: Site) -> str:
    picture = np.full((240, 320, 3), (60, 70, 60), np.uint8)
    cv2.rectangle(picture, (90, 120), (230, 190), (40, 60, 180), -1)
    _, jpeg = cv2.imencode(".jpg", picture)
    today = datetime.fromtimestamp(site.clock.now_ms() / 1000, UTC).date()
    media_id = new_media_id(today)
    site.app.services.media.put(media_id, jpeg.tobytes(), {"device": "jinxiu-gate-camera"})
    return media_id


def readings(site: Site) -> None:
    """Store a day of a meter's readings with a hole of two hours, and a lift's status."""
    now = site.clock.now_ms()
    away = ((now - 30_000_000, now - 22_800_000), (now - 2_400_000, now - 1_500_000))
    events = [
        make_event(
            "meter.reading", device=METER, at=at, seen=at,
            data={
                "medium": "electricity",
                "energy_kwh": round(12_345 + (at - now + 86_400_000) / 7e6, 2),
                "power_w": round(900 + 700 * math.sin(at / 6e6) + 90 * math.sin(at / 3e5), 1),
                "voltage_l1_v": round(220 + 3 * math.sin(at / 1e6), 1),
                "relay_closed": True,
            },
        )
        for at in range(now - 86_400_000, now - 5_000, 60_000)
        if not any(start < at < end for start, end in away)
    ]  # fmt: skip
    events.append(
        make_event(
            "elevator.status", device=LIFT, at=now - 4_000, seen=now,
            data={
                "service_mode": "normal", "moving": False, "direction": "none",
                "in_door_zone": False, "floor": 7, "door_closed": True, "occupied": True,
                "load_kg": 142.0, "trips": 48_211,
            },
        )
    )  # fmt: skip
    writer = open_writer(site.settings)
    points = [Point(event.at * 1_000_000, "jinxiu", event) for event in events]
    writer.write(list(enumerate(points, 1)), len(points))
    writer.close()


@dataclass
class Watched:
    """A browser's page, and everything that should not have happened in it."""

    page: Page
    context: BrowserContext
    complaints: list[str] = field(default_factory=list)
    #: Console errors that a test provokes on purpose: substrings.
    expected: list[str] = field(default_factory=list)

    @property
    def surprises(self) -> list[str]:
        return [said for said in self.complaints if not any(e in said for e in self.expected)]


def until(page: Page, expression: str, *, seconds: float = 10) -> None:
    """Wait until an expression holds in the page (its policy forbids Playwright's own way)."""
    for _ in range(int(seconds * 20)):
        if page.evaluate(expression):
            return
        page.wait_for_timeout(50)
    raise AssertionError(f"not within {seconds} s: {expression}")


@contextmanager
def watching(browser: Browser, site: Site, **options: Any) -> Iterator[Watched]:
    """Open a browser of its own and note errors, policy violations and requests that leave."""
    options.setdefault("viewport", {"width": 1920, "height": 1080})
    options.setdefault("locale", "zh-CN")
    context = browser.new_context(base_url=site.url, service_workers="block", **options)
    page = context.new_page()
    watched = Watched(page, context)

    def on_console(message: ConsoleMessage) -> None:
        if message.type in ("error", "warning") and "GPU stall" not in message.text:
            watched.complaints.append(f"console {message.type}: {message.text}")

    def on_request(request: Request) -> None:
        parts = urlsplit(request.url)
        if parts.scheme not in ("data", "blob") and parts.hostname != "127.0.0.1":
            watched.complaints.append(f"left the machine: {request.url}")

    page.on("console", on_console)
    page.on("pageerror", lambda error: watched.complaints.append(f"page error: {error}"))
    context.on("request", on_request)
    try:
        yield watched
    finally:
        context.close()
