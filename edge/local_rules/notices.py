"""Notices: alerts posted on the local network, kept and tried again while nobody takes them.

A notice is a CloudEvent (1.0, structured JSON) whose id is that of the alert and its step, so
that a receiver which got one twice can tell. Redirects are not followed, no proxy is used, and
the address that was checked is the one that is connected to.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Awaitable, Callable
from pathlib import Path
from random import Random
from urllib.parse import urlsplit

import httpx
import msgspec
import structlog

from core.runtime.clock import Clock
from edge.backoff import Backoff
from edge.local_rules.settings import NoticeSettings
from edge.local_rules.state import Notice
from edge.net_guard import ForbiddenAddressError, resolve

log = structlog.get_logger(__name__)

#: Notices that are kept for one address; the oldest goes first.
MOST_KEPT = 1_000
_CAP_S = 60.0


class Poster:
    """Posts the notices for one address, in their order; used from one event loop."""

    def __init__(
        self, settings: NoticeSettings, queue: list[Notice], clock: Clock, base: Path,
        on_change: Callable[[], Awaitable[None]],
    ) -> None:  # fmt: skip
        self.settings = settings
        self.queue = queue
        self._clock = clock
        self._base = base
        self._on_change = on_change
        self._news = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self.posted = self.given_up = self.failures = 0

    def start(self) -> None:
        """Begin to post."""
        self._news.set()
        self._task = asyncio.create_task(self._run(), name="notices")

    async def stop(self) -> None:
        """Stop; what was not posted is kept."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            self._task = None

    def add(self, notice: Notice) -> None:
        """Put a notice on its way."""
        self.queue.append(notice)
        while len(self.queue) > MOST_KEPT:
            del self.queue[0]
            self.given_up += 1
        self._news.set()

    async def _run(self) -> None:
        backoff = Backoff(Random(), cap_s=_CAP_S)  # noqa: S311 (jitter, not a secret)
        async with self._client() as client:
            while True:
                await self._news.wait()
                self._news.clear()
                while self.queue:
                    notice = self.queue[0]
                    why = await self._post(client, notice)
                    old = self._clock.now_ms() - notice.at > self.settings.keep_h * 3_600_000
                    if why is None or old:
                        self.queue.remove(notice)
                        self.posted += why is None
                        self.given_up += why is not None
                        self.failures = 0
                        backoff.reset()
                        await self._on_change()
                    else:
                        self.failures += 1
                        if self.failures == 1:
                            log.warning("a notice is not taken", url=self.settings.url, why=why)
                        await asyncio.sleep(backoff.next())

    def _client(self) -> httpx.AsyncClient:
        verify: ssl.SSLContext | bool = False
        if self.settings.url.startswith("https:"):
            ca_file = self.settings.ca_file
            verify = ssl.create_default_context(cafile=ca_file and self._base / ca_file)
        return httpx.AsyncClient(timeout=self.settings.timeout_s, verify=verify, trust_env=False)

    async def _post(self, client: httpx.AsyncClient, notice: Notice) -> str | None:
        """Post one notice; return why it was not taken, or None."""
        parts = urlsplit(self.settings.url)
        host = parts.hostname or ""
        port = parts.port or (443 if parts.scheme == "https" else 80)
        try:
            address = await resolve(host, port, self.settings.allow)
            literal = f"[{address}]" if ":" in address else address
            path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
            response = await client.post(
                f"{parts.scheme}://{literal}:{port}{path}",
                content=msgspec.json.encode(notice.body),
                headers={
                    "Host": parts.netloc,
                    "Content-Type": "application/cloudevents+json; charset=utf-8",
                },
                extensions={"sni_hostname": host},
            )
        except (ForbiddenAddressError, OSError, httpx.HTTPError, ssl.SSLError) as error:
            return str(error) or type(error).__name__
        return None if response.is_success else f"HTTP status {response.status_code}"
