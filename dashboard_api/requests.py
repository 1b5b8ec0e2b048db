"""What is kept of every request: an id, a line in the log, and how long it took."""

from __future__ import annotations

import re
import time
import uuid
from collections.abc import Iterator

import structlog
from prometheus_client import Counter, Histogram
from prometheus_client.core import Metric
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from core.runtime.metrics import Spec, measured

log = structlog.get_logger(__name__)

HEADER = "X-Request-ID"
#: What a proxy or a caller may name a request.
_ID = re.compile(r"[A-Za-z0-9._-]{8,64}")
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
_BUCKETS_S = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)

REQUESTS = Spec(
    "estate_api_requests_total", "counter",
    "Requests that were answered, by route (none: no route, or a file of the console).",
    ("method", "route", "status"),
)  # fmt: skip
DURATION = Spec(
    "estate_api_request_duration_seconds", "histogram",
    "Time until an answer began; streams are counted by their first byte.", ("method", "route"),
)  # fmt: skip


class RequestMeasures:
    """Counts and times the requests of one API."""

    def __init__(self) -> None:
        self._answered = Counter(REQUESTS.name, REQUESTS.help, REQUESTS.labels, registry=None)
        self._duration = Histogram(
            DURATION.name, DURATION.help, DURATION.labels, buckets=_BUCKETS_S, registry=None
        )

    def answered(self, method: str, route: str, status: int, seconds: float) -> None:
        """Note an answer."""
        self._answered.labels(method, route, str(status)).inc()
        self._duration.labels(method, route).observe(seconds)

    def collect(self) -> Iterator[Metric]:
        """Yield the families."""
        yield from measured(self._answered)
        yield from measured(self._duration)


def request_id(headers: Headers) -> str:
    """Return the id that a request came with, if it can be taken; else a new one."""
    given = headers.getlist(HEADER)
    if len(given) == 1 and _ID.fullmatch(given[0]):
        return given[0]
    return uuid.uuid4().hex


class RequestTrail:
    """ASGI: gives every request its id, answers with it, and logs what became of the request.

    Every line that is logged on the way has the id. The address is logged without its query,
    which may hold a sign-in token.
    """

    def __init__(self, app: ASGIApp, measures: RequestMeasures) -> None:
        self._app = app
        self._measures = measures

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began = time.perf_counter()
        identity = request_id(Headers(scope=scope))

        async def answer(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message)[HEADER] = identity
                self._note(scope, message["status"], time.perf_counter() - began)
            await send(message)

        with structlog.contextvars.bound_contextvars(request=identity):
            await self._app(scope, receive, answer)

    def _note(self, scope: Scope, status: int, seconds: float) -> None:
        method = scope["method"] if scope["method"] in _METHODS else "other"
        route = getattr(scope.get("route"), "path", None)
        self._measures.answered(method, route or "none", status, seconds)
        say = log.info if scope["path"].startswith("/api/") else log.debug
        say(
            "request", method=method, path=scope["path"][:200], status=status,
            ms=round(seconds * 1000, 1),
        )  # fmt: skip
