"""Backtests: what a rule set would have said of a log, by the very engine that runs live."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

import msgspec

from core.contracts.log import ActivationEntry, LogEntry
from core.contracts.outputs import AlertOutput, Output
from rules.engine import Engine
from rules.language import load


def backtest(entries: Iterable[LogEntry], rules: Mapping[str, str]) -> Iterator[Output]:
    """Fold a log with other rules than it activated; the log's topologies are used as they are.

    Raises RuleError when the rules cannot be used.
    """
    load(rules)
    engine = Engine()
    for entry in entries:
        if isinstance(entry, ActivationEntry):
            trial = msgspec.structs.replace(entry.activation, rules=dict(rules))
            entry = ActivationEntry(entry.pos, entry.at, trial)
        yield from engine.apply(entry)


def alerts(outputs: Iterable[Output]) -> dict[str, AlertOutput]:
    """Return the last state of each alert among the outputs, by id, in order of appearance."""
    last: dict[str, AlertOutput] = {}
    for output in outputs:
        if isinstance(output, AlertOutput):
            last[output.alert.id] = output
    return last
