"""The control interface of a running simulation, on loopback, for tests and demonstrations.

``POST /perform`` with ``{"action": …, "target": …, "with": {…}}`` does one action now;
``GET /steps`` lists what was done, ``GET /state`` what there is to see on the spot (a siren that
sounds, a lock that is released, a barrier that was opened). All want
``Authorization: Bearer <token>``; the token is in simulation.json.
"""

from __future__ import annotations

import hmac
import json
from collections.abc import Awaitable, Callable
from dataclasses import asdict
from typing import Any

from core.contracts.errors import ContractError
from simulators.devices.http import HttpPeer, Request, Response
from simulators.player import StepRun

Perform = Callable[..., Awaitable[StepRun]]


class ControlPeer:
    """Serves the control interface on one port of 127.0.0.1."""

    def __init__(
        self,
        perform: Perform,
        steps: Callable[[], list[StepRun]],
        states: Callable[[], dict[str, dict[str, object]]],
        *,
        token: str,
        port: int = 0,
    ) -> None:
        self.token = token
        self._perform = perform
        self._steps = steps
        self._states = states
        self._http = HttpPeer(self._answer, port=port)

    @property
    def port(self) -> int:
        """Return the port."""
        return self._http.listener.port

    async def start(self) -> None:
        """Listen."""
        await self._http.listener.start()

    async def stop(self) -> None:
        """Stop listening."""
        await self._http.listener.stop()

    async def _answer(self, request: Request) -> Response:
        given = request.headers.get("authorization", "")
        if not hmac.compare_digest(given.encode(), f"Bearer {self.token}".encode()):
            return Response(401)
        if (request.method, request.path) == ("GET", "/steps"):
            return _json(200, [asdict(step) for step in self._steps()])
        if (request.method, request.path) == ("GET", "/state"):
            return _json(200, self._states())
        if (request.method, request.path) != ("POST", "/perform"):
            return Response(404)
        try:
            name, target, arguments = _order(request.body)
        except (ValueError, RecursionError) as error:
            return _json(400, {"detail": str(error)})
        try:
            return _json(200, asdict(await self._perform(name, target, **arguments)))
        except ContractError as error:
            return _json(409, {"detail": str(error)})


def _order(body: bytes) -> tuple[str, str, dict[str, Any]]:
    """Read an order; raise ValueError on a bad one."""
    raw = json.loads(body)
    if not isinstance(raw, dict) or not set(raw) <= {"action", "target", "with"}:
        raise ValueError("expected action, target and with")
    name, target, arguments = raw.get("action"), raw.get("target"), raw.get("with", {})
    if not isinstance(name, str) or not isinstance(target, str) or not isinstance(arguments, dict):
        raise ValueError("action and target are texts, with is a mapping")  # noqa: TRY004  (400)
    if {"name", "target"} & set(arguments):
        raise ValueError("with: unknown argument")
    return name, target, arguments


def _json(status: int, value: object) -> Response:
    text = json.dumps(value, ensure_ascii=False)
    return Response(status, text.encode(), "application/json")
