"""Tables of lifts' fault codes; ``codes.yaml`` beside this file holds and explains them."""

from __future__ import annotations

import difflib
from functools import cache
from pathlib import Path
from typing import Annotated, get_args

from pydantic import Field

from core.contracts.errors import SettingsError
from core.contracts.vocabulary import ElevatorFault, ElevatorStatus
from core.runtime.settings import parse, read_yaml
from edge.drivers.settings import Section

FILE = Path(__file__).with_name("codes.yaml")
Code = Annotated[int, Field(ge=0, le=65_535)]
FAULTS = frozenset(get_args(ElevatorFault.model_fields["fault"].annotation))
MODES = frozenset(get_args(ElevatorStatus.model_fields["service_mode"].annotation))


class FaultCodes(Section):
    """What the codes of one family of lifts mean."""

    extends: str | None = None
    codes: dict[Code, str] = Field(default_factory=dict)
    modes: dict[Code, str] = Field(default_factory=dict)
    alarms: list[Code] = Field(default_factory=list)
    digits: Annotated[int, Field(ge=1, le=8)] | None = None

    def over(self, other: FaultCodes) -> FaultCodes:
        """Return this table with the other's entries where it has none."""
        return FaultCodes(
            codes={**other.codes, **self.codes},
            modes={**other.modes, **self.modes},
            alarms=[*self.alarms, *other.alarms],
            digits=self.digits or other.digits,
        )


@cache
def tables() -> dict[str, FaultCodes]:
    """Return the tables by name, each with what it extends; raise :class:`SettingsError`."""
    found: dict[str, FaultCodes] = {}
    for name, raw in read_yaml(FILE).items():
        table = parse(FaultCodes, raw, f"{FILE}: {name}")
        found[name] = table if table.extends is None else table.over(found[table.extends])
        for fault in table.codes.values():
            if fault not in FAULTS:
                raise SettingsError(f"{FILE}: {name}: {fault}; known: {sorted(FAULTS)}")
        for mode in table.modes.values():
            if mode not in MODES:
                raise SettingsError(f"{FILE}: {name}: {mode}; known: {sorted(MODES)}")
    return found


def table(name: str, where: str) -> FaultCodes:
    """Return a table; raise :class:`SettingsError` that names the nearest one."""
    known = tables()
    if name not in known:
        near = difflib.get_close_matches(name, known, 1)
        hint = f"did you mean {near[0]}?" if near else f"known are {', '.join(known)}"
        raise SettingsError(f"{where}: no table of fault codes {name}; {hint}")
    return known[name]
