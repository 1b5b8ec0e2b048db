"""The MQTT 5 link: the only user of paho.

A link keeps one connection up and subscribes anew on each. Every connection is a fresh
client, so nothing that was queued before a cut is ever published behind our back; whoever
publishes learns at once that the link is down and keeps what it has. Callbacks only enqueue.
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Iterable
from concurrent.futures import Future
from dataclasses import dataclass, field
from functools import partial
from typing import Any, NamedTuple

import structlog
from paho.mqtt import client as paho
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode
from paho.mqtt.subscribeoptions import SubscribeOptions

from core.contracts.errors import RetryableError
from core.runtime import link_loop
from core.runtime.background import Background
from core.runtime.link_answers import Answers, LinkDownError
from core.runtime.link_identity import identify
from core.runtime.link_wire import Arrival, Wire
from core.runtime.settings import BrokerSettings

log = structlog.get_logger(__name__)

#: Messages that may be under way to us, or from us, unconfirmed.
RECEIVE_MAXIMUM = 2_000
#: The longest packet that is taken (bytes).
MAXIMUM_PACKET = 1 << 20
#: Topics whose handler is remembered.
_KNOWN_TOPICS = 10_000
#: A connection that stood for so long (s) is followed by a first attempt at once.
_STEADY_S = 10.0


class Message(NamedTuple):
    """One message as it arrived; ``ack`` confirms it on a link with ``manual_ack``."""

    topic: str
    payload: bytes
    retained: bool
    properties: list[tuple[str, str]]
    ack: Callable[[], None]


Handler = Callable[[Message], None]


@dataclass(frozen=True, slots=True)
class Will:
    """The retained message that the broker publishes when the connection breaks."""

    topic: str
    payload: bytes


@dataclass(frozen=True)
class LinkOptions:
    """Who connects and how.

    ``session_expiry_s`` above 0 asks for a persistent session, in which the broker keeps
    unconfirmed messages; together with ``manual_ack`` it is for plain topics only.
    """

    client_id: str
    keepalive_s: int = 15
    session_expiry_s: int = 0
    manual_ack: bool = False
    backoff_s: tuple[float, float] = (1.0, 60.0)
    will: Callable[[], Will] | None = None
    """Made anew for each connection."""
    random: random.Random = field(default_factory=random.Random)


class Link:
    """A supervised connection to the broker.

    Handlers and hooks run on the network thread: they must only enqueue. An exception in one
    is logged and counted, never fatal.
    """

    def __init__(self, broker: BrokerSettings, options: LinkOptions) -> None:
        self._broker = broker
        self._options = options
        self._handlers: list[tuple[str, Handler]] = []
        self._known: dict[str, Handler | None] = {}
        self._options_of: dict[str, SubscribeOptions] = {}
        self._dispensable: set[str] = set()
        self._on_up: list[Callable[[], None]] = []
        self._on_down: list[Callable[[], None]] = []
        self._answers = Answers()
        self._client: paho.Client | None = None
        self._connected = threading.Event()
        self._background = Background(f"mqtt-{options.client_id}", self._run)
        self._up_since: float | None = None
        self.handler_errors = 0
        self.connections = 0
        self.failed_attempts = 0
        """Connections that ended before they stood, because the other side was not there or not
        willing."""

    def subscribe(
        self,
        topic_filter: str,
        handler: Handler,
        *,
        dispensable: bool = False,
        as_published: bool = False,
    ) -> None:
        """Call ``handler`` for every message that matches; to be called before ``start``.

        A broker that refuses a ``dispensable`` topic is worked with all the same. With
        ``as_published`` a message says that it is retained also when it comes at once.
        """
        self._handlers.append((topic_filter, handler))
        self._options_of[topic_filter] = SubscribeOptions(qos=1, retainAsPublished=as_published)
        if dispensable:
            self._dispensable.add(topic_filter)

    def on_up(self, hook: Callable[[], None]) -> None:
        """Call ``hook`` after each connect, when the subscriptions stand."""
        self._on_up.append(hook)

    def on_down(self, hook: Callable[[], None]) -> None:
        """Call ``hook`` after each disconnect."""
        self._on_down.append(hook)

    @property
    def connected(self) -> bool:
        """Tell whether the connection stands and its subscriptions are made."""
        return self._connected.is_set()

    def wait_connected(self, timeout: float) -> bool:
        """Wait up to ``timeout`` seconds for the connection; tell whether it stands."""
        return self._connected.wait(timeout)

    def start(self) -> None:
        """Start connecting in the background."""
        self._background.start()

    def stop(self, farewell: Iterable[tuple[str, bytes]] = ()) -> None:
        """Publish retained farewells if connected, disconnect and stop."""
        self._background.stopping.set()
        client = self._client
        if client is not None and self.connected:
            for topic, payload in farewell:
                try:
                    self.publish(topic, payload, retain=True).result(1.0)
                except (RetryableError, TimeoutError) as error:
                    log.warning("farewell not delivered", topic=topic, error=str(error))
        if client is not None:
            client.disconnect()  # also where the connection is only being made
        self._background.stop()

    def publish(
        self,
        topic: str,
        payload: bytes,
        *,
        retain: bool = False,
        expiry_s: int | None = None,
        properties: list[tuple[str, str]] | None = None,
        content_type: str | None = None,
    ) -> Future[int]:
        """Publish with QoS 1; the future gives the broker's reason code.

        It fails with :class:`LinkDownError` when the connection is not there or breaks before
        the answer, and with :class:`NotDeliveredError` on a refusal (reason >= 0x80).
        The broker's answer is no promise of durability: only a receipt is.
        """
        future: Future[int] = Future()
        future.set_running_or_notify_cancel()  # who waits no longer must not disturb the answer
        client = self._client
        if client is None or not self.connected:
            future.set_exception(LinkDownError("not connected to the broker"))
            return future
        packet = _properties(PacketTypes.PUBLISH)
        if expiry_s is not None:
            packet.MessageExpiryInterval = expiry_s
        if properties:
            packet.UserProperty = properties
        if content_type:
            packet.ContentType = content_type
        info = client.publish(topic, payload, qos=1, retain=retain, properties=packet)
        if info.rc != paho.MQTT_ERR_SUCCESS:
            future.set_exception(LinkDownError(paho.error_string(info.rc)))
            return future
        waits = self._answers.expect(info.mid, future)
        if waits and client is not self._client:
            self._answers.fail()
        return future

    # -- the network thread ---------------------------------------------------------------

    def _run(self) -> None:
        attempt = 0
        low, high = self._options.backoff_s
        while not self._background.stopping.is_set():
            self._up_since = None
            try:
                error = self._connection()
            except Exception as failure:
                # A secret that cannot be read now, a malformed packet: the link goes on.
                log.exception("connection failed", client=self._options.client_id)
                error = str(failure) or type(failure).__name__
            if self._up_since is None:
                self.failed_attempts += 1
            if self._background.stopping.is_set():
                return
            stood = self._up_since is not None and (time.monotonic() - self._up_since >= _STEADY_S)
            # One that is thrown out as soon as it is up must not come back at full speed.
            attempt = 0 if stood else attempt + 1
            if attempt <= 1:
                log.warning("broker connection lost", client=self._options.client_id, why=error)
            ceiling = min(high, low * 2 ** min(attempt, 16))
            # Full jitter, so that a thousand edges do not come back in the same second.
            pause_s = self._options.random.uniform(0, ceiling if attempt else low)
            self._background.stopping.wait(pause_s)

    def _connection(self) -> str:
        """Keep one connection until it ends; return why it ended."""
        client = self._make_client()
        connect = _properties(PacketTypes.CONNECT)
        connect.SessionExpiryInterval = self._options.session_expiry_s
        connect.ReceiveMaximum = RECEIVE_MAXIMUM
        connect.MaximumPacketSize = MAXIMUM_PACKET
        self._client = client
        reason = "closed"
        try:
            client.connect(
                self._broker.host,
                self._broker.port,
                keepalive=self._options.keepalive_s,
                clean_start=self._options.session_expiry_s == 0,
                properties=connect,
            )
            reason = link_loop.run(client)
        except (OSError, ValueError) as error:  # unreachable, TLS refused, bad host name
            reason = str(error) or type(error).__name__
        finally:
            was_up = self._connected.is_set()
            self._connected.clear()
            self._client = None
            self._answers.fail()
            if was_up:
                self._call(self._on_down)
        return reason

    def _make_client(self) -> link_loop.Client:
        client = link_loop.Client(
            CallbackAPIVersion.VERSION2,
            client_id=self._options.client_id,
            protocol=paho.MQTTv5,
            reconnect_on_failure=False,
        )
        client.max_inflight_messages_set(RECEIVE_MAXIMUM)
        client.suppress_exceptions = False
        identify(client, self._broker)
        if self._options.will is not None:
            will = self._options.will()
            client.will_set(will.topic, will.payload, qos=1, retain=True)
        client.on_connect = self._connected_callback
        client.on_subscribe = self._subscribed_callback
        client.on_publish = self._published_callback
        client.take = self._take
        return client

    def _connected_callback(
        self, client: paho.Client, _data: Any, _flags: Any, code: ReasonCode, _properties: Any
    ) -> None:
        if code.is_failure:
            log.error("the broker refused us", client=self._options.client_id, reason=str(code))
            return
        if self._handlers:
            client.subscribe([(topic, self._options_of[topic]) for topic, _ in self._handlers])
        else:
            self._up()

    def _subscribed_callback(
        self, client: paho.Client, _data: Any, _mid: int, codes: list[ReasonCode], _props: Any
    ) -> None:
        refused = [
            topic for (topic, _), code in zip(self._handlers, codes, strict=False)
            if code.is_failure
        ]  # fmt: skip
        if refused:
            log.error("subscription refused", client=self._options.client_id, topics=refused)
        if not self._dispensable.issuperset(refused):
            client.disconnect()
            return
        self._up()

    def _up(self) -> None:
        if self._background.stopping.is_set() and self._client is not None:
            self._client.disconnect()
            return
        self.connections += 1
        self._up_since = time.monotonic()
        self._connected.set()
        self._call(self._on_up)

    def _published_callback(
        self, _client: paho.Client, _data: Any, mid: int, code: ReasonCode, _properties: Any
    ) -> None:
        self._answers.take(mid, code.value)

    def _take(self, wire: Wire, arrivals: list[Arrival]) -> None:
        """Hand on messages; they are acknowledged together unless the handlers do that."""
        by_hand = self._options.manual_ack
        for arrival in arrivals:
            topic, payload, retained, properties, packet_id = arrival
            ack = _nothing
            if by_hand and packet_id is not None:
                ack = partial(wire.acknowledge, [packet_id])
            handler = self._handler(topic)
            if handler is None:
                continue
            try:
                handler(Message(topic, payload, retained, properties, ack))
            except Exception:
                # The thread would end, and with it the connection.
                self.handler_errors += 1
                log.exception("message handler failed", topic=topic)
        if not by_hand and (answers := [a.packet_id for a in arrivals if a.packet_id is not None]):
            wire.acknowledge(answers)

    def _handler(self, topic: str) -> Handler | None:
        try:
            return self._known[topic]
        except KeyError:
            matches = (h for f, h in self._handlers if paho.topic_matches_sub(f, topic))
            if len(self._known) >= _KNOWN_TOPICS:
                self._known.clear()
            return self._known.setdefault(topic, next(matches, None))

    def _call(self, hooks: list[Callable[[], None]]) -> None:
        for hook in hooks:
            try:
                hook()
            except Exception:
                self.handler_errors += 1
                log.exception("link hook failed", client=self._options.client_id)


def _nothing() -> None:
    """Confirm nothing: the message has been, or nobody waits for it."""


def _properties(packet: int) -> Any:
    return Properties(packet)  # type: ignore[no-untyped-call]  # paho's properties are dynamic
