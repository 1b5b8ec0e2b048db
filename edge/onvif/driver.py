"""What every ONVIF driver does: connect, subscribe, pull, renew, synchronise, notice silence."""

from __future__ import annotations

import asyncio
import contextlib
import time
from abc import ABC, abstractmethod
from collections.abc import Mapping
from functools import partial
from typing import Any
from urllib.parse import urlsplit

from core.contracts.errors import DeviceError, SettingsError
from edge.driver import (
    DriverContext,
    DriverSink,
    LinkError,
    ReportRule,
    StreamingDriver,
    health_rule,
    insist,
    read_secret,
)
from edge.drivers.settings import report_rules
from edge.observation import Observation
from edge.onvif.client import Account, OnvifClient
from edge.onvif.notification import Notification, Operation
from edge.onvif.observation import corrected
from edge.onvif.pullpoint import PullPoint
from edge.onvif.settings import OnvifSettings

#: A device that answers a pull at once with nothing is not asked more often than this.
_LEAST_PULL_S = 0.2
_PAUSE_S = 0.5
#: After so many pulls in a row with something in them a synchronisation counts as complete.
_BUSY_PULLS = 5
_FAREWELL_S = 1.0
_REPORTS = {"device.health": health_rule(period_s=60)}


class OnvifDriver(StreamingDriver, ABC):
    """Listens to one device's pull point; what it says is up to the drivers built on this."""

    #: How often :meth:`_look` is called (real seconds).
    _look_every_s = 1.0

    def __init__(self, name: str, settings: OnvifSettings, context: DriverContext) -> None:
        super().__init__(f"{name} {settings.base_url}", settings.device_ids())
        self._settings = settings
        self._context = context
        self._client: OnvifClient
        self._built = False
        self._subscription: PullPoint | None = None
        self._clock_wrong: bool | None = None
        self._sync_yields = False
        self._pulled = 0

    @property
    def gateway(self) -> str | None:
        """Return the device's address where several of ours hang on it."""
        return urlsplit(self._settings.base_url).netloc if len(self.devices) > 1 else None

    @property
    def reports(self) -> Mapping[str, ReportRule]:
        """Return the report rules: it can be still for hours, so health is repeated."""
        return report_rules(self._settings, _REPORTS)

    def health(self) -> Mapping[str, int]:
        """Return how many notifications came, and the device's clock against ours."""
        offset = self._client.offset_ms if self._built else 0
        return {"notifications": self._pulled, "clock_offset_ms": offset}

    async def start(self, sink: DriverSink) -> None:
        """Read the secret; raise :class:`SettingsError` when it cannot be read."""
        await super().start(sink)
        settings, base = self._settings, self._context.base
        password = read_secret(
            settings.password, settings.password_file, settings.password_env, base, "password"
        )
        try:
            verify = await asyncio.to_thread(settings.tls, base)
        except OSError as error:
            raise SettingsError(f"ca_file: {settings.ca_file}: {error}") from None
        account = Account(
            settings.base_url, settings.path, settings.username, password, settings.auth,
            settings.timeout_s,
        )  # fmt: skip
        self._client = OnvifClient(account, self._context.clock.now_ms, verify=verify)
        self._built = True

    async def stop(self) -> None:
        """Give the subscription back where the device still answers, and close."""
        if not self._built:
            return
        await self._leave()
        await self._client.close()

    async def run(self) -> None:
        """Listen until the subscription is lost; raise :class:`LinkError`."""
        client, settings = self._client, self._settings
        # The last one may still live on the device, which has few of them.
        await self._leave()
        await client.connect()
        await self._tell_clock()
        await self._prepare()
        subscription = PullPoint(client, settings.lifetime_s)
        await subscription.create()
        self._subscription = subscription
        await self._reached()
        await self._listen(subscription)

    # -- what a driver adds ------------------------------------------------------------------

    async def _prepare(self) -> None:
        """Ask what must be known before the first notification."""

    @abstractmethod
    async def _take(self, notification: Notification) -> None:
        """Deal with one notification; return when what it says is in the journal."""

    def _synchronising(self) -> None:
        """Note that every state is about to be told anew."""

    async def _synchronised(self, *, whole: bool) -> None:
        """Note that a synchronisation is over; ``whole``: every state has been told."""

    async def _look(self) -> None:
        """Do what depends on time."""

    # -- the loop ----------------------------------------------------------------------------

    async def _listen(self, subscription: PullPoint) -> None:
        self._sync_yields = False
        keeper = asyncio.create_task(self._keep(subscription))
        pull: asyncio.Task[list[Notification]] | None = None
        try:
            round_ = await self._ask_all(subscription)
            while True:
                began = time.monotonic()
                pull = asyncio.create_task(subscription.pull(self._settings.pull_s))
                while not pull.done():
                    await asyncio.wait(
                        {pull, keeper},
                        timeout=self._look_every_s,
                        return_when=asyncio.FIRST_COMPLETED,
                    )
                    await self._look()
                    if keeper.done() and not pull.done():
                        break
                if keeper.done():
                    keeper.result()
                await self._deal(subscription, pull.result(), round_)
                if not round_.messages and time.monotonic() - began < _LEAST_PULL_S:
                    self._sink.count("quick_pulls")
                    await asyncio.sleep(_PAUSE_S)
                if time.monotonic() - round_.began >= self._settings.sync_s:
                    round_ = await self._ask_all(subscription)
        finally:
            keeper.cancel()
            if pull is not None:
                pull.cancel()
            await asyncio.gather(keeper, *([pull] if pull else []), return_exceptions=True)

    async def _ask_all(self, subscription: PullPoint) -> _Round:
        self._synchronising()
        return _Round(await subscription.synchronise())

    async def _deal(
        self, subscription: PullPoint, found: list[Notification], round_: _Round
    ) -> None:
        round_.pulls += 1
        round_.messages = len(found)
        self._pulled += len(found)
        if subscription.unread:
            self._sink.count("malformed_notifications", subscription.unread)
            subscription.unread = 0
        for notification in found:
            round_.states += notification.operation is Operation.INITIALIZED
            round_.anything = True
            await self._take(notification)
        await self._reached()
        if round_.open and (not found or round_.pulls >= _BUSY_PULLS):
            await self._close_round(round_)

    async def _close_round(self, round_: _Round) -> None:
        round_.open = False
        if not round_.asked:
            self._sink.count("without_synchronisation")
        elif self._sync_yields and not round_.anything:
            # It delivered its states before, and now it answers, but delivers none.
            raise LinkError("the subscription no longer delivers", "device")
        self._sync_yields = self._sync_yields or bool(round_.asked and round_.states)
        await self._synchronised(whole=bool(round_.asked and round_.states))

    async def _keep(self, subscription: PullPoint) -> None:
        """Renew the subscription in time, also while the journal holds the listening back."""
        while True:
            await asyncio.sleep(subscription.renewal_in_s)
            if not subscription.renews:
                self._sink.count("without_renewal")
                await asyncio.Event().wait()
            await subscription.renew()

    async def _leave(self) -> None:
        subscription, self._subscription = self._subscription, None
        if subscription is not None:
            with contextlib.suppress(DeviceError, OSError):
                async with asyncio.timeout(_FAREWELL_S):
                    await subscription.unsubscribe()

    async def _reached(self) -> None:
        latency = self._client.latency_ms
        for device in self.devices:
            await insist(partial(self._sink.reached, device, latency), self._sink)

    async def _tell_clock(self) -> None:
        offset_ms = self._client.offset_ms
        wrong = abs(offset_ms) > self._settings.clock_limit_s * 1000
        if wrong is not self._clock_wrong:
            data: dict[str, Any] = {"fault": "clock", "active": wrong, "part": "controller"}
            if wrong:
                data["raw_code"] = f"{offset_ms / 1000:+.0f} s"
            now = self._context.clock.now_ms()
            await self._emit(Observation("device.fault", self.devices[0], data, now))
            self._clock_wrong = wrong

    async def _emit(self, observation: Observation) -> None:
        """Emit until the journal takes it: the device will not tell it again."""
        emit = partial(
            self._sink.emit, observation.kind, observation.device, observation.data,
            observation.at,
        )  # fmt: skip
        await insist(emit, self._sink)

    def _moment(self, notification: Notification) -> int:
        """Return when it happened on our clock; the edge's time where the device's is no use."""
        now = self._context.clock.now_ms()
        at = corrected(notification.at, self._client.offset_ms, now)
        if at is None:
            self._sink.count("times_replaced")
            return now
        return at


class _Round:
    """One synchronisation and the pulls that answer it."""

    def __init__(self, asked: bool) -> None:  # noqa: FBT001 (what synchronise() says)
        self.asked = asked
        self.open = True
        self.began = time.monotonic()
        self.pulls = 0
        self.messages = 0
        self.states = 0
        self.anything = False
