"""Health, for everybody; the state of the system, for those signed in."""

from __future__ import annotations

from http import HTTPStatus
from importlib import metadata

from fastapi import APIRouter

from core.storage.records import counters, devices, processes
from dashboard_api.access import Viewer
from dashboard_api.context import ServicesDep
from dashboard_api.problems import responses
from dashboard_api.system.schemas import ClockState, Health, Job, Process, System
from dashboard_api.system.service import status_of

router = APIRouter(prefix="/api/v1", tags=["system"])
VERSION = metadata.version("smart-estate")


@router.get("/health", summary="Whether the system works")
def read_health(services: ServicesDep) -> Health:
    """Return how the parts are; needs no sign-in. What is not known is said to be unknown."""
    parts = services.health.parts()
    return Health(
        status=status_of(parts), version=VERSION, time=services.clock.now_ms(), parts=parts
    )


@router.get(
    "/system",
    summary="The state of the system",
    responses=responses(HTTPStatus.UNAUTHORIZED, HTTPStatus.SERVICE_UNAVAILABLE),
)
def read_system(services: ServicesDep, _: Viewer) -> System:
    """Return processes, jobs, counters, the series store and the clock."""
    still = services.health.still()
    with services.records.reading() as session:
        running = processes.list_processes(session)
        jobs = processes.list_jobs(session)
        numbers = counters.read_all(session)
        presence = devices.count_presence(session, still)
    numbers |= {f"devices_{name}": count for name, count in presence.items()}
    numbers |= {
        "live_clients": services.hub.clients,
        "live_dropped": services.hub.dropped,
        "sign_in_throttled": services.sign_in.throttled,
    }
    return System(
        processes=[Process.model_validate(row) for row in running],
        jobs=[Job.model_validate(row) for row in jobs],
        counters=numbers,
        series=services.health.series_state(),
        clock=ClockState(now=services.clock.now_ms(), speed=services.speed),
    )
