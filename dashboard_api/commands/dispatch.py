"""Sends commands over the broker and waits for their replies."""

from __future__ import annotations

import asyncio
import math

import structlog

from core.contracts import topics
from core.contracts.batch import decode_struct
from core.contracts.codec import encode
from core.contracts.commands import REPLY, Command, Reply
from core.contracts.errors import ContractError, RetryableError
from core.runtime.link import Link, Message

log = structlog.get_logger(__name__)

#: Commands that wait for their replies at a time; more are not taken.
MOST_WAITING = 256
#: After its expiry a command's reply may still take so long (real seconds).
GRACE_S = 3.0
#: MQTT 5's "no matching subscribers": the edge is not connected to this broker.
_NOBODY = 0x10


class NotSentError(RetryableError):
    """A command did not leave; the message says why."""


class EdgeAwayError(RetryableError):
    """The edge is not there to take a command."""


class Dispatcher:
    """Commands under way, by id; used from one event loop, heard from the network thread."""

    def __init__(self, speed: float) -> None:
        self._speed = speed
        self._link: Link | None = None
        self._waiting: dict[str, tuple[str, asyncio.Future[Reply]]] = {}
        self._loop: asyncio.AbstractEventLoop | None = None
        self.strange_replies = 0

    def use(self, link: Link) -> None:
        """Send over this link, and hear the replies on it; to be called before it starts."""
        self._link = link
        link.subscribe(topics.ALL_REPLIES, self._heard, dispensable=True)

    async def ask(self, site: str, edge: str, command: Command) -> Reply | None:
        """Send a command and return its reply; None when none came in time.

        Raises :class:`NotSentError` or :class:`EdgeAwayError` when it did not leave.
        """
        link = self._link
        if link is None or not link.connected:
            raise NotSentError("there is no connection to the broker")
        if len(self._waiting) >= MOST_WAITING:
            raise NotSentError(f"{MOST_WAITING} commands wait for their replies already")
        loop = self._loop = asyncio.get_running_loop()
        answer: asyncio.Future[Reply] = loop.create_future()
        # Only the edge that was asked can answer, whatever else is published.
        self._waiting[command.id] = (topics.reply(site, edge), answer)
        life_s = (command.expires_at - command.issued_at) / 1000 / self._speed
        try:
            sent = link.publish(
                topics.command(site, edge), encode(command), expiry_s=math.ceil(life_s),
                content_type="application/json",
            )  # fmt: skip
            try:
                async with asyncio.timeout(GRACE_S):
                    code = await asyncio.wrap_future(sent)
            except (RetryableError, TimeoutError) as error:
                raise NotSentError(str(error) or "the broker did not take it in time") from None
            if code == _NOBODY:
                raise EdgeAwayError("the edge is not connected to the broker")
            async with asyncio.timeout(life_s + GRACE_S):
                return await answer
        except TimeoutError:
            return None
        finally:
            self._waiting.pop(command.id, None)

    def _heard(self, message: Message) -> None:
        loop = self._loop
        if loop is None or message.retained:
            return
        try:
            reply = decode_struct(message.payload, REPLY)
        except ContractError as error:
            self.strange_replies += 1
            log.warning("a reply cannot be read", topic=message.topic, why=str(error))
            return
        loop.call_soon_threadsafe(self._settle, message.topic, reply)

    def _settle(self, topic: str, reply: Reply) -> None:
        waiting = self._waiting.get(reply.id)
        if waiting is None:
            return  # another process asked, or nobody waits any more
        wanted, answer = waiting
        if topic != wanted or topic.split("/")[3] != reply.edge:
            self.strange_replies += 1
            log.warning("a reply from somewhere else", topic=topic, edge=reply.edge)
        elif not answer.done():
            answer.set_result(reply)
