"""What the supervisor tells Prometheus about its processes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from prometheus_client.core import Metric

from core.runtime.metrics import Source, Spec
from estate.supervisor import Supervisor

UP = Spec("estate_supervisor_process_up", "gauge", "1 while a process runs.", ("child",))
RESTARTS = Spec(
    "estate_supervisor_restarts_total", "counter", "Times that a process was started anew.",
    ("child",),
)  # fmt: skip


class SupervisorMetrics:
    """The processes of a node, as a scrape reads them."""

    def __init__(self, supervisor: Supervisor) -> None:
        self._supervisor = supervisor

    def sources(self) -> Sequence[Source]:
        """Return what a scrape asks."""
        return (self._children,)

    def _children(self) -> Iterator[Metric]:
        children = self._supervisor.tallies()
        yield UP.each({name: float(up) for name, (up, _) in children.items()})
        yield RESTARTS.each({name: restarts for name, (_, restarts) in children.items()})
