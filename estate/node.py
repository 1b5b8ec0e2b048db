"""The all-in-one node: every part as a supervised process over one data folder."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import structlog

from core.contracts.errors import EstateError, InUseError, RetryableError, SettingsError
from core.runtime.broker import free_port
from core.runtime.clock import VARIABLE, ScaledClock
from core.runtime.metrics import FOLDER, MetricsServer, registry_of
from core.runtime.settings import Settings
from core.storage.files import write_whole
from core.storage.locks import FileLock
from estate.metrics import SupervisorMetrics
from estate.supervisor import ProcessSpec, ProcessState, Supervisor

log = structlog.get_logger(__name__)

if TYPE_CHECKING:
    from estate.board import Board

Say = Callable[[str], None]
_STARTED_S = 60.0
#: The run's clock, for whoever looks at the data folder from outside (``estate doctor``).
RUN_FILE = "clock"


class StoppedError(EstateError):
    """A stop was asked for before everything had started."""


class Node:
    """Broker, API, simulators, collector, edges and worker, supervised together."""

    def __init__(
        self,
        settings: Settings,
        clock: ScaledClock,
        say: Say,
        *,
        settings_file: Path | None = None,
    ) -> None:
        self._settings = settings
        self._clock = clock
        self._say = say
        self._settings_file = settings_file
        self._lock = FileLock(settings.data / "estate")
        self._board: Board | None = None
        self._untold: list[ProcessState] = []
        self.supervisor = Supervisor(settings.data / "logs", self._tell)
        self._metrics = MetricsServer(
            settings.metrics,
            registry_of(SupervisorMetrics(self.supervisor).sources()),
            settings.data / FOLDER,
            "supervisor",
        )
        self.broker_port = settings.broker.port
        self.api_port = settings.api.port

    @property
    def url(self) -> str:
        """Return the console's address as seen from this machine."""
        api = self._settings.api
        scheme = "https" if api.tls_cert is not None else "http"
        host = "127.0.0.1" if api.host in ("0.0.0.0", "::", "") else api.host  # noqa: S104
        return f"{scheme}://{host}:{self.api_port}"

    def start(self) -> None:
        """Start everything; raise :class:`SettingsError` when a port or the folder is taken."""
        settings = self._settings
        # Keys, sessions and what happens in people's homes: nobody else's business.
        settings.data.mkdir(parents=True, exist_ok=True, mode=0o700)
        try:
            self._lock.acquire()
        except InUseError:
            raise SettingsError(
                f"{settings.data}: another `estate run` uses this data folder; "
                "stop it, or name another with --data"
            ) from None
        for stale in (settings.data / FOLDER).glob("*.json"):
            stale.unlink()  # of processes that were killed, and of edges that are gone
        self._metrics.start()
        write_whole(settings.data / RUN_FILE, self._clock.to_environment().encode())
        self._choose_ports()
        self._variables = self._shared_variables()
        # The page comes first: what it shows fills in while the rest starts.
        if settings.broker.embedded:
            broker = ProcessSpec(
                "broker", self._command("broker"), self._variables, quiet=True, last=True
            )
            self.supervisor.start(broker)
        self._start_part("api", "api")
        if self._simulates:
            self._start_simulators()
        elif settings.topology is None:
            raise SettingsError("topology: name the topology file of your site")
        self._open_board()
        self._await_page()

    def start_rest(self) -> None:
        """Start collector, edges and worker, once the page is up."""
        topology, edges = self._site()
        self._start_part("collector", "collector", "--topology", str(topology))
        for name, file, port in edges:
            self._start_part(f"edge {name}", "edge", str(file), ESTATE_BROKER__PORT=str(port))
        self._start_part("worker", "worker")

    def _await_page(self) -> None:
        deadline = time.monotonic() + _STARTED_S
        while time.monotonic() < deadline and not self.supervisor.stopping:
            self.supervisor.check()
            if _taken(self.api_port):
                return
            time.sleep(0.02)
        self._stop_if_asked()
        raise EstateError(f"the console does not answer on {self.url}; see {self._log('api')}")

    def sign_in_link(self) -> str:
        """Return a one-time link that signs the administrator in, from this machine only."""
        if self._board is None:
            raise EstateError("the records are not open")
        return f"{self.url}/sign-in?token={self._board.sign_in_token()}"

    def watch(self) -> None:
        """Keep everything running until ``request_stop``."""
        self.supervisor.watch()

    def request_stop(self) -> None:
        """End ``watch``."""
        self.supervisor.request_stop()

    def stop(self) -> None:
        """Stop everything within five seconds."""
        self.supervisor.stop()
        self._metrics.stop()
        if self._board is not None:
            self._board.close()
            self._board = None
        self._lock.release()

    # -- parts ----------------------------------------------------------------------------

    def _choose_ports(self) -> None:
        settings = self._settings
        if settings.broker.embedded and (self.broker_port == 0 or _taken(self.broker_port)):
            wanted, self.broker_port = self.broker_port, free_port()
            if wanted:
                self._say(f"Port {wanted} is taken: the broker listens on {self.broker_port}.")
        if self.api_port == 0:
            self.api_port = free_port()
        elif _taken(self.api_port):
            raise SettingsError(
                f"api.port: {self.api_port} is taken by another program; "
                "stop it, or choose another with --port"
            )

    def _shared_variables(self) -> dict[str, str]:
        settings = self._settings
        return {
            VARIABLE: self._clock.to_environment(),
            "ESTATE_DATA": str(settings.data.resolve()),
            "ESTATE_BROKER__PORT": str(self.broker_port),
            "ESTATE_API__PORT": str(self.api_port),
            "ESTATE_METRICS__PORT": "0",  # each its own; a port that is set is the supervisor's
            "ESTATE_API__HOST": settings.api.host,
            "ESTATE_RUN__SCENARIO": settings.run.scenario,
            "ESTATE_RUN__SEED": str(settings.run.seed),
        }

    def _start_part(self, name: str, *arguments: str, **more: str) -> None:
        variables = {**self._variables, **more}
        self.supervisor.start(ProcessSpec(name, self._command(*arguments), variables))

    def _command(self, *arguments: str) -> tuple[str, ...]:
        options = ["--settings", str(self._settings_file)] if self._settings_file else []
        return (*arguments, *options)

    def _site(self) -> tuple[Path, list[tuple[str, Path, int]]]:
        """Return the topology file and the edges (name, file, broker port) to start."""
        settings = self._settings
        if settings.topology is not None and not self._simulates:
            return settings.topology, [(p.stem, p, self.broker_port) for p in settings.edges]
        folder = settings.data / "simulation"
        simulation = self._await_file("simulators", folder / "simulation.json")
        edges = [
            (name, folder / file, int(simulation["relays"][name]))
            for name, file in simulation["edges"].items()
        ]
        return folder / simulation["topology"], edges

    @property
    def _simulates(self) -> bool:
        return self._settings.run.simulate and not self._settings.edges

    def _start_simulators(self) -> None:
        (self._settings.data / "simulation" / "simulation.json").unlink(missing_ok=True)
        self._start_part("simulators", "simulate")

    def _await_file(self, name: str, path: Path) -> dict[str, Any]:
        deadline = time.monotonic() + _STARTED_S
        while time.monotonic() < deadline and not self.supervisor.stopping:
            self.supervisor.check()
            if path.exists():
                found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
                return found
            time.sleep(0.02)
        self._stop_if_asked()
        raise EstateError(f"the {name} did not start; see {self._log(name)}")

    def _stop_if_asked(self) -> None:
        if self.supervisor.stopping:
            raise StoppedError("stopped while starting")

    def _log(self, name: str) -> Path:
        return self._settings.data / "logs" / f"{name}.log"

    # -- what the console is told about processes -----------------------------------------

    def _open_board(self) -> None:
        from estate.board import Board  # it takes a second to import, while the API starts

        self._board = Board(self._settings.records_url)
        self._board.open()
        self._tell_untold()

    def _tell(self, state: ProcessState) -> None:
        if state.restarts or state.state == "down":
            self._say(f"{state.name}: {state.state} {state.message}".rstrip())
        self._untold.append(state)
        self._tell_untold()

    def _tell_untold(self) -> None:
        if self._board is None:
            return
        try:
            self._board.tell(self._untold, self._clock.now_ms())
        except RetryableError as error:
            log.warning("the records do not take process states now", why=str(error))
        else:
            self._untold.clear()


def last_clock(settings: Settings) -> ScaledClock | None:
    """Return the clock of the `estate run` that used the data folder last, None without one."""
    try:
        text = (settings.data / RUN_FILE).read_text(encoding="utf-8")
    except OSError:
        return None
    return ScaledClock.of(text)


def _taken(port: int) -> bool:
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=0.2):
            return True
    except OSError:
        return False
