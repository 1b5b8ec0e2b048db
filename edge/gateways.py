"""Root causes: which gateway or bus is at fault when nothing behind it answers.

A gateway is whatever several devices hang on (:attr:`edge.driver.Driver.gateway`), also when
several drivers share it. It is down when a driver's connection to it failed as a whole
``patience`` times in a row, or when the last attempt at every device on it failed and one of
them has used up its patience; any answer from behind it brings it back. It is told once, as
``edge.gateway``, and each of its devices names it as ``root`` of its own health.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, Protocol

from core.contracts.errors import JournalError
from edge.driver import Cause, Driver, LinkError, ReportRule

#: Causes with which a driver says that the fault is not that of a single device.
_SHARED_CAUSES = frozenset({"gateway", "bus", "network", "credentials"})
_CAUSES = _SHARED_CAUSES | {"protocol"}
REPORT = ReportRule(ignore=frozenset({"error"}))

Emit = Callable[[str, str, dict[str, Any]], Awaitable[None]]
#: Returns the data of ``device.snapshot`` of the edge itself.
Listing = Callable[[], dict[str, Any]]


class Desk(Protocol):
    """What is asked of those who look after a driver on a gateway."""

    driver: Driver

    def failures(self) -> list[int]:
        """Return for each device how many attempts in a row have failed last."""
        ...

    async def retell(self) -> None:
        """Tell the health of the devices that count as offline anew, with its root."""
        ...


@dataclass(slots=True)
class _Gateway:
    name: str
    desks: list[Desk] = field(default_factory=list)
    strikes: dict[int, int] = field(default_factory=dict)
    """By desk: failures of the connection as a whole since the last answer."""
    online: bool | None = None
    telling: bool = False
    """It is being told; until then a list would lack it."""

    @property
    def devices(self) -> int:
        return sum(len(desk.driver.devices) for desk in self.desks)


class Gateways:
    """The gateways of one edge, and the drivers on each."""

    def __init__(self, edge: str, emit: Emit, listing: Listing) -> None:
        self._edge = edge
        self._emit = emit
        self._listing = listing
        self._listed = False
        self._by_name: dict[str, _Gateway] = {}

    def admit(self, desk: Desk) -> None:
        """Count a driver's devices to its gateway, if it has one."""
        name = desk.driver.gateway
        if name is not None:
            self._by_name.setdefault(name[:64], _Gateway(name[:64])).desks.append(desk)

    def dismiss(self, desk: Desk) -> str | None:
        """Forget a driver; return its gateway's name when nothing hangs on that any more."""
        gateway = self._of(desk)
        if gateway is None:
            return None
        gateway.desks = [other for other in gateway.desks if other is not desk]
        gateway.strikes.pop(id(desk), None)
        if gateway.desks:
            return None
        del self._by_name[gateway.name]
        return gateway.name

    def root(self, desk: Desk) -> str | None:
        """Return the name of the gateway that is down between a driver and its devices."""
        gateway = self._of(desk)
        return gateway.name if gateway is not None and gateway.online is False else None

    def state(self) -> dict[str, bool | None]:
        """Return of each gateway whether it can be reached (None: not known yet)."""
        return {name: gateway.online for name, gateway in self._by_name.items()}

    @property
    def known(self) -> bool:
        """Tell whether a list of the gateways would be whole: the state of each is known."""
        shared = [g for g in self._by_name.values() if g.devices > 1]
        return all(g.online is not None and not g.telling for g in shared)

    async def answered(self, desk: Desk) -> None:
        """Something behind a driver's gateway answered."""
        gateway = self._of(desk)
        if gateway is None:
            return
        gateway.strikes.clear()
        if gateway.online is not True and gateway.devices > 1:
            await self._tell(gateway, online=True)

    async def struck(self, desk: Desk, error: Exception, cause: Cause | None, text: str) -> None:
        """A driver's connection failed as a whole."""
        gateway = self._of(desk)
        if gateway is None:
            return
        if isinstance(error, LinkError) and cause in _SHARED_CAUSES:
            gateway.strikes[id(desk)] = gateway.strikes.get(id(desk), 0) + 1
        await self.judge(desk, cause, text)

    async def judge(self, desk: Desk, cause: Cause | None, text: str) -> None:
        """Look whether a driver's gateway is down, after one more failure; tell it once."""
        gateway = self._of(desk)
        if gateway is None or gateway.online is False or gateway.devices < 2:
            return
        if not self._is_down(gateway):
            return
        where = cause if cause in _CAUSES else "bus"
        await self._tell(gateway, online=False, cause=where, error=text[:200])
        for other in gateway.desks:
            await other.retell()

    async def _tell(self, gateway: _Gateway, *, online: bool, **more: Any) -> None:
        was, gateway.online = gateway.online, online  # at once: several drivers may see it
        data = {"gateway": gateway.name, "online": online, "devices": gateway.devices, **more}
        gateway.telling = True
        try:
            await self._emit("edge.gateway", self._edge, data)
        except JournalError:
            gateway.online = was
            raise
        finally:
            gateway.telling = False
        await self._list_once()

    async def _list_once(self) -> None:
        """List the gateways once all are known: what stood before a restart may have ended."""
        if not self._listed and self.known:
            self._listed = True
            try:
                await self._emit("device.snapshot", self._edge, self._listing())
            except JournalError:
                self._listed = False
                raise

    @staticmethod
    def _is_down(gateway: _Gateway) -> bool:
        patience = {id(desk): desk.driver.patience for desk in gateway.desks}
        if any(count >= patience[desk] for desk, count in gateway.strikes.items()):
            return True
        failures = [(desk.driver.patience, n) for desk in gateway.desks for n in desk.failures()]
        return all(n > 0 for _, n in failures) and any(n >= least for least, n in failures)

    def _of(self, desk: Desk) -> _Gateway | None:
        name = desk.driver.gateway
        return None if name is None else self._by_name.get(name[:64])
