"""What the API tells Prometheus beside its requests."""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client.core import Metric

from core.runtime.metrics import Spec
from dashboard_api.live.hub import LiveHub
from dashboard_api.series.service import SeriesService

CLIENTS = Spec("estate_api_live_clients", "gauge", "Live streams that are open.")
DROPPED = Spec(
    "estate_api_live_dropped_total", "counter", "Live clients that were cut off: they did not read."
)
SEQUENCE = Spec("estate_api_live_sequence", "gauge", "Newest number of the live sequence.")
RECORDS_FAILING = Spec(
    "estate_api_records_failing", "gauge", "1 while the live sequence cannot be read."
)
SERIES_FAILING = Spec(
    "estate_api_series_failing", "gauge", "1 while the series store does not answer."
)


def collect(hub: LiveHub, series: SeriesService) -> Iterator[Metric]:
    """Yield the families."""
    yield CLIENTS.of(hub.clients)
    yield DROPPED.of(hub.dropped)
    yield SEQUENCE.of(hub.seq)
    yield RECORDS_FAILING.of(hub.failing is not None)
    yield SERIES_FAILING.of(series.failing is not None)
