"""Metrics: what a process tells Prometheus, on a port of its own (ADR 0019).

A part keeps the counters that it needs anyway; its *sources* read them when somebody asks.
Nothing is registered on import: the composition root hands the sources to a registry.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal, Protocol, TypeVar

import msgspec
import structlog
from prometheus_client import CollectorRegistry, ProcessCollector, start_http_server
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from core.contracts.errors import SettingsError
from core.runtime.settings import MetricsSettings

log = structlog.get_logger(__name__)

#: The folder of the data folder in which each process writes where it is to be asked.
FOLDER = "metrics"
#: Gives the families of one part at the moment of a scrape; runs on the server's thread.
Source = Callable[[], Iterable[Metric]]
Kind = Literal["counter", "gauge", "histogram", "summary"]
K = TypeVar("K", bound=str | tuple[str, ...])
_UNSAFE = re.compile(r"[^A-Za-z0-9._-]+")


class Measured(Protocol):
    """A part that can be asked for its metrics while it runs."""

    def sources(self) -> Sequence[Source]:
        """Return what a scrape asks; each may fail for itself."""
        ...


@dataclass(frozen=True, slots=True)
class Spec:
    """One metric: its name as it is scraped, what it counts, and its labels.

    Labels take few values that are known beforehand: never a device, a person or an alert.
    """

    name: str
    kind: Kind
    help: str
    labels: tuple[str, ...] = ()

    def of(self, value: float) -> Metric:
        """Return the family of a metric without labels."""
        none: tuple[str, ...] = ()
        return self.each({none: value})

    def each(self, values: Mapping[K, float]) -> Metric:
        """Return the family with a sample for each label value (or tuple of them)."""
        make = CounterMetricFamily if self.kind == "counter" else GaugeMetricFamily
        family: CounterMetricFamily | GaugeMetricFamily = make(
            self.name, self.help, labels=self.labels
        )
        for key, value in values.items():
            family.add_metric((key,) if isinstance(key, str) else key, value)
        return family


def measured(metric: Collector) -> Iterator[Metric]:
    """Yield a histogram's or counter's families without the times at which they were made."""
    for family in metric.collect():
        family.samples = [s for s in family.samples if not s.name.endswith("_created")]
        yield family


BUILD = Spec("estate_build_info", "gauge", "1; the program's version.", ("version",))
FAILED = Spec(
    "estate_scrape_sources_failed", "gauge", "Sources that could not be read in this scrape."
)
#: What prometheus_client says of the process itself (Linux only).
PROCESS = (
    Spec("process_cpu_seconds_total", "counter", "CPU time of the process, user and system."),
    Spec("process_resident_memory_bytes", "gauge", "Resident memory."),
    Spec("process_virtual_memory_bytes", "gauge", "Virtual memory."),
    Spec("process_start_time_seconds", "gauge", "When the process started (Unix time)."),
    Spec("process_open_fds", "gauge", "Open file descriptors."),
    Spec("process_max_fds", "gauge", "How many file descriptors it may open."),
)
COMMON = (BUILD, FAILED, *PROCESS)


def catalogue(namespace: Mapping[str, Any]) -> tuple[Spec, ...]:
    """Return the metrics that a module declares, in their order."""
    return tuple(value for value in namespace.values() if isinstance(value, Spec))


class _Sources(Collector):
    """Asks every source; one that fails is counted and the others are told all the same."""

    def __init__(self, sources: Sequence[Source]) -> None:
        self._sources = sources
        self._failing: set[int] = set()

    def collect(self) -> Iterator[Metric]:
        """Yield what the sources give."""
        failed = 0
        for number, source in enumerate(self._sources):
            try:
                yield from list(source())
            except Exception as error:  # noqa: BLE001  (what works must be seen when a store is down)
                failed += 1
                if number not in self._failing:
                    self._failing.add(number)
                    log.warning("metrics cannot be read", why=str(error) or repr(error))
            else:
                self._failing.discard(number)
        yield FAILED.of(failed)
        yield BUILD.each({version("smart-estate"): 1})


def registry_of(sources: Sequence[Source]) -> CollectorRegistry:
    """Return a registry with the sources and what the operating system knows of the process."""
    registry = CollectorRegistry()
    ProcessCollector(registry=registry)
    registry.register(_Sources(sources))
    return registry


class MetricsServer:
    """Serves a registry at ``/metrics`` and says where, for Prometheus' file discovery.

    The file ``{folder}/{process}.json`` has the form of ``file_sd_configs``; it is there while
    the process serves.
    """

    def __init__(
        self, settings: MetricsSettings, registry: CollectorRegistry, folder: Path, process: str
    ) -> None:
        self._settings = settings
        self._registry = registry
        self._process = process
        self._file = folder / f"{_UNSAFE.sub('-', process)}.json"
        self._running: tuple[Any, threading.Thread] | None = None

    @property
    def port(self) -> int:
        """Return the port that is listened on; 0 while nothing is."""
        return 0 if self._running is None else int(self._running[0].server_port)

    def start(self) -> None:
        """Listen, where the settings want it; raise :class:`SettingsError` when that cannot be."""
        host, port = self._settings.host, self._settings.port
        if not self._settings.enabled or self._running is not None:
            return
        try:
            self._running = start_http_server(port, host, self._registry)
        except OSError as error:
            raise SettingsError(
                f"metrics.host, metrics.port: cannot listen on {host}:{port}: {error.strerror}; "
                "choose another, 0 for any, or metrics.enabled: false"
            ) from None
        self._announce(f"[{host}]:{self.port}" if ":" in host else f"{host}:{self.port}")

    def stop(self) -> None:
        """Stop listening; takes up to half a second."""
        if self._running is None:
            return
        server, thread = self._running
        self._running = None
        self._file.unlink(missing_ok=True)
        server.shutdown()
        server.server_close()
        thread.join(1.0)

    def _announce(self, target: str) -> None:
        group = {"targets": [target], "labels": {"process": self._process}}
        draft = self._file.with_suffix(".tmp")
        try:
            self._file.parent.mkdir(parents=True, exist_ok=True)
            draft.write_bytes(msgspec.json.encode([group]))
            draft.replace(self._file)
        except OSError as error:  # a full disk must not keep the part from running
            log.warning(
                "where the metrics are is not written", file=str(self._file), why=str(error)
            )
