"""A rule on the status of lifts, for tests of the fold: a state that needs time."""

from __future__ import annotations

from rules.builtin import builtin
from tests.rules.script import rule

TRAPPED_RULE = rule(
    """
on: elevator.status
type: sustained
for: 30s
families: elevator
when: occupied and not moving and door_closed and (not in_door_zone or alarm_button)
colour: red
""",
    name="trapped",
)


def rules() -> dict[str, str]:
    """Return the built-in rules and this one."""
    return {**builtin(), **TRAPPED_RULE}
