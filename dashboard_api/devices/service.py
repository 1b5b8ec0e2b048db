"""Reading devices from the records, and what they said from the series store."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

import anyio.to_thread

from core.contracts.errors import StoreUnavailableError
from core.contracts.events import KINDS
from core.contracts.outputs import Presence
from core.contracts.ports import Mark, SeriesReader, StoredEvent
from core.contracts.topology import DeviceFamily
from core.storage.records import alerts, changes, devices
from core.storage.records.tree import paths_of
from dashboard_api.context import Services
from dashboard_api.devices.schemas import DeviceDetail, DeviceEvent, DeviceEvents, DevicePage
from dashboard_api.problems import invalid
from dashboard_api.system.standstill import hush_device

DAY_MS = 86_400_000
#: A place between events, as a page names it: nanoseconds, a dot, the kind.
MARK_PATTERN = r"^[0-9]{1,19}\.[a-z_.]{1,64}$"


def page(
    services: Services,
    *,
    node: str | None,
    family: DeviceFamily | None,
    presence: Presence | None,
    q: str | None,
    limit: int,
    after: str | None,
) -> tuple[DevicePage, int]:
    """Return a page of devices and its place in the live sequence; blocks."""
    still = services.health.still()
    with services.records.reading() as session:
        found = devices.list_devices(
            session,
            node=node,
            family=family.value if family else None,
            presence=presence.value if presence else None,
            q=q,
            limit=limit,
            after=after,
            silent=still,
        )
        sequence = changes.last_seq(session)
    items = [hush_device(view, still) for view in found.items]
    return DevicePage.model_validate({"items": items, "next": found.next}), sequence


async def detail(services: Services, device: str) -> DeviceDetail:
    """Return one device; a series store that is down leaves its latest values unknown."""
    view = await anyio.to_thread.run_sync(_from_records, services, device)
    try:
        latest = await services.series.run(lambda reader: reader.latest([device]))
    except StoreUnavailableError:
        view |= {"latest": [], "latest_known": False}
    else:
        view |= {"latest": [_event(event) for event in latest], "latest_known": True}
        if view["last_heard"] is None:
            view["last_heard"] = _last_word(latest)
    return DeviceDetail.model_validate(view)


async def events(
    services: Services,
    device: str,
    *,
    start: int | None,
    end: int | None,
    kind: str | None,
    limit: int,
    before: str | None,
) -> DeviceEvents:
    """Return a page of a device's events in a window, newest first."""
    if kind is not None:
        check_kind(kind)
    start, end = window(services, start, end)
    await anyio.to_thread.run_sync(require, services, device)

    def read(reader: SeriesReader) -> list[StoredEvent]:
        mark = None if before is None else _mark(before)
        return reader.events(device, start, end, kind=kind, limit=limit + 1, before=mark)

    found = await services.series.run(read)
    size = limit
    while size < len(found) and found[size].mark == found[size - 1].mark:
        size += 1
    more = len(found) > limit
    return DeviceEvents(
        items=[_event(event) for event in found[:size]],
        complete=not more,
        next="{}.{}".format(*found[size - 1].mark) if more else None,
    )


def require(services: Services, device: str) -> None:
    """Refuse a device that the topology does not have; blocks."""
    with services.records.reading() as session:
        devices.get_device(session, device)


def window(services: Services, start: int | None, end: int | None) -> tuple[int, int]:
    """Return a window in ms; by default it ends now and lasts a day."""
    until = services.clock.now_ms() if end is None else end
    since = max(until - DAY_MS, 0) if start is None else start
    if until <= since:
        raise invalid("end", "the end must lie after the start")
    return since, until


def check_kind(kind: str) -> None:
    """Refuse an event kind that does not exist, with the nearest that does."""
    if kind not in KINDS:
        near = difflib.get_close_matches(kind, KINDS, 1)
        hint = f"did you mean {near[0]}?" if near else f"known are {', '.join(KINDS)}"
        raise invalid("kind", f"unknown kind; {hint}")


def _mark(text: str) -> Mark:
    time_ns, _, kind = text.partition(".")
    return Mark(int(time_ns), kind)


def _from_records(services: Services, device: str) -> dict[str, object]:
    now = services.clock.now_ms()
    still = services.health.still()
    with services.records.reading() as session:
        row, state = devices.get_device(session, device)
        view = hush_device(devices.device_view(row, state), still)
        path = paths_of(session, [row.node]).get(row.node, [])
        found = alerts.list_alerts(
            session, state="open", now=now, device=device, order="urgency", limit=100
        )
        standing = [alerts.alert_view(alert, now) for alert in found.items]
    return {**view, "path": path, "alerts": standing}


def _last_word(latest: Iterable[StoredEvent]) -> int | None:
    """Return when a device last said something: that its edge cannot reach it is no word of it."""
    return max(
        (e.at for e in latest if e.kind != "device.health" or e.data.get("online") is not False),
        default=None,
    )


def _event(event: StoredEvent) -> DeviceEvent:
    return DeviceEvent(at=event.at, kind=event.kind, data=event.data)
