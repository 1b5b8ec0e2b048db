"""A virtual broker and the connections to it: late, cut, one-way, doubled, out of order."""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable, Iterable
from typing import Any

from paho.mqtt.client import topic_matches_sub

from core.runtime.link import LinkOptions, Message
from core.runtime.link_answers import LinkDownError
from tests.simulation.primitives import Event, Future, SimpleQueue, Thread
from tests.simulation.scheduler import Process, the

#: A connection that is silent for so long (s) is given up, by either side.
_SILENCE_S = (12.0, 20.0)
_LATENCY_S = (0.001, 0.02)

Packet = Callable[[], None]


class Way:
    """One direction of one connection: in order, unless the network is wild."""

    def __init__(self, network: Network, machine: str) -> None:
        self._network, self._machine = network, machine
        self._last = 0.0
        self._held: deque[Packet] = deque()

    def send(self, packet: Packet, *, wild: bool = False) -> None:
        chance, network = the().random, self._network
        due = the().now + chance.uniform(*_LATENCY_S)
        if wild and chance.random() < network.wildness:
            the().at(due + chance.uniform(0, 4.0), lambda: self._arrive(packet))
            if chance.random() < 0.5:
                return  # it comes late, and others overtake it
        self._last = max(self._last, due)
        the().at(self._last, lambda: self._arrive(packet))

    def _arrive(self, packet: Packet) -> None:
        raise NotImplementedError

    def _deliver(self, blocked: bool, packet: Packet) -> None:
        if blocked:
            self._held.append(packet)
        else:
            packet()

    def flush(self) -> None:
        """Deliver what a cut held up: TCP sends it again."""
        held, self._held = self._held, deque()
        for packet in held:
            packet()


class _Up(Way):
    def _arrive(self, packet: Packet) -> None:
        self._deliver(self._machine in self._network.deaf_to, packet)


class _Down(Way):
    def _arrive(self, packet: Packet) -> None:
        self._deliver(self._machine in self._network.mute_to, packet)


class Connection:
    """One client's connection, as the broker sees it."""

    def __init__(self, link: SimLink, network: Network) -> None:
        self.link = link
        self.open = True
        self.machine = link.process.machine
        self.up, self.down = _Up(network, self.machine), _Down(network, self.machine)
        will = link.options.will
        self.will = None if will is None else will()


class Network:
    """The broker, and everybody's way to it.

    ``wildness`` is the share of messages that are doubled or overtaken; ``deaf_to`` are the
    machines that the broker does not hear, ``mute_to`` those that do not hear the broker.
    """

    def __init__(self) -> None:
        self.wildness = 0.0
        self.up = True
        self.deaf_to: set[str] = set()
        self.mute_to: set[str] = set()
        self.connections: list[Connection] = []
        self.retained: dict[str, tuple[bytes, list[tuple[str, str]]]] = {}
        self.on_publish: Callable[[str, bytes], None] = lambda _topic, _payload: None

    # -- faults ---------------------------------------------------------------------------

    def cut(self, machine: str, up: bool, down: bool, seconds: float) -> None:
        """Cut a machine's way to the broker, or the broker's to it."""
        the().say("cut", machine, "up" * up, "down" * down, round(seconds, 1))
        for wanted, blocked in ((up, self.deaf_to), (down, self.mute_to)):
            if wanted:
                blocked.add(machine)
        for connection in [c for c in self.connections if c.machine == machine]:
            the().after(the().random.uniform(*_SILENCE_S), lambda c=connection: self._silent(c))
        the().after(seconds, lambda: self.heal(machine))

    def heal(self, machine: str) -> None:
        """Mend a machine's ways."""
        the().say("mended", machine)
        self.deaf_to.discard(machine)
        self.mute_to.discard(machine)
        for connection in [c for c in self.connections if c.machine == machine and c.open]:
            connection.up.flush()
            connection.down.flush()

    def crash(self, *, wipe: bool, seconds: float) -> None:
        """Kill the broker: what was under way is gone, with ``wipe`` what it kept too."""
        the().say("broker killed", "wiped" * wipe, round(seconds, 1))
        self.up = False
        for connection in list(self.connections):
            self._drop(connection, will=False)
        if wipe:
            self.retained.clear()
        the().after(seconds, self.restart)

    def restart(self) -> None:
        self.up = True

    def _silent(self, connection: Connection) -> None:
        if connection.open and connection.machine in self.deaf_to | self.mute_to:
            self._drop(connection, will=True)

    # -- the broker -----------------------------------------------------------------------

    def connect(self, link: SimLink) -> Connection | None:
        """Let a client in; None where it cannot reach the broker."""
        machine = link.process.machine
        if not self.up or machine in self.deaf_to | self.mute_to:
            return None
        for other in list(self.connections):
            if other.link.options.client_id == link.options.client_id:
                self._drop(other, will=True)
        connection = Connection(link, self)
        self.connections.append(connection)
        for topic in sorted(self.retained):
            payload, properties = self.retained[topic]
            self._give(connection, topic, payload, properties, retained=True)
        return connection

    def lost(self, process: Process, power: bool) -> None:
        """Take note that a process has died: its sockets close, but not when the power is cut."""
        for connection in [c for c in self.connections if c.link.process is process]:
            if power:
                the().after(the().random.uniform(*_SILENCE_S), lambda c=connection: self._gone(c))
            else:
                self._gone(connection)

    def _gone(self, connection: Connection) -> None:
        if connection.open:
            self._drop(connection, will=True)

    def _drop(self, connection: Connection, *, will: bool) -> None:
        connection.open = False
        if connection in self.connections:
            self.connections.remove(connection)
        connection.link.closed(connection)
        if will and connection.will is not None:
            self.publish(connection.will.topic, connection.will.payload, [], retain=True)

    def leave(self, connection: Connection) -> None:
        """Take a farewell: no will is published."""
        if connection.open:
            self._drop(connection, will=False)

    def publish(
        self, topic: str, payload: bytes, properties: list[tuple[str, str]], *, retain: bool
    ) -> None:
        """Take a message and hand it on."""
        self.on_publish(topic, payload)
        if retain:
            self.retained[topic] = (payload, properties)
        for connection in self.connections:
            self._give(connection, topic, payload, properties, retained=False)

    def _give(
        self, connection: Connection, topic: str, payload: bytes, properties: Any, *, retained: bool
    ) -> None:
        link = connection.link
        if link.wants(topic):
            message = Message(topic, payload, retained, properties, lambda: None)
            connection.down.send(lambda: link.deliver(connection, message), wild=True)


class SimLink:
    """Stands in for :class:`core.runtime.link.Link`."""

    network: Network

    def __init__(self, broker: object, options: LinkOptions) -> None:
        del broker
        current = the().current
        assert current is not None
        self.process = current.process
        self.options = options
        self.connections = self.handler_errors = 0
        self._handlers: list[tuple[str, Callable[[Message], None]]] = []
        self._on_up: list[Callable[[], None]] = []
        self._on_down: list[Callable[[], None]] = []
        self._inbox = SimpleQueue()
        self._stopping = Event()
        self._connection: Connection | None = None
        self._pending: dict[Future[int], None] = {}
        self._thread: Thread | None = None
        self._random = random.Random(the().random.random())

    def subscribe(self, topic: str, handler: Callable[[Message], None], **_: bool) -> None:
        self._handlers.append((topic, handler))

    def on_up(self, hook: Callable[[], None]) -> None:
        self._on_up.append(hook)

    def on_down(self, hook: Callable[[], None]) -> None:
        self._on_down.append(hook)

    @property
    def connected(self) -> bool:
        return self._connection is not None and self._connection.open

    def start(self) -> None:
        self._thread = Thread(self._run, f"mqtt-{self.options.client_id}")
        self._thread.start()

    def stop(self, farewell: Iterable[tuple[str, bytes]] = ()) -> None:
        self._stopping.set()
        connection = self._connection
        if connection is not None and connection.open:
            for topic, payload in farewell:
                try:
                    self.publish(topic, payload, retain=True).result(1.0)
                except (LinkDownError, TimeoutError):
                    break
            self.network.leave(connection)
        self._inbox.put(None)
        if self._thread is not None:
            self._thread.join(5.0)

    def publish(
        self,
        topic: str,
        payload: bytes,
        *,
        retain: bool = False,
        properties: list[tuple[str, str]] | None = None,
        **_: object,
    ) -> Future[int]:
        the().point("before a publish")
        future: Future[int] = Future()
        connection = self._connection
        if connection is None or not connection.open:
            future.set_exception(LinkDownError("not connected to the broker"))
            return future
        self._pending[future] = None

        def arrive() -> None:
            if connection.open:
                self.network.publish(topic, payload, list(properties or []), retain=retain)
                connection.down.send(lambda: self._answer(future))

        connection.up.send(arrive)
        the().point("after a publish")
        return future

    def _answer(self, future: Future[int]) -> None:
        self._pending.pop(future, None)
        if not future.done():
            future.set_result(0)

    # -- called by the broker -------------------------------------------------------------

    def wants(self, topic: str) -> bool:
        return any(topic_matches_sub(f, topic) for f, _ in self._handlers)

    def deliver(self, connection: Connection, message: Message) -> None:
        if connection.open and not self.process.dead:
            self._inbox.put(message)

    def closed(self, connection: Connection) -> None:
        if not self.process.dead and connection is self._connection:
            self._inbox.put(None)

    # -- the network thread ---------------------------------------------------------------

    def _run(self) -> None:
        while not self._stopping.is_set():
            connection = self.network.connect(self)
            if connection is not None:
                self._stand(connection)
            self._stopping.wait(self._random.uniform(0.1, 3.0))

    def _stand(self, connection: Connection) -> None:
        self._inbox = SimpleQueue()
        self._connection = connection
        self.connections += 1
        for hook in self._on_up:
            hook()
        while connection.open and not self._stopping.is_set():
            message = self._inbox.get()
            if message is None:
                continue
            for topic, handler in self._handlers:
                if topic_matches_sub(topic, message.topic):
                    handler(message)
                    break
        pending, self._pending = self._pending, {}
        for future in pending:
            if not future.done():
                future.set_exception(LinkDownError("the connection broke before the answer"))
        for hook in self._on_down:
            hook()
