"""Local rules at work: what the edge sees is folded, and what must not wait is switched here.

Everything is remembered in one file: the engine, which alerts stand, what was switched, which
notices and events are on their way. It is written before anything is switched, and now and
then; what the edge heard since then is folded again from its own journal at the next start.
"""

from __future__ import annotations

import asyncio
import ipaddress
import ssl
import time
from collections import Counter
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import urlsplit

import structlog

from core.contracts.alerts import RuleSide
from core.contracts.codec import Event
from core.contracts.errors import ContractError, EstateError, JournalError, SettingsError
from core.contracts.outputs import StepKind
from core.contracts.topology import DeviceFamily
from core.runtime.clock import Clock
from core.storage.journal import Journal
from edge.config import EdgeConfig
from edge.driver import Sink
from edge.local_rules import world
from edge.local_rules.fold import Fold, Step
from edge.local_rules.notices import Poster
from edge.local_rules.replay import marks, since
from edge.local_rules.settings import LocalRulesSettings, OutputSettings
from edge.local_rules.state import Held, Notice, Owed, State, SwitchState, encode, read, write
from edge.local_rules.switches import Act, Switch, name_of
from edge.net_guard import why_not
from edge.tap import Tap, identity
from rules.activation import build

log = structlog.get_logger(__name__)

_TICK_S, _LEAST_S = 1.0, 0.05
_SAVE_S = 60.0
#: Events of the edge itself that wait for room in the journal, at most.
_MOST_OWED = 1_000
_BEGAN = frozenset({StepKind.RAISED, StepKind.WORSENED, StepKind.EASED})


@dataclass(frozen=True, slots=True)
class Prepared:
    """A checked configuration, ready to be taken over."""

    config: EdgeConfig
    rules: dict[str, str]


def prepare(config: EdgeConfig) -> Prepared:
    """Check everything that can fail; raise :class:`SettingsError`."""
    settings = config.local_rules
    rules = world.texts(settings, config.base)
    if settings is not None:
        try:
            build(world.activation(config, world.families(config), rules))
        except ContractError as error:
            raise SettingsError(f"local_rules: {error}") from None
        _check_notices(settings, config.base)
    return Prepared(config, rules)


def _check_notices(settings: LocalRulesSettings, base: Path) -> None:
    for notice in settings.notices:
        try:
            address = ipaddress.ip_address(urlsplit(notice.url).hostname or "")
        except ValueError:
            pass  # a name; it is looked up, and judged, whenever something is posted
        else:
            if (why := why_not(address, notice.allow)) is not None:
                raise SettingsError(f"local_rules.notices: {notice.url} is {why}; see allow")
        if notice.ca_file is not None:
            try:
                ssl.create_default_context(cafile=base / notice.ca_file)
            except (OSError, ssl.SSLError) as error:
                raise SettingsError(f"local_rules.notices.ca_file: {error}") from None


class LocalRules:
    """One edge's own rules; used from one event loop."""

    def __init__(
        self,
        prepared: Prepared,
        *,
        clock: Clock,
        file: Path,
        journal: Journal,
        sink: Sink,
        act: Act,
        tap: Tap,
    ) -> None:
        """Take what is needed; ``sink`` is the outbox itself, for what the rules say."""
        self._prepared = prepared
        self._clock = clock
        self._file = file
        self._journal = journal
        self._sink = sink
        self._act = act
        self._tap = tap
        self._fold = Fold(prepared.config.edge, prepared.config.site)
        self._state = State()
        self._families: dict[str, DeviceFamily] = {}
        self._switches: dict[str, Switch] = {}
        self._posters: list[Poster] = []
        self._task: asyncio.Task[None] | None = None
        self._saving = asyncio.Lock()
        self._news = asyncio.Event()
        self._must_save = False
        self.counts: Counter[str] = Counter()

    # -- life -----------------------------------------------------------------------------

    async def start(self) -> None:
        """Remember, fold what was heard since, and begin to listen."""
        folded = await self._recall()
        self._learn()
        steps = folded + self._activate() + self._fold.begin(self._clock.now_ms())
        self._outfit()
        self._take(steps)
        self._task = asyncio.create_task(self._run(), name="local-rules")

    async def stop(self) -> None:
        """Stop and remember."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            self._task = None
        for part in self._parts:
            await part.stop()
        await self._save()

    async def change(self, prepared: Prepared) -> None:
        """Take over another configuration; alerts of rules that are still there go on."""
        self._prepared = prepared
        self._learn()
        steps = self._activate()
        wanted = {name_of(s) for s in self._outputs}
        gone = [switch for name, switch in self._switches.items() if name not in wanted]
        for switch in gone:
            await switch.release()
        for part in self._parts:
            await part.stop()
        self._outfit()
        self._take(steps)
        await self._save()

    def hear(self, event: Event) -> None:
        """Fold one observation; cheap, and without waiting."""
        if not self._prepared.rules:
            return
        now = self._clock.now_ms()
        family = world.family_of_kind(event.kind)
        if family is not None and event.device not in self._families:
            self._families[event.device] = family
            self._take(self._activate())
        self._take(self._fold.hear(event, now))

    @property
    def alerts(self) -> list[RuleSide]:
        """Return the alerts that stand."""
        return list(self._fold.standing())

    # -- remembering ----------------------------------------------------------------------

    async def _recall(self) -> list[Step]:
        try:
            found = await asyncio.to_thread(read, self._file)
        except (OSError, ValueError) as error:
            log.warning("local rules forget what was", file=str(self._file), why=str(error))
            found = None
        if found is None:
            return []
        try:
            self._fold.restore(found.engine)
        except ContractError as error:
            # Switches and notices are still good; the drivers tell anew what stands.
            log.warning("local rules begin anew", why=str(error))
            found.engine, found.standing = b"", {}
            for switch in found.switches.values():
                switch.holders = []
        self._state = found
        self._families = {d: DeviceFamily(name) for d, name in found.families.items()}
        if not found.engine or not self._prepared.rules or found.epoch != self._journal.epoch:
            return []
        steps: list[Step] = []
        heard = set(found.unsure)
        for event in await asyncio.to_thread(since, self._journal, found.marks):
            if identity(event) not in heard:
                self.counts["replayed"] += 1
                steps += self._fold.hear(event, event.seen)
        return steps

    async def _save(self) -> None:
        async with self._saving:
            state = self._state
            self._tap.mark()
            try:
                held = await asyncio.to_thread(marks, self._journal)
            except EstateError as error:
                log.warning("local rules are not saved", why=str(error))
                return
            # Whatever is committed up to the marks was heard before; what came since is named.
            state.epoch, state.marks = self._journal.epoch, held
            state.unsure = self._tap.unsure()
            state.engine = self._fold.engine.dump()
            state.families = {device: family.value for device, family in self._families.items()}
            state.switches = {name: switch.state for name, switch in self._switches.items()}
            state.notices = [notice for poster in self._posters for notice in poster.queue]
            blob = encode(state)
            try:
                await asyncio.to_thread(write, self._file, blob)
            except OSError as error:
                self.counts["not_saved"] += 1
                if self.counts["not_saved"] == 1:
                    log.warning("local rules are not saved", why=str(error))

    @property
    def _parts(self) -> list[Switch | Poster]:
        return [*self._switches.values(), *self._posters]

    # -- configuring ----------------------------------------------------------------------

    @property
    def _outputs(self) -> list[OutputSettings]:
        settings = self._prepared.config.local_rules
        return [] if settings is None else list(settings.outputs)

    def _learn(self) -> None:
        self._families |= world.families(self._prepared.config)

    def _activate(self) -> list[Step]:
        prepared = self._prepared
        activation = world.activation(prepared.config, self._families, prepared.rules)
        return self._fold.activate(activation, self._clock.now_ms())

    def _outfit(self) -> None:
        """Make outputs and notices as they are configured, with what they did so far."""
        settings = self._prepared.config.local_rules
        kept = {name: switch.state for name, switch in self._switches.items()}
        kept = {**self._state.switches, **kept}
        self._switches = {}
        for output in self._outputs:
            name = name_of(output)
            state = kept.get(name, SwitchState())
            self._switches[name] = Switch(output, state, self._act, self._audit, self._save)
        waiting = [n for poster in self._posters for n in poster.queue] or self._state.notices
        self._posters = []
        for notice in [] if settings is None else settings.notices:
            queue = [n for n in waiting if n.url == notice.url]
            base = self._prepared.config.base
            self._posters.append(Poster(notice, queue, self._clock, base, self._save))
        for alert, held in self._state.standing.items():
            for switch in self._switches.values():
                switch.began(alert, held)
        for part in self._parts:
            part.start()

    # -- what became of alerts ------------------------------------------------------------

    def _take(self, steps: list[Step]) -> None:
        for alert, step in steps:
            if alert.cleared_at is not None:
                self._over(alert)
            elif step in _BEGAN:
                self._begin(alert, step)
        if steps:
            self._must_save = True
            self._news.set()

    def _begin(self, alert: RuleSide, step: StepKind) -> None:
        held = Held(alert.rule, alert.key, alert.colour.value, alert.device)
        self._state.standing[alert.id] = held
        meant = [s for s in self._switches.values() if s.began(alert.id, held)]
        self.counts["alerts"] += step is StepKind.RAISED
        at = alert.raised_at if step is StepKind.RAISED else self._clock.now_ms()
        self._tell(alert, meant, active=True, at=at)

    def _over(self, alert: RuleSide) -> None:
        known = self._state.standing.pop(alert.id, None)
        if known is None:
            return
        meant = [s for s in self._switches.values() if s.over(alert.id)]
        self._tell(alert, meant, active=False, at=alert.cleared_at or self._clock.now_ms())

    def _tell(self, alert: RuleSide, meant: list[Switch], *, active: bool, at: int) -> None:
        outputs = list(dict.fromkeys(switch.settings.device for switch in meant))[:32]
        data: dict[str, object] = {
            "rule": alert.rule, "key": alert.key[:200], "active": active,
            "colour": alert.colour.value, "outputs": outputs,
        }  # fmt: skip
        if alert.device is not None:
            data["target"] = alert.device
        self._owe("edge.rule", at, data)
        self._notify(alert, data, at)

    def _notify(self, alert: RuleSide, data: dict[str, object], at: int) -> None:
        config = self._prepared.config
        for poster in self._posters:
            if not poster.settings.when.fits(alert.rule, alert.colour, alert.device):
                continue
            step = f"{alert.id}/{alert.revision}"
            body: dict[str, object] = {
                "specversion": "1.0",
                "id": step,
                "source": f"/sites/{config.site}/edges/{config.edge}",
                "type": "smart-estate.edge.rule",
                "time": datetime.fromtimestamp(at / 1000, UTC).isoformat(),
                "subject": alert.key,
                "datacontenttype": "application/json",
                "data": {
                    **data,
                    "title": {"zh": alert.title_zh, "en": alert.title_en},
                    "advice": {"zh": alert.advice_zh, "en": alert.advice_en},
                },
            }
            poster.add(Notice(poster.settings.url, step, self._clock.now_ms(), body))

    def _audit(self, data: dict[str, object]) -> None:
        self._owe("edge.command", self._clock.now_ms(), data)

    def _owe(self, kind: str, at: int, data: dict[str, object]) -> None:
        owed = self._state.owed
        owed.append(Owed(kind, at, data))
        if len(owed) > _MOST_OWED:
            del owed[0]
            self.counts["owed_dropped"] += 1
        self._news.set()

    # -- the task -------------------------------------------------------------------------

    async def _run(self) -> None:
        ticking = asyncio.create_task(self._tick(), name="local-rules-tick")
        saved = time.monotonic()
        try:
            while True:
                try:
                    async with asyncio.timeout(_LEAST_S if self._state.owed else _TICK_S):
                        await self._news.wait()
                except TimeoutError:
                    pass
                self._news.clear()
                if self._must_save or time.monotonic() - saved > _SAVE_S:
                    self._must_save, saved = False, time.monotonic()
                    await self._save()
                await self._pay()
        finally:
            ticking.cancel()
            await asyncio.gather(ticking, return_exceptions=True)

    async def _tick(self) -> None:
        while True:
            await self._clock.sleep(_TICK_S)
            await asyncio.sleep(_LEAST_S)
            if self._prepared.rules:
                self._take(self._fold.tick(self._clock.now_ms()))

    async def _pay(self) -> None:
        while owed := self._state.owed:
            item = owed[0]
            try:
                await self._sink.emit(
                    item.kind, self._prepared.config.edge, dict(item.data), item.at
                )
            except JournalError:
                self.counts["journal_waits"] += 1
                await asyncio.sleep(_TICK_S)
                return
            except ContractError as error:
                self.counts["refused"] += 1
                log.warning("what a local rule says was refused", kind=item.kind, why=str(error))
            if owed and owed[0] is item:
                del owed[0]
