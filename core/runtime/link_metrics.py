"""What a process tells of its connections to the broker."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from prometheus_client.core import Metric

from core.runtime.link import Link
from core.runtime.metrics import Spec

CONNECTED = Spec(
    "estate_mqtt_connected",
    "gauge",
    "1 while the connection and its subscriptions stand.",
    ("link",),
)
CONNECTIONS = Spec(
    "estate_mqtt_connections_total", "counter", "Connections that came to stand.", ("link",)
)
HANDLER_ERRORS = Spec(
    "estate_mqtt_handler_errors_total", "counter", "Messages that a handler failed on.", ("link",)
)


def links(named: Mapping[str, Link]) -> Iterator[Metric]:
    """Yield the families of some links."""
    yield CONNECTED.each({name: float(link.connected) for name, link in named.items()})
    yield CONNECTIONS.each({name: link.connections for name, link in named.items()})
    yield HANDLER_ERRORS.each({name: link.handler_errors for name, link in named.items()})
