"""What the routes work with; built once by the composition root, handed in by dependency."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Annotated

from fastapi import Depends, Request

from core.runtime.clock import Clock
from core.runtime.settings import Settings
from core.storage.media import MediaStore
from core.storage.records import Records
from dashboard_api.auth.service import SignInService
from dashboard_api.commands.dispatch import Dispatcher
from dashboard_api.live.hub import LiveHub
from dashboard_api.series.service import SeriesService
from dashboard_api.system.service import HealthService


@dataclass(frozen=True, slots=True)
class Services:
    """The services of one process.

    ``clock`` is the run's time, ``wall`` the machine's (sessions, throttling, audit).
    ``abort`` cuts the connection of a request's peer (address, port).
    """

    settings: Settings
    clock: Clock
    wall: Clock
    speed: float
    records: Records
    series: SeriesService
    media: MediaStore
    sign_in: SignInService
    hub: LiveHub
    health: HealthService
    commands: Dispatcher
    abort: Callable[[tuple[str, int] | None], None] = field(default=lambda _peer: None)


async def get_services(request: Request) -> Services:
    """Return the services of the app that serves a request."""
    services: Services = request.app.state.services
    return services


ServicesDep = Annotated[Services, Depends(get_services)]
