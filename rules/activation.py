"""Activations: new topology and rules take over from the old ones within one entry."""

from __future__ import annotations

from typing import TYPE_CHECKING

from core.contracts import topology as topologies
from core.contracts.errors import ContractError
from core.contracts.log import ACTIVATION_BODY, Activation, ActivationEntry
from core.contracts.outputs import Presence, TopologyOutput
from core.contracts.packing import pack, unpack
from core.contracts.topology import Topology
from rules import language, life
from rules.colours import Colours
from rules.edges import EdgeState
from rules.model import RuleSet
from rules.plan import ActiveRule, Plan
from rules.subjects import Subject, subjects_of

if TYPE_CHECKING:
    from rules.engine import Engine


def build_kept(kept: bytes) -> tuple[Topology, RuleSet]:
    """Check a packed activation; raise as :func:`build`, or msgspec's DecodeError."""
    return build(ACTIVATION_BODY.decode(unpack(kept)))


def build(activation: Activation) -> tuple[Topology, RuleSet]:
    """Check everything that can fail; raise :class:`ContractError` (or RuleError)."""
    return topologies.load(activation.topology), language.load(activation.rules)


def activate(engine: Engine, entry: ActivationEntry) -> None:
    """Take over a topology and rules.

    Alerts of rules and devices that still exist go on; all others are cleared. An activation
    that cannot be used is refused whole, counted, and its reason kept in ``engine.problem``.
    """
    try:
        topology, rules = build(entry.activation)
    except ContractError as refused:
        engine.count("refused_activations")
        engine.problem = str(refused)
        return
    engine.problem = ""
    engine.live.outputs.append(TopologyOutput(entry.at, topology))
    if engine.activation and entry.body == unpack(engine.activation):
        return
    engine.activation = pack(entry.body)
    subjects = subjects_of(topology)
    for name in engine.unknown.keys() & subjects.keys():
        del engine.unknown[name]
    plan = Plan(rules)
    _keep_cells(engine, plan, subjects, entry.at)
    _keep_knowledge(engine.subjects, subjects)
    if engine.last is not None:
        engine.last = {name: said for name, said in engine.last.items() if name in subjects}
    before = engine.subjects
    take_over(engine, topology, plan, subjects)
    _expect_anew(engine, before, entry.at)
    rearm(engine)
    for subject in subjects.values():
        if subject.edge is not None and subject.edge.known and not subject.edge.online:
            edge_away = engine.presence.edge_away
            edge_away(subject, subject.edge.away_by, entry.at, engine.live.outputs)


def _keep_cells(engine: Engine, plan: Plan, subjects: dict[str, Subject], at: int) -> None:
    for rule_id, old in engine.plan.rules.items():
        new = plan.rules.get(rule_id)
        for key, cell in list(old.cells.items()):
            subject = subjects.get(cell.subject)
            if new is None or subject is None or not _fits(new, old, subject, key):
                life.over(cell, max(at, cell.at), engine.live)
                continue
            cell.node = subject.node if new.rule.key.level is None else key.split("/", 1)[0]
            new.cells[key] = cell
            cell.due = life.next_due(new, cell)
        if new is not None:
            new.heard = {k: word for k, word in old.heard.items() if k in subjects}


def _fits(new: ActiveRule, old: ActiveRule, subject: Subject, key: str) -> bool:
    """Tell whether a cell means the same under the new rule and topology."""
    rule = new.rule
    if rule.type is not old.rule.type or rule.key != old.rule.key:
        return False
    if rule.families is not None and subject.family not in rule.families:
        return False
    return rule.key.level is None or subject.levels[rule.key.level] == key.split("/", 1)[0]


def _keep_knowledge(old: dict[str, Subject], new: dict[str, Subject]) -> None:
    for subject in new.values():
        before = old.get(subject.id)
        if before is None:
            continue
        subject.now = before.now
        subject.heard_at, subject.heard_q = before.heard_at, before.heard_q
        subject.presence, subject.cause = before.presence, before.cause
        subject.unwell, subject.well_q = before.unwell, before.well_q
        subject.rhythm = before.rhythm


def _expect_anew(engine: Engine, before: dict[str, Subject], at: int) -> None:
    """Judge those devices' silence anew for which another interval is configured."""
    live = engine.live
    for subject in engine.subjects.values():
        was = before.get(subject.id)
        if was is not None and was.expect_ms != subject.expect_ms:
            engine.presence.expect(subject, was, live.now_q, at, live.outputs)
            engine.silence.expect(subject)


def take_over(engine: Engine, topology: Topology, plan: Plan, subjects: dict[str, Subject]) -> None:
    """Put a checked topology and plan to work, with what the subjects and cells already hold."""
    engine.declared_edges = len(topology.edges)
    engine.subjects = subjects
    for edge in engine.edges.values():
        edge.subjects = []
    for declared in topology.edges:
        subject = subjects[declared.id]
        engine.edges.setdefault(subject.id, EdgeState(subject.id, subject.site))
    for subject in subjects.values():
        subject.plans = plan.for_family(subject.family)
        if subject.edge_id is not None and not subject.is_edge:
            subject.edge = engine.edges[subject.edge_id]
            subject.edge.subjects.append(subject)
    colours = Colours(topology)
    colours.restore(engine.colours.published())
    for subject in subjects.values():
        if subject.presence is Presence.ONLINE and not subject.is_edge:
            colours.hear(subject.node, 1)
    engine.timers.clear()
    outputs, noticed, now_q = engine.live.outputs, engine.live.noticed, engine.live.now_q
    engine.install(plan, colours)
    engine.live.outputs, engine.live.noticed, engine.live.now_q = outputs, noticed, now_q
    engine.live.recount()


def rearm(engine: Engine) -> None:
    """Set every timer anew, from what the cells and subjects say."""
    for active in engine.plan.rules.values():
        for cell in active.cells.values():
            engine.live.settle(active, cell)
    for subject in engine.subjects.values():
        engine.presence.watch(subject)
        engine.silence.watch_all(subject)
