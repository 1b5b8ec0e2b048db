"""A whole edge agent on a folder of its own, for tests that ask it from outside."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import yaml

from core.contracts import topics
from core.contracts.batch import decode_batch, envelope
from core.contracts.codec import data_dict, encode
from core.contracts.commands import Action, Command, Reply
from core.contracts.events import Lane
from core.runtime.clock import Clock, ScaledClock
from core.runtime.link import Link, LinkOptions
from core.runtime.settings import BrokerSettings, Settings
from edge.app import EdgeApp

SITE, EDGE = "s1", "e1"
_numbers = itertools.count(1)


class Agent:
    """An edge that is started, asked and stopped; without a broker its uplink is down."""

    def __init__(
        self,
        folder: Path,
        *,
        port: int | None = None,
        clock: Clock | None = None,
        journal_bytes: int = 64 << 20,
        edge: str | None = None,
        **sections: Any,
    ) -> None:
        self.folder = folder
        self.edge = edge or f"e{next(_numbers)}"
        self.file = folder / "edge.yaml"
        self.clock = clock or ScaledClock()
        self.journal_bytes = journal_bytes
        # Port 9 (discard) is where nobody listens.
        self.broker = BrokerSettings(embedded=False, port=port or 9)
        self.app: EdgeApp
        self.write(**sections)

    def write(self, **sections: Any) -> None:
        """Write the edge's file."""
        whole = {"edge": self.edge, "site": SITE, **sections}
        self.file.write_text(yaml.safe_dump(whole), encoding="utf-8")

    async def __aenter__(self) -> Agent:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    async def start(self) -> None:
        self.app = EdgeApp(
            Settings(data=self.folder / "data"), self.clock, self.file,
            broker=self.broker, journal_bytes=self.journal_bytes,
        )  # fmt: skip
        await self.app.start()

    async def stop(self) -> None:
        await self.app.stop()

    def told(self, kind: str, device: str | None = None) -> list[dict[str, Any]]:
        """Return the data of all events of a kind that the journal holds."""
        reader = self.app.journal.reader()
        found: list[dict[str, Any]] = []
        after = 0
        try:
            while entries := reader.read(after):
                for entry in entries:
                    after = entry.pos
                    if entry.lane == Lane.MEDIA:
                        continue
                    payload = envelope("edge", "epoch-of-test", Lane(entry.lane), 1, 1, entry.body)
                    found += [
                        data_dict(event)
                        for _, event in decode_batch(payload).events
                        if event.kind == kind and device in (None, event.device)
                    ]
        finally:
            reader.close()
        return found

    async def until(
        self, condition: Callable[[], Any], what: str = "", within_s: float = 10
    ) -> Any:
        """Wait for an outcome and return it."""
        deadline = asyncio.get_running_loop().time() + within_s
        while True:
            if found := condition():
                return found
            assert asyncio.get_running_loop().time() < deadline, f"not within {within_s} s: {what}"
            await asyncio.sleep(0.01)


class Caller:
    """Somebody on the broker who sends commands and hears the replies."""

    def __init__(self, port: int, agent: Agent) -> None:
        self.agent = agent
        self.replies: list[Reply] = []
        self.retained: list[bytes] = []
        name = f"caller-{agent.edge}-{next(_numbers)}"
        self._link = Link(BrokerSettings(port=port), LinkOptions(client_id=name))
        self._link.subscribe(topics.reply(SITE, agent.edge), self._heard)

    def _heard(self, message: Any) -> None:
        if message.retained:
            self.retained.append(message.payload)
        self.replies.append(msgspec.json.decode(message.payload, type=Reply))

    async def __aenter__(self) -> Caller:
        self._link.start()
        assert await asyncio.to_thread(self._link.wait_connected, 10)
        await self.agent.until(lambda: self.agent.app.uplink._link.connected, "the uplink stands")
        return self

    async def __aexit__(self, *_: object) -> None:
        await asyncio.to_thread(self._link.stop)

    def command(self, action: Action, device: str | None = None, **changes: Any) -> Command:
        now = self.agent.clock.now_ms()
        values: dict[str, Any] = {
            "id": f"c-{next(_numbers)}", "action": action, "issued_at": now,
            "expires_at": now + 20_000, "by": "tester", "device": device,
        }  # fmt: skip
        return Command(**{**values, **changes})

    async def send(self, payload: bytes, topic: str | None = None, *, retain: bool = False) -> None:
        where = topic or topics.command(SITE, self.agent.edge)
        future = self._link.publish(where, payload, retain=retain, expiry_s=60)
        await asyncio.wrap_future(future)

    async def ask(self, command: Command, within_s: float = 10) -> Reply:
        """Send a command and return its reply."""
        await self.send(encode(command))
        return await self.reply(command.id, within_s)

    async def reply(self, id: str, within_s: float = 10, count: int = 1) -> Reply:
        def found() -> list[Reply]:
            return [reply for reply in self.replies if reply.id == id]

        await self.agent.until(lambda: len(found()) >= count, f"reply {count} to {id}", within_s)
        return found()[-1]
