"""``estate simulate street``: a whole street's traffic into a collector of its own, audited.

Broker and collector (and, if asked for, the API) run as separate processes on the embedded
defaults, in a data folder of their own, on one scaled clock. Afterwards what the simulator says
it sent is compared, kind by kind, with what is stored, dead-lettered and declared dropped.
"""

from __future__ import annotations

import shutil
import signal
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import msgspec

from core.contracts.errors import EstateError, StoreUnavailableError
from core.runtime.broker import free_port
from core.runtime.clock import VARIABLE, ScaledClock
from core.runtime.settings import BrokerSettings, Settings
from core.storage.series import open_reader
from estate.audit import FOREVER, Audit, audit
from estate.supervisor import ProcessSpec, Supervisor
from simulators.scale.plan import StreetPlan
from simulators.scale.street import Played, Street

_STALLED_S = 60.0
#: How it goes is said after so much run time (s).
_SAY_S = 300.0
#: Kinds that the collector writes itself.
_OWN = "edge."

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class StreetRun:
    """What is played: ``share`` of a street, for so many seconds of run time."""

    share: float = 1.0
    seconds: int = 3600
    speed: float = 5.0
    flat_out: bool = False
    seed: int = 1
    console: bool = False
    keep: bool = False


@dataclass(frozen=True, slots=True)
class StreetAudit:
    """What the simulator says it sent, kind by kind, against the audit of what is kept."""

    sent: Counter[str]
    kept: Audit

    @property
    def logged(self) -> Counter[str]:
        """Return the events of the log by kind, without those that the collector wrote."""
        kinds = self.kept.ledger.kinds
        return Counter({kind: n for kind, n in kinds.items() if not kind.startswith(_OWN)})

    @property
    def exact(self) -> bool:
        """Tell whether everything is accounted for, and nothing is there twice."""
        return self.kept.exact and not self.kept.declared and self.logged == self.sent

    def lines(self) -> Iterator[str]:
        """Yield the audit as a table."""
        logged = self.logged
        yield f"{'kind':<20}{'sent':>14}{'logged':>14}"
        for kind in sorted(self.sent | logged):
            yield f"{kind:<20}{self.sent[kind]:>14,}{logged[kind]:>14,}"
        yield f"{'all':<20}{self.sent.total():>14,}{logged.total():>14,}"
        yield from self.kept.lines()
        if self.logged != self.sent:
            yield f"NOT EXACT: {self.sent.total() - logged.total():,} of what was sent are missing"


class StreetNode:
    """The processes of one street run."""

    def __init__(self, settings: Settings, run: StreetRun, folder: Path, say: Say) -> None:
        self._run = run
        self._say = say
        self._folder = folder
        self.watch: Callable[[Played, StreetNode], None] = lambda _played, _node: None
        """Called about once a second while it plays."""
        self._say_from = _SAY_S
        self._port = free_port()
        self._clock = ScaledClock.starting_now(run.speed)
        self._settings = settings.model_copy(
            update={"data": folder, "broker": BrokerSettings(port=self._port)}
        )
        self._supervisor = Supervisor(folder / "logs", lambda _state: None)
        self._plan = StreetPlan(run.share)
        self._street = Street(
            self._plan, self._settings.broker, self._clock, seed=run.seed, progress=self._tell
        )

    def play(self) -> StreetAudit:
        """Start, play, wait until everything is stored, compare, stop."""
        previous = {
            number: signal.signal(number, lambda *_: self.stop())
            for number in (signal.SIGINT, signal.SIGTERM)
        }
        try:
            with self._processes():
                played = self._play()
                self._await_stored(played)
            return StreetAudit(played.counts, audit(self._settings))
        finally:
            for number, handler in previous.items():
                signal.signal(number, handler)

    @contextmanager
    def _processes(self) -> Iterator[None]:
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        topology = self._folder / "topology.json"
        topology.write_bytes(msgspec.json.encode(self._plan.topology()))
        variables = {
            VARIABLE: self._clock.to_environment(),
            "ESTATE_DATA": str(self._folder.resolve()),
            "ESTATE_BROKER__PORT": str(self._port),
        }
        start = self._supervisor.start
        try:
            start(ProcessSpec("broker", ("broker",), variables, quiet=True, last=True))
            if self._run.console:
                port = str(free_port())
                start(ProcessSpec("api", ("api",), {**variables, "ESTATE_API__PORT": port}))
                self._say(f"Console: http://127.0.0.1:{port} (estate sign-in-link, with")
                self._say(f"ESTATE_DATA={self._folder} ESTATE_API__PORT={port})")
            start(ProcessSpec("collector", ("collector", "--topology", str(topology)), variables))
            yield
        finally:
            self._supervisor.stop()

    def _play(self) -> Played:
        run, plan = self._run, self._plan
        self._say(
            f"{plan.devices:,} devices in {len(plan.sites)} sites, {run.seconds:,} s of run time, "
            + ("as fast as it goes" if run.flat_out else f"at {run.speed:g} times real time")
        )
        played = self._street.play(run.seconds, flat_out=run.flat_out)
        played.write(self._folder / "sent.json")
        self._say(
            f"sent {played.events:,} events in {played.real_s:.0f} s of real time "
            f"({played.events / max(played.real_s, 0.001):,.0f}/s), at most {played.behind_s:.1f} s"
            " behind the clock; all of it is receipted"
        )
        return played

    def pid(self, name: str) -> int | None:
        """Return the process id of ``broker`` or ``collector``, None while it is down."""
        return self._supervisor.pid(name)

    def stop(self) -> None:
        """End early; what was said is still sent, stored and compared."""
        self._street.stop()

    def restart_edge(self, number: int) -> None:
        """Let an edge, counted through the street, be born again; to be called by :attr:`watch`."""
        self._street.restart(self._plan.sites[number % len(self._plan.sites)].edge)

    def _tell(self, played: Played, held: int) -> None:
        self._supervisor.check()
        self.watch(played, self)
        passed = (played.last_ms - played.first_ms) / 1000
        if passed >= self._say_from:
            self._say_from = passed + _SAY_S
            self._say(f"  {passed:6.0f} s  {played.events:>12,} events, {held} batches under way")

    def _await_stored(self, played: Played) -> None:
        """Wait until the store has it all, or nothing more comes."""
        began = since = time.monotonic()
        most = -1
        while True:
            self._supervisor.check()
            stored = self._stored()
            if stored.total() > most:
                most, since = stored.total(), time.monotonic()
            if stored.total() >= played.events or time.monotonic() - since > _STALLED_S:
                self._say(f"stored {time.monotonic() - began:.1f} s after the last receipt")
                return
            time.sleep(0.2)

    def _stored(self) -> Counter[str]:
        reader = open_reader(self._settings)
        try:
            counts = reader.counts(0, FOREVER)
        except StoreUnavailableError:
            return Counter()
        finally:
            reader.close()
        return Counter({kind: n for kind, n in counts.items() if not kind.startswith(_OWN)})


def play(settings: Settings, run: StreetRun, say: Say) -> bool:
    """Play a street in a fresh folder below the data folder; tell whether the audit is exact."""
    folder = settings.data / f"street-{time.strftime('%Y%m%d-%H%M%S')}"
    if folder.exists():
        raise EstateError(f"{folder} exists already")
    found = StreetNode(settings, run, folder, say).play()
    for line in found.lines():
        say(line)
    if found.exact and not run.keep:
        shutil.rmtree(folder, ignore_errors=True)
    else:
        say(f"Everything is kept in {folder}")
    return found.exact
