"""The composition root of the API: builds the parts, starts them and stops them in reverse."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import socket
import time
from collections.abc import Callable, Coroutine, Sequence
from contextlib import AsyncExitStack
from pathlib import Path

import anyio.to_thread
from fastapi import FastAPI
from starlette.middleware.gzip import GZipMiddleware

from core.contracts import topics
from core.contracts.errors import EstateError
from core.runtime.clock import Clock, ScaledClock
from core.runtime.link import Link, LinkOptions, Message
from core.runtime.link_metrics import links
from core.runtime.metrics import Source
from core.runtime.settings import ApiSettings, Settings
from core.storage.media import MediaStore
from core.storage.records import Records
from core.storage.series import open_reader
from dashboard_api import console, metrics, problems
from dashboard_api.alerts.endpoints import router as alerts
from dashboard_api.auth.endpoints import link_router
from dashboard_api.auth.endpoints import router as session
from dashboard_api.auth.passwords import Passwords
from dashboard_api.auth.service import SignInService
from dashboard_api.colours.endpoints import router as colours
from dashboard_api.commands.dispatch import Dispatcher
from dashboard_api.commands.endpoints import router as commands
from dashboard_api.conservation.endpoints import router as conservation
from dashboard_api.context import Services
from dashboard_api.description import describe
from dashboard_api.devices.endpoints import router as devices
from dashboard_api.edges.endpoints import router as edges
from dashboard_api.letters.endpoints import router as letters
from dashboard_api.live.endpoints import router as live
from dashboard_api.live.hub import LiveHub
from dashboard_api.live.source import RecordsSource
from dashboard_api.media.endpoints import router as media
from dashboard_api.quarantine.endpoints import router as quarantine
from dashboard_api.requests import RequestMeasures, RequestTrail
from dashboard_api.security import BoundedBody, KnownHosts, SecurityHeaders, check_transport
from dashboard_api.series.endpoints import router as series
from dashboard_api.series.service import SeriesService
from dashboard_api.server import EmbeddedServer, listen, make_server
from dashboard_api.system.endpoints import VERSION
from dashboard_api.system.endpoints import router as system
from dashboard_api.system.service import HealthService
from dashboard_api.tree.endpoints import router as tree

#: Seconds of real time within which the server must listen.
_START_S = 10.0
_GZIP_FROM_BYTES = 1_024
#: Level 5 is near level 9 in size for JSON, at a third of the time.
_GZIP_LEVEL = 5


def create_app(
    services: Services | None,
    api: ApiSettings,
    static: Path = console.STATIC,
    measures: RequestMeasures | None = None,
) -> FastAPI:
    """Build the app: routes, handlers and middleware; opens nothing.

    ``services`` is None where only the description is wanted. The middleware stands from the
    inside out: last resort, bounded body, gzip, known hosts, security headers, request trail.
    """
    app = FastAPI(
        title="smart-estate",
        version=VERSION,
        openapi_url=None,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        generate_unique_id_function=lambda route: route.name,
    )
    app.state.services = services
    problems.install(app)
    for router in (
        system, conservation, session, tree, alerts, devices, commands, series, colours, edges,
        letters, quarantine, media, live, link_router,
    ):  # fmt: skip
        app.include_router(router)
    describe(app)
    console.install(app, static)
    app.add_middleware(problems.LastResort)
    app.add_middleware(BoundedBody)
    app.add_middleware(GZipMiddleware, minimum_size=_GZIP_FROM_BYTES, compresslevel=_GZIP_LEVEL)
    app.add_middleware(KnownHosts, api=api)
    app.add_middleware(SecurityHeaders)
    app.add_middleware(RequestTrail, measures=measures or RequestMeasures())
    return app


class ApiApp:
    """The API's process part.

    ``clock`` is the run's time and ``wall`` the machine's, by which sessions live. With
    ``mqtt`` it listens on the broker for what wakes the live push; without, it only looks.
    """

    def __init__(
        self,
        settings: Settings,
        clock: Clock,
        *,
        wall: Clock | None = None,
        mqtt: bool = True,
        static: Path = console.STATIC,
        passwords: Passwords | None = None,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._settings = settings
        self._monotonic = monotonic
        self._clock = clock
        self._wall: Clock = wall or ScaledClock()
        self._mqtt = mqtt
        self._static = static
        self._passwords = passwords or Passwords()
        self._records = Records(settings.records_url)
        self._measures = RequestMeasures()
        self._link: Link | None = None
        self._cleanup = AsyncExitStack()
        self._listener: socket.socket | None = None
        self._services: Services | None = None

    @property
    def port(self) -> int:
        """Return the port that is listened on (the real one where the settings say 0)."""
        return int(self._listener.getsockname()[1]) if self._listener else 0

    @property
    def services(self) -> Services:
        """Return the services; only after :meth:`start`."""
        if self._services is None:
            raise RuntimeError("the API has not been started")
        return self._services

    def sources(self) -> Sequence[Source]:
        """Return what Prometheus is told, once the API runs."""
        services, link = self.services, self._link
        return (
            self._measures.collect,
            lambda: metrics.collect(services.hub, services.series),
            lambda: links({} if link is None else {"wake": link}),
        )

    async def start(self) -> None:
        """Open the records, follow the live sequence, and listen.

        Raises:
            SettingsError: TLS files or addresses that cannot be used, or plain HTTP beyond
                loopback; the message names the keys.
            PortTakenError: the address is taken.
            StoreUnavailableError: the records do not answer.
        """
        check_transport(self._settings.api)
        async with AsyncExitStack() as stack:
            await self._start(stack)
            self._cleanup = stack.pop_all()

    async def stop(self) -> None:
        """End the live streams, then the server, then everything else."""
        await self._cleanup.aclose()

    async def _start(self, stack: AsyncExitStack) -> None:
        self._listener = listen(self._settings.api)
        stack.callback(self._listener.close)
        await anyio.to_thread.run_sync(self._records.open)
        stack.callback(self._records.close)
        series = SeriesService(lambda: open_reader(self._settings))
        stack.callback(series.close)
        hub = LiveHub(RecordsSource(self._records))
        speed = self._clock.speed if isinstance(self._clock, ScaledClock) else 1.0
        dispatcher = Dispatcher(speed)
        self._link = link = self._make_link(hub, dispatcher)
        server: list[EmbeddedServer] = []
        self._services = services = Services(
            settings=self._settings,
            clock=self._clock,
            wall=self._wall,
            speed=speed,
            records=self._records,
            series=series,
            media=MediaStore(self._settings.data / "media"),
            sign_in=SignInService(
                self._records, self._wall, self._settings.api.session_hours, self._passwords
            ),
            hub=hub,
            health=HealthService(
                self._records,
                series,
                hub,
                series_kind=self._settings.series.kind,
                broker_connected=None if link is None else lambda: link.connected,
                now_ms=self._clock.now_ms,
                monotonic=self._monotonic,
            ),
            commands=dispatcher,
            abort=lambda peer: server[0].abort(peer),
        )
        app = create_app(services, self._settings.api, self._static, self._measures)
        server.append(make_server(app, self._settings.api))
        await self._serve(stack, server[0], self._listener)
        await hub.start()
        stack.push_async_callback(hub.stop)
        if link is not None:
            link.start()
            stack.push_async_callback(_in_thread, link.stop)
        _background(stack, services.health.watch(), "health-watch")

    def _make_link(self, hub: LiveHub, dispatcher: Dispatcher) -> Link | None:
        if not self._mqtt:
            return None
        link = Link(
            self._settings.broker, LinkOptions(client_id=f"estate-api-{secrets.token_hex(4)}")
        )

        def wake(_: Message) -> None:
            hub.wake()

        link.subscribe(topics.ALL_ALERTS, wake)
        link.subscribe(topics.ALL_COLOURS, wake)
        dispatcher.use(link)
        return link

    @staticmethod
    async def _serve(
        stack: AsyncExitStack, server: EmbeddedServer, listener: socket.socket
    ) -> None:
        task = asyncio.create_task(server.serve(sockets=[listener]), name="http-server")

        async def stop() -> None:
            server.should_exit = True
            await task

        stack.push_async_callback(stop)
        async with asyncio.timeout(_START_S):
            while not server.started:
                if task.done():
                    await task
                    raise EstateError("the HTTP server ended before it listened")
                await asyncio.sleep(0.005)


async def _in_thread(work: Callable[[], None]) -> None:
    await anyio.to_thread.run_sync(work)


def _background(stack: AsyncExitStack, work: Coroutine[None, None, None], name: str) -> None:
    """Run ``work`` until the stack closes."""
    task = asyncio.create_task(work, name=name)

    async def stop() -> None:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task

    stack.push_async_callback(stop)
