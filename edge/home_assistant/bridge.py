"""The bridge: announces the edge's devices to Home Assistant and keeps their states current.

Discovery by device (Home Assistant 2024.11 or newer): one retained document for each device
under ``{prefix}/device/{id}/config``. States are one retained JSON document for each device.
An entity is announced once it has a value. Nothing is taken from Home Assistant but the word
that it has started.
"""

from __future__ import annotations

import asyncio
import json
import re
from importlib.metadata import version
from pathlib import Path
from typing import Any

import structlog

from core.contracts.codec import Event, encode
from core.contracts.errors import SettingsError
from core.runtime.link import Link, LinkOptions, Message, Will
from core.runtime.settings import BrokerSettings
from core.storage.files import write_whole
from edge.config import EdgeConfig
from edge.home_assistant.components import Component, components
from edge.home_assistant.settings import HomeAssistantSettings

log = structlog.get_logger(__name__)

_GATHER_S = 0.2
_AGAIN_S = 2.0
_MOST_COMPONENTS = 200
_ONLINE, _OFFLINE = b"online", b"offline"


class Bridge:
    """One edge's bridge; used from one event loop."""

    def __init__(self, config: EdgeConfig, folder: Path) -> None:
        if config.home_assistant is None:
            raise SettingsError("home_assistant: not configured")
        self._config = config
        self._settings: HomeAssistantSettings = config.home_assistant
        self._file = folder / "home_assistant.json"
        self._devices = _shown(config)
        self._entities: dict[str, dict[str, Component]] = {}
        self._reachable: dict[str, bool] = {}
        self._announce: set[str] = set()
        self._state: set[str] = set()
        self._delete: set[str] = set()
        self._announced: set[str] = set()
        self._news = asyncio.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._task: asyncio.Task[None] | None = None
        self._link = self._make_link()
        self.published = 0

    # -- life -----------------------------------------------------------------------------

    async def start(self) -> None:
        """Connect in the background; what an earlier run announced and is gone is deleted."""
        self._loop = asyncio.get_running_loop()
        before = await asyncio.to_thread(self._read)
        self._delete = before - set(self._devices)
        self._announced = before
        self._task = asyncio.create_task(self._run(), name="home-assistant")
        self._link.start()

    async def stop(self) -> None:
        """Say that the edge is gone, and disconnect."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            self._task = None
        self._loop = None
        await asyncio.to_thread(self._link.stop, [(self._status, _OFFLINE)])

    async def change(self, config: EdgeConfig) -> Bridge | None:
        """Take over another configuration; return the bridge that goes on, if any does."""
        wanted = config.home_assistant
        if wanted is None or _way(wanted) != _way(self._settings):
            self._forget(set(self._announced))
            await self._flush()
            await self.stop()
            if wanted is None:
                return None
            bridge = Bridge(config, self._file.parent)
            await bridge.start()
            return bridge
        self._config, self._settings = config, wanted
        self._devices = _shown(config)
        self._forget(self._announced - set(self._devices))
        self._renew()
        return self

    # -- what the edge sees ---------------------------------------------------------------

    def hear(self, event: Event) -> None:
        """Take one observation; cheap, and without waiting."""
        device = event.device
        if device not in self._devices:
            return
        if event.kind == "device.health":
            self._reachable[device] = bool(event.data.online)
            self._state.add(device)
        known = self._entities.setdefault(device, {})
        for component in components(event):
            before = known.get(component.key)
            if before is None and len(known) >= _MOST_COMPONENTS:
                continue
            known[component.key] = component
            if before is None or before.options != component.options:
                self._announce.add(device)
            self._state.add(device)
        if device in self._state:
            self._news.set()

    # -- what is published ----------------------------------------------------------------

    def config_topic(self, device: str) -> str:
        """Return where a device is announced."""
        return f"{self._settings.prefix}/device/{self._object(device)}/config"

    def state_topic(self, device: str) -> str:
        """Return where a device's values are."""
        return f"{self._settings.state_prefix}/{self._config.edge}/{device}/state"

    def availability_topic(self, device: str) -> str:
        """Return where it says whether a device can be reached."""
        return f"{self._settings.state_prefix}/{self._config.edge}/{device}/availability"

    def announcement(self, device: str) -> dict[str, Any]:
        """Return the discovery document of a device."""
        facts = self._config.devices.get(device)
        unique = self._object(device)
        cmps = {}
        for key, component in sorted(self._entities.get(device, {}).items()):
            cmps[key] = {
                "p": component.platform,
                "name": component.name,
                "unique_id": f"{unique}_{key}",
                "value_template": f"{{{{ value_json.{key} | default('') }}}}",
                **component.options,
            }
        return {
            "dev": {
                "ids": [unique],
                "name": (facts and facts.name) or device,
                "mf": "smart-estate",
                "mdl": _driver_of(self._config, device),
            },
            "o": {"name": "smart-estate", "sw": version("smart-estate")},
            "cmps": cmps,
            "state_topic": self.state_topic(device),
            "avty": [{"t": self._status}, {"t": self.availability_topic(device)}],
            "avty_mode": "all",
            "qos": 1,
        }

    def state(self, device: str) -> dict[str, Any]:
        """Return the values of a device, by entity."""
        return {key: c.value for key, c in sorted(self._entities.get(device, {}).items())}

    @property
    def _status(self) -> str:
        return f"{self._settings.state_prefix}/{self._config.edge}/status"

    def _object(self, device: str) -> str:
        """Return a device's id as Home Assistant takes it: no dots, unique over edges."""
        return re.sub(r"[^A-Za-z0-9_-]", "_", f"{self._config.site}-{device}")

    # -- the task -------------------------------------------------------------------------

    async def _run(self) -> None:
        while True:
            await self._news.wait()
            await asyncio.sleep(_GATHER_S)
            self._news.clear()
            if not await self._flush():
                await asyncio.sleep(_AGAIN_S)
                self._news.set()

    async def _flush(self) -> bool:
        """Publish what is due; return False when something could not be, and stays due."""
        if not self._link.connected:
            return True  # all of it is due again when the connection stands
        good = True
        for device in sorted(self._delete):
            topics = (self.config_topic, self.state_topic, self.availability_topic)
            if await self._publish([(topic(device), b"") for topic in topics]):
                self._delete.discard(device)
                self._announced.discard(device)
                await asyncio.to_thread(self._write)
            else:
                good = False
        for device in sorted(self._announce | self._state):
            messages: list[tuple[str, bytes]] = []
            if device in self._announce:
                messages.append((self.config_topic(device), encode(self.announcement(device))))
            reachable = _ONLINE if self._reachable.get(device, True) else _OFFLINE
            messages += [
                (self.availability_topic(device), reachable),
                (self.state_topic(device), encode(self.state(device))),
            ]
            if device in self._announce and device not in self._announced:
                self._announced.add(device)
                await asyncio.to_thread(self._write)
            waiting = {device} & self._announce
            self._announce.discard(device)
            self._state.discard(device)
            if not await self._publish(messages):
                self._announce |= waiting
                self._state.add(device)
                good = False
        return good

    async def _publish(self, messages: list[tuple[str, bytes]]) -> bool:
        futures = [self._link.publish(topic, body, retain=True) for topic, body in messages]
        waiting = (asyncio.wrap_future(future) for future in futures)
        outcomes = await asyncio.gather(*waiting, return_exceptions=True)
        refused = [error for error in outcomes if isinstance(error, BaseException)]
        self.published += len(outcomes) - len(refused)
        if refused:
            log.warning("not shown to Home Assistant", topic=messages[0][0], why=str(refused[0]))
        return not refused

    def _renew(self) -> None:
        """Everything is due: after a connect, and when Home Assistant has started anew."""
        self._announce |= {device for device, found in self._entities.items() if found}
        self._announce &= set(self._devices)
        self._state |= self._announce
        self._news.set()

    def _forget(self, devices: set[str]) -> None:
        self._delete |= devices
        for device in devices:
            self._entities.pop(device, None)
        self._announce -= devices
        self._state -= devices
        self._news.set()

    # -- the link -------------------------------------------------------------------------

    def _make_link(self) -> Link:
        broker = self._settings.broker
        base = self._config.base
        settings = BrokerSettings(
            embedded=False,
            host=broker.host,
            port=broker.port,
            username=broker.username,
            password_file=broker.password_file and base / broker.password_file,
            ca_file=broker.ca_file and base / broker.ca_file,
        )
        name = f"ha:{self._config.site}:{self._config.edge}"
        link = Link(settings, LinkOptions(client_id=name, will=self._will))
        link.subscribe(f"{self._settings.prefix}/status", self._on_status, dispensable=True)
        link.on_up(lambda: self._from_thread(self._up))
        return link

    def _will(self) -> Will:
        return Will(self._status, _OFFLINE)

    def _on_status(self, message: Message) -> None:
        if message.payload == _ONLINE:
            self._from_thread(self._renew)

    def _up(self) -> None:
        self._link.publish(self._status, _ONLINE, retain=True)
        self._renew()

    def _from_thread(self, act: Any) -> None:
        if (loop := self._loop) is not None:
            loop.call_soon_threadsafe(act)

    # -- what was announced ---------------------------------------------------------------

    def _read(self) -> set[str]:
        try:
            return set(json.loads(self._file.read_text(encoding="utf-8")))
        except FileNotFoundError:
            return set()
        except (OSError, ValueError, TypeError) as error:
            log.warning("what was shown to Home Assistant is forgotten", why=str(error))
            return set()

    def _write(self) -> None:
        try:
            write_whole(self._file, json.dumps(sorted(self._announced)).encode(), synced=False)
        except OSError as error:
            log.warning("what is shown to Home Assistant is not noted", why=str(error))


def _shown(config: EdgeConfig) -> frozenset[str]:
    settings = config.home_assistant
    chosen = None if settings is None else settings.devices
    return frozenset(config.device_ids() if chosen is None else chosen)


def _way(settings: HomeAssistantSettings) -> tuple[Any, ...]:
    return settings.broker, settings.prefix, settings.state_prefix


def _driver_of(config: EdgeConfig, device: str) -> str:
    return next((e.driver for e in config.drivers if device in e.device_ids()), "")
